"""Checkpoint and quarantine tables of streams, on any SQL server.

The dialect supplies SQL templates, and how to create, lock and drop the tables.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from streams_engine.contracts import Checkpoint, Fence, QuarantinedRow
from streams_engine.errors import FencedOff, TargetConflict

__all__ = ["CheckpointSql", "CheckpointTable", "Records", "StateTables", "fenced_off"]

TRIES = 5

Records = Mapping[str, Mapping[str, Any] | None]
"""Records to put, or to remove where they are None, by key."""


@dataclass(frozen=True, slots=True)
class CheckpointSql:
    """Statements with named parameters, in the drivers' ``pyformat``. A document is JSON text."""

    count_tables: str
    """2 where both tables are there; by ``count_parameters``."""
    count_parameters: Mapping[str, Any]
    load: str
    """(key, document) of a ``stream``."""
    put: str
    """One record: ``stream``, ``key``, ``document``, and ``attempt`` where it is kept."""
    put_first: str
    """An empty record, where there is none: ``stream``, ``key``. It counts what it put."""
    remove: str
    """The records of a ``stream`` whose key is one of ``keys``."""
    find: str
    """(document) by ``stream`` and ``key``; a clause may follow that locks the row."""
    lock: str
    """The clause after ``find`` that keeps other writers out, and waits for them."""
    quarantine: str
    """One row: ``stream``, ``table``, ``reason``, ``code``, ``row``."""


class StateTables(Protocol):
    """Statements for the two state tables on one server. The caller commits, unless stated
    otherwise."""

    sql: CheckpointSql
    place: str
    """Where the tables lie, in words."""
    errors: tuple[type[Exception], ...]
    """What the driver raises where a statement or a connection fails."""

    def translating(self, what: str) -> AbstractContextManager[None]:
        """Turn the driver's errors inside a block into ours."""

    def create(self, connection: Any) -> None:
        """Create the missing tables. Safe if several runs begin at once. May end a transaction."""

    def hold(self, connection: Any) -> str | None:
        """Begin a transaction in which the tables stay until it ends, and return a name by which
        `committed` finds it. None: they are not there."""

    def together(self, connection: Any) -> AbstractContextManager[object]:
        """Send the statements of the block in one round trip, where the protocol can; their
        results, and errors, may be there at its end alone."""

    def claim(self, connection: Any, stream: str, key: str) -> tuple[dict[str, Any] | None, int]:
        """Take over a record; return its document and the new epoch. Waits for a process that is
        writing it.

        After the caller's commit, `commit_claimed` of an earlier epoch commits nothing.
        """

    def commit_claimed(
        self, connection: Any, stream: str, key: str, epoch: int, document: str
    ) -> bool:
        """Put a claimed record and commit. Where it was claimed since, nothing of the transaction
        is committed, and it returns False."""

    def committed(self, connection: Any, stream: str, key: str, attempt: str) -> bool | None:
        """Return how a transaction that put the record ended; None: it has not yet. It is asked
        over another connection."""

    def forget(self, connection: Any, stream: str) -> bool:
        """Delete a stream's records, then drop empty tables; return True if they are dropped."""

    def share(self, connection: Any) -> str:
        """Return the clause that holds a row as it is; it does not wait, and finds no row that
        others have locked."""

    def stream_key(self, stream: str) -> str:
        """Return a stream's name as it fits the column."""

    @property
    def quarantine_name(self) -> str:
        """The qualified name of the quarantine, for people."""

    def row_text(self, connection: Any, row: Mapping[str, Any]) -> str:
        """Return a quarantined row as its column takes it."""


T = TypeVar("T", bound=StateTables)


class CheckpointTable(Generic[T]):
    """Records by stream and key, with their fences.

    Every method leaves the commit to its caller, but for `make`, `commit_claimed` and `forget`.
    """

    def __init__(self, tables: T) -> None:
        self.tables = tables
        self._sql = tables.sql
        self._made = False

    def make(self, connection: Any) -> None:
        """Create the tables, once per process. May end a transaction."""
        if not self._made:
            self.tables.create(connection)
            self._made = True

    def begin(self, connection: Any) -> str:
        """Begin a transaction in which the tables stay: no one can drop them until it ends. Return
        its name."""
        with self.tables.translating("opening the checkpoint"):
            for _ in range(TRIES):
                self.make(connection)
                attempt = self.tables.hold(connection)
                if attempt is not None:
                    return attempt
                self._made = False  # another process, whose stream was the last, dropped them
        raise TargetConflict(
            f"Something keeps dropping the state tables in {self.tables.place}.",
            remedy="Find out what drops them.",
        )

    def forget(self, connection: Any, stream: str) -> None:
        """Delete a stream's records, and drop the tables if they are empty."""
        with self.tables.translating("removing the checkpoint"):
            if self._are_there(connection) and self.tables.forget(connection, stream):
                self._made = False

    def _are_there(self, connection: Any) -> bool:
        with connection.cursor() as cursor:
            cursor.execute(self._sql.count_tables, self._sql.count_parameters)
            return bool(cursor.fetchone()[0] == 2)

    def _given(self, stream: str, **more: Any) -> dict[str, Any]:
        return {"stream": self.tables.stream_key(stream), **more}

    def load(self, connection: Any, stream: str) -> dict[str, dict[str, Any]]:
        """Return the records of a stream by key."""
        with self.tables.translating("reading the checkpoint"), connection.cursor() as cursor:
            if not self._are_there(connection):
                return {}
            cursor.execute(self._sql.load, self._given(stream))
            return {key: json.loads(document) for key, document in cursor.fetchall()}

    def save(self, connection: Any, stream: str, records: Records, attempt: str = "") -> None:
        """Put records, or remove those that are None."""
        kept = [
            self._given(stream, key=key, document=json.dumps(document), attempt=attempt)
            for key, document in records.items()
            if document is not None
        ]
        gone = [key for key, document in records.items() if document is None]
        with self.tables.translating("writing the checkpoint"), connection.cursor() as cursor:
            if len(kept) == 1:
                cursor.execute(self._sql.put, kept[0])  # one round trip less
            elif kept:
                cursor.executemany(self._sql.put, kept)
            if gone:
                cursor.execute(self._sql.remove, self._given(stream, keys=gone))

    def record(
        self,
        connection: Any,
        stream: str,
        checkpoint: Checkpoint,
        quarantined: Sequence[QuarantinedRow],
        attempt: str,
        run: tuple[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Store a chunk's record and its quarantined rows.

        Raises `FencedOff` if ``run`` (key, record) is not the stream's: it was started again. It
        cannot be until the commit. This does not wait for a lock, because a process that changes
        the run's record may wait for this one.
        """
        with (
            self.tables.translating("writing the checkpoint"),
            connection.cursor() as cursor,
        ):
            with self.tables.together(connection):
                self.save(connection, stream, {checkpoint.key: checkpoint.document}, attempt)
                self.quarantine(connection, stream, quarantined)
                if run is not None:
                    query = f"{self._sql.find} {self.tables.share(connection)}"
                    cursor.execute(query, self._given(stream, key=run[0]))
            row = cursor.fetchone() if run is not None else None
        if run is not None and (row is None or json.loads(row[0]) != run[1]):
            raise FencedOff(
                f"Another process has started the stream '{stream}' again; this process no "
                "longer writes.",
                remedy="Run a stream in one process at a time.",
            )

    def quarantine(
        self, connection: Any, stream: str, quarantined: Sequence[QuarantinedRow]
    ) -> None:
        """Write rows into the quarantine."""
        if not quarantined:
            return
        rows = [
            self._given(
                stream,
                table=str(r.table),
                reason=r.reason,
                code=r.code,
                row=self.tables.row_text(connection, dict(r.row)),
            )
            for r in quarantined
        ]
        with self.tables.translating("writing the quarantine"), connection.cursor() as cursor:
            cursor.executemany(self._sql.quarantine, rows)

    def epoch(self, connection: Any, stream: str, key: str) -> int:
        """Return how often a record was claimed; 0 if it does not exist."""
        return int((self._find(connection, stream, key, "") or {}).get("epoch", 0))

    def commit_claimed(
        self,
        connection: Any,
        stream: str,
        key: str,
        epoch: int,
        document: Mapping[str, Any],
    ) -> bool:
        """Store a claimed record and commit. Return False, and roll back, if it was claimed again
        meanwhile."""
        text = json.dumps({**document, "epoch": epoch})
        return self.tables.commit_claimed(connection, stream, key, epoch, text)

    def enter(self, connection: Any, stream: str, fence: Fence) -> None:
        """Lock a chunk's record for the caller's transaction. Waits for a process that is writing
        it.

        Raises `FencedOff` if the record differs from the fence.
        """
        key, before = fence.chunk
        with self.tables.translating("entering a chunk"):
            if before is None:
                # A look for a row that is not there would lock its neighbours' place on MySQL.
                with connection.cursor() as cursor:
                    cursor.execute(self._sql.put_first, self._given(stream, key=key))
                    held = cursor.rowcount == 1
            else:
                held = self._find(connection, stream, key, self._sql.lock) == before
        if not held:
            raise FencedOff(
                f"Another worker has written {key} meanwhile.",
                remedy=("That worker continues; nothing needs to be done."),
            )

    def _find(self, connection: Any, stream: str, key: str, lock: str) -> dict[str, Any] | None:
        with connection.cursor() as cursor:
            cursor.execute(f"{self._sql.find} {lock}", self._given(stream, key=key))
            row = cursor.fetchone()
        return None if row is None else dict(json.loads(row[0]))


def fenced_off(stream: str) -> FencedOff:
    """Return the error of a process whose stream another one took over."""
    return FencedOff(
        f"Another process has taken over the stream '{stream}'; what this process has not "
        "committed is discarded.",
        remedy=(
            "Let that process run the stream, or stop it there. Run a stream in one process "
            "at a time."
        ),
    )
