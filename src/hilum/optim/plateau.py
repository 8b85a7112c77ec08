"""Schedules that cut the learning rate when what is measured stops improving."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hilum.errors import require
from hilum.optim.schedule import Measurement, require_count, require_rate

__all__ = ["Plateau2019", "ReduceOnPlateau"]


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
        _check(self)
        require(0 <= self.min_delta < 1, "min_delta", "at least 0 and below 1", self.min_delta)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Plateau2019:
    """The 2019 system's Plateau, line by line, to reproduce its runs; not what to choose today.

    An improvement is a fall by more than the absolute `epsilon`. The count of bad measurements goes
    on after a cut instead of starting afresh, so with patience 1 the first cut takes two bad
    measurements and every further bad one cuts again. The 2019 system measured the loss of an
    epoch's last mini-batch; which measurement it is given here is the caller's choice.

    Source: BigDL 0.x `com.intel.analytics.bigdl.optim.SGD.Plateau` (Apache 2.0).
    """

    base: float
    factor: float = 0.1
    patience: int = 10
    epsilon: float = 1e-4
    cooldown: int = 0
    min_lr: float = 0.0

    def __post_init__(self) -> None:
        _check(self)
        require(self.epsilon >= 0, "epsilon", "at least 0", self.epsilon)

    def lr(self, step: int, measurements: Sequence[Measurement] = ()) -> float:
        """Return the rate after all measurements up to `step`."""
        rate, best, waited, cooling = self.base, math.inf, 0, 0
        for measurement in measurements:
            if measurement.step > step:
                break
            if cooling > 0:
                cooling, waited = cooling - 1, 0
            if measurement.value < best - self.epsilon:
                best, waited = measurement.value, 0
            elif cooling <= 0:
                if waited >= self.patience:
                    rate = max(rate * self.factor, self.min_lr) if rate > self.min_lr else rate
                    cooling, waited = self.cooldown, 0
                waited += 1
        return rate


def _check(plateau: ReduceOnPlateau | Plateau2019) -> None:
    require_rate("base", plateau.base)
    require_rate("min_lr", plateau.min_lr)
    require(0 < plateau.factor < 1, "factor", "between 0 and 1", plateau.factor)
    require_count("patience", plateau.patience, at_least=0)
    require_count("cooldown", plateau.cooldown, at_least=0)


def _improves(value: float, best: float, min_delta: float) -> bool:
    if math.isinf(best):
        return value < best
    return value < best - abs(best) * min_delta
