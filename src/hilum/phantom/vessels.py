"""Airways and the lung vessels that branch from the hila.

The hilum is where vessels and bronchi enter the lung. From each, a few trunks fork five times, or
six on fine canvases, thinner and shorter each time, turned by random angles. Calibre follows
Murray's law: the cube of the parent's radius is the sum of the children's cubes.
"""

import numpy as np
import numpy.typing as npt

from hilum.phantom.anatomy import Anatomy
from hilum.phantom.chest import Chest
from hilum.phantom.raster import Array, Canvas, polyline, splat, tubes

__all__ = ["airways", "hilum_of", "vessels"]

_FORKS = 7
# Pixels above this size do not show the last generation.
_FINE_CM = 0.11
# Path through a vessel of 1 cm radius; the power below 1 keeps fine vessels visible, as the
# sharpening in scanners does.
_CONTRAST = 3.2
# Directions of the trunks in degrees from lateral, positive downwards, and their calibre in cm.
_TRUNKS = (
    (-72, 0.30),
    (-48, 0.26),
    (-24, 0.24),
    (0, 0.26),
    (22, 0.30),
    (44, 0.33),
    (64, 0.38),
    (82, 0.30),
)


def hilum_of(body: Anatomy, side: float) -> tuple[float, float]:
    """Return x, y of a hilum in cm; the left one lies about 1.5 cm higher."""
    off = body.shift + 0.9 * body.turn
    return (off - 4.1, 0.9) if side < 0 else (off + 4.5, -0.5)


def vessels(chest: Chest, rng: np.random.Generator) -> Array:
    """Path through lung vessels in cm, shape (n, n), within the lungs only."""
    canvas, body = chest.canvas, chest.anatomy
    x, y, angle, radius = _roots(body, rng)
    reach, alive = np.full(x.shape, 2.9), np.full(x.shape, True)
    parts = []
    for _ in range(_FORKS if canvas.px < _FINE_CM else _FORKS - 1):
        bend = rng.normal(0.0, 0.22, x.shape)
        # Branches point towards the viewer too, which shortens them.
        length = reach * rng.uniform(0.45, 1.3, x.shape)
        share = np.arange(10) / 9
        heading = angle[:, None] + bend[:, None] * share
        step = length[:, None] / 9
        xs = x[:, None] + np.cumsum(np.cos(heading) * step, axis=1) - np.cos(heading[:, :1]) * step
        ys = y[:, None] + np.cumsum(np.sin(heading) * step, axis=1) - np.sin(heading[:, :1]) * step
        taper = radius[:, None] * (1.08 - 0.16 * share)
        thin = np.maximum(taper, 0.3 * canvas.px)
        path = _CONTRAST * taper**0.8 * (taper / thin)
        if alive.any():
            parts.append(
                tubes(canvas, *(a[alive].astype(np.float32) for a in (xs, ys, thin, path)))
            )
        x, y = np.tile(xs[:, -1], 2), np.tile(ys[:, -1], 2)
        angle, radius = _fork(heading[:, -1], radius, rng)
        # A branch that leaves the lung ends there. It still forks, unseen, so that the others are
        # the same on the next image of the patient, whatever its breath and findings.
        alive = np.tile(alive, 2) & _within(chest, x, y)
        reach = np.tile(reach * 0.88, 2)
    inside = np.clip((chest.lung - 2.5) * np.float32(0.25), 0, 1)
    total: Array = splat(canvas, *parts) * inside
    for side in (-1.0, 1.0):
        hx, hy = hilum_of(body, side)
        across = np.exp(-(((canvas.x - hx) / 1.15) ** 2)) * np.float32(2.6 * body.vessel_scale)
        total += across * np.exp(-(((canvas.y - hy - 0.6) / 2.2) ** 2))
    return total


def _within(chest: Chest, x: Array, y: Array) -> npt.NDArray[np.bool_]:
    """Whether points lie over aerated lung."""
    middle, px = (chest.canvas.size - 1) / 2, chest.canvas.px
    column, row = (np.clip(a / px + middle, 0, 2 * middle).astype(np.intp) for a in (x, y))
    within: npt.NDArray[np.bool_] = chest.lung[row, column] > 0.5
    return within


def _roots(body: Anatomy, rng: np.random.Generator) -> tuple[Array, ...]:
    trunks = np.array(_TRUNKS)
    xs, ys, angles, radii = [], [], [], []
    for side in (-1.0, 1.0):
        hx, hy = hilum_of(body, side)
        down = np.radians(trunks[:, 0] + rng.normal(0, 5, len(trunks)))
        angles.append(down if side > 0 else np.pi - down)
        xs.append(hx + rng.normal(0, 0.25, len(trunks)))
        ys.append(hy + 1.3 * np.sin(down) + rng.normal(0, 0.3, len(trunks)))
        radii.append(trunks[:, 1] * body.vessel_scale * np.exp(rng.normal(0, 0.1, len(trunks))))
    return tuple(np.concatenate(part) for part in (xs, ys, angles, radii))


def _fork(heading: Array, radius: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Direction and radius of two children per branch, all first ones, then all second ones."""
    split = rng.uniform(0.35, 0.65, len(radius))
    spread = rng.uniform(0.25, 0.62, len(radius))
    angle = np.concatenate([heading - spread * split, heading + spread * (1 - split)])
    thin = np.concatenate([radius * split ** (1 / 3), radius * (1 - split) ** (1 / 3)])
    return angle, thin * 0.96


def airways(canvas: Canvas, body: Anatomy) -> Array:
    """Path through the air of trachea and main bronchi in cm, shape (n, n)."""
    off = body.shift + 0.5 * body.turn
    carina = (off - 0.3, -1.6)
    courses = (
        ([[off * 0.3 - 0.1, -18.0], [off * 0.5 - 0.2, -9.0], [off - 0.45, -5.0], carina], 0.86),
        ([carina, [off - 1.6, -0.1], [off - 3.3, 1.5]], 0.62),
        ([carina, [off + 1.6, -0.5], [off + 4.2, 0.9]], 0.56),
    )
    parts = []
    for points, radius in courses:
        x, y = polyline(points, 30)
        parts.append(tubes(canvas, x, y, np.full_like(x, radius), np.full_like(x, 2.7 * radius)))
    return np.minimum(splat(canvas, *parts), np.float32(2.4))
