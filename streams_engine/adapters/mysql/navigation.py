"""What a MySQL or MariaDB server holds beside tables, how large it is, what its columns hold."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from streams_engine.adapters.mysql.catalog.reader import ask
from streams_engine.adapters.mysql.connection import MysqlConnect, is_mariadb, translating
from streams_engine.adapters.mysql.snapshot.select import name, quote
from streams_engine.contracts import ObjectKind
from streams_engine.model import Column, TableId, TableSchema

__all__ = ["MysqlNavigator"]

TRIGGERS = """
SELECT trigger_name, trigger_schema, event_object_table, action_timing, event_manipulation,
       action_statement
FROM information_schema.triggers WHERE trigger_schema {place}
ORDER BY 2, 3, action_order, 1
"""

ROUTINES = """
SELECT r.routine_name, r.routine_schema, LOWER(r.routine_type), 'SQL',
       (SELECT GROUP_CONCAT(CONCAT_WS(' ', p.parameter_mode, p.parameter_name, p.dtd_identifier)
                            ORDER BY p.ordinal_position SEPARATOR ', ')
        FROM information_schema.parameters p
        WHERE p.specific_schema = r.routine_schema AND p.specific_name = r.specific_name
          AND p.routine_type = r.routine_type AND p.ordinal_position > 0),
       r.dtd_identifier, r.routine_definition
FROM information_schema.routines r WHERE r.routine_schema {place}
ORDER BY 2, 1, 3
"""

SEQUENCES = """
SELECT table_name, table_schema FROM information_schema.tables
WHERE table_type = 'SEQUENCE' AND table_schema {place} ORDER BY 2, 1
"""

SIZES = """
SELECT table_name, table_schema, table_rows, COALESCE(data_length, 0) + COALESCE(index_length, 0),
       COALESCE(data_length, 0), COALESCE(index_length, 0)
FROM information_schema.tables
WHERE table_schema {place} AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED')
ORDER BY 4 DESC, 2, 1
"""

COUNTS = """
SELECT (SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name {place}),
       (SELECT COUNT(*) FROM information_schema.tables WHERE table_schema {place}
        AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED')),
       (SELECT COUNT(*) FROM information_schema.views WHERE table_schema {place}),
       (SELECT COUNT(*) FROM information_schema.triggers WHERE trigger_schema {place}),
       (SELECT COUNT(*) FROM information_schema.routines WHERE routine_schema {place}),
       (SELECT COALESCE(SUM(data_length + index_length), 0) FROM information_schema.tables
        WHERE table_schema {place})
"""

KEYS: Mapping[str, tuple[str, ...]] = {
    "trigger": ("name", "schema", "table", "timing", "events", "definition"),
    "routine": ("name", "schema", "kind", "language", "arguments", "returns", "definition"),
    "size": ("name", "schema", "rows", "bytes", "dataBytes", "indexBytes"),
    "counts": ("schemas", "tables", "views", "triggers", "routines", "bytes"),
}

UNORDERED = {"json", "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring",
             "multipolygon", "geometrycollection", "vector"}  # fmt: skip
"""Types without an order that means anything."""


class MysqlNavigator:
    """A look at one server."""

    def __init__(self, connect: MysqlConnect) -> None:
        self._connect = connect

    def objects(self, kind: ObjectKind, schema: str | None) -> list[dict[str, Any]]:
        """Return the sequences (of MariaDB), triggers or routines."""
        with self._asking(f"listing {kind}s") as connection:
            if kind == "sequence":
                return _sequences(connection, schema)
            query = TRIGGERS if kind == "trigger" else ROUTINES
            rows = ask(connection, query, schema=schema)
        documents = [dict(zip(KEYS[kind], row, strict=True)) for row in rows]
        if kind == "routine":
            return [one | {"arguments": one["arguments"] or ""} for one in documents]
        return [one | {"events": [one["events"]], "enabled": True} for one in documents]

    def sizes(self, schema: str | None) -> list[dict[str, Any]]:
        """Return the sizes of tables as the storage engine estimates them."""
        with self._asking("reading the sizes") as connection:
            rows = ask(connection, SIZES, schema=schema)
        return [dict(zip(KEYS["size"], map(_whole, row), strict=True)) for row in rows]

    def overview(self, schema: str | None) -> dict[str, Any]:
        """Return version, character set, size and what there is."""
        with self._asking("reading the catalog") as connection:
            maria = is_mariadb(connection)
            (counts,) = ask(connection, COUNTS, schema=schema)
            ((version, charset),) = ask(
                connection, "SELECT VERSION(), @@character_set_database", schema=None
            )
            sequences = len(_sequences(connection, schema))
        return {
            "type": "mariadb" if maria else "mysql",
            "version": version,
            "database": schema,
            "encoding": charset,
            **dict(zip(KEYS["counts"], map(_whole, counts), strict=True)),
            "sequences": sequences,
        }

    def summary(self, table: TableSchema, columns: Sequence[Column]) -> list[dict[str, Any]]:
        """Let the server count, and find the least and the greatest value."""
        terms = ["COUNT(*)"]
        for column in columns:
            quoted = quote(column.name)
            terms += [f"COUNT({quoted})", f"COUNT(DISTINCT {quoted})"]
            terms += [end.format(quoted) for end in _ends(column)]
        with self._asking(f"summing up {table.id}") as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT {', '.join(terms)} FROM {name(table.id)}")
            row = cursor.fetchone()
        return [
            {
                "name": column.name,
                "type": column.type.text,
                "rows": row[0],
                "nulls": row[0] - row[1 + 4 * number],
                "distinct": row[2 + 4 * number],
                "min": row[3 + 4 * number],
                "max": row[4 + 4 * number],
            }
            for number, column in enumerate(columns)
        ]

    @contextlib.contextmanager
    def _asking(self, what: str) -> Iterator[Any]:
        with contextlib.closing(self._connect.open()) as connection, translating(what):
            yield connection


def _ends(column: Column) -> tuple[str, str]:
    """Return the terms of the least and the greatest value. A FLOAT would be printed with six
    digits: it is made a double."""
    if column.type.name in UNORDERED:
        return "NULL", "NULL"
    return ("MIN({}) + 0e0", "MAX({}) + 0e0") if column.type.name == "float" else (
        "MIN({})", "MAX({})",
    )  # fmt: skip


def _whole(value: Any) -> Any:
    """Return a whole number as one: the server sums to decimals."""
    return int(value) if value is not None and not isinstance(value, str) else value


def _sequences(connection: Any, schema: str | None) -> list[dict[str, Any]]:
    """Return MariaDB's sequences; each is a table of one row. MySQL has none."""
    if not is_mariadb(connection):
        return []
    sequences = []
    for sequence, database in ask(connection, SEQUENCES, schema=schema):
        query = (
            "SELECT start_value, increment, minimum_value, maximum_value, cycle_option,"
            f" next_not_cached_value FROM {name(TableId(database, sequence))}"
        )
        ((start, increment, least, most, cycles, following),) = ask(connection, query, schema=None)
        sequences.append(
            {
                "name": sequence, "schema": database, "type": "bigint", "start": start,
                "increment": increment, "min": least, "max": most, "cycle": bool(cycles),
                "lastValue": None if following == start else following - increment,
                "ownedBy": None,
            }
        )  # fmt: skip
    return sequences
