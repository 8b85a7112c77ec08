"""Every number of every finding, its averages, and their intervals over one set of patient draws.

All numbers share the draws, so an interval of a mean knows how its findings move together. AUC and
average precision share a cumulative sum per finding; Brier score and log loss are weighted means,
one matrix product.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hilum.evaluation.bootstrap import (
    Interval,
    PatientBootstrap,
    PatientIds,
    mean_of_defined,
    percentile_interval,
)
from hilum.evaluation.losses import losses_of_images
from hilum.evaluation.metrics import FloatArray, Ranking, as_pair, rank_one

__all__ = ["METRICS", "Measured", "MetricTable", "metric_table"]

METRICS = ("auroc", "auprc", "brier", "log_loss")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A number and its 95 % interval over patients; None where undefined."""

    value: float | None
    ci95: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricTable:
    """All numbers by metric name ("auroc", "auprc", "brier", "log_loss").

    Attributes:
        findings: one mapping per finding, in order.
        macro: mean over the findings that are defined.
        prevalence_weighted: the same, each finding weighing as much as its prevalence, so that
            rare findings, which are measured badly, move it little.
    """

    findings: tuple[Mapping[str, Measured], ...]
    macro: Mapping[str, Measured]
    prevalence_weighted: Mapping[str, Measured]


def metric_table(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    patient_ids: PatientIds | None = None,
    *,
    num_averaged: int | None = None,
    num_resamples: int = 2000,
    seed: int = 0,
) -> MetricTable:
    """Measure every finding and average, with 95 % intervals by bootstrap over patients.

    Args:
        labels: (image, finding) of 1, 0 and NaN for unknown; (image,) counts as one finding.
        scores: same shape, probabilities in [0, 1].
        patient_ids: one per image; None counts every image as a patient of its own.
        num_averaged: only the first so many columns count in the averages; None: all.
        num_resamples: draws of patients; 0 for no intervals.
        seed: of the draws, which are those of `auroc_intervals`.

    Raises:
        InvalidValueError: shapes or values do not fit, or a patient id is missing.
    """
    labels, scores = as_pair(labels, scores)
    bootstrap = PatientBootstrap.for_images(
        len(labels), patient_ids, num_resamples=num_resamples, seed=seed
    )
    rankings = [rank_one(labels[:, k], scores[:, k]) for k in range(labels.shape[1])]
    summed = _summed(labels, np.hstack(losses_of_images(labels, scores)))
    values = _numbers(
        _areas(rankings, np.ones((1, len(labels)))),
        summed.sum(axis=0, keepdims=True),
        labels.shape[1],
    )
    drawn = _numbers(
        bootstrap.of(lambda weights: _areas(rankings, weights), 2 * len(rankings)),
        bootstrap.sums(summed),
        labels.shape[1],
    )
    averaged = slice(0, num_averaged)
    return MetricTable(
        findings=tuple(
            {name: _measured(values[name][:, k], drawn[name][:, k]) for name in METRICS}
            for k in range(labels.shape[1])
        ),
        macro=_averages(values, drawn, averaged, weighted=False),
        prevalence_weighted=_averages(values, drawn, averaged, weighted=True),
    )


def _areas(rankings: list[Ranking], weights: FloatArray) -> FloatArray:
    """AUCs of all findings, then average precisions, (draw, 2 * finding)."""
    pairs = [ranking.weighted_areas(weights) for ranking in rankings]
    columns = [*(auroc for auroc, _ in pairs), *(precision for _, precision in pairs)]
    return np.stack(columns, axis=1) if columns else np.empty((len(weights), 0))


def _summed(labels: FloatArray, losses: FloatArray) -> FloatArray:
    """What is summed over images: known, positives, squared errors, log losses, side by side."""
    known, positive = (~np.isnan(labels)).astype(np.float64), (labels == 1).astype(np.float64)
    return np.hstack([known, positive, np.nan_to_num(losses)])


def _numbers(areas: FloatArray, sums: FloatArray, num_findings: int) -> dict[str, FloatArray]:
    """Every metric and the prevalence in every draw, each (draw, finding); NaN where undefined."""
    auroc, auprc = np.split(areas, [num_findings], axis=1)
    known, positives, squared, logarithms = np.split(
        sums, [num_findings, 2 * num_findings, 3 * num_findings], axis=1
    )
    both = (positives > 0) & (positives < known)
    brier, log_loss, prevalence = (
        np.divide(total, known, out=np.full(known.shape, np.nan), where=both)
        for total in (squared, logarithms, positives)
    )
    return {
        "auroc": auroc,
        "auprc": auprc,
        "brier": brier,
        "log_loss": log_loss,
        "prevalence": prevalence,
    }


def _averages(
    values: Mapping[str, FloatArray],
    drawn: Mapping[str, FloatArray],
    averaged: slice,
    *,
    weighted: bool,
) -> dict[str, Measured]:
    def mean(numbers: Mapping[str, FloatArray], name: str) -> FloatArray:
        weights = np.nan_to_num(numbers["prevalence"][:, averaged]) if weighted else None
        return mean_of_defined(numbers[name][:, averaged], weights)

    return {name: _measured(mean(values, name), mean(drawn, name)) for name in METRICS}


def _measured(value: FloatArray, drawn: FloatArray) -> Measured:
    if np.isnan(value[0]):
        return Measured(value=None, ci95=None)
    return Measured(value=float(value[0]), ci95=percentile_interval(drawn))
