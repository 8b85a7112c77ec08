"""The triggers of 2019: when something happens, and when training ends."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from hilum.errors import InvalidValueError, require
from hilum.training import Every

__all__ = [
    "EveryEpoch",
    "MaxEpoch",
    "MaxIteration",
    "MaxScore",
    "MinLoss",
    "SeveralIteration",
    "TriggerAnd",
    "TriggerOr",
    "ending_params",
    "every_of",
]

_NO_EPOCH_LIMIT = 100_000


@dataclass(frozen=True, slots=True)
class EveryEpoch:
    """At the end of every epoch."""


@dataclass(frozen=True, slots=True)
class SeveralIteration:
    """At every `interval`-th step."""

    interval: int

    def __post_init__(self) -> None:
        require(self.interval > 0, "interval", "positive", self.interval)


@dataclass(frozen=True, slots=True)
class MaxEpoch:
    """After so many epochs."""

    max: int


@dataclass(frozen=True, slots=True)
class MaxIteration:
    """After so many steps."""

    max: int


@dataclass(frozen=True, slots=True)
class MaxScore:
    """When the mean AUC of the validation data reaches `max`."""

    max: float


@dataclass(frozen=True, slots=True)
class MinLoss:
    """When the validation loss falls to `min`; in 2019, that of the last mini-batch trained on."""

    min: float


@dataclass(frozen=True, slots=True, init=False)
class TriggerAnd:
    """When all fire; of ends of training, only those of one kind."""

    parts: tuple[Any, ...]

    def __init__(self, first: Any, *other: Any) -> None:
        object.__setattr__(self, "parts", (first, *other))


@dataclass(frozen=True, slots=True, init=False)
class TriggerOr:
    """When one fires."""

    parts: tuple[Any, ...]

    def __init__(self, first: Any, *other: Any) -> None:
        object.__setattr__(self, "parts", (first, *other))


def every_of(trigger: Any) -> Every:
    """What a trigger that recurs becomes.

    Raises:
        InvalidValueError: it does not recur.
    """
    if isinstance(trigger, EveryEpoch):
        return Every(epochs=1)
    if isinstance(trigger, SeveralIteration):
        return Every(steps=trigger.interval)
    if isinstance(trigger, Every):
        return trigger
    raise InvalidValueError(
        f"trigger must be EveryEpoch() or SeveralIteration(n). Got {trigger!r}."
    )


def ending_params(trigger: Any) -> dict[str, Any]:
    """Parameters of `hilum.spark.NNEstimator` that the end of training stands for.

    Raises:
        InvalidValueError: the engine has no such rule; the message says which.
    """
    params = _ending(trigger)
    if "maxEpochs" not in params:
        params["maxEpochs"] = _NO_EPOCH_LIMIT
    return params


def _ending(trigger: Any) -> dict[str, Any]:
    if isinstance(trigger, TriggerOr | TriggerAnd):
        return _combined(trigger)
    if type(trigger) in _ENDS:
        return _ENDS[type(trigger)](trigger)
    raise InvalidValueError(
        "endWhen must be MaxEpoch, MaxIteration, MaxScore, MinLoss, or TriggerOr of them. "
        f"Got {trigger!r}."
    )


def _combined(trigger: TriggerOr | TriggerAnd) -> dict[str, Any]:
    params: dict[str, Any] = {}
    earliest = isinstance(trigger, TriggerOr)
    for part in trigger.parts:
        added = _ending(part)
        if not earliest and params and set(added) != set(params):
            raise InvalidValueError(
                f"TriggerAnd must be of triggers of one kind. Got {trigger.parts!r}. "
                "Hint: a run ends at the first of its rules: TriggerOr."
            )
        for name, value in added.items():
            params[name] = _joined(name, params.get(name, value), value, earliest)
    return params


def _joined(name: str, old: Any, new: Any, earliest: bool) -> Any:
    if name == "bestMetric":
        require(old == new, "endWhen", "about the score or about the loss", (old, new))
        return old
    return min(old, new) if earliest else max(old, new)


_ENDS: Mapping[type, Callable[[Any], dict[str, Any]]] = MappingProxyType(
    {
        MaxEpoch: lambda end: {"maxEpochs": int(end.max)},
        MaxIteration: lambda end: {"maxSteps": int(end.max)},
        MaxScore: lambda end: {
            "bestMetric": "valid_mean_auroc",
            "targetValue": float(end.max),
        },
        MinLoss: lambda end: {"bestMetric": "valid_loss", "targetValue": float(end.min)},
    }
)
