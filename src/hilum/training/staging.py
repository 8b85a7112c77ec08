"""A whole cache on every host: copied once from remote storage, checked, used by later runs."""

import logging
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from hilum import storage
from hilum.errors import ChecksumError
from hilum.training.local_copies import Hold, make_room, remove_unused
from hilum.training.shards import (
    CacheManifest,
    ShardFile,
    is_intact,
    read_manifest,
)

__all__ = ["copy_shard", "stage_cache"]

logger = logging.getLogger(__name__)

COPIES_AT_ONCE = 4  # one stream rarely fills the way to object storage
ATTEMPTS = 3
RETRY_AFTER_S = 1.0
POLL_S = 0.05
_PART_HINT = ', or train with placement="part", which keeps a share of the images per host'


def stage_cache(directory: str, root: Path, *, verify: bool) -> Hold:
    """Have a copy of a remote cache on this host; returns the hold that keeps it there.

    One process of the host copies while others wait. What is there already is used.

    Args:
        directory: URL that holds manifest.json.
        root: `hilum.training.local_copies.local_root()` of this host.
        verify: compare a copy that was there with the manifest's SHA-256, and mend it.

    Raises:
        InvalidValueError: the disk is too small.
        ChecksumError: the storage's bytes are not those that were written.
    """
    manifest = read_manifest(directory)
    remove_unused(root)
    hold = Hold(root, f"cache-{manifest.fingerprint}")
    try:
        fresh = False
        hold.share()
        while not _is_whole(hold.path, manifest):
            # Never wait to own: who has made the copy meanwhile shares it until the run's end.
            if not hold.try_own():
                time.sleep(POLL_S)
            elif not _is_whole(hold.path, manifest):
                _copy_all(directory, manifest, hold)
                fresh = True
            hold.share()
        if verify and not fresh:
            _mend(directory, manifest, hold.path)
    except BaseException:
        hold.close()
        raise
    return hold


def copy_shard(directory: str, shard: ShardFile, target: Path) -> None:
    """Copy one file of a cache to this host and check it; storage gets three attempts."""
    url = storage.join(directory, shard.name)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            found = storage.copy_to_disk(url, target)
            if found == shard.sha256:
                return
            target.unlink()
            raise ChecksumError(
                f"{url} must have SHA-256 {shard.sha256}. Got {found}. "
                "Hint: the storage damaged it; delete the cache directory, it will be rebuilt."
            )
        except Exception as error:
            if attempt == ATTEMPTS:
                raise
            logger.warning("url=%s attempt=%d error=%s", url, attempt, error)
            time.sleep(RETRY_AFTER_S * attempt)


def _is_whole(path: Path, manifest: CacheManifest) -> bool:
    """Whether a copy of this very build is there; its manifest is written last."""
    if not (path / "manifest.json").exists():
        return False
    return read_manifest(str(path)) == manifest


def _mend(directory: str, manifest: CacheManifest, copy: Path) -> None:
    for file in (*manifest.shards, manifest.index):
        if not is_intact(str(copy), file):
            logger.warning("copy=%s state=damaged", copy / file.name)
            copy_shard(directory, file, copy / file.name)


def _copy_all(directory: str, manifest: CacheManifest, hold: Hold) -> None:
    started = time.perf_counter()
    files = (*manifest.shards, manifest.index)
    num_bytes = manifest.num_bytes
    shutil.rmtree(hold.path, ignore_errors=True)  # of a crash, or of another build
    make_room(hold.path.parent, num_bytes, keep=hold.path.name, hint=_PART_HINT)
    with ThreadPoolExecutor(COPIES_AT_ONCE, thread_name_prefix="hilum-copy") as pool:
        copy = partial(copy_shard, directory)
        targets = [hold.path / file.name for file in files]
        try:
            list(pool.map(copy, files, targets))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            hold.remove()
            raise
    storage.write_json(str(hold.path / "manifest.json"), manifest.to_json())
    seconds = time.perf_counter() - started
    logger.info(
        "cache=%s copy=%s state=copied bytes=%d seconds=%.1f",
        *(directory, hold.path, num_bytes, seconds),
    )
