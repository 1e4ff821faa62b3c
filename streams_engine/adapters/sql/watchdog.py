"""Watchdog for servers that stop answering although the connection is open.

Behind a proxy that acknowledges every segment, or if the server's process is stopped, TCP notices
nothing: keepalive probes are answered, and a read waits for ever. So if a statement is unanswered
for long, the watchdog asks the server over a second connection whether the session is active. While
it is, it waits, for hours if necessary. If no second connection can be opened, or the session is
gone or idle, the connection is shut down, and its read fails at once, as after any other outage.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import struct
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, InvalidStateError
from typing import Any, Protocol, TypeVar

from streams_engine.errors import ConnectionFailed

__all__ = ["UNANSWERED", "Abort", "NoAnswer", "Watch", "expiring", "watch_of"]

Connection = TypeVar("Connection")

log = logging.getLogger("streams_engine.adapters.sql.watchdog")

UNANSWERED = "no answer came within the heartbeat timeout"
"""Part of the drivers' errors over a connection that was shut down."""

LOGIN_SECONDS = 15.0
"""How long a server may take to let somebody in."""
SHORTEST_LOGIN = 2.0
"""libpq's own least."""

TICK_SECONDS = 1.0
SHORTEST_PROBE = 3.0
"""Seconds that a server has at least for the answer over the second connection."""

LAST_DATA = struct.Struct("=44xI4xI")
"""``tcpi_last_data_sent`` and ``tcpi_last_data_recv`` of linux/tcp.h's tcp_info, milliseconds."""


def login_seconds(heartbeat: float) -> float:
    """Return how long a login may take; less if the heartbeat timeout is short."""
    return min(LOGIN_SECONDS, max(SHORTEST_LOGIN, heartbeat))


class Abort:
    """Switch that makes logins and waits on one end of a stream fail at once.

    Thread-safe. A pickled one is a new one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._logins: set[Future[Any]] = set()
        self._watches: weakref.WeakSet[Watch] = weakref.WeakSet()
        self._given_up = False

    def __reduce__(self) -> tuple[type[Abort], tuple[()]]:
        return Abort, ()

    def add(self, watch: Watch) -> None:
        """Cut this connection, too, when the end is given up."""
        with self._lock:
            self._watches.add(watch)

    @property
    def given_up(self) -> bool:
        """Whether connections were cut on our side."""
        return self._given_up

    def login_seconds(self, heartbeat: float) -> float:
        """Return how long a login may take; less if the heartbeat timeout is short, or after an
        abort while cleaning up."""
        return SHORTEST_PROBE if self._given_up else login_seconds(heartbeat)

    def login(
        self, connect: Callable[[], Connection], discard: Callable[[Any], None]
    ) -> Connection:
        """Run ``connect`` until it returns or the switch is used; then ``discard`` what it returns
        later.

        Raises the errors of ``connect``, and `ConnectionFailed`.
        """
        login: Future[Connection] = Future()

        def work() -> None:
            try:
                connection = connect()
            except BaseException as error:
                with contextlib.suppress(InvalidStateError):
                    login.set_exception(error)
                return
            try:
                login.set_result(connection)
            except InvalidStateError:
                discard(connection)

        with self._lock:
            self._logins.add(login)
        threading.Thread(target=work, name="streams-engine-login", daemon=True).start()
        try:
            return login.result()
        finally:
            with self._lock:
                self._logins.discard(login)

    def give_up(self) -> None:
        """Cut open connections, and abandon logins in progress. Idempotent."""
        with self._lock:
            self._given_up = True
            logins, watches = list(self._logins), list(self._watches)
        for login in logins:
            with contextlib.suppress(InvalidStateError):
                login.set_exception(ConnectionFailed("The stream was stopped.", retryable=False))
        for watch in watches:
            watch.cut()


class NoAnswer(Exception):
    """Error of a new session that could not be opened without an answer of the server."""


class WatchedServer(Protocol):
    """Server to ask about its sessions. Hashable: the connections to one server are judged
    together."""

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int: ...

    @property
    def heartbeat(self) -> float:
        """Seconds of silence after which a connection is taken for dead."""

    def working_sessions(self, seconds: float) -> Collection[Any] | None:
        """Return the active sessions of this account, by the server's ids.

        None if the server does not show the asking session itself (a pooler shows other ids).
        Raises `NoAnswer` after about ``seconds``; any other error is an answer.
        """


class Watch:
    """One connection. It is waited on by one thread at a time, inside a ``with`` block."""

    def __init__(
        self,
        server: WatchedServer,
        session: Any,
        descriptor: Callable[[], int],
        cut: Callable[[], None],
    ) -> None:
        """Watch a connection.

        ``session`` is the server's id of it; None: it is judged with the server alone.
        ``descriptor`` returns the descriptor of the open socket. ``cut`` shuts the connection down.
        Neither callable may keep the connection alive.
        """
        self.server = server
        self.session = session
        self.dead = False
        self._descriptor = descriptor
        self._cut = cut
        self._since: float | None = None
        self._cleared = 0.0
        self._doubted: float | None = None
        _watchdog.add(self)

    def __enter__(self) -> None:
        self._since = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._since = None

    def silence(self, now: float) -> float:
        """Return for how many seconds a thread has waited without a byte in either direction; 0 if
        none waits."""
        since = self._since
        return 0.0 if since is None else max(0.0, now - max(since, self._cleared, self.moved(now)))

    def moved(self, now: float) -> float:
        """Return when the last byte was sent or received; 0 if the system does not tell."""
        return max(self._last_data(now))

    def heard(self, now: float) -> float:
        """Return when the last byte was received; 0 if the system does not tell."""
        return self._last_data(now)[1]

    def _last_data(self, now: float) -> tuple[float, float]:
        """Return when the last byte was sent, and when the last was received."""
        try:
            with socket.socket(fileno=os.dup(self._descriptor())) as sock:
                told = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, LAST_DATA.size)
            sent, received = LAST_DATA.unpack(told)
        except Exception:  # closed or gone; another system, another kind of socket
            return 0.0, 0.0
        return now - sent / 1000, now - received / 1000

    @property
    def over(self) -> bool:
        """True if no thread waits and the connection is closed."""
        try:
            return self._since is None and self._descriptor() < 0
        except Exception:
            return True

    def clear(self, now: float) -> None:
        """Record that the server still works on the session's statement."""
        self._cleared, self._doubted = now, None

    def doubt(self) -> bool:
        """Return True if the session was found idle before, during the same wait."""
        since = self._since
        again = since is not None and since == self._doubted
        self._doubted = since
        return again

    def cut(self) -> None:
        """Shut the connection down."""
        self.dead = True
        with contextlib.suppress(Exception):
            self._cut()


@contextlib.contextmanager
def expiring(seconds: float, cut: Callable[[], None]) -> Iterator[None]:
    """Call ``cut`` if the block takes longer."""
    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def watch_of(connection: Any) -> Any:
    """Return the watch of a connection, to wait inside; one that does nothing if it has none."""
    watch = getattr(connection, "watch", None)
    return contextlib.nullcontext() if watch is None else watch


class _Watchdog:
    """The watches of this process, and a thread that looks after them while there are some."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Reset after a fork: the child process has no thread, and the connections belong to the
        parent."""
        self._lock = threading.Lock()
        self._watches: weakref.WeakSet[Watch] = weakref.WeakSet()
        self._asking: set[WatchedServer] = set()
        self._runs = False

    def add(self, watch: Watch) -> None:
        with self._lock:
            self._watches.add(watch)
            if not self._runs:
                self._runs = True
                threading.Thread(
                    target=self._run, name="streams-engine-watchdog", daemon=True
                ).start()

    def _of(self, server: WatchedServer) -> list[Watch]:
        with self._lock:
            return [watch for watch in self._watches if watch.server == server]

    def _run(self) -> None:
        while True:
            with self._lock:
                for gone in [watch for watch in self._watches if watch.over]:
                    self._watches.discard(gone)
                watches = list(self._watches)
                self._runs = bool(watches)
                if not watches:
                    return
            tick = min([TICK_SECONDS, *(watch.server.heartbeat / 8 for watch in watches)])
            now = time.monotonic()
            silent = {w.server for w in watches if w.silence(now) >= w.server.heartbeat / 2}
            del watches
            for server in silent:
                self._ask_beside(server)
            time.sleep(tick)

    def _ask_beside(self, server: WatchedServer) -> None:
        with self._lock:
            if server in self._asking:
                return
            self._asking.add(server)
        threading.Thread(
            target=self._ask, args=(server,), name="streams-engine-probe", daemon=True
        ).start()

    def _ask(self, server: WatchedServer) -> None:
        begun = time.monotonic()
        try:
            working = server.working_sessions(max(SHORTEST_PROBE, server.heartbeat / 2))
        except NoAnswer:
            self._judge_server(server, begun)
        except Exception:  # an answer, though not to this question
            log.debug(
                "%s:%s did not answer when asked about its sessions",
                server.host,
                server.port,
                exc_info=True,
            )
            self._judge_sessions(server, None)
        else:
            self._judge_sessions(server, working)
        finally:
            with self._lock:
                self._asking.discard(server)

    def _judge_server(self, server: WatchedServer, begun: float) -> None:
        """Cut every connection if one of them has waited for long and none has received data
        since."""
        watches, now = self._of(server), time.monotonic()
        if any(watch.heard(now) > begun for watch in watches):
            return
        if any(watch.silence(now) >= server.heartbeat for watch in watches):
            log.warning(
                "%s:%s does not answer any more: shutting its connections down",
                server.host,
                server.port,
            )
            for watch in watches:
                watch.cut()

    def _judge_sessions(self, server: WatchedServer, working: Collection[Any] | None) -> None:
        """Cut the connections that wait for a session which does nothing, or is not there."""
        now = time.monotonic()
        for watch in self._of(server):
            silence = watch.silence(now)
            if silence < server.heartbeat / 2:
                continue
            if None in (working, watch.session) or watch.session in (working or ()):
                watch.clear(now)
            elif watch.doubt() and silence >= server.heartbeat:
                log.warning(
                    "an answer of %s:%s was lost: shutting its connection down",
                    server.host,
                    server.port,
                )
                watch.cut()


_watchdog = _Watchdog()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_watchdog.forget)
