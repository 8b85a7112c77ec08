"""Losses of numbers that are measured rather than present or absent."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hilum.errors import require
from hilum.optim.loss import precise_logits

__all__ = ["MeanSquaredError"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanSquaredError:
    """Squared difference per number; outputs and labels of the same shape (N, ...)."""

    def elementwise(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the terms, shaped like the labels."""
        same = logits.shape == labels.shape
        require(same, "labels", f"of shape {tuple(logits.shape)}", tuple(labels.shape))
        known = ~labels.isnan()
        return (precise_logits(logits, known) - torch.where(known, labels, 0.0)) ** 2

    def weights(self, labels: Tensor) -> Tensor:
        """Return 1 for each known label."""
        return (~labels.isnan()).float()
