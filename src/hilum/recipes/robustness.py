"""`hilum robustness`: a bundle on labelled radiographs as they are, and made worse step by step."""

from collections.abc import Sequence

import numpy as np
from pyspark.sql import SparkSession

from hilum import storage
from hilum.errors import require
from hilum.evaluation.figures import figure_to_png
from hilum.evaluation.robustness import Robustness, measure_robustness
from hilum.evaluation.robustness_plot import plot_robustness
from hilum.inference import Predictor
from hilum.recipes.data import label_and_split, only_split, rule_of
from hilum.spark import NNModel, join_labels, read_radiographs
from hilum.spark.evaluator import label_matrix
from hilum.spark.image_struct import grey_pixels
from hilum.spark.preflight import require_writable

__all__ = ["robustness_of_bundle"]


def robustness_of_bundle(
    spark: SparkSession,
    bundle: str,
    images: str,
    labels: str,
    out: str,
    *,
    split: str | None = None,
    glob: str | None = None,
    max_images: int = 500,
    seed: int = 0,
) -> Robustness:
    """Measure robustness and write OUT/robustness.json and OUT/robustness.png.

    Images are read in their own size and held in memory, so at most `max_images` are drawn.

    Args:
        bundle: model directory. images, labels: as for evaluation.
        out: directory, a path or URL.
        split: only images of this split by the rule the bundle was trained with; None: all.
        glob: only files like this.
        max_images: drawn without replacement by `seed`.
        seed: of the draw and of every perturbation.

    Raises:
        InvalidValueError: `out` cannot be written, no such split, or no image can be decoded.
    """
    require(max_images > 0, "max_images", "positive", max_images)
    require_writable(out, "--out")
    model = NNModel.from_bundle(bundle)
    rule = None if split is None else rule_of(model.bundle)
    frame = read_radiographs(spark, images, glob=glob)
    data = label_and_split(spark, frame, labels, rule, model.findings)
    chosen = data.frame if split is None else only_split(spark, data, split, None)
    # Paths first: only the images drawn are decoded.
    paths = sorted(chosen.select("path").toArrow()["path"].to_pylist())
    drawn = _drawn(paths, max_images, seed)
    table = join_labels(read_radiographs(spark, drawn), data.labels)
    rows = table.select("path", "image", "labels", "patient_id").filter("image is not null")
    found = rows.orderBy("path").toArrow()
    require(found.num_rows > 0, "--images", "files that can be decoded", f"{len(drawn)} refused")
    pairs = zip(found["patient_id"].to_pylist(), found["path"].to_pylist(), strict=True)
    predictor = Predictor.load(model.bundle)
    measured = measure_robustness(
        predictor.predict,
        [grey_pixels(image) for image in found["image"].to_pylist()],
        label_matrix(found["labels"]),
        predictor.findings,
        patient_ids=[path if patient is None else patient for patient, path in pairs],
        seed=seed,
    )
    storage.write_json(storage.join(out, "robustness.json"), measured.to_json())
    picture = figure_to_png(plot_robustness(measured))
    storage.write_bytes(storage.join(out, "robustness.png"), picture)
    return measured


def _drawn(paths: Sequence[str], most: int, seed: int) -> list[str]:
    kept = np.random.default_rng(seed).permutation(len(paths))[:most]
    return [paths[index] for index in np.sort(kept)]
