"""Anomalies: an autoencoder learns radiographs without findings; what it cannot redraw is strange.

    python examples/beyond/anomalies.py --data shared/data/nih-64px

Beside it stand two plain ways, from the same images without findings: the difference from the mean
image, and from what the first principal components, as many as the autoencoder has numbers, redraw.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from networks import autoencoder
from pyspark.sql import SparkSession
from radiographs import radiographs
from sklearn.decomposition import PCA
from study import LEARNING, Findings, run

from hilum.evaluation import auroc_intervals, roc_auc_score
from hilum.evaluation.figures import BLUE, INK, ORANGE, clean_axes, new_figure, with_interval
from hilum.models import factory
from hilum.preprocessing import Chain, ChannelNormalize, Resize
from hilum.spark import NNEstimator

Array = npt.NDArray[np.float32]
SIDE, MEAN, STD = 64, 0.449, 0.226
PHANTOMS, NARROW = 600, 32
PLACE = 8  # pixels; the strangest place of an image is what counts
NOTHING = "array_max(labels) = 0"


def find(spark: SparkSession, data: Path | None) -> tuple[Findings, dict[str, Array]]:
    """Score images by what the autoencoder cannot redraw; AUC of findings against none."""
    kept = f"split = 'asked' OR {NOTHING}"
    table = radiographs(spark, data, PHANTOMS, keep=kept).cache()
    normal = table.filter("split = 'learnt'")
    model = NNEstimator(
        model=factory(autoencoder, narrow=NARROW),
        featuresCol="image",
        labelCol="",
        loss="mse",
        preprocessing=Chain((Resize(SIDE, SIDE), ChannelNormalize((MEAN,), (STD,)))),
        maxEpochs=20,
        batchSize=16,
        learningRate=3e-3,
        **LEARNING,
    ).fit(normal)
    rows = model.transform(table.filter("split = 'asked'")).orderBy("name").collect()
    learnt = _pixels([row.image for row in normal.select("image").collect()])
    table.unpersist()
    seen = _pixels([row.image for row in rows])
    drawn = np.array([row.prediction for row in rows], np.float32)[:, 0]
    flat, known = (images.reshape(len(images), -1) for images in (seen, learnt))
    components = PCA(NARROW, random_state=0).fit(known)
    back = components.inverse_transform(components.transform(flat))
    errors = {
        "autoencoder": _strangeness(drawn - seen),
        "principal components": _strangeness(back - flat),
        "mean image": _strangeness(flat - known.mean(axis=0)),
    }
    strange = np.array([max(row.labels) for row in rows])
    patients = [row.patient_id for row in rows]
    found = {
        "images_learnt": len(learnt),
        "images_asked": len(rows),
        "with_findings": int(strange.sum()),
        "auroc": {name: float(roc_auc_score(strange, e)[0]) for name, e in errors.items()},
        "auroc_ci95": {
            name: auroc_intervals(strange, e, patients, num_resamples=1000).findings[0]
            for name, e in errors.items()
        },
    }
    return found, {"seen": seen, "drawn": drawn, "error": errors["autoencoder"], "strange": strange}


def _pixels(images: Sequence) -> Array:
    """What the network sees of images of 64 x 64, (image, height, width)."""
    grey = [np.frombuffer(image.data, np.uint8).reshape(SIDE, SIDE) for image in images]
    return ((np.stack(grey) / 255 - MEAN) / STD).astype(np.float32)


def _strangeness(difference: Array) -> Array:
    """The largest square of the mean difference in a place of 8 x 8 pixels, (image,)."""
    places = difference.reshape(-1, SIDE // PLACE, PLACE, SIDE // PLACE, PLACE).mean(axis=(2, 4))
    return np.asarray(np.square(places).max(axis=(1, 2)))


def draw(found: Findings, drawn: dict[str, Array]) -> Figure:
    """The most ordinary and the strangest images, redrawn; the scores of both kinds."""
    figure = new_figure(12, 4.2)
    left, right = figure.subfigures(1, 2, width_ratios=(1.5, 1))
    order = np.argsort(drawn["error"])
    shown = [*order[:3], *order[-3:]]
    grid = left.subplots(3, len(shown))
    rows = {"seen": drawn["seen"], "redrawn": drawn["drawn"], "difference": drawn["drawn"]}
    for (name, images), line in zip(rows.items(), grid, strict=True):
        for at, axes in zip(shown, line, strict=True):
            if name == "difference":
                axes.imshow(np.abs(images[at] - drawn["seen"][at]), cmap="magma", vmin=0, vmax=2)
            else:
                axes.imshow(images[at], cmap="gray", vmin=-2, vmax=2.4)
            axes.set_xticks([])
            axes.set_yticks([])
        line[0].set_ylabel(name, fontsize=9, color=INK)
    for at, axes in zip(shown, grid[0], strict=True):
        words = "findings" if drawn["strange"][at] else "no finding"
        axes.set_title(words, fontsize=8, color=ORANGE if drawn["strange"][at] else BLUE)
    left.suptitle("The three least and the three most strange images", fontsize=9, color=INK)
    axes = right.subplots()
    bins = np.geomspace(drawn["error"].min(), drawn["error"].max(), 16)
    for kind, words, color in ((0, "no finding", BLUE), (1, "findings", ORANGE)):
        scores = drawn["error"][drawn["strange"] == kind]
        axes.hist(scores, bins, color=color, alpha=0.5, label=f"{words}: {len(scores)}",
                  weights=np.full(len(scores), 1 / len(scores)))  # fmt: skip
    axes.set_xscale("log")
    where = f"Square of the largest mean difference in a place of {PLACE} x {PLACE} pixels"
    axes.set_xlabel(where, fontsize=9, color=INK)
    axes.set_ylabel("Share of the images of each kind", fontsize=9, color=INK)
    lines = [f"{name} {with_interval(value, found['auroc_ci95'][name])}"
             for name, value in found["auroc"].items()]  # fmt: skip
    axes.set_title("AUC: " + "\n".join(lines), fontsize=9, color=INK, loc="left")
    axes.legend(frameon=False, fontsize=8)
    clean_axes(axes)
    return figure


def main(arguments: Sequence[str] | None = None) -> Findings:
    """Learn, redraw, compare, draw, print."""
    about = "folder with images/ and NIH's Data_Entry_2017*.csv (default: phantoms)"
    return run("anomalies", find, draw, arguments, data=about)


if __name__ == "__main__":
    main()
