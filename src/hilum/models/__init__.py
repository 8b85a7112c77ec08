"""Networks and how they start: architectures, published weights, transfer learning, freezing."""

from hilum.models.architectures import ARCHITECTURES, Architecture, architecture
from hilum.models.cutting import cut_before_head
from hilum.models.factories import FactoryRecipe, factory, network_factory
from hilum.models.freezing import BACKBONE, freeze_batch_norm, freeze_layers, set_train_mode
from hilum.models.loading import load
from hilum.models.recipes import LoadedModel, PixelContract
from hilum.models.splitting import Split, split_at, split_frozen
from hilum.models.stem import GreyStem, use_grey_stem
from hilum.models.topologies import TOPOLOGIES, Topology
from hilum.models.transfer import build_classifier, create_model, head_names
from hilum.models.transfer_start import TransferStart
from hilum.models.weights import WeightsReport

__all__ = [
    "ARCHITECTURES",
    "BACKBONE",
    "TOPOLOGIES",
    "Architecture",
    "FactoryRecipe",
    "GreyStem",
    "LoadedModel",
    "PixelContract",
    "Split",
    "Topology",
    "TransferStart",
    "WeightsReport",
    "architecture",
    "build_classifier",
    "create_model",
    "cut_before_head",
    "factory",
    "freeze_batch_norm",
    "freeze_layers",
    "head_names",
    "load",
    "network_factory",
    "set_train_mode",
    "split_at",
    "split_frozen",
    "use_grey_stem",
]
