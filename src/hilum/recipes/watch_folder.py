"""A folder that is watched: every new radiograph is predicted once, into a Parquet table.

Each micro-batch is a folder of its own in the table, written anew when it is done again after a
crash. So no reader, Spark or not, ever finds a file twice; Spark's own file sink would ask readers
to know its log. The checkpoint lies inside the table, since one without the other loses rows.
"""

from collections.abc import Callable

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming.query import StreamingQuery

from hilum.errors import require
from hilum.spark import NNModel, stream_radiographs
from hilum.spark.shipping import ship_bundle
from hilum.spark.without_connector import connector_needed

__all__ = ["CHECKPOINT", "watch_folder"]

CHECKPOINT = "_checkpoint"  # readers of Parquet folders leave out what begins with _
KEPT = ("file_name", "path", "modification_time", "status", "reason")


def watch_folder(
    spark: SparkSession,
    folder: str,
    model: NNModel,
    out: str,
    *,
    glob: str | None = None,
    files_per_batch: int = 256,
    every_s: float = 5.0,
    once: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> int:
    """Predict every radiograph that is in a folder or comes into it, exactly once.

    Started again with the same `out`, it goes on after the last file, whatever ended it.

    Args:
        spark: a session; not one of Spark Connect, whose server would call `say`.
        folder: the directory; see `stream_radiographs` for how files must arrive.
        model: what predicts.
        out: the table: Parquet in a folder per micro-batch, batch=N. Columns file_name, path,
            modification_time, status, reason, probabilities map<string,float>, ood_score,
            predicted_findings, error, model (a digest that names the bundle) and batch.
        glob: keep only files whose name matches.
        files_per_batch: files of one micro-batch, at most.
        every_s: seconds from one look into the folder to the next.
        once: end when all files that are there now are done, instead of waiting for more.
        say: told of each batch that is done.

    Returns:
        Rows written by this call; it returns with `once` or when the query is stopped elsewhere.

    Raises:
        InvalidValueError: the folder does not exist, or a number is not positive.
    """
    require(every_s > 0, "every_s", "positive", every_s)
    table = out.rstrip("/")
    with connector_needed(folder):
        images = stream_radiographs(spark, folder, glob=glob, files_per_batch=files_per_batch)
    rows = _predictions(images, model, ship_bundle(spark, model.bundle))
    written = _Written(table, say)
    writer = (
        rows.writeStream.queryName("hilum-watch")
        .option("checkpointLocation", f"{table}/{CHECKPOINT}")
        .foreachBatch(written.add)
    )
    writer = (
        writer.trigger(availableNow=True)
        if once
        else writer.trigger(processingTime=f"{round(every_s * 1000)} milliseconds")
    )
    _wait(writer.start())
    return written.rows


def _predictions(images: DataFrame, model: NNModel, name: str) -> DataFrame:
    scored = model.copy().transform(images)
    findings = F.array(*(F.lit(finding) for finding in model.findings))
    prediction = F.col(model.getPredictionCol())
    return scored.select(
        *KEPT,
        F.when(prediction.isNotNull(), F.map_from_arrays(findings, prediction)).alias(
            "probabilities"
        ),
        F.col(model.getOodScoreCol()).alias("ood_score"),
        F.col(model.getPredictedFindingsCol()).alias("predicted_findings"),
        F.col(model.getErrorCol()).alias("error"),
        F.lit(name).alias("model"),
    )


class _Written:
    """Writes micro-batches, and counts their rows."""

    def __init__(self, table: str, say: Callable[[str], None]) -> None:
        self.rows = 0
        self._table = table
        self._say = say

    def add(self, batch: DataFrame, number: int) -> None:
        """Write one micro-batch, or write it again after a crash."""
        folder = f"{self._table}/batch={number}"
        batch.write.mode("overwrite").parquet(folder)
        done = batch.sparkSession.read.schema("error string").parquet(folder)
        rows, bad = done.select(F.count("*"), F.count("error")).first() or (0, 0)
        self.rows += rows
        self._say(f"batch {number}: {rows} files, {bad} without a prediction")


def _wait(query: StreamingQuery) -> None:
    try:
        while not query.awaitTermination(1):  # in slices: Ctrl-C is heard between them
            pass
    finally:
        query.stop()
