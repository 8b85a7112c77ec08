"""Spark's own connector for S3, `s3a`, for what Hilum's client does not do.

Its jar is 660 MB, so this is left to `make test-clusters`. The server checks keys.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

from hadoop import hadoop_version
from hilum import storage
from image_files import picture, png
from maven import JarsMissingError, jars
from quick_java import QUICK_JAVA
from remote_job import HILUM, upload_phantoms
from s3_server import GatewayMissingError, s3_gateway

pytestmark = [pytest.mark.slow, pytest.mark.spark, pytest.mark.cluster]

STAGES = """
import sys
from pyspark.ml import PipelineModel
from hilum.spark import NNModel, local_session, read_radiographs

bundle, images, out = sys.argv[1:]
spark = local_session("local[1]")
rows = read_radiographs(spark, images)
assert "binaryFile" in rows._jdf.queryExecution().toString(), "Spark itself reads"
PipelineModel([NNModel.from_bundle(bundle)]).write().overwrite().save(out)
PipelineModel([NNModel.from_bundle(bundle)]).write().overwrite().save(out)
found = PipelineModel.load(out).transform(rows).select("prediction_error")
print(sum(row.prediction_error is None for row in found.collect()))
spark.stop()
"""


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    """The server, the keys in the environment, and the connector in spark-defaults.conf."""
    folder = tmp_path_factory.mktemp("s3a")
    version = hadoop_version()
    try:
        connector = jars(f"hadoop-aws-{version}", [f"org.apache.hadoop:hadoop-aws:{version}"])
        server = s3_gateway(folder)
        with server as running, pytest.MonkeyPatch.context() as patch:
            (folder / "spark-defaults.conf").write_text(
                f"spark.driver.extraClassPath {':'.join(map(str, connector))}\n"
            )
            for name, value in running.variables.items():
                patch.setenv(name, value)
            patch.setenv("SPARK_CONF_DIR", str(folder))
            patch.setenv("JDK_JAVA_OPTIONS", QUICK_JAVA)
            upload_phantoms(folder, running.root, 24)
            yield running
    except (JarsMissingError, GatewayMissingError) as error:
        pytest.skip(str(error))


def call(*arguments: object, code: int = 0) -> str:
    command = [str(argument) for argument in arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=500, check=False, env=os.environ
    )
    assert done.returncode == code, done.stderr[:4000]
    return done.stderr if code else done.stdout


def test_tables_runs_streams_and_stages_on_s3a(s3, tmp_path):
    root = s3.root.replace("s3://", "s3a://")
    images, labels = f"{root}/data/images", f"{root}/data/Data_Entry_2017.csv"
    where = ("--master", "local[1]")
    counts = call(HILUM, "ingest", images, "--out", f"{root}/table", *where)
    assert json.loads(counts)["ok"] == 24
    small = ("--model", "timm:test_resnet", "--weights", "random", "--epochs", 1)
    data = ("--data", f"{root}/table", "--labels", labels)
    call(HILUM, "train", *data, "--out", f"{root}/run", "--image-size", 32, *small, *where)
    bundle = f"{root}/run/bundle"
    watch = ("--out", f"{root}/predictions", "--once")
    assert "files: 24" in call(HILUM, "watch", images, bundle, *watch, *where)
    storage.write_bytes(f"{images}/later.png", png(picture(1, 40, 40)))
    assert "files: 1" in call(HILUM, "watch", images, bundle, *watch, *where)

    script = tmp_path / "stages.py"
    script.write_text(STAGES)
    python = Path(HILUM).with_name("python")
    assert call(python, script, bundle, images, f"{root}/stages").split()[-1] == "25"


def test_keys_that_the_server_does_not_take_are_said_in_a_sentence(s3, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    where = ("--master", "local[1]")
    said = call(HILUM, "ingest", "s3a://hilum/data/images", "--out", "table", *where, code=1)
    said = " ".join(said.split())  # lines end where the terminal does
    assert "hilum: CredentialsError: s3a://hilum/data/images: Spark was refused: s3a://" in said
    assert "AWS_SECRET_ACCESS_KEY" in said
    assert "Traceback" not in said
