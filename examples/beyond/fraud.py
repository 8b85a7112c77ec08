"""A rare event in a large table, as fraud is: which of 112,120 radiographs is labelled Hernia?

    python examples/beyond/fraud.py

No package here brings a table of frauds, so NIH's own label table stands in, which the PyPI package
torchxrayvision brings. 0.2 % of its rows are what is looked for; of the card payments of Dal
Pozzolo et al. (2015) 0.17 % are fraud. Known of a row are age, sex, view, number of the visit and
the other thirteen labels.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from networks import perceptron
from pyspark.ml.feature import VectorAssembler
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from study import LEARNING, Findings, package_file, run

from hilum.evaluation import PrCurve, metric_table, pr_curve
from hilum.evaluation.figures import BLUE, GREY, INK, ORANGE, clean_axes, new_figure
from hilum.models import factory
from hilum.spark import NNEstimator, findings_of, read_labels, split_by_patient

RARE = "Hernia"
TABLE = "Data_Entry_2017_v2020.csv.gz"
KEPT = 8  # one in so many rows without the event is learnt from
WEIGHT = 8.0  # of a row with it, against 1; else its 0.2 % hardly move the network
RESAMPLES = 300  # of the bootstrap


def find(spark: SparkSession, data: Path | None) -> tuple[Findings, dict[str, PrCurve | None]]:
    """Rank rows by the chance of a rare event; average precision on patients never seen."""
    path = data or package_file("torchxrayvision", "data", TABLE, project="torchxrayvision")
    table, names = _table(spark, path)
    table = split_by_patient(table, {"train": 0.6, "test": 0.4}, seed=0).cache()
    learnt = table.filter("split = 'train'").filter(
        (F.col("event") == 1) | (F.abs(F.xxhash64("file_name")) % KEPT == 0)
    )
    learnt = learnt.withColumn("weight", F.when(learnt.event == 1, WEIGHT).otherwise(1.0))
    model = NNEstimator(
        model=factory(perceptron, features=len(names)),
        featuresCol="features",
        labelCol="event",
        weightCol="weight",
        loss="bce",
        maxEpochs=4,
        batchSize=128,
        learningRate=3e-3,
        **LEARNING,
    ).fit(learnt)
    columns = ("file_name", "patient_id", "event", "features")
    scored = model.transform(table.filter("split = 'test'").select(*columns)).toPandas()
    known = learnt.select("features", "event", "weight").toPandas()
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200)).fit(
        _matrix(known.features), known.event, logisticregression__sample_weight=known.weight
    )
    scores = {
        "network": 1 / (1 + np.exp(-scored.prediction.to_numpy())),
        "logistic regression": linear.predict_proba(_matrix(scored.features))[:, 1],
    }
    truth, patients = scored.event.to_numpy(), scored.patient_id.tolist()
    tables = {
        name: metric_table(truth, values, patients, num_resamples=RESAMPLES).findings[0]
        for name, values in scores.items()
    }
    found = {
        "rows": table.count(),
        "rows_learnt": len(known),
        "rows_scored": len(scored),
        "events_learnt": int(known.event.sum()),
        "events_scored": int(truth.sum()),
        "average_precision_by_chance": float(truth.mean()),
        "average_precision": {name: m["auprc"].value for name, m in tables.items()},
        "average_precision_ci95": {name: m["auprc"].ci95 for name, m in tables.items()},
        "auroc": {name: m["auroc"].value for name, m in tables.items()},
        "auroc_ci95": {name: m["auroc"].ci95 for name, m in tables.items()},
    }
    table.unpersist()
    return found, {name: pr_curve(truth, values) for name, values in scores.items()}


def _table(spark: SparkSession, path: Path) -> tuple[DataFrame, list[str]]:
    """Rows with a vector of what is known, and whether the event is there."""
    table = read_labels(spark, str(path))
    names = findings_of(table)
    others = [F.col("labels")[at].alias(n) for at, n in enumerate(names) if n != RARE]
    row = table.select(
        "file_name",
        "patient_id",
        F.col("labels")[names.index(RARE)].alias("event"),
        F.coalesce("age_years", F.lit(47)).alias("age"),
        (F.col("sex") == "M").cast("double").alias("male"),
        (F.col("view") == "AP").cast("double").alias("lying"),
        F.log1p("follow_up").alias("visit"),
        *others,
    )
    known = [name for name in row.columns if name not in ("file_name", "patient_id", "event")]
    assembled = VectorAssembler(inputCols=known, outputCol="features").transform(row)
    return assembled.select("file_name", "patient_id", "event", "features"), known


def _matrix(vectors: Any) -> npt.NDArray[np.float64]:
    return np.stack([vector.toArray() for vector in vectors])


def draw(found: Findings, drawn: dict[str, PrCurve | None]) -> Figure:
    """Precision over recall."""
    figure = new_figure(6.5, 4)
    axes = figure.subplots()
    for (name, curve), color in zip(drawn.items(), (ORANGE, BLUE), strict=True):
        assert curve is not None
        value, interval = found["average_precision"][name], found["average_precision_ci95"][name]
        label = f"{name}: {value:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"
        # The first few rows of the ranking jump between 0 and 1.
        shown = np.array(curve.recall) >= 0.02
        recall, precision = np.array(curve.recall)[shown], np.array(curve.precision)[shown]
        axes.plot(recall, precision, color=color, linewidth=1.4, label=label)
    chance = found["average_precision_by_chance"]
    axes.axhline(chance, color=GREY, linewidth=1, linestyle=":", label=f"chance: {chance:.4f}")
    axes.set_yscale("log")
    axes.set_xlabel("Recall", fontsize=9, color=INK)
    axes.set_ylabel("Precision", fontsize=9, color=INK)
    title = f"{found['events_scored']} events in {found['rows_scored']:,} rows: average precision"
    axes.set_title(title, fontsize=9, color=INK, loc="left")
    axes.legend(frameon=False, fontsize=8)
    clean_axes(axes, grid=True)
    return figure


def main(arguments: Sequence[str] | None = None) -> Findings:
    """Learn, rank, draw, print."""
    return run("fraud", find, draw, arguments, data="NIH's label table (default: as packaged)")


if __name__ == "__main__":
    main()
