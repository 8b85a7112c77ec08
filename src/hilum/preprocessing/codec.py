"""Steps as JSON: a fixed table of types, plain values, and an error for anything else."""

import types
from collections.abc import Mapping
from dataclasses import Field, fields
from typing import Any, cast

from hilum.errors import require
from hilum.preprocessing.augmentation import (
    RandomBrightness,
    RandomCrop,
    RandomHorizontalFlip,
    RandomRotation,
)
from hilum.preprocessing.geometry import CenterCrop, GreyToRGB, Resize
from hilum.preprocessing.normalize import ChannelNormalize
from hilum.preprocessing.transform import Step

__all__ = ["STEP_TYPES", "step_from_json", "step_to_json"]

STEP_TYPES: Mapping[str, type[Step]] = types.MappingProxyType(
    {
        "Resize": Resize,
        "CenterCrop": CenterCrop,
        "RandomCrop": RandomCrop,
        "RandomHorizontalFlip": RandomHorizontalFlip,
        "RandomBrightness": RandomBrightness,
        "RandomRotation": RandomRotation,
        "GreyToRGB": GreyToRGB,
        "ChannelNormalize": ChannelNormalize,
    }
)
"""Every step a chain may hold, by the name that stands in stored chains."""


def step_to_json(step: Step) -> dict[str, Any]:
    """Return {"type": name, field: value, ...}; whole-valued floats stay floats."""
    values = {field.name: _plain(field, getattr(step, field.name)) for field in _fields(step)}
    return {"type": type(step).__name__, **values}


def step_from_json(document: Any, index: int) -> Step:
    """Rebuild the step that stands at `index` of a stored chain; every field must be there."""
    place = f"step {index} of the chain"
    require(isinstance(document, Mapping) and "type" in document, place, "typed", document)
    values = dict(document)
    name = values.pop("type")
    require(
        isinstance(name, str) and name in STEP_TYPES,
        f"type of {place}",
        f"one of {', '.join(STEP_TYPES)}",
        name,
        hint="a newer Hilum may have written it",
    )
    known = {field.name: field for field in _fields(STEP_TYPES[name])}
    require(
        values.keys() == known.keys(),
        f"fields of {place} ({name})",
        f"exactly {sorted(known)}",
        sorted(values),
    )
    for key, value in values.items():
        expected, holds = _expected(known[key], value)
        require(holds, f"{key} of {place} ({name})", expected, value)
        values[key] = tuple(value) if isinstance(value, list) else value
    return STEP_TYPES[name](**values)


def _fields(step: Step | type[Step]) -> tuple[Field[Any], ...]:
    return fields(cast(Any, step))  # all in STEP_TYPES are dataclasses, which no protocol can say


def _plain(field: Field[Any], value: Any) -> Any:
    """Return a field's value in its declared type, so that 1 and 1.0 have one fingerprint."""
    if field.type in (int, float):
        return field.type(value)
    return [float(number) for number in value]


def _expected(field: Field[Any], value: Any) -> tuple[str, bool]:
    """Return what a field must hold, in words, and whether the value does."""
    if field.type is int:
        return "a whole number", _is_number(value, int)
    if field.type is float:
        return "a number", _is_number(value, int, float)
    holds = isinstance(value, list | tuple) and all(_is_number(n, int, float) for n in value)
    return "a list of numbers", holds


def _is_number(value: Any, *kinds: type) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)
