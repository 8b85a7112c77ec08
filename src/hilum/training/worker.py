"""What every rank does from first to last: read the job, train, checkpoint, report.

    RUN/job.json           TrainConfig and where the cache is
    RUN/initial.safetensors weights all ranks start from, made once by the driver
    RUN/network/           files of the network, where it has some
    RUN/checkpoints/, RUN/history.json, RUN/progress.json

The worker knows torch.distributed and files; it knows nothing of Spark.
"""

import hashlib
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, cast

import torch
from safetensors.torch import load as load_tensors
from torch import nn

from hilum import storage
from hilum.errors import InvalidValueError, TrainingError
from hilum.models import create_model, freeze_layers
from hilum.models.designs import write_design_files
from hilum.models.weights import tensor_bytes
from hilum.training.checkpoint import Checkpoint, load_checkpoint, restore_optimizer
from hilum.training.config import Precision, TrainConfig
from hilum.training.heartbeat import Pulse, start_pulse
from hilum.training.keeper import CheckpointKeeper
from hilum.training.loop import Rank, prepare_rank, settle_buckets
from hilum.training.placement import Placement, open_placement
from hilum.training.progress import ProgressWriter
from hilum.training.sampler import num_steps
from hilum.training.shards import ImageCache
from hilum.training.steps import Run, Watchers, train
from hilum.training.summaries import open_observers
from hilum.training.world import World, all_reduce_sum

__all__ = ["TrainJob", "prepare_run", "train_worker"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainJob:
    """A run as it lies in its directory: what to train and on which cache."""

    config: TrainConfig
    cache_directory: str

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads."""
        return {"config": self.config.to_json(), "cache_directory": self.cache_directory}

    @staticmethod
    def from_json(value: Mapping[str, Any], run_directory: str = "") -> "TrainJob":
        """Read what `to_json` wrote."""
        config = TrainConfig.from_json(value["config"], run_directory)
        return TrainJob(config=config, cache_directory=value["cache_directory"])

    @staticmethod
    def read(run_directory: str) -> "TrainJob":
        """Read the job of a run."""
        stored = storage.read_json(storage.join(run_directory, "job.json"))
        return TrainJob.from_json(stored, run_directory)


def prepare_run(run_directory: str, job: TrainJob, model: nn.Module) -> None:
    """Write what the ranks start from. The job file comes last: with it, the run exists.

    Raises:
        InvalidValueError: `freeze` or `unfreeze` names a layer the network does not have.
    """
    layers = [job.config.freeze, *(layer for _, layer in job.config.unfreeze)]
    for layer in (*layers, ""):
        freeze_layers(model, job.config.blueprint, layer, also=job.config.frozen)
    initial = tensor_bytes(model.state_dict())
    storage.write_bytes(storage.join(run_directory, "initial.safetensors"), initial)
    write_design_files(job.config.design, run_directory)
    storage.write_json(storage.join(run_directory, "job.json"), job.to_json())


def train_worker(world: World, run_directory: str) -> str:
    """Train this rank's share of the run in `run_directory`; continues from its last checkpoint.

    Returns:
        SHA-256 of the final weights: equal on all ranks, or they have diverged.
    """
    with start_pulse(run_directory, world) as pulse:
        job = TrainJob.read(run_directory)
        with open_placement(world, job.config, job.cache_directory, run_directory) as placement:
            return _train(world, job.config, placement, run_directory, pulse)


def _train(
    world: World, config: TrainConfig, placement: Placement, run_directory: str, pulse: Pulse
) -> str:
    if len(placement.cache.positions("train")) == 0:
        raise InvalidValueError(
            "the training split must hold images. Got none. "
            'Hint: the column named by splitCol needs rows with the value "train".'
        )
    rank, run = _start(world, config, placement, run_directory)
    with ExitStack() as stack:
        train(rank, run, _watchers(rank, run, run_directory, pulse, stack))
    return weights_digest(rank.model)


def _watchers(rank: Rank, run: Run, run_directory: str, pulse: Pulse, stack: ExitStack) -> Watchers:
    if not rank.world.is_leader:
        return Watchers(pulse=pulse)
    config = rank.config
    observers = open_observers(run_directory, config, history=run.history, step=run.step)
    for observer in observers:
        stack.callback(observer.close)
    keeper = stack.enter_context(CheckpointKeeper(run_directory, config.keep_checkpoints))
    progress = stack.enter_context(ProgressWriter(run_directory))
    return Watchers(pulse=pulse, keeper=keeper, progress=progress, observers=observers)


def weights_digest(model: nn.Module) -> str:
    """SHA-256 over all tensors of a model's state, in order."""
    digest = hashlib.sha256()
    for tensor in model.state_dict().values():
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _start(
    world: World, config: TrainConfig, placement: Placement, run_directory: str
) -> tuple[Rank, Run]:
    model = create_model(config.blueprint, config.num_outputs, dropout=config.dropout)
    checkpoint = load_checkpoint(run_directory)
    _agree_on_start(world, -1 if checkpoint is None else checkpoint.step)
    step = 0 if checkpoint is None else checkpoint.step
    placement.enter(min(_epoch_of(step, placement.cache, config), config.max_epochs - 1))
    if checkpoint is None:
        initial = storage.read_bytes(storage.join(run_directory, "initial.safetensors"))
        model.load_state_dict(load_tensors(initial))
        rank, run = prepare_rank(world, config, placement, model), Run()
    else:
        model.load_state_dict(dict(checkpoint.weights))
        rank = prepare_rank(
            world,
            config,
            placement,
            model,
            cast(Precision, checkpoint.computed_in),
            epoch=_epoch_of(checkpoint.step - 1, placement.cache, config),
        )
        restore_optimizer(rank.optimizer, checkpoint.optimizer, checkpoint.group_state)
        run = _continued(rank, checkpoint)
    run.own_loss = run.own_loss.to(rank.device)
    settle_buckets(rank)
    return rank, run


def _epoch_of(step: int, cache: ImageCache, config: TrainConfig) -> int:
    steps_per_epoch = num_steps(len(cache.positions("train")), config.global_batch_size)
    return max(0, step) // steps_per_epoch


def _continued(rank: Rank, checkpoint: Checkpoint) -> Run:
    if rank.average is not None:
        rank.average.module.load_state_dict(dict(checkpoint.average or checkpoint.weights))
        rank.average.n_averaged.fill_(checkpoint.step + 1)
    return Run(
        history=checkpoint.history,
        step=checkpoint.step,
        totals=checkpoint.totals,
        trained_s=checkpoint.trained_s,
        images=checkpoint.images,
        seconds=checkpoint.seconds,
    )


def _agree_on_start(world: World, step: int) -> None:
    """Storage that shows ranks different checkpoints would train different networks."""
    mean = float(all_reduce_sum(torch.tensor(float(step)), world)) / world.num_ranks
    if mean != step:
        raise TrainingError(
            f"all ranks must start from the same checkpoint. Got step {step} on rank {world.rank}, "
            f"{mean:g} on average. Hint: the run directory must be storage that all hosts share."
        )
