"""Regularizers of 2019. They are gradients, never part of a reported loss."""

from dataclasses import dataclass

from hilum.errors import InvalidValueError, require

__all__ = ["L1L2Regularizer", "L1Regularizer", "L2Regularizer", "Regularizer", "weight_decay_of"]


@dataclass(frozen=True, slots=True)
class L2Regularizer:
    """Adds l2 * w to the gradient: half of what Keras adds for the same number."""

    l2: float

    def __post_init__(self) -> None:
        require(self.l2 >= 0, "l2", "at least 0", self.l2)


@dataclass(frozen=True, slots=True)
class L1Regularizer:
    """Adds l1 * sign(w) to the gradient; the engine has no such term and refuses it."""

    l1: float


@dataclass(frozen=True, slots=True)
class L1L2Regularizer:
    """Both; only with `l1` 0 can it be trained with."""

    l1: float
    l2: float


Regularizer = L2Regularizer | L1Regularizer | L1L2Regularizer


def weight_decay_of(regularizer: Regularizer | None) -> float:
    """The weight decay that has the same gradient.

    Raises:
        InvalidValueError: an L1 term.
    """
    if regularizer is None:
        return 0.0
    if getattr(regularizer, "l1", 0.0):
        raise InvalidValueError(
            f"regularizer must be L2. Got {regularizer!r}. "
            "Hint: L1 drives weights to zero, which no optimizer of Hilum does; L2Regularizer."
        )
    return float(getattr(regularizer, "l2", 0.0))
