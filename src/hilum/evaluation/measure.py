"""`evaluate`: from label and score arrays to one `Evaluation`.

AUCs are given by view too: the sickest patients are imaged in bed (AP), so a model that can only
tell AP from PA already looks better than chance.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hilum.errors import require
from hilum.evaluation.bootstrap import PatientIds, patient_codes
from hilum.evaluation.confusion import OperatingResult, measure_at
from hilum.evaluation.intervals import MetricTable, metric_table
from hilum.evaluation.metrics import (
    FloatArray,
    any_finding,
    as_pair,
    require_probabilities,
    roc_curve,
)
from hilum.evaluation.operating import OperatingPoint
from hilum.evaluation.precision import pr_curve
from hilum.evaluation.reliability import measure_reliability
from hilum.evaluation.result import Evaluation, FindingResult, ViewResult

__all__ = ["evaluate"]

MAX_CURVE_POINTS = 500  # finer than any page shows; areas come from all points


def evaluate(
    findings: Sequence[str],
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    patient_ids: PatientIds | None = None,
    views: Sequence[str | None] | None = None,
    operating_points: Sequence[OperatingPoint] = (),
    num_resamples: int = 2000,
    seed: int = 0,
) -> Evaluation:
    """Measure how well scores rank each finding and how far they can be trusted.

    All numbers have 95 % intervals over patients.

    Args:
        findings: names of the columns.
        labels: (image, finding) of 1, 0 and NaN for unknown.
        scores: (image, finding) probabilities in [0, 1].
        patient_ids: one per image. Without them each image counts as its own patient, which makes
            intervals too narrow where patients have several images.
        views: one per image, "PA", "AP", ... or None where unknown.
        operating_points: frozen thresholds on the scale of `scores`, fitted on other patients.
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
    measured = _measure(labels, scores, patient_ids, num_resamples, seed)
    at_points = _at_points(
        findings, labels, scores, patient_ids, operating_points, num_resamples, seed
    )
    results = zip(findings, measured.findings, at_points, strict=True)
    return Evaluation(
        findings={
            name: replace(result, operating_points=points) for name, result, points in results
        },
        mean_auroc=measured.table.macro["auroc"].value,
        mean_auroc_ci95=measured.table.macro["auroc"].ci95,
        any_finding=measured.any_finding,
        num_images=len(labels),
        num_patients=_count(patient_ids, len(labels)),
        num_resamples=num_resamples,
        seed=seed,
        by_view=_by_view(labels, scores, patient_ids, views, num_resamples, seed),
        macro=measured.table.macro,
        prevalence_weighted=measured.table.prevalence_weighted,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Results:
    table: MetricTable
    findings: tuple[FindingResult, ...]
    any_finding: FindingResult


def _measure(
    labels: FloatArray,
    scores: FloatArray,
    patient_ids: PatientIds | None,
    num_resamples: int,
    seed: int,
) -> _Results:
    folded_labels, folded_scores = any_finding(labels, scores)
    columns = np.column_stack([labels, folded_labels])
    column_scores = np.column_stack([scores, folded_scores])
    table = metric_table(
        columns,
        column_scores,
        patient_ids,
        num_averaged=labels.shape[1],  # all but the fold
        num_resamples=num_resamples,
        seed=seed,
    )
    results = [
        _finding(columns[:, k], column_scores[:, k], patient_ids, table, k)
        for k in range(columns.shape[1])
    ]
    return _Results(table=table, findings=tuple(results[:-1]), any_finding=results[-1])


def _finding(
    labels: FloatArray,
    scores: FloatArray,
    patient_ids: PatientIds | None,
    table: MetricTable,
    column: int,
) -> FindingResult:
    numbers: dict[str, Any] = {}
    for name, measured in table.findings[column].items():
        numbers |= {name: measured.value, f"{name}_ci95": measured.ci95}
    roc, pr = roc_curve(labels, scores), pr_curve(labels, scores)
    return FindingResult(
        **numbers,
        positives=int((labels == 1).sum()),
        images=int((~np.isnan(labels)).sum()),
        roc=roc and roc.thinned(MAX_CURVE_POINTS),
        pr=pr and pr.thinned(MAX_CURVE_POINTS),
        reliability=measure_reliability(labels, scores, patient_ids),
    )


def _at_points(
    findings: Sequence[str],
    labels: FloatArray,
    scores: FloatArray,
    patient_ids: PatientIds | None,
    operating_points: Sequence[OperatingPoint],
    num_resamples: int,
    seed: int,
) -> list[dict[str, OperatingResult]]:
    """What each operating point does, a mapping by its name for every finding."""
    results: list[dict[str, OperatingResult]] = [{} for _ in findings]
    for point in operating_points:
        same = list(point.thresholds) == list(findings)
        require(same, "operating_points", f"of {', '.join(findings)}", list(point.thresholds))
        measured = measure_at(
            labels,
            scores,
            point.as_array(),
            patient_ids,
            num_resamples=num_resamples,
            seed=seed,
        )
        for own, result in zip(results, measured, strict=True):
            if result is not None:
                own[point.name] = result
    return results


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
            mean_auroc=measured.table.macro["auroc"].value,
            mean_auroc_ci95=measured.table.macro["auroc"].ci95,
            findings_scored=sum(r.auroc is not None for r in measured.findings),
            any_finding=measured.any_finding,
        )
    return results


def _count(patient_ids: PatientIds | None, num_images: int) -> int | None:
    return None if patient_ids is None else patient_codes(patient_ids, num_images)[1]
