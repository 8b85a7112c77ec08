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

IMAGE = "struct<origin:string,height:int,width:int,nChannels:int,mode:int,data:binary>"
LABELS = "array<float>"
CONFIG = PhantomConfig(size_px=64, seed=5, prevalence_scale=1.0)


def radiographs(
    spark: SparkSession,
    data: Path | None,
    phantoms: int,
    *,
    keep: str = "true",
    side: int = CONFIG.size_px,
) -> DataFrame:
    """Columns name, patient_id, labels, image, split: "learnt" or "asked", by patient.

    Args:
        data: a folder with images/ and NIH's Data_Entry_2017_v2020.csv; None: phantoms are drawn.
        phantoms: how many; of each synthetic patient the first image.
        keep: which rows, as SQL on name, patient_id, labels and split; no other image is read.
        side: of real images in pixels; phantoms have 64.
    """
    if data is None:
        return _phantoms(spark, phantoms, keep)
    tables = sorted(data.glob("Data_Entry_2017*.csv*"))
    require(bool(tables), "--data", "a folder with images/ and Data_Entry_2017*.csv", str(data))
    images = read_radiographs(spark, str(data / "images"), size=(side, side)).filter(
        "status = 'ok'"
    )
    rows = read_labels(spark, str(tables[0])).withColumnRenamed("file_name", "name")
    rows = _split(rows.select("name", "patient_id", "labels")).filter(keep)
    return rows.join(images.selectExpr("file_name as name", "image"), "name")


def _split(rows: DataFrame) -> DataFrame:
    return split_by_patient(rows, {"learnt": 0.6, "asked": 0.4}, seed=2)


def _phantoms(spark: SparkSession, number: int, keep: str) -> DataFrame:
    spark.addArtifacts(__file__, pyfile=True)
    name, patient_id = F.format_string("%08d_000.png", "id"), F.col("id").cast("string")
    rows = spark.range(1, number + 1, 1, 8).select(
        "id",
        name.alias("name"),
        patient_id.alias("patient_id"),
        F.udf(lambda at: _labels(at), LABELS)("id").alias("labels"),
    )
    # Lambdas, because of type hints Spark would guess another kind of function. Not deterministic,
    # so that none is drawn twice.
    image = F.udf(lambda at: _image(at), IMAGE).asNondeterministic()
    return _split(rows).filter(keep).withColumn("image", image("id")).drop("id")


def _image(number: int) -> dict[str, Any]:
    pixels = render(CONFIG, patient(CONFIG, number).images[0])
    height, width = pixels.shape
    return {
        "origin": f"phantom {number}",
        "height": height,
        "width": width,
        "nChannels": 1,
        "mode": 0,
        "data": pixels.tobytes(),
    }


def _labels(number: int) -> list[float]:
    present = patient(CONFIG, number).images[0].findings
    return [float(finding in present) for finding in FINDINGS]
