"""How a network learns: learning-rate schedules, losses and optimizers, all frozen values."""

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
from hilum.optim.schedules import (
    Constant,
    Cosine,
    LinearWarmup,
    Measurement,
    ReduceOnPlateau,
    Schedule,
    Sequential,
    paper_schedule,
    schedule_from_json,
    schedule_to_json,
    simulate,
    warmup_then,
    warmup_then_plateau,
)

__all__ = [
    "BCEWithLogits",
    "Constant",
    "Cosine",
    "CrossEntropy",
    "LinearWarmup",
    "Loss",
    "Measurement",
    "OptimizerSpec",
    "ReduceOnPlateau",
    "Schedule",
    "Sequential",
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
