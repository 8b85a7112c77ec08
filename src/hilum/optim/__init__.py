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
from hilum.optim.finding_losses import AsymmetricLoss, BCEWithLogits, FocalLoss
from hilum.optim.label_weights import class_weights, positive_weights
from hilum.optim.layers import LayerRule, rule_from_text, rule_to_text
from hilum.optim.loss import Loss, Share, Targets, mean_loss, share_of_mean, total_weight
from hilum.optim.losses import (
    LOSSES,
    CrossEntropy,
    class_logits,
    loss_from_json,
    loss_of,
    loss_to_json,
)
from hilum.optim.named_schedules import SCHEDULES, Span, schedule_of
from hilum.optim.optimizers import (
    OptimizerSpec,
    optimizer_from_json,
    optimizer_to_json,
    set_lr,
)
from hilum.optim.output_losses import Objective, OutputLosses, losses_of
from hilum.optim.own_loss import OwnLoss, loss_function, own_loss
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
from hilum.optim.text_plot import text_plot
from hilum.optim.torch_losses import TORCH_LOSSES, TorchLoss

__all__ = [
    "LOSSES",
    "SCHEDULES",
    "TORCH_LOSSES",
    "AsymmetricLoss",
    "BCEWithLogits",
    "Clipping",
    "Constant",
    "Cosine",
    "CrossEntropy",
    "Exponential",
    "FocalLoss",
    "LayerRule",
    "LinearWarmup",
    "Loss",
    "Measurement",
    "MultiStep",
    "Objective",
    "OneCycle",
    "OptimizerSpec",
    "OutputLosses",
    "OwnLoss",
    "Plateau2019",
    "Polynomial",
    "ReduceOnPlateau",
    "Schedule",
    "Sequential",
    "Share",
    "Span",
    "StepDecay",
    "Targets",
    "TorchLoss",
    "class_logits",
    "class_weights",
    "clipping_from_json",
    "clipping_to_json",
    "loss_from_json",
    "loss_function",
    "loss_of",
    "loss_to_json",
    "losses_of",
    "mean_loss",
    "optimizer_from_json",
    "optimizer_to_json",
    "own_loss",
    "paper_schedule",
    "positive_weights",
    "rule_from_text",
    "rule_to_text",
    "schedule_from_json",
    "schedule_of",
    "schedule_to_json",
    "set_lr",
    "share_of_mean",
    "simulate",
    "text_plot",
    "total_weight",
    "warmup_then",
    "warmup_then_plateau",
]
