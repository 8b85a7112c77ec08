"""The graph in an ONNX file, read from its protocol buffers without the `onnx` package.

Field numbers are those of onnx.proto, https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hilum.errors import InvalidValueError, require
from hilum.models.roads.assembly import Array, shaped
from hilum.models.roads.tracing import Shape
from hilum.models.roads.wire import Message, read_file, read_message

__all__ = ["Graph", "Operation", "read_graph"]

OLDEST_OPSET, NEWEST_OPSET = 7, 25
_OURS = ("", "ai.onnx")
_MAX_RANK = 16

_KINDS: Mapping[int, str] = {
    1: "<f4",
    2: "u1",
    3: "i1",
    4: "<u2",
    5: "<i2",
    6: "<i4",
    7: "<i8",
    9: "?",
    10: "<f2",
    11: "<f8",
    12: "<u4",
    13: "<u8",
}
_BFLOAT16 = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A node of the graph.

    Attributes:
        name: its own, or that of its first output.
        kind: "Conv".
        inputs: names of values; "" where an optional one is left out.
        outputs: likewise.
        attributes: numbers, texts, lists of them, arrays.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """What a file computes.

    Attributes:
        inputs: names and shapes of what goes in, without the constants.
        outputs: names of what comes out.
        operations: in the order of the file.
        constants: by name.
        opset: version of the operators.
        file_bytes: of the file and those beside it that hold its tensors.
        metadata: texts that the writer left.
    """

    inputs: tuple[tuple[str, Shape | None], ...]
    outputs: tuple[str, ...]
    operations: tuple[Operation, ...]
    constants: Mapping[str, Array]
    opset: int
    file_bytes: int
    metadata: Mapping[str, str]


def read_graph(path: Path) -> Graph:
    """Read a file, and files beside it where it keeps its tensors there.

    Raises:
        InvalidValueError: a damaged file, operators of a version or kind Hilum does not know.
    """
    data = read_file(path, "an ONNX model")
    model = read_message(data, "an ONNX model")
    opset = _opset(model)
    graph = model.message(7)
    beside = _Beside(path.parent)
    constants = {}
    for tensor in graph.messages(5):
        name = tensor.text(8)
        constants[name] = _tensor(tensor, name, beside)
    require(15 not in graph, "tensors of an ONNX model", "dense", "sparse ones")
    return Graph(
        inputs=tuple(
            (value.text(1), _shape(value))
            for value in graph.messages(11)
            if value.text(1) not in constants  # before version 4 constants were listed as inputs
        ),
        outputs=tuple(value.text(1) for value in graph.messages(12)),
        operations=tuple(
            _operation(node, number, beside) for number, node in enumerate(graph.messages(1))
        ),
        constants=constants,
        opset=opset,
        file_bytes=len(data) + beside.size,
        metadata={entry.text(1): entry.text(2) for entry in model.messages(14)},
    )


def _opset(model: Message) -> int:
    versions = {entry.text(1): entry.integer(2) for entry in model.messages(8)}
    opset = versions.get("", versions.get("ai.onnx", 0))
    require(
        OLDEST_OPSET <= opset <= NEWEST_OPSET,
        "opset of an ONNX model",
        f"{OLDEST_OPSET} to {NEWEST_OPSET}",
        opset,
        hint="export it again with another opset_version, or use onnx.version_converter",
    )
    return opset


def _shape(value: Message) -> Shape | None:
    kind = value.message(2).message(1)
    if 2 not in kind:
        return None
    sizes = []
    for dimension in kind.message(2).messages(1):
        size = dimension.integer(1, -1)
        require(size < 1 << 31, f"sizes of input {value.text(1)!r}", "sane", size)
        sizes.append(size if size > 0 else None)
    return tuple(sizes)


def _operation(node: Message, number: int, beside: "_Beside") -> Operation:
    kind, domain, outputs = node.text(4), node.text(7), tuple(node.texts(2))
    name = node.text(3) or next((output for output in outputs if output), f"node_{number}")
    require(domain in _OURS, f"operator of node {name!r}", "of ONNX itself", f"{domain}.{kind}")
    attributes = {}
    for attribute in node.messages(5):
        key = attribute.text(1)
        attributes[key] = _attribute(attribute, f"attribute {key} of node {name!r}", beside)
    return Operation(
        name=name,
        kind=kind,
        inputs=tuple(node.texts(1)),
        outputs=outputs,
        attributes=attributes,
    )


def _attribute(attribute: Message, what: str, beside: "_Beside") -> Any:
    kind = attribute.integer(20)
    if kind == 1:
        return attribute.real(2, "<f4")
    if kind == 2:
        return attribute.integer(3)
    if kind == 3:
        return attribute.text(4)
    if kind == 4:
        return _tensor(attribute.message(5), what, beside)
    if kind == 6:
        return attribute.array(7, "<f4").tolist()
    if kind == 7:
        return attribute.integers(8)
    if kind == 8:
        return attribute.texts(9)
    raise InvalidValueError(
        f"{what} must be a number, a text, a tensor or a list. Got kind {kind}. "
        "Hint: graphs within graphs (If, Loop, Scan) are not read; export without them."
    )


class _Beside:
    """Files next to the model, in which it may keep tensors."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, bytes] = {}

    @property
    def size(self) -> int:
        """Bytes of all of them."""
        return sum(map(len, self._files.values()))

    def part(self, entries: Mapping[str, str], what: str) -> memoryview:
        """The bytes that an entry names: location, offset, length."""
        location = entries.get("location", "")
        parts = Path(location).parts
        inside = parts and ".." not in parts and not Path(location).is_absolute()
        path = self._folder / location
        inside = inside and path.resolve().is_relative_to(self._folder.resolve())
        require(bool(inside), f"file of {what}", "in the folder of the model", location)
        if location not in self._files:
            if not path.is_file():
                raise InvalidValueError(
                    f"{what} must lie in a file beside the model. Got {location!r}, which is not "
                    "there. Hint: copy it along; from remote storage, copy both to this machine."
                )
            self._files[location] = read_file(path, f"file of {what}")
        data = memoryview(self._files[location])
        numbers = [entries.get("offset", "0"), entries.get("length", str(len(data)))]
        right = all(number.isdecimal() and len(number) < 19 for number in numbers)
        require(right, f"place of {what}", "whole numbers", numbers)
        offset, length = map(int, numbers)
        require(offset + length <= len(data), f"place of {what}", f"in {len(data)} bytes", numbers)
        return data[offset : offset + length]


def _tensor(tensor: Message, name: str, beside: _Beside) -> Array:
    what, kind, shape = f"tensor {name!r}", tensor.integer(2), tensor.integers(1)
    require(len(shape) <= _MAX_RANK, f"shape of {what}", f"of rank {_MAX_RANK} at most", shape)
    known = kind in _KINDS or kind == _BFLOAT16
    require(known, f"numbers of {what}", "floats, integers or truth values", f"kind {kind}")
    if tensor.integer(14) == 1:
        entries = {entry.text(1): entry.text(2) for entry in tensor.messages(13)}
        return shaped(_from_bytes(beside.part(entries, what), kind, what), shape, what)
    if 9 in tensor:
        return shaped(_from_bytes(tensor.parts(9)[-1], kind, what), shape, what)
    return shaped(_from_fields(tensor, kind), shape, what)


def _from_bytes(data: memoryview, kind: int, what: str) -> Array:
    width = 2 if kind == _BFLOAT16 else np.dtype(_KINDS[kind]).itemsize
    require(len(data) % width == 0, what, f"numbers of {width} bytes", f"{len(data)} bytes")
    if kind == _BFLOAT16:
        return _from_bfloat16(np.frombuffer(data, "<u2"))
    return np.frombuffer(data, _KINDS[kind])


def _from_fields(tensor: Message, kind: int) -> Array:
    if kind == 1:
        return tensor.array(4, "<f4")
    if kind == 11:
        return tensor.array(10, "<f8")
    if kind in (12, 13):
        numbers = np.asarray(tensor.integers(11), np.int64)
    else:
        numbers = np.asarray(tensor.integers(7 if kind == 7 else 5), np.int64)
    if kind == _BFLOAT16:
        return _from_bfloat16(numbers.astype("<u2"))
    if kind == 10:
        return numbers.astype("<u2").view("<f2")
    return numbers.astype(_KINDS[kind])


def _from_bfloat16(halves: Array) -> Array:
    """The upper halves of single-precision numbers, completed."""
    return (halves.astype("<u4") << 16).view("<f4")
