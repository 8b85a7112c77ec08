"""Everything a training run depends on, in one frozen value that is also its JSON file.

The ranks read it as JSON from the run directory, so nothing is pickled, a run can be read years
later, and `hilum train --resume` needs no arguments repeated.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from hilum.errors import require
from hilum.optim import (
    BCEWithLogits,
    Loss,
    OptimizerSpec,
    Schedule,
    loss_from_json,
    loss_to_json,
    optimizer_from_json,
    optimizer_to_json,
    schedule_from_json,
    schedule_to_json,
)
from hilum.preprocessing import Chain
from hilum.training.history import BestMetric

__all__ = ["BatchNormMode", "Precision", "TrainConfig"]

Precision = Literal["auto", "float32", "bfloat16"]
BatchNormMode = Literal["batch", "frozen"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """One training run.

    Attributes:
        architecture: a name `hilum.models.architecture` knows.
        outputs: names of the outputs, usually the findings, in label order.
        preprocessing: the whole chain; its prefix is what the cache holds.
        global_batch_size: images per optimizer step over all ranks; any size is legal.
        precision: "bfloat16" autocasts the forward pass; "auto" does so where the CPU or GPU has
            it in hardware.
        batch_norm: "batch" normalises with each rank's batch, running statistics averaged over
            ranks after every epoch; "frozen" keeps the statistics the weights came with, and makes
            the loss curve independent of the number of ranks.
        freeze_backbone: train the head only.
        best_metric: what decides which epoch becomes the model.
    """

    architecture: str
    outputs: tuple[str, ...]
    preprocessing: Chain
    schedule: Schedule
    optimizer: OptimizerSpec
    loss: Loss = field(default_factory=BCEWithLogits)
    max_epochs: int = 8
    global_batch_size: int = 32
    dropout: float = 0.2
    precision: Precision = "auto"
    batch_norm: BatchNormMode = "batch"
    freeze_backbone: bool = False
    best_metric: BestMetric = "valid_loss"
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.max_epochs > 0, "max_epochs", "a positive number of epochs", self.max_epochs)
        require(self.global_batch_size > 0, "global_batch_size", "positive", self.global_batch_size)
        require(0 <= self.dropout < 1, "dropout", "in [0, 1)", self.dropout)
        require(len(self.outputs) > 0, "outputs", "at least one name", self.outputs)
        require(self.seed >= 0, "seed", "zero or more", self.seed)
        for name, allowed in (
            ("precision", ("auto", "float32", "bfloat16")),
            ("batch_norm", ("batch", "frozen")),
            ("best_metric", ("valid_loss", "valid_mean_auroc")),
        ):
            value = getattr(self, name)
            require(value in allowed, name, f"one of {', '.join(allowed)}", value)

    def with_max_epochs(self, max_epochs: int) -> "TrainConfig":
        """The same run, longer or shorter."""
        return replace(self, max_epochs=max_epochs)

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads."""
        return {
            "architecture": self.architecture,
            "outputs": list(self.outputs),
            "preprocessing": self.preprocessing.to_json(),
            "schedule": schedule_to_json(self.schedule),
            "optimizer": optimizer_to_json(self.optimizer),
            "loss": loss_to_json(self.loss),
            "max_epochs": self.max_epochs,
            "global_batch_size": self.global_batch_size,
            "dropout": self.dropout,
            "precision": self.precision,
            "batch_norm": self.batch_norm,
            "freeze_backbone": self.freeze_backbone,
            "best_metric": self.best_metric,
            "seed": self.seed,
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "TrainConfig":
        """Read what `to_json` wrote; unknown fields are an error."""
        known = set(TrainConfig.__dataclass_fields__)
        unknown = sorted(set(value) - known)
        require(not unknown, "training configuration", f"made of {sorted(known)}", unknown)
        return TrainConfig(
            **{
                **cast(dict[str, Any], value),
                "outputs": tuple(value["outputs"]),
                "preprocessing": Chain.from_json(value["preprocessing"]),
                "schedule": schedule_from_json(value["schedule"]),
                "optimizer": optimizer_from_json(value["optimizer"]),
                "loss": loss_from_json(value["loss"]),
            }
        )
