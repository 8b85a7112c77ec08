"""Findings out of free text: what Open-i's radiology reports say, beside a count of their words.

    python examples/beyond/report_findings.py

3,955 reports of Indiana University (Demner-Fushman et al., JAMIA 23, 2016), which the PyPI package
torchxrayvision brings; CC BY-NC-ND, read where they are. Labels are the headings that people gave.
"""

import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
from matplotlib.figure import Figure
from networks import reader
from pyspark.sql import SparkSession
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from study import LEARNING, Findings, package_file, run

from hilum.evaluation import metric_table
from hilum.evaluation.figures import BLUE, GREY, INK, ORANGE, clean_axes, new_figure, with_interval
from hilum.inputs import WordEncoder
from hilum.models import factory
from hilum.spark import NNEstimator

HEADINGS = (
    "normal", "Cardiomegaly", "Pulmonary Atelectasis", "Calcified Granuloma", "Pleural Effusion",
    "Airspace Disease", "Catheters, Indwelling", "Nodule", "Scoliosis", "Emphysema",
)  # fmt: skip
WORDS = 72  # of a report; one in fourteen is longer
RESAMPLES = 500  # of the bootstrap


class Report(NamedTuple):
    """Findings and impression, and whether each of `HEADINGS` was given."""

    number: int
    text: str
    labels: list[float]


def read_reports(archive: Path) -> list[Report]:
    """Reports of an Open-i archive that have a text, by their number."""
    reports = []
    with tarfile.open(archive) as files:
        for member in files:
            content = files.extractfile(member) if member.name.endswith(".xml") else None
            if content is None:
                continue
            root = ElementTree.parse(content).getroot()
            parts = {part.get("Label"): part.text or "" for part in root.iter("AbstractText")}
            text = f"{parts.get('FINDINGS', '')} {parts.get('IMPRESSION', '')}".strip()
            given = {(major.text or "").partition("/")[0] for major in root.iter("major")}
            labels = [float(heading in given) for heading in HEADINGS]
            if text:
                reports.append(Report(int(Path(member.name).stem), text, labels))
    return sorted(reports)


def find(spark: SparkSession, data: Path | None) -> tuple[Findings, None]:
    """Classify reports; AUC of each heading on held-out reports, beside a linear model of words."""
    project = "torchxrayvision"
    archive = data or package_file(project, "data", "NLMCXR_reports.tgz", project=project)
    reports = read_reports(archive)
    # One report per study, so a third of the reports is a third of the studies.
    held = np.random.default_rng(0).random(len(reports)) < 1 / 3
    learnt = [report for report, out in zip(reports, held, strict=True) if not out]
    asked = [report for report, out in zip(reports, held, strict=True) if out]
    schema = "number int, text string, labels array<float>"
    encoder = WordEncoder.fit((report.text for report in learnt), length=WORDS, max_words=2000)
    model = NNEstimator(
        model=factory(reader, words=encoder.size, labels=len(HEADINGS)),
        featuresCol="text",
        labelCol="labels",
        encoders={"text": encoder},
        loss="bce",
        maxEpochs=8,
        batchSize=32,
        learningRate=1e-2,
        **LEARNING,
    ).fit(spark.createDataFrame(learnt, schema))
    rows = model.transform(spark.createDataFrame(asked, schema)).orderBy("number").collect()
    truth = np.array([report.labels for report in asked])
    words = make_pipeline(
        CountVectorizer(binary=True, min_df=2),
        OneVsRestClassifier(LogisticRegression(max_iter=300)),
    ).fit([report.text for report in learnt], np.array([report.labels for report in learnt]))
    scores = {
        "network": 1 / (1 + np.exp(-np.array([row.prediction for row in rows]))),
        "words": words.predict_proba([report.text for report in asked]),
    }
    measured = {
        name: metric_table(truth, values, num_resamples=RESAMPLES)
        for name, values in scores.items()
    }
    found = {
        "reports_learnt": len(learnt),
        "reports_asked": len(asked),
        "positives": {name: int(n) for name, n in zip(HEADINGS, truth.sum(axis=0), strict=True)},
        "mean_auroc": {name: table.macro["auroc"].value for name, table in measured.items()},
        "mean_auroc_ci95": {name: table.macro["auroc"].ci95 for name, table in measured.items()},
        "auroc": {
            name: {h: m["auroc"].value for h, m in zip(HEADINGS, table.findings, strict=True)}
            for name, table in measured.items()
        },
        "auroc_ci95": {
            name: {h: m["auroc"].ci95 for h, m in zip(HEADINGS, table.findings, strict=True)}
            for name, table in measured.items()
        },
    }
    return found, None


def draw(found: Findings, drawn: None) -> Figure:
    """AUC and interval of each heading for both models, the commonest first."""
    figure = new_figure(8.5, 4.4)
    axes = figure.subplots()
    headings = sorted(HEADINGS, key=lambda heading: -found["positives"][heading])
    names = {"network": "network over words in order", "words": "linear model of which words occur"}
    for key, color, shift in (("network", ORANGE, -0.15), ("words", BLUE, 0.15)):
        mean = with_interval(found["mean_auroc"][key], found["mean_auroc_ci95"][key])
        label: str | None = f"{names[key]}: mean AUC {mean}"
        for y, heading in enumerate(headings):
            axes.plot(found["auroc_ci95"][key][heading], (y + shift,) * 2, color=color, linewidth=2)
            value = found["auroc"][key][heading]
            axes.plot(value, y + shift, "o", color=color, markersize=5, label=label)
            label = None
    for y, heading in enumerate(headings):
        axes.text(1.005, y, f"{found['positives'][heading]} reports", va="center", fontsize=8,
                  color=GREY)  # fmt: skip
    axes.set_yticks(range(len(headings)), headings, fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(right=1.0)
    axes.set_title(f"AUC on {found['reports_asked']:,} reports that were not learnt", fontsize=9,
                   color=INK, loc="left")  # fmt: skip
    clean_axes(axes, grid=True)
    axes.legend(
        frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.45, -0.07), ncols=1
    )
    return figure


def main(arguments: Sequence[str] | None = None) -> Findings:
    """Read, learn, ask, draw, print."""
    about = "Open-i's NLMCXR_reports.tgz (default: as packaged)"
    return run("report_findings", find, draw, arguments, data=about)


if __name__ == "__main__":
    main()
