"""Frozen values to JSON and back, through a fixed table of the types a reader may build.

A file can then name no class but those in the table, and a mistake in it is an error that says
what is known, instead of a schedule or a loss that nobody asked for.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from hilum.errors import InvalidValueError, require

__all__ = ["from_json", "to_json"]

T = TypeVar("T")


def to_json(value: object, kinds: Mapping[str, type]) -> dict[str, Any]:
    """Return {"type": name, field: value, ...}, made of dicts, lists, strings and numbers.

    Raises:
        InvalidValueError: the value, or one inside it, is of no type in the table.
    """
    name = next((name for name, kind in kinds.items() if type(value) is kind), None)
    if name is None or not dataclasses.is_dataclass(value):
        raise InvalidValueError(
            f"value must be one of {', '.join(kinds)} to be saved. Got {value!r}."
        )
    fields = {f.name: _encode(getattr(value, f.name), kinds) for f in dataclasses.fields(value)}
    return {"type": name, **fields}


def from_json(data: object, kinds: Mapping[str, type[T]]) -> T:
    """Rebuild the value that `to_json` wrote; lists become tuples.

    Raises:
        InvalidValueError: an unknown type or field, a missing field, or a value that breaks the
            type's own rules.
    """
    if not isinstance(data, Mapping):
        raise InvalidValueError(f"data must be an object with a type. Got {data!r}.")
    name = data.get("type")
    require(name in kinds, "type", f"one of {', '.join(kinds)}", name)
    fields = {key: _decode(item, kinds) for key, item in data.items() if key != "type"}
    try:
        return kinds[str(name)](**fields)
    except TypeError as error:  # a field too many or too few, or of a type that does not compare
        raise InvalidValueError(
            f"{name} must have its own fields. Got {data!r}: {error}."
        ) from error


def _encode(item: object, kinds: Mapping[str, type]) -> object:
    if isinstance(item, tuple):
        return [_encode(part, kinds) for part in item]
    if dataclasses.is_dataclass(item):
        return to_json(item, kinds)
    return item


def _decode(item: object, kinds: Mapping[str, type[T]]) -> object:
    if isinstance(item, list):
        return tuple(_decode(part, kinds) for part in item)
    if isinstance(item, Mapping):
        return from_json(item, kinds)
    return item
