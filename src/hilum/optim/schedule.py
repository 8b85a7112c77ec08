"""What a learning-rate schedule is, and how to look at one without training."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from hilum.errors import require

__all__ = ["Measurement", "Schedule", "require_count", "require_rate", "simulate"]


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


def require_rate(name: str, value: float) -> None:
    """Raise InvalidValueError unless the value can be a learning rate."""
    require(value >= 0 and math.isfinite(value), name, "a finite number of at least 0", value)


def require_count(name: str, value: int | None, *, at_least: int) -> None:
    """Raise InvalidValueError unless the value is a whole number that is large enough."""
    whole = isinstance(value, int) and value >= at_least
    require(whole, name, f"a whole number of at least {at_least}", value)
