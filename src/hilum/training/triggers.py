"""When something happens in a run: every so many epochs, optimizer steps or minutes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hilum.errors import InvalidValueError, require

__all__ = ["Every", "Position"]


@dataclass(frozen=True, slots=True)
class Position:
    """How far a run is.

    Attributes:
        step: optimizer steps done since the run began, over all restarts.
        steps_per_epoch: optimizer steps of one epoch.
        seconds: time trained over all restarts; equal on all ranks where a rule depends on it.
    """

    step: int
    steps_per_epoch: int
    seconds: float = 0.0

    @property
    def epoch(self) -> int:
        """The epoch the next step belongs to, from 0."""
        return self.step // self.steps_per_epoch

    @property
    def step_in_epoch(self) -> int:
        """Steps done in that epoch."""
        return self.step % self.steps_per_epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Every:
    """A trigger; exactly one of its fields is given.

    Example:
        Every(epochs=1), Every(steps=500), Every(minutes=10)
    """

    epochs: int | None = None
    steps: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in asdict(self).items() if value is not None}
        require(len(given) == 1, "Every", "one of epochs, steps and minutes", given or "none")
        for name, value in given.items():
            require(value > 0, name, "positive", value)

    @property
    def needs_clock(self) -> bool:
        """Whether ranks must agree on the time to agree on the trigger."""
        return self.minutes is not None

    def due(self, before: Position, now: Position) -> bool:
        """Whether the trigger fires at `now`, having last been asked at `before`."""
        if self.steps is not None:
            return now.step // self.steps > before.step // self.steps
        if self.minutes is not None:
            interval_s = 60.0 * self.minutes
            return now.seconds // interval_s > before.seconds // interval_s
        assert self.epochs is not None
        return now.epoch // self.epochs > before.epoch // self.epochs

    def to_json(self) -> dict[str, Any]:
        """A JSON object with the one given field."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "Every":
        """Read what `to_json` wrote."""
        try:
            return Every(**value)
        except TypeError as error:
            raise InvalidValueError(
                f"trigger must be one of epochs, steps, minutes. Got {dict(value)!r}."
            ) from error
