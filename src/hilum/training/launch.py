"""Starting ranks: the one seam between the training loop and what runs it.

`LocalLauncher` starts processes on this machine; `hilum.spark.barrier.BarrierLauncher` starts
them as one Spark barrier stage. Both give the same results, and the tests run on both.
"""

import os
import socket
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Protocol

from torch.distributed import TCPStore

from hilum.errors import TrainingError, require
from hilum.processor import keep_freed_memory
from hilum.training.world import World, process_group, serve_rendezvous

__all__ = ["Launcher", "LocalLauncher", "Worker", "run_rank"]

CAUSE_FIRST_S = 3.0
# What gloo and NCCL say when another rank's sockets close.
_PEER_LEFT = (
    "Connection closed by peer",
    "Connection reset",
    "Broken pipe",
    "remote process exited",
)

Worker = Callable[[World, str], str]
"""A rank's work: (world, argument) -> result. Module-level, so that it travels by name."""


class Launcher(Protocol):
    """Runs a worker once per rank and returns the results in rank order."""

    def launch(self, worker: Worker, argument: str, num_ranks: int) -> list[str]:
        """Run `worker(world, argument)` on every rank; raises TrainingError if one fails."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalLauncher:
    """Ranks as processes of this machine; one rank runs in this process.

    Attributes:
        num_threads: CPU threads per rank; by default the cores divided by the ranks.
    """

    num_threads: int | None = None

    def launch(self, worker: Worker, argument: str, num_ranks: int) -> list[str]:
        """Run the worker on every rank."""
        require(num_ranks > 0, "num_ranks", "positive", num_ranks)
        threads = self.num_threads or max(1, (os.cpu_count() or 1) // num_ranks)
        if num_ranks == 1:
            return [run_rank(worker, World(num_threads=threads), argument)]
        store, rendezvous = serve_rendezvous("127.0.0.1")
        try:
            with ProcessPoolExecutor(num_ranks, mp_context=get_context("spawn")) as pool:
                worlds = [
                    World(
                        rank=rank,
                        num_ranks=num_ranks,
                        local_rank=rank,
                        rendezvous=rendezvous,
                        num_threads=threads,
                    )
                    for rank in range(num_ranks)
                ]
                futures = [pool.submit(run_rank, worker, world, argument) for world in worlds]
                for future in as_completed(futures):
                    future.result()  # the first failure, as it happened
                return [future.result() for future in futures]
        finally:
            del store


def run_rank(worker: Worker, world: World, argument: str, store: TCPStore | None = None) -> str:
    """Run one rank's work inside its process group, and turn a failure into a TrainingError.

    The error names rank and host and carries the traceback as text, so that it survives the way
    to the driver through any launcher. Ranks that fail because another one left wait a little,
    so that the cause is reported first.
    """
    keep_freed_memory()
    try:
        with process_group(world, store):
            return worker(world, argument)
    except Exception as error:
        if any(words in str(error) for words in _PEER_LEFT):
            time.sleep(CAUSE_FIRST_S)
        where = f"rank {world.rank} of {world.num_ranks} on {socket.gethostname()}"
        raise TrainingError(
            f"{where} failed: {type(error).__name__}: {error}\n{traceback.format_exc()}"
        ) from None
