"""Label agreement: scikit-learn's figures, and NIH's labels against those of radiologists."""

import json

import numpy as np
import pytest
from sklearn import metrics as reference

from hilum.errors import InvalidValueError
from hilum.evaluation.label_noise import label_agreement, read_google

HEADER = "Image Index,Finding Labels,Patient ID,Fracture,Pneumothorax,Nodule or mass\n"


def test_figures_are_scikit_learns_on_the_images_known_to_both():
    random = np.random.default_rng(0)
    truth = (random.random(300) < 0.3).astype(float)
    given = np.where(random.random(300) < 0.2, 1 - truth, truth)
    given[:20], truth[10:30] = np.nan, np.nan
    known = ~np.isnan(given) & ~np.isnan(truth)
    found = label_agreement(["Mass"], given, truth, num_resamples=200)["Mass"]
    g, t = given[known], truth[known]
    assert found.images == known.sum()
    assert found.ppv == pytest.approx(reference.precision_score(t, g))
    assert found.sensitivity == pytest.approx(reference.recall_score(t, g))
    assert found.kappa == pytest.approx(reference.cohen_kappa_score(t, g))
    for name in ("ppv", "sensitivity", "kappa"):
        low, high = getattr(found, f"{name}_ci95")
        assert low < getattr(found, name) < high


def test_intervals_are_over_patients():
    random = np.random.default_rng(1)
    truth = (random.random(100) < 0.5).astype(float)
    given = np.where(random.random(100) < 0.2, 1 - truth, truth)
    alone = label_agreement(["A"], given, truth, num_resamples=400)["A"].kappa_ci95
    given, truth = np.repeat(given, 4), np.repeat(truth, 4)
    owners = np.repeat(np.arange(100), 4)
    grouped = label_agreement(["A"], given, truth, patient_ids=owners, num_resamples=400)["A"]
    assert grouped.kappa_ci95 == pytest.approx(alone, abs=1e-12)


def test_what_cannot_be_said_is_none():
    found = label_agreement(["A"], [0, 0, 0], [0, 0, 0])["A"]
    assert (found.ppv, found.sensitivity, found.kappa, found.kappa_ci95) == (None,) * 4
    assert json.loads(found.to_json())["neither"] == 3


def test_several_nih_findings_count_as_one_adjudicated_one(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text(
        HEADER
        + "a.png,Mass|Hernia,1,NO,NO,YES\nb.png,No Finding,2,NO,YES,NO\nc.png,Nodule,2,NO,,NO\n"
    )
    table = read_google(path)
    assert table.findings == ("Pneumothorax", "Nodule or mass")
    assert table.given.tolist() == [[0, 1], [0, 0], [0, 1]]
    np.testing.assert_equal(table.reference, [[0, 1], [1, 0], [np.nan, 0]])
    assert table.patient_ids == ("1", "2", "2")
    path.write_text(HEADER + "a.png,Mass,1,NO,MAYBE,YES\n")
    with pytest.raises(InvalidValueError, match="MAYBE"):
        read_google(path)
    path.write_text("Image Index\n")
    with pytest.raises(InvalidValueError, match="Nodule or mass"):
        read_google(path)


def test_nih_labels_against_adjudicated_ones_of_real_radiographs(real_data):
    table = read_google(real_data / "nih-labels" / "google2019_nih-chest-xray-labels.csv.gz")
    assert len(table.file_names) == 4376
    found = label_agreement(
        table.findings,
        table.given,
        table.reference,
        patient_ids=table.patient_ids,
        num_resamples=300,
    )
    pneumothorax, nodule = found["Pneumothorax"], found["Nodule or mass"]
    assert (round(pneumothorax.ppv, 2), round(pneumothorax.sensitivity, 2)) == (0.46, 0.46)
    assert (round(nodule.ppv, 2), round(nodule.sensitivity, 2)) == (0.56, 0.42)
    assert pneumothorax.kappa_ci95[0] < pneumothorax.kappa < pneumothorax.kappa_ci95[1] < 0.6
