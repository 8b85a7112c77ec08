"""ROC and precision-recall curves on a fixed grid, with bands over draws of patients.

A band is made by vertical averaging (Fawcett 2006, section 8.1): in every draw of patients the
sensitivity is read at the same false positive rates, and the precision at the same sensitivities;
the band is the percentiles of what was read. It is pointwise: 95 % of the draws at each place, not
95 % of whole curves.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hilum.errors import require
from hilum.evaluation.bootstrap import MAX_UNDEFINED_SHARE, PatientBootstrap, PatientIds
from hilum.evaluation.metrics import FloatArray, as_pair

__all__ = ["BandCurve", "CurveBands", "curve_bands"]

GRID_POINTS = 101


@dataclass(frozen=True, slots=True, kw_only=True)
class BandCurve:
    """One curve y(x) on a rising grid; `low` and `high` are empty where no band is given."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        fits = {len(self.low), len(self.high)} <= {0, len(self.x)} and len(self.y) == len(self.x)
        require(fits, "x, y, low and high", "of one length, or no band", (len(self.x), len(self.y)))


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveBands:
    """Both curves of one finding.

    Attributes:
        roc: sensitivity (y) at false positive rates (x).
        precision_recall: precision, that is PPV (y), at sensitivities (x); x starts above 0.
        prevalence: share of positives: the precision of guessing.
    """

    roc: BandCurve
    precision_recall: BandCurve
    prevalence: float


def curve_bands(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    patient_ids: PatientIds | None = None,
    *,
    num_resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    grid_points: int = GRID_POINTS,
) -> tuple[CurveBands | None, ...]:
    """Return the curves of every finding with their bands; None where a finding has one label.

    Args:
        labels: (image, finding) of 1, 0 and NaN for unknown; (image,) counts as one finding.
        scores: same shape, finite.
        patient_ids: one per image; without them every image is drawn on its own.
        num_resamples: draws of patients; 0 for curves without bands.
        seed: the same seed gives the same draws.
        confidence: share of the draws inside the band at each grid point.
        grid_points: places at which the curves are read.

    Raises:
        InvalidValueError: as `roc_auc_score`, or an argument is out of range.
    """
    labels, scores = as_pair(labels, scores)
    require(0 < confidence < 1, "confidence", "between 0 and 1", confidence)
    require(grid_points >= 2, "grid_points", "at least 2", grid_points)
    bootstrap = PatientBootstrap.for_images(
        len(labels), patient_ids, num_resamples=num_resamples, seed=seed
    )
    grid = np.linspace(0.0, 1.0, grid_points)
    columns = [_sort(labels[:, k], scores[:, k]) for k in range(labels.shape[1])]
    defined = [column for column in columns if column is not None]

    def all_findings(weights: FloatArray) -> FloatArray:
        parts = [column.read(weights, grid) for column in defined]
        return np.concatenate(parts, axis=1) if parts else np.empty((len(weights), 0))

    width = 2 * grid_points - 1
    drawn = bootstrap.of(all_findings, width * len(defined))
    values = all_findings(np.ones((1, len(labels))))[0]
    curves = iter(
        _with_bands(column, grid, values[at : at + width], drawn[:, at : at + width], confidence)
        for at, column in zip(range(0, len(values), width), defined, strict=True)
    )
    return tuple(None if column is None else next(curves) for column in columns)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Sorted:
    """The known images of one finding by falling score.

    Attributes:
        order: indices into all images, (known,).
        positive: whether each has the finding, (known,).
        ends: the last place of each run of tied scores, (threshold,).
    """

    order: npt.NDArray[np.intp]
    positive: npt.NDArray[np.bool_]
    ends: npt.NDArray[np.intp]

    def counts(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """True and false positives at each threshold, from none called on, (draw, 1 + T)."""
        ordered = np.take(weights, self.order, axis=1)
        start = np.zeros((len(weights), 1))
        true, false = (
            np.concatenate([start, np.cumsum(ordered * chosen, axis=1)[:, self.ends]], axis=1)
            for chosen in (self.positive, ~self.positive)
        )
        return true, false

    def read(self, weights: FloatArray, grid: FloatArray) -> FloatArray:
        """Sensitivity at the grid, then precision at all but its first, (draw, 2 * grid - 1)."""
        true, false = self.counts(weights)
        return np.stack([_read(t, f, grid) for t, f in zip(true, false, strict=True)])


def _sort(labels: FloatArray, scores: FloatArray) -> _Sorted | None:
    known = np.flatnonzero(~np.isnan(labels))
    positive = labels[known] == 1
    if not positive.any() or positive.all():
        return None
    by_score = np.argsort(-scores[known], kind="stable")
    order = known[by_score]
    ends = np.append(np.flatnonzero(np.diff(scores[order]) != 0), len(order) - 1)
    return _Sorted(order=order, positive=positive[by_score], ends=ends)


def _read(true: FloatArray, false: FloatArray, grid: FloatArray) -> FloatArray:
    """Both curves of one draw on the grid; NaN where the draw has one label only."""
    if true[-1] == 0 or false[-1] == 0:
        return np.full(2 * len(grid) - 1, np.nan)
    # Ties are one sloping segment, so linear interpolation agrees with the trapezoid AUC. Where
    # the curve rises straight up, numpy takes the last of equal rates: the upper end.
    sensitivity = np.interp(grid, false / false[-1], true / true[-1])
    # Precision does not interpolate linearly (Davis and Goadrich 2006): it is read at the first
    # threshold that reaches the sensitivity, as average precision does.
    reached = np.searchsorted(true, grid[1:] * true[-1] - 1e-9)
    return np.concatenate([sensitivity, true[reached] / (true[reached] + false[reached])])


def _with_bands(
    column: _Sorted, grid: FloatArray, values: FloatArray, drawn: FloatArray, confidence: float
) -> CurveBands:
    defined = drawn[~np.isnan(drawn[:, 0])]
    low = high = np.empty(0)
    if len(defined) and 1 - len(defined) / len(drawn) <= MAX_UNDEFINED_SHARE:
        tail = (1 - confidence) / 2
        low, high = np.quantile(defined, [tail, 1 - tail], axis=0)
    roc, precision_recall = slice(0, len(grid)), slice(len(grid), None)
    return CurveBands(
        roc=_curve(grid, values[roc], low[roc], high[roc]),
        precision_recall=_curve(
            grid[1:], values[precision_recall], low[precision_recall], high[precision_recall]
        ),
        prevalence=float(column.positive.mean()),
    )


def _curve(x: FloatArray, y: FloatArray, low: FloatArray, high: FloatArray) -> BandCurve:
    x_, y_, low_, high_ = (tuple(values.tolist()) for values in (x, y, low, high))
    return BandCurve(x=x_, y=y_, low=low_, high=high_)
