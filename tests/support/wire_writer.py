"""Writes protocol buffers, for tests of what reads them: a message is bytes, made of fields."""

import struct
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt


def varint(value: int) -> bytes:
    value &= 0xFFFF_FFFF_FFFF_FFFF
    parts = []
    while True:
        parts.append((value & 0x7F) | (0x80 if value > 0x7F else 0))
        value >>= 7
        if not value:
            return bytes(parts)


def integer(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def block(number: int, value: bytes | str) -> bytes:
    """A string, bytes or a message."""
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def packed(number: int, values: Iterable[int]) -> bytes:
    return block(number, b"".join(varint(value) for value in values))


def floats(number: int, values: npt.ArrayLike) -> bytes:
    return block(number, np.asarray(values, "<f4").tobytes())


def single(number: int, value: float) -> bytes:
    return varint(number << 3 | 5) + struct.pack("<f", value)


def double(number: int, value: float) -> bytes:
    return varint(number << 3 | 1) + struct.pack("<d", value)


def entry(number: int, key: str, value: bytes) -> bytes:
    """An entry of a map from strings to messages."""
    return block(number, block(1, key) + block(2, value))
