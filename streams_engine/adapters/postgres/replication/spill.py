"""Transactions in progress, held until their commit; on disk if they are large."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from streams_engine.adapters.postgres.replication.pgoutput import WHAT, Messages, big
from streams_engine.arrow.buffers import violation, well_formed

__all__ = [
    "OpenTransactions",
    "TransactionSpill",
]


IN_MEMORY = 4 << 20
"""Bytes of one transaction that stay in memory."""

FRAME = struct.Struct("<QQ")


class TransactionSpill:
    """One transaction's messages, in order, until its commit or its abort."""

    def __init__(self) -> None:
        # Not a context manager: it lives from one poll to a later one, and `close` ends it.
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115
        self._aborted: set[int] = set()

    def add(self, messages: Messages, transactions: np.ndarray) -> None:
        """Append messages, with the (sub-)transaction of each."""
        size = len(messages.buffer)
        if size > IN_MEMORY:
            self._file.rollover()  # it would be written into memory first
        self._file.write(FRAME.pack(len(messages), size))
        self._file.write(messages.buffer)
        for array, dtype in (
            (messages.kind, np.uint8),
            (messages.body, np.int64),
            (messages.end, np.int64),
            (transactions, np.int64),
        ):
            self._file.write(np.ascontiguousarray(array, dtype).tobytes())

    def abort(self, transaction: int) -> None:
        """Drop the messages of a subtransaction."""
        self._aborted.add(transaction)

    def read(self) -> Iterator[Messages]:
        """Yield all messages; those that were rolled back have lower-case letters. Relation
        messages still describe what follows."""
        self._file.seek(0)
        undone = np.array(sorted(self._aborted), np.int64)
        while head := self._file.read(FRAME.size):
            count, size = FRAME.unpack(head)
            buffer = self._file.read(size)
            kind = np.frombuffer(self._file.read(count), np.uint8)
            body, end, owner = (
                np.frombuffer(self._file.read(8 * count), np.int64) for _ in range(3)
            )
            if len(undone):
                gone = np.isin(owner, undone)
                kind = np.where(gone & (kind > 0), kind | SMALL, kind)
            yield Messages(buffer, kind.astype(np.uint8), body, end)
        self.close()

    def close(self) -> None:
        """Release memory and file. Idempotent."""
        self._file.close()


SMALL = 0x20
"""The bit that turns an upper-case letter into a lower-case one."""

WITH_TRANSACTION = np.zeros(256, bool)
WITH_TRANSACTION[[ord(letter) for letter in "IUDTRMY"]] = True
STARTS = {ord(letter) for letter in "SEA"}
MARKS = np.zeros(256, bool)
MARKS[list(STARTS)] = True


class OpenTransactions:
    """The transactions in progress. Used by one thread."""

    def __init__(self) -> None:
        self._spools: dict[int, TransactionSpill] = {}
        self._within = 0
        """The transaction whose block is open; 0: none."""
        self._committed: TransactionSpill | None = None
        """The one that is being read back."""

    def without(self, messages: Messages) -> Messages:
        """Return the messages outside of streamed blocks, without aborts; the blocks are
        spooled."""
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
                self._spools[transaction] = TransactionSpill()
            return
        spool = self._spools.get(transaction)
        if spool is not None and part != transaction:
            spool.abort(part)
        elif spool is not None:
            self._spools.pop(transaction).close()

    def _put(self, piece: Messages) -> list[Messages]:
        """Spool a streamed block. Keepalives do not belong to the transaction and are dropped."""
        if len(piece):
            owned = WITH_TRANSACTION[piece.kind]
            if (owned & (piece.end - piece.body < 4)).any():
                raise violation(WHAT, "a message of a streamed block has no transaction")
            owner = np.where(owned, big(piece.buffer, "u4")[piece.body], 0)
            inner = replace(piece, body=piece.body + np.where(owned, 4, 0))
            kind = np.where(owned, piece.kind, 0).astype(np.uint8)
            self._spools[self._within].add(replace(inner, kind=kind), owner)
        return []

    def committed(self, content: bytes) -> Iterator[Messages]:
        """Return the messages of a transaction as if it came only now; ``content`` is its
        commit's."""
        with well_formed("the commit of a streamed transaction"):
            transaction, _, at, end, clock = struct.unpack_from(">IBQQq", content)
        spool = self._committed = self._spools.pop(transaction, None)
        yield Messages.made([("B", struct.pack(">QqI", at, clock, transaction))])
        if spool is not None:
            yield from spool.read()
        yield Messages.made([("C", struct.pack(">BQQq", 0, at, end, clock))])

    def close(self) -> None:
        """Discard all of them."""
        for spool in self._spools.values():
            spool.close()
        self._spools.clear()
        if self._committed is not None:
            self._committed.close()
