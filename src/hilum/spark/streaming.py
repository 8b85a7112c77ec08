"""Radiographs as a stream: a folder that is watched, each new file one row, once.

Spark's file source keeps the names of the files it has taken in the query's checkpoint. A file is
taken when it is first seen, so it must be whole by then: write it as `.name` or `_name`, which
Spark does not look at, and rename it.
"""

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from hilum.errors import InvalidValueError, require
from hilum.spark.images import MAX_PIXELS, radiograph_rows

__all__ = ["stream_radiographs"]

_BINARY_FILE = "path string, modificationTime timestamp, length long, content binary"


def stream_radiographs(
    spark: SparkSession,
    path: str,
    *,
    size: tuple[int, int] | None = None,
    recursive: bool = True,
    glob: str | None = None,
    max_pixels: int = MAX_PIXELS,
    files_per_batch: int = 256,
) -> DataFrame:
    """Watch a folder for PNG, JPEG and DICOM files; a streaming DataFrame of one row each.

    Rows and columns are those of `read_radiographs` in mode "permissive", but a file without a byte
    is no row. A file that is overwritten under its old name is not seen again.

    Args:
        path: a directory, or a glob of some, of any file system Spark reads.
        size: (height, width) to resize to while reading. None keeps the stored size.
        recursive: also watch directories below.
        glob: keep only files whose name matches, such as "*.dcm".
        max_pixels: files whose header announces more are rejected before they are decoded.
        files_per_batch: files of one micro-batch, at most: what is done again after a crash.

    Raises:
        InvalidValueError: the directory does not exist, or a number is not positive.
    """
    require(
        size is None or min(size) > 0,
        "size",
        "two positive numbers of pixels (height, width)",
        size,
    )
    require(files_per_batch > 0, "files_per_batch", "positive", files_per_batch)
    reader = (
        spark.readStream.format("binaryFile")
        .schema(_BINARY_FILE)
        .option("recursiveFileLookup", str(recursive).lower())
        .option("maxFilesPerTrigger", str(files_per_batch))
    )
    if glob is not None:
        reader = reader.option("pathGlobFilter", glob)
    try:
        files = reader.load(path)
    except AnalysisException as error:
        if error.getCondition() != "PATH_NOT_FOUND":
            raise
        raise InvalidValueError(
            f"path must be a directory that exists. Got {path!r}. "
            "Hint: make it before it is watched."
        ) from None
    # As in read_radiographs: local files are opened by the Python worker, not copied through Java.
    content = F.when(~F.col("path").startswith("file:"), F.col("content"))
    return radiograph_rows(files.withColumn("content", content), size, max_pixels)
