"""Change types and sequences of a PostgreSQL table, and cast its values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from streams_engine.contracts import Statement
from streams_engine.errors import require
from streams_engine.model import (
    Catalog,
    Column,
    Dialect,
    Expression,
    Finding,
    NativeType,
    ObjectKind,
    ObjectRef,
    Sequence,
    Severity,
    TableId,
    TypeKind,
    UserType,
)
from streams_engine.schema.ddl import postgres as ddl
from streams_engine.schema.ddl.names import shorten
from streams_engine.schema.evolution.differences import (
    ColumnPair,
    TableDifference,
    canonical,
    enum_of,
    in_sequence,
)
from streams_engine.schema.evolution.postgres_user_types import guarded
from streams_engine.schema.mapping.postgres_to_postgres import NEXT_VALUE
from streams_engine.schema.mapping.tables import ColumnMapping

__all__ = ["EnumChanges", "enum_types", "filler", "sequence_of", "sequences", "using"]

_NUMBERS = {"int2", "int4", "int8", "numeric", "float4", "float8"}
_TEXTS = {"text", "varchar", "bpchar", "citext"}
_FAMILIES = (
    _NUMBERS,
    _TEXTS,
    {"date", "timestamp"},
    {"time", "timetz", "interval"},
    {"json", "jsonb"},
    {"bit", "varbit"},
    {"bytea"},
    {"inet", "cidr"},
)
"""Types that the server casts into one another by itself."""

_CASTS: Mapping[tuple[str, str], str] = {
    **{("bool", name): "{column}::int::{type}" for name in _NUMBERS},
    **{(name, "bool"): "({column} <> 0)" for name in _NUMBERS},
    **{("_text", name): "array_to_string({column}, ',')::{type}" for name in _TEXTS},
    **{(name, "_text"): "string_to_array({column}::text, ',')" for name in _TEXTS},
    **{("bytea", name): "convert_from({column}, 'UTF8')::{type}" for name in _TEXTS},
    **{(name, "bytea"): "convert_to({column}::text, 'UTF8')" for name in _TEXTS},
    **{("bit", name): "{column}::int8::{type}" for name in _NUMBERS},
    ("timestamp", "timestamptz"): "({column} AT TIME ZONE 'UTC')::{type}",
    ("timestamptz", "timestamp"): "({column} AT TIME ZONE 'UTC')::{type}",
    ("date", "timestamptz"): "({column}::timestamp AT TIME ZONE 'UTC')::{type}",
    ("timestamptz", "date"): "({column} AT TIME ZONE 'UTC')::{type}",
    ("timestamptz", "timestamptz"): "{column}::{type}",
    ("timestamp", "time"): "{column}::{type}",
}
"""(from, to): a cast that gives what MySQL's own ALTER TABLE gives, whatever the session's zone."""

_FILLERS: Mapping[str, str] = {
    **dict.fromkeys(_NUMBERS, "0"),
    **dict.fromkeys((*_TEXTS, "bytea"), "''"),
    "bool": "false",
    "_text": "'{}'",
    "time": "'00:00:00'",
    "jsonb": "'null'",
    "json": "'null'",
}
"""What MySQL puts into the rows where a column is added NOT NULL and without a default
(https://dev.mysql.com/doc/refman/en/data-type-defaults.html); dates have none here."""


def using(old: NativeType, new: NativeType, column: str) -> str:
    """Return the USING expression that converts a column's values to another type."""
    text = ddl.type_text(new)
    template = _CASTS.get((old.name, new.name))
    if template:
        return template.format(column=column, type=text)
    plain = TypeKind.BASE in (old.kind,) and new.kind is TypeKind.BASE
    akin = old.name == new.name or any({old.name, new.name} <= f for f in _FAMILIES)
    return f"{column}::{text}" if plain and akin else f"{column}::text::{text}"


def filler(source: Column, column: Column) -> Expression | None:
    """Return the default that fills existing rows when a column is added, and is dropped
    afterwards; or None."""
    if column.nullable or column.default or column.generated or column.identity:
        return None
    if column.type.labels and column.type.kind is TypeKind.ENUM:
        sql: str | None = ddl.literal(column.type.labels[0])
    elif source.type.name == "binary" and column.type.name == "bytea":
        sql = "'\\x" + "00" * (source.type.args or (1,))[0] + "'::bytea"
    elif column.type.name == "bit":
        sql = "B'" + "0" * (column.type.args or (1,))[0] + "'"
    else:
        sql = _FILLERS.get(column.type.name)
    # A zero date is none of the target's: the year 0 is a number.
    dated = source.type.name in ("date", "datetime", "timestamp")
    return Expression(sql, Dialect.POSTGRES) if sql is not None and not dated else None


def sequence_of(column: Column) -> TableId | None:
    """Return the sequence that a column's default calls, or None."""
    match = column.default and NEXT_VALUE.match(column.default.sql)
    if not match:
        return None
    from sqlglot import exp  # takes a tenth of a second to load

    table = exp.to_table(match[1].replace("''", "'"), dialect="postgres")
    return TableId(table.db, table.name)


def sequences(table: TableId, columns: tuple[ColumnMapping, ...]) -> tuple[Sequence, ...]:
    """Return the sequences that these columns call, each at the source's next value."""
    called = []
    for side in columns:
        name = sequence_of(side.target)
        if name is not None:
            following = side.source.identity and side.source.identity.next_value
            last = following - 1 if following and following > 1 else None
            owner = (table, side.target.name)
            called.append(Sequence(name, last_value=last, owner=owner))
    return tuple(called)


def enum_types(columns: tuple[Column, ...]) -> tuple[UserType, ...]:
    """Return the enums of these columns, each once."""
    enums = [native for column in columns if (native := enum_of(column.type))]
    types = {n.user: UserType(n.user, TypeKind.ENUM, n.labels) for n in enums if n.user}
    return tuple(types.values())


def _create(catalog: Catalog) -> Iterator[Statement]:
    """Yield statements that create types and sequences if they do not exist; schemas are created
    with the table."""
    schemas = {t.id.schema for t in catalog.types} | {s.id.schema for s in catalog.sequences}
    there = replace(catalog, schemas=frozenset(schemas))
    for statement in ddl.objects(there):
        yield guarded(statement, "duplicate_object", "duplicate_table")


def _interim_name(name: TableId) -> TableId:
    return replace(name, name=shorten(f"{name.name}_on_its_way"))


@dataclass(frozen=True, slots=True)
class EnumChanges:
    """The enums of a table's columns, before and after.

    Those that come of MySQL's columns are the column's own, and follow it in name and end.
    Those of PostgreSQL belong to the schema: `TypeChanges` changes them.
    """

    difference: TableDifference

    @property
    def _own(self) -> bool:
        return self.difference.source is Dialect.MYSQL

    def differ(self, pair: ColumnPair) -> bool:
        """Return True if the column needs another type."""
        old, new = pair.old, pair.new
        if (old.collation or None) != (new.collation or None):
            return True
        if self._own and old.type.kind is new.type.kind is TypeKind.ENUM:
            return self.replaced(pair)
        return ddl.type_text(old.type) != ddl.type_text(new.type)

    def replaced(self, pair: ColumnPair) -> bool:
        """Return True if the column's own enum loses labels or their order, which needs a new
        type."""
        old, new = pair.old.type, pair.new.type
        return (
            self._own
            and old.kind is new.kind is TypeKind.ENUM
            and not _grows(old.labels, new.labels)
        )

    def _enums(self) -> Iterator[tuple[ColumnPair, NativeType, NativeType]]:
        for pair in self.difference.pairs:
            old, new = enum_of(pair.old.type), enum_of(pair.new.type)
            if old is not None and new is not None:
                yield pair, old, new

    def labels(self) -> Iterator[Statement]:
        """Yield ALTER TYPE ... ADD VALUE; the new labels can be used only after a commit."""
        done = set()
        for _, old, new in self._enums():
            name = require(old.user, "the name of an enum")
            if not self._own or name in done or not _grows(old.labels, new.labels):
                continue
            done.add(name)
            for place, label in enumerate(new.labels):
                if label not in old.labels:
                    after = f"AFTER {ddl.literal(new.labels[place - 1])}" if place else ""
                    first = f"BEFORE {ddl.literal(old.labels[0])}" if old.labels else ""
                    sql = f"ALTER TYPE {ddl.name_of(name)} ADD VALUE IF NOT EXISTS "
                    yield Statement(
                        f"{sql}{ddl.literal(label)} {after or first}",
                        ObjectRef(ObjectKind.TYPE, str(name)),
                    )

    def renames(self) -> Iterator[Statement]:
        """Yield renames of types and sequences that are named after their column or table."""
        if not self._own:
            return
        names: dict[TableId, TableId] = {}
        for pair, old, new in self._enums():
            name = require(old.user, "the name of an enum")
            later = require(new.user, "the name of an enum")
            names[name] = _interim_name(name) if self.replaced(pair) else later
        yield from _moved("TYPE", names)
        counters = {}
        for pair in self.difference.pairs:
            before, after = sequence_of(pair.old), sequence_of(pair.new)
            if before is not None and after is not None:
                counters[before] = after
        yield from _moved("SEQUENCE", counters)

    def before(self) -> Iterator[Statement]:
        """Yield statements that drop the types of dropped columns, then create what new columns
        need."""
        difference = self.difference
        if self._own:
            yield from _dropped(enum_types(tuple(c.target for c in difference.dropped)))
        pairs = [
            pair
            for pair in difference.pairs
            if self.replaced(pair) or enum_of(pair.old.type) != enum_of(pair.new.type)
        ]
        fresh = tuple(side.target for side in difference.fresh)
        news = tuple(p.new for p in pairs if not self._kept(p))
        types = enum_types((*fresh, *news))
        counters = self._counters()
        yield from _create(Catalog(Dialect.POSTGRES, types=types, sequences=counters))

    def _counters(self) -> tuple[Sequence, ...]:
        """Return the sequences that columns call now, and did not before; those of MySQL's columns
        are renamed."""

        def comes(pair: ColumnPair) -> bool:
            before = sequence_of(pair.old)
            return before is None or (not self._own and before != sequence_of(pair.new))

        called = (p.after for p in self.difference.pairs if comes(p))
        return sequences(self.difference.new.id, (*self.difference.added, *called))

    def _kept(self, pair: ColumnPair) -> bool:
        """Return True if the old enum stays, perhaps under another name."""
        old, new = enum_of(pair.old.type), enum_of(pair.new.type)
        if old is None or new is None or self.replaced(pair):
            return False
        return self._own or old.user == new.user

    def after(self) -> Iterator[Statement]:
        """Drop what nothing uses any more; new sequences go on where the source would."""
        difference = self.difference
        counters = self._counters()
        yield from ddl.sequence_values(Catalog(Dialect.POSTGRES, sequences=counters))
        if not self._own:
            return
        for pair in difference.pairs:
            old = enum_of(pair.old.type)
            if old is not None and old.user is not None and not self._kept(pair):
                name = _interim_name(old.user) if self.replaced(pair) else old.user
                yield from _dropped((UserType(name, TypeKind.ENUM),))
            before = sequence_of(pair.old)
            if before is not None and sequence_of(pair.new) is None:
                sql = f"DROP SEQUENCE IF EXISTS {ddl.name_of(before)}"
                yield Statement(sql, ObjectRef(ObjectKind.SEQUENCE, str(before)))

    def same_default(self, pair: ColumnPair) -> bool:
        """Return True if the default is the same, or is the same sequence under another name."""
        before, after = sequence_of(pair.old), sequence_of(pair.new)
        if self._own and before is not None and after is not None:
            return True
        return canonical(pair.old.default) == canonical(pair.new.default)

    def findings(self) -> Iterator[Finding]:
        """Yield findings for types that cannot be created on the target."""
        known = {column.type.user for column in self.difference.old.columns}
        known |= {user.id for user in self.difference.new.types}
        for side in (*self.difference.added, *(p.after for p in self.difference.pairs)):
            native = side.target.type
            if native.user and native.kind is not TypeKind.ENUM and native.user not in known:
                yield _not_carried(side.target.name, f"The type {native.user} is not created.")


def _not_carried(column: str, message: str) -> Finding:
    remedy = "Change the type on the target by hand: other tables may use it."
    return Finding(Severity.WARNING, "type-not-carried", column, message, remedy)


def _grows(old: tuple[str, ...], new: tuple[str, ...]) -> bool:
    """Return True if new labels are only inserted between the old ones, which keep their order."""
    return tuple(label for label in new if label in old) == old


def _dropped(types: tuple[UserType, ...]) -> Iterator[Statement]:
    for user in types:
        yield Statement(
            f"DROP TYPE IF EXISTS {ddl.name_of(user.id)}", ObjectRef(ObjectKind.TYPE, str(user.id))
        )


def _moved(kind: str, names: Mapping[TableId, TableId]) -> Iterator[Statement]:
    for old, new in in_sequence(names, _interim_name):
        what = ObjectRef(ObjectKind(kind.lower()), str(old))
        if old.name != new.name:
            sql = f"ALTER {kind} {ddl.name_of(old)} RENAME TO {ddl.quote(new.name)}"
            yield Statement(sql, what)
        if old.schema != new.schema:
            here = ddl.name_of(replace(old, name=new.name))
            schema = ddl.quote(new.schema)
            yield Statement(f"ALTER {kind} {here} SET SCHEMA {schema}", what)
