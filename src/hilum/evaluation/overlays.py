"""Heat maps over radiographs: blended as arrays, and as a figure with names and a scale.

Strength is opacity and hue together, from nothing over orange to yellow: where a map is empty the
radiograph stays as it is, and the bright places stay apart in grey print and for the colour-blind.
"""

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from hilum.errors import require
from hilum.evaluation.boxes import Box
from hilum.evaluation.figures import GREY, INK, panels, spoken

__all__ = ["overlay", "plot_explanations"]

Pixels = npt.NDArray[np.uint8]
Heat = npt.NDArray[np.float32]

_WEAK = np.array([213, 94, 0], np.float32)  # Okabe and Ito's vermilion and yellow
_STRONG = np.array([240, 228, 66], np.float32)
_BOX = "#56B4E9"
_OPACITY = 0.75
_HALF = 0.5  # the white line
_SHOWN_PIXELS = 512


def overlay(pixels: Pixels, heat: Heat) -> Pixels:
    """Blend a heat map into a radiograph.

    Args:
        pixels: uint8 (H, W).
        heat: float (H, W) in [0, 1]; 0 leaves the pixel as it is.

    Returns:
        uint8 (H, W, 3).
    """
    require(pixels.ndim == 2 and pixels.dtype == np.uint8, "pixels", "uint8 (H, W)", pixels.shape)
    require(heat.shape == pixels.shape, "heat", f"of shape {pixels.shape}", heat.shape)
    inside = bool(np.all((heat >= 0) & (heat <= 1)))
    require(inside, "heat", "in [0, 1]", (float(heat.min()), float(heat.max())))
    strength = heat[..., None].astype(np.float32)
    color = _WEAK * (1 - strength) + _STRONG * strength
    opacity = _OPACITY * strength
    blended = pixels[..., None] * (1 - opacity) + color * opacity
    return cast(Pixels, np.rint(blended).astype(np.uint8))


def plot_explanations(
    pixels: Pixels,
    heat: Mapping[str, Heat],
    *,
    captions: Mapping[str, str] | None = None,
    boxes: Mapping[str, Sequence[Box]] | None = None,
    title: str = "",
) -> Figure:
    """Draw a radiograph, and beside it one overlay per finding.

    Args:
        pixels: uint8 (H, W).
        heat: per finding float (H, W) in [0, 1], drawn in this order.
        captions: per finding, such as its probability; set after its name.
        boxes: per finding, where readers marked it, in pixels of the radiograph; drawn in blue.
        title: above the radiograph, such as the file name.
    """
    require(len(heat) > 0, "heat", "at least one map", len(heat))
    height, width = pixels.shape
    columns = min(4, len(heat) + 1)
    aspect = 0.93 * min(2.0, height / width) + 0.06
    figure, axes = panels(len(heat) + 1, columns=columns, width_inches=2.8 * columns, aspect=aspect)
    _show(axes[0], np.repeat(pixels[..., None], 3, axis=2), title)
    for one, (finding, values) in zip(axes[1:], heat.items(), strict=True):
        caption = f"{spoken(finding)} {(captions or {}).get(finding, '')}".strip()
        _show(one, overlay(pixels, values), caption)
        if values.max() > _HALF > values.min():
            one.contour(values, levels=[_HALF], colors="white", linewidths=0.8)
        if not values.any():
            one.text(
                0.5,
                0.03,
                "empty: nothing speaks for it",
                transform=one.transAxes,
                ha="center",
                fontsize=8,
                color="white",
            )
        for box in (boxes or {}).get(finding, ()):
            corner, size = (box.left, box.top), (box.width, box.height)
            one.add_patch(Rectangle(corner, *size, fill=False, edgecolor=_BOX, linewidth=1.4))
    _scale(figure, axes)
    return figure


def _show(axes: Axes, colored: Pixels, title: str) -> None:
    height, width = colored.shape[:2]
    image = Image.fromarray(colored)
    image.thumbnail((_SHOWN_PIXELS, _SHOWN_PIXELS), Image.Resampling.LANCZOS)
    # The axes keep the radiograph's own pixels, so that boxes fall into place after shrinking.
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    axes.imshow(np.asarray(image), extent=extent, interpolation="antialiased")
    axes.set_axis_off()
    axes.set_title(title, fontsize=8, color=INK, loc="left", wrap=True)


def _scale(figure: Figure, axes: Sequence[Axes]) -> None:
    """A bar of the colours on mid-grey, as they look over lung."""
    grey = np.full((1, 64), 90, dtype=np.uint8)
    colors = overlay(grey, np.linspace(0, 1, 64, dtype=np.float32)[None])[0] / 255
    scale = ScalarMappable(Normalize(0, 1), LinearSegmentedColormap.from_list("heat", colors))
    bar = figure.colorbar(scale, ax=list(axes), shrink=0.6, pad=0.01, aspect=25)
    bar.set_ticks([0, _HALF, 1], labels=["nothing", "half", "strongest\nin this map"])
    bar.ax.tick_params(labelsize=7, labelcolor=INK, color=GREY, length=2)
    bar.ax.axhline(_HALF, color="white", linewidth=0.8)
    bar.outline.set_visible(False)
