"""What a network reads and learns of a DataFrame's rows, told by a few of them on the driver."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pyspark.sql import DataFrame
from torch import Tensor, nn

from hilum.errors import InvalidValueError, require
from hilum.inputs import ImageInput, Input, RowSpec, Target, TensorInput, TextEncoder, TextInput
from hilum.optim import Objective
from hilum.preprocessing import Chain
from hilum.spark.driver_networks import one_at_a_time
from hilum.spark.row_cache import selected_rows
from hilum.spark.row_columns import RowColumns, kind_of
from hilum.training.trial import try_network

__all__ = ["RowPlan", "RowWishes", "plan_rows"]

SAMPLE_ROWS = 8
_HINT = 'encoders={"column": hilum.inputs.WordEncoder.fit(texts, length=64)}'


@dataclass(frozen=True, slots=True, kw_only=True)
class RowWishes:
    """What the rows themselves do not tell.

    Attributes:
        chain: of image columns; None without one.
        shapes: of columns whose rows are flat lists of what is not flat.
        encoders: of text columns.
        classes: names of the classes whose numbers the label column holds; empty where it holds
            none.
    """

    chain: Chain | None = None
    shapes: Mapping[str, Sequence[int]]
    encoders: Mapping[str, TextEncoder]
    classes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RowPlan:
    """A contract, and one real row of the data that keeps it.

    Attributes:
        record: uint8 (1, record_bytes). labels: float32 (1, label_size).
    """

    spec: RowSpec
    record: Tensor
    labels: Tensor

    @one_at_a_time
    def tried(self, model: nn.Module, loss: Objective) -> RowSpec:
        """The contract with the outputs of a network; raises where the two do not fit."""
        return try_network(model, self.spec, loss, self.record, self.labels)


def plan_rows(data: DataFrame, columns: RowColumns, wishes: RowWishes) -> RowPlan:
    """Look at the first rows that have a value everywhere.

    Raises:
        InvalidValueError: a column is absent or of a type no network reads, or no row is usable.
    """
    kinds = [kind_of(data, name, "featuresCol") for name in columns.features]
    for name in columns.labels:
        kind = kind_of(data, name, "labelCol")
        require(kind not in ("image", "text"), "labelCol", "numbers or arrays of them", name)
    selected = selected_rows(data, columns)
    rows = selected.filter(" and ".join(f"`{name}` is not null" for name in selected.columns))
    sample = rows.limit(SAMPLE_ROWS).toArrow().combine_chunks()
    if sample.num_rows == 0:
        raise InvalidValueError(
            "the DataFrame to train on must have a row with a value in every column. Got none of "
            f"{', '.join((*columns.features, *columns.labels))}."
        )
    inputs = tuple(
        _input(name, kind, sample[f"input_{at}"], wishes)
        for at, (name, kind) in enumerate(zip(columns.features, kinds, strict=True))
    )
    return _usable(_spec(inputs, columns, sample, wishes.classes), columns, sample)


def _spec(
    inputs: tuple[Input, ...], columns: RowColumns, sample: pa.Table, classes: tuple[str, ...]
) -> RowSpec:
    learnt = tuple(
        Target(column=name, shape=_shape_of(sample[f"label_{at}"], name), classes=classes)
        for at, name in enumerate(columns.labels)
    ) or (Target(column=inputs[0].column, shape=inputs[0].shape, input=0),)
    return RowSpec(inputs=inputs, targets=learnt)


def _usable(spec: RowSpec, columns: RowColumns, sample: pa.Table) -> RowPlan:
    def arrays(prefix: str, count: int) -> list[pa.Array]:
        return [sample[f"{prefix}_{at}"].combine_chunks() for at in range(count)]

    records, reasons = spec.pack(arrays("input", len(columns.features)))
    labels, bad = spec.read_labels(arrays("label", len(columns.labels)))
    problems = [a or b for a, b in zip(reasons, bad or [None] * len(reasons), strict=True)]
    good = [at for at, problem in enumerate(problems) if problem is None]
    if not good:
        raise InvalidValueError(
            f"one of the first {len(problems)} rows must be usable. Got {problems}. "
            "Hint: the reasons are those of hilum.inputs.ROW_REASONS."
        )
    own = labels[good[:1]] if len(labels) else np.zeros((1, 0), np.float32)
    return RowPlan(
        spec=spec, record=torch.from_numpy(records[good[:1]]), labels=torch.from_numpy(own)
    )


def _input(
    name: str,
    kind: str,
    values: pa.ChunkedArray,
    wishes: RowWishes,
) -> Input:
    if kind == "image":
        assert wishes.chain is not None
        return ImageInput.of(name, wishes.chain)
    if kind == "text":
        known = wishes.encoders
        require(name in known, "encoders", f"one for the text column {name}", list(known), _HINT)
        return TextInput(column=name, encoder=known[name])
    given = wishes.shapes.get(name)
    shape = _shape_of(values, name) or (1,) if given is None else tuple(given)
    return TensorInput(column=name, shape=shape, dtype="int64" if kind == "int64" else "float32")


def _shape_of(values: pa.ChunkedArray, name: str) -> tuple[int, ...]:
    """The commonest shape of the sampled rows."""
    shapes = [_nested(value) for value in values.to_pylist()]
    found = max(shapes, key=shapes.count)
    if 0 in found:
        raise InvalidValueError(f"column {name} must hold numbers. Got empty arrays.")
    return found


def _nested(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list):
        return ()
    return (len(value), *(_nested(value[0]) if value else ()))
