"""The losses of torch.nn that compare an output with a label, by name and from a closed list.

Each is PyTorch's own function without its reduction; the mean over known labels is that of
reduction="mean". Labels may come flat, (N, numbers of a row), as they lie in a cache's index.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from hilum.errors import InvalidValueError, require

__all__ = ["TORCH_LOSSES", "TorchLoss"]

Option: TypeAlias = float | bool | str

# Options that mean the same without a reduction; those not here, such as weight tensors, are not
# plain values or are offered by losses of our own.
TORCH_LOSSES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "L1Loss": (),
        "MSELoss": (),
        "SmoothL1Loss": ("beta",),
        "HuberLoss": ("delta",),
        "PoissonNLLLoss": ("log_input", "full", "eps"),
        "KLDivLoss": ("log_target",),
        "BCELoss": (),
        "BCEWithLogitsLoss": (),
        "SoftMarginLoss": (),
        "HingeEmbeddingLoss": ("margin",),
        "MultiLabelSoftMarginLoss": (),
        "MultiMarginLoss": ("p", "margin"),
    }
)

_OF_ROWS = ("MultiLabelSoftMarginLoss", "MultiMarginLoss")  # one term for all labels of a row
_OF_CLASSES = ("MultiMarginLoss",)  # the label is a class number
_HARMLESS = 0.5  # in every loss's domain, as output and as label


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchLoss:
    """A loss of torch.nn.

    Attributes:
        name: that of the class, such as "HuberLoss"; one of `TORCH_LOSSES`.
        options: its arguments as (name, value) pairs, such as (("delta", 2.0),).
    """

    name: str
    options: tuple[tuple[str, Option], ...] = ()

    def __post_init__(self) -> None:
        require(self.name in TORCH_LOSSES, "loss", f"one of {', '.join(TORCH_LOSSES)}", self.name)
        allowed = TORCH_LOSSES[self.name]
        unknown = [name for name, _ in self.options if name not in allowed]
        rule = f"made of {', '.join(allowed)}" if allowed else "empty"
        require(not unknown, f"options of {self.name}", rule, unknown)
        try:
            self._function()
        except (TypeError, ValueError) as error:
            raise InvalidValueError(
                f"options of {self.name} must be those of torch. Got {self.options!r}: {error}"
            ) from error

    def elementwise(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return a term per number of the output, or per row for the losses that compare rows."""
        outputs = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if self.name in _OF_CLASSES:
            known = ~_one_per_row(outputs, labels).isnan()
            targets = torch.where(known, _one_per_row(outputs, labels), 0).long()
            scores = torch.where(known[:, None], outputs, 0.0)
            return torch.where(known, self._function()(scores, targets), 0.0)
        shaped = _like(outputs, labels)
        known = ~shaped.isnan()
        if self.name in _OF_ROWS:  # a row with an unknown label is unknown
            known = known.flatten(1).all(1).reshape(-1, *(1 for _ in shaped.shape[1:]))
        terms: Tensor = self._function()(
            torch.where(known, outputs, _HARMLESS),
            torch.where(known, shaped, _HARMLESS).to(outputs.dtype),
        )
        return torch.where(known.reshape(-1) if self.name in _OF_ROWS else known, terms, 0.0)

    def weights(self, labels: Tensor) -> Tensor:
        """Return 1 where a label is known, or where all of a row's are."""
        known = ~labels.isnan()
        if self.name in _OF_ROWS:
            known = known.reshape(len(labels), -1).all(1)
        return known.float()

    def _function(self) -> Callable[[Tensor, Tensor], Tensor]:
        options: dict[str, Any] = dict(self.options)
        made: Callable[[Tensor, Tensor], Tensor] = getattr(nn, self.name)(
            reduction="none", **options
        )
        return made


def _like(outputs: Tensor, labels: Tensor) -> Tensor:
    """Labels in the outputs' shape; (N,) and (N, 1) are the same, and would else give (N, N)."""
    flat = labels.ndim <= 2 or outputs.ndim == 1
    fits = len(outputs) == len(labels) and outputs.numel() == labels.numel()
    require(
        fits and (flat or outputs.shape == labels.shape),
        "labels",
        f"of the output's shape {tuple(outputs.shape)}, or as many numbers in a row",
        tuple(labels.shape),
    )
    return labels.reshape(outputs.shape)


def _one_per_row(outputs: Tensor, labels: Tensor) -> Tensor:
    require(
        outputs.ndim == 2 and labels.numel() == len(outputs),
        "labels",
        f"one class number per row, for an output {tuple(outputs.shape)} of (rows, classes)",
        tuple(labels.shape),
    )
    return labels.reshape(-1)
