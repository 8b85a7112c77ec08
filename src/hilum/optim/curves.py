"""Schedules that depend on the step alone: each a closed form, so that any step is arithmetic.

Where PyTorch has the same curve it is PyTorch's, step for step (tests/optim/test_curves.py);
`step` here is what its schedulers call `last_epoch`.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from hilum.errors import require
from hilum.optim.schedule import Measurement, require_count, require_rate

__all__ = [
    "Constant",
    "Cosine",
    "Exponential",
    "LinearWarmup",
    "MultiStep",
    "OneCycle",
    "Polynomial",
    "StepDecay",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """The same learning rate for ever."""

    base: float

    def __post_init__(self) -> None:
        require_rate("base", self.base)

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
        require_rate("peak", self.peak)
        require_rate("start", self.start)
        require_count("steps", self.steps, at_least=1)

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
        require_rate("base", self.base)
        require_rate("end", self.end)
        require_count("steps", self.steps, at_least=1)

    def lr(self, step: int, measurements: Sequence[Measurement] = ()) -> float:
        """Return `base` at step 0, `end` from step `steps` on."""
        return _half_cosine(self.base, self.end, min(step / self.steps, 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Polynomial:
    """Fall from `base` to `end` as (1 - step / steps) ** power, then stay.

    With power 1 a straight line. The 2019 system's Poly, and torch's PolynomialLR where end is 0.
    """

    base: float
    steps: int
    power: float = 1.0
    end: float = 0.0

    def __post_init__(self) -> None:
        require_rate("base", self.base)
        require_rate("end", self.end)
        require_count("steps", self.steps, at_least=1)
        require(self.power > 0, "power", "above 0", self.power)

    def lr(self, step: int, measurements: Sequence[Measurement] = ()) -> float:
        """Return `base` at step 0, `end` from step `steps` on."""
        left = 1.0 - min(step / self.steps, 1.0)
        return float(self.end + (self.base - self.end) * left**self.power)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exponential:
    """Multiply by `factor` over every `steps` optimizer steps, a little at each of them.

    torch's ExponentialLR with gamma = factor ** (1 / steps).
    """

    base: float
    factor: float
    steps: int

    def __post_init__(self) -> None:
        require_rate("base", self.base)
        require(0 < self.factor < 1, "factor", "between 0 and 1", self.factor)
        require_count("steps", self.steps, at_least=1)

    def lr(self, step: int, measurements: Sequence[Measurement] = ()) -> float:
        """Return `base` times `factor` to the power of the share of `steps` that is over."""
        return float(self.base * self.factor ** (step / self.steps))


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDecay:
    """Multiply by `factor` at every `steps`-th optimizer step; torch's StepLR."""

    base: float
    factor: float
    steps: int

    def __post_init__(self) -> None:
        require_rate("base", self.base)
        require(0 < self.factor < 1, "factor", "between 0 and 1", self.factor)
        require_count("steps", self.steps, at_least=1)

    def lr(self, step: int, measurements: Sequence[Measurement] = ()) -> float:
        """Return `base` times `factor` once for each whole `steps` that is over."""
        return float(self.base * self.factor ** (step // self.steps))


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiStep:
    """Multiply by `factor` at each of the `milestones` (rising step numbers); MultiStepLR."""

    base: float
    factor: float
    milestones: tuple[int, ...]

    def __post_init__(self) -> None:
        require_rate("base", self.base)
        require(0 < self.factor < 1, "factor", "between 0 and 1", self.factor)
        for milestone in self.milestones:
            require_count("milestones", milestone, at_least=1)
        rising = list(self.milestones) == sorted(set(self.milestones))
        require(rising, "milestones", "rising step numbers", self.milestones)

    def lr(self, step: int, measurements: Sequence[Measurement] = ()) -> float:
        """Return `base` times `factor` once for each milestone reached."""
        return float(self.base * self.factor ** bisect_right(self.milestones, step))


@dataclass(frozen=True, slots=True, kw_only=True)
class OneCycle:
    """Rise to `peak`, then fall far below the start, both along half a cosine.

    Super-convergence (Smith & Topin 2018), with the two phases and the defaults of torch's
    OneCycleLR; its momentum cycle is not part of a learning-rate schedule.

    Attributes:
        steps: of the whole cycle; the rate stays at its end afterwards.
        rise: share of the steps that rise.
        start_divisor: peak over the first rate.
        end_divisor: first rate over the last one.
    """

    peak: float
    steps: int
    rise: float = 0.3
    start_divisor: float = 25.0
    end_divisor: float = 1e4

    def __post_init__(self) -> None:
        require_rate("peak", self.peak)
        require_count("steps", self.steps, at_least=2)
        require(0 < self.rise < 1, "rise", "between 0 and 1", self.rise)
        require(self.start_divisor > 0, "start_divisor", "above 0", self.start_divisor)
        require(self.end_divisor > 0, "end_divisor", "above 0", self.end_divisor)

    def lr(self, step: int, measurements: Sequence[Measurement] = ()) -> float:
        """Return the rate of the phase that `step` falls into."""
        first = self.peak / self.start_divisor
        top, last = self.rise * self.steps - 1, self.steps - 1
        if step <= top:
            return _half_cosine(first, self.peak, step / top)
        return _half_cosine(
            self.peak, first / self.end_divisor, min((step - top) / (last - top), 1.0)
        )


def _half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1.0 + math.cos(math.pi * share)) / 2.0
