"""Comparison of the log's relations with the followed tables.

A Relation message contains names and types of the published columns, at its place in the log. The
catalog has everything else, but as it is today: it is used only if both agree.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import psycopg
from psycopg import sql

from streams_engine.adapters.postgres.catalog.queries import EXTENSIONS
from streams_engine.adapters.postgres.catalog.reader import read_catalog, undisturbed
from streams_engine.adapters.postgres.catalog.types import TypeCatalog
from streams_engine.adapters.postgres.connection import PostgresConnect, translating
from streams_engine.adapters.postgres.replication.computed_columns import compute
from streams_engine.adapters.postgres.replication.old_rows import OldRows, old_rows
from streams_engine.adapters.postgres.replication.pgoutput import Relation
from streams_engine.errors import SchemaChangeRefused
from streams_engine.model import (
    Catalog,
    Column,
    Expression,
    Extension,
    ForeignKey,
    Index,
    IndexPart,
    NativeType,
    TableId,
    TableSchema,
    TableSubscription,
    UserType,
)
from streams_engine.schema.evolution.differences import canonical, mentions, named_columns
from streams_engine.schema.evolution.references import as_followed
from streams_engine.schema.row_keys import is_key, without_computed
from streams_engine.schema.types.postgres import arrow_type

__all__ = [
    "RelationChange",
    "RelationReader",
    "changed",
    "demand_told",
    "identified",
    "name_of",
    "same",
]

TYPE_TEXTS = """
SELECT t.oid, pg_catalog.format_type(t.oid, m.modifier)
FROM unnest(%s::pg_catalog.oid[], %s::int4[]) WITH ORDINALITY m(oid, modifier, n)
LEFT JOIN pg_catalog.pg_type t ON t.oid = m.oid ORDER BY m.n
"""

UNPUBLISHED = """
SELECT attname, attgenerated <> '' FROM pg_catalog.pg_attribute
WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped
"""

CREATED_AS_PARTITION = """
SELECT n.nspname, c.relname, h.xmin::text FROM pg_catalog.pg_inherits h
JOIN pg_catalog.pg_class c ON c.oid = h.inhrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_type t ON t.oid = c.reltype AND t.xmin = h.xmin
WHERE h.inhrelid = %s
"""
"""A partition that was created in the transaction that gave it its place. ATTACH rewrites its rows
in pg_class and pg_attribute, but not that of its row type."""

NAME = """
SELECT n.nspname, c.relname FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = %s
"""

PUBLISHED = """
SELECT t.attnames FROM pg_catalog.pg_publication_tables t
JOIN pg_catalog.pg_class c ON c.relname = t.tablename
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname = t.schemaname
WHERE t.pubname = %s AND c.oid = %s
"""


@dataclass(frozen=True, slots=True)
class RelationChange:
    """How a relation differs from its table as it was before."""

    schema: TableSchema
    renamed: Mapping[str, str]
    """Old to new name of columns."""
    old_rows: OldRows = field(default_factory=OldRows)


class RelationReader:
    """Asks the source's catalog, over one connection of its own. Used by one thread."""

    def __init__(
        self, connect: PostgresConnect, publication: str, search_path: tuple[str, ...]
    ) -> None:
        self._connect, self._publication, self._path = connect, publication, search_path
        self.names: Mapping[int, TableId] = {}
        """The names under which tables are followed, by oid."""
        self._connection: psycopg.Connection | None = None

    def _open(self) -> psycopg.Connection:
        if self._connection is None or self._connection.closed:
            self._connection = self._connect.open(autocommit=True, search_path=self._path)
        return self._connection

    @contextlib.contextmanager
    def asking(self) -> Iterator[psycopg.Connection]:
        """Yield the connection, to query the present state of the source."""
        yield self._open()

    def close(self) -> None:
        """End the connection. Idempotent."""
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self._connection.close()

    def types(self, relation: Relation) -> list[NativeType | None]:
        """Return the types of a relation's columns; None for a type that does not exist any
        more."""
        oids = [column.type for column in relation.columns]
        modifiers = [column.modifier for column in relation.columns]
        with translating(f"describing the types of {relation.schema}.{relation.name}"):
            connection = self._open()
            rows = connection.execute(TYPE_TEXTS, (oids, modifiers)).fetchall()
            types = TypeCatalog(connection, [row[0] for row in rows if row[0] is not None])
        return [
            None if row[0] is None else types.native(row[0], row[1], modifier)
            for row, modifier in zip(rows, modifiers, strict=True)
        ]

    def user_types(self, relation: Relation) -> tuple[UserType, ...]:
        """Return the user's types that a relation's columns are made of."""
        with translating(f"describing the types of {relation.schema}.{relation.name}"):
            oids = [column.type for column in relation.columns]
            return TypeCatalog(self._open(), oids).user_types()

    def extensions(self, relation: Relation) -> list[Extension]:
        """Return the extensions that the types of a relation's columns need."""
        with translating(f"describing the types of {relation.schema}.{relation.name}"):
            connection = self._open()
            types = TypeCatalog(connection, [column.type for column in relation.columns]).oids
            rows = connection.execute(EXTENSIONS, {"oids": [], "types": types}).fetchall()
            return [Extension(name, place, version, True) for name, place, version, *_ in rows]

    def unpublished(self, relation: Relation) -> frozenset[str]:
        """Return the columns of a relation that the log does not contain."""
        with translating(f"describing {relation.schema}.{relation.name}"):
            connection = self._open()
            rows = connection.execute(UNPUBLISHED, (relation.oid,)).fetchall()
            if connection.info.server_version < 150000:
                return frozenset(name for name, generated in rows if generated)
            where = (self._publication, relation.oid)
            listed = connection.execute(PUBLISHED, where).fetchone()
        if listed is None or listed[0] is None:
            return frozenset(name for name, generated in rows if generated)
        return frozenset(name for name, _ in rows) - frozenset(listed[0])

    def json(self, texts: list[str], native: NativeType) -> list[str]:
        """Convert texts of a type to JSON as ``to_jsonb`` does."""
        query = (
            f"SELECT pg_catalog.to_jsonb(v::{native.text})::text"
            " FROM unnest(%s::text[]) WITH ORDINALITY u(v, n) ORDER BY n"
        )
        with translating(f"converting values of {native.text}"):
            rows = self._open().execute(query.encode(), (texts,)).fetchall()
        return [str(row[0]) for row in rows]

    def compute(
        self,
        table: TableId,
        column: Column,
        named: Sequence[Column],
        values: Sequence[list[str | None]],
    ) -> list[str | None]:
        """Compute a generated column of the rows that have these values; see `computed_columns`."""
        with translating(f"computing {table}.{column.name}"):
            return compute(self._open(), table, column, named, values)

    def tables(self, tables: Sequence[TableId]) -> dict[TableId, TableSchema]:
        """Return those of the tables that exist, as they are now."""
        with translating("describing tables"):
            found = undisturbed(lambda: self._described(tables))
            return {table.id: table for table in found.tables}

    def table(self, table: TableId) -> TableSchema | None:
        """Return the table as it is now; None if it does not exist."""
        with translating(f"describing {table}"):
            return undisturbed(lambda: self._described([table])).table(table)

    def by_oid(self, oid: int) -> TableSchema | None:
        """Return a table as the catalog has it now, whatever its name is; None if it is gone."""
        with translating("describing a table"):
            name = name_of(self._open(), oid)
        table = None if name is None else self.table(name)
        return table if table is not None and table.oid == oid else None

    def today(self, relation: Relation) -> TableSchema | None:
        """Return a relation's table as the catalog has it now, with foreign keys to the names that
        are followed; None if it is gone. Under its name another one may be there."""
        table = self.by_oid(relation.oid)
        return None if table is None else as_followed(table, self.names)

    def old_rows(
        self, before: TableSchema, now: TableSchema, added: Sequence[str], retyped: Sequence[str]
    ) -> OldRows:
        """Return what existing rows hold after columns were added or changed their types."""
        with translating(f"describing {before.id}"), self._view() as connection:
            there = before.id if before.oid is None else name_of(connection, before.oid)
            today = None if there is None else read_catalog(connection, tables=[there]).table(there)
            columns = [now.column(name) for name in added]
            return (
                OldRows(rewritten=bool(added or retyped))
                if today is None
                else old_rows(connection, before, today, columns, retyped)
            )

    def brought_rows(self, partitions: Sequence[int]) -> bool:
        """Return whether partitions may have had rows when they were attached.

        One that was created as a partition had none, except rows of its own transaction.
        """
        with translating("looking at new partitions"), self._view() as connection:
            for oid in partitions:
                row = connection.execute(CREATED_AS_PARTITION.encode(), (oid,)).fetchone()
                if row is None:
                    return True
                query = sql.SQL("SELECT FROM ONLY {} WHERE xmin = {} LIMIT 1").format(
                    sql.Identifier(row[0], row[1]), sql.Literal(str(row[2]))
                )
                if connection.execute(query).fetchone() is not None:
                    return True
        return False

    def _described(self, tables: Sequence[TableId]) -> Catalog:
        with self._view() as connection:
            return read_catalog(connection, tables=tables)

    @contextlib.contextmanager
    def _view(self) -> Iterator[psycopg.Connection]:
        connection = self._open()
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield connection


def name_of(connection: psycopg.Connection, oid: int) -> TableId | None:
    """Return the name that a table has now; None if it is gone."""
    row = connection.execute(NAME, (oid,)).fetchone()
    return None if row is None else TableId(*row)


def same(one: NativeType | None, other: NativeType | None) -> bool:
    """Return True for the same type; texts (which depend on a search path) and labels are
    ignored."""
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
    describer: RelationReader,
    announced: frozenset[str] | None = None,
) -> RelationChange | None:
    """Return how the table differs from the relation; None if it does not.

    ``announced``: the new names of renamed columns, if the DDL trigger reported them. Raises
    `SchemaChangeRefused` if a column may have been renamed or replaced and nothing reported it.
    """
    natives = describer.types(relation)
    old = {column.name: column for column in schema.columns}
    hidden = {column.name for column in schema.columns if column.generated is not None}
    new = [column.name for column in relation.columns]
    gone = [name for name in old if name not in new and name not in hidden]
    if gone:
        hidden |= describer.unpublished(relation)
        gone = [name for name in gone if name not in hidden]
    added = [name for name in new if name not in old]
    retyped = [
        name
        for name, native in zip(new, natives, strict=True)
        if name in old and native is not None and not same(old[name].type, native)
    ]
    anew = _made_anew(schema, relation, retyped, describer)
    _demand_order(schema, [name for name in new if name in old and name not in anew])
    plain, replaced = _plain_now(schema, relation, describer)
    if not (gone or added or retyped or plain or replaced):
        return None
    by_name = dict(zip(new, natives, strict=True))
    pairs = [(a, b) for a in gone for b in added if _may_be_one(schema, new, by_name, a, b)]
    if announced is None and pairs:
        announced = _by_numbers(schema, pairs, describer.today(relation))
        if announced is None:
            raise _ambiguous(schema, *pairs[0])
    renamed = {a: b for a, b in pairs if b in (announced or ())}
    hidden -= {*plain, *replaced}
    now = _now(schema, relation, by_name, hidden, describer, renamed)
    new_names = [name for name in added if name not in renamed.values()]
    found = describer.old_rows(schema, now, new_names, retyped)
    if replaced or anew:  # its rows hold what the new column came with
        found = OldRows(rewritten=True)
    renamed |= dict.fromkeys(anew, "")
    return RelationChange(_filled(now, found), renamed, found)


def _filled(table: TableSchema, rows: OldRows) -> TableSchema:
    """Return the table with new columns nullable if existing rows have NULL in them, whatever the
    catalog says by now."""
    columns = tuple(
        replace(c, nullable=True) if rows.backfill.get(c.name, c) is None else c
        for c in table.columns
    )
    return replace(table, columns=columns)


def identified(
    tracked: TableSubscription, relation: Relation, describer: RelationReader
) -> tuple[TableSchema, tuple[str, ...]] | None:
    """Return the table, and the columns that identify its rows from here on, if the relation's
    replica identity changed.

    None if it did not, or no usable key is known.
    """
    schema, identity = tracked.schema, tracked.identity
    moved = {column.name for column in tracked.extract.columns if column.generated is None}
    keys = tuple(column.name for column in relation.columns if column.key)
    whole = relation.identity == "f" or (relation.identity == "d" and not keys)
    if moved <= set(identity) if whole else _names_rows(schema, keys, identity):
        return None
    names = [column.name for column in relation.columns]
    natives = dict(zip(names, describer.types(relation), strict=True))
    hidden = {column.name for column in schema.columns if column.generated is not None}
    now = _now(schema, relation, natives, hidden, describer, {})
    if relation.identity == "d" and not is_key(now, keys):
        now = _with_key(now, keys, describer.today(relation))
    if whole:  # the key may be gone, and equal keys may have come
        everything = tuple(c.name for c in now.columns if c.generated is None)
        return None if is_key(now, identity) else (now, everything)
    return (now, keys) if relation.identity in "di" and is_key(now, keys) else None


def _names_rows(schema: TableSchema, keys: tuple[str, ...], identity: Sequence[str]) -> bool:
    """Return whether a replica identity of these keys is the one that is known: more keys, or
    fewer, name other rows. Columns that are computed from others of them do not count."""
    there = {column.name: column for column in schema.columns}
    if not set(keys) <= there.keys():
        return set(identity) <= set(keys)
    sent = {name for name in identity if there[name].generated is None}
    return set(identity) == set(keys) or sent == set(without_computed(schema, keys))


def _with_key(schema: TableSchema, keys: tuple[str, ...], today: TableSchema | None) -> TableSchema:
    """Return the table with these columns as its primary key, none if they are none: the default
    replica identity is the primary key. Its name is today's if that is so still."""
    if not keys:
        return replace(schema, primary_key=None)
    there = today.primary_key if today is not None else None
    if there is None or set(there.columns) != set(keys):
        parts = tuple(IndexPart(name) for name in keys)
        name = schema.primary_key.name if schema.primary_key else f"{schema.id.name}_pkey"
        there = Index(name, parts, unique=True, primary=True, constraint=True)
    solid = set(keys)
    columns = tuple(replace(c, nullable=c.nullable and c.name not in solid) for c in schema.columns)
    return replace(schema, primary_key=there, columns=columns)


def _made_anew(
    schema: TableSchema, relation: Relation, retyped: Sequence[str], describer: RelationReader
) -> list[str]:
    """Return the columns of another type that were dropped and added again under their names, as
    their numbers show."""
    today = describer.today(relation) if retyped else None
    if today is None or today.oid != schema.oid:
        return []
    names = {column.name for column in relation.columns}
    now = {column.name: column.number for column in today.columns}
    return [
        name
        for name in retyped
        if name in names
        and None not in (number := schema.column(name).number, now.get(name))
        and number != now[name]
    ]


def _demand_order(schema: TableSchema, stayed: Sequence[str]) -> None:
    """Check that columns kept their order: a column in another place is another column of the same
    name."""
    for was, now in zip([c.name for c in schema.columns if c.name in stayed], stayed, strict=True):
        if was != now:
            raise SchemaChangeRefused(
                f"{schema.id}: the columns {was} and {now} changed places: they were renamed, or "
                "one was dropped and added again.",
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
    """Return whether a dropped and a new column have the same place and type."""
    before = [column.name for column in schema.columns]
    stay = set(before) & set(after)
    place = [name for name in before[: before.index(old)] if name in stay]
    there = [name for name in after[: after.index(new)] if name in stay]
    return place == there and same(schema.column(old).type, natives[new])


def _plain_now(
    schema: TableSchema, relation: Relation, describer: RelationReader
) -> tuple[list[str], list[str]]:
    """Return the generated columns that became plain ones, and those that plain ones replaced."""
    shown = {column.name for column in relation.columns}
    computed = [c for c in schema.columns if c.generated is not None and c.name in shown]
    if not computed:
        return [], []
    today = describer.today(relation)
    now = {} if today is None else {column.name: column for column in today.columns}
    plain: list[str] = []
    replaced: list[str] = []
    for column in computed:
        there = now.get(column.name)
        if there is not None and there.generated is None:
            (plain if there.number == column.number else replaced).append(column.name)
    return plain, replaced


def demand_told(before: TableSchema, now: TableSchema) -> None:
    """Raise `SchemaChangeRefused` if a column may have been renamed or replaced and that is
    unknown, because one of the two tables has no column numbers."""
    names = [column.name for column in now.columns]
    types = {column.name: column.type for column in now.columns}
    old = {column.name for column in before.columns}
    for column in before.columns:
        for new in now.columns:
            numbers = (column.number, new.number)
            if column.name in types or new.name in old or None not in numbers:
                continue
            if _may_be_one(before, names, types, column.name, new.name):
                raise _ambiguous(before, column.name, new.name)


def _by_numbers(
    schema: TableSchema, pairs: Sequence[tuple[str, str]], today: TableSchema | None
) -> frozenset[str] | None:
    """Return the new names of renamed columns; None if the catalog no longer shows them."""
    if today is None or today.oid != schema.oid:
        return None
    before = {column.name: column.number for column in schema.columns}
    now = {column.name: column.number for column in today.columns}
    if any(before[old] is None or now.get(new) is None for old, new in pairs):
        return None
    return frozenset(new for old, new in pairs if before[old] == now[new])


def _ambiguous(schema: TableSchema, old: str, new: str) -> SchemaChangeRefused:
    return SchemaChangeRefused(
        f"{schema.id}: the column {old} is gone and {new} of the same type is in its place: it "
        "was renamed, or one was dropped and the other added.",
        remedy=(
            "Load the table again. Before such a change install the event trigger for DDL "
            "(see the documentation of change capture)."
        ),
        table=str(schema.id),
        columns=[old, new],
    )


def _now(
    schema: TableSchema,
    relation: Relation,
    natives: Mapping[str, NativeType | None],
    hidden: set[str],
    describer: RelationReader,
    renamed: Mapping[str, str],
) -> TableSchema:
    """Return the catalog's description if it has the relation's columns, else a combination of
    both."""
    names = [column.name for column in relation.columns]
    back = {new: old for old, new in renamed.items()}
    old = {column.name: column for column in schema.columns}
    today = describer.today(relation)
    if today is not None and _agree(today, relation, natives, hidden):
        columns = []
        for column in today.columns:
            known = old.get(back.get(column.name, column.name))
            if known is not None and same(known.type, column.type):
                written = known.written if known.number == column.number else column.written
                column = replace(column, type=known.type, arrow=known.arrow, written=written)
            columns.append(column)
        known_types = {user.id: user for user in schema.types}
        # The log says nothing of parents; one that is not moved is none to the table here. What
        # became of its files and of types that it has already is told by the next look.
        return replace(
            today,
            id=schema.id,
            columns=tuple(columns),
            inherits=schema.inherits,
            storage=schema.storage or today.storage,
            links=schema.links or today.links,
            types=tuple(known_types.get(user.id, user) for user in today.types),
        )
    now = {} if today is None else {column.name: column for column in today.columns}
    columns = []
    for name in names:
        known, native = old.get(back.get(name, name)), natives[name]
        if known is not None and (native is None or same(known.type, native)):
            generated = _renamed(known.generated, renamed) if name in hidden else None
            columns.append(replace(known, name=name, generated=generated))
        elif native is not None:
            columns.append(_as_today(Column(name, native, arrow_type(native)), now.get(name)))
    columns += [
        replace(c, generated=_renamed(c.generated, renamed))
        for c in schema.columns
        if c.name in hidden and c.name not in names
    ]
    kept = {column.name for column in columns}
    key = schema.primary_key and _renamed_index(schema.primary_key, renamed)
    if key is not None and not all(part.column in kept for part in key.parts):
        key = None
    gone = old.keys() - kept - renamed.keys()
    indexes = [
        _renamed_index(index, renamed)
        for index in schema.indexes
        if not any(_names_any(rule, gone) for rule in _rules(index))
    ]
    checks = [
        replace(check, expression=_renamed(check.expression, renamed) or check.expression)
        for check in schema.checks
        if not _names_any(check.expression, gone)
    ]
    foreign_keys = (_renamed_key(key, schema.id, renamed) for key in schema.foreign_keys)
    types = schema.types
    made = {extension.name: extension for extension in schema.extensions}
    if any(column.name not in old or column.type != old[column.name].type for column in columns):
        there = {user.id for user in types}
        types += tuple(u for u in describer.user_types(relation) if u.id not in there)
        # The log may show a column before a view of the catalog does.
        made = {e.name: e for e in describer.extensions(relation)} | made
    return replace(
        schema,
        columns=tuple(columns),
        primary_key=key,
        indexes=tuple(i for i in indexes if {*i.columns, *i.include} <= kept),
        checks=tuple(checks),
        foreign_keys=tuple(key for key in foreign_keys if {*key.columns} <= kept),
        types=types,
        extensions=tuple(made.values()),
    )


def _renamed_index(index: Index, renamed: Mapping[str, str]) -> Index:
    """Return an index with the new names of columns."""
    parts = tuple(
        replace(
            part,
            column=renamed.get(part.column or "", part.column),
            expression=_renamed(part.expression, renamed),
        )
        for part in index.parts
    )
    include = tuple(renamed.get(name, name) for name in index.include)
    return replace(index, parts=parts, include=include, where=_renamed(index.where, renamed))


def _rules(index: Index) -> Iterator[Expression]:
    """Yield an index's expressions and its condition."""
    rules = (*(part.expression for part in index.parts), index.where)
    yield from (rule for rule in rules if rule is not None)


def _names_any(rule: Expression, columns: Collection[str]) -> bool:
    """Return whether an expression names a column that is gone: the server dropped it too."""
    if not mentions(rule, columns):
        return False
    named = named_columns(rule)
    return named is None or not named.isdisjoint(columns)


def _renamed_key(key: ForeignKey, own: TableId, renamed: Mapping[str, str]) -> ForeignKey:
    """Return a foreign key with the new names of columns of its table ``own``."""
    columns = tuple(renamed.get(name, name) for name in key.columns)
    there = renamed if key.referenced == own else {}
    referenced = tuple(there.get(name, name) for name in key.referenced_columns)
    return replace(key, columns=columns, referenced_columns=referenced)


def _renamed(rule: Expression | None, renamed: Mapping[str, str]) -> Expression | None:
    """Return an expression with the new names of columns."""
    sql = canonical(rule, renamed) if renamed else None
    return rule if rule is None or sql is None else replace(rule, sql=sql)


def _as_today(column: Column, today: Column | None) -> Column:
    """Take from today's catalog what the log lacks about a column: existing rows got its default
    when it was added."""
    if today is None:
        return column
    return replace(
        column,
        nullable=today.nullable,
        unproved=today.unproved,
        default=today.default,
        identity=today.identity,
        collation=today.collation,
        generated=today.generated,
        stored=today.stored,
        number=today.number,
        written=today.written,
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
