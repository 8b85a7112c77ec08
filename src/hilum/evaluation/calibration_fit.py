"""Fitting calibration on validation images: as many parameters as their patients can carry.

Ten patients of the rarer kind per parameter, the rule of thumb of logistic regression (Peduzzi et
al., J Clin Epidemiol 1996): Platt scaling from twenty, temperature scaling from ten, and below that
none, with a note that says so. Labels are pulled a little towards each other as Platt (1999) did,
(n + 1) / (n + 2) for 1 and 1 / (n + 2) for 0, so that images that happen to be told apart perfectly
do not ask for an infinite slope.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from hilum.errors import require
from hilum.evaluation.bootstrap import PatientIds
from hilum.evaluation.calibration import Calibration, FindingCalibration, logits
from hilum.evaluation.evidence import Evidence, count_evidence
from hilum.evaluation.metrics import FloatArray, as_pair, require_probabilities

__all__ = ["PATIENTS_PER_PARAMETER", "fit_calibration"]

PATIENTS_PER_PARAMETER = 10
_SMALLEST = 1e-7  # a float32 sigmoid that saturated; its logit would be infinite
_LARGEST_LOG_SLOPE = 5.0  # temperatures from 1/148 to 148


def fit_calibration(
    findings: Sequence[str],
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    patient_ids: PatientIds | None = None,
    *,
    method: Literal["auto", "platt", "temperature"] = "auto",
    patients_per_parameter: int = PATIENTS_PER_PARAMETER,
) -> Calibration:
    """Fit every finding on its known labels; a finding with too few patients is left as it is.

    Args:
        findings: names of the columns.
        labels: (image, finding) of 1, 0 and NaN for unknown, of patients not trained on.
        scores: (image, finding) probabilities as the network gives them.
        patient_ids: one per image; None counts every image as a patient of its own.
        method: "auto" is Platt scaling where there are enough patients, else temperature scaling.
        patients_per_parameter: of the rarer kind; fewer, and the finding is not calibrated.

    Raises:
        InvalidValueError: names, shapes or values do not fit together.
    """
    labels, scores = as_pair(labels, scores)
    require_probabilities(scores)
    fits = len(findings) == labels.shape[1]
    require(fits, "findings", f"{labels.shape[1]} names, one per column", list(findings))
    known = ("auto", "platt", "temperature")
    require(method in known, "method", f"one of {', '.join(known)}", method)
    fitted = {}
    evidence = count_evidence(labels, patient_ids)
    for name, column, own, found in zip(findings, labels.T, scores.T, evidence, strict=True):
        use = ~np.isnan(column)
        chosen = method
        if method == "auto":
            enough = found.rarer >= 2 * patients_per_parameter
            chosen = "platt" if enough else "temperature"
        needed = patients_per_parameter * (2 if chosen == "platt" else 1)
        fitted[name] = (
            _untouched(found, f"too few: {found}; {chosen} scaling needs {needed} of each")
            if found.rarer < needed
            else _fit_one(column[use] == 1, own[use], found, with_intercept=chosen == "platt")
        )
    return Calibration(findings=fitted)


def _fit_one(
    positive: npt.NDArray[np.bool_], scores: FloatArray, found: Evidence, *, with_intercept: bool
) -> FindingCalibration:
    from scipy.optimize import minimize, minimize_scalar

    stretched = logits(np.clip(scores, _SMALLEST, 1 - _SMALLEST))
    targets = np.where(positive, 1 - 1 / (positive.sum() + 2), 1 / ((~positive).sum() + 2))

    def loss(parameters: FloatArray) -> tuple[float, FloatArray]:
        """Mean cross-entropy and its gradient by slope and intercept."""
        x = parameters[0] * stretched + parameters[1]
        error = np.exp(-np.logaddexp(0.0, -x)) - targets
        value = np.mean(np.logaddexp(0.0, x) - targets * x)
        return float(value), np.array([np.mean(error * stretched), np.mean(error)])

    if with_intercept:
        best = minimize(loss, np.array([1.0, 0.0]), jac=True, method="BFGS")
        slope, intercept = float(best.x[0]), float(best.x[1])
    else:
        bounds = (-_LARGEST_LOG_SLOPE, _LARGEST_LOG_SLOPE)
        best = minimize_scalar(
            lambda u: loss(np.array([np.exp(u), 0.0]))[0], bounds=bounds, method="bounded"
        )
        slope, intercept = float(np.exp(best.x)), 0.0
    if with_intercept and slope <= 0:
        return _untouched(found, "scores do not rise with the finding on these images")
    return FindingCalibration(
        method="platt" if with_intercept else "temperature",
        slope=slope,
        intercept=intercept,
        positive_patients=found.positive_patients,
        negative_patients=found.negative_patients,
    )


def _untouched(found: Evidence, note: str) -> FindingCalibration:
    return FindingCalibration(
        method="none",
        positive_patients=found.positive_patients,
        negative_patients=found.negative_patients,
        note=note,
    )
