"""Parts about acting on a score: operating points, calibration, who is mistaken for whom."""

from collections.abc import Mapping, Sequence

from hilum.evaluation.confusion import RATES, OperatingResult
from hilum.evaluation.cooccurrence import Cooccurrence
from hilum.evaluation.curves import FEW_IMAGES, plot_confusion, plot_reliability
from hilum.evaluation.figures import spoken
from hilum.evaluation.reliability import Reliability
from hilum.evaluation.report.inputs import ReportInputs
from hilum.evaluation.report.parts import Part, Picture
from hilum.evaluation.report.tables import Cell, Column, Estimate, Table

__all__ = ["calibration_part", "cooccurrence_part", "operating_points_part"]


def operating_points_part(inputs: ReportInputs) -> Part | None:
    """Sensitivity, specificity and predictive values at frozen thresholds; None without any."""
    results = inputs.evaluation.findings
    names = list(dict.fromkeys(name for one in results.values() for name in one.operating_points))
    if not names:
        return None
    without = [spoken(name) for name, one in results.items() if not one.operating_points]
    lead = [
        "At a threshold the score becomes a call. Sensitivity: the share of images with the "
        "finding that are called. Specificity: the share of those without it that are not. PPV "
        "and NPV: the share of calls, and of non-calls, that are right.",
        f"The thresholds were {inputs.fitted_on or 'chosen'} and frozen before these images were "
        "scored, so sensitivity and specificity need not meet the rule exactly.",
    ]
    warnings = []
    if without:
        warnings.append(f"No threshold could be chosen for {', '.join(without)}.")
    return Part(
        anchor="operating-points",
        title="Operating points",
        lead=lead,
        warnings=warnings,
        tables=[_points_table(inputs, names), _prevalence_table(inputs, names[0])],
    )


def calibration_part(inputs: ReportInputs) -> Part | None:
    """Reliability diagrams and calibration errors; None without any."""
    results = {name: one.reliability for name, one in inputs.evaluation.findings.items()}
    if not any(results.values()):
        return None
    picture = Picture(
        name="reliability",
        figure=plot_reliability(results),
        text="One reliability diagram per finding",
        caption="Each point is a bin of images; its area shows how many. On the diagonal the "
        "probabilities can be taken at their word; below it they are too high. Lines are 95 % "
        "intervals of the observed share.",
    )
    return Part(
        anchor="calibration",
        title="Calibration",
        lead=[_calibrated(inputs)],
        pictures=[picture],
        tables=[_calibration_table(results), _bins_table(results)],
    )


def _calibrated(inputs: ReportInputs) -> str:
    raw = [name for name in inputs.evaluation.findings if name not in inputs.calibrated]
    if not inputs.calibrated:
        return (
            "The scores were not calibrated: 0.8 need not mean that 8 of 10 such patients have it."
        )
    told = f"The probabilities were calibrated, {inputs.fitted_on or 'on other patients'}."
    if raw:
        told += f" Not calibrated, for want of patients: {', '.join(map(spoken, raw))}."
    return told


def cooccurrence_part(inputs: ReportInputs) -> Part | None:
    """How often a finding is called where another one is there instead; None without counts."""
    table = inputs.cooccurrence
    if table is None or not table.clear:
        return None
    origin = (
        "at the frozen thresholds"
        if any(one.operating_points for one in inputs.evaluation.findings.values())
        else "at thresholds that call 10 % of the tested images without the finding"
    )
    picture = Picture(
        name="cooccurrence",
        figure=plot_confusion(table),
        text="How often each absent finding is called, by the finding that is present",
        caption="Per cent of the images that lack the row's finding and have the column's. "
        '"nothing": images on which every finding is known to be absent. '
        f"Blank: fewer than {FEW_IMAGES} such images.",
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


def _points_table(inputs: ReportInputs, names: Sequence[str]) -> Table:
    rows: list[Mapping[str, Cell]] = []
    for rule in names:
        for finding, one in inputs.evaluation.findings.items():
            point = one.operating_points.get(rule)
            if point is not None:
                rates = {key: _rate(point, key) for key in RATES}
                words = inputs.rules.get(rule, rule)
                row: dict[str, Cell] = {
                    "rule": words,
                    "finding": finding,
                    "threshold": point.threshold,
                }
                rows.append({**row, **rates})
    others = [inputs.rules.get(rule, rule) for rule in names[1:]]
    labels = ("Sensitivity", "Specificity", "PPV", "NPV", "F1", "LR+", "LR-")
    return Table(
        name="operating_points",
        columns=[
            Column(key="rule", label="Threshold for", form="group"),
            Column(key="finding", label="Finding", form="finding"),
            Column(key="threshold", label="Threshold", form="number", digits=3),
            *(
                Column(key=key, label=label, form="estimate")
                for key, label in zip(RATES, labels, strict=True)
            ),
        ],
        rows=rows,
        shown=sum(row["rule"] == rows[0]["rule"] for row in rows),
        caption="Below each value its 95 % interval. LR+ and LR-: how much a call, and a non-call, "
        "multiply the odds of the finding. PPV and NPV hold for the prevalence of these images."
        + (f" In the file: also the thresholds for {', '.join(others)}." if others else ""),
    )


def _rate(point: OperatingResult, key: str) -> Estimate:
    return Estimate(value=point.rates[key], interval=point.ci95[key])


def _prevalence_table(inputs: ReportInputs, rule: str) -> Table:
    points = {
        name: one.operating_points[rule]
        for name, one in inputs.evaluation.findings.items()
        if rule in one.operating_points
    }
    shares = [row.prevalence for row in next(iter(points.values())).at_prevalence]
    kinds = (("ppv", "PPV"), ("npv", "NPV"))
    columns = [
        Column(
            key=f"{key}_at_{100 * share:g}", label=f"{label} at {100 * share:g} %", form="estimate"
        )
        for key, label in kinds
        for share in shares
    ]
    rows: list[Mapping[str, Cell]] = []
    for name, point in points.items():
        row: dict[str, Cell] = {"finding": name}
        for at in point.at_prevalence:
            share = f"{100 * at.prevalence:g}"
            row[f"ppv_at_{share}"] = Estimate(value=at.ppv, interval=at.ppv_ci95)
            row[f"npv_at_{share}"] = Estimate(value=at.npv, interval=at.npv_ci95)
        rows.append(row)
    words = inputs.rules.get(rule, rule)
    return Table(
        name="predictive_values",
        columns=[Column(key="finding", label="Finding", form="finding"), *columns],
        rows=rows,
        plain_estimates=True,
        caption=f"What the same thresholds ({words}) would give where the finding is rarer or more "
        "frequent; intervals are in predictive_values.csv.",
    )


def _calibration_table(results: Mapping[str, Reliability | None]) -> Table:
    """For CSV and JSON: the picture shows it to people."""
    return Table(
        name="calibration",
        columns=[
            Column(key="finding", label="Finding", form="finding"),
            Column(key="ece", label="ECE", form="number", digits=3),
            Column(key="ece_debiased", label="ECE, bias removed", form="number", digits=3),
            Column(key="squared_error", label="Squared error", form="number", digits=4),
        ],
        rows=[
            {
                "finding": name,
                "ece": None if one is None else one.ece,
                "ece_debiased": None if one is None else one.ece_debiased,
                "squared_error": None if one is None else one.squared_error,
            }
            for name, one in results.items()
        ],
        shown=0,
        caption="ECE: mean distance from the diagonal, over images. Chance alone makes it larger "
        "than 0; less bias: without what a perfect model would show in so few images.",
    )


def _bins_table(results: Mapping[str, Reliability | None]) -> Table:
    """For CSV and JSON: the picture shows it to people."""
    keys = ("mean_probability", "share", "standard_error", "images")
    return Table(
        name="calibration_bins",
        columns=[
            Column(key="finding", label="Finding", form="finding"),
            Column(key="mean_probability", label="Mean probability", form="number"),
            Column(key="share", label="Share with it", form="number"),
            Column(key="standard_error", label="Standard error", form="number"),
            Column(key="images", label="Images", form="count"),
        ],
        rows=[
            {"finding": name, **dict(zip(keys, values, strict=True))}
            for name, one in results.items()
            if one is not None
            for values in zip(*(getattr(one, key) for key in keys), strict=True)
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
