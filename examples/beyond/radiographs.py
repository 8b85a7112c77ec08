"""Radiographs for the scripts that look at them: a folder of real ones, or phantoms drawn here."""

from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from hilum.errors import require
from hilum.findings import FINDINGS
from hilum.phantom import PhantomConfig, patient, render
from hilum.spark import read_labels, read_radiographs, split_by_patient

__all__ = ["radiographs"]

IMAGE = "struct<height:int,width:int,nChannels:int,mode:int,data:binary>"
CONFIG = PhantomConfig(size_px=64, seed=5, prevalence_scale=2.0)


def radiographs(spark: SparkSession, data: Path | None, phantoms: int) -> DataFrame:
    """Columns name, patient_id, labels, image, split: "learnt" or "asked", by patient.

    Args:
        data: a folder with images/ and NIH's Data_Entry_2017_v2020.csv; None: phantoms are drawn.
        phantoms: how many; of each synthetic patient the first image.
    """
    if data is None:
        table = _phantoms(spark, phantoms)
    else:
        labels = sorted(data.glob("Data_Entry_2017*.csv*"))
        require(bool(labels), "--data", "a folder with images/ and Data_Entry_2017*.csv", str(data))
        images = read_radiographs(spark, str(data / "images"), size=(64, 64))
        images = images.filter("status = 'ok'").select("file_name", "image")
        rows = read_labels(spark, str(labels[0])).select("file_name", "patient_id", "labels")
        table = images.join(rows, "file_name").withColumnRenamed("file_name", "name")
    return split_by_patient(table, {"learnt": 0.6, "asked": 0.4}, seed=2)


def _phantoms(spark: SparkSession, number: int) -> DataFrame:
    spark.addArtifacts(__file__, pyfile=True)
    image = F.udf(_image, IMAGE).asNondeterministic()  # so that it is never drawn twice
    labels = F.udf(_labels, "array<float>")
    return spark.range(1, number + 1, 1, 8).select(
        F.format_string("%08d_000.png", "id").alias("name"),
        F.col("id").cast("string").alias("patient_id"),
        labels("id").alias("labels"),
        image("id").alias("image"),
    )


def _image(number: int) -> dict[str, Any]:
    pixels = render(CONFIG, patient(CONFIG, number).images[0])
    height, width = pixels.shape
    return {"height": height, "width": width, "nChannels": 1, "mode": 0, "data": pixels.tobytes()}


def _labels(number: int) -> list[float]:
    present = patient(CONFIG, number).images[0].findings
    return [float(finding in present) for finding in FINDINGS]
