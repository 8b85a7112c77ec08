"""A run as a sequence of optimizer steps, and what happens between them.

The position in a run is one number, the global step. Samples, augmentation, dropout and learning
rate are functions of it and the seed, so a run restarted at any step, also with another number of
ranks, goes on as if nothing had happened.
"""

import logging
import math
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from hilum.optim import set_lr
from hilum.training.batches import Batch, prefetch
from hilum.training.checkpoint import Checkpoint, optimizer_state
from hilum.training.heartbeat import Pulse
from hilum.training.history import EpochRecord, History
from hilum.training.keeper import CheckpointKeeper
from hilum.training.loop import (
    Rank,
    average_running_statistics,
    enter_epoch,
    train_step,
    validate,
)
from hilum.training.progress import Progress, ProgressWriter
from hilum.training.sampler import num_steps, step_samples
from hilum.training.summaries import Guarded
from hilum.training.triggers import Position
from hilum.training.world import all_reduce_sum

__all__ = ["Run", "Watchers", "train"]

logger = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Run:
    """How far this rank is; all of it comes out of a checkpoint and goes into the next.

    Attributes:
        history: what was validated so far.
        step: optimizer steps done.
        own_loss, own_known: this rank's summed loss (a float64 scalar on its device) and known
            labels since they were last summed over ranks. totals: the sums over ranks since the
            last record.
        trained_s, images: seconds and images since the last record, validation not counted.
        seconds: time trained over all restarts.
        lr, gradient_norm: of the last step.
    """

    history: History = field(default_factory=History)
    step: int = 0
    own_loss: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))
    own_known: float = 0.0
    totals: tuple[float, float] = (0.0, 0.0)
    trained_s: float = 0.0
    images: int = 0
    seconds: float = 0.0
    lr: float = 0.0
    gradient_norm: float = math.nan

    @property
    def loss(self) -> float:
        """Mean loss since the last record, of this rank and of what all ranks summed."""
        summed, known = self.totals
        return (summed + float(self.own_loss)) / ((known + self.own_known) or 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watchers:
    """Where a rank reports: its signs of life, and on rank 0 all else.

    Attributes:
        pulse: None where nobody watches for hanging ranks.
    """

    pulse: Pulse | None = None
    keeper: CheckpointKeeper | None = None
    progress: ProgressWriter | None = None
    observers: Sequence[Guarded] = ()

    @property
    def problem(self) -> str:
        """What the user should know now; empty while all is well."""
        problems = [self.keeper.problem if self.keeper is not None else ""]
        return "; ".join(filter(None, [*problems, *(each.problem for each in self.observers)]))


def train(rank: Rank, run: Run, watchers: Watchers) -> None:
    """Train from `run.step` until a rule ends the run; validated and kept at its end."""
    config = rank.config
    steps_per_epoch = num_steps(len(rank.cache.positions("train")), config.global_batch_size)
    at = Position(run.step, steps_per_epoch, run.seconds)
    while _end(rank, run, at) is None:
        run.history = run.history.ended("")
        started = time.perf_counter()
        rank.placement.enter(at.epoch, partial(_stay_alive, run, watchers, "copying images"))
        rank = enter_epoch(rank, at.epoch)
        rank.source.prepare(at.epoch, partial(_report_features, rank, run, at, watchers))
        order = rank.placement.order(at.epoch)
        todo = range(at.step_in_epoch, steps_per_epoch)
        samples = (step_samples(order, step, config.global_batch_size) for step in todo)
        with closing(prefetch(rank.source.batches(samples))) as batches:
            for batch in batches:
                _step(rank, run, batch, at.epoch)
                elapsed_s = time.perf_counter() - started
                run.trained_s, run.seconds = run.trained_s + elapsed_s, run.seconds + elapsed_s
                before, at = at, Position(run.step, steps_per_epoch, _agreed_seconds(rank, run))
                _between_steps(rank, run, before, at, watchers)
                if run.history.stopped:
                    break
                started = time.perf_counter()
    _report(rank, run, at, watchers, "done")


def _step(rank: Rank, run: Run, batch: Batch, epoch: int) -> None:
    measurements = run.history.measurements(rank.config.watched_metric)
    run.lr = rank.config.schedule.lr(run.step, measurements)
    set_lr(rank.optimizer, run.lr)
    summed, known, run.gradient_norm = train_step(rank, batch, epoch)
    run.own_loss += summed
    run.own_known += known
    run.step += 1
    run.images += len(batch.global_labels)


def _between_steps(
    rank: Rank, run: Run, before: Position, at: Position, watchers: Watchers
) -> None:
    """Report, validate and keep, as the triggers say; always at the end of the run."""
    config = rank.config
    _report(rank, run, at, watchers, "training")
    if config.summarise_every.due(before, at):
        _summarise(run, watchers.observers)
    is_best = False
    if _end(rank, run, at) is not None or config.validate_every.due(before, at):
        _report(rank, run, at, watchers, "validating")
        _record(rank, run, before, watchers)
        is_best = run.history.best(config.best_metric) is run.history.epochs[-1]
        run.history = run.history.ended(_end(rank, run, at) or "")
    ends = bool(run.history.stopped)
    if ends or is_best or config.checkpoint_every.due(before, at):
        _keep(rank, run, watchers.keeper, is_best=is_best)


def _end(rank: Rank, run: Run, at: Position) -> str | None:
    config = rank.config
    return config.stopping.reason(at, run.history, config.max_epochs, config.best_metric)


def _agreed_seconds(rank: Rank, run: Run) -> float:
    """Time trained, by the leader's clock where a rule depends on it."""
    if not rank.config.needs_clock:
        return run.seconds
    own = run.seconds if rank.world.is_leader else 0.0
    return float(all_reduce_sum(torch.tensor(own, dtype=torch.float64), rank.world))


def _record(rank: Rank, run: Run, before: Position, watchers: Watchers) -> None:
    """Validate, append the record, and begin the next."""
    started = time.perf_counter()
    _sum_over_ranks(rank, run)
    average_running_statistics(rank)
    found = validate(rank)
    valid_s = time.perf_counter() - started
    summed, known = run.totals
    record = EpochRecord(
        epoch=before.epoch,
        step=run.step,
        train_loss=summed / (known or 1.0),
        valid_loss=found.loss,
        valid_mean_auroc=found.mean_auroc,
        valid_auroc=found.auroc,
        valid_accuracy=found.accuracy,
        valid_log_loss=found.log_loss,
        lr=run.lr,
        images_per_s=run.images / max(run.trained_s, 1e-9),
        seconds=run.trained_s + valid_s,
    )
    run.history = run.history.append(record)
    run.seconds += valid_s
    run.totals, run.images, run.trained_s = (0.0, 0.0), 0, 0.0
    if watchers.keeper is not None:
        watchers.keeper.publish(run.history)
    for observer in watchers.observers:
        observer.record(record, rank.config.scored_outputs, rank.validated)
    logger.info("step=%d record=%s", run.step, record)


def _keep(rank: Rank, run: Run, keeper: CheckpointKeeper | None, *, is_best: bool) -> None:
    """Take a checkpoint: all ranks agree on sums and statistics, rank 0 copies and writes."""
    _sum_over_ranks(rank, run)
    average_running_statistics(rank)
    if keeper is None:
        return
    tensors, counters = optimizer_state(rank.optimizer)
    keeper.save(
        Checkpoint(
            weights=_copies(rank.model.state_dict().items()),
            average=(
                {} if rank.average is None else _copies(rank.average.module.state_dict().items())
            ),
            optimizer=_copies(tensors.items()),
            group_state=counters,
            history=run.history,
            step=run.step,
            totals=run.totals,
            trained_s=run.trained_s,
            images=run.images,
            seconds=run.seconds,
            computed_in=str(rank.dtype).removeprefix("torch."),
        ),
        is_best=is_best,
    )


def _copies(tensors: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    # safetensors refuses channels_last strides and shared storage.
    return {
        name: value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, value in tensors
    }


def _sum_over_ranks(rank: Rank, run: Run) -> None:
    """Move what each rank summed into the totals of all; at checkpoints too, so that a resumed
    run adds up the same numbers in the same order."""
    own = torch.tensor([float(run.own_loss), run.own_known], dtype=torch.float64)
    summed, known = all_reduce_sum(own, rank.world).tolist()
    run.totals = (run.totals[0] + summed, run.totals[1] + known)
    run.own_loss, run.own_known = torch.zeros_like(run.own_loss), 0.0


def _summarise(run: Run, observers: Sequence[Guarded]) -> None:
    if not observers:
        return
    scalars = {
        "train/loss": run.loss,
        "train/lr": run.lr,
        "train/images_per_s": run.images / max(run.trained_s, 1e-9),
    }
    if not math.isnan(run.gradient_norm):
        scalars["train/gradient_norm"] = run.gradient_norm
    for observer in observers:
        observer.step(run.step, scalars)


def _report(rank: Rank, run: Run, at: Position, watchers: Watchers, phase: str) -> None:
    if watchers.pulse is not None:
        watchers.pulse.move(run.step, phase)
    writer = watchers.progress
    if writer is None or not (phase == "done" or writer.is_due()):
        return
    max_epochs = rank.config.max_epochs
    # The last step of an epoch belongs to it, not to the next.
    epoch = max(0, at.step - 1) // at.steps_per_epoch
    writer.write(
        Progress(
            phase=phase,
            epoch=epoch,
            max_epochs=max_epochs,
            step=at.step - epoch * at.steps_per_epoch,
            num_steps=at.steps_per_epoch,
            images_per_s=run.images / run.trained_s if run.trained_s else 0.0,
            loss=run.loss if run.images else None,
            lr=run.lr,
            seconds_left=0.0 if phase == "done" else _seconds_left(run, at, max_epochs),
            warning=watchers.problem or rank.learning.notice,
        )
    )


def _stay_alive(run: Run, watchers: Watchers, doing: str) -> None:
    if watchers.pulse is not None:
        watchers.pulse.move(run.step, doing)


def _report_features(
    rank: Rank, run: Run, at: Position, watchers: Watchers, done: int, total: int
) -> None:
    """Say how far the features of an epoch are."""
    _stay_alive(run, watchers, "features")
    writer = watchers.progress
    if writer is None or not writer.is_due():
        return
    writer.write(
        Progress(
            phase="features",
            epoch=at.epoch,
            max_epochs=rank.config.max_epochs,
            step=done,
            num_steps=total,
        )
    )


def _seconds_left(run: Run, at: Position, max_epochs: int) -> float | None:
    if at.step == 0:
        return None
    return run.seconds / at.step * (max_epochs * at.steps_per_epoch - at.step)
