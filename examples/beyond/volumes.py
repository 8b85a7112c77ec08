"""Which way round is a stack of MR slices? A 3-D network on crops that are turned and bent.

    python examples/beyond/volumes.py

The stack is emri_small.dcm of the PyPI package pydicom-data: ten slices of one head. The network
learns from every other slice and is asked about those between. Executors crop, rotate and transform
the parts in an ordinary Spark job. One head shows the way, not how heads differ.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
import stacks
from matplotlib.figure import Figure
from networks import volume_net
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from sklearn.linear_model import LogisticRegression
from stacks import DIRECTIONS, SHAPE, Parts
from study import LEARNING, Findings, package_file, run, wilson_interval

from hilum.evaluation.figures import INK, new_figure, with_interval
from hilum.spark import NNEstimator

LEARNT, ASKED = 480, 240


def find(spark: SparkSession, data: Path | None) -> tuple[Findings, npt.NDArray[np.float64]]:
    """Tell four directions apart; share of right answers, beside a linear model of the voxels."""
    spark.addArtifacts(stacks.__file__, pyfile=True)
    file = data or package_file("data_store", "data", "emri_small.dcm", project="pydicom-data")
    stack = pydicom.dcmread(file).pixel_array.astype(np.float32)
    stack /= stack.std()
    learnt = _table(spark, Parts(stack[0::2], seed=0), LEARNT).cache()
    asked = _table(spark, Parts(stack[1::2], seed=1), ASKED)
    model = NNEstimator(
        model=volume_net,
        featuresCol="volume",
        labelCol="direction",
        inputShapes={"volume": (1, *SHAPE)},
        loss="cross_entropy",
        maxEpochs=8,
        batchSize=32,
        learningRate=3e-3,
        **LEARNING,
    ).fit(learnt)
    scored = model.transform(asked).orderBy("id").toPandas()
    known = learnt.toPandas()
    learnt.unpersist()
    linear = LogisticRegression(max_iter=100).fit(np.stack(known.volume), known.direction)
    truth = scored.direction.to_numpy()
    answers = {
        "network": np.stack(scored.prediction).argmax(axis=1),
        "linear": linear.predict(np.stack(scored.volume)),
    }
    right = {name: int((given == truth).sum()) for name, given in answers.items()}
    found = {
        "parts_learnt": LEARNT,
        "parts_asked": ASKED,
        "right": {name: number / ASKED for name, number in right.items()},
        "right_ci95": {name: wilson_interval(number, ASKED) for name, number in right.items()},
        "right_by_chance": 1 / len(DIRECTIONS),
        "answers": [
            [int(((truth == a) & (answers["network"] == b)).sum()) for b in range(len(DIRECTIONS))]
            for a in range(len(DIRECTIONS))
        ],
    }
    return found, np.stack(scored.volume[:4]).reshape(-1, *SHAPE)


def _table(spark: SparkSession, parts: Parts, number: int) -> DataFrame:
    """Rows id, direction, volume (flat)."""
    # Lambdas, because of type hints Spark would guess another kind of function.
    part = F.udf(lambda at: parts.part(at).ravel().tolist(), "array<float>").asNondeterministic()
    direction = F.udf(lambda at: parts.direction(at), "int")
    return spark.range(0, number, 1, 4).select("id", direction("id").alias("direction"),
                                               part("id").alias("volume"))  # fmt: skip


def draw(found: Findings, drawn: npt.NDArray[np.float64]) -> Figure:
    """One part of each direction, slice by slice; what was answered."""
    figure = new_figure(11, 4.4)
    left, right = figure.subfigures(1, 2, width_ratios=(1.25, 1))
    grid = left.subplots(len(DIRECTIONS), SHAPE[0])
    for row, part in zip(grid, drawn, strict=True):
        for axes, image in zip(row, part, strict=True):
            axes.imshow(image, cmap="gray", vmin=0, vmax=np.percentile(drawn, 99))
            axes.set_axis_off()
    for axes, name in zip(grid[:, 0], DIRECTIONS, strict=True):
        axes.text(-0.1, 0.5, name, transform=axes.transAxes, ha="right", va="center", fontsize=9)
    table = right.subplots()
    shares = np.array(found["answers"]) / np.sum(found["answers"], axis=1, keepdims=True)
    table.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (a, b), share in np.ndenumerate(shares):
        table.text(b, a, found["answers"][a][b], ha="center", va="center", fontsize=9,
                   color="white" if share > 0.5 else INK)  # fmt: skip
    table.set_xticks(range(len(DIRECTIONS)), DIRECTIONS, rotation=25, ha="right", fontsize=8)
    table.set_yticks(range(len(DIRECTIONS)), DIRECTIONS, fontsize=8)
    table.spines[:].set_visible(False)
    words = [
        f"{name} {with_interval(found['right'][name], found['right_ci95'][name])}"
        for name in ("network", "linear")
    ]
    table.set_xlabel("answer of the network", fontsize=9, color=INK)
    table.set_ylabel("true", fontsize=9, color=INK)
    title = "\n".join([*words, "chance 0.25"])
    table.set_title(title, fontsize=9, color=INK, loc="left")
    return figure


def main(arguments: Sequence[str] | None = None) -> Findings:
    """Crop, turn, learn, ask, draw, print."""
    about = "a DICOM file of 8 slices of 56 x 56 or more (default: pydicom-data's)"
    return run("volumes", find, draw, arguments, data=about)


if __name__ == "__main__":
    main()
