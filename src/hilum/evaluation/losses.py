"""How far probabilities are from what was there: Brier score and log loss, per finding.

Both are proper scores: they are lowest in expectation where the probability is the true one
(Gneiting and Raftery, JASA 2007). Both grow with the prevalence, so they compare models on the
same images only. Unknown labels are left out of their own finding.
"""

import numpy as np
import numpy.typing as npt

from hilum.evaluation.metrics import FloatArray, as_pair, require_probabilities

__all__ = ["brier_score", "log_loss", "losses_of_images"]

# scikit-learn's: a probability of exactly 0 or 1 that is wrong costs 36, not infinity.
_TINY = float(np.finfo(np.float64).eps)


def brier_score(labels: npt.ArrayLike, scores: npt.ArrayLike) -> FloatArray:
    """Return the mean squared distance of probability and label, (finding,).

    NaN where the known labels have one value, as for all other numbers of such a finding.

    Args:
        labels: (image, finding) of 1, 0 and NaN; (image,) counts as one finding.
        scores: same shape, probabilities in [0, 1].

    Raises:
        InvalidValueError: shapes differ, a label is not 0, 1 or NaN, a score not a probability.

    >>> brier_score([0, 1], [0.2, 0.6])
    array([0.1])
    """
    return _mean(labels, losses_of_images(labels, scores)[0])


def log_loss(labels: npt.ArrayLike, scores: npt.ArrayLike) -> FloatArray:
    """Return the mean of -log(probability of what was there), natural logarithm, (finding,).

    Arguments, undefined values and errors as `brier_score`.

    >>> log_loss([0, 1], [0.5, 0.5]).round(3)
    array([0.693])
    """
    return _mean(labels, losses_of_images(labels, scores)[1])


def losses_of_images(labels: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return squared error and log loss of each image, both (image, finding); NaN where unknown."""
    labels, scores = as_pair(labels, scores)
    require_probabilities(scores)
    clipped = np.clip(scores, _TINY, 1 - _TINY)
    # A label is 0 or 1, so one of the terms is the loss; NaN stays NaN.
    logarithms = -(labels * np.log(clipped) + (1 - labels) * np.log1p(-clipped))
    return (scores - labels) ** 2, logarithms


def _mean(labels: npt.ArrayLike, losses: FloatArray) -> FloatArray:
    known = ~np.isnan(losses)
    values = np.asarray(labels, dtype=np.float64).reshape(losses.shape)
    both = (values == 1).any(axis=0) & (values == 0).any(axis=0)
    means = np.full(losses.shape[1], np.nan)
    np.divide(np.nan_to_num(losses).sum(axis=0), known.sum(axis=0), out=means, where=both)
    return means
