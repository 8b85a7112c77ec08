"""When a run ends, besides its number of epochs: a pure function of history and position."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hilum.errors import require
from hilum.training.history import BestMetric, History
from hilum.training.triggers import Position

__all__ = ["Stopping"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopping:
    """Rules that end a run early; whichever comes first. None is no rule.

    Attributes:
        max_steps: optimizer steps.
        max_minutes: time trained, over all restarts.
        target: value of the run's best metric that is good enough: a loss at most, an AUC at least.
        patience: validations in a row without a better value of the best metric than before.
        min_delta: by how much a value must be better to count, in units of the metric.
    """

    max_steps: int | None = None
    max_minutes: float | None = None
    target: float | None = None
    patience: int | None = None
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        for name in ("max_steps", "max_minutes", "patience"):
            value = getattr(self, name)
            require(value is None or value > 0, name, "positive", value)
        require(self.min_delta >= 0, "min_delta", "zero or more", self.min_delta)

    @property
    def needs_clock(self) -> bool:
        """Whether ranks must agree on the time to agree on the end."""
        return self.max_minutes is not None

    def reason(
        self, now: Position, history: History, max_epochs: int, metric: BestMetric
    ) -> str | None:
        """Why the run ends here, or None if it goes on."""
        if now.step >= max_epochs * now.steps_per_epoch:
            return f"max_epochs={max_epochs} reached"
        if self.max_steps is not None and now.step >= self.max_steps:
            return f"max_steps={self.max_steps} reached"
        if self.max_minutes is not None and now.seconds >= 60.0 * self.max_minutes:
            return f"max_minutes={self.max_minutes:g} reached"
        # Lower is better from here on, for every metric.
        merits = [value for record in history if (value := record.cost(metric)) is not None]
        if self.target is not None and merits:
            target = -self.target if metric == "valid_mean_auroc" else self.target
            if merits[-1] <= target:
                return f"target {metric}={self.target:g} reached"
        if self.patience is not None and self._waited(merits) >= self.patience:
            return f"{metric} no better for {self.patience} validations"
        return None

    def _waited(self, costs: list[float]) -> int:
        best, waited = float("inf"), 0
        for cost in costs:
            if cost < best - self.min_delta:
                best, waited = cost, 0
            else:
                waited += 1
        return waited

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads."""
        return asdict(self)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "Stopping":
        """Read what `to_json` wrote."""
        return Stopping(**value)
