"""Signs of pleura, heart, diaphragm and of the lung as a whole."""

import numpy as np

from hilum.phantom.raster import Array, ramp
from hilum.phantom.sign import Sign, Site, blob, boxes_of

__all__ = [
    "cardiomegaly",
    "effusion",
    "emphysema",
    "hernia",
    "pleural_thickening",
    "pneumothorax",
]


def cardiomegaly(site: Site) -> Sign:
    """A wide heart; its size is set in the anatomy, here is its box."""
    chest, line = site.chest, site.chest.canvas.line()
    low = max(chest.anatomy.dome_left_y, chest.anatomy.dome_right_y)
    rows = (line > -1.0) & (line < low)
    left, right = float(chest.right_border[rows].min()), float(chest.left_border[rows].max())
    return Sign(boxes=((left, -1.0, right, low),))


def effusion(site: Site) -> Sign:
    """Fluid that fills the costophrenic angle and climbs the lateral wall as a meniscus."""
    chest = site.chest
    sides = (-1.0, 1.0) if site.place.random() < 0.3 else (site.side(),)
    fill = np.zeros_like(chest.lung)
    parts = []
    for side in sides:
        amount = site.grade.beta(1.3, 2.2)
        body = chest.anatomy
        dome = body.dome_right_y if side < 0 else body.dome_left_y
        level = dome + 2.2 - 9.5 * amount
        climb = site.grade.uniform(2.2, 4.0)
        away = np.abs(chest.canvas.x) / body.half_width
        surface = level - climb * np.clip(away, 0, 1.05) ** 5 + 2.2 * (1 - away)
        soft = 2.4 if site.is_ap else 0.9
        fluid = 0.94 * ramp(chest.canvas.y - surface, soft)
        if site.is_ap:
            # Lying down, fluid also spreads behind the lung as a veil.
            fluid = np.maximum(fluid, 0.22 * ramp(chest.canvas.y - surface + 5.0, 10.0))
        own = fluid * site.half(side)
        fill += own
        parts.append(own * np.minimum(chest.lung, 4.0))
    return Sign(boxes=boxes_of(chest, *parts, share=0.3), fill=fill)


def pneumothorax(site: Site) -> Sign:
    """Air between wall and lung: a fine pleural line, nothing but black beyond it."""
    chest, body = site.chest, site.chest.anatomy
    side = site.side()
    gap = 0.7 + 3.6 * site.grade.beta(1.2, 1.8)
    # Air rises: the gap is widest at the apex and closes towards the base.
    depth = (chest.canvas.y - body.apex_y) / (body.dome_right_y - body.apex_y)
    width = gap * np.clip(1.15 - 0.75 * depth, 0.12, None).astype(np.float32)
    inside = chest.rim - width
    own = site.half(side)
    emptied = ramp(-inside, 0.3) * own
    fine = np.float32(max(0.075, 0.55 * chest.canvas.px))
    line = np.exp(-((inside / fine) ** 2)) * (0.06 / fine) * own
    line = line * ramp(chest.lung - 1.0, 2.0)
    shown = emptied * chest.lung
    collapsed = 0.10 * ramp(inside, 0.6) * own
    return Sign(boxes=boxes_of(chest, shown), fill=collapsed, water=line, emptied=emptied)


def pleural_thickening(site: Site) -> Sign:
    """A band of tissue along the lateral wall, or a cap over the apex."""
    chest = site.chest
    side = site.side()
    thick = site.place.uniform(0.8, 1.7) * site.grade.uniform(0.9, 1.1)
    apical = site.place.random() < 0.35
    middle = site.point(side, 1.0, 0.05 if apical else site.place.uniform(0.5, 0.85))[1]
    reach = 3.2 if apical else site.place.uniform(4.0, 7.5)
    along = np.exp(-(((chest.canvas.y - middle) / reach) ** 4))
    wave = 1 + 0.25 * np.sin(chest.canvas.y * np.float32(site.place.uniform(0.8, 1.8)))
    width = thick * wave * along * (1.5 if apical else 1.0)
    band = ramp(width - chest.rim, 0.3) * ramp(width - 0.35, 0.3) * site.half(side)
    shown = band * ramp(chest.lung - 0.5, 1.0)
    fill, water = 0.8 * band, (site.grade.uniform(1.0, 2.0) * shown).astype(np.float32)
    return Sign(boxes=boxes_of(chest, shown), fill=fill.astype(np.float32), water=water)


def emphysema(site: Site) -> Sign:
    """Bullae in lungs that the anatomy has already made large, dark and flat below."""
    chest = site.chest
    emptied = np.zeros_like(chest.lung)
    walls = np.zeros_like(chest.lung)
    for _ in range(int(site.place.integers(1, 5))):
        x, y = site.point(site.side(), site.place.uniform(0.3, 0.85), site.place.uniform(0.05, 0.5))
        radius = site.place.uniform(1.0, 2.6)
        tilt = site.place.uniform(-1, 1)
        off = np.sqrt(blob(chest, x, y, radius, radius * site.place.uniform(0.6, 1.0), tilt))
        emptied = np.maximum(emptied, site.grade.uniform(0.4, 0.8) * ramp(1 - off, 0.5))
        fine = max(0.07, 0.5 * chest.canvas.px) / radius
        walls += np.exp(-(((off - 1) / np.float32(fine)) ** 2)) * np.float32(0.15)
    walls *= np.minimum(chest.lung * np.float32(0.3), 1)
    lungs = [chest.lung * site.half(side) for side in (-1.0, 1.0)]
    return Sign(boxes=boxes_of(chest, *lungs, share=0.15), water=walls, emptied=emptied)


def hernia(site: Site) -> Sign:
    """Stomach above the diaphragm: a round mass behind the heart with gas over a fluid level."""
    chest, body = site.chest, site.chest.anatomy
    radius = site.place.uniform(2.6, 4.0) * site.grade.uniform(0.95, 1.05)
    x = body.shift + site.place.uniform(-0.6, 2.4)
    y = body.dome_left_y - 0.55 * radius
    angle = np.arctan2(chest.canvas.y - y, chest.canvas.x - x)
    phase = site.place.uniform(0, 6.3)
    wavy = 1 + 0.06 * np.sin(2 * angle + phase) + 0.04 * np.sin(3 * angle - phase)
    inside = blob(chest, x, y, radius, 0.88 * radius) / (wavy * wavy)
    chord = 1.7 * radius * np.sqrt(np.maximum(1 - inside, 0))
    level = y - radius * site.grade.uniform(-0.1, 0.4)
    gas = ramp(level - chest.canvas.y, 0.3) * ramp(0.80 - inside, 0.25)
    water = (0.42 * chord * (1 - gas) - 0.62 * chord * gas).astype(np.float32)
    rim: Array = np.exp(-(((np.sqrt(inside) - 0.95) / 0.07) ** 2)) * np.float32(0.55)
    shown = np.abs(water) * ramp(1 - inside, 0.1)
    return Sign(boxes=boxes_of(chest, shown), water=water + rim)
