"""The result of a comparison: one frozen value that is comparison.json and comparison.csv."""

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from hilum.errors import InvalidValueError
from hilum.evaluation.bootstrap import Interval

__all__ = ["AurocDifference", "Comparison"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AurocDifference:
    """Two AUCs on the same images. Numbers are None where undefined.

    Attributes:
        difference: B - A; above 0, B ranks better.
        ci95: bootstrap interval of the difference over patients.
        p_value: DeLong's test that there is no difference, images of a patient taken together.
        p_adjusted: corrected for testing several findings; None for the mean and any finding.
        p_bootstrap: the same question asked of the bootstrap.
        positives: images with the finding; for the mean, with any scored one.
        images: images whose label is known.
    """

    auroc_a: float | None
    auroc_b: float | None
    difference: float | None
    ci95: Interval | None
    p_value: float | None
    p_bootstrap: float | None
    positives: int
    images: int
    p_adjusted: float | None = None

    def with_adjusted(self, p_adjusted: float | None) -> "AurocDifference":
        """Return it with its corrected p value."""
        return replace(self, p_adjusted=p_adjusted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Model B against model A on the same images.

    Attributes:
        names: of A and B.
        findings: by name, in the order of the score columns.
        mean: of the AUC over the findings that are defined.
        any_finding: all findings folded into one.
        correction: how `p_adjusted` is corrected over the findings.
        num_patients: None if patients are not known: each image then counts as one.
        notes: what a reader must know, in sentences.
    """

    names: tuple[str, str]
    findings: Mapping[str, AurocDifference]
    mean: AurocDifference
    any_finding: AurocDifference
    correction: str
    num_images: int
    num_patients: int | None
    num_resamples: int
    seed: int
    notes: tuple[str, ...] = ()

    def different(self, level: float = 0.05) -> tuple[str, ...]:
        """Names of the findings whose AUCs differ at this level after correction."""
        return tuple(
            name
            for name, row in self.findings.items()
            if row.p_adjusted is not None and row.p_adjusted <= level
        )

    def rows(self) -> list[tuple[str, AurocDifference]]:
        """All differences with their names: the findings, then any finding, then the mean."""
        return [
            *self.findings.items(),
            ("any finding", self.any_finding),
            ("mean", self.mean),
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the content of comparison.json as plain dicts, lists, numbers and None."""
        plain: dict[str, Any] = asdict(self)
        return plain

    def to_json(self) -> str:
        """Return comparison.json; null where undefined."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    def to_csv(self) -> str:
        """Return comparison.csv: a row per finding, any finding and the mean; empty: undefined."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        names = [f.name for f in fields(AurocDifference) if f.name != "ci95"]
        writer.writerow(["finding", *names, "ci95_low", "ci95_high"])
        for finding, row in self.rows():
            low, high = row.ci95 or (None, None)
            writer.writerow([finding, *(getattr(row, name) for name in names), low, high])
        return text.getvalue()

    @classmethod
    def from_json(cls, text: str) -> "Comparison":
        """Read what `to_json` wrote; raises InvalidValueError if it is something else."""
        try:
            stored = json.loads(text)
            a, b = stored["names"]
            return cls(
                **stored
                | {
                    "names": (a, b),
                    "findings": {n: _difference(row) for n, row in stored["findings"].items()},
                    "mean": _difference(stored["mean"]),
                    "any_finding": _difference(stored["any_finding"]),
                    "notes": tuple(stored["notes"]),
                }
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidValueError(
                f"a comparison must be what Hilum writes. Got {type(error).__name__}: {error}. "
                "Hint: write the file again with `hilum compare`."
            ) from error


def _difference(stored: Mapping[str, Any]) -> AurocDifference:
    interval = stored["ci95"]
    return AurocDifference(**{**stored, "ci95": interval and (interval[0], interval[1])})
