"""The 3-D image operations of 2019 (CT, MRI) on arrays (depth, height, width).

Positions and axes are those of Analytics Zoo; its centre crop began one voxel early, and its crops
checked the height where they meant the depth, which is right here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hilum.errors import require

__all__ = ["AffineTransform3D", "CenterCrop3D", "Crop3D", "RandomCrop3D", "Rotate3D"]

Volume = npt.NDArray[Any]
"""(depth, height, width)."""


@dataclass(frozen=True, slots=True)
class Crop3D:
    """Cut `patch_size` voxels out from `start` on; the first voxel is (1, 1, 1), as in 2019."""

    start: Sequence[int]
    patch_size: Sequence[int]

    def apply(self, volume: Volume, rng: np.random.Generator | None = None) -> Volume:
        """Return the part."""
        return _cut(volume, [first - 1 for first in self.start], self.patch_size)


@dataclass(frozen=True, slots=True)
class RandomCrop3D:
    """Cut a part out at a random place."""

    crop_depth: int
    crop_height: int
    crop_width: int

    def apply(self, volume: Volume, rng: np.random.Generator) -> Volume:
        """Return (crop_depth, crop_height, crop_width)."""
        size = (self.crop_depth, self.crop_height, self.crop_width)
        _require_volume(volume, size)
        pairs = zip(volume.shape, size, strict=True)
        return _cut(volume, [int(rng.integers(whole - part + 1)) for whole, part in pairs], size)


@dataclass(frozen=True, slots=True)
class CenterCrop3D:
    """Cut the middle out."""

    crop_depth: int
    crop_height: int
    crop_width: int

    def apply(self, volume: Volume, rng: np.random.Generator | None = None) -> Volume:
        """Return (crop_depth, crop_height, crop_width)."""
        size = (self.crop_depth, self.crop_height, self.crop_width)
        _require_volume(volume, size)
        pairs = zip(volume.shape, size, strict=True)
        return _cut(volume, [(whole - part) // 2 for whole, part in pairs], size)


@dataclass(frozen=True, slots=True)
class Rotate3D:
    """Turn about the centre by yaw, pitch and roll, in radians; trilinear, 0 from outside.

    Yaw turns the depth axis towards the width axis, pitch the depth axis towards the height axis,
    roll the width axis towards the height axis.
    """

    rotation_angles: Sequence[float]

    def __post_init__(self) -> None:
        three = len(self.rotation_angles) == 3
        require(three, "rotation_angles", "yaw, pitch and roll", self.rotation_angles)

    def apply(self, volume: Volume, rng: np.random.Generator | None = None) -> Volume:
        """Return the turned volume of the same shape."""
        _require_volume(volume, (1, 1, 1))
        # The matrix works on (depth, width, height).
        order = [0, 2, 1]
        matrix = _rotation(*self.rotation_angles)[np.ix_(order, order)]
        source = _source(volume.shape, matrix, np.zeros(3))
        # What lies up to half a voxel outside takes the voxel at the edge.
        limits = np.array(volume.shape)[:, None, None, None] - 0.5
        inside = ((source > -0.5) & (source < limits)).all(axis=0)
        return np.where(inside, _sampled(volume, source, "nearest", 0.0), 0).astype(volume.dtype)


@dataclass(frozen=True, slots=True)
class AffineTransform3D:
    """Take each voxel from `affine_mat` times its place about the centre, minus `translation`.

    Trilinear. `clamp_mode` "clamp" repeats the edge, "padding" fills with `pad_val`.
    """

    affine_mat: npt.NDArray[np.float64]
    translation: npt.NDArray[np.float64] | None = None
    clamp_mode: str = "clamp"
    pad_val: float = 0.0

    def __post_init__(self) -> None:
        modes = ("clamp", "padding")
        require(self.clamp_mode in modes, "clamp_mode", "clamp or padding", self.clamp_mode)
        unused = self.clamp_mode == "padding" or self.pad_val == 0
        require(unused, "pad_val", 'left alone with clamp_mode="clamp"', self.pad_val)
        shape = np.shape(self.affine_mat)
        require(shape == (3, 3), "affine_mat", "of shape (3, 3)", shape)

    def apply(self, volume: Volume, rng: np.random.Generator | None = None) -> Volume:
        """Return the transformed volume of the same shape."""
        _require_volume(volume, (1, 1, 1))
        shift = np.zeros(3) if self.translation is None else np.asarray(self.translation, float)
        source = _source(volume.shape, np.asarray(self.affine_mat, float), shift.reshape(3))
        mode = "nearest" if self.clamp_mode == "clamp" else "constant"
        return _sampled(volume, source, mode, self.pad_val).astype(volume.dtype)


def _cut(volume: Volume, start: Sequence[int], size: Sequence[int]) -> Volume:
    _require_volume(volume, size)
    ends = [first + length for first, length in zip(start, size, strict=True)]
    inside = min(start) >= 0 and all(e <= s for e, s in zip(ends, volume.shape, strict=True))
    require(inside, "crop", f"within {volume.shape}", (tuple(start), tuple(size)))
    return volume[tuple(slice(a, b) for a, b in zip(start, ends, strict=True))]


def _require_volume(volume: Volume, size: Sequence[int]) -> None:
    large = volume.ndim == 3 and all(w >= p for w, p in zip(volume.shape, size, strict=True))
    require(large, "volume", f"(depth, height, width) of at least {tuple(size)}", volume.shape)


def _rotation(yaw: float, pitch: float, roll: float) -> npt.NDArray[np.float64]:
    (cy, sy), (cp, sp), (cr, sr) = ((np.cos(a), np.sin(a)) for a in (yaw, pitch, roll))
    about_third = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    about_second = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_first = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    turned: npt.NDArray[np.float64] = about_third @ about_second @ about_first
    return turned


def _source(
    shape: tuple[int, ...], matrix: npt.NDArray[np.float64], shift: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Where each voxel comes from: (3, depth, height, width) in voxels."""
    centre = (np.array(shape) - 1)[:, None, None, None] / 2
    places = np.indices(shape) - centre
    turned = np.einsum("ij,jdhw->idhw", matrix, places)
    source: npt.NDArray[np.float64] = turned + centre - shift[:, None, None, None]
    return source


def _sampled(volume: Volume, source: npt.NDArray[np.float64], mode: str, fill: float) -> Volume:
    from scipy.ndimage import map_coordinates

    pixels = volume.astype(np.float64)
    sampled: Volume = map_coordinates(pixels, source, order=1, mode=mode, cval=fill)
    return sampled
