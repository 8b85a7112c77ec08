"""A comparison as a picture and as one HTML file that works offline.

The forest plot puts every difference on one axis with its interval: right of the line B ranks
better, left of it A does, and an interval that crosses the line has not shown either.
"""

from importlib.resources import files

import jinja2
from matplotlib.figure import Figure

from hilum.evaluation.comparison_result import AurocDifference, Comparison
from hilum.evaluation.figures import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    clean_axes,
    data_uri,
    figure_to_svg,
    new_figure,
    number,
    spoken,
)

__all__ = ["conclusions", "plot_differences", "probability", "render_comparison"]


def plot_differences(comparison: Comparison) -> Figure:
    """Draw each AUC difference (B - A) with its 95 % interval, the mean last."""
    rows = [row for row in comparison.rows() if len(comparison.findings) > 1 or row[0] != "mean"]
    figure = new_figure(8.5, 0.9 + 0.27 * len(rows))
    axes = figure.subplots()
    clean_axes(axes, grid=True)
    axes.axvline(0, color=INK, linewidth=1)
    whole = {"any finding": ORANGE, "mean": INK}
    for y, (name, row) in enumerate(reversed(rows)):
        color = BLUE if name in comparison.findings else whole[name]
        if row.ci95 is not None:
            axes.plot(row.ci95, (y, y), color=color, linewidth=1.6)
        if row.difference is not None:
            axes.plot(row.difference, y, "s", color=color, markersize=5)
        text = _note(row)
        color = GREY if row.difference is None else INK
        right = axes.get_yaxis_transform()
        axes.text(1.01, y, text, color=color, transform=right, va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), [spoken(name) for name, _ in reversed(rows)])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    widest = max([0.02, *(abs(x) for _, r in rows for x in (*(r.ci95 or ()), r.difference or 0))])
    axes.set_xlim(-1.05 * widest, 1.05 * widest)
    a, b = comparison.names
    axes.set_xlabel(
        f"Difference of AUC with 95 % interval: left of 0 {a} is better, right of 0 {b}",
        fontsize=9,
        color=INK,
    )
    return figure


def conclusions(comparison: Comparison) -> list[str]:
    """Say in sentences what the comparison shows, and what it does not."""
    a, b = comparison.names
    mean = comparison.mean
    if mean.difference is None:
        return ["No finding could be scored, so nothing can be compared."]
    better = b if mean.difference > 0 else a
    sentences = [
        f"Mean AUC: {number(mean.auroc_a, 3)} for {a}, {number(mean.auroc_b, 3)} for {b}; "
        f"difference {_signed(mean.difference)}{_told(mean)}."
    ]
    if mean.ci95 is None:
        sentences.append("There are too few patients for an interval of the difference.")
    elif mean.ci95[0] <= 0 <= mean.ci95[1]:
        sentences.append(
            "The interval includes 0: these images do not show that either model is better. That "
            "is no proof that they are equal."
        )
    else:
        sentences.append(f"The interval excludes 0: {better} ranks better on patients like these.")
    names = comparison.different()
    tested = sum(row.p_adjusted is not None for row in comparison.findings.values())
    if tested:
        found = ", ".join(spoken(name) for name in names) or "none"
        correction = "Holm" if comparison.correction == "holm" else "Benjamini-Hochberg"
        sentences.append(
            f"Findings that differ at p 0.05 after correction ({correction}) for {tested} tests: "
            f"{found}."
        )
    return sentences


def render_comparison(comparison: Comparison) -> str:
    """Return the comparison as one HTML text without references to anything outside itself."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"spoken": spoken, "number": number}
    environment.filters |= {"signed": _signed, "probability": probability}
    return environment.get_template("comparison.html.j2").render(
        comparison=comparison,
        conclusions=conclusions(comparison),
        picture=data_uri(figure_to_svg(plot_differences(comparison))),
    )


def probability(p_value: float | None) -> str:
    """Write a p value: "0.034", "below 0.001", or "-" for None."""
    if p_value is None:
        return "-"
    return "below 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def _note(row: AurocDifference) -> str:
    if row.difference is None:
        return "undefined"
    p_value = row.p_adjusted if row.p_adjusted is not None else row.p_bootstrap
    told = "" if p_value is None else f"  p {probability(p_value)}"
    return f"{_signed(row.difference)}{told}"


def _told(row: AurocDifference) -> str:
    if row.ci95 is None:
        return ""
    return f" (95 % interval {_signed(row.ci95[0])} to {_signed(row.ci95[1])})"


def _signed(value: float | None) -> str:
    return "undefined" if value is None else f"{value:+.3f}"


def _template(name: str) -> str:
    return (files("hilum.evaluation") / "templates" / name).read_text(encoding="utf-8")
