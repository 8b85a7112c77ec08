"""A network's forward pass as data: its layers, its own tensors, and the calls in their order."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import Any, Literal, get_args

import torch

from hilum.errors import InvalidValueError, require
from hilum.models.traced.tables import FUNCTIONS, METHODS, MODULES

__all__ = ["Layer", "Program", "Reference", "Step", "decoded", "encoded"]

Kind = Literal["layer", "function", "method", "tensor"]


@dataclass(frozen=True, slots=True)
class Reference:
    """The value that a step of this name made."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer of torch.nn: the name of its class and what it is made with."""

    kind: str
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnTensor:
    """A tensor that a module itself holds. `learns`: it is a parameter, else a buffer."""

    shape: tuple[int, ...]
    dtype: str
    learns: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call. Arguments hold plain values and `Reference`.

    Attributes:
        target: path of a layer or tensor, or the name of a function or method.
    """

    name: str
    kind: Kind
    target: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any]

    def __post_init__(self) -> None:
        known = {"function": FUNCTIONS, "method": METHODS}.get(self.kind)
        require(self.kind in get_args(Kind), "kind of a step", "known", self.kind)
        require(known is None or self.target in known, self.kind, "one that is known", self.target)
        words = all(isinstance(key, str) for key in self.kwargs)
        require(words, f"arguments of {self.target}", "named by texts", list(self.kwargs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """All that is needed to build a network and run it; weights come apart.

    Attributes:
        name: class of the module it was made of.
        inputs: names of the arguments.
        layers, tensors: by their path in the network, which is also that of their weights.
        result: what is returned: a `Reference`, or a tuple, list or dict of them.
    """

    name: str
    inputs: tuple[str, ...]
    layers: Mapping[str, Layer]
    tensors: Mapping[str, OwnTensor]
    steps: tuple[Step, ...]
    result: Any

    def __post_init__(self) -> None:
        for layer in self.layers.values():
            require(layer.kind in MODULES, "layer", f"one of {', '.join(MODULES)}", layer.kind)
        for path in (*self.layers, *self.tensors):
            plain = all(part and not part.startswith("__") for part in path.split("."))
            require(plain, "path of a layer", "names with dots between", path)

    @property
    def last_layer(self) -> str:
        """Path of the layer whose value is the result; "" where the result is something else."""
        steps = {step.name: step for step in self.steps}
        last = steps.get(self.result.name) if isinstance(self.result, Reference) else None
        return last.target if last is not None and last.kind == "layer" else ""

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "name": self.name,
            "inputs": list(self.inputs),
            "layers": {
                path: {"kind": one.kind, "options": encoded(dict(one.options))}
                for path, one in self.layers.items()
            },
            "tensors": {
                path: {"shape": list(one.shape), "dtype": one.dtype, "learns": one.learns}
                for path, one in self.tensors.items()
            },
            "steps": [
                [step.name, step.kind, step.target, encoded(step.args), encoded(dict(step.kwargs))]
                for step in self.steps
            ],
            "result": encoded(self.result),
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "Program":
        """The inverse of `to_json`.

        Raises:
            InvalidValueError: a layer, function or method that is in no table.
        """
        return Program(
            name=str(data["name"]),
            inputs=tuple(map(str, data["inputs"])),
            layers={
                str(path): Layer(kind=str(one["kind"]), options=decoded(one["options"]))
                for path, one in data["layers"].items()
            },
            tensors={
                str(path): OwnTensor(
                    shape=tuple(map(int, one["shape"])),
                    dtype=str(one["dtype"]),
                    learns=bool(one["learns"]),
                )
                for path, one in data["tensors"].items()
            },
            steps=tuple(
                Step(name=str(n), kind=k, target=str(t), args=decoded(a), kwargs=decoded(kw))
                for n, k, t, a, kw in data["steps"]
            ),
            result=decoded(data["result"]),
        )


def encoded(value: Any) -> Any:
    """A plain value or `Reference`, tuples and slices of them, as JSON.

    Raises:
        InvalidValueError: it is something else, or the key of a dict is no text.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, list):
        return [encoded(one) for one in value]
    for kind, writer in _WRITERS.items():
        if isinstance(value, kind):
            return writer(value)
    raise InvalidValueError(f"a value must be plain. Got {type(value).__name__}.")


def _word(key: Any) -> str:
    if not isinstance(key, str):
        raise InvalidValueError(f"a key must be a text. Got {key!r}.")
    return key


_WRITERS: Mapping[type, Callable[[Any], Any]] = {
    float: lambda number: {"float": str(number)},
    Reference: lambda value: {"value": value.name},
    tuple: lambda items: {"tuple": [encoded(one) for one in items]},
    dict: lambda items: {"dict": [[_word(key), encoded(one)] for key, one in items.items()]},
    slice: lambda cut: {"slice": [encoded(one) for one in (cut.start, cut.stop, cut.step)]},
    torch.dtype: lambda dtype: {"dtype": str(dtype).removeprefix("torch.")},
    EllipsisType: lambda _: {"ellipsis": True},
}


def decoded(data: Any) -> Any:
    """The inverse of `encoded`."""
    if isinstance(data, list):
        return [decoded(one) for one in data]
    if not isinstance(data, Mapping):
        return data
    ((kind, inner),) = data.items()
    if kind == "dict":
        return {str(key): decoded(one) for key, one in inner}
    if kind == "slice":
        return slice(*(decoded(one) for one in inner))
    readers: Mapping[str, Any] = {
        "float": float,
        "value": Reference,
        "tuple": lambda items: tuple(decoded(one) for one in items),
        "dtype": dtype_of,
        "ellipsis": lambda _: Ellipsis,
    }
    require(kind in readers, "kind of a value", f"one of {', '.join(readers)}", kind)
    return readers[kind](inner)


def dtype_of(name: str) -> torch.dtype:
    """A dtype by its name."""
    found = getattr(torch, name, None)
    require(isinstance(found, torch.dtype), "dtype", "one of torch", name)
    assert isinstance(found, torch.dtype)
    return found


def references(value: Any) -> Sequence[str]:
    """Names of the values that an argument holds."""
    if isinstance(value, Reference):
        return [value.name]
    if isinstance(value, slice):
        value = (value.start, value.stop, value.step)
    if isinstance(value, dict):
        value = tuple(value.values())
    return [n for one in value for n in references(one)] if isinstance(value, tuple | list) else []
