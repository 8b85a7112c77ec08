"""Ingest: files become a Parquet table of images once, with the reason of every refusal."""

import logging
import re
from dataclasses import dataclass

from pyspark.sql import Observation, SparkSession
from pyspark.sql import functions as F

from hilum import storage
from hilum.errors import RejectedImageError, require
from hilum.radiograph import REASONS
from hilum.spark import read_radiographs
from hilum.spark.images import ReadMode
from hilum.spark.without_connector import connector_needed

__all__ = ["IngestReport", "ingest"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestReport:
    """Counts of one ingest; `reasons` holds only codes that occurred."""

    files: int
    ok: int
    rejected: int
    reasons: dict[str, int]


def ingest(
    spark: SparkSession,
    path: str,
    out: str,
    *,
    mode: ReadMode = "permissive",
    size: tuple[int, int] | None = None,
    glob: str | None = None,
) -> IngestReport:
    """Decode files once and write them as a Parquet table; counts come from the same pass.

    Raises:
        InvalidValueError: `out` exists.
        RejectedImageError: with mode "failfast", the first file that cannot be used.
    """
    require(
        not storage.exists(out), "--out", "a path that does not exist yet", out, hint="delete it"
    )
    reading: ReadMode = "permissive" if mode == "dropmalformed" else mode
    images = read_radiographs(spark, path, reading, size=size, glob=glob)
    seen = Observation("ingest")
    counted = images.observe(
        seen,
        F.count("file_name").alias("files"),
        F.coalesce(F.sum((F.col("status") == "ok").cast("long")), F.lit(0)).alias("ok"),
        *(
            F.coalesce(F.sum((F.col("reason") == code).cast("long")), F.lit(0)).alias(code)
            for code in REASONS
        ),
    )
    rows = counted.filter("status = 'ok'") if mode == "dropmalformed" else counted
    try:
        with connector_needed(out):
            rows.write.parquet(out)
    except BaseException as error:
        _discard(out, error)
        found = re.search(r"hilum\.errors\.RejectedImageError: (\w+): (.*)", str(error))
        if found:
            raise RejectedImageError(found.group(1), found.group(2)) from None
        raise
    counts = seen.get
    return IngestReport(
        files=counts["files"],
        ok=counts["ok"],
        rejected=counts["files"] - counts["ok"],
        reasons={code: counts[code] for code in REASONS if counts[code]},
    )


def _discard(out: str, after: BaseException) -> None:
    """Let nothing half-written stay, where its storage lets it go; `after` is what is said."""
    if isinstance(after, storage.NotAnsweringError):
        return  # asking once more would wait for as long again
    try:
        storage.delete_tree(out)
    except OSError as error:
        logger.warning("half-written table stays path=%s error=%s", out, error)
