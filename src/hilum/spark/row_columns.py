"""Columns of any type as Arrow knows them: what each is, and as which expression it is read."""

from dataclasses import dataclass
from typing import Literal

from pyspark.ml.functions import vector_to_array
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType

from hilum.errors import InvalidValueError, require

__all__ = ["Kind", "RowColumns", "kind_of", "readable"]

Kind = Literal["image", "vector", "text", "float32", "int64"]

_WHOLE = ("byte", "short", "integer", "long")
_FRACTIONS = ("float", "double", "decimal", "boolean")
_IMAGE_FIELDS = {"height", "width", "nChannels", "data"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RowColumns:
    """Names of the columns a network on any data is trained on.

    Attributes:
        features: its arguments, in order.
        labels: what its outputs learn, in order; empty where it learns its own inputs.
        split: None where every row trains. weight: None where all rows count alike.
    """

    features: tuple[str, ...]
    labels: tuple[str, ...]
    split: str | None = None
    weight: str | None = None


def kind_of(data: DataFrame, column: str, parameter: str) -> Kind:
    """What a column is to a network: numbers of any nesting are told by what they are made of.

    Args:
        parameter: that names the column, for the error.

    Raises:
        InvalidValueError: there is no such column, or no network could read it.
    """
    require(column in data.columns, parameter, f"one of {', '.join(data.columns)}", column)
    kind = data.schema[column].dataType
    if set(getattr(kind, "names", [])) >= _IMAGE_FIELDS:
        return "image"
    if kind.typeName() == "vectorudt":
        return "vector"
    name = _element(kind).typeName()
    if name == "string" and not isinstance(kind, ArrayType):
        return "text"
    if name in _WHOLE:
        return "int64"
    if name in _FRACTIONS:
        return "float32"
    raise InvalidValueError(
        f"{parameter} must be images, numbers, booleans, arrays of them, ML vectors or text. "
        f"Got {column}: {kind.simpleString()}. Hint: cast it, or make numbers of it with "
        "pyspark.ml.feature (StringIndexer, VectorAssembler)."
    )


def readable(data: DataFrame, column: str) -> Column:
    """The column as images, texts, numbers or arrays of numbers; vectors become arrays."""
    kind = data.schema[column].dataType
    found = F.col(column)
    if kind.typeName() == "vectorudt":
        # Of a null vector Spark's function makes an error, not a null.
        return F.when(found.isNotNull(), vector_to_array(found))
    if _element(kind).typeName() == "decimal":
        return found.cast(_with_doubles(kind))
    return found


def _element(kind: DataType) -> DataType:
    while isinstance(kind, ArrayType):
        kind = kind.elementType
    return kind


def _with_doubles(kind: DataType) -> str:
    return f"array<{_with_doubles(kind.elementType)}>" if isinstance(kind, ArrayType) else "double"
