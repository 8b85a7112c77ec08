"""The CLAIM checklist, filled as far as a run can fill it.

Checklist for Artificial Intelligence in Medical Imaging, 2024 update (Tejani et al., Radiology:
Artificial Intelligence 2024;6(4):e240300), 44 items. An item is filled with what was done here, or
marked as the authors' to complete; nothing is claimed that the run does not know. Check the wording
against the journal before handing it in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hilum.evaluation.figures import with_interval
from hilum.evaluation.report.card import TO_COMPLETE
from hilum.evaluation.report.inputs import ReportInputs

__all__ = ["ClaimItem", "claim_checklist", "claim_markdown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimItem:
    """One item; `answer` is empty where the authors must complete it."""

    number: int
    section: str
    item: str
    answer: str


ITEMS: tuple[tuple[str, str], ...] = (
    ("Title and abstract", "Identification as a study of AI methodology, with its technology"),
    ("Title and abstract", "Summary of design, methods, results and conclusions"),
    ("Introduction", "Background, with the intended use and role of the AI approach"),
    ("Introduction", "Study aims, objectives and hypotheses"),
    ("Study design", "Prospective or retrospective study"),
    ("Study design", "Study goal"),
    ("Data", "Data sources"),
    ("Data", "Inclusion and exclusion criteria"),
    ("Data", "Data preprocessing"),
    ("Data", "Selection of data subsets"),
    ("Data", "De-identification methods"),
    ("Data", "How missing data were handled"),
    ("Data", "Image acquisition protocol"),
    ("Reference standard", "Methods used to obtain the reference standard"),
    ("Reference standard", "Rationale for choosing the reference standard"),
    ("Reference standard", "Source of reference standard annotations"),
    ("Reference standard", "Annotation of the test set"),
    ("Reference standard", "Inter- and intrarater variability"),
    ("Data partitions", "How data were assigned to partitions"),
    ("Data partitions", "Level at which partitions are disjoint"),
    ("Testing data", "Intended sample size"),
    ("Model", "Detailed description of the model"),
    ("Model", "Software libraries, frameworks and packages"),
    ("Model", "Initialization of model parameters"),
    ("Training", "Details of the training approach"),
    ("Training", "Method of selecting the final model"),
    ("Training", "Ensembling techniques"),
    ("Evaluation", "Metrics of model performance"),
    ("Evaluation", "Statistical measures of significance and uncertainty"),
    ("Evaluation", "Robustness or sensitivity analysis"),
    ("Evaluation", "Methods for explainability or interpretability"),
    ("Evaluation", "Evaluation on internal data"),
    ("Evaluation", "Testing on external data"),
    ("Evaluation", "Clinical trial registration"),
    ("Results: data", "Numbers of patients or examinations included and excluded"),
    ("Results: data", "Demographic and clinical characteristics in each partition"),
    ("Results: model", "Performance metrics and measures of uncertainty"),
    ("Results: model", "Estimates of diagnostic performance and their precision"),
    ("Results: model", "Failure analysis of incorrect results"),
    ("Discussion", "Study limitations"),
    ("Discussion", "Implications for practice, with the intended use or role"),
    ("Other", "Reference to the full protocol or further technical details"),
    ("Other", "Availability of software, trained model and data"),
    ("Other", "Funding and other support; role of funders"),
)


def claim_checklist(inputs: ReportInputs) -> list[ClaimItem]:
    """Return the 44 items, each filled or left to the authors."""
    answers = {**_data_answers(inputs), **_model_answers(inputs), **_result_answers(inputs)}
    return [
        ClaimItem(number=number, section=section, item=item, answer=answers.get(number, ""))
        for number, (section, item) in enumerate(ITEMS, start=1)
    ]


def claim_markdown(title: str, items: Sequence[ClaimItem]) -> str:
    """Return the checklist as a Markdown page."""
    filled = sum(bool(item.answer) for item in items)
    lines = [
        f"# CLAIM checklist: {_cell(title)}",
        "",
        "Checklist for Artificial Intelligence in Medical Imaging, 2024 update (Tejani et al.,",
        "Radiology: Artificial Intelligence 2024;6(4):e240300). Filled from the run where it",
        f"knows: {filled} of {len(items)} items. Check every answer against the manuscript.",
        "",
        "| No. | Section | Item | In this study |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {one.number} | {one.section} | {one.item} | {_cell(one.answer) or _todo()} |"
        for one in items
    ]
    return "\n".join([*lines, ""])


def _todo() -> str:
    return f"**{TO_COMPLETE}**"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _data_answers(inputs: ReportInputs) -> dict[int, str]:
    provenance = _provenance(inputs)
    source, split = _mapping(provenance, "source"), _mapping(provenance, "split")
    found = {
        7: f"Images: {source.get('images')}; labels: {source.get('labels')}." if source else "",
        12: "Unknown labels are masked: they count neither as present nor as absent, in training "
        "and in testing. Files that cannot be read are left out and counted by reason.",
    }
    if inputs.model is not None and inputs.model.preprocessing:
        found[9] = f"In this order: {'; '.join(inputs.model.preprocessing)}."
    if split:
        listed = f", as listed in {split['listed_in']}" if split.get("listed_in") else ""
        found[19] = f"Split by {split.get('by')}{listed}, seed {split.get('seed')}."
        found[20] = {
            "patient": "Patient: no patient is in two partitions.",
            "image": "Image: patients may be in several partitions; the results flatter the model.",
        }.get(str(split.get("by")), "")
    if inputs.flow.leaking_patients is not None:
        leak = inputs.flow.leaking_patients
        found[20] = f"Patient; {leak:,} tested patients also are in the training images (checked)."
    return {number: answer for number, answer in found.items() if answer}


def _model_answers(inputs: ReportInputs) -> dict[int, str]:
    model, provenance = inputs.model, _provenance(inputs)
    if model is None:
        return {}
    training, start = _mapping(provenance, "training"), _mapping(provenance, "start_weights")
    versions = _mapping(provenance, "versions")
    size = "" if model.parameters is None else f", {model.parameters:,} parameters"
    found = {
        1: f"Deep learning: {model.architecture}, one output per finding (title to be completed).",
        22: f"{model.architecture}{size}, {len(model.findings)} independent probabilities; "
        f"weights SHA-256 {model.digest or 'not given'}.",
        23: ", ".join(f"{name} {version}" for name, version in versions.items()),
        24: f"{start.get('kind', '')} weights: {start.get('source', '')}." if start else "",
        25: _training_told(training),
        27: "None: one network.",
    }
    if training:
        found[26] = _SELECTION.get(str(training.get("best_metric")), "")
    return {number: answer for number, answer in found.items() if answer}


# Runs of before there was a choice kept the best AUC; their bundles do not say so.
_SELECTION = {
    "valid_loss": "The epoch with the lowest loss on the validation patients is kept.",
    "valid_mean_auroc": "The epoch with the best mean AUC on the validation patients is kept.",
    "None": "The epoch with the best mean AUC on the validation patients is kept.",
}


def _training_told(training: Mapping[str, Any]) -> str:
    if not training:
        return ""
    optimizer, loss = _mapping(training, "optimizer"), _mapping(training, "loss")
    parts = [
        f"{training.get('max_epochs')} epochs",
        f"batch {training.get('global_batch_size')}",
        f"optimizer {optimizer.get('name')} (weight decay {optimizer.get('weight_decay')})",
        f"loss {loss.get('type')}",
        f"dropout {training.get('dropout')}",
        f"seed {training.get('seed')}",
    ]
    return "; ".join(parts) + ". The full settings are in the report and the bundle's manifest."


def _result_answers(inputs: ReportInputs) -> dict[int, str]:
    evaluation = inputs.evaluation
    points = any(one.operating_points for one in evaluation.findings.values())
    found = {
        28: "AUC per finding and its mean"
        + "; average precision, Brier score, log loss, ECE"
        + ("; sensitivity, specificity, PPV, NPV at frozen thresholds." if points else "."),
        32: f"{evaluation.num_images:,} radiographs"
        + ("" if evaluation.num_patients is None else f" of {evaluation.num_patients:,} patients")
        + " kept apart for testing; report, parts Findings and Curves.",
        35: _flow_told(inputs),
        37: "Report, parts Findings, Curves and By view; report.json and CSV tables.",
        38: f"Mean AUC {with_interval(evaluation.mean_auroc, evaluation.mean_auroc_ci95)}; per "
        "finding with intervals in findings.csv.",
        40: "Drafted in the report, parts Read with care, Not examined and Limits.",
    }
    if evaluation.num_resamples:
        unit = "images" if evaluation.num_patients is None else "patients"
        found[29] = (
            f"95 % percentile intervals by {evaluation.num_resamples:,} bootstrap draws of {unit}, "
            f"seed {evaluation.seed}."
        )
    if inputs.robustness is not None:
        names = ", ".join(curve.perturbation for curve in inputs.robustness.curves)
        found[30] = f"Mean AUC under {names}; report, part Robustness."
    if any(example.overlay is not None for example in inputs.examples) or inputs.localisation:
        found[31] = "Heat maps; report, parts Cases and Where the model looks."
    if any(example.finding for example in inputs.examples):
        found[39] = (
            "The surest false alarms and misses are shown; report, parts Cases and Confusion."
        )
    return {number: answer for number, answer in found.items() if answer}


def _flow_told(inputs: ReportInputs) -> str:
    flow = inputs.flow
    if flow.files_found is None:
        return ""
    splits = "; ".join(f"{split.name} {split.images:,}" for split in flow.splits)
    return (
        f"{flow.files_found:,} files found, {flow.num_rejected:,} rejected"
        + (f"; {splits}" if splits else "")
        + ". Report, part Data."
    )


def _provenance(inputs: ReportInputs) -> Mapping[str, Any]:
    return {} if inputs.model is None else inputs.model.provenance


def _mapping(of: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = of.get(key)
    return value if isinstance(value, Mapping) else {}
