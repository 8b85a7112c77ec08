"""BigDL's tensors: views of storages, which lie in the definition or in a file of their own."""

import hashlib
import math
import struct
from collections.abc import Mapping

import numpy as np
from numpy.lib.stride_tricks import as_strided

from hilum.errors import ChecksumError, InvalidValueError, require
from hilum.models.roads.assembly import Array
from hilum.models.roads.wire import Message

__all__ = ["Storages", "read_weights_file"]

_MAGIC = 3721
_HEAD = struct.Struct(">ii")
_ENTRY = struct.Struct(">iii")
_LENGTH = struct.Struct(">i")
_NO_STORAGE = -1
_DENSE = 0
_MAX_DIMENSIONS = 8
# Numbers in the weights file, by the number of their type: java.io.DataOutputStream writes them.
_STORED = {0: ">f4", 1: ">f8", 5: ">i4", 6: ">i2", 7: ">i8"}
_FLOAT, _DOUBLE = 0, 1
# Fields of a module that hold tensors: weight and bias up to 0.5, parameters since.
_WEIGHT, _BIAS, _PARAMETERS = 3, 4, 16


class Storages:
    """Arrays by the number under which tensors refer to them."""

    def __init__(self) -> None:
        self._arrays: dict[int, Array] = {}

    def add(self, arrays: Mapping[int, Array]) -> None:
        """Take those of a weights file."""
        self._arrays |= arrays

    def collect(self, root: Message) -> None:
        """Take all that lie within a definition: several modules may refer to one."""
        modules = [root]
        while modules:
            module = modules.pop()
            modules += module.messages(2)
            for field in (_WEIGHT, _BIAS, _PARAMETERS):
                for tensor in module.messages(field):
                    self._take(tensor)
            attributes = list(module.table(8).values())
            while attributes:
                attribute = attributes.pop()
                for tensor in attribute.messages(10):
                    self._take(tensor)
                modules += attribute.messages(13)
                for inner in attribute.messages(14):  # "global_storage"
                    attributes += inner.table(2).values()

    def _take(self, tensor: Message) -> None:
        storage = tensor.message(8)
        number = storage.integer(9)
        for field, kind in ((2, "<f4"), (3, "<f8")):
            if field in storage:
                self._arrays[number] = storage.array(field, kind)

    def tensor(self, tensor: Message, what: str) -> Array:
        """The numbers of a tensor.

        Raises:
            InvalidValueError: it is nowhere, reaches beyond its storage, or is quantised.
        """
        require(tensor.integer(10) == _DENSE, what, "a dense tensor", "a quantised one")
        number = tensor.message(8).integer(9, _NO_STORAGE)
        require(
            number in self._arrays,
            what,
            "a tensor whose numbers are in the files",
            f"storage {number}",
            hint="was the model saved with a weights file? Give it as the second argument",
        )
        stored = self._arrays[number]
        sizes, strides = tensor.integers(2), tensor.integers(3)
        first = tensor.integer(4, 1) - 1
        last = first + sum((n - 1) * step for n, step in zip(sizes, strides, strict=False))
        require(
            len(sizes) == len(strides) <= _MAX_DIMENSIONS
            and all(n > 0 and step >= 0 for n, step in zip(sizes, strides, strict=True))
            and 0 <= first <= last < stored.size
            and math.prod(sizes) <= stored.size,  # no number twice
            what,
            f"within its storage of {stored.size} numbers",
            f"sizes {sizes}, strides {strides}, offset {first + 1}",
        )
        width = stored.dtype.itemsize
        return as_strided(
            stored[first:], sizes, [step * width for step in strides], writeable=False
        )


def read_weights_file(data: bytes) -> dict[int, Array]:
    """Read the file of tensors: a head, storages with their numbers, and MD5 of it all.

    Raises:
        InvalidValueError: not such a file, or a truncated one.
        ChecksumError: the bytes are not those that were written.
    """
    found: dict[int, Array] = {}
    position = _HEAD.size
    try:
        magic, count = _HEAD.unpack_from(data)
        require(magic == _MAGIC, "BigDL weights", f"a file that begins with {_MAGIC}", magic)
        for _ in range(count):
            number, kind, size = _ENTRY.unpack_from(data, position)
            position += _ENTRY.size
            require(kind in _STORED, "type of BigDL weights", f"one of {sorted(_STORED)}", kind)
            dtype = np.dtype(_STORED[kind])
            length = size * dtype.itemsize
            require(
                0 <= length <= len(data) - position,
                "BigDL weights",
                "a whole file",
                f"{length} bytes wanted, {len(data) - position} left",
            )
            if kind in (_FLOAT, _DOUBLE):
                found[number] = np.frombuffer(data, dtype, size, position)
            position += length
        (length,) = _LENGTH.unpack_from(data, position)
    except struct.error as error:
        raise InvalidValueError(
            f"BigDL weights must be a whole file. Got one that ends after {len(data)} bytes. "
            "Hint: it is truncated or of another format."
        ) from error
    written = data[position + _LENGTH.size : position + _LENGTH.size + max(length, 0)]
    digest = hashlib.md5(memoryview(data)[:position], usedforsecurity=False).digest()
    if written != digest:
        raise ChecksumError(
            "BigDL weights must have the checksum they were written with. "
            "Hint: the file is damaged; copy it again."
        )
    return found
