"""A driver on any master, in a process of its own: a job per line of input, an answer per line.

    cluster_driver.py '{"master": ..., "environment": ..., "config": {...}}'

{"do": "ready"}                           the session is there and has run a job
{"do": "places"}                          interpreter, package and host of two barrier tasks
{"do": "fit", "images": ..., "out": ...}  two ranks, then predictions of all images
{"do": "train", "run": ..., "policy": {}} a prepared run, over losses of ranks
"""

import json
import logging
import os
import sys
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from hilum.errors import HilumError
from hilum.spark import BarrierLauncher, NNEstimator, local_session, read_radiographs
from hilum.training import RetryPolicy, launch_with_retries, read_attempts, train_worker


def places(batches):
    """Where a task runs: by value to the executors, whatever they have installed."""
    import importlib.metadata
    import socket
    import sys

    import pyarrow as pa

    import hilum

    for _ in batches:
        pass
    place = [sys.prefix, hilum.__file__, importlib.metadata.version("hilum"), socket.gethostname()]
    yield pa.RecordBatch.from_pydict({"place": [place]})


def do_places(spark: SparkSession, job: dict[str, Any]) -> Any:
    tasks = spark.range(0, 2, 1, 2).mapInArrow(places, "place array<string>", barrier=True)
    return [list(row["place"]) for row in tasks.collect()]


def do_ready(spark: SparkSession, job: dict[str, Any]) -> Any:
    return spark.range(2).count()


def do_fit(spark: SparkSession, job: dict[str, Any]) -> Any:
    images = read_radiographs(spark, job["images"])
    number = F.abs(F.hash("file_name"))
    labelled = images.withColumn("labels", F.array((number % 2).cast("double")))
    estimator = NNEstimator(
        model="timm:test_resnet",
        weights="random",
        imageSize=32,
        maxEpochs=1,
        batchSize=4,
        findings=["Bright"],
        runDir=job["out"],
        splitCol="split",
        showProgress=False,
    )
    split = F.when(number % 4 < 3, "train").otherwise("valid")
    model = estimator.fit(labelled.withColumn("split", split))
    rows = model.transform(images).select("file_name", "prediction").collect()
    attempts = read_attempts(job["out"])
    ranks, hosts = attempts[-1].ranks, attempts[-1].hosts
    return {"rows": len(rows), "ranks": ranks, "hosts": hosts}


def do_train(spark: SparkSession, job: dict[str, Any]) -> Any:
    policy = RetryPolicy(**job["policy"])
    launcher = BarrierLauncher(spark)
    return launch_with_retries(launcher, train_worker, job["run"], job["ranks"], policy)


def main() -> None:
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Java prints is no answer
    settings = json.loads(sys.argv[1])
    spark = local_session(
        settings["master"],
        memory="512m",
        environment=settings.get("environment"),
        config=settings.get("config", {}),
    )
    work = {"ready": do_ready, "places": do_places, "fit": do_fit, "train": do_train}
    for line in sys.stdin:
        job = json.loads(line)
        try:
            answer = {"answer": work[job["do"]](spark, job)}
        except HilumError as error:
            answer = {"error": str(error), "kind": type(error).__name__}
        print(json.dumps(answer), file=answers, flush=True)
    spark.stop()


if __name__ == "__main__":
    main()
