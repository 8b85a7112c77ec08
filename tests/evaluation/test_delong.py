"""DeLong's variance is that of the published formula, and its interval covers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from hilum.errors import InvalidValueError
from hilum.evaluation.delong import delong_interval, delong_variance, structural_components

NAN = float("nan")


def by_the_formula(labels, scores):
    """Equations 4 to 6 of DeLong 1988, pair by pair."""
    x, y = scores[labels == 1], scores[labels == 0]
    kernel = (x[:, None] > y).astype(float) + 0.5 * (x[:, None] == y)
    return kernel.mean(axis=1), kernel.mean(axis=0)


pairs = st.lists(
    st.tuples(st.sampled_from([0.0, 1.0, NAN]), st.integers(0, 6).map(lambda k: k / 6)),
    min_size=1,
    max_size=40,
).map(lambda rows: np.array(rows).T)


@given(pairs)
@settings(max_examples=100, deadline=None)
def test_components_are_those_of_the_published_formula(table):
    labels, scores = table
    if len({*labels[~np.isnan(labels)]}) < 2:
        assert [part.size for part in structural_components(labels, scores)] == [0, 0]
        return
    found = structural_components(labels, scores)
    for part, expected in zip(found, by_the_formula(labels, scores), strict=True):
        np.testing.assert_allclose(part, expected, atol=1e-12)
        known = ~np.isnan(labels)
        assert part.mean() == pytest.approx(reference.roc_auc_score(labels[known], scores[known]))


def test_variance_agrees_with_the_jackknife():
    random = np.random.default_rng(0)
    labels = (random.random(400) < 0.3).astype(float)
    scores = labels + random.normal(size=400)
    auroc, variance = delong_variance(labels, scores)
    kept = ~np.eye(400, dtype=bool)
    left_out = np.array([reference.roc_auc_score(labels[k], scores[k]) for k in kept])
    jackknife = 399 / 400 * ((left_out - left_out.mean()) ** 2).sum()
    assert auroc == pytest.approx(reference.roc_auc_score(labels, scores))
    assert variance == pytest.approx(jackknife, rel=0.02)


def test_interval_covers_the_truth_of_independent_images():
    random = np.random.default_rng(5)
    truth, covered, rounds = 0.7602, 0, 1500  # P(N(1, 1) > N(0, 1)) = Phi(1 / sqrt 2)
    labels = np.repeat([1.0, 0.0], [30, 120])
    for _ in range(rounds):
        low, high = delong_interval(labels, labels + random.normal(size=150))
        covered += low <= truth <= high
    assert 0.93 <= covered / rounds <= 0.97  # Monte Carlo error at 95 %: 0.6 points


def test_interval_narrows_with_images_and_widens_with_confidence():
    random = np.random.default_rng(1)
    labels = (random.random(800) < 0.4).astype(float)
    scores = labels + random.normal(size=800)
    few = delong_interval(labels[:100], scores[:100])
    many, surer = delong_interval(labels, scores), delong_interval(labels, scores, confidence=0.99)
    assert many[1] - many[0] < few[1] - few[0]
    assert surer[0] < many[0] < many[1] < surer[1]


@pytest.mark.parametrize(
    ("labels", "scores"),
    [
        ([], []),
        ([1, 1, NAN], [0.1, 0.2, 0.3]),
        ([1, 0, 0], [0.3, 0.2, 0.4]),  # one positive: no variance among positives
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]),  # perfect: a variance of 0 would say too much
    ],
)
def test_no_interval_where_there_is_nothing_to_estimate_it_from(labels, scores):
    assert delong_interval(labels, scores) is None


def test_several_findings_at_once_and_a_wrong_confidence_are_refused():
    with pytest.raises(InvalidValueError, match="one finding"):
        structural_components(np.zeros((3, 2)), np.zeros((3, 2)))
    with pytest.raises(InvalidValueError, match="confidence"):
        delong_interval([0, 1], [0.1, 0.2], confidence=95)
