"""`evaluate`: from label and score arrays to one `Evaluation`.

AUCs are given by view too: the sickest patients are imaged in bed (AP), so a model that can only
tell AP from PA already looks better than chance.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hilum.errors import require
from hilum.evaluation.bootstrap import Interval, PatientIds, auroc_intervals, patient_codes
from hilum.evaluation.metrics import (
    FloatArray,
    RocCurve,
    any_finding,
    as_pair,
    mean_auroc,
    require_probabilities,
    roc_auc_score,
    roc_curve,
)
from hilum.evaluation.result import Evaluation, FindingResult, ViewResult

__all__ = ["evaluate"]

MAX_ROC_POINTS = 500  # finer than any screen or page shows; the AUC comes from all points


def evaluate(
    findings: Sequence[str],
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    patient_ids: PatientIds | None = None,
    views: Sequence[str | None] | None = None,
    num_resamples: int = 2000,
    seed: int = 0,
) -> Evaluation:
    """Measure how well scores rank each finding, with 95 % intervals over patients.

    Args:
        findings: names of the columns.
        labels: (image, finding) of 1, 0 and NaN for unknown.
        scores: (image, finding) probabilities in [0, 1].
        patient_ids: one per image. Without them each image counts as its own patient, which makes
            intervals too narrow where patients have several images.
        views: one per image, "PA", "AP", ... or None where unknown.
        num_resamples: draws of patients behind each interval; 0 for no intervals.
        seed: of the draws.

    Raises:
        InvalidValueError: names, shapes or values do not fit together.
    """
    labels, scores = as_pair(labels, scores)
    require_probabilities(scores)
    require(len(set(findings)) == len(findings), "findings", "all different", list(findings))
    fits = len(findings) == labels.shape[1]
    require(fits, "findings", f"{labels.shape[1]} names, one per column", list(findings))
    all_images = _measure(labels, scores, patient_ids, num_resamples, seed)
    return Evaluation(
        findings=dict(zip(findings, all_images.findings, strict=True)),
        mean_auroc=all_images.mean,
        mean_auroc_ci95=all_images.mean_ci95,
        any_finding=all_images.any_finding,
        num_images=len(labels),
        num_patients=_count(patient_ids, len(labels)),
        num_resamples=num_resamples,
        seed=seed,
        by_view=_by_view(labels, scores, patient_ids, views, num_resamples, seed),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    findings: tuple[FindingResult, ...]
    mean: float | None
    mean_ci95: Interval | None
    any_finding: FindingResult


def _measure(
    labels: FloatArray,
    scores: FloatArray,
    patient_ids: PatientIds | None,
    num_resamples: int,
    seed: int,
) -> _Measured:
    folded_labels, folded_scores = any_finding(labels, scores)
    columns = np.column_stack([labels, folded_labels])
    column_scores = np.column_stack([scores, folded_scores])
    aurocs = roc_auc_score(columns, column_scores)
    # Two calls with one seed: the same draws, but the fold must not count in the mean.
    single, folded = (
        auroc_intervals(y, s, patient_ids, num_resamples=num_resamples, seed=seed)
        for y, s in ((labels, scores), (folded_labels, folded_scores))
    )
    results = [
        FindingResult(
            auroc=_defined(aurocs[k]),
            auroc_ci95=interval,
            positives=int((columns[:, k] == 1).sum()),
            images=int((~np.isnan(columns[:, k])).sum()),
            roc=_thinned(roc_curve(columns[:, k], column_scores[:, k])),
        )
        for k, interval in enumerate((*single.findings, *folded.findings))
    ]
    return _Measured(
        findings=tuple(results[:-1]),
        mean=_defined(mean_auroc(aurocs[:-1])),
        mean_ci95=single.mean,
        any_finding=results[-1],
    )


def _by_view(
    labels: FloatArray,
    scores: FloatArray,
    patient_ids: PatientIds | None,
    views: Sequence[str | None] | None,
    num_resamples: int,
    seed: int,
) -> dict[str, ViewResult]:
    if views is None:
        return {}
    require(len(views) == len(labels), "views", f"{len(labels)} views, one an image", len(views))
    names = np.array([view or "unknown" for view in views], dtype=object)
    results: dict[str, ViewResult] = {}
    for view, count in Counter(sorted(names)).most_common():
        chosen = np.flatnonzero(names == view).tolist()
        ids = None if patient_ids is None else [patient_ids[i] for i in chosen]
        measured = _measure(labels[chosen], scores[chosen], ids, num_resamples, seed)
        results[view] = ViewResult(
            images=count,
            patients=_count(ids, count),
            mean_auroc=measured.mean,
            mean_auroc_ci95=measured.mean_ci95,
            findings_scored=sum(r.auroc is not None for r in measured.findings),
            any_finding=measured.any_finding,
        )
    return results


def _count(patient_ids: PatientIds | None, num_images: int) -> int | None:
    return None if patient_ids is None else patient_codes(patient_ids, num_images)[1]


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _thinned(curve: RocCurve | None) -> RocCurve | None:
    return None if curve is None else curve.thinned(MAX_ROC_POINTS)
