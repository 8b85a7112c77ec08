"""Gradient clipping as a frozen value."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from hilum.errors import require
from hilum.optim.serialization import from_json, to_json

__all__ = ["Clipping", "clipping_from_json", "clipping_to_json"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clipping:
    """Bounds on gradients; both may be given, the value's comes first. None is no bound.

    Attributes:
        value: the largest absolute value of any element.
        norm: the largest L2 norm of all gradients together (Pascanu et al. 2013).
    """

    value: float | None = None
    norm: float | None = None

    def __post_init__(self) -> None:
        for name in ("value", "norm"):
            bound = getattr(self, name)
            require(bound is None or bound > 0, name, "positive", bound)

    def clip(self, parameters: Iterable[nn.Parameter]) -> float:
        """Clip in place; returns the global norm before it was clipped, NaN without a norm."""
        trained = [p for p in parameters if p.grad is not None]
        if self.value is not None:
            clip_grad_value_(trained, self.value)
        if self.norm is None:
            return math.nan
        return float(clip_grad_norm_(trained, self.norm))


def clipping_to_json(clipping: Clipping) -> dict[str, Any]:
    """Return the bounds as a JSON object."""
    return to_json(clipping, {"Clipping": Clipping})


def clipping_from_json(data: object) -> Clipping:
    """Rebuild the bounds from `clipping_to_json`'s object."""
    return from_json(data, {"Clipping": Clipping})
