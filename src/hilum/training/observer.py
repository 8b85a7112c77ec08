"""Who watches a run from inside: TensorBoard and the like. Called on rank 0 only."""

from collections.abc import Mapping
from typing import Protocol

from torch import nn

from hilum.training.history import EpochRecord

__all__ = ["Observer"]


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
