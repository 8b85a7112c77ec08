"""What a network computes, as a frozen value that JSON can hold: no weights, no code.

Caffe, TensorFlow, BigDL, Keras and ONNX files all name their layers and say which feeds which.
A `NetworkSpec` keeps that, with the layers of PyTorch in the place of theirs. So a model from any
of them can be cut at the names its papers use, travels in a bundle without being pickled, and is
rebuilt on every rank.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, cast

from hilum.errors import InvalidValueError, require

__all__ = ["JSON_FORMAT", "NetworkSpec", "Node"]

JSON_FORMAT = 1
MAX_NODES = 20_000

Option = bool | int | float | str | None | Sequence["Option"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One layer of a network.

    Attributes:
        name: unique in the network, as the file calls it: "pool5", "pool5/drop_7x7_s1".
        layer: a key of `hilum.models.graph.LAYERS`, such as "Conv2d".
        options: what the layer is built with, PyTorch's names: {"kernel_size": 3}.
        inputs: names of the nodes or network inputs it reads, in order.
    """

    name: str
    layer: str
    options: Mapping[str, Option] = field(default_factory=dict)
    inputs: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", MappingProxyType(dict(self.options)))

    def __reduce__(self) -> Any:
        return (_node, (self.name, self.layer, dict(self.options), self.inputs))


def _node(name: str, layer: str, options: dict[str, Option], inputs: tuple[str, ...]) -> Node:
    return Node(name=name, layer=layer, options=options, inputs=inputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpec:
    """A network: every node after those it reads.

    Attributes:
        inputs: names of what comes in, in the order of `forward`'s arguments.
        nodes: the layers.
        outputs: names of what goes out; one makes `forward` return a tensor, several a tuple.

    Raises:
        InvalidValueError: a name is used twice or before it is there; there is a cycle.
    """

    inputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]

    def __post_init__(self) -> None:
        require(bool(self.inputs), "inputs", "one name or more", self.inputs)
        require(bool(self.outputs), "outputs", "one name or more", self.outputs)
        require(len(self.nodes) <= MAX_NODES, "nodes", f"at most {MAX_NODES}", len(self.nodes))
        known: set[str] = set()
        for name in self.inputs:
            _introduce(name, known)
        for node in self.nodes:
            for source in node.inputs:
                if source not in known:
                    raise InvalidValueError(
                        f"inputs of node {node.name!r} must be nodes that come before it. "
                        f"Got {source!r}. Hint: the network has a cycle, or its file is damaged."
                    )
            _introduce(node.name, known)
        for name in self.outputs:
            require(name in known, "outputs", "names of nodes", name)

    def names(self) -> tuple[str, ...]:
        """Names of the nodes, in the order of the forward pass."""
        return tuple(node.name for node in self.nodes)

    def up_to(self, *outputs: str) -> "NetworkSpec":
        """The part of the network that these nodes need; this one stays as it is.

        Raises:
            InvalidValueError: no such node; the message lists those with similar names.
        """
        known = {node.name: node for node in self.nodes}
        for name in outputs:
            require(name in known, "node", f"one of {_some(name, self.names())}", name)
        needed, left = set(outputs), list(outputs)
        while left:
            node = known.get(left.pop())
            fresh = set(node.inputs) - needed if node else set()
            needed |= fresh
            left.extend(fresh)
        return NetworkSpec(
            inputs=tuple(name for name in self.inputs if name in needed),
            nodes=tuple(node for node in self.nodes if node.name in needed),
            outputs=outputs,
        )

    def to_json(self) -> dict[str, Any]:
        """The network as plain data."""
        return {
            "format": JSON_FORMAT,
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
            "nodes": [
                {
                    "name": node.name,
                    "layer": node.layer,
                    "options": _plain(node.options),
                    "inputs": list(node.inputs),
                }
                for node in self.nodes
            ],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "NetworkSpec":
        """The inverse of `to_json`.

        Raises:
            InvalidValueError: not what `to_json` writes, or of a later format.
        """
        try:
            require(data["format"] == JSON_FORMAT, "format", f"{JSON_FORMAT}", data["format"])
            nodes = tuple(
                Node(
                    name=str(item["name"]),
                    layer=str(item["layer"]),
                    options={str(key): _frozen(value) for key, value in item["options"].items()},
                    inputs=tuple(map(str, item["inputs"])),
                )
                for item in data["nodes"]
            )
            inputs, outputs = tuple(map(str, data["inputs"])), tuple(map(str, data["outputs"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise InvalidValueError(
                f"a network must be an object with format, inputs, nodes, outputs. Got {error!r}."
            ) from error
        return cls(inputs=inputs, nodes=nodes, outputs=outputs)


def _introduce(name: str, known: set[str]) -> None:
    # A dot would make it a path of modules, and a module must have a name.
    require(name != "" and "." not in name, "name of a node", "not empty and without dots", name)
    # torch.fx writes names into Python code between double quotes and escapes nothing.
    require(
        name.isprintable() and not set(name) & set('"\\'),
        "name of a node",
        "printable and without quotes and backslashes",
        name,
    )
    require(name not in known, "name of a node", "used once", name)
    known.add(name)


def _some(wanted: str, names: Sequence[str]) -> str:
    import difflib

    close = difflib.get_close_matches(wanted, names, n=5, cutoff=0.4)
    shown = close or list(names[-5:])
    return ", ".join(shown) + (f", ... ({len(names)} in all)" if len(names) > len(shown) else "")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def _frozen(value: Any) -> Option:
    if isinstance(value, list):
        return tuple(_frozen(item) for item in value)
    require(
        value is None or isinstance(value, bool | int | float | str),
        "option of a node",
        "a number, a text, a list of them, or null",
        value,
    )
    return cast(Option, value)
