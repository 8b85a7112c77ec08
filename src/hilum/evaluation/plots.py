"""Pictures of an evaluation, each a function from values to a Figure.

Each shows the whole story of its numbers: AUC axes span 0 to 1 with chance marked, intervals are
drawn wherever they exist, and an undefined finding has its place and says why it is empty.
"""

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hilum.errors import require
from hilum.evaluation.bands import CurveBands
from hilum.evaluation.bootstrap import Interval
from hilum.evaluation.figures import (
    ANY_FINDING,
    BLUE,
    GREY,
    INK,
    ORANGE,
    PALE,
    clean_axes,
    new_figure,
    panels,
    spoken,
    with_interval,
)
from hilum.evaluation.result import Evaluation, FindingResult

__all__ = [
    "plot_aurocs",
    "plot_prevalence",
    "plot_roc",
    "why_undefined",
]


def plot_roc(
    evaluation: Evaluation, curves: Mapping[str, CurveBands | None] | None = None
) -> Figure:
    """Draw one small ROC curve per finding, and one for any finding where there are several.

    Args:
        evaluation: AUCs and the exact curves.
        curves: by finding name, and `ANY_FINDING`, the bands to draw.
    """
    results = {**evaluation.findings}
    if len(results) > 1:
        results[ANY_FINDING] = evaluation.any_finding
    columns = min(5, max(3, len(results)))
    figure, all_axes = panels(len(results), columns=columns, width_inches=10, aspect=1.08)
    for index, (axes, (name, result)) in enumerate(zip(all_axes, results.items(), strict=True)):
        _roc_panel(axes, name, result, (curves or {}).get(name))
        if index % columns:
            axes.set_yticklabels([])
        if index + columns < len(results):
            axes.set_xticklabels([])
    figure.supxlabel("False positive rate (1 - specificity)", fontsize=9, color=INK)
    figure.supylabel("True positive rate (sensitivity)", fontsize=9, color=INK)
    return figure


def _roc_panel(axes: Axes, name: str, result: FindingResult, curve: CurveBands | None) -> None:
    color = ORANGE if name == ANY_FINDING else BLUE
    clean_axes(axes)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    axes.set_aspect("equal")
    axes.set_title(spoken(name), fontsize=9, color=INK, loc="left")
    if result.roc is None:
        text = f"undefined\n{why_undefined(result)}"
        axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=8, color=GREY)
        return
    axes.plot((0, 1), (0, 1), color=GREY, linewidth=0.7)
    if curve is not None and curve.roc.low:
        band = curve.roc
        axes.fill_between(band.x, band.low, band.high, color=color, alpha=0.2, linewidth=0)
    axes.plot(result.roc.fpr, result.roc.tpr, color=color, linewidth=1.6)
    text = f"AUC {with_interval(result.auroc, result.auroc_ci95)}".replace(" (", "\n(")
    text += f"\n{result.positives} of {result.images}"
    axes.text(0.98, 0.04, text, ha="right", va="bottom", fontsize=7.5, color=INK)


def plot_aurocs(evaluation: Evaluation) -> Figure:
    """Draw the AUC of each finding as a bar from chance, with its 95 % interval as a whisker."""
    names = sorted(evaluation.scored, key=lambda name: evaluation.findings[name].auroc or 0.0)
    rows: list[tuple[str, float | None, Interval | None, str, str]] = []
    for name in (*evaluation.undefined, *names):
        result = evaluation.findings[name]
        note = with_interval(result.auroc, result.auroc_ci95)
        if result.auroc is None:
            note += f": {why_undefined(result)}"
        rows.append((spoken(name), result.auroc, result.auroc_ci95, note, BLUE))
    if len(rows) > 1:
        whole, mean = evaluation.any_finding, evaluation.mean_auroc
        note = with_interval(whole.auroc, whole.auroc_ci95)
        rows.append((ANY_FINDING, whole.auroc, whole.auroc_ci95, note, ORANGE))
        note = with_interval(mean, evaluation.mean_auroc_ci95)
        rows.append((f"Mean of {len(names)}", mean, evaluation.mean_auroc_ci95, note, INK))
    figure = new_figure(8.5, 0.8 + 0.27 * len(rows))
    axes = figure.subplots()
    clean_axes(axes)
    axes.axvline(0.5, color=GREY, linewidth=1)
    for y, (_, value, whisker, note, color) in enumerate(rows):
        _auroc_bar(axes, y, value, whisker, color=color)
        axes.text(1.03, y, note, va="center", fontsize=8, color=GREY if value is None else INK)
    axes.set_yticks(range(len(rows)), [row[0] for row in rows])
    axes.set(xlim=(0, 1), ylim=(-0.6, len(rows) - 0.4))
    axes.set_xticks((0, 0.25, 0.5, 0.75, 1), ("0", "0.25", "0.5\nguessing", "0.75", "1\nperfect"))
    axes.set_xlabel("AUC (bar) and 95 % interval (line)", fontsize=9, color=INK)
    return figure


def _auroc_bar(
    axes: Axes, y: int, value: float | None, interval: Interval | None, *, color: str
) -> None:
    if value is None:
        return
    axes.barh(y, value - 0.5, left=0.5, height=0.62, color=color, alpha=0.45, linewidth=0)
    axes.plot((value, value), (y - 0.31, y + 0.31), color=color, linewidth=2)
    if interval is not None:
        axes.plot(interval, (y, y), color=INK, linewidth=1.1, marker="|", markersize=6)


def plot_prevalence(counts: Mapping[str, int], num_images: int) -> Figure:
    """Draw how many images carry each finding, most frequent first.

    Args:
        counts: images per finding; "No Finding" may be one of them.
        num_images: all images; an image may carry several findings, so counts need not add up.
    """
    require(num_images > 0, "num_images", "a positive number of images", num_images)
    names = sorted(counts, key=lambda name: counts[name])
    figure = new_figure(8.5, 0.7 + 0.25 * len(names))
    axes = figure.subplots()
    clean_axes(axes)
    colors = [PALE if name == "No Finding" else BLUE for name in names]
    axes.barh(range(len(names)), [counts[name] for name in names], height=0.68, color=colors)
    for y, name in enumerate(names):
        share = 100 * counts[name] / num_images
        text = f" {counts[name]:,} ({share:.1f} %)"
        axes.text(counts[name], y, text, va="center", fontsize=8, color=INK)
    axes.set_yticks(range(len(names)), [spoken(name) for name in names])
    axes.set(xlim=(0, 1.18 * max([1, *counts.values()])), ylim=(-0.6, len(names) - 0.4))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel(f"Images, of {num_images:,}", fontsize=9, color=INK)
    return figure


def why_undefined(result: FindingResult) -> str:
    """Say in a few words why a finding has no AUC."""
    if not result.images:
        return "no known labels"
    if not result.positives:
        return f"none of {result.images} has it"
    return f"all {result.images} have it"
