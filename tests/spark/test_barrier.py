"""Ranks by Spark and ranks by processes: the same claims hold for both launchers."""

import json
import socket

import pytest
from pyspark import cloudpickle

import rank_workers
from hilum.errors import InvalidValueError, TrainingError
from hilum.models import build_classifier
from hilum.spark import BarrierLauncher, barrier
from hilum.spark.barrier import executor_layout
from hilum.training import LocalLauncher, TrainJob, load_checkpoint, prepare_run, train_worker
from rank_workers import fail_alone, fail_on_last, report_place
from training_cases import OUTPUTS, config, write_cache


@pytest.fixture(params=["processes", "spark"])
def launcher(request):
    if request.param == "processes":
        yield LocalLauncher(num_threads=1)
        return
    # The tests' own modules are not installed where Spark's workers look.
    cloudpickle.register_pickle_by_value(rank_workers)
    yield BarrierLauncher(request.getfixturevalue("spark"))
    cloudpickle.unregister_pickle_by_value(rank_workers)


def test_results_come_in_rank_order_from_one_group(launcher):
    results = [json.loads(text) for text in launcher.launch(report_place, "hello", 2)]
    assert [result["place"] for result in results] == [[0, 2, 0, 1], [1, 2, 1, 1]]
    assert [result["sum"] for result in results] == [3.0, 3.0], "one all-reduce over both"
    assert [result["group"] for result in results] == [2, 2]
    assert [result["argument"] for result in results] == ["hello", "hello"]
    assert len({result["process"] for result in results}) == 2


def test_one_rank_needs_no_group(launcher):
    (result,) = map(json.loads, launcher.launch(report_place, "", 1))
    assert (result["place"][:3], result["sum"], result["group"]) == ([0, 1, 0], 1.0, 1)


def test_a_failing_rank_is_named_with_host_and_its_own_traceback(launcher):
    with pytest.raises(TrainingError) as caught:
        launcher.launch(fail_on_last, "this", 2)
    message = str(caught.value)
    assert message.startswith(f"rank 1 of 2 on {socket.gethostname()} failed: ValueError: ")
    assert "the reason is this" in message
    assert "in fail_on_last" in message
    assert "org.apache.spark" not in message


def test_the_next_run_works_after_a_failure(launcher):
    with pytest.raises(TrainingError, match="KeyError: 'key'"):
        launcher.launch(fail_alone, "key", 1)
    (result,) = map(json.loads, launcher.launch(report_place, "again", 1))
    assert result["argument"] == "again"


def test_more_ranks_than_slots_are_refused_with_the_settings_to_change(spark):
    with pytest.raises(InvalidValueError) as caught:
        BarrierLauncher(spark).launch(report_place, "", 3)
    message = str(caught.value)
    assert "Got 3 for 2" in message
    assert all(name in message for name in ("numRanks", "spark.executor.instances"))


def test_a_local_session_is_one_executor_with_its_cores(spark):
    layout = executor_layout(spark)
    assert (layout.num_executors, layout.cores_per_executor, layout.is_local) == (1, 2, True)


def test_one_rank_and_two_ranks_on_spark_train_with_the_same_losses(spark, tmp_path):
    write_cache(tmp_path / "cache")
    settings = config(batch_norm="frozen", precision="float32")
    model, _ = build_classifier(settings.architecture, len(OUTPUTS), weights="random", seed=1)
    losses, digests = [], []
    for launcher, num_ranks in ((LocalLauncher(num_threads=1), 1), (BarrierLauncher(spark), 2)):
        run = str(tmp_path / f"run-{num_ranks}")
        prepare_run(run, TrainJob(config=settings, cache_directory=str(tmp_path / "cache")), model)
        digests.append(launcher.launch(train_worker, run, num_ranks))
        history = load_checkpoint(run).history
        losses.append([(record.train_loss, record.valid_loss) for record in history])
    assert len(set(digests[1])) == 1, "all ranks end with the same weights"
    for alone, together in zip(*losses, strict=True):
        assert alone == pytest.approx(together, rel=1e-5)


def test_a_session_that_ends_before_its_launch_leaves_no_traceback(monkeypatch):
    class Stopped:
        def add(self, tag):
            pass

        def remove(self, tag):
            raise AttributeError("'NoneType' object has no attribute 'removeJobTag'")

    monkeypatch.setattr(barrier, "_job_tags", lambda session: Stopped())
    outcome = {}
    BarrierLauncher(spark=None)._collect(print, 1, "tag", outcome)
    assert isinstance(outcome["error"], AttributeError), "of the session, as the stage failed first"
