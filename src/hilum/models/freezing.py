"""Freezing: parts of a network that keep their weights, and really stay as they are.

What is frozen is written in one place, `requires_grad` of the parameters: the optimizer, the
all-reduce and `set_train_mode` all read it there. A frozen layer then costs no backward pass, its
BatchNorm statistics do not drift, and its output is the same in every epoch, so it can be cached.
(The 2019 system scaled gradients by zero, at full cost and with moving statistics.)
"""

from torch import nn

from hilum.errors import require
from hilum.models.architectures import Architecture
from hilum.models.transfer import head_names

__all__ = ["freeze_backbone", "freeze_batch_norm", "freeze_layers", "set_train_mode"]

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def freeze_backbone(model: nn.Module, architecture: Architecture | str) -> None:
    """Freeze everything but the head; follow with `set_train_mode` instead of `model.train()`."""
    head = set(head_names(architecture))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in head)


def freeze_layers(model: nn.Module, architecture: Architecture | str, freeze: str) -> None:
    """Freeze nothing ("") or everything but the head ("backbone")."""
    require(freeze in ("", "backbone"), "freeze", "empty or backbone", freeze)
    if freeze:
        freeze_backbone(model, architecture)


def freeze_batch_norm(model: nn.Module) -> None:
    """Freeze scale, shift and statistics of every batch normalisation; for small local batches."""
    for module in model.modules():
        if isinstance(module, _BATCH_NORMS):
            module.requires_grad_(False)


def set_train_mode(model: nn.Module) -> None:
    """Put the trainable layers into training mode and the frozen ones into evaluation mode.

    A layer without parameters goes with the next layer that has some, in the order of
    registration: dropout between frozen layers is off, dropout before the new head is on.
    """
    model.train()
    next_trains = True
    for module in reversed(list(model.modules())):
        own = list(module.parameters(recurse=False))
        if own:
            next_trains = any(parameter.requires_grad for parameter in own)
        if any(True for _ in module.parameters()):
            module.training = any(parameter.requires_grad for parameter in module.parameters())
        else:
            module.training = next_trains
