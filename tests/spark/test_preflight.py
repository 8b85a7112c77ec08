"""What would fail after an hour is refused before the first job, with the way out."""

import pytest

from hilum.errors import (
    InvalidValueError,
    MissingDependencyError,
    RankLostError,
    TrainingError,
)
from hilum.spark import BarrierLauncher
from hilum.spark.failures import as_hilum_error
from hilum.spark.preflight import make_run_directory, preflight
from hilum.spark.versions import own_versions
from hilum.training import train_worker


def test_a_good_session_and_directory_pass_and_keep_no_trace(spark, tmp_path):
    preflight(spark, str(tmp_path), 2)
    assert list(tmp_path.iterdir()) == []


def test_too_many_ranks_are_refused_with_the_settings_to_change(spark, tmp_path):
    with pytest.raises(InvalidValueError, match=r"Got 3 for 2\. Hint: raise spark.executor.inst"):
        preflight(spark, str(tmp_path), 3)


def test_a_directory_the_driver_cannot_write_is_refused(spark, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InvalidValueError, match=r"runDir must be .* written by the driver"):
        preflight(spark, str(tmp_path / "file" / "run"), 1)


def test_a_directory_the_driver_cannot_make_is_refused(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InvalidValueError, match=r"runDir must be .* made by the driver"):
        make_run_directory(str(tmp_path / "file" / "run"))


def test_a_directory_that_executors_do_not_share_is_refused(spark):
    """memory:// is storage that every process has for itself, like a disk of each host."""
    with pytest.raises(InvalidValueError) as caught:
        preflight(spark, "memory://run", 1)
    assert "shared and written by executors" in str(caught.value)
    assert "mounted on every host" in str(caught.value)


@pytest.mark.parametrize("name", ["Python", "torch", "hilum"])
def test_other_versions_on_executors_are_refused(spark, tmp_path, name):
    driver = {**own_versions(), name: "0.7"}
    with pytest.raises(InvalidValueError) as caught:
        preflight(spark, str(tmp_path), 1, driver)
    message = str(caught.value)
    assert f"{name} on executors must be 0.7, as on the driver." in message
    assert f"Got {own_versions()[name]} on host" in message
    assert "PYSPARK_PYTHON" in message
    assert list(tmp_path.iterdir()) == []


def test_executors_that_come_later_are_checked_before_ranks_meet(spark):
    launcher = BarrierLauncher(spark, versions={"torch": "0.7"})
    with pytest.raises(InvalidValueError, match=r"torch on executors must be 0\.7"):
        launcher.launch(train_worker, "no such run", 1)


def test_dynamic_allocation_is_refused(spark, tmp_path):
    session = spark.newSession()
    session.conf.set("spark.sql.legacy.setCommandRejectsSparkCoreConfs", "false")
    session.conf.set("spark.dynamicAllocation.enabled", "true")
    with pytest.raises(
        InvalidValueError, match=r"spark\.dynamicAllocation\.enabled must be false for training"
    ) as caught:
        preflight(session, str(tmp_path), 1)
    assert "Hint: barrier stages need a fixed number of executors" in str(caught.value)


# What Spark 4.1 said, cut to the lines that matter.
STAGE = (
    "org.apache.spark.SparkException: Job aborted due to stage failure: Could not recover from a "
    "failed barrier ResultStage. Most recent failure reason: Stage failed because barrier task "
    "ResultTask(0, 1) finished unsuccessfully.\n"
)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            "SparkException: Python worker exited unexpectedly (crashed): \n\n\tat org.apache",
            "Python worker exited unexpectedly (crashed)",
        ),
        (
            "ExecutorLostFailure (executor 0 exited caused by one of the running tasks) Reason: "
            "Command exited with code 137\n\tat org.apache.spark.scheduler.DAGScheduler",
            "ExecutorLostFailure (executor 0 exited caused by one of the running tasks) Reason: "
            "Command exited with code 137",
        ),
    ],
)
def test_a_lost_task_is_told_by_its_number(said, reason):
    error = as_hilum_error(RuntimeError(STAGE + said))
    assert isinstance(error, RankLostError)
    assert (str(error), error.task) == (reason, 1)


def test_another_python_or_a_missing_package_on_workers_is_said_in_our_words():
    other = (
        "pyspark.errors.exceptions.base.PySparkRuntimeError: [PYTHON_VERSION_MISMATCH] Python in "
        "worker has different version: 3.12 than that in driver: 3.11, PySpark cannot run with "
        "different minor versions."
    )
    error = as_hilum_error(RuntimeError(STAGE + other))
    assert isinstance(error, InvalidValueError)
    assert "must be 3.11, as on the driver. Got 3.12" in str(error)
    missing = as_hilum_error(RuntimeError(STAGE + "ModuleNotFoundError: No module named 'hilum'"))
    assert isinstance(missing, MissingDependencyError)
    assert "'hilum'" in str(missing)


def test_an_unknown_failure_keeps_sparks_words_and_is_not_retried():
    error = as_hilum_error(RuntimeError("something new"))
    assert type(error) is TrainingError
    assert "something new" in str(error)
