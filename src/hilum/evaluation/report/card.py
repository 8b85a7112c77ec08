"""The model card: what the model is for, what it is not for, and how it was measured.

Headings are those of Mitchell et al. 2019 (Model Cards for Model Reporting), filled as Garbin and
Marques 2022 (Radiology: Artificial Intelligence, PMC8980932) fill them for chest radiographs. What
the run knows is filled in; what only people know is marked as theirs to complete.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hilum.evaluation.figures import spoken, with_interval
from hilum.evaluation.report.inputs import ReportInputs
from hilum.evaluation.summary import cautions, headlines

__all__ = ["TO_COMPLETE", "CardSection", "card_markdown", "model_card"]

TO_COMPLETE = "To be completed by the authors"

INTENDED_USE = (
    "Research on the classification of frontal chest radiographs of adults; comparison of models, "
    "data sets and training methods.",
    "Users: data scientists and radiologists who can judge the results and their limits.",
)
NOT_FOR = (
    "Patient care of any kind: diagnosis, triage, worklist order, exclusion of disease. The model "
    "is not a medical device and has not been shown to be safe or useful.",
    "Lateral views, children, other body parts, photographs of films, and any population or "
    "equipment that was not tested.",
    "Findings that are not listed here. A low score on all of them does not mean a normal image.",
)
ETHICS = (
    "Scores can carry over unequal care: who gets imaged, how, and what is written in the report "
    "differ by group.",
    "The radiographs come from people. Keep file names, tables and heat maps as protected as the "
    "images themselves.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CardSection:
    """One heading; plain sentences and (name, value) facts, either may be empty."""

    heading: str
    sentences: Sequence[str] = ()
    facts: Sequence[tuple[str, str]] = ()


def model_card(inputs: ReportInputs) -> list[CardSection]:
    """Return the card's sections in the order of Mitchell et al."""
    evaluation = inputs.evaluation
    return [
        CardSection(heading="Model details", facts=_details(inputs)),
        CardSection(heading="Intended use", sentences=INTENDED_USE),
        CardSection(heading="Not for", sentences=NOT_FOR),
        CardSection(heading="Factors", sentences=_factors(inputs)),
        CardSection(heading="Metrics", sentences=_metrics(inputs)),
        CardSection(heading="Evaluation data", sentences=_evaluation_data(inputs)),
        CardSection(heading="Training data", sentences=_training_data(inputs)),
        CardSection(
            heading="Quantitative analyses",
            sentences=headlines(evaluation),
            facts=[
                (spoken(name), f"AUC {with_interval(one.auroc, one.auroc_ci95)}")
                for name, one in evaluation.findings.items()
            ],
        ),
        CardSection(heading="Ethical considerations", sentences=ETHICS),
        CardSection(
            heading="Caveats and recommendations",
            sentences=[*cautions(evaluation, inputs.flow), *RECOMMENDATIONS],
        ),
    ]


RECOMMENDATIONS = (
    "Test on images of the place where the model is to be tried, by patient, before anything else.",
    "Report results with their intervals, and name the split.",
)


def card_markdown(title: str, sections: Sequence[CardSection]) -> str:
    """Return the card as a Markdown page."""
    lines = [f"# Model card: {_plain(title)}", ""]
    for section in sections:
        lines += [f"## {section.heading}", ""]
        lines += [f"- {_plain(sentence)}" for sentence in section.sentences]
        if section.sentences and section.facts:
            lines.append("")
        if section.facts:
            lines += ["| | |", "|---|---|"]
            lines += [f"| {_plain(name)} | {_plain(value)} |" for name, value in section.facts]
        lines.append("")
    return "\n".join(lines)


def _plain(text: str) -> str:
    """One line that Markdown does not take for a table or a tag."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _details(inputs: ReportInputs) -> list[tuple[str, str]]:
    model = inputs.model
    if model is None:
        return [("Model", TO_COMPLETE)]
    provenance = model.provenance
    versions: Mapping[str, object] = provenance.get("versions", {})
    start: Mapping[str, object] = provenance.get("start_weights", {})
    facts = [
        ("Architecture", model.architecture),
        ("Parameters", "" if model.parameters is None else f"{model.parameters:,}"),
        ("Outputs", f"one probability for each of: {', '.join(map(spoken, model.findings))}"),
        ("Input", "; ".join(model.preprocessing)),
        ("Start weights", f"{start.get('kind', '')} {start.get('source', '')}".strip()),
        ("Weights, SHA-256", model.digest),
        ("Made with", ", ".join(f"{name} {version}" for name, version in versions.items())),
        ("Probabilities", "calibrated" if inputs.calibrated else _RAW),
        ("Owner, contact, licence", TO_COMPLETE),
    ]
    return [(name, value) for name, value in facts if value]


_RAW = "not calibrated"


def _factors(inputs: ReportInputs) -> list[str]:
    told = []
    views = ", ".join(inputs.evaluation.by_view)
    told.append(f"By view: {views}." if views else "Views are not known.")
    attributes = [] if inputs.subgroups is None else list(inputs.subgroups.columns)
    told.append(
        f"By subgroup: {', '.join(attributes)}."
        if attributes
        else "Subgroups such as sex and age were not examined."
    )
    return told


def _metrics(inputs: ReportInputs) -> list[str]:
    evaluation = inputs.evaluation
    unit = "images" if evaluation.num_patients is None else "patients"
    told = ["Area under the ROC curve per finding, and its mean over the findings."]
    if evaluation.num_resamples:
        told.append(f"95 % intervals by {evaluation.num_resamples:,} bootstrap draws of {unit}.")
    if any(one.operating_points for one in evaluation.findings.values()):
        told.append("Sensitivity, specificity, PPV and NPV at thresholds frozen beforehand.")
    told.append("Average precision, Brier score, log loss and expected calibration error.")
    return told


def _evaluation_data(inputs: ReportInputs) -> list[str]:
    evaluation = inputs.evaluation
    patients = evaluation.num_patients
    whom = "patients not known" if patients is None else f"of {patients:,} patients"
    told = [f"{evaluation.num_images:,} radiographs, {whom}."]
    leak = inputs.flow.leaking_patients
    if leak is not None:
        told.append(f"Tested patients who also are in the training images: {leak:,}.")
    told.append(
        "Labels were taken as given; those mined from reports, as in the NIH data, hold errors."
    )
    return told


def _training_data(inputs: ReportInputs) -> list[str]:
    told = [
        f"{split.name}: {split.images:,} images"
        + ("." if split.patients is None else f" of {split.patients:,} patients.")
        for split in inputs.flow.splits
    ]
    provenance = {} if inputs.model is None else inputs.model.provenance
    split = provenance.get("split")
    if isinstance(split, Mapping):
        told.append(f"Split by {split.get('by')}, seed {split.get('seed')}.")
    return told or [TO_COMPLETE]
