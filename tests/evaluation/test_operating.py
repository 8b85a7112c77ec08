"""Thresholds do what their rule says, and what is measured at them is the confusion matrix."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from hilum.errors import InvalidValueError
from hilum.evaluation.bootstrap import patient_draws
from hilum.evaluation.confusion import (
    PREVALENCES,
    RATES,
    OperatingResult,
    measure_at,
    predictive_values,
)
from hilum.evaluation.operating import (
    AtSpecificity,
    LowestCost,
    OperatingPoint,
    Youden,
    choose_thresholds,
    fit_operating_point,
)

NAN = float("nan")
RULES = [
    AtSpecificity(specificity=0.90),
    AtSpecificity(specificity=0.95),
    Youden(),
    LowestCost(false_negative=5, false_positive=1),
    LowestCost(false_negative=1, false_positive=2, prevalence=0.1),
]
tables = st.lists(
    st.tuples(st.sampled_from([0.0, 1.0, NAN]), st.integers(0, 12).map(lambda k: k / 12)),
    min_size=2,
    max_size=60,
).map(lambda rows: np.array(rows).T)


def rates_at(labels, scores, threshold):
    called = scores >= threshold
    return called[labels == 1].mean(), (~called[labels == 0]).mean()


def worth(rule, sensitivity, specificity, prevalence):
    """What the rule wants most, written out."""
    if isinstance(rule, AtSpecificity):
        return sensitivity if specificity >= rule.specificity - 1e-9 else -1
    if isinstance(rule, Youden):
        return sensitivity + specificity - 1
    share = rule.prevalence or prevalence
    missed, alarmed = share * (1 - sensitivity), (1 - share) * (1 - specificity)
    return -(missed * rule.false_negative + alarmed * rule.false_positive)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@given(table=tables)
@settings(max_examples=80, deadline=None)
def test_no_other_threshold_is_better_by_the_rule(rule, table):
    labels, scores = table
    (threshold,) = choose_thresholds(labels, scores, rule)
    if not ((labels == 1).any() and (labels == 0).any()):
        assert np.isnan(threshold)
        return
    prevalence = (labels == 1).sum() / (~np.isnan(labels)).sum()
    values = {t: worth(rule, *rates_at(labels, scores, t), prevalence) for t in [*scores, 2.0]}
    best = max(values.values())
    if np.isnan(threshold):  # calling nothing is best, alone or with others
        assert values[2.0] == pytest.approx(best)
        return
    assert worth(rule, *rates_at(labels, scores, threshold), prevalence) == pytest.approx(best)
    assert threshold not in scores or (scores == 0).any(), "thresholds lie between scores"


def test_a_specificity_is_met_as_closely_as_the_images_allow():
    random = np.random.default_rng(0)
    labels = (random.random(2000) < 0.2).astype(float)
    scores = 1 / (1 + np.exp(-2 * labels - random.normal(size=2000)))
    for share in (0.90, 0.95):
        (threshold,) = choose_thresholds(labels, scores, AtSpecificity(specificity=share))
        assert share <= rates_at(labels, scores, threshold)[1] < share + 0.002


def test_a_dearer_miss_lowers_the_threshold():
    random = np.random.default_rng(0)
    labels = (random.random(1000) < 0.3).astype(float)
    scores = 1 / (1 + np.exp(-2 * labels - random.normal(size=1000)))
    found = [
        choose_thresholds(labels, scores, LowestCost(false_negative=cost))[0]
        for cost in (0.5, 2, 10)
    ]
    assert found[0] > found[1] > found[2]


def test_findings_without_enough_patients_have_no_threshold_and_a_note():
    random = np.random.default_rng(0)
    labels = np.zeros((60, 3))
    labels[:30, 0], labels[:5, 1] = 1, 1
    scores = 0.5 * labels + 0.5 * random.random((60, 3))
    point = fit_operating_point(("A", "B", "C"), labels, scores, Youden())
    assert point.thresholds["A"] is not None
    assert (point.thresholds["B"], point.thresholds["C"]) == (None, None)
    assert "5 patients with it and 55 without; needs 10 of each" in point.notes["B"]
    assert (point.images, point.patients) == (60, None)
    assert np.isnan(point.as_array()).tolist() == [False, True, True]
    at = fit_operating_point(("A", "B", "C"), labels, scores, AtSpecificity(specificity=0.9))
    assert at.thresholds["B"] is not None, "a specificity is decided by those without the finding"
    assert "needs a patient with the finding and 10 without" in at.notes["C"]


def test_images_of_one_patient_count_once():
    labels = np.repeat([1.0, 0.0], 50)
    scores, patients = np.linspace(1, 0, 100), np.repeat(np.arange(10), 10)
    point = fit_operating_point(["A"], labels, scores, Youden(), patients)
    assert point.thresholds["A"] is None
    assert point.patients == 10


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_an_operating_point_survives_json(rule):
    point = OperatingPoint(
        rule=rule, thresholds={"A": 0.25, "B": None}, images=9, patients=4, notes={"B": "few"}
    )
    assert OperatingPoint.from_json(json.loads(json.dumps(point.to_json()))) == point


def test_unknown_rules_and_impossible_ones_are_refused():
    with pytest.raises(InvalidValueError, match="rule kind"):
        OperatingPoint.from_json({"rule": {"kind": "luck"}})
    with pytest.raises(InvalidValueError, match="operating point must be"):
        OperatingPoint.from_json({})
    with pytest.raises(InvalidValueError, match="specificity"):
        AtSpecificity(specificity=90)
    with pytest.raises(InvalidValueError, match="costs"):
        LowestCost(false_negative=0)
    with pytest.raises(InvalidValueError, match="prevalence"):
        LowestCost(false_negative=1, prevalence=5)


@given(table=tables, threshold=st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_rates_are_those_of_scikit_learns_confusion_matrix(table, threshold):
    labels, scores = table
    (found,) = measure_at(labels, scores, threshold, num_resamples=0)
    known = ~np.isnan(labels)
    if not known.any():
        assert set(found.rates.values()) == {None}
        return
    y, called = labels[known], scores[known] >= threshold
    tn, fp, fn, tp = reference.confusion_matrix(y, called, labels=[0, 1]).ravel()
    assert (found.true_positives, found.false_positives) == (tp, fp)
    assert (found.false_negatives, found.true_negatives) == (fn, tn)
    expected = {
        "sensitivity": reference.recall_score(y, called, zero_division=np.nan),
        "specificity": reference.recall_score(y, called, pos_label=0, zero_division=np.nan),
        "ppv": reference.precision_score(y, called, zero_division=np.nan),
        "npv": reference.precision_score(y, called, pos_label=0, zero_division=np.nan),
        "f1": reference.f1_score(y, called, zero_division=np.nan),
    }
    for name, value in expected.items():
        assert found.rates[name] == (None if np.isnan(value) else pytest.approx(value)), name
    assert set(found.ci95.values()) == {None}


def test_likelihood_ratios_are_scikit_learns():
    random = np.random.default_rng(0)
    labels, scores = random.integers(0, 2, 300), random.random(300)
    (found,) = measure_at(labels, scores, 0.4, num_resamples=0)
    expected = reference.class_likelihood_ratios(labels, scores >= 0.4)
    assert (found.rates["lr_positive"], found.rates["lr_negative"]) == pytest.approx(expected)


def test_intervals_are_those_of_a_plain_loop_over_patients():
    random = np.random.default_rng(2)
    labels = (random.random((90, 2)) < 0.4).astype(float)
    labels[random.random(labels.shape) < 0.1] = NAN
    scores, patients = random.random((90, 2)), np.sort(np.arange(90) % 30)
    found = measure_at(labels, scores, [0.4, 0.6], patients, num_resamples=80, seed=4)
    for k, threshold in enumerate((0.4, 0.6)):
        drawn = []
        for counts in patient_draws(30, 80, seed=4):
            images = np.repeat(np.arange(90), counts[patients].astype(int))
            drawn.append(
                measure_at(labels[images, k], scores[images, k], threshold, num_resamples=0)[0]
            )
        for name in RATES:
            values = [one.rates[name] for one in drawn if one.rates[name] is not None]
            expected = np.percentile(values, [2.5, 97.5])
            np.testing.assert_allclose(found[k].ci95[name], expected, atol=1e-12)
        ppv = [one.at_prevalence[3].ppv for one in drawn]
        expected = np.percentile(ppv, [2.5, 97.5])
        np.testing.assert_allclose(found[k].at_prevalence[3].ppv_ci95, expected, atol=1e-12)


def test_a_share_of_one_has_wilsons_interval_over_patients():
    labels, scores = np.repeat([1.0, 0.0], 40), np.repeat([0.9, 0.1], 40)
    (found,) = measure_at(labels, scores, 0.5, np.repeat(np.arange(20), 4), num_resamples=100)
    assert found.rates["sensitivity"] == 1
    # ten patients of ten: n / (n + z^2)
    assert found.ci95["sensitivity"] == pytest.approx((10 / (10 + 1.96**2), 1.0), abs=1e-4)


def test_predictive_values_at_the_tested_prevalence_are_the_measured_ones():
    random = np.random.default_rng(0)
    labels, scores = (random.random(500) < 0.25).astype(float), random.random(500)
    prevalences = (float(labels.mean()), *PREVALENCES)
    (found,) = measure_at(labels, scores, 0.7, prevalences=prevalences, num_resamples=10)
    here, *others = found.at_prevalence
    assert here.ppv == pytest.approx(found.rates["ppv"])
    assert here.npv == pytest.approx(found.rates["npv"])
    assert [row.prevalence for row in others] == list(PREVALENCES)
    ppvs, npvs = [row.ppv for row in others], [row.npv for row in others]
    assert ppvs == sorted(ppvs)
    assert npvs == sorted(npvs, reverse=True)


def test_predictive_values_of_the_textbook():
    """A test of 99 % and 99 % at 1 in 100: every second alarm is false."""
    ppv, npv = predictive_values(0.99, 0.99, [0.01, 0.5])
    np.testing.assert_allclose(ppv, [0.5, 0.99])
    assert npv[0] == pytest.approx(0.9999, abs=1e-5)
    assert np.isnan(predictive_values(0.0, 1.0, 0.1)[0])


def test_a_finding_without_threshold_is_not_measured():
    found = measure_at(np.eye(2), np.eye(2), [0.5, NAN], num_resamples=10)
    assert found[0] is not None
    assert found[1] is None
    with pytest.raises(InvalidValueError, match="thresholds"):
        measure_at(np.eye(2), np.eye(2), [0.5] * 3)


def test_a_result_survives_json():
    (found,) = measure_at([0, 1, 0, 1, 1], [0.1, 0.2, 0.3, 0.9, 0.8], 0.5, num_resamples=50)
    assert OperatingResult.from_json(json.loads(json.dumps(found.to_json()))) == found
