"""Training runs against each other as one HTML file that works offline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import jinja2

from hilum.evaluation.figures import data_uri, figure_to_svg, number
from hilum.evaluation.training_plots import RunCurve, plot_runs

__all__ = ["Difference", "clock", "render_runs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A setting that runs do not share: its value in each of them, in their order."""

    name: str
    values: tuple[str, ...]


def render_runs(
    runs: Sequence[Mapping[str, Any]],
    differences: Sequence[Difference],
    curves: Sequence[RunCurve],
) -> str:
    """Return the page as one text without references to anything outside itself.

    Args:
        runs: one mapping per run: name, architecture, state, reason, epochs, max_epochs,
            best_epoch, valid_loss, valid_mean_auroc, images_per_s, seconds.
        differences: with a value per run.
        curves: one per run, see `plot_runs`.
    """
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "clock": clock}
    return environment.get_template("runs.html.j2").render(
        runs=runs,
        differences=differences,
        picture=data_uri(figure_to_svg(plot_runs(curves))),
    )


def clock(seconds: float) -> str:
    """Write a duration: "0:42", "1:02:03"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _template(name: str) -> str:
    return (files("hilum.evaluation") / "templates" / name).read_text(encoding="utf-8")
