"""What a loss is: terms and their weights, so that shares of a batch add up to its mean.

A batch is spread over ranks whose shares differ: sum of terms / global sum of weights is the exact
mean for any number of ranks. Unknown labels are NaN; their term, weight and gradient are 0. A row
may weigh more than another: its terms and their weights are multiplied by its weight, so that
weight 2 is the row twice.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeAlias

import torch
from torch import Tensor

__all__ = [
    "Loss",
    "Outputs",
    "Share",
    "Targets",
    "mean_loss",
    "precise_logits",
    "share_of_mean",
    "total_weight",
]

Outputs: TypeAlias = Tensor | Sequence[Tensor]


class Loss(Protocol):
    """What the training loop minimises: sum of `elementwise` over sum of `weights`."""

    def elementwise(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return one term per label or per row, 0 where unknown; (N, ...), at least float32."""
        ...

    def weights(self, labels: Tensor) -> Tensor:
        """Return the weight of each label or row in the mean, 0 where it is unknown; (N, ...)."""
        ...


class Targets(NamedTuple):
    """What some rows should give: labels (N, ...), NaN where unknown, and row weights (N,)."""

    labels: Tensor
    weights: Tensor


class Share(NamedTuple):
    """What some rows of a batch add to its mean.

    Attributes:
        summed: their weighted terms, a scalar. The sum of all shares' `summed` over `total` is the
            mean.
        weight: of these rows' labels. total: of the whole batch's; 1 if no label is known.
    """

    summed: Tensor
    weight: float
    total: float


def share_of_mean(
    loss: Loss, logits: Tensor, own: Targets, whole: Targets, *, num_real: int
) -> Share:
    """Return what a rank's rows add to the weighted mean over a whole batch.

    Args:
        logits: what the network gave for the rank's rows.
        own: of the rank's rows; on any device. whole: of the whole batch.
        num_real: the first rows, which count; the others fill up.
    """
    device = logits.device
    terms = loss.elementwise(logits, own.labels.to(device, non_blocking=True))
    summed = _weighted_sum(terms, own.weights.to(device, non_blocking=True), num_real)
    weight = _weighted_sum(loss.weights(own.labels), own.weights, num_real)
    return Share(summed, float(weight), float(total_weight(loss, *whole)))


def mean_loss(
    loss: Loss, logits: Tensor, labels: Tensor, row_weights: Tensor | None = None
) -> Tensor:
    """Return the weighted mean over known labels, a scalar; 0 if none is known.

    Args:
        row_weights: (N,), how much each row counts; None is 1.
    """
    terms = loss.elementwise(logits, labels)
    if row_weights is not None:
        terms = _weighted(terms, row_weights)
    return terms.sum() / total_weight(loss, labels, row_weights)


def total_weight(loss: Loss, labels: Tensor, row_weights: Tensor | None = None) -> Tensor:
    """Return the sum of the labels' weights, a scalar to divide by: 1 if no label is known."""
    weights = loss.weights(labels)
    if row_weights is not None:
        weights = _weighted(weights, row_weights)
    total = weights.sum()
    return torch.where(total > 0, total, 1.0)


def precise_logits(logits: Tensor, known: Tensor) -> Tensor:
    """Return logits of at least float32, 0 where no label is known.

    The log-sum-exp of bfloat16 logits has three digits. And a logit that overflowed would give
    its unknown label the gradient 0 * NaN = NaN.
    """
    precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return torch.where(known, precise, 0.0)


def _weighted_sum(terms: Tensor, row_weights: Tensor, num_real: int) -> Tensor:
    return _weighted(terms[:num_real], row_weights[:num_real]).sum()


def _weighted(terms: Tensor, row_weights: Tensor) -> Tensor:
    """Terms (N, ...) times their rows' weights; a row of weight 0 adds 0 whatever its terms."""
    factors = row_weights.reshape(-1, *(1 for _ in terms.shape[1:]))
    return torch.where(factors > 0, terms * factors, 0.0)
