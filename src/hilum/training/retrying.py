"""The driver's loop around a run: launch, and after a lost rank launch again from the checkpoint.

Spark does not retry a barrier stage that returns results, so the driver does. What a rank's own
code raised would be raised again: it reaches the user at once. A lost process, host or connection
says nothing about the code: the run goes on from its last checkpoint, with fewer ranks if what was
lost does not come back in time (decision 0023).

    RUN/attempts.json    every launch: ranks, hosts, steps, how it ended
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from hilum import storage
from hilum.errors import RankLostError, TrainingError, require
from hilum.training.checkpoint import checkpointed_step
from hilum.training.heartbeat import (
    HangWatch,
    Heartbeat,
    begin_attempt,
    end_attempt,
)
from hilum.training.launch import Launcher, Worker

__all__ = ["Attempt", "RetryPolicy", "launch_with_retries", "read_attempts"]

logger = logging.getLogger(__name__)

REASON_CHARACTERS = 600  # of the first line, kept in attempts.json


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When to go on after a lost rank.

    Attributes:
        max_retries: launches again without progress in between; a checkpoint that has moved on by
            a step starts the count anew. 0: the first loss ends the run.
        hang_timeout_s: a rank that has not moved for so long is lost.
        executor_wait_s: how long a lost executor may take to come back before the run goes on
            with fewer ranks.
    """

    max_retries: int = 3
    hang_timeout_s: float = 300.0
    executor_wait_s: float = 60.0

    def __post_init__(self) -> None:
        require(self.max_retries >= 0, "max_retries", "zero or more", self.max_retries)
        require(self.hang_timeout_s > 0, "hang_timeout_s", "positive", self.hang_timeout_s)
        require(self.executor_wait_s >= 0, "executor_wait_s", "zero or more", self.executor_wait_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One launch of a run.

    Attributes:
        started: UTC, ISO 8601. hosts: of the ranks in order, as far as they were heard.
        first_step: optimizer steps done by the checkpoint it began from; last_step: the furthest
            step that any rank was heard to have done.
        outcome: "running", "done", "lost" (a rank was lost), "failed" (a rank's code failed) or
            "stopped" (Ctrl-C, or the driver died).
        reason: the first words of what ended it; "" while running and when done.
    """

    started: str
    ranks: int
    hosts: tuple[str, ...] = ()
    first_step: int = 0
    last_step: int = 0
    seconds: float = 0.0
    outcome: str = "running"
    reason: str = ""


def read_attempts(run_directory: str) -> tuple[Attempt, ...]:
    """Every launch of a run so far, oldest first; its resumes included."""
    try:
        document = storage.read_json(storage.join(run_directory, "attempts.json"))
    except FileNotFoundError:
        return ()
    return tuple(
        Attempt(**{**entry, "hosts": tuple(entry["hosts"])}) for entry in document["attempts"]
    )


def launch_with_retries(
    launcher: Launcher,
    worker: Worker,
    run_directory: str,
    num_ranks: int,
    policy: RetryPolicy | None = None,
) -> list[str]:
    """Run `worker(world, run_directory)` on every rank to the end, over losses of ranks.

    The worker must continue from the run's last checkpoint, also with another number of ranks.

    Returns:
        The results of the launch that came to its end, in rank order.

    Raises:
        TrainingError: a rank's own code failed, or ranks were lost more than `max_retries` times
            without progress.
    """
    policy = policy or RetryPolicy()
    ranks, retries = num_ranks, 0
    while True:
        first_step = checkpointed_step(run_directory)
        try:
            return _attempt(launcher, worker, run_directory, ranks, policy)
        except RankLostError as error:
            step, lost = checkpointed_step(run_directory), str(error)
        retries = 1 if step > first_step else retries + 1
        where = f"the checkpoint after step {step}" if step else "its start (no checkpoint yet)"
        if retries > policy.max_retries:
            raise TrainingError(
                f"{lost}\nGave up after {policy.max_retries} retries without progress. "
                f"Hint: `hilum train --resume {run_directory}` goes on from {where}."
            )
        ranks = launcher.available(num_ranks, policy.executor_wait_s)
        if ranks == 0:
            raise TrainingError(
                f"{lost}\nNo executor came back within {policy.executor_wait_s:.0f} s. "
                f"Hint: `hilum train --resume {run_directory}` goes on from {where}."
            )
        logger.warning(
            "%s. Training goes on from %s with %d of %d ranks (retry %d of %d).",
            *(_first_line(lost), where, ranks, num_ranks, retries, policy.max_retries),
        )


def _attempt(
    launcher: Launcher, worker: Worker, run_directory: str, ranks: int, policy: RetryPolicy
) -> list[str]:
    """One launch, recorded from its start to its end."""
    begin_attempt(run_directory, policy.hang_timeout_s)
    _clear(run_directory)
    watch = HangWatch(run_directory, ranks, policy.hang_timeout_s)
    record = _Record(run_directory, ranks, checkpointed_step(run_directory))
    outcome, reason = "stopped", ""  # unless it ends in one of the ways below: Ctrl-C
    try:
        results = launcher.launch(worker, run_directory, ranks, watch)
        outcome = "done"
        return results
    except RankLostError as error:
        outcome, reason = "lost", _named(error, watch.latest(), ranks)
        raise RankLostError(reason, task=error.task, host=error.host) from None
    except Exception as error:
        outcome, reason = "failed", str(error)
        raise
    finally:
        record.end(outcome, reason, watch.latest())
        _tidy(run_directory)


def _tidy(run_directory: str) -> None:
    try:
        end_attempt(run_directory)
        _clear(run_directory)
    except OSError as error:  # must not hide how the attempt ended
        logger.warning("the run directory cannot be tidied: %s", error)


def _clear(run_directory: str) -> None:
    """Delete files that killed ranks were writing; nothing names them."""
    for directory in (run_directory, storage.join(run_directory, "checkpoints")):
        storage.delete_unfinished(directory)


class _Record:
    """One entry of attempts.json, written when the attempt begins and again when it ends."""

    def __init__(self, run_directory: str, ranks: int, first_step: int) -> None:
        self._run_directory = run_directory
        self._earlier = tuple(_ended(each) for each in read_attempts(run_directory))
        self._started_s = time.monotonic()
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._attempt = Attempt(
            started=now, ranks=ranks, first_step=first_step, last_step=first_step
        )
        self._write()

    def end(self, outcome: str, reason: str, states: Mapping[int, Heartbeat]) -> None:
        known = [self._attempt.first_step, checkpointed_step(self._run_directory)]
        steps = [*known, *(state.step for state in states.values())]
        self._attempt = replace(
            self._attempt,
            hosts=tuple(
                states[rank].host if rank in states else "" for rank in range(self._attempt.ranks)
            ),
            last_step=max(steps),
            seconds=round(time.monotonic() - self._started_s, 3),
            outcome=outcome,
            reason=_first_line(reason),
        )
        try:
            self._write()
        except OSError as error:  # must not hide how the attempt ended
            logger.warning("attempts.json cannot be written: %s", error)

    def _write(self) -> None:
        entries: list[dict[str, Any]] = [asdict(each) for each in (*self._earlier, self._attempt)]
        storage.write_json(
            storage.join(self._run_directory, "attempts.json"), {"attempts": entries}
        )


def _ended(attempt: Attempt) -> Attempt:
    """An attempt before this one; a driver that was killed could not write how it ended."""
    if attempt.outcome != "running":
        return attempt
    return replace(attempt, outcome="stopped", reason="its driver ended without a word")


def _named(error: RankLostError, states: Mapping[int, Heartbeat], ranks: int) -> str:
    """The loss with rank, host and step, where the launcher knows the task only."""
    lost = [state for state in states.values() if state.task == error.task]
    if str(error).startswith("rank ") or not lost:
        return str(error)
    state = lost[0]
    where = f"rank {state.rank} of {ranks} on {state.host}"
    return f"{where} was lost (last heard of after step {state.step}): {error}"


def _first_line(text: str) -> str:
    return text.partition("\n")[0][:REASON_CHARACTERS]
