"""Pictures of training: one run by itself, or several over each other.

A run is a list of rows, one per validation, as `RUN/history.json` holds them. A value that was not
measured is a gap, and a panel without any value says so.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hilum.errors import require
from hilum.evaluation.figures import BLUE, COLORS, GREY, INK, ORANGE, clean_axes, panels

__all__ = ["MAX_RUNS", "HistoryRow", "RunCurve", "plot_runs", "plot_training"]

HistoryRow = Mapping[str, Any]

_RUN_COLORS = (BLUE, *COLORS)
MAX_RUNS = len(_RUN_COLORS)
_OVER = {"epochs": "Epochs completed", "steps": "Optimizer steps"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCurve:
    """A run as `plot_runs` draws it.

    Attributes:
        rows: one mapping per validation: "epoch", "step", "train_loss", "valid_loss",
            "valid_mean_auroc", "lr", "images_per_s", "seconds"; None or missing where not measured.
        steps_per_epoch: of the run; None where unknown.
    """

    name: str
    rows: Sequence[HistoryRow]
    steps_per_epoch: int | None = None


def plot_training(
    history: Sequence[HistoryRow],
    *,
    over: Literal["epochs", "steps"] = "epochs",
    rates: Sequence[tuple[int, float]] = (),
) -> Figure:
    """Draw loss, validation AUC and learning rate of one run.

    Args:
        history: one mapping per validation with any of "train_loss", "valid_loss",
            "valid_mean_auroc", "valid_auroc" (one per finding, drawn thin), "lr"; a missing or None
            value is a gap. "steps" needs "step".
        over: what the horizontal axis counts; "epochs" takes each row for one epoch.
        rates: (step, learning rate) at more steps than were validated; only over steps.
    """
    require(len(history) > 0, "history", "at least one epoch", history)
    xs = [row["step"] for row in history] if over == "steps" else [*range(1, len(history) + 1)]
    figure, (loss, auroc, rate) = panels(3, columns=3, width_inches=10, aspect=0.78)
    _curve(loss, xs, _values(history, "train_loss"), "training", color=GREY, style="--")
    _curve(loss, xs, _values(history, "valid_loss"), "validation", color=BLUE)
    loss.set_title("Loss", fontsize=9, color=INK, loc="left")
    if loss.lines:
        loss.legend(frameon=False, fontsize=8, labelcolor=INK)
    thin = _finding_curves(auroc, xs, history)
    title = "Mean validation AUC (thin: findings)" if thin else "Mean AUC on validation images"
    _curve(auroc, xs, _values(history, "valid_mean_auroc"), "validation AUC", color=BLUE)
    auroc.set_title(title, fontsize=9, color=INK, loc="left")
    if rates and over == "steps":
        rate.plot(*zip(*rates, strict=True), color=ORANGE, linewidth=1.4)
    else:
        _curve(rate, xs, _values(history, "lr"), "learning rate", color=ORANGE)
    rate.set_title("Learning rate", fontsize=9, color=INK, loc="left")
    rate.yaxis.set_major_formatter("{x:g}")
    for axes in (loss, auroc, rate):
        clean_axes(axes, grid=True)
        axes.set_xlabel(_OVER[over], fontsize=9, color=INK)
        axes.set_xlim(*_limits(xs, over))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    rate.set_ylim(bottom=0)
    return figure


def plot_runs(runs: Sequence[RunCurve]) -> Figure:
    """Draw the curves of several runs over each other, one colour per run.

    They share an axis of epochs, so that runs of other batch sizes can be compared; of steps where
    some run does not know how many steps its epochs have. One panel is over time, because a run
    that needs fewer epochs is not always the faster one.
    """
    require(0 < len(runs) <= MAX_RUNS, "runs", f"1 to {MAX_RUNS} runs", len(runs))
    over: Literal["epochs", "steps"] = (
        "epochs" if all(run.steps_per_epoch for run in runs) else "steps"
    )
    figure, all_axes = panels(6, columns=3, width_inches=10.5, aspect=0.72)
    shown = (
        ("train_loss", "Training loss"),
        ("valid_loss", "Validation loss"),
        ("valid_mean_auroc", "Mean AUC on validation images"),
        ("lr", "Learning rate"),
        ("images_per_s", "Training images per second"),
        ("valid_loss", "Validation loss over time"),
    )
    for at, (axes, (key, title)) in enumerate(zip(all_axes, shown, strict=True)):
        over_time = at == len(shown) - 1
        for run, color in zip(runs, _RUN_COLORS, strict=False):
            xs = _minutes(run) if over_time else _along(run, over)
            _curve(axes, xs, _values(run.rows, key), "", color=color)
        if not axes.lines:
            _say_empty(axes, "nothing measured")
        axes.set_title(title, fontsize=9, color=INK, loc="left")
        clean_axes(axes, grid=True)
        label = "Minutes of training and validation" if over_time else _OVER[over]
        axes.set_xlabel(label, fontsize=9, color=INK)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=not over_time, min_n_ticks=1))
        if key in ("lr", "images_per_s"):  # how far from nothing is the point
            axes.set_ylim(0, 1.06 * axes.get_ylim()[1])
    all_axes[3].yaxis.set_major_formatter("{x:g}")
    handles = [
        all_axes[0].plot([], [], color=color, label=run.name, marker="o", markersize=3.5)[0]
        for run, color in zip(runs, _RUN_COLORS, strict=False)
    ]
    columns = 2 if max(len(run.name) for run in runs) > 40 else 3
    figure.legend(
        handles=handles, loc="outside upper left", ncols=columns, frameon=False, fontsize=8.5
    )
    return figure


def _finding_curves(axes: Axes, xs: Sequence[float], history: Sequence[HistoryRow]) -> bool:
    """Draw the AUC of each finding; False if there are not several."""
    width = max((len(row.get("valid_auroc") or ()) for row in history), default=0)
    if width < 2:
        return False
    for at in range(width):
        values = [(row.get("valid_auroc") or [None] * width)[at] for row in history]
        ys = [math.nan if value is None else value for value in values]
        axes.plot(xs, ys, color=BLUE, alpha=0.25, linewidth=0.9)
    return True


def _curve(
    axes: Axes,
    xs: Sequence[float],
    ys: Sequence[float],
    label: str,
    *,
    color: str,
    style: str = "-",
) -> None:
    """Draw a line; where there is nothing to draw, say so if the line has a name."""
    if all(math.isnan(y) for y in ys):
        if label:
            _say_empty(axes, f"no {label} values")
        return
    size = 3.5 if len(ys) <= 60 else 0
    axes.plot(xs, ys, style, color=color, label=label, marker="o", markersize=size)


def _say_empty(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", color=GREY)


def _values(rows: Sequence[HistoryRow], key: str) -> list[float]:
    stored = [row.get(key) for row in rows]
    return [math.nan if value is None else value for value in stored]


def _limits(xs: Sequence[float], over: str) -> tuple[float, float]:
    return (0.7, len(xs) + 0.3) if over == "epochs" else (0.0, max(xs) * 1.02)


def _along(run: RunCurve, over: str) -> list[float]:
    return [row["step"] / (run.steps_per_epoch or 1 if over == "epochs" else 1) for row in run.rows]


def _minutes(run: RunCurve) -> list[float]:
    return [seconds / 60.0 for seconds in accumulate(row["seconds"] for row in run.rows)]
