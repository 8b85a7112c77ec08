"""The main job with all its files on HDFS, under YARN, and on an S3 that checks keys."""

import json
import os
import subprocess
from pathlib import Path

import pyspark
import pytest

from hadoop import HadoopMissingError, Hdfs, hadoop_jars
from hilum import storage
from hilum.training import read_attempts
from remote_job import HILUM, check_run, run_remotely, upload_phantoms
from s3_server import GatewayMissingError, s3_gateway
from yarn import yarn

pytestmark = [pytest.mark.slow, pytest.mark.spark, pytest.mark.cluster]

# Of this machine, not of the job: its jars need no upload, and its name leads nowhere.
SETTINGS = {
    "spark.yarn.jars": f"local:{Path(pyspark.__file__).parent / 'jars'}/*",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
}
SMALL_NODE_MIB = 7168


def hilum(*arguments: str, **variables: str) -> str:
    done = subprocess.run(
        [str(HILUM), *arguments],
        capture_output=True,
        text=True,
        env=os.environ | variables,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def predict(root: str, image: str) -> dict[str, float]:
    bundle = storage.join(root, "run", "bundle")
    (answer,) = map(json.loads, hilum("predict", bundle, image, "--format", "json").splitlines())
    assert (answer["path"], answer["status"]) == (image, "ok")
    return answer["probabilities"]


def test_everything_on_hdfs_under_yarn_with_nothing_but_its_urls(tmp_path, monkeypatch):
    """A node of 7 GB: executors as they fit, although nobody said how large."""
    try:
        hadoop_jars()
    except HadoopMissingError as error:
        pytest.skip(str(error))
    conf = tmp_path / "conf"
    conf.mkdir()
    lines = (f"{name} {value}\n" for name, value in SETTINGS.items())
    (conf / "spark-defaults.conf").write_text("".join(lines))
    with Hdfs(tmp_path / "hadoop") as hdfs, yarn(hdfs, SMALL_NODE_MIB):
        monkeypatch.setenv("HADOOP_CONF_DIR", str(hdfs.conf))
        upload_phantoms(tmp_path, "hdfs:///", 40)
        variables = {"SPARK_CONF_DIR": str(conf)}
        run_remotely("hdfs:///", tmp_path / "work", variables, ["--master", "yarn"])
        check_run("hdfs:///")
        (attempt,) = read_attempts("hdfs:///run")
        assert (attempt.ranks, attempt.outcome) == (2, "done")
        image = storage.list_files("hdfs:///data/images")[0].url
        found = predict("hdfs:///", image)
        copy = tmp_path / "copy.png"
        storage.copy_to_disk(image, copy)
        bundle = hilum("info", "hdfs:///run/bundle", "--format", "json")
        assert json.loads(bundle)["provenance"]["source"]["images"] == "hdfs:///data/images"
        alone = hilum("predict", hdfs.url("run", "bundle"), str(copy), "--format", "json")
        assert json.loads(alone)["probabilities"] == found


def test_everything_on_s3(tmp_path, monkeypatch):
    try:
        server = s3_gateway(tmp_path / "s3")
        with server as s3:
            for name, value in s3.variables.items():
                monkeypatch.setenv(name, value)
            upload_phantoms(tmp_path, s3.root, 40)
            run_remotely(s3.root, tmp_path / "work", {}, ["--master", "local-cluster[2,1,1024]"])
            check_run(s3.root)
            (attempt,) = read_attempts(s3.url("run"))
            assert (attempt.ranks, attempt.outcome) == (2, "done")
            predict(s3.root, storage.list_files(s3.url("data/images"))[0].url)
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
            with pytest.raises(PermissionError, match="AWS_SECRET_ACCESS_KEY"):
                storage.exists(s3.url("run", "bundle"))
    except GatewayMissingError as error:
        pytest.skip(str(error))
