"""Operators of ONNX with weights or windows, as layers of PyTorch."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

import numpy as np

from hilum.errors import require
from hilum.models.graph.spec import Option
from hilum.models.roads.arithmetic_nodes import combine, normalise
from hilum.models.roads.assembly import Array
from hilum.models.roads.onnx_site import Site
from hilum.models.roads.spatial import convolve, pool
from hilum.models.roads.tracing import Flow

__all__ = ["WEIGHTED"]

_DEFAULT_EPS, _DEFAULT_MOMENTUM = 1e-5, 0.9


def _tensors(site: Site, bias_at: int) -> dict[str, Array]:
    weight, bias = site.constant(1), site.optional(bias_at)
    return {"weight": weight} if bias is None else {"weight": weight, "bias": bias}


def _convolution(site: Site) -> Flow:
    tensors = _tensors(site, 2)
    weight = tensors["weight"]
    require(weight.ndim == 4, f"weights of node {site.name!r}", "of rank 4", weight.ndim)
    kernel, stride = (weight.shape[2], weight.shape[3]), site.pair("strides")
    site.plain(kernel_shape=list(kernel))
    name = convolve(
        site.tracer.assembly,
        site.name,
        site.flow().node,
        tensors=tensors,
        stride=stride,
        border=site.border(kernel, stride),
        dilation=site.pair("dilations"),
        groups=site.integer("group", 1),
    )
    return site.tracer.flow(name)


def _transposed(site: Site) -> Flow:
    tensors = _tensors(site, 2)
    weight, groups = tensors["weight"], site.integer("group", 1)
    require(weight.ndim == 4, f"weights of node {site.name!r}", "of rank 4", weight.ndim)
    kernel, stride = (weight.shape[2], weight.shape[3]), site.pair("strides")
    site.plain(kernel_shape=list(kernel), output_shape=None, auto_pad="NOTSET")
    border = site.border(kernel, stride)
    even = border != "SAME" and border[0] == border[1] and border[2] == border[3]
    require(even, f"pads of node {site.name!r}", "as wide on both sides", border)
    assert border != "SAME"
    return site.add(
        "ConvTranspose2d",
        options={
            "in_channels": weight.shape[0],
            "out_channels": weight.shape[1] * groups,
            "kernel_size": kernel,
            "stride": stride,
            "padding": (border[0], border[2]),
            "output_padding": site.pair("output_padding", 0),
            "dilation": site.pair("dilations"),
            "groups": groups,
            "bias": "bias" in tensors,
        },
        tensors=tensors,
    )


def _pooling(kind: Literal["MaxPool2d", "AvgPool2d"]) -> Callable[[Site], Flow]:
    def build(site: Site) -> Flow:
        named = [output for output in site.operation.outputs if output]
        require(len(named) == 1, f"outputs of node {site.name!r}", "values, no indices", named)
        site.plain(dilations=[1, 1], storage_order=0)
        kernel, stride = site.pair("kernel_shape"), site.pair("strides")
        border, ceil_mode = site.border(kernel, stride), bool(site.integer("ceil_mode", 0))
        counted = bool(site.integer("count_include_pad", 0))
        uneven = border != "SAME" and (border[0] != border[1] or border[2] != border[3])
        if uneven and kind == "AvgPool2d" and not counted and not ceil_mode:
            top, bottom, left, right = border
            options: dict[str, Option] = {
                "kernel_size": kernel,
                "stride": stride,
                "padding": (left, right, top, bottom),
            }
            return site.add("AveragePoolUneven", options=options)
        name = pool(
            site.tracer.assembly,
            site.name,
            site.flow().node,
            kind=kind,
            kernel=kernel,
            stride=stride,
            border=border,
            ceil_mode=ceil_mode,
            count_border=counted,
        )
        return site.tracer.flow(name)

    return build


def _global_average(site: Site) -> Flow:
    return site.add("GlobalAveragePool", options={"keepdim": True})


def _global_maximum(site: Site) -> Flow:
    return site.add("AdaptiveMaxPool2d", options={"output_size": 1})


def _batch_norm(site: Site) -> Flow:
    site.plain(training_mode=0, spatial=1)
    named = [output for output in site.operation.outputs if output]
    require(len(named) == 1, f"outputs of node {site.name!r}", "one: evaluation mode", named)
    return normalise(
        site.tracer,
        site.name,
        site.flow(),
        scale=site.constant(1),
        shift=site.constant(2),
        mean=site.constant(3),
        variance=site.constant(4),
        eps=site.number("epsilon", _DEFAULT_EPS),
        # ONNX says what is kept of the old statistics, PyTorch what is taken of the new.
        momentum=1.0 - site.number("momentum", _DEFAULT_MOMENTUM),
    )


def _instance_norm(site: Site) -> Flow:
    scale, shift = site.constant(1), site.constant(2)
    options: dict[str, Option] = {
        "num_groups": scale.size,
        "num_channels": scale.size,
        "eps": site.number("epsilon", _DEFAULT_EPS),
    }
    return site.add("GroupNorm", options=options, tensors={"weight": scale, "bias": shift})


def _group_norm(site: Site) -> Flow:
    scale, shift, groups = site.constant(1), site.constant(2), site.integer("num_groups", 1)
    shape = site.flow().shape
    channels = None if shape is None or len(shape) < 2 else shape[1]
    require(channels is not None, f"channels of node {site.name!r}", "known", shape)
    assert channels is not None
    if scale.size == groups != channels and groups > 0:  # one per group before opset 21
        scale, shift = (np.repeat(array, channels // groups) for array in (scale, shift))
    options: dict[str, Option] = {
        "num_groups": groups,
        "num_channels": channels,
        "eps": site.number("epsilon", _DEFAULT_EPS),
    }
    return site.add("GroupNorm", options=options, tensors={"weight": scale, "bias": shift})


def _layer_norm(site: Site) -> Flow:
    flow, scale = site.flow(), site.constant(1)
    shift = site.optional(2)
    rank, axis = flow.rank(), site.axis("axis", -1, flow)
    require(rank == axis + scale.ndim, f"axis of node {site.name!r}", "of the scale's rank", axis)
    options: dict[str, Option] = {
        "normalized_shape": scale.shape,
        "eps": site.number("epsilon", _DEFAULT_EPS),
    }
    shift = np.zeros_like(scale) if shift is None else shift
    return site.add("LayerNorm", options=options, tensors={"weight": scale, "bias": shift})


def _local_response(site: Site) -> Flow:
    size = site.integer("size", 1)
    # PyTorch puts the window of an even size elsewhere.
    require(size % 2 == 1, f"size of node {site.name!r}", "odd", size)
    return site.add(
        "LocalResponseNorm",
        options={
            "size": size,
            "alpha": site.number("alpha", 1e-4),
            "beta": site.number("beta", 0.75),
            "k": site.number("bias", 1.0),
        },
    )


def _gemm(site: Site) -> Flow:
    site.plain(transA=0)
    alpha, beta = site.number("alpha", 1.0), site.number("beta", 1.0)
    weight, bias = site.constant(1), site.optional(2)
    require(weight.ndim == 2, f"weights of node {site.name!r}", "of rank 2", weight.ndim)
    weight = weight if site.integer("transB", 0) else weight.T
    tensors = {"weight": weight if alpha == 1 else weight * np.float32(alpha)}
    if bias is not None and beta != 0:
        wide = np.broadcast_to(bias, (weight.shape[0],)) if bias.size == 1 else bias.reshape(-1)
        tensors["bias"] = wide if beta == 1 else wide * np.float32(beta)
    return _linear(site, tensors)


def _matmul(site: Site) -> Flow:
    first, second = site.value(0), site.value(1)
    require(
        isinstance(first, Flow) and not isinstance(second, Flow),
        f"node {site.name!r}",
        "a product of a value and a constant matrix",
        "another product",
        hint="attention is not read",
    )
    weight = site.constant(1)
    require(weight.ndim == 2, f"weights of node {site.name!r}", "of rank 2", weight.ndim)
    return _linear(site, {"weight": weight.T})


def _linear(site: Site, tensors: Mapping[str, Array]) -> Flow:
    options: dict[str, Option] = {
        "in_features": tensors["weight"].shape[1],
        "out_features": tensors["weight"].shape[0],
        "bias": "bias" in tensors,
    }
    return site.add("Linear", options=options, tensors=tensors)


def _prelu(site: Site) -> Flow:
    slopes, rank = site.constant(1), site.flow().rank()
    if slopes.ndim == rank and slopes.shape[0] == 1:
        slopes = slopes[0]
    right = slopes.size == 1 or all(size == 1 for size in slopes.shape[1:])
    require(right, f"slopes of node {site.name!r}", "one, or one per channel", slopes.shape)
    options: dict[str, Option] = {"num_parameters": slopes.size}
    return site.add("PReLU", options=options, tensors={"weight": slopes.reshape(-1)})


def _sum_of(sign: Literal["+", "-", "*", "/"]) -> Callable[[Site], Flow]:
    def build(site: Site) -> Flow:
        values = [value for value in site.inputs if value is not None]
        require(len(values) >= 2, f"inputs of node {site.name!r}", "two", len(values))
        if sign == "+" and all(isinstance(value, Flow) for value in values):
            return site.add("Add", *(site.flow(at) for at in range(len(values))))
        require(len(values) == 2, f"inputs of node {site.name!r}", "two", len(values))
        return combine(site.tracer, site.name, sign, values[0], values[1])

    return build


WEIGHTED: Mapping[str, Callable[[Site], Flow]] = MappingProxyType(
    {
        "Add": _sum_of("+"),
        "AveragePool": _pooling("AvgPool2d"),
        "BatchNormalization": _batch_norm,
        "Conv": _convolution,
        "ConvTranspose": _transposed,
        "Div": _sum_of("/"),
        "Gemm": _gemm,
        "GlobalAveragePool": _global_average,
        "GlobalMaxPool": _global_maximum,
        "GroupNormalization": _group_norm,
        "InstanceNormalization": _instance_norm,
        "LRN": _local_response,
        "LayerNormalization": _layer_norm,
        "MatMul": _matmul,
        "MaxPool": _pooling("MaxPool2d"),
        "Mul": _sum_of("*"),
        "PRelu": _prelu,
        "Sub": _sum_of("-"),
        "Sum": _sum_of("+"),
    }
)
"""Kinds of operators by their names."""
