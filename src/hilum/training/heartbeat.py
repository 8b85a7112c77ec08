"""Signs of life of every rank, through small files on the run's storage.

    RUN/heartbeats/attempt.json    which attempt is allowed to work, and how often its ranks beat
    RUN/heartbeats/rank-N.json     where rank N stands

A rank that hangs stops all others in the next collective, and none of them says why. So each rank
has a thread that tells, every few seconds, whether its main thread moved and in which line it is;
the driver (`HangWatch`) sees which rank stands still without waiting for another. The files go
over the storage that ranks and driver share anyway, as progress does (decision 0022).
"""

import logging
import os
import socket
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType

from hilum import storage
from hilum.errors import RankLostError
from hilum.training.world import World

__all__ = [
    "HangWatch",
    "Heartbeat",
    "Pulse",
    "begin_attempt",
    "end_attempt",
    "find_stopped",
    "read_heartbeats",
    "start_pulse",
]

logger = logging.getLogger(__name__)

LONGEST_INTERVAL_S, SHORTEST_INTERVAL_S = 5.0, 0.1
BEATS_PER_TIMEOUT = 10
FRAMES_TOLD = 2
STORAGE_PATIENCE_S = 5.0
# The innermost Python frame of a rank that waits for another one is in one of these.
_WAITING = ("torch/distributed/", "torch/autograd/")
_TORCH = ("/torch/",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """What one rank last said.

    Attributes:
        task: the launcher's own number of the rank. process: its process id on that host.
        beats: how often it has told. moves: how often its main thread was seen to have moved.
        step: optimizer steps done. doing: "starting", "training" or another part of the work.
        waits: whether the main thread is inside a collective. where: its innermost lines.
    """

    rank: int
    task: int
    host: str
    process: int
    beats: int = 0
    moves: int = 0
    step: int = 0
    doing: str = "starting"
    waits: bool = False
    where: str = ""


class Pulse:
    """One rank's signs of life; the training loop says `move` at every step."""

    def __init__(self, run_directory: str, world: World, attempt: str) -> None:
        self._directory = _directory(run_directory)
        self._attempt = attempt
        self._world = world
        self._main = threading.get_ident()
        self._moves, self._step, self._doing = 0, 0, "starting"
        self._superseded = False
        self._beats, self._seen, self._seen_moves = 0, ("", 0.0), 0

    def move(self, step: int, doing: str = "training") -> None:
        """Say that this rank does something and has done `step` optimizer steps.

        While "training", nothing but this counts as a sign of life. In other parts (validation,
        copying data) the thread also counts any change of line or any CPU time used.

        Raises:
            RankLostError: the run goes on in another attempt, so this one must not write.
        """
        if self._superseded:
            raise RankLostError(
                "this attempt was given up by its driver, or another one follows it"
            )
        self._moves, self._step, self._doing = self._moves + 1, step, doing

    def beat(self) -> None:
        """Tell once; called by the pulse's own thread."""
        where, waits = _place(sys._current_frames().get(self._main))
        self._beats += 1
        seen = (where, _cpu_seconds(self._main))
        if self._doing != "training" and seen != self._seen:
            self._moves += 1
        self._seen = seen
        state = Heartbeat(
            rank=self._world.rank,
            task=self._world.task,
            host=socket.gethostname(),
            process=os.getpid(),
            beats=self._beats,
            moves=self._moves,
            step=self._step,
            doing=self._doing,
            waits=waits,
            where=where,
        )
        try:
            self._superseded = self._superseded or _attempt_of(self._directory) != self._attempt
            if not self._superseded:
                name = storage.join(self._directory, f"rank-{self._world.rank}.json")
                storage.write_json(name, asdict(state))
        except (
            Exception
        ) as error:  # storage that is away for a moment; file systems differ in words
            logger.debug("rank=%d not heard: %s: %s", self._world.rank, type(error).__name__, error)


@contextmanager
def start_pulse(run_directory: str, world: World) -> Iterator[Pulse]:
    """Beat for the duration of a block, if the driver has begun an attempt; else only listen."""
    try:
        settings = storage.read_json(storage.join(_directory(run_directory), "attempt.json"))
    except FileNotFoundError:  # ranks started by hand, without a driver that watches
        yield Pulse(run_directory, world, "")
        return
    pulse = Pulse(run_directory, world, settings["attempt"])
    pulse.beat()
    stop = threading.Event()

    def tell() -> None:
        while not stop.wait(settings["interval_s"]):
            pulse.beat()

    thread = threading.Thread(target=tell, name="hilum-pulse", daemon=True)
    thread.start()
    try:
        yield pulse
    finally:
        stop.set()
        thread.join(STORAGE_PATIENCE_S)


def begin_attempt(run_directory: str, hang_timeout_s: float) -> str:
    """Let a new attempt work, and no older one; returns its id."""
    end_attempt(run_directory)
    attempt = uuid.uuid4().hex
    interval_s = min(
        LONGEST_INTERVAL_S, max(SHORTEST_INTERVAL_S, hang_timeout_s / BEATS_PER_TIMEOUT)
    )
    storage.write_json(
        storage.join(_directory(run_directory), "attempt.json"),
        {"attempt": attempt, "interval_s": interval_s},
    )
    return attempt


def end_attempt(run_directory: str) -> None:
    """Let no attempt work: ranks that still live find nothing that allows them to, and end."""
    storage.delete_tree(_directory(run_directory))


def read_heartbeats(run_directory: str, num_ranks: int) -> dict[int, Heartbeat]:
    """What each rank last said; ranks that have said nothing yet are missing."""
    found = {}
    for rank in range(num_ranks):
        try:
            name = storage.join(_directory(run_directory), f"rank-{rank}.json")
            found[rank] = Heartbeat(**storage.read_json(name))
        except Exception as error:  # not there yet, or storage that is away for a moment
            logger.debug("rank=%d not heard: %s: %s", rank, type(error).__name__, error)
    return found


@dataclass(slots=True)
class HangWatch:
    """The driver's side: called again and again while ranks work, it raises when one hangs.

    Times are this process's own, so the hosts' clocks need not agree.
    """

    run_directory: str
    num_ranks: int
    hang_timeout_s: float
    clock: Callable[[], float] = time.monotonic
    last: dict[int, Heartbeat] = field(default_factory=dict)
    _moved_s: dict[int, float] = field(default_factory=dict)
    _heard_s: dict[int, float] = field(default_factory=dict)
    _next_s: float = 0.0

    def __call__(self) -> None:
        """Look at the heartbeats, at most every twentieth of the time limit.

        Raises:
            RankLostError: no rank has moved for the time limit; names the one that
                holds up the others, its host, its step and where every rank stands.
        """
        now = self.clock()
        if now < self._next_s:
            return
        self._next_s = now + min(LONGEST_INTERVAL_S, self.hang_timeout_s / (2 * BEATS_PER_TIMEOUT))
        self.look(now)
        if not self.last:
            return  # nobody has started: the stage waits for its slots
        for rank in range(self.num_ranks):
            self._moved_s.setdefault(rank, now)  # from the first sign of any rank
        # As long as one moves, those that wait for it are not to blame, and nobody else hangs.
        still_s = now - max(self._moved_s.values())
        if still_s < self.hang_timeout_s:
            return
        silent = {
            rank
            for rank in range(self.num_ranks)
            if now - self._heard_s.get(rank, float("-inf")) > self.hang_timeout_s / 2
        }
        raise _hang_error(self.last, self.num_ranks, silent, still_s)

    def latest(self) -> dict[int, Heartbeat]:
        """What each rank was last heard to say, read anew."""
        return self.last | read_heartbeats(self.run_directory, self.num_ranks)

    def look(self, now: float) -> None:
        """Read the heartbeats and note who was heard and who moved."""
        for rank, state in read_heartbeats(self.run_directory, self.num_ranks).items():
            before = self.last.get(rank)
            if before is None or before.beats != state.beats:
                self._heard_s[rank] = now
            if before is None or before.moves != state.moves:
                self._moved_s[rank] = now
            self.last[rank] = state


def find_stopped(states: Mapping[int, Heartbeat], num_ranks: int, silent: set[int]) -> list[int]:
    """Ranks that hold up the others: silent ones, else those not waiting; [] if none stands out."""
    ranks = range(num_ranks)
    suspects = [r for r in ranks if r in silent] or [r for r in ranks if not states[r].waits]
    return [] if len(suspects) == num_ranks and num_ranks > 1 else suspects


def _hang_error(
    states: Mapping[int, Heartbeat], num_ranks: int, silent: set[int], still_s: float
) -> RankLostError:
    stopped = find_stopped(states, num_ranks, silent)
    step = max(state.step for state in states.values())
    order = [*stopped, *(rank for rank in range(num_ranks) if rank not in stopped)]
    places = [_standing(rank, states.get(rank), rank in silent) for rank in order]
    named = [
        f"rank {rank} of {num_ranks}" + (f" on {states[rank].host}" if rank in states else "")
        for rank in stopped
    ]
    who = " and ".join(named) if named else "no single rank to blame: training"
    first = states.get(stopped[0]) if stopped else None
    return RankLostError(
        f"{who} stopped after step {step}: nothing moved for {still_s:.0f} s. " + "; ".join(places),
        task=None if first is None else first.task,
        host="" if first is None else first.host,
    )


def _standing(rank: int, state: Heartbeat | None, is_silent: bool) -> str:
    if state is None:
        return f"rank {rank} has not started"
    if is_silent:
        return f"rank {rank} on {state.host} gives no sign of life (process {state.process})"
    verb = "waits for others in" if state.waits else "stands in"
    return f"rank {rank} on {state.host} {verb} {state.where}"


def _place(frame: FrameType | None) -> tuple[str, bool]:
    """The innermost lines of a thread, outermost first, and whether it waits for another rank."""
    if frame is None:
        return "", False
    frames = traceback.extract_stack(frame)
    waits = _is_within(frames[-1].filename, _WAITING)
    # Of a rank that waits, the line of the caller tells more than torch's own.
    told = [entry for entry in frames if not _is_within(entry.filename, _TORCH)][-FRAMES_TOLD:]
    lines = (f"{entry.name} ({_short(entry.filename)}:{entry.lineno})" for entry in told)
    return " > ".join(lines), waits


def _is_within(file_name: str, folders: tuple[str, ...]) -> bool:
    return any(folder in Path(file_name).as_posix() for folder in folders)


def _short(file_name: str) -> str:
    return "/".join(Path(file_name).parts[-2:])


def _cpu_seconds(thread: int) -> float:
    """CPU time of a thread in tenths of a second: less is noise."""
    try:
        return round(time.clock_gettime(time.pthread_getcpuclockid(thread)), 1)
    except (AttributeError, OSError):  # not Linux
        return 0.0


def _directory(run_directory: str) -> str:
    return storage.join(run_directory, "heartbeats")


def _attempt_of(directory: str) -> str:
    try:
        return str(storage.read_json(storage.join(directory, "attempt.json"))["attempt"])
    except FileNotFoundError:
        return ""
