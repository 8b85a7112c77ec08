"""The contract between rows and a network: what it reads, what it learns, what it says.

A row's inputs are packed into one record of bytes at fixed places, so that rows of any data lie in
the same cache as images, and an address finds them.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from hilum.errors import InvalidValueError, require
from hilum.inputs.fields import Input, Moment, input_from_json
from hilum.inputs.numbers import Reasons, read_numbers

__all__ = ["Output", "RowSpec", "Target"]

_ALIGNMENT = 8  # bytes; the largest number that is stored has as many


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What one output learns: a label column, or an input where there is no label.

    Attributes:
        column: name of the label column, or of the input's column.
        shape: of one row's labels; () for a single number.
        input: position of the input that is learnt; None for a label column.
        classes: names of the classes whose numbers, from 0, are the labels; empty where the
            labels are no classes.
    """

    column: str
    shape: tuple[int, ...]
    input: int | None = None
    classes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Numbers per row in the cache's labels."""
        return 0 if self.input is not None else math.prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One output of the network: its name and the shape of one row's."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSpec:
    """What a network reads of a row, what it learns of it, and what it says about it.

    Attributes:
        inputs: the network's arguments, in order.
        targets: what its outputs learn, in order.
        outputs: in order; empty before the network was asked.
        keyed: the network returns a dict, with the outputs' names as keys.
    """

    inputs: tuple[Input, ...]
    targets: tuple[Target, ...]
    outputs: tuple[Output, ...] = ()
    keyed: bool = False

    def __post_init__(self) -> None:
        require(len(self.inputs) > 0, "inputs", "at least one", self.inputs)
        require(len(self.targets) > 0, "targets", "at least one", self.targets)

    @property
    def offsets(self) -> tuple[int, ...]:
        """Where in a record each input begins, and the record's length in bytes."""
        ends = [0]
        for field in self.inputs:
            num_bytes = math.prod(field.stored_shape) * np.dtype(field.dtype).itemsize
            ends.append(ends[-1] + -(-num_bytes // _ALIGNMENT) * _ALIGNMENT)
        return tuple(ends)

    @property
    def record_bytes(self) -> int:
        """Bytes of one record."""
        return self.offsets[-1]

    @property
    def label_size(self) -> int:
        """Numbers per row in the cache's labels."""
        return sum(target.size for target in self.targets)

    @property
    def num_outputs(self) -> int:
        """Numbers that a new head gives for each row: one per class, or one per label."""
        first = self.targets[0]
        return len(first.classes) or math.prod(first.shape)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that the network tells apart; empty where it does something else."""
        return self.targets[0].classes if len(self.targets) == 1 else ()

    def pack(self, columns: Sequence[pa.Array]) -> tuple[npt.NDArray[np.uint8], Reasons]:
        """Records (N, record_bytes) uint8 of N rows, and the reason of each that has none.

        Args:
            columns: one per input, in order.
        """
        count = len(columns[0])
        records = np.zeros((count, self.record_bytes), dtype=np.uint8)
        reasons: Reasons = [None] * count
        for field, column, begin in zip(self.inputs, columns, self.offsets, strict=False):
            stored, found = field.read(column)
            flat = np.ascontiguousarray(stored).reshape(count, -1).view(np.uint8)
            records[:, begin : begin + flat.shape[1]] = flat
            reasons = [before or now for before, now in zip(reasons, found, strict=True)]
        return records, reasons

    def tensors(self, records: Tensor, moment: Moment | None = None) -> tuple[Tensor, ...]:
        """The network's arguments, each (N, *shape), on the records' device.

        Args:
            records: uint8 (N, ..., record_bytes).
            moment: for augmentation; None for none.
        """
        flat = records.reshape(len(records), -1)
        return tuple(
            field.tensor(_stored(flat, begin, field), moment)
            for field, begin in zip(self.inputs, self.offsets, strict=False)
        )

    def example(self, count: int) -> tuple[Tensor, ...]:
        """Arguments of zeros for `count` rows."""
        return self.tensors(torch.zeros(count, self.record_bytes, dtype=torch.uint8))

    def read_labels(self, columns: Sequence[pa.Array]) -> tuple[npt.NDArray[np.float32], Reasons]:
        """Labels (N, label_size), NaN where unknown, and the reason of each row with a bad one.

        Args:
            columns: of the targets that are label columns, in order.
        """
        learnt = [target for target in self.targets if target.input is None]
        parts: list[npt.NDArray[np.float32]] = []
        reasons: Reasons = [None] * (len(columns[0]) if columns else 0)
        for target, column in zip(learnt, columns, strict=True):
            labels, found = read_numbers(column, target.shape, "float32", unknown=True)
            parts.append(labels.reshape(len(column), -1))
            bad = (None if reason is None else "bad_label" for reason in found)
            reasons = [before or now for before, now in zip(reasons, bad, strict=True)]
        joined = np.concatenate(parts, axis=1) if parts else np.zeros((0, 0), np.float32)
        return joined, reasons

    def labels(self, flat: Tensor, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Each target's labels (N, *shape) out of the cache's (N, label_size), or its input."""
        found, at = [], 0
        for target in self.targets:
            if target.input is None:
                part = flat[:, at : at + target.size]
                found.append(part.reshape(len(flat), *target.shape))
                at += target.size
            else:
                found.append(inputs[target.input].detach())
        return tuple(found)

    def output_tuple(self, outputs: object) -> tuple[Tensor, ...]:
        """What the network returned, as tensors in the outputs' order."""
        if isinstance(outputs, Mapping):
            return tuple(outputs[output.name] for output in self.outputs)
        return tuple(outputs) if isinstance(outputs, tuple | list) else (outputs,)  # type: ignore

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "inputs": [field.to_json() for field in self.inputs],
            "targets": [_target_to_json(target) for target in self.targets],
            "outputs": [{"name": o.name, "shape": list(o.shape)} for o in self.outputs],
            "keyed": self.keyed,
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "RowSpec":
        """The inverse of `to_json`.

        Raises:
            InvalidValueError: it is not complete, or of a newer version.
        """
        try:
            return RowSpec(
                inputs=tuple(map(input_from_json, data["inputs"])),
                targets=tuple(map(_target_from_json, data["targets"])),
                outputs=tuple(
                    Output(name=o["name"], shape=_sizes(o["shape"])) for o in data["outputs"]
                ),
                keyed=bool(data["keyed"]),
            )
        except (KeyError, TypeError) as error:
            raise InvalidValueError(f"the stored rows are incomplete: {error!r}.") from error


def _target_to_json(target: Target) -> dict[str, Any]:
    plain = {"column": target.column, "shape": list(target.shape), "input": target.input}
    return plain | ({"classes": list(target.classes)} if target.classes else {})


def _target_from_json(data: Mapping[str, Any]) -> Target:
    return Target(
        column=data["column"],
        shape=_sizes(data["shape"]),
        input=data["input"],
        classes=tuple(map(str, data.get("classes", ()))),
    )


def _sizes(shape: Iterable[Any]) -> tuple[int, ...]:
    return tuple(map(int, shape))


def _stored(flat: Tensor, begin: int, field: Input) -> Tensor:
    kind = np.dtype(field.dtype)
    length = math.prod(field.stored_shape) * kind.itemsize
    # A copy begins where its numbers may begin; a slice of one row does not have to.
    part = flat[:, begin : begin + length].contiguous()
    return part.view(getattr(torch, kind.name)).reshape(len(flat), *field.stored_shape)
