"""Shapes and large numbers as a picture's reader wants them."""

from collections.abc import Sequence

__all__ = ["in_words", "shape_in_words"]

_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def in_words(number: int) -> str:
    """Three digits and a unit; nothing for zero.

    >>> in_words(25_557_032), in_words(512), in_words(0)
    ('25.6 M', '512', '')
    """
    for size, unit in _UNITS:
        if number >= size:
            return f"{number / size:#.3g}".rstrip(".") + f" {unit}"
    return str(number) if number else ""


def shape_in_words(shape: Sequence[int]) -> str:
    """Sizes from channels on.

    >>> shape_in_words((64, 112, 112))
    '64 x 112 x 112'
    """
    return " x ".join(map(str, shape)) or "1"
