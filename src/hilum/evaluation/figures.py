"""What all pictures share: size, colours, clean axes, and the way into a file or an HTML page.

Only matplotlib's object interface is used, never pyplot: no global figure list, no backend chosen,
nothing to close, and safe in threads. Colours are those of Okabe and Ito (2008), told apart by
colour-blind readers and in grey print.
"""

import base64
import io
import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = [
    "ANY_FINDING",
    "BLUE",
    "COLORS",
    "GREY",
    "INK",
    "ORANGE",
    "PALE",
    "clean_axes",
    "data_uri",
    "figure_to_png",
    "figure_to_svg",
    "new_figure",
    "number",
    "panels",
    "spoken",
    "with_interval",
]

ANY_FINDING = "Any finding"  # its key beside the names of findings
BLUE, ORANGE = "#0072B2", "#D55E00"
COLORS = ("#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#8C6D00", "#000000", "#7A4FBF", "#E69F00")
INK, GREY, PALE = "#1f2933", "#6b7683", "#d5dbe1"


def new_figure(width_inches: float, height_inches: float) -> Figure:
    """Return an empty figure that keeps its parts from overlapping."""
    return Figure(figsize=(width_inches, height_inches), layout="constrained", facecolor="white")


def panels(
    count: int, *, columns: int, width_inches: float, aspect: float
) -> tuple[Figure, list[Axes]]:
    """Return a figure with `count` equal panels, row by row; `aspect` is a panel's height/width."""
    rows = max(1, math.ceil(count / columns))
    figure = new_figure(width_inches, 0.25 + rows * width_inches / columns * aspect)
    grid = figure.subplots(rows, columns, squeeze=False)
    axes: Sequence[Axes] = grid.ravel().tolist()
    for unused in axes[count:]:
        unused.set_axis_off()
    return figure, list(axes[:count])


def clean_axes(axes: Axes, *, grid: bool = False) -> None:
    """Leave only what carries information: two spines, small ticks, a pale grid where asked."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(labelcolor=INK, labelsize=8, color=GREY, length=3)
    if grid:
        axes.grid(color=PALE, linewidth=0.6)
        axes.set_axisbelow(True)


def spoken(finding: str) -> str:
    """Write a finding's name as people do: `Pleural_Thickening` is "Pleural Thickening"."""
    return finding.replace("_", " ")


def number(value: float | None, digits: int = 2) -> str:
    """Write a number, or "undefined" for None."""
    return "undefined" if value is None else f"{value:.{digits}f}"


def with_interval(value: float | None, interval: tuple[float, float] | None) -> str:
    """Write an AUC and its interval: "0.81 (0.75 to 0.87)"."""
    if value is None or interval is None:
        return number(value)
    return f"{value:.2f} ({interval[0]:.2f} to {interval[1]:.2f})"


def figure_to_svg(figure: Figure) -> str:
    """Return the figure as SVG text; letters are drawn as shapes, so no font is needed to view."""
    buffer = io.StringIO()
    # Raster parts (radiographs) keep 200 dots per inch; no date, so equal figures give equal text.
    figure.savefig(buffer, format="svg", dpi=200, metadata={"Date": None})
    return buffer.getvalue()


def figure_to_png(figure: Figure, dpi: int = 150) -> bytes:
    """Return the figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def data_uri(content: str | bytes) -> str:
    """Return SVG text or PNG bytes as a `data:` URI for the `src` of an HTML image."""
    if isinstance(content, str):
        return "data:image/svg+xml;base64," + base64.b64encode(content.encode()).decode()
    return "data:image/png;base64," + base64.b64encode(content).decode()
