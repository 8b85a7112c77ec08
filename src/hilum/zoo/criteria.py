"""The criteria and the validation metrics of 2019 that the engine knows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hilum.errors import InvalidValueError, require
from hilum.evaluation import roc_auc_score
from hilum.optim import CrossEntropy
from hilum.optim import Loss as ModernLoss
from hilum.zoo.strict import auc_by_thresholds, is_strict_2019

__all__ = [
    "AUC",
    "AbsCriterion",
    "BCECriterion",
    "BCEWithLogitsCriterion",
    "BinaryCrossEntropy",
    "CategoricalCrossEntropy",
    "ClassNLLCriterion",
    "CrossEntropyCriterion",
    "Loss",
    "MSECriterion",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "SmoothL1Criterion",
    "SparseCategoricalCrossEntropy",
    "Top1Accuracy",
    "class_loss",
    "is_of_numbers",
    "loss_params",
    "row_loss",
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
    """Of exclusive classes, from logits; for `NNClassifier` alone."""

    weights: Sequence[float] | None = None
    size_average: bool = True
    logProbAsInput: bool = True
    bigdl_type: str = "float"


@dataclass(frozen=True, slots=True)
class CrossEntropyCriterion:
    """Of exclusive classes, from logits; for `NNClassifier` alone."""

    weights: Sequence[float] | None = None
    size_average: bool = True
    bigdl_type: str = "float"


@dataclass(frozen=True, slots=True)
class SparseCategoricalCrossEntropy:
    """Of exclusive classes, from logits; for `NNClassifier` alone."""

    log_prob_as_input: bool = False
    zero_based_label: bool = True
    weights: Sequence[float] | None = None
    size_average: bool = True
    bigdl_type: str = "float"


@dataclass(frozen=True, slots=True)
class CategoricalCrossEntropy:
    """Of exclusive classes, from logits; for `NNClassifier` alone."""

    bigdl_type: str = "float"


@dataclass(frozen=True, slots=True)
class MSECriterion:
    """Mean squared error, of a network that is trained as it is."""

    size_average: bool = True
    bigdl_type: str = "float"

    def __post_init__(self) -> None:
        require(self.size_average, "size_average", "True", self.size_average)


@dataclass(frozen=True, slots=True)
class AbsCriterion:
    """Mean absolute error, of a network that is trained as it is."""

    size_average: bool = True
    bigdl_type: str = "float"

    def __post_init__(self) -> None:
        require(self.size_average, "size_average", "True", self.size_average)


@dataclass(frozen=True, slots=True)
class SmoothL1Criterion:
    """Squared for small errors, absolute for large ones; of a network that is trained as it is."""

    size_average: bool = True
    bigdl_type: str = "float"

    def __post_init__(self) -> None:
        require(self.size_average, "size_average", "True", self.size_average)


@dataclass(frozen=True, slots=True)
class MeanSquaredError:
    """`MSECriterion` of the Keras-style API."""

    bigdl_type: str = "float"


@dataclass(frozen=True, slots=True)
class MeanAbsoluteError:
    """`AbsCriterion` of the Keras-style API."""

    bigdl_type: str = "float"


@dataclass(frozen=True, slots=True)
class Top1Accuracy:
    """Share of rows whose class is called right; `NNClassifier` always measures it."""

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


def loss_params(criterion: Any) -> dict[str, Any]:
    """Parameters of `hilum.spark.NNEstimator` that a criterion of findings in images stands for.

    Args:
        criterion: of this module, or one of `hilum.optim` as it is.

    Raises:
        InvalidValueError: the engine does not train with it; the message says why.
    """
    if callable(getattr(criterion, "elementwise", None)):
        return {"loss": criterion}
    kind = type(criterion)
    if kind in _OF_FINDINGS:
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


def is_of_numbers(criterion: Any) -> bool:
    """Whether a criterion compares numbers, so that the network is trained as it is."""
    return type(criterion) in _OF_NUMBERS


def row_loss(criterion: Any) -> Any:
    """The loss of a network that is trained as it is; see `loss_params`."""
    if callable(getattr(criterion, "elementwise", None)):
        return criterion
    kind = type(criterion)
    if kind in _OF_NUMBERS:
        return _OF_NUMBERS[kind]
    if kind is BCEWithLogitsCriterion:
        return "bce"
    if kind in _OF_FINDINGS:  # of probabilities, for the network keeps its sigmoid
        weights = getattr(criterion, "weights", None)
        require(weights is None, "weights of the criterion", "None without images", weights)
        return "torch:BCELoss"
    return loss_params(criterion)["loss"]


def class_loss(criterion: Any) -> ModernLoss:
    """The loss of exclusive classes from logits.

    Raises:
        InvalidValueError: the criterion is not of classes, or weighs findings.
    """
    if callable(getattr(criterion, "elementwise", None)):
        found: ModernLoss = criterion
        return found
    kind = type(criterion)
    rule = "of classes, such as CrossEntropyCriterion()"
    require(kind in (*_OF_FINDINGS, *_OF_CLASSES), "criterion", rule, kind.__name__)
    weights = getattr(criterion, "weights", None)
    # One number per finding is not one per class.
    require(
        weights is None or kind in _OF_CLASSES,
        f"weights of {kind.__name__}",
        "None for classes",
        weights,
        hint="CrossEntropyCriterion(weights=[...]) weighs classes",
    )
    return CrossEntropy(class_weights=None if weights is None else tuple(map(float, weights)))


_OF_FINDINGS = (BinaryCrossEntropy, BCECriterion, BCEWithLogitsCriterion)
_OF_NUMBERS: Mapping[type, str] = {
    MSECriterion: "mse",
    MeanSquaredError: "mse",
    AbsCriterion: "l1",
    MeanAbsoluteError: "l1",
    SmoothL1Criterion: "smooth_l1",
}
_OF_CLASSES = (
    ClassNLLCriterion,
    CrossEntropyCriterion,
    SparseCategoricalCrossEntropy,
    CategoricalCrossEntropy,
)
