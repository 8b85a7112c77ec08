"""The layers of a Keras model in the order of its forward pass, nested models taken apart."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hilum.errors import InvalidValueError, require
from hilum.models.graph.spec import MAX_NODES
from hilum.models.roads.assembly import in_order
from hilum.models.roads.keras_files import Where

__all__ = ["INPUT", "Call", "KerasGraph", "Tensor", "walk"]

INPUT = "InputLayer"
MAX_DEPTH = 20
_MODELS = ("Functional", "Sequential", "Model")

Tensor = tuple[str, int, int]
"""What a call gives: path of the layer, which of its calls, which of its outputs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A layer at work.

    Attributes:
        path: names of models and layer, joined by "/".
        kind: class of the layer: "Conv2D".
        config: its options.
        where: its variables.
        number: which of the layer's calls this is.
        reads: tensors.
        numbers: what an operation takes beside tensors, with True where the tensor comes first.
    """

    path: str
    kind: str
    config: Mapping[str, Any]
    where: Where
    number: int
    reads: tuple[Tensor, ...]
    numbers: tuple[tuple[float, bool], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KerasGraph:
    """Calls in order; `inputs` with their shapes, the batch included; `outputs`."""

    inputs: tuple[tuple[str, tuple[int | None, ...]], ...]
    calls: tuple[Call, ...]
    outputs: tuple[Tensor, ...]


def walk(model: Mapping[str, Any]) -> KerasGraph:
    """Take a model's configuration apart.

    Raises:
        InvalidValueError: not a configuration Keras writes, or of a model that is Python code.
    """
    try:
        return _Walk().run(model)
    # JSON of strangers: whatever is not where it should be.
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise InvalidValueError(
            f"configuration of a Keras model must be one that Keras writes. Got {error!r}. "
            "Hint: the file is damaged, or by a version of Keras this Hilum does not know."
        ) from error


class _Walk:
    def __init__(self) -> None:
        self._calls: dict[Tensor, Call] = {}
        self._aliases: dict[Tensor, Tensor] = {}
        self._inputs: list[tuple[str, tuple[int | None, ...]]] = []

    def run(self, model: Mapping[str, Any]) -> KerasGraph:
        kind = str(model["class_name"])
        require(
            kind in _MODELS,
            "class of a Keras model",
            "Functional or Sequential",
            kind,
            hint="a subclass of Model is Python code: build it functionally, or export ONNX",
        )
        outputs = self._model(model, (), "", None)
        reads = {key: tuple(map(self._final, call.reads)) for key, call in self._calls.items()}
        keys = {self._name(key): key for key in self._calls}
        order = in_order(
            {
                self._name(key): [self._name(s) for s in sources if s in self._calls]
                for key, sources in reads.items()
            },
            "a Keras model",
        )
        known = set(self._calls) | {(name, 0, 0) for name, _ in self._inputs}
        for key, sources in reads.items():
            for source in sources:
                require(source in known, f"inputs of layer {key[0]!r}", "layers", source[0])
        return KerasGraph(
            inputs=tuple(self._inputs),
            calls=tuple(
                replace(self._calls[key], reads=reads[key]) for key in map(keys.__getitem__, order)
            ),
            outputs=tuple(map(self._final, outputs)),
        )

    def _name(self, key: Tensor) -> str:
        return f"{key[0]}:{key[1]}"

    def _final(self, tensor: Tensor) -> Tensor:
        """The call behind what a nested model passes on."""
        for _ in range(MAX_DEPTH * 2 + 2):
            if tensor in self._calls:
                return tensor
            first = (tensor[0], 0, tensor[2])  # Keras 2 counts a nested model's own call, too
            if tensor not in self._aliases and first not in self._aliases:
                return tensor
            tensor = self._aliases.get(tensor, self._aliases.get(first, tensor))
        raise InvalidValueError(f"a Keras model must be without cycles. Got one at {tensor[0]!r}.")

    def _model(
        self,
        model: Mapping[str, Any],
        names: tuple[str, ...],
        group: str,
        given: Sequence[Tensor] | None,
    ) -> list[Tensor]:
        """Enter a model's calls; returns its outputs. `given` is None for the outermost."""
        require(len(names) < MAX_DEPTH, "models within models", f"{MAX_DEPTH} deep", "more")
        config = model["config"]
        if model["class_name"] == "Sequential":
            return self._sequence(config, names, group, given)
        layers = list(_with_groups(config["layers"], group))
        inputs = [str(key[0]) for key in _keys(config["input_layers"])]
        if given is not None:
            what = f"inputs of {'/'.join(names)}"
            require(len(given) == len(inputs), what, ", ".join(inputs), len(given))
            for name, tensor in zip(inputs, given, strict=True):
                self._aliases[("/".join((*names, name)), 0, 0)] = tensor
        for layer, layer_group in layers:
            name = str(layer.get("name", layer["config"].get("name")))
            if layer["class_name"] != INPUT:
                self._layer(layer, (*names, name), layer_group)
            elif given is None:
                self._input(name, layer["config"])
        return [("/".join((*names, n)), i, t) for n, i, t in _keys(config["output_layers"])]

    def _layer(self, layer: Mapping[str, Any], names: tuple[str, ...], group: str) -> None:
        """Enter the calls of a layer of a functional model."""
        for number, node in enumerate(layer["inbound_nodes"]):
            sources = [("/".join((*names[:-1], n)), i, t) for n, i, t in _reads(node)]
            self._enter(layer, names, group, number, sources)
            if _is_operation(layer):
                key = ("/".join(names), number, 0)
                self._calls[key] = replace(self._calls[key], numbers=_numbers(node["args"]))

    def _sequence(
        self,
        config: Any,
        names: tuple[str, ...],
        group: str,
        given: Sequence[Tensor] | None,
    ) -> list[Tensor]:
        listed = config["layers"] if isinstance(config, Mapping) else config
        layers = [layer for layer in listed if layer["class_name"] != INPUT]
        require(bool(layers), "a Sequential model", "one layer or more", len(layers))
        if given is None:
            first = listed[0]["config"]
            if "layers" in first:  # a model inside; Keras 2 gave it the shape
                first = first["layers"][0]["config"]
            name = str(first["name"]) if listed[0]["class_name"] == INPUT else "input"
            self._input(name, first)
            given = [(name, 0, 0)]
        require(len(given) == 1, f"inputs of {'/'.join(names)}", "one", len(given))
        tensor = given[0]
        for layer, layer_group in _with_groups(layers, group):
            path = (*names, str(layer.get("name", layer["config"].get("name"))))
            self._enter(layer, path, layer_group, 0, [tensor])
            tensor = ("/".join(path), 0, 0)
        return [tensor]

    def _input(self, name: str, config: Mapping[str, Any]) -> None:
        shape = config.get("batch_shape", config.get("batch_input_shape"))
        if not isinstance(shape, list) or not all(n is None or type(n) is int for n in shape):
            raise InvalidValueError(
                f"input {name!r} of a Keras model must have a shape. Got {shape!r}. "
                "Hint: build the model with an Input before it is saved."
            )
        self._inputs.append((name, tuple(shape)))

    def _enter(
        self,
        layer: Mapping[str, Any],
        names: tuple[str, ...],
        group: str,
        number: int,
        reads: Sequence[Tensor],
    ) -> None:
        path, kind = "/".join(names), _kind(layer)
        require(len(self._calls) < MAX_NODES, "layers", f"at most {MAX_NODES}", "more")
        if kind in _MODELS:
            require(number == 0, f"model {path!r}", "used once", number + 1)
            for at, tensor in enumerate(self._model(layer, names, f"{group}/", reads)):
                self._aliases[(path, number, at)] = tensor
            return
        if (path, number, 0) in self._calls:
            raise InvalidValueError(f"names of layers must be used once. Got {path!r} twice.")
        self._calls[(path, number, 0)] = Call(
            path=path,
            kind=kind,
            config=dict(layer["config"]),
            where=Where(group, names),
            number=number,
            reads=tuple(reads),
        )


def _with_groups(layers: Any, group: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Layers with the groups that Keras gives them: by class, counted."""
    counts: dict[str, int] = {}
    for layer in layers:
        if _is_operation(layer):  # has no variables, and Keras does not count it
            yield layer, ""
            continue
        kind = _snake_case(str(layer["class_name"]))
        number = counts.get(kind, 0)
        counts[kind] = number + 1
        yield layer, f"{group}layers/{kind}" + (f"_{number}" if number else "")


def _is_operation(layer: Mapping[str, Any]) -> bool:
    """Whether it is arithmetic on tensors, `x + 3`, which Keras 3 lists among the layers."""
    if "module" in layer:
        return "ops" in str(layer["module"]).split(".")
    # HDF5 files do not say; but only layers can be trained, and models hold layers.
    return not {"trainable", "layers"} & set(layer["config"])


def _kind(layer: Mapping[str, Any]) -> str:
    return f"ops.{layer['class_name']}" if _is_operation(layer) else str(layer["class_name"])


def _numbers(arguments: Any) -> tuple[tuple[float, bool], ...]:
    """Numbers among an operation's arguments, and whether a tensor stands before them."""
    return tuple(
        (float(value), at > 0)
        for at, value in enumerate(arguments)
        if isinstance(value, int | float) and not isinstance(value, bool)
    )


def _snake_case(name: str) -> str:
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _keys(value: Any) -> list[Tensor]:
    """Tensors in the nested lists and tables that Keras writes: ["dense", 0, 0]."""
    if isinstance(value, Mapping):
        return [key for item in value.values() for key in _keys(item)]
    if isinstance(value, list) and len(value) >= 3 and isinstance(value[0], str):
        return [(value[0], int(value[1]), int(value[2]))]
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is no tensor")
    return [key for item in value for key in _keys(item)]


def _reads(node: Any) -> list[Tensor]:
    """The tensors that a call of a layer reads; Keras 3 and before."""
    if isinstance(node, Mapping):
        return [*_histories(node["args"], 0), *_histories(node.get("kwargs", {}), 0)]
    return _keys(node)


def _histories(value: Any, depth: int) -> Iterator[Tensor]:
    require(depth < MAX_DEPTH, "arguments of a layer", f"nested {MAX_DEPTH} deep", "more")
    if isinstance(value, Mapping):
        if value.get("class_name") == "__keras_tensor__":
            yield from _keys(value["config"]["keras_history"])
            return
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _histories(item, depth + 1)
