"""A MySQL or MariaDB server's structure, read from information_schema, set by set."""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from streams_engine.adapters.mysql import catalog_queries as queries
from streams_engine.adapters.mysql.catalog_types import default_of, native_type
from streams_engine.adapters.mysql.connect import is_mariadb, translating
from streams_engine.errors import NotFound
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
    LeftBehind,
    TableId,
    TableSchema,
)
from streams_engine.protocols import Scope
from streams_engine.schema.mysql import arrow_type

__all__ = ["TRANSACTIONAL", "read_catalog", "tables_in_scope"]

SYSTEM = ("mysql", "information_schema", "performance_schema", "sys")
TRANSACTIONAL = {"InnoDB", "ROCKSDB", "TokuDB"}


def tables_in_scope(connection: Any, scope: Scope) -> list[TableId]:
    """The names of the tables meant. Raises `NotFound` naming near ones."""
    rows = ask(connection, queries.TABLES, schema=scope.schema)
    return [TableId(row[0], row[1]) for row in _chosen(rows, scope)]


def read_catalog(connection: Any, scope: Scope) -> Catalog:
    """Describe the tables of a scope. Raises `NotFound` for a table that is not there."""
    with translating("reading the catalog"):
        return _Reader(connection, scope).read()


def ask(connection: Any, query: str, *, schema: str | None) -> list[Any]:
    """Rows of a query about one database, or about all user databases."""
    place = "= %(schema)s" if schema is not None else f"NOT IN {SYSTEM}"
    with connection.cursor() as cursor:
        cursor.execute(query.replace("{place}", place), {"schema": schema})
        return list(cursor.fetchall())


def _chosen(rows: list[Any], scope: Scope) -> list[Any]:
    if scope.schema is not None and not rows and scope.tables is None:
        return []
    if scope.tables is None:
        return rows
    chosen = []
    for name in scope.tables:
        found = [r for r in rows if name in (r[1], f"{r[0]}.{r[1]}")]
        if not found:
            known = sorted({r[1] for r in rows})
            near = ", ".join(difflib.get_close_matches(name, known, 3)) or "none"
            raise NotFound(
                f"The source has no table '{name}'.",
                remedy=f"Names that come near: {near}.",
                table=name,
            )
        chosen += [r for r in found if r not in chosen]
    return chosen


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

    def _ask(self, query: str) -> list[Any]:
        return ask(self._connection, query, schema=self._scope.schema)

    def read(self) -> Catalog:
        if self._scope.schema is not None:
            self._demand_database(self._scope.schema)
        chosen = _chosen(self._ask(queries.TABLES), self._scope)
        self.columns = _group(self._ask(queries.COLUMNS[self._maria]))
        self.indexes = _group(self._ask(queries.INDEXES[self._maria]))
        self.foreign_keys = _group(self._ask(queries.FOREIGN_KEYS))
        self.checks = _group(self._ask(queries.CHECKS[self._maria]))
        self.partitions = _group(self._ask(queries.PARTITIONS))
        return Catalog(
            Dialect.MYSQL,
            tuple(self._table(row) for row in chosen),
            left_behind=tuple(
                LeftBehind(kind, f"{schema}.{name}")
                for query in queries.LEFT_BEHIND
                for kind, schema, name in self._ask(query)
            ),
        )

    def _demand_database(self, name: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(queries.DATABASES)
            known = [row[0] for row in cursor.fetchall()]
        if name not in known and name.lower() not in map(str.lower, known):
            near = ", ".join(difflib.get_close_matches(name, known, 3)) or "none"
            raise NotFound(
                f"The source has no database '{name}', or the account may not see it.",
                remedy=f"Names that come near: {near}.",
            )

    def _table(self, row: Any) -> TableSchema:
        table_id = TableId(row[0], row[1])
        notes = []
        parts = self.partitions[table_id]
        if parts:
            notes.append(
                f"It is partitioned by {parts[0][2]} into {len(parts)} partitions; on the target "
                "it is one table."
            )
        if row[6] == "SYSTEM VERSIONED":
            notes.append("It is system-versioned; only its current rows are moved.")
        columns = tuple(
            self._column(c, row[5])
            for c in self.columns[table_id]
            if "STORED GENERATED INVISIBLE ROW" not in c[6]
        )
        json_checks = {c.name for c in columns if c.type.name == "json"}
        indexes = self._indexes(table_id)
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
            source_notes=tuple(notes),
        )

    def _column(self, row: Any, next_value: int | None) -> Column:
        (_, _, name, data_type, column_type, nullable, extra, default, charset, collation, comment,
         generation, json_check) = row  # fmt: skip
        native = native_type(data_type, column_type)
        if self._maria and data_type == "longtext" and json_check:
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
            generated=Expression(unescape(generation), Dialect.MYSQL) if generation else None,
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
                expression=Expression(unescape(row[8]), Dialect.MYSQL) if row[8] else None,
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
        if self._maria and is_json and is_json[1] in json_columns:
            return None
        if enforced == "NO":
            return None
        return Check(name, Expression(unescape(clause), Dialect.MYSQL))


def unescape(expression: str) -> str:
    r"""An expression of information_schema, where MySQL writes quotes as ``\'``."""
    return expression.replace("\\'", "'")
