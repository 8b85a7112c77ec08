"""Intervals for AUCs by bootstrap over patients.

Images of one patient resemble one another, so patients are drawn with replacement and all images
of a patient come and go together; an interval that draws images is too narrow. A draw is a count
per patient, used as a weight on its images: each finding is sorted once and each draw costs a
cumulative sum. All findings share the draws, so the interval of their mean knows how they move
together.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hilum.errors import require
from hilum.evaluation.metrics import FloatArray, as_pair, rank_one

__all__ = [
    "AurocIntervals",
    "Interval",
    "PatientIds",
    "auroc_draws",
    "auroc_intervals",
    "mean_of_defined",
    "patient_codes",
    "patient_draws",
    "percentile_interval",
    "sum_draws",
]

Interval = tuple[float, float]
PatientIds = Sequence[object] | npt.NDArray[Any]

# A finding carried by k patients misses exp(-k) of the draws: 5 % for three, 2 % for four. With
# three or fewer the percentiles describe those patients rather than the model: no interval.
MAX_UNDEFINED_SHARE = 0.03
_ELEMENTS_PER_CHUNK = 1_000_000  # weights held at once; 8 MB stay in cache


@dataclass(frozen=True, slots=True, kw_only=True)
class AurocIntervals:
    """Percentile intervals of AUCs over draws of patients.

    Attributes:
        findings: (low, high) per finding; None where the AUC is undefined in the data or in more
            than 3 % of the draws.
        mean: interval of the mean over the findings defined in each draw; None as above.
        undefined_draws: per finding, the draws in which it had one label value and was left out.
        num_patients: clusters drawn from; None if every image counted as a patient of its own.
    """

    findings: tuple[Interval | None, ...]
    mean: Interval | None
    undefined_draws: tuple[int, ...]
    num_patients: int | None
    num_resamples: int
    confidence: float


def auroc_intervals(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    patient_ids: PatientIds | None = None,
    *,
    num_resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> AurocIntervals:
    """Return bootstrap intervals of each finding's AUC and of their mean.

    Args:
        labels: (image, finding) of 1, 0 and NaN for unknown; (image,) counts as one finding.
        scores: same shape, finite.
        patient_ids: one per image, none missing. Without them every image counts as a patient of
            its own, which makes intervals too narrow where patients have several images.
        num_resamples: draws of patients; 0 for no intervals.
        seed: the same seed gives the same draws.
        confidence: share of the draws inside the interval.

    Raises:
        InvalidValueError: as `roc_auc_score`, or a patient id is missing.
    """
    labels, scores = as_pair(labels, scores)
    require(0 < confidence < 1, "confidence", "between 0 and 1", confidence)
    _, num_patients = patient_codes(patient_ids, len(labels))
    aurocs = auroc_draws(labels, (scores,), patient_ids, num_resamples=num_resamples, seed=seed)[0]
    return AurocIntervals(
        findings=tuple(percentile_interval(column, confidence) for column in aurocs.T),
        mean=percentile_interval(mean_of_defined(aurocs), confidence),
        undefined_draws=tuple(np.isnan(aurocs).sum(axis=0).tolist()),
        num_patients=None if patient_ids is None else num_patients,
        num_resamples=num_resamples,
        confidence=confidence,
    )


def auroc_draws(
    labels: FloatArray,
    models: Sequence[FloatArray],
    patient_ids: PatientIds | None,
    *,
    num_resamples: int,
    seed: int,
) -> FloatArray:
    """Return the AUCs of one or more models under the same draws, (model, draw, finding).

    Args:
        labels: (image, finding), checked by `as_pair`.
        models: the scores of each model, (image, finding).
        patient_ids: as `auroc_intervals`.
        num_resamples: draws of patients.
        seed: the same seed and patients give the same draws.
    """
    require(num_resamples >= 0, "num_resamples", "0 or more", num_resamples)
    patient_of_image, num_patients = patient_codes(patient_ids, len(labels))
    rankings = [
        [rank_one(labels[:, k], scores[:, k]) for k in range(labels.shape[1])] for scores in models
    ]
    rows = max(1, _ELEMENTS_PER_CHUNK // max(len(labels), 1))
    drawn = [np.empty((len(models), 0, labels.shape[1]))]
    for counts in _chunks(patient_draws(num_patients, num_resamples, seed=seed), rows):
        weights = np.take(counts, patient_of_image, axis=1)
        part = np.empty((len(models), len(counts), labels.shape[1]))
        for m, of_model in enumerate(rankings):
            for k, ranking in enumerate(of_model):
                part[m, :, k] = ranking.weighted_auroc(weights)
        drawn.append(part)
    return np.concatenate(drawn, axis=1)


def sum_draws(
    columns: npt.NDArray[Any], patient_ids: PatientIds | None, *, num_resamples: int, seed: int
) -> FloatArray:
    """Return the sum of each column (image, column) over each draw of patients, (draw, column).

    Whatever is a function of counts (sensitivity, kappa) has its draws from this.
    """
    patient_of_image, num_patients = patient_codes(patient_ids, len(columns))
    of_patient = np.zeros((num_patients, columns.shape[1]))
    np.add.at(of_patient, patient_of_image, columns)
    draws = patient_draws(num_patients, num_resamples, seed=seed)
    rows = max(1, _ELEMENTS_PER_CHUNK // max(num_patients, 1))
    parts = [counts @ of_patient for counts in _chunks(draws, rows)]
    return np.concatenate([np.empty((0, columns.shape[1])), *parts])


def patient_draws(num_patients: int, num_resamples: int, *, seed: int) -> Iterator[FloatArray]:
    """Yield, per resample, how often each patient was drawn, (patient,); sums to `num_patients`."""
    random = np.random.default_rng(seed)
    for _ in range(num_resamples if num_patients else 0):
        drawn = random.integers(num_patients, size=num_patients)
        yield np.bincount(drawn, minlength=num_patients).astype(np.float64)


def patient_codes(
    patient_ids: PatientIds | None, num_images: int
) -> tuple[npt.NDArray[np.intp], int]:
    """Number the patients 0, 1, ... in order of appearance; return (image,) numbers and how many.

    Raises:
        InvalidValueError: the ids are not one per image, or one is None, NaN or empty.
    """
    if patient_ids is None:
        return np.arange(num_images), num_images
    require(len(patient_ids) == num_images, "patient_ids", f"{num_images} ids", len(patient_ids))
    codes: dict[object, int] = {}
    numbers = np.empty(num_images, dtype=np.intp)
    for index, patient in enumerate(patient_ids):
        require(
            patient is not None and patient == patient and patient != "",
            f"patient_ids[{index}]",
            "known",
            patient,
            hint="leave these images out, or pass patient_ids=None to treat each image alone",
        )
        numbers[index] = codes.setdefault(patient, len(codes))
    return numbers, len(codes)


def mean_of_defined(aurocs: FloatArray) -> FloatArray:
    """Return the mean over the findings of each draw (draw, finding); NaN where none is defined."""
    defined = ~np.isnan(aurocs)
    totals = np.where(defined, aurocs, 0.0).sum(axis=1)
    count = defined.sum(axis=1)
    means = np.full(len(aurocs), np.nan)
    np.divide(totals, count, out=means, where=count > 0)
    return means


def percentile_interval(values: FloatArray, confidence: float = 0.95) -> Interval | None:
    """Return the percentile interval of a drawn figure (draw,); NaN where it was undefined.

    None where it was undefined in more than 3 % of the draws, or nothing was drawn.
    """
    defined = values[~np.isnan(values)]
    if not defined.size or 1 - defined.size / values.size > MAX_UNDEFINED_SHARE:
        return None
    tail = (1 - confidence) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)


def _chunks(draws: Iterator[FloatArray], rows: int) -> Iterator[FloatArray]:
    held: list[FloatArray] = []
    for draw in draws:
        held.append(draw)
        if len(held) == rows:
            yield np.stack(held)
            held = []
    if held:
        yield np.stack(held)
