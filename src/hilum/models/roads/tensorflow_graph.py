"""TensorFlow's GraphDef: nodes, their attributes, and constants computed ahead.

The field numbers are those of tensorflow/core/framework: graph, node_def, attr_value, tensor.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from hilum.errors import InvalidValueError, require
from hilum.models.roads.assembly import Array, shaped
from hilum.models.roads.wire import Message

__all__ = ["FOLDED", "Folder", "Operation", "operations"]

_MAX_FILLED = 1 << 20  # elements of a constant that a few bytes stand for
_MAX_RANK = 8
# By the number of the type: numpy's, and the field for numbers that do not come as bytes.
_TYPES: Mapping[int, tuple[str, int]] = {
    1: ("<f4", 5),
    2: ("<f8", 6),
    3: ("<i4", 7),
    4: ("<u1", 7),
    5: ("<i2", 7),
    6: ("<i1", 7),
    9: ("<i8", 10),
    10: ("?", 11),
    19: ("<f2", 13),
}
_HALF = 19


@dataclass(frozen=True, slots=True)
class Operation:
    """A node of the graph.

    Attributes:
        name: unique in the graph.
        op: its kind: "Conv2D".
        reads: names of the nodes it takes tensors from, in order.
    """

    name: str
    op: str
    reads: tuple[str, ...]
    _attributes: Mapping[str, Message]

    def integer(self, name: str, default: int) -> int:
        """An attribute that is an integer or, with 0 and 1, a truth value."""
        found = self._attributes.get(name)
        return default if found is None else found.integer(5 if 5 in found else 3)

    def real(self, name: str, default: float) -> float:
        """An attribute that is a float."""
        found = self._attributes.get(name)
        return default if found is None else found.real(4, "<f4", default)

    def text(self, name: str, default: str) -> str:
        """An attribute that is a string."""
        found = self._attributes.get(name)
        return default if found is None else found.text(2, default)

    def integers(self, name: str) -> list[int]:
        """An attribute that is a list of integers, empty where there is none."""
        found = self._attributes.get(name)
        return [] if found is None else found.message(1).integers(3)

    def shape(self, name: str = "shape") -> list[int] | None:
        """An attribute that is a shape, -1 where a size is open; None if nothing is known."""
        found = self._attributes.get(name)
        if found is None or 7 not in found or found.message(7).integer(3):
            return None
        return _sizes(found.message(7))

    def tensor(self) -> Array:
        """The value of a constant.

        Raises:
            InvalidValueError: of a type without numbers, or of another size than it claims.
        """
        require("value" in self._attributes, f"constant {self.name!r}", "one with a value", "none")
        tensor = self._attributes["value"].message(8)
        kind = tensor.integer(1)
        what = f"constant {self.name!r}"
        require(kind in _TYPES, f"type of {what}", f"one of {sorted(_TYPES)}", kind)
        dtype, field = _TYPES[kind]
        sizes = _sizes(tensor.message(2))
        rule = f"at most {_MAX_RANK} sizes of 0 or more"
        require(len(sizes) <= _MAX_RANK and min(sizes, default=0) >= 0, what, rule, sizes[:9])
        if 4 in tensor:
            content = tensor.parts(4)[-1]
            width = np.dtype(dtype).itemsize
            rule = f"numbers of {width} bytes"
            require(len(content) % width == 0, what, rule, f"{len(content)} bytes")
            return shaped(np.frombuffer(content, dtype), sizes, what)
        return _filled(_numbers(tensor, kind, field, dtype), sizes, what)


def _sizes(shape: Message) -> list[int]:
    return [dimension.integer(1) for dimension in shape.messages(2)]


def _numbers(tensor: Message, kind: int, field: int, dtype: str) -> Array:
    if dtype in ("<f4", "<f8"):
        return tensor.array(field, dtype)
    values = np.array(tensor.integers(field), dtype=np.int64)
    # Half precision stands there as the integers whose bits it is.
    return values.astype("<u2").view("<f2") if kind == _HALF else values.astype(dtype)


def _filled(values: Array, sizes: Sequence[int], what: str) -> Array:
    """TensorFlow leaves out numbers that repeat the last one, or are all 0."""
    count = math.prod(sizes)
    if values.size == count:
        return shaped(values, sizes, what)
    rule = f"at most {_MAX_FILLED} numbers in the place of {values.size}"
    require(values.size < count <= _MAX_FILLED, what, rule, count)
    last = values[-1] if values.size else 0
    rest = np.full(count - values.size, last, values.dtype)
    return np.concatenate([values, rest]).reshape(tuple(sizes))


def operations(graph: Message) -> dict[str, Operation]:
    """The nodes of a graph by their names.

    Raises:
        InvalidValueError: there are none, or a name is used twice.
    """
    found: dict[str, Operation] = {}
    for node in graph.messages(1):
        name = node.text(1)
        require(name not in found, "name of a TensorFlow node", "used once", name)
        reads = (_source(read) for read in node.texts(3) if not read.startswith("^"))
        found[name] = Operation(name, node.text(2), tuple(reads), node.table(5))
    require(
        bool(found),
        "a TensorFlow graph",
        "a frozen GraphDef with nodes",
        "none",
        hint="a SavedModel's saved_model.pb is another format; freeze it, or load its folder",
    )
    return found


def _source(read: str) -> str:
    name, _, index = read.partition(":")
    require(index in ("", "0"), "input of a TensorFlow node", "the first output of a node", read)
    return name


class Folder:
    """Computes what depends on constants alone, such as batch norms taken apart.

    Args:
        elements: how many numbers the results may have together, so that broadcasting cannot
            make much of little.
    """

    def __init__(self, elements: int) -> None:
        self._left = elements

    def fold(self, operation: Operation, values: Sequence[Array]) -> Array:
        """The value of an operation of `FOLDED`.

        Raises:
            InvalidValueError: the values do not fit the operation, or the result is too large.
        """
        self._left -= sum(value.size for value in values)
        with suppress(ValueError):  # shapes of a reshape, say, do not broadcast
            self._left -= math.prod(np.broadcast_shapes(*(value.shape for value in values[:2])))
        require(self._left >= 0, "constants of a TensorFlow graph", "of a sane size", "more")
        try:
            with np.errstate(all="ignore"):
                return np.asarray(FOLDED[operation.op](operation, *values))
        # What numpy raises depends on where the values stop making sense.
        except (ValueError, TypeError, IndexError, OverflowError, ZeroDivisionError) as error:
            raise InvalidValueError(
                f"inputs of TensorFlow node {operation.name!r} must fit {operation.op}. "
                f"Got {error}."
            ) from error


def _elementwise(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda _, *values: function(*values)


def _squeezed(operation: Operation, value: Array) -> Array:
    return np.squeeze(value, tuple(operation.integers("squeeze_dims")) or None)


def _sliced(operation: Operation, value: Array, *ends: Array) -> Array:
    """Of a list of sizes a part, or one: all that graphs of inference slice."""
    masks = [operation.integer(f"{name}_mask", 0) for name in ("ellipsis", "new_axis")]
    if value.ndim != 1 or any(masks):
        raise ValueError("more than one axis to slice")
    begin, end, step = (part.item() for part in ends)
    if operation.integer("shrink_axis_mask", 0):
        return np.asarray(value[begin])
    begin = None if operation.integer("begin_mask", 0) else begin
    return value[begin : None if operation.integer("end_mask", 0) else end : step]


def _stacked(operation: Operation, *values: Array) -> Array:
    return np.stack(values, operation.integer("axis", 0))


FOLDED: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "Add": _elementwise(np.add),
        "AddV2": _elementwise(np.add),
        "Cast": _elementwise(lambda value: value),
        "ConcatV2": _elementwise(lambda *v: np.concatenate(v[:-1], v[-1].item())),
        "ExpandDims": _elementwise(lambda value, axis: np.expand_dims(value, axis.item())),
        "Identity": _elementwise(lambda value: value),
        "Maximum": _elementwise(np.maximum),
        "Minimum": _elementwise(np.minimum),
        "Mul": _elementwise(np.multiply),
        "Neg": _elementwise(np.negative),
        "Pack": _stacked,
        "Prod": _elementwise(lambda value, axis: np.prod(value, axis.item())),
        "RealDiv": _elementwise(np.divide),
        "Reshape": _elementwise(lambda value, sizes: np.reshape(value, sizes.tolist())),
        "Rsqrt": _elementwise(lambda value: 1 / np.sqrt(value)),
        "Sqrt": _elementwise(np.sqrt),
        "Squeeze": _squeezed,
        "StridedSlice": _sliced,
        "Sub": _elementwise(np.subtract),
        "Transpose": _elementwise(lambda value, order: np.transpose(value, order.tolist())),
    }
)
"""Operations that are computed ahead where all their inputs are constants."""
