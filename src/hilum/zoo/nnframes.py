"""NNEstimator and NNClassifier of 2019, on those of `hilum.spark`.

They hold what a script says, setter by setter, and turn it into the parameters of the modern
estimator when they are fitted (`modern` shows them). Nothing is trained here.
"""

from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from pyspark.ml import Estimator
from pyspark.ml.param.shared import HasFeaturesCol, HasLabelCol, HasPredictionCol
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from hilum.errors import InvalidValueError, require
from hilum.spark import NNClassifier as ModernNNClassifier
from hilum.spark import NNEstimator as ModernNNEstimator
from hilum.spark import NNModel as ModernNNModel
from hilum.spark.class_labels import nominal_metadata
from hilum.zoo.keras_models import Model, Sequential
from hilum.zoo.nnmodels import NNClassifierModel, NNModel
from hilum.zoo.rows import as_fractions, is_image, part_names, shapes_of, with_parts
from hilum.zoo.translation import Settings, Validation, modern_params, run_directory

__all__ = ["NNClassifier", "NNEstimator"]


class NNEstimator(Estimator[NNModel], HasFeaturesCol, HasLabelCol, HasPredictionCol):
    """Trains a network on a DataFrame.

    Images and arrays of labels with a criterion of findings are transfer learning: the last layer
    is the head. Numbers, arrays and vectors, and criteria of numbers, train the network as it is.

    Args:
        model: a `Model` or `Sequential`; or what `hilum.spark.NNEstimator` takes as its model.
        criterion: such as BinaryCrossEntropy().
        feature_preprocessing: of images a chain of 2019, or a `hilum.preprocessing.Chain`; None is
            the network's own. Of numbers SeqToTensor and the like, or sizes; of several inputs
            SeqToMultipleTensors, or a list of sizes.
        label_preprocessing: has no effect; labels are numbers or arrays of them.
    """

    exclusive = False

    def __init__(
        self,
        model: Any,
        criterion: Any,
        feature_preprocessing: Any = None,
        label_preprocessing: Any = None,
        jvalue: Any = None,
        bigdl_type: str = "float",
    ) -> None:
        super().__init__()
        self._setDefault(featuresCol="features", labelCol="label", predictionCol="prediction")
        network = model.model() if isinstance(model, Sequential) else model
        self.settings = Settings(network, criterion, feature_preprocessing)

    def setFeaturesCol(self, value: str) -> "NNEstimator":
        """Name of the image column; default "features"."""
        return self._set(featuresCol=value)

    def setLabelCol(self, value: str) -> "NNEstimator":
        """Name of the label column; default "label"."""
        return self._set(labelCol=value)

    def setPredictionCol(self, value: str) -> "NNEstimator":
        """Name of the column that the fitted model adds; default "prediction"."""
        return self._set(predictionCol=value)

    def setSamplePreprocessing(self, value: Any) -> "NNEstimator":
        """Take another chain."""
        return self._with(preprocessing=value)

    def setBatchSize(self, value: int) -> "NNEstimator":
        """Images per step over the whole cluster; any number, for it need not divide evenly."""
        require(value > 0, "batchSize", "positive", value)
        return self._with(batch_size=value)

    def setMaxEpoch(self, value: int) -> "NNEstimator":
        """Passes over the training data; default 50."""
        require(value > 0, "maxEpoch", "positive", value)
        return self._with(max_epoch=value)

    def setEndWhen(self, value: Any) -> "NNEstimator":
        """End by a trigger instead of by `setMaxEpoch`."""
        return self._with(end_when=value)

    def setOptimMethod(self, value: Any) -> "NNEstimator":
        """The optimizer; default SGD with a rate of 0.001."""
        return self._with(optim_method=value)

    def setLearningRate(self, value: float) -> "NNEstimator":
        """A rate that goes before the optimizer's own."""
        return self._with(learning_rate=value)

    def setLearningRateDecay(self, value: float) -> "NNEstimator":
        """Only 0: a rate falls by a schedule."""
        require(value == 0, "learningRateDecay", "0", value, hint="SGD(leaningrate_schedule=...)")
        return self

    def setCachingSample(self, value: bool) -> "NNEstimator":
        """Has no effect: what is fixed is cached, what is random is drawn anew in every epoch."""
        require(isinstance(value, bool), "cachingSample", "True or False", value)
        return self

    def setDataCacheLevel(self, level: str, numSlice: int | None = None) -> "NNEstimator":
        """DRAM and PMEM have no effect; DISK_AND_DRAM keeps a changing share on every host."""
        levels = ("DRAM", "PMEM", "DISK_AND_DRAM")
        require(level in levels, "level", f"one of {', '.join(levels)}", level)
        return self._with(placement="part" if level == "DISK_AND_DRAM" else "whole")

    def setValidation(
        self, trigger: Any, val_df: DataFrame, val_method: list[Any], batch_size: int | None = None
    ) -> "NNEstimator":
        """Validate by `trigger` on other data; loss and AUC of each finding are always measured."""
        return self._with(validation=Validation(trigger, val_df, tuple(val_method)))

    def setTrainSummary(self, value: Any) -> "NNEstimator":
        """Write scalars of training."""
        return self._with(train_summary=value)

    def setValidationSummary(self, value: Any) -> "NNEstimator":
        """Write scalars of validation."""
        return self._with(validation_summary=value)

    def setConstantGradientClipping(self, min: float, max: float) -> "NNEstimator":
        """Limit every element of the gradient to between two numbers, -max and max."""
        require(min == -max < 0, "min", f"-max, {-max}", min, hint="limits are symmetric here")
        return self._with(clip_value=float(max), clip_norm=0.0)

    def setGradientClippingByL2Norm(self, clip_norm: float) -> "NNEstimator":
        """Limit the L2 norm of the whole gradient."""
        require(clip_norm > 0, "clip_norm", "above 0", clip_norm)
        return self._with(clip_value=0.0, clip_norm=float(clip_norm))

    def clearGradientClipping(self) -> "NNEstimator":
        """Limit the gradient no more."""
        return self._with(clip_value=0.0, clip_norm=0.0)

    def setCheckpoint(self, path: str, trigger: Any, isOverWrite: bool = True) -> "NNEstimator":
        """Keep the run under `path`: restart points by `trigger`, history, cache."""
        return self._with(checkpoint=(path, trigger))

    def isCachingSample(self) -> bool:
        """Always: see `setCachingSample`."""
        return True

    def getBatchSize(self) -> int:
        """Images per step over the whole cluster."""
        return self.settings.batch_size

    def getMaxEpoch(self) -> int:
        """Passes over the training data."""
        return self.settings.max_epoch or Settings.DEFAULT_MAX_EPOCH

    def getEndWhen(self) -> Any:
        """The trigger that ends training, or None."""
        return self.settings.end_when

    def getOptimMethod(self) -> Any:
        """The optimizer."""
        return self.settings.optim_method

    def getValidation(self) -> Validation | None:
        """The validation data with their trigger and methods."""
        return self.settings.validation

    def getCheckpoint(self) -> tuple[str, Any] | None:
        """(path, trigger) of the checkpoints, or None."""
        return self.settings.checkpoint

    def getTrainSummary(self) -> Any:
        """The summary of training, or None."""
        return self.settings.train_summary

    def getValidationSummary(self) -> Any:
        """The summary of validation, or None."""
        return self.settings.validation_summary

    def modern(self, dataset: DataFrame) -> ModernNNEstimator:
        """The estimator of today that this one stands for; its `runDir` is still to be set."""
        return self._estimator(self._modern_params(dataset))

    def _estimator(self, params: dict[str, Any]) -> ModernNNEstimator:
        return ModernNNEstimator(**params)

    def _with(self, **changes: Any) -> "NNEstimator":
        self.settings = replace(self.settings, **changes)
        return self

    def _modern_params(self, dataset: DataFrame) -> dict[str, Any]:
        columns = {
            "featuresCol": self.getFeaturesCol(),
            "labelCol": self.getLabelCol(),
            "predictionCol": self.getPredictionCol(),
        }
        return modern_params(self.settings, dataset, columns, exclusive=self.exclusive)

    def _fit(self, dataset: DataFrame) -> NNModel:
        for name in (self.getFeaturesCol(), self.getLabelCol()):
            known = dataset.columns
            require(name in known, "column", f"one of {', '.join(known)}", name)
        params = self._modern_params(dataset)
        with ExitStack() as stack:
            folder = run_directory(dataset.sparkSession, self.settings, stack)
            fitted = self._estimator({**params, "runDir": folder}).fit(self._data(dataset))
            for summary in (self.settings.train_summary, self.settings.validation_summary):
                if summary is not None:
                    summary.take(folder)
        return self._copyValues(self._fitted(fitted))._resetUid(self.uid)

    def _fitted(self, fitted: ModernNNModel) -> NNModel:
        return NNModel(fitted.bundle, history=fitted.history)

    def _data(self, dataset: DataFrame) -> DataFrame:
        """Training and validation data as one, with a column that says which is which."""
        train = self._part(dataset, "train")
        validation = self.settings.validation
        if validation is None:
            return train
        return train.unionByName(self._part(validation.data, "valid"))

    def _part(self, dataset: DataFrame, split: str) -> DataFrame:
        features, labels = self.getFeaturesCol(), self.getLabelCol()
        column, parts = F.col(features), [features]
        if not is_image(dataset, features):
            column = as_fractions(dataset, features)
            shapes = shapes_of(self.settings.preprocessing)
            dataset = with_parts(dataset.withColumn(features, column), features, shapes)
            parts = part_names(features, len(shapes))
        return dataset.select(
            *parts,
            self._labels(F.col(labels)).alias(labels),
            F.lit(split).alias("split"),
        )

    def _labels(self, labels: Column) -> Column:
        return labels


class NNClassifier(NNEstimator):
    """For labels that are one class per row: 1..C, or 0 and 1 for a network of one output.

    It learns a softmax over the classes, whatever the activation that its network ends in.
    """

    exclusive = True

    def __init__(
        self,
        model: Any,
        criterion: Any,
        feature_preprocessing: Any = None,
        bigdl_type: str = "float",
    ) -> None:
        super().__init__(model, criterion, feature_preprocessing)

    def _estimator(self, params: dict[str, Any]) -> ModernNNClassifier:
        return ModernNNClassifier(**params)

    def _part(self, dataset: DataFrame, split: str) -> DataFrame:
        made = super()._part(dataset, split)
        label = self.getLabelCol()
        return made.withMetadata(label, nominal_metadata(label, self._names()))

    def _labels(self, labels: Column) -> Column:
        return labels if self._outputs() == 1 else labels - 1

    def _names(self) -> tuple[str, ...]:
        """Classes by the numbers that scripts of 2019 have in their labels."""
        outputs = self._outputs()
        if outputs == 1:
            return ("0", "1")
        return tuple(str(number + 1) for number in range(outputs))

    def _outputs(self) -> int:
        model = self.settings.model
        if isinstance(model, Model):
            return model.outputs
        raise InvalidValueError(
            f"model must be a Model or Sequential. Got {type(model).__name__}. "
            "Hint: its last layer says how many classes there are."
        )

    def _fitted(self, fitted: ModernNNModel) -> NNClassifierModel:
        return NNClassifierModel(fitted.bundle, history=fitted.history)
