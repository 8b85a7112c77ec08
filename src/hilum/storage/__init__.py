"""Files on any storage fsspec speaks (local disk, HDFS, S3, ...), published whole or not at all.

Training, bundles and caches share one rule: data is written under a name nobody reads yet, and a
small file that points to it is replaced in one step. A crash leaves an orphan, never a torn file.
"""

import errno
import hashlib
import json
import os
import re
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from hilum.storage.ahead import read_ahead
from hilum.storage.listing import FoundFile, list_files
from hilum.storage.locating import S3_SCHEMES, local_path, locate
from hilum.storage.refusals import CredentialsError, NotAnsweringError

__all__ = [
    "S3_SCHEMES",
    "CredentialsError",
    "FoundFile",
    "NotAnsweringError",
    "copy_to_disk",
    "delete_tree",
    "delete_unfinished",
    "exists",
    "join",
    "list_files",
    "list_names",
    "local_path",
    "make_directory",
    "modified_s",
    "parent",
    "read_ahead",
    "read_bytes",
    "read_json",
    "read_range",
    "sha256_of",
    "write_bytes",
    "write_json",
    "write_pieces",
]

COPY_BYTES = 8 * 2**20
_BESIDE = re.compile(r"\.[0-9a-f]{32}$")


def join(url: str, *parts: str) -> str:
    """Append path parts to a local path or URL."""
    if not parts:
        return url
    stripped = url.rstrip("/")
    root = url if stripped.endswith(":") else stripped + "/"  # hdfs:/// and s3:// are roots
    return root + "/".join(parts)


def parent(url: str) -> str:
    """The folder of a path or URL; of a root (hdfs:///, s3://bucket) the root itself."""
    local = local_path(url)
    if local is not None:
        return str(local.resolve().parent)
    scheme, _, rest = url.partition("://")
    authority, _, path = rest.rstrip("/").partition("/")
    return join(f"{scheme}://{authority}/", *path.split("/")[:-1])


def exists(url: str) -> bool:
    """Whether a file or directory is there."""
    filesystem, path = locate(url)
    return bool(filesystem.exists(path))


def make_directory(url: str) -> None:
    """Create a directory and its parents; one that exists is fine."""
    filesystem, path = locate(url)
    filesystem.makedirs(path, exist_ok=True)


def delete_tree(url: str) -> None:
    """Delete a directory and all below it, or nothing if it is not there."""
    filesystem, path = locate(url)
    if filesystem.exists(path):
        filesystem.rm(path, recursive=True)


def list_names(url: str) -> list[str]:
    """Base names of what lies directly in a directory, sorted; empty if it is not there."""
    filesystem, path = locate(url)
    if not filesystem.exists(path):
        return []
    below = (str(entry).rstrip("/") for entry in filesystem.ls(path, False))
    # A folder that was made on S3 by other programs is an object in itself.
    return sorted(entry.rsplit("/", 1)[-1] for entry in below if entry != path)


def modified_s(url: str) -> float | None:
    """Unix time of a file's last change; None where it is not there or its storage keeps none."""
    filesystem, path = locate(url)
    try:
        return float(filesystem.modified(path).timestamp())
    except (OSError, NotImplementedError):
        return None


def read_bytes(url: str) -> bytes:
    """Read a whole file."""
    filesystem, path = locate(url)
    return cast(bytes, filesystem.cat_file(path))


def read_range(url: str, start: int, end: int) -> bytes:
    """Read bytes `start` to `end` (exclusive) of a file; fewer where it ends before."""
    filesystem, path = locate(url)
    try:
        return cast(bytes, filesystem.cat_file(path, start=start, end=end))
    except OSError as error:
        if error.errno == errno.EINVAL:  # S3 of a file that ends before `start`
            return b""
        raise


def copy_to_disk(url: str, path: Path) -> str:
    """Copy a file of any size to this machine, a piece at a time; returns its SHA-256.

    Written beside and renamed in place, so that whoever sees `path` sees all of it.
    """
    filesystem, remote = locate(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    digest = hashlib.sha256()
    try:
        with filesystem.open(remote, "rb") as source, beside.open("wb") as target:
            while piece := source.read(COPY_BYTES):
                digest.update(piece)
                target.write(piece)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return digest.hexdigest()


def write_bytes(url: str, data: bytes | memoryview) -> None:
    """Write a file so that readers see all of it or the old one.

    On disks: written beside, synced, renamed in place; HDFS renames over the old file in one step.
    Object stores make a put visible at once and whole by themselves.
    """
    write_pieces(url, [data])


def write_pieces(url: str, pieces: Iterable[bytes | memoryview]) -> str:
    """Write a file like `write_bytes`, from pieces, and return the SHA-256 of all of it.

    On disks the pieces are neither joined nor copied, and other threads run meanwhile.
    """
    filesystem, path = locate(url)
    local = local_path(url)
    if local is not None:
        local.parent.mkdir(parents=True, exist_ok=True)
        return _write_to_disk(local, pieces)
    data = b"".join(pieces)
    if "hdfs" in str(filesystem.protocol):
        beside_name = f"{path}.{uuid.uuid4().hex}"  # HDFS makes the directories above it
        try:
            filesystem.pipe_file(beside_name, data)
            filesystem.mv(beside_name, path)
        except NotAnsweringError:
            raise  # to ask once more, for the file to be deleted, would wait as long
        except BaseException:
            _forget(filesystem, beside_name)
            raise
    else:
        filesystem.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
        filesystem.pipe_file(path, data)
    return sha256_of(data)


def _forget(filesystem: Any, path: str) -> None:
    """Delete what a failed write left; a storage that fails once more must not hide the cause."""
    with suppress(OSError):
        filesystem.rm(path)


def _write_to_disk(path: Path, pieces: Iterable[bytes | memoryview]) -> str:
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    digest = hashlib.sha256()
    try:
        with beside.open("wb") as file:
            for piece in pieces:
                file.write(piece)
                digest.update(piece)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return digest.hexdigest()


def delete_unfinished(directory: str) -> None:
    """Delete what writes that were killed have left beside the files of a directory."""
    for name in list_names(directory):
        if _BESIDE.search(name):
            delete_tree(join(directory, name))


def read_json(url: str) -> dict[str, Any]:
    """Read a JSON object."""
    return cast(dict[str, Any], json.loads(read_bytes(url)))


def write_json(url: str, value: dict[str, Any]) -> None:
    """Write a JSON object whole or not at all; keys keep their order."""
    write_bytes(url, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def sha256_of(data: bytes | memoryview) -> str:
    """Hex SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()
