"""Subgroups: each is what the plain functions give on its images, and gaps are seen."""

import numpy as np
import pytest

from hilum.errors import InvalidValueError
from hilum.evaluation import auroc_intervals, mean_auroc, roc_auc_score
from hilum.evaluation.subgroup_result import Contrast, Subgroups
from hilum.evaluation.subgroups import age_bands, finding_count_bands, subgroups

NAMES = ["Mass", "Edema", "Hernia"]


@pytest.fixture(scope="module")
def data():
    """A model that sees masses in women only; nobody has a hernia."""
    random = np.random.default_rng(0)
    images = 600
    owners = np.arange(images) // 2
    sex = np.array(["F", "M", None], dtype=object)[owners % 3]
    labels = (random.random((images, 3)) < 0.4).astype(float)
    labels[:, 2] = 0
    labels[random.random(labels.shape) < 0.05] = np.nan
    signal = np.nan_to_num(labels)
    signal[sex == "M", 0] = 0
    scores = 1 / (1 + np.exp(-(2 * signal - 1 + random.normal(size=labels.shape))))
    return labels, scores, owners, sex


@pytest.fixture(scope="module")
def result(data):
    labels, scores, owners, sex = data
    return subgroups(
        NAMES,
        labels,
        scores,
        {"sex": sex, "half": ["a", "b"] * 300},
        patient_ids=owners,
        thresholds={"Mass": 0.5},
        num_resamples=200,
    )


def test_each_group_is_measured_as_if_it_were_alone(data, result):
    labels, scores, owners, sex = data
    women = result.columns["sex"]["F"]
    chosen = sex == "F"
    aurocs = roc_auc_score(labels[chosen], scores[chosen])
    intervals = auroc_intervals(labels[chosen], scores[chosen], owners[chosen], num_resamples=200)
    for k, name in enumerate(NAMES[:2]):
        assert women.findings[name].auroc.value == aurocs[k]
        assert women.findings[name].auroc.ci95 == intervals.findings[k]
    assert women.mean_auroc.value == pytest.approx(mean_auroc(aurocs))
    assert (women.images, women.patients) == (200, 100)
    assert women.findings["Hernia"].auroc == Contrast(
        value=None, ci95=None, rest=None, rest_ci95=None
    )


def test_of_two_groups_each_is_the_others_rest_and_unknown_is_in_neither(result):
    women, men = result.columns["sex"]["F"], result.columns["sex"]["M"]
    assert list(result.columns["sex"]) == ["F", "M"]
    assert women.findings["Mass"].auroc.rest == men.findings["Mass"].auroc.value
    assert women.mean_auroc.rest == men.mean_auroc.value
    assert women.findings_compared == 2


def test_a_gap_is_flagged_and_chance_is_not(result):
    flagged = {row[:4] for row in result.gaps()}
    assert ("sex", "M", "Mass", "auroc") in flagged
    assert ("sex", "M", "Mass", "sensitivity") in flagged
    assert not {row for row in flagged if row[0] == "half" or row[2] == "Edema"}


def test_sensitivity_and_specificity_are_shares_at_the_threshold(data, result):
    labels, scores, _, sex = data
    mass = result.columns["sex"]["M"].findings["Mass"]
    y, called = labels[sex == "M", 0], scores[sex == "M", 0] >= 0.5
    assert mass.sensitivity.value == called[y == 1].mean()
    assert mass.specificity.value == (~called[y == 0]).mean()
    low, high = mass.sensitivity.ci95
    assert low < mass.sensitivity.value < high
    assert result.columns["sex"]["M"].findings["Edema"].sensitivity.value is None


def test_it_comes_back_from_json_and_has_a_csv_row_per_figure(result):
    assert Subgroups.from_json(result.to_json()) == result
    lines = result.to_csv().splitlines()
    assert len(lines) == 1 + 4 * (1 + 3 + 2)
    with pytest.raises(InvalidValueError, match="subgroups"):
        Subgroups.from_json("[]")


def test_ages_fall_into_bands_whose_lower_end_is_included():
    ages = [0, 17.99, 18, 39, 40, 60, 80, 101, None, float("nan")]
    expected = ["0-17", "0-17", "18-39", "18-39", "40-59", "60-79", "80+", "80+", None, None]
    assert age_bands(ages) == expected


def test_findings_are_counted_only_where_all_labels_are_known():
    labels = [[0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [1, np.nan, 0, 0]]
    assert finding_count_bands(labels) == ["0", "1", "2", "3+", None]


def test_what_does_not_fit_is_named():
    pair = ([[0.0], [1.0]], [[0.1], [0.9]])
    with pytest.raises(InvalidValueError, match="'sex'"):
        subgroups(["A"], *pair, {"sex": ["F"]})
    with pytest.raises(InvalidValueError, match="thresholds"):
        subgroups(["A"], *pair, {}, thresholds={"B": 0.5})
    with pytest.raises(InvalidValueError, match="20 different values"):
        subgroups(["A"], [[0.0]] * 30, [[0.1]] * 30, {"id": list(range(30))})
