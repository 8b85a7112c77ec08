"""RocAucEvaluator gives scikit-learn's numbers on columns with gaps."""

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from hilum.errors import InvalidValueError
from hilum.spark import RocAucEvaluator

NAMES = ["A", "B", "Only", "Unknown"]
SCHEMA = "labels array<float>, prediction array<float>"


@pytest.fixture(scope="module")
def table():
    """Labels (40, 4) with a fifth unknown, one finding always present, one never known; scores."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, (40, 4)).astype(float)
    labels[generator.random(labels.shape) < 0.2] = np.nan
    labels[:, 2] = 1.0
    labels[:, 3] = np.nan
    return labels, np.round(generator.random((40, 4)), 1).astype(np.float32)


@pytest.fixture(scope="module")
def frame(spark, table):
    rows = [
        ([None if math.isnan(v) else v for v in labels], scores)
        for labels, scores in zip(*(part.tolist() for part in table), strict=True)
    ]
    rows += [([1.0, 1.0, 1.0, 1.0], None)]
    return spark.createDataFrame(rows, SCHEMA).cache()


def expected(table, column):
    labels, scores = table
    known = ~np.isnan(labels[:, column])
    return roc_auc_score(labels[known, column], scores[known, column])


def test_each_finding_has_scikit_learns_value(frame, table):
    found = RocAucEvaluator(findings=NAMES).evaluatePerFinding(frame)
    assert list(found) == NAMES
    assert found["A"] == pytest.approx(expected(table, 0))
    assert found["B"] == pytest.approx(expected(table, 1))


def test_a_finding_with_one_label_value_or_none_is_undefined(frame):
    found = RocAucEvaluator(findings=NAMES).evaluatePerFinding(frame)
    assert math.isnan(found["Only"])
    assert math.isnan(found["Unknown"])
    assert math.isnan(RocAucEvaluator(findings=NAMES, finding="Only").evaluate(frame))


def test_the_mean_is_over_defined_findings(frame, table):
    mean = (expected(table, 0) + expected(table, 1)) / 2
    evaluator = RocAucEvaluator(findings=NAMES)
    assert evaluator.evaluate(frame) == pytest.approx(mean)
    assert evaluator.isLargerBetter()


def test_one_finding_can_be_asked_for(frame, table):
    evaluator = RocAucEvaluator(findings=NAMES, finding="B")
    assert evaluator.evaluate(frame) == pytest.approx(expected(table, 1))
    changed = evaluator.evaluate(frame, {evaluator.finding: "A"})
    assert changed == pytest.approx(expected(table, 0))
    with pytest.raises(InvalidValueError, match="finding must be one of"):
        RocAucEvaluator(findings=NAMES, finding="C").evaluate(frame)


def test_names_must_fit_the_arrays(frame):
    with pytest.raises(InvalidValueError, match=r"findings.*\(4\)"):
        RocAucEvaluator().evaluatePerFinding(frame)


def test_rows_whose_labels_are_all_null_are_left_out(spark, frame, table):
    more = frame.union(spark.createDataFrame([(None, [0.5] * 4)], SCHEMA))
    found = RocAucEvaluator(findings=NAMES).evaluatePerFinding(more)
    assert found["A"] == pytest.approx(expected(table, 0))


def test_nothing_to_evaluate_says_so(spark):
    empty = spark.createDataFrame([], SCHEMA)
    with pytest.raises(InvalidValueError, match="prediction"):
        RocAucEvaluator(findings=NAMES).evaluate(empty)


def test_number_columns_work_as_one_finding(spark):
    rows = [(1.0, 0.9), (0.0, 0.1), (1.0, 0.4), (0.0, 0.6)]
    data = spark.createDataFrame(rows, "labels double, prediction double")
    assert RocAucEvaluator(findings=["A"]).evaluate(data) == 0.75


def test_an_evaluator_is_saved_and_loaded(spark, tmp_path):
    RocAucEvaluator(findings=NAMES, finding="A").write().save(str(tmp_path / "evaluator"))
    loaded = RocAucEvaluator.load(str(tmp_path / "evaluator"))
    assert loaded.getOrDefault("findings") == NAMES
    assert loaded.getOrDefault("finding") == "A"
