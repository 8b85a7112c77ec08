"""From the values of an estimator's parameters to the settings of a run; every rule is here."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import fields, replace
from typing import Any, get_args

from hilum.errors import InvalidValueError, require
from hilum.inputs import RowSpec
from hilum.models import Architecture
from hilum.models.starting import with_new_head
from hilum.models.transfer_start import TransferStart
from hilum.optim import (
    LOSSES,
    AsymmetricLoss,
    BCEWithLogits,
    Clipping,
    Constant,
    FocalLoss,
    Objective,
    OptimizerSpec,
    OutputLosses,
    Span,
    loss_of,
    schedule_of,
)
from hilum.preprocessing import Chain
from hilum.spark.driver_networks import one_at_a_time
from hilum.spark.model_param import design_for_rows, design_of
from hilum.spark.param_texts import BALANCED, every_of, layer_rules_of, unfreeze_of, weights_of
from hilum.spark.settings import FitSettings
from hilum.training import (
    BestMetric,
    Compression,
    Placement,
    Precision,
    RetryPolicy,
    Stopping,
    TrainConfig,
    WatchedMetric,
)

__all__ = ["check_value", "check_values", "settings_of"]

Values = Mapping[str, Any]

_OF_FINDINGS = (BCEWithLogits, FocalLoss, AsymmetricLoss)

_MODES: Mapping[str, tuple[str, ...]] = {
    "batchNorm": ("auto", "batch", "frozen"),
    "precision": get_args(Precision),
    "bestMetric": get_args(BestMetric),
    "watchedMetric": get_args(WatchedMetric),
    "optimizer": ("adam", "adamw", "sgd", "lars", "lamb"),
    "gradientCompression": get_args(Compression),
    "placement": get_args(Placement),
    "head": ("auto", "new", "keep"),
    "handleInvalid": ("keep", "skip", "error"),
}

_RULES: tuple[tuple[str, Callable[[Any], bool], tuple[str, ...]], ...] = (
    (
        "positive",
        lambda value: value > 0,
        (
            "maxEpochs",
            "batchSize",
            "learningRate",
            "trustCoefficient",
            "keepCheckpoints",
            "featureVariants",
            "hangTimeout",
            "predictBatchSize",
        ),
    ),
    (
        "zero or more",
        lambda value: value >= 0,
        (
            "warmupEpochs",
            "weightDecay",
            "headWeightDecay",
            "headLearningRateFactor",
            "clipValue",
            "clipNorm",
            "maxSteps",
            "maxMinutes",
            "targetValue",
            "stopPatience",
            "stopMinDelta",
            "numRanks",
            "maxRetries",
            "executorWait",
            "imageSize",
            "seed",
        ),
    ),
    (
        "in [0, 1)",
        lambda value: 0 <= value < 1,
        ("dropout", "labelSmoothing", "emaDecay", "momentum"),
    ),
    ("in (0, 1]", lambda value: 0 < value <= 1, ("layerDecay",)),
    ("in [0, 1]", lambda value: 0 <= value <= 1, ("dampening",)),
)

_OF_MOMENTUM = {"momentum": "momentum", "nesterov": "nesterov", "dampening": "dampening"}
_OF_OPTIMIZER: Mapping[str, dict[str, str]] = {
    "adam": {"betas": "betas"},
    "adamw": {"betas": "betas"},
    "lamb": {"betas": "betas"},
    "sgd": _OF_MOMENTUM,
    "lars": {**_OF_MOMENTUM, "trustCoefficient": "trust_coefficient"},
}


@one_at_a_time
def settings_of(
    value: Values, given: Collection[str], chain: Chain, rows: RowSpec | None = None
) -> FitSettings:
    """Return the settings that an estimator's parameters stand for.

    Args:
        value: of every parameter, by name; they pass `check_values`.
        given: names of those that were set. What an optimizer has no use for is refused if it was
            set, and left out if it is a default.
        chain: the whole preprocessing.
        rows: what a network on any columns reads; None for findings in images.

    Raises:
        InvalidValueError: parameters do not go together.
    """
    start = value["model"] if isinstance(value["model"], TransferStart) else None
    if start is not None and (rows is None or value["head"] == "new"):
        start = with_new_head(start)
        value = {**value, "model": start}
    if start is not None:
        value = {**value, **_brought(start, given)}
    balanced: list[Any] = [
        field
        for name, field in (("posWeight", "pos_weight"), ("findingWeights", "finding_weights"))
        if value[name] == BALANCED
    ]
    return FitSettings(
        draft=_draft(value, _optimizer(value, given), chain, rows),
        weights=value["weights"],
        schedule=value["schedule"],
        learning_rate=value["learningRate"],
        warmup_epochs=value["warmupEpochs"],
        head_lr_factor=value["headLearningRateFactor"],
        batch_norm=value["batchNorm"],
        balanced=tuple(balanced),
        num_ranks=value["numRanks"],
        retry=RetryPolicy(
            max_retries=value["maxRetries"],
            hang_timeout_s=value["hangTimeout"],
            executor_wait_s=value["executorWait"],
        ),
        run_directory=value["runDir"],
        cache_directory=value["cacheDir"],
        show_progress=value["showProgress"],
        provenance={},
        mlflow=value["mlflow"],
        start=start,
    )


def _brought(start: TransferStart, given: Collection[str]) -> dict[str, Any]:
    """What a start says about its head, where the estimator was not told otherwise."""
    brought: dict[str, Any] = {"dropout": start.dropout, "headWeightDecay": start.head_weight_decay}
    return {name: v for name, v in brought.items() if name not in given}


def check_value(name: str, value: Any) -> None:
    """Raise InvalidValueError unless one parameter by itself keeps its rule."""
    for rule, holds, names in _RULES:
        if name in names:
            require(holds(value), name, rule, value)
    if name in _MODES:
        modes = _MODES[name]
        require(value in modes, name, f"one of {', '.join(modes)}", value)


def check_values(value: Values) -> None:
    """Raise InvalidValueError unless every parameter keeps its rule."""
    for name, one in value.items():
        check_value(name, one)
    schedule_of(value["schedule"], Span(peak=value["learningRate"], steps=2, steps_per_epoch=1))
    for name in ("posWeight", "findingWeights"):
        numbers, findings = weights_of(value[name]), len(value["findings"])
        fits = numbers is None or len(numbers) == findings
        require(fits, name, f"{findings} numbers, one per finding", value[name])
    if isinstance(value["model"], str):
        _design(value)


def _design(value: Values) -> Architecture:
    try:
        return design_of(value["model"])
    except InvalidValueError as error:
        raise InvalidValueError(f"model: {error}") from error


def _draft(
    value: Values, optimizer: OptimizerSpec, chain: Chain, rows: RowSpec | None
) -> TrainConfig:
    """The configuration before the data are counted; schedule and batch norm hold the place."""
    design = _design(value) if rows is None else design_for_rows(value["model"], value["head"])
    return TrainConfig(
        architecture=design.name if design.recipe else value["model"],
        design=design if design.recipe else None,
        outputs=_outputs(value, rows),
        rows=rows,
        preprocessing=chain,
        schedule=Constant(base=value["learningRate"]),
        optimizer=optimizer,
        loss=_loss(value, rows),
        max_epochs=value["maxEpochs"],
        global_batch_size=value["batchSize"],
        dropout=value["dropout"],
        precision=value["precision"],
        freeze=value["freeze"],
        frozen=value["model"].frozen if isinstance(value["model"], TransferStart) else (),
        unfreeze=unfreeze_of(value["unfreeze"]),
        feature_variants=value["featureVariants"],
        best_metric=value["bestMetric"],
        watched_metric=value["watchedMetric"],
        clipping=Clipping(value=value["clipValue"] or None, norm=value["clipNorm"] or None),
        ema_decay=value["emaDecay"],
        stopping=Stopping(
            max_steps=value["maxSteps"] or None,
            max_minutes=value["maxMinutes"] or None,
            target=value["targetValue"] or None,
            patience=value["stopPatience"] or None,
            min_delta=value["stopMinDelta"],
        ),
        validate_every=every_of(value["validateEvery"]),
        checkpoint_every=every_of(value["checkpointEvery"]),
        summarise_every=every_of(value["summariseEvery"]),
        keep_checkpoints=value["keepCheckpoints"],
        gradient_compression=value["gradientCompression"],
        placement=value["placement"],
        compile=value["compile"],
        histograms=value["histograms"],
        seed=value["seed"],
    )


def _outputs(value: Values, rows: RowSpec | None) -> tuple[str, ...]:
    if rows is None:
        return tuple(value["findings"])
    return rows.classes or tuple(target.column for target in rows.targets)


def _optimizer(value: Values, given: Collection[str]) -> OptimizerSpec:
    name = value["optimizer"]
    own = _OF_OPTIMIZER[name]
    set_by_user = {
        param: field
        for fields_of in _OF_OPTIMIZER.values()
        for param, field in fields_of.items()
        if param in given
    }
    special: dict[str, Any] = {field: value[param] for param, field in (own | set_by_user).items()}
    if "betas" in special:
        special["betas"] = tuple(special["betas"])
    return OptimizerSpec(
        name=name,
        weight_decay=value["weightDecay"],
        head_weight_decay=value["headWeightDecay"],
        decay_norms_and_biases=value["decayNormsAndBiases"],
        layer_decay=value["layerDecay"],
        layer_rules=layer_rules_of(value["layerRules"]),
        **special,
    )


def _loss(value: Values, rows: RowSpec | None) -> Objective:
    loss = loss_of(value["loss"])
    if isinstance(loss, OutputLosses) and rows is not None:
        loss = loss.in_order_of(tuple(target.column for target in rows.targets))
    if rows is None:  # their bundle puts the outputs through a sigmoid, unknown to other losses
        names = ", ".join(name for name, one in LOSSES.items() if isinstance(one, _OF_FINDINGS))
        fits = isinstance(loss, _OF_FINDINGS)
        require(fits, "loss", f"one of findings: {names}", value["loss"])
    known = {field.name for field in fields(loss)}  # type: ignore[arg-type]
    require(
        not value["posWeight"] or "pos_weight" in known,
        "posWeight",
        f"empty for {value['loss']}",
        value["posWeight"],
        hint="findingWeights weighs whole findings; focal has alpha, asymmetric its two gammas",
    )
    for name, field in (
        ("labelSmoothing", "label_smoothing"),
        ("findingWeights", "finding_weights"),
    ):
        fits = not value[name] or field in known
        require(fits, name, f"left alone for {value['loss']}", value[name])
    changes: dict[str, Any] = {
        "label_smoothing": value["labelSmoothing"],
        "pos_weight": weights_of(value["posWeight"]),
        "finding_weights": weights_of(value["findingWeights"]),
    }
    wanted = {name: change for name, change in changes.items() if change}
    changed: Objective = replace(loss, **wanted)  # type: ignore[type-var]
    return changed
