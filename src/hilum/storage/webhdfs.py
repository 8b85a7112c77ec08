"""HDFS over HTTP: no native Hadoop, no Java, patience with servers that come back.

fsspec's `webhdfs` lists, walks and globs. What it lacks for files that must be whole is added here:
a rename that replaces in one step (`renameoptions=OVERWRITE`, what Hadoop's own WebHDFS client
sends for FileSystem.rename(src, dst, Rename.OVERWRITE)), answers of data nodes that are looked at,
the other name node of a pair, and bounded retries.
"""

import getpass
import logging
import os
import time
from typing import Any
from urllib.parse import quote

import requests
from fsspec.implementations.webhdfs import WebHDFS
from fsspec.spec import AbstractBufferedFile

from hilum.errors import MissingDependencyError
from hilum.storage.hadoop_settings import hadoop_settings, namenode_addresses, uses_kerberos
from hilum.storage.refusals import CredentialsError, NotAnsweringError, raise_unless_gone

__all__ = ["HdfsOverHttp", "open_hdfs"]

logger = logging.getLogger(__name__)

RETRY_S = 60.0
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0
TIMEOUT_S = (10.0, 120.0)  # to connect, between two pieces of an answer

# Errors of servers that are starting, passing on their duty or have lost their last data node.
_PASSING = {"RetriableException", "SafeModeException", "StandbyException", "BlockMissingException"}
_NO_DATANODE = ("could only be written to 0 of", "Failed to find datanode", "No node available")
_REFUSED = {"AccessControlException", "SecurityException"}


class _PassingError(OSError):
    """The same request may succeed a little later."""


def open_hdfs(url: str) -> tuple["HdfsOverHttp", str]:
    """The file system of an `hdfs://` URL and the path on it.

    Raises:
        InvalidValueError: no name node in the URL or in HADOOP_CONF_DIR.
        MissingDependencyError: a cluster with Kerberos, and no requests-kerberos.
    """
    settings = hadoop_settings()
    kerberos = uses_kerberos(settings)
    names = (os.environ.get(name) for name in ("HADOOP_USER_NAME", "SPARK_USER"))
    user = None if kerberos else next(filter(None, names), None) or getpass.getuser()
    addresses = namenode_addresses(url, settings)
    try:
        opened = HdfsOverHttp(addresses=addresses, user=user, kerberos=kerberos)
    except ImportError as error:
        raise MissingDependencyError(
            f"{url} is on a cluster with Kerberos: {error}. Hint: pip install requests-kerberos, "
            "then kinit."
        ) from error
    return opened, HdfsOverHttp._strip_protocol(url) or "/"


class HdfsOverHttp(WebHDFS):  # type: ignore[misc]
    """One HDFS by the addresses of its name nodes, the active one found by asking."""

    protocol = "hdfs"

    def __init__(self, *, addresses: tuple[str, ...], user: str | None, kerberos: bool) -> None:
        super().__init__(host="", user=user, kerberos=kerberos)
        self._addresses = addresses
        self._active = 0
        self._fsid = f"webhdfs_{addresses[0]}"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        _, separator, rest = path.partition("://")
        return f"/{rest.partition('/')[2]}" if separator else path  # "?" is a name's, or a glob's

    def _call(
        self,
        op: str,
        method: str = "get",
        path: str | None = None,
        data: Any = None,
        redirect: bool = True,
        **kwargs: Any,
    ) -> requests.Response:
        """One operation; data goes to the data node that the name node names.

        Raises:
            FileNotFoundError, PermissionError, OSError: as the server says, with its words.
            NotAnsweringError: nobody did for a minute.
        """
        deadline, pause_s = time.monotonic() + RETRY_S, FIRST_PAUSE_S
        while True:
            try:
                return self._once(op, method, path or "", data, redirect, kwargs)
            except (_PassingError, requests.ConnectionError, requests.Timeout) as error:
                problem: OSError = error
            except requests.exceptions.ChunkedEncodingError as error:  # an answer that broke off
                problem = error
            self._active = (self._active + 1) % len(self._addresses)
            if time.monotonic() + pause_s > deadline:
                where = " or ".join(self._addresses)
                raise NotAnsweringError(
                    f"HDFS did not answer within {RETRY_S:.0f} s ({op} {path} at {where}): "
                    f"{problem}. Hint: is WebHDFS there (dfs.namenode.http-address in "
                    "HADOOP_CONF_DIR, or HILUM_WEBHDFS=http://HOST:PORT), and a data node?"
                ) from problem
            logger.warning("hdfs retry op=%s path=%s error=%s", op, path, problem)
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _once(
        self, op: str, method: str, path: str, data: Any, redirect: bool, options: dict[str, Any]
    ) -> requests.Response:
        url = f"{self._addresses[self._active]}/webhdfs/v1{quote(self._strip_protocol(path))}"
        parameters = {**options, **self.pars, "op": op}
        follow = redirect and data is None
        answer: requests.Response = self.session.request(
            method.upper(), url, params=parameters, allow_redirects=follow, timeout=TIMEOUT_S
        )
        _check(answer, path)
        if data is not None:
            answer = self.session.request(
                method.upper(), answer.headers["Location"], data=data, timeout=TIMEOUT_S
            )
            _check(answer, path)
        return answer

    def exists(self, path: str, **kwargs: Any) -> bool:
        """Whether it is there; a server that does not answer is an error and no absence."""
        try:
            self.info(path)
        except FileNotFoundError:
            return False
        return True

    def walk(
        self, path: str, *more: Any, on_error: Any = raise_unless_gone, **arguments: Any
    ) -> Any:
        """Like fsspec, but a folder that cannot be listed is no empty one."""
        return super().walk(path, *more, on_error=on_error, **arguments)

    def pipe_file(self, path: str, value: bytes, **kwargs: Any) -> None:
        """Write a file in one request, over one that is there."""
        self._call("CREATE", "put", path, data=value, overwrite="true")

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any
    ) -> bytes:
        """Bytes `start` to `end` of a file, fewer where it ends before."""
        if start is None and end is None:
            return bytes(self._call("OPEN", path=path).content)
        size = int(self.info(path)["size"])
        first, last, _ = slice(start, end).indices(size)
        if first >= last:
            return b""
        return bytes(self._call("OPEN", path=path, offset=first, length=last - first).content)

    def mv(self, path1: str, path2: str, **kwargs: Any) -> None:
        """Rename; a file that has the new name is replaced in the same step."""
        try:
            answer = self._call(
                "RENAME", "put", path1, destination=path2, renameoptions="OVERWRITE"
            )
        except FileNotFoundError:
            # The answer to a rename that was done may be lost, and the second one finds no file.
            if self.exists(path1) or not self.exists(path2):
                raise
            return
        if answer.content and not answer.json().get("boolean", True):
            raise OSError(f"HDFS does not rename {path1} to {path2}, which may be there already")

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        return _Reader(self, path) if mode == "rb" else super()._open(path, mode, **kwargs)


class _Reader(AbstractBufferedFile):  # type: ignore[misc]
    """An open file that is read through `cat_file`, with its retries."""

    def _fetch_range(self, start: int, end: int) -> bytes:
        return bytes(self.fs.cat_file(self.path, start=start, end=end))


def _check(answer: requests.Response, path: str) -> None:
    """Raise what the server reports; its words are in `RemoteException`."""
    if answer.status_code < 400:
        return
    try:
        said = answer.json()["RemoteException"]
        kind, message = str(said["exception"]), str(said["message"]).partition("\n")[0]
    except (ValueError, KeyError, TypeError):
        kind, message = "", f"HTTP {answer.status_code} {answer.reason}"
    what = f"{path}: {message}" if path else message
    if kind in _PASSING or any(words in message for words in _NO_DATANODE):
        raise _PassingError(what)
    if kind == "FileNotFoundException" or (not kind and answer.status_code == 404):
        raise FileNotFoundError(what)
    if kind in _REFUSED or answer.status_code == 401:
        refused = CredentialsError if answer.status_code == 401 else PermissionError
        raise refused(f"{what}. Hint: HADOOP_USER_NAME names the user of HDFS")
    if not kind and answer.status_code >= 500:
        raise _PassingError(what)
    raise OSError(f"{kind}: {what}" if kind else what)
