"""Ribs, clavicles, spine, shoulder blades and upper arms as path lengths through bone.

A rib is a half ellipse in projection: from the spine it falls outward to the lateral wall, then
inward and steeply down in front. Where it runs along the beam its path is longer, which is what
makes the lateral ends bright on a radiograph.
"""

import math
from dataclasses import dataclass

import numpy as np

from hilum.phantom.anatomy import Anatomy
from hilum.phantom.chest import Chest
from hilum.phantom.raster import Array, Canvas, Tubes, mirrored, polyline, ramp, splat, tubes

__all__ = ["bones", "spine_x"]

_NUM_RIBS = 10


def bones(chest: Chest, *, is_ap: bool) -> Array:
    """Path length through bone, cm, shape (n, n)."""
    canvas, body = chest.canvas, chest.anatomy
    parts = [*_ribs(chest), _clavicles(canvas, body), *_shoulders(canvas, body, is_ap=is_ap)]
    total = splat(canvas, *parts) + _spine(canvas, body)
    total += _blade(canvas, body, is_ap=is_ap)
    # Scatter from the abdomen all but hides the ribs below the diaphragm.
    seen = ramp(chest.body - 3, 4) * (0.25 + 0.75 * ramp(chest.above + 1, 2))
    dense: Array = total * (np.float32(body.bone_density) * seen)
    return dense


def spine_x(y: Array, body: Anatomy) -> Array:
    """Midline of the spine at heights y, cm."""
    bent: Array = (body.scoliosis * np.sin(y / 6.0) - 0.25 * body.turn).astype(np.float32)
    return bent


@dataclass(frozen=True, slots=True)
class _RibCage:
    """Ten ribs, arrays of shape (10, 1): height at the spine, fall over half a turn, reach, end."""

    start: Array
    fall: Array
    reach: Array
    end: Array


def _ribs(chest: Chest) -> list[Tubes]:
    """Ten pairs; back halves clear, front halves wider and fainter, ending in cartilage."""
    body = chest.anatomy
    number = np.arange(_NUM_RIBS)
    start = body.apex_y - 0.6 + body.rib_spacing * (number + 0.010 * number**2)
    fall = body.rib_slope * np.interp(number, [0, 1, 4, 9], [3.6, 6.0, 9.2, 10.8])
    reach = np.interp(start + fall / 2, chest.canvas.line(), chest.wall) - 0.1
    reach[0] *= 0.86
    end = np.radians(np.interp(number, [0, 2, 6, 9], [150, 146, 136, 112]))
    cage = _RibCage(*(a[:, None] for a in (start, fall, reach, end)))
    return [
        tubes(chest.canvas, *_rib_halves(body, cage, in_front=in_front), hollow=True)
        for in_front in (False, True)
    ]


def _rib_halves(
    body: Anatomy, cage: _RibCage, *, in_front: bool
) -> tuple[Array, Array, Array, Array]:
    """x, y, radius and path of the back or front halves, right ribs then left ribs."""
    share = np.linspace(0.0 if in_front else 0.10, 1.0, 40)[None, :]
    right_angle = np.pi / 2
    angle = right_angle + share * (cage.end - right_angle) if in_front else share * right_angle
    out = cage.reach * np.sin(angle)
    y = np.broadcast_to(cage.start + cage.fall * (1 - np.cos(angle)) / 2, (_NUM_RIBS, 40))
    # The ribs run along the beam at the sides: more bone per pixel.
    beam = 0.62 * cage.reach * np.abs(np.sin(angle))
    plane = np.hypot(cage.reach * np.cos(angle), cage.fall * np.sin(angle) / 2)
    oblique = np.minimum(np.sqrt(1 + (beam / (plane + 0.5)) ** 2), 1.5)
    bright = 0.55 * np.clip((1.02 - share) / 0.35, 0, 1) if in_front else 1.0
    path = 1.9 * body.rib_radius * bright * oblique
    width = body.rib_radius * (1.18 if in_front else 1.0)
    radius = np.broadcast_to(width * (1.0 - 0.25 * np.sin(angle) ** 4), y.shape)
    middle = spine_x(y, body)
    x = np.concatenate([middle - out, middle + out]).astype(np.float32)
    both = [np.concatenate([part, part]).astype(np.float32) for part in (y, radius, path)]
    return x, both[0], both[1], both[2]


def _clavicles(canvas: Canvas, body: Anatomy) -> Tubes:
    rise = body.clavicle_tilt
    share = np.linspace(0, 1, 40)
    swell = np.interp(share, [0, 0.03, 0.12, 0.5, 0.95, 1], [0.5, 0.95, 0.7, 0.55, 0.72, 0.4])
    radius = np.tile(swell.astype(np.float32), (2, 1))
    xs, ys = [], []
    for side in (-1.0, 1.0):
        inner = side * 1.9 + 1.5 * body.turn
        y = body.apex_y + 3.4 + 0.5 * side * body.turn
        outward = np.array([0.0, 3.2, 6.5, 10.0, 13.4])
        upward = np.array([0.0, 0.4, 0.8, 1.5, 1.5]) + rise * np.array([0.0, 0.2, 0.5, 0.7, 0.8])
        curve = polyline(np.stack([inner + side * outward, y - upward], axis=1), 40)
        xs.append(curve[0])
        ys.append(curve[1])
    path = np.float32(2.2) * radius
    return tubes(canvas, np.concatenate(xs), np.concatenate(ys), radius, path, hollow=True)


def _spine(canvas: Canvas, body: Anatomy) -> Array:
    """Vertebral bodies, denser at their end plates, with pedicles and spinous processes."""
    y, x = canvas.y, canvas.x
    near = np.flatnonzero(np.abs(x[0]) < 4.5)
    columns = slice(int(near[0]), int(near[-1]) + 1)
    off = x[:, columns] - spine_x(canvas.line(), body)[:, None]
    level = (y - body.apex_y + 2.0) / (body.rib_spacing * (1 + 0.006 * (y - body.apex_y)))
    phase = np.abs(level - np.round(level)) * 2
    width = (1.55 + 0.022 * (y + 12)).astype(np.float32)
    column = ramp(width - np.abs(off), 0.7)
    plate = np.exp(-(((phase - 0.74) / 0.10) ** 2))
    disc = ramp(0.86 - phase, 0.2)
    slab = column * (0.5 + 0.22 * disc + 0.25 * plate)
    edge = np.exp(-(((np.abs(off) - width + 0.2) / 0.16) ** 2)) * disc
    ring = (np.abs(off) - 0.95) ** 2 / 0.10 + phase**2 / 0.12
    pedicle = np.exp(-((ring - 1.0) ** 2) / 0.6)
    process = np.exp(-((off / 0.28) ** 2) - ((phase - 0.9) / 0.35) ** 2)
    path = np.zeros((canvas.size, canvas.size), np.float32)
    path[:, columns] = slab + 0.25 * edge + 0.25 * pedicle + 0.35 * process
    return path


def _shoulders(canvas: Canvas, body: Anatomy, *, is_ap: bool) -> list[Tubes]:
    """Borders of the shoulder blades, humeral heads and shafts."""
    corner, glenoid, tip = _blade_corners(body, is_ap=is_ap)
    top, out = body.apex_y + 2.6, body.half_width
    head = (out + 5.2, top + 0.6)
    thin = (
        ((corner, (corner[0] - 0.3, top + 5.0), (tip[0] - 0.9, tip[1] - 2.5), tip), 0.28, 0.4),
        ((glenoid, (glenoid[0] - 1.6, top + 5.5), tip), 0.42, 0.55),
        (
            (corner, (out - 0.5, top - 0.7), (out + 2.5, top - 1.6), (out + 5.0, top - 1.9)),
            0.42,
            0.6,
        ),
    )
    shaft = (
        (
            (head, (out + 6.2, top + 5.0), (out + 7.6, top + 12.0), (out + 10.6, top + 28.0)),
            1.1,
            1.9,
        ),
    )
    share = np.linspace(-0.999, 0.999, 24, dtype=np.float32)[None, :]
    ball = np.sqrt(1 - share**2)
    x, y = head[0] + 0 * share, head[1] + np.float32(2.3) * share
    round_head = _both_sides(canvas, x, y, np.float32(2.2) * ball, np.float32(1.6) * ball)
    return [_courses(canvas, thin), _courses(canvas, shaft), round_head]


_Course = tuple[tuple[tuple[float, float], ...], float, float]


def _courses(canvas: Canvas, courses: tuple[_Course, ...]) -> Tubes:
    """Bones along (points, radius, path) on both sides, with a round end where they begin."""
    curves = [polyline(points, 24) for points, _, _ in courses]
    x, y = (np.concatenate([curve[axis] for curve in curves]) for axis in (0, 1))
    rest = 1 - np.minimum(np.arange(24, dtype=np.float32) / 4 + 0.1, 1)
    taper = np.sqrt(1 - rest * rest)[None, :]
    radius, path = (np.array([[c[i]] for c in courses], np.float32) * taper for i in (1, 2))
    return _both_sides(canvas, x, y, radius, path)


def _blade_corners(body: Anatomy, *, is_ap: bool) -> tuple[tuple[float, float], ...]:
    """Upper medial corner, glenoid and lower tip; over the lungs on AP images."""
    over = 1.9 if is_ap else 0.0
    top, out = body.apex_y + 2.6, body.half_width
    return (
        (out - 2.4 - over, top + 0.2),
        (out + 2.9 - 0.3 * over, top + 0.8),
        (out - 0.4 - over, top + 12.0),
    )


def _blade(canvas: Canvas, body: Anatomy, *, is_ap: bool) -> Array:
    """The thin plate of a shoulder blade: a triangle with soft edges, on both sides."""
    x, y = np.abs(canvas.x[:, : (canvas.size + 1) // 2]), canvas.y
    corners = _blade_corners(body, is_ap=is_ap)
    plate = np.full((canvas.size, x.shape[1]), 0.25, np.float32)
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        length = math.hypot(x1 - x0, y1 - y0)
        inside = (y - y0) * ((x1 - x0) / length) - (x - x0) * ((y1 - y0) / length)
        plate *= ramp(inside, 0.5)
    return mirrored(plate, canvas.size)


def _both_sides(canvas: Canvas, x: Array, y: Array, radius: Array, path: Array) -> Tubes:
    xs = np.concatenate([-x, x])
    ys, radii, paths = (np.concatenate([a, a]) for a in (y, radius, path))
    return tubes(canvas, xs, ys, radii, paths, hollow=True)
