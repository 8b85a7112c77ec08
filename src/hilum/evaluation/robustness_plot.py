"""The picture of a robustness measurement: a panel per kind of harm, worse to the right."""

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hilum.evaluation.figures import BLUE, GREY, INK, ORANGE, PALE, clean_axes, panels
from hilum.evaluation.robustness import Robustness, RobustnessCurve, RobustnessPoint

__all__ = ["plot_robustness"]

_COLUMNS = 4


def plot_robustness(robustness: Robustness) -> Figure:
    """Draw the AUC of each finding, their mean with its interval, and of any finding."""
    figure, all_axes = panels(
        len(robustness.curves), columns=_COLUMNS, width_inches=10, aspect=0.95
    )
    for index, (axes, curve) in enumerate(zip(all_axes, robustness.curves, strict=True)):
        _panel(axes, robustness.unchanged, curve)
        if index % _COLUMNS:
            axes.set_yticklabels([])
    handles = all_axes[0].get_legend_handles_labels()
    figure.legend(
        *handles, loc="outside upper left", ncols=4, frameon=False, fontsize=8, labelcolor=INK
    )
    figure.supylabel("AUC", fontsize=9, color=INK)
    return figure


def _panel(axes: Axes, unchanged: RobustnessPoint, curve: RobustnessCurve) -> None:
    points = (unchanged, *curve.points)
    places = range(len(points))
    clean_axes(axes)
    axes.axhline(0.5, color=GREY, linewidth=0.8)
    for number in range(len(unchanged.aurocs)):
        values = [_or_nan(point.aurocs[number]) for point in points]
        axes.plot(places, values, color=PALE, linewidth=0.9, label="" if number else "one finding")
    low = [_or_nan(p.mean_auroc_ci95 and p.mean_auroc_ci95[0]) for p in points]
    high = [_or_nan(p.mean_auroc_ci95 and p.mean_auroc_ci95[1]) for p in points]
    axes.fill_between(places, low, high, color=BLUE, alpha=0.15, linewidth=0, label="95 % interval")
    means = [_or_nan(point.mean_auroc) for point in points]
    axes.plot(places, means, color=BLUE, linewidth=1.8, marker="o", markersize=3.5, label="mean")
    whole = [_or_nan(point.any_finding_auroc) for point in points]
    axes.plot(places, whole, color=ORANGE, linewidth=1.2, linestyle="--", label="any finding")
    levels = [f"{point.level:g}" for point in curve.points]
    # A perturbation of one level is done or not; its level has no meaning to show.
    axes.set_xticks(places, ["as is", *(levels if len(levels) > 1 else ["changed"])])
    axes.set(xlim=(-0.3, len(points) - 0.7), ylim=(0, 1.02), yticks=(0, 0.25, 0.5, 0.75, 1))
    axes.set_title(
        curve.perturbation[:1].upper() + curve.perturbation[1:], fontsize=9, color=INK, loc="left"
    )
    axes.set_xlabel(curve.unit, fontsize=8, color=INK)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
