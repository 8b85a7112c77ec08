"""One layer of a Keras model while it is read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hilum.errors import require
from hilum.models.graph.spec import Option
from hilum.models.roads.assembly import Array, Assembly
from hilum.models.roads.keras_files import Variables
from hilum.models.roads.keras_graph import Call
from hilum.models.roads.spatial import NO_BORDER, Border, Pair

__all__ = ["IMAGE_RANK", "Layer", "Value"]

IMAGE_RANK = 4


@dataclass(frozen=True, slots=True)
class Value:
    """A node's output: its name and rank, the batch included."""

    node: str
    rank: int


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer while it is read: its call, where nodes go and variables come from."""

    call: Call
    assembly: Assembly
    variables: Variables
    major: int

    @property
    def config(self) -> Mapping[str, Any]:
        """Options of the layer."""
        return self.call.config

    @property
    def name(self) -> str:
        """What the node is called whose output is the layer's."""
        path, number = self.call.path, self.call.number
        return f"{path}/call_{number}" if number else path

    def read(self, *wanted: str) -> list[Array]:
        """The layer's variables, by Keras's names for them."""
        require(
            self.call.number == 0,
            f"layer {self.call.path!r}",
            "used once",
            f"{self.call.number + 1} calls",
            hint="layers that share variables between calls are not supported",
        )
        return [
            np.asarray(found, dtype=np.float32)
            for found in self.variables.read(self.call.where, wanted)
        ]

    def add(
        self,
        kind: str,
        *values: Value,
        options: Mapping[str, Option] | None = None,
        tensors: Mapping[str, Array] | None = None,
        part: str = "",
        rank: int | None = None,
    ) -> Value:
        """Add a node NAME, or NAME/PART; its rank is that of the first value unless given."""
        name = f"{self.name}/{part}" if part else self.name
        nodes = [value.node for value in values]
        node = self.assembly.add(name, kind, nodes, options, tensors)
        return Value(node, values[0].rank if rank is None else rank)

    def pair(self, key: str, default: int = 1) -> Pair:
        """Two whole numbers of the options, for height and width."""
        found = self.config.get(key, default)
        found = [found, found] if isinstance(found, int) else found
        right = isinstance(found, list) and len(found) == 2 and all(type(n) is int for n in found)
        require(right, f"{key} of layer {self.name!r}", "one or two whole numbers", found)
        return int(found[0]), int(found[1])

    def border(self) -> Border:
        """The padding of the options."""
        padding = self.config.get("padding", "valid")
        known = padding in ("valid", "same")
        require(known, f"padding of layer {self.name!r}", "valid or same", padding)
        return "SAME" if padding == "same" else NO_BORDER

    def image(self, value: Value) -> None:
        """Refuse anything but (N, H, W, C)."""
        order = self.config.get("data_format") or "channels_last"
        require(
            order == "channels_last",
            f"data_format of layer {self.name!r}",
            "channels_last",
            order,
            hint="build the model again with channels_last; its variables are the same",
        )
        require(value.rank == IMAGE_RANK, f"input of layer {self.name!r}", "of rank 4", value.rank)

    def one(self, values: Sequence[Value]) -> Value:
        """The only value."""
        require(len(values) == 1, f"inputs of layer {self.name!r}", "one", len(values))
        return values[0]
