"""Calibration: probabilities that mean what they say, per finding, as a value that is stored.

A network's sigmoid is a score; of the images given 0.3, far fewer or more than 30 % may have the
finding (Guo et al., ICML 2017). Both methods here stretch its logit, p' = sigmoid(slope * logit(p)
+ intercept) with slope > 0, so calibration never changes the order of images and no AUC of a
finding: temperature scaling has a slope alone (1 / temperature; Guo 2017), Platt scaling has both
(Platt 1999). `calibration_fit.py` fits them. Only numpy is needed to apply them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from hilum.errors import InvalidValueError, require
from hilum.evaluation.metrics import FloatArray

__all__ = ["Calibration", "CalibrationMethod", "FindingCalibration", "logits"]

CalibrationMethod = Literal["platt", "temperature", "none"]
Float = TypeVar("Float", np.float32, np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingCalibration:
    """The calibration of one finding.

    Attributes:
        method: "none" leaves probabilities as they are; `note` then says why.
        slope: factor on the logit, positive; 1 / temperature.
        intercept: added to the logit; 0 for temperature scaling.
        positive_patients: fitted on so many patients with the finding,
        negative_patients: and so many without.
    """

    method: CalibrationMethod
    slope: float = 1.0
    intercept: float = 0.0
    positive_patients: int = 0
    negative_patients: int = 0
    note: str = ""

    def __post_init__(self) -> None:
        require(0 < self.slope < np.inf, "slope", "positive, so that order is kept", self.slope)
        require(bool(np.isfinite(self.intercept)), "intercept", "finite", self.intercept)
        known = self.method in ("platt", "temperature", "none")
        require(known, "method", "platt, temperature or none", self.method)

    def __str__(self) -> str:
        if self.method == "none":
            return f"none; {self.note}" if self.note else "none"
        return f"{self.method}, slope {self.slope:.3f}, intercept {self.intercept:.3f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The calibration of every finding, by name, in the order of the score columns."""

    findings: Mapping[str, FindingCalibration]

    def apply(self, probabilities: npt.NDArray[Float]) -> npt.NDArray[Float]:
        """Return calibrated probabilities, same shape and type; computed in float64.

        No two images change places in any finding. They may become equal where float32 cannot tell
        them apart any more, which moves an AUC by less than 1e-6.

        Args:
            probabilities: (image, finding) or (finding,), from the network's sigmoid.
        """
        width = probabilities.shape[-1] if probabilities.ndim else 0
        require(
            width == len(self.findings), "probabilities", f"{len(self.findings)} findings", width
        )
        slopes = np.array([each.slope for each in self.findings.values()])
        intercepts = np.array([each.intercept for each in self.findings.values()])
        stretched = slopes * logits(probabilities) + intercepts
        # exp(-log(1 + exp(-x))) is the sigmoid without losing tiny probabilities or overflowing
        calibrated = np.exp(-np.logaddexp(0.0, -stretched)).astype(probabilities.dtype)
        untouched = (slopes == 1) & (intercepts == 0)  # to the last bit
        return np.where(untouched, probabilities, calibrated)

    def select(self, names: Sequence[str]) -> "Calibration":
        """Return the calibration of these findings, in this order."""
        missing = [name for name in names if name not in self.findings]
        require(not missing, "findings", f"among {', '.join(self.findings)}", missing)
        return Calibration(findings={name: self.findings[name] for name in names})

    def to_json(self) -> dict[str, Any]:
        """Return plain dicts and numbers, by finding name."""
        return {name: asdict(each) for name, each in self.findings.items()}

    @staticmethod
    def from_json(stored: Mapping[str, Any]) -> "Calibration":
        """Read what `to_json` wrote.

        Raises:
            InvalidValueError: it is something else.
        """
        try:
            return Calibration(
                findings={name: FindingCalibration(**each) for name, each in stored.items()}
            )
        except (TypeError, AttributeError) as error:
            raise InvalidValueError(
                f"calibration must be what Hilum writes. Got {error}. "
                "Hint: copy the bundle again, or use the Hilum that wrote it."
            ) from error


def logits(probabilities: npt.NDArray[Any]) -> FloatArray:
    """Return log(p / (1 - p)) in float64; minus and plus infinity at 0 and 1."""
    values = np.asarray(probabilities, dtype=np.float64)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(values) - np.log1p(-values))
