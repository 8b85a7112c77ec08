"""The parameters of classifiers beside those of other models, under the names of Spark ML."""

from collections.abc import Sequence
from typing import Any, TypeVar

from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import HasProbabilityCol, HasRawPredictionCol, HasThresholds

from hilum.errors import require

__all__ = ["ClassifierParams"]

Stage = TypeVar("Stage", bound="ClassifierParams")

_INVALID = ("keep", "skip", "error")


class ClassifierParams(HasProbabilityCol, HasRawPredictionCol, HasThresholds):
    """What a classifier adds to a row, and what becomes of a row that has no prediction."""

    handleInvalid: Param[str] = Param(
        Params._dummy(),
        "handleInvalid",
        "a row that cannot be predicted is kept, with the class __no_prediction after the others, "
        "null vectors and errorCol (keep), left out (skip), or ends the job (error)",
        typeConverter=TypeConverters.toString,
    )

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._setDefault(handleInvalid="keep")

    def getHandleInvalid(self) -> str:
        """What becomes of a row that cannot be predicted."""
        value = self.getOrDefault(self.handleInvalid)
        require(value in _INVALID, "handleInvalid", f"one of {', '.join(_INVALID)}", value)
        return value

    def setHandleInvalid(self: Stage, value: str) -> Stage:
        """What becomes of a row that cannot be predicted: keep, skip or error."""
        require(value in _INVALID, "handleInvalid", f"one of {', '.join(_INVALID)}", value)
        return self._set(handleInvalid=value)

    def setProbabilityCol(self: Stage, value: str) -> Stage:
        """Name of the column of probabilities; "" leaves it out."""
        return self._set(probabilityCol=value)

    def setRawPredictionCol(self: Stage, value: str) -> Stage:
        """Name of the column of logits; "" leaves it out."""
        return self._set(rawPredictionCol=value)

    def setThresholds(self: Stage, value: Sequence[float]) -> Stage:
        """One number per class; the class of the largest probability / threshold is called."""
        return self._set(thresholds=list(value))
