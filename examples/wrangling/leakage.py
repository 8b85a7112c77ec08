"""How many validation images show a patient who was trained on, if images are split and not people.

    python examples/wrangling/leakage.py --data shared/data/nih-labels --out figures

An image leaks if it is in the validation split and its patient has one or more images in the
training split. The number is the share of leaking images among the validation images.
"""

from collections.abc import Sequence
from pathlib import Path
from warnings import catch_warnings, simplefilter

import numpy as np
from matplotlib.figure import Figure
from nih import Findings, radiographs, run
from pyspark.sql import SparkSession

from hilum.evaluation.figures import BLUE, GREY, INK, ORANGE, clean_axes, new_figure
from hilum.spark import PatientLeakageWarning, split_by_image, split_by_patient

FRACTIONS = {"train": 0.7, "valid": 0.1, "test": 0.2}
SQL_LEAKING = """
SELECT count(*) AS images, count_if(trained) AS leaking_images,
       count(DISTINCT patient_id) AS patients,
       count(DISTINCT if(trained, patient_id, NULL)) AS leaking_patients
FROM (SELECT patient_id, split, bool_or(split = 'train') OVER (PARTITION BY patient_id) AS trained
      FROM {radiographs})
WHERE split = 'valid'
"""
SQL_SIZES = """
SELECT size, count(*) AS patients
FROM (SELECT count(*) AS size FROM {radiographs} GROUP BY patient_id)
GROUP BY size ORDER BY size
"""


def find(spark: SparkSession, data: Path) -> Findings:
    """Count the validation images of patients in training, for a split by image and by patient."""
    table = radiographs(spark, data).select("file_name", "patient_id").cache()
    sizes = {row["size"]: row.patients for row in spark.sql(SQL_SIZES, radiographs=table).collect()}
    with catch_warnings():
        simplefilter("ignore", PatientLeakageWarning)  # what it warns of is counted here
        by_image = split_by_image(table, FRACTIONS)
    found = {"fractions": FRACTIONS, "expected_share": _expected(sizes, FRACTIONS["train"])}
    for name, split in (
        ("by_image", by_image),
        ("by_patient", split_by_patient(table, FRACTIONS)),
    ):
        row = spark.sql(SQL_LEAKING, radiographs=split).collect()[0]
        found[name] = row.asDict() | {"share": row.leaking_images / row.images}
    table.unpersist()
    grid = [round(float(share), 2) for share in np.linspace(0.05, 0.95, 19)]
    found["expected_by_training_share"] = {str(f): _expected(sizes, f) for f in grid}
    return found


def _expected(sizes: dict[int, int], fraction: float) -> float:
    """Share of leaking images to expect: one minus that none of the others is in training."""
    images = sum(size * patients for size, patients in sizes.items())
    alone = sum(size * n * (1 - fraction) ** (size - 1) for size, n in sizes.items())
    return 1 - alone / images


def draw(found: Findings) -> Figure:
    """The share to expect over the size of the training split, and the two splits."""
    figure = new_figure(6.5, 4)
    axes = figure.subplots()
    curve = found["expected_by_training_share"]
    axes.plot([float(f) for f in curve], list(curve.values()), color=GREY, linewidth=1.2,
              label="to expect, split by image")  # fmt: skip
    trained = found["fractions"]["train"]
    for name, words, color in (
        ("by_image", "split by image", ORANGE),
        ("by_patient", "split by patient", BLUE),
    ):
        result = found[name]
        text = f"{words}: {result['leaking_images']:,} of {result['images']:,}"
        axes.plot(trained, result["share"], "o", color=color, label=text)
        axes.annotate(f"{result['share']:.1%}", (trained, result["share"]), xytext=(8, 4),
                      textcoords="offset points", fontsize=9, color=color)  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(-0.04, 1))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_xlabel("Training share of the images", fontsize=9, color=INK)
    axes.set_title("Validation images of patients who are in training", fontsize=9, color=INK,
                   loc="left")  # fmt: skip
    clean_axes(axes, grid=True)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(0.02, 0.25))
    return figure


def main(arguments: Sequence[str] | None = None) -> Findings:
    """Count, draw, print."""
    return run("leakage", find, draw, arguments)


if __name__ == "__main__":
    main()
