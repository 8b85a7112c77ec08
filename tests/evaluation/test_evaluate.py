"""`evaluate` puts the parts together by name, and metrics.json is the same value written down."""

import json
import math

import numpy as np
import pytest

from hilum.errors import InvalidValueError
from hilum.evaluation import (
    Evaluation,
    OperatingPoint,
    Youden,
    any_finding,
    auroc_intervals,
    evaluate,
    fit_decision_rules,
    measure_at,
    measure_reliability,
    metric_table,
    pr_curve,
    roc_auc_score,
    roc_curve,
)
from hilum.findings import FINDINGS

NAN = float("nan")
OTHER_POINT = OperatingPoint(rule=Youden(), thresholds={"C": 0.5}, images=1, patients=1)


@pytest.fixture(scope="module")
def table():
    random = np.random.default_rng(0)
    labels = (random.random((300, 14)) < 0.15).astype(float)
    labels[random.random(labels.shape) < 0.02] = NAN
    labels[:, FINDINGS.index("Hernia")] = 0
    scores = 1 / (1 + np.exp(2 - np.nan_to_num(labels) - random.normal(size=labels.shape)))
    patients = [f"p{k}" for k in random.integers(0, 120, 300)]
    views = [[None, "PA", "PA", "AP"][k] for k in random.integers(0, 4, 300)]
    return labels, scores, patients, views


@pytest.fixture(scope="module")
def evaluation(table):
    labels, scores, patients, views = table
    return evaluate(FINDINGS, labels, scores, patient_ids=patients, views=views, num_resamples=200)


def test_numbers_are_those_of_the_metrics_under_the_right_name(table, evaluation):
    labels, scores, patients, _ = table
    aurocs = roc_auc_score(labels, scores)
    intervals = auroc_intervals(labels, scores, patients, num_resamples=200)
    assert tuple(evaluation.findings) == FINDINGS
    for k, (name, result) in enumerate(evaluation.findings.items()):
        known = ~np.isnan(labels[:, k])
        assert result.images == known.sum()
        assert result.positives == (labels[known, k] == 1).sum()
        assert result.prevalence == result.positives / result.images
        assert result.auroc_ci95 == intervals.findings[k]
        assert result.roc == roc_curve(labels[:, k], scores[:, k])
        assert result.auroc == aurocs[k] or name == "Hernia"
    assert evaluation.mean_auroc == pytest.approx(np.nanmean(aurocs))
    assert evaluation.mean_auroc_ci95 == intervals.mean
    assert (evaluation.num_images, evaluation.num_patients) == (300, len(set(patients)))


def test_undefined_finding_is_none_with_its_counts(evaluation):
    hernia = evaluation.findings["Hernia"]
    assert (hernia.auroc, hernia.auroc_ci95, hernia.roc) == (None, None, None)
    assert hernia.positives == 0
    assert evaluation.undefined == ("Hernia",)
    assert "Hernia" not in evaluation.scored
    assert len(evaluation.scored) == 13


def test_any_finding_is_measured_on_the_folded_labels(table, evaluation):
    folded = any_finding(*table[:2])
    assert evaluation.any_finding.auroc == roc_auc_score(*folded)[0]
    assert evaluation.any_finding.positives == (folded[0] == 1).sum()


def test_each_view_is_the_evaluation_of_its_own_images(table, evaluation):
    labels, scores, patients, views = table
    assert list(evaluation.by_view) == ["PA", *sorted({"AP", "unknown"}, key=_count_in(views))]
    chosen = [k for k, view in enumerate(views) if view == "AP"]
    ids = [patients[k] for k in chosen]
    alone = evaluate(FINDINGS, labels[chosen], scores[chosen], patient_ids=ids, num_resamples=200)
    ap = evaluation.by_view["AP"]
    assert (ap.images, ap.patients) == (len(chosen), len(set(ids)))
    assert (ap.mean_auroc, ap.mean_auroc_ci95) == (alone.mean_auroc, alone.mean_auroc_ci95)
    assert ap.any_finding == alone.any_finding
    assert ap.findings_scored == len(alone.scored)


def _count_in(views):
    return lambda view: -views.count(None if view == "unknown" else view)


def test_metrics_json_has_the_promised_layout(evaluation):
    stored = json.loads(evaluation.to_json())
    assert stored["mean_auroc"] == evaluation.mean_auroc
    assert len(stored["mean_auroc_ci95"]) == 2
    pneumonia = stored["findings"]["Pneumonia"]
    assert pneumonia["auroc"] == evaluation.findings["Pneumonia"].auroc
    low, high = pneumonia["auroc_ci95"]
    assert low < pneumonia["auroc"] < high
    assert {"positives", "images", "prevalence", "roc"} <= pneumonia.keys()
    assert stored["findings"]["Hernia"]["auroc"] is None
    assert stored["findings"]["Hernia"]["auroc_ci95"] is None
    assert {"any_finding", "by_view", "num_images", "num_patients"} <= stored.keys()
    assert stored["bootstrap"] == {"unit": "patient", "resamples": 200, "seed": 0}


def test_json_is_strict_and_numbers_stay_on_one_line(evaluation):
    text = evaluation.to_json()
    assert not {"NaN", "Infinity"} & set(text.replace(",", " ").split())
    assert len(text.splitlines()) < 800


def test_evaluation_survives_json(evaluation):
    assert Evaluation.from_json(evaluation.to_json()) == evaluation
    assert math.isinf(evaluation.findings["Mass"].roc.thresholds[0])


@pytest.fixture(scope="module")
def decided(table):
    """Thresholds from the first half of the patients, measured on all."""
    labels, scores, patients, _ = table
    rules = fit_decision_rules(FINDINGS, labels[:150], scores[:150], patients[:150])
    points = rules.operating_points
    calibrated = rules.calibration.apply(scores)
    return rules, evaluate(
        FINDINGS,
        labels,
        calibrated,
        patient_ids=patients,
        operating_points=points,
        num_resamples=100,
    )


def test_every_number_is_that_of_its_own_function(table, evaluation):
    labels, scores, patients, _ = table
    numbers = metric_table(labels, scores, patients, num_resamples=200)
    for k, (name, result) in enumerate(evaluation.findings.items()):
        for metric, measured in numbers.findings[k].items():
            assert getattr(result, metric) == measured.value
            assert getattr(result, f"{metric}_ci95") == measured.ci95
        assert result.pr == pr_curve(labels[:, k], scores[:, k])
        assert result.reliability == measure_reliability(labels[:, k], scores[:, k], patients)
        assert (result.auprc is None) == (name == "Hernia")
    assert evaluation.macro == numbers.macro
    assert evaluation.prevalence_weighted == numbers.prevalence_weighted
    assert evaluation.macro["auroc"].value == evaluation.mean_auroc


def test_frozen_thresholds_are_measured_under_the_name_of_their_rule(table, decided):
    labels, scores, patients, _ = table
    rules, evaluation = decided
    point = rules.operating_point("specificity_95")
    expected = measure_at(
        labels,
        rules.calibration.apply(scores),
        point.as_array(),
        patients,
        num_resamples=100,
    )
    for name, own in zip(FINDINGS, expected, strict=True):
        found = evaluation.findings[name].operating_points
        assert found.get("specificity_95") == own
        assert ("specificity_95" in found) == (point.thresholds[name] is not None)
    assert evaluation.findings["Hernia"].operating_points == {}


def test_calibration_leaves_the_aucs_as_they_were(evaluation, decided):
    for name, result in decided[1].findings.items():
        assert result.auroc == evaluation.findings[name].auroc


def test_an_evaluation_at_thresholds_survives_json(decided):
    assert Evaluation.from_json(decided[1].to_json()) == decided[1]


def test_a_file_of_an_older_version_is_read_without_what_it_lacks(evaluation):
    stored = json.loads(evaluation.to_json())
    del stored["macro"], stored["prevalence_weighted"]
    folded = [view["any_finding"] for view in stored["by_view"].values()]
    for result in (*stored["findings"].values(), stored["any_finding"], *folded):
        for name in ("auprc", "auprc_ci95", "brier", "brier_ci95", "log_loss", "log_loss_ci95"):
            del result[name]
        del result["pr"], result["reliability"], result["operating_points"]
    older = Evaluation.from_json(json.dumps(stored))
    assert older.findings["Mass"].auroc == evaluation.findings["Mass"].auroc
    assert older.findings["Mass"].auprc is None
    assert (older.macro, older.findings["Mass"].operating_points) == ({}, {})


def test_names_with_brackets_and_quotes_survive_json():
    evaluation = evaluate(['a [1, 2]\n"x"', "b"], [[0, 1], [1, 0]], [[0.1, 0.2], [0.3, 0.4]])
    assert Evaluation.from_json(evaluation.to_json()) == evaluation


@pytest.mark.parametrize("text", ["{}", "[]", "nonsense", '{"findings": 3}', "null"])
def test_other_json_is_refused(text):
    with pytest.raises(InvalidValueError, match="metrics must be"):
        Evaluation.from_json(text)


def test_without_patients_images_are_the_unit():
    evaluation = evaluate(["Mass"], [0, 1, 0, 1], [0.1, 0.9, 0.2, 0.8], num_resamples=20)
    assert evaluation.num_patients is None
    assert evaluation.by_view == {}
    assert json.loads(evaluation.to_json())["bootstrap"]["unit"] == "image"


def test_nothing_to_evaluate_is_all_undefined():
    evaluation = evaluate(["A", "B"], np.zeros((0, 2)), np.zeros((0, 2)), patient_ids=[], views=[])
    assert evaluation.mean_auroc is None
    assert evaluation.undefined == ("A", "B")
    assert evaluation.findings["A"].prevalence is None
    assert Evaluation.from_json(evaluation.to_json()) == evaluation


@pytest.mark.parametrize(
    ("findings", "options", "words"),
    [
        (["A"], {}, "findings must be 2 names"),
        (["A", "A"], {}, "all different"),
        (["A", "B"], {"views": ["PA"]}, "views must be 2 views"),
        (["A", "B"], {"operating_points": [OTHER_POINT]}, "operating_points must be of A, B"),
        (["A", "B"], {"patient_ids": ["p", None]}, "must be known"),
    ],
)
def test_parts_that_do_not_fit_are_named(findings, options, words):
    with pytest.raises(InvalidValueError, match=words):
        evaluate(findings, [[0, 1], [1, 0]], [[0.1, 0.2], [0.3, 0.4]], **options)


def test_logits_are_refused():
    with pytest.raises(InvalidValueError, match="probabilities"):
        evaluate(["A"], [0, 1], [-3.0, 2.0])


def test_long_roc_curves_are_thinned():
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 4000)
    evaluation = evaluate(["A"], labels, random.random(4000), num_resamples=0)
    assert len(evaluation.findings["A"].roc.fpr) == 500
    assert evaluation.findings["A"].auroc_ci95 is None
