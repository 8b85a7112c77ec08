from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from hilum.errors import InvalidValueError
from hilum.spark import (
    JoinReport,
    findings_of,
    join_labels,
    join_report,
    merge_duplicate_columns,
    read_labels,
    split_by_patient,
)

IMAGES = "file_name string, view string, patient_id string, age_years double"
TABLE = (
    "Image Index,Finding Labels,Patient ID,Patient Age,View Position\n"
    "a.png,Mass,1,50,PA\n"
    "b.png,No Finding,2,,\n"
    "gone.png,Hernia,3,30,AP\n"
)


def exploding(batches: Iterator[tuple[pa.Array, ...]]) -> Iterator[pa.Array]:
    raise RuntimeError("somebody decoded an image")
    yield


@pytest.fixture(scope="module")
def labels(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> DataFrame:
    path: Path = tmp_path_factory.mktemp("labels") / "labels.csv"
    path.write_text(TABLE)
    return read_labels(spark, path)


@pytest.fixture(scope="module")
def images(spark: SparkSession) -> DataFrame:
    """Rows as from DICOM files, with an image column that must not be looked at."""
    rows = [("a.png", "AP", "x", 99.0), ("b.png", "AP", "y", 41.0), ("new.png", None, None, None)]
    return spark.createDataFrame(rows, IMAGES).withColumn(
        "image", F.arrow_udf(exploding, "int")("file_name").alias("image")
    )


def test_the_label_tables_value_wins_and_the_header_fills_gaps(
    images: DataFrame, labels: DataFrame
) -> None:
    joined = join_labels(images, labels)
    assert joined.columns == [
        *("file_name", "view", "patient_id", "age_years", "image"),
        *("labels", "sex", "follow_up"),
    ]
    rows = {row["file_name"]: row for row in joined.drop("image").collect()}
    assert set(rows) == {"a.png", "b.png"}
    assert (rows["a.png"]["view"], rows["a.png"]["patient_id"]) == ("PA", "1")
    assert (rows["b.png"]["view"], rows["b.png"]["age_years"]) == ("AP", 41.0)


def test_a_plain_spark_join_can_be_split_without_decoding_an_image(
    images: DataFrame, labels: DataFrame
) -> None:
    data = split_by_patient(images.join(labels, "file_name"), {"train": 0.5, "test": 0.5}, seed=1)
    assert len(data.columns) == len(set(data.columns))
    assert findings_of(data) == findings_of(labels)
    assert data.groupBy("split").count().agg(F.sum("count")).collect()[0][0] == 2


def test_a_complete_label_column_needs_no_image_header(
    spark: SparkSession, images: DataFrame, labels: DataFrame
) -> None:
    headers = spark.createDataFrame([("a.png",), ("b.png",)], "file_name string").withColumn(
        "patient_id", F.arrow_udf(exploding, "string")("file_name")
    )
    joined = join_labels(headers, labels)
    assert {row["patient_id"] for row in joined.select("patient_id").collect()} == {"1", "2"}


def test_without_duplicates_nothing_is_changed(labels: DataFrame) -> None:
    assert merge_duplicate_columns(labels) is labels


def test_duplicates_of_another_type_take_the_type_of_the_last(spark: SparkSession) -> None:
    left = spark.createDataFrame([("k", "40", "?")], "key string, age string, size string")
    right = spark.createDataFrame([("k", None, None)], "key string, age double, size int")
    row = merge_duplicate_columns(left.join(right, "key")).collect()[0]
    assert row.asDict() == {"key": "k", "age": 40.0, "size": None}


def test_the_report_counts_both_sides_and_names_examples(
    images: DataFrame, labels: DataFrame
) -> None:
    report = join_report(images, labels)
    assert report == JoinReport(
        images=3,
        labels=3,
        matched=2,
        images_without_labels=1,
        labels_without_images=1,
        repeated_images=0,
        unlabelled=("new.png",),
        missing=("gone.png",),
    )
    assert str(report) == (
        "2 of 3 images have a label\n"
        "1 images have no label: new.png\n"
        "1 of 3 labels have no image: gone.png"
    )


def test_the_report_shows_ten_examples_and_counts_repeated_names(spark: SparkSession) -> None:
    names = [(f"{i:03}.png",) for i in range(30)]
    images = spark.createDataFrame([*names, *names[:2]], "file_name string")
    labels = spark.createDataFrame(names[:1], "file_name string")
    report = join_report(images, labels)
    assert (report.images, report.matched, report.images_without_labels) == (32, 2, 30)
    assert report.unlabelled == tuple(f"{i:03}.png" for i in range(1, 11))
    assert report.repeated_images == 4
    assert "010.png, ...\n" in str(report)


def test_a_side_without_file_names_is_named(spark: SparkSession, labels: DataFrame) -> None:
    with pytest.raises(InvalidValueError, match="images must be a DataFrame with one column"):
        join_labels(labels.drop("file_name"), labels)
