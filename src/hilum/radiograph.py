"""A decoded radiograph: pixels and what is known about the image; and why images are refused."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

__all__ = ["REASONS", "Radiograph"]

REASONS: dict[str, str] = {
    "empty": "the file has 0 bytes",
    "not_an_image": "the first bytes are those of no image format Hilum reads (PNG, JPEG, DICOM)",
    "truncated": "the file ends before its pixels do",
    "corrupt": "the pixel data cannot be decoded",
    "too_large": "the header announces more pixels than the limit, or the file has 2 GiB or more",
    "unsupported_syntax": "the DICOM transfer syntax has no decoder here",
    "missing_tag": "a DICOM attribute needed to interpret the pixels is absent",
    "no_pixels": "a DICOM object without pixel data (DICOMDIR, report, presentation state)",
    "multi_frame": "more than one frame; a radiograph has one",
    "color": "a colour picture (screenshot, photograph), not a radiograph",
    "wrong_modality": "not a projection radiograph (modality other than CR, DX, RG, SC, OT)",
    "bad_weight": "the row's weight is null, negative or not a finite number",
    "unreadable": "the storage system did not deliver the bytes",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Radiograph:
    """One image, ready to look at: air is dark, bone is bright.

    Attributes:
        pixels: uint8, shape (H, W). The full display range of the source is mapped linearly to
            0..255; nothing is stretched, equalised or gamma-corrected.
        source_format: "png", "jpeg" or "dicom".
        source_bits: significant bits per sample in the source (8, 12, 15, 16 ...).
        warnings: what was tolerated, as short codes ("window_width_zero", "bits_stored_too_small").
        Others: from the DICOM header where present, else None. `patient_id` is as stored.
    """

    pixels: npt.NDArray[np.uint8]
    source_format: str
    source_bits: int = 8
    view: str | None = None
    modality: str | None = None
    patient_id: str | None = None
    age_years: float | None = None
    sex: str | None = None
    sop_instance_uid: str | None = None
    transfer_syntax: str | None = None
    warnings: tuple[str, ...] = field(default=())
