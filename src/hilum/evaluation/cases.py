"""Which radiographs to look at: where the model is surest, and right or wrong.

Scores of different findings are not on one scale, so a case is picked by where its score stands
among all images with a known label for that finding (percentile), not by the score itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from hilum.errors import require
from hilum.evaluation.bootstrap import PatientIds
from hilum.evaluation.figures import spoken
from hilum.evaluation.metrics import FloatArray, as_pair

__all__ = ["KINDS", "Case", "Kind", "choose_cases", "describe_case"]

Kind = Literal["hit", "false alarm", "miss"]
KINDS: tuple[Kind, ...] = ("hit", "false alarm", "miss")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One image and the finding it was picked for.

    Attributes:
        image: row of the arrays.
        kind: "hit": has it, scored high. "false alarm": has it not, scored high. "miss": has it,
            scored low.
        percentile: share of the images with a known label that score lower, ties counting half.
    """

    image: int
    finding: str
    kind: Kind
    score: float
    percentile: float


def choose_cases(
    findings: Sequence[str],
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    patient_ids: PatientIds | None = None,
    per_kind: int = 2,
    min_positives: int = 10,
) -> list[Case]:
    """Return the surest hits, false alarms and misses, the most extreme first within each kind.

    No image, no patient and, where there are enough, no finding comes twice within a kind.

    Args:
        findings: names of the columns.
        labels: (image, finding) of 1, 0 and NaN for unknown.
        scores: same shape.
        patient_ids: one per image; without them every image is its own patient.
        per_kind: cases of each kind; fewer where there are fewer.
        min_positives: findings with fewer are passed over, unless all have fewer.
    """
    labels, scores = as_pair(labels, scores)
    fits = len(findings) == labels.shape[1]
    require(fits, "findings", f"{labels.shape[1]} names, one per column", list(findings))
    patients = range(len(labels)) if patient_ids is None else patient_ids
    ranks = np.stack([_percentiles(labels[:, k], scores[:, k]) for k in range(len(findings))])
    enough = (labels == 1).sum(axis=0) >= min_positives
    if enough.any():
        labels = np.where(enough, labels, np.nan)
    chosen: list[Case] = []
    for kind in KINDS:
        candidates = _candidates(kind, findings, labels, scores, ranks)
        chosen += _distinct(candidates, patients, {case.image for case in chosen}, per_kind)
    return chosen


def describe_case(case: Case) -> str:
    """Say what is seen in one sentence: "Pneumonia missed: 0.04, and 66 % score higher."."""
    above = 100 * (1 - case.percentile)
    name = spoken(case.finding)
    if case.kind == "miss":
        return f"{name} missed: {case.score:.2f}, and {above:.0f} % of the images score higher."
    what = "found" if case.kind == "hit" else "called without the label"
    share = f"{above:.0f}" if above >= 1 else "less than 1"
    return f"{name} {what}: {case.score:.2f}; {share} % of the images score higher."


def _candidates(
    kind: Kind, findings: Sequence[str], labels: FloatArray, scores: FloatArray, ranks: FloatArray
) -> list[Case]:
    wanted = 0.0 if kind == "false alarm" else 1.0
    images, columns = np.nonzero(labels == wanted)
    surprise = ranks[columns, images]
    order = np.argsort(surprise if kind == "miss" else -surprise, kind="stable")
    return [
        Case(
            image=int(images[at]),
            finding=findings[columns[at]],
            kind=kind,
            score=float(scores[images[at], columns[at]]),
            percentile=float(surprise[at]),
        )
        for at in order
    ]


def _distinct(
    candidates: Sequence[Case], patients: PatientIds, taken: set[int], count: int
) -> list[Case]:
    """First by distinct finding, then whatever is left; never an image or a patient twice."""
    chosen: list[Case] = []
    for new_finding_only in (True, False):
        for case in candidates:
            if len(chosen) == count:
                return chosen
            seen_patients = {patients[other.image] for other in chosen}
            if case.image in taken or patients[case.image] in seen_patients:
                continue
            if new_finding_only and case.finding in {other.finding for other in chosen}:
                continue
            chosen.append(case)
    return chosen


def _percentiles(labels: FloatArray, scores: FloatArray) -> FloatArray:
    known = np.sort(scores[~np.isnan(labels)])
    below = np.searchsorted(known, scores, side="left")
    not_above = np.searchsorted(known, scores, side="right")
    return 0.5 * (below + not_above) / max(known.size, 1)
