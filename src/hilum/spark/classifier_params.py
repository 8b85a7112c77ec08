"""The parameters of classifiers beside those of other models, under the names of Spark ML."""

from typing import Any

from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import HasProbabilityCol, HasRawPredictionCol, HasThresholds

from hilum.spark.accessors import with_accessors

__all__ = ["ClassifierParams"]


@with_accessors
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
