"""How far labels mined from reports can be trusted: NIH's against Google's adjudicated ones.

    python examples/wrangling/label_noise.py --data shared/data/nih-labels --out figures

Adjudicated labels: Majkowska et al., Radiology 294 (2020) 421-431. Those images are enriched with
positives, so the PPV of all NIH images is lower than the one found here.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from nih import Findings, google_table, radiographs, run
from pyspark.sql import SparkSession

from hilum.evaluation.figures import BLUE, GREY, INK, clean_axes, new_figure, with_interval
from hilum.evaluation.label_noise import GOOGLE_2019, label_agreement
from hilum.spark import findings_of

SQL_JOINED = """
SELECT file_name, patient_id, labels, pneumothorax, nodule_or_mass
FROM {radiographs} JOIN (
  SELECT `Image Index` AS file_name, double(Pneumothorax = 'YES') AS pneumothorax,
         double(`Nodule or mass` = 'YES') AS nodule_or_mass
  FROM {google}) USING (file_name)
ORDER BY file_name
"""


def find(spark: SparkSession, data: Path) -> Findings:
    """Compare mined with adjudicated labels: PPV, sensitivity, kappa, intervals over patients."""
    google = spark.read.csv(str(google_table(data)), header=True, enforceSchema=True)
    table = radiographs(spark, data).select("file_name", "patient_id", "labels")
    names = findings_of(table)
    google = google.select("Image Index", *GOOGLE_2019)
    rows = spark.sql(SQL_JOINED, radiographs=table, google=google).toPandas()
    mined = np.array(rows["labels"].tolist())
    given = [mined[:, [names.index(n) for n in of]].max(axis=1) for of in GOOGLE_2019.values()]
    agreement = label_agreement(
        list(GOOGLE_2019),
        np.column_stack(given),
        rows[["pneumothorax", "nodule_or_mass"]].to_numpy(),
        patient_ids=rows["patient_id"].tolist(),
    )
    return {
        "images": len(rows),
        "patients": int(rows["patient_id"].nunique()),
        "findings": {name: json.loads(found.to_json()) for name, found in agreement.items()},
    }


def draw(found: Findings) -> Figure:
    """PPV, sensitivity and kappa with their intervals, one row each."""
    figure = new_figure(7.5, 3)
    axes = figure.subplots()
    words = {"ppv": "PPV", "sensitivity": "sensitivity", "kappa": "kappa"}
    rows = [(name, key) for name in found["findings"] for key in words]
    for y, (name, key) in enumerate(rows):
        result = found["findings"][name]
        value, interval = result[key], result[f"{key}_ci95"]
        axes.plot(interval, (y, y), color=BLUE, linewidth=2)
        axes.plot(value, y, "o", color=BLUE)
        axes.text(1.02, y, with_interval(value, interval), va="center", fontsize=8, color=GREY)
    axes.set_yticks(range(len(rows)), [f"{name}, {words[key]}" for name, key in rows])
    axes.set_xlim(0, 1)
    axes.invert_yaxis()
    clean_axes(axes, grid=True)
    title = f"NIH's labels against adjudicated ones, {found['images']:,} images"
    axes.set_title(title, fontsize=9, color=INK, loc="left")
    return figure


def main(arguments: Sequence[str] | None = None) -> Findings:
    """Compare, draw, print."""
    return run("label_noise", find, draw, arguments)


if __name__ == "__main__":
    main()
