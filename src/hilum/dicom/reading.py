"""Read one DICOM radiograph: the single place where a DICOM file becomes 8-bit grey.

Spark, command line and server all come through here, so they see the same pixels.
"""

import re
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut

from hilum.dicom.grayscale import display_pixels
from hilum.dicom.header import (
    PixelHeader,
    frame_count,
    patient_age,
    patient_sex,
    read_pixel_header,
    text,
)
from hilum.dicom.parsing import ImageObject, parse_image_object
from hilum.dicom.quiet import quiet
from hilum.dicom.stored import decode_pixel_data, significant_pixels
from hilum.errors import RejectedImageError, require
from hilum.radiograph import Radiograph

__all__ = ["read_dicom"]

_MODALITIES = frozenset({"CR", "DX", "RG", "SC", "OT"})
_HEADER_BYTES = 1 << 26
_BYTES_PER_PIXEL = 4


def read_dicom(data: bytes, *, max_pixels: int = 100_000_000) -> Radiograph:
    """Decode a DICOM file held in memory to 8-bit grey, air dark and bone bright.

    Rows x Columns is compared with `max_pixels` before anything is decoded. What was tolerated is
    in `Radiograph.warnings`. Messages never quote the header, so they hold no patient data.
    Threads may call this; they take turns (see `hilum.dicom.quiet`).

    Raises:
        RejectedImageError: the file cannot be used; any of the codes in `hilum.radiograph.REASONS`
            except "unreadable".
    """
    require(max_pixels > 0, "max_pixels", "a positive number of pixels", max_pixels)
    with quiet():
        try:
            return _read(data, max_pixels)
        except RejectedImageError:
            raise
        except MemoryError:
            raise RejectedImageError("too_large", "not enough memory") from None
        except Exception as error:
            # pydicom's messages quote values; only the kind of error may leave.
            raise RejectedImageError(
                "corrupt", f"{type(error).__name__} while reading the header"
            ) from None


def _read(data: bytes, max_pixels: int) -> Radiograph:
    image = parse_image_object(
        data, max_inflated_bytes=_HEADER_BYTES + _BYTES_PER_PIXEL * max_pixels
    )
    dataset = image.dataset
    warnings: list[str] = []
    modality = _allowed_modality(dataset)
    header = _radiograph_header(dataset, max_pixels)
    pixels, bits = _grey_pixels(image, header, warnings)
    view = text(dataset, "ViewPosition")
    if text(dataset, "PresentationIntentType") == "FOR PROCESSING":
        warnings.append("for_processing")  # PS3.3 C.8.11.1: raw detector data, not for viewing
    return Radiograph(
        pixels=pixels,
        source_format="dicom",
        source_bits=bits,
        view=view.upper() if view else None,
        modality=modality,
        patient_id=text(dataset, "PatientID"),
        age_years=patient_age(dataset, warnings),
        sex=patient_sex(dataset),
        sop_instance_uid=text(dataset, "SOPInstanceUID"),
        transfer_syntax=str(image.transfer_syntax),
        warnings=tuple(warnings),
    )


def _allowed_modality(dataset: Dataset) -> str | None:
    modality = (text(dataset, "Modality") or "").upper()
    if modality and modality not in _MODALITIES:
        shown = modality if re.fullmatch("[A-Z]{2}", modality) else "another"
        raise RejectedImageError("wrong_modality", f"modality {shown}")
    return modality or None


def _radiograph_header(dataset: Dataset, max_pixels: int) -> PixelHeader:
    frames = frame_count(dataset)
    if frames > 1:
        raise RejectedImageError("multi_frame", f"{frames} frames")
    header = read_pixel_header(dataset)
    if header.rows * header.columns > max_pixels:
        raise RejectedImageError(
            "too_large", f"{header.rows} x {header.columns} pixels, at most {max_pixels} allowed"
        )
    if header.samples not in (1, 3):
        raise RejectedImageError("color", f"{header.samples} samples per pixel")
    return header


def _grey_pixels(
    image: ImageObject, header: PixelHeader, warnings: list[str]
) -> tuple[npt.NDArray[np.uint8], int]:
    """Return 8-bit grey, shape (H, W), and the significant bits of the source."""
    pixels = decode_pixel_data(
        image.pixel_data,
        pixel_vr=image.pixel_vr,
        syntax=image.transfer_syntax,
        header=header,
        warnings=warnings,
    )
    if header.samples == 3:
        return _grey_of_equal_channels(pixels)
    if header.photometric == "PALETTE COLOR":
        return _grey_of_equal_channels(apply_color_lut(pixels, image.dataset))
    if header.photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise RejectedImageError("corrupt", "PhotometricInterpretation needs three samples")
    stored = significant_pixels(pixels, header, image.dataset, warnings)
    return display_pixels(stored, image.dataset, header.photometric, warnings), stored.bits


def _grey_of_equal_channels(pixels: npt.NDArray[Any]) -> tuple[npt.NDArray[np.uint8], int]:
    """Take a grey picture that was saved as RGB; VOI does not apply to colour (PS3.3 C.11.2)."""
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    if not (np.array_equal(red, green) and np.array_equal(red, blue)):
        raise RejectedImageError("color", "the three channels differ")
    bits = 8 * pixels.dtype.itemsize
    if bits == 8:
        return np.ascontiguousarray(red), bits
    scaled = red.astype(np.float64) * (255.0 / float((1 << bits) - 1))
    return np.floor(scaled + 0.5).astype(np.uint8), bits
