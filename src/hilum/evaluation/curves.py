"""Pictures of curves: precision-recall with bands, reliability; and who is mistaken for whom.

Each is a function from plain values to a Figure, like those of `hilum.evaluation.plots`.
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hilum.errors import require
from hilum.evaluation.bands import CurveBands
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
    with_interval,
)
from hilum.evaluation.plots import why_undefined
from hilum.evaluation.reliability import Reliability
from hilum.evaluation.result import Evaluation

__all__ = [
    "FEW_IMAGES",
    "plot_confusion",
    "plot_precision_recall",
    "plot_reliability",
]

FEW_IMAGES = 5  # a share of fewer is chance


def plot_precision_recall(
    evaluation: Evaluation, curves: Mapping[str, CurveBands | None]
) -> Figure:
    """Draw one precision-recall curve per finding with its band and its prevalence.

    Args:
        evaluation: average precision with intervals, and why a finding is undefined.
        curves: by finding name, and `ANY_FINDING`.
    """
    require(len(curves) > 0, "curves", "at least one finding", curves)
    figure, all_axes = _unit_panels(len(curves))
    for axes, (name, curve) in zip(all_axes, curves.items(), strict=True):
        result = evaluation.any_finding if name == ANY_FINDING else evaluation.findings[name]
        axes.set_title(spoken(name), fontsize=9, color=INK, loc="left")
        if curve is None:
            text = f"undefined\n{why_undefined(result)}"
            axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=8, color=GREY)
            continue
        line = curve.precision_recall
        color = ORANGE if name == ANY_FINDING else BLUE
        axes.axhline(curve.prevalence, color=GREY, linewidth=1, linestyle="--")
        if line.low:
            axes.fill_between(line.x, line.low, line.high, color=color, alpha=0.2, linewidth=0)
        axes.plot(line.x, line.y, color=color, linewidth=1.6)
        text = f"{with_interval(result.auprc, result.auprc_ci95)}".replace(" (", "\n(")
        text = f"AUPRC {text}\nguessing {curve.prevalence:.2f}"
        # Where the curve leaves room: above it in most, below it where it stays high.
        x, y, ha, va = (
            (0.03, 0.03, "left", "bottom")
            if (result.auprc or 0) > 0.6
            else (0.99, 0.99, "right", "top")
        )
        axes.text(x, y, text, ha=ha, va=va, fontsize=7.5, color=INK)
    figure.supxlabel("Sensitivity (recall)", fontsize=9, color=INK)
    figure.supylabel("Positive predictive value (precision)", fontsize=9, color=INK)
    return figure


def plot_reliability(results: Mapping[str, Reliability | None]) -> Figure:
    """Draw the share that has a finding against the probability given; the diagonal is perfect.

    Args:
        results: by finding name; None where undefined. The area of a point shows how many images
            its bin has. Axes end where the points do: probabilities of a rare finding are small.
    """
    require(len(results) > 0, "results", "at least one finding", results)
    columns = min(5, max(3, len(results)))
    figure, all_axes = panels(len(results), columns=columns, width_inches=10, aspect=1.12)
    for axes, (name, result) in zip(all_axes, results.items(), strict=True):
        clean_axes(axes)
        axes.set_aspect("equal")
        axes.set_title(spoken(name), fontsize=9, color=INK, loc="left")
        if result is None:
            axes.set(xlim=(0, 1), ylim=(0, 1), xticks=(0, 1), yticks=(0, 1))
            axes.text(0.5, 0.5, "undefined", ha="center", va="center", fontsize=8, color=GREY)
            continue
        _reliability_panel(axes, result)
    figure.supxlabel("Probability given by the model", fontsize=9, color=INK)
    figure.supylabel("Share that has the finding", fontsize=9, color=INK)
    return figure


def _reliability_panel(axes: Axes, result: Reliability) -> None:
    said, was = result.mean_probability, result.share
    most = max(*said, *was)
    end = next(limit for limit in (0.05, 0.1, 0.2, 0.5, 1.0) if most <= limit)
    axes.set(xlim=(-0.02 * end, 1.02 * end), ylim=(-0.02 * end, 1.28 * end))
    axes.set(xticks=(0, end / 2, end), yticks=(0, end / 2, end))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.plot((0, end), (0, end), color=GREY, linewidth=0.7)
    for x, y, error in zip(said, was, result.standard_error, strict=True):
        if error is not None:
            ends = (max(0.0, y - 1.96 * error), min(1.04 * end, y + 1.96 * error))
            axes.plot((x, x), ends, color=BLUE, linewidth=1, alpha=0.6)
    axes.plot(said, was, color=BLUE, linewidth=1.2)
    sizes = [10 + 30 * images / max(result.images) for images in result.images]
    axes.scatter(said, was, s=sizes, color=BLUE, zorder=3, linewidth=0)
    text = f"ECE {result.ece:.3f}"
    if result.ece_debiased is not None:
        text += f", less bias {result.ece_debiased:.3f}"
    axes.text(
        0.03, 0.99, text, ha="left", va="top", fontsize=7, color=INK, transform=axes.transAxes
    )


def plot_confusion(table: Cooccurrence) -> Figure:
    """Draw how often each finding (row) is called where another one (column) is present instead.

    Cells of fewer than `FEW_IMAGES` images are blank: their share is chance.
    """
    names = [name for name in table.findings if name in table.clear]
    require(len(names) > 0, "table", "at least one finding with a threshold", table.findings)
    columns = list(table.findings)
    rates = np.full((len(names), len(columns) + 1), np.nan)
    for row, called in enumerate(names):
        cells = [table.clear[called], *(table.pairs.get((called, other)) for other in columns)]
        for column, cell in enumerate(cells):
            if cell is not None and cell.images >= FEW_IMAGES:
                rates[row, column] = cell.rate
    figure = new_figure(9.6, 1.6 + 0.33 * len(names))
    axes = figure.subplots()
    axes.set_facecolor("#f1f3f5")
    shown = axes.imshow(rates, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), rate in np.ndenumerate(rates):
        color = "white" if rate > 0.6 else INK
        text = "" if np.isnan(rate) else f"{100 * rate:.0f}"
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
