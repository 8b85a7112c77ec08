"""Opens what watches a run."""

from collections.abc import Sequence

from hilum.training.config import TrainConfig
from hilum.training.observer import Observer

__all__ = ["open_observers"]


def open_observers(run_directory: str, config: TrainConfig) -> Sequence[Observer]:
    """The observers of a run."""
    return ()
