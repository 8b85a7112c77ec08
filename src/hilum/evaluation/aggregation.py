"""From images to studies or patients: one row per id, before anything is measured.

A reader reports a study and treats a patient. The label of a group is 1 if any of its images has
the finding, and its score the highest or the mean of its images'.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from hilum.errors import require
from hilum.evaluation.bootstrap import PatientIds, patient_codes
from hilum.evaluation.metrics import FloatArray, as_pair

__all__ = ["Aggregated", "aggregate"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Aggregated:
    """One row per group, in order of first appearance.

    Attributes:
        ids: (group,).
        labels: (group, finding) of 1, 0 and NaN.
        scores: (group, finding).
        first_image: position of each group's first image, (group,); for what else images carry,
            such as the patient of a study.
    """

    ids: tuple[object, ...]
    labels: FloatArray
    scores: FloatArray
    first_image: npt.NDArray[np.intp]

    def take(self, values: Sequence[object]) -> list[object]:
        """Return each group's value of something known per image: that of its first image."""
        return [values[at] for at in self.first_image.tolist()]


def aggregate(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    ids: PatientIds,
    *,
    how: Literal["max", "mean"] = "max",
) -> Aggregated:
    """Fold images of one id (study or patient) into one row.

    The label is 1 if any image is known to have the finding, 0 if all are known to lack it, and NaN
    otherwise. Images whose label is unknown count in the score like any other: the model saw them.

    Args:
        labels: (image, finding) of 1, 0 and NaN for unknown; (image,) counts as one finding.
        scores: same shape, finite.
        ids: one per image, none missing.
        how: "max", the most suspicious image counts; "mean", all count alike.

    Raises:
        InvalidValueError: shapes or values do not fit, or an id is missing.

    >>> patients = aggregate([0, 1, 0], [0.2, 0.6, 0.4], ["p1", "p1", "p2"])
    >>> patients.labels.ravel().tolist(), patients.scores.ravel().tolist()
    ([1.0, 0.0], [0.6, 0.4])
    """
    labels, scores = as_pair(labels, scores)
    require(how in ("max", "mean"), "how", "max or mean", how)
    groups, count = patient_codes(ids, len(labels))
    _, first = np.unique(groups, return_index=True)
    shape = (count, labels.shape[1])
    positive, unknown = np.zeros(shape), np.zeros(shape)
    np.maximum.at(positive, groups, (labels == 1).astype(np.float64))
    np.maximum.at(unknown, groups, np.isnan(labels).astype(np.float64))
    if how == "max":
        folded = np.full(shape, -np.inf)
        np.maximum.at(folded, groups, scores)
    else:
        totals = np.zeros(shape)
        np.add.at(totals, groups, scores)
        folded = totals / np.bincount(groups, minlength=count)[:, None]
    return Aggregated(
        ids=tuple(ids[at] for at in first.tolist()),
        labels=np.where((unknown == 1) & (positive == 0), np.nan, positive),
        scores=folded,
        first_image=first,
    )
