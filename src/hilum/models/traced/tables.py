"""What a traced network may be made of: layers of torch.nn, functions and methods, by name.

Tables and not `getattr(torch, name)`: what a file can have built and called is listed here. All of
it computes with tensors alone.
"""

import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from hilum.models.graph.layers import LAYERS
from hilum.models.graph.layers import argument_names as names_in_signature

__all__ = ["FUNCTIONS", "METHODS", "MODULES", "argument_names", "options_of"]

_MORE_LAYERS: tuple[type[nn.Module], ...] = (
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool3d,
    nn.AdaptiveMaxPool1d,
    nn.AdaptiveMaxPool3d,
    nn.AlphaDropout,
    nn.Bilinear,
    nn.CELU,
    nn.ConvTranspose1d,
    nn.ConvTranspose3d,
    nn.Dropout1d,
    nn.Dropout3d,
    nn.Embedding,
    nn.EmbeddingBag,
    nn.GLU,
    nn.GRU,
    nn.GRUCell,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.LSTM,
    nn.LSTMCell,
    nn.LogSigmoid,
    nn.PixelShuffle,
    nn.RMSNorm,
    nn.RNN,
    nn.Softmin,
    nn.Softsign,
    nn.Unflatten,
    nn.ZeroPad2d,
)

MODULES: Mapping[str, type[nn.Module]] = MappingProxyType(
    {
        layer.__name__: layer
        for layer in (
            *(one for one in LAYERS.values() if isinstance(one, type)),
            *_MORE_LAYERS,
        )
        if layer.__module__.startswith("torch.nn.")
    }
)
"""Layers by the name of their class, all of torch.nn."""

_OF_TORCH = (
    "abs add amax amin bmm cat chunk clamp concat cos cumsum div einsum exp flatten log "
    "log_softmax logsumexp matmul maximum mean minimum mul neg norm ones_like permute pow relu "
    "reshape rsqrt sigmoid sin softmax split sqrt square squeeze stack std sub sum swapaxes tanh "
    "transpose unbind unsqueeze var where zeros_like"
)
_OF_FUNCTIONAL = (
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d avg_pool1d avg_pool2d avg_pool3d "
    "celu conv1d conv2d conv3d elu embedding gelu glu hardsigmoid hardswish hardtanh interpolate "
    "layer_norm leaky_relu linear log_softmax logsigmoid max_pool1d max_pool2d max_pool3d mish "
    "normalize one_hot pad pixel_shuffle relu relu6 selu sigmoid silu softmax softplus softsign "
    "tanh"
)
_OF_OPERATOR = (
    "add floordiv getitem iadd ifloordiv imatmul imul ipow isub itruediv matmul mul neg pow sub "
    "truediv eq ge gt le lt ne"
)
_METHODS = (
    "abs add amax amin bmm chunk clamp contiguous cumsum div exp expand expand_as flatten float "
    "log log_softmax logsumexp long masked_fill matmul mean movedim mul neg norm permute pow relu "
    "repeat reshape sigmoid size softmax split sqrt square squeeze std sub sum swapaxes t tanh "
    "transpose unbind unflatten unsqueeze var view view_as"
)


def _named(prefix: str, module: Any, names: str) -> dict[str, Callable[..., Any]]:
    return {f"{prefix}.{name}": getattr(module, name) for name in names.split()}


def _shape(value: torch.Tensor, attribute: str) -> torch.Size:
    """The one attribute that a program may read."""
    if attribute != "shape":
        raise AttributeError(attribute)
    return value.shape


FUNCTIONS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        **_named("torch", torch, _OF_TORCH),
        **_named("functional", functional, _OF_FUNCTIONAL),
        **_named("operator", operator, _OF_OPERATOR),
        "getattr": _shape,
    }
)
"""Functions by name."""

METHODS: frozenset[str] = frozenset(_METHODS.split())
"""Methods of tensors by name."""

_OF_RECURRENT = "input_size hidden_size num_layers bias batch_first dropout bidirectional".split()
_OF_CLASS: Mapping[type[nn.Module], tuple[str, ...]] = {
    nn.RNN: (*_OF_RECURRENT, "nonlinearity"),
    nn.LSTM: (*_OF_RECURRENT, "proj_size"),
    nn.GRU: tuple(_OF_RECURRENT),
}


def options_of(layer: nn.Module) -> dict[str, Any]:
    """The arguments a layer of `MODULES` was made with, as far as its attributes tell."""
    found = {}
    for name in argument_names(type(layer)):
        if not hasattr(layer, name):
            continue
        value = getattr(layer, name)
        # Of a layer with a bias the attribute is the bias itself.
        is_tensor = isinstance(value, torch.Tensor) or (name == "bias" and value is None)
        found[name] = value is not None if is_tensor else value
    return found


def argument_names(kind: type[nn.Module]) -> tuple[str, ...]:
    """What a program may build a layer of `MODULES` with."""
    return _OF_CLASS.get(kind) or names_in_signature(kind)
