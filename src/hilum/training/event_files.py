"""TensorBoard event files of a run, under RUN/tensorboard.

    tensorboard --logdir RUN/tensorboard     (or a folder of runs)

TensorBoard reads a file that grows, so on a disk the events are appended where it looks. Other
storage cannot append: there the file grows in a temporary directory and is copied after every
validation and at the end.
"""

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hilum import storage
from hilum.training.config import NETWORK, TrainConfig
from hilum.training.history import EpochRecord
from hilum.training.observer import record_scalars

__all__ = ["TENSORBOARD_HINT", "EventFiles", "has_tensorboard"]

TENSORBOARD_HINT = "pip install 'hilum[tensorboard]' where the ranks run"


def has_tensorboard() -> bool:
    """Whether this Python can write event files; nothing is imported to find out."""
    return find_spec("tensorboard") is not None


class EventFiles:
    """An observer that writes RUN/tensorboard.

    Args:
        step: optimizer steps done already. A run that was killed may have written events of later
            steps; TensorBoard drops them when it meets this file.
    """

    def __init__(self, run_directory: str, config: TrainConfig, *, step: int = 0) -> None:
        # Half a second of imports, which the server of several ranks has paid already.
        from torch.utils.tensorboard import SummaryWriter

        self._target = storage.join(run_directory, "tensorboard")
        self._histograms = config.histograms
        self._last_step = -1
        self._cleanup = ExitStack()
        local = storage.local_path(self._target)
        if local is None:
            folder = tempfile.TemporaryDirectory(prefix="hilum-tensorboard-")
            self._folder = Path(self._cleanup.enter_context(folder))
        else:
            self._folder = local
        self._copies = local is None
        self._writer: Any = SummaryWriter(str(self._folder), purge_step=step + 1)
        self._describe(config)

    def step(self, step: int, scalars: Mapping[str, float]) -> None:
        """Write the scalars of a step."""
        self._last_step = step
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)

    def record(self, record: EpochRecord, outputs: tuple[str, ...], model: nn.Module) -> None:
        """Write what a validation measured, and histograms of the parameters where asked for."""
        if self._last_step != record.step:  # a short run may end before its first summary
            scalars = {
                "train/loss": record.train_loss,
                "train/lr": record.lr,
                "train/images_per_s": record.images_per_s,
            }
            self.step(record.step, scalars)
        for name, value in record_scalars(record, outputs).items():
            self._writer.add_scalar(name, value, record.step)
        if self._histograms:
            self._write_histograms(model, record.step)
        self._publish()

    def close(self) -> None:
        """Write out what is waiting, and leave no thread and no temporary file."""
        with self._cleanup:
            self._writer.close()
            self._copy()

    def _describe(self, config: TrainConfig) -> None:
        """Write the settings where TensorBoard's table of hyperparameters looks for them."""
        hparams: Any = import_module("torch.utils.tensorboard.summary").hparams
        shown = {"valid/loss": 0.0, "valid/mean_auc": 0.0}  # by name: their values are the scalars
        for summary in hparams(flat_settings(config.to_json()), shown):
            self._writer.file_writer.add_summary(summary)

    def _write_histograms(self, model: nn.Module, step: int) -> None:
        for name, parameter in model.named_parameters():
            values = parameter.detach().float().cpu().flatten()
            finite = values[torch.isfinite(values)]
            if len(finite):
                tag = f"parameters/{name.removeprefix('module.')}"
                self._writer.add_histogram(tag, finite.numpy(), step)

    def _publish(self) -> None:
        self._writer.flush()
        self._copy()

    def _copy(self) -> None:
        if self._copies:
            for file in self._folder.iterdir():
                storage.write_bytes(storage.join(self._target, file.name), file.read_bytes())


def flat_settings(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings by dotted names; lists as text; without the network's layers."""
    flat: dict[str, Any] = {}
    for key, entry in value.items():
        if key == NETWORK:
            continue
        name = f"{prefix}{key}"
        if isinstance(entry, Mapping):
            flat |= flat_settings(entry, f"{name}.")
        elif isinstance(entry, str | int | float | bool):
            flat[name] = entry
        else:
            flat[name] = "" if entry is None else str(entry)
    return flat
