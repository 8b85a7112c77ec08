"""Decode a PNG: its structure is checked here, its pixels are Pillow's.

Pillow neither checks the CRC of pixel data nor says why it failed, and paints rows black that a
finished data stream does not hold. The check costs about 1 % of the decoding.

A PNG encoder scales its samples to the full range whatever sBIT says (PNG 3rd edition, 13.12), so
16-bit grey is mapped linearly from 0..65535, and sBIT and gAMA change nothing.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from hilum.decoding.grey import check_size, codec_errors, to_grey
from hilum.errors import RejectedImageError
from hilum.radiograph import Radiograph

__all__ = ["PNG_SIGNATURE", "decode_png"]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_PALETTE = 3
_FILL = 0xAA  # of rows not yet decoded
_ROW_BY_ROW = ((0, 0, 1, 1),)  # of each pass: first row, first column, row step, column step
_ADAM7 = (
    (0, 0, 8, 8),
    (0, 4, 8, 8),
    (4, 0, 8, 4),
    (0, 2, 4, 4),
    (2, 0, 4, 2),
    (0, 1, 2, 2),
    (1, 0, 2, 1),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    """IHDR, and whether the file goes on to its end marker."""

    width: int
    height: int
    bit_depth: int
    color_type: int
    interlaced: bool
    complete: bool


def decode_png(data: bytes, max_pixels: int) -> Radiograph:
    """Decode a PNG held in memory.

    Raises:
        RejectedImageError: truncated, corrupt, too_large, multi_frame.
    """
    header = _check_structure(data, max_pixels)
    warnings = [] if header.complete else ["end_marker_missing"]
    with codec_errors("corrupt" if header.complete else "truncated"):
        # The class itself, not Image.open: no format guessing, and no process-wide pixel limit.
        image = PngImageFile(BytesIO(data))
        pixels = _load(image, data, header)
        if pixels is None or "transparency" in image.info:
            pixels = to_grey(image, warnings)
    return Radiograph(
        pixels=pixels,
        source_format="png",
        source_bits=8 if header.color_type == _PALETTE else header.bit_depth,
        warnings=tuple(warnings),
    )


def _check_structure(data: bytes, max_pixels: int) -> _Header:
    """Walk the chunks (PNG 3rd edition, 5.3): size limit, CRCs, animation, end of file.

    A file that ends after its last pixel data chunk may still hold all pixels, even without the
    end marker; whether it does is left to the decoder.
    """
    fields: tuple[int, ...] = ()
    last = b""
    for kind, payload in _chunks(data):
        if not fields:
            if kind != b"IHDR" or len(payload) != 13:
                raise RejectedImageError("corrupt", "a PNG that does not start with its header")
            fields = struct.unpack(">IIBBBBB", payload)
            check_size(fields[0], fields[1], max_pixels)
        if kind == b"acTL" and bytes(payload[:4]) != b"\0\0\0\1":
            raise RejectedImageError("multi_frame", "an animated PNG")
        last = kind
    if not fields:
        raise RejectedImageError("truncated", "the file ends inside its header")
    return _Header(
        width=fields[0],
        height=fields[1],
        bit_depth=fields[2],
        color_type=fields[3],
        interlaced=fields[6] != 0,
        complete=last == b"IEND",
    )


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield type and content of each whole chunk, then check its CRC.

    Raises:
        RejectedImageError: truncated, if the file ends inside header or pixel data; corrupt.
    """
    view = memoryview(data)
    position, kind = len(PNG_SIGNATURE), b""
    while kind != b"IEND" and position + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            if kind in (b"IHDR", b"PLTE", b"IDAT"):
                raise RejectedImageError("truncated", f"the file ends inside {kind.decode()}")
            return
        yield kind, view[position + 8 : end - 4]
        (crc,) = struct.unpack_from(">I", data, end - 4)
        if zlib.crc32(view[position + 4 : end - 4]) != crc:
            raise RejectedImageError("corrupt", "wrong PNG checksum")
        position = end


def _load(image: PngImageFile, data: bytes, header: _Header) -> npt.NDArray[np.uint8] | None:
    """Decode the pixels and see that all rows came; return them if they are 8-bit grey.

    Grey is decoded straight into the returned array, which saves Pillow's two copies of it
    (`frombuffer` shares memory). The canvas is filled with a pattern first: only if the last row
    still shows it, or the rows did not come in order, are the bytes of the data stream counted,
    which takes longer than decoding.
    """
    canvas = None
    if image.mode == "L":
        canvas = np.full((header.height, header.width), _FILL, np.uint8)
        blank = Image.frombuffer("L", image.size, canvas, "raw", "L", 0, 1)
    else:
        fill = {"1": 255, "I;16": 257 * _FILL}.get(image.mode, (_FILL,) * len(image.getbands()))
        blank = Image.new(image.mode, image.size, fill)
    last_row = (0, header.height - 1, header.width, header.height)
    untouched = blank.crop(last_row).tobytes()
    image.im = blank.im
    image.load()
    suspicious = header.interlaced or image.crop(last_row).tobytes() == untouched
    if suspicious and not _holds_all_rows(data, header):
        raise RejectedImageError("corrupt", "fewer rows than the header announces")
    return canvas


def _holds_all_rows(data: bytes, header: _Header) -> bool:
    bits = header.bit_depth * _CHANNELS[header.color_type]
    missing = 0
    for top, left, dy, dx in _ADAM7 if header.interlaced else _ROW_BY_ROW:
        rows = len(range(top, header.height, dy))
        columns = len(range(left, header.width, dx))
        missing += rows * (1 + (columns * bits + 7) // 8) if columns else 0
    inflater = zlib.decompressobj()
    for kind, payload in _chunks(data):
        if kind == b"IDAT" and missing > 0:
            missing -= len(inflater.decompress(payload, missing))
            while inflater.unconsumed_tail and missing > 0:
                missing -= len(inflater.decompress(inflater.unconsumed_tail, missing))
    return missing <= 0
