"""Ways a radiograph comes out worse, graded from slight to severe; pure and seeded.

Sizes are relative to the image, so that a 320-pixel and a 3000-pixel radiograph suffer alike.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from PIL import Image

from hilum.errors import require

__all__ = ["PERTURBATIONS", "Perturbation"]

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Perturbation:
    """A way to change radiographs, in several strengths.

    Attributes:
        name: in words.
        unit: of the levels.
        levels: from slight to severe, in that unit.
        change: (pixels, level, seed) to pixels; uint8 (H, W) to uint8, not always the same size.
    """

    name: str
    unit: str
    levels: tuple[float, ...]
    change: Callable[[Pixels, float, int], Pixels]

    def __call__(self, pixels: Pixels, level: float, *, seed: int = 0) -> Pixels:
        """Return a changed copy of a grey image, uint8 (H, W)."""
        good = pixels.ndim == 2 and pixels.dtype == np.uint8
        require(good, "pixels", "uint8 (H, W)", (pixels.dtype, pixels.shape))
        return self.change(pixels, level, seed)


def _noise(pixels: Pixels, level: float, seed: int) -> Pixels:
    drawn = np.random.default_rng(seed).normal(0.0, level, pixels.shape)
    return _grey(pixels + drawn)


def _blur(pixels: Pixels, level: float, seed: int) -> Pixels:
    from scipy.ndimage import gaussian_filter

    sigma_px = level / 100 * min(pixels.shape)
    return _grey(gaussian_filter(pixels.astype(np.float32), sigma_px, mode="nearest"))


def _contrast(pixels: Pixels, level: float, seed: int) -> Pixels:
    mean = float(pixels.mean())
    return _grey(mean + (pixels - mean) * (level / 100))


def _rotation(pixels: Pixels, level: float, seed: int) -> Pixels:
    # Left or right by the seed; the corners that come free are black, as outside the beam.
    sign = 1 if np.random.default_rng(seed).random() < 0.5 else -1
    turned = Image.fromarray(pixels).rotate(sign * level, Image.Resampling.BILINEAR)
    return np.array(turned)


def _crop(pixels: Pixels, level: float, seed: int) -> Pixels:
    rows, columns = (round(level / 100 * extent) for extent in pixels.shape)
    height, width = pixels.shape
    return np.ascontiguousarray(pixels[rows : height - rows, columns : width - columns])


def _jpeg(pixels: Pixels, level: float, seed: int) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=int(level))
    return np.array(Image.open(file))


def _inversion(pixels: Pixels, level: float, seed: int) -> Pixels:
    return 255 - pixels


def _resolution(pixels: Pixels, level: float, seed: int) -> Pixels:
    height, width = pixels.shape
    factor = min(1.0, level / min(height, width))  # a smaller image has no more to lose
    small = (max(1, round(width * factor)), max(1, round(height * factor)))
    image = Image.fromarray(pixels).resize(small, Image.Resampling.BOX)
    return np.array(image.resize((width, height), Image.Resampling.BILINEAR))


def _grey(values: npt.NDArray[np.floating]) -> Pixels:
    pixels: Pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return pixels


def _table(*entries: Perturbation) -> Mapping[str, Perturbation]:
    return MappingProxyType({entry.name: entry for entry in entries})


PERTURBATIONS: Mapping[str, Perturbation] = _table(
    Perturbation(
        name="noise", unit="grey levels (sd)", levels=(5.0, 10.0, 20.0, 40.0), change=_noise
    ),
    Perturbation(
        name="blur", unit="% of the side (sigma)", levels=(0.25, 0.5, 1.0, 2.0), change=_blur
    ),
    Perturbation(name="contrast", unit="% kept", levels=(75.0, 50.0, 25.0, 10.0), change=_contrast),
    Perturbation(name="rotation", unit="degrees", levels=(5.0, 10.0, 20.0, 45.0), change=_rotation),
    Perturbation(
        name="crop", unit="% of each edge cut", levels=(2.5, 5.0, 10.0, 20.0), change=_crop
    ),
    Perturbation(
        name="JPEG compression", unit="quality", levels=(75.0, 50.0, 25.0, 10.0), change=_jpeg
    ),
    Perturbation(
        name="resolution",
        unit="pixels a side",
        levels=(192.0, 128.0, 64.0, 32.0),
        change=_resolution,
    ),
    Perturbation(name="inversion", unit="black for white", levels=(1.0,), change=_inversion),
)
