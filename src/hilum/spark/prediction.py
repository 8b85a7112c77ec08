"""Prediction inside Spark: Arrow columns of rows in, one struct of outputs per row out.

What is predicted from what is a `PredictorSource`, a small value that travels in the UDF's closure;
in the Python worker it loads its `RowPredictor`, which stays loaded for later tasks. Everything
else is here: forward passes are cut by count, across Arrow batches; one bad row costs one row;
order and number of rows are kept.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, cast

import pyarrow as pa
import torch
from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import arrow_udf

from hilum.errors import HilumError, require
from hilum.processor import give_back_freed_memory, keep_freed_memory
from hilum.spark.worker_process import spare_the_collector

__all__ = [
    "ERROR",
    "Output",
    "PredictorSource",
    "RowError",
    "RowPredictor",
    "predicted",
    "prediction_function",
]

ERROR = "error"
NETWORK_FAILED = "network_failed"
FLUSH_ROWS = 4096  # rows that wait for a full forward pass, at most; bad ones count here alone


@dataclass(frozen=True, slots=True)
class RowError:
    """Why one row has no prediction: a stable code, or code: detail. No patient data."""

    reason: str

    @staticmethod
    def of(error: HilumError) -> "RowError":
        """The reason code of an error that carries one, else its text."""
        return RowError(getattr(error, "reason", None) or str(error))

    @staticmethod
    def of_unforeseen(code: str, error: Exception) -> "RowError":
        """A code and the error's class; not its text, in which there may be anything."""
        return RowError(f"{code}: {type(error).__name__}")


@dataclass(frozen=True, slots=True)
class Output:
    """A field of the struct that is predicted: its name, its type in Arrow and in Spark's DDL."""

    name: str
    arrow: pa.DataType
    ddl: str


class RowPredictor(Protocol):
    """A loaded model. The network and all else that is dear to make live here."""

    @property
    def batch_size(self) -> int:
        """Rows per forward pass."""
        ...

    def prepare(self, columns: Sequence[pa.Array]) -> Iterator[Any]:
        """What the network needs of each row of one Arrow batch, in order; lazy.

        A row that cannot be used gives a `RowError`. Every row gives one item.

        Args:
            columns: one array per input column, all of the same length.
        """
        ...

    def predict(self, prepared: Sequence[Any]) -> Sequence[Mapping[str, Any] | RowError]:
        """Outputs of up to `batch_size` prepared rows, in order: values by `Output.name`.

        Outputs that are left out are null.
        """
        ...


class PredictorSource(Hashable, Protocol):
    """What travels to executors: small, picklable, and equal where it loads the same model."""

    @property
    def outputs(self) -> Sequence[Output]:
        """Fields of the struct, without `ERROR`, which is added."""
        ...

    def load(self) -> RowPredictor:
        """Load the model; called inside a Python worker, once as long as it stays in use."""
        ...


def predicted(source: PredictorSource, columns: Sequence[str]) -> Column:
    """A column of structs: the source's outputs and `ERROR` (string), null in good rows.

    Args:
        source: the model.
        columns: names of the input columns, in the order that `RowPredictor.prepare` gets them.
    """
    require(len(columns) > 0, "columns", "at least one column", columns)
    return cast(Column, prediction_function(source, len(columns))(*map(F.col, columns)))


def prediction_function(source: PredictorSource, columns: int = 1) -> Any:
    """The same as a UDF of so many columns, which can be registered for SQL."""
    fields = [f"{output.name}:{output.ddl}" for output in source.outputs]
    ddl = f"struct<{','.join([*fields, f'{ERROR}:string'])}>"
    work = _PredictBatches(source)
    function = _of_one_column(work) if columns == 1 else _of_columns(work)
    # Non-deterministic: Spark then never evaluates it twice for one row.
    return cast(Any, arrow_udf)(function, ddl).asNondeterministic()


@dataclass(frozen=True, slots=True)
class _PredictBatches:
    """The UDF's work. Arrays come out in order, cut otherwise than they came in."""

    source: PredictorSource

    def __call__(self, batches: Iterator[Sequence[pa.Array]]) -> Iterator[pa.Array]:
        fields = [pa.field(output.name, output.arrow) for output in self.source.outputs]
        kind = pa.struct([*fields, pa.field(ERROR, pa.string())])
        predictor = _loaded(self.source)
        spare_the_collector()
        for rows in _predicted_rows(predictor, batches):
            yield pa.array(rows, type=kind)


def _predicted_rows(
    predictor: RowPredictor, batches: Iterator[Sequence[pa.Array]]
) -> Iterator[list[Mapping[str, Any]]]:
    waiting: list[Any] = []
    due = 0
    for item in (item for columns in batches for item in predictor.prepare(columns)):
        waiting.append(item)
        due += not isinstance(item, RowError)
        if due == predictor.batch_size or len(waiting) == max(FLUSH_ROWS, predictor.batch_size):
            yield _with_errors(predictor, waiting)
            waiting, due = [], 0
    if waiting:
        yield _with_errors(predictor, waiting)


def _with_errors(predictor: RowPredictor, items: Sequence[Any]) -> list[Mapping[str, Any]]:
    good = [item for item in items if not isinstance(item, RowError)]
    outcomes = iter(_outcomes(predictor, good) if good else ())
    rows = (item if isinstance(item, RowError) else next(outcomes) for item in items)
    return [{ERROR: row.reason} if isinstance(row, RowError) else row for row in rows]


def _outcomes(
    predictor: RowPredictor, good: Sequence[Any]
) -> Sequence[Mapping[str, Any] | RowError]:
    """Outputs of one forward pass; where it fails, of each row alone, to find the one to blame."""
    try:
        return predictor.predict(good)
    except torch.AcceleratorError:
        raise  # the device is lost to this process: no row's fault, and the task is tried again
    except Exception as error:  # whatever a network raises, it costs the row that made it
        if len(good) == 1:
            return [RowError.of_unforeseen(NETWORK_FAILED, error)]
    return [outcome for item in good for outcome in _outcomes(predictor, [item])]


# Two, for plans and sessions that compare models: Spark gives a task any of its idle workers, so
# with one each would load its network again and again. More would cost memory in every worker.
@lru_cache(maxsize=2)
def _loaded(source: PredictorSource) -> RowPredictor:
    give_back_freed_memory()  # what loading needs for a moment, also for the second network
    predictor = source.load()
    keep_freed_memory()
    return predictor


def _of_one_column(work: _PredictBatches) -> Callable[..., Any]:
    def predict_rows(column: Iterator[pa.Array]) -> Iterator[pa.Array]:
        return work((array,) for array in column)

    return predict_rows


def _of_columns(work: _PredictBatches) -> Callable[..., Any]:
    def predict_rows(columns: Iterator[tuple[pa.Array, ...]]) -> Iterator[pa.Array]:
        return work(columns)

    return predict_rows
