"""Average precision and the precision-recall curve, per finding, with unknown labels masked.

Average precision (AUPRC) is the sum over the curve's steps of precision times the gain in recall,
scikit-learn's definition; trapezoids would be too optimistic (Davis and Goadrich, ICML 2006). A
model that guesses gets the finding's prevalence, so the two are only read together.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hilum.errors import require
from hilum.evaluation.metrics import FloatArray, as_pair, evenly_chosen, known_of_one, rank_one

__all__ = ["PrCurve", "average_precision_score", "pr_curve"]


def average_precision_score(labels: npt.ArrayLike, scores: npt.ArrayLike) -> FloatArray:
    """Return the area under the precision-recall curve of every finding, shape (finding,).

    NaN where the known labels have one value. Arguments and errors as `metrics.roc_auc_score`.

    >>> average_precision_score([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4]).round(3)
    array([0.833])
    """
    labels, scores = as_pair(labels, scores)
    once = np.ones((1, len(labels)))
    rankings = (rank_one(labels[:, k], scores[:, k]) for k in range(labels.shape[1]))
    return np.array([ranking.weighted_areas(once)[1][0] for ranking in rankings], dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrCurve:
    """Corners of a precision-recall curve, from recall 0 to 1.

    Attributes:
        recall: share of the images with the finding that are called (sensitivity), rising.
        precision: share of the called images that have it (PPV); 1 where none is called.
        thresholds: an image is called positive at or above it; falling, the first is infinite.
    """

    recall: tuple[float, ...]
    precision: tuple[float, ...]
    thresholds: tuple[float, ...]

    def __post_init__(self) -> None:
        lengths = {len(self.recall), len(self.precision), len(self.thresholds)}
        require(
            len(lengths) == 1, "recall, precision, thresholds", "of one length", sorted(lengths)
        )

    def thinned(self, max_points: int) -> "PrCurve":
        """Return at most `max_points` of the corners, evenly chosen, both ends kept."""
        kept = evenly_chosen(len(self.recall), max_points)
        return PrCurve(
            recall=tuple(self.recall[i] for i in kept),
            precision=tuple(self.precision[i] for i in kept),
            thresholds=tuple(self.thresholds[i] for i in kept),
        )


def pr_curve(labels: npt.ArrayLike, scores: npt.ArrayLike) -> PrCurve | None:
    """Return the precision-recall curve of one finding; None where its labels have one value.

    Args:
        labels: (image,) of 1, 0 and NaN for unknown.
        scores: (image,), finite.
    """
    from sklearn import metrics  # seconds to import, and the training loop needs only the AUC

    known = known_of_one(labels, scores)
    if known is None:
        return None
    precision, recall, thresholds = metrics.precision_recall_curve(*known)
    return PrCurve(
        recall=tuple(recall[::-1].tolist()),
        precision=tuple(precision[::-1].tolist()),
        thresholds=(float("inf"), *thresholds[::-1].tolist()),
    )
