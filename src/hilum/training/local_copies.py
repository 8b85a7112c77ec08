"""Copies of caches on a host's own disk: made once, shared by ranks and runs, removed for room.

    ROOT/<name>/          a copy of a whole cache, or a run's part of one
    ROOT/<name>.lock      held shared by who reads the copy, exclusively by who makes or removes it

The locks are flock's: the kernel drops them with the process, so nothing a crash leaves keeps a
copy alive, and the next run that needs room removes it.
"""

import fcntl
import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hilum.errors import InvalidValueError, require

__all__ = ["Hold", "local_root", "make_room", "remove_unused"]

logger = logging.getLogger(__name__)

ENVIRONMENT = "HILUM_LOCAL_DIR"
UNUSED_DAYS = 14
RESERVED_BYTES = 2**30  # left free for everybody else
_SECONDS_PER_DAY = 86_400


def local_root() -> Path:
    """Directory of this user's copies on this host, made if it is not there.

    It lies in the directory that the environment variable HILUM_LOCAL_DIR names, else in the
    temporary directory. Only its owner may read it: it holds images of patients.
    """
    base = Path(os.environ.get(ENVIRONMENT) or tempfile.gettempdir())
    root = base / f"hilum-{os.getuid()}"
    try:
        base.mkdir(parents=True, exist_ok=True)
        root.mkdir(mode=0o700, exist_ok=True)
        found = root.lstat()
    except OSError as error:
        raise InvalidValueError(
            f"the directory for local copies must be writable. Got {root}: {error}. "
            f"Hint: set {ENVIRONMENT} on every host to a directory on a local disk."
        ) from None
    own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    require(
        own and not found.st_mode & 0o077,
        "the directory for local copies",
        "a directory of this user that nobody else may enter",
        str(root),
        hint=f"remove it, or set {ENVIRONMENT} to another place",
    )
    return root


class Hold:
    """A lock on one copy. Close it when the copy is no longer read."""

    def __init__(self, root: Path, name: str) -> None:
        self.path = root / name
        self._lock = root / f"{name}.lock"
        self._descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def share(self) -> None:
        """Wait until nobody makes or removes the copy, and keep it from being removed."""
        self._acquire(fcntl.LOCK_SH)
        os.utime(self._descriptor)  # when it was used last

    def try_own(self) -> bool:
        """Keep everybody else from the copy if nobody else holds it; else hold nothing any more.

        Nobody waits to own a copy: its readers may hold it for days.
        """
        try:
            self._acquire(fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def remove(self) -> None:
        """Remove the copy and its lock; only for the owner."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _acquire(self, kind: int) -> None:
        while True:
            fcntl.flock(self._descriptor, kind)
            try:
                if os.fstat(self._descriptor).st_ino == self._lock.stat().st_ino:
                    return
            except FileNotFoundError:
                pass
            # Removed while we waited: the lock that counts is a new file.
            os.close(self._descriptor)
            self._descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def make_room(root: Path, num_bytes: int, *, keep: str, hint: str) -> None:
    """Remove copies that nobody uses, the longest unused first, until `num_bytes` fit.

    Args:
        keep: name of the copy the room is for.
        hint: what else can be done where the disk is too small.

    Raises:
        InvalidValueError: there is too little room even so.
    """
    for name in (*_names(root), None):
        free = shutil.disk_usage(root).free - RESERVED_BYTES
        if free >= num_bytes:
            return
        if name is not None and name != keep:
            _remove_if_unused(root, name)
    raise InvalidValueError(
        f"the disk of {root} must have room for {num_bytes / 1e9:.1f} GB besides "
        f"{RESERVED_BYTES / 1e9:.1f} GB that stay free. Got {max(free, 0) / 1e9:.1f} GB. "
        f"Hint: set {ENVIRONMENT} on every host to a directory on a larger disk{hint}."
    )


def remove_unused(root: Path, *, now_s: float | None = None) -> None:
    """Remove what crashed runs left of their parts, and whole copies unused for two weeks."""
    now_s = time.time() if now_s is None else now_s
    for name in _names(root):
        try:
            age_s = now_s - (root / f"{name}.lock").stat().st_mtime
        except FileNotFoundError:
            continue
        if name.startswith("part-") or age_s > UNUSED_DAYS * _SECONDS_PER_DAY:
            _remove_if_unused(root, name)


@contextmanager
def _owned(root: Path, name: str) -> Iterator[Hold | None]:
    hold = Hold(root, name)
    try:
        yield hold if hold.try_own() else None
    finally:
        hold.close()


def _remove_if_unused(root: Path, name: str) -> None:
    with _owned(root, name) as hold:
        if hold is not None:
            hold.remove()
            logger.info("copy=%s state=removed", hold.path)


def _names(root: Path) -> list[str]:
    """Names of all copies, the longest unused first."""
    locks = []
    for path in root.glob("*.lock"):
        try:
            locks.append((path.stat().st_mtime, path.name.removesuffix(".lock")))
        except FileNotFoundError:  # somebody else removed it
            continue
    return [name for _, name in sorted(locks)]
