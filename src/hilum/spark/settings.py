"""What a run depends on besides its data, and what becomes of it once the data are counted."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from torch import nn

from hilum.errors import InvalidValueError
from hilum.models import BACKBONE, WeightsReport, head_names
from hilum.models.transfer_start import TransferStart
from hilum.optim import Objective, Span, class_weights, positive_weights, schedule_of
from hilum.training import BatchNormMode, RetryPolicy, TrainConfig, num_steps

__all__ = ["FitSettings", "settle_frozen", "train_config"]

TRAINED_HEAD_LR_FACTOR = 10.0

_COUNTED = {"pos_weight": positive_weights, "finding_weights": class_weights}


@dataclass(frozen=True, slots=True, kw_only=True)
class FitSettings:
    """What a run depends on besides its data; see `TrainParams` for meanings.

    Attributes:
        draft: the configuration, but for what depends on the number of images, on their labels and
            on the start weights: schedule, learning rate of the head, batch norm and what of the
            loss is balanced. `train_config` puts those in.
        start: weights that the model brings; None for a name or a function.
        schedule: a schedule's name or JSON.
        head_lr_factor: 0 for "as fits the start weights".
        balanced: fields of the loss that are counted from the training labels.
        provenance: copied into the bundle: what the caller knows about where the data came from.
        mlflow: address of a tracking server to log to; "" for none.
    """

    draft: TrainConfig
    weights: str
    schedule: str
    learning_rate: float
    warmup_epochs: float
    head_lr_factor: float
    batch_norm: BatchNormMode | Literal["auto"]
    balanced: tuple[Literal["pos_weight", "finding_weights"], ...]
    num_ranks: int
    retry: RetryPolicy
    run_directory: str
    cache_directory: str
    show_progress: bool
    provenance: Mapping[str, Any]
    mlflow: str
    start: TransferStart | None = field(default=None, compare=False)


def settle_frozen(settings: FitSettings, model: nn.Module) -> FitSettings:
    """Call a backbone whose every parameter the model brought frozen by its name, "backbone"."""
    draft = settings.draft
    names = {name for name, _ in model.named_parameters()} - set(head_names(draft.blueprint))
    if not draft.frozen or draft.freeze or not names <= set(draft.frozen):
        return settings
    return replace(settings, draft=replace(draft, freeze=BACKBONE, frozen=()))


def train_config(
    settings: FitSettings, start: WeightsReport, labels: npt.NDArray[np.float32]
) -> TrainConfig:
    """What the ranks train: the settings, completed from the start weights and the training labels.

    Args:
        start: what the network starts from.
        labels: of the training split, (N, F); NaN where unknown.
    """
    if len(labels) == 0:
        raise InvalidValueError(
            "the training split must hold images. Got none. "
            'Hint: the column named by splitCol needs rows with the value "train".'
        )
    draft = settings.draft
    # A trained backbone needs small steps and keeps its statistics, which a few hundred images
    # only blur; its new head starts from nothing and has far to go (decision 0009).
    head_only = draft.freeze == BACKBONE and not draft.unfreeze
    fine_tunes = start.kind != "random" and not head_only
    factor = settings.head_lr_factor or (TRAINED_HEAD_LR_FACTOR if fine_tunes else 1.0)
    batch_norm = settings.batch_norm
    if batch_norm == "auto":
        batch_norm = "frozen" if fine_tunes or draft.freeze == BACKBONE else "batch"
    steps_per_epoch = num_steps(len(labels), draft.global_batch_size)
    steps = draft.max_epochs * steps_per_epoch
    span = Span(
        peak=settings.learning_rate,
        steps=min(steps, draft.stopping.max_steps or steps),
        steps_per_epoch=steps_per_epoch,
        warmup_epochs=settings.warmup_epochs,
    )
    return replace(
        draft,
        schedule=schedule_of(settings.schedule, span),
        optimizer=replace(draft.optimizer, head_lr_factor=factor),
        loss=_balanced(draft.loss, settings.balanced, labels),
        batch_norm=batch_norm,
    )


def _balanced(
    loss: Objective, fields: tuple[str, ...], labels: npt.NDArray[np.float32]
) -> Objective:
    counted: Any = {field: _COUNTED[field](labels) for field in fields}
    balanced: Objective = replace(loss, **counted)  # type: ignore[type-var]
    return balanced
