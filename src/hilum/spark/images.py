"""Radiographs as rows: any path Spark reads, one row per file, decoded only when looked at.

Files are listed by Spark's `binaryFile` source and decoded by an Arrow UDF. A UDF column that a
query does not use is pruned, and the file's content with it: joining, splitting, counting and
fingerprinting a million radiographs reads no pixel. The UDF is declared non-deterministic because
Spark then never evaluates it twice for one row (decision 0002).

Files of a local or mounted file system are opened by the Python worker itself: through Java each
would be copied five times. Those of HDFS or object storage come through Spark, which has the
credentials; those of S3, where Spark has no connector for it, through Hilum's own storage.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, cast

import pyarrow as pa
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, DataFrameReader, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import arrow_udf

from hilum.errors import InvalidValueError, require
from hilum.spark.decoding import DECODED_DDL, HEADER_FIELDS, DecodeBatches
from hilum.spark.storage_errors import storage_errors
from hilum.spark.without_connector import connector_missing, list_with_storage

__all__ = ["MAX_PIXELS", "ReadMode", "radiograph_rows", "read_radiographs"]

ReadMode = Literal["permissive", "dropmalformed", "failfast"]
MAX_PIXELS = 100_000_000
LISTING_SLICE = 10_000

# How Hadoop's FileStatus.toString shows a file.
_FILE_STATUS = re.compile(
    r"\{path=(.*); isDirectory=false; length=(\d+); .*?modification_time=(\d+);", re.MULTILINE
)


def read_radiographs(
    spark: SparkSession,
    path: str | Sequence[str],
    mode: ReadMode = "permissive",
    *,
    size: tuple[int, int] | None = None,
    recursive: bool = True,
    glob: str | None = None,
    max_pixels: int = MAX_PIXELS,
) -> DataFrame:
    """Read PNG, JPEG and DICOM files as one row each.

    Args:
        path: files, directories or globs of any file system Spark reads, or of S3; one or several.
        mode: what becomes of a file that cannot be used. "permissive": a row with a null image,
            status "rejected" and a reason code (`hilum.radiograph.REASONS`). "dropmalformed": no
            row. "failfast": the job fails and names the file.
        size: (height, width) to resize to while reading, anti-aliased, so that full-size pixels
            never leave the Python worker. None keeps the stored size.
        recursive: also read directories below.
        glob: keep only files whose name matches, such as "*.dcm".
        max_pixels: files whose header announces more are rejected before they are decoded.

    Returns:
        Columns file_name, path, length (bytes), modification_time, image (Spark's image struct,
        one 8-bit channel), status, reason, detail, source_format, source_bits, modality, view,
        patient_id, age_years, sex, sop_instance_uid, warnings. Header columns are null where the
        file has no such header.
    """
    paths = [path] if isinstance(path, str) else list(path)
    require(len(paths) > 0, "path", "at least one file, directory or glob", path)
    modes = ("permissive", "dropmalformed", "failfast")
    require(mode in modes, "mode", f"one of {', '.join(modes)}", mode)
    require(
        size is None or min(size) > 0,
        "size",
        "two positive numbers of pixels (height, width)",
        size,
    )
    reader = spark.read.format("binaryFile").option("recursiveFileLookup", str(recursive).lower())
    if glob is not None:
        reader = reader.option("pathGlobFilter", glob)
    try:
        with storage_errors(*paths):
            files = _listed(reader, paths)
    except Exception as error:
        if not connector_missing(error, paths):
            raise
        files = list_with_storage(spark, paths, recursive=recursive, glob=glob)
    rows = radiograph_rows(files, size, max_pixels, fail=mode == "failfast")
    return rows.filter("status = 'ok'") if mode == "dropmalformed" else rows


def radiograph_rows(
    files: DataFrame, size: tuple[int, int] | None, max_pixels: int, *, fail: bool = False
) -> DataFrame:
    """The rows of `read_radiographs` from those of Spark's `binaryFile` source.

    Args:
        files: path, modificationTime, length, content; a null content is read by the Python worker.
        size: (height, width) to resize to, or None.
        max_pixels: files whose header announces more are rejected.
        fail: the job fails at the first rejected file.
    """
    decoder = DecodeBatches(size=size, max_pixels=max_pixels, fail=fail)
    decoded = cast(Any, arrow_udf)(_as_udf(decoder), DECODED_DDL).asNondeterministic()
    named = files.select(
        F.element_at(F.split("path", "/"), -1).alias("file_name"),
        "path",
        "length",
        F.col("modificationTime").alias("modification_time"),
        decoded("content", "path").alias("decoded"),
    )
    columns = ["image", *(name for name, _ in HEADER_FIELDS)]
    return named.select(
        "file_name",
        "path",
        "length",
        "modification_time",
        *(F.col(f"decoded.{name}").alias(name) for name in columns),
    )


def _listed(reader: DataFrameReader, paths: list[str]) -> DataFrame:
    try:
        files = reader.load(paths)
        _ = files.schema  # Spark Connect looks at the paths only now
    except AnalysisException as error:
        if error.getCondition() != "PATH_NOT_FOUND":
            raise
        raise InvalidValueError(
            f"path must be files, directories or globs that exist. Got {paths!r}. "
            "Hint: relative paths start at the current directory, or at the cluster's default "
            "file system (fs.defaultFS)."
        ) from None
    listing = _listing(files)
    if listing is None:
        return files
    if all(root.startswith("file:") for root in listing.rootPaths().mkString("\n").split("\n")):
        files = files.withColumn("content", F.lit(None).cast("binary"))
    empty = _empty_files(listing)
    if not empty:
        return files
    rows = files.sparkSession.createDataFrame(empty, "path string, modified_ms long").select(
        "path",
        F.timestamp_millis("modified_ms").alias("modificationTime"),
        F.lit(0).cast("long").alias("length"),
        F.lit(b"").alias("content"),
    )
    return files.unionByName(rows)


def _listing(files: DataFrame) -> Any:
    """Spark's list of the files it found (a FileIndex), or None: Spark Connect does not show it."""
    frame = getattr(files, "_jdf", None)
    return None if frame is None else frame.queryExecution().analyzed().relation().location()


def _empty_files(listing: Any) -> list[tuple[str, int]]:
    """Path and modification time (ms) of files without a byte.

    Spark lists them and then leaves them out of every scan (PartitioningAwareFileIndex.listFiles),
    so an upload that broke off at once would be no row at all. The listing is asked for them in
    slices of text, one call each; where the text does not tell the lengths (ViewFs), file by file.
    """
    files = listing.allFiles()
    described: list[tuple[str, str, str]] = []
    for start in range(0, files.size(), LISTING_SLICE):
        text = files.slice(start, start + LISTING_SLICE).mkString("\n")
        described += _FILE_STATUS.findall(text)
    if sum(int(length) for _, length, _ in described) == listing.sizeInBytes():
        return [(path, int(modified)) for path, length, modified in described if int(length) == 0]
    statuses = (files.apply(position) for position in range(files.size()))
    empty = (status for status in statuses if status.getLen() == 0)
    return [(status.getPath().toString(), status.getModificationTime()) for status in empty]


def _as_udf(decoder: DecodeBatches) -> Callable[..., Iterator[pa.Array]]:
    def decode_radiographs(
        batches: Iterator[tuple[pa.Array, pa.Array]],
    ) -> Iterator[pa.Array]:
        return decoder(batches)

    return decode_radiographs
