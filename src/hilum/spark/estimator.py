"""NNEstimator: networks that learn from a DataFrame of radiographs, or of anything else."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from pyspark import keyword_only
from pyspark.ml import Estimator
from pyspark.ml.util import MLReadable, MLWritable
from pyspark.sql import DataFrame
from torch import Tensor, nn

from hilum.errors import require
from hilum.inputs import TextEncoder
from hilum.models import create_model
from hilum.models.factories import FactoryRecipe
from hilum.models.recipes import LoadedModel
from hilum.models.starting import input_channels
from hilum.models.transfer_start import TransferStart
from hilum.optim import (
    AsymmetricLoss,
    BCEWithLogits,
    FocalLoss,
    LayerRule,
    Loss,
    Schedule,
    loss_of,
)
from hilum.preprocessing import Chain, radiograph_chain
from hilum.spark.cache import CacheColumns
from hilum.spark.driver_networks import one_at_a_time
from hilum.spark.fitting import FittedRun, fit_run, fresh_run_directory
from hilum.spark.model import NNModel
from hilum.spark.model_param import design_for_rows, pixels_for
from hilum.spark.param_texts import encoders_of, shapes_of
from hilum.spark.param_values import check_values, settings_of
from hilum.spark.params import TrainParams
from hilum.spark.persistence import NNEstimatorReader, NNEstimatorWriter
from hilum.spark.row_columns import RowColumns, kind_of
from hilum.spark.row_plan import RowPlan, RowWishes, plan_rows
from hilum.spark.settings import FitSettings
from hilum.training import Every

__all__ = ["NNEstimator"]


class NNEstimator(Estimator[NNModel], TrainParams, MLReadable["NNEstimator"], MLWritable):
    """Trains a network on the executors and returns the best epoch's NNModel.

    One column of images with a loss of findings is transfer learning, where a new last layer gives
    a probability per finding; else the network is trained as it is (docs/any-data.md).

    Example:
        model = NNEstimator(model="resnet50", splitCol="split", maxEpochs=5).fit(data)

    `model` is a name, a `torch.nn.Module`, a model that was loaded from a file, what `transfer`
    made of one, or a function of yours that makes one (docs/any-model.md).

    `explainParams()` prints every parameter with its meaning and default.
    """

    @keyword_only
    def __init__(
        self,
        *,
        model: str
        | LoadedModel
        | TransferStart
        | FactoryRecipe
        | nn.Module
        | Callable[..., nn.Module]
        | None = None,
        featuresCol: str = "image",
        featuresCols: Sequence[str] | None = None,
        labelCol: str = "labels",
        labelCols: Sequence[str] | None = None,
        head: str = "auto",
        inputShapes: str | Mapping[str, Sequence[int]] | None = None,
        encoders: str | Mapping[str, TextEncoder] | None = None,
        splitCol: str = "",
        weightCol: str = "",
        predictionCol: str = "prediction",
        findings: list[str] | None = None,
        weights: str = "auto",
        imageSize: int = 0,
        preprocessing: Chain | str | None = None,
        maxEpochs: int = 8,
        maxSteps: int = 0,
        maxMinutes: float = 0.0,
        targetValue: float = 0.0,
        stopPatience: int = 0,
        stopMinDelta: float = 0.0,
        batchSize: int = 16,
        bestMetric: str = "valid_loss",
        validateEvery: str | Every = "epoch",
        checkpointEvery: str | Every = "epoch",
        summariseEvery: str | Every = "20 steps",
        keepCheckpoints: int = 2,
        histograms: bool = False,
        mlflow: str = "",
        precision: str = "auto",
        compile: bool = False,
        gradientCompression: str = "none",
        placement: str = "whole",
        numRanks: int = 0,
        maxRetries: int = 3,
        hangTimeout: float = 300.0,
        executorWait: float = 60.0,
        runDir: str = "",
        cacheDir: str = "",
        showProgress: bool = True,
        learningRate: float = 3e-4,
        warmupEpochs: float = 1.0,
        schedule: str | Schedule = "cosine",
        watchedMetric: str = "valid_loss",
        optimizer: str = "adamw",
        momentum: float = 0.9,
        nesterov: bool = False,
        dampening: float = 0.0,
        betas: Sequence[float] | None = None,
        trustCoefficient: float = 0.001,
        weightDecay: float = 0.01,
        headWeightDecay: float = 0.01,
        decayNormsAndBiases: bool = False,
        headLearningRateFactor: float = 0.0,
        layerDecay: float = 1.0,
        layerRules: Sequence[str | LayerRule] | None = None,
        clipValue: float = 0.0,
        clipNorm: float = 0.0,
        loss: str | Loss | Callable[..., Tensor] | Sequence[Any] | Mapping[str, Any] = "bce",
        labelSmoothing: float = 0.0,
        posWeight: str | Sequence[float] = "",
        findingWeights: str | Sequence[float] = "",
        dropout: float = 0.2,
        batchNorm: str = "auto",
        emaDecay: float = 0.0,
        freeze: str = "",
        unfreeze: Sequence[str | tuple[int, str]] | None = None,
        featureVariants: int = 4,
        seed: int = 0,
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
        if not self.learns_findings(dataset):
            rows = self._fit_rows(dataset, head=self.getOrDefault(self.head))
            model = NNModel(rows.bundle, rows.history)._resetUid(self.uid)
            return self._copyValues(model)
        weight = {} if self.weight_column() is None else {"weightCol": self.weight_column()}
        given = {"featuresCol": self.getFeaturesCol(), "labelCol": self.getLabelCol(), **weight}
        for name, column in given.items():
            known = dataset.columns
            require(column in known, name, f"one of {', '.join(known)}", column)
        split = self.getOrDefault(self.splitCol)
        require(
            not split or split in dataset.columns,
            "splitCol",
            f"one of {', '.join(dataset.columns)}",
            split,
            hint='split_by_patient(data, {"train": 0.7, "valid": 0.1, "test": 0.2}) adds one',
        )
        fitted = fit_run(dataset, self.columns(split), _with_fresh_run(self.settings()))
        model = NNModel(fitted.bundle, fitted.history)._resetUid(self.uid)
        return self._copyValues(model)

    def learns_findings(self, dataset: DataFrame) -> bool:
        """Whether one image column and a loss of findings ask for a new head; see `head`."""
        features, labels = self.feature_columns(), self.label_columns()
        if len(features) > 1 or len(labels) != 1 or self.getOrDefault(self.head) == "keep":
            return False
        if features[0] not in dataset.columns:
            return True  # which says so
        loss = loss_of(self.getOrDefault(self.loss))
        of_findings = isinstance(loss, BCEWithLogits | FocalLoss | AsymmetricLoss)
        return of_findings and kind_of(dataset, features[0], "featuresCol") == "image"

    def _fit_rows(
        self, dataset: DataFrame, *, head: str, classes: tuple[str, ...] = ()
    ) -> FittedRun:
        """Train the network, as it is or with a new head, on any columns.

        Args:
            classes: names of the classes whose numbers the label column holds, if it holds any.
        """
        columns, value, given = self._checked_rows(dataset)
        wishes = RowWishes(
            chain=self._image_chain(dataset, columns, head),
            shapes=shapes_of(self.getOrDefault(self.inputShapes)),
            encoders=encoders_of(self.getOrDefault(self.encoders)),
            classes=classes,
        )
        plan = plan_rows(dataset, columns, wishes)
        settings = settings_of({**value, "head": head}, given, Chain(()), plan.spec)
        return fit_run(dataset, columns, _with_fresh_run(_tried(settings, plan)))

    def _checked_rows(self, dataset: DataFrame) -> tuple[RowColumns, dict[str, Any], set[str]]:
        """Columns and values of a fit on rows, as far as they can be checked without a job."""
        columns = RowColumns(
            features=self.feature_columns(),
            labels=self.label_columns(),
            split=self.getOrDefault(self.splitCol) or None,
            weight=self.weight_column(),
        )
        for name, column in (("splitCol", columns.split), ("weightCol", columns.weight)):
            known = column is None or column in dataset.columns
            require(known, name, f"one of {', '.join(dataset.columns)}", column)
        for column in columns.features:
            kind_of(dataset, column, "featuresCol")
        value, given = self._values()
        require(
            "valid_mean_auroc" not in (value["bestMetric"], value["watchedMetric"]),
            "bestMetric and watchedMetric",
            "a loss, as such outputs have no AUC",
            "valid_mean_auroc",
        )
        return columns, value, given

    @one_at_a_time
    def _image_chain(self, dataset: DataFrame, columns: RowColumns, head: str) -> Chain | None:
        kinds = [kind_of(dataset, name, "featuresCol") for name in columns.features]
        given = self.getPreprocessing()
        if "image" not in kinds or given is not None:
            return given
        if head == "new":
            return self.chain()
        design = design_for_rows(self.getOrDefault(self.model), head)
        size = self.getOrDefault(self.imageSize) or design.image_size_px
        channels = input_channels(design)
        mean, std = ((0.449,), (0.226,)) if channels == 1 else (design.mean, design.std)
        return radiograph_chain(size, mean, std, channels=channels)

    def columns(self, split: str) -> CacheColumns:
        """Names of the columns to train on; an empty split name means that every row trains."""
        return CacheColumns(
            image=self.getFeaturesCol(),
            labels=self.getLabelCol(),
            split=split or None,
            weight=self.weight_column(),
        )

    def chain(self) -> Chain:
        """The preprocessing of this run: the one given, or the default for the architecture."""
        given = self.getPreprocessing()
        if given is not None:
            return given
        pixels = pixels_for(self.getOrDefault(self.model))
        assert pixels.mean is not None
        assert pixels.std is not None
        assert pixels.size_px is not None
        size = self.getOrDefault(self.imageSize) or pixels.size_px
        # A grey image is the same in every channel, so mean and deviation in the network's own
        # order of channels are all that RGB and BGR differ in.
        return radiograph_chain(size, pixels.mean, pixels.std, channels=len(pixels.mean))

    def write(self) -> NNEstimatorWriter:
        """A writer; `.overwrite().save(path)`."""
        return NNEstimatorWriter(self)

    @classmethod
    def read(cls) -> NNEstimatorReader:
        """A reader; `.load(path)`."""
        return NNEstimatorReader(cls)

    def settings(self) -> FitSettings:
        """All parameters as one frozen value; raises if one breaks its rule."""
        value, given = self._values()
        return settings_of(value, given, self.chain())

    def _values(self) -> tuple[dict[str, Any], set[str]]:
        value = {
            param.name: self.getOrDefault(param) for param in self.params if self.isDefined(param)
        }
        check_values(value)
        return value, {param.name for param in self.params if self.isSet(param)}


@one_at_a_time
def _tried(settings: FitSettings, plan: RowPlan) -> FitSettings:
    """The settings with what the network gives for one real row."""
    draft = settings.draft
    network = create_model(draft.blueprint, draft.num_outputs, dropout=draft.dropout)
    return replace(settings, draft=replace(draft, rows=plan.tried(network, draft.loss)))


def _with_fresh_run(settings: FitSettings) -> FitSettings:
    return replace(settings, run_directory=fresh_run_directory(settings.run_directory))
