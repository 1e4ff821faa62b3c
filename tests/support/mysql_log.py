"""A MySQL or MariaDB database that is followed, for the tests of its change source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import pyarrow as pa

from streams_engine.adapters.mysql.binlog.source import MysqlChangeSource
from streams_engine.adapters.mysql.connection import MysqlConnect
from streams_engine.contracts import Scope
from streams_engine.model import (
    ChangeSet,
    Column,
    Extract,
    LogOptions,
    Op,
    Position,
    RowChanges,
    TableSchema,
    TableSubscription,
)
from streams_engine.testing.servers import Server

Reading = Callable[[TableSchema], Sequence[Column]]


class Place:
    """One database on one server: statements go in, what the log says comes out."""

    def __init__(self, server: Server, database: str, **options: Any) -> None:
        self.server = server
        self.database = database
        self.connect = MysqlConnect(
            server.kind, server.host, server.port, server.user, server.password, database
        )
        self.source = MysqlChangeSource(self.connect, LogOptions("test", **options))

    def run(self, *statements: str, session: Sequence[str] = ()) -> None:
        connecting = closing(self.server.connect(self.database))
        with connecting as connection, connection.cursor() as cursor:
            for statement in (*session, *statements):
                cursor.execute(statement)

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        connecting = closing(self.server.connect(self.database))
        with connecting as connection, connection.cursor() as cursor:
            cursor.execute("SET time_zone = '+00:00'")
            cursor.execute(query)
            return list(cursor.fetchall())

    def tracked(
        self, schema: TableSchema, reading: Reading | None = None, since: Position | None = None
    ) -> TableSubscription:
        columns = tuple(reading(schema)) if reading else schema.columns
        identity = self.source.identities([schema])[schema.id]
        return TableSubscription(schema, Extract(schema.id, columns), identity, since)

    def begin(self, reading: Reading | None = None) -> tuple[list[TableSubscription], Position]:
        with self.source.snapshot_at_position(Scope(self.database), 1, resume=False) as view:
            return [self.tracked(t, reading) for t in view.catalog.tables], view.position

    def sets(
        self, tracked: Sequence[TableSubscription], after: Position, wanted: Position | None = None
    ) -> list[ChangeSet]:
        """What came until the log's end."""
        with self.source.changes(tracked, after) as reader:
            return list(self.until(reader, wanted or self.source.end()))

    def until(self, reader: Any, wanted: Position) -> Iterator[ChangeSet]:
        while True:
            found = reader.poll(10)
            assert found is not None, "nothing came for ten seconds"
            yield found
            if found.position is not None and self.source.at_or_after(found.position, wanted):
                return

    def snapshot(self, tracked: TableSubscription) -> pa.Table:
        with self.source.snapshot(Scope(self.database, (tracked.schema.id.name,)), 1) as view:
            (table,) = view.catalog.tables
            batches = [
                batch
                for chunk in view.chunks(table, 10_000)
                for batch in view.read(tracked.extract, chunk)
            ]
        return pa.Table.from_batches(batches, tracked.extract.arrow_schema())


def batches(sets: Sequence[ChangeSet]) -> list[RowChanges]:
    return [part for one in sets for part in one.parts if isinstance(part, RowChanges)]


def inserted(sets: Sequence[ChangeSet], table: str) -> pa.Table:
    found = [b for b in batches(sets) if b.table.name == table]
    assert found, f"no change of {table} came"
    return pa.Table.from_batches([b.after.filter(pa.array(b.op == Op.INSERT)) for b in found])


def applied(
    sets: Sequence[ChangeSet], rows: Sequence[Mapping[str, Any]] = ()
) -> dict[str, list[dict[str, Any]]]:
    """The tables' rows once all was done to them, by table; each row found by its old identity."""
    found: dict[str, list[dict[str, Any]]] = {}
    changes = sorted(
        ((batch.seq[i], number, i, batch) for number, one in enumerate(sets)
         for batch in batches([one]) for i in range(batch.rows)),
        key=lambda change: (change[1], change[0]),
    )  # fmt: skip
    for _, _, i, batch in changes:
        table = found.setdefault(batch.table.name, [dict(row) for row in rows])
        _apply(table, batch, i)
    return found


def _apply(table: list[dict[str, Any]], batch: RowChanges, i: int) -> None:
    op = batch.op[i]
    after = batch.after.slice(i, 1).to_pylist()[0]
    if op == Op.INSERT:
        table.append(after)
        return
    key = batch.identity
    old = batch.before.slice(i, 1).to_pylist()[0] if batch.before else {k: after[k] for k in key}
    place = next(n for n, row in enumerate(table) if all(row[k] == old[k] for k in key))
    if op == Op.DELETE:
        del table[place]
        return
    lacking = {name for name, mask in batch.missing.items() if mask[i]}
    table[place] |= {name: value for name, value in after.items() if name not in lacking}


def as_text(schema: TableSchema) -> list[Column]:
    """Every column as the server's text."""
    return [replace(column, arrow=pa.string()) for column in schema.columns]
