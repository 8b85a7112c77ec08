"""The Spark ML parameters of Hilum's stages, declared once and shared by estimator and model."""

import json
from typing import Any, TypeVar

from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import HasFeaturesCol, HasLabelCol, HasPredictionCol, HasSeed

from hilum.errors import InvalidValueError
from hilum.findings import FINDINGS
from hilum.preprocessing import Chain

__all__ = ["PredictParams", "TrainParams"]

Stage = TypeVar("Stage", bound=Params)


def _chain_text(value: Any) -> str:
    """Preprocessing is kept as JSON text, so that a stage's parameters are plain JSON."""
    if isinstance(value, Chain):
        return json.dumps(value.to_json(), sort_keys=True)
    try:
        Chain.from_json(json.loads(value))
    except (TypeError, ValueError) as error:
        raise InvalidValueError(
            f"preprocessing must be a Chain or its JSON. Got {value!r}: {error}"
        ) from error
    return str(value)


class PredictParams(HasFeaturesCol, HasPredictionCol):
    """What prediction needs."""

    errorCol: Param[str] = Param(
        Params._dummy(),
        "errorCol",
        "output column that says why a row has no prediction; null where it has one",
        typeConverter=TypeConverters.toString,
    )
    predictedFindingsCol: Param[str] = Param(
        Params._dummy(),
        "predictedFindingsCol",
        "output column of the findings called present; null where the bundle has no thresholds",
        typeConverter=TypeConverters.toString,
    )
    oodScoreCol: Param[str] = Param(
        Params._dummy(),
        "oodScoreCol",
        "output column of the out-of-distribution score: above 1 where an image is unlike the "
        "training radiographs, null if the model has no such score",
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
            predictionCol="prediction",
            errorCol="prediction_error",
            predictedFindingsCol="predicted_findings",
            oodScoreCol="ood_score",
            predictBatchSize=32,
        )

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


class TrainParams(PredictParams, HasLabelCol, HasSeed):
    """What training needs; every parameter has a default that works."""

    splitCol: Param[str] = Param(
        Params._dummy(),
        "splitCol",
        'column with "train", "valid" or any other name; rows of others are left out. '
        "Empty: every row trains, and there is no validation",
        typeConverter=TypeConverters.toString,
    )
    model: Param[str] = Param(
        Params._dummy(),
        "model",
        "architecture: efficientnet_lite0, resnet50, densenet121, googlenet, inception_v3, vgg16, "
        "timm:NAME or torchvision:NAME",
        typeConverter=TypeConverters.toString,
    )
    weights: Param[str] = Param(
        Params._dummy(),
        "weights",
        "start weights: auto (published ones if they can be had, else random with a warning), "
        "published, random, or a file (.pth, .pt, .safetensors)",
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
        typeConverter=_chain_text,
    )
    maxEpochs: Param[int] = Param(
        Params._dummy(), "maxEpochs", "passes over the training split, > 0", TypeConverters.toInt
    )
    batchSize: Param[int] = Param(
        Params._dummy(),
        "batchSize",
        "images per optimizer step over all ranks (the global batch), > 0; any size is legal",
        typeConverter=TypeConverters.toInt,
    )
    learningRate: Param[float] = Param(
        Params._dummy(),
        "learningRate",
        "peak learning rate, reached after warm-up; never scaled silently, > 0",
        typeConverter=TypeConverters.toFloat,
    )
    warmupEpochs: Param[float] = Param(
        Params._dummy(),
        "warmupEpochs",
        "epochs of linear warm-up before the schedule, >= 0",
        typeConverter=TypeConverters.toFloat,
    )
    schedule: Param[str] = Param(
        Params._dummy(),
        "schedule",
        "after warm-up: cosine (down to 0 at the end of the last epoch), plateau (a tenth whenever "
        "the validation loss has not fallen for two epochs), or constant",
        typeConverter=TypeConverters.toString,
    )
    headLearningRateFactor: Param[float] = Param(
        Params._dummy(),
        "headLearningRateFactor",
        "learning rate of the new head over that of the backbone, > 0; "
        "0: 10 where the backbone starts trained, 1 where it starts random or is frozen",
        typeConverter=TypeConverters.toFloat,
    )
    optimizer: Param[str] = Param(
        Params._dummy(), "optimizer", "adam, adamw or sgd", typeConverter=TypeConverters.toString
    )
    weightDecay: Param[float] = Param(
        Params._dummy(),
        "weightDecay",
        "weight decay of the backbone's weights; biases and norms have none, >= 0",
        typeConverter=TypeConverters.toFloat,
    )
    headWeightDecay: Param[float] = Param(
        Params._dummy(),
        "headWeightDecay",
        "weight decay (L2) of the new head, >= 0",
        typeConverter=TypeConverters.toFloat,
    )
    dropout: Param[float] = Param(
        Params._dummy(), "dropout", "dropout before the head, in [0, 1)", TypeConverters.toFloat
    )
    batchNorm: Param[str] = Param(
        Params._dummy(),
        "batchNorm",
        "batch (statistics per rank), frozen (scale, shift and statistics stay those of the start "
        "weights; the loss curve then does not depend on the number of ranks), or auto (frozen "
        "where the backbone starts trained or is frozen, batch where it starts random)",
        typeConverter=TypeConverters.toString,
    )
    freezeBackbone: Param[bool] = Param(
        Params._dummy(),
        "freezeBackbone",
        "train the head only",
        typeConverter=TypeConverters.toBoolean,
    )
    bestMetric: Param[str] = Param(
        Params._dummy(),
        "bestMetric",
        "which epoch becomes the model: that of the lowest valid_loss, or of the highest "
        "valid_mean_auroc (noisy where the validation split holds few positives)",
        typeConverter=TypeConverters.toString,
    )
    precision: Param[str] = Param(
        Params._dummy(),
        "precision",
        "float32, bfloat16, or auto (bfloat16 where the hardware has it)",
        typeConverter=TypeConverters.toString,
    )
    numRanks: Param[int] = Param(
        Params._dummy(),
        "numRanks",
        "training processes; 0: one per executor, with all its cores",
        typeConverter=TypeConverters.toInt,
    )
    runDir: Param[str] = Param(
        Params._dummy(),
        "runDir",
        "directory for checkpoints, history and progress, shared by driver and executors; "
        "empty: a temporary one (single machine only)",
        typeConverter=TypeConverters.toString,
    )
    cacheDir: Param[str] = Param(
        Params._dummy(),
        "cacheDir",
        "directory of pixel caches, shared likewise; empty: inside runDir",
        typeConverter=TypeConverters.toString,
    )
    showProgress: Param[bool] = Param(
        Params._dummy(),
        "showProgress",
        "show live progress on stderr",
        typeConverter=TypeConverters.toBoolean,
    )

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._setDefault(
            labelCol="labels",
            splitCol="",
            model="efficientnet_lite0",
            weights="auto",
            findings=list(FINDINGS),
            imageSize=0,
            maxEpochs=8,
            batchSize=16,
            learningRate=3e-4,
            warmupEpochs=1.0,
            schedule="cosine",
            headLearningRateFactor=0.0,
            optimizer="adamw",
            weightDecay=0.01,
            headWeightDecay=0.01,
            dropout=0.2,
            batchNorm="auto",
            freezeBackbone=False,
            bestMetric="valid_loss",
            precision="auto",
            numRanks=0,
            runDir="",
            cacheDir="",
            showProgress=True,
            seed=0,
        )

    def getPreprocessing(self) -> Chain | None:
        """The chain given, or None for the default one."""
        if not self.isDefined(self.preprocessing):
            return None
        return Chain.from_json(json.loads(self.getOrDefault(self.preprocessing)))
