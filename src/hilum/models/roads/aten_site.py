"""One call of a PyTorch operator, as torch.export and TorchScript write it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hilum.errors import InvalidValueError, require
from hilum.models.graph.spec import Option
from hilum.models.roads.assembly import Array
from hilum.models.roads.spatial import Pair
from hilum.models.roads.tracing import Flow, Tracer, Value

__all__ = ["AtenSite"]


@dataclass(frozen=True, slots=True)
class AtenSite:
    """An operator with its arguments by the names of its schema.

    Attributes:
        name: of the node.
        operator: "conv2d", without the underscore of those that work in place.
        arguments: values, numbers, texts, lists of them.
        tracer: where nodes go.
        batch: what the file fixed the number of images to, None if it did not.
    """

    name: str
    operator: str
    arguments: Mapping[str, Any]
    tracer: Tracer
    batch: int | None

    def add(
        self,
        layer: str,
        *flows: Flow,
        options: Mapping[str, Option] | None = None,
        tensors: Mapping[str, Array] | None = None,
        part: str = "",
    ) -> Flow:
        """Add a node NAME, or NAME/PART, that reads `flows` or else the first argument."""
        name = f"{self.name}/{part}" if part else self.name
        reads = flows or (self.flow(),)
        return self.tracer.add(name, layer, *reads, options=options, tensors=tensors)

    def get(self, key: str, default: Any = None) -> Any:
        """An argument as it is."""
        found = self.arguments.get(key)
        return default if found is None else found

    def flow(self, key: str = "") -> Flow:
        """An argument that depends on the image; the first without a name."""
        found = self.get(key or next(iter(self.arguments), ""))
        if not isinstance(found, Flow):
            raise InvalidValueError(
                f"{key or 'input'} of {self.operator} at {self.name!r} must depend on the image. "
                f"Got {type(found).__name__}."
            )
        return found

    def constant(self, key: str) -> Array:
        """A tensor that does not depend on the image."""
        found = self.optional(key)
        if found is None:
            raise InvalidValueError(f"{key} of {self.name!r} must be a tensor. Got None.")
        return found

    def optional(self, key: str) -> Array | None:
        """Likewise, or None."""
        found = self.get(key)
        if found is not None and not isinstance(found, np.ndarray):
            raise InvalidValueError(
                f"{key} of {self.operator} at {self.name!r} must be a constant tensor. "
                f"Got {'the output of a node' if isinstance(found, Flow) else repr(found)}."
            )
        return found

    def value(self, key: str) -> Value:
        """A tensor of either kind; a number becomes one."""
        found = self.get(key)
        if isinstance(found, bool | int | float):
            return np.asarray(found)
        if not isinstance(found, Flow | np.ndarray):
            raise InvalidValueError(f"{key} of {self.name!r} must be a tensor. Got {found!r}.")
        return found

    def number(self, key: str, default: float) -> float:
        """A number."""
        found = self.get(key, default)
        right = isinstance(found, int | float) and math.isfinite(found)
        require(right, f"{key} of {self.name!r}", "a number", found)
        return float(found)

    def integer(self, key: str, default: int) -> int:
        """A whole number."""
        found = self.get(key, default)
        require(type(found) is int, f"{key} of {self.name!r}", "a whole number", found)
        return int(found)

    def flag(self, key: str, default: bool = False) -> bool:
        """Yes or no."""
        return bool(self.get(key, default))

    def integers(self, key: str) -> list[int | None]:
        """Whole numbers; None for a size that only the image will tell."""
        found = self.get(key, [])
        found = [found] if type(found) is int else found
        right = isinstance(found, list) and all(n is None or type(n) is int for n in found)
        require(right, f"{key} of {self.name!r}", "whole numbers", found)
        return list(found)

    def pair(self, key: str, default: int = 1) -> Pair:
        """Two whole numbers for height and width; one may stand for both."""
        found = self.integers(key) or [default]
        found = found * 2 if len(found) == 1 else found
        right = len(found) == 2 and None not in found
        require(right, f"{key} of {self.name!r}", "one or two whole numbers", found)
        return int(found[0] or 0), int(found[1] or 0)

    def axis(self, key: str, default: int, flow: Flow) -> int:
        """A dimension, from 0 on."""
        found, rank = self.integer(key, default), flow.rank()
        if found >= 0:
            return found
        if rank is None or found < -rank:
            raise InvalidValueError(f"{key} of {self.name!r} must be a dimension. Got {found}.")
        return found + rank
