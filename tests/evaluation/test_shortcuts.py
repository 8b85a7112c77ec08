"""Probes find what is in the features and nothing else; within an attribute it cannot help."""

import numpy as np
import pytest

from hilum.errors import InvalidValueError
from hilum.evaluation import roc_auc_score
from hilum.evaluation.shortcuts import probe, within_attribute


@pytest.fixture(scope="module")
def features():
    """300 images of 150 patients; the view shifts two of 20 features."""
    random = np.random.default_rng(0)
    view = np.where(random.random(300) < 0.3, "AP", "PA").astype(object)
    values = random.normal(size=(300, 20))
    values[view == "AP", :2] += 1.5
    return values, view, np.arange(300) // 2


def test_what_is_in_the_features_is_found(features):
    values, view, owners = features
    (found,) = probe(values, view, patient_ids=owners, num_resamples=100)
    assert found.value == "AP"
    assert found.auroc > 0.85
    assert found.auroc_ci95[0] > 0.75
    assert found.images + found.others == 300


def test_what_is_not_there_is_not_found(features):
    values, view, owners = features
    random = np.random.default_rng(1)
    (found,) = probe(values, random.permutation(view), patient_ids=owners, num_resamples=100)
    assert found.auroc_ci95[0] < 0.5 < found.auroc_ci95[1]


def test_a_patients_own_traits_are_not_taken_for_the_attribute():
    """Every patient has features of their own and one sex: only patients apart tell the truth."""
    random = np.random.default_rng(2)
    owners = np.repeat(np.arange(60), 8)
    values = random.normal(size=(60, 40))[owners] + 0.01 * random.normal(size=(480, 40))
    sex = random.permutation(np.repeat(["F", "M"], 30))[owners]
    by_patient = probe(values, sex, patient_ids=owners, num_resamples=0)[0]
    by_image = probe(values, sex, num_resamples=0)[0]
    assert by_image.auroc > 0.7, "images of a patient are told apart by heart"
    assert abs(by_patient.auroc - 0.5) < 0.2


def test_of_more_than_two_values_each_is_probed_and_unknown_is_left_out(features):
    values, _, owners = features
    source = np.array(["a", "b", "c", None], dtype=object)[np.arange(300) // 2 % 4]
    found = probe(values, source, patient_ids=owners, num_resamples=0)
    assert sorted(entry.value for entry in found) == ["a", "b", "c"]
    assert all(entry.images + entry.others == sum(v is not None for v in source) for entry in found)


def test_within_a_view_a_model_of_the_view_alone_is_guessing():
    random = np.random.default_rng(3)
    view = np.where(random.random(2000) < 0.5, "AP", "PA")
    labels = (random.random(2000) < np.where(view == "AP", 0.4, 0.1)).astype(float)
    scores = np.where(view == "AP", 0.8, 0.2) + 0.01 * random.random(2000)
    row = within_attribute(["Edema"], labels, scores, view, num_resamples=200)["Edema"]
    assert row.overall == roc_auc_score(labels, scores)[0]
    assert row.overall > 0.65
    assert row.alone == pytest.approx(roc_auc_score(labels, view == "AP")[0])
    for value in ("AP", "PA"):
        low, high = row.within_ci95[value]
        assert low < 0.5 < high
        assert row.within[value] == roc_auc_score(labels[view == value], scores[view == value])[0]


def test_impossible_probes_are_refused(features):
    values, view, owners = features
    with pytest.raises(InvalidValueError, match="different values"):
        probe(values, ["PA"] * 300)
    with pytest.raises(InvalidValueError, match="5 patients"):
        probe(values, ["AP"] * 4 + ["PA"] * 296)
    with pytest.raises(InvalidValueError, match="one an image"):
        probe(values, view[:10], patient_ids=owners)
    with pytest.raises(InvalidValueError, match="finite"):
        probe(values * np.nan, view)
