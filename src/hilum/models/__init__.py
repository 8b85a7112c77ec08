"""Networks and how they start: architectures, published weights, transfer learning, freezing."""

from hilum.models.architectures import ARCHITECTURES, Architecture, architecture
from hilum.models.cutting import cut_before_head
from hilum.models.freezing import BACKBONE, freeze_batch_norm, freeze_layers, set_train_mode
from hilum.models.splitting import Split, split_at, split_frozen
from hilum.models.stem import GreyStem, use_grey_stem
from hilum.models.transfer import build_classifier, create_model, head_names
from hilum.models.weights import WeightsReport

__all__ = [
    "ARCHITECTURES",
    "BACKBONE",
    "Architecture",
    "GreyStem",
    "Split",
    "WeightsReport",
    "architecture",
    "build_classifier",
    "create_model",
    "cut_before_head",
    "freeze_batch_norm",
    "freeze_layers",
    "head_names",
    "set_train_mode",
    "split_at",
    "split_frozen",
    "use_grey_stem",
]
