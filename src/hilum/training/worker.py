"""What every rank does from first to last: read the job, train, checkpoint, report.

    RUN/job.json           TrainConfig and where the cache is
    RUN/initial.safetensors weights all ranks start from, made once by the driver
    RUN/checkpoints/, RUN/history.json, RUN/progress.json

The worker knows torch.distributed and files; it knows nothing of Spark.
"""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

from hilum import storage
from hilum.errors import InvalidValueError
from hilum.models import create_model
from hilum.training.checkpoint import load_checkpoint, restore_optimizer, save_checkpoint
from hilum.training.config import TrainConfig
from hilum.training.history import History
from hilum.training.loop import Rank, prepare_rank, train_epoch
from hilum.training.progress import Progress, ProgressWriter
from hilum.training.shards import ImageCache, open_cache
from hilum.training.world import World

__all__ = ["TrainJob", "prepare_run", "train_worker"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainJob:
    """A run as it lies in its directory: what to train and on which cache."""

    config: TrainConfig
    cache_directory: str

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads."""
        return {"config": self.config.to_json(), "cache_directory": self.cache_directory}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "TrainJob":
        """Read what `to_json` wrote."""
        return TrainJob(
            config=TrainConfig.from_json(value["config"]), cache_directory=value["cache_directory"]
        )


def prepare_run(run_directory: str, job: TrainJob, model: nn.Module) -> None:
    """Write what the ranks start from. The job file comes last: with it, the run exists."""
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    storage.write_bytes(storage.join(run_directory, "initial.safetensors"), save_tensors(tensors))
    storage.write_json(storage.join(run_directory, "job.json"), job.to_json())


def train_worker(world: World, run_directory: str) -> str:
    """Train this rank's share of the run in `run_directory`; continues from its last checkpoint.

    Returns:
        SHA-256 of the final weights: equal on all ranks, or they have diverged.
    """
    job = TrainJob.from_json(storage.read_json(storage.join(run_directory, "job.json")))
    cache = open_cache(job.cache_directory, verify=world.local_rank == 0)
    if len(cache.positions("train")) == 0:
        raise InvalidValueError(
            "the training split must hold images. Got none. "
            'Hint: the column named by splitCol needs rows with the value "train".'
        )
    rank, history = _start(world, job.config, cache, run_directory)
    writer = ProgressWriter(run_directory)

    def report(progress: Progress) -> None:
        if world.is_leader:
            writer.write(progress)

    while len(history) < job.config.max_epochs:
        history = history.append(train_epoch(rank, history, report))
        if world.is_leader:
            save_checkpoint(
                run_directory,
                rank.model.state_dict(),
                rank.optimizer,
                history,
                job.config.best_metric,
            )
            storage.write_json(storage.join(run_directory, "history.json"), history.to_json())
            logger.info("epoch=%d record=%s", len(history) - 1, history.epochs[-1])
    if world.is_leader:
        last = Progress(phase="done", epoch=len(history) - 1, max_epochs=job.config.max_epochs)
        writer.write(last, force=True)
    return weights_digest(rank.model)


def weights_digest(model: nn.Module) -> str:
    """SHA-256 over all tensors of a model's state, in order."""
    digest = hashlib.sha256()
    for tensor in model.state_dict().values():
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _start(
    world: World, config: TrainConfig, cache: ImageCache, run_directory: str
) -> tuple[Rank, History]:
    model = create_model(config.architecture, len(config.outputs), dropout=config.dropout)
    checkpoint = load_checkpoint(run_directory)
    if checkpoint is None:
        initial = storage.read_bytes(storage.join(run_directory, "initial.safetensors"))
        model.load_state_dict(load_tensors(initial))
        return prepare_rank(world, config, cache, model), History()
    model.load_state_dict(dict(checkpoint.weights))
    rank = prepare_rank(world, config, cache, model)
    restore_optimizer(rank.optimizer, checkpoint.optimizer)
    return rank, checkpoint.history
