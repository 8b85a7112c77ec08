"""What a loss is: terms and their weights, so that shares of a batch add up to its mean.

A batch is spread over ranks whose shares differ: sum of terms / global sum of weights is the exact
mean for any number of ranks. Unknown labels are NaN; their term, weight and gradient are 0.
"""

from typing import Protocol

import torch
from torch import Tensor

__all__ = ["Loss", "mean_loss", "precise_logits", "total_weight"]


class Loss(Protocol):
    """What the training loop minimises: sum of `elementwise` over sum of `weights`."""

    def elementwise(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return one term per label, 0 where the label is unknown; at least float32."""
        ...

    def weights(self, labels: Tensor) -> Tensor:
        """Return each label's weight in the mean, 0 where it is unknown; shaped like the terms."""
        ...


def mean_loss(loss: Loss, logits: Tensor, labels: Tensor) -> Tensor:
    """Return the weighted mean over known labels, a scalar; 0 if none is known."""
    return loss.elementwise(logits, labels).sum() / total_weight(loss, labels)


def total_weight(loss: Loss, labels: Tensor) -> Tensor:
    """Return the sum of the labels' weights, a scalar to divide by: 1 if no label is known."""
    total = loss.weights(labels).sum()
    return torch.where(total > 0, total, 1.0)


def precise_logits(logits: Tensor, known: Tensor) -> Tensor:
    """Return logits of at least float32, 0 where no label is known.

    The log-sum-exp of bfloat16 logits has three digits. And a logit that overflowed would give
    its unknown label the gradient 0 * NaN = NaN.
    """
    precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return torch.where(known, precise, 0.0)
