"""Live progress of a run, through one small file on the run's storage.

Rank 0 rewrites it at most once per interval; whoever wants to know reads it: the driver's
display, a second terminal, a script. No socket, no port, nothing to authenticate or clean up.
"""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field

from hilum import storage

__all__ = ["Progress", "ProgressWriter", "read_progress"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a run stands.

    Attributes:
        phase: "training", "validating", "features" (steps then count batches of frozen features
            being computed) or "done".
        warning: what the user should know now, such as storage that cannot be written.
        epoch: counted from 0. step: steps done in this epoch, of num_steps.
        loss: mean training loss of the epoch so far.
        seconds_left: estimate to the end of the last epoch; None before there is one.
    """

    phase: str
    epoch: int = 0
    max_epochs: int = 0
    step: int = 0
    num_steps: int = 0
    images_per_s: float = 0.0
    loss: float | None = None
    lr: float | None = None
    seconds_left: float | None = None
    warning: str = ""


@dataclass(slots=True)
class ProgressWriter:
    """Writes progress to `RUN/progress.json` beside training; use as a context manager.

    It `is_due` every `interval_s`, and not before the write on its way has ended: on storage that
    takes half a second for a file, all ranks would wait for the display at every step.
    """

    run_directory: str
    interval_s: float = 0.5
    clock: Callable[[], float] = time.monotonic
    _last_s: float = float("-inf")
    _thread: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="hilum-progress")
    )
    _pending: "Future[None] | None" = None

    def __enter__(self) -> "ProgressWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(wait=True)

    def is_due(self) -> bool:
        """Whether the interval is over and nothing is on its way."""
        idle = self._pending is None or self._pending.done()
        return idle and self.clock() - self._last_s >= self.interval_s

    def write(self, progress: Progress) -> None:
        """Publish. Where storage cannot be written, nothing: a run does not end for its display."""
        self._last_s = self.clock()
        self._pending = self._thread.submit(self._write, progress)

    def _write(self, progress: Progress) -> None:
        try:
            storage.write_json(storage.join(self.run_directory, "progress.json"), asdict(progress))
        except Exception as error:
            logger.warning("progress not written: %s: %s", type(error).__name__, error)


def read_progress(run_directory: str) -> Progress | None:
    """The latest progress of a run, or None before the first."""
    try:
        return Progress(**storage.read_json(storage.join(run_directory, "progress.json")))
    except (OSError, ValueError):
        return None
