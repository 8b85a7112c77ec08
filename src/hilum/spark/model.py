"""NNModel: a bundle as a Spark ML transformer. One bad row costs one row."""

from collections.abc import Mapping

import pandas as pd
from pyspark.ml import Model
from pyspark.ml.util import MLReadable, MLWritable
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from hilum.errors import InvalidValueError, require
from hilum.inference import ModelBundle, load_bundle
from hilum.inputs import RowSpec
from hilum.spark.params import PredictParams
from hilum.spark.persistence import NNModelReader, NNModelWriter
from hilum.spark.prediction import ERROR, predicted
from hilum.spark.radiograph_prediction import ShippedRadiographModel
from hilum.spark.row_prediction import TOGETHER, ShippedRowModel, predict_rows
from hilum.spark.shipping import ship_bundle
from hilum.training import History

__all__ = ["NNModel"]


class NNModel(Model, PredictParams, MLReadable["NNModel"], MLWritable):
    """A trained network that adds probabilities to a DataFrame of images.

    Output columns: `predictionCol` array<float>, one probability per name of `findings`, in
    order, calibrated where the bundle holds a calibration; `oodScoreCol` float, above 1 where the
    image is unlike the training radiographs, null in models without that score; `errorCol` string,
    a reason code where the row has no prediction (the others are then null): `no_image`, `corrupt`,
    `preprocessing_failed: CLASS`, `network_failed: CLASS` (of the exception), or `not_finite`;
    `predictedFindingsCol` array<string>, the findings called present at the bundle's default
    operating point, null where it has none. They are computed only if used, and the network is
    loaded once per Python worker.
    """

    def __init__(self, bundle: ModelBundle | None = None, history: History | None = None) -> None:
        super().__init__()
        self._bundle = bundle
        self._history = history

    @staticmethod
    def from_bundle(url: str) -> "NNModel":
        """A transformer from a bundle directory."""
        return NNModel(load_bundle(url))

    @property
    def bundle(self) -> ModelBundle:
        """The model itself, usable without Spark."""
        if self._bundle is None:
            raise InvalidValueError(
                "NNModel must hold a bundle. Got none. "
                "Hint: NNEstimator(...).fit(data), NNModel.load(path) or NNModel.from_bundle(path)."
            )
        return self._bundle

    @property
    def findings(self) -> tuple[str, ...]:
        """Names of the prediction's elements, in order."""
        return self.bundle.findings

    @property
    def history(self) -> History:
        """Training history, epoch by epoch; empty where only a bundle was loaded."""
        return self._history or History()

    @property
    def summary(self) -> pd.DataFrame:
        """Training as a table: a row per validation, the AUC of each finding in its own column."""
        return self.history.to_pandas(() if self.bundle.rows else self.findings)

    def write(self) -> NNModelWriter:
        """A writer; `.overwrite().save(path)`."""
        return NNModelWriter(self)

    @classmethod
    def read(cls) -> NNModelReader:
        """A reader; `.load(path)`."""
        return NNModelReader(cls)

    def _transform(self, dataset: DataFrame) -> DataFrame:
        if self.bundle.rows is not None:
            return self._transform_rows(dataset, self.bundle.rows)
        _check_image_column(dataset, self.getFeaturesCol())
        name = ship_bundle(dataset.sparkSession, self.bundle)
        source = ShippedRadiographModel(name, self.getPredictBatchSize())
        together = dataset.withColumn(TOGETHER, predicted(source, [self.getFeaturesCol()]))
        fields = {
            "predictionCol": "prediction",
            "oodScoreCol": "ood_score",
            "errorCol": ERROR,
            "predictedFindingsCol": "present",
        }
        for column, field in self._new_columns(dataset, fields).items():
            together = together.withColumn(column, F.col(f"{TOGETHER}.{field}"))
        return together.drop(TOGETHER)

    def _transform_rows(self, dataset: DataFrame, rows: RowSpec) -> DataFrame:
        """Add prediction and error to rows of any columns."""
        name = ship_bundle(dataset.sparkSession, self.bundle)
        source = ShippedRowModel(name, self.getPredictBatchSize(), rows.outputs)
        together = predict_rows(dataset, self.feature_columns(), rows, source)
        fields = {"predictionCol": "prediction", "errorCol": ERROR}
        for column, field in self._new_columns(dataset, fields).items():
            together = together.withColumn(column, F.col(f"{TOGETHER}.{field}"))
        return together.drop(TOGETHER)

    def _new_columns(self, dataset: DataFrame, fields: Mapping[str, str]) -> dict[str, str]:
        """Fields by the column each goes to; a column that is there already is never replaced.

        Args:
            dataset: what the columns are added to.
            fields: by the parameter that names the column; an empty name means no column.
        """
        taken = {name.casefold() for name in dataset.columns}  # Spark takes "A" for "a"
        columns = {}
        for param, field in fields.items():
            column = self.getOrDefault(param)
            if column or param == "predictionCol":
                free = column.casefold() not in taken | {""}
                hint = f"set{param[0].upper()}{param[1:]}, or drop the column first"
                require(free, param, "the name of a new column", column, hint=hint)
                taken.add(column.casefold())
                columns[column] = field
        return columns


def _check_image_column(dataset: DataFrame, column: str) -> None:
    require(
        column in dataset.columns, "featuresCol", f"one of {', '.join(dataset.columns)}", column
    )
    kind = dataset.schema[column].dataType
    fields = set(getattr(kind, "names", []))
    require(
        {"height", "width", "nChannels", "data"} <= fields,
        "featuresCol",
        "a column of Spark image structs (origin, height, width, nChannels, mode, data)",
        f"{column}: {kind.simpleString()}",
        hint="read_radiographs(...) and spark.read.format('image') make one",
    )
