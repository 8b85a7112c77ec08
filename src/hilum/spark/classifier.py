"""NNClassifier: one class per row, of any type, by any network, as Spark ML knows classifiers."""

from typing import Any, cast

from pyspark import keyword_only
from pyspark.sql import DataFrame

from hilum.errors import require
from hilum.spark.class_labels import class_labels
from hilum.spark.class_prediction import check_thresholds
from hilum.spark.classifier_model import NNClassifierModel
from hilum.spark.classifier_params import ClassifierParams
from hilum.spark.estimator import NNEstimator
from hilum.spark.row_columns import kind_of

__all__ = ["NNClassifier"]

_OF_FINDINGS = {
    "findings": "the classes' names come from the label column",
    "labelCols": "labelCol names the one column of classes",
    "posWeight": "hilum.optim.CrossEntropy(class_weights=...) weighs classes, weightCol rows",
    "findingWeights": "hilum.optim.CrossEntropy(class_weights=...) weighs classes, weightCol rows",
    "predictedFindingsCol": "predictionCol is the class",
    "oodScoreCol": "such models have no out-of-distribution score",
}


class NNClassifier(NNEstimator, ClassifierParams):
    """Trains a network that tells classes apart and returns the best epoch's NNClassifierModel.

    Example:
        model = NNClassifier(model=net, featuresCol="features", labelCol="kind").fit(data)

    It takes the keywords of `NNEstimator`, and `probabilityCol`, `rawPredictionCol`, `thresholds`
    and `handleInvalid`. The label column holds one class per row: text, booleans, dates, numbers
    with the ML attributes of a StringIndexer, or whole numbers from 0; null is unknown. One image
    column gets a new last layer of as many outputs as there are classes; any other network gives a
    logit per class itself (`head`), or a single one for two classes.
    """

    @keyword_only
    def __init__(self, **params: Any) -> None:
        given = cast(Any, self)._input_kwargs
        super().__init__()
        self._setDefault(loss="cross_entropy", labelCol="label", maxEpochs=8)
        self.setParams(**given)

    @keyword_only
    def setParams(self, **kwargs: Any) -> "NNClassifier":
        """Set parameters by name; None leaves the default."""
        for name in kwargs:
            if not self.hasParam(name):
                raise TypeError(f"NNClassifier has no parameter {name!r}")
        super().setParams(**kwargs)
        return self

    def _fit(self, dataset: DataFrame) -> NNClassifierModel:
        for name, hint in _OF_FINDINGS.items():
            value = self.getOrDefault(name)
            require(not self.isSet(name), name, "left alone by a classifier", value, hint=hint)
        self._checked_rows(dataset)  # for the classes cost a job
        label = self.getLabelCol()
        classes = class_labels(dataset, label, self.getOrDefault(self.splitCol) or None)
        if self.isDefined(self.thresholds):
            check_thresholds(self.getThresholds(), len(classes.names))
        numbered = dataset.withColumn(label, classes.number)
        fitted = self._fit_rows(numbered, head=self._head_for(dataset), classes=classes.names)
        model = NNClassifierModel(fitted.bundle, fitted.history)._resetUid(self.uid)
        return self._copyValues(model)

    def _head_for(self, dataset: DataFrame) -> str:
        """The last layer gives way for one image column, unless the user says otherwise."""
        head = self.getOrDefault(self.head)
        features = self.feature_columns()
        if head != "auto":
            return head
        one_image = len(features) == 1 and kind_of(dataset, features[0], "featuresCol") == "image"
        return "new" if one_image else "keep"
