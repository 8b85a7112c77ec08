"""From scored images to the report: everything measured on them is put in by name, once."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
from pyspark.sql import SparkSession

from hilum import storage
from hilum.evaluation import Evaluation, any_finding, evaluate
from hilum.evaluation.bands import CurveBands, curve_bands
from hilum.evaluation.cases import Case, choose_cases, describe_case
from hilum.evaluation.cooccurrence import (
    Cooccurrence,
    confusion_by_finding,
    thresholds_at_specificity,
)
from hilum.evaluation.decision import NO_RULES, DecisionRules
from hilum.evaluation.figures import ANY_FINDING
from hilum.evaluation.published import published_for
from hilum.evaluation.report import (
    DataFlow,
    Estimate,
    Example,
    ModelFacts,
    OutOfDistribution,
    ReportInputs,
    write_report,
)
from hilum.evaluation.report.groups import BY_COUNT
from hilum.evaluation.shortcuts import ShortcutRow, within_attribute
from hilum.evaluation.subgroup_result import Subgroups
from hilum.evaluation.subgroups import age_bands, finding_count_bands, subgroups
from hilum.inference import ModelBundle
from hilum.recipes.closer_look import CloserLook, look_closer
from hilum.recipes.references import Readings, References, compare_with_references
from hilum.recipes.scoring import Scored, own_patient_where_unknown, predictions_csv
from hilum.spark import NNModel
from hilum.training import History

__all__ = ["CLOSER_LOOK", "report_on"]

CLOSER_LOOK = 100  # images; robustness scores each some thirty times
BAND_RESAMPLES = 1000  # a band needs fewer draws than the ends of an interval


def report_on(
    spark: SparkSession,
    model: NNModel,
    scored: Scored,
    directory: str,
    *,
    flow: DataFlow,
    label_counts: Mapping[str, int],
    label_images: int,
    history: History,
    subtitle: str,
    settings: Mapping[str, object],
    notes: Sequence[str] = (),
    beside_published: bool = True,
    closer_look: int = CLOSER_LOOK,
    references: References | None = None,
    seed: int = 0,
) -> Evaluation:
    """Evaluate, and write the report and predictions.csv into a directory, which may be a URL.

    Args:
        beside_published: show published results on NIH data; False where the tested images are of
            another kind, such as phantoms.
        closer_look: so many images are read again for shortcut probes and robustness, and the cases
            get heat maps; 0 leaves these out.
        references: adjudicated labels and boxes to compare with.
        seed: of the bootstrap draws, and of the images looked at closer.
    """
    rules, patients = model.bundle.decision_rules, own_patient_where_unknown(scored)
    evaluation = evaluate(
        model.findings,
        scored.labels,
        scored.scores,
        patient_ids=patients,
        views=scored.views,
        operating_points=() if rules is None else rules.operating_points,
        seed=seed,
    )
    cases = choose_cases(model.findings, scored.labels, scored.scores, patient_ids=patients)
    look = look_closer(spark, model, scored, cases, patients, num_images=closer_look, seed=seed)
    readings = (
        Readings()
        if references is None
        else compare_with_references(spark, model, scored, references, seed=seed)
    )
    inputs = ReportInputs(
        evaluation=evaluation,
        subtitle=subtitle,
        notes=notes if rules else [*notes, _NO_RULES_NOTE],
        flow=flow,
        label_counts={name: label_counts[name] for name in model.findings if name in label_counts},
        label_images=label_images,
        history=[asdict(record) for record in history],
        examples=[
            _example(model, scored, case, look) for case in cases if case.image in look.pixels
        ],
        settings=settings,
        model=_facts(model.bundle),
        curves=_curves(model.findings, scored, patients, seed),
        published=published_for(evaluation) if beside_published else (),
        cooccurrence=_cooccurrence(model.findings, scored, rules),
        subgroups=_subgroups(model.findings, scored, patients, rules, seed),
        probes=look.probes,
        label_agreement=readings.label_agreement,
        localisation=readings.localisation,
        robustness=look.robustness,
        out_of_distribution=_out_of_distribution(model.bundle),
        within=_within(model.findings, scored, patients, seed),
        reasons_missing=_reasons(model.bundle),
        **_decided(rules),
    )
    write_report(directory, inputs)
    csv = predictions_csv(model.findings, scored)
    storage.write_bytes(storage.join(directory, "predictions.csv"), csv)
    return evaluation


_NO_RULES_NOTE = (
    f"The model has {NO_RULES}: its probabilities are the network's own, and it calls nothing "
    "present or absent."
)


def _decided(rules: DecisionRules | None) -> dict[str, Any]:
    if rules is None:
        return {}
    patients = "" if rules.patients is None else f" of {rules.patients:,} patients"
    return {
        "rules": {point.name: str(point.rule) for point in rules.operating_points},
        "fitted_on": f"fitted on {rules.images:,} {rules.split} images{patients}",
        "calibrated": [
            name for name, one in rules.calibration.findings.items() if one.method != "none"
        ],
    }


def _reasons(bundle: ModelBundle) -> dict[str, str]:
    why = bundle.provenance.get("decision_rules")
    if bundle.decision_rules is not None or not isinstance(why, str):
        return {}
    return {"operating points": why}


def _facts(bundle: ModelBundle) -> ModelFacts:
    steps = bundle.preprocessing.evaluation().to_json()["steps"]
    return ModelFacts(
        architecture=bundle.architecture,
        findings=bundle.findings,
        parameters=bundle.num_parameters,
        digest=bundle.digest,
        preprocessing=[_step(step) for step in steps],
        provenance=bundle.provenance,
    )


def _step(step: Mapping[str, Any]) -> str:
    """`{"type": "Resize", "height": 240, "width": 240}` is "Resize height 240, width 240"."""
    options = ", ".join(f"{name} {value}" for name, value in step.items() if name != "type")
    return f"{step['type']} {options}".strip()


def _curves(
    findings: Sequence[str], scored: Scored, patients: Sequence[str], seed: int
) -> dict[str, CurveBands | None]:
    names, labels, scores = list(findings), scored.labels, scored.scores
    if len(names) > 1:
        whole_labels, whole_scores = any_finding(labels, scores)
        names.append(ANY_FINDING)
        labels = np.column_stack([labels, whole_labels])
        scores = np.column_stack([scores, whole_scores])
    curves = curve_bands(labels, scores, patients, num_resamples=BAND_RESAMPLES, seed=seed)
    return dict(zip(names, curves, strict=True))


def _cooccurrence(
    findings: Sequence[str], scored: Scored, rules: DecisionRules | None
) -> Cooccurrence:
    thresholds = (
        thresholds_at_specificity(findings, scored.labels, scored.scores)
        if rules is None
        else rules.default.thresholds
    )
    return confusion_by_finding(findings, scored.labels, scored.scores, thresholds)


def _subgroups(
    findings: Sequence[str],
    scored: Scored,
    patients: Sequence[str],
    rules: DecisionRules | None,
    seed: int,
) -> Subgroups:
    """By sex, age, view and number of findings; columns without two groups tell nothing."""
    groups: dict[str, Sequence[str | None]] = {
        "sex": scored.sexes,
        "age": age_bands(scored.ages_years),
        "view": scored.views,
        BY_COUNT: finding_count_bands(scored.labels),
    }
    thresholds = {} if rules is None else rules.default.thresholds
    return subgroups(
        findings,
        scored.labels,
        scored.scores,
        {name: values for name, values in groups.items() if len(set(values) - {None, ""}) > 1},
        patient_ids=patients,
        thresholds={name: value for name, value in thresholds.items() if value is not None},
        num_resamples=BAND_RESAMPLES,
        seed=seed,
    )


def _within(
    findings: Sequence[str], scored: Scored, patients: Sequence[str], seed: int
) -> dict[str, dict[str, ShortcutRow]]:
    if len(set(scored.views) - {None, ""}) < 2:
        return {}
    rows = within_attribute(
        findings,
        scored.labels,
        scored.scores,
        scored.views,
        patient_ids=patients,
        num_resamples=BAND_RESAMPLES,
        seed=seed,
    )
    return {"view": rows}


def _example(model: NNModel, scored: Scored, case: Case, look: CloserLook) -> Example:
    """Named by its row, because file names may hold names of patients."""
    return Example(
        name=f"row {case.image + 1} of predictions.csv",
        pixels=look.pixels[case.image],
        probabilities=_named(model.findings, scored.scores[case.image]),
        labels=_named(model.findings, scored.labels[case.image]),
        finding=case.finding,
        kind=case.kind,
        note=describe_case(case),
        overlay=look.overlays.get(case.image),
    )


def _out_of_distribution(bundle: ModelBundle) -> list[OutOfDistribution]:
    """What was measured when the score was fitted, on validation images."""
    measured = bundle.metrics.get("ood")
    if not isinstance(measured, Mapping):
        return []
    return [
        OutOfDistribution(
            kind=kind,
            auroc=Estimate(value=value),
            images=measured["images"],
            flagged=measured["found"][kind],
        )
        for kind, value in measured["auroc"].items()
    ]


def _named(findings: Sequence[str], values: npt.NDArray[np.float64]) -> dict[str, Any]:
    pairs = zip(findings, values.tolist(), strict=True)
    return {name: None if np.isnan(value) else value for name, value in pairs}
