"""Calibration keeps the order, mends probabilities, and is not fitted to noise."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from hilum.errors import InvalidValueError
from hilum.evaluation import roc_auc_score
from hilum.evaluation.calibration import Calibration, FindingCalibration
from hilum.evaluation.calibration_fit import fit_calibration
from hilum.evaluation.decision import DecisionRules, fit_decision_rules
from hilum.evaluation.losses import log_loss
from hilum.evaluation.operating import AtSpecificity, LowestCost, Youden

NAN = float("nan")


def drawn(random, images, *, slope=1.0, intercept=0.0):
    """Labels drawn with the true probability, and scores whose logit is stretched by hand."""
    truth = random.normal(-1, 1.5, images)
    labels = (random.random(images) < expit(truth)).astype(float)
    return labels, expit((truth - intercept) / slope)


class Logits(ClassifierMixin, BaseEstimator):
    """Decides by the number it is given; scikit-learn calibrates classifiers only."""

    def __init__(self):
        self.classes_ = np.array([0, 1])

    def fit(self, x, y):
        return self

    def decision_function(self, x):
        return x[:, 0]

    def predict(self, x):
        return (x[:, 0] > 0).astype(int)

    def __sklearn_is_fitted__(self):
        return True


def by_scikit_learn(method, labels, scores):
    x = logit(scores)[:, None]
    fitted = CalibratedClassifierCV(FrozenEstimator(Logits()), method=method).fit(x, labels)
    return fitted.predict_proba(x)[:, 1]


@pytest.mark.parametrize(("method", "theirs"), [("platt", "sigmoid"), ("temperature",) * 2])
def test_scaling_is_scikit_learns(method, theirs):
    labels, scores = drawn(np.random.default_rng(0), 4000, slope=0.5, intercept=-0.7)
    calibration = fit_calibration(["A"], labels, scores, method=method)
    expected = by_scikit_learn(theirs, labels, scores)
    # Platt's targets are ours for both; scikit-learn uses plain labels for the temperature.
    np.testing.assert_allclose(calibration.apply(scores[:, None])[:, 0], expected, atol=2e-3)


def test_a_known_distortion_is_undone():
    labels, scores = drawn(np.random.default_rng(1), 50_000, slope=0.4, intercept=-1.0)
    each = fit_calibration(["A"], labels, scores).findings["A"]
    assert each.method == "platt"
    assert (each.slope, each.intercept) == pytest.approx((0.4, -1.0), abs=0.05)
    warm = fit_calibration(["A"], *drawn(np.random.default_rng(1), 50_000, slope=2.0))
    assert warm.findings["A"].slope == pytest.approx(2.0, rel=0.05)


def test_calibration_lowers_the_loss_of_other_patients():
    random = np.random.default_rng(2)
    calibration = fit_calibration(["A"], *drawn(random, 300, slope=0.4, intercept=-1.0))
    labels, scores = drawn(random, 5000, slope=0.4, intercept=-1.0)
    assert log_loss(labels, calibration.apply(scores[:, None])[:, 0]) < log_loss(labels, scores)


@given(
    st.lists(st.floats(0, 1, width=32), min_size=4, max_size=60),
    st.floats(0.05, 20),
    st.floats(-5, 5),
    st.integers(0, 99),
)
@settings(max_examples=200, deadline=None)
def test_calibration_never_turns_an_order_round(values, slope, intercept, seed):
    each = FindingCalibration(method="platt", slope=slope, intercept=intercept)
    scores = np.array(values, dtype=np.float32)[:, None]
    found = Calibration(findings={"A": each}).apply(scores)
    assert found.dtype == np.float32
    assert ((found >= 0) & (found <= 1)).all()
    order = np.argsort(scores[:, 0], kind="stable")
    assert (np.diff(found[order, 0]) >= 0).all()
    labels = np.random.default_rng(seed).integers(0, 2, len(values)).astype(float)
    if len(np.unique(found)) == len(np.unique(scores)):  # float32 made no new ties
        before, after = (roc_auc_score(labels, each[:, 0]) for each in (scores, found))
        np.testing.assert_array_equal(after, before)


def test_auc_is_the_same_before_and_after():
    random = np.random.default_rng(0)
    labels, scores = drawn(random, 3000, slope=0.3, intercept=-2)
    table = np.column_stack([scores, 1 - scores, random.random(3000)])
    three = np.column_stack([labels] * 3)
    calibration = fit_calibration(["A", "B", "C"], three, table)
    before = roc_auc_score(three, table)
    np.testing.assert_array_equal(roc_auc_score(three, calibration.apply(table)), before)
    # In float32 a worthless score, pressed together by a tiny slope, gets a few ties.
    single = calibration.apply(table.astype(np.float32))
    np.testing.assert_allclose(roc_auc_score(three, single), before, atol=1e-6)


def test_too_few_patients_are_left_alone_and_said():
    random = np.random.default_rng(0)
    labels, scores = np.zeros((200, 4)), random.random((200, 4)).astype(np.float32)
    for k, positives in enumerate((40, 15, 5, 0)):
        labels[:positives, k] = 1
    scores += 0.3 * labels.astype(np.float32) * (1 - scores)
    calibration = fit_calibration("ABCD", labels, scores)
    methods = [each.method for each in calibration.findings.values()]
    assert methods == ["platt", "temperature", "none", "none"]
    assert "5 patients with it and 195 without" in calibration.findings["C"].note
    after = calibration.apply(scores)
    assert np.array_equal(after[:, 2:], scores[:, 2:]), "to the last bit"
    # forty images, but of eight patients
    few = fit_calibration("ABCD", labels, scores, np.arange(200) // 5)
    assert few.findings["A"].method == "none"


def test_scores_that_fall_with_the_finding_are_not_turned_round():
    labels, scores = drawn(np.random.default_rng(0), 2000)
    each = fit_calibration(["A"], labels, 1 - scores, method="platt").findings["A"]
    assert (each.method, each.slope) == ("none", 1.0)
    assert "do not rise" in each.note


def test_images_told_apart_perfectly_do_not_ask_for_certainty():
    labels = np.repeat([1.0, 0.0], 30)
    scores = np.where(labels == 1, 0.6, 0.4)
    for method in ("platt", "temperature"):
        found = fit_calibration(["A"], labels, scores, method=method).apply(scores[:, None])
        assert 0.9 < found.max() <= 31 / 32 + 1e-3, "Platt's target, (n + 1) / (n + 2)"


def test_saturated_scores_stay_finite():
    scores = np.array([0.0, 1.0, 0.5, 1e-30], dtype=np.float32)[:, None]
    each = FindingCalibration(method="platt", slope=2.0, intercept=1.0)
    found = Calibration(findings={"A": each}).apply(scores)
    assert (found[0, 0], found[1, 0]) == (0, 1)
    assert np.isfinite(found).all()


def test_wrong_calibrations_are_refused():
    with pytest.raises(InvalidValueError, match="slope"):
        FindingCalibration(method="platt", slope=-1.0)
    two = Calibration(findings=dict.fromkeys("AB", FindingCalibration(method="none")))
    with pytest.raises(InvalidValueError, match="2 findings"):
        two.apply(np.zeros((3, 1)))
    with pytest.raises(InvalidValueError, match="calibration must be"):
        Calibration.from_json({"A": {"curve": 1}})


@pytest.fixture(scope="module")
def table():
    random = np.random.default_rng(4)
    labels, scores = drawn(random, 600, slope=0.5, intercept=-1)
    second = np.where(random.random(600) < 0.1, NAN, (random.random(600) < 0.01).astype(float))
    return np.column_stack([labels, second]), np.column_stack([scores, random.random(600)])


def test_rules_are_thresholds_on_calibrated_probabilities(table):
    labels, scores = table
    patients = np.arange(600) // 2
    rules = fit_decision_rules(["A", "B"], labels, scores, patients)
    assert (rules.split, rules.images, rules.patients) == ("valid", 600, 300)
    names = [point.name for point in rules.operating_points]
    assert names == ["specificity_90", "specificity_95", "youden"]
    calibrated = rules.calibration.apply(scores)
    negatives = calibrated[labels[:, 0] == 0, 0]
    threshold = rules.default.thresholds["A"]
    assert 0.9 <= (negatives < threshold).mean() < 0.91
    for row in calibrated[:20]:
        expected = [n for n, p in zip("AB", row, strict=True) if p >= rules.default.thresholds[n]]
        assert rules.present(row) == expected
    assert "1 of 2 findings calibrated" in str(rules)


def test_without_any_threshold_nothing_is_called_absent_either():
    rules = fit_decision_rules(["A"], [0.0, 0.0, 1.0], [0.1, 0.2, 0.9])
    assert rules.default.thresholds == {"A": None}
    assert rules.present(np.array([0.01])) is None


def test_rules_survive_json_and_know_their_operating_points(table):
    cost = LowestCost(false_negative=10)
    rules = fit_decision_rules(["A", "B"], *table, rules=[Youden(), cost], split="site")
    assert DecisionRules.from_json(json.loads(json.dumps(rules.to_json()))) == rules
    assert rules.operating_point("cost_10_to_1").rule == cost
    with pytest.raises(InvalidValueError, match="one of youden, cost_10_to_1"):
        rules.operating_point("specificity_90")
    with pytest.raises(InvalidValueError, match="decision rules must be"):
        DecisionRules.from_json({"calibration": {}})


def test_rules_of_other_findings_do_not_fit_together(table):
    rules = fit_decision_rules(["A", "B"], *table)
    other = fit_decision_rules(["B", "A"], *table, rules=[AtSpecificity(specificity=0.9)])
    with pytest.raises(InvalidValueError, match="calibrated findings"):
        replace(rules, operating_points=other.operating_points)
