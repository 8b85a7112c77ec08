"""Exact ranking metrics per finding, on arrays with unknown labels.

Labels are (image, finding) with 1 present, 0 absent, NaN unknown; scores have the same shape and
are known everywhere. Every metric drops the unknown pairs of its own finding and no others. A
finding whose known labels have one value has no AUC: the answer is NaN, never 0.5.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hilum.errors import InvalidValueError, require

__all__ = [
    "FloatArray",
    "Ranking",
    "RocCurve",
    "any_finding",
    "as_pair",
    "evenly_chosen",
    "known_of_one",
    "mean_auroc",
    "rank_one",
    "require_probabilities",
    "roc_auc_score",
    "roc_curve",
]

FloatArray = npt.NDArray[np.float64]


def roc_auc_score(labels: npt.ArrayLike, scores: npt.ArrayLike) -> FloatArray:
    """Return the exact area under the ROC curve of every finding, shape (finding,).

    It is the share of (present, absent) pairs that the scores put in the right order, ties
    counting half (Mann-Whitney), so it is what scikit-learn computes by the trapezoid rule.

    Args:
        labels: (image, finding) of 1, 0 and NaN for unknown; (image,) counts as one finding.
            Anything numpy can view: lists, arrays, CPU tensors.
        scores: same shape, finite; any increasing function of the probability will do.

    Returns:
        One value per finding, NaN where undefined.

    Raises:
        InvalidValueError: shapes differ, a label is not 0, 1 or NaN, or a score is not finite.

    >>> roc_auc_score([[0, 1], [1, 1], [1, 1]], [[0.2, 0.9], [0.8, 0.5], [0.2, 0.5]])
    array([0.75,  nan])
    """
    labels, scores = as_pair(labels, scores)
    values = [rank_one(labels[:, k], scores[:, k]).auroc() for k in range(labels.shape[1])]
    return np.array(values, dtype=np.float64)


def mean_auroc(aurocs: npt.ArrayLike) -> float:
    """Return the mean over the findings that are defined; NaN if none is."""
    values = _floats(aurocs, "aurocs")
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


def any_finding(labels: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Fold the findings of each image into one: is anything there at all?

    The label is 1 if a known label is 1, 0 if all labels are known to be 0, and NaN otherwise:
    an image with nothing seen and something not looked for is neither. Findings that no image has
    a label for are left out of label and score, so that a table of three findings still counts.
    The score is 1 - prod(1 - p), the probability of at least one were they independent.

    Args:
        labels: (image, finding) of 1, 0 and NaN.
        scores: (image, finding) probabilities in [0, 1].

    Returns:
        Labels and scores, both (image,).
    """
    labels, scores = as_pair(labels, scores)
    require_probabilities(scores)
    looked_for = ~np.isnan(labels).all(axis=0)
    labels, scores = labels[:, looked_for], scores[:, looked_for]
    positive = (labels == 1).any(axis=1)
    unknown = ~positive & (np.isnan(labels).any(axis=1) | (not looked_for.any()))
    with np.errstate(divide="ignore"):  # log1p keeps tiny probabilities apart; p = 1 is log 0
        score = -np.expm1(np.log1p(-scores).sum(axis=1))
    return np.where(unknown, np.nan, positive.astype(np.float64)), score


@dataclass(frozen=True, slots=True, kw_only=True)
class RocCurve:
    """Corners of an ROC curve from (0, 0) to (1, 1).

    Attributes:
        fpr: false positive rates (1 - specificity), rising.
        tpr: true positive rates (sensitivity), rising.
        thresholds: an image is called positive at or above it; falling, the first is infinite.
    """

    fpr: tuple[float, ...]
    tpr: tuple[float, ...]
    thresholds: tuple[float, ...]

    def __post_init__(self) -> None:
        lengths = {len(self.fpr), len(self.tpr), len(self.thresholds)}
        require(len(lengths) == 1, "fpr, tpr and thresholds", "of one length", sorted(lengths))

    def thinned(self, max_points: int) -> "RocCurve":
        """Return at most `max_points` of the corners, evenly chosen, both ends kept."""
        kept = evenly_chosen(len(self.fpr), max_points)
        return RocCurve(
            fpr=tuple(self.fpr[i] for i in kept),
            tpr=tuple(self.tpr[i] for i in kept),
            thresholds=tuple(self.thresholds[i] for i in kept),
        )


def roc_curve(labels: npt.ArrayLike, scores: npt.ArrayLike) -> RocCurve | None:
    """Return the ROC curve of one finding; None where its AUC is undefined.

    Args:
        labels: (image,) of 1, 0 and NaN for unknown.
        scores: (image,), finite.
    """
    from sklearn import metrics  # seconds to import, and the training loop needs only the AUC

    known = known_of_one(labels, scores)
    if known is None:
        return None
    fpr, tpr, thresholds = metrics.roc_curve(*known)
    return RocCurve(
        fpr=tuple(fpr.tolist()), tpr=tuple(tpr.tolist()), thresholds=tuple(thresholds.tolist())
    )


def known_of_one(
    labels: npt.ArrayLike, scores: npt.ArrayLike
) -> tuple[npt.NDArray[np.bool_], FloatArray] | None:
    """Return presence and score of the known images of one finding; None if all labels agree."""
    labels, scores = as_pair(labels, scores)
    require(labels.shape[1] == 1, "labels", "those of one finding, shape (image,)", labels.shape)
    known = ~np.isnan(labels[:, 0])
    positive = labels[known, 0] == 1
    return None if not positive.any() or positive.all() else (positive, scores[known, 0])


def evenly_chosen(count: int, most: int) -> list[int]:
    """Return at most `most` of the positions 0 .. count - 1, both ends among them."""
    require(most >= 2, "max_points", "at least 2", most)
    if count <= most:
        return list(range(count))
    return [int(position) for position in np.linspace(0, count - 1, most).round()]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ranking:
    """One finding sorted once, so that its areas under any image weights are cumulative sums.

    Attributes:
        positives: indices of the images with the finding, by rising score, (positive,).
        negatives: indices of those without it, by rising score, (negative,).
        below: negatives scored lower than each positive, (positive,).
        not_above: negatives scored lower or equal, (positive,); more than `below` where tied.
        positives_below: positives scored lower than each positive, (positive,).
    """

    positives: npt.NDArray[np.intp]
    negatives: npt.NDArray[np.intp]
    below: npt.NDArray[np.intp]
    not_above: npt.NDArray[np.intp]
    positives_below: npt.NDArray[np.intp]

    def auroc(self) -> float:
        """Return the AUC with every image counted once; NaN if undefined."""
        pairs = self.positives.size * self.negatives.size
        return float(0.5 * (self.below + self.not_above).sum() / pairs) if pairs else float("nan")

    def weighted_auroc(self, weights: FloatArray) -> FloatArray:
        """Return the AUC under each row of weights (draw, image); NaN where undefined, (draw,)."""
        return self._auroc(weights, _cumulative(weights, self.negatives))

    def weighted_areas(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return AUC and average precision under each row of weights, both (draw,).

        They share the cumulative sum of the negatives, which is nearly all the work.
        """
        negatives = _cumulative(weights, self.negatives)
        return self._auroc(weights, negatives), self._average_precision(weights, negatives)

    def _auroc(self, weights: FloatArray, negatives: FloatArray) -> FloatArray:
        present = np.take(weights, self.positives, axis=1)
        won = negatives[:, self.below] + negatives[:, self.not_above]
        pairs = present.sum(axis=1) * negatives[:, -1]
        return _ratio(0.5 * (present * won).sum(axis=1), pairs)

    def _average_precision(self, weights: FloatArray, negatives: FloatArray) -> FloatArray:
        """Average, over the positives, the precision of a threshold at their own score."""
        present = np.take(weights, self.positives, axis=1)
        positives = _cumulative(weights, self.positives)
        hits = positives[:, -1:] - positives[:, self.positives_below]
        called = hits + negatives[:, -1:] - negatives[:, self.below]
        precision = np.divide(hits, called, out=np.zeros_like(hits), where=called > 0)
        both = negatives[:, -1] > 0
        return _ratio((present * precision).sum(axis=1), positives[:, -1] * both)


def rank_one(labels: FloatArray, scores: FloatArray) -> Ranking:
    """Sort one finding, both (image,); unknown labels are left out."""
    positives, negatives = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    positives = positives[np.argsort(scores[positives])]
    negatives = negatives[np.argsort(scores[negatives])]
    own, ascending = scores[positives], scores[negatives]
    return Ranking(
        positives=positives,
        negatives=negatives,
        below=np.searchsorted(ascending, own, side="left"),
        not_above=np.searchsorted(ascending, own, side="right"),
        positives_below=np.searchsorted(own, own, side="left"),
    )


def as_pair(labels: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Check labels and scores and return both as float64 (image, finding).

    Raises:
        InvalidValueError: shapes differ, a label is not 0, 1 or NaN, or a score is not finite.
    """
    labels, scores = _floats(labels, "labels"), _floats(scores, "scores")
    require(labels.ndim in (1, 2), "labels", "(image, finding) or (image,)", labels.shape)
    require(scores.shape == labels.shape, "scores", f"of shape {labels.shape}", scores.shape)
    if labels.ndim == 1:
        labels, scores = labels[:, None], scores[:, None]
    odd = labels[~(np.isnan(labels) | (labels == 0) | (labels == 1))]
    require(odd.size == 0, "labels", "0, 1 or NaN (unknown)", odd[:5].tolist())
    bad = np.flatnonzero(~np.isfinite(scores).all(axis=1))
    require(
        bad.size == 0,
        "scores",
        "finite",
        f"{bad.size} images with NaN or infinity, the first at {bad[:5].tolist()}",
        hint="leave out images that could not be scored before evaluating",
    )
    return labels, scores


def require_probabilities(scores: FloatArray) -> None:
    """Raise InvalidValueError unless all scores lie in [0, 1]."""
    outside = scores[(scores < 0) | (scores > 1)]
    require(
        outside.size == 0,
        "scores",
        "probabilities between 0 and 1",
        outside[:5].tolist(),
        hint="apply a sigmoid to logits first",
    )


def _cumulative(weights: FloatArray, images: npt.NDArray[np.intp]) -> FloatArray:
    """Cumulative weights of the images in their order, a 0 in front, (draw, image + 1)."""
    cumulative = np.zeros((len(weights), images.size + 1))
    np.cumsum(np.take(weights, images, axis=1), axis=1, out=cumulative[:, 1:])
    return cumulative


def _ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    ratios = np.full(len(part), np.nan)
    np.divide(part, whole, out=ratios, where=whole > 0)
    return ratios


def _floats(values: npt.ArrayLike, name: str) -> FloatArray:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidValueError(
            f"{name} must be numbers in a rectangle. Got {type(values).__name__}: {error}. "
            "Hint: pass a numpy array, nested lists, or a detached CPU tensor."
        ) from error
