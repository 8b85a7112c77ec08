"""The magic number decides how a file is decoded, and every failure has a reason code.

A file name or content type may lie; the first bytes rarely do. PNG and JPEG are decoded here with
Pillow, DICOM in `hilum.dicom`.
"""

from typing import Literal

from hilum.decoding.jpeg import JPEG_START, decode_jpeg
from hilum.decoding.png import PNG_SIGNATURE, decode_png
from hilum.errors import RejectedImageError, require
from hilum.radiograph import Radiograph

__all__ = ["MAGIC_BYTES", "decode", "sniff"]

MAGIC_BYTES = 132  # DICOM says what it is after a preamble of 128


def sniff(data: bytes) -> Literal["png", "jpeg", "dicom"] | None:
    """Tell the format from the magic number; None for anything Hilum does not read.

    DICOM is looked for first: its 128-byte preamble may look like another format (PS3.10 7.1).
    """
    if data[128:132] == b"DICM":
        return "dicom"
    if data.startswith(PNG_SIGNATURE):
        return "png"
    if data.startswith(JPEG_START):
        return "jpeg"
    return None


def decode(data: bytes, *, max_pixels: int = 100_000_000) -> Radiograph:
    """Decode a PNG, JPEG or DICOM file held in memory to 8-bit grey, shape (H, W).

    Brightness is the file's own: the full range of the source is mapped linearly to 0..255, and
    gamma, significant bits and colour profiles of a PNG or JPEG are ignored. Colour becomes grey:
    exactly if the three channels are equal, else by ITU-R BT.601 luma with the warning
    "color_converted" (in DICOM it is refused). Alpha is dropped, with the warning "alpha_dropped"
    if it was not opaque. A header that announces more than `max_pixels` is refused unread.

    Raises:
        RejectedImageError: the file cannot be used; its reason is a key of
            `hilum.radiograph.REASONS`.
    """
    require(max_pixels > 0, "max_pixels", "a positive number of pixels", max_pixels)
    image_format = sniff(data)
    if image_format == "png":
        return decode_png(data, max_pixels)
    if image_format == "jpeg":
        return decode_jpeg(data, max_pixels)
    if image_format == "dicom":
        # Imported late: pydicom takes a second to load, and most data sets are PNG.
        from hilum.dicom import read_dicom

        return read_dicom(data, max_pixels=max_pixels)
    raise RejectedImageError("not_an_image" if data else "empty")
