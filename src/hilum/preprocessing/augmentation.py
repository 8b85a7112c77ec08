"""Random steps: pure functions of a batch and of uniform numbers, one row of numbers per image.

They keep uint8 as it is, since bytes move four times faster than floats, and decide per image on
the host (see `RandomTransform`).
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from hilum.errors import require
from hilum.preprocessing.geometry import CenterCrop, require_crop_fits
from hilum.preprocessing.transform import Shape, image_shape, require_size

__all__ = ["RandomBrightness", "RandomCrop", "RandomHorizontalFlip", "RandomRotation"]

_IMAGES_PER_GRID = 8  # sampling grids of a whole batch would not fit into a CPU's caches


@dataclass(frozen=True, slots=True)
class RandomCrop:
    """Cut `height` x `width` pixels at a uniformly random place; evaluation cuts the middle."""

    height: int
    width: int
    num_draws: ClassVar[int] = 2

    def __post_init__(self) -> None:
        require_size(self.height, self.width)

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Crop a batch (N, C, H, W) to (N, C, height, width); draws are (top, left)."""
        shape = image_shape(images)
        self.output_shape(shape)
        _require_draws(draws, len(images), self.num_draws)
        places = draws * torch.tensor([shape[1] - self.height + 1, shape[2] - self.width + 1])
        return torch.stack(
            [
                image[:, top : top + self.height, left : left + self.width]
                for image, (top, left) in zip(images, places.int().tolist(), strict=True)
            ]
        )

    def output_shape(self, shape: Shape) -> Shape:
        """Return (C, height, width)."""
        require_crop_fits(self.height, self.width, shape)
        return shape[0], self.height, self.width

    def evaluation(self) -> CenterCrop:
        """Return the centre crop of the same size."""
        return CenterCrop(self.height, self.width)


@dataclass(frozen=True, slots=True)
class RandomHorizontalFlip:
    """Mirror left and right with `probability`; nothing in evaluation."""

    probability: float
    num_draws: ClassVar[int] = 1

    def __post_init__(self) -> None:
        _require_probability(self.probability)

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Mirror some images of a batch (N, C, H, W)."""
        image_shape(images)
        _require_draws(draws, len(images), self.num_draws)
        chosen = (draws[:, 0] < self.probability).tolist()
        pairs = zip(images, images.flip(3), chosen, strict=True)
        return torch.stack([mirrored if flip else image for image, mirrored, flip in pairs])

    def output_shape(self, shape: Shape) -> Shape:
        """Return the same shape."""
        return shape

    def evaluation(self) -> None:
        """Return None: evaluation sees the image as it is."""


@dataclass(frozen=True, slots=True)
class RandomBrightness:
    """With `probability`, add one value between `low` and `high` to all pixels of an image.

    In grey levels of 0..255, rounded to a whole level, saturating at 0 and 255: the semantics of
    the 2019 stack's ImageBrightness (OpenCV's convertTo on bytes), where (0, 32) only brightens.
    Nothing in evaluation.
    """

    probability: float
    low: float
    high: float
    num_draws: ClassVar[int] = 2

    def __post_init__(self) -> None:
        _require_probability(self.probability)
        require(
            -255 <= self.low <= self.high <= 255,
            "(low, high)",
            "grey levels between -255 and 255, low not above high",
            (self.low, self.high),
        )

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Brighten or darken some images of a batch (N, C, H, W)."""
        image_shape(images)
        _require_draws(draws, len(images), self.num_draws)
        levels = (self.low + (self.high - self.low) * draws[:, 1]).round()
        shift = torch.where(draws[:, 0] < self.probability, levels, 0.0)
        if images.is_floating_point():
            return (images + _per_image(shift, images)).clamp_(0, 255)
        # Limit first, then add modulo 256: saturation without leaving bytes.
        floor, ceiling = (-shift).clamp(min=0), 255 - shift.clamp(min=0)
        limited = torch.maximum(images, _per_image(floor, images))
        torch.minimum(limited, _per_image(ceiling, images), out=limited)
        return limited.add_(_per_image(shift.remainder(256), images))

    def output_shape(self, shape: Shape) -> Shape:
        """Return the same shape."""
        return shape

    def evaluation(self) -> None:
        """Return None: evaluation sees the image as it is."""


@dataclass(frozen=True, slots=True)
class RandomRotation:
    """With `probability`, rotate about the centre by up to `degrees` either way.

    Bilinear; size stays, what comes in from outside is black (0). Nothing in evaluation.
    """

    degrees: float
    probability: float = 1.0
    num_draws: ClassVar[int] = 2

    def __post_init__(self) -> None:
        _require_probability(self.probability)
        require(0 < self.degrees <= 180, "degrees", "above 0 and at most 180", self.degrees)

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Rotate some images of a batch (N, C, H, W)."""
        image_shape(images)
        _require_draws(draws, len(images), self.num_draws)
        angles = (2 * draws[:, 1] - 1) * math.radians(self.degrees)
        rotated = images.clone()
        all_chosen = (draws[:, 0] < self.probability).nonzero()[:, 0]
        for chosen in torch.split(all_chosen, _IMAGES_PER_GRID):
            rows = chosen.to(images.device)
            grid = _rotation_grid(angles[chosen], images.shape[2], images.shape[3], images.device)
            source = images.index_select(0, rows)
            pixels = F.grid_sample(_as_float(source), grid, align_corners=False)
            if not source.is_floating_point():
                pixels = pixels.round_().to(source.dtype)
            rotated.index_copy_(0, rows, pixels)
        return rotated

    def output_shape(self, shape: Shape) -> Shape:
        """Return the same shape."""
        return shape

    def evaluation(self) -> None:
        """Return None: evaluation sees the image as it is."""


def _rotation_grid(angles: Tensor, height: int, width: int, device: torch.device) -> Tensor:
    """Return where each output pixel comes from: (N, H, W, 2), x and y in -1..1 edge to edge.

    Angles are in radians, counter-clockwise. The rotated x and y axes are kept as complex numbers
    (x + iy), so that one outer sum makes the grid, several times faster than affine_grid.
    """
    angles = angles.to(device)[:, None]
    x = torch.arange(width, device=device) - (width - 1) / 2  # pixels from the centre
    y = torch.arange(height, device=device) - (height - 1) / 2
    to_x, to_y = 2 / width, 2 / height
    cos, sin = angles.cos(), angles.sin()
    rows = torch.complex(cos * x * to_x, sin * x * to_y)
    columns = torch.complex(sin * y * -to_x, cos * y * to_y)
    return torch.view_as_real(rows[:, None, :] + columns[:, :, None])


def _as_float(images: Tensor) -> Tensor:
    return images if images.is_floating_point() else images.float()


def _per_image(values: Tensor, images: Tensor) -> Tensor:
    """Bring one number per image to the images' type and device, ready to broadcast."""
    return values.to(images.dtype).to(images.device)[:, None, None, None]


def _require_probability(probability: float) -> None:
    require(0 <= probability <= 1, "probability", "between 0 and 1", probability)


def _require_draws(draws: Tensor, num_images: int, num_draws: int) -> None:
    require(
        draws.shape == (num_images, num_draws) and draws.device.type == "cpu",
        "draws",
        f"uniform numbers of shape {(num_images, num_draws)} in host memory",
        f"shape {tuple(draws.shape)} on {draws.device}",
        hint="hilum.preprocessing.uniform_draws makes them",
    )
