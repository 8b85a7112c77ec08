"""Losses as frozen values, one number per image and finding, with unknown labels left out.

A loss comes in two halves, the terms and their weights, because a batch is spread over ranks whose
shares differ: sum of terms / global sum of weights is the exact mean for any number of ranks.
Unknown labels are NaN; their term, weight and gradient are 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from hilum.errors import require
from hilum.optim.serialization import from_json, to_json

__all__ = [
    "BCEWithLogits",
    "CrossEntropy",
    "Loss",
    "loss_from_json",
    "loss_to_json",
    "mean_loss",
]


class Loss(Protocol):
    """What the training loop minimises: sum of `elementwise` over sum of `weights`."""

    def elementwise(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return one term per label, 0 where the label is unknown; at least float32."""
        ...

    def weights(self, labels: Tensor) -> Tensor:
        """Return 1.0 where the label is known and 0.0 where it is not, shaped like the terms."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BCEWithLogits:
    """Binary cross-entropy per finding, for logits and labels (N, F) with 0, 1 or NaN.

    Attributes:
        pos_weight: factor on the positive term of each finding, for rare ones; None is all 1.
    """

    pos_weight: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        positive = self.pos_weight is None or all(0 < w < float("inf") for w in self.pos_weight)
        require(positive, "pos_weight", "positive numbers, one per finding", self.pos_weight)

    def elementwise(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the terms (N, F)."""
        require(
            logits.ndim == 2 and logits.shape == labels.shape,
            "labels",
            f"of the logits' shape {tuple(logits.shape)}, (images, findings)",
            tuple(labels.shape),
        )
        known = ~labels.isnan()
        scores, weight = _scores(logits, known), None
        if self.pos_weight is not None:
            require(
                len(self.pos_weight) == logits.shape[1],
                "pos_weight",
                f"{logits.shape[1]} numbers, one per finding",
                self.pos_weight,
            )
            weight = torch.tensor(self.pos_weight, dtype=scores.dtype, device=scores.device)
        targets = torch.where(known, labels, 0.0).to(scores.dtype)
        terms = functional.binary_cross_entropy_with_logits(
            scores, targets, pos_weight=weight, reduction="none"
        )
        return torch.where(known, terms, 0.0)

    def weights(self, labels: Tensor) -> Tensor:
        """Return the weights (N, F)."""
        return (~labels.isnan()).float()


@dataclass(frozen=True, slots=True)
class CrossEntropy:
    """Cross-entropy of exclusive classes: logits (N, C), labels (N,) with a class number or NaN.

    Class numbers are whole, from 0; as integers or, where NaN occurs, as floats.
    """

    def elementwise(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the terms (N,)."""
        require(
            logits.ndim == 2 and labels.shape == logits.shape[:1],
            "labels",
            f"of shape ({len(logits)},), one class number per image",
            tuple(labels.shape),
        )
        known = ~labels.isnan()
        targets = torch.where(known, labels, 0).long()
        terms = functional.cross_entropy(_scores(logits, known[:, None]), targets, reduction="none")
        return torch.where(known, terms, 0.0)

    def weights(self, labels: Tensor) -> Tensor:
        """Return the weights (N,)."""
        return (~labels.isnan()).float()


def mean_loss(loss: Loss, logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean over known labels, a scalar; 0 if none is known."""
    return loss.elementwise(logits, labels).sum() / loss.weights(labels).sum().clamp(min=1.0)


def loss_to_json(loss: Loss) -> dict[str, Any]:
    """Return the loss as a JSON object."""
    return to_json(loss, _KINDS)


def loss_from_json(data: object) -> Loss:
    """Rebuild a loss from `loss_to_json`'s object.

    Raises:
        InvalidValueError: an unknown type or field, or a value that breaks a rule.
    """
    return from_json(data, _KINDS)


_KINDS: Mapping[str, type[Loss]] = {kind.__name__: kind for kind in (BCEWithLogits, CrossEntropy)}


def _scores(logits: Tensor, known: Tensor) -> Tensor:
    """Return logits of at least float32, 0 where no label is known.

    The log-sum-exp of bfloat16 logits has three digits. And a logit that overflowed would give
    its unknown label the gradient 0 * NaN = NaN.
    """
    precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return torch.where(known, precise, 0.0)
