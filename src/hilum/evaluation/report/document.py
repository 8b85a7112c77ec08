"""report.json: the content of the page for programs; its schema is templates/report.schema.json."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib.resources import files
from typing import Any

from hilum.evaluation.report.assembly import Report
from hilum.evaluation.report.parts import Part

__all__ = ["FORMAT", "FORMAT_VERSION", "report_document", "report_schema"]

FORMAT = "hilum-report"
FORMAT_VERSION = 1


def report_document(report: Report) -> dict[str, Any]:
    """Return plain dicts, lists, numbers and None; pictures are named, not included."""
    inputs = report.inputs
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "title": inputs.title,
        "subtitle": inputs.subtitle,
        "notes": list(inputs.notes),
        "summary": {"headlines": report.headlines, "cautions": report.cautions},
        "data_flow": _flow(report),
        "metrics": inputs.evaluation.to_dict(),
        "curves": {
            name: None if curve is None else asdict(curve) for name, curve in inputs.curves.items()
        },
        "parts": [_part(part) for part in report.parts],
        "tables": {table.name: table.to_dict() for table in report.tables},
        "not_examined": [asdict(missing) for missing in report.missing],
        "published": [asdict(result) for result in inputs.published],
        "cases": [_case(report, at) for at in range(len(inputs.examples))],
        "model_card": [
            {
                "heading": section.heading,
                "sentences": list(section.sentences),
                "facts": [list(fact) for fact in section.facts],
            }
            for section in report.card
        ],
        "claim_checklist": [asdict(item) for item in report.claim],
        "settings": _plain(inputs.settings),
    }


def report_schema() -> dict[str, Any]:
    """Return the JSON schema of report.json."""
    path = files("hilum.evaluation") / "templates" / "report.schema.json"
    schema: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return schema


def _flow(report: Report) -> dict[str, Any]:
    flow = report.inputs.flow
    return {
        "files_found": flow.files_found,
        "rejected": dict(flow.rejected),
        "splits": [asdict(split) for split in flow.splits],
        "leaking_patients": flow.leaking_patients,
        "label_counts": dict(report.inputs.label_counts),
        "label_images": report.inputs.label_images,
    }


def _part(part: Part) -> dict[str, Any]:
    return {
        "anchor": part.anchor,
        "title": part.title,
        "lead": list(part.lead),
        "warnings": list(part.warnings),
        "pictures": [
            {"name": picture.name, "text": picture.text, "caption": picture.caption}
            for picture in part.pictures
        ],
        "tables": [table.name for table in part.tables],
    }


def _case(report: Report, at: int) -> dict[str, Any]:
    example = report.inputs.examples[at]
    return {
        "name": example.name,
        "finding": example.finding,
        "kind": example.kind,
        "note": example.note,
        "probabilities": dict(example.probabilities),
        "labels": dict(example.labels),
        "heat_map": example.overlay is not None,
    }


def _plain(value: object) -> Any:
    """Settings may hold anything a bundle stores; what JSON does not know becomes text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
