"""NNClassifier tells classes of any name apart, as Spark's own classifiers do."""

from dataclasses import replace

import numpy as np
import pytest
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.evaluation import BinaryClassificationEvaluator, MulticlassClassificationEvaluator
from pyspark.ml.feature import IndexToString, StringIndexer
from pyspark.ml.linalg import Vectors
from pyspark.sql import functions as F
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

import row_nets
from hilum.errors import InvalidValueError
from hilum.inference import Predictor, load_bundle, save_bundle
from hilum.models import factory
from hilum.spark import NNClassifier, NNClassifierModel
from hilum.spark.class_labels import class_labels
from hilum.spark.class_prediction import predicted_class
from row_nets import line

pytestmark = pytest.mark.spark

KINDS = ["effusion", "clear", "mass"]  # the last is the commonest, the first two are as common
PENALTY = 0.02  # weight decay
CENTRES = np.array([[0.0, 1.2], [1.0, -0.5], [-1.0, -0.5]])


@pytest.fixture(scope="module")
def points():
    """Overlapping clouds of three kinds; which rows train, and which validate."""
    generator = np.random.default_rng(4)
    kind = np.array([0, 1, 2, 2] * 30)
    x = CENTRES[kind] + generator.normal(scale=0.9, size=(120, 2))
    return x, kind, np.arange(120) % 4 == np.arange(120) // 4 % 4


@pytest.fixture(scope="module")
def table(spark, points):
    """The clouds, and a row without features."""
    spark.addArtifacts(row_nets.__file__, pyfile=True)
    x, kind, valid = points
    rows = [
        (Vectors.dense(row), KINDS[k], int(k == 2), "valid" if v else "train")
        for row, k, v in zip(x, kind, valid, strict=True)
    ]
    rows.append((None, "mass", 1, "test"))
    made = spark.createDataFrame(rows, ["features", "kind", "is_mass", "split"])
    return made.withColumn("is_mass", F.col("is_mass").cast("int")).coalesce(1)


def regression(x, labels):
    """Scikit-learn divides the penalty, not the loss, by the number of rows."""
    return LogisticRegression(C=1 / (len(x) * PENALTY), max_iter=1000).fit(x, labels)


def classifier(**changes):
    return NNClassifier(
        **{
            "model": factory(line, features=2, outputs=3),
            "featuresCol": "features",
            "labelCol": "label",
            "splitCol": "split",
            "schedule": "constant",
            "warmupEpochs": 0.0,
            "optimizer": "sgd",
            "learningRate": 2.0,
            "momentum": 0.5,
            "weightDecay": PENALTY,
            "maxEpochs": 25,
            "batchSize": 120,
            "validateEvery": "25 epochs",
            "checkpointEvery": "25 epochs",
            "precision": "float32",
            "showProgress": False,
            **changes,
        }
    )


@pytest.fixture(scope="module")
def pipeline(table):
    """Names to numbers, a converged softmax regression, numbers to names."""
    stages = [
        StringIndexer(inputCol="kind", outputCol="label"),
        classifier(),
        IndexToString(inputCol="prediction", outputCol="called"),
    ]
    return Pipeline(stages=stages).fit(table)


@pytest.fixture(scope="module")
def called(pipeline, table):
    """Rows that the pipeline has called; the last is the one without features."""
    return pipeline.transform(table).collect()


@pytest.fixture(scope="module")
def indexed(pipeline, table):
    """The clouds with class numbers."""
    return pipeline.stages[0].transform(table).cache()


@pytest.fixture(scope="module")
def expected(points):
    """Scikit-learn's probabilities of the clouds, in the indexer's order, and the true classes."""
    x, kind, valid = points
    order = np.array([2, 1, 0])  # mass is the commonest; clear stands before effusion
    known = regression(x[~valid], order[kind[~valid]])
    return known.predict_proba(x), order[kind]


def test_probabilities_are_those_of_scikit_learn_and_names_come_back(called, expected):
    probabilities, truth = expected
    *rows, bad = called
    found = np.array([row.probability.toArray() for row in rows])
    np.testing.assert_allclose(found, probabilities, atol=1e-2)
    raw = np.array([row.rawPrediction.toArray() for row in rows])
    powers = np.exp(raw - raw.max(1, keepdims=True))
    np.testing.assert_allclose(powers / powers.sum(1, keepdims=True), found, atol=1e-6)
    likeliest = found.argmax(1)
    assert [row.prediction for row in rows] == likeliest.tolist()
    assert [row.called for row in rows] == [["mass", "clear", "effusion"][at] for at in likeliest]
    assert [row.label for row in rows] == truth.tolist()
    assert (bad.prediction_error, bad.prediction, bad.called) == ("null", 3.0, "__no_prediction")
    assert (bad.probability, bad.rawPrediction) == (None, None)


def test_the_history_holds_accuracy_and_log_loss(pipeline, points, expected):
    probabilities, truth = (part[points[2]] for part in expected)
    (record,) = pipeline.stages[1].history
    assert record.valid_accuracy == accuracy_score(truth, probabilities.argmax(1))
    assert record.valid_log_loss == pytest.approx(log_loss(truth, probabilities), abs=5e-3)
    assert record.valid_loss == pytest.approx(record.valid_log_loss, rel=1e-5)
    assert "valid_accuracy" in pipeline.stages[1].summary.columns


def test_evaluators_of_spark_read_the_output_without_the_bad_row(pipeline, indexed, expected):
    probabilities, truth = expected
    model = pipeline.stages[1].copy()
    scored = model.setHandleInvalid("skip").transform(indexed).cache()
    assert scored.count() == 120
    accuracy = MulticlassClassificationEvaluator(metricName="accuracy").evaluate(scored)
    assert accuracy == pytest.approx(accuracy_score(truth, probabilities.argmax(1)))
    loss = MulticlassClassificationEvaluator(metricName="logLoss").evaluate(scored)
    assert loss == pytest.approx(log_loss(truth, probabilities), abs=5e-3)
    scored.unpersist()
    ending = model.setHandleInvalid("error").transform(indexed)
    with pytest.raises(Exception, match="handleInvalid"):
        ending.select("probability").collect()


@pytest.mark.parametrize("thresholds", [[0.2, 0.5, 0.9], [0.5, 0.0, 0.5], [0.3, 0.3, 0.3]])
def test_thresholds_are_those_of_spark_ml(spark, called, thresholds):
    """What Spark ML documents, of the probabilities that the pipeline gave."""
    probabilities = np.array([row.probability.toArray() for row in called[:-1]])
    table = spark.createDataFrame([(row.tolist(),) for row in probabilities], "p array<double>")
    rows = table.select(predicted_class(F.col("p"), thresholds).alias("prediction")).collect()
    with np.errstate(divide="ignore"):
        scaled = probabilities / np.array(thresholds)
    assert [row.prediction for row in rows] == scaled.argmax(1).tolist()
    assert len({row.prediction for row in rows}) == (1 if 0.0 in thresholds else 3)


def test_a_model_calls_by_its_thresholds(pipeline, indexed):
    thresholds = [0.2, 0.5, 0.9]
    model = pipeline.stages[1].copy().setThresholds(thresholds).setHandleInvalid("skip")
    rows = model.transform(indexed).collect()
    scaled = np.array([row.probability.toArray() for row in rows]) / thresholds
    assert [row.prediction for row in rows] == scaled.argmax(1).tolist()


@pytest.mark.parametrize("thresholds", [[0.5, 0.5], [0.0, 0.0, 1.0], [-0.1, 0.5, 0.5]])
def test_thresholds_that_are_none_are_refused(pipeline, table, thresholds):
    with pytest.raises(InvalidValueError, match="thresholds must be 3 numbers, one per class"):
        pipeline.stages[1].copy().setThresholds(thresholds).transform(table)


def test_the_pipeline_is_saved_and_loaded_and_its_bundle_says_what_it_is(
    pipeline, called, table, tmp_path
):
    pipeline.write().save(str(tmp_path / "pipeline"))
    again = PipelineModel.load(str(tmp_path / "pipeline"))
    model = again.stages[1]
    assert isinstance(model, NNClassifierModel)
    assert (model.numClasses, model.classes) == (3, ("mass", "clear", "effusion"))
    after = again.transform(table).select("probability").collect()
    assert [row.probability for row in after] == [row.probability for row in called]
    save_bundle(model.bundle, str(tmp_path / "bundle"))
    bundle = load_bundle(str(tmp_path / "bundle"))
    assert bundle.findings == bundle.rows.classes == model.classes
    with pytest.raises(InvalidValueError, match="NNClassifierModel"):
        Predictor.load(bundle)
    with pytest.raises(InvalidValueError, match="NNClassifier trains it"):
        NNClassifierModel(replace(bundle, rows=None))


def test_a_single_logit_learns_two_classes(table, points):
    data = table.filter("split != 'test'").withColumnRenamed("is_mass", "label")
    estimator = classifier(model=factory(line, features=2, outputs=1), splitCol="")
    model = estimator.fit(data)
    x, kind, _ = points
    known = regression(x, kind == 2).predict_proba(x)
    scored = model.transform(data).cache()
    rows = scored.orderBy(F.monotonically_increasing_id()).collect()
    np.testing.assert_allclose([row.probability.toArray() for row in rows], known, atol=1e-2)
    raw = np.array([row.rawPrediction.toArray() for row in rows])
    np.testing.assert_allclose(raw[:, 1], -raw[:, 0])
    np.testing.assert_allclose(1 / (1 + np.exp(-raw[:, 1])), known[:, 1], atol=1e-2)
    area = roc_auc_score(kind == 2, raw[:, 1])
    assert BinaryClassificationEvaluator().evaluate(scored) == pytest.approx(area, abs=1e-6)
    scored.unpersist()
    assert model.classes == ("0", "1")


def test_an_image_column_gets_a_new_last_layer(spark, tmp_path):
    """Text labels by frequency, then alphabet; a null label is unknown."""
    kinds = ["right", "left", "none", "none", "left", "none", None, "right"]
    rows = [
        (
            {
                "origin": str(n),
                "height": 6,
                "width": 6,
                "nChannels": 1,
                "mode": 0,
                "data": bytes([30 * n] * 36),
            },
            kind,
        )
        for n, kind in enumerate(kinds)
    ]
    image = "struct<origin:string,height:int,width:int,nChannels:int,mode:int,data:binary>"
    data = spark.createDataFrame(rows, f"image {image}, kind string")
    estimator = NNClassifier(
        model="timm:test_resnet",
        weights="random",
        labelCol="kind",
        imageSize=32,
        maxEpochs=1,
        batchSize=4,
        precision="float32",
        thresholds=[0.0, 1.0, 1.0],
        showProgress=False,
    )
    estimator.write().save(str(tmp_path / "estimator"))
    model = NNClassifier.load(str(tmp_path / "estimator")).fit(data)
    assert model.classes == ("none", "left", "right")
    found = model.transform(data).collect()
    assert [row.prediction for row in found] == [0.0] * 8, "thresholds go along"
    assert all(abs(row.probability.toArray().sum() - 1) < 1e-6 for row in found)


def test_classes_come_from_values_of_any_type(spark):
    data = spark.sql(
        "select * from values (true, 2, 1.0, date'2020-01-02', array(1), 'train'), "
        "(false, 0, 2.5, date'2020-01-01', array(2), 'valid'), "
        "(null, null, 3.0, date'2020-01-02', array(3), 'train'), "
        "(true, 7, -1.0, date'2021-01-01', array(3), 'test') "
        "as t(flag, number, broken, day, list, split)"
    )
    names = {n: class_labels(data, n, "split").names for n in ("flag", "number", "day")}
    assert names["flag"] == ("false", "true")
    assert names["number"] == ("0", "1", "2"), "the row of split test is not looked at"
    assert names["day"] == ("2020-01-02", "2020-01-01")
    days = data.select(class_labels(data, "day", "split").number.alias("n")).collect()
    assert [row.n for row in days] == [0.0, 1.0, 0.0, None]
    for column, said in [("broken", "whole and from 0. Got 2.5"), ("list", "one class per row")]:
        with pytest.raises(InvalidValueError, match=said):
            class_labels(data, column, "split")
    with pytest.raises(InvalidValueError, match="2 to 10000 classes"):
        class_labels(data.filter("flag"), "day", "split")


def test_what_does_not_fit_is_refused_before_training(table, tmp_path):
    run = tmp_path / "run"
    with pytest.raises(InvalidValueError, match=r"\(N, 3\), a logit per class.*\(N, 5\)"):
        classifier(
            model=factory(line, features=2, outputs=5), labelCol="kind", runDir=str(run)
        ).fit(table)
    assert not run.exists()
    costly = table.withColumn("kind", F.raise_error(F.lit("a job ran")).cast("string"))
    for name, value, said in [
        ("findings", ["a"], "left alone"),
        ("splitCol", "none", "one of features, kind"),
        ("featuresCol", "none", "one of features, kind"),
        ("bestMetric", "valid_mean_auroc", "a loss"),
        ("schedule", "sawtooth", ""),
    ]:
        with pytest.raises(InvalidValueError, match=f"{name}.* must be .*{said}"):
            classifier(**{"labelCol": "kind", name: value}).fit(costly)
    with pytest.raises(TypeError, match="epochs"):
        NNClassifier(epochs=3)
