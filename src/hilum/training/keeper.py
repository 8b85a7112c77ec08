"""Writes checkpoints beside training: a thread of its own, and patience with storage.

Training only waits for the copy of its tensors, and for the write before if that is still going
on. A write that fails is tried again; a checkpoint that fails for good costs a warning, because
stopping a run of ten hours for a minute without storage would be worse; two in a row end it, and
so does the last one. A best one that was not written is written with the next.
"""

import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType

from hilum import storage
from hilum.errors import TrainingError
from hilum.training.checkpoint import Checkpoint, write_checkpoint
from hilum.training.history import History

__all__ = ["CheckpointKeeper"]

logger = logging.getLogger(__name__)

RETRY_AFTER_S = (0.5, 2.0)


@dataclass(slots=True)
class CheckpointKeeper:
    """Keeps the last `keep` checkpoints and the best of a run; use as a context manager.

    Attributes:
        problem: what went wrong with the last write; empty when it succeeded.
    """

    run_directory: str
    keep: int
    problem: str = ""
    _thread: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="hilum-checkpoint")
    )
    _pending: "Future[None] | None" = None
    _unwritten: list[Checkpoint] = field(default_factory=list)

    def __enter__(self) -> "CheckpointKeeper":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._wait(is_last=True)
            else:  # the checkpoint on its way is what the next attempt starts from
                with suppress(TrainingError):
                    self._wait()
        finally:
            self._thread.shutdown(wait=True)

    def save(self, checkpoint: Checkpoint, *, is_best: bool) -> None:
        """Write a checkpoint in the background; its tensors are the keeper's from now on.

        Raises:
            TrainingError: the two before it could not be written.
        """
        self._wait()
        self._pending = self._thread.submit(self._write, checkpoint, is_best)

    def publish(self, history: History) -> None:
        """Publish the history for whoever follows the run; a failure is only logged."""
        self._thread.submit(self._publish, history)

    def _publish(self, history: History) -> None:
        try:
            write_history(self.run_directory, history)
        except Exception as error:
            logger.warning("history not written: %s: %s", type(error).__name__, error)

    def _wait(self, *, is_last: bool = False) -> None:
        if self._pending is None:
            return
        pending, self._pending = self._pending, None
        failed_before = bool(self.problem)
        try:
            pending.result()
            self.problem = ""
        except Exception as error:
            self.problem = f"{type(error).__name__}: {error}"
            if failed_before or is_last:
                raise TrainingError(
                    f"checkpoints must be written to {self.run_directory}. Got {self.problem}. "
                    "Hint: free space there or mend the storage, then continue with "
                    "`hilum train --resume`; the last checkpoint that was written is whole."
                ) from error
            logger.warning("checkpoint not written, the next one will be tried: %s", self.problem)

    def _write(self, checkpoint: Checkpoint, is_best: bool) -> None:
        for pause_s in (*RETRY_AFTER_S, None):
            try:
                for best in self._unwritten[-1:]:
                    write_checkpoint(self.run_directory, best, is_best=True, keep=self.keep)
                write_checkpoint(self.run_directory, checkpoint, is_best=is_best, keep=self.keep)
                write_history(self.run_directory, checkpoint.history)
            except Exception:
                if pause_s is None:
                    self._unwritten += [checkpoint] if is_best else []
                    raise
                time.sleep(pause_s)
            else:
                self._unwritten.clear()
                return


def write_history(run_directory: str, history: History) -> None:
    """Write RUN/history.json."""
    storage.write_json(storage.join(run_directory, "history.json"), history.to_json())
