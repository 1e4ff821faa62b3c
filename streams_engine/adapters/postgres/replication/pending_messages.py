"""Messages of a slot that wait until enough of them make a change set."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from streams_engine.adapters.postgres.replication.pgoutput import (
    BEGIN,
    BOUNDARY,
    COMMIT,
    KEEP_ALIVE,
    ROW,
    Burst,
    Messages,
)
from streams_engine.adapters.postgres.replication.spill import OpenTransactions

__all__ = ["PendingMessages"]

ROWS_BUDGET = 50_000
BYTES_BUDGET = 8 << 20

TOGETHER_BYTES = 4 << 20
"""Bytes of bursts that are decoded together."""


class PendingMessages:
    """Messages in commit order: those of streamed transactions come when they commit."""

    def __init__(self) -> None:
        self._waiting: list[Messages] = []
        self._count = self._size = 0
        self._complete = False
        """They contain the boundary of a transaction."""
        self._streamed = OpenTransactions()
        self._replay: Iterator[Messages] | None = None
        self._later: list[Messages] = []
        """The messages after the commit of the transaction that is being replayed."""

    @property
    def replaying(self) -> bool:
        """Return whether a spooled transaction is being replayed."""
        return self._replay is not None

    def receive(self, bursts: list[Burst]) -> None:
        """Receive bursts; some megabytes of them are decoded together, and freed before the next
        ones."""
        bursts.reverse()
        while bursts:
            together = [bursts.pop()]
            size = len(together[0].buffer)
            while bursts and size + len(bursts[-1].buffer) <= TOGETHER_BYTES:
                together.append(bursts.pop())
                size += len(together[-1].buffer)
            self._push(self._streamed.without(Messages.received(together)))

    def take(self) -> Messages | None:
        """Return the waiting messages, as many as a set may have; None if more must come first."""
        self._refill()
        if not self._waiting or not (self._complete or self._full()):
            return None
        count = size = number = 0
        while number < len(self._waiting) and count < ROWS_BUDGET and size < BYTES_BUDGET:
            count += len(self._waiting[number])
            size += len(self._waiting[number].buffer)
            number += 1
        messages = Messages.joined(self._waiting[:number])
        self._waiting[:number] = [messages]
        return messages

    def until(self, messages: Messages, rows: int | None, opened: bool) -> int:
        """Return how many messages make a change set: up to a commit if one is within the budget;
        0 if more must come first.

        ``rows``: after how many rows a commit is enough. ``opened``: they begin inside of a
        transaction.
        """
        kind, count = messages.kind, len(messages)
        most = min(count, ROWS_BUDGET, int(np.searchsorted(messages.end, BYTES_BUDGET)) + 1)
        edges = np.flatnonzero(BOUNDARY[kind[:most]])
        if len(edges) and (kind[edges] == KEEP_ALIVE).any():
            depth = np.cumsum(kind[:most] == BEGIN) - np.cumsum(kind[:most] == COMMIT)
            closed = depth[edges] + opened == 0
            edges = edges[closed | (kind[edges] != KEEP_ALIVE)]
        if not len(edges):
            self._complete = False  # boundaries, but inside of a transaction
            return most if self._full() else 0
        if rows:
            done = np.cumsum(ROW[kind[:most]])[edges]
            edges = edges[: int(np.searchsorted(done, rows)) + 1]
        return int(edges[-1]) + 1

    def keep(self, messages: Messages) -> None:
        """Replace the messages that `take` returned by these."""
        self._wait_for([messages, *self._waiting[1:]])

    def commit_streamed(self, content: bytes, rest: Messages) -> None:
        """Replay a streamed transaction that commits now, and ``rest`` after it."""
        self._replay = self._streamed.committed(content)
        self._later = [rest, *self._waiting[1:]]
        self._wait_for([])

    def close(self) -> None:
        """Discard spooled transactions."""
        self._streamed.close()

    def _wait_for(self, several: list[Messages]) -> None:
        self._waiting, self._count, self._size, self._complete = [], 0, 0, False
        for messages in several:
            self._add(messages)

    def _push(self, messages: Messages) -> None:
        messages.demand_whole()
        self._add(messages)

    def _add(self, messages: Messages) -> None:
        if len(messages):
            self._waiting.append(messages)
            self._count += len(messages)
            self._size += len(messages.buffer)
            self._complete = self._complete or bool(BOUNDARY[messages.kind].any())

    def _full(self) -> bool:
        return self._count >= ROWS_BUDGET or self._size >= BYTES_BUDGET

    def _refill(self) -> None:
        """Continue with a spooled transaction, then with the messages after it."""
        while self._replay is not None and not self._full():
            piece = next(self._replay, None)
            if piece is not None:
                self._push(piece)
                continue
            self._replay = None
            for messages in self._later:
                self._push(messages)
            self._later = []
