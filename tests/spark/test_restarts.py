"""Ranks and executors that die or hang under Spark: named, and the run goes on where it was.

One local cluster of two executors, in a process of its own, for the session of the other tests is
not to lose its executors. Here they really are killed.
"""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from hilum.training import Attempt, Every, LocalLauncher, read_attempts, train_worker
from hilum.training.checkpoint import checkpointed_step
from hilum.training.heartbeat import Heartbeat, read_heartbeats
from processes import left_of, parent_of, processes_of, shared_memory
from quick_java import QUICK_JAVA
from training_cases import start_run, write_cache

pytestmark = [pytest.mark.slow, pytest.mark.spark]

DRIVER = Path(__file__).parents[1] / "support" / "restart_driver.py"
LIMIT_S = 100.0
EXECUTOR = "CoarseGrainedExecutorBackend"
# Four steps an epoch, so that most checkpoints lie in the middle of one.
TRAINING = {"max_epochs": 12, "checkpoint_every": Every(steps=3)}
POLICY = {"executor_wait_s": 30.0}


@dataclass(frozen=True)
class Driver:
    """The process that holds the session; jobs are lines of JSON."""

    process: subprocess.Popen[str]
    folder: Path

    def begin(self, run: str, *, ranks: int = 2, **policy: float) -> None:
        job = {"run": run, "ranks": ranks, "policy": POLICY | policy}
        print(json.dumps(job), file=self.process.stdin, flush=True)

    def answer(self) -> dict[str, object]:
        line = self.process.stdout.readline()
        assert line, self.said()
        return json.loads(line)

    def said(self) -> str:
        return (self.folder / "driver.log").read_text()

    def ranks_in_training(self, run: str) -> dict[int, Heartbeat]:
        """Where the ranks are, once a checkpoint is written and training goes on."""
        deadline = time.monotonic() + LIMIT_S
        while True:
            states = read_heartbeats(run, 2)
            if checkpointed_step(run) > 0 and len(states) == 2:
                return states
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.02)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("restarts")
    write_cache(folder / "cache")
    return folder


@pytest.fixture(scope="module")
def driver(folder):
    """A session on local-cluster[2,1,512]; nothing may be left of it at the end."""
    temporary = folder / "tmp"
    temporary.mkdir()
    java = {"JDK_JAVA_OPTIONS": f"{QUICK_JAVA} -Djava.io.tmpdir={temporary}"}
    shared = shared_memory()
    with (folder / "driver.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, str(DRIVER)],
            env={**os.environ, **java, "TMPDIR": str(temporary)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    try:
        yield Driver(process, folder)
        process.stdin.close()
        assert process.wait(LIMIT_S) == 0
        assert left_of(process.pid) == {}
        # An executor that is killed cannot delete the libraries that its Java has unpacked.
        assert [path.name for path in temporary.iterdir() if "hilum" in path.name] == []
        assert shared_memory() == shared
    finally:
        for number in processes_of(process.pid):
            os.kill(number, signal.SIGKILL)
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="module")
def unbroken(folder):
    """Weights of the same run on two ranks that nobody disturbed."""
    run = start_run(folder / "unbroken", folder / "cache", **TRAINING)
    return LocalLauncher(num_threads=1).launch(train_worker, run, 2)


@pytest.fixture
def run(folder, request):
    return start_run(folder / request.node.name, folder / "cache", **TRAINING)


def lost_and_done(run: str) -> tuple[Attempt, Attempt]:
    lost, done = read_attempts(run)
    assert (lost.outcome, done.outcome) == ("lost", "done")
    assert done.first_step > 0, "from a checkpoint, not from the start"
    assert done.first_step <= lost.last_step
    return lost, done


def test_a_killed_rank_is_named_and_the_weights_are_those_of_an_unbroken_run(driver, run, unbroken):
    driver.begin(run)
    rank = driver.ranks_in_training(run)[1]
    os.kill(rank.process, signal.SIGKILL)
    assert driver.answer()["digests"] == unbroken
    lost, done = lost_and_done(run)
    assert lost.reason.startswith(f"rank 1 of 2 on {rank.host} was lost (last heard of after step ")
    assert "Python worker exited unexpectedly" in lost.reason
    said = f"goes on from the checkpoint after step {done.first_step} with 2 of 2 ranks (retry 1"
    assert said in driver.said()


def test_a_killed_executor_comes_back_and_the_run_with_it(driver, run, unbroken):
    driver.begin(run)
    rank = driver.ranks_in_training(run)[0]
    executor = parent_of(parent_of(rank.process))
    os.kill(executor, signal.SIGKILL)
    assert driver.answer()["digests"] == unbroken
    lost, done = lost_and_done(run)
    assert "ExecutorLostFailure" in lost.reason
    assert lost.reason.startswith("rank 0 of 2 on ")
    assert (lost.ranks, done.ranks) == (2, 2)


def test_without_the_executor_the_run_goes_on_with_fewer_ranks(driver, run):
    """Every executor that comes in place of the killed one is killed too, until the run goes on."""
    driver.begin(run, executor_wait_s=0.0)
    ranks = driver.ranks_in_training(run)
    executor, kept = (parent_of(parent_of(ranks[rank].process)) for rank in (0, 1))
    os.kill(executor, signal.SIGKILL)
    deadline = time.monotonic() + LIMIT_S
    while len(read_attempts(run)) < 2:
        assert time.monotonic() < deadline, driver.said()
        for number, command in processes_of(driver.process.pid).items():
            if EXECUTOR in command and number != kept:
                os.kill(number, signal.SIGKILL)
        time.sleep(0.2)
    assert len(driver.answer()["digests"]) == 1
    _, done = lost_and_done(run)
    assert done.ranks == 1
    assert "with 1 of 2 ranks" in driver.said()


def test_a_rank_that_stops_moving_is_named_and_replaced(driver, run, unbroken):
    driver.begin(run, hang_timeout_s=3.0)
    rank = driver.ranks_in_training(run)[1]
    os.kill(rank.process, signal.SIGSTOP)
    assert driver.answer()["digests"] == unbroken
    lost, _ = lost_and_done(run)
    assert lost.reason.startswith(f"rank 1 of 2 on {rank.host} stopped after step ")
    assert f"gives no sign of life (process {rank.process})" in lost.reason
    assert not Path(f"/proc/{rank.process}").exists()


def test_a_mistake_in_a_ranks_code_is_not_tried_again(driver, folder):
    run = start_run(folder / "mistaken", folder / "no-cache")
    started = time.monotonic()
    driver.begin(run)
    answer = driver.answer()
    assert time.monotonic() - started < 60.0, "far sooner than any time limit"
    assert answer["kind"] == "TrainingError"
    assert "FileNotFoundError" in answer["error"]
    assert "in open_cache" in answer["error"], "the traceback as it happened there"
    (attempt,) = read_attempts(run)
    assert attempt.outcome == "failed"
