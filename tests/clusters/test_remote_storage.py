"""The main job with all its files on HDFS, under YARN, and on an S3 that checks keys."""

import json
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyspark
import pytest

from hadoop import HadoopMissingError, Hdfs, hadoop_jars
from hilum import storage
from hilum.training import Every, LocalLauncher, read_attempts, train_worker
from hilum.training.checkpoint import checkpointed_step
from remote_job import HILUM, check_run, run_remotely, upload_phantoms
from s3_server import GatewayMissingError, s3_gateway
from training_cases import start_run, write_cache
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


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    try:
        hadoop_jars()
    except HadoopMissingError as error:
        pytest.skip(str(error))
    with Hdfs(tmp_path_factory.mktemp("hadoop")) as hdfs:
        yield hdfs


@pytest.fixture
def hdfs(running, monkeypatch):
    monkeypatch.setenv("HADOOP_CONF_DIR", str(running.conf))
    return running


def test_everything_on_hdfs_under_yarn_with_nothing_but_its_urls(hdfs, tmp_path):
    """A node of 7 GB: executors as they fit, although nobody said how large."""
    conf = tmp_path / "conf"
    conf.mkdir()
    lines = (f"{name} {value}\n" for name, value in SETTINGS.items())
    (conf / "spark-defaults.conf").write_text("".join(lines))
    with yarn(hdfs, SMALL_NODE_MIB):
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


def test_a_run_waits_for_the_data_node_at_a_checkpoint_and_ends_as_another(hdfs, tmp_path):
    write_cache(tmp_path / "cache")
    settings = {"max_epochs": 1, "checkpoint_every": Every(steps=1)}
    launcher = LocalLauncher(num_threads=1)
    calm = start_run(tmp_path / "calm", tmp_path / "cache", **settings)
    run = start_run(hdfs.url("outage-of-a-run"), tmp_path / "cache", **settings)
    with ThreadPoolExecutor(1) as ranks:
        done = ranks.submit(launcher.launch, train_worker, run, 1)
        while checkpointed_step(run) < 1:
            time.sleep(0.02)
        hdfs.datanode.kill()
        hdfs.datanode.start()  # in a second or more, in which a checkpoint is due
        assert done.result() == launcher.launch(train_worker, calm, 1), "the same weights"


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
