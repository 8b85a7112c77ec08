"""Published values are whole, add up to the means their papers print, and come with a warning."""

import numpy as np
import pytest

from hilum.evaluation import evaluate
from hilum.evaluation.forest import ForestRow, Reference, plot_forest
from hilum.evaluation.published import (
    PUBLISHED,
    comparison_warnings,
    is_official_split,
    published_for,
)
from hilum.findings import FINDINGS


def make_evaluation(images=40, patients=20, names=FINDINGS):
    random = np.random.default_rng(0)
    labels = np.tile((np.arange(images) % 2)[:, None], (1, len(names)))
    scores = random.random(labels.shape)
    ids = np.arange(images) % patients
    return evaluate(list(names), labels, scores, patient_ids=ids, num_resamples=0)


@pytest.mark.parametrize("result", PUBLISHED, ids=lambda result: result.key)
def test_values_per_finding_average_to_the_printed_mean(result):
    assert result.citation
    assert result.source
    if result.aurocs:
        assert tuple(result.aurocs) == FINDINGS
        assert np.mean(list(result.aurocs.values())) == pytest.approx(result.mean_auroc, abs=6e-4)


def test_the_three_scales_are_kept_apart():
    splits = {result.key: result.split for result in PUBLISHED}
    assert splits["Wang 2017"] == splits["Xiao 2023"] == "official"
    assert splits["CheXNet 2017"] == splits["Yao 2017"] == "patient"
    assert splits["White paper 2019"] == "image"


def test_another_split_is_warned_of():
    evaluation = make_evaluation()
    assert not is_official_split(evaluation)
    told = " ".join(comparison_warnings(evaluation))
    assert "40 radiographs of 20 patients" in told
    assert "no value here ranks this model" in told


def test_the_official_split_is_known_by_its_counts():
    evaluation = make_evaluation(images=25_596, patients=2_797, names=("Mass",))
    assert is_official_split(evaluation)
    told = " ".join(comparison_warnings(evaluation))
    assert "comparable: Wang 2017" in told
    assert "Not comparable, tested on other splits: Yao 2017, CheXNet 2017" in told
    assert "over 1 scored findings" in told


def test_other_findings_have_nothing_published():
    assert published_for(make_evaluation(names=("Fracture",))) == ()
    assert published_for(make_evaluation()) == PUBLISHED


def test_forest_rows_say_value_interval_and_other_results():
    rows = [
        ForestRow(label="Mass", value=0.8, interval=(0.7, 0.9), others={"A": 0.75}),
        ForestRow(label="Hernia", note="undefined: none of 9 has it"),
        ForestRow(label="sex", heading=True),
    ]
    figure = plot_forest(rows, references=[Reference(key="A", label="A 2017", hollow=True)])
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["Mass", "Hernia", "sex"]
    notes = [text.get_text() for text in axes.texts]
    assert notes == ["0.80 (0.70 to 0.90)", "undefined: none of 9 has it"]
    drawn = {tuple(line.get_xdata()) for line in axes.lines}
    assert {(0.8,), (0.75,), (0.7, 0.9)} <= drawn
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first row is on top
