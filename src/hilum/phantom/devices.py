"""What lies on and in patients and what the technician adds: leads, tubes, markers, collimation.

Devices depend on the view only, never on findings, so that a model cannot read the diagnosis off
a tube (in NIH ChestX-ray14 chest drains give many a pneumothorax away).
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from hilum.phantom.anatomy import Anatomy
from hilum.phantom.raster import Array, Canvas, Tubes, polyline, ramp, splat, tubes

__all__ = ["collimation", "devices", "marker"]

# Capital letters as strokes in a box of width 0.7 and height 1.
_GLYPHS: dict[str, tuple[tuple[tuple[float, float], ...], ...]] = {
    "A": (((0, 1), (0.35, 0)), ((0.35, 0), (0.7, 1)), ((0.14, 0.62), (0.56, 0.62))),
    "B": (((0, 0), (0, 1)), ((0, 0), (0.6, 0.08), (0.6, 0.42), (0, 0.5)),
          ((0, 0.5), (0.7, 0.58), (0.7, 0.92), (0, 1))),
    "E": (((0, 0), (0, 1)), ((0, 0), (0.6, 0)), ((0, 0.5), (0.5, 0.5)), ((0, 1), (0.6, 1))),
    "L": (((0, 0), (0, 1)), ((0, 1), (0.62, 1))),
    "O": (((0, 0.5), (0.05, 0.05), (0.65, 0.05), (0.7, 0.5)),
          ((0.7, 0.5), (0.65, 0.95), (0.05, 0.95), (0, 0.5))),
    "P": (((0, 0), (0, 1)), ((0, 0), (0.7, 0.06), (0.7, 0.48), (0, 0.54))),
    "R": (((0, 0), (0, 1)), ((0, 0), (0.7, 0.06), (0.7, 0.48), (0, 0.54)), ((0.3, 0.54), (0.7, 1))),
    "T": (((0, 0), (0.7, 0)), ((0.35, 0), (0.35, 1))),
}  # fmt: skip

# Points in cm, radius in cm, optical depth at the axis.
Curve = tuple[Sequence[tuple[float, float]], float, float]


def devices(
    canvas: Canvas, body: Anatomy, rng: np.random.Generator, *, is_ap: bool
) -> Array | None:
    """Optical depth of lines, tubes and leads, shape (n, n); None for most PA images."""
    curves = _lines(body, rng) if is_ap else []
    if rng.random() < 0.05:
        curves += _pacemaker(body)
    if rng.random() < 0.05:
        # Wires that close a breastbone after heart surgery.
        curves += [([(-0.5, y), (0.0, y + 0.5), (0.5, y)], 0.07, 1.6) for y in range(-6, 8, 2)]
    if not curves:
        return None
    wide = [curve for curve in curves if curve[1] > 0.3]
    thin = [curve for curve in curves if curve[1] <= 0.3]
    return splat(canvas, *(_tubes_of(canvas, group) for group in (wide, thin) if group))


def _tubes_of(canvas: Canvas, curves: list[Curve]) -> Tubes:
    drawn = [polyline(points, 32) for points, _, _ in curves]
    x, y = (np.concatenate([d[axis] for d in drawn]) for axis in (0, 1))
    radius = np.array([[max(r, 0.45 * canvas.px)] for _, r, _ in curves], np.float32)
    depth = np.array([[d * r] for _, r, d in curves], np.float32) / radius
    full = np.ones_like(x)
    return tubes(canvas, x, y, radius * full, depth * full)


def _lines(body: Anatomy, rng: np.random.Generator) -> list[Curve]:
    """Leads, central line, endotracheal and stomach tube, each on a share of portable images."""
    curves: list[Curve] = []
    top, off = body.apex_y, body.shift
    if rng.random() < 0.55:
        corners = ((-1, -8.0), (1, -8.0), (1, 8.5), (-1, 9.0))
        for side, level in corners[: rng.integers(2, 5)]:
            x, y = side * rng.uniform(8, 12), level + rng.normal(0, 1)
            bend = rng.normal(0, 3, 4).tolist()
            wire = zip((0.0, bend[0], bend[1] + side, bend[2] + 2 * side, bend[3]),
                       (0.0, 3.0, 8.0, 16.0, 32.0), strict=True)  # fmt: skip
            curves.append(([(x - 0.5, y), (x + 0.5, y)], 0.5, 0.5))
            curves.append(([(x, y - 0.2), (x, y + 0.2)], 0.25, 1.5))
            curves.append(([(x + dx, y + dy) for dx, dy in wire], 0.09, 1.0))
    if rng.random() < 0.40:
        tip = (off - 2.0, rng.uniform(-1, 2.5))
        curves.append(([(-4.5, -18), (-3.6, top + 1), (off - 2.2, -5), tip], 0.11, 0.6))
    if rng.random() < 0.28:
        end = rng.uniform(-6.5, -3.2)
        for x in (-0.42, 0.42):
            curves.append(([(x, -20), (x - 0.2, -9), (x + off - 0.3, end)], 0.07, 0.7))
    if rng.random() < 0.28:
        course = [(0.4, -20), (0.2, -6), (0.9, 2), (1.2, 9), (3.5, 13), (5.5, 14)]
        curves.append((course, 0.13, 0.55))
    return curves


def _pacemaker(body: Anatomy) -> list[Curve]:
    x, y = body.half_width - 4.5, body.apex_y + 5.5
    lead = [(x, y), (x - 3.5, y - 3), (2.5, y - 1.5), (-1.8, -3), (-2.4, 3), (2.5, 8)]
    return [([(x - 0.8, y), (x + 0.8, y + 0.4)], 1.7, 2.6), (lead, 0.10, 1.3)]


def marker(detector: Canvas, rng: np.random.Generator, *, is_ap: bool) -> Array | None:
    """Side and view letters as a 0..1 mask on the detector; None where the image has none."""
    half = detector.size * detector.px / 2
    words: list[tuple[str, float, float, float]] = []
    if rng.random() < 0.85:
        side = "L" if rng.random() < 0.88 else "R"
        x = half * rng.uniform(0.80, 0.93) * (1 if side == "L" else -1)
        words.append((side, x, -half * rng.uniform(0.70, 0.95), half * rng.uniform(0.04, 0.075)))
    if is_ap and rng.random() < 0.5:
        x, y = -half * rng.uniform(0.78, 0.95), half * rng.choice([0.15, 0.45, 0.8])
        words += [("AP", x, y, 0.035 * half), ("PORTABLE", x, y + 0.06 * half, 0.03 * half)]
    if not words:
        return None
    strokes, radius = [], []
    for word, x, y, height in words:
        for i, letter in enumerate(word):
            drawn = _letter(letter)
            corner = np.array([[x + 0.95 * height * i], [y]], np.float32)
            strokes.append(drawn * np.float32(height) + corner)
            radius.append(np.full((len(drawn), 1), max(0.085 * height, 0.5 * detector.px)))
    xy = np.concatenate(strokes)
    full = np.ones_like(xy[:, 0])
    thick = full * np.concatenate(radius).astype(np.float32)
    mask: Array = np.minimum(splat(detector, tubes(detector, xy[:, 0], xy[:, 1], thick, full)), 1)
    return mask


@lru_cache(maxsize=len(_GLYPHS))
def _letter(letter: str) -> Array:
    """Strokes of a letter of height 1, shape (strokes, 2, 12)."""
    strokes = []
    for points in _GLYPHS[letter]:
        at = np.linspace(0, len(points) - 1, 12)
        strokes.append(
            [np.interp(at, range(len(points)), column) for column in zip(*points, strict=True)]
        )
    return np.array(strokes, np.float32)


def collimation(detector: Canvas, rng: np.random.Generator) -> Array | None:
    """Share of light let through, 1 inside the shutters; None where they lie outside."""
    if rng.random() < 0.68:
        return None
    half = detector.size * detector.px / 2
    margin = np.minimum(rng.exponential(0.035, 4), 0.14) * (rng.random(4) < 0.6)
    tilt = rng.normal(0, 0.02, 4)
    x, y = detector.x, detector.y
    width = 1.5 * detector.px
    open_ = np.ones((detector.size, detector.size), np.float32)
    for axis, across, sign, share, slope in zip(
        (x, x, y, y), (y, y, x, x), (1, -1, 1, -1), margin.tolist(), tilt.tolist(), strict=True
    ):
        if share > 0:
            open_ *= ramp(half * (1 - 2 * share) - sign * axis + slope * across, width)
    return open_
