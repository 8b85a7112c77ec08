"""Write an archive of the Java classes that short Spark jobs load, so that later ones start faster.

Half of the CPU time of a short job goes into loading and checking classes from Spark's jars. Java
can share what one process has loaded (docs.oracle.com/en/java/javase/17/vm, "Class Data Sharing").
An archive of another Java or of other jars is passed over by Java, and costs nothing but its time.

    python scripts/spark_classes.py ARCHIVE
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from pyspark import SparkContext
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from hilum.spark import local_session

DUMP_WITHIN_S = 300.0


def main(archive: Path) -> None:
    """Run typical queries in a Java that writes the archive as it ends."""
    unfinished = archive.with_suffix(".unfinished")
    quick = "-XX:TieredStopAtLevel=1 -Xlog:cds=off -Xlog:cds+dynamic=off"
    options = f"{quick} -XX:ArchiveClassesAtExit={unfinished}"
    settings = {"spark.driver.extraJavaOptions": options}
    spark = local_session("local[2]", app_name="classes", memory="1g", config=settings)
    with tempfile.TemporaryDirectory(prefix="hilum-classes-") as folder:
        query(spark, folder)
    java = SparkContext._gateway.proc
    spark.stop()
    java.stdin.close()  # what ends it
    java.wait(DUMP_WITHIN_S)
    unfinished.replace(archive)


def query(spark: SparkSession, folder: str) -> None:
    """Read and write files, join, group, sort and run Python, as reading and training do."""
    rows = [(f"{number}.png", "A|B", [1.0, None], number) for number in range(8)]
    table = spark.createDataFrame(
        rows, "name string, findings string, labels array<float>, age int"
    )
    table.drop("labels").write.option("header", True).csv(f"{folder}/csv")
    table.write.parquet(f"{folder}/parquet")
    read = spark.read.csv(f"{folder}/csv", header=True, inferSchema=True)
    files = spark.read.format("binaryFile").load(f"{folder}/parquet/*.parquet")
    files.mapInArrow(same, files.schema).select("path", F.length("content")).collect()
    joined = read.join(spark.read.parquet(f"{folder}/parquet").select("name", "labels"), "name")
    found = joined.withColumn("finding", F.explode(F.split("findings", "[|]")))
    found.groupBy("finding").agg(F.count("*"), F.avg("age"), F.max("name")).orderBy(
        "finding"
    ).collect()
    found.repartition(2, "name").mapInArrow(same, found.schema).toArrow()
    spark.range(0, 2, 1, 2).mapInArrow(same, "id long", barrier=True).collect()


def same(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Return batches as they come."""
    yield from batches


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
