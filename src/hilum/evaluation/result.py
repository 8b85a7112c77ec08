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
from hilum.evaluation.confusion import OperatingResult
from hilum.evaluation.intervals import METRICS, Measured
from hilum.evaluation.metrics import RocCurve
from hilum.evaluation.precision import PrCurve
from hilum.evaluation.reliability import Reliability

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
        auprc: average precision; a model that guesses gets `prevalence`.
        brier: mean squared distance of probability and label.
        log_loss: mean -log(probability of what was there).
        pr: at most 500 corners of the precision-recall curve.
        reliability: do probabilities mean what they say?
        operating_points: at the bundle's frozen thresholds, by the name of their rule.

    Numbers and curves are None where the known labels have one value; intervals as `auroc_ci95`.
    """

    auroc: float | None
    auroc_ci95: Interval | None
    positives: int
    images: int
    roc: RocCurve | None = None
    auprc: float | None = None
    auprc_ci95: Interval | None = None
    brier: float | None = None
    brier_ci95: Interval | None = None
    log_loss: float | None = None
    log_loss_ci95: Interval | None = None
    pr: PrCurve | None = None
    reliability: Reliability | None = None
    operating_points: Mapping[str, OperatingResult] = field(default_factory=dict)

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
        macro: mean of each metric over the findings that are defined, by metric name; the AUC
            among them is `mean_auroc`.
        prevalence_weighted: the same, each finding weighing as much as its prevalence.
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
    macro: Mapping[str, Measured] = field(default_factory=dict)
    prevalence_weighted: Mapping[str, Measured] = field(default_factory=dict)

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
            "macro": _average_to_dict(self.macro),
            "prevalence_weighted": _average_to_dict(self.prevalence_weighted),
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
                macro=_average_from_dict(stored.get("macro", {})),
                prevalence_weighted=_average_from_dict(stored.get("prevalence_weighted", {})),
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


def _average_to_dict(average: Mapping[str, Measured]) -> dict[str, Any]:
    stored: dict[str, Any] = {}
    for name, measured in average.items():
        stored |= {name: measured.value, f"{name}_ci95": _listed(measured.ci95)}
    return stored


def _average_from_dict(stored: Mapping[str, Any]) -> dict[str, Measured]:
    return {
        name: Measured(value=stored[name], ci95=_paired(stored[f"{name}_ci95"]))
        for name in METRICS
        if name in stored
    }


def _finding_to_dict(result: FindingResult) -> dict[str, Any]:
    numbers: dict[str, Any] = {}
    for name in METRICS:
        numbers |= {
            name: getattr(result, name),
            f"{name}_ci95": _listed(getattr(result, f"{name}_ci95")),
        }
    return {
        **numbers,
        "positives": result.positives,
        "images": result.images,
        "prevalence": result.prevalence,
        "roc": _curve_to_dict(result.roc, "fpr", "tpr"),
        "pr": _curve_to_dict(result.pr, "recall", "precision"),
        "reliability": result.reliability and result.reliability.to_json(),
        "operating_points": {
            name: point.to_json() for name, point in result.operating_points.items()
        },
    }


def _finding_from_dict(stored: Mapping[str, Any]) -> FindingResult:
    # Files written before a number existed lack it; it is then None.
    roc, pr, reliability = (stored.get(name) for name in ("roc", "pr", "reliability"))
    numbers: dict[str, Any] = {}
    for name in METRICS:
        numbers |= {
            name: stored.get(name),
            f"{name}_ci95": _paired(stored.get(f"{name}_ci95")),
        }
    return FindingResult(
        **numbers,
        positives=stored["positives"],
        images=stored["images"],
        roc=roc and RocCurve(**_curve_from_dict(roc)),
        pr=pr and PrCurve(**_curve_from_dict(pr)),
        reliability=reliability and Reliability.from_json(reliability),
        operating_points={
            name: OperatingResult.from_json(point)
            for name, point in stored.get("operating_points", {}).items()
        },
    )


def _curve_to_dict(curve: RocCurve | PrCurve | None, x: str, y: str) -> dict[str, Any] | None:
    if curve is None:
        return None
    return {
        x: list(getattr(curve, x)),
        y: list(getattr(curve, y)),
        # JSON has no infinity; the first threshold, above every score, is null
        "thresholds": [t if math.isfinite(t) else None for t in curve.thresholds],
    }


def _curve_from_dict(stored: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(math.inf if value is None else value for value in values)
        for name, values in stored.items()
    }


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
