"""Learning-rate schedules: frozen values that map a step, and what was measured, to a rate.

A schedule is a pure function; it never touches an optimizer. So it prints, compares, pickles,
resumes from a history alone, and is tested without training:
`simulate(LinearWarmup(peak=1e-4, steps=100), 200)`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hilum.errors import require
from hilum.optim.curves import (
    Constant,
    Cosine,
    Exponential,
    LinearWarmup,
    MultiStep,
    OneCycle,
    Polynomial,
    StepDecay,
)
from hilum.optim.plateau import Plateau2019, ReduceOnPlateau
from hilum.optim.schedule import Measurement, Schedule, require_count
from hilum.optim.serialization import from_json, to_json

__all__ = [
    "Sequential",
    "paper_schedule",
    "schedule_from_json",
    "schedule_to_json",
    "warmup_then",
    "warmup_then_plateau",
]


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
            require_count("steps of a part", steps, at_least=1)
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
    require_count("steps_per_epoch", steps_per_epoch, at_least=1)
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
    kind.__name__: kind
    for kind in (
        Constant,
        LinearWarmup,
        Cosine,
        Polynomial,
        Exponential,
        StepDecay,
        MultiStep,
        OneCycle,
        ReduceOnPlateau,
        Plateau2019,
        Sequential,
    )
}
