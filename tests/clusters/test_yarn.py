"""A real resource manager and node manager: executors are containers whose Python has no Hilum."""

import json
import os
import subprocess
from pathlib import Path

import pyspark
import pytest

from cluster_session import EXECUTORS, PACKAGES, driver, write_images
from hadoop import HadoopMissingError, Hdfs, hadoop_jars
from hilum.packing import pack
from hilum.spark.cluster_settings import PACKED_PYTHON
from yarn import yarn

pytestmark = [pytest.mark.slow, pytest.mark.spark, pytest.mark.cluster]

# Here every host is this one: no need to upload 400 MB of jars for every session.
SPARK = Path(pyspark.__file__).parent
SUPPORT = Path(__file__).parents[1] / "support"
CONTAINERS = {
    "spark.executor.cores": "1",
    "spark.executor.memoryOverhead": "1g",
    "spark.yarn.am.memory": "512m",
    "spark.yarn.jars": f"local:{SPARK / 'jars'}/*",
}

LOOPBACK = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("yarn")


@pytest.fixture(scope="module")
def hadoop(folder):
    try:
        hadoop_jars()
    except HadoopMissingError as error:
        pytest.skip(str(error))
    with Hdfs(folder / "hadoop") as hdfs, yarn(hdfs):
        yield hdfs


@pytest.fixture(scope="module")
def packed(folder):
    pack(folder / "env.tar.gz", hilum_only=True)
    return folder / "env.tar.gz"


@pytest.fixture(scope="module")
def session(hadoop, folder, packed):
    variables = {"HADOOP_CONF_DIR": str(hadoop.conf)}
    with driver(folder, "yarn", packed, CONTAINERS | LOOPBACK, **variables) as started:
        yield started


def test_containers_run_the_packed_interpreter_and_the_packed_hilum(session, folder):
    places = session.ask(do="places")
    assert len(places) == 2
    for prefix, module, version, _ in places:
        assert prefix.startswith(f"{folder}/hadoop/local/"), "below the node manager's directory"
        assert "/container_" in prefix
        assert prefix.endswith("/environment")
        assert module.startswith(f"{prefix}/lib/python"), module
        assert version
        assert not prefix.startswith(PACKAGES)


def test_two_ranks_in_two_containers_train_and_predict(session, folder):
    """Two executors although nobody said how many: what a session asks YARN for by default."""
    images = write_images(folder / "images")
    answer = session.ask(do="fit", images=f"file://{images}", out=str(folder / "run"))
    assert answer["rows"] == 8
    assert answer["ranks"] == 2


def test_a_submitted_script_trains_with_its_driver_in_a_container_too(hadoop, folder, packed):
    images = write_images(folder / "submitted")
    answer = folder / "answer.json"
    settings = (
        EXECUTORS
        | CONTAINERS
        | {
            "spark.yarn.appMasterEnv.PYSPARK_PYTHON": PACKED_PYTHON,
            "spark.yarn.appMasterEnv.PYTHONPATH": PACKAGES,
            "spark.driver.memory": "512m",
            "spark.yarn.maxAppAttempts": "1",
        }
    )
    command = [str(SPARK / "bin" / "spark-submit"), "--master", "yarn", "--deploy-mode", "cluster"]
    command += ["--archives", f"{packed}#environment"]
    command += ["--py-files", str(SUPPORT / "cluster_driver.py")]
    for name, value in settings.items():
        command += ["--conf", f"{name}={value}"]
    command += [
        str(SUPPORT / "cluster_script.py"),
        f"file://{images}",
        str(folder / "submitted-run"),
    ]
    done = subprocess.run(
        [*command, str(answer)],
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        | {"HADOOP_CONF_DIR": str(hadoop.conf)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    logs = "".join(path.read_text()[-2000:] for path in folder.glob("hadoop/logs/*/*/stdout"))
    assert done.returncode == 0, done.stderr[-4000:] + logs
    found = json.loads(answer.read_text())
    assert (found["rows"], found["ranks"]) == (8, 2)
    assert found["prefix"].startswith(f"{folder}/hadoop/local/"), "the driver is in a container"
    assert found["hilum"].startswith(found["prefix"])
