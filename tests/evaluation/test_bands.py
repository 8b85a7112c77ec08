"""Bands are percentiles over draws of patients, read from the curves scikit-learn draws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from hilum.errors import InvalidValueError
from hilum.evaluation.bands import BandCurve, curve_bands
from hilum.evaluation.bootstrap import patient_draws


def make_table(seed=0, images=240, patients=90):
    random = np.random.default_rng(seed)
    labels = (random.random((images, 2)) < (0.3, 0.1)).astype(float)
    labels[random.random(images) < 0.1, 1] = np.nan
    scores = np.round(random.random((images, 2)) + 0.4 * np.nan_to_num(labels), 2)  # with ties
    return labels, scores, random.integers(0, patients, images)


def test_roc_is_that_of_scikit_learn_at_the_grid():
    labels, scores, _ = make_table()
    curve = curve_bands(labels[:, 0], scores[:, 0], num_resamples=0)[0].roc
    fpr, tpr, _ = metrics.roc_curve(labels[:, 0], scores[:, 0], drop_intermediate=False)
    np.testing.assert_allclose(curve.y, np.interp(curve.x, fpr, tpr), atol=1e-12)
    assert (curve.low, curve.high) == ((), ())


def test_precision_is_that_of_scikit_learn_where_the_sensitivity_is_first_reached():
    labels, scores, _ = make_table()
    curve = curve_bands(labels[:, 0], scores[:, 0], num_resamples=0)[0].precision_recall
    precision, recall, _ = metrics.precision_recall_curve(labels[:, 0], scores[:, 0])
    for x, y in zip(curve.x, curve.y, strict=True):
        reached = np.flatnonzero(recall[:-1] >= x - 1e-12)[-1]  # recall falls along the array
        assert y == pytest.approx(precision[reached], abs=1e-12)


def test_band_is_the_percentiles_of_curves_with_patient_weights():
    labels, scores, patients = make_table()
    band = curve_bands(labels[:, 0], scores[:, 0], patients, num_resamples=40, seed=3)[0].roc
    codes = {patient: k for k, patient in enumerate(dict.fromkeys(patients.tolist()))}
    numbers = np.array([codes[p] for p in patients.tolist()])
    drawn = []
    for counts in patient_draws(len(codes), 40, seed=3):
        fpr, tpr, _ = metrics.roc_curve(
            labels[:, 0], scores[:, 0], sample_weight=counts[numbers], drop_intermediate=False
        )
        drawn.append(np.interp(band.x, fpr, tpr))
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    np.testing.assert_allclose(band.low, low, atol=1e-9)
    np.testing.assert_allclose(band.high, high, atol=1e-9)


def test_unknown_labels_count_for_nothing():
    labels, scores, patients = make_table()
    known = ~np.isnan(labels[:, 1])
    with_unknown = curve_bands(labels, scores, patients, num_resamples=0)[1]
    without = curve_bands(labels[known, 1], scores[known, 1], patients[known], num_resamples=0)[0]
    assert with_unknown == without
    assert with_unknown.prevalence == pytest.approx(np.nanmean(labels[:, 1]))


def test_one_label_value_has_no_curve_and_two_patients_no_band():
    labels = np.zeros((60, 2))
    labels[:2, 1] = 1
    scores = np.random.default_rng(0).random((60, 2))
    nothing, few = curve_bands(labels, scores, np.arange(60), num_resamples=200)
    assert nothing is None
    assert few.roc.low == few.precision_recall.high == ()


@given(st.integers(0, 10_000), st.integers(12, 60))
def test_curves_and_bands_stay_in_order(seed, images):
    random = np.random.default_rng(seed)
    labels = (np.arange(images) % 2).astype(float)
    scores = np.round(random.random(images), 1)
    curves = curve_bands(labels, scores, num_resamples=30, grid_points=11)[0]
    for curve in (curves.roc, curves.precision_recall):
        low, high = np.array(curve.low), np.array(curve.high)
        assert (low <= high).all()
        assert low.min() >= 0
        assert high.max() <= 1
    assert (np.diff(curves.roc.y) >= 0).all()
    assert curves.roc.y[-1] == 1


def test_ends_of_a_curve_must_fit():
    with pytest.raises(InvalidValueError, match="of one length"):
        BandCurve(x=(0.0, 1.0), y=(0.0, 1.0), low=(0.0,), high=(1.0,))
