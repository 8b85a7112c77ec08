"""Sums, powers and means as layers, for files that write them as nodes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["Maximum", "Mean", "Power", "Squeeze", "WeightedSum"]


class Maximum(nn.Module):
    """The largest of its inputs, element by element: Caffe's Eltwise MAX, maxout."""

    def forward(self, first: Tensor, *others: Tensor) -> Tensor:
        """Compare (...) tensors, which broadcast."""
        for other in others:
            first = torch.maximum(first, other)
        return first


class WeightedSum(nn.Module):
    """The sum of its inputs, each times a constant: differences, Caffe's Eltwise with coefficients.

    Args:
        weights: one per input.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        super().__init__()
        self.weights = tuple(weights)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Add (...) tensors, which broadcast."""
        pairs = zip(self.weights, inputs, strict=True)
        total: Tensor = sum(weight * value for weight, value in pairs)  # type: ignore[assignment]
        return total


class Power(nn.Module):
    """(shift + scale * value) ** power, as Caffe and BigDL define it; constants, not learnt.

    Args:
        power: exponent.
        scale: factor.
        shift: term.
    """

    def __init__(self, power: float = 1.0, scale: float = 1.0, shift: float = 0.0) -> None:
        super().__init__()
        self.power, self.scale, self.shift = power, scale, shift

    def forward(self, value: Tensor) -> Tensor:
        """Compute (...), element by element."""
        value = value * self.scale + self.shift
        return value if self.power == 1 else value**self.power


class Mean(nn.Module):
    """The mean over some dimensions.

    Args:
        dims: which, the batch being 0.
        keepdim: whether they stay, with length 1.
    """

    def __init__(self, dims: Sequence[int], keepdim: bool = False) -> None:
        super().__init__()
        self.dims, self.keepdim = tuple(dims), keepdim

    def forward(self, value: Tensor) -> Tensor:
        """Average (...)."""
        return value.mean(self.dims, keepdim=self.keepdim)


class Squeeze(nn.Module):
    """Without dimensions of length 1.

    Args:
        dims: which, the batch being 0; None for all but the batch.
    """

    def __init__(self, dims: Sequence[int] | None = None) -> None:
        super().__init__()
        self.dims = None if dims is None else tuple(dims)

    def forward(self, value: Tensor) -> Tensor:
        """Squeeze (...)."""
        return value.squeeze(tuple(range(1, value.dim())) if self.dims is None else self.dims)
