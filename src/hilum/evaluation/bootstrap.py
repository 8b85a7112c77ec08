"""Intervals of any number by bootstrap over patients.

Images of one patient resemble one another, so patients are drawn with replacement and all images
of a patient come and go together; an interval that draws images is too narrow. A draw is a count
per patient, used as a weight on its images: each finding is sorted once and each draw costs a
cumulative sum. All findings share the draws, so the interval of their mean knows how they move
together.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hilum.errors import require
from hilum.evaluation.metrics import FloatArray, as_pair, rank_one

__all__ = [
    "AurocIntervals",
    "Interval",
    "PatientBootstrap",
    "PatientIds",
    "auroc_intervals",
    "mean_of_defined",
    "patient_codes",
    "patient_draws",
    "percentile_interval",
]

Interval = tuple[float, float]
PatientIds = Sequence[object] | npt.NDArray[Any]

# A finding carried by k patients misses exp(-k) of the draws: 5 % for three, 2 % for four. With
# three or fewer the percentiles describe those patients rather than the model: no interval.
MAX_UNDEFINED_SHARE = 0.03
_ELEMENTS_PER_CHUNK = 1_000_000  # weights held at once; 8 MB stay in cache


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PatientBootstrap:
    """The same draws of patients for every number asked for; made by `for_images`.

    Attributes:
        patient_of_image: number of each image's patient, (image,).
    """

    patient_of_image: npt.NDArray[np.intp]
    num_patients: int
    num_resamples: int
    seed: int

    @staticmethod
    def for_images(
        num_images: int, patient_ids: PatientIds | None, *, num_resamples: int, seed: int
    ) -> "PatientBootstrap":
        """Number the patients; None counts every image as a patient of its own.

        Raises:
            InvalidValueError: a patient id is missing, or `num_resamples` is negative.
        """
        require(num_resamples >= 0, "num_resamples", "0 or more", num_resamples)
        codes, count = patient_codes(patient_ids, num_images)
        return PatientBootstrap(
            patient_of_image=codes, num_patients=count, num_resamples=num_resamples, seed=seed
        )

    def of(self, statistic: Callable[[FloatArray], FloatArray], width: int) -> FloatArray:
        """Return a number in every draw, (draw, width).

        Args:
            statistic: takes image weights (draw, image), a few draws at a time, and returns
                (draw, width); a weight is how often the image's patient was drawn.
            width: how many numbers it returns a draw.
        """
        drawn = [np.empty((0, width))]
        for counts in self._counts():
            drawn.append(statistic(np.take(counts, self.patient_of_image, axis=1)))
        return np.concatenate(drawn)

    def sums(self, values: FloatArray) -> FloatArray:
        """Return the sums of `values` (image, column) over the images of each draw, (draw, column).

        Summed by patient first, a draw is one row of a matrix product.
        """
        by_patient = np.zeros((self.num_patients, values.shape[1]))
        np.add.at(by_patient, self.patient_of_image, values)
        return np.concatenate(
            [np.empty((0, values.shape[1])), *(counts @ by_patient for counts in self._counts())]
        )

    def _counts(self) -> Iterator[FloatArray]:
        rows = max(1, _ELEMENTS_PER_CHUNK // max(len(self.patient_of_image), 1))
        draws = patient_draws(self.num_patients, self.num_resamples, seed=self.seed)
        return _chunks(draws, rows)


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
    bootstrap = PatientBootstrap.for_images(
        len(labels), patient_ids, num_resamples=num_resamples, seed=seed
    )
    rankings = [rank_one(labels[:, k], scores[:, k]) for k in range(labels.shape[1])]

    def all_findings(weights: FloatArray) -> FloatArray:
        columns = [ranking.weighted_auroc(weights) for ranking in rankings]
        return np.stack(columns, axis=1) if columns else np.empty((len(weights), 0))

    aurocs = bootstrap.of(all_findings, len(rankings))
    return AurocIntervals(
        findings=tuple(percentile_interval(column, confidence) for column in aurocs.T),
        mean=percentile_interval(mean_of_defined(aurocs), confidence),
        undefined_draws=tuple(np.isnan(aurocs).sum(axis=0).tolist()),
        num_patients=None if patient_ids is None else bootstrap.num_patients,
        num_resamples=num_resamples,
        confidence=confidence,
    )


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


def percentile_interval(values: FloatArray, confidence: float = 0.95) -> Interval | None:
    """Return the interval that holds the middle share of the draws, (draw,); NaN is undefined.

    None where there are no draws, or more than 3 % of them are undefined.
    """
    defined = values[~np.isnan(values)]
    if not defined.size or 1 - defined.size / values.size > MAX_UNDEFINED_SHARE:
        return None
    tail = (1 - confidence) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)


def mean_of_defined(values: FloatArray, weights: FloatArray | None = None) -> FloatArray:
    """Return the mean over the defined findings in each draw, (draw, finding) to (draw,).

    Weights of the same shape make it a weighted mean. NaN where no finding is defined, or the
    defined ones weigh nothing.
    """
    shares = np.where(np.isnan(values), 0.0, 1.0 if weights is None else weights)
    totals = (np.nan_to_num(values) * shares).sum(axis=1)
    whole = shares.sum(axis=1)
    means = np.full(len(values), np.nan)
    np.divide(totals, whole, out=means, where=whole > 0)
    return means


def _chunks(draws: Iterator[FloatArray], rows: int) -> Iterator[FloatArray]:
    held: list[FloatArray] = []
    for draw in draws:
        held.append(draw)
        if len(held) == rows:
            yield np.stack(held)
            held = []
    if held:
        yield np.stack(held)
