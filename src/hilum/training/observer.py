"""Who watches a run from inside: TensorBoard and the like. Called on rank 0 only."""

from collections.abc import Mapping
from typing import Protocol

from torch import nn

from hilum.training.history import EpochRecord

__all__ = ["Observer", "record_scalars"]


class Observer(Protocol):
    """Sees steps and validations; must not change anything."""

    def step(self, step: int, scalars: Mapping[str, float]) -> None:
        """Scalars after `step` optimizer steps, by name: "train/loss", "train/lr", ..."""
        ...

    def record(self, record: EpochRecord, outputs: tuple[str, ...], model: nn.Module) -> None:
        """A validation, the names of its outputs, and the network it was made with."""
        ...

    def close(self) -> None:
        """The run has ended, one way or another."""
        ...


def record_scalars(record: EpochRecord, outputs: tuple[str, ...]) -> dict[str, float]:
    """What a validation measured, by the names trackers show; what is undefined is left out."""
    values = {
        "valid/loss": record.valid_loss,
        "valid/mean_auc": record.valid_mean_auroc,
        "valid/accuracy": record.valid_accuracy,
        "valid/log_loss": record.valid_log_loss,
        **{
            f"valid_auc/{name}": auroc
            for name, auroc in zip(outputs, record.valid_auroc, strict=False)
        },
    }
    return {name: value for name, value in values.items() if value is not None}
