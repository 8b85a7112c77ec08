"""What a network says of rows of any columns, as a `RowPredictor`."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame

from hilum.errors import require
from hilum.inference.record_predictor import RecordPredictor
from hilum.inputs import ImageInput, RowSpec, TextInput
from hilum.inputs import Output as NetworkOutput
from hilum.spark.prediction import Output, PredictorSource, RowError, predicted
from hilum.spark.row_columns import kind_of, readable
from hilum.spark.shipping import shipped_bundle

__all__ = ["TOGETHER", "ShippedRowModel", "predict_rows", "records_of"]

PREDICTION = "prediction"
TOGETHER = "_hilum_predicted"
"""The struct of all outputs, which one pass makes."""


def predict_rows(
    data: DataFrame, columns: Sequence[str], rows: RowSpec, source: PredictorSource
) -> DataFrame:
    """Add the struct `TOGETHER` of what a source says of rows of any columns.

    Raises:
        InvalidValueError: the columns are not what the network reads.
    """
    _check_columns(data, columns, rows)
    read = {f"_hilum_input_{at}": column for at, column in enumerate(columns)}
    given = data.withColumns({own: readable(data, name) for own, name in read.items()})
    return given.withColumn(TOGETHER, predicted(source, list(read))).drop(*read)


def _check_columns(data: DataFrame, columns: Sequence[str], rows: RowSpec) -> None:
    require(
        len(columns) == len(rows.inputs),
        "featuresCols",
        f"{len(rows.inputs)} columns, one per argument of the network",
        columns,
    )
    for column, field in zip(columns, rows.inputs, strict=True):
        kind = kind_of(data, column, "featuresCol")
        wanted = {ImageInput: "image", TextInput: "text"}.get(type(field), "numbers")
        given = kind if kind in ("image", "text") else "numbers"
        require(given == wanted, "featuresCol", f"a column of {wanted}", f"{column}: {given}")


@dataclass(frozen=True, slots=True)
class ShippedRowModel:
    """A bundle of any columns that `ship_bundle` sent under `name`, as a `PredictorSource`."""

    name: str
    batch_size: int
    says: tuple[NetworkOutput, ...]

    @property
    def outputs(self) -> Sequence[Output]:
        """One output as it is; several as a struct of their names."""
        if len(self.says) == 1:
            arrow, ddl = _type_of(self.says[0])
            return (Output(PREDICTION, arrow, ddl),)
        types = [(output.name, *_type_of(output)) for output in self.says]
        arrow = pa.struct([(name, kind) for name, kind, _ in types])
        ddl = ",".join(f"`{name}`:{kind}" for name, _, kind in types)
        return (Output(PREDICTION, arrow, f"struct<{ddl}>"),)

    def load(self) -> "RowsPredictor":
        """The network, ready, in this process."""
        bundle = shipped_bundle(self.name)
        return RowsPredictor(RecordPredictor.load(bundle, batch_size=self.batch_size, shared=True))


@dataclass(frozen=True, slots=True)
class RowsPredictor:
    """A `RowPredictor` over one column per input of the network."""

    predictor: RecordPredictor

    @property
    def batch_size(self) -> int:
        """Rows per forward pass."""
        return self.predictor.batch_size

    def prepare(self, columns: Sequence[pa.Array]) -> Iterator[Any]:
        """Each row's record, or why it has none."""
        return records_of(self.predictor, columns)

    def predict(self, prepared: Sequence[Any]) -> Sequence[Mapping[str, Any] | RowError]:
        """The prediction of each record; a row for which the network gives no number has none."""
        found = self.predictor.predict(prepared)
        outputs = self.predictor.rows.outputs
        finite = [np.isfinite(one.reshape(len(prepared), -1)).all(axis=1) for one in found]
        good = np.logical_and.reduce(finite)
        rows: list[Mapping[str, Any] | RowError] = []
        for at in range(len(prepared)):
            values = [_value(one[at], output) for one, output in zip(found, outputs, strict=True)]
            names = [output.name for output in outputs]
            value = values[0] if len(values) == 1 else dict(zip(names, values, strict=True))
            rows.append({PREDICTION: value} if good[at] else RowError("not_finite"))
        return rows


def records_of(predictor: RecordPredictor, columns: Sequence[pa.Array]) -> Iterator[Any]:
    """Each row's record, or why it has none."""
    records, reasons = predictor.rows.pack(columns)
    for record, reason in zip(records, reasons, strict=True):
        yield record if reason is None else RowError(reason)


def _is_number(output: NetworkOutput) -> bool:
    return math.prod(output.shape) == 1 and len(output.shape) <= 1


def _type_of(output: NetworkOutput) -> tuple[pa.DataType, str]:
    if _is_number(output):
        return pa.float64(), "double"
    arrow, ddl = pa.float32(), "float"
    for _ in output.shape:
        arrow, ddl = pa.list_(arrow), f"array<{ddl}>"
    return arrow, ddl


def _value(found: Any, output: NetworkOutput) -> Any:
    return float(found.reshape(())) if _is_number(output) else found.tolist()
