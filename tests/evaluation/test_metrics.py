"""The AUC is exact: scikit-learn's value, the pairwise win rate, and NaN where undefined."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as reference

from hilum.errors import InvalidValueError
from hilum.evaluation import any_finding, mean_auroc, roc_auc_score, roc_curve

NAN = float("nan")
shapes = st.tuples(st.integers(1, 30), st.integers(1, 4))
# Few distinct values, so that ties are the rule.
tied = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0])
smooth = st.floats(0, 1, allow_subnormal=False)


@st.composite
def tables(draw, *, values=tied | smooth, known=False):
    """Labels and scores of one shape."""
    shape = draw(shapes)
    marks = st.sampled_from([0.0, 1.0] if known else [0.0, 1.0, NAN])
    labels = draw(hnp.arrays(np.float64, shape, elements=marks))
    return labels, draw(hnp.arrays(np.float64, shape, elements=values))


def sklearn_auroc(labels, scores):
    known = ~np.isnan(labels)
    if len(np.unique(labels[known])) < 2:
        return NAN
    return reference.roc_auc_score(labels[known], scores[known])


@settings(deadline=None)
@given(tables())
def test_each_finding_equals_sklearn_on_its_known_labels(table):
    labels, scores = table
    expected = [sklearn_auroc(y, s) for y, s in zip(labels.T, scores.T, strict=True)]
    np.testing.assert_allclose(roc_auc_score(labels, scores), expected, rtol=0, atol=1e-12)


@settings(deadline=None)
@given(tables(values=tied))
def test_auroc_is_the_pairwise_win_rate_with_ties_as_half(table):
    labels, scores = table
    for y, s, auroc in zip(labels.T, scores.T, roc_auc_score(labels, scores), strict=True):
        gaps = s[y == 1][:, None] - s[y == 0][None, :]
        wins = np.where(gaps > 0, 1.0, np.where(gaps == 0, 0.5, 0.0))
        assert (auroc == wins.mean()) if wins.size else math.isnan(auroc)


def test_large_random_input_equals_sklearn():
    random = np.random.default_rng(7)
    labels = (random.random((5000, 3)) < (0.5, 0.01, 0.9)).astype(float)
    scores = random.random((5000, 3)).round(2)
    expected = [sklearn_auroc(y, s) for y, s in zip(labels.T, scores.T, strict=True)]
    np.testing.assert_allclose(roc_auc_score(labels, scores), expected, rtol=0, atol=1e-12)


@settings(deadline=None)
@given(tables(values=tied))
def test_masking_equals_dropping(table):
    labels, scores = table
    for k, auroc in enumerate(roc_auc_score(labels, scores)):
        kept = ~np.isnan(labels[:, k])
        np.testing.assert_equal(auroc, roc_auc_score(labels[kept, k], scores[kept, k])[0])


@settings(deadline=None)
@given(tables(values=tied, known=True))
def test_reversing_the_scores_mirrors_the_auroc(table):
    labels, scores = table
    np.testing.assert_allclose(
        roc_auc_score(labels, -scores), 1 - roc_auc_score(labels, scores), rtol=0, atol=1e-12
    )


def test_order_of_images_does_not_matter():
    random = np.random.default_rng(0)
    labels, scores = random.integers(0, 2, 200).astype(float), random.random(200).round(1)
    order = random.permutation(200)
    np.testing.assert_equal(
        roc_auc_score(labels[order], scores[order]), roc_auc_score(labels, scores)
    )


@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 1, 1], [NAN, NAN, NAN], [NAN, 1, 1]])
def test_one_label_value_is_undefined_not_one_half(labels):
    auroc = roc_auc_score(labels, [0.1, 0.2, 0.3])
    assert auroc.shape == (1,)
    assert math.isnan(auroc[0])
    assert roc_curve(labels, [0.1, 0.2, 0.3]) is None


def test_no_images_are_undefined():
    assert np.isnan(roc_auc_score(np.zeros((0, 3)), np.zeros((0, 3)))).all()


def test_lists_with_none_and_tensors_are_read():
    expected = roc_auc_score(np.array([[0, NAN], [1, 0], [1, 1]]), np.arange(6).reshape(3, 2))
    listed = roc_auc_score([[0, None], [1, 0], [1, 1]], [[0, 1], [2, 3], [4, 5]])
    tensors = roc_auc_score(
        torch.tensor([[0, NAN], [1, 0], [1, 1]]), torch.arange(6, dtype=torch.float32).view(3, 2)
    )
    np.testing.assert_equal(listed, expected)
    np.testing.assert_equal(tensors, expected)


@pytest.mark.parametrize(
    ("labels", "scores", "words"),
    [
        ([0, 1], [0.1, 0.2, 0.3], r"scores must be of shape \(2,\)"),
        ([0, 2], [0.1, 0.2], "labels must be 0, 1 or NaN"),
        ([0, 0.5], [0.1, 0.2], "labels must be 0, 1 or NaN"),
        ([0, 1], [0.1, NAN], "scores must be finite"),
        ([0, 1], [0.1, math.inf], "scores must be finite"),
        ([[[0]]], [[[0.5]]], r"labels must be \(image, finding\)"),
        ([[0], [1, 0]], [0.1, 0.2], "labels must be numbers in a rectangle"),
        (["a", "b"], [0.1, 0.2], "labels must be numbers"),
        ([0, 1], torch.tensor([0.1, 0.2], requires_grad=True), "detached"),
    ],
)
def test_bad_input_is_named(labels, scores, words):
    with pytest.raises(InvalidValueError, match=words):
        roc_auc_score(labels, scores)


def test_mean_is_over_the_defined_findings():
    assert mean_auroc([0.5, NAN, 0.9]) == pytest.approx(0.7)
    assert math.isnan(mean_auroc([NAN, NAN]))
    assert math.isnan(mean_auroc([]))


@settings(deadline=None)
@given(tables(known=True))
def test_roc_curve_is_sklearns_and_its_area_is_the_auroc(table):
    labels, scores = table
    y, s = labels[:, 0], scores[:, 0]
    curve = roc_curve(y, s)
    if curve is None:
        assert len(set(y)) < 2
        return
    fpr, tpr, thresholds = reference.roc_curve(y, s)
    assert (curve.fpr, curve.tpr) == (tuple(fpr), tuple(tpr))
    assert curve.thresholds == tuple(thresholds)
    assert np.trapezoid(curve.tpr, curve.fpr) == pytest.approx(roc_auc_score(y, s)[0], abs=1e-12)


def test_thinned_curve_keeps_its_ends_and_nearly_its_area():
    random = np.random.default_rng(1)
    labels = random.integers(0, 2, 5000)
    curve = roc_curve(labels, random.normal(size=5000) + labels)
    thin = curve.thinned(500)
    assert len(thin.fpr) == 500
    assert (thin.fpr[0], thin.tpr[0], thin.fpr[-1], thin.tpr[-1]) == (0, 0, 1, 1)
    area, thin_area = np.trapezoid(curve.tpr, curve.fpr), np.trapezoid(thin.tpr, thin.fpr)
    assert thin_area == pytest.approx(area, abs=2e-3)
    assert curve.thinned(10**6) == curve
    with pytest.raises(InvalidValueError, match="max_points"):
        curve.thinned(1)


def test_roc_curve_takes_one_finding():
    with pytest.raises(InvalidValueError, match="one finding"):
        roc_curve([[0, 1], [1, 0]], [[0.1, 0.2], [0.3, 0.4]])


def test_any_finding_is_positive_negative_or_unknown():
    labels = [[1, NAN], [0, NAN], [0, 0], [NAN, NAN], [1, 0]]
    folded, _ = any_finding(labels, np.full((5, 2), 0.5))
    np.testing.assert_equal(folded, [1, NAN, 0, NAN, 1])


def test_any_finding_leaves_out_findings_nobody_looked_for():
    labels, scores = [[1, NAN], [0, NAN]], [[0.8, 0.9], [0.1, 0.9]]
    folded, score = any_finding(labels, scores)
    np.testing.assert_equal(folded, [1, 0])
    np.testing.assert_allclose(score, [0.8, 0.1])


def test_any_finding_without_any_label_is_unknown():
    folded, score = any_finding([[NAN, NAN]], [[0.3, 0.4]])
    assert np.isnan(folded).all()
    assert score.tolist() == [0.0]


@settings(deadline=None)
@given(hnp.arrays(np.float64, shapes, elements=st.floats(0, 1)))
def test_any_finding_score_is_one_minus_the_product(scores):
    _, score = any_finding(np.zeros(scores.shape), scores)
    np.testing.assert_allclose(score, 1 - np.prod(1 - scores, axis=1), rtol=0, atol=1e-12)
    assert ((score >= 0) & (score <= 1)).all()


def test_any_finding_needs_probabilities():
    with pytest.raises(InvalidValueError, match="sigmoid"):
        any_finding([[0, 1]], [[-2.0, 3.0]])
