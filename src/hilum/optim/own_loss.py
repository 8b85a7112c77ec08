"""Losses that a function of the user's computes: found by name, never pickled (decision 0039)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from hilum.errors import require
from hilum.marking import Purpose, is_function_name, plain_options

__all__ = ["OwnLoss", "is_loss_name", "loss_function", "own_loss"]

Function = TypeVar("Function", bound=Callable[..., Tensor])

_LOSSES = Purpose(
    mark="__hilum_loss_function__",
    decorator="@hilum.optim.loss_function",
    parameter="loss",
    does="returns one loss per row",
)


def loss_function(function: Function) -> Function:
    """Mark a function of a module as one that bundles and runs may call by its name.

    It takes the network's output (N, ...) and the labels (N, ...), both float32, then plain values
    by name, and returns the loss of each row, (N,). Rows with an unknown label are left out.

        @loss_function
        def pinball(output, labels, share=0.5): ...
    """
    setattr(function, _LOSSES.mark, True)
    return function


def is_loss_name(text: str) -> bool:
    """Whether a text names a function, package.module:function, and no loss of torch.nn."""
    return is_function_name(text) and not text.startswith("torch:")


def own_loss(function: Callable[..., Tensor] | str, **options: Any) -> "OwnLoss":
    """Return the loss that a marked function computes with these options.

    Args:
        function: the function, or its name "package.module:function".

    Raises:
        InvalidValueError: nobody else could find the function, or it is not marked.
        MissingDependencyError: its module cannot be imported here.
    """
    name = function if isinstance(function, str) else _LOSSES.name_of(function)
    loss = OwnLoss(callable=name, options=tuple(plain_options(name, options).items()))
    loss.function()
    return loss


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnLoss:
    """A loss per row that a function computes; its mean over rows is minimised.

    Attributes:
        callable: "package.module:function", importable on driver and executors.
        options: its further arguments as (name, value) pairs of plain values.
    """

    callable: str
    options: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        _LOSSES.check_name(self.callable)
        nested = [value for _, value in self.options if isinstance(value, dict)]
        require(not nested, f"options of {self.callable}", "numbers, texts or lists", nested)
        plain_options(self.callable, dict(self.options))

    def function(self) -> Callable[..., Tensor]:
        """Import the function.

        Raises:
            MissingDependencyError: it is not on the Python path.
            InvalidValueError: it is not marked with `loss_function`.
        """
        return _LOSSES.find(self.callable)

    def elementwise(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return a term per row, (N,), 0 where a label is unknown.

        Raises:
            InvalidValueError: the function returns something else.
        """
        outputs = logits.to(torch.promote_types(logits.dtype, torch.float32))
        known = ~labels.reshape(len(labels), -1).isnan().any(dim=1)
        # Nothing to learn, but the network's parameters must have a gradient on every rank.
        nothing = outputs.reshape(len(outputs), -1)[:, 0].nan_to_num(0.0, 0.0, 0.0) * 0.0
        if not bool(known.any()):
            return nothing
        terms = self.function()(outputs[known], labels[known], **dict(self.options))
        rows = int(known.sum())
        given = tuple(terms.shape) if isinstance(terms, Tensor) else type(terms).__name__
        rule = f"one number per row, ({rows},)"
        require(given == (rows,), f"what {self.callable} returns", rule, given)
        return nothing.masked_scatter(known, terms.to(nothing.dtype))

    def weights(self, labels: Tensor) -> Tensor:
        """Return 1 for each row whose labels are all known, (N,)."""
        return (~labels.reshape(len(labels), -1).isnan().any(dim=1)).float()
