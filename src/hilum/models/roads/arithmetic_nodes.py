"""Sums, products and the like between flows and constants, for ONNX and ATen alike."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from hilum.errors import InvalidValueError, require
from hilum.models.graph.spec import Option
from hilum.models.roads.assembly import Array
from hilum.models.roads.tracing import Flow, Tracer, Value

__all__ = ["Sign", "average", "combine", "normalise", "reshape"]

Sign = Literal["+", "-", "*", "/"]


def combine(tracer: Tracer, name: str, sign: Sign, first: Value, second: Value) -> Flow:
    """Add a node for two values, one of them a flow at least.

    A constant number becomes an option, a number per channel an `Affine`, any other constant an
    `Elementwise`, so that what was learnt goes on learning.
    """
    if isinstance(first, Flow) and isinstance(second, Flow):
        if sign == "-":
            return tracer.add(name, "WeightedSum", first, second, options={"weights": (1.0, -1.0)})
        layer = {"+": "Add", "*": "Multiply", "/": "Divide"}[sign]
        return tracer.add(name, layer, first, second)
    if isinstance(first, Flow):
        assert not isinstance(second, Flow)
        with np.errstate(all="ignore"):
            constant = {"-": np.negative, "/": np.reciprocal}.get(sign, np.asarray)(
                _floats(second, name)
            )
        return _with_constant(tracer, name, "+" if sign in "+-" else "*", first, constant)
    assert isinstance(second, Flow)
    constant = _floats(first, name)
    if sign == "-":
        second = tracer.add(f"{name}/negative", "Power", second, options={"scale": -1.0})
    if sign == "/":
        second = tracer.add(f"{name}/inverse", "Power", second, options={"power": -1.0})
    return _with_constant(tracer, name, "+" if sign in "+-" else "*", second, constant)


def _floats(constant: Array, name: str) -> Array:
    require(constant.dtype.kind in "fiub", f"constant of node {name!r}", "numbers", constant.dtype)
    return constant.astype(np.float64)


def _with_constant(tracer: Tracer, name: str, sign: str, flow: Flow, constant: Array) -> Flow:
    if constant.size == 1 and constant.ndim <= (flow.rank() or 0):
        key = "shift" if sign == "+" else "scale"
        return tracer.add(name, "Power", flow, options={key: float(constant.reshape(-1)[0])})
    rank = flow.rank()
    if rank is None or constant.ndim > rank:
        raise InvalidValueError(
            f"constant of node {name!r} must be of the rank of what it is joined with. "
            f"Got shape {constant.shape}."
        )
    shape = (1,) * (rank - constant.ndim) + constant.shape
    require(shape[0] == 1, f"constant of node {name!r}", "the same for every image", shape)
    per_channel = rank > 1 and all(size == 1 for size in shape[2:])
    options: dict[str, Option] = {"scale": sign == "*", "bias": sign == "+"}
    if per_channel and flow.shape is not None and flow.shape[1] == shape[1]:
        options["num_features"] = shape[1]
        tensors = {"weight" if sign == "*" else "bias": constant.reshape(-1)}
        return tracer.add(name, "Affine", flow, options=options, tensors=tensors)
    options["shape"] = shape[1:]
    tensors = {"weight" if sign == "*" else "bias": constant.reshape(shape[1:])}
    return tracer.add(name, "Elementwise", flow, options=options, tensors=tensors)


def reshape(
    tracer: Tracer, name: str, flow: Flow, wanted: Sequence[int | None], batch: int | None
) -> Flow:
    """Add a reshape to sizes as ONNX and PyTorch write them, -1 for what is left.

    The first size has to be the batch's: unknown (None), -1, what the file fixed it to, or 1.

    Raises:
        InvalidValueError: images would be mixed, or a size depends on the image.
    """
    require(len(wanted) >= 1, f"shape of node {name!r}", "one size or more", wanted)
    first, rest = wanted[0], [-1 if size is None else size for size in wanted[1:]]
    right = first in (None, -1, batch) or (first == 1 and batch is None)
    require(right, f"first size of node {name!r}", "that of the batch", first)
    if rest.count(-1) > 1:
        raise InvalidValueError(
            f"shape of node {name!r} must be known but for one size. Got {list(wanted)}. "
            "Hint: export the network with a fixed height and width."
        )
    require(all(size >= -1 for size in rest), f"shape of node {name!r}", "of sizes", wanted)
    if not rest:
        return tracer.add(name, "Flatten", flow, options={"start_dim": 0})
    return tracer.add(name, "Reshape", flow, options={"shape": rest})


def average(tracer: Tracer, name: str, flow: Flow, axes: Sequence[int], keep: bool) -> Flow:
    """Add a mean over axes; over height and width it is a global pool."""
    rank = flow.rank()
    negative = any(axis < 0 for axis in axes)
    if rank is None and negative:
        raise InvalidValueError(f"rank of node {name!r} must be known. Got axes {list(axes)}.")
    dims = sorted(axis % rank if rank and axis < 0 else axis for axis in axes)
    require(bool(dims) and dims[0] > 0, f"axes of node {name!r}", "other than the batch", dims)
    if rank is not None and rank > 2 and dims == list(range(2, rank)):
        return tracer.add(name, "GlobalAveragePool", flow, options={"keepdim": keep})
    return tracer.add(name, "Mean", flow, options={"dims": dims, "keepdim": keep})


def normalise(
    tracer: Tracer,
    name: str,
    flow: Flow,
    *,
    scale: Array,
    shift: Array,
    mean: Array,
    variance: Array,
    eps: float,
    momentum: float | None,
) -> Flow:
    """Add a batch normalisation with its running statistics; `momentum` as PyTorch means it."""
    rank = flow.rank()
    layer = {2: "BatchNorm1d", 3: "BatchNorm1d", 5: "BatchNorm3d"}.get(rank or 4, "BatchNorm2d")
    tensors = {"weight": scale, "bias": shift, "running_mean": mean, "running_var": variance}
    options: dict[str, Option] = {"num_features": mean.size, "eps": eps, "momentum": momentum}
    return tracer.add(name, layer, flow, options=options, tensors=tensors)
