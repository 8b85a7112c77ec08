"""The result of a subgroup analysis: one frozen value that is subgroups.json and subgroups.csv."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hilum.errors import InvalidValueError
from hilum.evaluation.bootstrap import Interval

__all__ = ["Contrast", "Subgroup", "SubgroupFinding", "Subgroups"]

_CSV_COLUMNS = (
    *("column", "group", "images", "patients", "finding", "figure"),
    *("value", "ci95_low", "ci95_high", "rest", "rest_ci95_low", "rest_ci95_high", "differs"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """A figure in a subgroup and in the rest of the images; None where undefined.

    Attributes:
        ci95: interval over the subgroup's patients.
        rest: the figure on the images whose group is another, known one.
    """

    value: float | None
    ci95: Interval | None
    rest: float | None
    rest_ci95: Interval | None

    @property
    def differs(self) -> bool:
        """Whether the two intervals do not overlap; False where one is missing."""
        if self.ci95 is None or self.rest_ci95 is None:
            return False
        return self.ci95[1] < self.rest_ci95[0] or self.rest_ci95[1] < self.ci95[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubgroupFinding:
    """One finding in a subgroup.

    Attributes:
        sensitivity: at the finding's threshold; None throughout if it has none.
        specificity: likewise.
        positives: images of the subgroup with the finding.
        images: images of the subgroup whose label is known.
    """

    auroc: Contrast
    sensitivity: Contrast
    specificity: Contrast
    positives: int
    images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Subgroup:
    """The images of one group of a column.

    Attributes:
        mean_auroc: over the findings that are defined in the subgroup and in the rest.
        findings_compared: how many these are.
    """

    images: int
    patients: int
    mean_auroc: Contrast
    findings_compared: int
    findings: Mapping[str, SubgroupFinding]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subgroups:
    """All groups of all columns, such as columns["sex"]["F"].

    Attributes:
        thresholds: by finding, where given.
        num_patients: None if patients are not known: each image then counts as one.
    """

    columns: Mapping[str, Mapping[str, Subgroup]]
    thresholds: Mapping[str, float]
    num_images: int
    num_patients: int | None
    num_resamples: int
    seed: int

    def gaps(self) -> list[tuple[str, str, str, str, Contrast]]:
        """Column, group, finding ("mean" for the mean), figure and its values, where they differ.

        Of two groups both are listed.
        """
        return [row for row in self._figures() if row[4].differs]

    def to_json(self) -> str:
        """Return subgroups.json; null where undefined."""
        return json.dumps(asdict(self), indent=1, allow_nan=False)

    def to_csv(self) -> str:
        """Return a row per column, group, finding and figure; empty where undefined."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_CSV_COLUMNS)
        for column, group, finding, figure, c in self._figures():
            at = self.columns[column][group]
            (low, high), (rest_low, rest_high) = (
                pair or (None, None) for pair in (c.ci95, c.rest_ci95)
            )
            place = (column, group, at.images, at.patients, finding, figure)
            values = (c.value, low, high, c.rest, rest_low, rest_high, int(c.differs))
            writer.writerow((*place, *values))
        return text.getvalue()

    @classmethod
    def from_json(cls, text: str) -> "Subgroups":
        """Read what `to_json` wrote; raises InvalidValueError if it is something else."""
        try:
            stored = json.loads(text)
            columns = {
                column: {name: _subgroup(group) for name, group in groups.items()}
                for column, groups in stored["columns"].items()
            }
            return cls(**stored | {"columns": columns})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidValueError(
                f"subgroups must be what Hilum writes. Got {type(error).__name__}: {error}."
            ) from error

    def _figures(self) -> Iterator[tuple[str, str, str, str, Contrast]]:
        for column, groups in self.columns.items():
            for name, group in groups.items():
                yield column, name, "mean", "auroc", group.mean_auroc
                for finding, result in group.findings.items():
                    yield column, name, finding, "auroc", result.auroc
                    if finding in self.thresholds:
                        yield column, name, finding, "sensitivity", result.sensitivity
                        yield column, name, finding, "specificity", result.specificity


def _subgroup(stored: Mapping[str, Any]) -> Subgroup:
    findings = {
        name: SubgroupFinding(
            **row | {key: _contrast(row[key]) for key in ("auroc", "sensitivity", "specificity")}
        )
        for name, row in stored["findings"].items()
    }
    return Subgroup(
        **{**stored, "mean_auroc": _contrast(stored["mean_auroc"]), "findings": findings}
    )


def _contrast(stored: Mapping[str, Any]) -> Contrast:
    pairs = {key: stored[key] and tuple(stored[key]) for key in ("ci95", "rest_ci95")}
    return Contrast(**{**stored, **pairs})
