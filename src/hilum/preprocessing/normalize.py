"""Normalisation: from grey levels 0..255 to the numbers a network was trained on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from hilum.errors import require
from hilum.preprocessing.transform import Shape, image_shape

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "ChannelNormalize"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Mean of ImageNet's training pictures, R, G, B, in units where white is 1 (torchvision's)."""
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Standard deviation in the same units."""


@dataclass(frozen=True, slots=True)
class ChannelNormalize:
    """(x / 255 - mean) / std per channel, as float32.

    `mean` and `std` are in units where white (255) is 1, one number per channel. The result lies
    in memory as channels_last, the layout in which convolutions are fastest on CPUs and GPUs.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    cacheable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        # Lists are welcome, but only tuples hash.
        for name, values in (("mean", self.mean), ("std", self.std)):
            require(isinstance(values, Sequence), name, "a sequence, one number a channel", values)
            object.__setattr__(self, name, tuple(float(value) for value in values))
        require(
            len(self.mean) == len(self.std) > 0,
            "std",
            f"as long as mean, which has {len(self.mean)} channels",
            self.std,
        )
        require(
            all(0 <= mean <= 1 for mean in self.mean),
            "mean",
            "between 0 (black) and 1 (white)",
            self.mean,
            hint="divide means in grey levels 0..255 by 255",
        )
        require(
            all(0 < std < float("inf") for std in self.std),
            "std",
            "positive",
            self.std,
            hint="std 1/255 leaves differences in grey levels, as the 2019 paper's chain did",
        )

    def __call__(self, images: Tensor) -> Tensor:
        """Normalise a batch (N, C, H, W) in grey units 0..255; float32 of the same shape."""
        channels, height, width = self.output_shape(image_shape(images))
        pixels = _new_pixels((len(images), height, width, channels), images.device)
        for channel in range(channels):
            pixels[..., channel].copy_(images[:, channel])
        # One multiply and one add over whole rows: a row repeats the channels' constants.
        scale = torch.tensor([1 / (255 * std) for std in self.std], device=images.device)
        shift = torch.tensor(
            [-mean / std for mean, std in zip(self.mean, self.std, strict=True)],
            device=images.device,
        )
        rows = pixels.view(len(images) * height, width * channels)
        rows.mul_(scale.repeat(width)).add_(shift.repeat(width))
        return pixels.permute(0, 3, 1, 2)

    def output_shape(self, shape: Shape) -> Shape:
        """Return the same shape; its channels must be as many as the means."""
        require(
            shape[0] == len(self.mean),
            "images",
            f"of {len(self.mean)} channel(s), one for each mean of ChannelNormalize",
            f"{shape[0]} channel(s)",
            hint="put GreyToRGB() before ChannelNormalize for grey images and three means"
            if shape[0] == 1
            else f"give {shape[0]} means and standard deviations",
        )
        return shape


def _new_pixels(shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Allocate float32 pixels; the largest block a chain makes, and fresh for each batch.

    NumPy asks Linux for huge pages, torch does not: with small ones the page faults alone took
    longer than the arithmetic. (Where freed memory is kept, both are equal.)
    """
    if device.type == "cpu":
        return torch.from_numpy(np.empty(shape, np.float32))
    return torch.empty(shape, dtype=torch.float32, device=device)
