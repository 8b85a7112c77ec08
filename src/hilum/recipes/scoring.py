"""Scoring a labelled table with a model, and writing the report people read."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pyspark.sql import DataFrame, SparkSession

from hilum import storage
from hilum.errors import InvalidValueError
from hilum.evaluation import Evaluation, evaluate
from hilum.evaluation.decision import NO_RULES
from hilum.evaluation.report import DataFlow, Example, ReportInputs, write_report
from hilum.spark import NNModel, read_radiographs
from hilum.spark.evaluator import label_matrix
from hilum.spark.image_struct import grey_pixels
from hilum.training import History

__all__ = ["Scored", "own_patient_where_unknown", "report_on", "score"]

NUM_EXAMPLES = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scored:
    """Scores and labels of the same images, in the order of `paths`; rejected ones are counted."""

    paths: tuple[str, ...]
    file_names: tuple[str, ...]
    patient_ids: tuple[str | None, ...]
    views: tuple[str | None, ...]
    labels: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]
    rejected: Mapping[str, int]


def score(model: NNModel, data: DataFrame) -> Scored:
    """Predict every image of a labelled table.

    Raises:
        InvalidValueError: no image of the table could be scored.
    """
    error = model.getErrorCol()
    columns = ["path", "file_name", "patient_id", "view", "labels", model.getPredictionCol(), error]
    if "reason" in data.columns:
        columns.append("reason")
    rows = model.transform(data).select(*columns).toArrow()
    kept = rows.filter(rows[error].is_null())
    failed = rows.filter(rows[error].is_valid()).to_pylist()
    rejected: dict[str, int] = {}
    for row in failed:
        reason = row.get("reason") or row[error]
        rejected[reason] = rejected.get(reason, 0) + 1
    if kept.num_rows == 0:
        raise InvalidValueError(
            f"at least one image must be scored. Got {rows.num_rows} images, rejected {rejected}. "
            "Hint: is the split empty? `hilum ingest DIR` lists the reason of every file."
        )
    return Scored(
        paths=tuple(kept["path"].to_pylist()),
        file_names=tuple(kept["file_name"].to_pylist()),
        patient_ids=tuple(kept["patient_id"].to_pylist()),
        views=tuple(kept["view"].to_pylist()),
        labels=label_matrix(kept["labels"]),
        scores=label_matrix(kept[model.getPredictionCol()]),
        rejected=rejected,
    )


def report_on(
    spark: SparkSession,
    model: NNModel,
    scored: Scored,
    directory: str,
    *,
    flow: DataFlow,
    label_counts: Mapping[str, int],
    label_images: int,
    history: History,
    subtitle: str,
    settings: Mapping[str, object],
    notes: Sequence[str] = (),
    seed: int = 0,
) -> Evaluation:
    """Evaluate and write report.html, metrics.json and predictions.csv into a local directory."""
    rules = model.bundle.decision_rules
    evaluation = evaluate(
        model.findings,
        scored.labels,
        scored.scores,
        patient_ids=own_patient_where_unknown(scored),
        views=scored.views,
        operating_points=() if rules is None else rules.operating_points,
        seed=seed,
    )
    inputs = ReportInputs(
        evaluation=evaluation,
        subtitle=subtitle,
        notes=notes if rules else [*notes, _NO_RULES_NOTE],
        flow=flow,
        label_counts={name: label_counts[name] for name in model.findings if name in label_counts},
        label_images=label_images,
        history=[asdict(record) for record in history],
        examples=_examples(spark, model, scored),
        settings=settings,
    )
    write_report(Path(directory), inputs)
    storage.write_bytes(str(Path(directory) / "predictions.csv"), _csv(model.findings, scored))
    return evaluation


_NO_RULES_NOTE = (
    f"The model has {NO_RULES}: its probabilities are the network's own, and it calls nothing "
    "present or absent."
)


def own_patient_where_unknown(scored: Scored) -> list[str]:
    """Patient ids, (image,); an image whose patient is not known is a patient of its own."""
    pairs = zip(scored.patient_ids, scored.file_names, strict=True)
    return [f"file:{name}" if patient is None else patient for patient, name in pairs]


def _csv(findings: Sequence[str], scored: Scored) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file_name", *findings])
    for name, row in zip(scored.file_names, scored.scores, strict=True):
        writer.writerow([name, *(f"{value:.6f}" for value in row)])
    return text.getvalue().encode()


def _examples(spark: SparkSession, model: NNModel, scored: Scored) -> list[Example]:
    """The images the model is surest about among those with and without a finding."""
    any_score = 1.0 - np.prod(1.0 - scored.scores, axis=1)
    positive = np.nan_to_num(scored.labels).max(axis=1) == 1.0
    order = np.argsort(-any_score, kind="stable")
    half = NUM_EXAMPLES // 2
    chosen = [*order[positive[order]][:half], *order[~positive[order]][::-1][:half]]
    images = read_radiographs(spark, [scored.paths[at] for at in chosen]).select("path", "image")
    pixels = {
        row["path"]: grey_pixels(row["image"].asDict()) for row in images.collect() if row["image"]
    }
    return [
        Example(
            name=scored.file_names[at],
            pixels=pixels[scored.paths[at]],
            probabilities=_named(model.findings, scored.scores[at]),
            labels=_named(model.findings, scored.labels[at]),
        )
        for at in chosen
        if scored.paths[at] in pixels
    ]


def _named(findings: Sequence[str], values: npt.NDArray[np.float64]) -> dict[str, Any]:
    pairs = zip(findings, values.tolist(), strict=True)
    return {name: None if np.isnan(value) else value for name, value in pairs}
