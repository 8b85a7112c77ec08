"""Signs inside the lung: patches, lumps, bands, nets."""

import numpy as np

from hilum.phantom.raster import Array, polyline, ramp, smooth_field, splat, tubes
from hilum.phantom.sign import Sign, Site, blob, boxes_of, texture
from hilum.phantom.vessels import hilum_of

__all__ = [
    "atelectasis",
    "consolidation",
    "edema",
    "fibrosis",
    "infiltration",
    "mass",
    "nodule",
    "pneumonia",
]


def atelectasis(site: Site) -> Sign:
    """Plate-like bands above a raised dome (see anatomy.affected_side), with basal haze."""
    chest = site.chest
    side = site.side()
    count = int(site.place.integers(1, 4))
    bands = np.zeros_like(chest.lung)
    for i in range(count):
        across, down = site.place.uniform(0.25, 0.5), 0.93 - 0.11 * i - site.place.uniform(0, 0.08)
        x, y = site.point(side, across, down)
        length, tilt = site.place.uniform(4.0, 7.5), site.place.uniform(-0.35, 0.25) * side
        thick = site.grade.uniform(0.22, 0.45)
        ends = [[x - side * length * 0.45, y + tilt * length * 0.45],
                [x, y + site.place.uniform(-0.3, 0.3)],
                [x + side * length * 0.55, y - tilt * length * 0.55]]  # fmt: skip
        xs, ys = polyline(ends, 24)
        swell = np.sqrt(np.sin(np.linspace(0.12, np.pi - 0.12, 24)))[None, :] * thick
        swell = swell.astype(np.float32)
        bands += splat(chest.canvas, tubes(chest.canvas, xs, ys, swell, np.float32(5) * swell))
    bands *= site.half(side) * np.minimum(chest.lung * np.float32(0.3), 1)
    x, y = site.point(side, 0.35, 0.98)
    haze = site.grade.uniform(0.15, 0.4) * np.exp(-blob(chest, x, y, 6.0, 2.6))
    haze = haze * site.half(side)
    shown = bands + np.float32(0.74) * haze * chest.lung
    return Sign(boxes=boxes_of(chest, shown), fill=haze, water=bands)


def infiltration(site: Site) -> Sign:
    """Two to five faint, ill-defined patches, mostly perihilar and basal."""
    chest = site.chest
    sides = (-1.0, 1.0) if site.place.random() < 0.45 else (site.side(),)
    cloud = texture(site, 1.6, 0.6)
    fill = np.zeros_like(chest.lung)
    parts = []
    for side in sides:
        patch = np.zeros_like(chest.lung)
        for _ in range(int(site.place.integers(1, 4))):
            x, y = site.point(side, site.place.uniform(0.1, 0.75), site.place.uniform(0.35, 0.95))
            rx, ry = site.place.uniform(1.8, 3.6), site.place.uniform(1.8, 4.0)
            dense = site.grade.uniform(0.16, 0.36)
            patch += dense * np.exp(-blob(chest, x, y, rx, ry, site.place.uniform(-0.6, 0.6)))
        patch = np.clip(patch * (1 + 0.55 * cloud), 0, 0.6) * site.half(side)
        parts.append(patch * chest.lung)
        fill += patch
    return Sign(boxes=boxes_of(chest, *parts), fill=fill)


def mass(site: Site) -> Sign:
    """A lobulated opacity more than 3 cm across; now and then a second one."""
    count = 2 if site.place.random() < 0.2 else 1
    return _lumps(site, count, 1.65, 3.6, density=0.9, rough=0.09)


def nodule(site: Site) -> Sign:
    """One to three round opacities of 1 to 2.8 cm."""
    count = int(site.place.choice([1, 2, 3], p=[0.65, 0.22, 0.13]))
    return _lumps(site, count, 0.5, 1.4, density=1.0, rough=0.04)


def _lumps(
    site: Site, count: int, least: float, most: float, *, density: float, rough: float
) -> Sign:
    chest = site.chest
    water = np.zeros_like(chest.lung)
    parts = []
    for _ in range(count):
        side = site.side()
        x, y = site.point(side, site.place.uniform(0.12, 0.85), site.place.uniform(0.12, 0.92))
        radius = site.place.uniform(least, most) * site.grade.uniform(0.95, 1.05)
        phase, lobes = site.place.uniform(0, 6.3), int(site.place.integers(3, 6))
        round_ = blob(chest, x, y, radius, radius * site.place.uniform(0.85, 1.15))
        angle = np.arctan2(chest.canvas.y - y, chest.canvas.x - x)
        wavy = 1 + rough * np.sin(lobes * angle + phase) + rough * np.sin(2 * angle - phase)
        chord = 2 * radius * density * np.sqrt(np.maximum(1 - round_ / wavy**2, 0))
        lump = np.minimum(chord, 0.8 * chest.lung + 0.4).astype(np.float32)
        lump *= ramp(chest.rim, 0.4) * ramp(chest.above + 1.5, 1.0)
        water += lump
        parts.append(lump)
    return Sign(boxes=boxes_of(chest, *parts), water=water)


def pneumonia(site: Site) -> Sign:
    """A fluffy patch that fills most of one lobe, denser towards its centre."""
    chest = site.chest
    side = site.side()
    x, y, rx, ry = _lobe(site, side)
    cloud = texture(site, 1.5, 0.5)
    inside = ramp(1.0 - blob(chest, x, y, rx, ry) + 0.4 * cloud, 1.3)
    dense = site.grade.uniform(0.34, 0.58)
    fill = np.clip(dense * inside * (1 + 0.28 * cloud), 0, 0.9) * site.half(side)
    fill = fill * (1 - 0.45 * _bronchi(site, side, x, y))
    return Sign(boxes=boxes_of(chest, fill * chest.lung), fill=fill)


def consolidation(site: Site) -> Sign:
    """A dense, even opacity with a straight fissure edge and dark branching bronchi inside."""
    chest = site.chest
    side = site.side()
    x, y, rx, ry = _lobe(site, side)
    wave = texture(site, 2.2, 0.7)
    inside = ramp(1.0 - blob(chest, x, y, rx, ry) + 0.30 * wave, 0.9)
    edge = y + 0.75 * ry * (1 if y < 0.5 else -1)
    slope, bow = site.place.uniform(-0.25, 0.25), site.place.uniform(-0.04, 0.04)
    off = chest.canvas.x - np.float32(x)
    fissure = (chest.canvas.y - edge - slope * off - bow * off * off) * (-1 if y < 0.5 else 1)
    dense = site.grade.uniform(0.58, 0.85) * (1 + 0.07 * wave)
    fill = np.clip(dense, 0, 0.95) * inside * ramp(fissure, 0.7) * site.half(side)
    fill = fill * (1 - 0.42 * _bronchi(site, side, x, y))
    return Sign(boxes=boxes_of(chest, fill * chest.lung), fill=fill)


def _lobe(site: Site, side: float) -> tuple[float, float, float, float]:
    """Centre and radii in cm of an upper, middle or lower zone."""
    zone = site.place.choice(3, p=[0.27, 0.25, 0.48])
    across = (0.45, 0.35, 0.45)[zone] + site.place.uniform(-0.12, 0.12)
    down = (0.27, 0.68, 0.85)[zone] + site.place.uniform(-0.05, 0.05)
    x, y = site.point(side, across, down)
    size = site.grade.uniform(0.85, 1.15)
    return x, y, size * site.place.uniform(3.4, 4.6), size * site.place.uniform(3.0, 4.6)


def _bronchi(site: Site, side: float, x: float, y: float) -> Array:
    """Air-filled bronchi from the hilum through (x, y): 0..1, 1 in their middle."""
    chest = site.chest
    hx, hy = hilum_of(chest.anatomy, side)
    heading = np.arctan2(y - hy, x - hx)
    count = 6
    angle = heading + np.linspace(-0.7, 0.7, count) + site.grade.normal(0, 0.16, count)
    length = (np.hypot(x - hx, y - hy) + 2.2) * site.grade.uniform(0.6, 1.1, count)
    share = np.linspace(0.2, 1, 16)[None, :]
    bend = angle[:, None] + share * site.grade.normal(0, 0.3, (count, 1))
    xs = hx + length[:, None] * share * np.cos(bend)
    ys = hy + length[:, None] * share * np.sin(bend)
    calibre = 0.19 - 0.09 * share
    radius = np.maximum(calibre, 0.5 * chest.canvas.px) + 0 * xs
    parts = [a.astype(np.float32) for a in (xs, ys, radius, calibre / radius)]
    return np.minimum(splat(chest.canvas, tubes(chest.canvas, *parts)), np.float32(1))


def edema(site: Site) -> Sign:
    """Bat-wing haze around both hila, and short horizontal Kerley B lines at the bases."""
    chest = site.chest
    cloud = texture(site, 1.4, 0.5)
    dense = site.grade.uniform(0.20, 0.55)
    fill = np.zeros_like(chest.lung)
    parts, lines = [], np.zeros_like(chest.lung)
    for side in (-1.0, 1.0):
        hx, hy = hilum_of(chest.anatomy, side)
        wing = np.exp(-(blob(chest, hx + side * 1.2, hy + 1.6, 4.6, 6.0) ** np.float32(0.9)))
        wing = dense * wing * ramp(chest.rim - 1.8, 2.5) * site.half(side)
        wing = np.clip(wing * (1 + 0.3 * cloud), 0, 0.85)
        fill += wing
        kerley = _kerley(site, side)
        lines += kerley
        parts.append(wing * chest.lung + kerley)
    return Sign(boxes=boxes_of(chest, *parts), fill=fill, water=lines)


def _kerley(site: Site, side: float) -> Array:
    chest = site.chest
    count = 9
    y = np.array([site.point(side, 1.0, d)[1] for d in np.linspace(0.68, 1.02, count)])
    wall = np.interp(y, chest.canvas.line(), chest.wall)
    length = site.grade.uniform(1.0, 2.0, count)
    share = np.linspace(0, 1, 8)[None, :]
    xs = side * (wall[:, None] - 0.1 - length[:, None] * share)
    ys = y[:, None] + 0.12 * share + site.grade.normal(0, 0.15, (count, 1))
    radius = np.full(xs.shape, max(0.06, 0.45 * chest.canvas.px))
    parts = [a.astype(np.float32) for a in (xs, ys, radius, np.full(xs.shape, 0.75))]
    shown: Array = splat(chest.canvas, tubes(chest.canvas, *parts)) * np.minimum(chest.lung, 1)
    return shown


def fibrosis(site: Site) -> Sign:
    """A net of fine lines at both bases and along the pleura."""
    chest = site.chest
    net = np.zeros_like(chest.lung)
    for cell, width in ((0.95, 0.22), (0.6, 0.26)):
        field = smooth_field(site.grade, chest.canvas, max(cell, 2.6 * chest.canvas.px))
        net += np.exp(-((field / np.float32(width)) ** 2))
    low = ramp(4.0 - chest.above, 7.0) + 0.30 * ramp(2.0 - chest.rim, 2.5)
    place = low * ramp(chest.above, 1.0) * ramp(6.5 - chest.rim, 6.0)
    water = site.grade.uniform(1.1, 1.9) * net * place * np.minimum(chest.lung * 0.25, 1)
    parts = [ramp(place - 0.45, 0.3) * chest.lung * site.half(side) for side in (-1.0, 1.0)]
    return Sign(boxes=boxes_of(chest, *parts), fill=0.12 * np.minimum(place, 1), water=water)
