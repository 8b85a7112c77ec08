"""A table of a report: one value that becomes HTML rows, a CSV file and a part of report.json.

A cell is text, a number, None for undefined, or an `Estimate`. In CSV and JSON an estimate is three
columns (`auroc`, `auroc_low`, `auroc_high`), so that no program has to parse "0.81 (0.75 to 0.87)".
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hilum.errors import InvalidValueError, require
from hilum.evaluation.bootstrap import Interval

__all__ = ["Cell", "Column", "Estimate", "Form", "Table"]

Form = Literal["text", "finding", "group", "count", "percent", "number", "estimate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number and its 95 % interval; either may be None for undefined."""

    value: float | None
    interval: Interval | None = None


Cell = str | int | float | None | Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column.

    Attributes:
        key: its name in CSV and JSON.
        label: its heading for people.
        form: how people see it: "percent" cells are shares between 0 and 1, "finding" cells names,
            a "group" cell is a heading above the rows that share it.
        digits: after the point, of numbers and estimates.
        where_none: what people see for None.
        hidden: only in CSV and JSON.
    """

    key: str
    label: str
    form: Form = "text"
    digits: int = 2
    where_none: str = "undefined"
    hidden: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Columns, and rows as mappings from column key to cell.

    Attributes:
        name: file name without ".csv", and key in report.json.
        caption: one or two sentences below it.
        totals: the last rows, set apart, such as a mean.
        shown: rows that people see; all are in CSV and JSON. None for all; 0 shows the caption.
        plain_estimates: people see no intervals.
    """

    name: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Cell]]
    caption: str = ""
    totals: int = 0
    shown: int | None = None
    plain_estimates: bool = False

    def __post_init__(self) -> None:
        keys = [column.key for column in self.columns]
        require(len(set(keys)) == len(keys), f"columns of {self.name}", "all different", keys)
        for row in self.rows:
            require(set(row) == set(keys), f"row of {self.name}", f"cells for {keys}", sorted(row))

    @property
    def body(self) -> Sequence[Mapping[str, Cell]]:
        """The rows people see above the totals."""
        rows = self.rows[: len(self.rows) - self.totals]
        return rows if self.shown is None else rows[: self.shown]

    @property
    def foot(self) -> Sequence[Mapping[str, Cell]]:
        """The totals."""
        return self.rows[len(self.rows) - self.totals :]

    def flat_columns(self) -> list[str]:
        """Column names of CSV and JSON: three for each estimate."""
        names: list[str] = []
        for column in self.columns:
            names.append(column.key)
            if column.form == "estimate":
                names += [f"{column.key}_low", f"{column.key}_high"]
        return names

    def flat_rows(self) -> list[dict[str, str | int | float | None]]:
        """Rows of CSV and JSON."""
        return [
            {
                name: value
                for column in self.columns
                for name, value in _flat(column, row[column.key])
            }
            for row in self.rows
        ]

    def to_csv(self) -> str:
        """Return the table as CSV; undefined cells are empty, numbers unrounded."""
        text = io.StringIO()
        writer = csv.DictWriter(text, self.flat_columns(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.flat_rows())
        return text.getvalue()

    def to_dict(self) -> dict[str, Any]:
        """Return the table's part of report.json."""
        return {
            "caption": self.caption,
            "columns": [
                {"key": column.key, "label": column.label, "form": column.form}
                for column in self.columns
            ],
            "rows": self.flat_rows(),
        }


def _flat(column: Column, cell: Cell) -> list[tuple[str, str | int | float | None]]:
    if column.form != "estimate" and not isinstance(cell, Estimate):
        return [(column.key, cell)]
    estimate = Estimate(value=None) if cell is None else cell
    if column.form != "estimate" or not isinstance(estimate, Estimate):
        raise InvalidValueError(
            f"cell of column {column.key!r} must be an Estimate in a column of that form, and only "
            f"there. Got {cell!r}."
        )
    low, high = estimate.interval or (None, None)
    return [
        (column.key, estimate.value),
        (f"{column.key}_low", low),
        (f"{column.key}_high", high),
    ]
