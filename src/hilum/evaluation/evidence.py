"""How many patients stand behind a finding: what decides whether a number may be fitted at all.

Patients are counted and not images, because images of one patient tell the same story.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hilum.evaluation.bootstrap import PatientIds, patient_codes
from hilum.evaluation.metrics import FloatArray

__all__ = ["Evidence", "count_evidence"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Patients with at least one image with the finding, and with one known to be without it."""

    positive_patients: int
    negative_patients: int

    @property
    def rarer(self) -> int:
        """Patients of the rarer kind: events, in the language of regression."""
        return min(self.positive_patients, self.negative_patients)

    def __str__(self) -> str:
        return f"{self.positive_patients} patients with it and {self.negative_patients} without"


def count_evidence(
    labels: FloatArray, patient_ids: PatientIds | None = None
) -> tuple[Evidence, ...]:
    """Count the patients behind every finding of `labels` (image, finding); None: images count."""
    codes, _ = patient_codes(patient_ids, len(labels))
    return tuple(
        Evidence(
            positive_patients=_different(codes[column == 1]),
            negative_patients=_different(codes[column == 0]),
        )
        for column in labels.T
    )


def _different(codes: npt.NDArray[np.intp]) -> int:
    return int(np.unique(codes).size)
