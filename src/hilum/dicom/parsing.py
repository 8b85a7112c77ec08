"""From bytes to data elements: transfer syntax, dataset and the still encoded pixel data.

pydicom parses; this module decides what a parse that went wrong means. It never uses
`force=True`, which turns any bytes into a data set of junk.
"""

import struct
import zlib
from dataclasses import dataclass
from io import BytesIO

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
)

from hilum.dicom.stored import PLUGINS
from hilum.errors import RejectedImageError

__all__ = ["ImageObject", "parse_image_object"]

_PIXEL_DATA = 0x7FE00010
_UNDEFINED_LENGTH = 0xFFFFFFFF
_PREAMBLE_BYTES = 132  # PS3.10 7.1: 128 bytes of anything, then "DICM"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageObject:
    """One parsed DICOM image object.

    Attributes:
        dataset: all elements, not yet converted from bytes.
        transfer_syntax: how `pixel_data` is encoded.
        pixel_data: the value of (7FE0,0010), never empty.
        pixel_vr: its value representation, None in implicit VR.
    """

    dataset: Dataset
    transfer_syntax: UID
    pixel_data: bytes
    pixel_vr: str | None


def parse_image_object(data: bytes, *, max_inflated_bytes: int) -> ImageObject:
    """Parse a DICOM file held in memory.

    `max_inflated_bytes` bounds what a deflated file may expand to.

    Raises:
        RejectedImageError: empty, not_an_image, missing_tag, unsupported_syntax, truncated,
            no_pixels, too_large.
    """
    if not data:
        raise RejectedImageError("empty")
    if data[128:_PREAMBLE_BYTES] != b"DICM":
        raise RejectedImageError("not_an_image", "no DICM at byte 128")
    stream = BytesIO(data)
    syntax = _read_transfer_syntax(stream)
    if stream.tell() == len(data):
        raise RejectedImageError("truncated", "the file ends inside its meta information")
    if not syntax:
        raise RejectedImageError("missing_tag", "TransferSyntaxUID")
    if syntax not in PLUGINS:
        raise RejectedImageError("unsupported_syntax", syntax.name if syntax.is_valid else "")
    if syntax == DeflatedExplicitVRLittleEndian:
        stream = BytesIO(_inflate(stream.read(), max_inflated_bytes))
    dataset, pixels_announced = _read_elements(stream, syntax)
    element = _pixel_element(dataset, pixels_announced, size=len(stream.getbuffer()))
    if element.length == _UNDEFINED_LENGTH and not syntax.is_encapsulated:
        raise RejectedImageError("corrupt", "compressed pixel data, but the syntax says native")
    return ImageObject(
        dataset=dataset,
        transfer_syntax=syntax,
        pixel_data=element.value or b"",
        pixel_vr=element.VR,
    )


def _read_transfer_syntax(stream: BytesIO) -> UID:
    stream.seek(_PREAMBLE_BYTES)
    meta = read_dataset(
        stream,
        is_implicit_VR=False,
        is_little_endian=True,
        stop_when=lambda tag, vr, length: tag >> 16 != 2,
    )
    return UID(str(meta.get("TransferSyntaxUID") or ""))


def _inflate(deflated: bytes, limit: int) -> bytes:
    """Inflate a data set (PS3.5 A.5); a few kilobytes may hide gigabytes, hence the limit."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(deflated, limit)
    if inflater.unconsumed_tail:
        raise RejectedImageError("too_large", "the deflated data set expands beyond the limit")
    if not inflater.eof:
        raise RejectedImageError("truncated", "the deflated data set ends early")
    return inflated


def _read_elements(stream: BytesIO, syntax: UID) -> tuple[Dataset, bool]:
    """Read the data set; also tell whether the tag of the pixel data was met.

    When the file ends inside encapsulated pixel data, pydicom warns and drops the element, so
    its absence alone cannot tell a cut image from an object without pixels.
    """
    announced = False

    def note_pixel_data(tag: BaseTag, vr: str | None, length: int) -> bool:
        nonlocal announced
        announced = announced or tag == _PIXEL_DATA
        return False

    try:
        dataset = read_dataset(
            stream,
            is_implicit_VR=syntax == ImplicitVRLittleEndian,
            is_little_endian=syntax != ExplicitVRBigEndian,
            stop_when=note_pixel_data,
        )
    except (EOFError, OSError, struct.error):
        if stream.read(1):
            raise
        raise RejectedImageError("truncated", "the file ends inside its header") from None
    return dataset, announced


def _pixel_element(dataset: Dataset, announced: bool, *, size: int) -> RawDataElement:
    element = dataset.get_item(_PIXEL_DATA, keep_deferred=True) if announced else None
    if isinstance(element, RawDataElement):
        if element.value:
            return element
        if element.length:
            raise RejectedImageError("truncated", "the file ends where its pixel data begins")
    elif element is not None:
        raise RejectedImageError("corrupt", "the pixel data is a sequence")
    elif announced:
        raise RejectedImageError("truncated", "the file ends inside its pixel data")
    elif _ends_inside_an_element(dataset, size):
        raise RejectedImageError("truncated", "the file ends inside its header")
    raise RejectedImageError("no_pixels")


def _ends_inside_an_element(dataset: Dataset, size: int) -> bool:
    if not len(dataset):
        return True
    *_, last = dataset.elements()  # ascending tags, as in a file
    return (
        isinstance(last, RawDataElement)
        and last.length != _UNDEFINED_LENGTH
        and last.value_tell + last.length != size
    )
