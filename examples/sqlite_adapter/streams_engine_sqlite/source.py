"""Tables of a SQLite file as a source. The view is that of one connection: there is one reader."""

from __future__ import annotations

import contextlib
import difflib
import itertools
import sqlite3
import threading
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from streams_engine.contracts import Scope
from streams_engine.errors import ConfigError, NotFound
from streams_engine.model import (
    Catalog,
    Chunk,
    Column,
    Dialect,
    Extract,
    Filter,
    Finding,
    Index,
    IndexPart,
    TableId,
    TableSchema,
)
from streams_engine.schema.types.arrow_texts import texts_of
from streams_engine.schema.types.canonical import CanonicalRead
from streams_engine.schema.types.files import files_type
from streams_engine_sqlite.storage import arrow_type, column_of, connect, quoted

__all__ = ["SqliteCanonical", "SqliteSource"]

CONDITIONS = {
    **{op: f"{{0}} {op} ?" for op in ("=", "!=", "<", "<=", ">", ">=", "LIKE", "NOT LIKE")},
    "BETWEEN": "{0} BETWEEN ? AND ?",
    "CONTAINS": "instr({0}, ?) > 0",
    "NOT_CONTAINS": "instr({0}, ?) = 0",
    "STARTS_WITH": "instr({0}, ?) = 1",
    "IS NULL": "{0} IS NULL",
    "IS NOT NULL": "{0} IS NOT NULL",
}
BATCH_ROWS = 10_000
"""Rows of a batch: the pipeline cuts and gathers them as it needs."""

OWN = "_streams_engine_"
"""What the names of the sink's own tables begin with."""


def condition(chosen: Filter) -> tuple[str, Sequence[Any]]:
    """A filter as SQL, and the values of its places."""
    column, value = quoted(chosen.column), chosen.value
    if chosen.operator in ("IN", "NOT IN"):
        places = ", ".join("?" * len(value))
        return f"{column} IS NOT NULL AND {column} {chosen.operator} ({places})", value
    if chosen.operator == "ENDS_WITH":
        return f"substr({column}, -length(?)) = ?", [value, value]
    values = {"IS NULL": [], "IS NOT NULL": [], "BETWEEN": value}.get(chosen.operator, [value])
    return CONDITIONS[chosen.operator].format(column), values


class SqliteSource:
    """The tables of one file."""

    dialect = Dialect.FILES

    def __init__(self, path: str | Path) -> None:
        self._path = str(path)
        self._watch: sqlite3.Connection | None = None
        self._lock = threading.Lock()

    def _changes(self) -> int:
        """A number that is another one after each commit of somebody else."""
        with self._lock:
            self._watch = self._watch or connect(self._path)
            found: int = self._watch.execute("PRAGMA data_version").fetchone()[0]
            return found

    def _position(self, connection: sqlite3.Connection) -> dict[str, Any]:
        """``pos`` says in other processes too whether the file changed; not with a WAL."""
        position = {"system": self._path, "changes": self._changes()}
        if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            with Path(self._path).open("rb") as file:
                position["pos"] = int.from_bytes(file.read(28)[24:], "big")
        return position

    def check(self) -> Sequence[Finding]:
        """Raise `NotFound` where there is no file: SQLite would make one."""
        if not Path(self._path).exists():
            raise NotFound(f"There is no file {self._path}.")
        self._changes()
        return []

    def catalog(self, scope: Scope) -> Catalog:
        """The tables named, or all of them."""
        with contextlib.closing(connect(self._path)) as connection:
            return self._describe(connection, scope)

    def _describe(self, connection: sqlite3.Connection, scope: Scope) -> Catalog:
        if scope.queries:
            raise ConfigError("This source does not run queries.")
        rows = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        there = [name for (name,) in rows if not name.startswith(("sqlite_", OWN))]
        for name in scope.tables or ():
            if name not in there:
                near = ", ".join(difflib.get_close_matches(name, there))
                raise NotFound(f"There is no table {name}.", remedy=f"Did you mean {near}?")
        names = there if scope.tables is None else scope.tables
        return Catalog(self.dialect, tuple(described(connection, name) for name in names))

    @contextlib.contextmanager
    def snapshot(self, scope: Scope, readers: int) -> Iterator[SqliteSnapshot]:
        """A read transaction: later commits are not seen."""
        with contextlib.closing(connect(self._path)) as connection:
            position = self._position(connection)
            connection.execute("BEGIN")
            catalog = self._describe(connection, scope)  # reading begins: the view is fixed
            yield SqliteSnapshot(connection, catalog, position)

    def close(self) -> None:
        """Release the connection that watches for changes."""
        with self._lock:
            if self._watch:
                self._watch.close()
            self._watch = None


def described(connection: sqlite3.Connection, name: str) -> TableSchema:
    """A table's columns and key."""
    columns, key = [], []
    for _, column, text, required, _, part in connection.execute(
        f"PRAGMA table_info({quoted(name)})"
    ):
        arrow = arrow_type(text)
        columns.append(Column(column, files_type(arrow), arrow, nullable=not required))
        if part:
            key.append((part, column))
    parts = tuple(IndexPart(column) for _, column in sorted(key))
    primary = Index("primary", parts, unique=True, primary=True) if parts else None
    return TableSchema(TableId("", name), Dialect.FILES, tuple(columns), primary)


class SqliteSnapshot:
    """One read transaction."""

    readers = 1
    findings: Sequence[Finding] = ()

    def __init__(
        self, connection: sqlite3.Connection, catalog: Catalog, position: dict[str, Any]
    ) -> None:
        self._connection = connection
        self.catalog = catalog
        self.position = position

    def chunks(self, table: TableSchema, rows: int) -> Sequence[Chunk]:
        """Cut after every so many rows; a bound is the last rowid of a chunk."""
        found = self._connection.execute(
            f"SELECT rowid FROM {quoted(table.id.name)} ORDER BY rowid"
        )
        ends = [None, *itertools.islice(found, rows - 1, None, rows), None]
        return [
            Chunk(table.id, number, key=("rowid",), low=low, high=high, ordered=True)
            for number, (low, high) in enumerate(itertools.pairwise(ends))
        ]

    def read(self, extract: Extract, chunk: Chunk) -> Generator[pa.RecordBatch, None, None]:
        """Yield the chunk's rows by rowid."""
        tests: list[tuple[str, Sequence[Any]]] = []
        if chunk.low is not None:
            tests.append(("rowid > ?", chunk.low))
        if chunk.high is not None:
            tests.append(("rowid <= ?", chunk.high))
        tests += [condition(chosen) for chosen in extract.filters]
        order = [f"{quoted(s.column)} {'DESC' if s.descending else 'ASC'}" for s in extract.sorts]
        query = (
            f"SELECT {', '.join(quoted(column.name) for column in extract.columns)}"
            f" FROM {quoted(extract.table.name)}"
            f" WHERE {' AND '.join(text for text, _ in tests) or 'TRUE'}"
            f" ORDER BY {', '.join([*order, 'rowid'])} LIMIT ? OFFSET ?"
        )
        limit = -1 if extract.limit is None else extract.limit
        values = [*itertools.chain(*(of for _, of in tests)), limit, chunk.skip]
        schema = extract.arrow_schema()
        with contextlib.closing(self._connection.execute(query, values)) as cursor:
            while found := cursor.fetchmany(BATCH_ROWS):
                columns = zip(*found, strict=True)
                arrays = [column_of(c, kind) for c, kind in zip(columns, schema.types, strict=True)]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)


class SqliteCanonical:
    """A file read as texts, for `verify`."""

    def __init__(self, path: str) -> None:
        self._source = SqliteSource(path)

    def __enter__(self) -> SqliteCanonical:
        return self

    def __exit__(self, *_: object) -> None:
        self._source.close()

    @contextlib.contextmanager
    def rows(self, read: CanonicalRead) -> Iterator[Iterator[tuple[str | None, ...]]]:
        """Every row of a table as texts."""
        with self._source.snapshot(Scope(tables=(read.table.name,)), 1) as view:
            (table,) = view.catalog.tables
            columns = {column.name: column for column in table.columns}
            extract = Extract(table.id, tuple(columns[c.name] for c in read.columns), read.filters)
            batches = view.read(extract, Chunk(table.id))
            yield (row for batch in batches for row in texts_of(batch, read.columns))
