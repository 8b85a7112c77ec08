"""Arithmetic of ONNX on what is known before there is an image: shapes, folded constants.

Sizes that only the image will tell are None among the numbers; they may be moved about, but not
computed with.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from hilum.errors import InvalidValueError, require
from hilum.models.roads.assembly import Array
from hilum.models.roads.onnx_file import Operation
from hilum.models.roads.tracing import as_integers, bounded

__all__ = ["FOLDED", "axes_of", "fold", "slices"]

_DISAGREE = (
    ValueError,
    IndexError,
    TypeError,
    KeyError,
    AttributeError,
    ArithmeticError,
    MemoryError,
)


def fold(operation: Operation, inputs: Sequence[Array | None], opset: int) -> Array | None:
    """Compute an operation of constants; None where this is none that can be.

    Raises:
        InvalidValueError: the constants do not go together.
    """
    if operation.kind not in FOLDED:
        return None
    try:
        with np.errstate(all="ignore"):
            return np.asarray(FOLDED[operation.kind](operation, inputs, opset))
    except InvalidValueError:
        raise
    # What numpy raises for shapes and indices that do not go together.
    except _DISAGREE as error:
        raise InvalidValueError(
            f"node {operation.name!r} ({operation.kind}) must be computable. Got {error}. "
            "Hint: the file is damaged."
        ) from error


_Fold = Callable[[Operation, Sequence["Array | None"], int], Array]


def axes_of(operation: Operation, inputs: Sequence[Array | None], at: int = 1) -> list[int] | None:
    """The axes of an operation: an attribute in old files, an input in new ones."""
    found = operation.attributes.get("axes")
    if found is None and len(inputs) > at and inputs[at] is not None:
        found = as_integers(_array(inputs[at]), f"axes of node {operation.name!r}")
    return None if found is None else [int(axis) for axis in found]


def _array(value: Array | None) -> Array:
    require(value is not None, "input of a node", "given", None)
    assert value is not None
    return value


def _constant(operation: Operation, inputs: Sequence[Array | None], opset: int) -> Array:
    for key in ("value", "value_float", "value_int", "value_floats", "value_ints"):
        if key in operation.attributes:
            return np.asarray(operation.attributes[key])
    raise KeyError("value")


def _constant_of_shape(operation: Operation, inputs: Sequence[Array | None], opset: int) -> Array:
    shape = [int(n or 0) for n in as_integers(_array(inputs[0]), f"shape of {operation.name!r}")]
    count = 1
    for size in shape:
        require(size >= 0, f"shape of {operation.name!r}", "of sizes of 0 or more", shape)
        count *= size
        bounded(count, f"constant {operation.name!r}")
    value = np.asarray(operation.attributes.get("value", np.zeros(1, np.float32)))
    return np.broadcast_to(value.reshape(-1)[0], shape)  # no memory yet


def _elementwise(function: Callable[..., Array]) -> _Fold:
    def compute(operation: Operation, inputs: Sequence[Array | None], opset: int) -> Array:
        arrays = [_array(value) for value in inputs]
        count = math.prod(np.broadcast_shapes(*(array.shape for array in arrays)))
        bounded(8 * count, operation.name)  # these are computed, and take memory
        return np.asarray(function(*arrays))

    return compute


def _divide(first: Array, second: Array) -> Array:
    both = first.dtype.kind in "iuO" and second.dtype.kind in "iuO"
    return np.asarray(first // second if both else first / second)


def _gather(operation: Operation, inputs: Sequence[Array | None], opset: int) -> Array:
    data, indices = _array(inputs[0]), _array(inputs[1])
    axis = int(operation.attributes.get("axis", 0))
    return np.take(data, indices.astype(np.int64), axis=axis)


def _concat(operation: Operation, inputs: Sequence[Array | None], opset: int) -> Array:
    arrays = [_array(value) for value in inputs]
    bounded(sum(array.size for array in arrays), operation.name)
    return np.concatenate(arrays, axis=int(operation.attributes["axis"]))


def _unsqueeze(operation: Operation, inputs: Sequence[Array | None], opset: int) -> Array:
    return np.expand_dims(_array(inputs[0]), tuple(axes_of(operation, inputs) or ()))


def _squeeze(operation: Operation, inputs: Sequence[Array | None], opset: int) -> Array:
    axes = axes_of(operation, inputs)
    return np.squeeze(_array(inputs[0]), None if axes is None else tuple(axes))


def _reshape(operation: Operation, inputs: Sequence[Array | None], opset: int) -> Array:
    data = _array(inputs[0])
    wanted = as_integers(_array(inputs[1]), f"shape of node {operation.name!r}")
    shape = [data.shape[at] if size == 0 else int(size or 0) for at, size in enumerate(wanted)]
    return data.reshape(shape)


def _slice(operation: Operation, inputs: Sequence[Array | None], opset: int) -> Array:
    data = _array(inputs[0])
    index = [slice(None)] * data.ndim
    for axis, part in slices(operation, inputs, data.ndim):
        index[axis] = part
    return data[tuple(index)]


def slices(
    operation: Operation, inputs: Sequence[Array | None], rank: int
) -> list[tuple[int, slice]]:
    """Which part of which axis a Slice takes: attributes before opset 10, inputs since."""

    def numbers(key: str, at: int) -> list[int] | None:
        found = operation.attributes.get(key)
        if found is None and len(inputs) > at and inputs[at] is not None:
            found = as_integers(_array(inputs[at]), f"{key} of node {operation.name!r}")
        return None if found is None else [int(n) for n in found]

    starts, ends = numbers("starts", 1) or [], numbers("ends", 2) or []
    axes = numbers("axes", 3) or list(range(len(starts)))
    steps = numbers("steps", 4) or [1] * len(starts)
    right = len(starts) == len(ends) == len(axes) == len(steps)
    require(right, f"parts of node {operation.name!r}", "as many starts as ends", axes)
    require(all(-rank <= axis < rank for axis in axes), "axes of a Slice", f"of {rank}", axes)
    require(all(steps), f"steps of node {operation.name!r}", "not 0", steps)
    return [
        (axis % rank, slice(start, end, step))
        for axis, start, end, step in zip(axes, starts, ends, steps, strict=True)
    ]


def _range(operation: Operation, inputs: Sequence[Array | None], opset: int) -> Array:
    start, limit, step = (_array(value).reshape(-1)[0].item() for value in inputs)
    require(step != 0, f"step of node {operation.name!r}", "not 0", step)
    bounded(int(max(0, (limit - start) // step)), operation.name)
    return np.arange(start, limit, step)


def _size(operation: Operation, inputs: Sequence[Array | None], opset: int) -> Array:
    return np.asarray(_array(inputs[0]).size)


def _transpose(operation: Operation, inputs: Sequence[Array | None], opset: int) -> Array:
    return np.transpose(_array(inputs[0]), operation.attributes.get("perm"))


def _cast(operation: Operation, inputs: Sequence[Array | None], opset: int) -> Array:
    data = _array(inputs[0])
    if data.dtype.kind == "O":  # sizes, some of them unknown
        return data
    kind = {1: "f4", 6: "i4", 7: "i8", 9: "?", 10: "f2", 11: "f8"}[operation.attributes["to"]]
    return data.astype(kind)


def _expand(operation: Operation, inputs: Sequence[Array | None], opset: int) -> Array:
    data = _array(inputs[0])
    wanted = as_integers(_array(inputs[1]), f"shape of node {operation.name!r}")
    shape = np.broadcast_shapes(data.shape, tuple(int(size or 0) for size in wanted))
    bounded(math.prod(shape), operation.name)
    return np.broadcast_to(data, shape)


FOLDED: Mapping[str, _Fold] = MappingProxyType(
    {
        "Add": _elementwise(np.add),
        "Cast": _cast,
        "Concat": _concat,
        "Constant": _constant,
        "ConstantOfShape": _constant_of_shape,
        "Div": _elementwise(_divide),
        "Expand": _expand,
        "Floor": _elementwise(np.floor),
        "Gather": _gather,
        "Identity": _elementwise(lambda value: value),
        "Mul": _elementwise(np.multiply),
        "Neg": _elementwise(np.negative),
        "Pow": _elementwise(np.power),
        "Range": _range,
        "Reciprocal": _elementwise(np.reciprocal),
        "Reshape": _reshape,
        "Size": _size,
        "Slice": _slice,
        "Sqrt": _elementwise(np.sqrt),
        "Squeeze": _squeeze,
        "Sub": _elementwise(np.subtract),
        "Transpose": _transpose,
        "Unsqueeze": _unsqueeze,
    }
)
"""Kinds of operations that can be computed at once."""
