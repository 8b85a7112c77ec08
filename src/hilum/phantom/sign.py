"""What a finding does to the beam, where it sits, and the shapes that signs share."""

from dataclasses import dataclass

import numpy as np

from hilum.phantom.anatomy import affected_side
from hilum.phantom.chest import Chest
from hilum.phantom.raster import Array, BoxCm, extent, smooth_field

__all__ = ["Sign", "Site", "blob", "boxes_of", "texture"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """The change one finding makes; maps are (n, n) float32 on the canvas, None for no change.

    Attributes:
        boxes: around each visible part.
        fill: share 0..1 of the lung's air replaced by tissue or fluid.
        water: soft tissue added, cm; negative for gas.
        emptied: share 0..1 of the lung tissue that is gone (air only, no vessels).
    """

    boxes: tuple[BoxCm, ...]
    fill: Array | None = None
    water: Array | None = None
    emptied: Array | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """Where and how strongly to draw a finding.

    Attributes:
        place: stream of the patient: side and position, alike on all images.
        grade: stream of the image: size, density, texture.
    """

    chest: Chest
    place: np.random.Generator
    grade: np.random.Generator
    is_ap: bool

    def side(self) -> float:
        """Draw the next side: -1 right, +1 left."""
        return affected_side(self.place)

    def point(self, side: float, across: float, down: float) -> tuple[float, float]:
        """Return x, y in cm; `across` is 0 at the mediastinum and 1 at the pleura, `down` 0 at the
        apex and 1 at the dome.
        """
        body, line = self.chest.anatomy, self.chest.canvas.line()
        dome = body.dome_right_y if side < 0 else body.dome_left_y
        y = body.apex_y + down * (dome - body.apex_y)
        border = self.chest.right_border if side < 0 else self.chest.left_border
        inner = max(abs(float(np.interp(y, line, border))), 2.8)
        outer = float(np.interp(y, line, self.chest.wall))
        return side * (inner + across * (outer - inner)), y

    def half(self, side: float) -> Array:
        """1 in the half of the chest that holds the lung of `side`, else 0; shape (1, n)."""
        own: Array = (self.chest.side == side).astype(np.float32)
        return own


def blob(chest: Chest, x: float, y: float, rx: float, ry: float, tilt: float = 0.0) -> Array:
    """Squared elliptic distance from (x, y): 1 on the ellipse with radii rx, ry."""
    dx, dy = chest.canvas.x - np.float32(x), chest.canvas.y - np.float32(y)
    c, s = np.float32(np.cos(tilt)), np.float32(np.sin(tilt))
    across, down = (c * dx + s * dy) / np.float32(rx), (c * dy - s * dx) / np.float32(ry)
    squared: Array = across * across + down * down
    return squared


def texture(site: Site, coarse_cm: float, fine_cm: float) -> Array:
    """Cloudy random field of unit variance with structure at two scales."""
    canvas = site.chest.canvas
    coarse = smooth_field(site.grade, canvas, coarse_cm)
    fine = smooth_field(site.grade, canvas, fine_cm)
    mixed: Array = np.float32(0.8) * coarse + np.float32(0.6) * fine
    return mixed


def boxes_of(chest: Chest, *parts: Array, share: float = 0.25) -> tuple[BoxCm, ...]:
    """Boxes around the parts that show, judged by the beam path they change (cm)."""
    found = (extent(chest.canvas, part, share) for part in parts)
    return tuple(box for box in found if box is not None)
