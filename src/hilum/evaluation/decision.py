"""What turns a network's scores into decisions: calibration and thresholds, one stored value.

Fitted once, on validation patients, and carried in the bundle, so that batch, command line and
servers call the same images positive. Thresholds are on the scale of calibrated probabilities.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hilum.errors import InvalidValueError, require
from hilum.evaluation.bootstrap import PatientIds
from hilum.evaluation.calibration import Calibration
from hilum.evaluation.calibration_fit import fit_calibration
from hilum.evaluation.metrics import as_pair
from hilum.evaluation.operating import (
    DEFAULT_RULES,
    OperatingPoint,
    Rule,
    fit_operating_point,
)

__all__ = ["NO_RULES", "DecisionRules", "fit_decision_rules"]

NO_RULES = "no thresholds or calibration stored"


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRules:
    """Calibration and operating points of a model.

    Attributes:
        calibration: of every finding; "none" where it had too few patients.
        operating_points: by rule; the first is the default.
        split: name of the split they were fitted on.
        images: how many images it had.
        patients: and patients; None if they were not known.
    """

    calibration: Calibration
    operating_points: tuple[OperatingPoint, ...]
    split: str
    images: int
    patients: int | None

    def __post_init__(self) -> None:
        require(len(self.operating_points) > 0, "operating_points", "at least one", ())
        for point in self.operating_points:
            same = list(point.thresholds) == list(self.findings)
            require(same, "operating_points", "of the calibrated findings", list(point.thresholds))

    @property
    def findings(self) -> tuple[str, ...]:
        """Names of the findings, in order."""
        return tuple(self.calibration.findings)

    @property
    def default(self) -> OperatingPoint:
        """The operating point that is used where none is named."""
        return self.operating_points[0]

    def operating_point(self, name: str) -> OperatingPoint:
        """Return the operating point of a rule by its name."""
        named = {point.name: point for point in self.operating_points}
        require(name in named, "operating point", f"one of {', '.join(named)}", name)
        return named[name]

    def present(self, probabilities: npt.NDArray[Any]) -> list[str] | None:
        """Return the findings called present in one image, in order.

        A finding without a threshold is never called; None where no finding has one, because then
        an empty list would look like a healthy patient.

        Args:
            probabilities: (finding,), calibrated.
        """
        if all(value is None for value in self.default.thresholds.values()):
            return None
        called = np.asarray(probabilities, dtype=np.float64) >= self.default.as_array()
        return [name for name, yes in zip(self.findings, called.tolist(), strict=True) if yes]

    def __str__(self) -> str:
        thresholds = self.default.thresholds.values()
        chosen = sum(value is not None for value in thresholds)
        methods = [each.method for each in self.calibration.findings.values()]
        patients = "" if self.patients is None else f" of {self.patients} patients"
        return (
            f"fitted on {self.images} images{patients} ({self.split}): "
            f"{len(methods) - methods.count('none')} of {len(methods)} findings calibrated, "
            f"{chosen} with a threshold ({self.default.rule})"
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain dicts, lists and numbers."""
        return {
            "split": self.split,
            "images": self.images,
            "patients": self.patients,
            "calibration": self.calibration.to_json(),
            "operating_points": [point.to_json() for point in self.operating_points],
        }

    @staticmethod
    def from_json(stored: Mapping[str, Any]) -> "DecisionRules":
        """Read what `to_json` wrote.

        Raises:
            InvalidValueError: it is something else.
        """
        try:
            return DecisionRules(
                calibration=Calibration.from_json(stored["calibration"]),
                operating_points=tuple(
                    OperatingPoint.from_json(point) for point in stored["operating_points"]
                ),
                split=stored["split"],
                images=stored["images"],
                patients=stored["patients"],
            )
        except (KeyError, TypeError) as error:
            raise InvalidValueError(
                f"decision rules must be those Hilum writes. Got {error!r}. "
                "Hint: copy the bundle again, or use the Hilum that wrote it."
            ) from error


def fit_decision_rules(
    findings: Sequence[str],
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    patient_ids: PatientIds | None = None,
    *,
    rules: Sequence[Rule] = DEFAULT_RULES,
    split: str = "valid",
) -> DecisionRules:
    """Fit calibration, then thresholds on the calibrated probabilities of the same images.

    Args:
        findings: names of the columns.
        labels: (image, finding) of 1, 0 and NaN for unknown, of patients not trained on.
        scores: (image, finding) probabilities as the network gives them, not calibrated.
        patient_ids: one per image; None counts every image as a patient of its own.
        rules: the operating points wanted, the default one first.
        split: name of where the images come from.

    Raises:
        InvalidValueError: names, shapes or values do not fit together.
    """
    labels, scores = as_pair(labels, scores)
    calibration = fit_calibration(findings, labels, scores, patient_ids)
    calibrated = calibration.apply(scores)
    return DecisionRules(
        calibration=calibration,
        operating_points=tuple(
            fit_operating_point(findings, labels, calibrated, rule, patient_ids) for rule in rules
        ),
        split=split,
        images=len(labels),
        patients=None if patient_ids is None else len(set(patient_ids)),
    )
