"""Cross-entropy of exclusive classes, losses by name, and all of them to JSON and back."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from hilum.errors import InvalidValueError, require
from hilum.optim.finding_losses import AsymmetricLoss, BCEWithLogits, FocalLoss
from hilum.optim.loss import Loss, precise_logits
from hilum.optim.output_losses import Objective, OutputLosses
from hilum.optim.own_loss import OwnLoss, is_loss_name, own_loss
from hilum.optim.serialization import from_json, to_json
from hilum.optim.torch_losses import TorchLoss

__all__ = ["LOSSES", "CrossEntropy", "class_logits", "loss_from_json", "loss_of", "loss_to_json"]

TORCH = "torch:"  # before the name of a loss of torch.nn


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossEntropy:
    """Cross-entropy of exclusive classes, for logits (N, C) or, of sequences, (N, C, ...).

    Labels are class numbers, whole and from 0, or NaN where unknown, which counts as nothing: one
    per row, (N,) or (N, 1), or one per place, (N, ...), also flat. For findings, which occur
    together, take one of the others. One logit alone, (N, 1) or (N,), is that of the second of two
    classes, which makes this the binary cross-entropy.

    Attributes:
        class_weights: weight of each class in the mean; None is all 1.
        label_smoothing: share of every label that is spread evenly over all classes.
    """

    class_weights: tuple[float, ...] | None = None
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        weights, smoothing = self.class_weights, self.label_smoothing
        positive = weights is None or all(0 < weight < float("inf") for weight in weights)
        require(positive, "class_weights", "positive numbers, one per class", weights)
        require(0 <= smoothing < 1, "label_smoothing", "at least 0 and below 1", smoothing)

    def elementwise(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the terms, in the labels' shape."""
        logits = class_logits(logits)
        places = (*logits.shape[:1], *logits.shape[2:])
        require(
            logits.ndim >= 2
            and len(labels) == len(logits)
            and labels.numel() == math.prod(places)
            and (labels.ndim <= 2 or tuple(labels.shape) == places),
            "labels",
            f"class numbers of shape {places} for logits of shape {tuple(logits.shape)}",
            tuple(labels.shape),
        )
        shaped = labels.reshape(places)
        known = ~shaped.isnan()
        scores = precise_logits(logits, known.unsqueeze(1))
        terms = functional.cross_entropy(
            scores,
            torch.where(known, shaped, 0).long(),
            weight=self._factors(scores),
            label_smoothing=self.label_smoothing,
            reduction="none",
        )
        return torch.where(known, terms, 0.0).reshape(labels.shape)

    def weights(self, labels: Tensor) -> Tensor:
        """Return the weights in the labels' shape: those of their classes.

        Raises:
            InvalidValueError: a label is below 0 or not whole.
        """
        known = ~labels.isnan()
        numbers = torch.where(known, labels, 0)
        whole = bool(((numbers >= 0) & (numbers == numbers.round())).all())
        require(whole, "labels", "class numbers, whole and from 0", labels.flatten()[:8].tolist())
        if self.class_weights is None:
            return known.float()
        factors = torch.tensor(self.class_weights, device=labels.device)
        return torch.where(known, factors[numbers.long()], 0.0)

    def _factors(self, scores: Tensor) -> Tensor | None:
        if self.class_weights is None:
            return None
        classes = scores.shape[1]
        fits = len(self.class_weights) == classes
        require(fits, "class_weights", f"{classes} numbers, one per class", self.class_weights)
        return torch.tensor(self.class_weights, dtype=scores.dtype, device=scores.device)


def class_logits(outputs: Tensor) -> Tensor:
    """Return logits (N, C, ...) of exclusive classes, of which a softmax makes probabilities.

    Args:
        outputs: (N, C, ...) as they are; or (N, 1) or (N,), the logit of the second of two classes.
    """
    if outputs.ndim > 2 or (outputs.ndim == 2 and outputs.shape[1] > 1):
        return outputs
    second = outputs.reshape(-1, 1)
    return torch.cat([torch.zeros_like(second), second], dim=1)


def loss_of(text: str) -> Objective:
    """Return the loss that a name of `LOSSES`, torch:NAME, a function's or JSON stands for.

    Raises:
        InvalidValueError: it is none of these; the message lists the names.
    """
    if text in LOSSES:
        return LOSSES[text]
    if text.startswith(TORCH):
        return _torch_loss(text)
    if is_loss_name(text):
        return own_loss(text)
    names = ", ".join(LOSSES)
    try:
        return loss_from_json(json.loads(text))
    except ValueError as error:
        raise InvalidValueError(
            f"loss must be one of {names}, torch:NAME, the name of a function of yours "
            f"(package.module:function), or a loss as JSON. Got {text!r}: {error}"
        ) from error


def _torch_loss(text: str) -> TorchLoss:
    name, _, rest = text.removeprefix(TORCH).partition(" ")
    try:
        options = json.loads(rest or "{}")
        return TorchLoss(name=name, options=tuple(options.items()))
    except (AttributeError, json.JSONDecodeError) as error:
        raise InvalidValueError(
            f"options of a loss must be a JSON object. Got {text!r}: {error}. "
            'Hint: torch:HuberLoss {"delta": 2.0}'
        ) from error


def loss_to_json(loss: Objective) -> dict[str, Any]:
    """Return the loss, or those of several outputs, as a JSON object."""
    return to_json(loss, _KINDS)


def loss_from_json(data: object) -> Objective:
    """Rebuild a loss from `loss_to_json`'s object.

    Raises:
        InvalidValueError: an unknown type or field, or a value that breaks a rule.
    """
    found: Objective = from_json(data, _KINDS)
    return found


LOSSES: Mapping[str, Loss] = MappingProxyType(
    {
        "bce": BCEWithLogits(),
        "focal": FocalLoss(),
        "asymmetric": AsymmetricLoss(),
        "cross_entropy": CrossEntropy(),
        "mse": TorchLoss(name="MSELoss"),
        "l1": TorchLoss(name="L1Loss"),
        "smooth_l1": TorchLoss(name="SmoothL1Loss"),
        "huber": TorchLoss(name="HuberLoss"),
        "poisson": TorchLoss(name="PoissonNLLLoss"),
    }
)

_KINDS: Mapping[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        BCEWithLogits,
        FocalLoss,
        AsymmetricLoss,
        CrossEntropy,
        TorchLoss,
        OutputLosses,
        OwnLoss,
    )
}
