"""Optimizers as frozen values that build PyTorch's own, with the groups transfer learning needs.

The head is new and the backbone is not, so they may differ in learning rate and in L2; scales and
biases take no weight decay unless asked; any layer may have its own. The schedule owns the
learning rate: `set_lr` before every step. LARS and LAMB, for large batches, are timm's.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from hilum.errors import InvalidValueError, MissingDependencyError, require
from hilum.optim.layers import LayerRule, depths, rule_for
from hilum.optim.optimizer_state import match_layouts, start_missing_momentum
from hilum.optim.serialization import from_json, to_json

__all__ = ["OptimizerSpec", "optimizer_from_json", "optimizer_to_json", "set_lr"]

_NAMES = ("adam", "adamw", "sgd", "lars", "lamb")
_WITH_MOMENTUM = ("sgd", "lars")
_DEFAULT_BETAS = (0.9, 0.999)
_DEFAULT_TRUST = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerSpec:
    """Which optimizer, and with what, apart from the learning rate.

    Attributes:
        name: "adam", "adamw", "sgd"; "lars" (You et al. 2017: momentum SGD whose step in every
            layer is as long as its weights allow) and "lamb" (You et al. 2020: the same of Adam)
            for batches of thousands of images.
        weight_decay: "adamw" shrinks w by lr * weight_decay (Loshchilov & Hutter 2019); "lamb"
            adds weight_decay * w to Adam's step; the others add it to the gradient (L2, as the
            2019 system did).
        head_weight_decay: the same for the head alone; None takes `weight_decay`. The paper's
            regularizer on its new layer is 0.1.
        momentum: of "sgd" and "lars".
        nesterov: take the gradient as if the momentum had moved on; with a momentum and without
            dampening.
        dampening: share of each new gradient that momentum does not take in. The 2019 system's
            SGD has dampening = momentum unless told otherwise.
        betas: of "adam", "adamw" and "lamb".
        trust_coefficient: of "lars", eta in its paper: how far a layer may move in one step of
            learning rate 1, as a share of the norm of its weights.
        head_lr_factor: the head's learning rate over the schedule's.
        layer_decay: learning rate of a block of the backbone over that of the block after it;
            1 is the same for all, 0.7 gives the first of ResNet-50's five a sixth of the last's.
        layer_rules: layers with a learning rate or weight decay of their own; the first rule
            that matches counts, and goes before `head_lr_factor` and `layer_decay`.
        decay_norms_and_biases: decay parameters of one dimension, too, as the paper did. Layers
            that "lars" and "lamb" do not decay they do not adapt either, as is usual.
    """

    name: Literal["adam", "adamw", "sgd", "lars", "lamb"] = "adam"
    weight_decay: float = 0.0
    head_weight_decay: float | None = None
    momentum: float = 0.0
    nesterov: bool = False
    dampening: float = 0.0
    betas: tuple[float, float] = _DEFAULT_BETAS
    trust_coefficient: float = _DEFAULT_TRUST
    head_lr_factor: float = 1.0
    layer_decay: float = 1.0
    layer_rules: tuple[LayerRule, ...] = ()
    decay_norms_and_biases: bool = False

    def __post_init__(self) -> None:
        require(self.name in _NAMES, "name", f"one of {', '.join(_NAMES)}", self.name)
        require(self.weight_decay >= 0, "weight_decay", "at least 0", self.weight_decay)
        head_decay = self.head_weight_decay
        require(
            head_decay is None or head_decay >= 0, "head_weight_decay", "at least 0", head_decay
        )
        require(self.head_lr_factor > 0, "head_lr_factor", "above 0", self.head_lr_factor)
        decay = self.layer_decay
        require(0 < decay <= 1, "layer_decay", "above 0 and at most 1", decay)
        rules = all(isinstance(rule, LayerRule) for rule in self.layer_rules)
        require(rules, "layer_rules", "LayerRule values", self.layer_rules)
        _check_momentum(self)

    def build(
        self,
        named_parameters: Iterable[tuple[str, nn.Parameter]],
        head_names: Collection[str] = (),
    ) -> Optimizer:
        """Make the optimizer; its learning rate is 0 until `set_lr`.

        Groups are named "backbone", "backbone_undecayed", "head" and "head_undecayed", with
        `layer_decay` also "backbone-1" and so on (blocks before the head), with `layer_rules` also
        their patterns. They carry an "lr_factor"; empty ones are left out, and so are frozen
        parameters.

        Args:
            named_parameters: such as `model.named_parameters()`, frozen ones included.
            head_names: names among them that belong to the head.

        Raises:
            InvalidValueError: a head name or a rule that is no parameter's, or nothing to train.
            MissingDependencyError: "lars" or "lamb" without timm.
        """
        everything, head = list(named_parameters), set(head_names)
        unknown = sorted(head - {name for name, _ in everything})
        require(not unknown, "head_names", "names of parameters of the model", unknown)
        for rule in self.layer_rules:
            matched = any(rule_for(name, (rule,)) for name, _ in everything)
            some = ", ".join(name for name, _ in everything[:3])
            wanted = f"one that a parameter's name matches ({some}, ...)"
            require(matched, "pattern", wanted, rule.pattern)
        trainable = [(name, p) for name, p in everything if p.requires_grad]
        require(bool(trainable), "parameters", "not all frozen", f"{len(everything)} frozen")
        optimizer = self._optimizer(self._groups(trainable, head, depths(everything, head)))
        match_layouts(optimizer)
        start_missing_momentum(optimizer)
        return optimizer

    def _groups(
        self,
        trainable: Sequence[tuple[str, nn.Parameter]],
        head: Collection[str],
        depth: Mapping[str, int],
    ) -> list[dict[str, Any]]:
        """Parameter groups: backbone before head, decayed before undecayed, no empty one."""
        groups: dict[str, dict[str, Any]] = {}
        for name, parameter in sorted(trainable, key=lambda entry: entry[0] in head):
            decayed = parameter.ndim > 1 or self.decay_norms_and_biases
            label, factor, decay = self._of_layer(name, name in head, depth[name])
            for key, is_decayed in ((label, True), (f"{label}_undecayed", False)):
                empty = {
                    "params": [],
                    "name": key,
                    "weight_decay": decay if is_decayed else 0.0,
                    "lr_factor": factor,
                }
                if self.name in ("lars", "lamb"):
                    empty["always_adapt"] = is_decayed  # also where their weight decay is 0
                group = groups.setdefault(key, empty)
                group["params"] += [parameter] if decayed is is_decayed else []
        return [group for group in groups.values() if group["params"]]

    def _of_layer(self, name: str, in_head: bool, depth: int) -> tuple[str, float, float]:
        """The group, the learning-rate factor and the weight decay of a parameter."""
        label = "head" if in_head else "backbone"
        if self.layer_decay != 1 and not in_head:
            label = f"{label}-{depth}"
        factor = self.head_lr_factor if in_head else self.layer_decay ** (depth - 1)
        own = self.head_weight_decay if in_head else self.weight_decay
        decay = self.weight_decay if own is None else own
        rule = rule_for(name, self.layer_rules)
        if rule is None:
            return label, factor, decay
        factor = factor if rule.lr_factor is None else rule.lr_factor
        decay = decay if rule.weight_decay is None else rule.weight_decay
        return f"{label}:{rule.pattern}", factor, decay

    def _optimizer(self, groups: list[dict[str, Any]]) -> Optimizer:
        parameters = [p for group in groups for p in group["params"]]
        # One pass over memory per step: a third to a half of the time of the foreach
        # implementation on a CPU (ResNet-50, one and two threads).
        fused = all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in parameters)
        momentum: dict[str, Any] = {
            "momentum": self.momentum,
            "nesterov": self.nesterov,
            "dampening": self.dampening,
        }
        if self.name == "sgd":
            return SGD(groups, lr=0.0, fused=fused, **momentum)
        if self.name in ("adam", "adamw"):
            kind = Adam if self.name == "adam" else AdamW
            return kind(groups, lr=0.0, betas=self.betas, fused=fused)
        timm = _timm_optim(self.name)
        if self.name == "lars":
            lars: Optimizer = timm.Lars(
                groups, lr=0.0, trust_coeff=self.trust_coefficient, **momentum
            )
            return lars
        # Its own clipping is off: `Clipping` does that for every optimizer.
        lamb: Optimizer = timm.Lamb(groups, lr=0.0, betas=self.betas, max_grad_norm=None)
        return lamb


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
    spec: object = from_json(data, _KINDS)
    if not isinstance(spec, OptimizerSpec):
        raise InvalidValueError(f"type must be OptimizerSpec. Got {type(spec).__name__!r}.")
    return spec


_KINDS: Mapping[str, type] = {"OptimizerSpec": OptimizerSpec, "LayerRule": LayerRule}


def _check_momentum(spec: OptimizerSpec) -> None:
    """Raise unless momentum, betas and trust fit the optimizer that they are given to."""
    require(0 <= spec.momentum < 1, "momentum", "at least 0 and below 1", spec.momentum)
    require(
        spec.momentum == 0 or spec.name in _WITH_MOMENTUM,
        "momentum",
        f"0 for {spec.name}",
        spec.momentum,
        hint="Adam's is betas[0]",
    )
    require(0 <= spec.dampening <= 1, "dampening", "at least 0 and at most 1", spec.dampening)
    require(
        spec.dampening == 0 or spec.momentum > 0, "dampening", "0 without momentum", spec.dampening
    )
    require(
        not spec.nesterov or (spec.momentum > 0 and spec.dampening == 0),
        "nesterov",
        "False without a momentum, and with dampening",
        spec.nesterov,
    )
    two = len(spec.betas) == 2 and all(0 <= beta < 1 for beta in spec.betas)
    require(two, "betas", "two numbers of at least 0 and below 1", spec.betas)
    require(
        spec.betas == _DEFAULT_BETAS or spec.name not in _WITH_MOMENTUM,
        "betas",
        f"left alone for {spec.name}",
        spec.betas,
        hint="SGD has momentum",
    )
    trust = spec.trust_coefficient
    require(trust > 0, "trust_coefficient", "above 0", trust)
    require(
        trust == _DEFAULT_TRUST or spec.name == "lars",
        "trust_coefficient",
        f"left alone for {spec.name}",
        trust,
    )


def _timm_optim(name: str) -> Any:
    try:
        import timm.optim
    except ImportError as error:
        raise MissingDependencyError(
            f"The optimizer {name} comes from timm, which is not installed. "
            "Hint: pip install hilum[timm]"
        ) from error
    return timm.optim
