"""Pictures of radiographs: one with a bar per finding, and a montage of many."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from hilum.errors import require
from hilum.evaluation.figures import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    PALE,
    clean_axes,
    new_figure,
    panels,
    spoken,
)

__all__ = ["plot_montage", "plot_prediction"]

Pixels = npt.NDArray[np.uint8]
_SHOWN_PIXELS = 512  # the longer side; finer than these pictures are printed


def plot_prediction(
    pixels: Pixels,
    probabilities: Mapping[str, float],
    *,
    labels: Mapping[str, float | None] | None = None,
    title: str = "",
    overlay: Pixels | None = None,
    finding: str = "",
) -> Figure:
    """Draw a radiograph and beside it a bar per finding.

    Args:
        pixels: uint8, (H, W) or (H, W, 3).
        probabilities: per finding name, in [0, 1]; drawn in this order, the first on top.
        labels: per finding 1 if known to be present; those bars are orange and say "labelled".
        title: above the radiograph, such as the file name.
        overlay: the radiograph under a heat map, uint8 (H, W, 3), drawn between the two.
        finding: the one it is about; its name is bold.
    """
    require(len(probabilities) > 0, "probabilities", "one per finding", probabilities)
    height = max(2.4, 0.6 + 0.19 * len(probabilities))
    figure = new_figure(6.6 if overlay is None else 9.6, height)
    ratios = (1.15, 1) if overlay is None else (1.15, 1.15, 1)
    picture, *between, bars = figure.subplots(1, len(ratios), width_ratios=ratios)
    _show(picture, pixels, title)
    if overlay is not None:
        _show(between[0], overlay, f"where it looks for {spoken(finding)}" if finding else "")
    _bars(bars, probabilities, {name for name, label in (labels or {}).items() if label == 1})
    for label, name in zip(bars.get_yticklabels(), probabilities, strict=True):
        label.set_fontweight("bold" if name == finding else "normal")
    return figure


def _bars(bars: Axes, probabilities: Mapping[str, float], present: set[str]) -> None:
    clean_axes(bars)
    for y, (name, probability) in enumerate(probabilities.items()):
        color = ORANGE if name in present else BLUE
        bars.barh(y, 1, height=0.66, color=PALE, alpha=0.35)
        bars.barh(y, probability, height=0.66, color=color)
        note = f"{probability:.2f}" + ("  labelled" if name in present else "")
        bars.text(1.03, y, note, va="center", fontsize=8, color=ORANGE if name in present else INK)
    bars.set_yticks(range(len(probabilities)), [spoken(name) for name in probabilities])
    bars.set(xlim=(0, 1.5), ylim=(len(probabilities) - 0.4, -0.6), xticks=(0, 0.5, 1))
    bars.spines["bottom"].set_bounds(0, 1)
    bars.set_xlabel("Probability given by the model", fontsize=8, color=INK, loc="left")


def plot_montage(
    images: Sequence[Pixels], captions: Sequence[str] = (), *, columns: int = 4
) -> Figure:
    """Draw radiographs side by side, each with its caption.

    Args:
        images: uint8, (H, W) or (H, W, 3), of any sizes.
        captions: one per image, such as its finding names; none for pictures alone.
        columns: pictures per row.
    """
    require(len(images) > 0, "images", "at least one image", len(images))
    fits = len(captions) in (0, len(images))
    require(fits, "captions", f"{len(images)}, one per image", len(captions))
    require(columns > 0, "columns", "a positive number", columns)
    figure, all_axes = panels(len(images), columns=columns, width_inches=10, aspect=1.08)
    for axes, pixels, caption in zip(all_axes, images, captions or [""] * len(images), strict=True):
        _show(axes, pixels, caption)
    return figure


def _show(axes: Axes, pixels: Pixels, title: str) -> None:
    require(pixels.dtype == np.uint8, "pixels", "uint8", pixels.dtype)
    image = Image.fromarray(pixels)
    image.thumbnail((_SHOWN_PIXELS, _SHOWN_PIXELS), Image.Resampling.LANCZOS)
    axes.imshow(np.asarray(image), cmap="gray", vmin=0, vmax=255)
    axes.set_axis_off()
    axes.set_title(title, fontsize=8, color=GREY if not title else INK, loc="left", wrap=True)
