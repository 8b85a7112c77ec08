"""Deterministic steps that change size or channels, never brightness."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from hilum.errors import InvalidValueError
from hilum.preprocessing.transform import Shape, image_shape, require_size

__all__ = ["CenterCrop", "GreyToRGB", "Resize", "require_crop_fits"]


@dataclass(frozen=True, slots=True)
class Resize:
    """Resize to exactly `height` x `width` pixels, bilinear and anti-aliased.

    When shrinking, the triangle filter spans all source pixels, as Pillow's BILINEAR does and
    OpenCV's INTER_LINEAR does not, so that fine structure averages instead of aliasing. uint8 in
    gives uint8 out, rounded to the nearest grey level; mean brightness stays. Devices agree to
    one grey level.
    """

    height: int
    width: int
    cacheable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_size(self.height, self.width)

    def __call__(self, images: Tensor) -> Tensor:
        """Resize a batch (N, C, H, W) to (N, C, height, width)."""
        image_shape(images)
        size = (self.height, self.width)
        if images.shape[2:] == size:
            return images
        # On the CPU, torch resizes uint8 with Pillow's own fixed-point arithmetic, a little
        # faster than Pillow for the usual 1024 -> 256; other devices have no uint8 kernel.
        if images.dtype != torch.uint8 or images.device.type == "cpu":
            return F.interpolate(images, size, mode="bilinear", antialias=True)
        resized = F.interpolate(images.float(), size, mode="bilinear", antialias=True)
        return resized.round_().clamp_(0, 255).to(torch.uint8)

    def output_shape(self, shape: Shape) -> Shape:
        """Return (C, height, width)."""
        return shape[0], self.height, self.width


@dataclass(frozen=True, slots=True)
class CenterCrop:
    """Cut `height` x `width` pixels from the middle, where torchvision cuts them; a view.

    An image smaller than the crop is an error: nothing is padded or clipped.
    """

    height: int
    width: int
    cacheable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_size(self.height, self.width)

    def __call__(self, images: Tensor) -> Tensor:
        """Crop a batch (N, C, H, W) to (N, C, height, width)."""
        shape = image_shape(images)
        self.output_shape(shape)
        # Python's round (half to even) is what torchvision.transforms.CenterCrop uses.
        top, left = round((shape[1] - self.height) / 2), round((shape[2] - self.width) / 2)
        return images[:, :, top : top + self.height, left : left + self.width]

    def output_shape(self, shape: Shape) -> Shape:
        """Return (C, height, width)."""
        require_crop_fits(self.height, self.width, shape)
        return shape[0], self.height, self.width


@dataclass(frozen=True, slots=True)
class GreyToRGB:
    """Repeat the one grey channel three times, as a view: no pixel is copied.

    For networks pretrained on colour pictures. Not cacheable, as it would store each pixel thrice.
    """

    cacheable: ClassVar[bool] = False

    def __call__(self, images: Tensor) -> Tensor:
        """Expand a batch (N, 1, H, W) to (N, 3, H, W)."""
        self.output_shape(image_shape(images))
        return images.expand(-1, 3, -1, -1)

    def output_shape(self, shape: Shape) -> Shape:
        """Return (3, H, W)."""
        if shape[0] != 1:
            raise InvalidValueError(
                f"images must have 1 channel for GreyToRGB. Got {shape[0]} channels. "
                "Hint: leave GreyToRGB out if the images already have three."
            )
        return 3, shape[1], shape[2]


def require_crop_fits(height: int, width: int, shape: Shape) -> None:
    """Raise unless an image of `shape` holds a crop of `height` x `width`."""
    if height > shape[1] or width > shape[2]:
        raise InvalidValueError(
            f"crop must not be larger than the image. Got a crop of {height} x {width} "
            f"(height x width) and images of {shape[1]} x {shape[2]}. "
            f"Hint: put Resize({max(height, shape[1])}, {max(width, shape[2])}) before it, "
            "or crop less."
        )
