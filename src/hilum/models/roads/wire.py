"""Protocol buffers without their compiler: the fields of a message by their numbers.

TensorFlow, Caffe and BigDL write messages of which the roads need a few fields each. So a message
is looked at, not decoded: parts are views of the file's bytes, and a tensor is never copied here.
The encoding is that of protobuf.dev/programming-guides/encoding.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hilum.errors import InvalidValueError, require

__all__ = ["MAX_FILE_BYTES", "MAX_TEXT_BYTES", "Message", "read_file", "read_message"]

MAX_FILE_BYTES = 8 << 30
MAX_TEXT_BYTES = 64 << 20
MAX_FIELDS = 3_000_000  # a large network takes some 300,000; each costs 150 bytes here
MAX_DEPTH = 100  # as Google's own readers have it
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5


def read_file(path: Path, what: str, limit: int = MAX_FILE_BYTES) -> bytes:
    """The bytes of a model's file.

    Args:
        path: of the file.
        what: for errors: "a Caffe model".
        limit: bytes.

    Raises:
        InvalidValueError: no such file, or an absurdly large one.
    """
    require(path.is_file(), what, "an existing file", str(path))
    size = path.stat().st_size
    require(size <= limit, what, f"a file of at most {limit:,} bytes", f"{size:,}")
    return path.read_bytes()


def read_message(data: bytes, what: str) -> "Message":
    """The message that a file consists of.

    Args:
        data: the file.
        what: for errors: "a Caffe model".

    Raises:
        InvalidValueError: not a message, or one with millions of fields.
    """
    return Message(memoryview(data), _Allowance(what, MAX_FIELDS))


@dataclass(slots=True)
class _Allowance:
    """How many fields may still be looked at in this file, so that one cannot take all memory."""

    what: str
    fields: int

    def take(self, count: int) -> None:
        self.fields -= count
        require(self.fields >= 0, self.what, f"a file of at most {MAX_FIELDS:,} fields", "more")

    def damaged(self, found: str) -> InvalidValueError:
        return InvalidValueError(
            f"{self.what} must be a whole file in protocol buffers. Got {found}. "
            "Hint: it is truncated, damaged, or of another format."
        )


class Message:
    """One message: lists of its fields, empty where there are none, as protobuf has it.

    Raises:
        InvalidValueError: bytes that are no message.
    """

    def __init__(self, data: memoryview, allowance: _Allowance, depth: int = 0) -> None:
        if depth > MAX_DEPTH:
            raise allowance.damaged(f"messages nested more than {MAX_DEPTH} deep")
        self._allowance, self._depth = allowance, depth
        self._fields: dict[int, list[tuple[int, Any]]] = {}
        position = 0
        while position < len(data):
            allowance.take(1)
            key, position = self._varint(data, position)
            value, position = self._value(data, position, key & 7)
            self._fields.setdefault(key >> 3, []).append((key & 7, value))

    def _value(self, data: memoryview, position: int, kind: int) -> tuple[Any, int]:
        if kind == _VARINT:
            return self._varint(data, position)
        if kind == _BYTES:
            length, position = self._varint(data, position)
        elif kind in (_FOUR, _EIGHT):
            length = 4 if kind == _FOUR else 8
        else:
            raise self._allowance.damaged(f"a field of kind {kind}")
        if length > len(data) - position:
            raise self._allowance.damaged(
                f"a field of {length} bytes where {len(data) - position} are left"
            )
        return data[position : position + length], position + length

    def _varint(self, data: memoryview, position: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            if position >= len(data) or shift > 63:
                raise self._allowance.damaged("a number without an end")
            byte = data[position]
            value |= (byte & 0x7F) << shift
            position, shift = position + 1, shift + 7
            if byte < 0x80:
                return value & 0xFFFF_FFFF_FFFF_FFFF, position

    def __contains__(self, number: int) -> bool:
        return number in self._fields

    def parts(self, number: int) -> list[memoryview]:
        """Bytes fields, uncopied."""
        fields = self._fields.get(number, [])
        if any(kind != _BYTES for kind, _ in fields):
            raise self._allowance.damaged(f"a number in the place of bytes, field {number}")
        return [value for _, value in fields]

    def texts(self, number: int) -> list[str]:
        """String fields; bytes that are no UTF-8 become replacement characters."""
        return [str(part, "utf-8", "replace") for part in self.parts(number)]

    def text(self, number: int, default: str = "") -> str:
        """A string field, the last where there are several."""
        return self.texts(number)[-1] if number in self._fields else default

    def messages(self, number: int) -> list["Message"]:
        """Messages within this one."""
        return [Message(part, self._allowance, self._depth + 1) for part in self.parts(number)]

    def message(self, number: int) -> "Message":
        """A message within this one, the last where there are several, an empty one if none."""
        part = self.parts(number)[-1] if number in self._fields else memoryview(b"")
        return Message(part, self._allowance, self._depth + 1)

    def table(self, number: int) -> dict[str, "Message"]:
        """A map from strings to messages."""
        return {entry.text(1): entry.message(2) for entry in self.messages(number)}

    def integers(self, number: int) -> list[int]:
        """Integer fields, packed or not, signed."""
        found: list[int] = []
        for kind, value in self._fields.get(number, []):
            if kind == _BYTES:
                position = 0
                while position < len(value):
                    self._allowance.take(1)
                    integer, position = self._varint(value, position)
                    found.append(integer)
            elif kind == _VARINT:
                found.append(value)
            else:
                raise self._allowance.damaged(f"no integer in field {number}")
        return [value - (1 << 64) if value >> 63 else value for value in found]

    def integer(self, number: int, default: int = 0) -> int:
        """An integer field; booleans are integers."""
        return (self.integers(number) or [default])[-1]

    def array(self, number: int, kind: str) -> "np.ndarray[Any, Any]":
        """Numbers of fixed width, packed or not: a view of the file where they are packed.

        Args:
            number: of the field.
            kind: numpy's name: "<f4", "<f8".
        """
        width = np.dtype(kind).itemsize
        wanted = (_BYTES, _FOUR if width == 4 else _EIGHT)
        parts = []
        for found, value in self._fields.get(number, []):
            if found not in wanted or len(value) % width:
                raise self._allowance.damaged(f"no numbers of {width} bytes in field {number}")
            parts.append(value)
        if len(parts) == 1:
            return np.frombuffer(parts[0], kind)
        return np.frombuffer(b"".join(parts), kind)

    def real(self, number: int, kind: str, default: float = 0.0) -> float:
        """A float or double field; `kind` as in `array`."""
        values = self.array(number, kind)
        return float(values[-1]) if len(values) else default
