"""Forest plots: one line per finding or group, a point with its interval, other results beside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hilum.errors import require
from hilum.evaluation.bootstrap import Interval
from hilum.evaluation.figures import (
    BLUE,
    COLORS,
    GREY,
    INK,
    PALE,
    clean_axes,
    new_figure,
    with_interval,
)

__all__ = ["ForestRow", "Reference", "plot_forest"]

_MARKERS = "sD^vPXo<>"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForestRow:
    """One line.

    Attributes:
        value: None is drawn as an empty line whose note says why.
        note: right of the axes; None for the value and its interval.
        others: values of other results by their key, drawn above the line.
        heading: a line that only names the group below it.
        strong: drawn black, such as a mean.
    """

    label: str
    value: float | None = None
    interval: Interval | None = None
    note: str | None = None
    others: Mapping[str, float] = field(default_factory=dict)
    heading: bool = False
    strong: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """How other results of one origin are drawn; hollow where they are not comparable."""

    key: str
    label: str
    hollow: bool = False


def plot_forest(
    rows: Sequence[ForestRow],
    *,
    references: Sequence[Reference] = (),
    in_legend: int | None = None,
    own_label: str = "this model, 95 % interval",
    axis_label: str = "AUC",
    guess: float | None = 0.5,
) -> Figure:
    """Draw rows from top to bottom.

    Args:
        rows: lines and headings.
        references: how the `others` of the rows are drawn.
        in_legend: so many references, from the first, are explained; None for all.
        own_label: what the points of the rows are, for the legend.
        axis_label: below the axis.
        guess: marked by a line; None for no line.
    """
    require(len(rows) > 0, "rows", "at least one row", rows)
    explained = references[:in_legend]
    legend_rows = -(-(len(explained) + 1) // 3) if explained else 0
    figure = new_figure(9.0, 0.75 + 0.29 * len(rows) + 0.22 * legend_rows)
    axes = figure.subplots()
    clean_axes(axes)
    axes.set_xlim(_lowest(rows, guess), 1.0)
    if guess is not None:
        axes.axvline(guess, color=GREY, linewidth=1)
    styles = {reference.key: (at, reference) for at, reference in enumerate(references)}
    for y, row in enumerate(rows):
        _draw_row(axes, y, row, styles)
    axes.set_yticks(range(len(rows)), [row.label for row in rows])
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_fontweight("bold" if row.heading or row.strong else "normal")
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel(axis_label, fontsize=9, color=INK)
    if explained:
        _legend(figure, axes, explained, own_label)
    return figure


def _draw_row(
    axes: Axes, y: int, row: ForestRow, styles: Mapping[str, tuple[int, Reference]]
) -> None:
    right = axes.get_xlim()[1] + 0.03 * (axes.get_xlim()[1] - axes.get_xlim()[0])
    if row.heading:
        return
    axes.axhline(y, color=PALE, linewidth=0.6, zorder=0)
    note = with_interval(row.value, row.interval) if row.note is None else row.note
    color = GREY if row.value is None and not row.others else INK
    axes.text(right, y, note, va="center", fontsize=8, color=color)
    for key, value in row.others.items():
        at, reference = styles[key]
        beside = 0.2 if row.value is not None else 0.0
        axes.plot(value, y - beside, **_marker(at, reference))
    if row.value is None:
        return
    own = INK if row.strong else BLUE
    if row.interval is not None:
        axes.plot(row.interval, (y + 0.12, y + 0.12), color=own, linewidth=2.2, alpha=0.75)
    axes.plot(
        row.value, y + 0.12, marker="o", color=own, markersize=6, linestyle="none", clip_on=False
    )


def _marker(at: int, reference: Reference) -> dict[str, Any]:
    color = COLORS[at % len(COLORS)]
    return {
        "marker": _MARKERS[at % len(_MARKERS)],
        "markersize": 5,
        "linestyle": "none",
        "markeredgecolor": color,
        "markerfacecolor": "white" if reference.hollow else color,
        "markeredgewidth": 1.1,
    }


def _legend(figure: Figure, axes: Axes, references: Sequence[Reference], own: str) -> None:
    axes.plot([], [], marker="o", color=BLUE, markersize=6, linewidth=2.2, label=own)
    for at, reference in enumerate(references):
        axes.plot([], [], label=reference.label, **_marker(at, reference))
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower left", ncols=3, frameon=False, fontsize=8,
        labelcolor=INK, handletextpad=0.4, columnspacing=1.4,
    )  # fmt: skip


def _lowest(rows: Sequence[ForestRow], guess: float | None) -> float:
    values = [guess if guess is not None else 1.0]
    for row in rows:
        values += [] if row.value is None else [row.value]
        values += list(row.interval or ())
        values += list(row.others.values())
    return max(0.0, int(10 * (min(values) - 0.04)) / 10)
