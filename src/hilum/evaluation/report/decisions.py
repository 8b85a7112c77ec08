"""Parts about acting on a score: operating points, calibration, who is mistaken for whom."""

from collections.abc import Mapping, Sequence

from hilum.evaluation.cooccurrence import Cooccurrence
from hilum.evaluation.curves import plot_confusion, plot_reliability
from hilum.evaluation.figures import number, spoken
from hilum.evaluation.report.inputs import Calibration, OperatingPoint, ReportInputs
from hilum.evaluation.report.parts import Part, Picture
from hilum.evaluation.report.tables import Cell, Column, Table

__all__ = ["calibration_part", "cooccurrence_part", "operating_points_part"]

FEW_IMAGES = 5  # a share of fewer is not worth a sentence


def operating_points_part(inputs: ReportInputs) -> Part | None:
    """Sensitivity, specificity and predictive values at thresholds; None without any."""
    points = inputs.operating_points
    if not points:
        return None
    frozen = all(point.frozen for point in points)
    lead = [
        "At a threshold the score becomes a call. Sensitivity: the share of images with the finding "
        "that are called. Specificity: the share of those without it that are not. PPV and NPV: "
        "the share of calls, and of non-calls, that are right, at the prevalence of these images.",
    ]
    if frozen:
        lead.append(
            "The thresholds were chosen on validation patients and frozen before these images "
            "were scored, so sensitivity and specificity need not match the rule exactly."
        )
    warnings = [] if frozen else [_NOT_FROZEN]
    return Part(
        anchor="operating-points",
        title="Operating points",
        lead=lead,
        warnings=warnings,
        tables=[_points_table(points)],
    )


_NOT_FROZEN = (
    "The bundle has no frozen thresholds. Those here were chosen on the tested images themselves: "
    "they describe the curves, and promise nothing for other images."
)


def calibration_part(inputs: ReportInputs) -> Part | None:
    """Reliability diagrams and calibration errors; None without any."""
    results = inputs.calibration
    if not results:
        return None
    how = (
        "The scores were calibrated on validation patients."
        if inputs.calibrated
        else "The scores were not calibrated: 0.8 need not mean that 8 of 10 such patients have it."
    )
    picture = Picture(
        name="reliability",
        figure=plot_reliability(
            {one.finding: list(one.bins) for one in results},
            {one.finding: f"ECE {number(one.ece.value, 3)}" for one in results},
        ),
        text="One reliability diagram per finding",
        caption="Each point is a bin of images; its area shows how many. On the diagonal the "
        "probabilities can be taken at their word; below it they are too high. Lines are 95 % "
        "intervals of the observed share.",
    )
    return Part(
        anchor="calibration",
        title="Calibration",
        lead=[how],
        pictures=[picture],
        tables=[_calibration_table(results), _bins_table(results)],
    )


def cooccurrence_part(inputs: ReportInputs) -> Part | None:
    """How often a finding is called where another one is there instead; None without counts."""
    table = inputs.cooccurrence
    if table is None or not table.clear:
        return None
    origin = (
        "at the frozen thresholds"
        if inputs.thresholds_frozen
        else "at thresholds that call 10 % of the tested images without the finding"
    )
    picture = Picture(
        name="cooccurrence",
        figure=plot_confusion(table),
        text="How often each absent finding is called, by the finding that is present",
        caption="Per cent of the images that lack the row's finding and have the column's. "
        '"nothing": images on which every finding is known to be absent. A dash: no such image.',
    )
    return Part(
        anchor="cooccurrence",
        title="Confusion by co-occurring finding",
        lead=[
            "A model that has learned to see illness rather than the finding calls everything on a "
            f"sick radiograph. False calls {origin}:",
            *_worst_pairs(table),
        ],
        pictures=[picture],
        tables=[_pairs_table(table)],
    )


def _worst_pairs(table: Cooccurrence) -> list[str]:
    found = []
    for (called, present), count in table.pairs.items():
        clear = table.clear[called].rate
        if count.images >= FEW_IMAGES and count.rate is not None and clear is not None:
            found.append((count.rate - clear, called, present, count, clear))
    found.sort(key=lambda entry: -entry[0])
    return [
        f"{spoken(called)} is called on {count.called} of {count.images} images "
        f"({100 * (count.rate or 0):.0f} %) that have {spoken(present)} and not "
        f"{spoken(called)}, and on {100 * clear:.0f} % of those without any finding."
        for gap, called, present, count, clear in found[:2]
        if gap > 0
    ]


def _points_table(points: Sequence[OperatingPoint]) -> Table:
    rows: list[Mapping[str, Cell]] = [
        {
            "finding": point.finding,
            "rule": point.rule,
            "threshold": point.threshold,
            "sensitivity": point.sensitivity,
            "specificity": point.specificity,
            "ppv": point.ppv,
            "npv": point.npv,
            "f1": point.f1,
            "frozen": "yes" if point.frozen else "no",
        }
        for point in points
    ]
    return Table(
        name="operating_points",
        columns=[
            Column(key="finding", label="Finding", form="finding"),
            Column(key="rule", label="Threshold for"),
            Column(key="threshold", label="Threshold", form="number", digits=3),
            Column(key="sensitivity", label="Sensitivity", form="estimate"),
            Column(key="specificity", label="Specificity", form="estimate"),
            Column(key="ppv", label="PPV", form="estimate"),
            Column(key="npv", label="NPV", form="estimate"),
            Column(key="f1", label="F1", form="number"),
            Column(key="frozen", label="Frozen"),
        ],
        rows=rows,
        caption="Below each value its 95 % interval, where there is one.",
    )


def _calibration_table(results: Sequence[Calibration]) -> Table:
    return Table(
        name="calibration",
        columns=[
            Column(key="finding", label="Finding", form="finding"),
            Column(key="ece", label="ECE", form="estimate", digits=3),
            Column(key="ece_debiased", label="ECE, bias removed", form="number", digits=3),
            Column(key="brier", label="Brier score", form="estimate", digits=3),
        ],
        rows=[
            {
                "finding": one.finding,
                "ece": one.ece,
                "ece_debiased": one.ece_debiased,
                "brier": one.brier,
            }
            for one in results
        ],
        caption="ECE: mean distance from the diagonal, over images. Few images alone make it "
        "larger than 0; the bias is what a perfectly calibrated model would show. Brier: mean "
        "squared error of the probability.",
    )


def _bins_table(results: Sequence[Calibration]) -> Table:
    """For CSV and JSON: the picture shows it to people."""
    return Table(
        name="calibration_bins",
        columns=[
            Column(key="finding", label="Finding", form="finding"),
            Column(key="predicted", label="Mean probability", form="number"),
            Column(key="observed", label="Share with it", form="number"),
            Column(key="low", label="Low", form="number"),
            Column(key="high", label="High", form="number"),
            Column(key="images", label="Images", form="count"),
        ],
        rows=[
            {
                "finding": one.finding,
                "predicted": predicted,
                "observed": observed,
                "low": None if interval is None else interval[0],
                "high": None if interval is None else interval[1],
                "images": images,
            }
            for one in results
            for predicted, observed, interval, images in one.bins
        ],
        shown=0,
    )


def _pairs_table(table: Cooccurrence) -> Table:
    """For CSV and JSON: the picture shows it to people."""
    named = [(called, "", count) for called, count in table.clear.items()]
    named += [(called, present, count) for (called, present), count in table.pairs.items()]
    return Table(
        name="cooccurrence",
        columns=[
            Column(key="called", label="Called", form="finding"),
            Column(key="present", label="Present", form="finding"),
            Column(key="threshold", label="Threshold", form="number", digits=3),
            Column(key="images", label="Images", form="count"),
            Column(key="false_calls", label="Called", form="count"),
            Column(key="rate", label="Share", form="percent", where_none="-"),
        ],
        rows=[
            {
                "called": called,
                "present": present,
                "threshold": table.thresholds[called],
                "images": count.images,
                "false_calls": count.called,
                "rate": count.rate,
            }
            for called, present, count in named
        ],
        shown=0,
    )
