import os
import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from hilum.errors import InvalidValueError, MissingDependencyError
from hilum.spark import check_java, local_session


def java_that_says(folder: Path, words: str) -> Path:
    program = folder / "bin" / "java"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho '{words}' >&2\n")
    program.chmod(0o755)
    return folder


@pytest.mark.parametrize("words", ['java version "1.8.0_392"', 'openjdk version "11.0.2" 2019'])
def test_an_old_java_is_refused_with_what_to_install(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(java_that_says(tmp_path, words)))
    with pytest.raises(MissingDependencyError, match=r"Java 17 or newer.*openjdk-17-jre-headless"):
        check_java()


@pytest.mark.parametrize("words", ['openjdk version "17.0.15" 2025-04-15', 'java version "25"'])
def test_a_new_java_is_accepted(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(java_that_says(tmp_path, words)))
    check_java()


def test_no_java_is_said_with_the_place_that_was_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(MissingDependencyError, match=f"JAVA_HOME is {tmp_path}"):
        check_java()
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match="no java on the PATH"):
        check_java()


@pytest.mark.parametrize("master", ["", "loco", "local[2", "local-cluster[2,1]", "spark:/host"])
def test_a_master_spark_does_not_know_is_refused(master: str) -> None:
    with pytest.raises(InvalidValueError, match="master must be"):
        local_session(master)


def test_the_session_has_small_batches_and_as_many_shuffle_partitions_as_cores(
    spark: SparkSession,
) -> None:
    assert spark.conf.get("spark.sql.execution.arrow.maxRecordsPerBatch") == "256"
    assert spark.conf.get("spark.sql.shuffle.partitions") == "2"
    assert spark.conf.get("spark.ui.enabled") == "false"
    assert spark.conf.get("spark.driver.host") == "127.0.0.1"


def test_asking_again_returns_the_running_session(spark: SparkSession) -> None:
    assert local_session("local[2]") is spark
    again = {"spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1"}
    assert local_session("local[2]", config=again) is spark


def test_asking_for_something_else_than_what_runs_is_refused(spark: SparkSession) -> None:
    with pytest.raises(InvalidValueError, match=r"spark.master .* Hint: stop that session first"):
        local_session("local[7]")
    with pytest.raises(InvalidValueError, match=r"shuffle.partitions .* Got '7'"):
        local_session("local[2]", config={"spark.sql.shuffle.partitions": "7"})


LOCAL_CLUSTER = """
import os
import pyarrow as pa
from hilum.spark.session import local_session

spark = local_session("local-cluster[2,1,512]", memory="512m")

def where(batches):
    for _ in batches:
        yield pa.RecordBatch.from_pydict({"pid": [os.getppid()], "folder": [os.getcwd()]})

tasks = spark.range(2, numPartitions=2).mapInArrow(where, "pid long, folder string", barrier=True)
rows = tasks.collect()
print(len({row["pid"] for row in rows}), rows[0]["folder"])
"""


@pytest.mark.spark
@pytest.mark.slow
@pytest.mark.cluster
def test_a_local_cluster_runs_two_executors_quietly_and_leaves_nothing_behind(
    tmp_path: Path,
) -> None:
    temporary, current = tmp_path / "tmp", tmp_path / "current"
    temporary.mkdir()
    current.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", LOCAL_CLUSTER],
        cwd=current,
        env=environment(TMPDIR=str(temporary)),
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    executors, folder = done.stdout.split()
    assert executors == "2"
    assert Path(folder).is_relative_to(temporary)  # not in site-packages
    assert not list(current.iterdir())
    assert not list(temporary.glob("hilum-spark-*"))
    # The one line Java itself prints about the module that Spark adds.
    assert [line for line in done.stderr.splitlines() if "incubator" not in line] == []


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, **more}
