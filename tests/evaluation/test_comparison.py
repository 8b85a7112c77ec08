"""Paired tests: equal to published forms, calibrated under no difference, and symmetric."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hilum.errors import InvalidValueError
from hilum.evaluation import auroc_intervals
from hilum.evaluation.comparison import adjusted, compare, paired_delong
from hilum.evaluation.comparison_result import Comparison


def correlated(random, *, images=200, shift=0.0, prevalence=0.3):
    """Labels and the probabilities of two models that share much of their noise."""
    labels = (random.random(images) < prevalence).astype(float)
    shared = random.normal(size=images)
    a = labels + shared + 0.7 * random.normal(size=images)
    b = (1 + shift) * labels + shared + 0.7 * random.normal(size=images)
    return labels, stats.norm.cdf(a), stats.norm.cdf(b)


def delong_of_1988(labels, a, b):
    """The paper's own form: the kernel of every pair written out, covariances by numpy."""
    kernels = [np.heaviside(s[labels == 1][:, None] - s[labels == 0][None, :], 0.5) for s in (a, b)]
    s10 = np.cov([kernel.mean(axis=1) for kernel in kernels])
    s01 = np.cov([kernel.mean(axis=0) for kernel in kernels])
    m, n = kernels[0].shape
    contrast = np.array([-1.0, 1.0])
    variance = contrast @ (s10 / m + s01 / n) @ contrast
    difference = kernels[1].mean() - kernels[0].mean()
    return difference, 2 * stats.norm.sf(abs(difference) / math.sqrt(variance))


@pytest.mark.parametrize("digits", [1, 12])
def test_independent_images_give_the_test_of_delong_1988(digits):
    random = np.random.default_rng(3)
    labels, a, b = correlated(random, shift=0.4)
    a, b = a.round(digits), b.round(digits)
    found = paired_delong(labels, a, b)
    assert found == pytest.approx(delong_of_1988(labels, a, b), abs=1e-12)
    one_each = paired_delong(labels, a, b, [f"p{i}" for i in range(len(labels))])
    assert one_each == pytest.approx(found, abs=1e-12)


def test_unknown_labels_are_left_out():
    random = np.random.default_rng(4)
    labels, a, b = correlated(random)
    known = random.random(labels.size) < 0.8
    masked = np.where(known, labels, np.nan)
    expected = delong_of_1988(labels[known], a[known], b[known])
    assert paired_delong(masked, a, b) == pytest.approx(expected, abs=1e-12)


def p_values_without_a_difference(*, copies):
    random = np.random.default_rng(0)
    plain, clustered = [], []
    for _ in range(300):
        labels, a, b = correlated(random, images=120)
        labels, a, b = (np.repeat(column, copies) for column in (labels, a, b))
        plain.append(paired_delong(labels, a, b)[1])
        clustered.append(paired_delong(labels, a, b, np.repeat(np.arange(120), copies))[1])
    return plain, clustered


def test_p_is_uniform_where_there_is_no_difference():
    plain, clustered = p_values_without_a_difference(copies=1)
    assert stats.kstest(plain, "uniform").pvalue > 0.01
    np.testing.assert_allclose(plain, clustered, atol=1e-12)


def test_p_is_uniform_with_several_images_a_patient_only_when_patients_are_given():
    plain, clustered = p_values_without_a_difference(copies=4)
    assert stats.kstest(clustered, "uniform").pvalue > 0.01
    assert np.mean(np.array(plain) < 0.05) > 0.15, "copies of an image are no new evidence"


def test_the_bootstrap_rejects_a_true_null_about_as_often_as_it_says():
    random = np.random.default_rng(1)
    p_values = []
    for seed in range(150):
        labels, a, b = correlated(random, images=100)
        result = compare(["A"], labels, a, b, num_resamples=200, seed=seed)
        p_values.append(result.mean.p_bootstrap)
    assert 0.01 <= np.mean(np.array(p_values) < 0.05) <= 0.11


@given(st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_swapping_the_models_flips_the_sign_and_keeps_p(seed, digits):
    random = np.random.default_rng(seed)
    labels, a, b = correlated(random, images=30)
    a, b = a.round(digits), b.round(digits)
    there, back = (
        compare(["A"], labels, *pair, num_resamples=20).findings["A"] for pair in ((a, b), (b, a))
    )
    if there.difference is None:
        assert back.difference is None
        return
    assert back.difference == -there.difference
    assert back.p_value == pytest.approx(there.p_value, abs=1e-12)
    assert back.p_bootstrap == there.p_bootstrap
    if there.ci95:
        assert back.ci95 == pytest.approx((-there.ci95[1], -there.ci95[0]), abs=1e-12)


@given(st.integers(0, 2**32 - 1))
def test_a_model_does_not_differ_from_itself(seed):
    labels, a, _ = correlated(np.random.default_rng(seed), images=40)
    result = compare(["A"], labels, a, a, num_resamples=20)
    for row in (result.findings["A"], result.mean, result.any_finding):
        assert row.difference in (0.0, None)
        if row.difference is not None:
            assert (row.p_value, row.ci95, row.p_bootstrap) == (1.0, (0.0, 0.0), 1.0)


@pytest.fixture(scope="module")
def several():
    random = np.random.default_rng(5)
    columns = [correlated(random, images=300, shift=shift) for shift in (0.0, 1.5, 0.3)]
    labels, a, b = (np.stack(part, axis=1) for part in zip(*columns, strict=True))
    labels = np.column_stack([labels, np.zeros(300)])  # a finding nobody has
    a, b = (np.column_stack([scores, np.full(300, 0.5)]) for scores in (a, b))
    return compare(
        ["Same", "Better", "Little", "Absent"], labels, a, b, patient_ids=np.arange(300) // 2
    )


def test_a_real_difference_is_found_and_signed(several):
    better = several.findings["Better"]
    assert better.difference == better.auroc_b - better.auroc_a > 0
    assert better.ci95[0] > 0
    assert better.p_adjusted < 0.01
    assert "Better" in several.different()
    assert "Same" not in several.different()
    assert several.num_patients == 150


def test_undefined_findings_stay_out_of_mean_and_correction(several):
    absent = several.findings["Absent"]
    assert (absent.difference, absent.p_value, absent.p_adjusted, absent.ci95) == (None,) * 4
    p_values = [several.findings[name].p_value for name in ("Same", "Better", "Little")]
    corrected = [several.findings[name].p_adjusted for name in ("Same", "Better", "Little")]
    assert corrected == adjusted(p_values, "holm")
    defined = [row.difference for row in several.findings.values() if row.difference is not None]
    assert several.mean.difference == pytest.approx(np.mean(defined))
    assert several.mean.p_adjusted is None


def test_the_interval_of_a_difference_is_narrower_than_that_of_either_auc():
    labels, a, b = correlated(np.random.default_rng(2), images=400)
    b = 0.9 * a + 0.1 * b
    low, high = compare(["A"], labels, a, b, num_resamples=300).findings["A"].ci95
    alone = auroc_intervals(labels, a, num_resamples=300).findings[0]
    assert high - low < 0.5 * (alone[1] - alone[0])


def test_a_comparison_comes_back_from_json_unchanged(several):
    assert Comparison.from_json(several.to_json()) == several
    with pytest.raises(InvalidValueError, match="hilum compare"):
        Comparison.from_json("{}")
    lines = several.to_csv().splitlines()
    assert lines[0].startswith("finding,auroc_a,auroc_b,difference,p_value")
    assert len(lines) == 1 + 4 + 2
    assert lines[4].startswith("Absent,,,,")


def test_holm_is_the_textbooks():
    # Holm, Scandinavian Journal of Statistics 6 (1979): smallest p times m, next times m - 1 ...
    assert adjusted([0.01, 0.04, 0.03, 0.005], "holm") == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert adjusted([0.5, 0.9], "holm") == [1.0, 1.0]
    assert adjusted([], "holm") == []


def test_benjamini_hochberg_is_scipys():
    p_values = [0.01, 0.04, 0.03, 0.005]
    expected = stats.false_discovery_control(p_values).tolist()
    assert adjusted([*p_values, None], "benjamini-hochberg") == [*expected, None]
    assert adjusted([None], "benjamini-hochberg") == [None]


def test_one_patient_of_a_kind_has_no_p_value():
    labels = [1, 1, 0, 0, 0]
    a, b = [0.9, 0.3, 0.5, 0.4, 0.1], [0.8, 0.7, 0.6, 0.2, 0.3]
    difference, p_value = paired_delong(labels, a, b, ["x", "x", "u", "v", "w"])
    assert difference != 0
    assert math.isnan(p_value)


def test_a_difference_without_spread_has_no_p_value():
    difference, p_value = paired_delong([1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1])
    assert difference == -1
    assert math.isnan(p_value)


def test_what_does_not_fit_together_is_named():
    with pytest.raises(InvalidValueError, match="scores"):
        compare(["A"], [0, 1], [0.1, 0.2], [0.1, 0.2, 0.3])
    with pytest.raises(InvalidValueError, match="2 different names"):
        compare(["A"], [[0, 1]], [[0.1, 0.2]], [[0.1, 0.2]])
    with pytest.raises(InvalidValueError, match="correction"):
        adjusted([0.1], "bonferroni")
