"""NNModel and NNClassifierModel: `hilum.spark.NNModel` as scripts of 2019 use it."""

from dataclasses import replace
from typing import Any

from pyspark.ml.functions import vector_to_array
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from hilum.errors import InvalidValueError, require
from hilum.inference import ModelBundle
from hilum.inputs import RowSpec
from hilum.models.recipes import PixelContract
from hilum.preprocessing import Chain, ChannelNormalize, Resize
from hilum.spark import NNClassifierModel as ModernNNClassifierModel
from hilum.spark import NNModel as ModernNNModel
from hilum.training import History
from hilum.zoo.net import TrainedNet
from hilum.zoo.preprocessing import chain_of
from hilum.zoo.rows import part_names, with_parts, without_parts

__all__ = ["NNClassifierModel", "NNModel", "sized"]

_PROBABILITY = "_hilum_probability"
_HIDDEN = {
    "errorCol": "_hilum_error",
    "oodScoreCol": "_hilum_ood_score",
    "predictedFindingsCol": "_hilum_present",
}


class NNModel(ModernNNModel):
    """A trained network that adds one column of probabilities, array<float>.

    Random operations of the preprocessing do not run here, as they did in 2019. A row without a
    usable image gets null.

    Args:
        model: what `Net.load` or `nnModel.model` gives.
        feature_preprocessing: a chain of 2019; None is the one the model was trained with.
    """

    def __init__(
        self,
        model: TrainedNet | ModelBundle | None = None,
        feature_preprocessing: Any = None,
        history: History | None = None,
        bigdl_type: str = "float",
    ) -> None:
        super().__init__(_bundle(model, feature_preprocessing), history)
        self._set(**_HIDDEN)

    @property
    def model(self) -> TrainedNet:
        """The network with all that belongs to it, to be saved: `.model.saveModel(path)`."""
        return TrainedNet(self.bundle)

    def setBatchSize(self, value: int) -> "NNModel":
        """Images per forward pass; any number, whatever the cluster."""
        self._set(predictBatchSize=value)
        return self

    def getBatchSize(self) -> int:
        """Images per forward pass."""
        return self.getPredictBatchSize()

    def setFeaturesCol(self, value: str) -> "NNModel":
        """Name of the image column."""
        self._set(featuresCol=value)
        return self

    def setPredictionCol(self, value: str) -> "NNModel":
        """Name of the probability column."""
        self._set(predictionCol=value)
        return self

    def setSamplePreprocessing(self, value: Any) -> "NNModel":
        """Take another chain of 2019."""
        self._bundle = _bundle(self.bundle, value)
        return self

    def _transform(self, dataset: DataFrame) -> DataFrame:
        column = self.getPredictionCol()
        free = column not in dataset.columns
        require(free, "predictionCol", "a column that is not there yet", column)
        if self.bundle.rows is not None:
            return self._of_rows(dataset, self.bundle.rows).drop(*_HIDDEN.values())
        chain = sized(self.bundle.preprocessing, dataset, self.getFeaturesCol())
        if chain != self.bundle.preprocessing:
            whole = replace(self.bundle, preprocessing=chain)
            return self._copyValues(NNModel(whole))._transform(dataset)
        return super()._transform(dataset).drop(*_HIDDEN.values())

    def _of_rows(self, dataset: DataFrame, rows: RowSpec) -> DataFrame:
        """Prediction of a network that was trained as it is, as array<float>."""
        column = self.getPredictionCol()
        scored = _on_parts(self, ModernNNModel(self.bundle), dataset, rows)
        if scored.schema[column].dataType.typeName() != "double":
            return scored
        single = F.array(F.col(column).cast("float"))
        return scored.withColumn(column, F.when(F.col(column).isNotNull(), single))


class NNClassifierModel(NNModel):
    """A classifier: the prediction is a class from 1 on, or 0 and 1 for networks of one output.

    A row that cannot be predicted gets null.
    """

    threshold = 0.5

    def setThreshold(self, value: float) -> "NNClassifierModel":
        """Probability above which the one output is called 1; in 2019 it was ignored."""
        require(0 <= value <= 1, "threshold", "between 0 and 1", value)
        self.threshold = value
        return self

    def getThreshold(self) -> float:
        """Probability above which the one output is called 1."""
        return self.threshold

    def _transform(self, dataset: DataFrame) -> DataFrame:
        scored = super()._transform(dataset)
        if self.bundle.rows is not None:
            return scored
        # A network that learnt each class as a finding: the most probable one is called.
        column = self.getPredictionCol()
        scores = F.col(column)
        called = F.array_position(scores, F.array_max(scores)).cast("double")
        if len(self.findings) == 1:
            called = (scores[0] > self.threshold).cast("double")
        return scored.withColumn(column, called)

    def _of_rows(self, dataset: DataFrame, rows: RowSpec) -> DataFrame:
        modern = ModernNNClassifierModel(self.bundle)
        first = _first_class(rows.classes)
        modern._set(probabilityCol=_PROBABILITY, rawPredictionCol="")
        scored = _on_parts(self, modern, dataset, rows)
        column = self.getPredictionCol()
        called = F.col(column) + first
        if rows.outputs[0].shape in ((), (1,)):
            called = (vector_to_array(F.col(_PROBABILITY))[1] > self.threshold).cast("double")
        good = F.col(_HIDDEN["errorCol"]).isNull()
        return scored.withColumn(column, F.when(good, called)).drop(_PROBABILITY)


def _first_class(names: tuple[str, ...]) -> float:
    """Names of classes are the numbers, one after another, that labels of 2019 hold."""
    try:
        numbers = [float(name) for name in names]
    except ValueError:
        numbers = []
    first = numbers[0] if numbers else 0.0
    require(
        numbers == [first + count for count in range(len(names))],
        "classes of the model",
        "numbers that follow each other, as labels of 2019 are",
        ", ".join(names),
        hint="hilum.spark.NNClassifierModel predicts classes of any name",
    )
    return first


def _on_parts(old: NNModel, modern: ModernNNModel, dataset: DataFrame, rows: RowSpec) -> DataFrame:
    """Transform by a modern model, which gets a column per input, made of one."""
    features = old.getFeaturesCol()
    shapes = [field.shape for field in rows.inputs]
    modern._set(
        featuresCols=part_names(features, len(shapes)),
        predictionCol=old.getPredictionCol(),
        predictBatchSize=old.getBatchSize(),
        **_HIDDEN,
    )
    scored = modern.transform(with_parts(dataset, features, shapes))
    return without_parts(scored, features, rows)


def sized(chain: Chain, data: DataFrame, column: str) -> Chain:
    """The chain with the size in front that the images were read at, where the reader noted one.

    So a model takes along what happened to its images before they came to it.
    """
    size = data.schema[column].metadata.get("size_px") if column in data.columns else None
    if size is None or any(isinstance(step, Resize) for step in chain.steps):
        return chain
    return Chain((Resize(*size), *chain.steps))


def _bundle(model: Any, preprocessing: Any) -> ModelBundle | None:
    if model is None:
        return None
    bundle = model.bundle if isinstance(model, TrainedNet) else model
    if not isinstance(bundle, ModelBundle):
        raise InvalidValueError(
            f"model must be a trained one. Got {type(model).__name__}. "
            "Hint: NNEstimator(...).fit(data), or Net.load(path) of what saveModel wrote; a loaded "
            "network gets a head for findings first (docs/migration.md)."
        )
    if preprocessing is None:
        return bundle
    pixels = _pixels(bundle)
    channels = len(pixels.mean or (0, 0, 0))
    chain = chain_of(preprocessing, pixels, channels=channels)
    return replace(bundle, preprocessing=chain)


def _pixels(bundle: ModelBundle) -> PixelContract:
    """What the network was trained to see; a chain given later has to end the same way."""
    last = bundle.preprocessing.steps[-1] if bundle.preprocessing.steps else None
    if not isinstance(last, ChannelNormalize):
        return PixelContract()
    return PixelContract(mean=last.mean, std=last.std)
