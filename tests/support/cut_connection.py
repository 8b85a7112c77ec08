"""A way to a server that can break off in the middle of what is sent to it or what it answers.

with CuttingProxy(port) as way:
    way.cut_after(2**20)      connections from now on end after so many bytes, None: never
    way.address               http://127.0.0.1:PORT
"""

import socket
import threading
from contextlib import suppress
from types import TracebackType

PIECE = 2**16


class CuttingProxy:
    """Passes bytes both ways between its own port and a server's."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._most: int | None = None
        self._cuts = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.cut = 0
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def cut_after(self, num_bytes: int | None, times: int = 10**9) -> None:
        """End the next `times` connections on which more bytes than this go one way."""
        self._most, self._cuts = num_bytes, times

    def __enter__(self) -> "CuttingProxy":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port))
                pair = (client, server)
                for ends in (pair, pair[::-1]):
                    threading.Thread(target=self._pass, args=ends, daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        passed = 0
        with suppress(OSError):
            while piece := source.recv(PIECE):
                passed += len(piece)
                if self._most is not None and self._cuts and passed > self._most:
                    self._cuts -= 1
                    self.cut += 1
                    break
                target.sendall(piece)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
