"""What a session asks a cluster for, and that the user's own settings win."""

import http.server
import json
import threading

import pytest

from hilum.errors import InvalidValueError
from hilum.spark.cluster_settings import (
    PACKED_PYTHON,
    check_cluster,
    cluster_defaults,
    connector_settings,
    environment_settings,
    given_settings,
    parse_properties,
    start_error,
    storage_variables,
)
from hilum.spark.yarn_room import NodeRoom, YarnRoom, container_settings, nodes_of_yarn

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


def room_of(*nodes, **more):
    return YarnRoom(nodes=[NodeRoom(memory_mib=mib, cores=num) for mib, num in nodes], **more)


def sizes(instances, cores, heap, overhead):
    return {
        "spark.executor.instances": instances,
        "spark.executor.cores": cores,
        "spark.executor.memory": heap,
        "spark.executor.memoryOverhead": overhead,
    }


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        (room_of((16384, 16), (16384, 16)), sizes("2", "4", "2g", "4g")),
        (room_of((14336, 8)), sizes("2", "4", "2g", "4g")),
        # YARN takes whole GiB: 3 twice beside Spark's own 1; of 3.5 the second would never come.
        (room_of((8192, 4)), sizes("2", "2", "1024m", "2048m")),
        (room_of((8192, 4), step_mib=256), sizes("2", "2", "1194m", "2390m")),
        (room_of((4096, 2)), sizes("1", "2", "1024m", "2048m")),  # 1.5 twice would take 2 and 2
        (room_of((3072, 2)), sizes("1", "2", "682m", "1366m")),
        (room_of((65536, 32), largest_mib=4096), sizes("2", "4", "1365m", "2731m")),
        # Spark's own container may be on either; 4 GiB on each fit only with it on the first.
        (room_of((5120, 4), (4096, 4)), sizes("2", "4", "1024m", "2048m")),
    ],
)
def test_executors_are_as_large_as_the_nodes_of_yarn_allow(room, expected):
    assert container_settings(room) == expected


def test_a_yarn_without_room_says_what_it_has():
    with pytest.raises(InvalidValueError, match=r"\[1024, 512\] MiB left.*memory-mb"):
        container_settings(room_of((1024, 8), (512, 8)))
    with pytest.raises(InvalidValueError, match=r"4 executors of 2048.*\[8192\].*for fewer"):
        container_settings(room_of((8192, 8)), 4)


@pytest.fixture
def resource_manager(tmp_path, monkeypatch):
    """Answers as YARN's does; gives the settings file and takes the answer."""
    answer = {}

    class Manager(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path.startswith("/ws/v1/cluster/nodes?") else 404)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_):
            """No line for each request."""

    with http.server.HTTPServer(("127.0.0.1", 0), Manager) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        site = {"yarn.resourcemanager.webapp.address": f"127.0.0.1:{server.server_port}"}

        def told(nodes, **settings):
            answer["nodes"] = nodes and {"node": nodes}
            named = {f"yarn.scheduler.{k}-allocation-mb": v for k, v in settings.items()}
            entries = (
                f"<property><name>{name}</name><value>{value}</value></property>"
                for name, value in (site | named).items()
            )
            text = f"<configuration>{''.join(entries)}</configuration>"
            (tmp_path / "yarn-site.xml").write_text(text)

        monkeypatch.setenv("HADOOP_CONF_DIR", str(tmp_path))
        yield told
        server.shutdown()


def test_what_yarns_resource_manager_says_is_asked_for(resource_manager):
    node = {"id": "h:1", "state": "RUNNING", "availMemoryMB": 8192, "availableVirtualCores": 4}
    resource_manager([node], maximum="", minimum="${x}")
    assert nodes_of_yarn() == room_of((8192, 4))
    assert cluster_defaults("yarn").items() >= sizes("2", "2", "1024m", "2048m").items()
    one = cluster_defaults("yarn", {"spark.executor.instances": "1"})
    assert one.items() >= sizes("1", "4", "2g", "4g").items(), "the user's number, our sizes"
    own = cluster_defaults("yarn", {"spark.executor.memoryOverhead": "1g"})
    assert own.items() >= sizes("2", "4", "2g", "4g").items(), "not asked: the user knows"
    resource_manager([node], maximum=4096, minimum=512)
    assert nodes_of_yarn() == room_of((8192, 4), largest_mib=4096, step_mib=512)
    resource_manager(None)
    with pytest.raises(InvalidValueError, match=r"Got nodes with \[\] MiB left"):
        cluster_defaults("yarn")


def test_executors_are_told_where_storage_is_and_nothing_else():
    told = {"AWS_ENDPOINT_URL": "http://h:1", "AWS_SECRET_ACCESS_KEY": "k", "HOME": "/root"}
    assert storage_variables(told) == {
        "spark.executorEnv.AWS_ENDPOINT_URL": "http://h:1",
        "spark.executorEnv.AWS_SECRET_ACCESS_KEY": "k",
    }


def test_sparks_connector_for_s3_reaches_the_server_that_awss_tools_do():
    own = {"AWS_ENDPOINT_URL": "http://minio:9000", "AWS_DEFAULT_REGION": "eu-west-1"}
    assert connector_settings(own) == {
        "spark.hadoop.fs.s3a.endpoint.region": "eu-west-1",
        "spark.hadoop.fs.s3a.endpoint": "http://minio:9000",
        "spark.hadoop.fs.s3a.path.style.access": "true",
    }
    region = "spark.hadoop.fs.s3a.endpoint.region"
    for both, taken in (
        ({"AWS_REGION": "us-east-2"}, "us-east-2"),
        ({"AWS_REGION": "us-east-2", "AWS_DEFAULT_REGION": "eu-west-1"}, "eu-west-1"),
    ):
        assert connector_settings(both) == {region: taken}, "Amazon's own servers"
    assert connector_settings({}) == {}


@pytest.mark.parametrize("content", [b"spark.a \xff", None])
def test_defaults_that_cannot_be_read_are_named(tmp_path, monkeypatch, content):
    file = tmp_path / "spark-defaults.conf"
    file.write_bytes(content or b"spark.a b")
    if content is None:

        def refuse(path, **options):
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(type(file), "read_text", refuse)  # root may read everything
    with pytest.raises(InvalidValueError, match=r"spark-defaults\.conf must .* SPARK_CONF_DIR"):
        given_settings({"SPARK_CONF_DIR": str(tmp_path)})


def test_submit_arguments_with_an_open_quotation_mark_are_named(tmp_path):
    variables = {"SPARK_CONF_DIR": str(tmp_path), "PYSPARK_SUBMIT_ARGS": "--conf 'spark.a=b"}
    with pytest.raises(InvalidValueError, match=r"PYSPARK_SUBMIT_ARGS must .*'spark\.a=b"):
        given_settings(variables)


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
