"""Trunk, lungs, heart and diaphragm as path lengths through soft tissue and air.

Outlines are curves by row (lateral wall, mediastinum) or by column (shoulders, diaphragm), so a
region is a broadcast of one-dimensional curves; depth along the beam follows from ellipses.
"""

import math
from dataclasses import dataclass

import numpy as np

from hilum.phantom.anatomy import Anatomy
from hilum.phantom.raster import Array, Canvas, mirrored, ramp, smooth_curve

__all__ = ["Chest", "chest", "lateral_wall"]


@dataclass(frozen=True, slots=True)
class Chest:
    """The air-filled chest before any finding; all arrays float32.

    Attributes:
        body: (n, n) path through the trunk, lungs counted as tissue, cm.
        lung: (n, n) path through lung, cm.
        side: (1, n) -1 in the patient's right half, +1 in the left.
        rim: (n, n) distance to the lateral and apical pleura, positive inside, cm.
        above: (n, n) height above the diaphragm, cm.
        wall: (n,) distance of the lateral pleura from the midline by row, cm.
        right_border, left_border: (n,) x of heart and mediastinum by row, cm.
        diaphragm: (n,) y of the diaphragm by column, cm.
    """

    canvas: Canvas
    anatomy: Anatomy
    body: Array
    lung: Array
    side: Array
    rim: Array
    above: Array
    wall: Array
    right_border: Array
    left_border: Array
    diaphragm: Array


def chest(canvas: Canvas, body: Anatomy, *, is_ap: bool) -> Chest:
    """Build the path-length maps of a chest."""
    x, y = canvas.x, canvas.y
    line = canvas.line()
    wall = lateral_wall(line, body)
    diaphragm = _diaphragm(line, body)
    right, left = _borders(line, body)
    side = np.where(x < 0, np.float32(-1), np.float32(1))
    inward = wall[:, None] - np.abs(x)
    rim = _corner(inward, y - _apex(line, body)[None, :])
    above = diaphragm[None, :] - y
    round_cage = np.sqrt(np.maximum(1 - (x / (wall[:, None] + np.float32(0.6))) ** 2, 0))
    depth = _lung_depth(line, body)[:, None]
    # Below the dome a thin wedge of lung reaches down behind the liver.
    filled = ramp(above - 0.1, 0.45) * 0.9 + 0.1 * np.exp(np.minimum(above, 0) / 2.5)
    lung = depth * round_cage * ramp(rim, 0.3) * filled
    lung *= ramp(np.abs(x) - 2.6, 3.6)
    lung = np.maximum(lung - _mediastinum(canvas, right, left, depth), 0)
    trunk = _trunk(canvas, body, wall, is_ap=is_ap)
    return Chest(canvas, body, trunk, lung, side, rim, above, wall, right, left, diaphragm)


def lateral_wall(line: Array, body: Anatomy) -> Array:
    """Distance of the lateral pleura from the midline at heights `line`."""
    top, bottom = body.apex_y, body.dome_right_y + 4.5
    heights = (-0.02, 0.0, 0.02, 0.07, 0.16, 0.30, 0.48, 0.70, 0.86, 1.0, 1.25)
    widths = (0.30, 0.36, 0.47, 0.60, 0.74, 0.87, 0.955, 1.0, 1.0, 0.975, 0.93)
    knots = top + np.array(heights) * (bottom - top)
    return smooth_curve(line, knots, np.array(widths) * body.half_width, 0.5)


def _apex(line: Array, body: Anatomy) -> Array:
    """Height of the lung's upper end by column: a dome over each apex."""
    centre = 0.36 * body.half_width
    off = (np.abs(line) - centre) / (0.28 * body.half_width)
    return (body.apex_y + 2.4 * off**2).astype(np.float32)


def _corner(first: Array, second: Array) -> Array:
    """Distance inside two boundaries at once, rounded where they meet."""
    a, b = np.maximum(first, 0), np.maximum(second, 0)
    inside = a * b / np.sqrt(a * a + b * b + np.float32(1e-4))
    distance: Array = inside + np.minimum(np.minimum(first, second), 0)
    return distance


def _diaphragm(line: Array, body: Anatomy) -> Array:
    peak = np.where(line < 0, -0.47, 0.50) * body.half_width
    dome = np.where(line < 0, body.dome_right_y, body.dome_left_y)
    outward = np.abs(line) > np.abs(peak)
    lateral = body.dome_drop * (np.abs(line - peak) / (0.5 * body.half_width)) ** 2.3
    medial = 0.35 * body.dome_drop * (np.abs(line - peak) / np.abs(peak)) ** 2
    curve = dome + np.where(outward, lateral, medial)
    return smooth_curve(line, line, curve, 0.4)


def _borders(line: Array, body: Anatomy) -> tuple[Array, Array]:
    """Right and left outline of mediastinum and heart by row."""
    base = body.dome_left_y
    ys = np.array([-14.0, -9.0, -5.0, -1.5, 0.5, 2.4, 0.62 * base, 0.9 * base, base + 3])
    big = body.heart_right
    right = np.array([3.4, 2.5, 2.4, 2.5, 2.9, 0.85 * big, big, 0.86 * big, 0.6 * big])
    apex = body.heart_left
    yl = np.array([-14.0, -9.0, -6.6, -5.0, -3.6, -2.2, -0.6, 1.2, 4.0, 0.68 * base, 0.88 * base,
                   base + 0.6, base + 4])  # fmt: skip
    knob = 2.5 + body.knob
    left = np.array([3.6, 2.6, 2.7, knob, knob - 0.15, 2.75, 3.3, 3.7, 0.68 * apex, 0.93 * apex,
                     apex, 0.9 * apex, 0.5 * apex])  # fmt: skip
    off = body.shift + 0.9 * body.turn
    return (
        off - smooth_curve(line, ys, right, 0.7),
        off + smooth_curve(line, yl, left, 0.45),
    )


def _mediastinum(canvas: Canvas, right: Array, left: Array, depth: Array) -> Array:
    """Path through heart and great vessels, cm: steep at its borders, deep in the middle."""
    centre, half = (left + right) / 2, (left - right) / 2
    line = canvas.line()
    columns = slice(*np.searchsorted(line, [right.min(), left.max()]))
    off = (canvas.x[:, columns] - centre[:, None]) / half[:, None]
    round_part = np.maximum(1 - off * off, 0) ** np.float32(0.45)
    thick = np.interp(line, [-12, -4, 3, 9], [1.0, 0.85, 0.84, 0.86]).astype(np.float32)
    path = np.zeros((canvas.size, canvas.size), np.float32)
    path[:, columns] = round_part * (thick[:, None] * depth)
    return path


def _lung_depth(line: Array, body: Anatomy) -> Array:
    """Front-to-back extent of the lungs by row, cm."""
    shares = [0.30, 0.55, 0.78, 0.94, 1.0, 1.0]
    at = body.apex_y + np.array([0.0, 2.5, 6.0, 11.0, 16.0, 26.0])
    return smooth_curve(line, at, np.array(shares) * (body.depth - 4.2), 0.8)


def _trunk(canvas: Canvas, body: Anatomy, wall: Array, *, is_ap: bool) -> Array:
    """Path through trunk, neck, shoulders, arms and breasts, cm."""
    y, line = canvas.y, canvas.line()
    x = np.abs(canvas.x[:, : (canvas.size + 1) // 2])
    top, fat = body.apex_y, body.wall
    half = wall + smooth_curve(line, [top, -2, 6, 14, 20],
                               np.array([8.0, 4.0, 2.1, 1.7, 1.9]) * fat, 1.5)  # fmt: skip
    depth = smooth_curve(line, [top - 4, top + 1, top + 5, 0, 20],
                         np.array([0.50, 0.62, 0.80, 0.97, 1.0]) * body.depth, 1.0)  # fmt: skip
    round_trunk = np.maximum(1 - (x / half[:, None]) ** 2, 0)
    torso = depth[:, None] * round_trunk ** np.float32(0.42)
    edge = smooth_curve(np.abs(line), [0, 4.4, 5.4, 7, 10, 14, 17, 20, 24],
                        [-26, -26, -18.5, -16, -14.4, -13, -11.2, -8, -1], 0.7)  # fmt: skip
    below = np.maximum(y - (edge - 0.25 * fat + 11.6 + top)[None, : x.shape[1]], 0)
    shoulder = np.minimum(np.sqrt(below * (8 + fat)), 9.0 + 0.5 * fat)
    shoulder *= ramp(2.0 - y, 9.0) * ramp(23.0 - x, 4.0)
    arm = _arm(x, y, body, 0.22 if is_ap else 0.65)
    joined = np.sqrt(torso**2 * ramp(below - 1, 4) + 0.5 * shoulder**2 + arm**2)
    return mirrored(joined + _breast(x, y, body), canvas.size)


def _arm(x: Array, y: Array, body: Anatomy, slope: float) -> Array:
    """Upper arms away from the trunk: chord of a cylinder along a line."""
    radius = 3.4 + 0.35 * body.wall
    off = (x - (16.8 + 0.5 * body.wall + slope * (y + 9.0))) / math.hypot(1, slope)
    arm: Array = 1.7 * np.sqrt(np.maximum(radius**2 - off * off, 0)) * ramp(y + 8.0, 6.0)
    return arm


def _breast(x: Array, y: Array, body: Anatomy) -> Array:
    """A breast in front of each lower lung: flat above, round and sharp-edged below."""
    if body.breast == 0:
        return np.zeros(np.broadcast_shapes(x.shape, y.shape), np.float32)
    across = (x - 0.64 * body.half_width) / (0.46 * body.half_width + 0.4 * body.breast)
    down = (y - 4.5 - 0.7 * body.breast) / np.where(y > 4.5 + 0.7 * body.breast, 4.4, 9.0)
    hang: Array = body.breast * np.sqrt(np.maximum(1 - across**2 - down**2, 0))
    return hang.astype(np.float32)
