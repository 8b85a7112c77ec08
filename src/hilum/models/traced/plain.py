"""Operators on plain values, within bounds: of tensors they are torch's, of texts and lists not.

A program may compute with numbers and sizes beside its tensors. Without bounds, one step on them
fills the memory of whoever reads a bundle: a text a hundred billion times, a power of a power.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from hilum.errors import require

__all__ = ["ARITHMETIC", "bounded", "bounded_product"]

ARITHMETIC = (
    "abs add and_ floordiv iadd iand ifloordiv imatmul imod imul invert ior ipow isub itruediv "
    "ixor matmul mod mul neg or_ pos pow sub truediv xor"
)
"""Names of the operators that make a value of values."""

MAX_BITS, MAX_LENGTH = 64, 10_000


def bounded(operation: Callable[..., Any]) -> Callable[..., Any]:
    """An operator that refuses texts, and plain operands whose result could be of any size."""
    name = operation.__name__
    repeats, raises = name in ("mul", "imul"), name in ("pow", "ipow")

    @functools.wraps(operation)
    def within_bounds(*args: Any, **kwargs: Any) -> Any:
        values = (*args, *kwargs.values())
        for value in values:
            _require_number(name, value)
        # By their type: a stand-in of torch.fx tells isinstance what it stands for.
        length = sum(len(value) for value in values if issubclass(type(value), tuple | list))
        numbers = [value for value in values if issubclass(type(value), int)]
        length *= max(1, *numbers) if repeats and numbers else 1
        require(
            length <= MAX_LENGTH, f"a list made by {name}", f"at most {MAX_LENGTH} long", length
        )
        if raises and len(numbers) == len(values) > 1:
            require(values[1] <= MAX_BITS, "a power", f"at most {MAX_BITS}", values[1])
        return operation(*args, **kwargs)

    return within_bounds


def bounded_product(product: Callable[..., Any]) -> Callable[..., Any]:
    """`math.prod` of numbers alone."""

    @functools.wraps(product)
    def within_bounds(values: Sequence[Any], *, start: Any = 1) -> Any:
        items = values if issubclass(type(values), tuple | list) else ()
        require(len(items) <= MAX_LENGTH, "factors of prod", "a short list", len(items))
        for item in (*items, start):
            is_list = issubclass(type(item), tuple | list)
            require(not is_list, "a factor of prod", "a number", type(item).__name__)
            _require_number("prod", item)
        return product(values, start=start)

    return within_bounds


def _require_number(name: str, value: Any) -> None:
    is_text = issubclass(type(value), str | bytes)
    require(not is_text, f"operands of {name}", "no texts", type(value).__name__)
    if issubclass(type(value), int):
        rule = f"numbers of at most {MAX_BITS} bits"
        require(value.bit_length() <= MAX_BITS, f"operands of {name}", rule, value.bit_length())
