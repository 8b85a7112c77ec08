"""Schedules by name, as commands and parameters know them; or any schedule as JSON.

A name stands for the usual shape and leaves peak, length and warm-up to the run. Who wants other
numbers writes the schedule itself: `hilum schedule plot NAME --json` prints where to start from.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hilum.errors import InvalidValueError, require
from hilum.optim.curves import (
    Constant,
    Cosine,
    Exponential,
    MultiStep,
    OneCycle,
    Polynomial,
    StepDecay,
)
from hilum.optim.plateau import Plateau2019, ReduceOnPlateau
from hilum.optim.schedule import Schedule, require_count, require_rate
from hilum.optim.schedules import paper_schedule, schedule_from_json, warmup_then

__all__ = ["SCHEDULES", "Span", "schedule_of"]

SCHEDULES: Mapping[str, str] = MappingProxyType(
    {
        "cosine": "half a cosine down to 0 at the end of the run",
        "plateau": "a tenth whenever the watched metric has not improved for two measurements",
        "plateau_2019": "the 2019 system's plateau with the paper's values (patience 1, epsilon "
        "0.01); cuts at every further bad measurement, to reproduce its runs",
        "constant": "stays at the peak",
        "step": "a tenth after each third of the run",
        "multistep": "a tenth after a half and after three quarters of the run",
        "polynomial": "the square of the share of the run that is left",
        "exponential": "falls evenly in the logarithm to a hundredth at the end of the run",
        "one_cycle": "up for 30 % of the run and far down again; has its own warm-up",
        "paper": "the white paper's: 1e-7 to 1e-4 over 5 epochs, then plateau (factor 0.1, "
        "patience 1); brings its own peak and warm-up",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """What a schedule's name leaves open.

    Attributes:
        peak: highest learning rate.
        steps: optimizer steps of the whole run.
        steps_per_epoch: of them, in one pass over the data.
        warmup_epochs: epochs of linear warm-up, part of the run.
    """

    peak: float
    steps: int
    steps_per_epoch: int
    warmup_epochs: float = 0.0

    def __post_init__(self) -> None:
        require_rate("peak", self.peak)
        require_count("steps", self.steps, at_least=1)
        require_count("steps_per_epoch", self.steps_per_epoch, at_least=1)
        require(self.warmup_epochs >= 0, "warmup_epochs", "at least 0", self.warmup_epochs)

    @property
    def warmup_steps(self) -> int:
        """Optimizer steps of warm-up."""
        return round(self.warmup_epochs * self.steps_per_epoch)

    @property
    def steps_left(self) -> int:
        """Optimizer steps after warm-up, at least 1."""
        return max(1, self.steps - self.warmup_steps)


def schedule_of(text: str, span: Span) -> Schedule:
    """Return the schedule that a name or a JSON object stands for.

    Args:
        text: a name of `SCHEDULES`, or what `schedule_to_json` gives, as text. The latter holds
            its own peak, lengths and warm-up, so nothing of `span` is read.
        span: what the name leaves open.

    Raises:
        InvalidValueError: neither; the message lists the names.
    """
    if text == "paper":
        return paper_schedule(span.steps_per_epoch)
    if text == "one_cycle":
        return OneCycle(peak=span.peak, steps=max(2, span.steps))
    if text in _SHAPES:
        # Step 1 of n takes 1/n of the peak: a first step at 0 would train nothing.
        start = span.peak / max(1, span.warmup_steps)
        shape = _SHAPES[text](span.peak, span.steps_left)
        return warmup_then(shape, span.peak, span.warmup_steps, start=start)
    if text.lstrip().startswith("{"):
        return _from_text(text)
    raise InvalidValueError(
        f"schedule must be one of {', '.join(SCHEDULES)}, or a schedule as JSON. Got {text!r}."
    )


def _from_text(text: str) -> Schedule:
    try:
        return schedule_from_json(json.loads(text))
    except ValueError as error:
        raise InvalidValueError(
            f"schedule must be a schedule as JSON. Got {text!r}: {error} "
            "Hint: `hilum schedule plot cosine --json` prints one."
        ) from error


def _milestones(steps: int) -> tuple[int, ...]:
    return tuple(sorted({max(1, steps // 2), max(1, 3 * steps // 4)}))


_SHAPES: Mapping[str, Callable[[float, int], Schedule]] = MappingProxyType(
    {
        "cosine": lambda peak, steps: Cosine(base=peak, steps=steps),
        "plateau": lambda peak, steps: ReduceOnPlateau(base=peak),
        "plateau_2019": lambda peak, steps: Plateau2019(
            base=peak, patience=1, epsilon=0.01, min_lr=min(1e-15, peak)
        ),
        "constant": lambda peak, steps: Constant(base=peak),
        "step": lambda peak, steps: StepDecay(base=peak, factor=0.1, steps=-(-steps // 3)),
        "multistep": lambda peak, steps: MultiStep(
            base=peak, factor=0.1, milestones=_milestones(steps)
        ),
        "polynomial": lambda peak, steps: Polynomial(base=peak, steps=steps, power=2.0),
        "exponential": lambda peak, steps: Exponential(base=peak, factor=0.01, steps=steps),
    }
)
