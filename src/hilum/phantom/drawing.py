"""Draw one phantom: anatomy, findings, devices, exposure.

`render` is a pure function of config and spec. Path lengths are added, weighted with their
attenuation and turned into grey by the film curve, so superposition (a rib over a nodule, a
consolidation that swallows the heart's border) comes out by itself.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from hilum.phantom.anatomy import anatomy, pose
from hilum.phantom.bones import bones
from hilum.phantom.chest import Chest, chest
from hilum.phantom.config import PhantomConfig, Purpose, stream
from hilum.phantom.devices import collimation, devices, marker
from hilum.phantom.film import BONE_MU, TISSUE_MU, Projection, expose
from hilum.phantom.plan import ImageSpec
from hilum.phantom.raster import Array, Canvas, ramp, smooth_field
from hilum.phantom.sign import Sign
from hilum.phantom.signs import signs
from hilum.phantom.vessels import airways, vessels

__all__ = ["Box", "Phantom", "phantom", "render"]

# The canvas is a little larger than the detector: tilt and shift look beyond its edges.
_MARGIN = 1.06


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Where a finding shows: left, top, width and height in pixels, inside the image."""

    finding: str
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Phantom:
    """A drawn image, uint8 (H, W), air dark, and the boxes of its findings."""

    pixels: npt.NDArray[np.uint8]
    boxes: tuple[Box, ...]


def render(config: PhantomConfig, spec: ImageSpec) -> npt.NDArray[np.uint8]:
    """Return the pixels of one image, uint8, shape (size_px, size_px)."""
    return phantom(config, spec).pixels


def phantom(config: PhantomConfig, spec: ImageSpec) -> Phantom:
    """Return one image with the boxes of its findings; deterministic in (config, spec)."""
    _keep_freed_memory()
    body, position = anatomy(config, spec), pose(config, spec)
    is_ap = spec.view == "AP"
    detector = Canvas(config.size_px, spec.field_cm / config.size_px)
    canvas = Canvas(round(config.size_px * _MARGIN), detector.px)
    air = chest(canvas, body, is_ap=is_ap)
    present = signs(air, config, spec)
    depth = _optical_depth(air, present, config, spec)
    texture = stream(config, Purpose.TEXTURE, spec.patient_id)
    projection = Projection.of(canvas, detector, position, texture)
    noise = stream(config, Purpose.NOISE, spec.patient_id, spec.index)
    grey = expose(projection(depth), body, position, detector.px, noise)
    grey = _annotate(grey, detector, config, spec)
    found = [(name, projection.box(b)) for name, sign in present.items() for b in sign.boxes]
    return Phantom(
        pixels=np.clip(grey + np.float32(0.5), 0, 255).astype(np.uint8),
        boxes=tuple(
            Box(finding=name, x=b[0], y=b[1], width=b[2], height=b[3]) for name, b in found if b
        ),
    )


@lru_cache(maxsize=1)
def _keep_freed_memory() -> None:
    """Make glibc keep freed maps for the next one instead of returning them to the system.

    Its thresholds follow the largest block freed so far (mallopt(3), M_MMAP_THRESHOLD); without
    this, fresh pages for every temporary map take a quarter of the time.
    """
    np.empty(30_000_000, np.uint8)


def _optical_depth(
    air: Chest, present: dict[str, Sign], config: PhantomConfig, spec: ImageSpec
) -> Array:
    body, canvas, is_ap = air.anatomy, air.canvas, spec.view == "AP"
    own = stream(config, Purpose.ANATOMY, spec.patient_id, part=1)
    vessel = vessels(air, own)
    grain = 0.30 * smooth_field(own, canvas, 0.5) + 0.18 * smooth_field(own, canvas, 1.5)
    lung_share = np.minimum(air.lung * np.float32(1 / 12), 1)
    vessel = vessel + grain * lung_share
    density, opened = np.full_like(vessel, body.aerated), np.ones_like(vessel)
    water = np.zeros_like(vessel)
    for sign in present.values():
        if sign.emptied is not None:
            density = density * (1 - sign.emptied)
            vessel = vessel * (1 - sign.emptied)
        if sign.fill is not None:
            opened = opened * (1 - sign.fill)
        if sign.water is not None:
            water += sign.water
    tissue = air.body - air.lung * ((1 - density) * opened) + vessel * opened + water
    tissue += ramp(air.body - 4, 6) * (
        np.float32(0.35) * smooth_field(own, canvas, 5.0) - airways(canvas, body)
    )
    tissue -= _stomach_bubble(air, config, spec)
    depth = TISSUE_MU * tissue + BONE_MU * bones(air, is_ap=is_ap)
    extra = devices(canvas, body, stream(config, Purpose.DEVICES, spec.patient_id, spec.index),
                    is_ap=is_ap)  # fmt: skip
    result: Array = depth if extra is None else depth + extra
    return result


def _stomach_bubble(air: Chest, config: PhantomConfig, spec: ImageSpec) -> Array:
    """Gas under the left dome, cm; level below when upright (PA)."""
    rng = stream(config, Purpose.DEVICES, spec.patient_id, spec.index, part=1)
    if rng.random() < 0.4:
        return np.zeros((1, 1), np.float32)
    body, canvas = air.anatomy, air.canvas
    rx, ry = rng.uniform(1.6, 3.6), rng.uniform(0.9, 2.0)
    x, y = rng.uniform(4.0, 7.0), body.dome_left_y + 0.7 + ry
    off = ((canvas.x - x) / rx) ** 2 + ((canvas.y - y) / ry) ** 2
    gas = rng.uniform(2.0, 4.5) * np.sqrt(np.maximum(1 - off, 0))
    if spec.view == "PA":
        gas = gas * ramp(y + 0.3 * ry - canvas.y, 0.3)
    bubble: Array = gas
    return bubble


def _annotate(grey: Array, detector: Canvas, config: PhantomConfig, spec: ImageSpec) -> Array:
    rng = stream(config, Purpose.FILM, spec.patient_id, spec.index)
    opened = collimation(detector, rng)
    if opened is not None:
        grey = 6 + (grey - 6) * opened
    letters = marker(detector, rng, is_ap=spec.view == "AP")
    if letters is not None:
        grey = grey + (236 - grey) * letters
    return grey
