"""Shortcut probes: what a model could be using instead of the finding.

If the view, the sex or the hospital can be read from a model's features, the model may use it: sick
patients are imaged in bed, so the view alone predicts many findings. A probe is a plain logistic
regression on the features, tested on patients it was not fitted on. A high value says that the
information is there, not that it is used; the AUC within one value of the attribute, where it
cannot help, says more. Compare it with the AUC over all, and with that of the attribute alone.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hilum.errors import require
from hilum.evaluation.bootstrap import Interval, PatientIds, auroc_intervals, patient_codes
from hilum.evaluation.metrics import FloatArray, as_pair, roc_auc_score

__all__ = ["Probe", "ShortcutRow", "probe", "within_attribute"]

FEWEST_PATIENTS = 5  # of each value in a probe: one for every fold
_PENALTY = 0.01  # inverse strength; features outnumber the images of a small test set


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """How well one value of an attribute is told from the others by the features.

    Attributes:
        auroc: on patients the probe was not fitted on; 0.5 is nothing learned.
        auroc_ci95: over patients.
        images: with this value. others: with another, known one.
    """

    value: str
    auroc: float
    auroc_ci95: Interval | None
    images: int
    others: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortcutRow:
    """One finding with and without the help of an attribute; AUCs are None where undefined.

    Attributes:
        overall: AUC of the model on the images whose attribute is known.
        within: by value of the attribute, AUC of the model on the images with it.
        within_ci95: intervals over patients.
        alone: AUC of the attribute by itself: every image is scored by how many images with the
            same value have the finding. Slightly too high, as it is fitted on the same images.
    """

    overall: float | None
    within: dict[str, float | None]
    within_ci95: dict[str, Interval | None]
    alone: float | None


def probe(
    features: npt.ArrayLike,
    attribute: Sequence[object],
    *,
    patient_ids: PatientIds | None = None,
    folds: int = 5,
    num_resamples: int = 1000,
    seed: int = 0,
) -> list[Probe]:
    """Try to read an attribute from features, by cross-validation over patients.

    Args:
        features: (image, feature), finite: `hilum.inference.embed`.
        attribute: one value per image, such as the view; None, NaN and "" are left out.
        patient_ids: one per image; all images of a patient are in one fold.
        folds: parts; each is predicted by a probe fitted on the others.
        num_resamples: draws of patients behind the intervals; 0 for none.
        seed: of folds and draws.

    Returns:
        One entry per value, rarest first; of two values only the rarer, as the other mirrors it.

    Raises:
        InvalidValueError: shapes do not fit, or a value is carried by fewer than 5 patients.
    """
    x = np.asarray(features, dtype=np.float64)
    require(x.ndim == 2, "features", "(image, feature)", x.shape)
    require(bool(np.isfinite(x).all()), "features", "finite", "NaN or infinity")
    require(len(attribute) == len(x), "attribute", f"{len(x)} values, one an image", len(attribute))
    require(folds >= 2, "folds", "2 or more", folds)
    codes, _ = patient_codes(patient_ids, len(x))
    known = np.array([not _missing(value) for value in attribute], dtype=bool)
    names = np.array([str(value) for value in attribute], dtype=object)[known]
    x, codes = x[known], codes[known]
    counts = Counter(names.tolist()).most_common()[::-1]
    require(len(counts) >= 2, "attribute", "two or more different values", [n for n, _ in counts])
    wanted = counts[:1] if len(counts) == 2 else counts
    result = []
    for name, count in wanted:
        labels = (names == name).astype(np.float64)
        fewest = min(np.unique(codes[labels == kind]).size for kind in (0, 1))
        rule = f"values of {max(folds, FEWEST_PATIENTS)} patients or more"
        require(fewest >= max(folds, FEWEST_PATIENTS), "attribute", rule, f"{name!r}: {fewest}")
        scores = _out_of_fold(x, labels, codes, folds, seed)
        interval = auroc_intervals(labels, scores, codes, num_resamples=num_resamples, seed=seed)
        result.append(
            Probe(
                value=name,
                auroc=float(roc_auc_score(labels, scores)[0]),
                auroc_ci95=interval.findings[0],
                images=count,
                others=len(x) - count,
            )
        )
    return result


def within_attribute(
    findings: Sequence[str],
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    attribute: Sequence[object],
    *,
    patient_ids: PatientIds | None = None,
    num_resamples: int = 1000,
    seed: int = 0,
) -> dict[str, ShortcutRow]:
    """Measure each finding within each value of an attribute, where the attribute cannot help.

    Args:
        findings: names of the columns.
        labels: (image, finding) of 1, 0 and NaN for unknown.
        scores: (image, finding), finite.
        attribute: one value per image; None, NaN and "" are left out.
        patient_ids: one per image; without them each image counts as its own patient.
        num_resamples: draws of patients behind the intervals; 0 for none.
        seed: of the draws.
    """
    labels, scores = as_pair(labels, scores)
    fits = len(set(findings)) == len(findings) == labels.shape[1]
    require(fits, "findings", f"{labels.shape[1]} different names", list(findings))
    require(len(attribute) == len(labels), "attribute", f"{len(labels)} values", len(attribute))
    codes, _ = patient_codes(patient_ids, len(labels))
    known = np.array([not _missing(value) for value in attribute], dtype=bool)
    names = np.array([str(value) for value in attribute], dtype=object)[known]
    y, s, codes = labels[known], scores[known], codes[known]
    parts = {}
    for value in sorted(set(names.tolist())):
        chosen = names == value
        pair = y[chosen], s[chosen]
        options = {"num_resamples": num_resamples, "seed": seed}
        parts[value] = (
            roc_auc_score(*pair),
            auroc_intervals(*pair, codes[chosen], **options).findings,
        )
    overall, alone = roc_auc_score(y, s), roc_auc_score(y, _rates(y, names))
    return {
        finding: ShortcutRow(
            overall=_defined(overall[k]),
            within={value: _defined(aurocs[k]) for value, (aurocs, _) in parts.items()},
            within_ci95={value: intervals[k] for value, (_, intervals) in parts.items()},
            alone=_defined(alone[k]),
        )
        for k, finding in enumerate(findings)
    }


def _out_of_fold(
    x: FloatArray, labels: FloatArray, codes: npt.NDArray[np.intp], folds: int, seed: int
) -> FloatArray:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=_PENALTY, max_iter=1000))
    splits = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    scores = cross_val_predict(
        model, x, labels, groups=codes, cv=splits, method="decision_function"
    )
    return np.asarray(scores, dtype=np.float64)


def _rates(labels: FloatArray, names: npt.NDArray[np.object_]) -> FloatArray:
    """For each image, the share of the images with its value that have the finding."""
    rates = np.zeros_like(labels)
    for value in set(names.tolist()):
        chosen = names == value
        positives, images = (
            (labels[chosen] == 1).sum(axis=0),
            (~np.isnan(labels[chosen])).sum(axis=0),
        )
        rates[chosen] = positives / np.maximum(images, 1)
    return rates


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _missing(value: object) -> bool:
    return value is None or value != value or value == ""
