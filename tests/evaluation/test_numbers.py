"""AUPRC, Brier and log loss are scikit-learn's, with unknown labels masked and weights of draws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from hilum.errors import InvalidValueError
from hilum.evaluation.bootstrap import PatientBootstrap, patient_draws
from hilum.evaluation.intervals import METRICS, metric_table
from hilum.evaluation.losses import brier_score, log_loss
from hilum.evaluation.metrics import rank_one
from hilum.evaluation.precision import PrCurve, average_precision_score, pr_curve

NAN = float("nan")
OURS = {"auprc": average_precision_score, "brier": brier_score, "log_loss": log_loss}
THEIRS = {
    "auroc": reference.roc_auc_score,
    "auprc": reference.average_precision_score,
    "brier": reference.brier_score_loss,
    "log_loss": lambda y, p, **options: reference.log_loss(y, p, labels=[0, 1], **options),
}

tables = st.lists(
    st.tuples(st.sampled_from([0.0, 1.0, NAN]), st.integers(0, 8).map(lambda k: k / 8)),
    min_size=1,
    max_size=40,
).map(lambda rows: np.array(rows).T)


def both_values(labels):
    return len(set(labels[~np.isnan(labels)])) == 2


@pytest.fixture(scope="module")
def clustered():
    random = np.random.default_rng(3)
    labels = (random.random((120, 4)) < (0.4, 0.3, 0.1, 0.0)).astype(float)
    labels[random.random(labels.shape) < 0.1] = NAN
    scores = random.random((120, 4)).round(1)
    return labels, scores, np.sort(np.arange(120) % 40)


@pytest.mark.parametrize("name", OURS)
@given(table=tables)
@settings(max_examples=60, deadline=None)
def test_numbers_of_random_tied_and_masked_tables_are_scikit_learns(name, table):
    labels, scores = table
    (found,) = OURS[name](labels, scores)
    if not both_values(labels):
        assert np.isnan(found)
        return
    known = ~np.isnan(labels)
    assert found == pytest.approx(THEIRS[name](labels[known], scores[known]), abs=1e-9)


@given(table=tables, seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_areas_under_weights_are_those_of_sample_weight(table, seed):
    labels, scores = table
    weights = np.random.default_rng(seed).integers(0, 4, labels.size).astype(float)
    found = rank_one(labels, scores).weighted_areas(weights[None])
    known = ~np.isnan(labels) & (weights > 0)
    for value, name in zip(found, ("auroc", "auprc"), strict=True):
        if not both_values(labels[known]):
            assert np.isnan(value[0])
        else:
            expected = THEIRS[name](labels[known], scores[known], sample_weight=weights[known])
            assert value[0] == pytest.approx(expected, abs=1e-9)


def test_every_interval_is_that_of_a_plain_loop_with_sample_weights(clustered):
    labels, scores, patients = clustered
    table = metric_table(labels, scores, patients, num_resamples=60, seed=5)
    drawn = {name: np.full((60, 4), NAN) for name in METRICS}
    prevalence = np.full((60, 4), NAN)
    for at, counts in enumerate(patient_draws(40, 60, seed=5)):
        weights = counts[patients]
        for k in range(4):
            use = ~np.isnan(labels[:, k]) & (weights > 0)
            y, s, w = labels[use, k], scores[use, k], weights[use]
            prevalence[at, k] = np.average(y, weights=w)
            if both_values(y):
                for name in METRICS:
                    drawn[name][at, k] = THEIRS[name](y, s, sample_weight=w)
    for name in METRICS:
        for k in range(3):
            expected = np.nanpercentile(drawn[name][:, k], [2.5, 97.5])
            np.testing.assert_allclose(table.findings[k][name].ci95, expected, atol=1e-9)
        assert table.findings[3][name].value is None
        assert table.findings[3][name].ci95 is None
        defined = np.where(np.isnan(drawn[name]), 0, prevalence)
        for found, weights in (
            (table.macro[name], ~np.isnan(drawn[name])),
            (table.prevalence_weighted[name], defined),
        ):
            means = (np.nan_to_num(drawn[name]) * weights).sum(axis=1) / weights.sum(axis=1)
            np.testing.assert_allclose(found.ci95, np.percentile(means, [2.5, 97.5]), atol=1e-9)


def test_averages_weigh_findings_alike_or_by_prevalence(clustered):
    labels, scores, patients = clustered
    table = metric_table(labels, scores, patients, num_resamples=0)
    prevalences = [np.nanmean(column) for column in labels.T[:3]]
    for name in METRICS:
        values = [finding[name].value for finding in table.findings[:3]]
        assert table.macro[name].value == pytest.approx(np.mean(values))
        expected = np.average(values, weights=prevalences)
        assert table.prevalence_weighted[name].value == pytest.approx(expected)
    # with all labels known it is scikit-learn's average="weighted"
    y, s = (labels[:, :2] == 1).astype(int), scores[:, :2]
    found = metric_table(y, s, num_resamples=0).prevalence_weighted["auroc"].value
    assert found == pytest.approx(reference.roc_auc_score(y, s, average="weighted"))


def test_columns_beyond_the_averaged_ones_do_not_count(clustered):
    labels, scores, patients = clustered
    some = metric_table(labels, scores, patients, num_averaged=2, num_resamples=50)
    alone = metric_table(labels[:, :2], scores[:, :2], patients, num_resamples=50)
    assert some.macro == alone.macro
    assert some.findings[:2] == alone.findings


def test_sums_over_draws_are_those_of_the_images_written_out():
    random = np.random.default_rng(0)
    values, patients = random.random((30, 3)), random.integers(0, 9, 30).astype(str)
    bootstrap = PatientBootstrap.for_images(30, patients, num_resamples=20, seed=1)
    direct = bootstrap.of(lambda weights: weights @ values, 3)
    np.testing.assert_allclose(bootstrap.sums(values), direct, atol=1e-12)


def test_guessing_has_the_prevalence_as_auprc():
    random = np.random.default_rng(0)
    labels = (random.random(50_000) < 0.07).astype(float)
    assert average_precision_score(labels, random.random(50_000))[0] == pytest.approx(0.07, 0.05)


def test_pr_curve_is_scikit_learns_read_from_recall_0_to_1():
    random = np.random.default_rng(0)
    labels, scores = random.integers(0, 2, 200).astype(float), random.random(200).round(2)
    labels[:5] = NAN
    curve = pr_curve(labels, scores)
    precision, recall, thresholds = reference.precision_recall_curve(labels[5:], scores[5:])
    assert curve.precision[::-1] == tuple(precision)
    assert curve.recall[::-1] == tuple(recall)
    assert curve.thresholds[::-1] == (*thresholds, float("inf"))
    assert (curve.recall[0], curve.recall[-1]) == (0, 1)
    gained = np.diff(curve.recall) @ np.array(curve.precision[1:])
    assert gained == pytest.approx(average_precision_score(labels, scores)[0])


def test_a_thinned_pr_curve_keeps_its_ends():
    random = np.random.default_rng(0)
    curve = pr_curve(random.integers(0, 2, 900), random.random(900))
    thin = curve.thinned(50)
    assert len(thin.recall) == 50
    assert (thin.recall[0], thin.recall[-1]) == (0, 1)
    assert curve.thinned(5000) == curve
    with pytest.raises(InvalidValueError, match="one length"):
        PrCurve(recall=(0, 1), precision=(1,), thresholds=(1, 0))


def test_no_curve_where_labels_have_one_value():
    assert pr_curve([1, 1, NAN], [0.1, 0.2, 0.3]) is None
    with pytest.raises(InvalidValueError, match="one finding"):
        pr_curve(np.zeros((2, 2)), np.zeros((2, 2)))


@pytest.mark.parametrize("metric", [brier_score, log_loss])
def test_scores_that_are_no_probabilities_are_refused(metric):
    with pytest.raises(InvalidValueError, match="probabilities"):
        metric([0, 1], [-2.0, 3.0])


def test_a_certain_mistake_costs_much_and_not_infinity():
    assert 30 < log_loss([0, 1], [1.0, 1.0])[0] * 2 < 40
