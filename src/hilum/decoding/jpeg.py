"""Decode a JPEG: header and EXIF orientation first, then the pixels, all by Pillow.

A JPEG has no checksum: damage inside a scan that keeps its markers may pass as an image.
"""

from io import BytesIO

from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from hilum.decoding.grey import check_size, codec_errors, to_grey
from hilum.errors import RejectedImageError
from hilum.radiograph import Radiograph

__all__ = ["JPEG_START", "decode_jpeg"]

JPEG_START = b"\xff\xd8\xff"

_SCAN, _END = b"\xff\xda", b"\xff\xd9"
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_jpeg(data: bytes, max_pixels: int) -> Radiograph:
    """Decode a JPEG held in memory and turn it upright.

    Raises:
        RejectedImageError: truncated, corrupt, too_large.
    """
    # Late, because it brings pydicom along, which takes a second to load.
    from hilum.dicom.quiet import quiet

    warnings: list[str] = []
    with codec_errors("corrupt" if data.rstrip(b"\0").endswith(_END) else "truncated"):
        with quiet():  # Pillow warns about damaged EXIF
            image = JpegImageFile(BytesIO(data))
            orientation = _orientation(image, warnings)
        check_size(image.width, image.height, max_pixels)
        if ImageFile.LOAD_TRUNCATED_IMAGES and data.rfind(_END) < data.rfind(_SCAN):
            # Someone in this process told Pillow to paint missing rows grey. Not here.
            raise RejectedImageError("truncated", "no end marker after the last scan")
        image.load()
        turn = _UPRIGHT.get(orientation)
        pixels = to_grey(image if turn is None else image.transpose(turn), warnings)
    return Radiograph(pixels=pixels, source_format="jpeg", warnings=tuple(warnings))


def _orientation(image: Image.Image, warnings: list[str]) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:
        warnings.append("exif_unreadable")
        return 1
