"""From an assembled report to files: the page, report.json, CSV tables, model card, checklist.

Pictures and styles are inside the page; its content security policy forbids everything else.
"""

import json
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import jinja2

from hilum import storage
from hilum.evaluation.figures import data_uri, figure_to_svg, number, spoken, with_interval
from hilum.evaluation.pictures import plot_prediction
from hilum.evaluation.report.assembly import Report, assemble
from hilum.evaluation.report.card import TO_COMPLETE, card_markdown
from hilum.evaluation.report.claim import claim_markdown
from hilum.evaluation.report.document import report_document, report_schema
from hilum.evaluation.report.inputs import Example, ReportInputs
from hilum.evaluation.report.parts import Picture
from hilum.evaluation.report.tables import Cell, Column, Estimate, Table
from hilum.radiograph import REASONS

__all__ = ["render_report", "write_report"]


def render_report(inputs: ReportInputs) -> str:
    """Return the report as one HTML text that loads nothing from outside itself."""
    return _render(assemble(inputs))


def write_report(directory: str | Path, inputs: ReportInputs) -> str:
    """Write the report into `directory`, a path or URL, making it; return report.html's.

    Beside report.html: metrics.json (the evaluation), report.json and its schema, one CSV file per
    table, model_card.md and claim_checklist.md. Each file appears whole or not at all, and replaces
    one of the same name; report.html is the last.
    """
    report = assemble(inputs)
    texts = {f"{table.name}.csv": table.to_csv() for table in report.tables}
    texts |= {
        "model_card.md": card_markdown(inputs.title, report.card),
        "claim_checklist.md": claim_markdown(inputs.title, report.claim),
        "report.schema.json": json.dumps(report_schema(), indent=2) + "\n",
        "report.json": _json(report_document(report)),
        "metrics.json": inputs.evaluation.to_json() + "\n",
        "report.html": _render(report),
    }
    for name, text in texts.items():
        storage.write_bytes(storage.join(str(directory), name), text.encode())
    return storage.join(str(directory), "report.html")


def _render(report: Report) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"spoken": spoken, "number": number, "percent": _percent}
    environment.filters |= {"with_interval": with_interval, "setting": _setting}
    environment.filters |= {"cell": _cell, "interval_of": _interval_of, "source": _source}
    environment.filters |= {"columns": _columns, "groups": _groups}
    return environment.get_template("report.html.j2").render(
        report=report,
        inputs=report.inputs,
        evaluation=report.inputs.evaluation,
        cases=[(example, _example_source(example)) for example in report.inputs.examples],
        reasons=REASONS,
        to_complete=TO_COMPLETE,
    )


def _json(document: Mapping[str, object]) -> str:
    """JSON with lists of numbers on one line."""
    text = json.dumps(document, indent=2, allow_nan=False)
    return re.sub(r'\[\n[^][{}"]*\]', lambda match: " ".join(match[0].split()), text) + "\n"


def _template(name: str) -> str:
    return (files("hilum.evaluation") / "templates" / name).read_text(encoding="utf-8")


def _source(picture: Picture) -> str:
    return data_uri(figure_to_svg(picture.figure))


def _example_source(example: Example) -> str:
    figure = plot_prediction(
        example.pixels,
        example.probabilities,
        labels=example.labels,
        overlay=example.overlay,
        finding=example.finding,
    )
    return data_uri(figure_to_svg(figure))


def _columns(table: Table) -> list[Column]:
    """The columns people see; a group's is a heading above its rows instead."""
    return [column for column in table.columns if column.form != "group" and not column.hidden]


def _groups(table: Table) -> list[tuple[str, list[Mapping[str, Cell]]]]:
    """The rows people see, under the heading they share; one without a heading for most tables."""
    keys = [column.key for column in table.columns if column.form == "group"]
    groups: dict[str, list[Mapping[str, Cell]]] = {}
    for row in table.body:
        groups.setdefault(str(row[keys[0]]) if keys else "", []).append(row)
    return list(groups.items())


def _cell(value: Cell, column: Column) -> str:
    """What people read in a cell, without its interval."""
    if isinstance(value, Estimate):
        value = value.value
    if value is None:
        return column.where_none
    if isinstance(value, str):
        return spoken(value) if column.form == "finding" else value
    if column.form == "count":
        return f"{value:,}"
    return _percent(value) if column.form == "percent" else number(value, column.digits)


def _interval_of(value: Cell, column: Column) -> str:
    if not isinstance(value, Estimate) or value.interval is None:
        return ""
    low, high = (number(end, column.digits) for end in value.interval)
    return f"{low} to {high}"


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{100 * share:.1f} %"


def _setting(value: object) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_setting(part)}" for key, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_setting(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
