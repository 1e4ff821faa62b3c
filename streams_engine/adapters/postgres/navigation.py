"""What a PostgreSQL database holds beside tables, how large it is, and what its columns hold."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psycopg
from psycopg import sql

from streams_engine.adapters.postgres.connection import PostgresConnect, translating
from streams_engine.adapters.postgres.snapshot.select import name
from streams_engine.adapters.postgres.statements import plain_values
from streams_engine.contracts import ObjectKind
from streams_engine.errors import require
from streams_engine.model import Column, TableSchema

__all__ = ["PostgresNavigator"]

OURS = """
n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND (%(schema)s::text IS NULL OR n.nspname = %(schema)s)
"""
NO_EXTENSION = """
NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = '{classid}'::regclass
            AND e.objid = {oid} AND e.deptype = 'e')
"""

SEQUENCES = f"""
SELECT c.relname, n.nspname, pg_catalog.format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement,
       s.seqmin, s.seqmax, s.seqcycle,
       CASE WHEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT, USAGE')
            THEN pg_catalog.pg_sequence_last_value(c.oid) END,
       (SELECT pg_catalog.quote_ident(tn.nspname) || '.' || pg_catalog.quote_ident(t.relname)
               || '.' || pg_catalog.quote_ident(a.attname)
        FROM pg_catalog.pg_depend d
        JOIN pg_catalog.pg_class t ON t.oid = d.refobjid
        JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
        JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
          AND d.refobjsubid > 0 LIMIT 1)
FROM pg_catalog.pg_sequence s
JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE {OURS} AND {NO_EXTENSION.format(classid="pg_class", oid="c.oid")}
ORDER BY n.nspname, c.relname
"""

TRIGGERS = f"""
SELECT g.tgname, n.nspname, c.relname,
       CASE WHEN g.tgtype & 2 <> 0 THEN 'BEFORE' WHEN g.tgtype & 64 <> 0 THEN 'INSTEAD OF'
            ELSE 'AFTER' END,
       ARRAY(SELECT event FROM (VALUES (4, 'INSERT'), (16, 'UPDATE'), (8, 'DELETE'),
                                       (32, 'TRUNCATE')) x(bit, event) WHERE g.tgtype & bit <> 0),
       g.tgenabled <> 'D', pg_catalog.pg_get_triggerdef(g.oid)
FROM pg_catalog.pg_trigger g
JOIN pg_catalog.pg_class c ON c.oid = g.tgrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE NOT g.tgisinternal AND {OURS}
ORDER BY n.nspname, c.relname, g.tgname
"""

ROUTINES = f"""
SELECT p.proname, n.nspname,
       CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' WHEN 'w' THEN 'window'
            ELSE 'function' END,
       l.lanname, pg_catalog.pg_get_function_arguments(p.oid),
       pg_catalog.pg_get_function_result(p.oid),
       CASE WHEN p.prokind IN ('f', 'p') THEN pg_catalog.pg_get_functiondef(p.oid) END
FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
JOIN pg_catalog.pg_language l ON l.oid = p.prolang
WHERE {OURS} AND {NO_EXTENSION.format(classid="pg_proc", oid="p.oid")}
ORDER BY n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)
"""

OBJECTS: Mapping[ObjectKind, tuple[str, tuple[str, ...]]] = {
    "sequence": (SEQUENCES, ("name", "schema", "type", "start", "increment", "min", "max", "cycle",
                             "lastValue", "ownedBy")),
    "trigger": (TRIGGERS, ("name", "schema", "table", "timing", "events", "enabled", "definition")),
    "routine": (ROUTINES, ("name", "schema", "kind", "language", "arguments", "returns",
                           "definition")),
}  # fmt: skip
"""By kind: the query, and the keys of its columns."""

SIZES = f"""
SELECT c.relname, n.nspname,
       (SELECT sum(greatest(p.reltuples, 0))::int8 FROM pg_catalog.pg_class p WHERE p.oid = ANY(o)),
       (SELECT coalesce(sum(pg_catalog.pg_total_relation_size(x)), 0)::int8 FROM unnest(o) x),
       (SELECT coalesce(sum(pg_catalog.pg_table_size(x)), 0)::int8 FROM unnest(o) x),
       (SELECT coalesce(sum(pg_catalog.pg_indexes_size(x)), 0)::int8 FROM unnest(o) x)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
    SELECT CASE WHEN c.relkind = 'p'
                THEN ARRAY(SELECT relid::oid FROM pg_catalog.pg_partition_tree(c.oid) WHERE isleaf)
                ELSE ARRAY[c.oid] END
) parts(o)
WHERE c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition AND c.relpersistence <> 't' AND {OURS}
ORDER BY 4 DESC, 2, 1
"""
SIZE_KEYS = ("name", "schema", "rows", "bytes", "dataBytes", "indexBytes")

OVERVIEW = f"""
SELECT pg_catalog.current_setting('server_version'), pg_catalog.current_database(),
       pg_catalog.pg_encoding_to_char(d.encoding), pg_catalog.pg_database_size(d.oid),
       (SELECT count(*) FROM pg_catalog.pg_namespace n WHERE {OURS}),
       (SELECT count(*) FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
          AND {OURS}),
       (SELECT count(*) FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('v', 'm') AND {OURS})
FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()
"""

ORDERED = """
SELECT a.attname, CASE WHEN b.typelem <> 0 AND b.typlen = -1 THEN e.ordered ELSE b.ordered END
FROM pg_catalog.pg_attribute a
JOIN LATERAL (SELECT t.typbasetype, t.oid FROM pg_catalog.pg_type t WHERE t.oid = a.atttypid) t
  ON true
JOIN LATERAL (
    SELECT y.typelem, y.typlen, y.typtype IN ('e', 'r', 'm') OR y.typcategory = 'S'
           OR EXISTS (SELECT FROM pg_catalog.pg_opclass o
                      JOIN pg_catalog.pg_am m ON m.oid = o.opcmethod AND m.amname = 'btree'
                      WHERE o.opcintype = y.oid AND o.opcdefault) AS ordered
    FROM pg_catalog.pg_type y WHERE y.oid = coalesce(nullif(t.typbasetype, 0), t.oid)
) b ON true
LEFT JOIN LATERAL (
    SELECT y.typtype IN ('e', 'r', 'm') OR y.typcategory = 'S'
           OR EXISTS (SELECT FROM pg_catalog.pg_opclass o
                      JOIN pg_catalog.pg_am m ON m.oid = o.opcmethod AND m.amname = 'btree'
                      WHERE o.opcintype = y.oid AND o.opcdefault) AS ordered
    FROM pg_catalog.pg_type y WHERE y.oid = b.typelem
) e ON true
WHERE a.attrelid = %s::pg_catalog.regclass AND a.attnum > 0 AND NOT a.attisdropped
"""
"""Which columns can be ordered: by their own type, that of their domain, or of their elements."""


class PostgresNavigator:
    """A look at one database."""

    def __init__(self, connect: PostgresConnect) -> None:
        self._connect = connect

    def objects(self, kind: ObjectKind, schema: str | None) -> list[dict[str, Any]]:
        """Return the sequences, triggers or routines that belong to no extension."""
        query, keys = OBJECTS[kind]
        with self._asking(f"listing {kind}s") as connection:
            rows = connection.execute(query.encode(), {"schema": schema}).fetchall()
        return [dict(zip(keys, row, strict=True)) for row in rows]

    def sizes(self, schema: str | None) -> list[dict[str, Any]]:
        """Return the sizes of tables and materialized views, partitions with their table."""
        with self._asking("reading the sizes") as connection:
            rows = connection.execute(SIZES.encode(), {"schema": schema}).fetchall()
        return [dict(zip(SIZE_KEYS, row, strict=True)) for row in rows]

    def overview(self, schema: str | None) -> dict[str, Any]:
        """Return version, encoding, size and what there is in the database."""
        with self._asking("reading the catalog") as connection:
            row = require(
                connection.execute(OVERVIEW.encode(), {"schema": schema}).fetchone(), "a database"
            )
        keys = ("version", "database", "encoding", "bytes", "schemas", "tables", "views")
        counted: tuple[tuple[str, ObjectKind], ...] = (
            ("sequences", "sequence"), ("triggers", "trigger"), ("routines", "routine"),
        )  # fmt: skip
        further = {key: len(self.objects(kind, schema)) for key, kind in counted}
        return {"type": "postgresql", **dict(zip(keys, row, strict=True)), **further}

    def summary(self, table: TableSchema, columns: Sequence[Column]) -> list[dict[str, Any]]:
        """Let the server count, and find the least and the greatest value; indexes serve."""
        place = name(table.id)
        with self._asking(f"summing up {table.id}") as connection:
            shown = place.as_string(connection)
            ordered = dict(connection.execute(ORDERED.encode(), (shown,)).fetchall())
            parts: list[sql.Composable] = [sql.SQL("count(*)")]
            for column in columns:
                parts += _summed(column.name, place, ordered=bool(ordered.get(column.name)))
            query = sql.SQL("SELECT {} FROM {}").format(sql.SQL(", ").join(parts), place)
            row = require(connection.execute(query).fetchone(), "a summary")
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
    def _asking(self, what: str) -> Iterator[psycopg.Connection]:
        with (
            contextlib.closing(self._connect.open(autocommit=True)) as connection,
            translating(what),
        ):
            plain_values(connection)
            yield connection


def _summed(column: str, place: sql.Composable, *, ordered: bool) -> Iterator[sql.Composable]:
    """Yield the four terms of a column: values, distinct values, the least and the greatest."""
    quoted = sql.Identifier(column)
    yield sql.SQL("count({})").format(quoted)
    if not ordered:
        yield sql.SQL("count(DISTINCT {}::text)").format(quoted)
        yield from (sql.SQL("NULL"), sql.SQL("NULL"))
        return
    yield sql.SQL("count(DISTINCT {})").format(quoted)
    for direction in ("ASC", "DESC"):
        yield sql.SQL(
            "(SELECT {c} FROM {t} WHERE {c} IS NOT NULL ORDER BY {c} {d} LIMIT 1)"
        ).format(c=quoted, t=place, d=sql.SQL(direction))
