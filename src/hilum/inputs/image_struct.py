"""Pixels out of Spark's own image struct, whoever reads it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from hilum.errors import RejectedImageError

__all__ = ["grey_pixels"]


def grey_pixels(image: Mapping[str, Any]) -> npt.NDArray[np.uint8]:
    """Pixels (H, W) uint8 of one Spark image struct; colour becomes ITU-R 601 luma.

    Raises:
        RejectedImageError: the struct's sizes and bytes do not agree.
    """
    height, width, channels = image["height"], image["width"], image["nChannels"]
    if any(value is None for value in (height, width, channels, image["data"])):
        raise RejectedImageError("corrupt", "a field of the image struct is null")
    data = np.frombuffer(image["data"], dtype=np.uint8)
    if data.size != height * width * channels or channels not in (1, 3, 4) or data.size == 0:
        raise RejectedImageError("corrupt", f"{data.size} bytes for {height}x{width}x{channels}")
    if channels == 1:
        return data.reshape(height, width)
    blue_green_red = data.reshape(height, width, channels)[..., :3].astype(np.float32)
    luma = blue_green_red @ np.array([0.114, 0.587, 0.299], dtype=np.float32)
    return np.rint(luma).astype(np.uint8)
