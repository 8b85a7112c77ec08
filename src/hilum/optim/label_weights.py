"""Weights against imbalance, counted from the labels of a training split."""

from typing import Any

import numpy as np
import numpy.typing as npt

from hilum.errors import require

__all__ = ["class_weights", "positive_weights"]

Labels = npt.NDArray[np.floating[Any]]


def positive_weights(labels: Labels, *, cap: float = 20.0) -> tuple[float, ...]:
    """Return negatives per positive of each finding, for `pos_weight`: both sides then weigh alike.

    Args:
        labels: of the training split, (N, F): 0, 1, or NaN where unknown, which is not counted.
        cap: no weight is above it, and none below 1 / cap. NIH's rarest finding has one positive
            in 500; its few images would be all that the network learns from.

    Returns:
        One weight per finding; 1 where a finding has no positive or no negative.
    """
    positives, negatives = _counts(labels, cap)
    both = (positives > 0) & (negatives > 0)
    ratio = np.divide(negatives, positives, out=np.ones_like(positives), where=both)
    return tuple(float(weight) for weight in ratio.clip(1 / cap, cap))


def class_weights(labels: Labels, *, cap: float = 20.0) -> tuple[float, ...]:
    """Return a weight per finding that is the larger, the rarer it is; their mean is 1.

    Inverse to the number of positives. Also for exclusive classes: labels are then one-hot.

    Args:
        labels: as in `positive_weights`.
        cap: no weight is more than this many times the smallest one.

    Returns:
        One weight per finding; that of the rarest where a finding has no positive.
    """
    positives, _ = _counts(labels, cap)
    most = positives.max()
    if most == 0:
        return (1.0,) * len(positives)
    rare = np.divide(most, positives, out=np.full_like(positives, cap), where=positives > 0)
    weights = rare.clip(1.0, cap)
    return tuple(float(weight) for weight in weights / weights.mean())


def _counts(labels: Labels, cap: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    require(labels.ndim == 2, "labels", "of shape (images, findings)", labels.shape)
    require(cap >= 1, "cap", "at least 1", cap)
    positives = (labels == 1).sum(axis=0, dtype=np.float64)
    return positives, (labels == 0).sum(axis=0, dtype=np.float64)
