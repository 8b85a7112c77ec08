"""Parts about how far images may change before the numbers fail, and where the model looks."""

from collections.abc import Mapping

from hilum.evaluation.curves import plot_robustness
from hilum.evaluation.report.inputs import ReportInputs
from hilum.evaluation.report.parts import Part, Picture
from hilum.evaluation.report.tables import Cell, Column, Estimate, Table

__all__ = [
    "localisation_part",
    "out_of_distribution_part",
    "robustness_part",
    "views_part",
]

AUROC = Column(key="auroc", label="AUC", form="estimate", digits=3)
IMAGES = Column(key="images", label="Images", form="count")


def views_part(inputs: ReportInputs) -> Part | None:
    """The same model within each view; None where views are not known."""
    by_view = inputs.evaluation.by_view
    if not by_view:
        return None
    table = Table(
        name="views",
        columns=[
            Column(key="view", label="View"),
            IMAGES,
            Column(key="patients", label="Patients", form="count", where_none="not known"),
            Column(key="any_finding", label="With any finding", form="percent"),
            Column(key="any_auroc", label="AUC, any finding", form="estimate", digits=3),
            Column(key="mean_auroc", label="Mean AUC", form="estimate", digits=3),
            Column(key="findings_scored", label="Findings in the mean", form="count"),
        ],
        rows=[
            {
                "view": view,
                "images": one.images,
                "patients": one.patients,
                "any_finding": one.any_finding.prevalence,
                "any_auroc": Estimate(
                    value=one.any_finding.auroc, interval=one.any_finding.auroc_ci95
                ),
                "mean_auroc": Estimate(value=one.mean_auroc, interval=one.mean_auroc_ci95),
                "findings_scored": one.findings_scored,
            }
            for view, one in by_view.items()
        ],
        caption="The sickest patients are imaged in bed (AP), so the view alone tells a model "
        "something about the finding. Within one view it cannot. Means over different findings "
        "are not comparable.",
    )
    return Part(anchor="views", title="By view", tables=[table])


def robustness_part(inputs: ReportInputs) -> Part | None:
    """AUC under noise, blur, rotation, ...; None without curves."""
    curves = inputs.disturbances
    if not curves:
        return None
    named = {
        f"{curve.name} ({curve.unit})" if curve.unit else curve.name: curve for curve in curves
    }
    picture = Picture(
        name="robustness",
        figure=plot_robustness(
            {name: list(curve.points) for name, curve in named.items()},
            inputs.evaluation.mean_auroc,
        ),
        text="Mean AUC under growing disturbance, one panel per disturbance",
        caption="Mean AUC over the findings. Dashed: the images as they are. Thin line: guessing.",
    )
    rows: list[Mapping[str, Cell]] = [
        {
            "disturbance": curve.name,
            "unit": curve.unit,
            "level": level if isinstance(level, str) else f"{level:g}",
            "auroc": Estimate(value=value, interval=interval),
        }
        for curve in curves
        for level, value, interval in curve.points
    ]
    table = Table(
        name="robustness",
        columns=[
            Column(key="disturbance", label="Disturbance"),
            Column(key="unit", label="Unit"),
            Column(key="level", label="Level"),
            AUROC,
        ],
        rows=rows,
        shown=0,
    )
    return Part(
        anchor="robustness", title="Robustness", warnings=_fragile(inputs), pictures=[picture],
        tables=[table],
    )  # fmt: skip


def out_of_distribution_part(inputs: ReportInputs) -> Part | None:
    """Whether the model's warning tells what it should not be used on; None if not measured."""
    if not inputs.out_of_distribution:
        return None
    table = Table(
        name="out_of_distribution",
        columns=[
            Column(key="kind", label="Told from the test images"),
            IMAGES,
            AUROC,
            Column(key="flagged", label="Warned of", form="percent", where_none="-"),
        ],
        rows=[
            {
                "kind": one.kind,
                "images": one.images,
                "auroc": one.auroc,
                "flagged": one.flagged,
            }
            for one in inputs.out_of_distribution
        ],
        caption="AUC of the out-of-distribution score: 1 tells these images from the test images "
        "perfectly, 0.5 not at all.",
    )
    return Part(anchor="out-of-distribution", title="Out of distribution", tables=[table])


def localisation_part(inputs: ReportInputs) -> Part | None:
    """Heat maps against boxes of radiologists; None without boxes."""
    if not inputs.localisation:
        return None
    table = Table(
        name="localisation",
        columns=[
            Column(key="finding", label="Finding", form="finding"),
            Column(key="method", label="Method"),
            Column(key="boxes", label="Boxes", form="count"),
            Column(key="pointing", label="Points into the box", form="estimate"),
            Column(key="pointing_chance", label="By chance", form="number", where_none="-"),
            Column(key="iou", label="IoU", form="estimate"),
            Column(key="iou_chance", label="By chance", form="number", where_none="-"),
        ],
        rows=[
            {
                "finding": one.finding,
                "method": one.method,
                "boxes": one.boxes,
                "pointing": one.pointing,
                "pointing_chance": one.pointing_chance,
                "iou": one.iou,
                "iou_chance": one.iou_chance,
            }
            for one in inputs.localisation
        ],
        caption="A check of the heat maps, not a detector: the model was never shown a box.",
    )
    return Part(anchor="localisation", title="Where the model looks", tables=[table])


def _fragile(inputs: ReportInputs) -> list[str]:
    clean = inputs.evaluation.mean_auroc
    if clean is None:
        return []
    drops = [
        (clean - value, curve.name, level)
        for curve in inputs.disturbances
        for level, value, _ in curve.points
        if value is not None
    ]
    worst = max(drops, default=(0.0, "", ""))
    if worst[0] < 0.05:
        return []
    level = worst[2] if isinstance(worst[2], str) else f"{worst[2]:g}"
    return [f"Largest loss: {worst[0]:.2f} of mean AUC under {worst[1]} ({level})."]
