"""Layers for what files write as arithmetic: functions of numbers, parts, learnt constants."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional

from hilum.errors import require

__all__ = ["FUNCTIONS", "AveragePoolUneven", "Divide", "Elementwise", "Function", "Slice"]

FUNCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "abs": torch.abs,
        "erf": torch.erf,
        "exp": torch.exp,
        "log": torch.log,
        "sqrt": torch.sqrt,
    }
)
"""What `Function` knows."""


class Function(nn.Module):
    """A function of every number.

    Args:
        name: a key of `FUNCTIONS`.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        require(name in FUNCTIONS, "function", f"one of {', '.join(FUNCTIONS)}", name)
        self.name = name

    def forward(self, value: Tensor) -> Tensor:
        """Compute (...)."""
        return FUNCTIONS[self.name](value)


class Divide(nn.Module):
    """The quotient of two inputs, which broadcast: normalisation written out."""

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Divide (...) by (...)."""
        return first / second


class Elementwise(nn.Module):
    """A factor and a term of any shape that broadcasts, learnt: layer scale, positions.

    Args:
        shape: without the batch.
        scale: whether there is a factor, `weight`.
        bias: whether there is a term, `bias`.
    """

    def __init__(self, shape: Sequence[int], scale: bool = True, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(*shape)) if scale else None
        self.bias = nn.Parameter(torch.zeros(*shape)) if bias else None

    def forward(self, value: Tensor) -> Tensor:
        """Scale and shift (N, ...)."""
        if self.weight is not None:
            value = value * self.weight
        return value if self.bias is None else value + self.bias


class Slice(nn.Module):
    """A part of a dimension, as Python writes it: `value[:, start:end:step]`.

    Args:
        dim: which, the batch being 0.
        start: first index.
        end: behind the last index; None for all that is left.
        step: positive.
    """

    def __init__(self, dim: int, start: int = 0, end: int | None = None, step: int = 1) -> None:
        super().__init__()
        require(dim >= 1, "dim", "1 or more", dim)
        require(step >= 1, "step", "1 or more", step)
        self.dim, self.part = dim, slice(start, end, step)

    def forward(self, value: Tensor) -> Tensor:
        """Take a part of (N, ...)."""
        return value[(slice(None),) * self.dim + (self.part,)]


class AveragePoolUneven(nn.Module):
    """An average pool with a border of its own on each side that counts pixels of the image only.

    Args:
        kernel_size: height and width.
        stride: likewise.
        padding: left, right, top, bottom; 0 or more.
    """

    def __init__(
        self, kernel_size: Sequence[int], stride: Sequence[int], padding: Sequence[int]
    ) -> None:
        super().__init__()
        require(min(padding) >= 0, "padding", "0 or more", padding)
        self.kernel_size, self.stride = tuple(kernel_size), tuple(stride)
        self.padding = list(padding)

    def forward(self, value: Tensor) -> Tensor:
        """Average (N, C, H, W)."""
        total, share = (
            functional.avg_pool2d(functional.pad(part, self.padding), self.kernel_size, self.stride)
            for part in (value, torch.ones_like(value[:1, :1]))
        )
        return total / share
