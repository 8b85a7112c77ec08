"""How often each finding occurs, alone and with which others.

python examples/wrangling/prevalence.py --data shared/data/nih-labels --out figures
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from nih import Findings, radiographs, run
from pyspark.sql import SparkSession

from hilum.evaluation.figures import BLUE, GREY, INK, PALE, clean_axes, new_figure, spoken
from hilum.spark import findings_of

SQL_FINDINGS = """
SELECT pos, count_if(label = 1) AS images, count_if(label = 1 AND size(present) = 1) AS alone,
       count(DISTINCT if(label = 1, patient_id, NULL)) AS patients
FROM (SELECT patient_id, filter(labels, x -> x = 1) AS present, posexplode(labels) AS (pos, label)
      FROM {radiographs})
GROUP BY pos ORDER BY pos
"""
SQL_PAIRS = """
WITH present AS (
  SELECT file_name, pos FROM (SELECT file_name, posexplode(labels) AS (pos, label)
                              FROM {radiographs}) WHERE label = 1)
SELECT a.pos AS first, b.pos AS second, count(*) AS images
FROM present a JOIN present b ON a.file_name = b.file_name AND a.pos < b.pos
GROUP BY a.pos, b.pos
"""
SQL_SIZES = """
SELECT size(filter(labels, x -> x = 1)) AS findings, count(*) AS images
FROM {radiographs} GROUP BY 1 ORDER BY 1
"""


def find(spark: SparkSession, data: Path) -> Findings:
    """Count findings, their combinations and how many an image has."""
    table = radiographs(spark, data).select("file_name", "patient_id", "labels").cache()
    names = findings_of(table)
    single = spark.sql(SQL_FINDINGS, radiographs=table).collect()
    pairs = spark.sql(SQL_PAIRS, radiographs=table).collect()
    sizes = spark.sql(SQL_SIZES, radiographs=table).collect()
    table.unpersist()
    images = sum(row.images for row in sizes)
    counts = {names[row.pos]: row.images for row in single}
    together = {(names[row["first"]], names[row["second"]]): row.images for row in pairs}
    return {
        "images": images,
        "no_finding": next(row.images for row in sizes if row.findings == 0),
        "images_by_number_of_findings": {str(row.findings): row.images for row in sizes},
        "findings": {
            names[row.pos]: {
                "images": row.images,
                "prevalence": row.images / images,
                "alone": row.alone,
                "patients": row.patients,
            }
            for row in single
        },
        "pairs": [
            {
                "findings": [a, b],
                "images": number,
                # 1 is what two findings that know nothing of each other would have.
                "lift": number * images / (counts[a] * counts[b]),
            }
            for (a, b), number in sorted(together.items(), key=lambda item: -item[1])
        ],
    }


def draw(found: Findings) -> Figure:
    """Bars of prevalence; beside them, given the finding of the row, the share with the column."""
    names = sorted(found["findings"], key=lambda name: -found["findings"][name]["images"])
    figure = new_figure(13, 5.6)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
    _bars(left, names, found)
    shares = np.full((len(names), len(names)), np.nan)
    for pair in found["pairs"]:
        a, b = (names.index(name) for name in pair["findings"])
        shares[a, b] = pair["images"] / found["findings"][names[a]]["images"]
        shares[b, a] = pair["images"] / found["findings"][names[b]]["images"]
    right.imshow(np.ma.masked_invalid(shares), cmap="Blues", vmin=0, vmax=0.7)
    for (a, b), share in np.ndenumerate(shares):
        if np.isfinite(share):
            color = "white" if share > 0.4 else INK
            right.text(b, a, f"{share:.0%}", ha="center", va="center", fontsize=7, color=color)
    labels = [spoken(name) for name in names]
    right.set_xticks(range(len(names)), labels, rotation=40, ha="right", fontsize=8)
    right.set_yticks(range(len(names)), labels, fontsize=8)
    right.spines[:].set_visible(False)
    right.set_title("Of the images with the row's finding, the share that also has the column's",
                    fontsize=9, color=INK, loc="left")  # fmt: skip
    return figure


def _bars(axes, names: Sequence[str], found: Findings) -> None:
    rows = [found["findings"][name] for name in names]
    position = np.arange(len(names))
    axes.barh(position, [row["images"] for row in rows], color=PALE)
    axes.barh(position, [row["alone"] for row in rows], color=BLUE)
    for y, row in zip(position, rows, strict=True):
        text = f" {row['images']:,} ({row['prevalence']:.1%})"
        axes.text(row["images"], y, text, va="center", fontsize=8, color=GREY)
    axes.set_yticks(position, [spoken(name) for name in names])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.3 * rows[0]["images"])
    clean_axes(axes)
    title = f"Of {found['images']:,} images: with the finding (pale), with no other (blue)"
    axes.set_title(title, fontsize=9, color=INK, loc="left")


def main(arguments: Sequence[str] | None = None) -> Findings:
    """Count, draw, print."""
    return run("prevalence", find, draw, arguments)


if __name__ == "__main__":
    main()
