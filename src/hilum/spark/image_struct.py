"""Spark's own image struct, which every image column of Hilum is."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hilum.errors import RejectedImageError, require

__all__ = ["CV_8UC1", "IMAGE_DDL", "IMAGE_FIELDS", "grey_pixels", "image_rows"]

# pyspark.ml.image.ImageSchema: rows first, 8 bits, BGR where coloured.
IMAGE_FIELDS: list[tuple[str, pa.DataType]] = [
    ("origin", pa.string()),
    ("height", pa.int32()),
    ("width", pa.int32()),
    ("nChannels", pa.int32()),
    ("mode", pa.int32()),
    ("data", pa.binary()),
]
CV_8UC1 = 0
IMAGE_DDL = "struct<origin:string,height:int,width:int,nChannels:int,mode:int,data:binary>"


_NEEDED = ("height", "width", "nChannels", "data")


def image_rows(images: pa.Array) -> Iterator[dict[str, Any] | None]:
    """What `grey_pixels` needs of each struct, in order; None for a null.

    One at a time: never a whole Arrow batch as Python objects.

    Raises:
        InvalidValueError: the array does not hold image structs.
    """
    names = {field.name for field in images.type} if pa.types.is_struct(images.type) else set()
    require(
        names >= set(_NEEDED),
        "image",
        f"a Spark image struct ({', '.join(name for name, _ in IMAGE_FIELDS)})",
        str(images.type)[:80],
        hint="read_radiographs(...) and spark.read.format('image') make one",
    )
    height, width, channels, data = (images.field(name) for name in _NEEDED)
    for row, valid in enumerate(images.is_valid().to_pylist()):
        yield (
            {
                "height": height[row].as_py(),
                "width": width[row].as_py(),
                "nChannels": channels[row].as_py(),
                "data": data[row].as_buffer(),
            }
            if valid
            else None
        )


def grey_pixels(image: dict[str, Any]) -> npt.NDArray[np.uint8]:
    """Pixels (H, W) uint8 of one Spark image struct; colour becomes ITU-R 601 luma.

    Raises:
        RejectedImageError: the struct's sizes and bytes do not agree.
    """
    height, width, channels = image["height"], image["width"], image["nChannels"]
    if any(value is None for value in (height, width, channels, image["data"])):
        raise RejectedImageError("corrupt", "a field of the image struct is null")
    data = np.frombuffer(image["data"], dtype=np.uint8)
    if data.size != height * width * channels or channels not in (1, 3, 4) or data.size == 0:
        raise RejectedImageError("corrupt", f"{data.size} bytes for {height}x{width}x{channels}")
    if channels == 1:
        return data.reshape(height, width)
    blue_green_red = data.reshape(height, width, channels)[..., :3].astype(np.float32)
    luma = blue_green_red @ np.array([0.114, 0.587, 0.299], dtype=np.float32)
    return np.rint(luma).astype(np.uint8)
