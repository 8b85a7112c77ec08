"""A model as a function of SQL: `SELECT hilum_predict(image) FROM radiographs`."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession

from hilum.errors import require
from hilum.inference import ModelBundle, load_bundle
from hilum.spark.model import NNModel
from hilum.spark.prediction import Output, RowError, RowPredictor, prediction_function
from hilum.spark.radiograph_prediction import ShippedRadiographModel
from hilum.spark.shipping import ship_bundle

__all__ = ["register_predict"]

_NAME = re.compile(r"[A-Za-z_]\w*")


def register_predict(
    spark: SparkSession,
    model: NNModel | ModelBundle | str,
    name: str = "hilum_predict",
    *,
    batch_size: int = 32,
) -> None:
    """Make a model a function of this session's SQL, of one Spark image struct.

    It returns a struct: `probabilities` map<string,double> by finding, `ood_score` float,
    `present` array<string> and `error` string, as the columns of `NNModel`; a row that cannot be
    predicted has a reason code in `error` and null in the others. Spark calls it once per row, as
    it is declared non-deterministic; so name it once in a subquery if several parts are used.

    Args:
        spark: the session.
        model: a fitted or loaded model, its bundle, or the directory of one.
        name: of the function; it replaces a temporary one of that name.
        batch_size: images per forward pass.

    Raises:
        InvalidValueError: `name` is no plain name, or `batch_size` is not positive.
    """
    require(_NAME.fullmatch(name) is not None, "name", "letters, digits and _", name)
    require(batch_size > 0, "batch_size", "positive", batch_size)
    bundle = model.bundle if isinstance(model, NNModel) else model
    bundle = load_bundle(bundle) if isinstance(bundle, str) else bundle
    shipped = ShippedRadiographModel(ship_bundle(spark, bundle), batch_size)
    spark.udf.register(name, prediction_function(_ByFinding(shipped, bundle.findings)))


@dataclass(frozen=True, slots=True)
class _ByFinding:
    """A `PredictorSource` that gives probabilities by name, as SQL cannot see their order."""

    model: ShippedRadiographModel
    findings: tuple[str, ...]

    @property
    def outputs(self) -> Sequence[Output]:
        probabilities = Output(
            "probabilities", pa.map_(pa.string(), pa.float64()), "map<string,double>"
        )
        return (probabilities, *self.model.outputs[1:])

    def load(self) -> RowPredictor:
        return _NamedPredictor(self.model.load(), self.findings)


@dataclass(frozen=True, slots=True)
class _NamedPredictor:
    predictor: RowPredictor
    findings: tuple[str, ...]

    @property
    def batch_size(self) -> int:
        return self.predictor.batch_size

    def prepare(self, columns: Sequence[pa.Array]) -> Iterator[Any]:
        return self.predictor.prepare(columns)

    def predict(self, prepared: Sequence[Any]) -> Sequence[Mapping[str, Any] | RowError]:
        return [self._named(row) for row in self.predictor.predict(prepared)]

    def _named(self, row: Mapping[str, Any] | RowError) -> Mapping[str, Any] | RowError:
        if isinstance(row, RowError):
            return row
        values = map(float, row["prediction"])
        named = list(zip(self.findings, values, strict=True))
        rest = {name: value for name, value in row.items() if name != "prediction"}
        return {"probabilities": named, **rest}
