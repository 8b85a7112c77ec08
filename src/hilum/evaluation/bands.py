"""ROC and precision-recall curves on a fixed grid, with bands over draws of patients.

A band is made by vertical averaging (Fawcett 2006, section 8.1): in every draw of patients the
sensitivity is read at the same false positive rates, and the precision at the same sensitivities;
the band is the percentiles of what was read. It is pointwise: 95 % of the draws at each place, not
95 % of whole curves.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hilum.errors import require
from hilum.evaluation.bootstrap import (
    MAX_UNDEFINED_SHARE,
    PatientIds,
    patient_codes,
    patient_draws,
)
from hilum.evaluation.metrics import FloatArray, as_pair

__all__ = ["BandCurve", "CurveBands", "curve_bands"]

GRID_POINTS = 101
_ELEMENTS_PER_CHUNK = 1_000_000


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
        average_precision: area under the precision-recall steps, as scikit-learn defines it.
        prevalence: share of positives: the precision of guessing.
    """

    roc: BandCurve
    precision_recall: BandCurve
    average_precision: float
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
    require(num_resamples >= 0, "num_resamples", "0 or more", num_resamples)
    require(0 < confidence < 1, "confidence", "between 0 and 1", confidence)
    require(grid_points >= 2, "grid_points", "at least 2", grid_points)
    patient_of_image, num_patients = patient_codes(patient_ids, len(labels))
    sorted_findings = [_sort(labels[:, k], scores[:, k]) for k in range(labels.shape[1])]
    grid = np.linspace(0.0, 1.0, grid_points)
    drawn: list[list[tuple[FloatArray, FloatArray]]] = [[] for _ in sorted_findings]
    for counts in _chunked(num_patients, num_resamples, seed, len(labels)):
        weights = np.take(counts, patient_of_image, axis=1)
        for sorted_one, kept in zip(sorted_findings, drawn, strict=True):
            if sorted_one is not None:
                kept.append(sorted_one.read(weights, grid))
    return tuple(
        None if one is None else _with_bands(one, grid, kept, confidence)
        for one, kept in zip(sorted_findings, drawn, strict=True)
    )


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

    def read(self, weights: FloatArray, grid: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Sensitivity at the grid's false positive rates and precision at its sensitivities."""
        true, false = self.counts(weights)
        rows = [_read(t, f, grid) for t, f in zip(true, false, strict=True)]
        return np.stack([row[0] for row in rows]), np.stack([row[1] for row in rows])


def _sort(labels: FloatArray, scores: FloatArray) -> _Sorted | None:
    known = np.flatnonzero(~np.isnan(labels))
    positive = labels[known] == 1
    if not positive.any() or positive.all():
        return None
    by_score = np.argsort(-scores[known], kind="stable")
    order = known[by_score]
    ends = np.append(np.flatnonzero(np.diff(scores[order]) != 0), len(order) - 1)
    return _Sorted(order=order, positive=positive[by_score], ends=ends)


def _read(true: FloatArray, false: FloatArray, grid: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Both curves of one draw on the grid; NaN where the draw has one label only."""
    if true[-1] == 0 or false[-1] == 0:
        return np.full(len(grid), np.nan), np.full(len(grid) - 1, np.nan)
    # Ties are one sloping segment, so linear interpolation agrees with the trapezoid AUC. Where
    # the curve rises straight up, numpy takes the last of equal rates: the upper end.
    sensitivity = np.interp(grid, false / false[-1], true / true[-1])
    # Precision does not interpolate linearly (Davis and Goadrich 2006): it is read at the first
    # threshold that reaches the sensitivity, as average precision does.
    reached = np.searchsorted(true, grid[1:] * true[-1] - 1e-9)
    precision = true[reached] / (true[reached] + false[reached])
    return sensitivity, precision


def _with_bands(
    one: _Sorted,
    grid: FloatArray,
    drawn: Sequence[tuple[FloatArray, FloatArray]],
    confidence: float,
) -> CurveBands:
    every = np.ones((1, int(one.order.max()) + 1))
    sensitivity, precision = one.read(every, grid)
    true, false = (counts[0] for counts in one.counts(every))
    steps = np.diff(true) * (true[1:] / (true[1:] + false[1:]))
    return CurveBands(
        roc=_curve(grid, sensitivity[0], [rows[0] for rows in drawn], confidence),
        precision_recall=_curve(grid[1:], precision[0], [rows[1] for rows in drawn], confidence),
        average_precision=float(steps.sum() / true[-1]),
        prevalence=float(one.positive.mean()),
    )


def _curve(x: FloatArray, y: FloatArray, drawn: list[FloatArray], confidence: float) -> BandCurve:
    values = np.concatenate(drawn) if drawn else np.empty((0, len(x)))
    defined = values[~np.isnan(values[:, 0])]
    plain = BandCurve(x=tuple(x.tolist()), y=tuple(y.tolist()))
    if not len(defined) or 1 - len(defined) / len(values) > MAX_UNDEFINED_SHARE:
        return plain
    tail = (1 - confidence) / 2
    low, high = np.quantile(defined, [tail, 1 - tail], axis=0)
    return BandCurve(x=plain.x, y=plain.y, low=tuple(low.tolist()), high=tuple(high.tolist()))


def _chunked(
    num_patients: int, num_resamples: int, seed: int, num_images: int
) -> Iterator[FloatArray]:
    """Draws of patients, a few at a time so that the image weights of each lot stay small."""
    rows = max(1, _ELEMENTS_PER_CHUNK // max(num_images, 1))
    draws = patient_draws(num_patients, num_resamples, seed=seed)
    while lot := list(itertools.islice(draws, rows)):
        yield np.stack(lot)
