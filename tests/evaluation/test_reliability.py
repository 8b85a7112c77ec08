"""The reliability diagram counts rightly, and chance is taken out of the debiased numbers."""

import json

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from hilum.errors import InvalidValueError
from hilum.evaluation.reliability import Reliability, measure_reliability

NAN = float("nan")


def test_bins_are_scikit_learns_quantile_bins():
    random = np.random.default_rng(0)
    scores = random.random(2000)
    labels = (random.random(2000) < scores**2).astype(float)
    found = measure_reliability(labels, scores)
    share, said = calibration_curve(labels, scores, n_bins=10, strategy="quantile")
    np.testing.assert_allclose(found.share, share, atol=0.01)
    np.testing.assert_allclose(found.mean_probability, said, atol=0.01)
    assert sum(found.images) == 2000
    gaps = np.abs(np.array(found.share) - found.mean_probability)
    assert found.ece == pytest.approx(np.average(gaps, weights=found.images))


def test_unknown_labels_are_left_out_and_equal_scores_share_a_bin():
    labels = np.array([0, 1, NAN, 1, 0] * 20)
    found = measure_reliability(labels, np.full(100, 0.5))
    assert (found.images, found.share, found.ece) == ((80,), (0.5,), 0.0)


def test_with_one_score_a_bin_the_correction_is_kumars():
    """Theorem 5.2 of Kumar 2019: take y (1 - y) / (n - 1) from each bin's squared difference."""
    random = np.random.default_rng(1)
    scores = np.repeat([0.1, 0.3, 0.6, 0.8], 100)
    labels = (random.random(400) < scores + 0.1).astype(float)
    found = measure_reliability(labels, scores, num_bins=4)
    expected = 0.0
    for p in (0.1, 0.3, 0.6, 0.8):
        y = labels[scores == p].mean()
        expected += 0.25 * ((y - p) ** 2 - y * (1 - y) / 99)
    assert found.squared_error == pytest.approx(expected)
    assert found.standard_error[0] == pytest.approx(
        np.sqrt(found.share[0] * (1 - found.share[0]) / 99)
    )


def test_debiased_ece_is_what_drawing_the_bins_anew_gives():
    random = np.random.default_rng(2)
    scores = random.random(500)
    labels = (random.random(500) < scores**1.5).astype(float)
    found = measure_reliability(labels, scores)
    gap = np.array(found.share) - found.mean_probability
    shares = np.array(found.images) / 500
    drawn = np.abs(random.normal(gap, found.standard_error, (200_000, len(gap)))) @ shares
    assert found.ece_debiased == pytest.approx(found.ece - (drawn.mean() - found.ece), abs=1e-4)


def simulated(random, *, images, distortion):
    scores = random.random(images)
    return (random.random(images) < scores**distortion).astype(float), scores


@pytest.mark.parametrize(("distortion", "truth"), [(1.0, 0.0), (2.0, 1 / 30)])
def test_the_squared_error_is_right_on_average_and_the_plain_one_too_large(distortion, truth):
    """The mean square of p - p^2 is 1/30; binning takes a little from it."""
    random = np.random.default_rng(3)
    results = [
        measure_reliability(*simulated(random, images=200, distortion=distortion))
        for _ in range(400)
    ]
    errors = [each.squared_error for each in results]
    monte_carlo = np.std(errors) / np.sqrt(len(errors))
    assert np.mean(errors) == pytest.approx(truth, abs=4 * monte_carlo + 0.0005)
    plain = np.mean([each.ece for each in results])
    debiased = np.mean([each.ece_debiased for each in results])
    true_ece = 0.0 if distortion == 1 else 1 / 6
    assert abs(debiased - true_ece) < abs(plain - true_ece) or plain < true_ece + 0.01


def test_images_of_one_patient_do_not_count_as_many():
    random = np.random.default_rng(4)
    scores = np.repeat(random.random(100), 5)
    labels = np.repeat((random.random(100) < scores[::5]).astype(float), 5)
    alone = measure_reliability(labels, scores)
    by_patient = measure_reliability(labels, scores, np.arange(500) // 5)
    assert by_patient.ece == alone.ece
    assert by_patient.ece_debiased < alone.ece_debiased
    assert min(np.array(by_patient.standard_error) / alone.standard_error) > 1.5


def test_nothing_to_compare_is_none_and_one_patient_has_no_error():
    assert measure_reliability([1, 1, NAN], [0.1, 0.2, 0.3]) is None
    found = measure_reliability([0, 1, 1], [0.1, 0.2, 0.3], ["a", "a", "a"])
    assert (found.standard_error, found.ece_debiased, found.squared_error) == ((None,), None, None)
    with pytest.raises(InvalidValueError, match="one finding"):
        measure_reliability(np.eye(2), np.eye(2))


def test_a_diagram_survives_json():
    found = measure_reliability(*simulated(np.random.default_rng(5), images=100, distortion=1))
    assert Reliability.from_json(json.loads(json.dumps(found.to_json()))) == found
