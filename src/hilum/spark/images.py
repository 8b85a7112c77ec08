"""Radiographs as rows: any path Spark reads, one row per file, decoded only when looked at.

Files are listed by Spark's `binaryFile` source and decoded by an Arrow UDF. A UDF column that a
query does not use is pruned, and the file's content with it: joining, splitting, counting and
fingerprinting a million radiographs reads no pixel. The UDF is declared non-deterministic because
Spark then never evaluates it twice for one row (decision 0002).
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, DataFrameReader, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import arrow_udf

from hilum.decoding import decode
from hilum.errors import InvalidValueError, RejectedImageError, require
from hilum.radiograph import Radiograph

__all__ = ["IMAGE_FIELDS", "ReadMode", "grey_pixels", "read_radiographs"]

ReadMode = Literal["permissive", "dropmalformed", "failfast"]
MAX_PIXELS = 100_000_000
LISTING_SLICE = 10_000

# How Hadoop's FileStatus.toString shows a file of no bytes.
_EMPTY_FILE = re.compile(
    r"\{path=(.*); isDirectory=false; length=0; .*?modification_time=(\d+);", re.MULTILINE
)

# Spark's own image struct (pyspark.ml.image.ImageSchema): rows first, 8 bits, BGR where coloured.
IMAGE_FIELDS: list[tuple[str, pa.DataType]] = [
    ("origin", pa.string()),
    ("height", pa.int32()),
    ("width", pa.int32()),
    ("nChannels", pa.int32()),
    ("mode", pa.int32()),
    ("data", pa.binary()),
]
CV_8UC1 = 0

_HEADER_FIELDS: list[tuple[str, pa.DataType]] = [
    ("status", pa.string()),
    ("reason", pa.string()),
    ("detail", pa.string()),
    ("source_format", pa.string()),
    ("source_bits", pa.int32()),
    ("modality", pa.string()),
    ("view", pa.string()),
    ("patient_id", pa.string()),
    ("age_years", pa.float64()),
    ("sex", pa.string()),
    ("sop_instance_uid", pa.string()),
    ("warnings", pa.list_(pa.string())),
]
_DECODED = pa.struct([("image", pa.struct(IMAGE_FIELDS)), *_HEADER_FIELDS])
_DECODED_DDL = (
    "struct<image:struct<origin:string,height:int,width:int,nChannels:int,mode:int,data:binary>,"
    "status:string,reason:string,detail:string,source_format:string,source_bits:int,"
    "modality:string,view:string,patient_id:string,age_years:double,sex:string,"
    "sop_instance_uid:string,warnings:array<string>>"
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
        path: files, directories or globs of any file system Spark reads, one or several.
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
    decoder = _DecodeBatches(size=size, max_pixels=max_pixels, fail=mode == "failfast")
    decoded = cast(Any, arrow_udf)(_as_udf(decoder), _DECODED_DDL).asNondeterministic()
    files = _listed(reader, paths).select(
        F.element_at(F.split("path", "/"), -1).alias("file_name"),
        "path",
        "length",
        F.col("modificationTime").alias("modification_time"),
        decoded("content", "path").alias("decoded"),
    )
    columns = ["image", *(name for name, _ in _HEADER_FIELDS)]
    rows = files.select(
        "file_name",
        "path",
        "length",
        "modification_time",
        *(F.col(f"decoded.{name}").alias(name) for name in columns),
    )
    return rows.filter("status = 'ok'") if mode == "dropmalformed" else rows


def _listed(reader: DataFrameReader, paths: list[str]) -> DataFrame:
    try:
        files = reader.load(paths)
    except AnalysisException as error:
        if error.getCondition() != "PATH_NOT_FOUND":
            raise
        raise InvalidValueError(
            f"path must be files, directories or globs that exist. Got {paths!r}. "
            "Hint: relative paths start at the current directory, or at the cluster's default "
            "file system (fs.defaultFS)."
        ) from None
    empty = _empty_files(files)
    if not empty:
        return files
    rows = files.sparkSession.createDataFrame(empty, "path string, modified_ms long").select(
        "path",
        F.timestamp_millis("modified_ms").alias("modificationTime"),
        F.lit(0).cast("long").alias("length"),
        F.lit(b"").alias("content"),
    )
    return files.unionByName(rows)


def _empty_files(files: DataFrame) -> list[tuple[str, int]]:
    """Path and modification time (ms) of files without a byte.

    Spark lists them and then leaves them out of every scan (PartitioningAwareFileIndex.listFiles),
    so an upload that broke off at once would be no row at all. The listing is asked for them in
    slices of text, one call each. Spark Connect has no such door: there they stay left out.
    """
    frame = getattr(files, "_jdf", None)
    if frame is None:
        return []
    listed = frame.queryExecution().analyzed().relation().location().allFiles()
    found: list[tuple[str, int]] = []
    for start in range(0, listed.size(), LISTING_SLICE):
        text = listed.slice(start, start + LISTING_SLICE).mkString("\n")
        found += [(path, int(modified_ms)) for path, modified_ms in _EMPTY_FILE.findall(text)]
    return found


def grey_pixels(image: dict[str, Any]) -> npt.NDArray[np.uint8]:
    """Pixels (H, W) uint8 of one Spark image struct; colour becomes ITU-R 601 luma.

    Raises:
        RejectedImageError: the struct's sizes and bytes do not agree.
    """
    height, width, channels = image["height"], image["width"], image["nChannels"]
    data = np.frombuffer(image["data"], dtype=np.uint8)
    if data.size != height * width * channels or channels not in (1, 3, 4) or data.size == 0:
        raise RejectedImageError("corrupt", f"{data.size} bytes for {height}x{width}x{channels}")
    if channels == 1:
        return data.reshape(height, width)
    blue_green_red = data.reshape(height, width, channels)[..., :3].astype(np.float32)
    luma = blue_green_red @ np.array([0.114, 0.587, 0.299], dtype=np.float32)
    return np.rint(luma).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class _DecodeBatches:
    """The UDF's work: file contents in, structs of `_DECODED` out, batch by batch."""

    size: tuple[int, int] | None
    max_pixels: int
    fail: bool

    def __call__(self, batches: Iterator[tuple[pa.Array, pa.Array]]) -> Iterator[pa.Array]:
        for contents, paths in batches:
            rows = [
                self._row(content, path)
                for content, path in zip(contents, paths.to_pylist(), strict=True)
            ]
            yield pa.array(rows, type=_DECODED)

    def _row(self, content: pa.Scalar, path: str) -> dict[str, Any]:
        try:
            buffer = content.as_buffer()
            radiograph = decode(buffer.to_pybytes() if buffer else b"", max_pixels=self.max_pixels)
            return _ok_row(radiograph, self._resized(radiograph.pixels), path)
        except RejectedImageError as rejection:
            if self.fail:
                raise RejectedImageError(rejection.reason, f"{path}: {rejection.detail}") from None
            return {"status": "rejected", "reason": rejection.reason, "detail": rejection.detail}

    def _resized(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        if self.size is None or pixels.shape == self.size:
            return pixels
        import torch  # late: workers that only decode at full size need no torch

        from hilum.preprocessing import Resize

        resize = Resize(height=self.size[0], width=self.size[1])
        return resize(torch.from_numpy(pixels)[None, None])[0, 0].numpy()


def _ok_row(radiograph: Radiograph, pixels: npt.NDArray[np.uint8], origin: str) -> dict[str, Any]:
    height, width = pixels.shape
    return {
        "image": {
            "origin": origin,
            "height": height,
            "width": width,
            "nChannels": 1,
            "mode": CV_8UC1,
            "data": pixels.tobytes(),
        },
        "status": "ok",
        "source_format": radiograph.source_format,
        "source_bits": radiograph.source_bits,
        "modality": radiograph.modality,
        "view": radiograph.view,
        "patient_id": radiograph.patient_id,
        "age_years": radiograph.age_years,
        "sex": radiograph.sex,
        "sop_instance_uid": radiograph.sop_instance_uid,
        "warnings": list(radiograph.warnings),
    }


def _as_udf(decoder: _DecodeBatches) -> Callable[..., Iterator[pa.Array]]:
    def decode_radiographs(
        batches: Iterator[tuple[pa.Array, pa.Array]],
    ) -> Iterator[pa.Array]:
        return decoder(batches)

    return decode_radiographs
