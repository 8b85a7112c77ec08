"""A lost rank is named and the run goes on; a mistake in a rank's code reaches the user at once.

Ranks are processes of this machine; tests/spark/test_restarts.py loses Spark's.
"""

import _thread
import logging
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hilum.errors import InvalidValueError, RankLostError, TrainingError
from hilum.training import LocalLauncher, RetryPolicy, World, launch_with_retries, read_attempts
from hilum.training.heartbeat import (
    HangWatch,
    Heartbeat,
    begin_attempt,
    end_attempt,
    find_stopped,
    read_heartbeats,
    start_pulse,
)
from rank_workers import die, stumble_once, wait_long

LAUNCHER = LocalLauncher(num_threads=1)
QUICK = RetryPolicy(hang_timeout_s=2.0, executor_wait_s=0.0)


def stumbling(tmp_path, how, policy=QUICK, num_ranks=2):
    (tmp_path / "how").write_text(how)
    return launch_with_retries(LAUNCHER, stumble_once, str(tmp_path), num_ranks, policy)


def alive(tmp_path) -> list[int]:
    """Ranks' processes that are still there."""
    numbers = [int(path.name.rsplit("-", 1)[1]) for path in tmp_path.glob("process-*")]
    assert numbers
    return [number for number in numbers if Path(f"/proc/{number}").exists()]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("kill", "rank 1 of 2 on {host} was lost: its process ended by signal SIGKILL"),
        ("stop", "rank 1 of 2 on {host} stopped after step 5: nothing moved for"),
    ],
)
def test_a_lost_or_hanging_rank_is_named_and_the_run_goes_on(tmp_path, caplog, how, said):
    with caplog.at_level(logging.WARNING):
        results = stumbling(tmp_path, how)
    assert results == ["rank 0 of 2", "rank 1 of 2"]
    host = os.uname().nodename
    assert said.format(host=host) in caplog.text
    assert "goes on from its start (no checkpoint yet) with 2 of 2 ranks" in caplog.text
    lost, done = read_attempts(str(tmp_path))
    assert (lost.outcome, done.outcome) == ("lost", "done")
    assert lost.hosts == (host, host)
    assert lost.reason.startswith(said.format(host=host))
    assert alive(tmp_path) == []
    assert not (tmp_path / "heartbeats").exists()


def test_a_hanging_rank_is_told_from_those_that_wait_for_it(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        stumbling(tmp_path, "sleep", num_ranks=3)
    host = os.uname().nodename
    reason = read_attempts(str(tmp_path))[0].reason
    assert reason in caplog.text
    assert reason.startswith(f"rank 2 of 3 on {host} stopped after step 5: nothing moved for ")
    assert f"rank 2 on {host} stands in stumble_once (support/rank_workers.py:" in reason
    assert "> stumble (support/rank_workers.py:" in reason
    for rank in (0, 1):
        assert f"rank {rank} on {host} waits for others in stumble_once (" in reason


def test_a_mistake_in_a_ranks_code_ends_the_run_at_once(tmp_path):
    started = time.monotonic()
    with pytest.raises(TrainingError, match=r"rank 1 of 2 on .* failed: ValueError: a mistake"):
        stumbling(tmp_path, "raise")
    assert time.monotonic() - started < 20  # two interpreters with torch; no time limit waited for
    (attempt,) = read_attempts(str(tmp_path))
    assert attempt.outcome == "failed"
    assert alive(tmp_path) == []


def test_a_rank_that_dies_again_and_again_ends_the_run_with_the_way_out(tmp_path):
    policy = replace(QUICK, max_retries=1)
    with pytest.raises(TrainingError) as caught:
        launch_with_retries(LAUNCHER, die, str(tmp_path), 2, policy)
    message = str(caught.value)
    assert "was lost: its process ended by signal SIGKILL" in message
    assert "Gave up after 1 retries without progress" in message
    assert f"hilum train --resume {tmp_path}" in message
    assert [each.outcome for each in read_attempts(str(tmp_path))] == ["lost", "lost"]


def test_ctrl_c_leaves_no_process_and_says_so_in_the_record(tmp_path):
    def interrupt():
        while len(list(tmp_path.glob("process-*"))) < 2:
            time.sleep(0.05)
        _thread.interrupt_main()

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        launch_with_retries(LAUNCHER, wait_long, str(tmp_path), 2, QUICK)
    assert alive(tmp_path) == []
    assert read_attempts(str(tmp_path))[0].outcome == "stopped"


def test_a_rank_of_an_older_attempt_may_not_go_on(tmp_path):
    begin_attempt(str(tmp_path), 1.0)
    with start_pulse(str(tmp_path), World()) as pulse:
        pulse.move(1)
        begin_attempt(str(tmp_path), 1.0)
        pulse.beat()
        with pytest.raises(RankLostError, match="another one follows"):
            pulse.move(2)
    end_attempt(str(tmp_path))


def test_without_a_driver_that_watches_a_rank_tells_nothing(tmp_path):
    with start_pulse(str(tmp_path), World()) as pulse:
        pulse.move(1)
    assert list(tmp_path.iterdir()) == []


def test_copying_data_for_long_is_no_hang_but_a_step_that_never_ends_is(tmp_path):
    """Outside training steps, a main thread that computes or changes lines is alive."""
    now = [0.0]
    begin_attempt(str(tmp_path), 1000.0)
    with start_pulse(str(tmp_path), World()) as pulse:
        watch = HangWatch(str(tmp_path), 1, 10.0, clock=lambda: now[0])
        for doing, ends in (("validating", False), ("training", True)):
            now[0] += 6.0
            pulse.move(7, doing)
            pulse.beat()
            watch()
            for _ in range(4):
                now[0] += 6.0
                spend_cpu()
                pulse.beat()
                if not ends:
                    watch()
            if ends:
                with pytest.raises(RankLostError, match=r"rank 0 of 1 on .* stopped after step 7"):
                    watch()
    end_attempt(str(tmp_path))


def spend_cpu() -> None:
    deadline = time.thread_time() + 0.25
    while time.thread_time() < deadline:
        pass


def state(rank: int, waits: bool) -> Heartbeat:
    return Heartbeat(rank=rank, task=rank, host="h", process=1, waits=waits)


def test_who_is_to_blame():
    waiting = {rank: state(rank, True) for rank in range(3)}
    assert find_stopped({**waiting, 1: state(1, False)}, 3, set()) == [1]
    assert find_stopped(waiting, 3, {2}) == [2]
    assert find_stopped(waiting, 3, set()) == []
    assert find_stopped({0: state(0, False)}, 1, set()) == [0]


def test_a_rank_that_never_starts_is_named(tmp_path):
    now = [0.0]
    begin_attempt(str(tmp_path), 1000.0)
    watch = HangWatch(str(tmp_path), 2, 10.0, clock=lambda: now[0])
    watch()  # nobody yet: the stage may wait for its slots
    now[0] += 100.0
    watch()
    with start_pulse(str(tmp_path), World(rank=0, num_ranks=2)):
        now[0] += 1.0
        watch()
        now[0] += 11.0
        with pytest.raises(RankLostError, match="rank 1 has not started"):
            watch()
        assert list(read_heartbeats(str(tmp_path), 2)) == [0]
    end_attempt(str(tmp_path))


def test_rules_of_the_policy():
    with pytest.raises(InvalidValueError, match="max_retries must be zero or more"):
        RetryPolicy(max_retries=-1)
    with pytest.raises(InvalidValueError, match="hang_timeout_s must be positive"):
        RetryPolicy(hang_timeout_s=0)
