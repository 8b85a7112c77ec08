"""The Spark ML parameters of Hilum's stages, declared once and shared by estimator and model."""

from collections.abc import Iterable
from typing import Any, Self, TypeVar

from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import (
    HasFeaturesCol,
    HasLabelCol,
    HasPredictionCol,
    HasSeed,
    HasWeightCol,
)

from hilum.errors import require
from hilum.findings import FINDINGS
from hilum.preprocessing import Chain
from hilum.spark.accessors import with_accessors
from hilum.spark.learning_params import LearningParams
from hilum.spark.model_param import ModelValue, to_model
from hilum.spark.param_texts import chain_of, to_chain_text, to_encoders_text, to_shapes_text
from hilum.spark.param_values import check_value
from hilum.spark.run_params import RunParams

__all__ = ["PredictParams", "TrainParams"]

Stage = TypeVar("Stage", bound=Params)

_PREDICTION = "prediction"


def _beside(prediction: str) -> dict[str, str]:
    """Names of the output columns beside one of predictions."""
    if prediction == _PREDICTION:
        return {
            "errorCol": "prediction_error",
            "predictedFindingsCol": "predicted_findings",
            "oodScoreCol": "ood_score",
            "probabilityCol": "probability",
            "rawPredictionCol": "rawPrediction",
        }
    return {
        "errorCol": f"{prediction}_error",
        "predictedFindingsCol": f"{prediction}_findings",
        "oodScoreCol": f"{prediction}_ood_score",
        "probabilityCol": f"{prediction}_probability",
        "rawPredictionCol": f"{prediction}_raw",
    }


@with_accessors
class PredictParams(HasFeaturesCol, HasPredictionCol):
    """What prediction needs.

    Output columns but the first are called after it where they have no name of their own, so that
    two models that differ in `predictionCol` go into one plan.
    """

    featuresCols: Param[Iterable[str]] = Param(
        Params._dummy(),
        "featuresCols",
        "columns of a network of several arguments, in their order; empty: featuresCol alone",
        typeConverter=TypeConverters.toListString,
    )
    errorCol: Param[str] = Param(
        Params._dummy(),
        "errorCol",
        "output column that says why a row has no prediction; null where it has one; "
        "empty: no such column",
        typeConverter=TypeConverters.toString,
    )
    predictedFindingsCol: Param[str] = Param(
        Params._dummy(),
        "predictedFindingsCol",
        "output column of the findings called present; null where the bundle has no thresholds; "
        "empty: no such column",
        typeConverter=TypeConverters.toString,
    )
    oodScoreCol: Param[str] = Param(
        Params._dummy(),
        "oodScoreCol",
        "output column of the out-of-distribution score: above 1 where an image is unlike the "
        "training radiographs, null if the model has no such score; empty: no such column",
        typeConverter=TypeConverters.toString,
    )
    predictBatchSize: Param[int] = Param(
        Params._dummy(),
        "predictBatchSize",
        "images per forward pass in transform, > 0",
        typeConverter=TypeConverters.toInt,
    )

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._setDefault(
            featuresCol="image",
            featuresCols=[],
            predictionCol=_PREDICTION,
            predictBatchSize=32,
        )
        self._name_columns_beside()

    def feature_columns(self) -> tuple[str, ...]:
        """Names of the network's arguments, in order."""
        return tuple(self.getOrDefault(self.featuresCols)) or (self.getFeaturesCol(),)

    def getErrorCol(self) -> str:
        """Name of the column that says why a row has no prediction."""
        return self.getOrDefault(self.errorCol)

    def getPredictedFindingsCol(self) -> str:
        """Name of the column of findings called present."""
        return self.getOrDefault(self.predictedFindingsCol)

    def getOodScoreCol(self) -> str:
        """Name of the column of out-of-distribution scores."""
        return self.getOrDefault(self.oodScoreCol)

    def getPredictBatchSize(self) -> int:
        """Images per forward pass in transform."""
        return self.getOrDefault(self.predictBatchSize)

    def _set(self, **kwargs: Any) -> Self:
        """Set parameters, or none of them where one breaks its rule."""
        before = dict(self._paramMap)
        try:
            super()._set(**kwargs)
            for name in kwargs:
                check_value(name, self.getOrDefault(name))
        except Exception:
            self._paramMap = before
            raise
        if "predictionCol" in kwargs:
            self._name_columns_beside()
        return self

    def set(self, param: Param[Any], value: Any) -> None:
        """Set a parameter by its rule, as `setX` does."""
        self._shouldOwn(param)
        require(value is not None, param.name, "a value", value, hint="clear(param) unsets it")
        self._set(**{param.name: value})

    def clear(self, param: Param[Any]) -> None:
        """Unset a parameter; without `predictionCol` the columns beside get their usual names."""
        super().clear(param)
        if param == self.predictionCol:
            self._name_columns_beside()

    def _copyValues(self, to: Stage, extra: dict[Param[Any], Any] | None = None) -> Stage:
        """Copy parameters and defaults, then name the columns beside another `predictionCol`."""
        copied = super()._copyValues(to, extra)
        named = {param.name for param in extra or {}}
        if "predictionCol" in named and isinstance(copied, PredictParams):
            copied._name_columns_beside()  # whose defaults were copied after it
        return copied

    def _name_columns_beside(self) -> None:
        names = _beside(self.getPredictionCol())
        self._setDefault(**{name: one for name, one in names.items() if self.hasParam(name)})


@with_accessors
class TrainParams(PredictParams, LearningParams, RunParams, HasLabelCol, HasSeed, HasWeightCol):
    """What training needs; every parameter has a default that works."""

    splitCol: Param[str] = Param(
        Params._dummy(),
        "splitCol",
        'column with "train", "valid" or any other name; rows of others are left out. '
        "Empty: every row trains, and there is no validation",
        typeConverter=TypeConverters.toString,
    )
    model: Param[ModelValue] = Param(
        Params._dummy(),
        "model",
        "architecture: efficientnet_lite0, resnet50, densenet121, googlenet, inception_v3, vgg16, "
        "timm:NAME or torchvision:NAME; or a torch.nn.Module, which is taken as it is now, a "
        "LoadedModel, a TransferStart, or a function marked with hilum.models.network_factory, "
        "also as package.module:function",
        typeConverter=to_model,
    )
    labelCols: Param[Iterable[str]] = Param(
        Params._dummy(),
        "labelCols",
        "label columns of a network of several outputs, in their order; empty: labelCol alone",
        typeConverter=TypeConverters.toListString,
    )
    head: Param[str] = Param(
        Params._dummy(),
        "head",
        "new (the last layer gives way to one of as many outputs as there are labels), keep (the "
        "network is trained as it is), or auto: new for one image column with a loss of findings",
        typeConverter=TypeConverters.toString,
    )
    inputShapes: Param[str] = Param(
        Params._dummy(),
        "inputShapes",
        'shapes of feature columns whose rows do not tell, as {"column": [1, 28, 28]}',
        typeConverter=to_shapes_text,
    )
    encoders: Param[str] = Param(
        Params._dummy(),
        "encoders",
        'what makes numbers of text columns, as {"column": hilum.inputs.WordEncoder}, or its JSON',
        typeConverter=to_encoders_text,
    )
    weights: Param[str] = Param(
        Params._dummy(),
        "weights",
        "start weights: auto (those the model brings; for a name published ones if they can be "
        "had, else random with a warning), published, random, or a file (.pth, .pt, .safetensors)",
        typeConverter=TypeConverters.toString,
    )
    findings: Param[list[str]] = Param(
        Params._dummy(),
        "findings",
        "names of the label array's elements, in order",
        typeConverter=TypeConverters.toListString,
    )
    imageSize: Param[int] = Param(
        Params._dummy(),
        "imageSize",
        "height and width in pixels that the network sees; 0: the architecture's own",
        typeConverter=TypeConverters.toInt,
    )
    preprocessing: Param[str] = Param(
        Params._dummy(),
        "preprocessing",
        "hilum.preprocessing.Chain, or its JSON; empty: the default radiograph chain",
        typeConverter=to_chain_text,
    )

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._setDefault(
            labelCol="labels",
            labelCols=[],
            head="auto",
            inputShapes="{}",
            encoders="{}",
            splitCol="",
            weightCol="",
            model="efficientnet_lite0",
            weights="auto",
            findings=list(FINDINGS),
            imageSize=0,
            seed=0,
        )

    def weight_column(self) -> str | None:
        """Name of the column of row weights; None where all rows count alike."""
        return self.getWeightCol() or None

    def label_columns(self) -> tuple[str, ...]:
        """Names of what the outputs learn, in order; empty where the input is learnt."""
        named = tuple(self.getOrDefault(self.labelCols))
        return named or tuple(filter(None, [self.getLabelCol()]))

    def getPreprocessing(self) -> Chain | None:
        """The chain given, or None for the default one."""
        if not self.isDefined(self.preprocessing):
            return None
        return chain_of(self.getOrDefault(self.preprocessing))
