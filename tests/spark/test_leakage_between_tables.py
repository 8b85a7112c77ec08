"""Two DataFrames that share patients or images are found out."""

import pytest

from hilum.errors import InvalidValueError
from hilum.evaluation.leakage import overlap
from hilum.spark.leakage import shared_patients


def test_spark_finds_what_the_plain_function_finds(spark):
    a = [(" 1", "x/a.png"), ("2", "b.png"), ("2", "c.png"), (None, "d.png"), ("", None)]
    b = [("1", "y/a.png"), ("3", "d.png"), (None, "e.png"), ("", None)]
    schema = "patient_id string, file_name string"
    found = shared_patients(spark.createDataFrame(a, schema), spark.createDataFrame(b, schema))
    patients, files = zip(*([*zip(*rows, strict=True)] for rows in (a, b)), strict=True)
    assert found == overlap(*patients, files_a=files[0], files_b=files[1])
    assert (found.patients, found.images) == (1, 2)


def test_tables_of_numbered_patients_are_compared_as_text(spark):
    a = spark.createDataFrame([(1,), (2,)], "patient_id int")
    b = spark.createDataFrame([("2", "x"), ("4", "y")], "patient_id string, other string")
    assert shared_patients(a, b).patient_examples == ("2",)
    with pytest.raises(InvalidValueError, match="patient_id or file_name"):
        shared_patients(a.toDF("p"), b)
