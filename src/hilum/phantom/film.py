"""From path lengths to grey values: projection, exposure, noise, film curve."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, uniform_filter

from hilum.phantom.anatomy import Anatomy, Pose
from hilum.phantom.raster import Array, BoxCm, Canvas, smooth_field

__all__ = ["BONE_MU", "TISSUE_MU", "Projection", "expose"]

# Effective attenuation per cm at 120 kV: soft tissue, and what bone adds to it.
TISSUE_MU = 0.19
BONE_MU = 0.34
_LUNG_GREY, _MEDIASTINUM_GREY = 86.0, 217.0
_WARP_CM = 0.30
# Scattered light, as optical depth beyond that of the mediastinum.
_SCATTER = 0.35


@dataclass(frozen=True, slots=True)
class Projection:
    """Where each detector pixel looks on the canvas: shift, tilt and the patient's own warp.

    Bodies are not drawn with a compass; a smooth warp, fixed per patient, bends every outline.
    """

    canvas: Canvas
    detector: Canvas
    rows: Array
    columns: Array

    @classmethod
    def of(
        cls, canvas: Canvas, detector: Canvas, position: Pose, rng: np.random.Generator
    ) -> "Projection":
        """Return the projection of a pose; `rng` is the patient's."""
        c = math.cos(math.radians(position.tilt_deg)) / canvas.px
        s = math.sin(math.radians(position.tilt_deg)) / canvas.px
        bend = _WARP_CM / canvas.px
        middle = (canvas.size - 1) / 2
        rows = c * detector.y - s * detector.x + (middle - position.shift_y / canvas.px)
        columns = s * detector.y + c * detector.x + (middle - position.shift_x / canvas.px)
        rows = rows + np.float32(bend) * smooth_field(rng, detector, 6.0)
        columns = columns + np.float32(bend) * smooth_field(rng, detector, 6.0)
        return cls(canvas, detector, rows, columns)

    def __call__(self, image: Array) -> Array:
        """Resample a canvas map to the detector (bilinear)."""
        row = np.clip(self.rows, 0, self.canvas.size - 1.01)
        column = np.clip(self.columns, 0, self.canvas.size - 1.01)
        top, left = np.floor(row), np.floor(column)
        row -= top
        column -= left
        corner = top.astype(np.intp) * self.canvas.size + left.astype(np.intp)
        flat = image.ravel()
        upper = flat[corner] * (1 - column) + flat[corner + 1] * column
        corner += self.canvas.size
        lower = flat[corner] * (1 - column) + flat[corner + 1] * column
        seen: Array = upper + (lower - upper) * row
        return seen

    def box(self, box: BoxCm) -> tuple[int, int, int, int] | None:
        """Box on the detector around a canvas box, as x, y, width, height in pixels, or None."""
        line, px = (self.canvas.size - 1) / 2, self.canvas.px
        x0, y0, x1, y1 = (v / px + line for v in box)
        inside = (self.columns >= x0) & (self.columns <= x1) & (self.rows >= y0) & (self.rows <= y1)
        if not inside.any():
            return None
        xs, ys = np.flatnonzero(inside.any(axis=0)), np.flatnonzero(inside.any(axis=1))
        return int(xs[0]), int(ys[0]), int(xs[-1] - xs[0] + 1), int(ys[-1] - ys[0] + 1)


def expose(
    depth: Array, body: Anatomy, position: Pose, pixel: float, rng: np.random.Generator
) -> Array:
    """Return grey values 0..255 (float32) of an optical depth map on the detector.

    The window follows the trunk's thickness, as automatic exposure control does, and not the
    picture's content: a finding changes grey values only where it is.
    """
    if position.blur_cm > 0.3 * pixel:
        depth = gaussian_filter(depth, position.blur_cm / pixel, truncate=2.5)
    lung = TISSUE_MU * (0.95 * body.depth - 0.95 * (body.depth - 4.2) * 0.74) + 0.15
    mediastinum = TISSUE_MU * body.depth + 0.4
    # Scatter adds light everywhere and so flattens what lies behind thick tissue.
    depth = -np.log(np.exp(-depth) + np.float32(math.exp(-mediastinum - _SCATTER)))
    mediastinum = -math.log(math.exp(-mediastinum) * (1 + math.exp(-_SCATTER)))
    low, high = (math.log(g / (255 - g)) for g in (_LUNG_GREY, _MEDIASTINUM_GREY))
    gain = position.contrast * (high - low) / (mediastinum - lung)
    # Counting noise grows with attenuation and with the fineness of the pixels.
    sigma = 0.0065 * (0.15 / pixel) ** 0.8
    quanta = _quanta(rng, depth.shape)
    depth += quanta * (np.float32(sigma) * np.exp((depth - np.float32(lung)) / 3))
    wide = max(3, round(0.6 / pixel))
    depth += np.float32(0.25) * (depth - uniform_filter(depth, wide))
    middle = (lung + mediastinum) / 2
    logit = gain * (depth - middle) + ((low + high) / 2 + position.brightness)
    logit += np.minimum(depth - np.float32(0.8 * lung), 0) * np.float32(0.85)
    grey: Array = np.float32(255) / (1 + np.exp(-logit))
    return grey


def _quanta(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Noise of unit variance: the sum of four uniform bytes, near enough to normal and quicker."""
    draws = rng.integers(0, 2**32, shape, dtype=np.uint32).view(np.int8)
    total = draws[:, 0::4].astype(np.int16)
    for part in (1, 2, 3):
        total += draws[:, part::4]
    noise: Array = (total + np.float32(2)) * np.float32(1 / 147.8)
    return noise
