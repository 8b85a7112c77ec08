"""Look at a compressed frame before a decoder written in C or C++ does.

Damaged streams do more than raise in there: GDCM 3.2 aborts the process on a header it does not
expect, CharLS (pyjpegls 1.5) never returns when a JPEG-LS stream ends without its end marker, and
openjpeg allocates whatever size the stream announces. One such file would take a Spark worker
with it. So the header is checked first, which is cheap. With these checks 100,000 mutated streams
gave an image or an exception, nothing else (tests/dicom/test_codestream.py repeats a sample).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from pydicom.uid import UID, JPEG2000TransferSyntaxes, JPEGLossless, JPEGLosslessSV1

from hilum.errors import RejectedImageError

__all__ = ["FrameHeader", "read_frame_header"]

# Markers of ITU-T T.81 table B.1 and T.87 (JPEG-LS).
_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
_SOS, _DHT, _SOF_LOSSLESS = 0xDA, 0xC4, 0xC3
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {_DHT, 0xC8, 0xCC} | {0xF7}
_APP_JFIF, _APP_ADOBE = 0xE0, 0xEE
_TABLES_AND_TEXT = frozenset(range(0xE0, 0xF0)) | {0xDB, 0xDD, 0xFE, 0xF8}
_J2K_START = b"\xff\x4f\xff\x51"  # SOC, then SIZ (ITU-T T.800 A.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameHeader:
    """What the codestream itself says about the frame."""

    rows: int
    columns: int
    samples: int
    precision: int


def read_frame_header(frame: bytes, syntax: UID) -> FrameHeader:
    """Check the header of a JPEG, JPEG-LS or JPEG 2000 codestream and return what it announces.

    Raises:
        RejectedImageError: corrupt.
    """
    try:
        if syntax in JPEG2000TransferSyntaxes:
            return _read_j2k_header(frame)
        return _read_jpeg_header(frame, lossless=syntax in (JPEGLossless, JPEGLosslessSV1))
    except (IndexError, struct.error):
        raise _corrupt("ends inside its header") from None


def _read_j2k_header(frame: bytes) -> FrameHeader:
    start = frame.find(_J2K_START)  # not always 0: some writers keep the boxes of a .jp2 file
    if start < 0:
        raise _corrupt("has no JPEG 2000 header")
    right, bottom, left, top = struct.unpack_from(">4I", frame, start + 8)
    samples, precision = struct.unpack_from(">HB", frame, start + 40)
    return FrameHeader(
        rows=bottom - top,
        columns=right - left,
        samples=samples,
        precision=(precision & 0x7F) + 1,
    )


def _read_jpeg_header(frame: bytes, *, lossless: bool) -> FrameHeader:
    if not frame.startswith(_SOI):
        raise _corrupt("has no JPEG start marker")
    header: FrameHeader | None = None
    scan = 0
    for marker, payload, end in _segments(frame):
        scan = end
        if marker in _FRAME_HEADERS:
            if header is not None or (lossless and marker != _SOF_LOSSLESS):
                raise _corrupt("has an unexpected frame header")
            header = _read_frame_segment(payload)
        elif marker == _DHT:
            _check_huffman_tables(payload)
        elif not _is_expected(marker, payload, lossless=lossless):
            raise _corrupt("has an unexpected segment")
    # Searching is enough: inside a scan 0xFF is always followed by a stuffed bit or byte.
    if header is None or frame.find(_EOI, scan) < 0:
        raise _corrupt("has no frame header or no end marker")
    return header


def _segments(frame: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yield marker, payload and end of each segment up to the first scan; no bytes in between."""
    position, marker = len(_SOI), 0
    while marker != _SOS:
        if frame[position] != 0xFF:
            raise _corrupt("has bytes between two segments")
        while frame[position + 1] == 0xFF:  # fill bytes, T.81 B.1.1.2
            position += 1
        marker = frame[position + 1]
        (length,) = struct.unpack_from(">H", frame, position + 2)
        end = position + 2 + length
        if length < 2 or end > len(frame):
            raise _corrupt("ends inside its header")
        yield marker, frame[position + 4 : end], end
        position = end


def _is_expected(marker: int, payload: bytes, *, lossless: bool) -> bool:
    """Tell whether a segment is known and, for GDCM, raises no warning in libjpeg.

    GDCM takes a warning in the header for a bug of its own and aborts (jdmarker.c, jdapimin.c).
    """
    if lossless and marker == _APP_JFIF and payload.startswith(b"JFIF\0"):
        return payload[5:6] == b"\1"  # major version
    if lossless and marker == _APP_ADOBE and payload.startswith(b"Adobe"):
        return payload[11:12] in (b"\0", b"\1")  # colour transform of one or three components
    return marker == _SOS or marker in _TABLES_AND_TEXT


def _read_frame_segment(payload: bytes) -> FrameHeader:
    precision, rows, columns, components = struct.unpack_from(">BHHB", payload)
    if len(payload) != 6 + 3 * components or not 2 <= precision <= 16:
        raise _corrupt("has a broken frame header")
    return FrameHeader(rows=rows, columns=columns, samples=components, precision=precision)


def _check_huffman_tables(payload: bytes) -> None:
    """Check lengths and that no code length has more codes than bits allow (T.81 C.2)."""
    position = 0
    while position < len(payload):
        counts = payload[position + 1 : position + 17]
        code = 0
        for bits, count in enumerate(counts, start=1):
            code += count
            if code > 1 << bits:
                raise _corrupt("has a broken Huffman table")
            code <<= 1
        position += 17 + sum(counts)
        if len(counts) < 16 or sum(counts) > 256 or position > len(payload):
            raise _corrupt("has a broken Huffman table")


def _corrupt(what: str) -> RejectedImageError:
    return RejectedImageError("corrupt", f"the compressed frame {what}")
