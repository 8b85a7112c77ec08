"""Scoring a labelled table with a model."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pyspark.sql import DataFrame

from hilum.errors import InvalidValueError
from hilum.spark import NNModel
from hilum.spark.evaluator import label_matrix

__all__ = ["Scored", "own_patient_where_unknown", "predictions_csv", "score"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scored:
    """Scores and labels of the same images, in the order of `paths`; rejected ones are counted.

    Sexes and ages are empty where the label table has none.
    """

    paths: tuple[str, ...]
    file_names: tuple[str, ...]
    patient_ids: tuple[str | None, ...]
    views: tuple[str | None, ...]
    labels: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]
    rejected: Mapping[str, int]
    sexes: tuple[str | None, ...] = ()
    ages_years: tuple[float | None, ...] = ()


def score(model: NNModel, data: DataFrame) -> Scored:
    """Predict every image of a labelled table.

    Raises:
        InvalidValueError: no image of the table could be scored.
    """
    error = model.getErrorCol()
    columns = ["path", "file_name", "patient_id", "view", "labels", model.getPredictionCol(), error]
    columns += [name for name in ("reason", "sex", "age_years") if name in data.columns]
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
        sexes=tuple(kept["sex"].to_pylist()) if "sex" in kept.column_names else (),
        ages_years=tuple(kept["age_years"].to_pylist()) if "age_years" in kept.column_names else (),
    )


def own_patient_where_unknown(scored: Scored) -> list[str]:
    """Patient ids, (image,); an image whose patient is not known is a patient of its own."""
    pairs = zip(scored.patient_ids, scored.file_names, strict=True)
    return [f"file:{name}" if patient is None else patient for patient, name in pairs]


def predictions_csv(findings: Sequence[str], scored: Scored) -> bytes:
    """Return the probabilities as CSV, one row per image in the order of `scored`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file_name", *findings])
    for name, row in zip(scored.file_names, scored.scores, strict=True):
        writer.writerow([name, *(f"{value:.6f}" for value in row)])
    return text.getvalue().encode()
