"""How a model's AUC falls as its images get worse: one curve per kind of harm.

A model that reads anatomy fades slowly; one that reads fine texture or the frame of the image
falls at the first step. The labels stay, so every point is an AUC on the same images.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hilum.errors import require
from hilum.evaluation.bootstrap import Interval, PatientIds, auroc_intervals
from hilum.evaluation.metrics import FloatArray, any_finding, mean_auroc, roc_auc_score
from hilum.evaluation.perturbations import PERTURBATIONS, Perturbation

__all__ = ["Robustness", "RobustnessCurve", "RobustnessPoint", "measure_robustness"]

Pixels = npt.NDArray[np.uint8]
Predict = Callable[[Iterable[Pixels]], Iterable[npt.NDArray[np.float32]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RobustnessPoint:
    """The model on all images at one level; None where an AUC is undefined.

    Attributes:
        level: in the perturbation's unit; None for the images as they are.
        aurocs: per finding, in the order of `Robustness.findings`.
        mean_change: mean absolute change of a probability against the images as they are.
    """

    level: float | None
    aurocs: tuple[float | None, ...]
    mean_auroc: float | None
    mean_auroc_ci95: Interval | None
    any_finding_auroc: float | None
    mean_change: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RobustnessCurve:
    """Points of one perturbation, from slight to severe."""

    perturbation: str
    unit: str
    points: tuple[RobustnessPoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Robustness:
    """A model's AUC on images as they are, and on the same images made worse."""

    findings: tuple[str, ...]
    num_images: int
    unchanged: RobustnessPoint
    curves: tuple[RobustnessCurve, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; undefined AUCs are null."""
        return asdict(self)


def measure_robustness(
    predict: Predict,
    images: Sequence[Pixels],
    labels: npt.ArrayLike,
    findings: Sequence[str],
    *,
    patient_ids: PatientIds | None = None,
    perturbations: Iterable[Perturbation] = tuple(PERTURBATIONS.values()),
    num_resamples: int = 500,
    seed: int = 0,
) -> Robustness:
    """Predict every image at every level of every perturbation, and score each level.

    Args:
        predict: `Predictor.predict`, or any function from images to probabilities (finding,).
        images: uint8 (H, W) each.
        labels: (image, finding) of 1, 0 and NaN for unknown.
        findings: names, in the order of labels and probabilities.
        patient_ids: one per image, for the intervals; None counts each image as a patient.
        perturbations: what to try.
        num_resamples: bootstrap draws for the interval of each mean; 0 for none.
        seed: of noise and directions (image i has seed + i) and of the draws.
    """
    known = np.asarray(labels, dtype=np.float64)
    expected = (len(images), len(findings))
    require(len(images) > 0, "images", "at least one", len(images))
    require(known.shape == expected, "labels", f"of shape {expected}", known.shape)
    clean = _stacked(predict(images), len(findings))

    def point(level: float | None, scores: FloatArray) -> RobustnessPoint:
        intervals = auroc_intervals(
            known, scores, patient_ids, num_resamples=num_resamples, seed=seed
        )
        aurocs = roc_auc_score(known, scores)
        return RobustnessPoint(
            level=level,
            aurocs=tuple(map(_or_none, aurocs.tolist())),
            mean_auroc=_or_none(mean_auroc(aurocs)),
            mean_auroc_ci95=intervals.mean,
            any_finding_auroc=_or_none(float(roc_auc_score(*any_finding(known, scores))[0])),
            mean_change=float(np.abs(scores - clean).mean()),
        )

    def curve(perturbation: Perturbation) -> RobustnessCurve:
        points = []
        for level in perturbation.levels:
            worse = (perturbation(p, level, seed=seed + i) for i, p in enumerate(images))
            points.append(point(level, _stacked(predict(worse), len(findings))))
        return RobustnessCurve(
            perturbation=perturbation.name, unit=perturbation.unit, points=tuple(points)
        )

    return Robustness(
        findings=tuple(findings),
        num_images=len(images),
        unchanged=point(None, clean),
        curves=tuple(curve(perturbation) for perturbation in perturbations),
    )


def _stacked(rows: Iterable[npt.NDArray[np.float32]], width: int) -> FloatArray:
    scores = np.stack(list(rows)).astype(np.float64)
    require(scores.shape[1] == width, "findings", f"{scores.shape[1]} names", width)
    return scores


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value
