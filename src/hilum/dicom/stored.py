"""From encoded pixel data to stored values, and to the bits those really use.

One named decoder per transfer syntax. pydicom would try all it finds, one after the other, and
where pylibjpeg-libjpeg is installed a damaged JPEG or JPEG-LS stream ends there as a half-empty
image without an error.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy.typing as npt
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder

from hilum.dicom.codestream import read_frame_header
from hilum.dicom.header import PixelHeader
from hilum.errors import RejectedImageError

__all__ = ["PLUGINS", "StoredPixels", "decode_pixel_data", "significant_pixels"]

PLUGINS: dict[str, str] = {
    uid.ImplicitVRLittleEndian: "",
    uid.ExplicitVRLittleEndian: "",
    uid.DeflatedExplicitVRLittleEndian: "",
    uid.ExplicitVRBigEndian: "",
    uid.RLELossless: "pydicom",
    uid.JPEGBaseline8Bit: "pillow",
    uid.JPEGExtended12Bit: "pillow",
    uid.JPEGLossless: "gdcm",
    uid.JPEGLosslessSV1: "gdcm",
    uid.JPEGLSLossless: "pyjpegls",
    uid.JPEGLSNearLossless: "pyjpegls",
    uid.JPEG2000Lossless: "pylibjpeg",
    uid.JPEG2000: "pylibjpeg",
    uid.HTJ2KLossless: "pylibjpeg",
    uid.HTJ2KLosslessRPCL: "pylibjpeg",
    uid.HTJ2K: "pylibjpeg",
}


def decode_pixel_data(
    pixel_data: bytes,
    *,
    pixel_vr: str | None,
    syntax: uid.UID,
    header: PixelHeader,
    warnings: list[str],
) -> npt.NDArray[Any]:
    """Decode one frame: integers of shape (H, W), or RGB (H, W, 3) for three samples.

    Bits above Bits Stored are left as they are; see `significant_pixels`.

    Raises:
        RejectedImageError: truncated, corrupt, unsupported_syntax.
    """
    if not syntax.is_encapsulated:
        _check_native_length(len(pixel_data), header.native_bytes, warnings)
    elif syntax != uid.RLELossless:
        header = _match_codestream(pixel_data, syntax, header)
    try:
        pixels: npt.NDArray[Any] = get_decoder(syntax).as_array(
            pixel_data,
            index=0,
            decoding_plugin=PLUGINS[syntax],
            **_decoder_options(header, pixel_vr),
        )[0]
    except MemoryError:
        raise
    except Exception as error:
        name = type(error).__name__
        raise RejectedImageError("corrupt", f"{syntax.name}: {name} while decoding") from error
    return pixels


def _check_native_length(found: int, expected: int, warnings: list[str]) -> None:
    if found < expected:
        raise RejectedImageError("truncated", f"{found} of {expected} bytes of pixel data")
    if found > expected + expected % 2:
        warnings.append("excess_pixel_data")


def _match_codestream(pixel_data: bytes, syntax: uid.UID, header: PixelHeader) -> PixelHeader:
    """Check the frame against the header; the depth of the codestream is the one that counts."""
    try:
        frame = get_frame(pixel_data, 0, number_of_frames=1)
    except Exception as error:
        raise RejectedImageError("corrupt", "the pixel data holds no compressed frame") from error
    found = read_frame_header(frame, syntax)
    if syntax == uid.JPEGExtended12Bit and found.precision > 8:
        raise RejectedImageError("unsupported_syntax", "JPEG Extended with more than 8 bits")
    announced = (header.rows, header.columns, header.samples)
    if (found.rows, found.columns, found.samples) != announced:
        raise RejectedImageError(
            "corrupt",
            f"header says {header.rows} x {header.columns} x {header.samples}, "
            f"the compressed frame {found.rows} x {found.columns} x {found.samples}",
        )
    allocated = 8 if found.precision <= 8 else 16 if found.precision <= 16 else 32
    return replace(header, bits_allocated=allocated, bits_stored=found.precision)


def _decoder_options(header: PixelHeader, pixel_vr: str | None) -> dict[str, Any]:
    return {
        "rows": header.rows,
        "columns": header.columns,
        "number_of_frames": 1,
        "samples_per_pixel": header.samples,
        "planar_configuration": header.planar,
        "photometric_interpretation": header.photometric,
        "bits_allocated": header.bits_allocated,
        "bits_stored": min(max(header.bits_stored, 1), header.bits_allocated),
        "pixel_representation": int(header.signed),
        "pixel_keyword": "PixelData",
        "pixel_vr": pixel_vr or "OW",
        "allow_excess_frames": False,
        "correct_unused_bits": False,
        # An unsigned codestream in a signed object: believe the codestream (significant_pixels).
        "apply_j2k_sign_correction": not header.signed,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPixels:
    """Stored values, shape (H, W), and the range their bits span."""

    values: npt.NDArray[Any]
    bits: int
    signed: bool

    @property
    def limits(self) -> tuple[int, int]:
        """Lowest and highest value the bits can express."""
        half = 1 << (self.bits - 1)
        return (-half, half - 1) if self.signed else (0, 2 * half - 1)


def significant_pixels(
    cells: npt.NDArray[Any], header: PixelHeader, dataset: Dataset, warnings: list[str]
) -> StoredPixels:
    """Find the bits that carry the image; Bits Stored is believed unless the values exceed it.

    Readers that mask with a too small Bits Stored wrap bright areas to black. Values above it are
    masked only where the header says that an overlay lives in those bits (retired, PS3.5 8.1.2).
    """
    low, high = int(cells.min()), int(cells.max())
    bits = header.bits_stored
    if not 1 <= bits <= header.bits_allocated:
        warnings.append("bits_stored_invalid")
        bits = max(_bits_needed(low, high, signed=header.signed), 1)
    signed = header.signed
    if signed and low >= 0 and high >= 1 << (bits - 1):
        # Negative values would carry their sign into the unused bits. A projection radiograph
        # has none (PS3.3 C.8.11.3: Pixel Representation shall be 0).
        warnings.append("pixel_representation_wrong")
        signed = False
    needed = _bits_needed(low, high, signed=signed)
    if needed > bits and not signed and _overlay_in_pixel_bits(dataset):
        return StoredPixels(values=cells & ((1 << bits) - 1), bits=bits, signed=False)
    if needed > bits:
        warnings.append("bits_stored_too_small")
        bits = needed
    return StoredPixels(values=cells, bits=bits, signed=signed)


def _bits_needed(low: int, high: int, *, signed: bool) -> int:
    if not signed:
        return high.bit_length()
    return max(high.bit_length(), (~low).bit_length() if low < 0 else 0) + 1


def _overlay_in_pixel_bits(dataset: Dataset) -> bool:
    """Tell whether (60xx,0102) Overlay Bit Position points into the pixel cells."""
    return any(
        tag.element == 0x0102 and 0x6000 <= tag.group <= 0x60FF and dataset[tag].value
        for tag in dataset.keys()
    )
