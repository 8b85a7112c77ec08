"""NNImageReader: a folder of radiographs as a DataFrame with one column of image structs."""

from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
import pyarrow as pa
from pyspark import SparkContext
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import arrow_udf

from hilum.errors import require
from hilum.spark import read_radiographs
from hilum.spark.image_struct import IMAGE_DDL, IMAGE_FIELDS, grey_pixels
from hilum.zoo.strict import is_strict_2019, lifted_grey_levels

__all__ = ["NNImageReader", "NNImageSchema"]


class NNImageReader:
    """Reads images; `hilum.spark.read_radiographs` under its name of 2019."""

    @staticmethod
    def readImages(
        path: str,
        sc: SparkContext | None = None,
        minPartitions: int = 1,
        resizeH: int = -1,
        resizeW: int = -1,
        image_codec: int = -1,
        bigdl_type: str = "float",
    ) -> DataFrame:
        """Read PNG, JPEG and DICOM files into one column `image`.

        The struct is Spark's: origin, height, width, nChannels, mode, data. It has one grey
        channel whatever `image_codec` says; networks for colour get it three times, at the end.
        Files that are no images are left out; `hilum ingest` lists them with the reason.

        Args:
            path: a directory, a file, a glob, or several with commas between them.
            sc: has no effect; the running session reads.
            minPartitions: has no effect; Spark cuts files by size.
            resizeH: height in pixels to resize to while reading; -1 keeps the size.
            resizeW: width, likewise.
            image_codec: has no effect.
            bigdl_type: has no effect.
        """
        both = (resizeH > 0) == (resizeW > 0)
        require(both, "resizeH and resizeW", "both given, or none", (resizeH, resizeW))
        size = (resizeH, resizeW) if resizeH > 0 else None
        spark = SparkSession.builder.getOrCreate()
        paths = [part.strip() for part in path.split(",")]
        if not is_strict_2019():
            rows = read_radiographs(spark, paths, "dropmalformed", size=size, recursive=False)
            return rows.select(F.col("image").alias("image", metadata=_noted(size)))
        images = read_radiographs(spark, paths, "failfast", recursive=False).select("image")
        if size is None:
            return images
        lift = cast(Any, arrow_udf)(_lifting(size), IMAGE_DDL).asNondeterministic()
        return images.select(lift("image").alias("image", metadata=_noted(size)))


class NNImageSchema:
    """What an image column is."""

    @staticmethod
    def withOriginColumn(
        df: DataFrame, imageColumn: str = "image", originColumn: str = "origin"
    ) -> DataFrame:
        """Add the address that each image came from as a column of its own."""
        return df.withColumn(originColumn, F.col(f"{imageColumn}.origin"))


def _noted(size: tuple[int, int] | None) -> dict[str, list[int]]:
    """Metadata of the column, so that a model knows the size its images were read at."""
    return {} if size is None else {"size_px": list(size)}


def _lifting(size: tuple[int, int]) -> Callable[[Iterator[pa.Array]], Iterator[pa.Array]]:
    """Resize image structs, and lift the grey levels of those whose size changes."""

    def lift(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        for batch in batches:
            rows = [_lifted(row, size) for row in batch.to_pylist()]
            yield pa.array(rows, type=pa.struct(IMAGE_FIELDS))

    return lift


def _lifted(image: dict[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    import torch

    from hilum.preprocessing import Resize

    pixels = grey_pixels(image)
    if pixels.shape == size:
        return image
    resized = Resize(*size)(torch.from_numpy(pixels.copy())[None, None])[0, 0].numpy()
    data = lifted_grey_levels()[resized].astype(np.uint8).tobytes()
    return image | {"height": size[0], "width": size[1], "data": data}
