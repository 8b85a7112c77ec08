"""Splitting a data set into train, valid and test so that no patient is on two sides.

A patient's split depends on nothing but the patient's id, the seed and the fractions: not on the
other rows, their order, partitions, or the version of Spark. Rows added later leave the old ones
where they were, and anybody can recompute a split in any language:

    position = first 13 hex digits of SHA-256("<seed>:<patient_id>") / 16**13     in [0, 1)

and the split is the first one whose cumulative fraction exceeds the position. The 2019 paper split
by image, so that about 81 % of its validation images were of patients it had trained on.
"""

import hashlib
import logging
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate
from pathlib import Path

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from hilum.errors import InvalidValueError, require
from hilum.spark.joining import merge_duplicate_columns
from hilum.spark.tables import FILE_NAME_COLUMNS, base_name, read_lines, read_table, text

__all__ = [
    "PatientLeakageWarning",
    "folds_by_patient",
    "leaking_patients",
    "split_by_image",
    "split_by_list",
    "split_by_patient",
    "split_of",
]

logger = logging.getLogger(__name__)

_HEX_DIGITS = 13  # 52 bits: every position is exact in a double
_SPLIT_COLUMNS = ("split", "set", "set_id", "subset")
_SYNONYMS = {"val": "valid", "validation": "valid"}


class PatientLeakageWarning(UserWarning):
    """A patient has images in more than one split, so scores flatter the model."""


def split_by_patient(
    df: DataFrame,
    fractions: Mapping[str, float],
    *,
    seed: int = 0,
    patient_col: str = "patient_id",
) -> DataFrame:
    """Add or replace the column `split`, with all images of a patient on one side.

    Args:
        df: any DataFrame with patients; columns that a join left double are merged first
            (`merge_duplicate_columns`). Nothing is computed here.
        fractions: split names and their shares of the patients, such as
            {"train": 0.7, "valid": 0.1, "test": 0.2}; the sum is 1. Another order of the names is
            another split.
        seed: another seed, another split.

    A row with a null or blank patient gets a null split: it might be anybody's, so it is in none.
    """
    cutoffs = _cutoffs(fractions)
    data = merge_duplicate_columns(df)
    _require_column(data, patient_col, "patient_col")
    return data.withColumn("split", _split(text(F.col(patient_col)), cutoffs, seed))


def split_of(
    patient_id: str | None, fractions: Mapping[str, float], *, seed: int = 0
) -> str | None:
    """Return the split that `split_by_patient` gives a patient, without Spark."""
    cutoffs = _cutoffs(fractions)
    key = (patient_id or "").strip(" ")
    if not key:
        return None
    digest = hashlib.sha256(f"{seed}:{key}".encode()).hexdigest()[:_HEX_DIGITS]
    position = int(digest, 16) / 16**_HEX_DIGITS
    return next(name for name, cutoff in cutoffs if position < cutoff)


def folds_by_patient(
    df: DataFrame,
    numFolds: int = 3,
    patientCol: str = "patient_id",
    seed: int = 0,
    foldCol: str = "fold",
) -> DataFrame:
    """Add or replace an integer column of folds, for `CrossValidator(foldCol="fold")`.

    All images of a patient are in one fold, from 0 to `numFolds` - 1, by the same rule as
    `split_by_patient`. Rows with a null or blank patient are left out: they might be anybody's, and
    `CrossValidator` takes no row without a fold. Nothing is computed here.
    """
    require(numFolds >= 2, "numFolds", "two or more", numFolds)
    cutoffs = _cutoffs({str(fold): 1 / numFolds for fold in range(numFolds)})
    data = merge_duplicate_columns(df)
    _require_column(data, patientCol, "patientCol")
    fold = _split(text(F.col(patientCol)), cutoffs, seed).cast("int")
    return data.withColumn(foldCol, fold).filter(F.col(foldCol).isNotNull())


def split_by_list(
    df: DataFrame, lists: str | Path | DataFrame | Mapping[str, str | Path]
) -> DataFrame:
    """Add or replace the column `split` as a list says, by file name.

    Args:
        df: any DataFrame with file_name.
        lists: a CSV or Parquet table, or a DataFrame, with a file name and a split column ("val"
            means "valid"); or text files with one name per line, by split, as NIH publishes them:
            {"train": "train_val_list.txt", "test": "test_list.txt"}.

    Images in no list get a null split; their number is logged (a count over file names). Patients
    on two sides are warned about where `df` has patient_id (PatientLeakageWarning).

    Raises:
        InvalidValueError: a name is in two splits, or the table lacks a column.
    """
    data = merge_duplicate_columns(df)
    _require_column(data, "file_name", "df")
    listed = _listed(data.sparkSession, lists).groupBy("file_name")
    once = listed.agg(F.min("split").alias("split"), F.max("split").alias("other"))
    twice = [row["file_name"] for row in once.filter("split != other").limit(3).collect()]
    require(not twice, "lists", "lists that put a file into one split only", twice)
    # Broadcast: see join_labels.
    result = data.drop("split").join(F.broadcast(once.drop("other")), "file_name", "left")
    tally = _tally(result)
    if tally.unsplit:
        logger.warning("images in no split list: %d; their split is null", tally.unsplit)
    _warn_of_leakage(tally)
    return result


def split_by_image(df: DataFrame, fractions: Mapping[str, float], *, seed: int = 0) -> DataFrame:
    """Add or replace the column `split` image by image, as the 2019 paper did.

    For comparison with the paper only: images of one patient land on both sides. Warns with the
    number of such patients (PatientLeakageWarning), which takes a Spark job over patient_id.
    """
    cutoffs = _cutoffs(fractions)
    data = merge_duplicate_columns(df)
    _require_column(data, "file_name", "df")
    _require_column(data, "patient_id", "df")
    result = data.withColumn("split", _split(text(F.col("file_name")), cutoffs, seed))
    _warn_of_leakage(_tally(result))
    return result


def leaking_patients(df: DataFrame) -> int:
    """Count the patients (patient_id) with images in more than one split; nulls do not count."""
    for column in ("patient_id", "split"):
        _require_column(df, column, "df")
    return _tally(df).leaking


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tally:
    """Patients in any split, patients in several, and images in none."""

    patients: int
    leaking: int
    unsplit: int


def _tally(df: DataFrame) -> _Tally:
    """Count in one job; without a column patient_id there are no patients."""
    known = "patient_id" in df.columns
    patient = text(F.col("patient_id")) if known else F.lit(None).cast("string")
    splits = df.select(patient.alias("patient"), "split").groupBy("patient")
    sides = splits.agg(
        F.min("split").alias("first"),
        F.max("split").alias("last"),
        F.count_if(F.col("split").isNull()).alias("unsplit"),
    )
    is_patient = F.col("patient").isNotNull()
    row = sides.agg(
        F.count_if(is_patient & F.col("first").isNotNull()).alias("patients"),
        F.count_if(is_patient & (F.col("first") != F.col("last"))).alias("leaking"),
        F.coalesce(F.sum("unsplit"), F.lit(0)).alias("unsplit"),
    ).collect()[0]
    return _Tally(**row.asDict())


def _warn_of_leakage(tally: _Tally) -> None:
    if tally.leaking:
        warnings.warn(
            f"{tally.leaking:,} of {tally.patients:,} patients "
            f"({tally.leaking / tally.patients:.1%}) have images in more than one split: scores "
            "will be too good. split_by_patient() keeps them apart.",
            PatientLeakageWarning,
            stacklevel=3,
        )


def _split(key: Column, cutoffs: list[tuple[str, float]], seed: int) -> Column:
    digits = F.substring(F.sha2(F.concat(F.lit(f"{seed}:"), key), 256), 1, _HEX_DIGITS)
    position = F.conv(digits, 16, 10).cast("bigint") / F.lit(float(16**_HEX_DIGITS))
    names = [F.when(position < cutoff, F.lit(name)) for name, cutoff in cutoffs]
    return F.coalesce(*names)  # a null key has no position, hence no split


def _cutoffs(fractions: Mapping[str, float]) -> list[tuple[str, float]]:
    """Names with the upper ends of their intervals; the last end is exactly 1."""
    require(len(fractions) > 0, "fractions", "a share for at least one split", dict(fractions))
    for name, share in fractions.items():
        require(name.strip() != "", "fractions", "shares by non-empty split names", name)
        require(0 < share <= 1, f"fractions[{name!r}]", "above 0 and at most 1", share)
    total = math.fsum(fractions.values())
    whole = math.isclose(total, 1.0, abs_tol=1e-6)
    require(whole, "fractions", f"shares that sum to 1, not {total:g}", dict(fractions))
    ends = list(accumulate(fractions.values()))
    return list(zip(fractions, [*ends[:-1], 1.0], strict=True))


def _listed(
    spark: SparkSession, lists: str | Path | DataFrame | Mapping[str, str | Path]
) -> DataFrame:
    if isinstance(lists, DataFrame):
        for name in ("file_name", "split"):
            _require_column(lists, name, "lists")
        return _names_and_splits(lists, F.col("file_name"), F.col("split"))
    if isinstance(lists, Mapping):
        require(len(lists) > 0, "lists", "a list for at least one split", dict(lists))
        parts = [
            read_lines(spark, str(path)).select(
                base_name(F.col("value")).alias("file_name"), F.lit(name).alias("split")
            )
            for name, path in lists.items()
        ]
        return reduce(DataFrame.unionAll, parts).dropna()
    table = read_table(spark, lists)
    file_name = table.column(table.need(FILE_NAME_COLUMNS, "file names"))
    split = table.column(table.need(_SPLIT_COLUMNS, "the split"))
    return _names_and_splits(table.rows, file_name, split)


def _names_and_splits(rows: DataFrame, file_name: Column, split: Column) -> DataFrame:
    word = F.lower(text(split))
    for written, meant in _SYNONYMS.items():
        word = F.when(word == written, F.lit(meant)).otherwise(word)
    return rows.select(base_name(file_name).alias("file_name"), word.alias("split")).dropna()


def _require_column(df: DataFrame, column: str, parameter: str) -> None:
    if column not in df.columns:
        raise InvalidValueError(
            f"{parameter} must name or have the column {column}. Got columns: "
            f"{', '.join(df.columns)}. Hint: join the labels of read_labels() first."
        )
