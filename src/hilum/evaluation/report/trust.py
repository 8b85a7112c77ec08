"""Parts about how far images may change before the numbers fail, and where the model looks."""

from collections.abc import Mapping

from hilum.evaluation.report.inputs import ReportInputs
from hilum.evaluation.report.parts import Part, Picture
from hilum.evaluation.report.tables import Cell, Column, Estimate, Table
from hilum.evaluation.robustness import Robustness, RobustnessCurve
from hilum.evaluation.robustness_plot import plot_robustness

__all__ = [
    "localisation_part",
    "out_of_distribution_part",
    "robustness_part",
    "views_part",
]

AUROC = Column(key="auroc", label="AUC", form="estimate", digits=3)
WORTH_TELLING = 0.05  # of mean AUC
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
    """AUC under noise, blur, rotation, ...; None if not measured."""
    measured = inputs.robustness
    if measured is None or not measured.curves:
        return None
    picture = Picture(
        name="robustness",
        figure=plot_robustness(measured),
        text="AUC under growing disturbance, one panel per disturbance",
        caption=f"AUCs of the same {measured.num_images:,} test images, disturbed more and more to "
        "the right. Grey lines: single findings, many of them from few images.",
    )
    table = Table(
        name="robustness",
        columns=[
            Column(key="disturbance", label="Disturbance"),
            Column(key="unit", label="Unit"),
            Column(key="level", label="Level", form="number", where_none="as is"),
            AUROC,
            Column(key="any_finding", label="AUC, any finding", form="number", digits=3),
            Column(key="mean_change", label="Mean change of a probability", form="number"),
        ],
        rows=_robustness_rows(measured),
        shown=0,
    )
    return Part(
        anchor="robustness",
        title="Robustness",
        lead=_worst(measured),
        warnings=_fragile(measured),
        pictures=[picture],
        tables=[table],
    )


def _robustness_rows(measured: Robustness) -> list[Mapping[str, Cell]]:
    points = [("none", "", measured.unchanged)]
    points += [
        (curve.perturbation, curve.unit, p) for curve in measured.curves for p in curve.points
    ]
    return [
        {
            "disturbance": name,
            "unit": unit,
            "level": point.level,
            "auroc": Estimate(value=point.mean_auroc, interval=point.mean_auroc_ci95),
            "any_finding": point.any_finding_auroc,
            "mean_change": point.mean_change,
        }
        for name, unit, point in points
    ]


def out_of_distribution_part(inputs: ReportInputs) -> Part | None:
    """Whether the model's warning tells what it should not be used on; None if not measured."""
    if not inputs.out_of_distribution:
        return None
    table = Table(
        name="out_of_distribution",
        columns=[
            Column(key="kind", label="Told from radiographs"),
            Column(key="images", label="Radiographs", form="count"),
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
        caption="AUC of the out-of-distribution score: 1 tells these images from validation "
        "radiographs perfectly, 0.5 not at all. Warned of: share whose score is above 1.",
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
            Column(key="maps", label="Maps", form="count"),
            Column(key="patients", label="Patients", form="count"),
            Column(key="hit_rate", label="Points into a box", form="estimate"),
            Column(key="chance", label="A point anywhere", form="number"),
            Column(key="chance_elsewhere", label="Other images' maps", form="number"),
            Column(key="iou", label="IoU", form="number"),
        ],
        rows=[
            {
                "finding": name,
                "maps": one.maps,
                "patients": one.patients,
                "hit_rate": Estimate(value=one.hit_rate, interval=one.hit_rate_ci95),
                "chance": one.chance,
                "chance_elsewhere": one.chance_elsewhere,
                "iou": one.iou,
            }
            for name, one in inputs.localisation.items()
        ],
        caption="Pointing game: does the strongest place of the heat map lie in a box? Beside it "
        "two chance levels. A check of the maps, not a detector: the model was never shown a box.",
    )
    return Part(anchor="localisation", title="Where the model looks", tables=[table])


def _worst(measured: Robustness) -> list[str]:
    """The disturbance that costs most at its strongest."""
    drops = _drops(measured, at=-1)
    if not drops:
        return []
    return [
        f"Of all disturbances at their strongest, most is lost by {_told(measured, max(drops))}."
    ]


def _fragile(measured: Robustness) -> list[str]:
    """Disturbances that cost already where they are slight: those happen in practice."""
    return [
        f"AUC is lost by {_told(measured, drop)}."
        for drop in sorted(_drops(measured, at=0), reverse=True)
        if drop[0] >= WORTH_TELLING
    ]


def _drops(measured: Robustness, *, at: int) -> list[tuple[float, str, str]]:
    """Loss of mean AUC, disturbance and level; the first level is the slightest."""
    clean = measured.unchanged.mean_auroc
    return [
        (clean - value, curve.perturbation, _level(curve, level))
        for curve in measured.curves
        for value, level in [(curve.points[at].mean_auroc, curve.points[at].level)]
        if clean is not None and value is not None
    ]


def _level(curve: RobustnessCurve, level: float | None) -> str:
    """The level in words; one that is either there or not needs none."""
    return "" if level is None or len(curve.points) == 1 else f"{level:g} {curve.unit}, "


def _told(measured: Robustness, drop: tuple[float, str, str]) -> str:
    clean = measured.unchanged.mean_auroc or 0.0
    loss, name, level = drop
    return f"{name} ({level}mean AUC {clean:.2f} to {clean - loss:.2f})"
