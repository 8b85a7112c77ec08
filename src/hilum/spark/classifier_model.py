"""NNClassifierModel: a bundle of classes as a Spark ML classifier."""

from pyspark.ml.functions import array_to_vector
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from hilum.errors import require
from hilum.inference import ModelBundle, load_bundle
from hilum.inputs import RowSpec
from hilum.spark.class_labels import nominal_metadata
from hilum.spark.class_prediction import (
    PROBABILITY,
    RAW,
    ShippedClassModel,
    check_thresholds,
    predicted_class,
)
from hilum.spark.classifier_params import ClassifierParams
from hilum.spark.model import NNModel
from hilum.spark.prediction import ERROR
from hilum.spark.row_prediction import TOGETHER, predict_rows
from hilum.spark.shipping import ship_bundle
from hilum.training import History

__all__ = ["NO_PREDICTION", "NNClassifierModel"]

PREDICTION = "class"
_FIELDS = {
    "rawPredictionCol": RAW,
    "probabilityCol": PROBABILITY,
    "predictionCol": PREDICTION,
    "errorCol": ERROR,
}

NO_PREDICTION = "__no_prediction"
"""Name of the class of rows that cannot be predicted and are kept."""


class NNClassifierModel(NNModel, ClassifierParams):
    """A trained network that adds classes to a DataFrame, as Spark's own classifiers do.

    Output columns: `predictionCol` double, the class number, whose ML attributes hold the names of
    the classes, so that IndexToString gives them; `probabilityCol` and `rawPredictionCol`, ML
    vectors of a probability and a logit per class; `errorCol` string, why a row has none, null
    where it has. The last three are left out where their name is "".

    A row that cannot be predicted has null vectors. With `handleInvalid` "keep" its class number is
    one more than the last, named "__no_prediction", as a StringIndexer keeps labels it does not
    know: IndexToString does not take null. With "skip" the row is left out, which evaluators
    of vectors need; with "error" the job ends.
    """

    def __init__(self, bundle: ModelBundle | None = None, history: History | None = None) -> None:
        super().__init__(bundle, history)
        if bundle is not None:
            _rows_of(bundle)

    @staticmethod
    def from_bundle(url: str) -> "NNClassifierModel":
        """A transformer from a bundle directory."""
        return NNClassifierModel(load_bundle(url))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in the order of their numbers."""
        return _rows_of(self.bundle).classes

    @property
    def numClasses(self) -> int:
        """How many classes there are, as Spark's classifiers call it."""
        return len(self.classes)

    def _transform(self, dataset: DataFrame) -> DataFrame:
        rows = _rows_of(self.bundle)
        given = self.isDefined(self.thresholds)
        thresholds = self.getOrDefault(self.thresholds) if given else None
        if thresholds is not None:
            check_thresholds(thresholds, len(rows.classes))
        invalid = self.getOrDefault(self.handleInvalid)
        name = ship_bundle(dataset.sparkSession, self.bundle)
        source = ShippedClassModel(name, self.getPredictBatchSize())
        together = predict_rows(dataset, self.feature_columns(), rows, source)
        probabilities, error = F.col(f"{TOGETHER}.{PROBABILITY}"), F.col(f"{TOGETHER}.{ERROR}")
        if invalid == "skip":
            together = together.filter(error.isNull())
        if invalid == "error":  # as a filter: Spark leaves out a column that nobody reads
            together = together.filter(F.when(error.isNull(), True).otherwise(_ending(error)))
        prediction = predicted_class(probabilities, thresholds)
        names = rows.classes
        if invalid == "keep":
            prediction = F.coalesce(prediction, F.lit(float(len(names))))
            names = (*names, NO_PREDICTION)
        made = {
            RAW: _vector(F.col(f"{TOGETHER}.{RAW}")),
            PROBABILITY: _vector(probabilities),
            PREDICTION: prediction,
            ERROR: error,
        }
        new = self._new_columns(dataset, _FIELDS)
        scored = together.withColumns({column: made[field] for column, field in new.items()})
        named = self.getPredictionCol()
        return scored.drop(TOGETHER).withMetadata(named, nominal_metadata(named, names))


def _rows_of(bundle: ModelBundle) -> RowSpec:
    require(
        bundle.rows is not None and bool(bundle.rows.classes),
        "bundle",
        "one of classes, as NNClassifier trains it",
        bundle.architecture,
        hint="NNModel predicts what NNEstimator trained",
    )
    assert bundle.rows is not None
    return bundle.rows


def _vector(numbers: Column) -> Column:
    # Of a null array Spark's function makes an error, not a null.
    return F.when(numbers.isNotNull(), array_to_vector(numbers))


def _ending(error: Column) -> Column:
    text = F.concat(F.lit("a row must be usable where handleInvalid is 'error'. Got "), error)
    hint = F.lit(". Hint: handleInvalid='keep' keeps it with nulls, 'skip' leaves it out.")
    return F.raise_error(F.concat(text, hint)).cast("boolean")
