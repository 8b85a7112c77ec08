"""The layers a `NetworkSpec` may name: those of PyTorch that files of others need, and ours.

A table and not `getattr(torch.nn, name)`: what a file can have built is listed here.
"""

from collections.abc import Callable, Mapping
from inspect import signature
from types import MappingProxyType

from torch import nn

from hilum.models.graph.arithmetic import (
    Add,
    Affine,
    Concatenate,
    GlobalAveragePool,
    Multiply,
    Pad,
    Permute,
    Reshape,
)
from hilum.models.graph.elementwise import Maximum, Mean, Power, Squeeze, WeightedSum
from hilum.models.graph.functions import (
    AveragePoolUneven,
    Divide,
    Elementwise,
    Function,
    Slice,
)
from hilum.models.graph.padding import AveragePoolSame, PadSame

__all__ = ["LAYERS", "argument_names"]

_OF_PYTORCH: tuple[type[nn.Module], ...] = (
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AvgPool3d,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose2d,
    nn.Dropout,
    nn.Dropout2d,
    nn.ELU,
    nn.Flatten,
    nn.GELU,
    nn.GroupNorm,
    nn.Hardsigmoid,
    nn.Hardswish,
    nn.Hardtanh,
    nn.Identity,
    nn.LayerNorm,
    nn.LeakyReLU,
    nn.Linear,
    nn.LocalResponseNorm,
    nn.LogSoftmax,
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.MaxPool3d,
    nn.Mish,
    nn.PReLU,
    nn.ReLU,
    nn.ReLU6,
    nn.SELU,
    nn.SiLU,
    nn.Sigmoid,
    nn.Softmax,
    nn.Softplus,
    nn.Tanh,
    nn.Upsample,
)

_OURS: tuple[type[nn.Module], ...] = (
    Add,
    Affine,
    AveragePoolSame,
    AveragePoolUneven,
    Concatenate,
    Divide,
    Elementwise,
    Function,
    GlobalAveragePool,
    Maximum,
    Mean,
    Multiply,
    Pad,
    PadSame,
    Permute,
    Power,
    Reshape,
    Slice,
    Squeeze,
    WeightedSum,
)

LAYERS: Mapping[str, Callable[..., nn.Module]] = MappingProxyType(
    {layer.__name__: layer for layer in (*_OF_PYTORCH, *_OURS)}
)
"""Layers by the name of their class."""


def argument_names(layer: Callable[..., nn.Module]) -> tuple[str, ...]:
    """What a description may build a layer with: no device, type or tensor, which are a run's."""
    left_out = ("device", "dtype", "args", "kwargs")
    names = signature(layer).parameters
    return tuple(name for name in names if name not in left_out and not name.startswith("_"))
