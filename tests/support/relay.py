"""A way to a server that can be cut, stalled and restored."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

from streams_engine.testing.servers import Server

__all__ = ["BOTH", "FROM_SERVER", "TO_SERVER", "Relay", "relayed"]

PIECE = 1 << 16
TO_SERVER, FROM_SERVER = "to the server", "from the server"
BOTH = (TO_SERVER, FROM_SERVER)


class Relay:
    """A port of its own that leads to a server's."""

    def __init__(self, server: Server) -> None:
        self._to = (server.host, server.port)
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listener.getsockname()[1])
        self._open = {way: threading.Event() for way in BOTH}
        for way in self._open.values():
            way.set()
        self.holds = threading.Event()
        """Bytes came to a way that is stalled."""
        self.reset = threading.Event()
        """An end broke off its connection."""
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
            for way, ends in ((TO_SERVER, (near, far)), (FROM_SERVER, (far, near))):
                threading.Thread(target=self._carry, args=(*ends, way), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket, way: str) -> None:
        """Forward what comes, and then the end; nothing of both while the way is stalled."""
        try:
            while piece := one.recv(PIECE):
                self._pass(one, way)
                other.sendall(piece)
            self._pass(one, way)
        except ConnectionResetError:
            self.reset.set()
        except OSError:
            pass
        for end in (one, other):
            _shut(end)
        with self._lock:
            for pair in [pair for pair in self._pairs if one in pair]:
                self._pairs.remove(pair)

    def _pass(self, end: socket.socket, way: str) -> None:
        """Wait until the way is open. Raises `OSError` where it was cut meanwhile."""
        while not self._open[way].wait(0.1):
            self.holds.set()
            with self._lock:
                if not any(end in pair for pair in self._pairs):
                    raise OSError("cut")

    def cut(self) -> None:
        """Every connection ends, and nobody listens any more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                _shut(end)

    def restore(self) -> None:
        """There is a way again; what was held back goes on."""
        for way in self._open.values():
            way.set()
        if self._listener.fileno() < 0:
            self._listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
            self._accept()

    def stall(self, *ways: str) -> None:
        """Connections stay, and nothing comes through (in ``ways``; both, unless said): no end can
        see that the other is gone."""
        self.holds.clear()
        for way in ways or BOTH:
            self._open[way].clear()


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@contextlib.contextmanager
def relayed(server: Server) -> Iterator[Relay]:
    """A relay to a server, gone afterwards."""
    relay = Relay(server)
    try:
        yield relay
    finally:
        relay.restore()
        relay.cut()
