"""Spark's own image struct, which every image column of Hilum is."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from hilum.errors import require
from hilum.inputs import grey_pixels

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
