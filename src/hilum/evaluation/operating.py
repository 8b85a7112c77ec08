"""Operating points: the thresholds above which findings are called present, chosen by a rule.

They are chosen on validation patients, frozen, and measured on others: a threshold chosen on the
images it is judged by looks better than it is. A threshold lies midway between two scores that were
seen, so that rounding does not decide.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from hilum.errors import InvalidValueError, require
from hilum.evaluation.bootstrap import PatientIds
from hilum.evaluation.evidence import Evidence, count_evidence
from hilum.evaluation.metrics import FloatArray, as_pair, require_probabilities

__all__ = [
    "DEFAULT_RULES",
    "AtSpecificity",
    "LowestCost",
    "OperatingPoint",
    "Rule",
    "Youden",
    "choose_thresholds",
    "fit_operating_point",
    "rule_from_json",
]

MIN_PATIENTS = 10  # of each kind, where a rule looks at both


@dataclass(frozen=True, slots=True, kw_only=True)
class AtSpecificity:
    """The highest sensitivity while specificity stays at or above a share; negatives decide."""

    specificity: float

    def __post_init__(self) -> None:
        require(0 < self.specificity < 1, "specificity", "between 0 and 1", self.specificity)

    @property
    def name(self) -> str:
        """Key in files: "specificity_90"."""
        return f"specificity_{100 * self.specificity:g}"

    def __str__(self) -> str:
        return f"highest sensitivity at {100 * self.specificity:g} % specificity"

    def costs(self, sensitivity: FloatArray, specificity: FloatArray, _: float) -> FloatArray:
        """Infinite below the specificity; lower for more sensitive, then for lower thresholds."""
        allowed = specificity >= self.specificity - 1e-12
        return np.where(allowed, specificity, np.inf)

    def lacking(self, evidence: Evidence) -> str:
        """Say what is missing to choose a threshold; empty if nothing is."""
        # With fewer, the share of patients above the threshold cannot be so small.
        needed = int(np.ceil(1 / (1 - self.specificity) - 1e-9))
        enough = evidence.negative_patients >= needed and evidence.positive_patients > 0
        return "" if enough else f"needs a patient with the finding and {needed} without"


@dataclass(frozen=True, slots=True, kw_only=True)
class Youden:
    """The highest sensitivity + specificity - 1 (Youden, Cancer 1950)."""

    @property
    def name(self) -> str:
        """Key in files."""
        return "youden"

    def __str__(self) -> str:
        return "highest sensitivity + specificity (Youden)"

    def costs(self, sensitivity: FloatArray, specificity: FloatArray, _: float) -> FloatArray:
        """Minus Youden's index."""
        return -(sensitivity + specificity)

    def lacking(self, evidence: Evidence) -> str:
        """Say what is missing to choose a threshold; empty if nothing is."""
        return _lacking_both(evidence)


@dataclass(frozen=True, slots=True, kw_only=True)
class LowestCost:
    """The lowest expected cost of errors.

    Attributes:
        false_negative: cost of a missed finding, in the unit of
        false_positive: the cost of a false alarm.
        prevalence: where the model will be used; None: that of the images fitted on.
    """

    false_negative: float
    false_positive: float = 1.0
    prevalence: float | None = None

    def __post_init__(self) -> None:
        both = min(self.false_negative, self.false_positive)
        require(0 < both < np.inf, "costs", "positive", (self.false_negative, self.false_positive))
        share = self.prevalence
        require(share is None or 0 < share < 1, "prevalence", "between 0 and 1", share)

    @property
    def name(self) -> str:
        """Key in files: "cost_5_to_1", with the prevalence if one was given."""
        name = f"cost_{self.false_negative:g}_to_{self.false_positive:g}"
        return name if self.prevalence is None else f"{name}_at_{100 * self.prevalence:g}"

    def __str__(self) -> str:
        where = "" if self.prevalence is None else f" at {100 * self.prevalence:g} % prevalence"
        return (
            f"lowest cost, a miss costing {self.false_negative:g} and a false alarm "
            f"{self.false_positive:g}{where}"
        )

    def costs(
        self, sensitivity: FloatArray, specificity: FloatArray, prevalence: float
    ) -> FloatArray:
        """Expected cost per image."""
        share = prevalence if self.prevalence is None else self.prevalence
        missed = share * self.false_negative * (1 - sensitivity)
        return np.asarray(missed + (1 - share) * self.false_positive * (1 - specificity))

    def lacking(self, evidence: Evidence) -> str:
        """Say what is missing to choose a threshold; empty if nothing is."""
        return _lacking_both(evidence)


Rule = AtSpecificity | Youden | LowestCost

DEFAULT_RULES: tuple[Rule, ...] = (
    AtSpecificity(specificity=0.90),
    AtSpecificity(specificity=0.95),
    Youden(),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """Frozen thresholds of one rule.

    Attributes:
        thresholds: by finding name; present at or above it; None where none could be chosen.
        images: fitted on so many,
        patients: of so many patients; None if patients were not known.
        notes: why there is no threshold, by finding name.
    """

    rule: Rule
    thresholds: Mapping[str, float | None]
    images: int
    patients: int | None
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The rule's name."""
        return self.rule.name

    def as_array(self) -> FloatArray:
        """Return the thresholds in order, (finding,); NaN where there is none."""
        values = self.thresholds.values()
        return np.array([np.nan if value is None else value for value in values])

    def to_json(self) -> dict[str, Any]:
        """Return plain dicts and numbers."""
        return {
            "rule": {"kind": _KIND_OF[type(self.rule)], **asdict(self.rule)},
            "description": str(self.rule),
            "thresholds": dict(self.thresholds),
            "images": self.images,
            "patients": self.patients,
            "notes": dict(self.notes),
        }

    @staticmethod
    def from_json(stored: Mapping[str, Any]) -> "OperatingPoint":
        """Read what `to_json` wrote.

        Raises:
            InvalidValueError: it is something else.
        """
        try:
            return OperatingPoint(
                rule=rule_from_json(stored["rule"]),
                thresholds=dict(stored["thresholds"]),
                images=stored["images"],
                patients=stored["patients"],
                notes=dict(stored["notes"]),
            )
        except (KeyError, TypeError) as error:
            raise InvalidValueError(
                f"operating point must be what Hilum writes. Got {error!r}. "
                "Hint: copy the bundle again, or use the Hilum that wrote it."
            ) from error


def rule_from_json(stored: Mapping[str, Any]) -> Rule:
    """Read a rule; raises InvalidValueError for one this version does not know."""
    kinds = {kind: rule for rule, kind in _KIND_OF.items()}
    kind = stored.get("kind")
    require(kind in kinds, "rule kind", f"one of {', '.join(kinds)}", kind)
    return kinds[str(kind)](**{name: value for name, value in stored.items() if name != "kind"})


def choose_thresholds(labels: npt.ArrayLike, scores: npt.ArrayLike, rule: Rule) -> FloatArray:
    """Return the threshold of every finding, (finding,); NaN where the rule cannot be met.

    It cannot where the known labels have one value, where too many negatives share the highest
    score, or where calling nothing at all would be best.

    Args:
        labels: (image, finding) of 1, 0 and NaN for unknown; (image,) counts as one finding.
        scores: same shape, probabilities.
        rule: what is best.

    >>> choose_thresholds([0, 0, 0, 1, 1], [0.1, 0.2, 0.6, 0.4, 0.8], Youden())
    array([0.3])
    """
    labels, scores = as_pair(labels, scores)
    require_probabilities(scores)
    columns = zip(labels.T, scores.T, ~np.isnan(labels.T), strict=True)
    chosen = [_choose(y[known], s[known], rule) for y, s, known in columns]
    return np.array(chosen, dtype=np.float64)


def fit_operating_point(
    findings: Sequence[str],
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    rule: Rule,
    patient_ids: PatientIds | None = None,
) -> OperatingPoint:
    """Choose the thresholds of all findings for which there are enough patients.

    Args:
        findings: names of the columns.
        labels: (image, finding) of 1, 0 and NaN for unknown, of patients not trained on.
        scores: (image, finding) probabilities, on the scale that thresholds will be used on.
        rule: what is best.
        patient_ids: one per image; None counts every image as a patient of its own.
    """
    labels, scores = as_pair(labels, scores)
    fits = len(findings) == labels.shape[1]
    require(fits, "findings", f"{labels.shape[1]} names, one per column", list(findings))
    evidence = count_evidence(labels, patient_ids)
    values = choose_thresholds(labels, scores, rule).tolist()
    thresholds: dict[str, float | None] = {}
    notes: dict[str, str] = {}
    for name, value, found in zip(findings, values, evidence, strict=True):
        lacking = rule.lacking(found)
        if lacking:
            notes[name] = f"{found}; {lacking}"
        elif np.isnan(value):
            notes[name] = "no threshold fulfils the rule better than calling nothing"
        thresholds[name] = None if name in notes else value
    return OperatingPoint(
        rule=rule,
        thresholds=thresholds,
        images=len(labels),
        patients=None if patient_ids is None else len(set(patient_ids)),
        notes=notes,
    )


def _choose(labels: FloatArray, scores: FloatArray, rule: Rule) -> float:
    positives, negatives = int((labels == 1).sum()), int((labels == 0).sum())
    if not positives or not negatives:
        return float("nan")
    distinct, position = np.unique(scores, return_inverse=True)
    at_or_above = [
        np.cumsum(np.bincount(position, weights=labels == kind)[::-1])[::-1] for kind in (1, 0)
    ]
    # One more candidate, last: above every score, nothing called.
    sensitivity = np.append(at_or_above[0] / positives, 0.0)
    specificity = np.append(1 - at_or_above[1] / negatives, 1.0)
    costs = rule.costs(sensitivity, specificity, positives / (positives + negatives))
    best = costs.min()
    equal = np.flatnonzero(costs <= best + 1e-12)
    # Of equally good ones, specificity rules take the lowest threshold, which only negatives
    # decide; the others the most specific one.
    at = int(equal[0] if isinstance(rule, AtSpecificity) else equal[-1])
    if at == len(distinct):
        return float("nan")
    return _midway(distinct[at - 1] if at else 0.0, distinct[at])


def _midway(below: float, score: float) -> float:
    middle = float(below + score) / 2
    return middle if middle > below else float(score)


def _lacking_both(evidence: Evidence) -> str:
    enough = evidence.rarer >= MIN_PATIENTS
    return "" if enough else f"needs {MIN_PATIENTS} of each"


_KIND_OF: dict[type[Rule], str] = {
    AtSpecificity: "specificity",
    Youden: "youden",
    LowestCost: "cost",
}
