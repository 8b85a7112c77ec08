"""Contents of image files, for `decode`: no more is read of a file than it is worth."""

import errno
import os
from pathlib import Path

from hilum import storage
from hilum.decoding.magic import MAGIC_BYTES, sniff
from hilum.errors import RejectedImageError

__all__ = ["read_local_file", "read_remote_file"]

MAX_FILE_BYTES = 2**31 - 1  # what a row of Spark can hold
FIRST_REQUEST_BYTES = 2**20  # a radiograph of 1024 x 1024 in PNG, or nearly
NOT_DELIVERED = (errno.EACCES, errno.EPERM, errno.EIO)


def read_local_file(uri: str) -> bytes:
    """Read a file that Spark listed as "file:/...", without its way through Java.

    Of a file that is no image only the first bytes are read.

    Raises:
        RejectedImageError: unreadable (no permission, a bad sector) or too_large.
        OSError: anything else, such as a mount that is gone: no property of this one file. The
            task fails and Spark retries it.
    """
    try:
        with Path(uri.removeprefix("file:")).open("rb") as file:
            head = file.read(MAGIC_BYTES)
            if sniff(head) is None:
                return head
            size = os.fstat(file.fileno()).st_size
            if size > MAX_FILE_BYTES:
                raise RejectedImageError("too_large", f"{size} bytes")
            file.seek(0)
            return file.read()
    except OSError as error:
        if error.errno in NOT_DELIVERED:
            raise RejectedImageError("unreadable", str(error.strerror)) from error
        raise


def read_remote_file(url: str) -> bytes:
    """Read a file of remote storage, small ones in one request; of no image only its first bytes.

    Raises:
        RejectedImageError: unreadable (no permission) or too_large.
        CredentialsError: a refusal that holds for every file: no property of this one.
        OSError: anything else; the task fails and Spark retries it.
    """
    try:
        head = storage.read_range(url, 0, FIRST_REQUEST_BYTES)
        if sniff(head[:MAGIC_BYTES]) is None:
            return head[:MAGIC_BYTES]
        if len(head) < FIRST_REQUEST_BYTES:
            return head
        data = head + storage.read_range(url, FIRST_REQUEST_BYTES, MAX_FILE_BYTES)
    except storage.CredentialsError:
        raise
    except PermissionError as error:
        raise RejectedImageError("unreadable", str(error)) from error
    if len(data) == MAX_FILE_BYTES:
        raise RejectedImageError("too_large", f"{len(data)} bytes or more")
    return data
