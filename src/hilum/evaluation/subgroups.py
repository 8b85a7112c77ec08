"""The same model on parts of the patients: by sex, age, view, or any other column.

A mean over everybody hides whom a model fails. Each subgroup is measured with intervals over its
patients and against everybody else (its complement); where the two intervals do not overlap, the
gap is flagged. That is a cautious sign: many subgroups are looked at, so a flag is a reason to look
closer and its absence, with few patients, is no proof of equality.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from hilum.errors import require
from hilum.evaluation.bootstrap import (
    PatientIds,
    auroc_draws,
    mean_of_defined,
    patient_codes,
    percentile_interval,
    sum_draws,
)
from hilum.evaluation.metrics import FloatArray, as_pair, roc_auc_score
from hilum.evaluation.subgroup_result import Contrast, Subgroup, SubgroupFinding, Subgroups

__all__ = ["AGE_BANDS", "age_bands", "finding_count_bands", "subgroups"]

AGE_BANDS = ((0, 18), (18, 40), (40, 60), (60, 80), (80, math.inf))
"""Years, lower end included: children, then adults by twenty years; NIH has few above 80."""

Chosen = npt.NDArray[np.bool_]
_Figure = tuple[float, FloatArray]  # a figure and its draws (draw,)

MOST_GROUPS = 20  # of one column; a column with more is an identifier, not a grouping


def subgroups(
    findings: Sequence[str],
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    groups: Mapping[str, Sequence[object]],
    *,
    patient_ids: PatientIds | None = None,
    thresholds: Mapping[str, float] | None = None,
    num_resamples: int = 1000,
    seed: int = 0,
) -> Subgroups:
    """Measure every group of every column, each against the rest of the images.

    Args:
        findings: names of the columns of labels and scores.
        labels: (image, finding) of 1, 0 and NaN for unknown.
        scores: (image, finding), finite.
        groups: column name, such as "sex", to one value per image; None, NaN and "" are unknown
            and belong to no group and no complement. See `age_bands`, `finding_count_bands`.
        patient_ids: one per image; without them each image counts as its own patient.
        thresholds: by finding; a score at or above it is positive. Sensitivity and specificity are
            given for the findings that have one.
        num_resamples: draws of patients behind each interval; 0 for no intervals.
        seed: of the draws.

    Raises:
        InvalidValueError: names, shapes or values do not fit together, or a column has more than
            20 groups.
    """
    labels, scores = as_pair(labels, scores)
    fits = len(set(findings)) == len(findings) == labels.shape[1]
    require(fits, "findings", f"{labels.shape[1]} different names", list(findings))
    thresholds = dict(thresholds or {})
    unknown = sorted(set(thresholds) - set(findings))
    require(not unknown, "thresholds", f"for some of {', '.join(findings)}", unknown)
    cuts = np.array([thresholds.get(name, math.nan) for name in findings])
    codes, num_patients = patient_codes(patient_ids, len(labels))
    options = {"num_resamples": num_resamples, "seed": seed}
    for column, values in groups.items():
        fits = len(values) == len(labels)
        require(fits, f"groups[{column!r}]", f"{len(labels)} values, one an image", len(values))
    measure = partial(_measured, (labels, scores, cuts), codes, options=options)
    return Subgroups(
        columns={name: _column(values, findings, measure) for name, values in groups.items()},
        thresholds=thresholds,
        num_images=len(labels),
        num_patients=None if patient_ids is None else num_patients,
        num_resamples=num_resamples,
        seed=seed,
    )


def age_bands(
    ages_years: Sequence[float | None], bands: Sequence[tuple[float, float]] = AGE_BANDS
) -> list[str | None]:
    """Name each age's band, such as "40-59" or "80+"; None where the age is not known.

    >>> age_bands([17.9, 18, 93, None])
    ['0-17', '18-39', '80+', None]
    """
    names = [f"{low:g}+" if high == math.inf else f"{low:g}-{high - 1:g}" for low, high in bands]
    found: list[str | None] = []
    for age in ages_years:
        known = age is not None and not math.isnan(age)
        inside = (
            name for name, (low, high) in zip(names, bands, strict=True) if low <= (age or 0) < high
        )
        found.append(next(inside, None) if known else None)
    return found


def finding_count_bands(labels: npt.ArrayLike) -> list[str | None]:
    """Name how many findings each image has: "0", "1", "2" or "3+"; None if a label is unknown.

    Among images with the same number of findings the AUC says whether the model can tell which one
    it is; where that number is 0 there is nothing to tell, and only specificity is left.
    """
    known = np.asarray(labels, dtype=np.float64)
    counts = known.sum(axis=1)
    return [None if math.isnan(n) else "3+" if n >= 3 else f"{n:.0f}" for n in counts.tolist()]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Part:
    """What was measured on a part of the images; drawn figures are (draw, finding)."""

    labels: FloatArray
    patients: int
    aurocs: FloatArray
    drawn: FloatArray
    sensitivity: list[_Figure]
    specificity: list[_Figure]


def _column(
    values: Sequence[object], findings: Sequence[str], measure: Callable[[Chosen], _Part]
) -> dict[str, Subgroup]:
    names = np.array([None if _missing(value) else str(value) for value in values], dtype=object)
    counts = Counter(name for name in names if name is not None)
    require(
        len(counts) <= MOST_GROUPS,
        "groups",
        f"columns of at most {MOST_GROUPS} different values",
        len(counts),
        hint="leave out columns such as ids; group numbers into bands first",
    )
    known = np.array([name is not None for name in names], dtype=bool)
    result: dict[str, Subgroup] = {}
    done: dict[bytes, _Part] = {}  # of two groups, each is the other's rest
    for name in sorted(counts):
        sides: list[_Part] = []
        for chosen in (names == name, known & (names != name)):
            if chosen.tobytes() not in done:
                done[chosen.tobytes()] = measure(chosen)
            sides.append(done[chosen.tobytes()])
        result[name] = _against(sides[0], sides[1], findings)
    return result


def _against(group: _Part, rest: _Part, findings: Sequence[str]) -> Subgroup:
    both = ~np.isnan(group.aurocs) & ~np.isnan(rest.aurocs)
    means = (_mean(part, both) for part in (group, rest))
    return Subgroup(
        images=len(group.labels),
        patients=group.patients,
        mean_auroc=_contrast(*means),
        findings_compared=int(both.sum()),
        findings={
            name: SubgroupFinding(
                auroc=_contrast(*(_auroc(part, k) for part in (group, rest))),
                sensitivity=_contrast(group.sensitivity[k], rest.sensitivity[k]),
                specificity=_contrast(group.specificity[k], rest.specificity[k]),
                positives=int((group.labels[:, k] == 1).sum()),
                images=int((~np.isnan(group.labels[:, k])).sum()),
            )
            for k, name in enumerate(findings)
        },
    )


def _measured(
    data: tuple[FloatArray, FloatArray, FloatArray],
    patients: npt.NDArray[np.intp],
    chosen: Chosen,
    options: Mapping[str, int],
) -> _Part:
    labels, scores, cuts = data[0][chosen], data[1][chosen], data[2]
    patients = patients[chosen]
    called = np.where(np.isnan(cuts), np.nan, scores >= cuts)
    num_resamples, seed = options["num_resamples"], options["seed"]
    drawn = auroc_draws(labels, (scores,), patients, num_resamples=num_resamples, seed=seed)[0]
    shares = []
    for kind in (1, 0):
        counted = (labels == kind) & ~np.isnan(called)
        hit = counted & (called == kind)
        sums = sum_draws(
            np.hstack([hit, counted]), patients, num_resamples=num_resamples, seed=seed
        )
        hits, totals = np.hsplit(sums, 2)
        drawn_shares = np.full_like(hits, np.nan)
        np.divide(hits, totals, out=drawn_shares, where=totals > 0)
        shares.append(
            [
                (
                    hit[:, k].sum() / n if (n := counted[:, k].sum()) else math.nan,
                    drawn_shares[:, k],
                )
                for k in range(labels.shape[1])
            ]
        )
    return _Part(
        labels=labels,
        patients=int(np.unique(patients).size),
        aurocs=roc_auc_score(labels, scores),
        drawn=drawn,
        sensitivity=shares[0],
        specificity=shares[1],
    )


def _auroc(part: _Part, finding: int) -> _Figure:
    return float(part.aurocs[finding]), part.drawn[:, finding]


def _mean(part: _Part, findings: Chosen) -> _Figure:
    """Mean over the findings that both sides have, so that the two can be compared."""
    if not findings.any():
        return math.nan, np.empty(0)
    return float(part.aurocs[findings].mean()), mean_of_defined(part.drawn[:, findings])


def _contrast(group: _Figure, rest: _Figure) -> Contrast:
    (value, value_ci95), (other, other_ci95) = (
        (None, None) if math.isnan(figure) else (float(figure), percentile_interval(drawn))
        for figure, drawn in (group, rest)
    )
    return Contrast(value=value, ci95=value_ci95, rest=other, rest_ci95=other_ci95)


def _missing(value: object) -> bool:
    return value is None or value != value or value == ""
