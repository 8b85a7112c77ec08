"""The 2-D image operations of 2019 as frozen values that work on one image.

An image is an array (H, W, channel), blue first where it has colour, as OpenCV had it; uint8 until
it is normalised. `hilum.zoo.preprocessing` turns those that a training run needs into the steps of
`hilum.preprocessing`, which work on batches and are the ones that a model takes along.

Names, order of arguments and defaults are those of 2019, e.g. the width first in crops.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from hilum.errors import require
from hilum.preprocessing import CenterCrop, Resize

__all__ = [
    "Image",
    "ImageAspectScale",
    "ImageCenterCrop",
    "ImageExpand",
    "ImageFiller",
    "ImageFixedCrop",
    "ImageHFlip",
    "ImageMirror",
    "ImageRandomAspectScale",
    "ImageRandomCrop",
    "ImageRandomCropper",
    "ImageRandomPreprocessing",
    "ImageRandomResize",
    "ImageResize",
    "Operation",
]

Image = npt.NDArray[Any]
"""(H, W, channel), B, G, R; uint8 or float32."""


class Operation(Protocol):
    """What every operation can do."""

    def apply(self, image: Any, rng: np.random.Generator) -> Any:
        """Return the changed image; the one given stays as it is."""
        ...


@dataclass(frozen=True, slots=True)
class ImageResize:
    """Resize to exactly this size; bilinear and anti-aliased, whatever the mode says."""

    resize_h: int
    resize_w: int
    resize_mode: int = 1
    use_scale_factor: bool = True

    def apply(self, image: Image, rng: np.random.Generator) -> Image:
        """Return (resize_h, resize_w, channel)."""
        return resized(image, self.resize_h, self.resize_w)


@dataclass(frozen=True, slots=True)
class ImageAspectScale:
    """Resize so that the short side has `min_size` pixels, the long one at most `max_size`."""

    min_size: int
    scale_multiple_of: int = 1
    max_size: int = 1000
    resize_mode: int = 1
    use_scale_factor: bool = True
    min_scale: float = -1.0

    def apply(self, image: Image, rng: np.random.Generator) -> Image:
        """Return an image of about the same aspect ratio; sides are multiples as asked."""
        short, long = sorted(image.shape[:2])
        scale = self.min_size / short
        if round(scale * long) > self.max_size:
            scale = self.max_size / long
        scale = max(scale, self.min_scale)
        sides = [max(1, round(side * scale)) for side in image.shape[:2]]
        multiple = self.scale_multiple_of
        height, width = (max(multiple, side // multiple * multiple) for side in sides)
        return resized(image, height, width)


@dataclass(frozen=True, slots=True)
class ImageRandomAspectScale:
    """`ImageAspectScale` to one of several sizes."""

    scales: Sequence[int]
    scale_multiple_of: int = 1
    max_size: int = 1000

    def apply(self, image: Image, rng: np.random.Generator) -> Image:
        """Return an image of about the same aspect ratio."""
        size = int(rng.choice(list(self.scales)))
        return ImageAspectScale(size, self.scale_multiple_of, self.max_size).apply(image, rng)


@dataclass(frozen=True, slots=True)
class ImageRandomResize:
    """Resize to a square of a random side, both bounds included."""

    min_size: int
    max_size: int

    def apply(self, image: Image, rng: np.random.Generator) -> Image:
        """Return a square image."""
        side = int(rng.integers(self.min_size, self.max_size + 1))
        return resized(image, side, side)


@dataclass(frozen=True, slots=True)
class ImageCenterCrop:
    """Cut the middle out. The width comes first; `is_clip` has no effect.

    An image that is too small is an error; in 2019 it came out smaller and failed later.
    """

    crop_width: int
    crop_height: int
    is_clip: bool = True

    def apply(self, image: Image, rng: np.random.Generator) -> Image:
        """Return (crop_height, crop_width, channel)."""
        crop = CenterCrop(self.crop_height, self.crop_width)
        return _as_image(crop(_as_batch(image)))


@dataclass(frozen=True, slots=True)
class ImageRandomCrop:
    """Cut a part out at a random place. The width comes first; `is_clip` has no effect."""

    crop_width: int
    crop_height: int
    is_clip: bool = True

    def apply(self, image: Image, rng: np.random.Generator) -> Image:
        """Return (crop_height, crop_width, channel)."""
        height, width = image.shape[:2]
        fits = self.crop_height <= height and self.crop_width <= width
        require(fits, "crop", f"within {width} x {height}", (self.crop_width, self.crop_height))
        top = int(rng.integers(height - self.crop_height + 1))
        left = int(rng.integers(width - self.crop_width + 1))
        return image[top : top + self.crop_height, left : left + self.crop_width]


@dataclass(frozen=True, slots=True)
class ImageRandomCropper:
    """Cut a part out, "Random" or "Center", and with `mirror` flip half of the images."""

    crop_width: int
    crop_height: int
    mirror: bool
    cropper_method: str = "Random"
    channels: int = 3

    def apply(self, image: Image, rng: np.random.Generator) -> Image:
        """Return (crop_height, crop_width, channel)."""
        method, size = self.cropper_method.lower(), (self.crop_width, self.crop_height)
        known = method in ("random", "center")
        require(known, "cropper_method", "Random or Center", self.cropper_method)
        crop = ImageRandomCrop(*size) if method == "random" else ImageCenterCrop(*size)
        cut = crop.apply(image, rng)
        return cut[:, ::-1] if self.mirror and rng.random() < 0.5 else cut


@dataclass(frozen=True, slots=True)
class ImageFixedCrop:
    """Cut a fixed part out, in pixels or, `normalized`, in shares of the sides."""

    x1: float
    y1: float
    x2: float
    y2: float
    normalized: bool = True
    is_clip: bool = True

    def apply(self, image: Image, rng: np.random.Generator) -> Image:
        """Return the part; `is_clip` cuts a box that reaches over the edge, else it is an error."""
        height, width = image.shape[:2]
        factor = (width, height) if self.normalized else (1, 1)
        left, right = (round(x * factor[0]) for x in (self.x1, self.x2))
        top, bottom = (round(y * factor[1]) for y in (self.y1, self.y2))
        if self.is_clip:
            left, right = max(0, left), min(width, right)
            top, bottom = max(0, top), min(height, bottom)
        inside = 0 <= left < right <= width and 0 <= top < bottom <= height
        require(inside, "crop", f"a box within {width} x {height}", (left, top, right, bottom))
        return image[top:bottom, left:right]


@dataclass(frozen=True, slots=True)
class ImageHFlip:
    """Mirror left and right; `ImageRandomPreprocessing(ImageHFlip(), 0.5)` half of the images."""

    def apply(self, image: Image, rng: np.random.Generator) -> Image:
        """Return the mirrored image."""
        return image[:, ::-1]


@dataclass(frozen=True, slots=True)
class ImageMirror:
    """Mirror left and right, and top and bottom."""

    def apply(self, image: Image, rng: np.random.Generator) -> Image:
        """Return the image turned by 180 degrees."""
        return image[::-1, ::-1]


@dataclass(frozen=True, slots=True)
class ImageExpand:
    """Put the image somewhere on a larger canvas of one colour, as SSD does."""

    means_r: int = 123
    means_g: int = 117
    means_b: int = 104
    min_expand_ratio: float = 1.0
    max_expand_ratio: float = 4.0

    def apply(self, image: Image, rng: np.random.Generator) -> Image:
        """Return the canvas with the image on it."""
        height, width, channels = image.shape
        ratio = rng.uniform(self.min_expand_ratio, self.max_expand_ratio)
        tall, wide = int(height * ratio), int(width * ratio)
        colour = (self.means_b, self.means_g, self.means_r)[:channels]
        canvas = np.empty((tall, wide, channels), image.dtype)
        canvas[:] = colour
        top, left = int(rng.integers(tall - height + 1)), int(rng.integers(wide - width + 1))
        canvas[top : top + height, left : left + width] = image
        return canvas


@dataclass(frozen=True, slots=True)
class ImageFiller:
    """Fill a box, in shares of the sides, with one value."""

    start_x: float
    start_y: float
    end_x: float
    end_y: float
    value: int = 255

    def apply(self, image: Image, rng: np.random.Generator) -> Image:
        """Return the image with the box."""
        height, width = image.shape[:2]
        filled = image.copy()
        rows = slice(round(self.start_y * height), round(self.end_y * height))
        filled[rows, round(self.start_x * width) : round(self.end_x * width)] = self.value
        return filled


@dataclass(frozen=True, slots=True)
class ImageRandomPreprocessing:
    """Apply an operation to each image with probability `prob`."""

    preprocessing: Operation
    prob: float

    def __post_init__(self) -> None:
        require(0 <= self.prob <= 1, "prob", "between 0 and 1", self.prob)

    def apply(self, image: Any, rng: np.random.Generator) -> Any:
        """Return the image, changed or not."""
        return self.preprocessing.apply(image, rng) if rng.random() < self.prob else image


def resized(image: Image, height: int, width: int) -> Image:
    """Resize an image with the arithmetic of `hilum.preprocessing.Resize`."""
    return _as_image(Resize(height, width)(_as_batch(image)))


def _as_batch(image: Image) -> torch.Tensor:
    own = np.require(image, requirements=["C", "W"])  # a row of Spark cannot be written to
    return torch.from_numpy(own).permute(2, 0, 1)[None]


def _as_image(batch: torch.Tensor) -> Image:
    return np.ascontiguousarray(batch[0].permute(1, 2, 0).numpy())
