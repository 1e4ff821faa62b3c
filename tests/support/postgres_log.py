"""What tests of PostgreSQL's log share: a followed database, and what is read of it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from streams_engine.adapters.postgres.connection import PostgresConnect
from streams_engine.adapters.postgres.replication.source import PostgresChangeSource
from streams_engine.contracts import Scope
from streams_engine.model import (
    ChangeSet,
    Extract,
    LogOptions,
    Op,
    Position,
    RowChanges,
    SchemaChange,
    TableId,
    TableSubscription,
)
from streams_engine.testing.servers import Server

SECONDS = 120.0

Row = tuple[str, dict[str, Any] | None, dict[str, Any] | None]
"""(operation, old identity or None, new values without those that are missing)"""


class Followed:
    """A database and its change source."""

    def __init__(self, server: Server, database: str, **options: Any) -> None:
        self.server, self.database = server, database
        self.connect = PostgresConnect(
            server.host, server.port, server.user, server.password, database
        )
        self.options = LogOptions(**{"stream": database, **options})
        self.source = PostgresChangeSource(self.connect, self.options)
        self.sql = server.connect(database)

    def run(self, *statements: str) -> None:
        """Each in a transaction of its own."""
        for statement in statements:
            self.sql.execute(statement)

    def tracked(
        self,
        *names: str,
        since: Position | None = None,
        wanted: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> list[TableSubscription]:
        """The tables as they are now; ``wanted`` by column: what else to ask for."""
        found = []
        catalog = self.source.catalog(Scope("public", tuple(names)))
        identities = self.source.identities(catalog.tables)
        for table in catalog.tables:
            columns = tuple(
                replace(c, **(wanted or {}).get(c.name, {"arrow": pa.string()}))
                for c in table.columns
                if c.generated is None
            )
            extract = Extract(table.id, columns)
            found.append(TableSubscription(table, extract, identities[table.id], since))
        return found

    def start(self, *names: str) -> Position:
        """Slot and publication, without a snapshot."""
        return self.source.start([TableId("public", name) for name in names])

    @contextlib.contextmanager
    def reading(self, tracked: Sequence[TableSubscription], after: Position) -> Iterator[Reading]:
        with self.source.changes(tracked, after) as reader:
            yield Reading(self, reader)

    def close(self) -> None:
        self.sql.close()
        self.source.release()


class Reading:
    """A reader, and what was taken of it so far."""

    def __init__(self, followed: Followed, reader: Any) -> None:
        self.followed, self.reader = followed, reader
        self.sets: list[ChangeSet] = []

    def until(self, enough: Callable[[list[ChangeSet]], bool]) -> list[ChangeSet]:
        """Poll until it is enough; what was taken is all of it."""
        deadline = time.monotonic() + SECONDS
        while not enough(self.sets):
            assert time.monotonic() < deadline, f"waited in vain, with {len(self.sets)} sets"
            found = self.reader.poll(0.5)
            if found is not None:
                self.sets.append(found)
        return self.sets

    def caught_up(self) -> list[ChangeSet]:
        """All that was committed before the call."""
        wanted = self.followed.source.end()

        def there(sets: list[ChangeSet]) -> bool:
            positions = [s.position for s in sets if s.position is not None]
            return bool(positions) and self.followed.source.at_or_after(positions[-1], wanted)

        return self.until(there)

    def rows(self, table: str) -> list[Row]:
        """All changes of a table until now, in order."""
        return rows_of(self.caught_up(), table)

    def schema_change(self) -> SchemaChange:
        """The next one; what came before it stays taken."""
        known = len(self.sets)
        sets = self.until(lambda s: len(s) > known and bool(s[-1].parts) and _ends(s[-1]))
        part = sets[-1].parts[-1]
        assert isinstance(part, SchemaChange)
        return part


def _ends(found: ChangeSet) -> bool:
    return isinstance(found.parts[-1], SchemaChange)


def rows_of(sets: Sequence[ChangeSet], table: str) -> list[Row]:
    """The row changes of a table."""
    found: list[Row] = []
    for one in sets:
        for part in one.parts:
            if isinstance(part, RowChanges) and part.table.name == table:
                found += _rows(part)
    return found


def _rows(batch: RowChanges) -> list[Row]:
    after = batch.after.to_pylist()
    before = batch.before.to_pylist() if batch.before is not None else [None] * batch.rows
    rows: list[Row] = []
    for i, op in enumerate(batch.op.tolist()):
        new = {k: v for k, v in after[i].items() if not _missing(batch, k, i)}
        old = None if op == Op.INSERT else before[i]
        rows.append((Op(op).name, old, None if op == Op.DELETE else new))
    return rows


def _missing(batch: RowChanges, column: str, index: int) -> bool:
    mask = batch.missing.get(column)
    return mask is not None and bool(mask[index])
