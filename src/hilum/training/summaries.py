"""Opens what watches a run. Nothing here can end a run: what fails is said once and left out."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from hilum.training.config import TrainConfig
from hilum.training.environment import write_leader_machine
from hilum.training.event_files import EventFiles, has_tensorboard
from hilum.training.history import EpochRecord, History
from hilum.training.observer import Observer
from hilum.training.run_folder import RunFolder
from hilum.training.tracking import MLflowObserver, has_mlflow_run

__all__ = ["Guarded", "open_observers"]

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Guarded:
    """An observer whose first failure is a warning and its end; training goes on without it.

    Attributes:
        name: of what it writes, for the warning.
        problem: what failed; empty while all is well.
    """

    name: str
    observer: Observer | None = None
    problem: str = ""

    @staticmethod
    def opened(name: str, open_it: Callable[[], Observer]) -> "Guarded":
        """Open the observer; one that cannot be opened is a guard without observer."""
        guard = Guarded(name)
        try:
            guard.observer = open_it()
        except Exception as error:
            guard._give_up(error)
        return guard

    def step(self, step: int, scalars: Mapping[str, float]) -> None:
        """Pass on."""
        if self.observer is not None:
            self._try(self.observer.step, step, scalars)

    def record(self, record: EpochRecord, outputs: tuple[str, ...], model: nn.Module) -> None:
        """Pass on."""
        if self.observer is not None:
            self._try(self.observer.record, record, outputs, model)

    def close(self) -> None:
        """Close, also what failed before."""
        observer, self.observer = self.observer, None
        if observer is not None:
            self._try(observer.close)

    def _try(self, call: Callable[..., None], *arguments: object) -> None:
        try:
            call(*arguments)
        except Exception as error:
            observer, self.observer = self.observer, None
            self._give_up(error)
            if observer is not None:
                self._try(observer.close)

    def _give_up(self, error: Exception) -> None:
        if not self.problem:
            self.problem = f"{self.name} is not written any more: {type(error).__name__}: {error}"
            logger.warning("%s", self.problem)


def open_observers(
    run_directory: str, config: TrainConfig, *, history: History, step: int
) -> Sequence[Guarded]:
    """The observers of a run: its folder, TensorBoard where installed, MLflow where begun.

    Args:
        history: validations before this start; `step`, optimizer steps done before it.
    """
    try:
        write_leader_machine(run_directory)
    except Exception as error:
        logger.warning("environment.json not written: %s: %s", type(error).__name__, error)
    observers = [
        Guarded.opened("history.csv", lambda: RunFolder(run_directory, config, history)),
    ]
    if has_tensorboard():
        observers.append(
            Guarded.opened("tensorboard", lambda: EventFiles(run_directory, config, step=step))
        )
    if has_mlflow_run(run_directory):
        observers.append(Guarded.opened("MLflow", lambda: MLflowObserver(run_directory)))
    return observers
