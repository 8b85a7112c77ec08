"""The way back: from the network's input to the pixels of the radiograph it was made from.

Resizes are undone by a resize to the size before, crops by setting the map where it was cut from,
with zeros around it. Steps that only change brightness or channels move nothing.
"""

from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt
import torch.nn.functional as F
from torch import Tensor

from hilum.preprocessing import CenterCrop, Chain, Resize

__all__ = ["to_original"]


def to_original(values: Tensor, chain: Chain, height: int, width: int) -> npt.NDArray[np.float32]:
    """Return maps over the network's input as maps over the original image.

    Args:
        values: float (map, h, w) of any resolution: a coarse map counts as covering the whole
            input, each cell an equal part of it.
        chain: the deterministic chain that made the input from the image.
        height: of the original image. width: likewise.

    Returns:
        float32 (map, height, width); 0 where a crop cut the image away.
    """
    sizes = _sizes(chain, height, width)
    back = _resized(values.float()[None], sizes[-1])
    for index in range(len(chain.steps) - 1, -1, -1):
        step, before = chain.steps[index], sizes[index]
        if isinstance(step, CenterCrop):
            top, left = round((before[0] - step.height) / 2), round((before[1] - step.width) / 2)
            right, bottom = before[1] - left - step.width, before[0] - top - step.height
            back = F.pad(back, (left, right, top, bottom))
        elif isinstance(step, Resize):
            back = _resized(back, before)
    return cast(npt.NDArray[np.float32], back[0].cpu().numpy())


def _sizes(chain: Chain, height: int, width: int) -> Sequence[tuple[int, int]]:
    """(height, width) before each step, and after the last."""
    sizes = [(height, width)]
    channels = 1
    for step in chain.steps:
        channels, *size = step.output_shape((channels, *sizes[-1]))
        sizes.append((size[0], size[1]))
    return sizes


def _resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    if maps.shape[2:] == size:
        return maps
    return F.interpolate(maps, size, mode="bilinear", align_corners=False, antialias=True)
