"""From the URL that a user gives to the file system behind it and the path on that.

Two kinds of URL need more than fsspec: `hdfs://`, which fsspec opens with a native Hadoop only and
here goes over WebHDFS, and `s3a://`, which is what Spark calls `s3://`.
"""

from typing import Any, cast

import fsspec

from hilum.errors import MissingDependencyError

__all__ = ["locate"]

_S3 = ("s3", "s3a", "s3n")


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
        if separator and scheme in _S3:
            # Listings that s3fs remembers hide what other processes write.
            found = fsspec.core.url_to_fs(f"s3://{rest}", use_listings_cache=False)
        else:
            found = fsspec.core.url_to_fs(url)
    except ImportError as error:
        extra = {"hdfs": "hilum[hdfs]"}.get(scheme, "hilum[s3]" if scheme in _S3 else "")
        hint = f"pip install '{extra}'" if extra else "install the package it names"
        raise MissingDependencyError(f"{url} cannot be opened: {error}. Hint: {hint}.") from error
    return cast(tuple[Any, str], found)
