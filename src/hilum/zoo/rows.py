"""Features of 2019 that are no images: numbers, arrays and vectors, for one input or several.

Several inputs came as one array in 2019, `SeqToMultipleTensors` cut it. Here each is a column,
which an estimator and its model make of the array and drop again.
"""

import math
from collections.abc import Sequence
from typing import Any

from pyspark.ml.functions import vector_to_array
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from hilum.errors import InvalidValueError, require
from hilum.inputs import RowSpec
from hilum.spark.row_columns import kind_of
from hilum.zoo import conversions as to
from hilum.zoo.preprocessing import ChainedPreprocessing

__all__ = ["as_fractions", "is_image", "part_names", "shapes_of", "with_parts", "without_parts"]

_OF_ONE = (to.SeqToTensor, to.ArrayToTensor, to.MLlibVectorToTensor)


def is_image(data: DataFrame, column: str) -> bool:
    """Whether a column holds images."""
    return kind_of(data, column, "featuresCol") == "image"


def shapes_of(preprocessing: Any) -> list[tuple[int, ...]]:
    """The shape of each input, as a feature preprocessing says it; () where the rows tell it.

    Args:
        preprocessing: None, an operation of numbers, a size, or a list of sizes.

    Raises:
        InvalidValueError: it is for images.
    """
    if isinstance(preprocessing, to.FeatureLabelPreprocessing):
        preprocessing = preprocessing.feature_transformer
    if isinstance(preprocessing, ChainedPreprocessing) and len(preprocessing.transformers) == 1:
        (preprocessing,) = preprocessing.transformers
    if preprocessing is None or isinstance(preprocessing, to.ScalarToTensor):
        return [()]
    if isinstance(preprocessing, _OF_ONE):
        return [tuple(map(int, preprocessing.size))]
    if isinstance(preprocessing, to.SeqToMultipleTensors):
        preprocessing = preprocessing.size
    if isinstance(preprocessing, list | tuple):
        nested = all(isinstance(size, list | tuple) for size in preprocessing)
        sizes = preprocessing if nested else [preprocessing]
        return [tuple(map(int, size)) for size in sizes]
    raise InvalidValueError(
        "feature_preprocessing of numbers must be SeqToTensor, ArrayToTensor, MLlibVectorToTensor, "
        f"ScalarToTensor, SeqToMultipleTensors or sizes. Got {type(preprocessing).__name__}."
    )


def part_names(column: str, count: int) -> list[str]:
    """Names of the columns that the inputs of a network have; the column itself for one."""
    return [column] if count == 1 else [f"{column}_{number + 1}" for number in range(count)]


def with_parts(data: DataFrame, column: str, shapes: Sequence[Sequence[int]]) -> DataFrame:
    """Add a column for each of several inputs; nothing for one."""
    if len(shapes) == 1:
        return data
    names = part_names(column, len(shapes))
    taken = [name for name in names if name in data.columns]
    require(not taken, "featuresCol", f"free of {', '.join(names)} beside it", taken)
    numbers = _numbers(data, column)
    begin, parts = 1, {}
    for name, shape in zip(names, shapes, strict=True):
        parts[name] = F.slice(numbers, begin, math.prod(shape))
        begin += math.prod(shape)
    return data.withColumns(parts)


def without_parts(data: DataFrame, column: str, rows: RowSpec) -> DataFrame:
    """Drop what `with_parts` added."""
    return data if len(rows.inputs) == 1 else data.drop(*part_names(column, len(rows.inputs)))


def as_fractions(data: DataFrame, column: str) -> Column:
    """The column as double where it holds whole numbers: layers of 2019 computed with floats."""
    if kind_of(data, column, "featuresCol") != "int64":
        return F.col(column)
    kind = data.schema[column].dataType.simpleString()
    for whole in ("tinyint", "smallint", "bigint", "int"):
        kind = kind.replace(whole, "double")
    return F.col(column).cast(kind)


def _numbers(data: DataFrame, column: str) -> Column:
    if kind_of(data, column, "featuresCol") == "vector":
        return vector_to_array(F.col(column))
    return F.col(column)
