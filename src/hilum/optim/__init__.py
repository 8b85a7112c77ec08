"""How a network learns: learning-rate schedules, losses and optimizers, all frozen values."""

from hilum.optim.clipping import Clipping, clipping_from_json, clipping_to_json
from hilum.optim.curves import (
    Constant,
    Cosine,
    Exponential,
    LinearWarmup,
    MultiStep,
    OneCycle,
    Polynomial,
    StepDecay,
)
from hilum.optim.losses import (
    BCEWithLogits,
    CrossEntropy,
    Loss,
    loss_from_json,
    loss_to_json,
    mean_loss,
)
from hilum.optim.optimizers import (
    OptimizerSpec,
    optimizer_from_json,
    optimizer_to_json,
    set_lr,
)
from hilum.optim.plateau import Plateau2019, ReduceOnPlateau
from hilum.optim.schedule import Measurement, Schedule, simulate
from hilum.optim.schedules import (
    Sequential,
    paper_schedule,
    schedule_from_json,
    schedule_to_json,
    warmup_then,
    warmup_then_plateau,
)

__all__ = [
    "BCEWithLogits",
    "Clipping",
    "Constant",
    "Cosine",
    "CrossEntropy",
    "Exponential",
    "LinearWarmup",
    "Loss",
    "Measurement",
    "MultiStep",
    "OneCycle",
    "OptimizerSpec",
    "Plateau2019",
    "Polynomial",
    "ReduceOnPlateau",
    "Schedule",
    "Sequential",
    "StepDecay",
    "clipping_from_json",
    "clipping_to_json",
    "loss_from_json",
    "loss_to_json",
    "mean_loss",
    "optimizer_from_json",
    "optimizer_to_json",
    "paper_schedule",
    "schedule_from_json",
    "schedule_to_json",
    "set_lr",
    "simulate",
    "warmup_then",
    "warmup_then_plateau",
]
