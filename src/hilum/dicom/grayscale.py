"""The greyscale pipeline of DICOM: stored values to what a display shows, as 8-bit grey.

Order (PS3.4 N.2): modality (LUT or rescale), VOI (LUT or window), presentation. The whole chain
is a function of one stored value, so it is evaluated once per possible value in float64, rounded
to nearest, and looked up per pixel: exact, and as fast as a gather.

Without a VOI the full range the stored bits can express is mapped linearly to 0..255, not the
range found in this image: two exposures stay comparable and nothing is brightened.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from hilum.dicom.header import floats, item, text
from hilum.dicom.stored import StoredPixels
from hilum.errors import RejectedImageError

__all__ = ["LookupTable", "Rescale", "Window", "display_pixels"]

Float = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescale:
    """Modality transform by slope and intercept (PS3.3 C.11.1.1.2)."""

    slope: float = 1.0
    intercept: float = 0.0

    def __call__(self, stored: Float) -> Float:
        """Return modality values."""
        return stored * self.slope + self.intercept


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupTable:
    """A LUT (PS3.3 C.11.1.1.1): inputs below and above take its first and last entry.

    `top` is the highest output its declared depth can express.
    """

    entries: Float
    first: int
    top: float

    def __call__(self, values: Float) -> Float:
        """Return the entry each value maps to."""
        index = np.rint(values).astype(np.int64) - self.first
        return self.entries[np.clip(index, 0, len(self.entries) - 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A VOI window (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""

    center: float
    width: float
    function: str = "LINEAR"

    def __call__(self, values: Float) -> Float:
        """Return display values in [0, 1]."""
        if self.function == "SIGMOID":
            with np.errstate(over="ignore"):
                return 1.0 / (1.0 + np.exp(-4.0 * (values - self.center) / self.width))
        if self.function == "LINEAR_EXACT":
            return np.clip((values - self.center) / self.width + 0.5, 0.0, 1.0)
        if self.width == 1.0:  # a threshold, and 0 / 0 in the formula
            return np.where(values > self.center - 0.5, 1.0, 0.0)
        return np.clip((values - (self.center - 0.5)) / (self.width - 1.0) + 0.5, 0.0, 1.0)


def display_pixels(
    stored: StoredPixels, dataset: Dataset, photometric: str, warnings: list[str]
) -> npt.NDArray[np.uint8]:
    """Return what a display shows, shape (H, W): low X-ray absorption dark, bone bright.

    Raises:
        RejectedImageError: corrupt, when the modality LUT cannot be read.
    """
    modality = _modality_transform(dataset, stored.signed, warnings)
    low, high = _modality_range(modality, stored)
    voi = _voi_transform(dataset, warnings, signed=low < 0.0)
    inverted = _is_inverted(dataset, photometric, warnings)
    if voi is None and _range_mostly_unused(stored):
        warnings.append("range_mostly_unused")

    def render(values: Float) -> npt.NDArray[np.uint8]:
        values = modality(values)
        if isinstance(voi, LookupTable):
            shown = voi(values) / voi.top
        elif voi is not None:
            shown = voi(values)
        else:
            shown = (values - low) / (high - low)
        shown = np.clip(shown, 0.0, 1.0)
        # Inversion comes after VOI: a window is given in values, not in shades.
        shown = 1.0 - shown if inverted else shown
        return np.floor(shown * 255.0 + 0.5).astype(np.uint8)

    return _per_value(render, stored.values)


def _per_value(
    render: Callable[[Float], npt.NDArray[np.uint8]], values: npt.NDArray[np.integer]
) -> npt.NDArray[np.uint8]:
    low, high = min(int(values.min()), 0), int(values.max())
    if high - low >= 1 << 17:  # more than 16 bits: the table would be larger than the image
        return render(values.astype(np.float64))
    table = render(np.arange(low, high + 1, dtype=np.float64))
    return np.take(table, values.astype(np.intp) - low)


def _range_mostly_unused(stored: StoredPixels) -> bool:
    """Tell whether the image has less than an eighth of its range: shown as it is, but nearly flat.

    Such as 12-bit values with Bits Stored 16 and no window.
    """
    lowest, highest = stored.limits
    return int(stored.values.max()) - lowest < (highest - lowest) / 8


def _modality_range(modality: Rescale | LookupTable, stored: StoredPixels) -> tuple[float, float]:
    if isinstance(modality, LookupTable):
        return 0.0, modality.top
    ends = modality(np.array(stored.limits, dtype=np.float64))
    return float(ends.min()), float(ends.max())


def _modality_transform(
    dataset: Dataset, signed: bool, warnings: list[str]
) -> Rescale | LookupTable:
    lut_item = item(dataset, "ModalityLUTSequence")
    if lut_item is not None:
        table = _lookup_table(lut_item, signed=signed)
        if table is None:
            raise RejectedImageError("corrupt", "the modality LUT cannot be read")
        return table
    slopes, intercepts = floats(dataset, "RescaleSlope"), floats(dataset, "RescaleIntercept")
    if slopes == [] or intercepts == []:
        warnings.append("rescale_empty")
    if slopes and slopes[0] == 0.0:
        warnings.append("rescale_slope_zero")
        slopes = None
    return Rescale(
        slope=slopes[0] if slopes else 1.0, intercept=intercepts[0] if intercepts else 0.0
    )


def _voi_transform(
    dataset: Dataset, warnings: list[str], *, signed: bool
) -> Window | LookupTable | None:
    """Return the first VOI LUT, else the first window; both are views the sender meant.

    pydicom and highdicom prefer the LUT too: it is the more deliberate of the two.
    """
    lut_item = item(dataset, "VOILUTSequence")
    if lut_item is not None:
        table = _lookup_table(lut_item, signed=signed)
        if table is not None:
            return table
        warnings.append("voi_lut_invalid")
    centers, widths = floats(dataset, "WindowCenter"), floats(dataset, "WindowWidth")
    if centers is None or widths is None:
        return None
    if not centers or not widths:
        warnings.append("window_empty")
        return None
    return _window(centers[0], widths[0], text(dataset, "VOILUTFunction"), warnings)


def _window(
    center: float, width: float, function: str | None, warnings: list[str]
) -> Window | None:
    function = (function or "LINEAR").upper()
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        warnings.append("voi_function_unknown")
        function = "LINEAR"
    if width == 0.0:
        warnings.append("window_width_zero")
        return None
    if width < 0.0 or (function == "LINEAR" and width < 1.0):
        warnings.append("window_width_invalid")
        return None
    return Window(center=center, width=width, function=function)


def _is_inverted(dataset: Dataset, photometric: str, warnings: list[str]) -> bool:
    """Tell whether the highest value is shown black.

    MONOCHROME1 says so, and so does Presentation LUT Shape INVERSE (PS3.3 C.11.6.1.2); together
    they mean it once. MONOCHROME1 with IDENTITY contradicts itself: the photometric interpretation
    wins, because it is what every writer must set, and devices are known to lie in the other.
    """
    shape = (text(dataset, "PresentationLUTShape") or "").upper()
    monochrome1 = photometric == "MONOCHROME1"
    if shape == ("IDENTITY" if monochrome1 else "INVERSE"):
        warnings.append("presentation_lut_conflict")
    return monochrome1 or shape == "INVERSE"


def _lookup_table(lut_item: Dataset, *, signed: bool) -> LookupTable | None:
    """Read LUT Descriptor and LUT Data (PS3.3 C.11.1.1.1); None if they make no sense."""
    descriptor = floats(lut_item, "LUTDescriptor") or []
    if len(descriptor) != 3:
        return None
    count, first, bits = (int(number) for number in descriptor)
    count = count or 1 << 16
    if signed and first >= 1 << 15:  # written as US, meant as SS
        first -= 1 << 16
    try:
        entries = _lut_entries(lut_item, count)
    except Exception:
        return None
    if len(entries) < count or not 8 <= bits <= 16:
        return None
    return LookupTable(entries=entries[:count], first=first, top=float((1 << bits) - 1))


def _lut_entries(lut_item: Dataset, count: int) -> Float:
    data = lut_item["LUTData"].value
    if not isinstance(data, bytes):
        return np.atleast_1d(np.asarray(data, dtype=np.float64))
    if len(data) < 2 * count:  # 8-bit entries, one per byte
        return np.frombuffer(data, np.uint8).astype(np.float64)
    little_endian = lut_item.original_encoding[1] is not False
    return np.frombuffer(data[: 2 * count], "<u2" if little_endian else ">u2").astype(np.float64)
