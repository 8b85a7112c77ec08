"""What a network says of rows that have one class each, as a `RowPredictor`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import Column
from pyspark.sql import functions as F

from hilum.errors import require
from hilum.inference.record_predictor import RecordPredictor
from hilum.spark.prediction import Output, RowError
from hilum.spark.row_prediction import records_of
from hilum.spark.shipping import shipped_bundle

__all__ = ["ShippedClassModel", "check_thresholds", "predicted_class"]

RAW, PROBABILITY = "raw", "probability"


@dataclass(frozen=True, slots=True)
class ShippedClassModel:
    """A bundle of classes that `ship_bundle` sent under `name`, as a `PredictorSource`."""

    name: str
    batch_size: int

    @property
    def outputs(self) -> Sequence[Output]:
        """A logit and a probability of each class."""
        kind = pa.list_(pa.float64())
        return tuple(Output(name, kind, "array<double>") for name in (RAW, PROBABILITY))

    def load(self) -> "ClassPredictor":
        """The network, ready, in this process."""
        bundle = shipped_bundle(self.name)
        return ClassPredictor(RecordPredictor.load(bundle, batch_size=self.batch_size, shared=True))


@dataclass(frozen=True, slots=True)
class ClassPredictor:
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
        """Logits and probabilities of each record; none where the network gives no number."""
        (output,) = self.predictor.predict(prepared)
        raw = _raw(output.astype(np.float64).reshape(len(prepared), -1))
        finite: npt.NDArray[np.bool_] = np.asarray(np.isfinite(raw).all(axis=1))
        scale = 0.5 if output[0].size == 1 else 1.0  # one logit z is learnt as (0, z), not (-z, z)
        probabilities = _softmax(scale * np.where(finite[:, None], raw, 0.0))
        return [
            {RAW: logits, PROBABILITY: row} if good else RowError("not_finite")
            for logits, row, good in zip(raw, probabilities, finite, strict=True)
        ]


def _raw(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Logits (N, C); of one logit alone that of both classes, as Spark's binary classifiers do."""
    return np.hstack([-logits, logits]) if logits.shape[1] == 1 else logits


def _softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: npt.NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return found


def check_thresholds(thresholds: Sequence[float], count: int) -> None:
    """Raise InvalidValueError unless these are thresholds of so many classes, as Spark ML rules."""
    rule = f"{count} numbers, one per class, none negative and at most one 0"
    fits = len(thresholds) == count and all(0 <= number < float("inf") for number in thresholds)
    fits = fits and list(thresholds).count(0) <= 1
    require(fits, "thresholds", rule, list(thresholds))


def predicted_class(probabilities: Column, thresholds: Sequence[float] | None) -> Column:
    """The class number of array<double> probabilities as a double, by Spark ML's rule.

    The class of the largest probability / threshold, the first of equals. A class of threshold 0
    is always called, unless its probability is 0.
    """
    scores = probabilities
    if thresholds is not None:
        levels = F.array(*(F.lit(float(number)) for number in thresholds))
        scores = F.zip_with(probabilities, levels, _scaled)
    return (F.array_position(scores, F.array_max(scores)) - 1).cast("double")


def _scaled(probability: Column, threshold: Column) -> Column:
    unlimited = F.when(probability > 0, F.lit(float("inf"))).otherwise(F.lit(float("-inf")))
    return F.when(threshold > 0, F.try_divide(probability, threshold)).otherwise(unlimited)
