"""Activations of Keras: functions that a layer names, and layers of their own."""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from hilum.errors import InvalidValueError, require
from hilum.models.graph.spec import Option
from hilum.models.roads.keras_layer import IMAGE_RANK, Layer, Value

__all__ = ["ACTIVATIONS", "activated"]

_PLAIN: Mapping[str, tuple[str, Mapping[str, Option]]] = MappingProxyType(
    {
        "elu": ("ELU", {}),
        "gelu": ("GELU", {}),
        "hard_silu": ("Hardswish", {}),
        "hard_swish": ("Hardswish", {}),
        "leaky_relu": ("LeakyReLU", {"negative_slope": 0.2}),
        "linear": ("Identity", {}),
        "mish": ("Mish", {}),
        "relu": ("ReLU", {}),
        "relu6": ("ReLU6", {}),
        "selu": ("SELU", {}),
        "sigmoid": ("Sigmoid", {}),
        "silu": ("SiLU", {}),
        "softplus": ("Softplus", {}),
        "swish": ("SiLU", {}),
        "tanh": ("Tanh", {}),
    }
)


def activated(layer: Layer, build: Callable[[str], Value]) -> Value:
    """Build a layer, given a name for its part, and the activation of its options behind it.

    The last node has the layer's name, so that a cut there gives what the layer gives in Keras.
    """
    function = layer.config.get("activation")
    if function in (None, "linear"):
        return build("")
    return _activate(layer, build("linear"), function)


def _activate(layer: Layer, value: Value, function: Any) -> Value:
    if isinstance(function, Mapping):  # Keras 3 writes out what has no short name
        function = function.get("config")
        function = function.get("name") if isinstance(function, Mapping) else function
    if function in ("softmax", "log_softmax"):
        kind = "Softmax" if function == "softmax" else "LogSoftmax"
        return layer.add(kind, value, options={"dim": _last(value)})
    if function == "hard_sigmoid":
        if layer.major >= 3:
            return layer.add("Hardsigmoid", value)
        line = layer.add("Power", value, options={"scale": 0.2, "shift": 0.5}, part="line")
        return layer.add("Hardtanh", line, options={"min_val": 0.0, "max_val": 1.0})
    if not isinstance(function, str) or function not in _PLAIN:
        known = ", ".join((*_PLAIN, "softmax, log_softmax, hard_sigmoid"))
        raise InvalidValueError(
            f"activation of layer {layer.name!r} must be one of {known}. Got {function!r}. "
            "Hint: a function of one's own is Python code, which Hilum does not run."
        )
    kind, options = _PLAIN[function]
    return layer.add(kind, value, options=options)


def _last(value: Value) -> int:
    """Keras's last axis here."""
    return 1 if value.rank == IMAGE_RANK else -1


def _activation(layer: Layer, values: Sequence[Value]) -> Value:
    return _activate(layer, layer.one(values), layer.config.get("activation", "linear"))


def _number(layer: Layer, *keys: str, default: float) -> float:
    found = next((layer.config[key] for key in keys if layer.config.get(key) is not None), default)
    if isinstance(found, Mapping):  # Keras 2 wrote numpy's numbers as tables
        found = found.get("value", found.get("config", default))
    right = isinstance(found, int | float) and math.isfinite(found)
    require(right, f"{keys[0]} of layer {layer.name!r}", "a number", found)
    return float(found)


def _relu(layer: Layer, values: Sequence[Value]) -> Value:
    value = layer.one(values)
    slope = _number(layer, "negative_slope", default=0.0)
    threshold = _number(layer, "threshold", default=0.0)
    top = layer.config.get("max_value")
    require(threshold == 0, f"threshold of layer {layer.name!r}", "0", threshold)
    if top is None:
        if slope == 0:
            return layer.add("ReLU", value)
        return layer.add("LeakyReLU", value, options={"negative_slope": slope})
    require(slope == 0, f"negative_slope of layer {layer.name!r}", "0 with max_value", slope)
    highest = _number(layer, "max_value", default=6.0)
    if highest == 6:
        return layer.add("ReLU6", value)
    return layer.add("Hardtanh", value, options={"min_val": 0.0, "max_val": highest})


def _leaky(layer: Layer, values: Sequence[Value]) -> Value:
    slope = _number(layer, "negative_slope", "alpha", default=0.3)
    return layer.add("LeakyReLU", layer.one(values), options={"negative_slope": slope})


def _elu(layer: Layer, values: Sequence[Value]) -> Value:
    alpha = _number(layer, "alpha", default=1.0)
    return layer.add("ELU", layer.one(values), options={"alpha": alpha})


def _prelu(layer: Layer, values: Sequence[Value]) -> Value:
    value = layer.one(values)
    (slopes,) = layer.read("alpha")
    right = value.rank == IMAGE_RANK and slopes.ndim == 3 and slopes.shape[:2] == (1, 1)
    require(right, f"alpha of layer {layer.name!r}", "one per channel", slopes.shape)
    options: dict[str, Option] = {"num_parameters": slopes.shape[2]}
    return layer.add("PReLU", value, options=options, tensors={"weight": slopes[0, 0]})


def _softmax(layer: Layer, values: Sequence[Value]) -> Value:
    value = layer.one(values)
    axis = layer.config.get("axis", -1)
    last = axis in (-1, value.rank - 1, [-1])
    require(last, f"axis of layer {layer.name!r}", "the last one", axis)
    return layer.add("Softmax", value, options={"dim": _last(value)})


ACTIVATIONS: Mapping[str, Callable[[Layer, Sequence[Value]], Value]] = MappingProxyType(
    {
        "Activation": _activation,
        "ELU": _elu,
        "LeakyReLU": _leaky,
        "PReLU": _prelu,
        "ReLU": _relu,
        "Softmax": _softmax,
    }
)
"""Kinds of layers by the names of their classes."""
