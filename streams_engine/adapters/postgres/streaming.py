"""Blocks of transactions that are still in progress: out of the log's way until their commit.

https://www.postgresql.org/docs/current/protocol-logical-replication.html: from version 2 of the
protocol on, with ``streaming``, a large transaction comes in blocks between S and E, whose
messages say of which (sub-)transaction they are, and ends with c or A.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from streams_engine.adapters.postgres.pgoutput import WHAT, Messages, big
from streams_engine.adapters.postgres.spooling import Spool
from streams_engine.bounds import violation, well_formed

__all__ = ["Streamed"]

WITH_TRANSACTION = np.zeros(256, bool)
WITH_TRANSACTION[[ord(letter) for letter in "IUDTRMY"]] = True
STARTS = {ord(letter) for letter in "SEA"}
MARKS = np.zeros(256, bool)
MARKS[list(STARTS)] = True


class Streamed:
    """The transactions in progress. Used by one thread."""

    def __init__(self) -> None:
        self._spools: dict[int, Spool] = {}
        self._within = 0
        """The transaction whose block is open; 0: none."""
        self._committed: Spool | None = None
        """The one that is being read back."""

    def without(self, messages: Messages) -> Messages:
        """The messages without blocks, which are put aside, and without aborts."""
        marks = np.flatnonzero(MARKS[messages.kind])
        if not len(marks) and not self._within:
            return messages
        outside: list[Messages] = []
        at = 0
        for mark in [*marks.tolist(), len(messages)]:
            piece = messages.part(at, mark)
            if self._within:
                outside += self._put(piece)
            else:
                outside.append(piece)
            if mark < len(messages):
                self._follow(chr(messages.kind[mark]), messages.content(mark))
            at = mark + 1
        return Messages.joined(outside) if outside else messages.part(0, 0)

    def _follow(self, letter: str, content: bytes) -> None:
        if letter == "E":
            self._within = 0
            return
        with well_formed("a streamed block of the log"):
            (transaction,) = struct.unpack_from(">I", content)
            (part,) = struct.unpack_from(">I", content, 4) if letter == "A" else (transaction,)
        if letter == "S":
            self._within = transaction
            if transaction not in self._spools:
                self._spools[transaction] = Spool()
            return
        spool = self._spools.get(transaction)
        if spool is not None and part != transaction:
            spool.abort(part)
        elif spool is not None:
            self._spools.pop(transaction).close()

    def _put(self, piece: Messages) -> list[Messages]:
        """Into the spool; keep-alives are no part of a transaction, and tell nothing new here."""
        if len(piece):
            owned = WITH_TRANSACTION[piece.kind]
            if (owned & (piece.end - piece.body < 4)).any():
                raise violation(WHAT, "a message of a streamed block lacks its transaction")
            owner = np.where(owned, big(piece.buffer, "u4")[piece.body], 0)
            inner = replace(piece, body=piece.body + np.where(owned, 4, 0))
            kind = np.where(owned, piece.kind, 0).astype(np.uint8)
            self._spools[self._within].add(replace(inner, kind=kind), owner)
        return []

    def committed(self, content: bytes) -> Iterator[Messages]:
        """What a transaction did, as if it came only now; ``content`` is its commit's."""
        with well_formed("the commit of a streamed transaction"):
            transaction, _, at, end, clock = struct.unpack_from(">IBQQq", content)
        spool = self._committed = self._spools.pop(transaction, None)
        yield Messages.made([("B", struct.pack(">QqI", at, clock, transaction))])
        if spool is not None:
            yield from spool.read()
        yield Messages.made([("C", struct.pack(">BQQq", 0, at, end, clock))])

    def close(self) -> None:
        """Give up all of them."""
        for spool in self._spools.values():
            spool.close()
        self._spools.clear()
        if self._committed is not None:
            self._committed.close()
