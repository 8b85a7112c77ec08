"""The way of a model through Spark, step by step: python connect_client.py ADDRESS FOLDER.

ADDRESS is that of a Spark Connect server, or a master of classic Spark. In a process of its own, as
a process speaks either to a server or to Java. Prints one JSON object of what it saw.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.feature import SQLTransformer
from pyspark.sql import SparkSession

import any_models
from hilum.models import factory
from hilum.spark import (
    NNEstimator,
    NNModel,
    RocAucEvaluator,
    folds_by_patient,
    local_session,
    read_radiographs,
)
from image_files import picture, png, write_files

FINDINGS = ["Bright", "Left"]
MODEL = "models/one"  # below the folder that Spark was started in
seconds: dict[str, float] = {}


@contextmanager
def step(name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - started, 2)


def main(address: str, folder: Path) -> None:
    with step("session"):
        spark = session(address)
        spark.addArtifacts(any_models.__file__, pyfile=True)
    with step("read"):
        data = radiographs(spark, folder).cache()
        statuses = sorted({row.status for row in data.select("status").collect()})
        folds = folds_by_patient(data, 2, patientCol="file_name").select("fold").distinct().count()
    estimator = NNEstimator(
        model=factory(any_models.small_net, width=2),
        findings=FINDINGS,
        splitCol="split",
        imageSize=16,
        maxEpochs=1,
        batchSize=4,
        precision="float32",
        showProgress=False,
    )
    images = SQLTransformer(statement="SELECT * FROM __THIS__ WHERE status = 'ok'")
    pipeline = Pipeline(stages=[images, estimator])
    with step("fit"):
        fitted = pipeline.fit(data)
    with step("transform"):
        scores = scores_of(fitted.transform(data))
    with step("evaluate"):
        auroc = RocAucEvaluator(findings=FINDINGS).evaluate(fitted.transform(data))
    model = fitted.stages[1]
    with step("save and load a model, twice"):
        for name in ("first", "second"):
            model.setErrorCol(name).write().overwrite().save(MODEL)
            loaded = NNModel.load(MODEL)
        refused = refusal(lambda: model.save(MODEL))
    with step("save and load pipelines"):
        for stage, name in ((pipeline, "pipeline"), (fitted, "fitted")):
            stage.save(str(folder / name))
            stage.write().overwrite().save(str(folder / name))
        unfitted = Pipeline.load(str(folder / "pipeline")).getStages()[1]
        again = PipelineModel.load(str(folder / "fitted"))
    with step("transform again"):
        scores_again = scores_of(again.transform(data))
    seen = {
        "statuses": statuses,
        "folds": folds,
        "scores": scores,
        "scores_again": scores_again,
        "auroc": auroc,
        "error_col": loaded.getErrorCol(),
        "history": loaded.history == model.history and len(loaded.history),
        "refused": refused,
        "same_settings": unfitted.settings() == estimator.settings(),
        "remote": "connect" in type(spark).__module__,
        "seconds": seconds,
    }
    print(json.dumps(seen))
    spark.stop()


def session(address: str) -> SparkSession:
    if address.startswith("sc://"):
        return SparkSession.builder.remote(address).getOrCreate()
    return local_session(address, memory="1g")


def radiographs(spark: SparkSession, folder: Path):
    files = {f"{i:02d}.png": png(picture(i, 20, 18)) for i in range(12)} | {"text.png": b"no image"}
    rows = [
        (name, [float(i % 2), float(i // 2 % 2)], "valid" if i % 3 == 0 else "train")
        for i, name in enumerate(sorted(files))
    ]
    table = spark.createDataFrame(rows, "file_name string, labels array<float>, split string")
    write_files(folder / "images", files)
    return read_radiographs(spark, str(folder / "images")).join(table, "file_name")


def scores_of(scored) -> dict[str, list[float]]:
    return {
        row.file_name: row.prediction for row in scored.select("file_name", "prediction").collect()
    }


def refusal(action) -> str:
    try:
        action()
    except Exception as error:
        return type(error).__name__
    return ""


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
