"""Pictures of curves: precision-recall with bands, reliability, robustness; and who is mistaken.

Each is a function from plain values to a Figure, like those of `hilum.evaluation.plots`.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hilum.errors import require
from hilum.evaluation.bands import CurveBands
from hilum.evaluation.bootstrap import Interval
from hilum.evaluation.cooccurrence import Cooccurrence
from hilum.evaluation.figures import (
    ANY_FINDING,
    BLUE,
    GREY,
    INK,
    ORANGE,
    clean_axes,
    new_figure,
    panels,
    spoken,
)

__all__ = [
    "plot_confusion",
    "plot_precision_recall",
    "plot_reliability",
    "plot_robustness",
]

ReliabilityPoint = tuple[float, float, Interval | None, int]  # predicted, observed, interval, images
LevelPoint = tuple[float | str, float | None, Interval | None]


def plot_precision_recall(
    curves: Mapping[str, CurveBands | None], why_undefined: Mapping[str, str] | None = None
) -> Figure:
    """Draw one precision-recall curve per finding with its band and its prevalence.

    Args:
        curves: by finding name, None where undefined.
        why_undefined: a short reason by finding name.
    """
    require(len(curves) > 0, "curves", "at least one finding", curves)
    figure, all_axes = _unit_panels(len(curves))
    for axes, (name, curve) in zip(all_axes, curves.items(), strict=True):
        axes.set_title(spoken(name), fontsize=9, color=INK, loc="left")
        if curve is None:
            text = f"undefined\n{(why_undefined or {}).get(name, '')}"
            axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=8, color=GREY)
            continue
        line = curve.precision_recall
        color = ORANGE if name == ANY_FINDING else BLUE
        axes.axhline(curve.prevalence, color=GREY, linewidth=1, linestyle="--")
        if line.low:
            axes.fill_between(line.x, line.low, line.high, color=color, alpha=0.2, linewidth=0)
        axes.plot(line.x, line.y, color=color, linewidth=1.6)
        text = f"AP {curve.average_precision:.2f}\nguessing {curve.prevalence:.2f}"
        high = curve.average_precision > 0.6
        place = (0.03, 0.04, "left", "bottom") if high else (0.98, 0.97, "right", "top")
        axes.text(place[0], place[1], text, ha=place[2], va=place[3], fontsize=7.5, color=INK)
    figure.supxlabel("Sensitivity (recall)", fontsize=9, color=INK)
    figure.supylabel("Positive predictive value (precision)", fontsize=9, color=INK)
    return figure


def plot_reliability(
    curves: Mapping[str, Sequence[ReliabilityPoint]], notes: Mapping[str, str] | None = None
) -> Figure:
    """Draw observed share against predicted probability per finding; the diagonal is perfect.

    Args:
        curves: by finding name the bins as (mean predicted, observed share, its interval, images);
            empty where undefined. The area of a point shows the images of its bin.
        notes: a line of text per finding, such as its calibration error.
    """
    require(len(curves) > 0, "curves", "at least one finding", curves)
    figure, all_axes = _unit_panels(len(curves))
    for axes, (name, points) in zip(all_axes, curves.items(), strict=True):
        axes.set_title(spoken(name), fontsize=9, color=INK, loc="left")
        axes.plot((0, 1), (0, 1), color=GREY, linewidth=0.7)
        if not points:
            axes.text(0.5, 0.5, "undefined", ha="center", va="center", fontsize=8, color=GREY)
            continue
        most = max(point[3] for point in points)
        for predicted, _, interval, _ in points:
            if interval is not None:
                axes.plot((predicted, predicted), interval, color=BLUE, linewidth=1, alpha=0.6)
        predicted_all, observed_all = [p[0] for p in points], [p[1] for p in points]
        axes.plot(predicted_all, observed_all, color=BLUE, linewidth=1.2)
        sizes = [8 + 40 * point[3] / most for point in points]
        axes.scatter(predicted_all, observed_all, s=sizes, color=BLUE, zorder=3, linewidth=0)
        note = (notes or {}).get(name, "")
        axes.text(0.98, 0.03, note, ha="right", va="bottom", fontsize=7.5, color=INK)
    figure.supxlabel("Probability given by the model", fontsize=9, color=INK)
    figure.supylabel("Share that has the finding", fontsize=9, color=INK)
    return figure


def plot_robustness(curves: Mapping[str, Sequence[LevelPoint]], clean: float | None) -> Figure:
    """Draw the AUC over the strength of each disturbance.

    Args:
        curves: by disturbance the (level, AUC, interval), weakest first.
        clean: AUC of the undisturbed images, drawn across every panel.
    """
    require(len(curves) > 0, "curves", "at least one disturbance", curves)
    figure, all_axes = panels(len(curves), columns=4, width_inches=10, aspect=0.82)
    for axes, (name, points) in zip(all_axes, curves.items(), strict=True):
        clean_axes(axes, grid=True)
        axes.set_title(name, fontsize=9, color=INK, loc="left")
        at = range(len(points))
        values = [math.nan if point[1] is None else point[1] for point in points]
        if clean is not None:
            axes.axhline(clean, color=GREY, linewidth=1, linestyle="--")
        for x, (_, _, interval) in zip(at, points, strict=True):
            if interval is not None:
                axes.plot((x, x), interval, color=BLUE, linewidth=1, alpha=0.6)
        axes.plot(at, values, color=BLUE, marker="o", markersize=3.5)
        axes.set_xticks(at, [_level(point[0]) for point in points])
        axes.set_xlim(-0.4, len(points) - 0.6)
        axes.set_ylim(0.4, 1.0)
        axes.axhline(0.5, color=GREY, linewidth=0.7)
    figure.supylabel("AUC", fontsize=9, color=INK)
    return figure


def plot_confusion(table: Cooccurrence) -> Figure:
    """Draw how often each finding (row) is called where another one (column) is present instead."""
    names = [name for name in table.findings if name in table.clear]
    require(len(names) > 0, "table", "at least one finding with a threshold", table.findings)
    columns = list(table.findings)
    rates = np.full((len(names), len(columns) + 1), np.nan)
    for row, called in enumerate(names):
        cells = [table.clear[called], *(table.pairs.get((called, other)) for other in columns)]
        rates[row] = [np.nan if c is None or c.rate is None else c.rate for c in cells]
    figure = new_figure(9.6, 1.6 + 0.33 * len(names))
    axes = figure.subplots()
    shown = axes.imshow(rates, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), rate in np.ndenumerate(rates):
        cell = None if column == 0 else table.pairs.get((names[row], columns[column - 1]))
        text = "" if column and cell is None else ("-" if np.isnan(rate) else f"{100 * rate:.0f}")
        color = "white" if rate > 0.6 else INK
        axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color=color)
    axes.axvline(0.5, color="white", linewidth=4)
    labels = ["nothing", *map(spoken, columns)]
    axes.set_xticks(range(len(labels)), labels, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), [spoken(name) for name in names])
    axes.tick_params(labelsize=8, labelcolor=INK, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel("Present on the image", fontsize=9, color=INK)
    axes.set_ylabel("Absent, but called", fontsize=9, color=INK)
    bar = figure.colorbar(shown, ax=axes, fraction=0.025, pad=0.01)
    bar.set_label("Share called", fontsize=8, color=INK)
    bar.ax.tick_params(labelsize=7, labelcolor=INK)
    return figure


def _unit_panels(count: int) -> tuple[Figure, list[Axes]]:
    """Square panels from 0 to 1, tick labels only at the rim."""
    columns = min(5, max(3, count))
    figure, all_axes = panels(count, columns=columns, width_inches=10, aspect=1.08)
    for index, axes in enumerate(all_axes):
        clean_axes(axes)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
        axes.set_aspect("equal")
        if index % columns:
            axes.set_yticklabels([])
        if index + columns < count:
            axes.set_xticklabels([])
    return figure, all_axes


def _level(level: float | str) -> str:
    return f"{level:g}" if isinstance(level, int | float) else level


