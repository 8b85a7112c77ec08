"""Label tables: what is known about each image, as one array of 0, 1 or null per row.

NIH's table is read as published, in both of its forms; so is any CSV or Parquet table that lists
finding names in one column or has one column per finding. Blank, "-1" and "uncertain" become null,
never 0: training and metrics mask them. What a table can have wrong is looked for in one Spark job
before a DataFrame is returned, so that a misspelled finding stops the user here and not an hour
into training.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import DoubleType, FloatType

from hilum.errors import InvalidValueError, require
from hilum.findings import FINDINGS, NO_FINDING
from hilum.spark.tables import (
    FILE_NAME_COLUMNS,
    Table,
    base_name,
    fold,
    folded,
    read_table,
    text,
)

__all__ = ["findings_of", "read_labels"]

logger = logging.getLogger(__name__)

_LIST_COLUMNS = ("Finding Labels", "finding_list", "findings", "labels", "finding", "label")
_PATIENT_COLUMNS = ("patient_id", "patient", "subject_id", "subject")
_AGE_COLUMNS = ("age_years", "patient_age", "age")
_SEX_COLUMNS = ("sex", "patient_sex", "gender", "patient_gender")
_VIEW_COLUMNS = ("view", "view_position", "projection")
_FOLLOW_UP_COLUMNS = ("follow_up", "Follow-up #")

_NIH_NAME = r"^\d{8}_\d{3}\.png$"  # patient number _ follow-up number
_OLDEST_YEARS = 120  # the 2017 table has ages up to 414; NIH corrected them in v2020
_PRESENT = ("yes", "true", "y", "t", "positive")
_ABSENT = ("no", "false", "n", "f", "negative")
_UNKNOWN = ("unknown", "uncertain", "na", "n/a", "nan")
_EXAMPLES = 20


def read_labels(
    spark: SparkSession,
    path: str | Path,
    *,
    findings: Sequence[str] = FINDINGS,
    format: str | None = None,
) -> DataFrame:
    """Read a label table: NIH's Data_Entry_2017.csv, its v2020 form, or your own CSV or Parquet.

    The table has a column with the image's file name (or path, of which the last part counts), one
    with the patient, and either a list of finding names ("Mass|Nodule"; also ; or , or an array) or
    one column per finding (1, 0, blank, -1, yes, no, true, false). Where it has both, the finding
    columns count if all `findings` have one, else the list. Names match without regard to case,
    spaces and underscores.

    Args:
        path: file or folder on any file system Spark reads; .csv, .csv.gz or .parquet.
        findings: the findings to read, in the order that `labels` shall have.
        format: "csv" or "parquet", where the name does not say.

    Returns:
        Columns file_name, patient_id, labels (array<float> in the order of `findings`, null where
        unknown; the names are in the column's metadata), age_years, sex (M, F, O), view, follow_up.
        What the table does not have is null.

    Raises:
        InvalidValueError: a column is missing, a finding name or value is unknown, a file name is
            blank or occurs twice.
    """
    names = tuple(findings)
    distinct = len({fold(name) for name in names}) == len(names) > 0
    require(distinct, "findings", "one or more different names", names)
    table = read_table(spark, path, format=format)
    layout = _layout(table, names)
    words = F.col("words")
    # Two steps: in one, Spark would parse the cell again for every finding.
    parsed = table.rows.select(
        base_name(table.column(table.need(FILE_NAME_COLUMNS, "file names"))).alias("file_name"),
        _patient_id(table).alias("patient_id"),
        layout.words().alias("words"),
        _years(_optional(table, _AGE_COLUMNS)).alias("age_years"),
        _sex(_optional(table, _SEX_COLUMNS)).alias("sex"),
        F.upper(_optional(table, _VIEW_COLUMNS)).alias("view"),
        _whole_number(_optional(table, _FOLLOW_UP_COLUMNS)).alias("follow_up"),
    ).select("*", layout.labels(words).alias("labels"), layout.problems(words).alias("problems"))
    seen = _check(parsed, table, names)
    logger.info("labels read path=%s images=%d", path, seen["rows"])
    without = seen["rows"] - seen["patient_id"]
    if 0 < without < seen["rows"]:
        logger.warning("rows without a patient: %d; split_by_patient leaves them out", without)
    if seen["patient_id"] == 0:
        parsed = parsed.withColumn("patient_id", _patient_from_name(seen, table))
        seen["patient_id"] = seen["rows"]
    return _sealed(parsed, seen, names)


def findings_of(df: DataFrame, column: str = "labels") -> tuple[str, ...]:
    """Return the finding names, in order, of a labels column.

    They travel in the column's metadata. A column without them, made by other means than
    `read_labels`, is taken to be in the order of `hilum.findings.FINDINGS`.
    """
    require(column in df.columns, "column", f"one of {', '.join(df.columns)}", column)
    return tuple(df.schema[column].metadata.get("findings", FINDINGS))


@dataclass(frozen=True, slots=True)
class _ListColumn:
    """Findings as a list of names in one column."""

    cell: Column
    findings: tuple[str, ...]

    def words(self) -> Column:
        # The whole list is folded at once: a lambda per name is interpreted and ten times as slow.
        return F.split(folded(self.cell, keep="|;,"), "[|;,]")

    def labels(self, words: Column) -> Column:
        values = (F.array_contains(words, fold(name)).cast("float") for name in self.findings)
        return F.array(*values)

    def problems(self, words: Column) -> Column:
        # NIH's names are no misspelling where only some of them are asked for.
        names = (*self.findings, *FINDINGS, NO_FINDING, "")
        known = F.array(*(F.lit(fold(name)) for name in names))
        return F.array_except(words, known)


@dataclass(frozen=True, slots=True)
class _FlagColumns:
    """Findings as one column each; None where a finding has no column."""

    cells: dict[str, Column | None]

    def words(self) -> Column:
        nothing = F.lit(None).cast("string")
        cells = self.cells.values()
        return F.array(*(nothing if cell is None else F.lower(text(cell)) for cell in cells))

    def labels(self, words: Column) -> Column:
        return F.array(*(_flag(F.get(words, F.lit(i))) for i in range(len(self.cells))))

    def problems(self, words: Column) -> Column:
        found = []
        for i, name in enumerate(self.cells):
            word = F.get(words, F.lit(i))
            not_understood = _flag(word).isNull() & ~_is_unknown(word)
            found.append(F.when(not_understood, F.concat(F.lit(f"{name}="), word)))
        return F.array_compact(F.array(*found))


def _layout(table: Table, findings: tuple[str, ...]) -> _ListColumn | _FlagColumns:
    own = {name: table.find((name,)) for name in findings}
    missing = [name for name, position in own.items() if position is None]
    listing = table.find(_LIST_COLUMNS, "string", "array<string>")
    if listing is not None and missing:
        cell = table.column(listing)
        # A blank cell says nothing of the image; "No Finding" and an empty array say it has none.
        joined = F.array_join(cell, "|") if table.is_list(listing) else text(cell)
        return _ListColumn(joined, findings)
    if len(missing) == len(findings):
        raise InvalidValueError(
            f"{table.source} must have a column with finding names ({', '.join(_LIST_COLUMNS)}) or "
            f"one column per finding ({', '.join(findings)}). Got columns: "
            f"{', '.join(table.names)}. Hint: rename the column, or pass findings=[...]."
        )
    if missing:
        logger.warning("findings without a column are unknown: %s", ", ".join(missing))
    return _FlagColumns({n: None if at is None else table.column(at) for n, at in own.items()})


def _flag(word: Column) -> Column:
    number = word.try_cast("double")
    present = F.when((number == 1) | word.isin(*_PRESENT), F.lit(1.0))
    return present.when((number == 0) | word.isin(*_ABSENT), F.lit(0.0)).cast("float")


def _is_unknown(word: Column) -> Column:
    minus_one = F.coalesce(word.try_cast("double") == -1, F.lit(False))
    return word.isNull() | word.isin(*_UNKNOWN) | minus_one


def _optional(table: Table, names: Sequence[str]) -> Column:
    position = table.find(names)
    return F.lit(None).cast("string") if position is None else text(table.column(position))


def _patient_id(table: Table) -> Column:
    position = table.find(_PATIENT_COLUMNS)
    if position is None:
        return F.lit(None).cast("string")
    column = table.column(position)
    if isinstance(table.types[position], FloatType | DoubleType):
        column = column.cast("bigint")  # pandas makes 7.0 of an integer column with a gap
    return text(column)


def _years(age: Column) -> Column:
    """Years from "58", "058Y", "006M", "02W" or "011D" (DICOM PS3.5 6.2, AS)."""
    pattern = r"^(\d+(?:\.\d+)?)\s*([DWMYdwmy]?)$"
    number = F.regexp_extract(age, pattern, 1).try_cast("double")
    unit = F.upper(F.regexp_extract(age, pattern, 2))
    years = (
        F.when(unit == "D", number / 365.25)
        .when(unit == "W", number * 7 / 365.25)
        .when(unit == "M", number / 12)
        .otherwise(number)
    )
    return F.when(years <= _OLDEST_YEARS, years)


def _sex(cell: Column) -> Column:
    word = F.lower(cell)
    return (
        F.when(word.isin("m", "male"), F.lit("M"))
        .when(word.isin("f", "female"), F.lit("F"))
        .when(word.isin("o", "other"), F.lit("O"))
    )


def _whole_number(cell: Column) -> Column:
    return cell.try_cast("double").try_cast("int")


def _check(parsed: DataFrame, table: Table, findings: Sequence[str]) -> dict[str, Any]:
    """Find what is wrong in one pass; return counts of non-null values per column."""
    seen = parsed.agg(
        F.count(F.lit(1)).alias("rows"),
        *(F.count(name).alias(name) for name in ("file_name", "patient_id", "sex", "view")),
        F.count_distinct("file_name").alias("distinct"),
        F.count_if(F.col("file_name").rlike(_NIH_NAME)).alias("nih_names"),
        F.count_if(F.size("problems") > 0).alias("wrong"),
    ).collect()[0]
    counts = seen.asDict()
    source = table.source
    require(counts["rows"] > 0, source, "a table with at least one row", counts["rows"])
    if counts["wrong"]:
        _raise_unknown(parsed, source, findings)
    blank = counts["rows"] - counts["file_name"]
    require(blank == 0, source, "a table with a file name in every row", f"{blank} rows without")
    if counts["distinct"] < counts["rows"]:
        _raise_duplicates(parsed, source)
    return counts


def _raise_unknown(parsed: DataFrame, source: str, findings: Sequence[str]) -> None:
    names = parsed.select(F.explode("problems").alias("name")).distinct().orderBy("name")
    shown = ", ".join(repr(row["name"]) for row in names.limit(_EXAMPLES).collect())
    raise InvalidValueError(
        f"{source} must hold known findings only. Got {shown}. "
        f"Hint: known are {', '.join((*findings, NO_FINDING))}; findings=[...] reads others. "
        "In columns of their own the values are 1, 0, blank, -1, yes, no, true, false."
    )


def _raise_duplicates(parsed: DataFrame, source: str) -> None:
    repeated = parsed.groupBy("file_name").count().filter("count > 1")
    examples = repeated.orderBy("file_name").limit(3).collect()
    shown = ", ".join(f"{row['file_name']} ({row['count']} times)" for row in examples)
    raise InvalidValueError(
        f"{source} must have one row per file name. Got {repeated.count()} names more than once, "
        f"such as {shown}. Hint: only the part after the last slash counts as the name."
    )


def _patient_from_name(seen: dict[str, Any], table: Table) -> Column:
    """NIH file names begin with the patient's number; nobody else's are taken to."""
    if seen["nih_names"] < seen["rows"]:
        raise InvalidValueError(
            f"{table.source} must have a column with patients, called one of: "
            f"{', '.join(_PATIENT_COLUMNS)}, and not blank. Got columns: {', '.join(table.names)}. "
            "Hint: splits and intervals are by patient; where each image is another patient's, "
            "copy the file name into a column patient_id."
        )
    logger.warning("patient_id is taken from NIH file names path=%s", table.source)
    return F.substring("file_name", 1, 8).cast("int").cast("string")


def _sealed(parsed: DataFrame, seen: dict[str, Any], findings: Sequence[str]) -> DataFrame:
    """Give the columns their final form.

    A text column without nulls is declared so. `coalesce(label, header)` after a join then reduces
    to the label, and splitting and counting need not open the image files to read their headers.
    """

    def seal(name: str) -> Column:
        column = F.col(name)
        complete = seen[name] == seen["rows"]
        return (F.coalesce(column, F.lit("")) if complete else column).alias(name)

    return parsed.select(
        seal("file_name"),
        seal("patient_id"),
        F.col("labels").alias("labels", metadata={"findings": list(findings)}),
        "age_years",
        seal("sex"),
        seal("view"),
        "follow_up",
    )
