"""Cases are the extremes by rank; false calls are counted by what else is on the image."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.evaluation.cases import choose_cases, describe_case
from hilum.evaluation.cooccurrence import confusion_by_finding, thresholds_at_specificity

NAMES = ["Mass", "Pleural_Thickening"]


def make_table():
    labels = np.array([[1, 0], [1, 0], [0, 1], [0, 1], [0, 0], [0, 0]], dtype=float)
    scores = np.array(
        [[0.9, 0.01], [0.2, 0.02], [0.8, 0.09], [0.1, 0.015], [0.7, 0.05], [0.0, 0.04]]
    )
    return labels, scores


def test_surest_right_and_wrong_are_found_by_rank_not_by_score():
    labels, scores = make_table()
    cases = choose_cases(NAMES, labels, scores, per_kind=2, min_positives=0)
    hits = [case for case in cases if case.kind == "hit"]
    assert [(case.image, case.finding) for case in hits] == [(0, "Mass"), (2, "Pleural_Thickening")]
    assert hits[1].score == 0.09  # a small number, yet the highest of its finding
    first = choose_cases(NAMES, labels, scores, per_kind=1, min_positives=0)
    assert [(case.kind, case.image, case.finding) for case in first] == [
        ("hit", 0, "Mass"),
        ("false alarm", 2, "Mass"),
        ("miss", 3, "Pleural_Thickening"),
    ]


def test_no_image_comes_twice_and_no_patient_twice_within_a_kind():
    labels, scores = make_table()
    patients = ["a", "a", "a", "b", "b", "b"]
    cases = choose_cases(NAMES, labels, scores, patient_ids=patients, per_kind=3, min_positives=0)
    assert len({case.image for case in cases}) == len(cases)
    for kind in ("hit", "false alarm", "miss"):
        whose = [patients[case.image] for case in cases if case.kind == kind]
        assert len(set(whose)) == len(whose)


def test_rare_findings_are_passed_over_unless_all_are_rare():
    labels, scores = make_table()
    labels[3, 1] = 0
    cases = choose_cases(NAMES, labels, scores, min_positives=2)
    assert {case.finding for case in cases} == {"Mass"}
    assert choose_cases(NAMES, labels, scores, min_positives=50)


def test_cases_are_described_without_statistics():
    labels, scores = make_table()
    cases = choose_cases(NAMES, labels, scores, per_kind=1, min_positives=0)
    assert [describe_case(case) for case in cases] == [
        "Mass found: 0.90; 8 % of the images score higher.",
        "Mass called without the label: 0.80; 25 % of the images score higher.",
        "Pleural Thickening missed: 0.01, and 75 % of the images score higher.",
    ]


def test_nothing_known_gives_no_case():
    assert choose_cases(["Mass"], np.full((3, 1), np.nan), np.zeros((3, 1))) == []


def test_false_calls_are_counted_by_the_finding_that_is_there():
    labels, scores = make_table()
    table = confusion_by_finding(NAMES, labels, scores, {"Mass": 0.5, "Pleural_Thickening": None})
    pair = table.pairs["Mass", "Pleural_Thickening"]
    assert (pair.images, pair.called, pair.rate) == (2, 1, 0.5)
    assert (table.clear["Mass"].images, table.clear["Mass"].called) == (2, 1)
    assert "Pleural_Thickening" not in table.clear


def test_unknown_is_neither_absent_nor_present():
    labels, scores = make_table()
    labels[2] = [np.nan, 1]
    labels[4] = [0, np.nan]
    table = confusion_by_finding(NAMES, labels, scores, {"Mass": 0.5})
    assert table.pairs["Mass", "Pleural_Thickening"].images == 1
    assert table.clear["Mass"].images == 1


@given(st.integers(0, 1000), st.sampled_from([0.5, 0.8, 0.9, 0.95]), st.integers(1, 60))
def test_thresholds_keep_the_specificity(seed, specificity, images):
    scores = np.round(np.random.default_rng(seed).random((images, 1)), 1)
    labels = np.zeros((images, 1))
    threshold = thresholds_at_specificity(["Mass"], labels, scores, specificity)["Mass"]
    called = (scores >= threshold).mean()
    assert called <= 1 - specificity + 1e-9
    lower = np.nextafter(threshold, -1)
    assert (scores >= lower).mean() > 1 - specificity - 1e-9 or not called


def test_a_finding_without_absent_images_has_no_threshold():
    assert thresholds_at_specificity(["Mass"], [[1.0]], [[0.5]]) == {"Mass": None}
    with pytest.raises(ValueError, match="between 0 and 1"):
        thresholds_at_specificity(["Mass"], [[0.0]], [[0.5]], 1.0)
