"""Layers of Keras that normalise, scale and join."""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from hilum.errors import require
from hilum.models.graph.spec import Option
from hilum.models.roads.assembly import Array
from hilum.models.roads.keras_layer import IMAGE_RANK, Layer, Value

__all__ = ["ARITHMETIC"]

_TO_KERAS, _FROM_KERAS = (0, 2, 3, 1), (0, 3, 1, 2)


def _last_axis(layer: Layer, value: Value) -> None:
    axis = layer.config.get("axis", -1)
    axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    right = axis in (-1, value.rank - 1)
    require(right, f"axis of layer {layer.name!r}", "the last one, of channels", axis)


def _epsilon(layer: Layer) -> float:
    epsilon = layer.config.get("epsilon", 1e-3)  # a hundred times PyTorch's
    right = isinstance(epsilon, float | int) and 0 <= epsilon < 1
    require(right, f"epsilon of layer {layer.name!r}", "between 0 and 1", epsilon)
    return float(epsilon)


def _scale_and_center(layer: Layer) -> list[str]:
    return [
        name
        for name, key in (("gamma", "scale"), ("beta", "center"))
        if layer.config.get(key, True)
    ]


def _batch_norm(layer: Layer, values: Sequence[Value]) -> Value:
    value = layer.one(values)
    _last_axis(layer, value)
    require(value.rank in (2, 4), f"input of layer {layer.name!r}", "of rank 2 or 4", value.rank)
    names = [*_scale_and_center(layer), "moving_mean", "moving_variance"]
    found = dict(zip(names, layer.read(*names), strict=True))
    mean = found["moving_mean"]
    momentum = layer.config.get("momentum", 0.99)
    right = isinstance(momentum, float | int) and 0 <= momentum <= 1
    require(right, f"momentum of layer {layer.name!r}", "between 0 and 1", momentum)
    return layer.add(
        "BatchNorm2d" if value.rank == IMAGE_RANK else "BatchNorm1d",
        value,
        options={
            "num_features": mean.size,
            "eps": _epsilon(layer),
            "momentum": 1.0 - float(momentum),  # Keras says what is kept, PyTorch what is new
        },
        tensors={
            "weight": found.get("gamma", np.ones_like(mean)),
            "bias": found.get("beta", np.zeros_like(mean)),
            "running_mean": mean,
            "running_var": found["moving_variance"],
        },
    )


def _layer_norm(layer: Layer, values: Sequence[Value]) -> Value:
    value = layer.one(values)
    _last_axis(layer, value)
    names = _scale_and_center(layer)
    require(bool(names), f"layer {layer.name!r}", "with scale or center", "neither")
    found = dict(zip(names, layer.read(*names), strict=True))
    size = next(iter(found.values())).shape
    gamma = found.get("gamma", np.ones(size, np.float32))
    tensors = {"weight": gamma, "bias": found.get("beta", np.zeros(size, np.float32))}
    options: dict[str, Option] = {"normalized_shape": size, "eps": _epsilon(layer)}
    if value.rank != IMAGE_RANK:
        return layer.add("LayerNorm", value, options=options, tensors=tensors)
    turned = layer.add("Permute", value, options={"dims": _TO_KERAS}, part="channels_last")
    done = layer.add("LayerNorm", turned, options=options, tensors=tensors, part="norm")
    return layer.add("Permute", done, options={"dims": _FROM_KERAS})


def _layer_scale(layer: Layer, values: Sequence[Value]) -> Value:
    (gamma,) = layer.read("gamma")
    return _affine(layer, layer.one(values), gamma.ravel(), None)


def _affine(layer: Layer, value: Value, weight: Array | None, bias: Array | None) -> Value:
    """A factor and a term per channel."""
    what = f"input of layer {layer.name!r}"
    require(value.rank in (2, IMAGE_RANK), what, "of rank 2 or 4", value.rank)
    given = {"weight": weight, "bias": bias}
    tensors = {name: array for name, array in given.items() if array is not None}
    size = next(iter(tensors.values())).size
    options: dict[str, Option] = {
        "num_features": size,
        "scale": weight is not None,
        "bias": bias is not None,
    }
    return layer.add("Affine", value, options=options, tensors=tensors)


def _rescaling(layer: Layer, values: Sequence[Value]) -> Value:
    value = layer.one(values)
    scale = _numbers(layer, "scale", layer.config.get("scale", 1.0))
    offset = _numbers(layer, "offset", layer.config.get("offset", 0.0))
    if scale.size == 1 and offset.size == 1:
        options: dict[str, Option] = {"scale": float(scale[0]), "shift": float(offset[0])}
        return layer.add("Power", value, options=options)
    scale, offset = np.broadcast_arrays(scale, offset)
    return _affine(layer, value, scale, offset)


def _numbers(layer: Layer, key: str, found: Any) -> Array:
    if isinstance(found, Mapping):  # an array, as Keras 3 writes it
        found = found.get("config", {}).get("value")
    numbers = np.asarray(found).ravel()
    right = numbers.dtype.kind in "fiu" and 0 < numbers.size < 1 << 16
    require(right, f"{key} of layer {layer.name!r}", "numbers", found)
    return numbers.astype(np.float64)


def _normalization(layer: Layer, values: Sequence[Value]) -> Value:
    value = layer.one(values)
    _last_axis(layer, value)
    inverse = layer.config.get("invert", False)
    require(not inverse, f"invert of layer {layer.name!r}", "False", inverse)
    if layer.config.get("mean") is not None:
        mean = _numbers(layer, "mean", layer.config["mean"])
        variance = _numbers(layer, "variance", layer.config["variance"])
    else:
        mean, variance = (
            found.ravel().astype(np.float64) for found in layer.read("mean", "variance")
        )
    with np.errstate(all="ignore"):
        deviation = np.maximum(np.sqrt(variance), 1e-7)
        return _affine(layer, value, 1 / deviation, -mean / deviation)


def _joined(kind: str) -> Callable[[Layer, Sequence[Value]], Value]:
    def build(layer: Layer, values: Sequence[Value]) -> Value:
        ranks = {value.rank for value in values}
        require(len(ranks) == 1, f"inputs of layer {layer.name!r}", "of one rank", ranks)
        options: dict[str, Option] = {}
        if kind == "WeightedSum":
            average = layer.call.kind == "Average"
            weights = (1 / len(values),) * len(values) if average else (1.0, -1.0)
            require(average or len(values) == 2, f"inputs of {layer.name!r}", "two", len(values))
            options["weights"] = weights
        return layer.add(kind, *values, options=options)

    return build


def _concatenate(layer: Layer, values: Sequence[Value]) -> Value:
    require(bool(values), f"inputs of layer {layer.name!r}", "one or more", 0)
    rank, axis = values[0].rank, layer.config.get("axis", -1)
    right = type(axis) is int and -rank <= axis < rank
    require(right, f"axis of layer {layer.name!r}", f"a dimension of {rank}", axis)
    dim = axis % rank
    if rank == IMAGE_RANK:
        dim = _TO_KERAS[dim]
    require(dim > 0, f"axis of layer {layer.name!r}", "another than the batch", axis)
    return layer.add("Concatenate", *values, options={"dim": dim})


def _operation(layer: Layer, values: Sequence[Value]) -> Value:
    """`x + y`, `x * 3` and the like."""
    kind, numbers = layer.call.kind.removeprefix("ops."), layer.call.numbers
    right = len(values) + len(numbers) == 2 and len(values) >= 1
    require(right, f"arguments of {layer.name!r}", "two tensors, or a tensor and a number", numbers)
    if len(values) == 2:
        require(kind != "TrueDivide", f"operation {layer.name!r}", "not between tensors", kind)
        return _joined({"Subtract": "WeightedSum"}.get(kind, kind))(layer, values)
    (number, behind) = numbers[0]
    scale, shift = {
        "Add": (1.0, number),
        "Multiply": (number, 0.0),
        "Subtract": (1.0, -number) if behind else (-1.0, number),
        "TrueDivide": (1 / number if number and behind else math.nan, 0.0),
    }[kind]
    require(math.isfinite(scale), f"operation {layer.name!r}", "a division by a number", number)
    return layer.add("Power", values[0], options={"scale": scale, "shift": shift})


ARITHMETIC: Mapping[str, Callable[[Layer, Sequence[Value]], Value]] = MappingProxyType(
    {
        "Add": _joined("Add"),
        "Average": _joined("WeightedSum"),
        "BatchNormalization": _batch_norm,
        "Concatenate": _concatenate,
        "LayerNormalization": _layer_norm,
        "LayerScale": _layer_scale,
        "Maximum": _joined("Maximum"),
        "Multiply": _joined("Multiply"),
        "Normalization": _normalization,
        "Rescaling": _rescaling,
        "Subtract": _joined("WeightedSum"),
    }
    | {f"ops.{kind}": _operation for kind in ("Add", "Multiply", "Subtract", "TrueDivide")}
)
"""Kinds by the names of their classes."""
