"""Which parts a report has, in the order to read them, and what it says is missing."""

from dataclasses import dataclass

from hilum.evaluation.plots import plot_prevalence
from hilum.evaluation.report.accuracy import curves_part, findings_part, published_part
from hilum.evaluation.report.card import CardSection, model_card
from hilum.evaluation.report.claim import ClaimItem, claim_checklist
from hilum.evaluation.report.decisions import (
    calibration_part,
    cooccurrence_part,
    operating_points_part,
)
from hilum.evaluation.report.groups import label_noise_part, shortcuts_part, subgroups_part
from hilum.evaluation.report.inputs import ReportInputs
from hilum.evaluation.report.parts import Missing, Part, Picture
from hilum.evaluation.report.tables import Column, Table
from hilum.evaluation.report.trust import (
    localisation_part,
    out_of_distribution_part,
    robustness_part,
    views_part,
)
from hilum.evaluation.summary import at_thresholds, cautions, headlines
from hilum.evaluation.training_plots import plot_training

__all__ = ["Report", "assemble"]

# Warnings of these parts are reasons to doubt the summary, and are told in it too.
_TOLD_IN_SUMMARY = ("subgroups", "shortcuts", "robustness", "out-of-distribution")
_TRAINING_COLUMNS = (
    ("train_loss", "Training loss", 4),
    ("valid_loss", "Validation loss", 4),
    ("valid_mean_auroc", "Validation mean AUC", 3),
    ("lr", "Learning rate", 6),
    ("images_per_s", "Images/s", 1),
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Report:
    """A report put together: what the page, report.json and the CSV files are written from."""

    inputs: ReportInputs
    headlines: list[str]
    cautions: list[str]
    parts: list[Part]
    missing: list[Missing]
    prevalence: Picture | None
    training: Part | None
    card: list[CardSection]
    claim: list[ClaimItem]

    @property
    def tables(self) -> list[Table]:
        """All tables, in order."""
        parts = [*self.parts, *([] if self.training is None else [self.training])]
        return [table for part in parts for table in part.tables]


def assemble(inputs: ReportInputs) -> Report:
    """Make every part for which the inputs suffice."""
    makers = (
        findings_part,
        published_part,
        curves_part,
        operating_points_part,
        calibration_part,
        cooccurrence_part,
        views_part,
        subgroups_part,
        shortcuts_part,
        label_noise_part,
        robustness_part,
        out_of_distribution_part,
        localisation_part,
    )
    parts = [part for make in makers if (part := make(inputs)) is not None]
    doubts = [w for part in parts if part.anchor in _TOLD_IN_SUMMARY for w in part.warnings]
    evaluation = inputs.evaluation
    return Report(
        inputs=inputs,
        headlines=[*headlines(evaluation), *at_thresholds(evaluation, inputs.rules)],
        cautions=[*cautions(evaluation, inputs.flow), *doubts],
        parts=parts,
        missing=_missing(inputs, {part.anchor for part in parts}),
        prevalence=_prevalence(inputs),
        training=_training_part(inputs),
        card=model_card(inputs),
        claim=claim_checklist(inputs),
    )


def _missing(inputs: ReportInputs, present: set[str]) -> list[Missing]:
    reasons = {
        "operating points": "the bundle holds no frozen thresholds",
        "published results": "the tested images are not shown to be of the same kind",
        "subgroups": "sex, age or source of the images was not given",
        "shortcuts": "no probe was run",
        "label errors": "no adjudicated labels were given",
        "robustness": "no disturbed images were scored",
        "out of distribution": "the bundle holds no out-of-distribution score",
        "localisation": "no boxes of radiologists were given",
        **inputs.reasons_missing,
    }
    anchors = {
        "operating points": "operating-points",
        "published results": "published",
        "label errors": "label-noise",
        "out of distribution": "out-of-distribution",
    }
    found = [
        Missing(what=what, why=why)
        for what, why in reasons.items()
        if anchors.get(what, what) not in present
    ]
    if inputs.flow.leaking_patients is None:
        why = "the training images were not at hand"
        found.append(Missing(what="patients in both training and test", why=why))
    return found


def _prevalence(inputs: ReportInputs) -> Picture | None:
    if not inputs.label_counts or not inputs.label_images:
        return None
    return Picture(
        name="prevalence",
        figure=plot_prevalence(inputs.label_counts, inputs.label_images),
        text="Bar chart of how many images carry each finding",
        caption="Images per finding in the whole data set; one image may carry several.",
    )


def _training_part(inputs: ReportInputs) -> Part | None:
    if not inputs.history:
        return None
    # A run may be validated within its epochs too; then steps tell the rows apart.
    whole_epochs = all(row.get("epoch", at) == at for at, row in enumerate(inputs.history))
    columns = [Column(key="epoch", label="Epoch", form="count")]
    columns += [] if whole_epochs else [Column(key="step", label="Optimizer steps", form="count")]
    columns += [
        Column(key=key, label=label, form="number", digits=digits, where_none="-")
        for key, label, digits in _TRAINING_COLUMNS
    ]
    rows = [
        {column.key: row.get(column.key) for column in columns}
        | {"epoch": row.get("epoch", at) + 1}
        for at, row in enumerate(inputs.history)
    ]
    picture = Picture(
        name="training",
        figure=plot_training(inputs.history, over="epochs" if whole_epochs else "steps"),
        text="Loss, validation AUC and learning rate over the run",
    )
    table = Table(name="training", columns=columns, rows=rows)
    return Part(anchor="training", title="Training", pictures=[picture], tables=[table])
