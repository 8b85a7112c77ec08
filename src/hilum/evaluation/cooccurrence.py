"""Confusion by co-occurring finding: does the model call A where only B is there?

A classifier that has learned "ill" rather than the finding calls everything on a sick radiograph.
For every pair: of the images without A that have B, the share that is called A, beside the share
among images with no finding at all. Well above that share: B is mistaken for A.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hilum.errors import require
from hilum.evaluation.metrics import FloatArray, as_pair

__all__ = ["Cooccurrence", "PairCount", "confusion_by_finding", "thresholds_at_specificity"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairCount:
    """Images without a finding, and how many of them are called as having it."""

    images: int
    called: int

    @property
    def rate(self) -> float | None:
        """Share called; None if there is no such image."""
        return self.called / self.images if self.images else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cooccurrence:
    """False calls by what else is on the image.

    Attributes:
        thresholds: a finding is called at or above its own; None where it has none.
        pairs: (called finding, present finding) to counts; the called one is absent throughout.
        clear: called finding to counts on images where all findings are known to be absent.
    """

    findings: tuple[str, ...]
    thresholds: Mapping[str, float | None]
    pairs: Mapping[tuple[str, str], PairCount]
    clear: Mapping[str, PairCount]


def confusion_by_finding(
    findings: Sequence[str],
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    thresholds: Mapping[str, float | None],
) -> Cooccurrence:
    """Count false calls of every finding by the other finding that is present.

    Args:
        findings: names of the columns.
        labels: (image, finding) of 1, 0 and NaN for unknown; only known zeros count as absent.
        scores: same shape.
        thresholds: per finding; a finding without one is left out of the calls.
    """
    labels, scores = as_pair(labels, scores)
    fits = len(findings) == labels.shape[1]
    require(fits, "findings", f"{labels.shape[1]} names, one per column", list(findings))
    healthy = (labels == 0).all(axis=1)
    pairs: dict[tuple[str, str], PairCount] = {}
    clear: dict[str, PairCount] = {}
    for a, called_name in enumerate(findings):
        threshold = thresholds.get(called_name)
        if threshold is None:
            continue
        absent = labels[:, a] == 0
        called = absent & (scores[:, a] >= threshold)
        clear[called_name] = _count(healthy, called)
        for b, present_name in enumerate(findings):
            if a != b:
                pairs[called_name, present_name] = _count(absent & (labels[:, b] == 1), called)
    kept = {name: thresholds.get(name) for name in findings}
    return Cooccurrence(findings=tuple(findings), thresholds=kept, pairs=pairs, clear=clear)


def thresholds_at_specificity(
    findings: Sequence[str],
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    specificity: float = 0.9,
) -> dict[str, float | None]:
    """Return per finding the lowest threshold that calls at most 1 - specificity of the absent.

    For description only: a threshold to act on is chosen on other images than it is tested on.
    None where no image is known to lack the finding.
    """
    labels, scores = as_pair(labels, scores)
    require(0 < specificity < 1, "specificity", "between 0 and 1", specificity)
    return {
        name: _above(scores[labels[:, k] == 0, k], specificity) for k, name in enumerate(findings)
    }


def _count(among: npt.NDArray[np.bool_], called: npt.NDArray[np.bool_]) -> PairCount:
    return PairCount(images=int(among.sum()), called=int((among & called).sum()))


def _above(absent: FloatArray, specificity: float) -> float | None:
    if not absent.size:
        return None
    allowed = int(np.floor((1 - specificity) * absent.size + 1e-9))
    falling = np.sort(absent)[::-1]
    # One step above the first absent image that must not be called.
    return float(np.nextafter(falling[allowed], np.inf)) if allowed < absent.size else 0.0
