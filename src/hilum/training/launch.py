"""Starting ranks: the one seam between the training loop and what runs it.

`LocalLauncher` starts processes on this machine; `hilum.spark.barrier.BarrierLauncher` starts
them as one Spark barrier stage. Both give the same results, and the tests run on both.
"""

import os
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Protocol

from torch.distributed import DistError, TCPStore

from hilum.errors import RankLostError, TrainingError, require
from hilum.processor import keep_freed_memory
from hilum.training.world import World, process_group, serve_rendezvous

__all__ = ["CAUSE_FIRST_S", "Launcher", "LocalLauncher", "Watch", "Worker", "run_rank"]

# What a rank imports before its first step and after its last.
_PRELOADED = ["hilum.training.worker", "torchvision", "timm", "hilum.training.preload"]
CAUSE_FIRST_S = 3.0
LOOK_EVERY_S = 0.2
END_WITHIN_S = 5.0
# What gloo and NCCL say when another rank's sockets close or stay silent.
_PEER_LEFT = (
    "Connection closed by peer",
    "Connection reset",
    "Connection refused",
    "Broken pipe",
    "remote process exited",
    "Timed out waiting",
    "Socket closed",
)

Worker = Callable[[World, str], str]
"""A rank's work: (world, argument) -> result. Module-level, so that it travels by name."""

Watch = Callable[[], None]
"""Called again and again while ranks work; what it raises ends them all and reaches the caller."""


class Launcher(Protocol):
    """Runs a worker once per rank and returns the results in rank order."""

    def launch(
        self, worker: Worker, argument: str, num_ranks: int, watch: Watch | None = None
    ) -> list[str]:
        """Run `worker(world, argument)` on every rank; no rank is left when this returns.

        Raises:
            TrainingError: a rank's own code failed: the first failure, with rank and traceback.
            RankLostError: a rank's process or host is gone.
        """
        ...

    def available(self, num_ranks: int, wait_s: float) -> int:
        """How many ranks can start now, at most `num_ranks`; waits so long for all of them."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalLauncher:
    """Ranks as processes of this machine; one rank runs in this process, unwatched.

    Attributes:
        num_threads: CPU threads per rank; by default the cores divided by the ranks.
    """

    num_threads: int | None = None

    def launch(
        self, worker: Worker, argument: str, num_ranks: int, watch: Watch | None = None
    ) -> list[str]:
        """Run the worker on every rank; the first failure ends the others at once."""
        require(num_ranks > 0, "num_ranks", "positive", num_ranks)
        threads = self.num_threads or max(1, (os.cpu_count() or 1) // num_ranks)
        if num_ranks == 1:
            return [run_rank(worker, World(num_threads=threads), argument)]
        store, rendezvous = serve_rendezvous("127.0.0.1")
        ranks = _Ranks()
        try:
            for rank in range(num_ranks):
                world = World(
                    rank=rank,
                    num_ranks=num_ranks,
                    local_rank=rank,
                    rendezvous=rendezvous,
                    num_threads=threads,
                    task=rank,
                )
                ranks.start(worker, world, argument)
            while len(ranks.results) < num_ranks:
                ranks.collect(LOOK_EVERY_S)
                if watch is not None:
                    watch()
            return [ranks.results[rank] for rank in range(num_ranks)]
        except TrainingError as error:
            raise ranks.cause(error) from None
        finally:
            ranks.end()
            del store

    def available(self, num_ranks: int, wait_s: float) -> int:
        """All of them: processes need no slot."""
        return num_ranks


def run_rank(worker: Worker, world: World, argument: str, store: TCPStore | None = None) -> str:
    """Run one rank's work inside its process group, and turn a failure into a TrainingError.

    The error names rank and host and carries the traceback as text, so that it survives the way
    to the driver through any launcher. A rank that fails because another one left raises
    RankLostError: its code did nothing wrong, and the cause is the other's.
    """
    keep_freed_memory()
    try:
        with process_group(world, store):
            return worker(world, argument)
    except Exception as error:
        where = f"rank {world.rank} of {world.num_ranks} on {socket.gethostname()}"
        said = f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
        if isinstance(error, RankLostError):
            raise RankLostError(f"{where} ended itself: {error}") from None
        if world.num_ranks > 1 and _is_peers_fault(error):
            raise RankLostError(f"{where} lost its connection to another rank: {said}") from None
        raise TrainingError(f"{where} failed: {said}") from None


def _is_peers_fault(error: Exception) -> bool:
    spoken = isinstance(error, DistError | ConnectionError | RuntimeError)
    return spoken and any(words in str(error) for words in _PEER_LEFT)


@dataclass(slots=True)
class _Ranks:
    """Processes of one launch, what they answered, and their end."""

    results: dict[int, str] = field(default_factory=dict)
    _processes: list[BaseProcess] = field(default_factory=list)
    _answers: dict[Connection, int] = field(default_factory=dict)

    def start(self, worker: Worker, world: World, argument: str) -> None:
        context = get_context("forkserver")
        # Torch is imported once, not by every rank; nothing has computed there, so a fork is safe.
        context.set_forkserver_preload(_PRELOADED)
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(
            target=_answer,
            args=(theirs, worker, world, argument, dict(os.environ)),
            name=f"rank-{world.rank}",
        )
        process.start()
        theirs.close()  # so that a process that dies closes the last end
        self._processes.append(process)
        self._answers[ours] = world.rank

    def collect(self, wait_s: float) -> None:
        """Wait a moment for answers; raises the first failure."""
        for answer in connection.wait(list(self._answers), wait_s):
            assert isinstance(answer, Connection)
            rank = self._answers.pop(answer)
            with answer:
                try:
                    kind, text = answer.recv()
                except EOFError:
                    raise self._lost(rank) from None
            if kind == "lost":
                raise RankLostError(text)
            if kind == "failed":
                raise TrainingError(text)
            self.results[rank] = text

    def cause(self, first: TrainingError) -> TrainingError:
        """Why the ranks fail, after the first failure was heard.

        The others are given a moment: one that lost its connection may speak before the one that
        caused it, and rank 0 has a checkpoint to finish, from which the next attempt starts.
        """
        cause = first
        deadline = time.monotonic() + CAUSE_FIRST_S
        while self._answers and (left_s := deadline - time.monotonic()) > 0:
            try:
                self.collect(left_s)
            except TrainingError as error:
                if _weight(error) > _weight(cause):
                    cause = error
        return cause

    def end(self) -> None:
        """Leave no process, and wait for none that will not end by itself."""
        finished = len(self.results) == len(self._processes)
        for process in self._processes if not finished else ():
            process.kill()  # a rank inside a collective would not hear a gentler signal
        for process in self._processes:
            process.join(END_WITHIN_S)
            if process.exitcode is None:
                process.kill()
                process.join()
            process.close()
        for answer in self._answers:
            answer.close()

    def _lost(self, rank: int) -> RankLostError:
        process, total = self._processes[rank], len(self._processes)
        process.join(END_WITHIN_S)
        code = process.exitcode
        ended = f"by signal {signal.Signals(-code).name}" if code and code < 0 else f"with {code}"
        where = f"rank {rank} of {total} on {socket.gethostname()}"
        return RankLostError(f"{where} was lost: its process ended {ended}", task=rank)


def _weight(error: TrainingError) -> int:
    """How near to the cause: a lost connection, a lost process, a rank's own mistake."""
    if not isinstance(error, RankLostError):
        return 2
    return 0 if error.task is None else 1


def _answer(
    answer: Connection, worker: Worker, world: World, argument: str, environment: dict[str, str]
) -> None:
    """Runs in a rank's process: work, and say how it ended in words, which any pipe carries."""
    os.environ.update(environment)  # the server it is forked from has that of its own start
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent acts
    threading.Thread(target=_end_with_parent, name="hilum-parent", daemon=True).start()
    try:
        said = ("done", run_rank(worker, world, argument))
    except RankLostError as error:
        said = ("lost", str(error))
    except TrainingError as error:
        said = ("failed", str(error))
    with suppress(BrokenPipeError):  # the parent has left already
        answer.send(said)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
