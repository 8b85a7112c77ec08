"""Who is on the images: ages, sexes, view positions, and what the view gives away.

python examples/wrangling/ages_and_views.py --data shared/data/nih-labels --out figures
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from nih import Findings, labels_table, radiographs, run
from pyspark.sql import SparkSession

from hilum.evaluation.figures import BLUE, GREY, INK, ORANGE, clean_axes, new_figure, spoken
from hilum.spark import findings_of

# As written in the table: read_labels() already gives null for an age nobody reaches.
SQL_WRITTEN = """
SELECT count_if(age > 120) AS above_120, count_if(age IS NULL) AS unreadable, max(age) AS oldest,
       count_if(age = 0) AS zero
FROM (SELECT try_cast(regexp_extract(`Patient Age`, '([0-9]+)', 1) AS int) AS age FROM {table})
"""
SQL_AGES = """
SELECT view, CAST(floor(age_years / 5) * 5 AS int) AS from_years, count(*) AS images
FROM {radiographs} WHERE age_years IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2
"""
SQL_PEOPLE = """
SELECT view, sex, count(*) AS images, count(DISTINCT patient_id) AS patients,
       median(age_years) AS median_age
FROM {radiographs} GROUP BY view, sex ORDER BY view, sex
"""
SQL_VIEWS = """
SELECT pos, view, avg(label) AS prevalence
FROM (SELECT view, posexplode(labels) AS (pos, label) FROM {radiographs})
GROUP BY pos, view ORDER BY pos, view
"""


def find(spark: SparkSession, data: Path) -> Findings:
    """Count images by age, sex and view, and each finding's prevalence by view."""
    path = str(labels_table(data))
    written = spark.read.csv(path, header=True, enforceSchema=True).select("Patient Age")
    checked = spark.sql(SQL_WRITTEN, table=written).collect()[0]
    table = radiographs(spark, data).select("patient_id", "labels", "age_years", "sex", "view")
    names = findings_of(table)
    table = table.cache()
    people = spark.sql(SQL_PEOPLE, radiographs=table).collect()
    ages = spark.sql(SQL_AGES, radiographs=table).collect()
    views = spark.sql(SQL_VIEWS, radiographs=table).collect()
    table.unpersist()
    prevalence: dict[str, dict[str, float]] = {name: {} for name in names}
    for row in views:
        prevalence[names[row.pos]][row.view] = row.prevalence
    return {
        "ages_as_written": checked.asDict(),
        "people": [row.asDict() for row in people],
        "images_by_view": _sums(people),
        "ages": [row.asDict() for row in ages],
        "prevalence_by_view": prevalence,
    }


def _sums(people) -> dict[str, int]:
    views = sorted({row.view for row in people})
    return {view: sum(row.images for row in people if row.view == view) for view in views}


def draw(found: Findings) -> Figure:
    """Ages by view as outlines; prevalence by view as pairs of dots."""
    figure = new_figure(12, 4.6)
    left, right = figure.subplots(1, 2)
    for view, color in (("PA", BLUE), ("AP", ORANGE)):
        rows = [row for row in found["ages"] if row["view"] == view]
        total = sum(row["images"] for row in rows)
        edges = [row["from_years"] for row in rows]
        shares = [row["images"] / total for row in rows]
        left.bar(edges, shares, width=5, align="edge", color=color, alpha=0.35)
        left.plot(np.array(edges) + 2.5, shares, color=color, linewidth=1.4,
                  label=f"{view}: {total:,} images")  # fmt: skip
    clean_axes(left)
    left.set_xlabel("Age in years", fontsize=9, color=INK)
    left.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    left.set_title("Ages, as shares of the images of a view", fontsize=9, color=INK, loc="left")
    left.legend(frameon=False, fontsize=8)
    _pairs(right, found["prevalence_by_view"])
    return figure


def _pairs(axes, prevalence: dict[str, dict[str, float]]) -> None:
    ratio = {name: by["AP"] / by["PA"] for name, by in prevalence.items()}
    names = sorted(ratio, key=lambda name: ratio[name])
    for y, name in enumerate(names):
        pa, ap = prevalence[name]["PA"], prevalence[name]["AP"]
        axes.plot((pa, ap), (y, y), color=GREY, linewidth=1)
        axes.plot(pa, y, "o", color=BLUE, markersize=5, label="PA" if y == 0 else None)
        axes.plot(ap, y, "o", color=ORANGE, markersize=5, label="AP" if y == 0 else None)
        axes.annotate(f"x {ratio[name]:.1f}", (max(pa, ap), y), xytext=(7, 0), va="center",
                      textcoords="offset points", fontsize=8, color=GREY)  # fmt: skip
    axes.set_yticks(range(len(names)), [spoken(name) for name in names])
    clean_axes(axes)
    axes.set_xscale("log")
    axes.set_xlim(right=0.5)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.1%}")
    axes.set_title("Prevalence by view; AP over PA", fontsize=9, color=INK, loc="left")
    axes.legend(frameon=False, fontsize=8, loc="upper left")


def main(arguments: Sequence[str] | None = None) -> Findings:
    """Count, draw, print."""
    return run("ages_and_views", find, draw, arguments)


if __name__ == "__main__":
    main()
