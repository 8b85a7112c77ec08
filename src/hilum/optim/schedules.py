"""Learning-rate schedules: frozen values that map a step, and what was measured, to a rate.

A schedule is a pure function; it never touches an optimizer. So it prints, compares, pickles,
resumes from a history alone, and is tested without training:
`simulate(LinearWarmup(peak=1e-4, steps=100), 200)`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from hilum.errors import require
from hilum.optim.serialization import from_json, to_json

__all__ = [
    "Constant",
    "Cosine",
    "LinearWarmup",
    "Measurement",
    "ReduceOnPlateau",
    "Schedule",
    "Sequential",
    "paper_schedule",
    "schedule_from_json",
    "schedule_to_json",
    "simulate",
    "warmup_then",
    "warmup_then_plateau",
]


@dataclass(frozen=True, slots=True)
class Measurement:
    """A value measured after `step` optimizer steps, such as the validation loss. Lower is better.

    Whoever watches a score that rises, such as the AUC, passes 1 - score.
    """

    step: int
    value: float


class Schedule(Protocol):
    """What the training loop asks before every optimizer step."""

    def lr(self, step: int, measurements: Sequence[Measurement] = ()) -> float:
        """Return the learning rate for the step after `step` completed ones.

        Args:
            step: from 0.
            measurements: oldest first; those taken after `step` are ignored, so that the
                history of a finished run gives the rates it had.
        """
        ...


def simulate(
    schedule: Schedule, num_steps: int, measurements: Sequence[Measurement] = ()
) -> list[float]:
    """Return the learning rates of the first `num_steps` steps, without training."""
    return [schedule.lr(step, measurements) for step in range(num_steps)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """The same learning rate for ever."""

    base: float

    def __post_init__(self) -> None:
        _require_rate("base", self.base)

    def lr(self, step: int, measurements: Sequence[Measurement] = ()) -> float:
        """Return `base`."""
        return self.base


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearWarmup:
    """Rise linearly from `start` to `peak` over `steps` optimizer steps, then stay.

    Avoids the early divergence of large global batches (Goyal et al. 2017, sec. 2.2).
    """

    peak: float
    steps: int
    start: float = 0.0

    def __post_init__(self) -> None:
        _require_rate("peak", self.peak)
        _require_rate("start", self.start)
        _require_count("steps", self.steps, at_least=1)

    def lr(self, step: int, measurements: Sequence[Measurement] = ()) -> float:
        """Return `start` at step 0, `peak` from step `steps` on."""
        share = min(step / self.steps, 1.0)
        return self.start * (1.0 - share) + self.peak * share


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosine:
    """Fall from `base` to `end` along half a cosine over `steps` optimizer steps, then stay.

    SGDR without restarts (Loshchilov & Hutter 2017, eq. 5).
    """

    base: float
    steps: int
    end: float = 0.0

    def __post_init__(self) -> None:
        _require_rate("base", self.base)
        _require_rate("end", self.end)
        _require_count("steps", self.steps, at_least=1)

    def lr(self, step: int, measurements: Sequence[Measurement] = ()) -> float:
        """Return `base` at step 0, `end` from step `steps` on."""
        share = min(step / self.steps, 1.0)
        return self.end + (self.base - self.end) * (1.0 + math.cos(math.pi * share)) / 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReduceOnPlateau:
    """Multiply the learning rate by `factor` when more than `patience` measurements bring nothing.

    The algorithm of `torch.optim.lr_scheduler.ReduceLROnPlateau` with mode="min",
    threshold_mode="rel" and eps=0. It differs where values are negative: there PyTorch takes an
    unchanged value for an improvement.

    Attributes:
        min_delta: an improvement is a fall by more than this share of the best value so far.
        cooldown: measurements after a cut that do not count as bad.
    """

    base: float
    factor: float = 0.1
    patience: int = 1
    min_delta: float = 1e-4
    cooldown: int = 0
    min_lr: float = 0.0

    def __post_init__(self) -> None:
        _require_rate("base", self.base)
        _require_rate("min_lr", self.min_lr)
        require(0 < self.factor < 1, "factor", "between 0 and 1", self.factor)
        require(0 <= self.min_delta < 1, "min_delta", "at least 0 and below 1", self.min_delta)
        _require_count("patience", self.patience, at_least=0)
        _require_count("cooldown", self.cooldown, at_least=0)

    def lr(self, step: int, measurements: Sequence[Measurement] = ()) -> float:
        """Return the rate after all measurements up to `step`; NaN counts as no improvement."""
        rate, best, num_bad, cooling = self.base, math.inf, 0, 0
        for measurement in measurements:
            if measurement.step > step:
                break
            if _improves(measurement.value, best, self.min_delta):
                best, num_bad = measurement.value, 0
            else:
                num_bad += 1
            if cooling > 0:
                cooling, num_bad = cooling - 1, 0
            if num_bad > self.patience:
                rate = max(rate * self.factor, self.min_lr)
                cooling, num_bad = self.cooldown, 0
        return rate


def _improves(value: float, best: float, min_delta: float) -> bool:
    if math.isinf(best):
        return value < best
    return value < best - abs(best) * min_delta


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequential:
    """One schedule after another, each for a number of steps, the last one without end.

    Every part counts steps from its own start, and parts after the first see only the
    measurements taken after it: what a warm-up reached is no yardstick for the plateau.

    Attributes:
        parts: (schedule, number of steps) pairs; the last number is None.
    """

    parts: tuple[tuple[Schedule, int | None], ...]

    def __post_init__(self) -> None:
        pairs = len(self.parts) > 0 and all(
            isinstance(part, tuple) and len(part) == 2 and callable(getattr(part[0], "lr", None))
            for part in self.parts
        )
        require(pairs, "parts", "one or more (schedule, steps) pairs", self.parts)
        *earlier, (_, last) = self.parts
        for _, steps in earlier:
            _require_count("steps of a part", steps, at_least=1)
        require(last is None, "steps of the last part", "None, for it has no end", last)

    def lr(self, step: int, measurements: Sequence[Measurement] = ()) -> float:
        """Return the rate of the part that `step` falls into."""
        start, position = 0, 0
        while (steps := self.parts[position][1]) is not None and step >= start + steps:
            start, position = start + steps, position + 1
        own = (
            [Measurement(m.step - start, m.value) for m in measurements if m.step > start]
            if position
            else measurements
        )
        return self.parts[position][0].lr(step - start, own)


def warmup_then(after: Schedule, peak: float, warmup_steps: int, *, start: float = 0.0) -> Schedule:
    """Rise from `start` to `peak` over `warmup_steps` optimizer steps, then follow `after`."""
    if warmup_steps == 0:
        return after
    warmup = LinearWarmup(start=start, peak=peak, steps=warmup_steps)
    return Sequential(parts=((warmup, warmup_steps), (after, None)))


def warmup_then_plateau(
    peak: float,
    warmup_steps: int,
    *,
    start: float = 0.0,
    factor: float = 0.1,
    patience: int = 1,
    min_lr: float = 0.0,
) -> Schedule:
    """Rise to `peak`, hold it, and cut it whenever measurements stop improving."""
    plateau = ReduceOnPlateau(base=peak, factor=factor, patience=patience, min_lr=min_lr)
    return warmup_then(plateau, peak, warmup_steps, start=start)


def paper_schedule(steps_per_epoch: int) -> Schedule:
    """The schedule of the 2019 white paper (H17686, "Defining the optimizer").

    From 1e-7 to 1e-4 over 5 epochs, then a tenth whenever the loss stops falling (patience 1,
    never below 1e-15). What counts as falling is PyTorch's rule: by more than 0.01 % of the best.
    The paper's absolute 0.01 is a third of what its loss falls in the whole run (0.18 to 0.15)
    and ends training after eight or nine epochs.
    """
    _require_count("steps_per_epoch", steps_per_epoch, at_least=1)
    return warmup_then_plateau(1e-4, 5 * steps_per_epoch, start=1e-7, min_lr=1e-15)


def schedule_to_json(schedule: Schedule) -> dict[str, Any]:
    """Return the schedule as a JSON object."""
    return to_json(schedule, _KINDS)


def schedule_from_json(data: object) -> Schedule:
    """Rebuild a schedule from `schedule_to_json`'s object.

    Raises:
        InvalidValueError: an unknown type or field, or a value that breaks a rule.
    """
    return from_json(data, _KINDS)


_KINDS: Mapping[str, type[Schedule]] = {
    kind.__name__: kind for kind in (Constant, LinearWarmup, Cosine, ReduceOnPlateau, Sequential)
}


def _require_rate(name: str, value: float) -> None:
    require(value >= 0 and math.isfinite(value), name, "a finite number of at least 0", value)


def _require_count(name: str, value: int | None, *, at_least: int) -> None:
    whole = isinstance(value, int) and value >= at_least
    require(whole, name, f"a whole number of at least {at_least}", value)
