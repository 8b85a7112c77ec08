"""What a preprocessing step is: two protocols, and the check every step makes of its batch.

Steps take and return whole batches, shape (N, C, H, W), uint8 or floating in grey units
0..255, on any device. A step never writes to its input; it may return a view of it.
"""

from typing import ClassVar, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor

from hilum.errors import require

__all__ = ["RandomTransform", "Shape", "Step", "Transform", "image_shape", "require_size"]

Shape: TypeAlias = tuple[int, int, int]
"""(channels, height, width) of one image."""


@runtime_checkable
class Transform(Protocol):
    """A deterministic step: the same pixels always give the same pixels.

    Attributes:
        cacheable: the output is worth storing instead of the input: still uint8, not inflated.
    """

    cacheable: ClassVar[bool]

    def __call__(self, images: Tensor) -> Tensor:
        """Transform a batch (N, C, H, W)."""
        ...

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of one image after this step, or raise if the step cannot take it."""
        ...


@runtime_checkable
class RandomTransform(Protocol):
    """A random step as a pure function: its randomness comes in as numbers.

    Attributes:
        num_draws: uniform numbers needed per image.
    """

    num_draws: ClassVar[int]

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Transform a batch (N, C, H, W).

        Args:
            images: the batch, on any device.
            draws: float32 (N, num_draws) in [0, 1), in host memory: what is decided per image is
                then the same on every device, and an accelerator never waits for it.
        """
        ...

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of one image after this step, or raise if the step cannot take it."""
        ...

    def evaluation(self) -> Transform | None:
        """Return the deterministic step that stands in outside training, None for no step."""
        ...


Step: TypeAlias = Transform | RandomTransform


def image_shape(images: Tensor) -> Shape:
    """Check that `images` is a batch a step can take, and return the shape of one image."""
    require(
        images.ndim == 4 and len(images) > 0,
        "images",
        "a batch of shape (N, C, H, W) with at least one image",
        tuple(images.shape),
        hint="a single grey image of shape (H, W) becomes a batch with images[None, None]",
    )
    require(
        images.dtype == torch.uint8 or images.is_floating_point(),
        "images",
        "uint8 or floating, in grey units 0..255",
        images.dtype,
    )
    return images.shape[1], images.shape[2], images.shape[3]


def require_size(height: int, width: int) -> None:
    """Check the target size of a resize or crop."""
    for name, value in (("height", height), ("width", width)):
        holds = isinstance(value, int) and not isinstance(value, bool) and value > 0
        require(holds, name, "a positive whole number of pixels", value)
