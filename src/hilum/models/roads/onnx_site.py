"""One ONNX operation while it becomes nodes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hilum.errors import InvalidValueError, require
from hilum.models.graph.spec import Option
from hilum.models.roads.assembly import Array
from hilum.models.roads.onnx_file import Operation
from hilum.models.roads.spatial import NO_BORDER, Border, Pair
from hilum.models.roads.tracing import Flow, Tracer, Value

__all__ = ["Site"]


@dataclass(frozen=True, slots=True)
class Site:
    """An operation with the values it reads.

    Attributes:
        operation: what the file says.
        inputs: its values; None where an optional one is left out.
        tracer: where nodes go.
        opset: version of the operators.
        batch: what the file fixed the number of images to, None if it did not.
    """

    operation: Operation
    inputs: Sequence[Value | None]
    tracer: Tracer
    opset: int
    batch: int | None

    @property
    def name(self) -> str:
        """Of the node."""
        return self.operation.name

    def add(
        self,
        layer: str,
        *flows: Flow,
        options: Mapping[str, Option] | None = None,
        tensors: Mapping[str, Array] | None = None,
        part: str = "",
    ) -> Flow:
        """Add a node NAME, or NAME/PART, that reads `flows` or else the first input."""
        name = f"{self.name}/{part}" if part else self.name
        reads = flows or (self.flow(0),)
        return self.tracer.add(name, layer, *reads, options=options, tensors=tensors)

    def value(self, at: int) -> Value | None:
        """An input; None if it is left out."""
        return self.inputs[at] if at < len(self.inputs) else None

    def flow(self, at: int = 0) -> Flow:
        """An input that depends on the image."""
        value = self.value(at)
        if not isinstance(value, Flow):
            raise InvalidValueError(
                f"input {at} of node {self.name!r} ({self.operation.kind}) must depend on the "
                f"image. Got {'nothing' if value is None else 'a constant'}."
            )
        return value

    def constant(self, at: int) -> Array:
        """An input that does not depend on the image."""
        found = self.optional(at)
        require(found is not None, f"input {at} of node {self.name!r}", "given", None)
        assert found is not None
        return found

    def optional(self, at: int) -> Array | None:
        """A constant input; None if it is left out."""
        value = self.value(at)
        if isinstance(value, Flow):
            raise InvalidValueError(
                f"input {at} of node {self.name!r} ({self.operation.kind}) must be a constant. "
                f"Got the output of {value.node!r}. Hint: export with the weights in the file."
            )
        return value

    def number(self, key: str, default: float) -> float:
        """A number of the attributes."""
        found = self.operation.attributes.get(key, default)
        right = isinstance(found, int | float) and math.isfinite(found)
        require(right, f"{key} of node {self.name!r}", "a number", found)
        return float(found)

    def integer(self, key: str, default: int) -> int:
        """A whole number of the attributes."""
        found = self.number(key, default)
        require(found == int(found), f"{key} of node {self.name!r}", "a whole number", found)
        return int(found)

    def text(self, key: str, default: str) -> str:
        """A text of the attributes."""
        return str(self.operation.attributes.get(key, default))

    def scalar(self, at: int, key: str, default: float | None) -> float | None:
        """A number that old files have as an attribute, new ones as an input."""
        array = self.optional(at)
        if array is not None:
            require(array.size == 1, f"input {at} of node {self.name!r}", "a number", array.shape)
            return float(array.reshape(-1)[0])
        found: Any = self.operation.attributes.get(key, default)
        require(found is None or isinstance(found, int | float), key, "a number", found)
        return None if found is None else float(found)

    def pair(self, key: str, default: int = 1) -> Pair:
        """Two whole numbers of the attributes, for height and width."""
        found = self.operation.attributes.get(key, [default, default])
        right = isinstance(found, list) and len(found) == 2
        require(
            right and all(type(n) is int for n in found),
            f"{key} of node {self.name!r}",
            "two whole numbers, for height and width",
            found,
            hint="convolutions and pools of one or three dimensions are not read",
        )
        return found[0], found[1]

    def border(self, kernel: Pair, stride: Pair) -> Border:
        """The padding of the attributes."""
        auto = self.text("auto_pad", "NOTSET")
        if auto == "SAME_UPPER":
            return "SAME"
        known = auto in ("NOTSET", "VALID")
        require(known, f"auto_pad of node {self.name!r}", "NOTSET, VALID or SAME_UPPER", auto)
        pads = self.operation.attributes.get("pads")
        if pads is None or auto == "VALID":
            return NO_BORDER
        right = isinstance(pads, list) and len(pads) == 4 and all(type(n) is int for n in pads)
        require(right, f"pads of node {self.name!r}", "four whole numbers", pads)
        return pads[0], pads[2], pads[1], pads[3]

    def axis(self, key: str, default: int, flow: Flow) -> int:
        """An axis of the attributes, from 0 on."""
        found, rank = self.integer(key, default), flow.rank()
        if found >= 0:
            return found
        if rank is None or found < -rank:
            raise InvalidValueError(
                f"{key} of node {self.name!r} must be a dimension of its input. Got {found}."
            )
        return found + rank

    def plain(self, **expected: Any) -> None:
        """Refuse attributes that are given and other than these."""
        for key, value in expected.items():
            found = self.operation.attributes.get(key, value)
            require(found == value, f"{key} of node {self.name!r}", str(value), found)
