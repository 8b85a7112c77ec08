"""AUCs counted in Spark are those of arrays, of scikit-learn and of Spark's own evaluator."""

import math

import numpy as np
import pytest
from pyspark.ml.evaluation import BinaryClassificationEvaluator
from sklearn import metrics as reference

from hilum.errors import InvalidValueError
from hilum.evaluation import roc_auc_score
from hilum.spark import RocAucEvaluator, auroc_counts
from hilum.spark.metrics import _bins

SCHEMA = "labels array<float>, prediction array<double>"
NAMES = ("Random", "Tied", "Constant", "Negative", "Single", "Unknown")


@pytest.fixture(scope="module")
def table():
    """2,000 rows: free scores, five distinct ones, one value, both signs; two undefined."""
    random = np.random.default_rng(0)
    labels = (random.random((2000, 6)) < 0.3).astype(float)
    labels[:, 4] = 1
    scores = random.random((2000, 6))
    scores[:, 1] = scores[:, 1].round(1) / 2
    scores[:, 2] = 0.25
    scores[:, 3] = random.normal(size=2000) * 10.0 ** random.integers(-300, 300, 2000)
    scores[:20, 3] = [0.0, -0.0] * 10
    scores[:, :2] += 0.2 * labels[:, :2]
    labels[random.random(labels.shape) < 0.1] = np.nan
    labels[:, 5] = np.nan
    return labels, scores


@pytest.fixture(scope="module")
def frame(spark, table):
    rows = [
        ([None if math.isnan(v) else v for v in labels], scores)
        for labels, scores in zip(*(part.tolist() for part in table), strict=True)
    ]
    rows += [(None, [0.5] * 6), ([1.0] * 6, None)]
    return spark.createDataFrame(rows, SCHEMA).repartition(3).cache()


@pytest.fixture(scope="module")
def counts(frame):
    return auroc_counts(frame, NAMES)


def test_aucs_are_those_of_arrays_to_the_last_digits(counts, table):
    found = [row.auroc for row in counts.values()]
    assert list(counts) == list(NAMES)
    np.testing.assert_allclose(found, roc_auc_score(*table), rtol=0, atol=1e-12)
    assert counts["Constant"].auroc == 0.5
    assert math.isnan(counts["Single"].auroc)
    assert math.isnan(counts["Unknown"].auroc)


def test_every_row_with_a_prediction_is_counted(counts, table):
    labels, _ = table
    for k, row in enumerate(counts.values()):
        assert row.positives == (labels[:, k] == 1).sum()
        assert row.negatives == (labels[:, k] == 0).sum()
        assert row.unknown == np.isnan(labels[:, k]).sum()


def test_scikit_learn_and_sparks_evaluator_agree(spark, frame, table, counts):
    labels, scores = table
    sparks = BinaryClassificationEvaluator(rawPredictionCol="score", labelCol="label", numBins=0)
    for k in (0, 1, 2):
        known = ~np.isnan(labels[:, k])
        expected = reference.roc_auc_score(labels[known, k], scores[known, k])
        column = frame.selectExpr(f"double(labels[{k}]) label", f"prediction[{k}] score").dropna()
        found = counts[NAMES[k]].auroc
        assert found == pytest.approx(expected, abs=1e-9)
        assert found == pytest.approx(sparks.evaluate(column), abs=1e-9)


def test_the_evaluator_counts_the_same(frame, counts):
    found = RocAucEvaluator(findings=list(NAMES)).evaluatePerFinding(frame)
    np.testing.assert_equal(list(found.values()), [row.auroc for row in counts.values()])


def test_bins_rise_with_the_score_and_equal_scores_share_one():
    random = np.random.default_rng(1)
    values = np.sort(random.normal(size=10_000) * 10.0 ** random.integers(-320, 300, 10_000))
    assert (np.diff(_bins(values)) >= 0).all()
    assert abs(_bins(np.array([-1.8e308, 1.8e308, np.finfo(float).max]))).max() < 2**18
    assert _bins(np.array([0.5]))[0] != _bins(np.array([0.51]))[0]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (([1.0, 0.0], [0.5, float("nan")]), "predictions must be finite"),
        (([1.0, 0.0], [0.5, None]), "predictions must be finite"),
        (([1.0, 0.5], [0.5, 0.5]), "labels must be 0, 1"),
        (([1.0], [0.5]), r"label arrays have elements \(1, 2\)"),
        (([1.0, 0.0], [0.5]), r"prediction arrays have elements \(1, 2\)"),
    ],
)
def test_what_cannot_be_counted_is_refused(spark, row, said):
    rows = [([1.0, 0.0], [0.5, 0.5]), row]
    with pytest.raises(InvalidValueError, match=said):
        auroc_counts(spark.createDataFrame(rows, SCHEMA), ("A", "B"))
