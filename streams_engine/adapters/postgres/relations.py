"""Relations of the log beside the tables that are followed: what differs, and what a table is now.

A Relation message has names and types of the columns that are published, at its place in the
log. The catalog has all the rest, as it is today: it is believed only where both agree.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import psycopg

from streams_engine.adapters.postgres.catalog import read_catalog
from streams_engine.adapters.postgres.catalog_types import Types
from streams_engine.adapters.postgres.connect import PostgresConnect, translating
from streams_engine.adapters.postgres.pgoutput import Relation
from streams_engine.changes import Tracked
from streams_engine.errors import SchemaChangeRefused
from streams_engine.model import Column, NativeType, TableId, TableSchema
from streams_engine.schema.postgres import arrow_type

__all__ = ["Describer", "changed", "identified", "is_key"]

TYPE_TEXTS = """
SELECT t.oid, pg_catalog.format_type(t.oid, m.modifier)
FROM unnest(%s::pg_catalog.oid[], %s::int4[]) WITH ORDINALITY m(oid, modifier, n)
LEFT JOIN pg_catalog.pg_type t ON t.oid = m.oid ORDER BY m.n
"""

UNPUBLISHED = """
SELECT a.attname, a.attgenerated <> '' FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND a.attnum > 0 AND NOT a.attisdropped
"""

PUBLISHED = """
SELECT attnames FROM pg_catalog.pg_publication_tables
WHERE pubname = %s AND schemaname = %s AND tablename = %s
"""


class Describer:
    """Asks the source's catalog, over one connection of its own. Used by one thread."""

    def __init__(
        self, connect: PostgresConnect, publication: str, search_path: tuple[str, ...]
    ) -> None:
        self._connect, self._publication, self._path = connect, publication, search_path
        self._connection: psycopg.Connection | None = None

    def _open(self) -> psycopg.Connection:
        if self._connection is None or self._connection.closed:
            self._connection = self._connect.open(autocommit=True, search_path=self._path)
        return self._connection

    @contextlib.contextmanager
    def asking(self) -> Iterator[psycopg.Connection]:
        """The connection, for a question about the source as it is now."""
        yield self._open()

    def close(self) -> None:
        """End the connection. Idempotent."""
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self._connection.close()

    def types(self, relation: Relation) -> list[NativeType | None]:
        """The types of a relation's columns; None for one that exists no more."""
        oids = [column.type for column in relation.columns]
        modifiers = [column.modifier for column in relation.columns]
        with translating(f"describing the types of {relation.schema}.{relation.name}"):
            connection = self._open()
            rows = connection.execute(TYPE_TEXTS, (oids, modifiers)).fetchall()
            types = Types(connection, [row[0] for row in rows if row[0] is not None])
        return [
            None if row[0] is None else types.native(row[0], row[1], modifier)
            for row, modifier in zip(rows, modifiers, strict=True)
        ]

    def unpublished(self, table: TableId) -> frozenset[str]:
        """Columns that the table has and the log does not carry."""
        with translating(f"describing {table}"):
            connection = self._open()
            rows = connection.execute(UNPUBLISHED, (table.schema, table.name)).fetchall()
            if connection.info.server_version < 150000:
                return frozenset(name for name, generated in rows if generated)
            where = (self._publication, table.schema, table.name)
            listed = connection.execute(PUBLISHED, where).fetchone()
        if listed is None or listed[0] is None:
            return frozenset(name for name, generated in rows if generated)
        return frozenset(name for name, _ in rows) - frozenset(listed[0])

    def json(self, texts: list[str], native: NativeType) -> list[str]:
        """Texts of a type as ``to_jsonb`` has them."""
        query = (
            f"SELECT pg_catalog.to_jsonb(v::{native.text})::text"
            " FROM unnest(%s::text[]) WITH ORDINALITY u(v, n) ORDER BY n"
        )
        with translating(f"converting values of {native.text}"):
            rows = self._open().execute(query.encode(), (texts,)).fetchall()
        return [str(row[0]) for row in rows]

    def table(self, table: TableId) -> TableSchema | None:
        """The table as it is today."""
        with translating(f"describing {table}"):
            connection = self._open()
            with connection.transaction():
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                return read_catalog(connection, tables=[table]).table(table)


def same(one: NativeType | None, other: NativeType | None) -> bool:
    """True for the same type; texts (which depend on a search path) and labels do not count."""
    if one is None or other is None:
        return one is other
    alike = (one.name, one.args, one.kind, one.user) == (
        other.name,
        other.args,
        other.kind,
        other.user,
    )
    return alike and same(one.element, other.element)


def changed(
    schema: TableSchema,
    relation: Relation,
    describer: Describer,
    announced: frozenset[str] | None = None,
) -> tuple[TableSchema, Mapping[str, str]] | None:
    """The table as the relation has it, and its renamed columns; None where nothing differs.

    ``announced``: the new names of renamed columns, where somebody told. Raises
    `SchemaChangeRefused` where a column may have been renamed or replaced, and nobody did.
    """
    natives = describer.types(relation)
    old = {column.name: column for column in schema.columns}
    hidden = {column.name for column in schema.columns if column.generated is not None}
    new = [column.name for column in relation.columns]
    gone = [name for name in old if name not in new and name not in hidden]
    if gone:
        hidden |= describer.unpublished(schema.id)
        gone = [name for name in gone if name not in hidden]
    added = [name for name in new if name not in old]
    retyped = [
        name
        for name, native in zip(new, natives, strict=True)
        if name in old and native is not None and not same(old[name].type, native)
    ]
    _demand_order(schema, [name for name in new if name in old])
    if not (gone or added or retyped):
        return None
    by_name = dict(zip(new, natives, strict=True))
    pairs = [(a, b) for a in gone for b in added if _may_be_one(schema, new, by_name, a, b)]
    if announced is None and pairs:
        raise _ambiguous(schema, *pairs[0])
    renamed = {a: b for a, b in pairs if b in (announced or ())}
    return _now(schema, relation, by_name, hidden, describer, renamed), renamed


def identified(
    tracked: Tracked, relation: Relation, describer: Describer
) -> tuple[TableSchema, tuple[str, ...]] | None:
    """Return (the table, the columns that tell its rows apart from here on) where a relation
    does not fit what its rows are known by; None where it fits, or no key is known that does.
    """
    schema, identity = tracked.schema, tracked.identity
    moved = {column.name for column in tracked.extract.columns}
    keys = tuple(column.name for column in relation.columns if column.key)
    whole = relation.identity == "f"
    if moved <= set(identity) if whole else set(identity) <= set(keys):
        return None
    names = [column.name for column in relation.columns]
    natives = dict(zip(names, describer.types(relation), strict=True))
    hidden = {column.name for column in schema.columns if column.generated is not None}
    now = _now(schema, relation, natives, hidden, describer, {})
    if whole:  # the key may be gone, and equal keys may have come
        everything = tuple(c.name for c in now.columns if c.generated is None)
        return None if is_key(now, identity) else (now, everything)
    return (now, keys) if relation.identity in "di" and is_key(now, keys) else None


def is_key(table: TableSchema, names: Sequence[str]) -> bool:
    """Return whether at most one row has these values, at any moment."""
    solid = {column.name for column in table.columns if not column.nullable}
    known = [index for index in (table.primary_key, *table.indexes) if index is not None]
    return any(
        index.unique
        and index.where is None
        and not index.deferrable
        and all(part.column is not None for part in index.parts)
        and set(index.columns) == set(names)
        and (index.primary or set(names) <= solid)
        for index in known
    )


def _demand_order(schema: TableSchema, stayed: Sequence[str]) -> None:
    """Columns keep their order: one that has another place is another column of its name."""
    for was, now in zip([c.name for c in schema.columns if c.name in stayed], stayed, strict=True):
        if was != now:
            raise SchemaChangeRefused(
                f"{schema.id}: the columns {was} and {now} have changed places: they were renamed, "
                "or one was dropped and added again.",
                remedy="Load the table again.",
                table=str(schema.id),
                columns=[was, now],
            )


def _may_be_one(
    schema: TableSchema,
    after: Sequence[str],
    natives: Mapping[str, NativeType | None],
    old: str,
    new: str,
) -> bool:
    """Whether a column that is gone and a new one have the same place and type."""
    before = [column.name for column in schema.columns]
    stay = set(before) & set(after)
    place = [name for name in before[: before.index(old)] if name in stay]
    there = [name for name in after[: after.index(new)] if name in stay]
    return place == there and same(schema.column(old).type, natives[new])


def _ambiguous(schema: TableSchema, old: str, new: str) -> SchemaChangeRefused:
    return SchemaChangeRefused(
        f"{schema.id}: the column {old} is gone and {new} is there in its place, of the same "
        "type: it was renamed, or one was dropped and the other added.",
        remedy="Install the event trigger for DDL (see the documentation of change capture) "
        "before such a change; now load the table again.",
        table=str(schema.id),
        columns=[old, new],
    )


def _now(
    schema: TableSchema,
    relation: Relation,
    natives: Mapping[str, NativeType | None],
    hidden: set[str],
    describer: Describer,
    renamed: Mapping[str, str],
) -> TableSchema:
    """The catalog's description where it has the relation's columns, else one made of both."""
    names = [column.name for column in relation.columns]
    back = {new: old for old, new in renamed.items()}
    old = {column.name: column for column in schema.columns}
    today = describer.table(schema.id)
    if today is not None and _agree(today, relation, natives, hidden):
        columns = []
        for column in today.columns:
            known = old.get(back.get(column.name, column.name))
            if known is not None and same(known.type, column.type):
                column = replace(column, type=known.type, arrow=known.arrow)
            columns.append(column)
        # The log says nothing of parents; one that is not moved is none to the table here.
        return replace(today, columns=tuple(columns), inherits=schema.inherits)
    now = {} if today is None else {column.name: column for column in today.columns}
    columns = []
    for name in names:
        known, native = old.get(back.get(name, name)), natives[name]
        if known is not None and (native is None or same(known.type, native)):
            columns.append(replace(known, name=name))
        elif native is not None:
            columns.append(_as_today(Column(name, native, arrow_type(native)), now.get(name)))
    columns += [c for c in schema.columns if c.name in hidden and c.name not in names]
    kept = {column.name for column in columns}
    key = schema.primary_key
    if key is not None:
        parts = tuple(replace(p, column=renamed.get(p.column or "", p.column)) for p in key.parts)
        key = replace(key, parts=parts) if all(p.column in kept for p in parts) else None
    indexes = tuple(i for i in schema.indexes if set(i.columns) <= kept)
    return replace(schema, columns=tuple(columns), primary_key=key, indexes=indexes)


def _as_today(column: Column, today: Column | None) -> Column:
    """What the log does not say of a column is the same today, as far as anybody knows: the
    rows that were there when it was added have its default."""
    if today is None:
        return column
    return replace(
        column,
        nullable=today.nullable,
        default=today.default,
        identity=today.identity,
        collation=today.collation,
    )


def _agree(
    today: TableSchema,
    relation: Relation,
    natives: Mapping[str, NativeType | None],
    hidden: set[str],
) -> bool:
    there = {c.name: c.type for c in today.columns}
    shown = {c.name for c in relation.columns}
    left = {c.name for c in today.columns if c.generated is None} - shown - hidden
    return not left and all(name in there and same(there[name], natives[name]) for name in shown)
