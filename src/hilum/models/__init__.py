"""Networks and how they start: architectures, published weights, transfer learning, freezing."""

from hilum.models.architectures import ARCHITECTURES, Architecture, architecture
from hilum.models.cutting import cut_before_head
from hilum.models.freezing import (
    freeze_backbone,
    freeze_batch_norm,
    freeze_layers,
    set_train_mode,
)
from hilum.models.transfer import build_classifier, create_model, head_names
from hilum.models.weights import WeightsReport

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "WeightsReport",
    "architecture",
    "build_classifier",
    "create_model",
    "cut_before_head",
    "freeze_backbone",
    "freeze_batch_norm",
    "freeze_layers",
    "head_names",
    "set_train_mode",
]
