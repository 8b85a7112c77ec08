"""Optimizers as frozen values that build PyTorch's own, with the groups transfer learning needs.

The head is new and the backbone is not, so they may differ in learning rate and in L2; scales and
biases take no weight decay unless asked. The schedule owns the learning rate: `set_lr` before
every step.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hilum.errors import require
from hilum.optim.serialization import from_json, to_json

__all__ = ["OptimizerSpec", "optimizer_from_json", "optimizer_to_json", "set_lr"]

_NAMES = ("adam", "adamw", "sgd")
_DEFAULT_BETAS = (0.9, 0.999)


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerSpec:
    """Which optimizer, and with what, apart from the learning rate.

    Attributes:
        weight_decay: "adam" and "sgd" add weight_decay * w to the gradient (L2, as the 2019
            system did); "adamw" shrinks w by lr * weight_decay (Loshchilov & Hutter 2019).
        head_weight_decay: the same for the head alone; None takes `weight_decay`. The paper's
            regularizer on its new layer is 0.1.
        momentum: of "sgd".
        betas: of "adam" and "adamw".
        head_lr_factor: the head's learning rate over the backbone's.
        decay_norms_and_biases: decay parameters of one dimension, too, as the paper did.
    """

    name: Literal["adam", "adamw", "sgd"] = "adam"
    weight_decay: float = 0.0
    head_weight_decay: float | None = None
    momentum: float = 0.0
    betas: tuple[float, float] = _DEFAULT_BETAS
    head_lr_factor: float = 1.0
    decay_norms_and_biases: bool = False

    def __post_init__(self) -> None:
        require(self.name in _NAMES, "name", f"one of {', '.join(_NAMES)}", self.name)
        require(self.weight_decay >= 0, "weight_decay", "at least 0", self.weight_decay)
        head_decay = self.head_weight_decay
        require(
            head_decay is None or head_decay >= 0, "head_weight_decay", "at least 0", head_decay
        )
        require(self.head_lr_factor > 0, "head_lr_factor", "above 0", self.head_lr_factor)
        require(0 <= self.momentum < 1, "momentum", "at least 0 and below 1", self.momentum)
        require(
            self.momentum == 0 or self.name == "sgd",
            "momentum",
            f"0 for {self.name}",
            self.momentum,
            hint="Adam's is betas[0]",
        )
        two = len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas)
        require(two, "betas", "two numbers of at least 0 and below 1", self.betas)
        require(
            self.betas == _DEFAULT_BETAS or self.name != "sgd",
            "betas",
            "left alone for sgd",
            self.betas,
            hint="SGD has momentum",
        )

    def build(
        self,
        named_parameters: Iterable[tuple[str, nn.Parameter]],
        head_names: Collection[str] = (),
    ) -> Optimizer:
        """Make the optimizer; its learning rate is 0 until `set_lr`.

        Groups are named "backbone", "backbone_undecayed", "head" and "head_undecayed" and carry
        an "lr_factor"; empty ones are left out, and so are frozen parameters.

        Args:
            named_parameters: such as `model.named_parameters()`, frozen ones included.
            head_names: names among them that belong to the head.

        Raises:
            InvalidValueError: a head name that is no parameter, or nothing to train.
        """
        everything = list(named_parameters)
        unknown = sorted(set(head_names) - {name for name, _ in everything})
        require(not unknown, "head_names", "names of parameters of the model", unknown)
        trainable = [(name, p) for name, p in everything if p.requires_grad]
        require(bool(trainable), "parameters", "not all frozen", f"{len(everything)} frozen")
        optimizer = self._torch_optimizer(self._groups(trainable, set(head_names)))
        optimizer.register_step_pre_hook(_match_gradient_layouts)
        optimizer.register_load_state_dict_post_hook(_match_state_layouts)
        return optimizer

    def _groups(
        self, trainable: list[tuple[str, nn.Parameter]], head: set[str]
    ) -> list[dict[str, Any]]:
        groups: list[dict[str, Any]] = []
        for in_head in (False, True):
            own = self.head_weight_decay if in_head else self.weight_decay
            decay = self.weight_decay if own is None else own
            for decayed in (True, False):
                members = [
                    p
                    for name, p in trainable
                    if (name in head) is in_head
                    and (p.ndim > 1 or self.decay_norms_and_biases) is decayed
                ]
                group = {
                    "params": members,
                    "name": ("head" if in_head else "backbone") + ("" if decayed else "_undecayed"),
                    "weight_decay": decay if decayed else 0.0,
                    "lr_factor": self.head_lr_factor if in_head else 1.0,
                }
                groups += [group] if members else []
        return groups

    def _torch_optimizer(self, groups: list[dict[str, Any]]) -> Optimizer:
        parameters = [p for group in groups for p in group["params"]]
        # One pass over memory per step: a third to a half of the time of the foreach
        # implementation on a CPU (ResNet-50, one and two threads).
        fused = all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in parameters)
        if self.name == "sgd":
            return torch.optim.SGD(groups, lr=0.0, momentum=self.momentum, fused=fused)
        kind = torch.optim.Adam if self.name == "adam" else torch.optim.AdamW
        return kind(groups, lr=0.0, betas=self.betas, fused=fused)


def set_lr(optimizer: Optimizer, lr: float) -> None:
    """Set the learning rate of every group to `lr` times the group's "lr_factor"."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_factor"]


def optimizer_to_json(spec: OptimizerSpec) -> dict[str, Any]:
    """Return the specification as a JSON object."""
    return to_json(spec, _KINDS)


def optimizer_from_json(data: object) -> OptimizerSpec:
    """Rebuild a specification from `optimizer_to_json`'s object.

    Raises:
        InvalidValueError: an unknown type or field, or a value that breaks a rule.
    """
    return from_json(data, _KINDS)


_KINDS: Mapping[str, type[OptimizerSpec]] = {"OptimizerSpec": OptimizerSpec}


# PyTorch's fused CPU kernels walk parameter, gradient and moments as flat memory (seen with 2.15:
# silently wrong updates). With channels_last weights, gradients that came through a flat buffer
# and moments that came from a file are in another order; hence these two.


def _match_gradient_layouts(optimizer: Optimizer, args: object, kwargs: object) -> None:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None:
                parameter.grad = _in_layout_of(parameter, parameter.grad)


def _match_state_layouts(optimizer: Optimizer) -> None:
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                state[key] = _in_layout_of(parameter, value)


def _in_layout_of(parameter: Tensor, value: Tensor) -> Tensor:
    """Return the same numbers in the memory order of the parameter; itself where it has it."""
    if value.stride() == parameter.stride() or all(
        size == 1 or own == other
        for size, own, other in zip(value.shape, parameter.stride(), value.stride(), strict=True)
    ):
        return value
    return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
