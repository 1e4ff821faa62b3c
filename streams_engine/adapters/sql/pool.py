"""Connections to a target that many threads borrow. The driver's part is given."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from streams_engine.errors import ConnectionFailed

__all__ = ["ConnectionPool", "Driver"]


class Connection(Protocol):
    """Protocol of a connection: DB-API 2.0 (https://peps.python.org/pep-0249/)."""

    def commit(self) -> None: ...

    def rollback(self) -> None: ...


C = TypeVar("C", bound=Connection)


@dataclass(frozen=True, slots=True)
class Driver(Generic[C]):
    """Operations that every driver implements in its own way. None is called under a lock."""

    errors: tuple[type[Exception], ...]
    """What it raises where a statement or a connection fails."""
    translating: Callable[[str], AbstractContextManager[None]]
    """Turn its errors inside a block into ours, about what is given."""
    open: Callable[[], C]
    """Connect and log in. Its errors reach the borrower as they are."""
    answers: Callable[[C], bool]
    """Return False if the server has ended an idle connection; an error ends the search for
    one and reaches the borrower."""
    is_open: Callable[[C], bool]
    """Return True if the connection can be lent again. Sends nothing."""
    end: Callable[[C], None]
    """Close. Raises nothing."""
    abort: Callable[[Sequence[C]], None]
    """Make what other threads wait for on these connections fail at once. Raises nothing."""
    begin: Callable[[C], None]
    """Begin a transaction."""


class ConnectionPool(Generic[C]):
    """Pool that opens a connection if none is idle. Thread-safe.

    It has no upper limit: only the threads of one stream borrow connections, and their number is
    limited.
    """

    def __init__(self, driver: Driver[C]) -> None:
        self.driver = driver
        self._idle: list[C] = []
        self._busy: set[C] = set()
        self._lock = threading.Lock()
        self.closed = False

    @contextlib.contextmanager
    def lend(self) -> Iterator[C]:
        """Lend a connection for the block; it returns to the pool if it is still open."""
        self.demand_open()
        connection = self._claimed(self._answering() or self.driver.open())
        try:
            yield connection
        finally:
            self._give_back(connection)

    @contextlib.contextmanager
    def transaction(self, begin: Callable[[C], object] | None = None) -> Iterator[C]:
        """Lend a connection whose transaction ends with the block: committed, or rolled back."""
        with self.lend() as connection, self.undoing(connection):
            with self.driver.translating("writing to the target"):
                (begin or self.driver.begin)(connection)
            yield connection
            with self.driver.translating("committing on the target"):
                connection.commit()

    @contextlib.contextmanager
    def undoing(self, connection: C) -> Iterator[None]:
        """Roll back if the block raises."""
        try:
            yield
        except BaseException:
            with contextlib.suppress(*self.driver.errors):
                connection.rollback()
            raise

    @contextlib.contextmanager
    def lend_once(self, open: Callable[[], C] | None = None) -> Iterator[C]:
        """Lend a connection whose session will be like no other, and close it after the block.

        ``open`` makes it; None: it is one of the others.
        """
        self.demand_open()
        connection = self._claimed(open() if open else self._answering() or self.driver.open())
        try:
            yield connection
        finally:
            with self._lock:
                self._busy.discard(connection)
            self.driver.end(connection)

    def demand_open(self) -> None:
        """Raise `ConnectionFailed` if the pool is closed."""
        if self.closed:
            raise ConnectionFailed("The target is closed.", retryable=False)

    def close(self) -> None:
        """End idle connections and abort the others, which end when they are given back.

        Idempotent.
        """
        with self._lock:
            self.closed = True
            busy, idle = list(self._busy), list(self._idle)
            self._idle.clear()
        self.driver.abort(busy)
        for connection in idle:
            self.driver.end(connection)

    def _answering(self) -> C | None:
        """Return an idle connection that still answers, or None."""
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return None
            answers = False
            try:
                answers = self.driver.answers(connection)
            finally:
                if not answers:
                    self.driver.end(connection)
            if answers:
                return connection

    def _claimed(self, connection: C) -> C:
        """Count a connection among the busy ones, unless the pool was closed meanwhile: then
        nobody else would end it."""
        with self._lock:
            if not self.closed:
                self._busy.add(connection)
                return connection
        self.driver.end(connection)
        raise ConnectionFailed("The target is closed.", retryable=False)

    def _give_back(self, connection: C) -> None:
        usable = self.driver.is_open(connection)
        with self._lock:
            self._busy.discard(connection)
            usable = usable and not self.closed
            if usable:
                self._idle.append(connection)
        if not usable:
            self.driver.end(connection)
