"""From the URL that a user gives to the file system behind it and the path on that.

Two kinds of URL need more than fsspec: `hdfs://`, which fsspec opens with a native Hadoop only and
here goes over WebHDFS, and `s3a://`, which is what Spark calls `s3://`.
"""

import hashlib
import os
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import fsspec

from hilum.errors import MissingDependencyError

__all__ = ["S3_SCHEMES", "local_path", "locate"]

S3_SCHEMES = ("s3", "s3a", "s3n")


def local_path(url: str) -> Path | None:
    """Return the path of a URL on this machine's file system, or None for remote storage."""
    if "://" not in url and not url.startswith("file:"):
        return Path(url)
    if url.startswith("file:"):
        return Path("/" + url.removeprefix("file:").lstrip("/"))
    return None


def locate(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL or local path, and the path there.

    Raises:
        MissingDependencyError: the package that speaks to this storage is not installed.
        InvalidValueError: an `hdfs://` URL whose name node is not known.
    """
    scheme, separator, rest = url.partition("://")
    try:
        if separator and scheme == "hdfs":
            from hilum.storage.webhdfs import open_hdfs

            return open_hdfs(url)
        if separator and scheme in S3_SCHEMES:
            return _s3(_settings_of_aws(), os.getpid()), rest.rstrip("/")
        return cast(tuple[Any, str], fsspec.core.url_to_fs(url))
    except ImportError as error:
        extra = {"hdfs": "hilum[hdfs]"}.get(scheme, "hilum[s3]" if scheme in S3_SCHEMES else "")
        hint = f"pip install '{extra}'" if extra else "install the package it names"
        raise MissingDependencyError(f"{url} cannot be opened: {error}. Hint: {hint}.") from error


@lru_cache(maxsize=4)
def _s3(settings: str, process: int) -> Any:
    """One client, in 0.1 s, for all threads of a process with the same settings."""
    from hilum.storage.s3 import S3

    return S3()


def _settings_of_aws() -> str:
    """A digest of what the environment tells AWS's tools; clients are kept by it."""
    names = sorted(name for name in os.environ if name.startswith("AWS_"))
    told = "\n".join(f"{name}={os.environ[name]}" for name in names)
    return hashlib.sha256(told.encode()).hexdigest()
