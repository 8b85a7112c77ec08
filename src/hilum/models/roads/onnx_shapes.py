"""Operators of ONNX without weights: functions of every number, and those that move numbers."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from hilum.errors import InvalidValueError, require
from hilum.models.graph.spec import Option
from hilum.models.roads.arithmetic_nodes import average, reshape
from hilum.models.roads.onnx_constants import axes_of, slices
from hilum.models.roads.onnx_site import Site
from hilum.models.roads.tracing import Flow, as_integers

__all__ = ["WEIGHTLESS"]

_FLOATS = (1, 10, 11, 16)


def _plain(layer: str, **options: Option) -> Callable[[Site], Flow]:
    def build(site: Site) -> Flow:
        return site.add(layer, options=options)

    return build


def _clip(site: Site) -> Flow:
    low, high = site.scalar(1, "min", None), site.scalar(2, "max", None)
    if low == 0 and (high is None or high > 3e38):
        return site.add("ReLU")
    if low == 0 and high == 6:
        return site.add("ReLU6")
    if low is None or high is None:
        raise InvalidValueError(
            f"limits of node {site.name!r} must both be given, or the lower one be 0. "
            f"Got {low} and {high}."
        )
    return site.add("Hardtanh", options={"min_val": low, "max_val": high})


def _leaky(site: Site) -> Flow:
    return site.add("LeakyReLU", options={"negative_slope": site.number("alpha", 0.01)})


def _elu(site: Site) -> Flow:
    return site.add("ELU", options={"alpha": site.number("alpha", 1.0)})


def _hard_sigmoid(site: Site) -> Flow:
    alpha, beta = site.number("alpha", 0.2), site.number("beta", 0.5)
    line = site.add("Power", options={"scale": alpha, "shift": beta}, part="line")
    return site.add("Hardtanh", line, options={"min_val": 0.0, "max_val": 1.0})


def _gelu(site: Site) -> Flow:
    return site.add("GELU", options={"approximate": site.text("approximate", "none")})


def _softmax(layer: str) -> Callable[[Site], Flow]:
    def build(site: Site) -> Flow:
        flow = site.flow()
        axis = site.axis("axis", -1 if site.opset >= 13 else 1, flow)
        if site.opset < 13 and flow.rank() != axis + 1:
            # Before opset 13 everything from the axis on was one dimension.
            behind = () if flow.shape is None else flow.shape[axis + 1 :]
            right = flow.shape is not None and all(size == 1 for size in behind)
            require(right, f"axis of node {site.name!r}", "the last one", axis)
        return site.add(layer, options={"dim": axis})

    return build


def _power(site: Site) -> Flow:
    exponent = site.constant(1)
    require(exponent.size == 1, f"exponent of node {site.name!r}", "a number", exponent.shape)
    return site.add("Power", options={"power": float(exponent.reshape(-1)[0])})


def _concat(site: Site) -> Flow:
    flows = [site.flow(at) for at in range(len(site.inputs))]
    require(bool(flows), f"inputs of node {site.name!r}", "one or more", 0)
    axis = site.axis("axis", 1, flows[0])
    require(axis > 0, f"axis of node {site.name!r}", "another than the batch", axis)
    return site.add("Concatenate", *flows, options={"dim": axis})


def _maximum(site: Site) -> Flow:
    return site.add("Maximum", *(site.flow(at) for at in range(len(site.inputs))))


def _flatten(site: Site) -> Flow:
    axis = site.axis("axis", 1, site.flow())
    require(axis == 1, f"axis of node {site.name!r}", "1, behind the batch", axis)
    return site.add("Flatten")


def _reshape(site: Site) -> Flow:
    flow = site.flow()
    wanted = site.operation.attributes.get("shape")
    if wanted is None:
        wanted = as_integers(site.constant(1), f"shape of node {site.name!r}")
    literal = site.integer("allowzero", 0) == 1
    require(not literal or 0 not in wanted, f"shape of node {site.name!r}", "without 0", wanted)
    sizes: list[int | None] = list(wanted)
    if sizes and sizes[0] == 0:
        sizes[0] = None
    for at, size in enumerate(sizes[1:], start=1):
        if size == 0:  # as it was
            known = flow.shape is not None and at < len(flow.shape)
            sizes[at] = flow.shape[at] if flow.shape is not None and known else None
    return reshape(site.tracer, site.name, flow, sizes, site.batch)


def _squeeze(site: Site) -> Flow:
    flow = site.flow()
    axes = axes_of(site.operation, [None, site.optional(1)])
    if axes is None:
        return site.add("Squeeze")
    rank = flow.rank()
    right = all(axis > 0 or (rank is not None and -rank < axis < 0) for axis in axes)
    require(right, f"axes of node {site.name!r}", "other than the batch", axes)
    return site.add("Squeeze", options={"dims": [a % rank if rank else a for a in axes]})


def _unsqueeze(site: Site) -> Flow:
    flow = site.flow()
    axes = axes_of(site.operation, [None, site.optional(1)]) or []
    shape = flow.shape
    if shape is None or any(size is None for size in shape[1:]):
        raise InvalidValueError(
            f"shape before node {site.name!r} must be known. Got {shape}. "
            "Hint: export the network with a fixed height and width."
        )
    wide = len(shape) + len(axes)
    places = {axis % wide for axis in axes if -wide <= axis < wide}
    right = len(places) == len(axes) and 0 not in places
    require(right, f"axes of node {site.name!r}", "different, other than the batch", axes)
    sizes = iter(shape[1:])
    wanted = [1 if at in places else next(sizes) for at in range(1, wide)]
    return reshape(site.tracer, site.name, flow, [None, *wanted], site.batch)


def _transpose(site: Site) -> Flow:
    order = site.operation.attributes.get("perm")
    right = isinstance(order, list) and order[:1] == [0]
    require(right, f"perm of node {site.name!r}", "one that leaves the batch first", order)
    return site.add("Permute", options={"dims": order})


def _pad(site: Site) -> Flow:
    mode = site.text("mode", "constant")
    require(mode == "constant", f"mode of node {site.name!r}", "constant", mode)
    pads = site.operation.attributes.get("pads")
    if pads is None:
        pads = as_integers(site.constant(1), f"pads of node {site.name!r}")
    value = site.scalar(2, "value", 0.0)
    require(site.optional(3) is None, f"axes of node {site.name!r}", "left out", "given")
    rank = len(pads) // 2
    right = len(pads) == 2 * rank and all(type(n) is int and abs(n) < 1 << 20 for n in pads)
    require(right and rank >= 2, f"pads of node {site.name!r}", "two per dimension", pads)
    require(pads[0] == pads[rank] == 0, f"pads of node {site.name!r}", "0 for the batch", pads)
    last_first = [n for at in range(rank - 1, 0, -1) for n in (pads[at], pads[rank + at])]
    return site.add("Pad", options={"padding": last_first, "value": value})


def _dropout(site: Site) -> Flow:
    ratio = site.scalar(1, "ratio", 0.5)
    right = ratio is not None and 0 <= ratio < 1
    require(right, f"ratio of node {site.name!r}", "between 0 and 1", ratio)
    return site.add("Dropout", options={"p": ratio})


def _cast(site: Site) -> Flow:
    kind = site.integer("to", 1)
    require(kind in _FLOATS, f"kind of node {site.name!r}", "a float", kind)
    return site.add("Identity")


def _mean(site: Site) -> Flow:
    axes = axes_of(site.operation, [None, site.optional(1)])
    require(axes is not None, f"axes of node {site.name!r}", "given", axes)
    assert axes is not None
    keep = bool(site.integer("keepdims", 1))
    return average(site.tracer, site.name, site.flow(), axes, keep)


def _largest(site: Site) -> Flow:
    flow, axes = site.flow(), axes_of(site.operation, [None, site.optional(1)])
    rank = flow.rank()
    spatial = rank == 4 and axes is not None and sorted(axis % 4 for axis in axes) == [2, 3]
    require(spatial, f"axes of node {site.name!r}", "height and width of images", axes)
    if site.integer("keepdims", 1):
        return site.add("AdaptiveMaxPool2d", options={"output_size": 1})
    pooled = site.add("AdaptiveMaxPool2d", options={"output_size": 1}, part="pool")
    return site.add("Flatten", pooled)


def _slice(site: Site) -> Flow:
    flow = site.flow()
    rank = flow.rank()
    require(rank is not None, f"rank before node {site.name!r}", "known", rank)
    constants = [None, *(site.optional(at) for at in range(1, 5))]
    for axis, part in slices(site.operation, constants, rank or 0):
        end = None if part.stop is not None and part.stop > 1 << 30 else part.stop
        options: dict[str, Option] = {
            "dim": axis,
            "start": part.start,
            "end": end,
            "step": part.step,
        }
        flow = site.add("Slice", flow, options=options)
    return flow


def _resize(site: Site) -> Flow:
    """Whole factors and modes that PyTorch computes the same way; anything else is refused."""
    mode = site.text("mode", "nearest")
    way = site.text("coordinate_transformation_mode", "half_pixel")
    scales = site.optional(1 if len(site.inputs) == 2 else 2)
    require(scales is not None and scales.size == 4, f"node {site.name!r}", "by scales", "sizes")
    assert scales is not None
    batch, channels, height, width = (float(n) for n in np.asarray(scales).reshape(-1))
    right = batch == channels == 1 and height >= 1 and width >= 1
    require(right, f"scales of node {site.name!r}", "of height and width, 1 or more", scales)
    options: dict[str, Option] = {"scale_factor": (height, width)}
    if mode == "nearest":
        whole = height.is_integer() and width.is_integer()
        require(whole, f"scales of node {site.name!r}", "whole numbers", scales)
        known = way in ("asymmetric", "half_pixel") and (
            way == "half_pixel" or site.text("nearest_mode", "round_prefer_floor") == "floor"
        )
        known = known or site.operation.kind == "Upsample"
        require(known, f"node {site.name!r}", "nearest as PyTorch computes it", way)
        return site.add("Upsample", options={**options, "mode": "nearest"})
    known = mode in ("linear", "bilinear") and way in ("half_pixel", "pytorch_half_pixel")
    known = known and site.operation.kind == "Resize"
    require(known, f"mode of node {site.name!r}", "nearest or half_pixel linear", (mode, way))
    return site.add("Upsample", options={**options, "mode": "bilinear", "align_corners": False})


WEIGHTLESS: Mapping[str, Callable[[Site], Flow]] = MappingProxyType(
    {
        "Abs": _plain("Function", name="abs"),
        "Cast": _cast,
        "Clip": _clip,
        "Concat": _concat,
        "Dropout": _dropout,
        "Elu": _elu,
        "Erf": _plain("Function", name="erf"),
        "Exp": _plain("Function", name="exp"),
        "Flatten": _flatten,
        "Gelu": _gelu,
        "HardSigmoid": _hard_sigmoid,
        "HardSwish": _plain("Hardswish"),
        "Identity": _plain("Identity"),
        "LeakyRelu": _leaky,
        "Log": _plain("Function", name="log"),
        "LogSoftmax": _softmax("LogSoftmax"),
        "Max": _maximum,
        "Mish": _plain("Mish"),
        "Neg": _plain("Power", scale=-1.0),
        "Pad": _pad,
        "Pow": _power,
        "Reciprocal": _plain("Power", power=-1.0),
        "ReduceMax": _largest,
        "ReduceMean": _mean,
        "Relu": _plain("ReLU"),
        "Reshape": _reshape,
        "Resize": _resize,
        "Selu": _plain("SELU"),
        "Sigmoid": _plain("Sigmoid"),
        "Slice": _slice,
        "Softmax": _softmax("Softmax"),
        "Softplus": _plain("Softplus"),
        "Sqrt": _plain("Function", name="sqrt"),
        "Squeeze": _squeeze,
        "Tanh": _plain("Tanh"),
        "Transpose": _transpose,
        "Unsqueeze": _unsqueeze,
        "Upsample": _resize,
    }
)
"""Kinds of operators by their names."""
