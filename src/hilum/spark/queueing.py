"""Fits of one application that are started at the same time wait for each other's executors.

`CrossValidator(parallelism=2)` fits in threads. Spark starts a barrier stage wherever slots are
free, so ranks of two runs would share an executor's cores, each with a thread for every core.
"""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.sql import SparkSession

from hilum.spark.barrier import executor_layout

__all__ = ["RankQueue", "executors_for"]

LOOK_EVERY_S = 0.5


class RankQueue:
    """Places for ranks, given to those who came first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._taken = 0

    @contextmanager
    def places(self, wanted: int, capacity: int) -> Iterator[None]:
        """Hold places for the duration of a block; waits until they are free and nobody is before.

        Args:
            wanted: ranks. More than there are places go alone.
            capacity: places in all.
        """
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                while self._waiting[0] is not ticket or not self._fits(wanted, capacity):
                    self._changed.wait(LOOK_EVERY_S)
                self._taken += wanted
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._taken -= wanted
                self._changed.notify_all()

    def _fits(self, wanted: int, capacity: int) -> bool:
        return self._taken == 0 or self._taken + wanted <= capacity


@contextmanager
def executors_for(spark: SparkSession, num_ranks: int) -> Iterator[None]:
    """Hold an executor for each rank, waiting for other fits of the application."""
    application = str(spark.conf.get("spark.app.id", ""))
    queue = _queues.setdefault(application, RankQueue())
    with queue.places(num_ranks, executor_layout(spark).num_executors):
        yield


_queues: dict[str, RankQueue] = {}  # by application; as many as a process has seen
