"""Path-length rasters: smooth random fields, curves and tubes on a grid in centimetres.

Everything is float32 and separable where it can be: coordinates are one row and one column that
broadcast, smooth fields are two small matrix products, tubes are sampled along and across and
summed into pixels. That keeps a 256 px image at a few milliseconds on one core.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d
from scipy.sparse import csr_array

__all__ = [
    "Array",
    "BoxCm",
    "Canvas",
    "Tubes",
    "extent",
    "mirrored",
    "polyline",
    "ramp",
    "shell_profile",
    "smooth_curve",
    "smooth_field",
    "solid_profile",
    "splat",
    "tubes",
]

# Maps are float32 throughout. The type says less because numpy's stubs widen float32 * float.
Array = npt.NDArray[np.floating[Any]]


# Left, top, right and bottom in cm on the canvas.
BoxCm = tuple[float, float, float, float]


# No canvas is wider: 45 cm detector and margin.
_WIDEST_CM = 52.0


@dataclass(frozen=True, slots=True)
class Canvas:
    """A square grid centred on the carina: x grows to the patient's left, y towards the feet.

    Attributes:
        size: pixels per side.
        px: pixel side in cm.
    """

    size: int
    px: float

    @property
    def x(self) -> Array:
        """Column positions in cm, shape (1, size)."""
        return self.line()[None, :]

    @property
    def y(self) -> Array:
        """Row positions in cm, shape (size, 1)."""
        return self.line()[:, None]

    def line(self) -> Array:
        """Positions along one axis in cm, shape (size,)."""
        return ((np.arange(self.size) - (self.size - 1) / 2) * self.px).astype(np.float32)


def mirrored(half: Array, size: int) -> Array:
    """Complete a left half (columns up to and with the middle) to a symmetric map."""
    whole: Array = np.concatenate([half, half[:, : size - half.shape[1]][:, ::-1]], axis=1)
    return whole


def ramp(distance: Array, width: float) -> Array:
    """Rise smoothly from 0 to 1 over `width` centred on distance 0."""
    t = np.clip(distance * np.float32(1 / width) + np.float32(0.5), 0.0, 1.0)
    smooth: Array = t * t * (3 - 2 * t)
    return smooth


def smooth_curve(at: Array, knots: npt.ArrayLike, values: npt.ArrayLike, sigma_cm: float) -> Array:
    """Interpolate evenly spaced positions `at` between knots and round the corners."""
    step = abs(float(at[1] - at[0]))
    straight = np.interp(at, np.asarray(knots), np.asarray(values))
    rounded: Array = gaussian_filter1d(straight, max(sigma_cm / step, 0.3), mode="nearest")
    return rounded.astype(np.float32)


def smooth_field(rng: np.random.Generator, canvas: Canvas, cell_cm: float) -> Array:
    """Return a Gaussian random field of unit variance and correlation length about `cell_cm`.

    The field is anchored in centimetres: another pixel size or field of view shows the same clouds.
    """
    cells = math.ceil(_WIDEST_CM / cell_cm) + 4
    spread = _spread_matrix(canvas.size, canvas.px / cell_cm, cells)
    noise = rng.standard_normal((cells, cells), dtype=np.float32)
    field: Array = (spread @ (spread @ noise).T).T
    return field


@lru_cache(maxsize=64)
def _spread_matrix(size: int, step: float, cells: int) -> csr_array:
    """Cubic B-spline weights from cells to pixels, rows scaled to unit variance.

    Sparse, because a dense product would start BLAS threads in every worker.
    """
    position = (np.arange(size) - (size - 1) / 2) * step + (cells - 1) / 2
    first = np.floor(position).astype(np.intp) - 1
    t = np.abs(position[:, None] - first[:, None] - np.arange(4))
    weights = np.where(t < 1, 2 / 3 - t**2 + t**3 / 2, np.maximum(2 - t, 0) ** 3 / 6)
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    columns = (first[:, None] + np.arange(4)).ravel()
    rows = np.arange(0, 4 * size + 1, 4)
    return csr_array((weights.astype(np.float32).ravel(), columns, rows), shape=(size, cells))


def solid_profile(v: Array) -> Array:
    """Path through a solid cylinder of radius 1 at offset v in -1 .. 1."""
    path: Array = 2 * np.sqrt(np.maximum(1 - v * v, 0))
    return path


def shell_profile(v: Array) -> Array:
    """Path through a bone: a cylinder of radius 1, dense cortex outside 0.72, spongy inside."""
    inner = 2 * np.sqrt(np.maximum(0.72**2 - v * v, 0))
    path: Array = solid_profile(v) - np.float32(0.75) * inner
    return path


def polyline(points: npt.ArrayLike, count: int = 24) -> tuple[Array, Array]:
    """Return x and y, each (1, count), of a smooth curve through points [[x, y], ...]."""
    xy = np.asarray(points, dtype=np.float64)
    curve = (_rounding_matrix(len(xy), count) @ xy).astype(np.float32)
    return curve[None, :, 0], curve[None, :, 1]


@lru_cache(maxsize=64)
def _rounding_matrix(knots: int, count: int) -> npt.NDArray[np.float64]:
    """Linear interpolation between knots, corners rounded, ends kept."""
    at = np.linspace(0.0, knots - 1, count)
    straight = np.stack([np.interp(at, np.arange(knots), unit) for unit in np.eye(knots)], axis=1)
    if knots == 2:
        return straight
    rounded = gaussian_filter1d(straight, count / knots / 2.5, axis=0, mode="nearest")
    bend = np.minimum(np.minimum(at, knots - 1 - at) * 2, 1.0)[:, None]
    mixed: npt.NDArray[np.float64] = bend * rounded + (1 - bend) * straight
    return mixed


@dataclass(frozen=True, slots=True)
class Tubes:
    """Sample points of tubes: flat positions in cm and the mass (path times area) each carries."""

    x: Array
    y: Array
    mass: Array


def tubes(
    canvas: Canvas, x: Array, y: Array, radius: Array, path: Array, *, hollow: bool = False
) -> Tubes:
    """Sample tubes along curves, dense enough for the canvas.

    Args:
        x, y: (curves, points) smooth curves in cm.
        radius: (curves, points) half widths in cm.
        path: (curves, points) path length at the axis of a solid tube, in cm.
        hollow: bone-like cross section instead of a solid one.
    """
    steps = (x[:, 1:] - x[:, :-1]) ** 2 + (y[:, 1:] - y[:, :-1]) ** 2
    longest = math.sqrt(float(steps.max()))
    along = max(3, math.ceil(longest * (x.shape[1] - 1) / canvas.px) + 1)
    across = max(2, math.ceil(2 * float(radius.max()) / (0.8 * canvas.px)))
    at = np.arange(along, dtype=np.float32) * np.float32((x.shape[1] - 1) / (along - 1))
    left = np.minimum(at.astype(np.intp), x.shape[1] - 2)
    part = at - left.astype(np.float32)
    x, y, radius, path = (
        a[:, left] * (1 - part) + a[:, left + 1] * part for a in (x, y, radius, path)
    )
    dx, dy = _slope(x), _slope(y)
    step = np.sqrt(dx * dx + dy * dy) + np.float32(1e-6)
    v = ((np.arange(across, dtype=np.float32) + np.float32(0.5)) * (2 / across) - 1)[:, None, None]
    profile = (shell_profile(v) if hollow else solid_profile(v)) / np.float32(2)
    across_x, across_y = -dy * (radius / step), dx * (radius / step)
    mass = profile * (path * radius * step * np.float32(2 / across / canvas.px**2))
    return Tubes((x + v * across_x).ravel(), (y + v * across_y).ravel(), mass.ravel())


def _slope(a: Array) -> Array:
    """Central differences along the second axis, one-sided at the ends."""
    d = np.empty_like(a)
    d[:, 1:-1] = (a[:, 2:] - a[:, :-2]) * np.float32(0.5)
    d[:, 0], d[:, -1] = a[:, 1] - a[:, 0], a[:, -1] - a[:, -2]
    return d


def splat(canvas: Canvas, *parts: Tubes) -> Array:
    """Sum tubes into a map of path lengths in cm, shape (size, size).

    Each sample's mass is shared between its four nearest pixels.
    """
    scale, middle = np.float32(1 / canvas.px), np.float32((canvas.size - 1) / 2)
    column = np.concatenate([p.x for p in parts]) * scale + middle
    row = np.concatenate([p.y for p in parts]) * scale + middle
    mass = np.concatenate([p.mass for p in parts])
    inside = np.minimum(np.minimum(column, row), canvas.size - 1.01 - np.maximum(column, row)) >= 0
    if not inside.all():
        column, row, mass = column[inside], row[inside], mass[inside]
    left, top = np.floor(column), np.floor(row)
    corner = top.astype(np.int32) * canvas.size + left.astype(np.int32)
    right, low = column - left, mass * (row - top)
    high = mass - low
    total = np.zeros(canvas.size * canvas.size, np.float32)
    for offset, weight in ((0, high), (canvas.size, low)):
        moved = weight * right
        np.add.at(total, corner + offset, weight - moved)
        np.add.at(total, corner + (offset + 1), moved)
    return total.reshape(canvas.size, canvas.size)


def extent(canvas: Canvas, strength: Array, share: float = 0.25) -> BoxCm | None:
    """Box in cm around where `strength` exceeds a share of its maximum.

    None where there is nothing to enclose.
    """
    top = float(strength.max())
    if top <= 0:
        return None
    there = strength > share * top
    columns, rows = np.flatnonzero(there.any(axis=0)), np.flatnonzero(there.any(axis=1))
    line = canvas.line()
    half = canvas.px / 2
    return (
        float(line[columns[0]]) - half,
        float(line[rows[0]]) - half,
        float(line[columns[-1]]) + half,
        float(line[rows[-1]]) + half,
    )
