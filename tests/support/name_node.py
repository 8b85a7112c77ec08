"""As much of WebHDFS as listing and reading need, in this process: an HDFS that refuses on demand.

with name_node({"/a/1.png": b"..."}) as node:
    node.address                                    for HILUM_WEBHDFS
    node.refused["OPEN /a/1.png"] = (403, "AccessControlException")
"""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class NameNode:
    """What it holds, and how it refuses: status and exception by "OPERATION PATH"."""

    address: str
    files: Mapping[str, bytes]
    refused: dict[str, tuple[int, str]] = field(default_factory=dict)

    def answer(self, operation: str, path: str) -> tuple[int, bytes]:
        path = path.rstrip("/") or "/"
        if f"{operation} {path}" in self.refused:
            status, kind = self.refused[f"{operation} {path}"]
            return status, _exception(kind)
        below = {name: data for name, data in self.files.items() if name.startswith(_in(path))}
        if path not in self.files and not below:
            return 404, _exception("FileNotFoundException")
        if operation == "OPEN":
            return 200, self.files[path]
        if operation == "GETFILESTATUS":
            return 200, json.dumps({"FileStatus": self._status(path, "")}).encode()
        names = sorted({name.removeprefix(_in(path)).partition("/")[0] for name in below})
        found = [self._status(_in(path) + name, name) for name in names]
        return 200, json.dumps({"FileStatuses": {"FileStatus": found}}).encode()

    def _status(self, path: str, name: str) -> dict[str, Any]:
        size = len(self.files.get(path, b""))
        kind = "FILE" if path in self.files else "DIRECTORY"
        return {"pathSuffix": name, "type": kind, "length": size, "modificationTime": 1000}


def _in(path: str) -> str:
    return path.rstrip("/") + "/"


def _exception(kind: str) -> bytes:
    return json.dumps({"RemoteException": {"exception": kind, "message": "no"}}).encode()


@contextmanager
def name_node(files: Mapping[str, bytes]) -> Iterator[NameNode]:
    """Start one on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            operation = parse_qs(url.query)["op"][0]
            status, body = node.answer(operation, unquote(url.path).removeprefix("/webhdfs/v1"))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """No line for each request."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        node = NameNode(f"http://127.0.0.1:{server.server_port}", files)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield node
        server.shutdown()
