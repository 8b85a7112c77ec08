"""A node of TensorFlow's while it is translated, and what flows between nodes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from hilum.errors import InvalidValueError, require
from hilum.models.graph.spec import Option
from hilum.models.roads.assembly import Array, Assembly
from hilum.models.roads.spatial import Border, Pair
from hilum.models.roads.tensorflow_graph import Operation

__all__ = ["LAYOUTS", "SPATIAL", "Site", "Value", "whole_numbers", "without"]

LAYOUTS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {"NHWC": (0, 2, 3, 1), "NCHW": (0, 1, 2, 3)}
)
"""Where TensorFlow's axes lie in (N, C, H, W)."""

SPATIAL = frozenset(
    {
        "AvgPool",
        "Conv2D",
        "DepthwiseConv2dNative",
        "FusedBatchNorm",
        "FusedBatchNormV2",
        "FusedBatchNormV3",
        "LRN",
        "MaxPool",
    }
)
"""Kinds that need to know which axis is which, and so tell the layout of the image."""


@dataclass(frozen=True, slots=True)
class Value:
    """What a node gives.

    Attributes:
        node: that computes it here.
        axes: for each of TensorFlow's axes, which dimension of the node's result it is.
        channels: size of dimension 1, None where nothing says it.
    """

    node: str
    axes: tuple[int, ...]
    channels: int | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """A node that is being translated: what it is, what it reads, where its translation goes."""

    operation: Operation
    read: Sequence[Value | Array]
    assembly: Assembly

    def error(self, rule: str, found: object) -> InvalidValueError:
        """The error of a node that is not as it must be."""
        return InvalidValueError(
            f"TensorFlow node {self.operation.name!r} ({self.operation.op}) must be {rule}. "
            f"Got {found!r}."
        )

    def value(self, place: int = 0) -> Value:
        """What it reads at a place, of the network."""
        found = self.read[place] if place < len(self.read) else None
        if not isinstance(found, Value):
            raise self.error(f"one that reads a part of the network as input {place}", "none")
        return found

    def values(self) -> list[Value]:
        """All it reads, of the network, in the layout of the first."""
        first = self.value()
        return [first, *(self.like(first, self.value(i)) for i in range(1, len(self.read)))]

    def constant(self, place: int) -> Array:
        """What it reads at a place, known ahead."""
        found = self.read[place] if -len(self.read) <= place < len(self.read) else None
        if found is None or isinstance(found, Value):
            raise self.error(f"one whose input {place} is a constant", "a computed value")
        return found

    def add(
        self,
        layer: str,
        inputs: Sequence[str],
        options: Mapping[str, Option] | None = None,
        tensors: Mapping[str, Array] | None = None,
    ) -> str:
        """Add the node that has its name."""
        return self.assembly.add(self.operation.name, layer, inputs, options, tensors)

    def moved(self, value: Value, axes: tuple[int, ...]) -> Value:
        """The value with its dimensions moved to where `axes` wants them, if they are not there."""
        if value.axes == axes:
            return value
        dims = tuple(value.axes[axes.index(dim)] for dim in range(len(axes)))
        name = f"{self.operation.name}/permute"
        node = self.assembly.add(name, "Permute", [value.node], {"dims": dims})
        return Value(node, axes, value.channels if axes.index(1) == value.axes.index(1) else None)

    def like(self, first: Value, other: Value) -> Value:
        """The other value in the layout of the first."""
        if len(first.axes) != len(other.axes):
            raise self.error("one whose inputs have as many axes", (first.axes, other.axes))
        return self.moved(other, first.axes)

    def spatial(self) -> tuple[Value, tuple[int, ...]]:
        """Its image as (N, C, H, W), and the layout it works on."""
        layout = self.operation.text("data_format", "NHWC")
        value = self.value()
        if layout not in LAYOUTS or len(value.axes) != 4:
            raise self.error("on images, NHWC or NCHW", (layout, len(value.axes)))
        return self.moved(value, LAYOUTS[layout]), LAYOUTS[layout]

    def sizes(self, name: str, axes: tuple[int, ...]) -> Pair:
        """Height and width of an attribute such as strides, whose other sizes must be 1."""
        found = self.operation.integers(name) or [1, 1, 1, 1]
        if len(found) != 4 or any(found[axes.index(dim)] != 1 for dim in (0, 1)):
            raise self.error(f"one whose {name} are 1 for batch and channels", found)
        return found[axes.index(2)], found[axes.index(3)]

    def border(self, axes: tuple[int, ...]) -> Border:
        """Its attribute padding."""
        kind = self.operation.text("padding", "VALID")
        if kind == "SAME":
            return "SAME"
        sides = self.operation.integers("explicit_paddings") if kind == "EXPLICIT" else [0] * 8
        if kind not in ("VALID", "EXPLICIT") or len(sides) != 8:
            raise self.error("padded SAME, VALID or EXPLICIT, four pairs", (kind, sides))
        rows, columns = 2 * axes.index(2), 2 * axes.index(3)
        return sides[rows], sides[rows + 1], sides[columns], sides[columns + 1]


def whole_numbers(value: Value | Array | None, name: str, most: int = 8) -> list[int]:
    """A constant that is a list of integers, or one."""
    found = np.zeros(0) if value is None or isinstance(value, Value) else value
    sane = 0 < found.size <= most and found.dtype.kind in "iu"
    require(
        sane,
        f"sizes or axes of TensorFlow node {name!r}",
        "integers, known ahead",
        found.ravel()[:9],
    )
    return [int(number) for number in found.ravel()]


def without(value: Value, node: str, dims: Sequence[int]) -> Value:
    """A value some of whose dimensions are gone."""
    left = [dim for dim in value.axes if dim not in dims]
    places = sorted(left)
    channels = None if 1 in dims else value.channels
    return Value(node, tuple(places.index(dim) for dim in left), channels)
