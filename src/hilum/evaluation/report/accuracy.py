"""Parts about ranking: findings, published results beside, ROC and precision-recall curves."""

from collections.abc import Mapping

from hilum.evaluation.curves import plot_precision_recall
from hilum.evaluation.figures import ANY_FINDING, spoken
from hilum.evaluation.forest import ForestRow, Reference, plot_forest
from hilum.evaluation.plots import plot_aurocs, plot_roc, why_undefined
from hilum.evaluation.published import (
    SPLIT_WORDS,
    PublishedResult,
    comparison_warnings,
    tested_on_official_split,
)
from hilum.evaluation.report.inputs import ReportInputs
from hilum.evaluation.report.parts import Part, Picture
from hilum.evaluation.report.tables import Cell, Column, Estimate, Table
from hilum.evaluation.result import Evaluation, FindingResult
from hilum.evaluation.summary import FEW_POSITIVES

__all__ = ["curves_part", "findings_part", "published_part"]


def findings_part(inputs: ReportInputs) -> Part:
    """AUC of every finding, as a table and as bars."""
    evaluation = inputs.evaluation
    picture = Picture(
        name="aurocs",
        figure=plot_aurocs(evaluation),
        text="Bar chart of the AUC of each finding with its 95 % interval",
    )
    table = _findings_table(evaluation, inputs)
    return Part(anchor="findings", title="Findings", tables=[table], pictures=[picture])


def published_part(inputs: ReportInputs) -> Part | None:
    """A forest plot beside published AUCs; None without any."""
    results, evaluation = inputs.published, inputs.evaluation
    if not results:
        return None
    comparable: set[str] = set()
    if tested_on_official_split(evaluation):
        comparable = {result.key for result in results if result.split == "official"}
    references = [
        Reference(
            key=result.key,
            label=f"{result.key} ({_SHORT_SPLIT[result.split]})",
            hollow=result.key not in comparable,
        )
        for result in results
    ]
    rows = [
        ForestRow(
            label=spoken(name),
            value=one.auroc,
            interval=one.auroc_ci95,
            note=None if one.auroc is not None else f"undefined: {why_undefined(one)}",
            others={r.key: r.aurocs[name] for r in results if name in r.aurocs},
        )
        for name, one in evaluation.findings.items()
    ]
    rows.append(
        ForestRow(
            label=f"Mean of {len(evaluation.scored)}",
            value=evaluation.mean_auroc,
            interval=evaluation.mean_auroc_ci95,
            others={result.key: result.mean_auroc for result in results},
            strong=True,
        )
    )
    meaning = "hollow marks are not comparable with this model" if len(comparable) < len(results) else ""
    picture = Picture(
        name="published",
        figure=plot_forest(rows, references=references),
        text="AUC of each finding with its 95 % interval beside published AUCs",
        caption=f"Published values are without intervals; {meaning or 'all on the same split'}.",
    )
    return Part(
        anchor="published",
        title="Beside published results",
        lead=["AUCs that papers report for the same findings on NIH ChestX-ray14."],
        warnings=comparison_warnings(evaluation, results),
        pictures=[picture],
        tables=[_sources_table(results), _published_table(inputs)],
    )


def curves_part(inputs: ReportInputs) -> Part:
    """ROC curves, and precision-recall curves where they were computed."""
    evaluation = inputs.evaluation
    banded = any(curve is not None and curve.roc.low for curve in inputs.curves.values())
    shade = " The shade holds 95 % of the bootstrap draws of patients at each place." if banded else ""
    pictures = [
        Picture(
            name="roc",
            figure=plot_roc(evaluation, inputs.curves),
            text="One ROC curve per finding",
            caption="The grey line is guessing. Below each AUC: its 95 % interval and the images "
            f"with the finding of all with a known label.{shade}",
        )
    ]
    if inputs.curves:
        reasons = {name: why_undefined(one) for name, one in _with_any(evaluation).items()}
        pictures.append(
            Picture(
                name="precision_recall",
                figure=plot_precision_recall(inputs.curves, reasons),
                text="One precision-recall curve per finding",
                caption="AP is the average precision (area under the curve). The dashed line is "
                "guessing, which has the prevalence as its precision: judge AP by its distance "
                f"from that line, not by its size.{shade}",
            )
        )
    lead = [
        "Left to right, each ROC curve trades false alarms for found cases. A rare finding can have "
        "a good ROC curve and still give mostly false alarms; the precision-recall curve shows that."
    ]
    return Part(anchor="roc", title="Curves", lead=lead if inputs.curves else (), pictures=pictures)


def _with_any(evaluation: Evaluation) -> dict[str, FindingResult]:
    several = len(evaluation.findings) > 1
    return {**evaluation.findings, **({ANY_FINDING: evaluation.any_finding} if several else {})}


_SHORT_SPLIT = {"official": "official split", "patient": "random by patient", "image": "by image"}


def _findings_table(evaluation: Evaluation, inputs: ReportInputs) -> Table:
    columns = [
        Column(key="finding", label="Finding", form="finding"),
        Column(key="positives", label="Images with it", form="count"),
        Column(key="images", label="Label known", form="count"),
        Column(key="prevalence", label="Prevalence", form="percent", where_none="unknown"),
        Column(key="auroc", label="AUC", form="estimate", digits=3),
    ]
    if inputs.average_precision:
        columns.append(Column(key="auprc", label="AUPRC", form="estimate", digits=3))
    rows: list[Mapping[str, Cell]] = []
    for name, result in _with_any(evaluation).items():
        row: dict[str, Cell] = {
            "finding": name,
            "positives": result.positives,
            "images": result.images,
            "prevalence": result.prevalence,
            "auroc": Estimate(value=result.auroc, interval=result.auroc_ci95),
        }
        if inputs.average_precision:
            row["auprc"] = inputs.average_precision.get(name)
        rows.append(row)
    several = len(evaluation.findings) > 1
    if several:
        rows.append(_mean_row(evaluation, columns))
    return Table(
        name="findings",
        columns=columns,
        rows=rows,
        totals=2 if several else 0,
        caption=_findings_caption(evaluation),
    )


def _mean_row(evaluation: Evaluation, columns: list[Column]) -> dict[str, Cell]:
    row: dict[str, Cell] = {column.key: "" for column in columns}
    row["finding"] = f"Mean of {len(evaluation.scored)} scored"
    row["auroc"] = Estimate(value=evaluation.mean_auroc, interval=evaluation.mean_auroc_ci95)
    if "auprc" in row:
        row["auprc"] = None
    return row


def _findings_caption(evaluation: Evaluation) -> str:
    told = [
        "AUC is the chance that a radiograph with the finding gets a higher score than one "
        "without it."
    ]
    if evaluation.num_resamples:
        unit = "images" if evaluation.num_patients is None else "patients"
        told.append(
            f"The 95 % intervals come from {evaluation.num_resamples:,} bootstrap draws of {unit}; "
            "none is given where three or fewer carry the finding."
        )
    else:
        told.append("No intervals were computed.")
    if len(evaluation.scored) < len(evaluation.findings):
        told.append("Undefined: all known labels are the same.")
    told.append(f"An AUC from fewer than {FEW_POSITIVES} images says little.")
    return " ".join(told)


def _sources_table(results: list[PublishedResult] | tuple[PublishedResult, ...]) -> Table:
    return Table(
        name="published_sources",
        columns=[
            Column(key="result", label="Result"),
            Column(key="split", label="Tested on"),
            Column(key="mean_auroc", label="Mean AUC", form="number", digits=3),
            Column(key="model", label="Model"),
            Column(key="citation", label="Citation"),
            Column(key="source", label="Read from"),
            Column(key="note", label="Note"),
        ],
        rows=[
            {
                "result": result.key,
                "split": SPLIT_WORDS[result.split],
                "mean_auroc": result.mean_auroc,
                "model": result.model,
                "citation": result.citation,
                "source": result.source,
                "note": result.note,
            }
            for result in results
        ],
    )


def _published_table(inputs: ReportInputs) -> Table:
    evaluation = inputs.evaluation
    detailed = [result for result in inputs.published if result.aurocs]
    columns = [
        Column(key="finding", label="Finding", form="finding"),
        Column(key="this_model", label="This model", form="estimate", digits=3),
    ]
    columns += [
        Column(key=r.key, label=r.key, form="number", digits=3, where_none="-") for r in detailed
    ]
    rows: list[Mapping[str, Cell]] = [
        {
            "finding": name,
            "this_model": Estimate(value=one.auroc, interval=one.auroc_ci95),
            **{r.key: r.aurocs.get(name) for r in detailed},
        }
        for name, one in evaluation.findings.items()
    ]
    rows.append(
        {
            "finding": "Mean",
            "this_model": Estimate(value=evaluation.mean_auroc, interval=evaluation.mean_auroc_ci95),
            **{r.key: r.mean_auroc for r in detailed},
        }
    )
    return Table(name="published", columns=columns, rows=rows, totals=1)
