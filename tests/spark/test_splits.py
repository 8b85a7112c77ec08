import hashlib
import logging
import math
import warnings
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given
from pyspark.sql import DataFrame, SparkSession

from hilum.errors import InvalidValueError
from hilum.spark import (
    PatientLeakageWarning,
    leaking_patients,
    read_labels,
    split_by_image,
    split_by_list,
    split_by_patient,
    split_of,
)

FRACTIONS = {"train": 0.7, "valid": 0.1, "test": 0.2}
GOLDEN = "train test train train train train train train train valid valid train".split()
PATIENTS = st.text(min_size=1).filter(lambda name: name.strip(" "))


@pytest.fixture(scope="module")
def archive(spark: SparkSession) -> DataFrame:
    """1,000 patients with three images each; some ids are not ASCII."""
    rows = [
        (f"{p:04}_{i}.png", f"P-{p}é" if p % 5 else str(p)) for p in range(1000) for i in range(3)
    ]
    return spark.createDataFrame(rows, "file_name string, patient_id string")


def splits(df: DataFrame, key: str = "patient_id") -> dict[str | None, str | None]:
    return {row[key]: row["split"] for row in df.select(key, "split").distinct().collect()}


@given(patient=PATIENTS, seed=st.integers(0, 2**40))
def test_a_split_is_the_interval_the_hash_falls_into(patient: str, seed: int) -> None:
    key = patient.strip(" ")
    digest = hashlib.sha256(f"{seed}:{key}".encode()).hexdigest()
    position = int(digest, 16) / 2**256
    expected = "train" if position < 0.7 else "valid" if position < 0.8 else "test"
    assert split_of(patient, FRACTIONS, seed=seed) == expected


def test_splits_of_published_experiments_do_not_move() -> None:
    assert [split_of(str(patient), FRACTIONS, seed=1) for patient in range(12)] == GOLDEN


def test_no_patient_no_split() -> None:
    assert split_of(None, FRACTIONS) is None
    assert split_of("  ", FRACTIONS) is None


def test_spark_and_python_agree_on_every_patient(archive: DataFrame) -> None:
    found = splits(split_by_patient(archive, FRACTIONS, seed=3))
    assert found == {patient: split_of(patient, FRACTIONS, seed=3) for patient in found}
    assert len(found) == 1000


def test_all_images_of_a_patient_are_on_one_side_in_the_wanted_shares(archive: DataFrame) -> None:
    data = split_by_patient(archive, FRACTIONS, seed=3)
    assert leaking_patients(data) == 0
    counts = {row["split"]: row["count"] for row in data.groupBy("split").count().collect()}
    for name, share in FRACTIONS.items():
        deviation = 4 * math.sqrt(share * (1 - share) / 1000)
        assert counts[name] / 3000 == pytest.approx(share, abs=deviation)


def test_new_rows_order_and_partitions_move_nobody(spark: SparkSession, archive: DataFrame) -> None:
    before = splits(split_by_patient(archive.limit(300), FRACTIONS, seed=3))
    after = splits(split_by_patient(archive.repartition(7), FRACTIONS, seed=3))
    assert before.items() <= after.items()
    other_seed = splits(split_by_patient(archive, FRACTIONS, seed=4))
    assert other_seed != after


def test_a_row_without_a_patient_is_in_no_split(spark: SparkSession) -> None:
    rows = [("a.png", None), ("b.png", " "), ("c.png", "7")]
    data = spark.createDataFrame(rows, "file_name string, patient_id string")
    found = splits(split_by_patient(data, {"all": 1.0}), "file_name")
    assert found == {"a.png": None, "b.png": None, "c.png": "all"}


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ({}, "at least one split"),
        ({"train": 0.7, "test": 0.2}, "sum to 1, not 0.9"),
        ({"train": 1.2, "test": -0.2}, "above 0 and at most 1"),
        ({" ": 1.0}, "non-empty split names"),
    ],
)
def test_fractions_that_make_no_sense_are_refused(
    fractions: dict[str, float], message: str
) -> None:
    with pytest.raises(InvalidValueError, match=message):
        split_of("1", fractions)


def test_a_missing_patient_column_is_named(archive: DataFrame) -> None:
    with pytest.raises(InvalidValueError, match="column mrn"):
        split_by_patient(archive, FRACTIONS, patient_col="mrn")


def test_splitting_by_image_warns_with_the_number_of_leaking_patients(archive: DataFrame) -> None:
    with pytest.warns(PatientLeakageWarning, match=r"of 1,000 patients .* more than one") as seen:
        data = split_by_image(archive, FRACTIONS, seed=3)
    leaking = leaking_patients(data)
    said = [str(w.message) for w in seen if w.category is PatientLeakageWarning]
    assert said[0].startswith(f"{leaking} of")
    # A patient of three images stays on one side with probability sum of shares cubed: 0.352.
    assert leaking / 1000 == pytest.approx(0.648, abs=0.06)


def test_a_list_decides_and_the_rest_is_in_no_split(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [("a.png", "1"), ("b.png", "2"), ("c.png", "3")]
    data = spark.createDataFrame(rows, "file_name string, patient_id string")
    table = tmp_path / "split.csv"
    table.write_text("Image Index,split\nfolder/a.png,train\nb.png,Val\nb.png,val\nz.png,test\n")
    with caplog.at_level(logging.WARNING, "hilum"):
        found = splits(split_by_list(data, table), "file_name")
    assert found == {"a.png": "train", "b.png": "valid", "c.png": None}
    assert "images in no split list: 1" in caplog.text


def test_nihs_own_text_lists_are_read(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "train_val_list.txt").write_text("a.png\nb.png\n")
    (tmp_path / "test_list.txt").write_bytes(b"c.png\r\n\r\n")
    lists = {"train": tmp_path / "train_val_list.txt", "test": tmp_path / "test_list.txt"}
    data = spark.createDataFrame([("a.png",), ("b.png",), ("c.png",)], "file_name string")
    found = splits(split_by_list(data, lists), "file_name")
    assert found == {"a.png": "train", "b.png": "train", "c.png": "test"}


def test_a_list_that_contradicts_itself_is_refused(spark: SparkSession) -> None:
    data = spark.createDataFrame([("a.png",)], "file_name string")
    lists = spark.createDataFrame(
        [("a.png", "train"), ("a.png", "test")], "file_name string, split string"
    )
    with pytest.raises(InvalidValueError, match=r"one split only\. Got \['a\.png'\]"):
        split_by_list(data, lists)


def test_a_list_that_tears_a_patient_apart_warns(spark: SparkSession) -> None:
    data = spark.createDataFrame(
        [("a.png", "1"), ("b.png", "1"), ("c.png", "2")], "file_name string, patient_id string"
    )
    lists = spark.createDataFrame(
        [("a.png", "train"), ("b.png", "test"), ("c.png", "test")],
        "file_name string, split string",
    )
    with pytest.warns(PatientLeakageWarning, match=r"1 of 2 patients \(50.0%\)"):
        split_by_list(data, lists)


def test_the_published_patient_split_of_nih_is_disjoint(
    spark: SparkSession, real_data: Path
) -> None:
    folder = real_data / "nih-labels"
    labels = read_labels(spark, folder / "Data_Entry_2017_v2020.csv.gz")
    with warnings.catch_warnings():
        warnings.simplefilter("error", PatientLeakageWarning)
        data = split_by_list(labels, folder / "patient_split.csv.gz")
    counts = {row["split"]: row["count"] for row in data.groupBy("split").count().collect()}
    assert counts == {"train": 78_468, "valid": 11_219, "test": 22_433}
