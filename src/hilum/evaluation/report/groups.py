"""Parts about whom the numbers hold for: subgroups, shortcuts, and the labels themselves."""

from collections.abc import Mapping

from hilum.evaluation.figures import spoken, with_interval
from hilum.evaluation.forest import ForestRow, plot_forest
from hilum.evaluation.report.inputs import ReportInputs
from hilum.evaluation.report.parts import Part, Picture
from hilum.evaluation.report.tables import Cell, Column, Estimate, Table
from hilum.evaluation.shortcuts import ShortcutRow
from hilum.evaluation.subgroup_result import Contrast, Subgroups

__all__ = ["BY_COUNT", "label_noise_part", "shortcuts_part", "subgroups_part"]

READ_FROM_FEATURES = 0.8  # a probe above it reads the attribute well enough to lean on
MEANS = "mean of the findings"
BY_COUNT = "number of findings"


def subgroups_part(inputs: ReportInputs) -> Part | None:
    """AUC by sex, age, view, ...; None without groups."""
    groups = inputs.subgroups
    if groups is None or not any(groups.columns.values()):
        return None
    picture = Picture(
        name="subgroups",
        figure=plot_forest(_forest_rows(groups)),
        text="Mean AUC of each subgroup with its 95 % interval",
        caption="Mean AUC over the findings that are defined in the group and in the rest, with "
        "its 95 % interval. rest: the same findings in everybody else; n: images. Images with "
        "several findings are harder by choice: there, the model must tell which one it is.",
    )
    return Part(
        anchor="subgroups",
        title="Subgroups",
        lead=[
            "The same model on parts of the test images, each against everybody else. Groups "
            "differ in how ill they are, too: a gap is a question to ask, not yet an answer; and "
            "with few patients no gap is no proof of equality."
        ],
        warnings=_gaps(groups),
        pictures=[picture],
        tables=[_subgroup_table(groups)],
    )


def shortcuts_part(inputs: ReportInputs) -> Part | None:
    """Whether the model may answer another question than the one asked; None without probes."""
    if not inputs.probes and not inputs.within:
        return None
    tables = [_within_table(name, rows) for name, rows in inputs.within.items()]
    if inputs.probes:
        tables.insert(0, _probe_table(inputs))
    warnings = [
        f"{spoken(attribute).capitalize()} can be read from what the network computes "
        f"({one.value}: AUC {with_interval(one.auroc, one.auroc_ci95)}): the model can lean on it."
        for attribute, probes in inputs.probes.items()
        for one in sorted(probes, key=lambda probe: -probe.auroc)[:1]
        if one.auroc > READ_FROM_FEATURES
    ]
    return Part(
        anchor="shortcuts",
        title="Shortcuts",
        lead=[
            "Could the model answer another question than the one asked? Where an attribute goes "
            "with a finding, knowing the attribute alone gives a good AUC. Within one of its "
            "values it cannot help."
        ],
        warnings=warnings,
        tables=tables,
    )


def label_noise_part(inputs: ReportInputs) -> Part | None:
    """The labels against labels made with more care; None without these."""
    if not inputs.label_agreement:
        return None
    table = Table(
        name="label_noise",
        columns=[
            Column(key="finding", label="Finding", form="finding"),
            Column(key="images", label="Images", form="count"),
            Column(key="ppv", label="PPV of the label", form="estimate"),
            Column(key="sensitivity", label="Sensitivity of the label", form="estimate"),
            Column(key="kappa", label="Cohen's kappa", form="estimate"),
        ],
        rows=[
            {
                "finding": name,
                "images": one.images,
                "ppv": Estimate(value=one.ppv, interval=one.ppv_ci95),
                "sensitivity": Estimate(value=one.sensitivity, interval=one.sensitivity_ci95),
                "kappa": Estimate(value=one.kappa, interval=one.kappa_ci95),
            }
            for name, one in inputs.label_agreement.items()
        ],
        caption="PPV: share of the labelled that are confirmed. Sensitivity: share of the "
        "confirmed that are labelled. Kappa: agreement beyond chance, 1 is full.",
    )
    return Part(anchor="label-noise", title="How far the labels can be trusted", tables=[table])


def _forest_rows(groups: Subgroups) -> list[ForestRow]:
    rows: list[ForestRow] = []
    for column, parts in groups.columns.items():
        rows.append(ForestRow(label=spoken(column), heading=True))
        for name, part in parts.items():
            mean = part.mean_auroc
            note = with_interval(mean.value, mean.ci95)
            if mean.rest is not None:
                note += f", rest {mean.rest:.2f}"
            note += f"; n = {part.images:,}" + ("  differs" if mean.differs else "")
            rows.append(ForestRow(label=name, value=mean.value, interval=mean.ci95, note=note))
    return rows


def _gaps(groups: Subgroups) -> list[str]:
    """A sentence per gap of a mean; gaps of single findings are many, and only counted.

    By number of findings a gap is sure to be there: images are chosen by their labels.
    """
    gaps = [gap for gap in groups.gaps() if gap[0] != BY_COUNT]
    told = [
        f"{spoken(column).capitalize()} {group}: mean AUC {with_interval(c.value, c.ci95)}, "
        f"everybody else {with_interval(c.rest, c.rest_ci95)}; the intervals do not overlap."
        for column, group, finding, figure, c in gaps
        if finding == "mean" and figure == "auroc"
    ]
    single = [
        f"{spoken(finding)} ({column} {group})"
        for column, group, finding, figure, _ in gaps
        if finding != "mean" and figure == "auroc"
    ]
    if single:
        more = f" and {len(single) - 3} more" if len(single) > 3 else ""
        told.append(f"Single findings whose AUC differs: {', '.join(single[:3])}{more}.")
    return told


def _subgroup_table(groups: Subgroups) -> Table:
    means: list[Mapping[str, Cell]] = []
    single: list[Mapping[str, Cell]] = []
    for column, parts in groups.columns.items():
        for group, part in parts.items():
            place: dict[str, Cell] = {
                "column": column, "group": group, "images": part.images, "patients": part.patients
            }  # fmt: skip
            nothing = {"positives": None, "sensitivity": None, "specificity": None}
            means.append({**place, **nothing, "outcome": MEANS, **_auroc(part.mean_auroc)})
            for finding, one in part.findings.items():
                rates = {"sensitivity": one.sensitivity, "specificity": one.specificity}
                row: dict[str, Cell] = {key: _estimate(rate) for key, rate in rates.items()}
                row |= {"positives": one.positives, "outcome": finding}
                single.append({**place, **row, **_auroc(one.auroc)})
    return Table(
        name="subgroups",
        columns=[
            Column(key="column", label="By", form="finding"),
            Column(key="group", label="Group"),
            Column(key="outcome", label="AUC of", form="finding"),
            Column(key="images", label="Images", form="count"),
            Column(key="patients", label="Patients", form="count"),
            Column(key="positives", label="With it", form="count", hidden=True),
            Column(key="auroc", label="AUC", form="estimate", digits=3),
            Column(key="rest", label="AUC, everybody else", form="estimate", digits=3),
            Column(key="sensitivity", label="Sensitivity", form="estimate", hidden=True),
            Column(key="specificity", label="Specificity", form="estimate", hidden=True),
            Column(key="differs", label="Differs"),
        ],
        rows=[*means, *single],
        shown=0,
        caption="In the file: also every finding, with sensitivity and specificity.",
    )


def _auroc(contrast: Contrast) -> dict[str, Cell]:
    return {
        "auroc": _estimate(contrast),
        "rest": Estimate(value=contrast.rest, interval=contrast.rest_ci95),
        "differs": "yes" if contrast.differs else "",
    }


def _estimate(contrast: Contrast) -> Estimate:
    return Estimate(value=contrast.value, interval=contrast.ci95)


def _probe_table(inputs: ReportInputs) -> Table:
    return Table(
        name="shortcut_probes",
        columns=[
            Column(key="attribute", label="Read from the features", form="finding"),
            Column(key="value", label="Value"),
            Column(key="images", label="Images with it", form="count"),
            Column(key="others", label="Others", form="count"),
            Column(key="auroc", label="AUC", form="estimate", digits=3),
        ],
        rows=[
            {
                "attribute": attribute,
                "value": one.value,
                "images": one.images,
                "others": one.others,
                "auroc": Estimate(value=one.auroc, interval=one.auroc_ci95),
            }
            for attribute, probes in inputs.probes.items()
            for one in probes
        ],
        caption="A logistic regression on what the network computes before its head, tested on "
        "patients it was not fitted on. It shows that the information is there, not that it is "
        "used.",
    )


def _within_table(attribute: str, rows: Mapping[str, ShortcutRow]) -> Table:
    values = list(dict.fromkeys(value for row in rows.values() for value in row.within))
    columns = [
        Column(key="finding", label="Finding", form="finding"),
        Column(key="overall", label="AUC, all images", form="number", digits=3),
        Column(key="alone", label=f"{attribute} alone", form="number", digits=3),
    ]
    columns += [
        Column(key=f"within_{value}", label=f"within {value}", form="estimate", digits=3)
        for value in values
    ]
    return Table(
        name=f"within_{attribute}",
        columns=columns,
        rows=[
            {
                "finding": name,
                "overall": row.overall,
                "alone": row.alone,
                **{
                    f"within_{value}": Estimate(
                        value=row.within.get(value), interval=row.within_ci95.get(value)
                    )
                    for value in values
                },
            }
            for name, row in rows.items()
        ],
        caption=f'"{attribute} alone": the AUC of knowing nothing but the {attribute}. A model '
        f"well above it within each {attribute} sees more than the {attribute}.",
    )
