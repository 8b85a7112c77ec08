"""Is a probability of 0.3 right three times out of ten? Reliability diagram and ECE per finding.

The expected calibration error of a finite sample is never 0, even for a perfect model: chance alone
moves every bin. Beside the plain number stands one with that bias taken out. Sources: Kumar, Liang
and Ma, Verified Uncertainty Calibration, NeurIPS 2019 (the debiased estimators); Broecker,
Estimating reliability and resolution of probability forecasts, Climate Dynamics 39 (2012) 655-667
(the same correction of the squared error in the decomposition of the Brier score).
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hilum.errors import require
from hilum.evaluation.bootstrap import PatientIds, patient_codes
from hilum.evaluation.metrics import FloatArray, as_pair, require_probabilities

__all__ = ["Reliability", "measure_reliability"]

NUM_BINS = 10
_IMAGES_PER_BIN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """A reliability diagram and its summary.

    Attributes:
        images: per bin, how many; bins hold about equally many, by rising probability.
        mean_probability: per bin, what the model said on average.
        share: per bin, the share that has the finding.
        standard_error: of `share - mean_probability` over patients; None in a bin of one patient.
        ece: mean over images of |share - mean_probability|; too large in small samples.
        ece_debiased: `ece` less what chance alone adds to it, at least 0.
        squared_error: the mean squared difference without bias; chance may make it negative.
    """

    images: tuple[int, ...]
    mean_probability: tuple[float, ...]
    share: tuple[float, ...]
    standard_error: tuple[float | None, ...]
    ece: float
    ece_debiased: float | None
    squared_error: float | None

    def to_json(self) -> dict[str, Any]:
        """Return plain lists and numbers."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @staticmethod
    def from_json(stored: Mapping[str, Any]) -> "Reliability":
        """Read what `to_json` wrote."""
        parts: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in stored.items()
        }
        return Reliability(**parts)


def measure_reliability(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    patient_ids: PatientIds | None = None,
    *,
    num_bins: int = NUM_BINS,
) -> Reliability | None:
    """Compare probabilities with what was there; None where the known labels have one value.

    The debiased numbers take out the variance of each bin's difference over patients; with one
    image a patient it is that of Kumar's theorem 5.2, y(1 - y) / (n - 1), for one probability a
    bin. They are None if a bin holds one patient only.

    Args:
        labels: (image,) of 1, 0 and NaN for unknown.
        scores: (image,) probabilities.
        patient_ids: one per image; None counts every image as a patient of its own.
        num_bins: of equally many images, at least ten each, so fewer bins in small samples;
            equal probabilities share a bin.
    """
    labels, scores = as_pair(labels, scores)
    require_probabilities(scores)
    require(labels.shape[1] == 1, "labels", "those of one finding, shape (image,)", labels.shape)
    require(num_bins > 0, "num_bins", "positive", num_bins)
    codes, _ = patient_codes(patient_ids, len(labels))
    known = ~np.isnan(labels[:, 0])
    y, p, patients = labels[known, 0], scores[known, 0], codes[known]
    if len(set(y.tolist())) < 2:
        return None
    bins = _bins(p, min(num_bins, max(1, len(p) // _IMAGES_PER_BIN)))
    counts = np.bincount(bins).astype(np.float64)
    said, was = (np.bincount(bins, weights=values) / counts for values in (p, y))
    variance = _variances(y - p, bins, patients, counts)
    gap, shares = was - said, counts / counts.sum()
    ece = float(shares @ np.abs(gap))
    complete = not np.isnan(variance).any()
    return Reliability(
        images=tuple(counts.astype(int).tolist()),
        mean_probability=tuple(said.tolist()),
        share=tuple(was.tolist()),
        standard_error=tuple(None if np.isnan(v) else math.sqrt(v) for v in variance),
        ece=ece,
        ece_debiased=_debiased(ece, gap, variance, shares) if complete else None,
        squared_error=float(shares @ (gap**2 - variance)) if complete else None,
    )


def _bins(scores: FloatArray, num_bins: int) -> npt.NDArray[np.intp]:
    """Number the bin of every score from 0, none empty, equal scores together."""
    edges = np.quantile(scores, np.arange(1, num_bins) / num_bins, method="higher")
    return np.unique(np.searchsorted(edges, scores, side="right"), return_inverse=True)[1]


def _variances(
    differences: FloatArray,
    bins: npt.NDArray[np.intp],
    patients: npt.NDArray[np.intp],
    counts: FloatArray,
) -> FloatArray:
    """Variance of each bin's mean difference, patients being independent; NaN for one patient."""
    residuals = differences - (np.bincount(bins, weights=differences) / counts)[bins]
    cells, cell_of_image = np.unique(np.stack([bins, patients]), axis=1, return_inverse=True)
    totals = np.bincount(cell_of_image.ravel(), weights=residuals)
    squares = np.bincount(cells[0], weights=totals**2)
    clusters = np.bincount(cells[0]).astype(np.float64)
    factor = np.divide(clusters, clusters - 1, out=np.full(len(counts), np.nan), where=clusters > 1)
    return np.asarray(squares / counts**2 * factor)


def _debiased(ece: float, gap: FloatArray, variance: FloatArray, shares: FloatArray) -> float:
    """Take from `ece` how much drawing the bins anew from normals around it would add.

    It is `get_calibration_error(..., p=1, debias=True)` of the authors' package, with the mean of
    the folded normal in place of draws.
    """
    from scipy.special import ndtr

    deviation = np.sqrt(variance)
    ratio = np.divide(np.abs(gap), deviation, out=np.full(len(gap), np.inf), where=deviation > 0)
    expected = np.abs(gap) * (1 - 2 * ndtr(-ratio))
    expected += deviation * math.sqrt(2 / math.pi) * np.exp(-0.5 * ratio**2)
    return max(0.0, 2 * ece - float(shares @ expected))
