"""One host's part of the shards: this epoch's on its disk, the next epoch's on their way.

The first rank of a host copies and removes; the others read what appears. A file appears whole
(renamed in place), so that it is there is all they need to know.
"""

import logging
import shutil
import threading
import time
from collections.abc import Collection
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hilum.errors import TrainingError
from hilum.training.local_copies import Hold
from hilum.training.shard_files import LocalShards
from hilum.training.shards import CacheManifest
from hilum.training.staging import copy_shard

__all__ = ["PartFiles"]

logger = logging.getLogger(__name__)

POLL_S = 0.02
PATIENCE_S = 60.0  # for a file that was here
_FAILED = "failed.txt"


class PartFiles:
    """The shards a host holds now, as a `ShardReader`; a read waits for its file.

    Args:
        directory: URL of the cache. hold: of this run's part on this host.
        copies: whether this rank is the one that copies and removes; it is made first.
    """

    def __init__(self, directory: str, manifest: CacheManifest, hold: Hold, *, copies: bool):
        self._directory, self._manifest, self._hold = directory, manifest, hold
        self._paths = [hold.path / Path(shard.name).name for shard in manifest.shards]
        self._files = LocalShards(self._paths)
        self._copies = copies
        self._now: frozenset[int] = frozenset()
        self._wanted: list[int] = []
        self._wake = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None
        if copies:  # what a crash left
            shutil.rmtree(hold.path, ignore_errors=True)
            hold.path.mkdir(mode=0o700)

    @property
    def folder(self) -> Path:
        """Where the shards lie on this host."""
        return self._hold.path

    def enter(self, now: Collection[int], following: Collection[int]) -> None:
        """Begin an epoch: remove what it does not need, copy what it needs, then what follows.

        Returns at once; `num_missing` says how far it is.
        """
        left = self._now - set(now)
        self._now = frozenset(now)
        for shard in left:
            self._files.forget(shard)
        if not self._copies:
            return
        for shard in left - set(following):
            self._paths[shard].unlink(missing_ok=True)
        with self._wake:
            self._wanted = [*sorted(now), *sorted(set(following) - set(now))]
            self._wake.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._copy, name="hilum-part", daemon=True)
            self._thread.start()

    def num_missing(self) -> int:
        """Shards of this epoch that are still on their way.

        Raises:
            TrainingError: one could not be copied.
        """
        self._raise_failure()
        return sum(not self._paths[shard].exists() for shard in self._now)

    def read(self, shard: int, row: int, out: npt.NDArray[np.uint8]) -> None:
        """Fill `out` with an image.

        Raises:
            TrainingError: its shard is not here: where the rank that copies has failed, it takes
                the part with it, and its own error should be seen first.
        """
        assert shard in self._now, "a rank asked for what its host does not hold"
        path, since = self._paths[shard], time.monotonic()
        while not self._try_read(shard, row, out):
            self._raise_failure()
            if time.monotonic() - since > PATIENCE_S:
                raise TrainingError(
                    f"{path} must stay while the run lasts. Got no such file. "
                    "Hint: let nothing clean up the directory for local copies."
                )
            time.sleep(POLL_S)

    def close(self) -> None:
        """Stop copying and remove the part."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()
        for shard in self._now:
            self._files.forget(shard)
        if self._copies:
            self._hold.remove()
        self._hold.close()

    def _raise_failure(self) -> None:
        failure = self._hold.path / _FAILED
        if failure.exists():
            raise TrainingError(failure.read_text(encoding="utf-8"))

    def _try_read(self, shard: int, row: int, out: npt.NDArray[np.uint8]) -> bool:
        try:
            self._files.read(shard, row, out)
        except FileNotFoundError:
            return False
        return True

    def _copy(self) -> None:
        try:
            while (shard := self._next()) is not None:
                copy_shard(self._directory, self._manifest.shards[shard], self._paths[shard])
        except Exception as error:
            text = f"a shard could not be copied to this host: {type(error).__name__}: {error}"
            logger.error(text)
            try:
                (self._hold.path / _FAILED).write_text(text, encoding="utf-8")
            except OSError:  # the same full disk; readers give up by themselves
                logger.error("copy=%s state=unwritable", self._hold.path)

    def _next(self) -> int | None:
        with self._wake:
            while not self._closed:
                for shard in self._wanted:
                    if not self._paths[shard].exists():
                        return shard
                self._wake.wait()
        return None
