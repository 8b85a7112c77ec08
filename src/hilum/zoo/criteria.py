"""The criteria and the validation metrics of 2019 that the engine knows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hilum.errors import InvalidValueError, require
from hilum.evaluation import roc_auc_score
from hilum.zoo.strict import auc_by_thresholds, is_strict_2019

__all__ = [
    "AUC",
    "BCECriterion",
    "BCEWithLogitsCriterion",
    "BinaryCrossEntropy",
    "CategoricalCrossEntropy",
    "ClassNLLCriterion",
    "CrossEntropyCriterion",
    "Loss",
    "SparseCategoricalCrossEntropy",
    "loss_params",
]


@dataclass(frozen=True, slots=True)
class BinaryCrossEntropy:
    """Mean over batch and findings; computed from logits, so that nothing is lost near 0 and 1.

    Attributes:
        weights: one per finding.
    """

    weights: Sequence[float] | None = None
    size_average: bool = True
    bigdl_type: str = "float"

    def __post_init__(self) -> None:
        require(self.size_average, "size_average", "True", self.size_average)


@dataclass(frozen=True, slots=True)
class BCECriterion:
    """`BinaryCrossEntropy` of BigDL."""

    weights: Sequence[float] | None = None
    size_average: bool = True
    bigdl_type: str = "float"

    def __post_init__(self) -> None:
        require(self.size_average, "size_average", "True", self.size_average)


@dataclass(frozen=True, slots=True)
class BCEWithLogitsCriterion:
    """`BinaryCrossEntropy` for a network that ends without a sigmoid."""

    size_average: bool = True
    bigdl_type: str = "float"

    def __post_init__(self) -> None:
        require(self.size_average, "size_average", "True", self.size_average)


@dataclass(frozen=True, slots=True)
class ClassNLLCriterion:
    """Of exclusive classes; for `NNClassifier` alone, which learns each class against the rest."""

    weights: Sequence[float] | None = None
    size_average: bool = True
    logProbAsInput: bool = True
    bigdl_type: str = "float"


@dataclass(frozen=True, slots=True)
class CrossEntropyCriterion:
    """Of exclusive classes; for `NNClassifier` alone, which learns each class against the rest."""

    weights: Sequence[float] | None = None
    size_average: bool = True
    bigdl_type: str = "float"


@dataclass(frozen=True, slots=True)
class SparseCategoricalCrossEntropy:
    """Of exclusive classes; for `NNClassifier` alone, which learns each class against the rest."""

    log_prob_as_input: bool = False
    zero_based_label: bool = True
    weights: Sequence[float] | None = None
    size_average: bool = True
    bigdl_type: str = "float"


@dataclass(frozen=True, slots=True)
class CategoricalCrossEntropy:
    """Of exclusive classes; for `NNClassifier` alone, which learns each class against the rest."""

    bigdl_type: str = "float"


@dataclass(frozen=True, slots=True)
class AUC:
    """Area under the ROC curve, exact; `threshold_num` counts in `strict_2019` only."""

    threshold_num: int = 200
    bigdl_type: str = "float"

    def __call__(self, labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
        """Mean over the findings whose labels differ, of labels and scores (N, finding)."""
        truth, score = np.asarray(labels, np.float64), np.asarray(scores, np.float64)
        if is_strict_2019():
            areas = auc_by_thresholds(truth, score, self.threshold_num)
        else:
            areas = np.asarray(roc_auc_score(truth, score))
        return float(np.nanmean(areas)) if np.isfinite(areas).any() else float("nan")


@dataclass(frozen=True, slots=True)
class Loss:
    """The criterion, measured on the validation data; it always is."""

    criterion: Any = None
    bigdl_type: str = "float"


def loss_params(criterion: Any, *, exclusive: bool = False) -> dict[str, Any]:
    """Parameters of `hilum.spark.NNEstimator` that a criterion stands for.

    Args:
        criterion: of this module, or one of `hilum.optim` as it is.
        exclusive: whether the labels are classes of which each image has one.

    Raises:
        InvalidValueError: the engine does not train with it; the message says why.
    """
    if callable(getattr(criterion, "elementwise", None)):
        return {"loss": criterion}
    kind = type(criterion)
    if kind in _OF_FINDINGS or (exclusive and kind in _OF_CLASSES):
        weights = getattr(criterion, "weights", None)
        return {"loss": "bce"} | ({} if weights is None else {"findingWeights": list(weights)})
    hint = (
        "NNClassifier takes it"
        if kind in _OF_CLASSES
        else "docs/migration.md lists those of 2019 that are not here"
    )
    raise InvalidValueError(
        "criterion must be of findings, which occur together: BinaryCrossEntropy(). "
        f"Got {kind.__name__}. Hint: {hint}."
    )


_OF_FINDINGS = (BinaryCrossEntropy, BCECriterion, BCEWithLogitsCriterion)
_OF_CLASSES = (
    ClassNLLCriterion,
    CrossEntropyCriterion,
    SparseCategoricalCrossEntropy,
    CategoricalCrossEntropy,
)
