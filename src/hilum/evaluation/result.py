"""The result of an evaluation: one frozen value that is metrics.json.

Everything a report or a gate says about a model's ranking is in here, by finding name, with None
where a number is undefined; it goes to JSON and comes back unchanged. `measure.evaluate` makes it.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hilum.errors import InvalidValueError
from hilum.evaluation.bootstrap import Interval
from hilum.evaluation.metrics import RocCurve

__all__ = ["Evaluation", "FindingResult", "ViewResult"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingResult:
    """What was measured for one finding.

    Attributes:
        auroc: None where the known labels have one value.
        auroc_ci95: 95 % interval over patients; None where `auroc` is, where three or fewer
            patients carry the finding (or lack it), or where no resamples were drawn.
        positives: images that have the finding.
        images: images whose label is known.
        roc: at most 500 corners of the curve.
    """

    auroc: float | None
    auroc_ci95: Interval | None
    positives: int
    images: int
    roc: RocCurve | None = None

    @property
    def prevalence(self) -> float | None:
        """Share of the known images that have the finding."""
        return self.positives / self.images if self.images else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewResult:
    """The same model on the images of one view.

    Attributes:
        patients: None if patients are not known.
        findings_scored: how many findings `mean_auroc` is the mean of; compare means only where
            these agree.
    """

    images: int
    patients: int | None
    mean_auroc: float | None
    mean_auroc_ci95: Interval | None
    findings_scored: int
    any_finding: FindingResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """How well the scores rank each finding.

    Attributes:
        findings: one result per finding, by name, in the order of the score columns.
        mean_auroc: mean over the findings that are defined; None if none is.
        any_finding: all findings folded into one (see `metrics.any_finding`).
        by_view: per view ("PA", "AP", "unknown"), most images first; empty if views are not known.
        num_patients: None if patients are not known: each image then counts as one.
        num_resamples: draws of patients behind each interval.
    """

    findings: Mapping[str, FindingResult]
    mean_auroc: float | None
    mean_auroc_ci95: Interval | None
    any_finding: FindingResult
    num_images: int
    num_patients: int | None
    num_resamples: int
    seed: int
    by_view: Mapping[str, ViewResult] = field(default_factory=dict)

    @property
    def scored(self) -> tuple[str, ...]:
        """Names of the findings that have an AUC."""
        return tuple(name for name, r in self.findings.items() if r.auroc is not None)

    @property
    def undefined(self) -> tuple[str, ...]:
        """Names of the findings whose known labels have one value."""
        return tuple(name for name, r in self.findings.items() if r.auroc is None)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of metrics.json as plain dicts, lists, numbers and None."""
        return {
            "mean_auroc": self.mean_auroc,
            "mean_auroc_ci95": _listed(self.mean_auroc_ci95),
            "num_images": self.num_images,
            "num_patients": self.num_patients,
            "findings": {name: _finding_to_dict(r) for name, r in self.findings.items()},
            "any_finding": _finding_to_dict(self.any_finding),
            "by_view": {name: _view_to_dict(r) for name, r in self.by_view.items()},
            "bootstrap": {"unit": self._unit(), "resamples": self.num_resamples, "seed": self.seed},
        }

    def to_json(self) -> str:
        """Return metrics.json: null where undefined, lists of numbers on one line."""
        text = json.dumps(self.to_dict(), indent=2, allow_nan=False)
        return re.sub(r'\[\n[^][{}"]*\]', lambda match: " ".join(match[0].split()), text)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Evaluation":
        """Read what `to_dict` wrote.

        Raises:
            InvalidValueError: a part is missing or has another shape.
        """
        try:
            return cls(
                findings={n: _finding_from_dict(r) for n, r in stored["findings"].items()},
                mean_auroc=stored["mean_auroc"],
                mean_auroc_ci95=_paired(stored["mean_auroc_ci95"]),
                any_finding=_finding_from_dict(stored["any_finding"]),
                num_images=stored["num_images"],
                num_patients=stored["num_patients"],
                num_resamples=stored["bootstrap"]["resamples"],
                seed=stored["bootstrap"]["seed"],
                by_view={n: _view_from_dict(r) for n, r in stored["by_view"].items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidValueError(
                f"metrics must be those Hilum writes. Got {type(error).__name__}: {error}. "
                "Hint: write the file again with `hilum evaluate`."
            ) from error

    @classmethod
    def from_json(cls, text: str) -> "Evaluation":
        """Read what `to_json` wrote; raises InvalidValueError if it is something else."""
        try:
            stored = json.loads(text)
        except ValueError as error:
            raise InvalidValueError(f"metrics must be JSON. Got {error}.") from error
        return cls.from_dict(stored)

    def _unit(self) -> str:
        return "image" if self.num_patients is None else "patient"


def _finding_to_dict(result: FindingResult) -> dict[str, Any]:
    roc = result.roc and {
        "fpr": list(result.roc.fpr),
        "tpr": list(result.roc.tpr),
        # JSON has no infinity; the first threshold, above every score, is null
        "thresholds": [t if math.isfinite(t) else None for t in result.roc.thresholds],
    }
    return {
        "auroc": result.auroc,
        "auroc_ci95": _listed(result.auroc_ci95),
        "positives": result.positives,
        "images": result.images,
        "prevalence": result.prevalence,
        "roc": roc,
    }


def _finding_from_dict(stored: Mapping[str, Any]) -> FindingResult:
    roc = stored["roc"] and RocCurve(
        fpr=tuple(stored["roc"]["fpr"]),
        tpr=tuple(stored["roc"]["tpr"]),
        thresholds=tuple(math.inf if t is None else t for t in stored["roc"]["thresholds"]),
    )
    return FindingResult(
        auroc=stored["auroc"],
        auroc_ci95=_paired(stored["auroc_ci95"]),
        positives=stored["positives"],
        images=stored["images"],
        roc=roc,
    )


def _view_to_dict(result: ViewResult) -> dict[str, Any]:
    return {
        "images": result.images,
        "patients": result.patients,
        "mean_auroc": result.mean_auroc,
        "mean_auroc_ci95": _listed(result.mean_auroc_ci95),
        "findings_scored": result.findings_scored,
        "any_finding": _finding_to_dict(result.any_finding),
    }


def _view_from_dict(stored: Mapping[str, Any]) -> ViewResult:
    return ViewResult(
        images=stored["images"],
        patients=stored["patients"],
        mean_auroc=stored["mean_auroc"],
        mean_auroc_ci95=_paired(stored["mean_auroc_ci95"]),
        findings_scored=stored["findings_scored"],
        any_finding=_finding_from_dict(stored["any_finding"]),
    )


def _listed(interval: Interval | None) -> list[float] | None:
    return None if interval is None else list(interval)


def _paired(interval: Sequence[float] | None) -> Interval | None:
    if interval is None:
        return None
    low, high = interval
    return low, high
