"""Is one model better than another? Paired tests of AUC differences on the same images.

Two models scored on the same images make much the same mistakes, so their AUCs move together; the
overlap of two separate intervals says little, and a paired test sees far smaller differences. Two
are made here. DeLong's (Biometrics 44, 1988, 837-845) gives the p value; where patients have
several images its components are summed over each patient first, which is Obuchowski's form for
clustered data (Biometrics 53, 1997, 567-578) and the same test where each patient has one. The
bootstrap over patients gives the interval and a second p value that assumes no normal shape.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from hilum.errors import require
from hilum.evaluation.bootstrap import (
    PatientIds,
    auroc_draws,
    mean_of_defined,
    patient_codes,
    percentile_interval,
)
from hilum.evaluation.comparison_result import AurocDifference, Comparison
from hilum.evaluation.delong import structural_components
from hilum.evaluation.metrics import FloatArray, any_finding, as_pair, roc_auc_score

__all__ = ["Correction", "adjusted", "compare", "paired_delong"]

Correction = Literal["holm", "benjamini-hochberg"]


def compare(
    findings: Sequence[str],
    labels: npt.ArrayLike,
    scores_a: npt.ArrayLike,
    scores_b: npt.ArrayLike,
    *,
    patient_ids: PatientIds | None = None,
    names: tuple[str, str] = ("A", "B"),
    correction: Correction = "holm",
    num_resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Compare two models on the same images, per finding and for the mean; difference is B - A.

    Args:
        findings: names of the columns.
        labels: (image, finding) of 1, 0 and NaN for unknown.
        scores_a: (image, finding) probabilities of model A.
        scores_b: those of model B, for the same images in the same order.
        patient_ids: one per image. Without them each image counts as its own patient, which makes
            p values and intervals too small where patients have several images.
        names: what to call the models.
        correction: for testing several findings: "holm" keeps the chance of any false difference
            below the level, "benjamini-hochberg" the share of false ones among those found.
        num_resamples: draws of patients; 0 for no intervals.
        seed: of the draws.

    Raises:
        InvalidValueError: names, shapes or values do not fit together.
    """
    _, scores_b = as_pair(labels, scores_b)
    labels, scores_a = as_pair(labels, scores_a)
    fits = len(set(findings)) == len(findings) == labels.shape[1]
    require(fits, "findings", f"{labels.shape[1]} different names", list(findings))
    _, num_patients = patient_codes(patient_ids, len(labels))
    options = {"num_resamples": num_resamples, "seed": seed}
    rows, mean = _differences(labels, scores_a, scores_b, patient_ids, **options)
    folded, whole_a = any_finding(labels, scores_a)
    whole_b = any_finding(labels, scores_b)[1]
    (whole,), _ = _differences(
        folded[:, None], whole_a[:, None], whole_b[:, None], patient_ids, **options
    )
    p_values = adjusted([row.p_value for row in rows], correction)
    return Comparison(
        names=names,
        findings={
            name: row.with_adjusted(p)
            for name, row, p in zip(findings, rows, p_values, strict=True)
        },
        mean=mean,
        any_finding=whole,
        correction=correction,
        num_images=len(labels),
        num_patients=None if patient_ids is None else num_patients,
        num_resamples=num_resamples,
        seed=seed,
    )


def paired_delong(
    labels: npt.ArrayLike,
    scores_a: npt.ArrayLike,
    scores_b: npt.ArrayLike,
    patient_ids: PatientIds | None = None,
) -> tuple[float, float]:
    """Return the difference of two AUCs of one finding (B - A), and its two-sided p value.

    Args:
        labels: (image,) of 1, 0 and NaN for unknown.
        scores_a: (image,), finite.
        scores_b: likewise.
        patient_ids: one per image; None is DeLong's test as published, every image independent.

    Returns:
        The p value is 1 where both rank all images alike. It is NaN with fewer than two patients of
        a kind, and where the variance is estimated as 0 though the AUCs differ.
    """
    _, scores_b = as_pair(labels, scores_b)
    labels, scores_a = as_pair(labels, scores_a)
    require(labels.shape[1] == 1, "labels", "those of one finding, shape (image,)", labels.shape)
    codes, num_patients = patient_codes(patient_ids, len(labels))
    influence = _influence(labels[:, 0], scores_a[:, 0], scores_b[:, 0], codes, num_patients)
    a, b = roc_auc_score(labels, scores_a)[0], roc_auc_score(labels, scores_b)[0]
    return float(b - a), _p_value(float(b - a), _variance(influence))


def adjusted(p_values: Sequence[float | None], correction: Correction) -> list[float | None]:
    """Correct p values for their number; None (undefined) stays None and does not count.

    >>> adjusted([0.01, None, 0.04, 0.03], "holm")
    [0.03, None, 0.06, 0.06]
    """
    known = ("holm", "benjamini-hochberg")
    require(correction in known, "correction", " or ".join(known), correction)
    positions = [i for i, p in enumerate(p_values) if p is not None]
    values = np.array([p for p in p_values if p is not None], dtype=np.float64)
    result: list[float | None] = [None] * len(p_values)
    for at, value in zip(positions, _CORRECTIONS[correction](values).tolist(), strict=True):
        result[at] = value
    return result


def _holm(values: FloatArray) -> FloatArray:
    order = np.argsort(values, kind="stable")
    steps = np.arange(values.size, 0, -1) * values[order]
    result = np.empty_like(values)
    result[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return result


def _benjamini_hochberg(values: FloatArray) -> FloatArray:
    from scipy import stats  # late: a worker that asks for an AUC needs no scipy

    return np.asarray(stats.false_discovery_control(values)) if values.size else values


_CORRECTIONS = {"holm": _holm, "benjamini-hochberg": _benjamini_hochberg}


def _differences(
    labels: FloatArray,
    scores_a: FloatArray,
    scores_b: FloatArray,
    patient_ids: PatientIds | None,
    *,
    num_resamples: int,
    seed: int,
) -> tuple[list[AurocDifference], AurocDifference]:
    """The difference of every finding, and that of their mean."""
    codes, num_patients = patient_codes(patient_ids, len(labels))
    a, b = roc_auc_score(labels, scores_a), roc_auc_score(labels, scores_b)
    drawn_a, drawn_b = auroc_draws(
        labels, (scores_a, scores_b), patient_ids, num_resamples=num_resamples, seed=seed
    )
    defined = ~np.isnan(a)
    influences = [
        _influence(labels[:, k], scores_a[:, k], scores_b[:, k], codes, num_patients)
        for k in range(len(a))
    ]
    rows = [
        _difference(
            (a[k], b[k]),
            _variance(influences[k]),
            drawn_b[:, k] - drawn_a[:, k],
            positives=int((labels[:, k] == 1).sum()),
            images=int((~np.isnan(labels[:, k])).sum()),
        )
        for k in range(len(a))
    ]
    together = [influences[k].sum(axis=0) for k in np.flatnonzero(defined)]
    mean = _difference(
        tuple(float(x[defined].mean()) if defined.any() else math.nan for x in (a, b)),
        _variance(np.mean(together, axis=0)[None]) if together else math.nan,
        mean_of_defined(drawn_b) - mean_of_defined(drawn_a),
        positives=int((labels == 1).any(axis=1).sum()),
        images=len(labels),
    )
    return rows, mean


def _difference(
    aurocs: tuple[float, ...], variance: float, drawn: FloatArray, *, positives: int, images: int
) -> AurocDifference:
    a, b = (None if math.isnan(value) else float(value) for value in aurocs)
    difference = None if a is None or b is None else b - a
    p_value = math.nan if difference is None else _p_value(difference, variance)
    interval = percentile_interval(drawn)
    return AurocDifference(
        auroc_a=a,
        auroc_b=b,
        difference=difference,
        ci95=interval,
        p_value=None if math.isnan(p_value) else p_value,
        p_bootstrap=None if interval is None else _p_bootstrap(drawn),
        positives=positives,
        images=images,
    )


def _influence(
    labels: FloatArray,
    scores_a: FloatArray,
    scores_b: FloatArray,
    codes: npt.NDArray[np.intp],
    num_patients: int,
) -> FloatArray:
    """What each patient's images add to the difference: by those with the finding and without.

    (2, patient); their sum over patients is 0. NaN where a kind is in fewer than two patients.
    """
    result = np.full((2, num_patients), np.nan)
    of_a, of_b = structural_components(labels, scores_a), structural_components(labels, scores_b)
    for side, kind in enumerate((1, 0)):
        owners = codes[labels == kind]
        patients = np.unique(owners).size
        if not of_a[side].size or patients < 2:
            return np.full((2, num_patients), np.nan)
        centred = of_b[side] - of_a[side]
        centred = (centred - centred.mean()) / centred.size
        summed = np.bincount(owners, weights=centred, minlength=num_patients)
        # The usual n / (n - 1), over the patients that have images of this kind.
        result[side] = summed * math.sqrt(patients / (patients - 1))
    return result


def _variance(influence: FloatArray) -> float:
    """Variance of a sum over patients, from (kind, patient); the kinds of a patient go together."""
    return float((influence.sum(axis=0) ** 2).sum())


def _p_value(difference: float, variance: float) -> float:
    if difference == 0.0:
        return 1.0
    # Rounding leaves 1e-33 where every component is equal: no spread, so no test.
    if not variance > 1e-20:
        return math.nan
    return math.erfc(abs(difference) / math.sqrt(2 * variance))


def _p_bootstrap(drawn: FloatArray) -> float:
    """Twice the smaller tail beyond no difference; the observed sample counts as one draw."""
    drawn = drawn[~np.isnan(drawn)]
    tail = min((drawn <= 0).sum(), (drawn >= 0).sum())
    return min(1.0, 2 * (int(tail) + 1) / (drawn.size + 1))
