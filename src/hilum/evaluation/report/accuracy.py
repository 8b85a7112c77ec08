"""Parts about ranking: findings, published results beside, ROC and precision-recall curves."""

from collections.abc import Mapping, Sequence

from hilum.evaluation.curves import plot_precision_recall
from hilum.evaluation.figures import ANY_FINDING, spoken
from hilum.evaluation.forest import ForestRow, Reference, plot_forest
from hilum.evaluation.intervals import METRICS, Measured
from hilum.evaluation.plots import plot_aurocs, plot_roc, why_undefined
from hilum.evaluation.published import (
    SHORT_SPLITS,
    PublishedResult,
    comparison_warnings,
    is_official_split,
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
    return Part(
        anchor="findings",
        title="Findings",
        tables=[_findings_table(evaluation)],
        pictures=[] if inputs.published else [picture],  # the forest plot shows the same, and more
        tables_first=True,
    )


def published_part(inputs: ReportInputs) -> Part | None:
    """A forest plot beside published AUCs; None without any."""
    results, evaluation = inputs.published, inputs.evaluation
    if not results:
        return None
    comparable: set[str] = set()
    if is_official_split(evaluation):
        comparable = {result.key for result in results if result.split == "official"}
    detailed = [result for result in results if result.aurocs]
    shortest = [result for result in results if not result.aurocs]
    references = [
        Reference(
            key=result.key,
            label=f"{result.key} ({SHORT_SPLITS[result.split]})",
            hollow=result.key not in comparable,
        )
        for result in (*detailed, *shortest)
    ]
    picture = Picture(
        name="published",
        figure=plot_forest(
            _forest_rows(evaluation, results), references=references, in_legend=len(detailed)
        ),
        text="AUC of each finding with its 95 % interval beside published AUCs",
        caption="Published values have no intervals. Hollow marks: another split than the one "
        "tested here, not comparable.",
    )
    return Part(
        anchor="published",
        title="Beside published results",
        lead=["AUCs that papers report for the same findings on NIH ChestX-ray14."],
        warnings=comparison_warnings(evaluation, results),
        pictures=[picture],
        tables=[_published_table(inputs), _sources_table(results)],
    )


def _forest_rows(evaluation: Evaluation, results: Sequence[PublishedResult]) -> list[ForestRow]:
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
    rows.append(ForestRow(label="Means", heading=True))
    rows.append(
        ForestRow(
            label=f"this model, {len(evaluation.scored)} findings",
            value=evaluation.mean_auroc,
            interval=evaluation.mean_auroc_ci95,
            strong=True,
        )
    )
    rows += [
        ForestRow(
            label=result.key,
            note=f"{result.mean_auroc:.3f}, {SHORT_SPLITS[result.split]}",
            others={result.key: result.mean_auroc},
        )
        for result in results
    ]
    return rows


def curves_part(inputs: ReportInputs) -> Part:
    """ROC curves, and precision-recall curves where they were computed."""
    evaluation = inputs.evaluation
    banded = any(curve is not None and curve.roc.low for curve in inputs.curves.values())
    shade = (
        " The shade holds 95 % of the bootstrap draws of patients at each place." if banded else ""
    )
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
        pictures.append(
            Picture(
                name="precision_recall",
                figure=plot_precision_recall(evaluation, inputs.curves),
                text="One precision-recall curve per finding",
                caption="AUPRC is the area under the curve (average precision). The dashed line is "
                "guessing, which has the prevalence as its precision: judge AUPRC by its distance "
                f"from that line, not by its size.{shade}",
            )
        )
    lead = [
        "Left to right, each ROC curve trades false alarms for found cases. A rare finding can "
        "have a good ROC curve and still give mostly false alarms; the precision-recall curve "
        "shows that."
    ]
    return Part(anchor="roc", title="Curves", lead=lead if inputs.curves else (), pictures=pictures)


def _with_any(evaluation: Evaluation) -> dict[str, FindingResult]:
    several = len(evaluation.findings) > 1
    return {**evaluation.findings, **({ANY_FINDING: evaluation.any_finding} if several else {})}


def _findings_table(evaluation: Evaluation) -> Table:
    columns = [
        Column(key="finding", label="Finding", form="finding"),
        Column(key="positives", label="Images with it", form="count", where_none=""),
        Column(key="images", label="Label known", form="count", where_none=""),
        Column(key="prevalence", label="Prevalence", form="percent", where_none=""),
        Column(key="auroc", label="AUC", form="estimate", digits=3),
        Column(key="auprc", label="AUPRC", form="estimate", digits=3),
        Column(key="brier", label="Brier score", form="estimate", digits=3),
        Column(key="log_loss", label="Log loss", form="estimate", digits=3),
    ]
    rows: list[Mapping[str, Cell]] = [
        {
            "finding": name,
            "positives": result.positives,
            "images": result.images,
            "prevalence": result.prevalence,
            **{key: _estimate(result, key) for key in METRICS},
        }
        for name, result in _with_any(evaluation).items()
    ]
    several = len(evaluation.findings) > 1
    averages = {f"Mean of {len(evaluation.scored)} scored": evaluation.macro} if several else {}
    if several and evaluation.prevalence_weighted:
        averages["Mean weighted by prevalence"] = evaluation.prevalence_weighted
    for name, average in averages.items():
        rows.append(
            {
                "finding": name,
                **dict.fromkeys(("positives", "images", "prevalence")),
                **{key: _average(average, key) for key in METRICS},
            }
        )
    return Table(
        name="findings",
        columns=columns,
        rows=rows,
        totals=len(averages) + several,
        caption=_findings_caption(evaluation),
    )


def _estimate(result: FindingResult, key: str) -> Estimate:
    return Estimate(value=getattr(result, key), interval=getattr(result, f"{key}_ci95"))


def _average(average: Mapping[str, Measured], key: str) -> Estimate | None:
    one = average.get(key)
    return None if one is None else Estimate(value=one.value, interval=one.ci95)


def _findings_caption(evaluation: Evaluation) -> str:
    told = [
        "AUC is the chance that a radiograph with the finding gets a higher score than one "
        "without it; AUPRC the mean precision over all sensitivities, to be judged beside the "
        "prevalence; Brier score and log loss are errors of the probabilities, 0 is perfect."
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


def _sources_table(results: Sequence[PublishedResult]) -> Table:
    return Table(
        name="published_sources",
        columns=[
            Column(key="result", label="Result"),
            Column(key="split", label="Tested on"),
            Column(key="mean_auroc", label="Mean AUC", form="number", digits=3),
            Column(key="model", label="Model"),
            Column(key="citation", label="Citation"),
            Column(key="source", label="Read from", hidden=True),
            Column(key="note", label="Note"),
        ],
        rows=[
            {
                "result": result.key,
                "split": SHORT_SPLITS[result.split],
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
            "this_model": Estimate(
                value=evaluation.mean_auroc, interval=evaluation.mean_auroc_ci95
            ),
            **{r.key: r.mean_auroc for r in detailed},
        }
    )
    return Table(name="published", columns=columns, rows=rows, totals=1)
