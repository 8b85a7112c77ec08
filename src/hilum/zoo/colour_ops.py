"""The operations of 2019 that change an image's colours, and those that normalise them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hilum.errors import require
from hilum.zoo.image_ops import Image

__all__ = [
    "ImageBrightness",
    "ImageChannelNormalize",
    "ImageChannelOrder",
    "ImageChannelScaledNormalizer",
    "ImageColorJitter",
    "ImageContrast",
    "ImageHue",
    "ImagePixelNormalize",
    "ImageSaturation",
    "PerImageNormalize",
]

_MINMAX, _INF, _L1, _L2 = 32, 1, 2, 4  # OpenCV's NormTypes
_HUE_STEPS = 180  # OpenCV's 8-bit hue counts two degrees


@dataclass(frozen=True, slots=True)
class ImageBrightness:
    """Add one value between the bounds to all pixels; bytes are rounded and stay in 0..255."""

    delta_low: float
    delta_high: float

    def apply(self, image: Image, rng: np.random.Generator) -> Image:
        """Return a brighter or darker image."""
        return _saturated(image, image + rng.uniform(self.delta_low, self.delta_high))


@dataclass(frozen=True, slots=True)
class ImageContrast:
    """Multiply all pixels by one value between the bounds; bytes stay in 0..255."""

    delta_low: float
    delta_high: float

    def apply(self, image: Image, rng: np.random.Generator) -> Image:
        """Return an image of another contrast."""
        return _saturated(image, image * rng.uniform(self.delta_low, self.delta_high))


@dataclass(frozen=True, slots=True)
class ImageHue:
    """Turn the hue by a value between the bounds, in OpenCV's steps of two degrees.

    A grey image has no hue and stays as it is.
    """

    delta_low: float
    delta_high: float

    def apply(self, image: Image, rng: np.random.Generator) -> Image:
        """Return an image of other hues."""
        delta = rng.uniform(self.delta_low, self.delta_high)
        return _through_hsv(image, hue_turn=delta / _HUE_STEPS)


@dataclass(frozen=True, slots=True)
class ImageSaturation:
    """Multiply the saturation by a value between the bounds; a grey image stays as it is."""

    delta_low: float
    delta_high: float

    def apply(self, image: Image, rng: np.random.Generator) -> Image:
        """Return an image of stronger or weaker colours."""
        return _through_hsv(image, saturation=rng.uniform(self.delta_low, self.delta_high))


@dataclass(frozen=True, slots=True)
class ImageChannelOrder:
    """Put the channels into a random order; nothing happens to a grey image."""

    def apply(self, image: Image, rng: np.random.Generator) -> Image:
        """Return the image with its channels in another order."""
        return image[..., rng.permutation(image.shape[2])]


@dataclass(frozen=True, slots=True)
class ImageColorJitter:
    """Brightness, contrast, saturation, hue and the order of channels, each with a probability."""

    brightness_prob: float = 0.5
    brightness_delta: float = 32.0
    contrast_prob: float = 0.5
    contrast_lower: float = 0.5
    contrast_upper: float = 1.5
    hue_prob: float = 0.5
    hue_delta: float = 18.0
    saturation_prob: float = 0.5
    saturation_lower: float = 0.5
    saturation_upper: float = 1.5
    random_order_prob: float = 0.0
    shuffle: bool = False

    def apply(self, image: Image, rng: np.random.Generator) -> Image:
        """Return an image of other colours."""
        light, hue = self.brightness_delta, self.hue_delta
        saturation = ImageSaturation(self.saturation_lower, self.saturation_upper)
        steps = [
            (self.brightness_prob, ImageBrightness(-light, light)),
            (self.contrast_prob, ImageContrast(self.contrast_lower, self.contrast_upper)),
            (self.saturation_prob, saturation),
            (self.hue_prob, ImageHue(-hue, hue)),
            (self.random_order_prob, ImageChannelOrder()),
        ]
        order = rng.permutation(len(steps)) if self.shuffle else np.arange(len(steps))
        for at in order:
            probability, step = steps[at]
            if rng.random() < probability:
                image = step.apply(image, rng)
        return image


@dataclass(frozen=True, slots=True)
class ImageChannelNormalize:
    """(x - mean) / std per channel in grey levels 0..255; the arguments are R, G, B."""

    mean_r: float
    mean_g: float
    mean_b: float
    std_r: float = 1.0
    std_g: float = 1.0
    std_b: float = 1.0

    def apply(self, image: Image, rng: np.random.Generator) -> Image:
        """Return float32; a grey image becomes three channels, for it has three means."""
        colour = np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
        mean = np.array([self.mean_b, self.mean_g, self.mean_r], np.float32)
        std = np.array([self.std_b, self.std_g, self.std_r], np.float32)
        return (colour.astype(np.float32) - mean) / std


@dataclass(frozen=True, slots=True)
class ImageChannelScaledNormalizer:
    """(x - mean) * scale per channel; the arguments are R, G, B."""

    mean_r: float
    mean_g: float
    mean_b: float
    scale: float

    def apply(self, image: Image, rng: np.random.Generator) -> Image:
        """Return float32; a grey image becomes three channels."""
        return self.as_normalize().apply(image, rng)

    def as_normalize(self) -> ImageChannelNormalize:
        """The same as a division."""
        require(self.scale > 0, "scale", "above 0", self.scale)
        std = 1 / self.scale
        return ImageChannelNormalize(self.mean_r, self.mean_g, self.mean_b, std, std, std)


@dataclass(frozen=True, slots=True)
class ImagePixelNormalize:
    """Subtract a mean of its own from every pixel and channel."""

    means: Sequence[float] | npt.NDArray[np.float32]

    def apply(self, image: Image, rng: np.random.Generator) -> Image:
        """Return float32; `means` run over rows, columns, then channels."""
        means = np.asarray(self.means, np.float32).reshape(-1)
        require(means.size == image.size, "means", f"{image.size} numbers", means.size)
        return image.astype(np.float32) - means.reshape(image.shape)


@dataclass(frozen=True, slots=True)
class PerImageNormalize:
    """Scale each image by itself: to a range (OpenCV's NORM_MINMAX, 32) or to a norm.

    `norm_type` 1, 2 and 4 make the largest value, the sum or the L2 norm equal to `min`.
    """

    min: float
    max: float
    norm_type: int = _MINMAX

    def apply(self, image: Image, rng: np.random.Generator) -> Image:
        """Return float32."""
        pixels = image.astype(np.float32)
        if self.norm_type == _MINMAX:
            low, high = pixels.min(), pixels.max()
            spread = high - low
            share = (pixels - low) / spread if spread > 0 else np.zeros_like(pixels)
            return (self.min + share * (self.max - self.min)).astype(np.float32)
        norms = {
            _INF: np.abs(pixels).max(),
            _L1: np.abs(pixels).sum(),
            _L2: np.sqrt(np.square(pixels).sum()),
        }
        require(self.norm_type in norms, "norm_type", "32, 1, 2 or 4", self.norm_type)
        norm = norms[self.norm_type]
        return (pixels * (self.min / norm)).astype(np.float32) if norm > 0 else pixels


def _saturated(before: Image, after: Image) -> Image:
    """Bytes stay bytes, as OpenCV's convertTo has it; floats are not limited."""
    if before.dtype == np.uint8:
        return np.clip(np.rint(after), 0, 255).astype(np.uint8)
    return after.astype(before.dtype)


def _through_hsv(image: Image, hue_turn: float = 0.0, saturation: float = 1.0) -> Image:
    from matplotlib.colors import hsv_to_rgb, rgb_to_hsv

    if image.shape[2] == 1:
        return image
    hsv = rgb_to_hsv(image[..., ::-1].astype(np.float64) / 255)
    hsv[..., 0] = (hsv[..., 0] + hue_turn) % 1.0
    hsv[..., 1] = np.clip(hsv[..., 1] * saturation, 0, 1)
    return _saturated(image, 255 * hsv_to_rgb(hsv)[..., ::-1])
