"""The learning-rate schedules of 2019, and which `hilum.optim` schedule each becomes.

A schedule of 2019 has no rate of its own: it changes the optimizer's. `modern_schedule` is told
that rate, and how many steps an epoch has.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from hilum.errors import InvalidValueError, require
from hilum.optim import (
    Constant,
    LinearWarmup,
    MultiStep,
    Plateau2019,
    Polynomial,
    StepDecay,
)
from hilum.optim import Exponential as SmoothExponential
from hilum.optim import Schedule as ModernSchedule
from hilum.optim import Sequential as ModernSequential
from hilum.training import WatchedMetric

__all__ = [
    "Default",
    "EpochStep",
    "Exponential",
    "MultiStep2019",
    "NaturalExp",
    "Plateau",
    "Poly",
    "SequentialSchedule",
    "Step",
    "Warmup",
    "modern_schedule",
    "watched_metric",
]


@dataclass(frozen=True, slots=True)
class Default:
    """The optimizer's rate for ever; the decay beside it must be 0."""


@dataclass(frozen=True, slots=True)
class Warmup:
    """Add `delta` to the rate at every step; only within a `SequentialSchedule`."""

    delta: float


@dataclass(frozen=True, slots=True)
class Poly:
    """rate * (1 - n / max_iteration) ** power at step n, counted from the schedule's own start."""

    power: float
    max_iteration: int


@dataclass(frozen=True, slots=True)
class Step:
    """Multiply the rate by `gamma` at every `step_size`-th step."""

    step_size: int
    gamma: float


@dataclass(frozen=True, slots=True)
class MultiStep2019:
    """Multiply the rate by `gamma` at each of these steps; `MultiStep` in scripts of 2019."""

    step_sizes: Sequence[int]
    gamma: float


@dataclass(frozen=True, slots=True)
class EpochStep:
    """Multiply the rate by `gamma` at every `step_size`-th epoch."""

    step_size: int
    gamma: float


@dataclass(frozen=True, slots=True)
class NaturalExp:
    """rate * exp(-gamma * (n // decay_step)) at step n."""

    decay_step: int
    gamma: float


@dataclass(frozen=True, slots=True)
class Exponential:
    """rate * decay_rate ** (n / decay_step), in steps of whole powers with `stair_case`."""

    decay_step: int
    decay_rate: float
    stair_case: bool = False


@dataclass(frozen=True, slots=True)
class Plateau:
    """Cut the rate when what is watched stops improving.

    The algorithm is that of 2019 to the letter, with its memory of waiting after a cut. What it
    watches is the training loss of the whole epoch ("Loss") or the mean AUC ("score"); in 2019
    "Loss" was that of the last mini-batch, mostly noise.
    """

    monitor: str
    factor: float = 0.1
    patience: int = 10
    mode: str = "min"
    epsilon: float = 1e-4
    cooldown: int = 0
    min_lr: float = 0.0

    def __post_init__(self) -> None:
        known = {"loss": "min", "score": "max"}
        monitor = self.monitor.lower()
        require(monitor in known, "monitor", "Loss or score", self.monitor)
        wanted = known[monitor]
        require(self.mode == wanted, f"mode for {self.monitor}", wanted, self.mode)


@dataclass(slots=True)
class SequentialSchedule:
    """Schedules one after another: `.add(schedule, steps)`.

    Each begins with the rate at which the one before ended, and counts its own steps. What comes
    after a `Plateau` has its turn, too, which in 2019 it never had.
    """

    iteration_per_epoch: int
    parts: tuple[tuple[Any, int], ...] = ()

    def add(
        self, scheduler: Any, max_iteration: int, bigdl_type: str = "float"
    ) -> "SequentialSchedule":
        """Put a schedule at the end, for so many steps; returns itself."""
        require(max_iteration > 0, "max_iteration", "positive", max_iteration)
        self.parts = (*self.parts, (scheduler, max_iteration))
        return self


def modern_schedule(
    schedule: Any, rate: float, steps_per_epoch: Callable[[], int]
) -> ModernSchedule:
    """What a schedule of 2019 becomes.

    Args:
        schedule: of this module, None for `Default`, or one of `hilum.optim` as it is.
        rate: the optimizer's.
        steps_per_epoch: asked only where it matters, for it may count the data.

    Raises:
        InvalidValueError: it cannot stand alone, or is none.
    """
    if isinstance(schedule, SequentialSchedule):
        return _sequential(schedule, rate, steps_per_epoch)
    if isinstance(schedule, Warmup):
        raise InvalidValueError(
            "Warmup must be a part of SequentialSchedule, or the rate would rise without end. "
            "Got it alone."
        )
    if schedule is None:
        return Constant(base=rate)
    if type(schedule) in _SIMPLE:
        return _SIMPLE[type(schedule)](schedule, rate)
    if isinstance(schedule, EpochStep):
        steps = schedule.step_size * steps_per_epoch()
        return StepDecay(base=rate, factor=schedule.gamma, steps=steps)
    if callable(getattr(schedule, "lr", None)):
        modern: ModernSchedule = schedule
        return modern
    raise InvalidValueError(
        f"schedule must be one of hilum.zoo or of hilum.optim. Got {schedule!r}. "
        "Hint: docs/migration.md lists those of 2019 that are not here."
    )


def watched_metric(schedule: Any) -> WatchedMetric:
    """What the plateau in a schedule watches; the training loss where there is none."""
    parts = schedule.parts if isinstance(schedule, SequentialSchedule) else ((schedule, 0),)
    for part, _ in parts:
        if isinstance(part, Plateau) and part.monitor.lower() == "score":
            return "valid_mean_auroc"
    return "train_loss"


def _sequential(
    schedule: SequentialSchedule, rate: float, steps_per_epoch: Callable[[], int]
) -> ModernSchedule:
    require(bool(schedule.parts), "SequentialSchedule", "made of parts", schedule.parts)
    parts: list[tuple[ModernSchedule, int | None]] = []
    for part, steps in schedule.parts:
        if isinstance(part, Warmup):
            peak = rate + part.delta * steps
            modern: ModernSchedule = LinearWarmup(start=rate, peak=peak, steps=steps)
        else:
            modern = modern_schedule(part, rate, steps_per_epoch)
        parts.append((modern, steps))
        rate = modern.lr(steps)
    parts[-1] = (parts[-1][0], None)
    return parts[0][0] if len(parts) == 1 else ModernSequential(parts=tuple(parts))


def _plateau(schedule: Plateau, rate: float) -> ModernSchedule:
    return Plateau2019(
        base=rate,
        factor=schedule.factor,
        patience=schedule.patience,
        epsilon=schedule.epsilon,
        cooldown=schedule.cooldown,
        min_lr=schedule.min_lr,
    )


def _exponential(schedule: Exponential, rate: float) -> ModernSchedule:
    kind = StepDecay if schedule.stair_case else SmoothExponential
    return kind(base=rate, factor=schedule.decay_rate, steps=schedule.decay_step)


_SIMPLE: Mapping[type, Callable[[Any, float], ModernSchedule]] = MappingProxyType(
    {
        Default: lambda schedule, rate: Constant(base=rate),
        Poly: lambda schedule, rate: Polynomial(
            base=rate, steps=schedule.max_iteration, power=schedule.power
        ),
        Step: lambda schedule, rate: StepDecay(
            base=rate, factor=schedule.gamma, steps=schedule.step_size
        ),
        MultiStep2019: lambda schedule, rate: MultiStep(
            base=rate, factor=schedule.gamma, milestones=tuple(schedule.step_sizes)
        ),
        NaturalExp: lambda schedule, rate: StepDecay(
            base=rate, factor=math.exp(-schedule.gamma), steps=schedule.decay_step
        ),
        Exponential: _exponential,
        Plateau: _plateau,
    }
)
