"""Class labels of any type as class numbers from 0, and the names of the classes.

What a column's ML attributes say counts first, so that the numbers of a StringIndexer keep their
names; else the values themselves tell.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from hilum.errors import InvalidValueError, require

__all__ = ["MAX_CLASSES", "ClassLabels", "class_labels", "nominal_metadata"]

MAX_CLASSES = 10_000
"""More labels than this are no classes; a numbered table has them by mistake."""

_WHOLE = ("byte", "short", "integer", "long")
_FRACTIONS = ("float", "double", "decimal")
_AS_TEXT = ("string", "char", "varchar", "date", "timestamp", "timestamp_ntz")
_LEARNS = ("train", "valid")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassLabels:
    """Classes by name, and how a row's label becomes its class number.

    Attributes:
        names: in the order of their numbers.
        number: a double, null where the label is null or NaN.
    """

    names: tuple[str, ...]
    number: Column


def class_labels(data: DataFrame, column: str, split: str | None = None) -> ClassLabels:
    """Find the classes of a label column; one aggregation over the rows that are learnt from.

    | the column holds | class numbers | names |
    | --- | --- | --- |
    | numbers with ML attributes, as of a StringIndexer | themselves | the attribute's values |
    | texts or dates | by frequency, the commonest 0, then by alphabet | themselves |
    | booleans | false 0, true 1 | "false", "true" |
    | numbers, whole and from 0 | themselves | "0", "1", ... |

    Args:
        split: name of the column of splits; None where every row trains.

    Raises:
        InvalidValueError: there is no such column, it is of another type, a number is no class
            number, or there are fewer than two classes.
    """
    require(column in data.columns, "labelCol", f"one of {', '.join(data.columns)}", column)
    kind = data.schema[column].dataType.typeName()
    learnt = data if split is None else data.filter(F.col(split).isin(*_LEARNS))
    if kind == "boolean":
        return ClassLabels(names=("false", "true"), number=F.col(column).cast("double"))
    if kind in _AS_TEXT:
        return _of_texts(learnt, column)
    if kind in (*_WHOLE, *_FRACTIONS):
        return _of_numbers(learnt, column, _attribute_names(data.schema[column].metadata))
    raise InvalidValueError(
        "labelCol must hold one class per row: text, booleans, dates, or whole numbers from 0. "
        f"Got {column}: {data.schema[column].dataType.simpleString()}. "
        "Hint: NNEstimator learns arrays, several labels a row and numbers that are no classes."
    )


def nominal_metadata(column: str, names: tuple[str, ...]) -> dict[str, Any]:
    """ML attributes of a column of class numbers, as StringIndexer writes and others read them."""
    return {"ml_attr": {"name": column, "type": "nominal", "vals": list(names)}}


def _attribute_names(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    attribute = metadata.get("ml_attr") or {}
    if attribute.get("vals"):
        return tuple(map(str, attribute["vals"]))
    return tuple(map(str, range(int(attribute.get("num_vals", 0)))))


def _of_texts(data: DataFrame, column: str) -> ClassLabels:
    text = F.col(column).cast("string")
    counted = data.select(text.alias("name")).filter("name is not null").groupBy("name").count()
    rows = counted.limit(MAX_CLASSES + 1).collect()
    _require_classes(column, len(rows), [row["name"] for row in rows[:3]])
    ordered = sorted(rows, key=lambda row: (-row["count"], row["name"]))
    names = tuple(row["name"] for row in ordered)
    place = F.array_position(F.lit(list(names)), text)
    # 0 is a label that was in no row that is learnt from: unknown, as null is.
    return ClassLabels(names=names, number=F.when(place > 0, (place - 1).cast("double")))


def _of_numbers(data: DataFrame, column: str, names: tuple[str, ...]) -> ClassLabels:
    value = F.col(column).cast("double")
    number = F.when(~F.isnan(value), value)
    is_broken = (F.col("number") != F.rint("number")) | (F.abs("number") == F.lit(math.inf))
    found = data.select(number.alias("number")).agg(
        F.min("number").alias("least"),
        F.max("number").alias("most"),
        F.max(F.when(is_broken, F.col("number"))).alias("broken"),
    )
    row = found.first()
    assert row is not None, "an aggregate without groups has one row"
    least, most, broken = row["least"], row["most"], row["broken"]
    if least is None:
        _require_classes(column, 0, [])
    rule = "class numbers, whole and from 0"
    hint = "subtract 1 from classes that count from 1; a StringIndexer numbers any values"
    require(broken is None, f"labelCol {column}", rule, broken, hint=hint)
    require(least >= 0, f"labelCol {column}", rule, least, hint=hint)
    if names:
        fits = most < len(names)
        shown = f"class numbers below {len(names)}, as its ML attributes name {len(names)} classes"
        require(fits, f"labelCol {column}", shown, most)
        _require_classes(column, len(names), list(names[:3]))
        return ClassLabels(names=names, number=number)
    _require_classes(column, int(most) + 1, [least, most])
    return ClassLabels(names=tuple(map(str, range(int(most) + 1))), number=number)


def _require_classes(column: str, count: int, examples: list[Any]) -> None:
    require(
        2 <= count <= MAX_CLASSES,
        f"labelCol {column}",
        f"of 2 to {MAX_CLASSES} classes",
        f"{count if count <= MAX_CLASSES else 'more'} ({', '.join(map(str, examples))})",
        hint="NNEstimator learns numbers that are no classes",
    )
