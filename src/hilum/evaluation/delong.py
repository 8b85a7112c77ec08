"""Variance and interval of one AUC without resampling: DeLong's method.

The quick method for independent images. Images of one patient are not independent, so where
patients have several images the patient bootstrap (`bootstrap.py`) is the one to report.

Sources: DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988) 837-845; the fast form by midranks,
O(n log n), is Sun and Xu, IEEE Signal Processing Letters 21 (2014) 1389-1393. The interval is taken
on the logit scale (Pepe 2003, section 5.2.4), so that it stays inside 0 to 1.
"""

import math

import numpy as np
import numpy.typing as npt

from hilum.errors import require
from hilum.evaluation.bootstrap import Interval
from hilum.evaluation.metrics import FloatArray, as_pair

__all__ = ["delong_interval", "delong_variance", "structural_components"]


def structural_components(
    labels: npt.ArrayLike, scores: npt.ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Return what each image adds to the AUC of one finding: DeLong's V10 and V01.

    The mean of either is the AUC. Ties count half.

    Args:
        labels: (image,) of 1, 0 and NaN for unknown; unknown images are left out.
        scores: (image,), finite; any increasing function of the probability will do.

    Returns:
        V10, (positive,): per image with the finding, the share of images without it that it
        outscores; V01, (negative,): per image without it, the share of images with it that
        outscore it. Both in the order of the images; empty where the other kind is missing.

    Raises:
        InvalidValueError: shapes differ, a label is not 0, 1 or NaN, or a score is not finite.
    """
    labels, scores = as_pair(labels, scores)
    require(labels.shape[1] == 1, "labels", "those of one finding, shape (image,)", labels.shape)
    positives, negatives = scores[labels[:, 0] == 1, 0], scores[labels[:, 0] == 0, 0]
    if not positives.size or not negatives.size:
        return np.empty(0), np.empty(0)
    return _share_below(positives, negatives), 1.0 - _share_below(negatives, positives)


def delong_variance(labels: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[float, float]:
    """Return the AUC of one finding and the variance of that AUC.

    NaN for both where the AUC is undefined; NaN for the variance with fewer than two images of a
    kind. Arguments and errors as `structural_components`.
    """
    of_positives, of_negatives = structural_components(labels, scores)
    if not of_positives.size:
        return float("nan"), float("nan")
    auroc = float(of_positives.mean())
    if min(of_positives.size, of_negatives.size) < 2:
        return auroc, float("nan")
    variance = (
        of_positives.var(ddof=1) / of_positives.size + of_negatives.var(ddof=1) / of_negatives.size
    )
    return auroc, float(variance)


def delong_interval(
    labels: npt.ArrayLike, scores: npt.ArrayLike, *, confidence: float = 0.95
) -> Interval | None:
    """Return the interval of one finding's AUC, every image counted as independent.

    None where the AUC or its variance is undefined, and where the AUC is 0 or 1: its variance is
    then estimated as 0, which says nothing. Arguments and errors as `structural_components`.

    >>> low, high = delong_interval([0, 0, 0, 1, 1, 1], [0.1, 0.4, 0.3, 0.2, 0.8, 0.9])
    >>> f"{low:.2f} to {high:.2f}"
    '0.17 to 0.98'
    """
    require(0 < confidence < 1, "confidence", "between 0 and 1", confidence)
    auroc, variance = delong_variance(labels, scores)
    if math.isnan(variance) or not 0 < auroc < 1:
        return None
    from scipy.special import expit, logit, ndtri  # a worker that asks for an AUC needs no scipy

    half_width = ndtri(0.5 + confidence / 2) * math.sqrt(variance) / (auroc * (1 - auroc))
    low, high = expit(logit(auroc) - half_width), expit(logit(auroc) + half_width)
    return float(low), float(high)


def _share_below(scores: FloatArray, others: FloatArray) -> FloatArray:
    """Per score, the share of `others` below it, ties counting half, (score,)."""
    ascending = np.sort(others)
    below = np.searchsorted(ascending, scores, side="left")
    not_above = np.searchsorted(ascending, scores, side="right")
    return np.asarray(0.5 * (below + not_above) / others.size)
