"""A MySQL or MariaDB server's structure, read from information_schema, set by set."""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from streams_engine.adapters.mysql.catalog import queries
from streams_engine.adapters.mysql.catalog.types import default_of, native_type, unescape
from streams_engine.adapters.mysql.connection import is_mariadb, translating
from streams_engine.adapters.mysql.sink.checkpoint_table import STATE_TABLES
from streams_engine.adapters.mysql.snapshot.select import name
from streams_engine.contracts import Scope
from streams_engine.errors import NotFound, PermissionDenied
from streams_engine.model import (
    Catalog,
    Check,
    Column,
    Dialect,
    Expression,
    ForeignKey,
    Identity,
    Index,
    IndexPart,
    SkippedObject,
    TableId,
    TableSchema,
)
from streams_engine.schema.types.mysql import arrow_type

__all__ = ["SECONDARY", "TRANSACTIONAL", "describe", "read_catalog", "tables_in_scope"]

SYSTEM = ("mysql", "information_schema", "performance_schema", "sys")
SECONDARY = "Its secondary engine, and what is NOT SECONDARY, is not carried."
TRANSACTIONAL = {"InnoDB", "ROCKSDB", "TokuDB"}


def tables_in_scope(connection: Any, scope: Scope) -> list[TableId]:
    """Return the tables in scope. Raises `NotFound` that lists similar names."""
    with translating("reading the catalog"):
        reader = _Reader(connection, scope)
        return [TableId(row[0], row[1]) for row in reader.chosen()]


def read_catalog(connection: Any, scope: Scope, tables: Sequence[TableId] | None = None) -> Catalog:
    """Describe the tables of a scope, or only those of it that ``tables`` names.

    Raises `NotFound` for a database or a table that is not there.
    """
    with translating("reading the catalog"):
        return _Reader(connection, scope).read(tables)


def describe(connection: Any, tables: Sequence[TableId]) -> Catalog:
    """Describe those of the tables that exist, and return which of their databases exist."""
    with connection.cursor() as cursor:
        cursor.execute(queries.DATABASES)
        there = frozenset(row[0] for row in cursor.fetchall())
    described: list[TableSchema] = []
    for schema in sorted({table.schema for table in tables} & there):
        reader = _Reader(connection, Scope(schema))
        described += reader.read([t for t in tables if t.schema == schema]).tables
    return Catalog(Dialect.MYSQL, tuple(described), schemas=there)


def ask(connection: Any, query: str, *, schema: str | None) -> list[Any]:
    """Return the rows of a query about one database, or about all user databases."""
    place = "= %(schema)s" if schema is not None else f"NOT IN {SYSTEM}"
    with connection.cursor() as cursor:
        cursor.execute(query.replace("{place}", place), {"schema": schema})
        return list(cursor.fetchall())


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, sorted(set(known)), 3)
    return f"Similar names: {', '.join(near) or 'none'}."


def _group(rows: Iterable[Any]) -> dict[TableId, list[Any]]:
    grouped: dict[TableId, list[Any]] = defaultdict(list)
    for row in rows:
        grouped[TableId(row[0], row[1])].append(row)
    return grouped


class _Reader:
    def __init__(self, connection: Any, scope: Scope) -> None:
        self._connection = connection
        self._scope = scope
        self._maria = is_mariadb(connection)
        with connection.cursor() as cursor:
            cursor.execute("SELECT @@lower_case_table_names")
            # 0: names are told apart by case. How a comparison in information_schema
            # takes them depends on version and flavour, so names are compared here.
            self._fold: Callable[[str], str] = str if not cursor.fetchone()[0] else str.lower

    def _ask(self, query: str) -> list[Any]:
        return ask(self._connection, query, schema=self._scope.schema)

    def chosen(self) -> list[Any]:
        """Return the rows of the tables in scope, each once."""
        if self._scope.schema is not None:
            self._demand_database(self._scope.schema)
        rows = self._ask(queries.TABLES)
        if self._scope.tables is None:
            # The checkpoints of streams into this server are no data of its user's.
            return [row for row in rows if row[1] not in STATE_TABLES]
        rows_in_scope = []
        for wanted in map(self._fold, self._scope.tables):
            names = [(self._fold(row[1]), self._fold(f"{row[0]}.{row[1]}")) for row in rows]
            matching = [row for row, name in zip(rows, names, strict=True) if wanted in name]
            if not matching:
                raise NotFound(
                    f"The source has no table '{wanted}'.",
                    remedy=_near(wanted, (row[1] for row in rows)),
                    table=wanted,
                )
            rows_in_scope += [row for row in matching if row not in rows_in_scope]
        return rows_in_scope

    def read(self, tables: Sequence[TableId] | None) -> Catalog:
        chosen = self.chosen()
        if tables is not None:
            wanted = set(tables)
            chosen = [row for row in chosen if TableId(row[0], row[1]) in wanted]
        self.columns = _group(self._ask(queries.COLUMNS))
        self.indexes = _group(self._ask(queries.INDEXES[self._maria]))
        self.foreign_keys = _group(self._ask(queries.FOREIGN_KEYS))
        self.checks = _group(self._ask(queries.CHECKS[self._maria]))
        self.partitions = _group(self._ask(queries.PARTITIONS))
        if tables is None:  # those that are given are locked
            chosen = self._still_there(chosen)
        return Catalog(
            Dialect.MYSQL,
            tuple(self._table(row) for row in chosen),
            mariadb=self._maria,
            skipped=tuple(
                SkippedObject(kind, f"{schema}.{name}")
                for query in queries.LEFT_BEHIND
                for kind, schema, name in self._ask(query)
            ),
        )

    def _still_there(self, chosen: list[Any]) -> list[Any]:
        """Leave out tables that were dropped while the catalog was read, because their description
        is incomplete.

        Raises `NotFound` if the scope names one.
        """
        now = {(row[0], row[1]) for row in self._ask(queries.TABLES)}
        now -= {row[:2] for row in chosen if row[:2] in now and self._was_away(TableId(*row[:2]))}
        missing = [f"{row[0]}.{row[1]}" for row in chosen if (row[0], row[1]) not in now]
        if missing and self._scope.tables is not None:
            raise NotFound(
                f"The tables {', '.join(missing)} were dropped or renamed while the catalog was "
                "read.",
                remedy="Start again. If the tables are gone, remove them from the configuration.",
                tables=missing,
            )
        return [row for row in chosen if (row[0], row[1]) in now]

    def _was_away(self, table: TableId) -> bool:
        """Return True if a table has no columns and the account's privileges are not the reason: it
        was dropped, and may have been created again since."""
        if self.columns[table]:
            return False
        try:
            with (
                translating(f"reading the columns of {table}"),
                self._connection.cursor() as cursor,
            ):
                cursor.execute(f"SHOW COLUMNS FROM {name(table)}")
        except NotFound:
            return True
        except PermissionDenied:
            return False
        return True

    def _demand_database(self, name: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(queries.DATABASES)
            known = [row[0] for row in cursor.fetchall()]
        if self._fold(name) not in map(self._fold, known):
            raise NotFound(
                f"The source has no database '{name}', or the account cannot see it.",
                remedy=_near(name, known),
            )

    def _table(self, row: Any) -> TableSchema:
        table_id = TableId(row[0], row[1])
        notes = []
        parts = self.partitions[table_id]
        if parts:
            notes.append(
                f"The table is partitioned by {parts[0][2]} into {len(parts)} partitions; on the "
                "target it is one table."
            )
        if "SECONDARY_ENGINE" in (row[9] or ""):
            notes.append(SECONDARY)
        if row[6] == "SYSTEM VERSIONED":
            notes.append("The table is system-versioned; only its current rows are moved.")
        json_checks = self._json_columns(table_id)
        columns = tuple(
            self._column(c, row[5], c[2] in json_checks)
            for c in self.columns[table_id]
            # System versioning's own columns, where they are not declared.
            if not re.search(r"GENERATED.* ROW (START|END)", c[6] or "", re.I)
        )
        versioned = row[6] == "SYSTEM VERSIONED"
        ended = {c[2] for c in self.columns[table_id] if (c[11] or "").upper() == "ROW END"}
        indexes = self._indexes(table_id)
        if versioned and ended:
            indexes = [_of_current_rows(index, ended) for index in indexes]
        return TableSchema(
            id=table_id,
            dialect=Dialect.MYSQL,
            columns=columns,
            primary_key=next((i for i in indexes if i.primary), None),
            indexes=tuple(i for i in indexes if not i.primary),
            foreign_keys=self._foreign_keys(table_id),
            checks=tuple(
                check
                for c in self.checks[table_id]
                if (check := self._check(c, json_checks)) is not None
            ),
            comment=row[4] or None,
            estimated_rows=row[3],
            bytes=row[7],
            engine=row[2],
            options=(f"COLLATE={row[8]}",) if row[8] else (),
            source_notes=tuple(notes),
            versioned=versioned,
        )

    def _json_columns(self, table_id: TableId) -> set[str]:
        """Return the columns of type JSON in MariaDB: LONGTEXT with a check that the server
        created."""
        if not self._maria:
            return set()
        matches = (re.fullmatch(r"json_valid\(`(.+)`\)", c[3]) for c in self.checks[table_id])
        texts = {c[2] for c in self.columns[table_id] if c[3] == "longtext"}
        return {m[1].replace("``", "`") for m in matches if m} & texts

    def _expression(self, text: str) -> Expression:
        return Expression(text if self._maria else unescape(text), Dialect.MYSQL)

    def _column(self, row: Any, next_value: int | None, is_json: bool) -> Column:
        (_, _, name, data_type, column_type, nullable, extra, default, charset, collation, comment,
         generation) = row  # fmt: skip
        native = native_type(data_type, column_type)
        if is_json:
            native = native_type("json", "json")
        words = (extra or "").lower()
        on_update = re.search(r"on update (current_timestamp(?:\(\d*\))?)", words)
        return Column(
            name=name,
            type=native,
            arrow=arrow_type(native),
            nullable=nullable == "YES",
            default=None
            if generation
            else default_of(default, native, words, self._maria, nullable == "YES"),
            identity=Identity(next_value=next_value) if "auto_increment" in words else None,
            generated=self._expression(generation) if generation else None,
            stored="virtual" not in words,
            on_update=Expression(on_update[1], Dialect.MYSQL) if on_update else None,
            charset=charset,
            collation=collation,
            comment=comment or None,
            invisible="invisible" in words,
        )

    def _indexes(self, table_id: TableId) -> list[Index]:
        grouped: dict[str, list[Any]] = defaultdict(list)
        for row in self.indexes[table_id]:
            grouped[row[2]].append(row)
        return [self._index(name, rows) for name, rows in grouped.items()]

    def _index(self, name: str, rows: list[Any]) -> Index:
        first = rows[0]
        method = first[7].lower()
        parts = tuple(
            IndexPart(
                column=row[4],
                expression=self._expression(row[8]) if row[8] else None,
                descending=row[5] == "D",
                length=row[6] if method not in {"spatial", "fulltext"} else None,
            )
            for row in rows
        )
        return Index(
            name=name,
            parts=parts,
            unique=not first[3],
            primary=name == "PRIMARY",
            constraint=name == "PRIMARY",
            method=method,
            comment=first[9] or None,
            visible=first[10] != "NO",
        )

    def _foreign_keys(self, table_id: TableId) -> tuple[ForeignKey, ...]:
        grouped: dict[str, list[Any]] = defaultdict(list)
        for row in self.foreign_keys[table_id]:
            grouped[row[2]].append(row)
        return tuple(
            ForeignKey(
                name=name,
                columns=tuple(row[3] for row in rows),
                referenced=TableId(rows[0][4], rows[0][5]),
                referenced_columns=tuple(row[6] for row in rows),
                on_update=rows[0][7],
                on_delete=rows[0][8],
            )
            for name, rows in grouped.items()
        )

    def _check(self, row: Any, json_columns: set[str]) -> Check | None:
        _, _, name, clause, enforced = row
        is_json = re.fullmatch(r"json_valid\(`(.+)`\)", clause)
        if is_json and is_json[1].replace("``", "`") in json_columns:
            return None
        return Check(name, self._expression(clause), enforced=enforced != "NO")


def _of_current_rows(index: Index, ended: set[str]) -> Index:
    """Return the index without ROW END, which the server appends to each unique key; current rows
    are unique without it."""
    parts = tuple(part for part in index.parts if part.column not in ended)
    return replace(index, parts=parts) if index.unique and parts else index
