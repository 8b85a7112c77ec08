"""What a session asks a cluster for, and that the user's own settings win."""

import pytest

from hilum.errors import InvalidValueError
from hilum.spark.cluster_settings import (
    PACKED_PYTHON,
    check_cluster,
    cluster_defaults,
    environment_settings,
    given_settings,
    parse_properties,
    start_error,
    storage_variables,
)
from hilum.spark.yarn_room import NodeRoom, container_settings

DEFAULTS_FILE = """
# comment
spark.executor.memory   6g
spark.executor.cores=8
spark.executor.extraJavaOptions -Da=b -Dc=d

"""


def test_containers_can_hold_a_rank_and_a_standalone_worker_gives_what_it_has():
    assert cluster_defaults("yarn")["spark.executor.instances"] == "2"
    assert cluster_defaults("k8s://https://h:6443") == cluster_defaults("yarn")
    standalone = cluster_defaults("spark://h:7077")
    assert "spark.executor.instances" not in standalone
    assert standalone["spark.dynamicAllocation.enabled"] == "false"
    assert cluster_defaults("local[2]") == cluster_defaults("local-cluster[2,1,512]") == {}


@pytest.mark.parametrize(
    ("nodes", "largest", "instances", "cores", "heap", "overhead"),
    [
        ([(16384, 16), (16384, 16)], 8192, "2", "4", "2g", "4g"),
        ([(14336, 8)], 8192, "2", "4", "2g", "4g"),
        ([(8192, 4)], 8192, "2", "2", "1194m", "2390m"),  # 3584 twice beside Spark's own 1024
        ([(4096, 2)], 8192, "2", "1", "512m", "1024m"),
        ([(3072, 2)], 8192, "1", "2", "682m", "1366m"),  # no room for two
        ([(65536, 32)], 4096, "2", "4", "1365m", "2731m"),  # of the largest container allowed
    ],
)
def test_executors_are_as_large_as_the_nodes_of_yarn_allow(
    nodes, largest, instances, cores, heap, overhead
):
    rooms = [NodeRoom(memory_mib=memory, cores=num) for memory, num in nodes]
    assert container_settings(rooms, largest) == {
        "spark.executor.instances": instances,
        "spark.executor.cores": cores,
        "spark.executor.memory": heap,
        "spark.executor.memoryOverhead": overhead,
    }


def test_a_yarn_without_room_for_anything_says_what_it_has():
    with pytest.raises(InvalidValueError, match=r"\[1024, 512\] MiB left.*memory-mb"):
        container_settings(
            [NodeRoom(memory_mib=1024, cores=8), NodeRoom(memory_mib=512, cores=8)], 8192
        )


def test_executors_are_told_where_storage_is_and_nothing_else():
    told = {"AWS_ENDPOINT_URL": "http://h:1", "AWS_SECRET_ACCESS_KEY": "k", "HOME": "/root"}
    assert storage_variables(told) == {
        "spark.executorEnv.AWS_ENDPOINT_URL": "http://h:1",
        "spark.executorEnv.AWS_SECRET_ACCESS_KEY": "k",
    }


def test_spark_defaults_and_submit_arguments_are_found(tmp_path):
    (tmp_path / "spark-defaults.conf").write_text(DEFAULTS_FILE)
    arguments = "--conf spark.executor.memory=7g --conf 'spark.a=b c' pyspark-shell"
    variables = {"SPARK_CONF_DIR": str(tmp_path), "PYSPARK_SUBMIT_ARGS": arguments}
    assert given_settings(variables) == {
        "spark.executor.memory": "7g",
        "spark.executor.cores": "8",
        "spark.executor.extraJavaOptions": "-Da=b -Dc=d",
        "spark.a": "b c",
    }
    assert parse_properties("") == {}


def test_a_packed_environment_brings_its_interpreter_and_a_zip_only_code(tmp_path):
    archive, code = tmp_path / "env.tar.gz", tmp_path / "hilum.zip"
    archive.touch()
    code.touch()
    settings, variables = environment_settings(str(archive), "yarn")
    assert settings == {"spark.archives": f"{archive}#environment"}
    assert variables == {"PYSPARK_PYTHON": PACKED_PYTHON}
    assert environment_settings(str(code), "yarn") == ({"spark.submit.pyFiles": str(code)}, {})
    remote, _ = environment_settings("hdfs://h/env.tgz", "yarn")
    assert remote == {"spark.archives": "hdfs://h/env.tgz#environment"}


@pytest.mark.parametrize(
    ("packed", "master", "said"),
    [
        ("env.tar.gz", "local[2]", "environment must be left out where the executors are this"),
        ("env.tar.bz2", "yarn", r"environment must be a file of \.tar\.gz"),
        ("nowhere.zip", "yarn", r"environment must be a file that is there.*hilum pack"),
    ],
)
def test_another_environment_is_refused_with_the_way_out(packed, master, said):
    with pytest.raises(InvalidValueError, match=said):
        environment_settings(packed, master)


def test_yarn_without_its_settings_is_refused_before_java_starts(tmp_path):
    for variables in ({}, {"HADOOP_CONF_DIR": str(tmp_path)}):
        with pytest.raises(
            InvalidValueError, match=r"HADOOP_CONF_DIR must be the folder with yarn"
        ):
            check_cluster("yarn", variables)
    (tmp_path / "yarn-site.xml").touch()
    check_cluster("yarn", {"YARN_CONF_DIR": str(tmp_path)})
    check_cluster("spark://h:7077", {})


def test_a_container_that_is_too_small_is_told_with_the_settings_to_change():
    said = (
        "Required executor memory (2048 MB), offHeap memory (0) MB, overhead (4096 MB), and "
        "PySpark memory (0 MB) is above the max threshold (4096 MB) of this cluster! Please check"
    )
    error = start_error(ValueError(said))
    assert isinstance(error, InvalidValueError)
    assert "(4096 MB) of this cluster! Hint: --conf spark.executor.memoryOverhead=2g" in str(error)
    other = ValueError("something else")
    assert start_error(other) is other
