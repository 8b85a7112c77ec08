"""NNEstimator: transfer learning on a DataFrame of radiographs, as Spark ML knows it."""

from typing import Any, cast

from pyspark import keyword_only
from pyspark.ml import Estimator
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable
from pyspark.sql import DataFrame

from hilum.errors import InvalidValueError, require
from hilum.models import architecture
from hilum.optim import OptimizerSpec
from hilum.preprocessing import Chain, radiograph_chain
from hilum.spark.cache import CacheColumns
from hilum.spark.fitting import FitSettings, fit_run
from hilum.spark.model import NNModel
from hilum.spark.params import TrainParams

__all__ = ["NNEstimator"]

_MODES = {
    "batchNorm": ("auto", "batch", "frozen"),
    "precision": ("auto", "float32", "bfloat16"),
    "bestMetric": ("valid_loss", "valid_mean_auroc"),
    "schedule": ("cosine", "plateau", "constant"),
    "optimizer": ("adam", "adamw", "sgd"),
}


class NNEstimator(
    Estimator[NNModel],
    TrainParams,
    DefaultParamsReadable["NNEstimator"],
    DefaultParamsWritable,
):
    """Trains a classifier of findings on the executors and returns the best epoch's NNModel.

    Example:
        model = NNEstimator(model="resnet50", splitCol="split", maxEpochs=5).fit(data)

    `explainParams()` prints every parameter with its meaning and default.
    """

    @keyword_only
    def __init__(
        self,
        *,
        model: str | None = None,
        featuresCol: str = "image",
        labelCol: str = "labels",
        splitCol: str = "",
        predictionCol: str = "prediction",
        findings: list[str] | None = None,
        weights: str = "auto",
        imageSize: int = 0,
        preprocessing: Chain | str | None = None,
        maxEpochs: int = 8,
        batchSize: int = 16,
        learningRate: float = 3e-4,
        warmupEpochs: float = 1.0,
        schedule: str = "cosine",
        headLearningRateFactor: float = 0.0,
        optimizer: str = "adamw",
        weightDecay: float = 0.01,
        headWeightDecay: float = 0.01,
        dropout: float = 0.2,
        batchNorm: str = "auto",
        freezeBackbone: bool = False,
        bestMetric: str = "valid_loss",
        precision: str = "auto",
        seed: int = 0,
        numRanks: int = 0,
        runDir: str = "",
        cacheDir: str = "",
        showProgress: bool = True,
    ) -> None:
        super().__init__()
        # Only what the caller named: defaults live in TrainParams, once.
        self.setParams(**cast(Any, self)._input_kwargs)

    @keyword_only
    def setParams(self, **kwargs: Any) -> "NNEstimator":
        """Set parameters by name; None leaves the default."""
        given = {name: value for name, value in kwargs.items() if value is not None}
        return self._set(**given)

    def _fit(self, dataset: DataFrame) -> NNModel:
        for name in ("featuresCol", "labelCol"):
            column, known = self.getOrDefault(name), dataset.columns
            require(column in known, name, f"one of {', '.join(known)}", column)
        split = self.getOrDefault(self.splitCol)
        require(
            not split or split in dataset.columns,
            "splitCol",
            f"one of {', '.join(dataset.columns)}",
            split,
            hint='split_by_patient(data, {"train": 0.7, "valid": 0.1, "test": 0.2}) adds one',
        )
        fitted = fit_run(dataset, self.columns(split), self.settings())
        model = NNModel(fitted.bundle, fitted.history)._resetUid(self.uid)
        return self._copyValues(model)

    def columns(self, split: str) -> CacheColumns:
        """Names of the columns to train on; an empty split name means that every row trains."""
        return CacheColumns(
            image=self.getFeaturesCol(), labels=self.getLabelCol(), split=split or None
        )

    def chain(self) -> Chain:
        """The preprocessing of this run: the one given, or the default for the architecture."""
        given = self.getPreprocessing()
        if given is not None:
            return given
        net = architecture(self.getOrDefault(self.model))
        size = self.getOrDefault(self.imageSize) or net.image_size_px
        return radiograph_chain(size, net.mean, net.std)

    def settings(self) -> FitSettings:
        """All parameters as one frozen value; raises if one breaks its rule."""
        value = {
            param.name: self.getOrDefault(param) for param in self.params if self.isDefined(param)
        }
        for name in ("maxEpochs", "batchSize", "learningRate"):
            require(value[name] > 0, name, "positive", value[name])
        for name in (
            "warmupEpochs",
            "weightDecay",
            "headWeightDecay",
            "headLearningRateFactor",
            "numRanks",
            "imageSize",
            "seed",
        ):
            require(value[name] >= 0, name, "zero or more", value[name])
        for name, modes in _MODES.items():
            require(value[name] in modes, name, f"one of {', '.join(modes)}", value[name])
        require(0 <= value["dropout"] < 1, "dropout", "in [0, 1)", value["dropout"])
        try:
            architecture(value["model"])
        except InvalidValueError as error:
            raise InvalidValueError(f"model: {error}") from error
        return FitSettings(
            architecture=value["model"],
            findings=tuple(value["findings"]),
            weights=value["weights"],
            preprocessing=self.chain(),
            max_epochs=value["maxEpochs"],
            batch_size=value["batchSize"],
            learning_rate=value["learningRate"],
            warmup_epochs=value["warmupEpochs"],
            schedule=value["schedule"],
            head_lr_factor=value["headLearningRateFactor"],
            optimizer=OptimizerSpec(
                name=value["optimizer"],
                weight_decay=value["weightDecay"],
                head_weight_decay=value["headWeightDecay"],
            ),
            dropout=value["dropout"],
            batch_norm=value["batchNorm"],
            freeze_backbone=value["freezeBackbone"],
            best_metric=value["bestMetric"],
            precision=value["precision"],
            seed=value["seed"],
            num_ranks=value["numRanks"],
            run_directory=value["runDir"],
            cache_directory=value["cacheDir"],
            show_progress=value["showProgress"],
            provenance={},
        )
