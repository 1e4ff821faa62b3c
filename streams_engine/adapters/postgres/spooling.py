"""Transactions that the server sends before they are committed: kept aside, on disk when large."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator

import numpy as np

from streams_engine.adapters.postgres.pgoutput import Messages

__all__ = ["Spool"]

IN_MEMORY = 4 << 20
"""Bytes of one transaction that stay in memory."""

FRAME = struct.Struct("<QQ")


class Spool:
    """One transaction's messages, in order, until its commit or its abort."""

    def __init__(self) -> None:
        # Not a context manager: it lives from one poll to a later one, and `close` ends it.
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115
        self._aborted: set[int] = set()

    def add(self, messages: Messages, transactions: np.ndarray) -> None:
        """Further messages, and of which (sub-)transaction each is."""
        size = len(messages.buffer)
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
        """What a sub-transaction did is undone."""
        self._aborted.add(transaction)

    def read(self) -> Iterator[Messages]:
        """All that was not undone, piece by piece. Relations stay: they describe what follows."""
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
                kind = np.where(gone, np.where(kind == ord("R"), ord("r"), 0), kind)
            yield Messages(buffer, kind.astype(np.uint8), body, end)
        self.close()

    def close(self) -> None:
        """Give memory and file back. Idempotent."""
        self._file.close()
