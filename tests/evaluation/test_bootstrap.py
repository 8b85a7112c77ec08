"""Intervals over patients: equal to the plain loop, wide enough for clusters, and fast."""

import time

import numpy as np
import pytest
from sklearn import metrics as reference

from hilum.errors import InvalidValueError
from hilum.evaluation import auroc_intervals, mean_auroc, roc_auc_score
from hilum.evaluation.bootstrap import patient_codes, patient_draws


def clustered(random, *, patients=60, images=4, effect=1.0):
    """Images whose labels and scores hang together within a patient."""
    owner = np.repeat(np.arange(patients), images)
    sick = (random.random(patients) < 0.4)[owner]
    own_level = random.normal(size=patients)[owner]
    scores = effect * sick + own_level + 0.3 * random.normal(size=patients * images)
    return sick.astype(float), scores, owner


def naive_intervals(labels, scores, patients, *, num_resamples, seed, confidence):
    """The textbook: write the drawn images out, one resample after the other, with sklearn."""
    names, codes = np.unique(patients, return_inverse=True)
    drawn = []
    for counts in patient_draws(len(names), num_resamples, seed=seed):
        images = np.repeat(np.arange(len(labels)), counts[codes].astype(int))
        row = []
        for y, s in zip(labels[images].T, scores[images].T, strict=True):
            y, s = y[~np.isnan(y)], s[~np.isnan(y)]
            defined = len(set(y)) == 2
            row.append(reference.roc_auc_score(y, s) if defined else np.nan)
        drawn.append(row)
    aurocs = np.array(drawn)
    tail = 50 * (1 - confidence)
    per_finding = [np.nanpercentile(column, [tail, 100 - tail]) for column in aurocs.T]
    mean = np.nanpercentile(np.nanmean(aurocs, axis=1), [tail, 100 - tail])
    return per_finding, mean, np.isnan(aurocs).sum(axis=0)


def test_intervals_equal_a_naive_loop_over_the_same_draws():
    random = np.random.default_rng(3)
    labels = random.integers(0, 2, (80, 3)).astype(float)
    labels[random.random(labels.shape) < 0.1] = np.nan
    scores = random.random((80, 3)).round(1)
    patients = np.sort(np.arange(80) % 25)  # sorted, so that numbering by appearance agrees
    options = {"num_resamples": 60, "seed": 5, "confidence": 0.9}
    fast = auroc_intervals(labels, scores, patients, **options)
    per_finding, mean, undefined = naive_intervals(labels, scores, patients, **options)
    np.testing.assert_allclose(fast.findings, per_finding, rtol=0, atol=1e-12)
    np.testing.assert_allclose(fast.mean, mean, rtol=0, atol=1e-12)
    assert fast.undefined_draws == tuple(undefined)
    assert (fast.num_patients, fast.num_resamples, fast.confidence) == (25, 60, 0.9)


def test_every_draw_has_as_many_patients_as_there_are():
    draws = np.stack(list(patient_draws(30, 200, seed=0)))
    assert draws.shape == (200, 30)
    assert (draws.sum(axis=1) == 30).all()
    assert draws.mean(axis=0) == pytest.approx(np.ones(30), abs=0.35)


def test_same_seed_same_intervals_another_seed_others():
    labels, scores, owner = clustered(np.random.default_rng(0))
    first, again, other = (
        auroc_intervals(labels, scores, owner, num_resamples=100, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again
    assert first.findings != other.findings


def test_one_finding_is_its_own_mean():
    labels, scores, owner = clustered(np.random.default_rng(0))
    result = auroc_intervals(labels, scores, owner, num_resamples=100)
    assert result.mean == result.findings[0]


def test_interval_surrounds_the_auroc_and_widens_with_confidence():
    labels, scores, owner = clustered(np.random.default_rng(0))
    auroc = roc_auc_score(labels, scores)[0]
    narrow, wide = (
        auroc_intervals(labels, scores, owner, num_resamples=400, confidence=c).findings[0]
        for c in (0.5, 0.99)
    )
    assert wide[0] < narrow[0] < auroc < narrow[1] < wide[1]


def test_patients_with_several_images_make_intervals_wider_than_images_alone():
    labels, scores, owner = clustered(np.random.default_rng(0))
    by_patient = auroc_intervals(labels, scores, owner, num_resamples=300).findings[0]
    by_image = auroc_intervals(labels, scores, num_resamples=300)
    low, high = by_image.findings[0]
    assert by_patient[1] - by_patient[0] > 1.5 * (high - low)
    assert by_image.num_patients is None


def test_undefined_finding_has_no_interval_and_does_not_spoil_the_mean():
    labels, scores, owner = clustered(np.random.default_rng(0))
    both = np.column_stack([labels, np.zeros_like(labels)])
    result = auroc_intervals(both, np.column_stack([scores] * 2), owner, num_resamples=50)
    assert result.findings[1] is None
    assert result.undefined_draws == (0, 50)
    assert result.mean == result.findings[0]


def test_finding_of_two_patients_has_no_interval_and_the_draws_are_counted():
    owner = np.repeat(np.arange(50), 2)
    labels = np.isin(owner, [3, 4]).astype(float)
    scores = np.random.default_rng(0).random(100)
    result = auroc_intervals(labels, scores, owner, num_resamples=1000)
    assert result.findings == (None,)
    assert result.undefined_draws[0] == pytest.approx(1000 * np.exp(-2), rel=0.3)


def test_no_images_and_no_resamples_give_no_intervals():
    empty = auroc_intervals(np.zeros((0, 2)), np.zeros((0, 2)), [])
    assert (empty.findings, empty.mean) == ((None, None), None)
    none = auroc_intervals([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4], num_resamples=0)
    assert (none.findings, none.mean) == ((None,), None)


def test_patients_are_numbered_by_appearance_whatever_their_type():
    assert patient_codes(["b", "a", "b"], 3)[0].tolist() == [0, 1, 0]
    assert patient_codes(np.array([7, 7, 3]), 3)[0].tolist() == [0, 0, 1]
    assert patient_codes(None, 3)[1] == 3


@pytest.mark.parametrize("missing", [None, "", float("nan")])
def test_missing_patient_id_is_named(missing):
    with pytest.raises(InvalidValueError, match=r"patient_ids\[1\] must be known"):
        auroc_intervals([0, 1, 1], [0.1, 0.2, 0.3], ["a", missing, "b"])


def test_bad_options_are_named():
    with pytest.raises(InvalidValueError, match="patient_ids must be 2 ids"):
        auroc_intervals([0, 1], [0.1, 0.2], ["a"])
    with pytest.raises(InvalidValueError, match="num_resamples"):
        auroc_intervals([0, 1], [0.1, 0.2], num_resamples=-1)
    with pytest.raises(InvalidValueError, match="confidence"):
        auroc_intervals([0, 1], [0.1, 0.2], confidence=95)


def test_ten_thousand_images_of_14_findings_take_well_under_a_minute_for_2000_resamples():
    random = np.random.default_rng(0)
    labels = (random.random((10_000, 14)) < 0.05).astype(float)
    scores, owner = random.random((10_000, 14)), random.integers(0, 2750, 10_000)
    start = time.perf_counter()
    result = auroc_intervals(labels, scores, owner, num_resamples=100)
    assert time.perf_counter() - start < 60 * 100 / 2000
    assert result.mean[0] < mean_auroc(roc_auc_score(labels, scores)) < result.mean[1]
