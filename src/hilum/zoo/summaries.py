"""TrainSummary and ValidationSummary: TensorBoard files under the folders and tags of 2019.

A run writes its own files as it goes (RUN/tensorboard, which is what to watch while it trains);
when it has ended, they are written again here, under the names that 2019 gave them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hilum import storage
from hilum.errors import InvalidValueError, MissingDependencyError, require
from hilum.training.event_files import TENSORBOARD_HINT, has_tensorboard
from hilum.zoo.triggers import every_of

__all__ = ["TrainSummary", "ValidationSummary"]

_TRAIN_TAGS: Mapping[str, str] = {
    "train/loss": "Loss",
    "train/images_per_s": "Throughput",
    "train/lr": "LearningRate",
}
_VALIDATION_TAGS: Mapping[str, str] = {
    "valid/mean_auc": "AucScore",
    "valid/accuracy": "Top1Accuracy",
    "valid/loss": "Loss",
}
_TRIGGERED = (*_TRAIN_TAGS.values(), "Parameters")
_EVERY_SCALAR = 0  # TensorBoard's reader else keeps a sample


class TrainSummary:
    """Scalars of training, under LOG_DIR/APP_NAME/train: Loss, Throughput, LearningRate."""

    def __init__(self, log_dir: str, app_name: str, bigdl_type: str = "float") -> None:
        self.folder = Path(log_dir) / app_name / "train"
        self._triggers: dict[str, Any] = {}

    def set_summary_trigger(self, name: str, trigger: Any) -> "TrainSummary":
        """Say how often a tag is written; the most frequent one counts for all of them.

        Args:
            name: Loss, Throughput, LearningRate, or Parameters, which asks for histograms.
            trigger: EveryEpoch() or SeveralIteration(n).
        """
        require(name in _TRIGGERED, "name", f"one of {', '.join(_TRIGGERED)}", name)
        self._triggers[name] = every_of(trigger)
        return self

    def read_scalar(self, tag: str) -> npt.NDArray[np.float64]:
        """(step, value, time in s) of every point, (N, 3); none before a run has ended."""
        return _read_scalars(self.folder).get(tag, np.empty((0, 3)))

    def params(self) -> dict[str, Any]:
        """Parameters of `hilum.spark.NNEstimator` that the triggers stand for."""
        scalars = [every for name, every in self._triggers.items() if name != "Parameters"]
        steps = [every.steps for every in scalars if every.steps is not None]
        if steps:
            params: dict[str, Any] = {"summariseEvery": f"{min(steps)} steps"}
        else:
            params = {"summariseEvery": "1 epoch" if scalars else "1 step"}
        return params | ({"histograms": True} if "Parameters" in self._triggers else {})

    def take(self, run_directory: str) -> None:
        """Write what a run wrote."""
        _rewrite(run_directory, self.folder, _TRAIN_TAGS)


class ValidationSummary:
    """Scalars of validation, under LOG_DIR/APP_NAME/validation: AucScore or Top1Accuracy; Loss."""

    def __init__(self, log_dir: str, app_name: str, bigdl_type: str = "float") -> None:
        self.folder = Path(log_dir) / app_name / "validation"

    def read_scalar(self, tag: str) -> npt.NDArray[np.float64]:
        """(step, value, time in s) of every point, (N, 3); none before a run has ended."""
        return _read_scalars(self.folder).get(tag, np.empty((0, 3)))

    def take(self, run_directory: str) -> None:
        """Write what a run wrote."""
        _rewrite(run_directory, self.folder, _VALIDATION_TAGS)


def _rewrite(run_directory: str, folder: Path, tags: Mapping[str, str]) -> None:
    if not has_tensorboard():
        raise MissingDependencyError(f"summaries need tensorboard. Hint: {TENSORBOARD_HINT}.")
    from torch.utils.tensorboard import SummaryWriter

    local = storage.local_path(storage.join(run_directory, "tensorboard"))
    if local is None:
        raise InvalidValueError(
            f"summaries must be of a run on a mounted disk. Got {run_directory!r}. "
            "Hint: point TensorBoard to the run's own folder, RUN/tensorboard."
        )
    writer: Any = SummaryWriter(str(folder))
    for name, points in _read_scalars(local).items():
        if name in tags:
            for step, value, time_s in points.tolist():
                writer.add_scalar(tags[name], value, int(step), walltime=time_s)
    writer.close()


def _read_scalars(folder: Path) -> dict[str, npt.NDArray[np.float64]]:
    if not folder.is_dir():
        return {}
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events: Any = EventAccumulator(str(folder), size_guidance={"scalars": _EVERY_SCALAR})
    events.Reload()
    return {
        tag: np.array([(e.step, e.value, e.wall_time) for e in events.Scalars(tag)], np.float64)
        for tag in events.Tags()["scalars"]
    }
