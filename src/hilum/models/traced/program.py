"""A network's forward pass as data: its layers, its own tensors, and the calls in their order."""

import base64
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import EllipsisType
from typing import Any, Literal, get_args

import torch

from hilum.errors import InvalidValueError, require
from hilum.models.graph.network import MAX_PARAMETERS
from hilum.models.traced.tables import METHODS, dtype_of, function_of, layer_of, name_of_dtype

__all__ = [
    "Constant",
    "Layer",
    "OwnTensor",
    "Program",
    "Reference",
    "Step",
    "decoded",
    "encoded",
    "filled",
    "references",
]

_MAX_DEPTH = 100

Kind = Literal["layer", "function", "method", "tensor", "mode"]


@dataclass(frozen=True, slots=True)
class Reference:
    """The value that a step of this name made."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer: the name of its class and what it is made with, which may be layers.

    Attributes:
        parts: layers that take the place of those it makes itself, by their name in it.
    """

    kind: str
    options: Mapping[str, Any]
    parts: "Mapping[str, Layer]" = field(default_factory=dict)

    def __post_init__(self) -> None:
        layer_of(self.kind)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        data = {"kind": self.kind, "options": encoded(dict(self.options))}
        parts = {name: part.to_json() for name, part in self.parts.items()}
        return {**data, "parts": parts} if parts else data

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "Layer":
        """The inverse of `to_json`."""
        return Layer(
            kind=str(data["kind"]),
            options=decoded(data["options"]),
            parts={str(n): Layer.from_json(one) for n, one in data.get("parts", {}).items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnTensor:
    """A tensor that a module itself holds. `learns`: it is a parameter, else a buffer."""

    shape: tuple[int, ...]
    dtype: str
    learns: bool

    def __post_init__(self) -> None:
        _require_sane(self.shape, self.dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """A tensor that no state dict holds, with its values: bytes, packed by zlib, as base64."""

    shape: tuple[int, ...]
    dtype: str
    values: str

    def __post_init__(self) -> None:
        _require_sane(self.shape, self.dtype)

    @staticmethod
    def of(tensor: torch.Tensor) -> "Constant":
        """Its shape, type and values."""
        flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        return Constant(
            shape=tuple(tensor.shape),
            dtype=name_of_dtype(tensor.dtype),
            values=base64.b64encode(zlib.compress(flat.numpy().tobytes())).decode("ascii"),
        )

    def tensor(self) -> torch.Tensor:
        """The inverse of `of`.

        Raises:
            InvalidValueError: its values are not bytes, or not as many as its shape has places.
        """
        dtype = dtype_of(self.dtype)
        size = math.prod(self.shape) * dtype.itemsize
        try:
            packed = base64.b64decode(self.values)
            raw = bytearray(zlib.decompressobj().decompress(packed, size + 1))
        except (ValueError, zlib.error) as error:
            raise InvalidValueError(
                f"values of a constant must be packed bytes: {error}."
            ) from error
        require(len(raw) == size, "constant", f"of {size} bytes", str(len(raw)))
        if not size:
            return torch.empty(self.shape, dtype=dtype)
        return torch.frombuffer(raw, dtype=dtype).reshape(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call. Arguments hold plain values and `Reference`.

    Attributes:
        target: path of a layer or tensor, or of a module whose mode is asked for (true in
            training), or the name of a function or method.
        when: name of an earlier step of kind "mode" and what it has to be, or else the step is
            left out and its value is None.
    """

    name: str
    kind: Kind
    target: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any]
    when: tuple[str, bool] | None = None

    def __post_init__(self) -> None:
        require(self.kind in get_args(Kind), "kind of a step", "known", self.kind)
        if self.kind == "function":
            function_of(self.target)
        known = self.kind != "method" or self.target in METHODS
        require(known, self.kind, "one that is known", self.target)
        listed = isinstance(self.args, Sequence) and isinstance(self.kwargs, Mapping)
        require(listed, f"arguments of {self.target}", "a list and a dict", self.args)
        words = all(isinstance(key, str) for key in self.kwargs)
        require(words, f"arguments of {self.target}", "named by texts", list(self.kwargs))

    def reads(self) -> set[str]:
        """Names of the values it needs."""
        found = {*references(self.args), *references(dict(self.kwargs))}
        return found if self.when is None else {*found, self.when[0]}

    def to_json(self) -> list[Any]:
        """Plain data."""
        args, kwargs = encoded(self.args), encoded(dict(self.kwargs))
        data = [self.name, self.kind, self.target, args, kwargs]
        return data if self.when is None else [*data, list(self.when)]

    @staticmethod
    def from_json(data: Sequence[Any]) -> "Step":
        """The inverse of `to_json`."""
        name, kind, target, args, kwargs, *when = data
        return Step(
            name=str(name),
            kind=kind,
            target=str(target),
            args=decoded(args),
            kwargs=decoded(kwargs),
            when=(str(when[0][0]), bool(when[0][1])) if when else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """All that is needed to build a network and run it; weights come apart.

    Attributes:
        name: class of the module it was made of.
        inputs: names of the arguments.
        layers, tensors: by their path in the network, which is also that of their weights.
        constants: by their path in the network, in whose state dict they are not.
        shared: more paths of parameters, and those under which they are held.
        modules: paths of layers and of what holds them, in the order in which the module had them,
            for freezing goes by that order.
        result: what is returned: a `Reference`, or a tuple, list or dict of them.
    """

    name: str
    inputs: tuple[str, ...]
    layers: Mapping[str, Layer]
    tensors: Mapping[str, OwnTensor]
    steps: tuple[Step, ...]
    result: Any
    constants: Mapping[str, Constant] = field(default_factory=dict)
    shared: Mapping[str, str] = field(default_factory=dict)
    modules: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        modes = [step.target for step in self.steps if step.kind == "mode" and step.target]
        own = (*self.layers, *self.tensors, *self.constants, *self.shared, *self.modules)
        for path in (*own, *modes):
            plain = all(part and not part.startswith("__") for part in path.split("."))
            require(plain, "path of a layer", "names with dots between", path)
            deep = path.count(".") >= _MAX_DEPTH  # Python could not go through its modules
            require(
                not deep, "path of a layer", f"of at most {_MAX_DEPTH} names", f"{path[:40]}..."
            )

    @property
    def last_layer(self) -> str:
        """Path of the layer whose value is the result; "" where the result is something else."""
        steps = {step.name: step for step in self.steps}
        last = steps.get(self.result.name) if isinstance(self.result, Reference) else None
        return last.target if last is not None and last.kind == "layer" else ""

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        constants = {
            path: {"shape": list(one.shape), "dtype": one.dtype, "values": one.values}
            for path, one in self.constants.items()
        }
        return {
            "name": self.name,
            "inputs": list(self.inputs),
            "layers": {path: one.to_json() for path, one in self.layers.items()},
            "tensors": {
                path: {"shape": list(one.shape), "dtype": one.dtype, "learns": one.learns}
                for path, one in self.tensors.items()
            },
            "steps": [step.to_json() for step in self.steps],
            "result": encoded(self.result),
            **({"constants": constants} if constants else {}),
            **({"shared": dict(self.shared)} if self.shared else {}),
            **({"modules": list(self.modules)} if self.modules else {}),
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
            layers={str(path): Layer.from_json(one) for path, one in data["layers"].items()},
            tensors={
                str(path): OwnTensor(
                    shape=tuple(one["shape"]),
                    dtype=str(one["dtype"]),
                    learns=bool(one["learns"]),
                )
                for path, one in data["tensors"].items()
            },
            steps=tuple(map(Step.from_json, data["steps"])),
            result=decoded(data["result"]),
            constants={
                str(path): Constant(
                    shape=tuple(one["shape"]),
                    dtype=str(one["dtype"]),
                    values=str(one["values"]),
                )
                for path, one in data.get("constants", {}).items()
            },
            shared={str(path): str(first) for path, first in data.get("shared", {}).items()},
            modules=tuple(map(str, data.get("modules", ()))),
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
    Layer: lambda layer: {"layer": layer.to_json()},
    torch.device: lambda device: {"device": str(device)},
    torch.dtype: lambda dtype: {"dtype": name_of_dtype(dtype)},
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
        "value": lambda name: Reference(str(name)),
        "tuple": lambda items: tuple(decoded(one) for one in items),
        "dtype": dtype_of,
        "device": torch.device,
        "layer": Layer.from_json,
        "ellipsis": lambda _: Ellipsis,
    }
    require(kind in readers, "kind of a value", f"one of {', '.join(readers)}", kind)
    return readers[kind](inner)


def _require_sane(shape: Sequence[int], dtype: str) -> None:
    """Refuse what is no tensor, and sizes that hide others in a sum: no place has less than 0."""
    dtype_of(dtype)
    sizes = all(type(size) is int and size >= 0 for size in shape)
    require(sizes, "shape of a tensor", "whole numbers from 0 on", list(shape))
    count = math.prod(max(size, 1) for size in shape)
    require(count <= MAX_PARAMETERS, "parameters", f"at most {MAX_PARAMETERS:,}", f"{count:,}")


def filled(value: Any, values: Mapping[str, Any]) -> Any:
    """An argument with values in place of the references it holds."""
    if isinstance(value, Reference):
        return values[value.name]
    if isinstance(value, tuple):
        return tuple(filled(one, values) for one in value)
    if isinstance(value, list):
        return [filled(one, values) for one in value]
    if isinstance(value, dict):
        return {key: filled(one, values) for key, one in value.items()}
    if isinstance(value, slice):
        return slice(*(filled(one, values) for one in (value.start, value.stop, value.step)))
    return value


def references(value: Any) -> Sequence[str]:
    """Names of the values that an argument holds."""
    if isinstance(value, Reference):
        return [value.name]
    if isinstance(value, slice):
        value = (value.start, value.stop, value.step)
    if isinstance(value, dict):
        value = tuple(value.values())
    return [n for one in value for n in references(one)] if isinstance(value, tuple | list) else []
