"""A real resource manager and node manager: executors are containers whose Python has no Hilum."""

from pathlib import Path

import pyspark
import pytest

from cluster_session import PACKAGES, driver, write_images
from hadoop import HadoopMissingError, Hdfs, hadoop_jars
from hilum.packing import pack
from yarn import yarn

pytestmark = [pytest.mark.slow, pytest.mark.spark, pytest.mark.cluster]

# Here every host is this one: no need to upload 400 MB of jars for every session.
JARS = f"local:{Path(pyspark.__file__).parent / 'jars'}/*"
SMALL = {
    "spark.executor.cores": "1",
    "spark.executor.memoryOverhead": "1g",
    "spark.yarn.am.memory": "512m",
    "spark.yarn.jars": JARS,
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
}


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
def session(hadoop, folder):
    packed = folder / "env.tar.gz"
    pack(packed, hilum_only=True)
    variables = {"HADOOP_CONF_DIR": str(hadoop.conf)}
    with driver(folder, "yarn", packed, SMALL, **variables) as started:
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
