"""A way to a server that can be cut, stalled and restored."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator

from streams_engine.testing.servers import Server

__all__ = ["Relay", "relayed"]

PIECE = 1 << 16


class Relay:
    """A port of its own that leads to a server's."""

    def __init__(self, server: Server) -> None:
        self._to = (server.host, server.port)
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._stalled = threading.Event()
        self._ended = False
        self._accept()

    def _accept(self) -> None:
        threading.Thread(target=self._serve, args=(self._listener,), daemon=True).start()

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._to)
            except OSError:
                near.close()
                continue
            with self._lock:
                self._pairs.append((near, far))
            threading.Thread(target=self._carry, args=(near, far), daemon=True).start()

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        ends = {near: far, far: near}
        with selectors.DefaultSelector() as ready, contextlib.suppress(OSError, ValueError):
            for end in ends:
                ready.register(end, selectors.EVENT_READ)
            while True:
                for key, _ in ready.select(0.1):
                    if self._stalled.is_set():
                        continue
                    end = key.fileobj
                    assert isinstance(end, socket.socket)
                    piece = end.recv(PIECE)
                    if not piece:
                        raise OSError("ended")
                    ends[end].sendall(piece)
                if near.fileno() < 0:
                    raise OSError("cut")
        for end in ends:
            end.close()

    def cut(self) -> None:
        """Every connection ends, and nobody listens any more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def restore(self) -> None:
        """There is a way again."""
        self._stalled.clear()
        if self._listener.fileno() < 0:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            self._accept()

    def stall(self) -> None:
        """Connections stay, and nothing comes through: no end can see that the other is gone."""
        self._stalled.set()


@contextlib.contextmanager
def relayed(server: Server) -> Iterator[Relay]:
    """A relay to a server, gone afterwards."""
    relay = Relay(server)
    try:
        yield relay
    finally:
        relay.restore()
        relay.cut()
