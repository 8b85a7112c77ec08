"""How often people come back, and which findings are still there at the next image.

python examples/wrangling/follow_ups.py --data shared/data/nih-labels --out figures
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from nih import Findings, radiographs, run
from pyspark.sql import SparkSession

from hilum.evaluation.figures import BLUE, GREY, INK, PALE, clean_axes, new_figure, spoken
from hilum.spark import findings_of

SQL_PATIENTS = """
SELECT images, count(*) AS patients
FROM (SELECT count(*) AS images FROM {radiographs} GROUP BY patient_id)
GROUP BY images ORDER BY images
"""
SQL_NEXT = """
WITH visits AS (
  SELECT labels AS now, lead(labels) OVER (PARTITION BY patient_id ORDER BY follow_up) AS after
  FROM {radiographs}),
pairs AS (
  SELECT posexplode(arrays_zip(now, after)) AS (pos, both) FROM visits WHERE after IS NOT NULL)
SELECT pos, count(*) AS pairs, count_if(both.now = 1) AS before,
       count_if(both.now = 1 AND both.after = 1) AS kept,
       count_if(both.now = 0 AND both.after = 1) AS appeared
FROM pairs GROUP BY pos ORDER BY pos
"""


def find(spark: SparkSession, data: Path) -> Findings:
    """Count images per patient, and findings that are kept from one image to the next."""
    table = radiographs(spark, data).select("patient_id", "labels", "follow_up")
    names = findings_of(table)
    table = table.cache()
    patients = {
        row.images: row.patients for row in spark.sql(SQL_PATIENTS, radiographs=table).collect()
    }
    changes = spark.sql(SQL_NEXT, radiographs=table).collect()
    table.unpersist()
    sizes = np.repeat(list(patients), list(patients.values()))
    often = np.sort(sizes)[::-1][: len(sizes) // 10]
    return {
        "patients": len(sizes),
        "images": int(sizes.sum()),
        "patients_with_one_image": patients[1],
        "median_images": float(np.median(sizes)),
        "mean_images": float(sizes.mean()),
        "most_images": int(sizes.max()),
        "share_of_images_of_a_tenth_of_the_patients": float(often.sum() / sizes.sum()),
        "patients_by_images": {str(images): number for images, number in patients.items()},
        "next_image": {
            names[row.pos]: {
                "pairs": row.pairs,
                "before": row.before,
                "kept": row.kept,
                "kept_share": row.kept / row.before,
                "appeared_share": row.appeared / (row.pairs - row.before),
            }
            for row in changes
        },
    }


def draw(found: Findings) -> Figure:
    """Patients by number of images; findings by how often the next image has them too."""
    figure = new_figure(12, 4.4)
    left, right = figure.subplots(1, 2)
    counts = {int(images): number for images, number in found["patients_by_images"].items()}
    left.loglog(list(counts), list(counts.values()), "o", color=BLUE, markersize=4)
    left.set_xlabel("Images of a patient", fontsize=9, color=INK)
    left.set_ylabel("Patients", fontsize=9, color=INK)
    left.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    left.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    title = f"{found['patients']:,} patients, {found['patients_with_one_image']:,} with one image"
    left.set_title(title, fontsize=9, color=INK, loc="left")
    clean_axes(left, grid=True)
    following = found["next_image"]
    names = sorted(following, key=lambda name: following[name]["kept_share"])
    for y, name in enumerate(names):
        row = following[name]
        right.barh(y, row["kept_share"], color=PALE)
        right.barh(y, row["appeared_share"], color=BLUE, height=0.35)
        text = f" {row['kept_share']:.0%} of {row['before']:,}"
        right.text(row["kept_share"], y, text, va="center", fontsize=8, color=GREY)
    right.set_yticks(range(len(names)), [spoken(name) for name in names])
    right.set_xlim(0, 0.75)
    right.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    clean_axes(right)
    title = "At the patient's next image: still labelled (pale), newly labelled (blue)"
    right.set_title(title, fontsize=9, color=INK, loc="left")
    return figure


def main(arguments: Sequence[str] | None = None) -> Findings:
    """Count, draw, print."""
    return run("follow_ups", find, draw, arguments)


if __name__ == "__main__":
    main()
