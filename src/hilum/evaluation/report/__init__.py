"""The report: one HTML file that works offline, prints well, and says what is not known.

`ReportInputs` holds all a report can show, as plain values; `write_report` makes the page, the same
content as report.json (with a schema) and CSV tables, the model card and the CLAIM checklist.
"""

from hilum.evaluation.report.inputs import (
    Example,
    ModelFacts,
    OutOfDistribution,
    ReportInputs,
)
from hilum.evaluation.report.tables import Column, Estimate, Table
from hilum.evaluation.report.writing import render_report, write_report
from hilum.evaluation.summary import DataFlow, SplitCount

__all__ = [
    "Column",
    "DataFlow",
    "Estimate",
    "Example",
    "ModelFacts",
    "OutOfDistribution",
    "ReportInputs",
    "SplitCount",
    "Table",
    "render_report",
    "write_report",
]
