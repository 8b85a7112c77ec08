"""Layers that PyTorch writes as functions and files of others write as nodes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "Add",
    "Affine",
    "Concatenate",
    "GlobalAveragePool",
    "Multiply",
    "Pad",
    "Permute",
    "Reshape",
]


class Add(nn.Module):
    """The sum of its inputs, which broadcast."""

    def forward(self, first: Tensor, *others: Tensor) -> Tensor:
        """Add (...) tensors."""
        for other in others:
            first = first + other
        return first


class Multiply(nn.Module):
    """The product of its inputs, which broadcast: squeeze and excitation, gates."""

    def forward(self, first: Tensor, *others: Tensor) -> Tensor:
        """Multiply (...) tensors."""
        for other in others:
            first = first * other
        return first


class Concatenate(nn.Module):
    """Its inputs side by side.

    Args:
        dim: along which; 1 is channels.
    """

    def __init__(self, dim: int = 1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, *inputs: Tensor) -> Tensor:
        """Join tensors that differ in `dim` alone."""
        return torch.cat(inputs, dim=self.dim)


class Affine(nn.Module):
    """A factor and a term per channel, learnt: Caffe's Scale and Bias, TensorFlow's BiasAdd.

    Args:
        num_features: channels, dimension 1 of the input.
        scale: whether there is a factor, `weight`.
        bias: whether there is a term, `bias`.
    """

    def __init__(self, num_features: int, scale: bool = True, bias: bool = True) -> None:
        super().__init__()
        ones, zeros = torch.ones(num_features), torch.zeros(num_features)
        self.weight = nn.Parameter(ones) if scale else None
        self.bias = nn.Parameter(zeros) if bias else None

    def forward(self, value: Tensor) -> Tensor:
        """Scale and shift (N, C, ...)."""
        shape = (1, -1) + (1,) * (value.dim() - 2)
        if self.weight is not None:
            value = value * self.weight.view(shape)
        return value if self.bias is None else value + self.bias.view(shape)


class Pad(nn.Module):
    """A border of a constant, as wide as is said on each side: "SAME" padding, ceil-mode pooling.

    Args:
        padding: as `torch.nn.functional.pad` takes it, the last dimension first.
        value: of the border.
    """

    def __init__(self, padding: Sequence[int], value: float = 0.0) -> None:
        super().__init__()
        self.padding, self.value = list(padding), value

    def forward(self, value: Tensor) -> Tensor:
        """Pad (...)."""
        return functional.pad(value, self.padding, value=self.value)


class Permute(nn.Module):
    """Dimensions in another order.

    Args:
        dims: where each dimension of the output comes from, the batch included.
    """

    def __init__(self, dims: Sequence[int]) -> None:
        super().__init__()
        self.dims = tuple(dims)

    def forward(self, value: Tensor) -> Tensor:
        """Permute (...)."""
        return value.permute(self.dims)


class Reshape(nn.Module):
    """Another shape for every item of the batch.

    Args:
        shape: without the batch; one -1 takes what is left.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, value: Tensor) -> Tensor:
        """Reshape (N, ...) to (N, *shape)."""
        return value.reshape(value.shape[0], *self.shape)


class GlobalAveragePool(nn.Module):
    """The mean over everything behind the channels.

    Args:
        keepdim: (N, C, 1, 1) instead of (N, C).
    """

    def __init__(self, keepdim: bool = False) -> None:
        super().__init__()
        self.keepdim = keepdim

    def forward(self, value: Tensor) -> Tensor:
        """Average (N, C, ...); (N, C) stays as it is."""
        dims = list(range(2, value.dim()))
        return value.mean(dims, keepdim=self.keepdim) if dims else value
