"""Gradient clipping as a frozen value: by value, by global norm, or not at all."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from hilum.errors import require
from hilum.optim.serialization import from_json, to_json

__all__ = ["Clipping", "clipping_from_json", "clipping_to_json"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clipping:
    """How large a gradient may get; it is clipped after averaging over ranks, before the step.

    With both, every element is clamped first, then the whole is shortened: the 2019 system's
    setConstantGradientClipping and setGradientClippingByL2Norm.

    Attributes:
        value: the largest absolute value of an element; None is no limit.
        norm: the largest L2 norm of all gradients taken together; None is no limit.
    """

    value: float | None = None
    norm: float | None = None

    def __post_init__(self) -> None:
        for name, limit in (("value", self.value), ("norm", self.norm)):
            positive = limit is None or (limit > 0 and math.isfinite(limit))
            require(positive, name, "None or a finite number above 0", limit)

    def clip(self, parameters: Iterable[nn.Parameter]) -> float:
        """Shorten the gradients in place; returns their total norm before that.

        Returns:
            The L2 norm of all gradients, elements clamped if `value` says so; NaN where nothing
            is clipped by norm, for then nobody paid for it. A gradient that is not finite stays so.
        """
        if self.value is None and self.norm is None:
            return math.nan
        trained = [parameter for parameter in parameters if parameter.grad is not None]
        if self.value is not None:
            nn.utils.clip_grad_value_(trained, self.value)
        if self.norm is None:
            return math.nan
        return float(nn.utils.clip_grad_norm_(trained, self.norm))


def clipping_to_json(clipping: Clipping) -> dict[str, Any]:
    """Return the limits as a JSON object."""
    return to_json(clipping, _KINDS)


def clipping_from_json(data: object) -> Clipping:
    """Rebuild the limits from `clipping_to_json`'s object.

    Raises:
        InvalidValueError: an unknown type or field, or a value that breaks a rule.
    """
    return from_json(data, _KINDS)


_KINDS: Mapping[str, type[Clipping]] = {"Clipping": Clipping}
