"""What fixed thresholds do: sensitivity, specificity, predictive values and their intervals.

PPV and NPV hold for the prevalence of the tested images only; at another prevalence they follow
from sensitivity and specificity by Bayes' rule, and a table gives them for 1 to 20 %.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hilum.errors import require
from hilum.evaluation.bootstrap import (
    Interval,
    PatientBootstrap,
    PatientIds,
    percentile_interval,
)
from hilum.evaluation.metrics import FloatArray, as_pair

__all__ = [
    "PREVALENCES",
    "RATES",
    "AtPrevalence",
    "OperatingResult",
    "measure_at",
    "predictive_values",
]

RATES = ("sensitivity", "specificity", "ppv", "npv", "f1", "lr_positive", "lr_negative")
PREVALENCES = (0.01, 0.02, 0.05, 0.10, 0.15, 0.20)
_SHARES = ("sensitivity", "specificity", "ppv", "npv")


@dataclass(frozen=True, slots=True, kw_only=True)
class AtPrevalence:
    """Predictive values at another prevalence than the tested images'; None where undefined."""

    prevalence: float
    ppv: float | None
    ppv_ci95: Interval | None
    npv: float | None
    npv_ci95: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingResult:
    """One finding at one threshold.

    Attributes:
        threshold: images at or above it are called.
        rates: by name of `RATES`; None where undefined (nothing to divide by).
        ci95: 95 % intervals over patients, by name; None where the rate is undefined or was so in
            more than 3 % of the draws. A share of exactly 0 or 1 does not vary between draws: it
            has Wilson's interval with patients counted as trials.
        at_prevalence: PPV and NPV at the prevalences of `PREVALENCES`.
    """

    threshold: float
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int
    rates: Mapping[str, float | None]
    ci95: Mapping[str, Interval | None]
    at_prevalence: tuple[AtPrevalence, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain dicts, lists and numbers."""
        table = self.at_prevalence
        return {
            "threshold": self.threshold,
            "true_positives": self.true_positives,
            "false_positives": self.false_positives,
            "false_negatives": self.false_negatives,
            "true_negatives": self.true_negatives,
            **self.rates,
            **{f"{name}_ci95": _listed(self.ci95[name]) for name in self.ci95},
            "at_prevalence": {
                "prevalence": [row.prevalence for row in table],
                "ppv": [row.ppv for row in table],
                "ppv_ci95": [_listed(row.ppv_ci95) for row in table],
                "npv": [row.npv for row in table],
                "npv_ci95": [_listed(row.npv_ci95) for row in table],
            },
        }

    @staticmethod
    def from_json(stored: Mapping[str, Any]) -> "OperatingResult":
        """Read what `to_json` wrote."""
        table = stored["at_prevalence"]
        return OperatingResult(
            threshold=stored["threshold"],
            true_positives=stored["true_positives"],
            false_positives=stored["false_positives"],
            false_negatives=stored["false_negatives"],
            true_negatives=stored["true_negatives"],
            rates={name: stored[name] for name in RATES},
            ci95={name: _paired(stored[f"{name}_ci95"]) for name in RATES},
            at_prevalence=tuple(
                AtPrevalence(
                    prevalence=prevalence,
                    ppv=ppv,
                    ppv_ci95=_paired(ppv_ci95),
                    npv=npv,
                    npv_ci95=_paired(npv_ci95),
                )
                for prevalence, ppv, ppv_ci95, npv, npv_ci95 in zip(
                    table["prevalence"],
                    table["ppv"],
                    table["ppv_ci95"],
                    table["npv"],
                    table["npv_ci95"],
                    strict=True,
                )
            ),
        )


def measure_at(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    thresholds: npt.ArrayLike,
    patient_ids: PatientIds | None = None,
    *,
    prevalences: Sequence[float] = PREVALENCES,
    num_resamples: int = 2000,
    seed: int = 0,
) -> tuple[OperatingResult | None, ...]:
    """Measure every finding at its threshold; None where the threshold is NaN.

    Args:
        labels: (image, finding) of 1, 0 and NaN for unknown; (image,) counts as one finding.
        scores: same shape, finite, on the thresholds' scale.
        thresholds: (finding,) or one number for all; frozen before these images were seen.
        patient_ids: one per image; None counts every image as a patient of its own.
        prevalences: where to give PPV and NPV too.
        num_resamples: draws of patients; 0 for no intervals.
        seed: of the draws.

    Raises:
        InvalidValueError: shapes or values do not fit, or a patient id is missing.
    """
    labels, scores = as_pair(labels, scores)
    cuts = np.asarray(thresholds, dtype=np.float64)
    count = labels.shape[1]
    require(cuts.ndim == 0 or cuts.shape == (count,), "thresholds", f"{count}, one each", cuts)
    cuts = np.broadcast_to(cuts, (count,))
    bootstrap = PatientBootstrap.for_images(
        len(labels), patient_ids, num_resamples=num_resamples, seed=seed
    )
    called = scores >= cuts
    kinds = [(labels == value) & way for way in (called, ~called) for value in (1, 0)]
    cells = np.hstack(kinds).astype(np.float64)  # TP, FP, FN, TN of all findings, side by side
    drawn = bootstrap.sums(cells)
    return tuple(
        None
        if np.isnan(cuts[k])
        else _result(float(cuts[k]), cells[:, k::count], drawn[:, k::count], bootstrap, prevalences)
        for k in range(count)
    )


def predictive_values(
    sensitivity: npt.ArrayLike, specificity: npt.ArrayLike, prevalence: npt.ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Return PPV and NPV by Bayes' rule; NaN where nothing, or everything, is called.

    >>> ppv, npv = predictive_values(0.9, 0.9, 0.1)
    >>> round(float(ppv), 3), round(float(npv), 3)
    (0.5, 0.988)
    """
    sens, spec, share = (
        np.asarray(values, dtype=np.float64) for values in (sensitivity, specificity, prevalence)
    )
    hits, alarms = share * sens, (1 - share) * (1 - spec)
    misses, cleared = share * (1 - sens), (1 - share) * spec
    return _divided(hits, hits + alarms), _divided(cleared, cleared + misses)


def _result(
    threshold: float,
    cells: FloatArray,
    drawn: FloatArray,
    bootstrap: PatientBootstrap,
    prevalences: Sequence[float],
) -> OperatingResult:
    """One finding: `cells` (image, 4) and `drawn` (draw, 4) hold TP, FP, FN, TN."""
    tp, fp, fn, tn = cells.sum(axis=0).astype(int).tolist()
    values = {name: float(rate[0]) for name, rate in _rates(cells.sum(axis=0)[None]).items()}
    drawn_rates = _rates(drawn)
    known = {name: None if np.isnan(value) else value for name, value in values.items()}
    ci95 = {
        name: None if value is None else percentile_interval(drawn_rates[name])
        for name, value in known.items()
    }
    patients = bootstrap.patient_of_image
    for name, columns in zip(_SHARES, ([0, 2], [1, 3], [0, 1], [2, 3]), strict=True):
        if ci95[name] is not None and known[name] in (0.0, 1.0):
            trials = np.unique(patients[cells[:, columns].any(axis=1)]).size
            ci95[name] = _wilson(values[name], trials)
    return OperatingResult(
        threshold=threshold,
        true_positives=tp,
        false_positives=fp,
        false_negatives=fn,
        true_negatives=tn,
        rates=known,
        ci95=ci95,
        at_prevalence=tuple(_at_prevalence(values, drawn_rates, share) for share in prevalences),
    )


def _rates(cells: FloatArray) -> dict[str, FloatArray]:
    """All rates of (draw, 4) counts of TP, FP, FN, TN, each (draw,); NaN where undefined."""
    tp, fp, fn, tn = cells.T
    sensitivity, specificity = _divided(tp, tp + fn), _divided(tn, tn + fp)
    return {
        "sensitivity": sensitivity,
        "specificity": specificity,
        "ppv": _divided(tp, tp + fp),
        "npv": _divided(tn, tn + fn),
        "f1": _divided(2 * tp, 2 * tp + fp + fn),
        "lr_positive": _divided(sensitivity, 1 - specificity),
        "lr_negative": _divided(1 - sensitivity, specificity),
    }


def _at_prevalence(
    values: Mapping[str, float], drawn: Mapping[str, FloatArray], prevalence: float
) -> AtPrevalence:
    ppv, npv = predictive_values(values["sensitivity"], values["specificity"], prevalence)
    drawn_ppv, drawn_npv = predictive_values(drawn["sensitivity"], drawn["specificity"], prevalence)
    return AtPrevalence(
        prevalence=prevalence,
        ppv=None if np.isnan(ppv) else float(ppv),
        ppv_ci95=None if np.isnan(ppv) else percentile_interval(drawn_ppv),
        npv=None if np.isnan(npv) else float(npv),
        npv_ci95=None if np.isnan(npv) else percentile_interval(drawn_npv),
    )


def _wilson(share: float, trials: int) -> Interval:
    """Wilson's 95 % score interval (JASA 1927) of a share of `trials`."""
    z = 1.959963984540054
    middle = share + z**2 / (2 * trials)
    reach = z * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    whole = 1 + z**2 / trials
    # Rounding must not leave the share itself outside.
    return min(share, float((middle - reach) / whole)), max(share, float((middle + reach) / whole))


def _divided(part: FloatArray, whole: FloatArray) -> FloatArray:
    result = np.full(np.shape(whole), np.nan)
    np.divide(part, whole, out=result, where=np.asarray(whole) > 0)
    return result


def _listed(interval: Interval | None) -> list[float] | None:
    return None if interval is None else list(interval)


def _paired(stored: Sequence[float] | None) -> Interval | None:
    if stored is None:
        return None
    low, high = stored
    return low, high
