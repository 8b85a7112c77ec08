"""Files on S3 where Spark cannot read it: listed by the driver, read by Python workers (0051).

Spark needs Hadoop's `s3a` connector for that, 660 MB which its packages do not carry. Hilum has an
S3 client of its own, for checkpoints. The rows are those of Spark's `binaryFile` source.
"""

import csv
import gzip
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from hilum import storage
from hilum.errors import InvalidValueError
from hilum.spark.storage_errors import storage_errors

__all__ = [
    "connector_missing",
    "connector_needed",
    "list_with_storage",
    "read_with_storage",
]

FILES_PER_TASK = 512
_NO_CONNECTOR = ("No FileSystem for scheme", "S3AFileSystem not found")
_LISTED = pa.schema(
    [
        ("path", pa.string()),
        ("modificationTime", pa.timestamp("us", tz="UTC")),
        ("length", pa.int64()),
    ]
)


def connector_missing(error: Exception, paths: Iterable[str]) -> bool:
    """Whether Spark failed because it has no file system for the S3 URLs among the paths."""
    on_s3 = any(path.partition("://")[0] in storage.S3_SCHEMES for path in paths)
    return on_s3 and any(words in str(error) for words in _NO_CONNECTOR)


def list_with_storage(
    spark: SparkSession, paths: Sequence[str], *, recursive: bool = True, glob: str | None = None
) -> DataFrame:
    """Rows path, modificationTime, length, content; content is null, for Python workers to read.

    In the order of names, about `FILES_PER_TASK` to a partition and one for each slot at least:
    Spark draws the bounds of partitions from a sample.

    Raises:
        InvalidValueError: there is nothing at a path.
    """
    try:
        found = storage.list_files(paths, recursive=recursive, glob=glob)
    except FileNotFoundError as error:
        raise InvalidValueError(
            f"path must be files, directories or globs that exist. Got {list(paths)!r}: {error}"
        ) from error
    table = pa.Table.from_pydict(
        {
            "path": [file.url for file in found],
            "modificationTime": [round(file.modified_s * 1e6) for file in found],
            "length": [file.size for file in found],
        },
        schema=_LISTED,
    )
    # By range of names and not round: rows are in their order whatever a task brings first.
    return (
        spark.createDataFrame(table)
        .repartitionByRange(_partitions(spark, len(found)), "path")
        .sortWithinPartitions("path")
        .withColumn("content", F.when(F.col("length") == 0, F.lit(b"")))
    )


def _partitions(spark: SparkSession, files: int) -> int:
    slots = int(spark.conf.get("spark.sql.shuffle.partitions", "1") or 1)
    return max(1, min(files, max(slots, -(-files // FILES_PER_TASK))))


def read_with_storage(spark: SparkSession, path: str, format: str) -> DataFrame:
    """A table of CSV (with header), Parquet or lines of text, read by the driver whole.

    Raises:
        InvalidValueError: there is nothing at `path`.
    """
    try:
        names = [file.url for file in storage.list_files(path)]
        if not names:
            raise FileNotFoundError(path)
        contents = [one.result() for one in storage.read_ahead(names, storage.read_bytes)]
    except FileNotFoundError as error:
        raise InvalidValueError(
            f"path must be that of a {format} table. Got {path!r}, where there is none."
        ) from error
    tables = [_READERS[format](one) for one in contents]
    return spark.createDataFrame(pa.concat_tables(tables, promote_options="default"))


@contextmanager
def connector_needed(*urls: str) -> Iterator[None]:
    """What only Spark itself can do with tables and stages on S3; says so where it cannot.

    Raises:
        InvalidValueError: Spark has no connector for one of the URLs.
    """
    try:
        with storage_errors(*urls):
            yield
    except Exception as error:
        if not connector_missing(error, urls):
            raise
        raise InvalidValueError(
            f"Spark must have the connector for {' and '.join(urls)}, which it reads or writes "
            "itself. Got none. Hint: --conf spark.jars.packages=org.apache.hadoop:hadoop-aws:X, X "
            "being the version of Spark's own hadoop-client-api, and s3a:// in the URL; images, "
            "labels, --out of `hilum run` and bundles do without."
        ) from None


def _parquet(content: bytes) -> pa.Table:
    return pq.read_table(pa.BufferReader(content))


def _csv(content: bytes) -> pa.Table:
    """As Spark reads it: all text, blank is null, short rows end in nulls, long ones are cut."""
    rows = csv.reader(io.StringIO(_text(content)), skipinitialspace=True)
    # Lines of blanks alone are none.
    header, *filled = [row for row in rows if row and row != [""]] or [[]]
    names: list[str] = []
    for position, name in enumerate(header):
        taken = not name or name.lower() in (other.lower() for other in names)
        names.append(f"{name or '_c'}{position}" if taken else name)
    columns = [
        pa.array([row[k] or None if k < len(row) else None for row in filled], pa.string())
        for k in range(len(names))
    ]
    return pa.table(columns, names=names)


def _lines(content: bytes) -> pa.Table:
    return pa.table({"value": pa.array(_text(content).splitlines(), pa.string())})


def _text(content: bytes) -> str:
    zipped = content.startswith(b"\x1f\x8b")
    return (gzip.decompress(content) if zipped else content).decode("utf-8-sig", "replace")


_READERS = {"csv": _csv, "parquet": _parquet, "text": _lines}
