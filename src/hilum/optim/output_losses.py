"""A loss per output of a network of several, and how much each counts in their sum."""

import math
from dataclasses import dataclass
from typing import TypeAlias

from hilum.errors import require
from hilum.optim.loss import Loss

__all__ = ["Objective", "OutputLosses", "losses_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputLosses:
    """What is minimised is the sum over outputs of weight times mean loss.

    Attributes:
        losses: of the outputs, in order.
        weights: likewise; empty is 1 for each, and one loss alone has weight 1.
        columns: the label columns they belong to; empty is the order of the outputs.
    """

    losses: tuple[Loss, ...]
    weights: tuple[float, ...] = ()
    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.losses)
        require(count > 0, "loss", "one per output", self.losses)
        if not self.weights:
            object.__setattr__(self, "weights", (1.0,) * count)
        positive = all(0 < weight < math.inf for weight in self.weights)
        fits = positive and len(self.weights) == count
        require(fits, "weights of the losses", f"{count} positive numbers", self.weights)
        named = len(self.columns) in (0, count) and len(set(self.columns)) == len(self.columns)
        require(named, "columns of the losses", f"{count} names", self.columns)
        if count == 1:  # a factor is what the learning rate is for, and losses stay comparable
            object.__setattr__(self, "weights", (1.0,))

    def in_order_of(self, columns: tuple[str, ...]) -> "OutputLosses":
        """The same with the outputs in this order.

        Raises:
            InvalidValueError: there is not exactly one loss per column.
        """
        own = self.columns or columns
        require(
            len(self.losses) == len(columns) and set(own) == set(columns),
            "loss",
            f"one per label column ({', '.join(columns)})",
            list(self.columns) or f"{len(self.losses)} losses",
        )
        places = [own.index(column) for column in columns]
        return OutputLosses(
            losses=tuple(self.losses[at] for at in places),
            weights=tuple(self.weights[at] for at in places),
            columns=columns,
        )


Objective: TypeAlias = Loss | OutputLosses


def losses_of(loss: Objective, count: int) -> OutputLosses:
    """The loss of each of `count` outputs; one alone is that of all."""
    return loss if isinstance(loss, OutputLosses) else OutputLosses(losses=(loss,) * count)
