"""Tables as hospitals write them: CSV or Parquet, with columns recognised by what they are called.

"Image Index", "image_index" and "imageIndex" are one name here: case, spaces and punctuation do
not matter. Columns are addressed by position, because real headers hold brackets, hashes, empty
names and byte order marks (NIH's `OriginalImage[Width,Height]` splits into two such columns).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType

from hilum.errors import InvalidValueError, require
from hilum.spark.storage_errors import storage_errors
from hilum.spark.without_connector import connector_missing, read_with_storage

__all__ = [
    "FILE_NAME_COLUMNS",
    "Table",
    "base_name",
    "fold",
    "folded",
    "read_lines",
    "read_table",
    "text",
]

FILE_NAME_COLUMNS = (
    "file_name",
    "Image Index",
    "image",
    "image_name",
    "image_file",
    "file",
    "path",
    "file_path",
    "image_path",
)
"""Names of the column that says which image a row is about, in order of preference."""

_SUFFIXES = {".csv": "csv", ".csv.gz": "csv", ".parquet": "parquet"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A DataFrame with columns c0, c1 ... and the names they had in the source.

    Attributes:
        rows: the data.
        names: source names, in order.
        types: Spark types, in order.
        source: path or other name of the table, for messages.
    """

    rows: DataFrame
    names: tuple[str, ...]
    types: tuple[DataType, ...]
    source: str

    def find(self, wanted: Iterable[str], *kinds: str) -> int | None:
        """Return the position of the first of the `wanted` names that is here, else None.

        Args:
            wanted: names, the preferred one first.
            kinds: Spark types the column may have ("array<string>"); any if none is given.
        """
        for name in wanted:
            for position, (found, kind) in enumerate(zip(self.names, self.types, strict=True)):
                if fold(found) == fold(name) and (not kinds or kind.simpleString() in kinds):
                    return position
        return None

    def need(self, wanted: tuple[str, ...], what: str) -> int:
        """Return `find(wanted)` among text columns, or raise InvalidValueError with a way out."""
        position = self.find(wanted, "string")
        if position is None:
            raise InvalidValueError(
                f"{self.source} must have a column with {what}, called one of: "
                f"{', '.join(wanted)}. Got columns: {', '.join(self.names)}. "
                "Hint: rename the column; case, spaces and underscores do not matter."
            )
        return position

    def column(self, position: int) -> Column:
        """Return the column at a position."""
        return F.col(f"c{position}")

    def is_list(self, position: int) -> bool:
        """Say whether the column at a position holds arrays."""
        return isinstance(self.types[position], ArrayType)


def read_table(spark: SparkSession, path: str | Path, *, format: str | None = None) -> Table:
    """Open a CSV (.csv, .csv.gz, with a header line, all columns as text) or Parquet table.

    One on S3, where Spark has no connector for it, is read by the driver whole.

    Raises:
        InvalidValueError: the format is neither, or there is nothing at `path`.
    """
    source = str(path)
    if format is None:
        known = (name for end, name in _SUFFIXES.items() if source.lower().endswith(end))
        format = next(known, "unknown")
    hint = f"say what {source} is with format='csv' or format='parquet'"
    require(format in ("csv", "parquet"), "format", "csv or parquet", format, hint=hint)
    reader = spark.read.format(format)
    if format == "csv":
        reader = reader.options(header=True, escape='"', ignoreLeadingWhiteSpace=True)
    try:
        with storage_errors(source):
            rows = reader.load(source)
            fields = rows.schema.fields
    except Exception as error:
        if connector_missing(error, [source]):
            rows = read_with_storage(spark, source, format)
            fields = rows.schema.fields
        elif _absent(error):
            raise InvalidValueError(
                f"path must be that of a {format} table. Got {source!r}, where there is none."
            ) from error
        else:
            raise
    return Table(
        rows=rows.toDF(*(f"c{position}" for position in range(len(fields)))),
        names=tuple(field.name.removeprefix("\ufeff") for field in fields),
        types=tuple(field.dataType for field in fields),
        source=source,
    )


def read_lines(spark: SparkSession, path: str) -> DataFrame:
    """Lines of a text file as the column `value`."""
    try:
        with storage_errors(path):
            rows = spark.read.text(path)
            _ = rows.schema  # Spark Connect looks no sooner
    except Exception as error:
        if not connector_missing(error, [path]):
            raise
        rows = read_with_storage(spark, path, "text")
    return rows


def _absent(error: Exception) -> bool:
    conditions = ("PATH_NOT_FOUND", "UNABLE_TO_INFER_SCHEMA")
    return isinstance(error, AnalysisException) and error.getCondition() in conditions


def fold(name: str) -> str:
    """Reduce a name to its letters and digits in lower case."""
    return "".join(character for character in name.lower() if character.isalnum())


def folded(names: Column, *, keep: str = "") -> Column:
    """Do what `fold` does to a text column; the characters in `keep` stay."""
    return F.regexp_replace(F.lower(names), rf"[^\p{{L}}\p{{N}}{keep}]", "")


def text(column: Column) -> Column:
    """Return a column as text without surrounding blanks; null where nothing is left."""
    return F.nullif(F.trim(column.cast("string")), F.lit(""))


def base_name(path: Column) -> Column:
    """Return the part after the last slash or backslash; null where nothing is left."""
    return text(F.regexp_replace(path, r"^.*[/\\]", ""))
