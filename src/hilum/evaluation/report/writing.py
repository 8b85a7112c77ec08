"""The report: one HTML file that works offline, prints well, and says what is not known.

Pictures and styles are inside the file; its content security policy forbids everything else. Parts
that were not given are left out; parts that are undefined are shown as such. metrics.json is
written beside it with the same numbers.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import jinja2
import numpy as np
import numpy.typing as npt

from hilum.evaluation.figures import data_uri, figure_to_svg, number, spoken, with_interval
from hilum.evaluation.pictures import plot_prediction
from hilum.evaluation.plots import (
    HistoryRow,
    plot_aurocs,
    plot_prevalence,
    plot_roc,
    plot_training,
)
from hilum.evaluation.result import Evaluation
from hilum.evaluation.summary import FEW_POSITIVES, DataFlow, SplitCount, cautions, headlines
from hilum.radiograph import REASONS

__all__ = ["DataFlow", "Example", "ReportInputs", "SplitCount", "render_report", "write_report"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Example:
    """One radiograph and what the model said.

    Attributes:
        name: shown above it; no patient's name.
        pixels: uint8, (H, W) or (H, W, 3).
        probabilities: per finding.
        labels: per finding 1, 0 or None for unknown; empty if there are none.
    """

    name: str
    pixels: npt.NDArray[np.uint8]
    probabilities: Mapping[str, float]
    labels: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReportInputs:
    """All a report can show; only the evaluation is required.

    Attributes:
        subtitle: model, data and date in one line.
        notes: sentences that a reader must not miss, shown above all else.
        label_counts: images per finding over all splits, with their number in `label_images`.
        history: one mapping per epoch: "train_loss", "valid_loss", "valid_mean_auroc", "lr",
            "images_per_s"; None or missing where not measured.
        settings: how the result can be made again: seed, model, weights, preprocessing, versions.
    """

    evaluation: Evaluation
    title: str = "Chest radiograph classifier: evaluation"
    subtitle: str = ""
    notes: Sequence[str] = ()
    flow: DataFlow = field(default_factory=DataFlow)
    label_counts: Mapping[str, int] = field(default_factory=dict)
    label_images: int = 0
    history: Sequence[HistoryRow] = ()
    examples: Sequence[Example] = ()
    settings: Mapping[str, object] = field(default_factory=dict)


def render_report(inputs: ReportInputs) -> str:
    """Return the report as one HTML text without references to anything outside itself."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"spoken": spoken, "number": number, "percent": _percent}
    environment.filters |= {"with_interval": with_interval, "setting": _setting}
    return environment.get_template("report.html.j2").render(
        inputs=inputs,
        evaluation=inputs.evaluation,
        headlines=headlines(inputs.evaluation),
        cautions=cautions(inputs.evaluation, inputs.flow),
        pictures=_pictures(inputs),
        examples=[(example.name, _example_picture(example)) for example in inputs.examples],
        few_positives=FEW_POSITIVES,
        reasons=REASONS,
    )


def write_report(directory: str | Path, inputs: ReportInputs) -> Path:
    """Write report.html and metrics.json into `directory`, making it; return report.html's path.

    Each file appears whole or not at all, and replaces one of the same name.
    """
    directory = Path(directory)
    html = render_report(inputs)
    directory.mkdir(parents=True, exist_ok=True)
    _replace(directory / "metrics.json", inputs.evaluation.to_json() + "\n")
    _replace(directory / "report.html", html)
    return directory / "report.html"


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _template(name: str) -> str:
    return (files("hilum.evaluation") / "templates" / name).read_text(encoding="utf-8")


def _pictures(inputs: ReportInputs) -> dict[str, str]:
    figures = {"roc": plot_roc(inputs.evaluation), "aurocs": plot_aurocs(inputs.evaluation)}
    if inputs.label_counts and inputs.label_images:
        figures["prevalence"] = plot_prevalence(inputs.label_counts, inputs.label_images)
    if inputs.history:
        figures["training"] = plot_training(inputs.history)
    return {name: data_uri(figure_to_svg(figure)) for name, figure in figures.items()}


def _example_picture(example: Example) -> str:
    figure = plot_prediction(example.pixels, example.probabilities, labels=example.labels)
    return data_uri(figure_to_svg(figure))


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{100 * share:.1f} %"


def _setting(value: object) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_setting(part)}" for key, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_setting(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
