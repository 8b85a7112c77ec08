"""Spark's own image struct, which every image column of Hilum is."""

import pyarrow as pa

from hilum.inputs import grey_pixels

__all__ = ["CV_8UC1", "IMAGE_DDL", "IMAGE_FIELDS", "grey_pixels"]

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
