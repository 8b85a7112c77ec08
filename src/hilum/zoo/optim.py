"""The optimizers of 2019, and which parameters of `hilum.spark.NNEstimator` each stands for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hilum.errors import InvalidValueError, require
from hilum.zoo.schedules import modern_schedule, watched_metric

__all__ = ["SGD", "Adam", "AdamOfBigDL", "AdamWeightDecay", "LarsSGD", "OptimMethod", "params_of"]

_EPSILON = 1e-8  # PyTorch's, and 2019's default
_TO_STAY = "left at its default"


@dataclass(frozen=True, slots=True)
class SGD:
    """Stochastic gradient descent; `leaningrate_schedule` is spelt so in BigDL.

    Without a `dampening` it is equal to the momentum, as in BigDL and Torch7, unlike PyTorch.
    """

    learningrate: float = 1e-3
    learningrate_decay: float = 0.0
    weightdecay: float = 0.0
    momentum: float = 0.0
    dampening: float | None = None
    nesterov: bool = False
    leaningrate_schedule: Any = None
    learningrates: Any = None
    weightdecays: Any = None
    bigdl_type: str = "float"

    def params(self) -> dict[str, Any]:
        """Parameters of the estimator, but for those of the schedule."""
        for name in ("learningrates", "weightdecays"):
            per_parameter = getattr(self, name)
            hint = 'layerRules: "layer4.*:lr_factor=0.1"'
            require(per_parameter is None, name, "None", per_parameter, hint=hint)
        dampening = self.momentum if self.dampening is None else self.dampening
        if self.nesterov:
            require(dampening == 0, "dampening", "0 with nesterov", dampening)
        return {
            "optimizer": "sgd",
            "momentum": float(self.momentum),
            "nesterov": self.nesterov,
            "dampening": float(dampening) if self.momentum else 0.0,
            "weightDecay": float(self.weightdecay),
        }


@dataclass(frozen=True, slots=True)
class Adam:
    """Adam of Analytics Zoo; `weight_decay` is added to the gradient."""

    lr: float = 1e-3
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = _EPSILON
    decay: float = 0.0
    schedule: Any = None
    weight_decay: float = 0.0
    bigdl_type: str = "float"

    def params(self) -> dict[str, Any]:
        """Parameters of the estimator, but for those of the schedule."""
        require(self.epsilon == _EPSILON, "epsilon", _TO_STAY, self.epsilon)
        return {
            "optimizer": "adam",
            "betas": [self.beta_1, self.beta_2],
            "weightDecay": float(self.weight_decay),
        }


@dataclass(frozen=True, slots=True)
class AdamOfBigDL:
    """Adam of `bigdl.optim.optimizer`, whose arguments have other names; `Adam` there."""

    learningrate: float = 1e-3
    learningrate_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = _EPSILON
    bigdl_type: str = "float"

    def params(self) -> dict[str, Any]:
        """Parameters of the estimator, but for those of the schedule."""
        return Adam(beta_1=self.beta1, beta_2=self.beta2, epsilon=self.epsilon).params()


@dataclass(frozen=True, slots=True)
class AdamWeightDecay:
    """BERT's Adam, after 0.4: decoupled weight decay; its own warm-up is not here."""

    lr: float = 1e-3
    warmup_portion: float = -1.0
    total: int = -1
    schedule: Any = None
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-6
    weight_decay: float = 0.01
    bigdl_type: str = "float"

    def params(self) -> dict[str, Any]:
        """Parameters of the estimator, but for those of the schedule; epsilon is PyTorch's."""
        none = self.warmup_portion <= 0
        require(none, "warmup_portion", "left alone", self.warmup_portion, hint="warmupEpochs")
        return {
            "optimizer": "adamw",
            "betas": [self.beta1, self.beta2],
            "weightDecay": float(self.weight_decay),
        }


@dataclass(frozen=True, slots=True)
class LarsSGD:
    """LARS, BigDL 0.9 and later."""

    lr: float = 1e-3
    momentum: float = 0.9
    trust: float = 0.001
    weight_decay: float = 0.0
    schedule: Any = None

    def params(self) -> dict[str, Any]:
        """Parameters of the estimator, but for those of the schedule."""
        return {
            "optimizer": "lars",
            "momentum": float(self.momentum),
            "trustCoefficient": float(self.trust),
            "weightDecay": float(self.weight_decay),
        }


OptimMethod = SGD | Adam | AdamOfBigDL | AdamWeightDecay | LarsSGD


def params_of(optim: OptimMethod, steps_per_epoch: Callable[[], int]) -> dict[str, Any]:
    """Parameters of `hilum.spark.NNEstimator` that an optimizer of 2019 stands for.

    Args:
        optim: the optimizer.
        steps_per_epoch: asked only by schedules that count epochs.

    Raises:
        InvalidValueError: something of it has no counterpart; the message says what.
    """
    if not isinstance(optim, OptimMethod):
        raise InvalidValueError(
            f"optimMethod must be SGD, Adam, AdamWeightDecay or LarsSGD. Got {optim!r}. "
            "Hint: docs/migration.md lists those of 2019 that are not here."
        )
    field = {name: getattr(optim, name) for name in optim.__dataclass_fields__}
    rate = float(_first(field, "learningrate", "lr"))
    decay = float(_first(field, "learningrate_decay", "decay", default=0.0))
    hint = "Poly, Step and the others are schedules that end"
    require(decay == 0, "learning-rate decay", "0", decay, hint=hint)
    schedule = _first(field, "leaningrate_schedule", "schedule", default=None)
    modern = modern_schedule(schedule, rate, steps_per_epoch)
    return {
        **optim.params(),
        "learningRate": rate,
        "schedule": modern,
        "watchedMetric": watched_metric(schedule),
        "warmupEpochs": 0.0,
    }


def _first(values: Mapping[str, Any], *names: str, **default: Any) -> Any:
    for name in names:
        if name in values:
            return values[name]
    return default["default"]
