"""BigDL's definition of a model, as a tree of modules with their attributes.

The field numbers are those of bigdl.proto, 0.3 to 2.4.
"""

import re
from dataclasses import dataclass

from hilum.errors import require
from hilum.models.roads.assembly import Array, Assembly
from hilum.models.roads.bigdl_tensors import Storages
from hilum.models.roads.wire import Message

__all__ = ["Module", "Network"]

_TYPE = re.compile(r"com\.intel\.analytics\.bigdl(?:\.dllib)?\.nn\.(\w+)")
_LARGEST = 1 << 31


@dataclass(frozen=True, slots=True)
class Network:
    """What modules are added to, and where their tensors come from."""

    assembly: Assembly
    storages: Storages


class Module:
    """A module of the definition.

    Attributes:
        message: all of it.
        type: the full name of its class in Scala.
        kind: that name without packages, "" for classes outside com.intel.analytics.bigdl.nn.
        name: which others refer to.
        reads: names of the modules it reads, in a graph.
        children: modules within a container.
    """

    def __init__(self, message: Message) -> None:
        self.message = message
        self.type = message.text(7)
        found = _TYPE.fullmatch(self.type)
        self.kind = found[1] if found else ""
        self.name = message.text(1) or self.type.rpartition(".")[2] + message.text(11)
        self.reads = message.texts(5)
        self.children = [Module(child) for child in message.messages(2)]
        self._attributes = message.table(8)

    def integer(self, name: str, default: int, least: int = -_LARGEST) -> int:
        """An attribute that is an integer."""
        value = default
        if name in self._attributes:
            attribute = self._attributes[name]
            value = attribute.integer(3) if 3 in attribute else attribute.integer(4)
        rule = f"between {least} and {_LARGEST}"
        require(least <= value <= _LARGEST, f"{name} of BigDL module {self.name!r}", rule, value)
        return value

    def real(self, name: str, default: float) -> float:
        """An attribute that is a number."""
        if name not in self._attributes:
            return default
        attribute = self._attributes[name]
        if 3 in attribute:
            return float(attribute.integer(3))
        return attribute.real(5, "<f4") if 5 in attribute else attribute.real(6, "<f8")

    def flag(self, name: str, default: bool) -> bool:
        """An attribute that is a truth value."""
        return bool(self._attributes[name].integer(8)) if name in self._attributes else default

    def integers(self, name: str) -> list[int]:
        """An attribute that is an array of integers, empty if it is null."""
        if name not in self._attributes:
            return []
        values = self._attributes[name].message(15).integers(3)
        rule = f"sizes up to {_LARGEST}"
        require(all(abs(value) <= _LARGEST for value in values), name, rule, values[:8])
        return values

    def texts(self, name: str) -> list[str]:
        """An attribute that is an array of strings."""
        return self._attributes[name].message(15).texts(7) if name in self._attributes else []

    def inner(self, name: str) -> "Module":
        """An attribute that is a module."""
        require(name in self._attributes, f"BigDL module {self.name!r}", f"with {name}", "none")
        return Module(self._attributes[name].message(13))

    def edges(self) -> dict[str, Message]:
        """Which part of a table each module of a graph takes, by the names of both."""
        return {
            name.removesuffix("_edges"): value.message(14)
            for name, value in self._attributes.items()
            if name.endswith("_edges")
        }

    def is_nchw(self) -> bool:
        """Whether it works on (N, C, H, W)."""
        formats = (self._attributes.get("format"), self._attributes.get("dataFormat"))
        return not any(value is not None and value.integer(16) for value in formats)

    def tensor(self, name: str, storages: Storages) -> Array:
        """An attribute that is a tensor, flat."""
        what = f"{name} of BigDL module {self.name!r}"
        require(name in self._attributes, what, "a tensor", "none")
        return storages.tensor(self._attributes[name].message(10), what).reshape(-1)

    def parameters(self, storages: Storages) -> list[Array]:
        """Its weights, flat, in the order weight, bias."""
        message = self.message
        found = message.messages(16) or [*message.messages(3), *message.messages(4)]
        what = f"a parameter of BigDL module {self.name!r}"
        return [storages.tensor(tensor, what).reshape(-1) for tensor in found]
