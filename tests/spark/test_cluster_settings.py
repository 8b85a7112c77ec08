"""What a session asks a cluster for, and that the user's own settings win."""

import pytest

from hilum.errors import InvalidValueError
from hilum.spark.cluster_settings import (
    PACKED_PYTHON,
    cluster_defaults,
    environment_settings,
    given_settings,
    parse_properties,
)

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
