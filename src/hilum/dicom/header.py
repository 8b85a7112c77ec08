"""Attributes of the header: strict on those that give the pixels a meaning, lenient on the rest.

No message here quotes a value that is text: in a damaged file any element may hold a name.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset

from hilum.errors import RejectedImageError

__all__ = [
    "PixelHeader",
    "floats",
    "frame_count",
    "item",
    "patient_age",
    "patient_sex",
    "read_pixel_header",
    "text",
]

_MAX_AGE_YEARS = 120.0
_UNITS_PER_YEAR = {"Y": 1.0, "": 1.0, "M": 12.0, "W": 365.25 / 7.0, "D": 365.25}


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelHeader:
    """The Image Pixel attributes (PS3.3 C.7.6.3) as they stand in the file."""

    rows: int
    columns: int
    samples: int
    photometric: str
    bits_allocated: int
    bits_stored: int
    signed: bool
    planar: int

    @property
    def native_bytes(self) -> int:
        """Length of the uncompressed pixel data without padding."""
        samples: float = self.samples
        if self.photometric == "YBR_FULL_422":  # PS3.3 C.7.6.3.1.2: two pixels share their chroma
            samples = 2
        return math.ceil(self.rows * self.columns * samples * self.bits_allocated / 8)


def read_pixel_header(dataset: Dataset) -> PixelHeader:
    """Return the Image Pixel attributes.

    (0028,0102) High Bit is not used: PS3.5 8.1.1 fixes it to Bits Stored - 1.

    Raises:
        RejectedImageError: missing_tag (the detail is the keyword), corrupt.
    """
    photometric = text(dataset, "PhotometricInterpretation")
    if photometric is None:
        raise RejectedImageError("missing_tag", "PhotometricInterpretation")
    representation = _whole_number(dataset, "PixelRepresentation")
    header = PixelHeader(
        rows=_whole_number(dataset, "Rows"),
        columns=_whole_number(dataset, "Columns"),
        samples=_whole_number(dataset, "SamplesPerPixel"),
        photometric=photometric,
        bits_allocated=_whole_number(dataset, "BitsAllocated"),
        bits_stored=_whole_number(dataset, "BitsStored"),
        signed=representation == 1,
        planar=_planar_configuration(dataset),
    )
    if header.rows < 1 or header.columns < 1 or representation not in (0, 1):
        raise RejectedImageError("corrupt", "Rows, Columns or PixelRepresentation is impossible")
    if header.bits_allocated not in (1, 8, 16, 32):
        raise RejectedImageError("corrupt", f"BitsAllocated {header.bits_allocated} is impossible")
    return header


def frame_count(dataset: Dataset) -> int:
    """Return Number of Frames; one where absent, empty or 0."""
    return int((floats(dataset, "NumberOfFrames") or [1])[0]) or 1


def text(dataset: Dataset, keyword: str) -> str | None:
    """Return a text attribute without padding, the first of several values; None if unusable."""
    value = _value(dataset, keyword)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        value = value[0] if len(value) else None
    return str(value).strip(" \0") or None if isinstance(value, str) else None


def floats(dataset: Dataset, keyword: str) -> list[float] | None:
    """Return the finite numbers of an attribute: None if absent, [] if empty or unusable."""
    if keyword not in dataset:
        return None
    value = _value(dataset, keyword)
    values = (
        value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else [value]
    )
    try:
        numbers = [float(v) for v in values if v is not None and v != ""]
    except (TypeError, ValueError):
        return []
    return numbers if all(math.isfinite(n) for n in numbers) else []


def item(dataset: Dataset, keyword: str) -> Dataset | None:
    """Return the first item of a sequence; None where there is none."""
    sequence = _value(dataset, keyword)
    if isinstance(sequence, Sequence) and len(sequence) and isinstance(sequence[0], Dataset):
        return sequence[0]
    return None


def patient_age(dataset: Dataset, warnings: list[str]) -> float | None:
    """Return the age in years; None where absent or over 120.

    PS3.5 6.2 wants "062Y", "018M", "003W" or "010D". "62" and "62Y" are met too and read as years.
    """
    stored = text(dataset, "PatientAge")
    if stored is None:
        return None
    match = re.fullmatch(r"(\d{1,4})\s*([YMWD]?)", stored.upper())
    years = int(match[1]) / _UNITS_PER_YEAR[match[2]] if match else math.inf
    if match is None or years > _MAX_AGE_YEARS:
        warnings.append("age_implausible")
        return None
    if not match[2]:
        warnings.append("age_without_unit")
    return years


def patient_sex(dataset: Dataset) -> str | None:
    """Return "M", "F" or "O" (PS3.3 C.7.1.1); None for anything else."""
    sex = (text(dataset, "PatientSex") or "").upper()
    return sex if sex in ("M", "F", "O") else None


def _whole_number(dataset: Dataset, keyword: str) -> int:
    numbers = floats(dataset, keyword)
    if not numbers:
        raise RejectedImageError("missing_tag", keyword)
    if numbers[0] != int(numbers[0]):
        raise RejectedImageError("corrupt", f"{keyword} is not a whole number")
    return int(numbers[0])


def _planar_configuration(dataset: Dataset) -> int:
    """Return Planar Configuration, required only with several samples; 0 is by far the usual."""
    return 1 if floats(dataset, "PlanarConfiguration") == [1.0] else 0


def _value(dataset: Dataset, keyword: str) -> Any:
    """Return a converted value; None where pydicom cannot convert the stored bytes."""
    try:
        return dataset.get(keyword)
    except Exception:
        return None
