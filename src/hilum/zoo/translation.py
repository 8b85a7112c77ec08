"""From what a script of 2019 said to parameters of `hilum.spark.NNEstimator`."""

import math
import tempfile
import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, ClassVar

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from hilum import storage
from hilum.errors import InvalidValueError, require
from hilum.findings import FINDINGS
from hilum.models import architecture
from hilum.models.recipes import LoadedModel, PixelContract
from hilum.models.starting import whole_start
from hilum.optim import LayerRule
from hilum.preprocessing import Chain
from hilum.spark.barrier import executor_layout
from hilum.zoo.criteria import (
    AUC,
    Loss,
    Top1Accuracy,
    class_loss,
    is_of_numbers,
    loss_params,
    row_loss,
)
from hilum.zoo.keras_models import Model
from hilum.zoo.net import GraphNet
from hilum.zoo.nnmodels import sized
from hilum.zoo.optim import SGD, params_of
from hilum.zoo.preprocessing import chain_of
from hilum.zoo.rows import is_image, part_names, shapes_of
from hilum.zoo.triggers import ending_params, every_of

__all__ = [
    "RUN_FOLDER_SETTING",
    "Settings",
    "Validation",
    "learns_rows",
    "modern_params",
    "run_directory",
]

RUN_FOLDER_SETTING = "spark.hilum.runDir"
"""Spark setting that names a folder shared by driver and executors, where runs are kept."""

_DEFAULT_BATCH = 16
_DEFAULT_OPTIMIZER = SGD()


@dataclass(frozen=True, slots=True)
class Validation:
    """What `setValidation` said."""

    trigger: Any
    data: DataFrame
    methods: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """What an estimator of 2019 was told.

    Attributes:
        model: a `Model`, or what `hilum.spark.NNEstimator` takes.
        max_epoch: None where it was not set.
    """

    DEFAULT_MAX_EPOCH: ClassVar[int] = 50

    model: Any
    criterion: Any
    preprocessing: Any = None
    batch_size: int = _DEFAULT_BATCH
    max_epoch: int | None = None
    end_when: Any = None
    optim_method: Any = _DEFAULT_OPTIMIZER
    learning_rate: float | None = None
    validation: Validation | None = None
    train_summary: Any = None
    validation_summary: Any = None
    clip_value: float = 0.0
    clip_norm: float = 0.0
    checkpoint: tuple[str, Any] | None = None
    placement: str = "whole"


def modern_params(
    settings: Settings, data: DataFrame, columns: dict[str, str], *, exclusive: bool = False
) -> dict[str, Any]:
    """Return keyword arguments for `hilum.spark.NNEstimator`, or `NNClassifier`.

    Args:
        settings: of the estimator of 2019.
        data: the training data; counted only where a schedule counts epochs.
        columns: names of its columns.
        exclusive: whether the labels are classes of which each row has one.

    Raises:
        InvalidValueError: something has no counterpart; the message says what.
    """

    def steps_per_epoch() -> int:
        return math.ceil(data.count() / settings.batch_size)

    on_rows = learns_rows(settings, data, columns["featuresCol"])
    params = {
        **columns,
        "splitCol": "split",
        "batchSize": settings.batch_size,
        # Everything learns at one rate and normalises by its batch, as in 2019.
        "headLearningRateFactor": 1.0,
        "batchNorm": "batch",
        "clipValue": settings.clip_value,
        "clipNorm": settings.clip_norm,
        "placement": settings.placement,
        **params_of(settings.optim_method, steps_per_epoch),
    }
    if exclusive:
        params["loss"] = class_loss(settings.criterion)
    elif on_rows:
        params["loss"] = row_loss(settings.criterion)
    else:
        params |= loss_params(settings.criterion) | _findings(settings, data, columns["labelCol"])
    if settings.learning_rate is not None:
        params |= {"learningRate": settings.learning_rate, "schedule": "constant"}
    if on_rows:
        params |= _row_params(settings, data, columns["featuresCol"], exclusive)
    else:
        params |= _model_params(settings.model, params["weightDecay"])
    if settings.preprocessing is not None and is_image(data, columns["featuresCol"]):
        params["preprocessing"] = sized(_chain(settings), data, columns["featuresCol"])
    return params | _when(settings, of_findings=not (exclusive or on_rows))


def learns_rows(settings: Settings, data: DataFrame, features: str) -> bool:
    """Whether the network is trained as it is: on numbers, or on images with a loss of numbers."""
    return not is_image(data, features) or is_of_numbers(settings.criterion)


def run_directory(spark: SparkSession, settings: Settings, stack: ExitStack) -> str:
    """A new folder for a run: under the checkpoint path, the Spark setting, or a temporary one.

    Raises:
        InvalidValueError: on a cluster neither is given.
    """
    given = settings.checkpoint[0] if settings.checkpoint else None
    parent = given or spark.conf.get(RUN_FOLDER_SETTING, None)
    if parent:
        return storage.join(parent, f"run-{uuid.uuid4().hex[:12]}")
    if not executor_layout(spark).is_local:
        raise InvalidValueError(
            "a folder that driver and executors share must be given on a cluster. Got none. "
            f"Hint: setCheckpoint(path, EveryEpoch()), or --conf {RUN_FOLDER_SETTING}=hdfs://..."
        )
    folder = tempfile.TemporaryDirectory(prefix="hilum-zoo-", ignore_cleanup_errors=True)
    return stack.enter_context(folder)


def _row_params(
    settings: Settings, data: DataFrame, features: str, exclusive: bool
) -> dict[str, Any]:
    """Parameters of a network that is trained as it is."""
    params: dict[str, Any] = {"head": "keep", "model": settings.model}
    if isinstance(settings.model, GraphNet):
        params["model"] = whole_start(settings.model.loaded, "GraphNet")
    if not is_image(data, features):
        shapes = shapes_of(settings.preprocessing)
        names = part_names(features, len(shapes))
        known = {name: list(shape) for name, shape in zip(names, shapes, strict=True) if shape}
        params |= {"featuresCols": names, "inputShapes": known}
    if isinstance(settings.model, Model):
        rules = settings.model.whole_rules
        decayed = any(rule.pattern.endswith(".bias") for rule in rules)
        params["model"] = settings.model.whole(logits=exclusive)
        params |= {"layerRules": list(rules), "decayNormsAndBiases": decayed}
    return params


def _model_params(model: Any, weight_decay: float) -> dict[str, Any]:
    if not isinstance(model, Model):
        return {"model": model.loaded if isinstance(model, GraphNet) else model}
    weights, biases = (weight_decay + own for own in model.head_decay)
    rules = model.layer_rules
    decayed = biases > 0 or any(rule.pattern.endswith(".bias") for rule in rules)
    if decayed and biases != weights:
        rules = (*rules, LayerRule(pattern="head.*bias", weight_decay=biases))
    return {
        "model": model.start(),
        "dropout": model.ending.dropout,
        "headWeightDecay": weights,
        "decayNormsAndBiases": decayed,
        "layerRules": list(rules),
    }


def _chain(settings: Settings) -> Chain:
    if isinstance(settings.preprocessing, Chain):
        return settings.preprocessing
    pixels = _pixels(settings.model)
    if isinstance(settings.model, Model):
        channels = settings.model.input.shape[0]
    else:
        channels = len(pixels.mean or (0, 0, 0))
    return chain_of(settings.preprocessing, pixels, channels=channels)


def _pixels(model: Any) -> PixelContract:
    if isinstance(model, Model | LoadedModel):
        return model.pixels
    if isinstance(model, GraphNet):
        return model.loaded.pixels
    if isinstance(model, str):
        design = architecture(model)
        return PixelContract(mean=design.mean, std=design.std)
    pixels = getattr(model, "pixels", None)
    return pixels if isinstance(pixels, PixelContract) else PixelContract()


def _findings(settings: Settings, data: DataFrame, labels: str) -> dict[str, list[str]]:
    model = settings.model
    if isinstance(model, Model):
        count = model.outputs
    else:
        row = data.select(F.size(labels).alias("count")).first()
        require(row is not None, "data", "one row or more", "none")
        count = 0 if row is None else int(row["count"])
    if count == len(FINDINGS):
        return {"findings": list(FINDINGS)}
    return {"findings": [f"label_{number + 1}" for number in range(count)]}


def _when(settings: Settings, *, of_findings: bool) -> dict[str, Any]:
    """Parameters about when something happens."""
    both = settings.end_when is not None and settings.max_epoch is not None
    require(not both, "endWhen", "given alone, or maxEpoch alone", settings.end_when)
    if settings.end_when is not None:
        params = ending_params(settings.end_when)
    else:
        params = {"maxEpochs": settings.max_epoch or Settings.DEFAULT_MAX_EPOCH}
    if settings.checkpoint is not None:
        params["checkpointEvery"] = every_of(settings.checkpoint[1])
    if settings.train_summary is not None:
        params |= settings.train_summary.params()
    validation = settings.validation
    if validation is not None:
        params["validateEvery"] = every_of(validation.trigger)
        for method in validation.methods:
            known = isinstance(method, (AUC, Loss) if of_findings else (Loss, Top1Accuracy))
            rule = "AUC() or Loss()" if of_findings else "Loss() or Top1Accuracy()"
            hint = "loss, AUC of every finding, and accuracy of classes are always measured"
            require(known, "validation method", rule, method, hint=hint)
    else:
        alone = settings.validation_summary is None
        require(alone, "validationSummary", "given with setValidation", "no validation data")
        needs = "targetValue" in params and params["bestMetric"] == "valid_mean_auroc"
        require(not needs, "endWhen", "MaxScore with setValidation", settings.end_when)
    return params
