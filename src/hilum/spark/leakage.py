"""Do two DataFrames share patients or images? Counted in Spark; see `hilum.evaluation.leakage`."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from hilum.errors import require
from hilum.evaluation.leakage import EXAMPLES, Overlap
from hilum.spark.tables import base_name, text

__all__ = ["shared_patients"]


def shared_patients(a: DataFrame, b: DataFrame) -> Overlap:
    """Find the patients (patient_id) and images (file_name) that are in both DataFrames.

    `leaking_patients` counts within one DataFrame that has a split; this is for two tables, such
    as training data and another hospital's. Null and blank values are shared with nobody; a column
    that one side lacks counts as all null.

    Raises:
        InvalidValueError: neither patient_id nor file_name is on both sides.
    """
    shared = {"patient_id", "file_name"} & set(a.columns) & set(b.columns)
    rule = "DataFrames that both have patient_id or file_name"
    require(len(shared) > 0, "a and b", rule, [a.columns, b.columns])
    patients, patient_examples = _in_both(a, b, "patient_id")
    images, image_examples = _in_both(a, b, "file_name")
    return Overlap(
        patients=patients,
        images=images,
        patient_examples=patient_examples,
        image_examples=image_examples,
    )


def _in_both(a: DataFrame, b: DataFrame, column: str) -> tuple[int, tuple[str, ...]]:
    if column not in a.columns or column not in b.columns:
        return 0, ()
    sides = [df.select(_read(column).alias("value")).dropna() for df in (a, b)]
    common = sides[0].intersect(sides[1])
    count = common.count()
    first = common.orderBy("value").limit(EXAMPLES).collect() if count else []
    return count, tuple(row["value"] for row in first)


def _read(column: str) -> Column:
    return text(F.col(column)) if column == "patient_id" else base_name(F.col(column))
