"""Numbers out of Arrow columns: one array of fixed shape for all rows, a reason for each bad one.

Columns of numbers, booleans and (nested) lists. Where every row has the shape that is wanted, the
column's own buffer is viewed, without a Python object per number; else rows are read one by one.
"""

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["ROW_REASONS", "Reasons", "Stored", "read_numbers"]

Stored: TypeAlias = npt.NDArray[Any]
Reasons: TypeAlias = list[str | None]

ROW_REASONS: dict[str, str] = {
    "null": "the value, or one inside it, is null",
    "wrong_shape": "not as many numbers as in the first rows, or nested otherwise",
    "not_finite": "a number is NaN, infinite, or too large for float32",
    "not_whole": "a number that must be whole is not",
    "no_text": "the text is null",
    "no_image": "the image is null",
    "bad_label": "the label does not have the shape of the first rows' labels, or is infinite",
    "bad_weight": "the row's weight is null, negative or not a finite number",
}


def read_numbers(
    values: pa.Array, shape: Sequence[int], dtype: npt.DTypeLike, *, unknown: bool = False
) -> tuple[Stored, Reasons]:
    """Read a column as an array (N, *shape).

    A flat list may fill any shape of as many numbers; nested ones must have the shape itself.

    Args:
        values: numbers, booleans or lists of them, N of them.
        unknown: let nulls and NaN pass as NaN; for labels.

    Returns:
        The array, 0 where a row is bad, and for each row the code of `ROW_REASONS` or None.
    """
    wanted = np.dtype(dtype)
    found = _whole_column(values, tuple(shape))
    if found is None:
        return _row_by_row(values, tuple(shape), wanted, unknown=unknown)
    return _converted(found, wanted, unknown=unknown)


def _whole_column(values: pa.Array, shape: tuple[int, ...]) -> npt.NDArray[Any] | None:
    """The column as (N, *shape); None unless every row has that shape and no null."""
    count, dims, level = len(values), [], values
    while _is_list(level.type):
        lengths = pc.list_value_length(level).unique()
        if level.null_count or len(lengths) > 1:
            return None
        dims.append(int(lengths[0].as_py()) if len(lengths) else 0)
        level = level.flatten()
    if level.null_count or not (_is_number(level.type) or count == 0):
        return None
    fits = tuple(dims) == shape or (len(dims) <= 1 and math.prod(dims) == math.prod(shape))
    if not fits and count:
        return None
    numbers = level.to_numpy(zero_copy_only=False)
    return numbers.reshape(count, *shape) if count else np.zeros((0, *shape), np.float64)


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    )


def _converted(
    found: npt.NDArray[Any], wanted: np.dtype[Any], *, unknown: bool
) -> tuple[Stored, Reasons]:
    count = len(found)
    reasons: Reasons = [None] * count
    if found.dtype.kind == "f" or wanted.kind == "f":
        with np.errstate(over="ignore"):
            found = found.astype(np.float32 if wanted.kind == "f" else np.float64)
        bad = ~np.isfinite(found)
        if unknown:
            bad &= ~np.isnan(found)
        _note(reasons, bad, "not_finite")
        if wanted.kind != "f":
            found = np.where(bad, 0, found)
            _note(reasons, found != np.rint(found), "not_whole")
    stored = found.astype(wanted, copy=False)
    for row in (number for number, reason in enumerate(reasons) if reason):
        stored[row] = 0
    return stored, reasons


def _note(reasons: Reasons, bad: npt.NDArray[np.bool_], reason: str) -> None:
    for row in np.flatnonzero(bad.reshape(len(reasons), -1).any(axis=1)).tolist():
        reasons[row] = reasons[row] or reason


def _row_by_row(
    values: pa.Array, shape: tuple[int, ...], wanted: np.dtype[Any], *, unknown: bool
) -> tuple[Stored, Reasons]:
    stored = np.zeros((len(values), *shape), dtype=wanted)
    reasons: Reasons = []
    for row, value in enumerate(values.to_pylist()):
        found = _one(value, shape, unknown=unknown)
        if isinstance(found, str):
            reasons.append(found)
            continue
        (stored[row],), (reason,) = _converted(found[None], wanted, unknown=unknown)
        reasons.append(reason)
    return stored, reasons


def _one(value: Any, shape: tuple[int, ...], *, unknown: bool) -> npt.NDArray[Any] | str:
    """One row's numbers as `shape`, or why not."""
    if value is None:
        return np.full(shape, np.nan) if unknown else "null"
    try:
        found = np.asarray(value, dtype=np.float64 if unknown else None)
    except (TypeError, ValueError):
        return "wrong_shape"
    if found.dtype.kind not in "biuf":  # texts of digits would else become numbers
        return "null" if found.dtype == object else "wrong_shape"
    fits = found.shape == shape or (found.ndim <= 1 and found.size == math.prod(shape))
    return found.reshape(shape) if fits else "wrong_shape"
