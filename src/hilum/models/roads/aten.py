"""PyTorch's operators as layers: what a network is after torch.export or TorchScript took it apart.

The arguments' names are those of native_functions.yaml. Operators that work in place are the same
here; who calls them sees to it that later readers of the changed tensor get the new value.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal

import numpy as np

from hilum.errors import InvalidValueError, require
from hilum.models.graph.spec import Option
from hilum.models.roads.arithmetic_nodes import Sign, average, combine, normalise, reshape
from hilum.models.roads.assembly import Array
from hilum.models.roads.aten_moves import MOVES
from hilum.models.roads.aten_site import AtenSite
from hilum.models.roads.spatial import Border, convolve, pool
from hilum.models.roads.tracing import Flow

__all__ = ["OPERATORS", "call"]

_EVALUATE = "export it in evaluation mode: model.eval()"


def call(site: AtenSite) -> Flow | list[Flow]:
    """Add the nodes of a call.

    Raises:
        InvalidValueError: an operator or an argument that Hilum does not know.
    """
    build = _OPERATORS.get(site.operator) or MOVES.get(site.operator)
    if build is None:
        raise InvalidValueError(
            f"operator at {site.name!r} must be one Hilum knows ({', '.join(OPERATORS)}). "
            f"Got {site.operator}. Hint: where you have the code of the network, give its weights "
            "as a state dict with architecture=."
        )
    return build(site)


def _with_bias(weight: Array, bias: Array | None) -> dict[str, Array]:
    return {"weight": weight} if bias is None else {"weight": weight, "bias": bias}


def _convolution(site: AtenSite) -> Flow:
    weight, bias = site.constant("weight"), site.optional("bias")
    require(weight.ndim == 4, f"weights of {site.name!r}", "of rank 4", weight.ndim)
    if site.flag("transposed"):
        return _transposed(site, weight, bias)
    border: Border
    padding = site.get("padding")
    if isinstance(padding, str):
        require(padding in ("same", "valid"), f"padding of {site.name!r}", "same or valid", padding)
        border = "SAME" if padding == "same" else (0, 0, 0, 0)
    else:
        height, width = site.pair("padding", 0)
        border = (height, height, width, width)
    name = convolve(
        site.tracer.assembly,
        site.name,
        site.flow("input").node,
        tensors=_with_bias(weight, bias),
        stride=site.pair("stride"),
        border=border,
        dilation=site.pair("dilation"),
        groups=site.integer("groups", 1),
    )
    return site.tracer.flow(name)


def _transposed_alone(site: AtenSite) -> Flow:
    return _transposed(site, site.constant("weight"), site.optional("bias"))


def _transposed(site: AtenSite, weight: Array, bias: Array | None) -> Flow:
    require(weight.ndim == 4, f"weights of {site.name!r}", "of rank 4", weight.ndim)
    groups = site.integer("groups", 1)
    return site.add(
        "ConvTranspose2d",
        options={
            "in_channels": weight.shape[0],
            "out_channels": weight.shape[1] * groups,
            "kernel_size": (weight.shape[2], weight.shape[3]),
            "stride": site.pair("stride"),
            "padding": site.pair("padding", 0),
            "output_padding": site.pair("output_padding", 0),
            "dilation": site.pair("dilation"),
            "groups": groups,
            "bias": bias is not None,
        },
        tensors=_with_bias(weight, bias),
    )


def _batch_norm(site: AtenSite) -> Flow:
    training = site.flag("training")
    require(not training, f"mode of {site.name!r}", "evaluation", "training", hint=_EVALUATE)
    mean = site.constant("running_mean")
    weight, bias = site.optional("weight"), site.optional("bias")
    return normalise(
        site.tracer,
        site.name,
        site.flow("input"),
        scale=np.ones_like(mean) if weight is None else weight,
        shift=np.zeros_like(mean) if bias is None else bias,
        mean=mean,
        variance=site.constant("running_var"),
        eps=site.number("eps", 1e-5),
        momentum=site.number("momentum", 0.1),
    )


def _layer_norm(site: AtenSite) -> Flow:
    shape = site.integers("normalized_shape")
    known = bool(shape) and None not in shape
    require(known, f"normalized_shape of {site.name!r}", "whole numbers", shape)
    sizes = tuple(int(n or 0) for n in shape)
    weight, bias = site.optional("weight"), site.optional("bias")
    options: dict[str, Option] = {
        "normalized_shape": sizes,
        "eps": site.number("eps", 1e-5),
        "elementwise_affine": weight is not None,
    }
    tensors: dict[str, Array] = {}
    if weight is not None:
        tensors = {"weight": weight, "bias": np.zeros_like(weight) if bias is None else bias}
    return site.add("LayerNorm", options=options, tensors=tensors)


def _group_norm(site: AtenSite) -> Flow:
    weight = site.constant("weight")
    options: dict[str, Option] = {
        "num_groups": site.integer("num_groups", 1),
        "num_channels": weight.size,
        "eps": site.number("eps", 1e-5),
    }
    return site.add("GroupNorm", options=options, tensors=_with_bias(weight, site.constant("bias")))


def _linear(site: AtenSite) -> Flow:
    weight, bias = site.constant("weight"), site.optional("bias")
    return _linear_layer(site, site.flow("input"), weight, bias)


def _linear_layer(site: AtenSite, flow: Flow, weight: Array, bias: Array | None) -> Flow:
    require(weight.ndim == 2, f"weights of {site.name!r}", "of rank 2", weight.ndim)
    options: dict[str, Option] = {
        "in_features": weight.shape[1],
        "out_features": weight.shape[0],
        "bias": bias is not None,
    }
    return site.add("Linear", flow, options=options, tensors=_with_bias(weight, bias))


def _addmm(site: AtenSite) -> Flow:
    plain = site.number("beta", 1) == site.number("alpha", 1) == 1
    require(plain, f"factors of {site.name!r}", "1", "others")
    bias, weight = site.constant("self"), site.constant("mat2")
    return _linear_layer(site, site.flow("mat1"), weight.T, bias)


def _matmul(site: AtenSite) -> Flow:
    second = "mat2" if "mat2" in site.arguments else "other"
    return _linear_layer(site, site.flow("self"), site.constant(second).T, None)


def _pooling(kind: Literal["MaxPool2d", "AvgPool2d"]) -> Callable[[AtenSite], Flow]:
    def build(site: AtenSite) -> Flow:
        kernel = site.pair("kernel_size")
        stride = site.pair("stride") if site.get("stride") else kernel
        height, width = site.pair("padding", 0)
        plain = site.pair("dilation") == (1, 1) and site.get("divisor_override") is None
        require(plain, f"{site.operator} at {site.name!r}", "without dilation and divisor", "one")
        name = pool(
            site.tracer.assembly,
            site.name,
            site.flow().node,
            kind=kind,
            kernel=kernel,
            stride=stride,
            border=(height, height, width, width),
            ceil_mode=site.flag("ceil_mode"),
            count_border=site.flag("count_include_pad", True),
        )
        return site.tracer.flow(name)

    return build


def _adaptive(layer: str) -> Callable[[AtenSite], Flow]:
    def build(site: AtenSite) -> Flow:
        size = site.pair("output_size")
        if size == (1, 1) and layer == "AdaptiveAvgPool2d":
            return site.add("GlobalAveragePool", options={"keepdim": True})
        return site.add(layer, options={"output_size": size})

    return build


def _mean(site: AtenSite) -> Flow:
    axes = [int(n or 0) for n in site.integers("dim")]
    return average(site.tracer, site.name, site.flow("self"), axes, site.flag("keepdim"))


def _arithmetic(sign: Sign) -> Callable[[AtenSite], Flow]:
    def build(site: AtenSite) -> Flow:
        alpha = site.number("alpha", 1)
        require(alpha == 1, f"alpha of {site.name!r}", "1", alpha)
        require(site.get("rounding_mode") is None, f"{site.name!r}", "a plain division", "rounded")
        first, second = site.value("self"), site.value("other")
        if site.operator == "rsub":
            first, second = second, first
        return combine(site.tracer, site.name, sign, first, second)

    return build


def _plain(layer: str, **options: Option) -> Callable[[AtenSite], Flow]:
    def build(site: AtenSite) -> Flow:
        return site.add(layer, options=options)

    return build


def _number_options(layer: str, **keys: tuple[str, float]) -> Callable[[AtenSite], Flow]:
    """A layer whose options are numbers: its name for them, the operator's, and the default."""

    def build(site: AtenSite) -> Flow:
        options = {own: site.number(theirs, default) for own, (theirs, default) in keys.items()}
        return site.add(layer, options=options)

    return build


def _hardtanh(site: AtenSite) -> Flow:
    low, high = site.number("min_val", -1.0), site.number("max_val", 1.0)
    if (low, high) == (0.0, 6.0):
        return site.add("ReLU6")
    return site.add("Hardtanh", options={"min_val": low, "max_val": high})


def _clamp(site: AtenSite) -> Flow:
    low, high = site.get("min"), site.get("max")
    if high is None and low == 0:
        return site.add("ReLU")
    right = all(isinstance(limit, int | float) for limit in (low, high))
    require(right, f"limits of {site.name!r}", "two numbers", (low, high))
    return site.add("Hardtanh", options={"min_val": float(low), "max_val": float(high)})


def _gelu(site: AtenSite) -> Flow:
    return site.add("GELU", options={"approximate": str(site.get("approximate", "none"))})


def _softmax(layer: str) -> Callable[[AtenSite], Flow]:
    def build(site: AtenSite) -> Flow:
        dim = site.axis("dim", -1, site.flow())
        require(dim > 0, f"dim of {site.name!r}", "other than the batch", dim)
        return site.add(layer, options={"dim": dim})

    return build


def _prelu(site: AtenSite) -> Flow:
    slopes = site.constant("weight").reshape(-1)
    options: dict[str, Option] = {"num_parameters": slopes.size}
    return site.add("PReLU", options=options, tensors={"weight": slopes})


def _dropout(layer: str) -> Callable[[AtenSite], Flow]:
    def build(site: AtenSite) -> Flow:
        training = site.flag("train") or site.flag("training")
        require(not training, f"mode of {site.name!r}", "evaluation", "training", hint=_EVALUATE)
        return site.add(layer, options={"p": site.number("p", 0.5)})

    return build


def _concat(site: AtenSite) -> Flow:
    flows: Sequence[object] = site.get("tensors", [])
    chosen = [flow for flow in flows if isinstance(flow, Flow)]
    right = bool(chosen) and len(chosen) == len(flows)
    require(right, f"tensors of {site.name!r}", "values of the network", len(flows))
    dim = site.axis("dim", 0, chosen[0])
    require(dim > 0, f"dim of {site.name!r}", "other than the batch", dim)
    return site.add("Concatenate", *chosen, options={"dim": dim})


def _power(site: AtenSite) -> Flow:
    return site.add("Power", options={"power": site.number("exponent", 1)})


def _view(site: AtenSite) -> Flow:
    key = "shape" if "shape" in site.arguments else "size"
    return reshape(site.tracer, site.name, site.flow("self"), site.integers(key), site.batch)


_OPERATORS: Mapping[str, Callable[[AtenSite], Flow]] = MappingProxyType(
    {
        "_convolution": _convolution,
        "_convolution_mode": _convolution,
        "_log_softmax": _softmax("LogSoftmax"),
        "_native_batch_norm_legit_no_training": _batch_norm,
        "_softmax": _softmax("Softmax"),
        "adaptive_avg_pool2d": _adaptive("AdaptiveAvgPool2d"),
        "_adaptive_avg_pool2d": _adaptive("AdaptiveAvgPool2d"),
        "adaptive_max_pool2d": _adaptive("AdaptiveMaxPool2d"),
        "add": _arithmetic("+"),
        "addmm": _addmm,
        "avg_pool2d": _pooling("AvgPool2d"),
        "batch_norm": _batch_norm,
        "cat": _concat,
        "clamp": _clamp,
        "conv2d": _convolution,
        "conv_transpose2d": _transposed_alone,
        "convolution": _convolution,
        "div": _arithmetic("/"),
        "dropout": _dropout("Dropout"),
        "elu": _number_options("ELU", alpha=("alpha", 1.0)),
        "erf": _plain("Function", name="erf"),
        "exp": _plain("Function", name="exp"),
        "feature_dropout": _dropout("Dropout2d"),
        "gelu": _gelu,
        "group_norm": _group_norm,
        "hardsigmoid": _plain("Hardsigmoid"),
        "hardswish": _plain("Hardswish"),
        "hardtanh": _hardtanh,
        "layer_norm": _layer_norm,
        "leaky_relu": _number_options("LeakyReLU", negative_slope=("negative_slope", 0.01)),
        "linear": _linear,
        "log_softmax": _softmax("LogSoftmax"),
        "matmul": _matmul,
        "max_pool2d": _pooling("MaxPool2d"),
        "mean": _mean,
        "mish": _plain("Mish"),
        "mm": _matmul,
        "mul": _arithmetic("*"),
        "neg": _plain("Power", scale=-1.0),
        "pow": _power,
        "prelu": _prelu,
        "relu": _plain("ReLU"),
        "relu6": _plain("ReLU6"),
        "reshape": _view,
        "rsub": _arithmetic("-"),
        "selu": _plain("SELU"),
        "sigmoid": _plain("Sigmoid"),
        "silu": _plain("SiLU"),
        "softmax": _softmax("Softmax"),
        "softplus": _number_options("Softplus", beta=("beta", 1.0), threshold=("threshold", 20.0)),
        "sqrt": _plain("Function", name="sqrt"),
        "sub": _arithmetic("-"),
        "tanh": _plain("Tanh"),
        "view": _view,
    }
)

OPERATORS = tuple(sorted({*_OPERATORS, *MOVES}))
"""Operators that are understood, in place or not."""
