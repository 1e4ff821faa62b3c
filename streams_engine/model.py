"""The nouns that every part of the engine shares: tables, columns, types, chunks.

All of it is frozen data without behaviour that needs a server; everything pickles.
Names are as the server holds them, never quoted. SQL texts are carried as
`Expression`, in the dialect that they were read in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import pyarrow as pa

__all__ = [
    "Catalog",
    "Check",
    "Chunk",
    "Column",
    "Dialect",
    "Exclusion",
    "Expression",
    "Extension",
    "Extract",
    "Filter",
    "Finding",
    "ForeignKey",
    "Identity",
    "Index",
    "IndexPart",
    "LeftBehind",
    "LooseKey",
    "NativeType",
    "Observed",
    "Partition",
    "Partitioning",
    "Position",
    "Sequence",
    "SequenceValue",
    "Severity",
    "Sort",
    "TableId",
    "TableSchema",
    "TypeKind",
    "UserType",
]

Position = Mapping[str, Any]
"""Where a source's log stands, JSON-able and in the source's own terms.

PostgreSQL: ``{"system": ..., "timeline": ..., "lsn": "0/1A2B"}``; MySQL:
``{"server": uuid, "file": ..., "pos": ..., "gtid": ...}``.
"""


class Dialect(StrEnum):
    """Whose types and SQL something is written in. MariaDB is of MySQL's family."""

    MYSQL = "mysql"
    POSTGRES = "postgres"
    FILES = "files"
    """Files, whose types are Arrow's."""


@dataclass(frozen=True, slots=True, order=True)
class TableId:
    """A table (or another relation) by schema and name; MySQL's schema is its database."""

    schema: str
    name: str
    alias: str = ""
    """The source connection that it is of, where a stream has several; adapters ignore it."""

    def __str__(self) -> str:
        alias = f"{self.alias}." if self.alias else ""
        return alias + (f"{self.schema}.{self.name}" if self.schema else self.name)


class TypeKind(StrEnum):
    """What sort of type a `NativeType` is; MySQL knows BASE, ENUM and SET only."""

    BASE = "base"
    ENUM = "enum"
    SET = "set"
    DOMAIN = "domain"
    COMPOSITE = "composite"
    RANGE = "range"
    MULTIRANGE = "multirange"
    ARRAY = "array"


@dataclass(frozen=True, slots=True)
class NativeType:
    """A column's type as its server knows it.

    ``text`` is what DDL writes (``int unsigned``, ``character varying(20)``, a
    user type quoted and qualified where it must be); ``name`` is the bare name that
    rules look up, lower case, without arguments, as the catalogs spell it: for
    MySQL ``DATA_TYPE`` (``int``, ``varchar``, ``enum``), for PostgreSQL ``typname``
    (``int4``, ``varchar``, ``timestamptz``).
    """

    dialect: Dialect
    text: str
    name: str
    args: tuple[int, ...] = ()
    """Length; or precision and scale; or fractional digits. Empty where not declared."""
    unsigned: bool = False
    kind: TypeKind = TypeKind.BASE
    labels: tuple[str, ...] = ()
    """The labels of an ENUM or SET, in order."""
    element: NativeType | None = None
    """The element of an array, the base of a domain, the subtype of a range."""
    user: TableId | None = None
    """The name of the user-defined type (PostgreSQL), None for built-in types."""
    extension: str | None = None
    """The extension that owns the type, as ``hstore`` or ``postgis``."""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Expression:
    """SQL text as the server renders it, with the user functions that it calls."""

    sql: str
    dialect: Dialect
    functions: tuple[str, ...] = ()
    """User-defined functions that it needs and that are not moved, by qualified name."""
    source: str | None = field(default=None, compare=False)
    """The source's own text, where this is a translation of it."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A column that numbers itself: identity (PostgreSQL) or AUTO_INCREMENT (MySQL)."""

    always: bool = False
    start: int = 1
    increment: int = 1
    minimum: int | None = None
    maximum: int | None = None
    cache: int = 1
    cycle: bool = False
    next_value: int | None = None
    """The value that the source would give next, None where it is not known."""
    sequence: TableId | None = None
    """Its sequence's name (PostgreSQL)."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its native type, and the Arrow type that a reader yields for it.

    ``arrow`` is the hub type. A planner may ask a reader for another representation
    by replacing it (text instead of a date, say); what each reader can give is
    listed in ``schema/``.
    """

    name: str
    type: NativeType
    arrow: pa.DataType
    nullable: bool = True
    default: Expression | None = None
    identity: Identity | None = None
    generated: Expression | None = None
    stored: bool = True
    """False for a virtual generated column; without meaning where ``generated`` is None."""
    on_update: Expression | None = None
    """MySQL's ON UPDATE CURRENT_TIMESTAMP."""
    collation: str | None = None
    """PostgreSQL: set where it is not the default of the column's type. MySQL: always for text."""
    charset: str | None = None
    comment: str | None = None
    invisible: bool = False
    local: bool = True
    """False for a column that only comes from a parent of plain inheritance."""
    as_json: bool = False
    """Asked of a reader: the value as the JSON that its server makes of it (``arrow`` is text)."""


@dataclass(frozen=True, slots=True)
class IndexPart:
    """One key part of an index: a column or an expression, never both."""

    column: str | None = None
    expression: Expression | None = None
    descending: bool = False
    nulls_first: bool | None = None
    """None: the default of the direction."""
    length: int | None = None
    """MySQL's prefix length in characters (bytes for binary strings)."""
    opclass: str | None = None
    """PostgreSQL's operator class with its parameters, where it is not the default."""
    collation: str | None = None


@dataclass(frozen=True, slots=True)
class Index:
    """A primary key, unique constraint or index."""

    name: str
    parts: tuple[IndexPart, ...]
    unique: bool = False
    primary: bool = False
    constraint: bool = False
    """True for a primary key or UNIQUE constraint, False for a plain index."""
    method: str = "btree"
    """btree, hash, gin, gist, brin, spgist, fulltext, spatial, ..."""
    include: tuple[str, ...] = ()
    where: Expression | None = None
    nulls_distinct: bool = True
    deferrable: bool = False
    deferred: bool = False
    options: tuple[str, ...] = ()
    """Storage options, as ``fillfactor=70``."""
    comment: str | None = None
    visible: bool = True
    clustered: bool = False
    optional: bool = False
    """Made where the target can: a failure is a warning (an index carried across dialects)."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it covers, expressions left out."""
        return tuple(part.column for part in self.parts if part.column is not None)


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A foreign key; actions in SQL words: NO ACTION, RESTRICT, CASCADE, SET NULL, SET DEFAULT."""

    name: str
    columns: tuple[str, ...]
    referenced: TableId
    referenced_columns: tuple[str, ...]
    on_delete: str = "NO ACTION"
    on_update: str = "NO ACTION"
    set_columns: tuple[str, ...] = ()
    """PostgreSQL 15: the columns of ON DELETE SET NULL/DEFAULT (...), empty: all."""
    match: str = "SIMPLE"
    deferrable: bool = False
    deferred: bool = False
    validated: bool = True
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """A CHECK constraint; ``expression`` is the bare condition."""

    name: str
    expression: Expression
    validated: bool = True
    inherit: bool = True
    comment: str | None = None
    local: bool = True
    """False for a check that only comes from a parent of plain inheritance."""
    optional: bool = False
    """Added after the rows where the target can: a failure is a warning."""


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A PostgreSQL exclusion constraint, as ``pg_get_constraintdef`` renders it."""

    name: str
    definition: Expression
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition: its bound clause, and its own partitioning if it has any."""

    id: TableId
    bound: str
    """``FOR VALUES FROM (...) TO (...)`` or ``DEFAULT``, as the server renders it."""
    partitioning: Partitioning | None = None
    checks: tuple[Check, ...] = ()
    """Checks of its own, which the whole table does not have."""
    indexes: tuple[Index, ...] = ()
    """Indexes of its own, likewise."""
    foreign_keys: tuple[ForeignKey, ...] = ()
    """Foreign keys of its own, likewise."""


@dataclass(frozen=True, slots=True)
class Partitioning:
    """How a table is partitioned: the key clause (``RANGE (logdate)``) and its partitions."""

    key: str
    dialect: Dialect
    partitions: tuple[Partition, ...] = ()

    def every(self) -> tuple[Partition, ...]:
        """The partitions, and those of partitions, in order."""
        found: list[Partition] = []
        for part in self.partitions:
            found += (part, *(part.partitioning.every() if part.partitioning else ()))
        return tuple(found)

    def leaves(self) -> tuple[TableId, ...]:
        """The relations that hold rows, in order."""
        found: list[TableId] = []
        for part in self.partitions:
            found.extend(part.partitioning.leaves() if part.partitioning else (part.id,))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class TableSchema:
    """A table as its catalog describes it. Foreign-key targets are named, not resolved."""

    id: TableId
    dialect: Dialect
    columns: tuple[Column, ...]
    primary_key: Index | None = None
    indexes: tuple[Index, ...] = ()
    """All but the primary key: unique constraints and plain indexes."""
    foreign_keys: tuple[ForeignKey, ...] = ()
    checks: tuple[Check, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()
    partitioning: Partitioning | None = None
    inherits: tuple[TableId, ...] = ()
    """Parents of plain inheritance (PostgreSQL); rows are then read with ONLY."""
    comment: str | None = None
    unlogged: bool = False
    estimated_rows: int | None = None
    bytes: int | None = None
    options: tuple[str, ...] = ()
    """Storage options (PostgreSQL), as ``fillfactor=70``."""
    engine: str | None = None
    """MySQL's storage engine."""
    query: str | None = None
    """It is no table but the result of this query, under a name that the user gave."""
    oid: int | None = field(default=None, compare=False)
    """PostgreSQL: what the server knows it by. Under one name another oid is another table."""
    source_notes: tuple[str, ...] = ()
    """What the catalog reader saw and cannot express, each a sentence for `plan()`."""
    versioned: bool = False
    """MariaDB: WITH SYSTEM VERSIONING. Its log has rows of the history too."""

    def column(self, name: str) -> Column:
        """The column of that name; KeyError where there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    @property
    def every_foreign_key(self) -> tuple[ForeignKey, ...]:
        """Its foreign keys, and those that its partitions have of their own."""
        parts = self.partitioning.every() if self.partitioning else ()
        return (*self.foreign_keys, *(key for part in parts for key in part.foreign_keys))


@dataclass(frozen=True, slots=True)
class UserType:
    """A PostgreSQL enum, domain, composite or range type."""

    id: TableId
    kind: TypeKind
    labels: tuple[str, ...] = ()
    base: NativeType | None = None
    """A domain's base type, a range's subtype."""
    default: Expression | None = None
    nullable: bool = True
    checks: tuple[Check, ...] = ()
    collation: str | None = None
    attributes: tuple[tuple[str, NativeType], ...] = ()
    """A composite's attributes in order."""
    options: tuple[str, ...] = ()
    """A range's further options, as ``subtype_opclass = ...``, ready for DDL."""
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class Sequence:
    """A sequence, owned by a column (serial) or by none. Identity sequences are not listed."""

    id: TableId
    type: str = "bigint"
    start: int = 1
    increment: int = 1
    minimum: int | None = None
    maximum: int | None = None
    cache: int = 1
    cycle: bool = False
    last_value: int | None = None
    """None where it was never called."""
    owner: tuple[TableId, str] | None = None
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class SequenceValue:
    """Where a sequence, or a column that numbers its rows, stands on a source now."""

    value: int | None
    """None where this account may not read it."""
    called: bool = True
    """False where ``value`` is the next one that is given."""
    sequence: TableId | None = None
    """Its name; None for AUTO_INCREMENT."""
    column: tuple[TableId, str] | None = None
    """The column that owns it, if any does."""
    increment: int = 1
    cycle: bool = False


@dataclass(frozen=True, slots=True)
class Extension:
    """An extension that the captured columns, indexes or defaults need."""

    name: str
    schema: str
    version: str


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """An object of the source that is not moved: a view, trigger, routine or event."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Catalog:
    """What a source holds within a scope, or a target at the asked-for names."""

    dialect: Dialect
    tables: tuple[TableSchema, ...] = ()
    types: tuple[UserType, ...] = ()
    """In an order in which they can be created."""
    sequences: tuple[Sequence, ...] = ()
    extensions: tuple[Extension, ...] = ()
    left_behind: tuple[LeftBehind, ...] = ()
    mariadb: bool | None = None
    """True for MariaDB, False for MySQL, None where it is not known or another dialect."""
    schemas: frozenset[str] = frozenset()
    """Of a target: the schemas that exist already and need not be made."""

    def table(self, wanted: TableId) -> TableSchema | None:
        """The table of that id, or None."""
        return next((table for table in self.tables if table.id == wanted), None)


@dataclass(frozen=True, slots=True)
class LooseKey:
    """A foreign key that holds only because a collation takes different texts for equal."""

    rows: int
    """Rows whose text is not the referenced one, byte by byte."""
    beyond_case: int
    """Those of them that differ by more than case: accents, trailing blanks."""
    query: str
    """A SELECT for the source that finds them."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What a scan of the rows showed that no catalog tells; names as in the source."""

    booleans: frozenset[tuple[TableId, str]] = frozenset()
    """TINYINT(1) columns that hold nothing but 0, 1 and NULL."""
    zero_dates: Mapping[tuple[TableId, str], int] = field(default_factory=dict)
    """NOT NULL columns that hold zero or partial dates, and in how many rows."""
    loose_keys: Mapping[tuple[TableId, str], LooseKey] = field(default_factory=dict)
    """By table and name of the foreign key."""

    def stamped(self, alias: str) -> Observed:
        """The same, with the alias of its source in every table's name."""

        def of(key: tuple[TableId, str]) -> tuple[TableId, str]:
            return replace(key[0], alias=alias), key[1]

        return Observed(
            frozenset(map(of, self.booleans)),
            {of(key): count for key, count in self.zero_dates.items()},
            {of(key): found for key, found in self.loose_keys.items()},
        )


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition of a selection; ``operator`` in the words of the stream document."""

    column: str
    operator: str
    value: Any = None


@dataclass(frozen=True, slots=True)
class Sort:
    """One sort key of a selection."""

    column: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Extract:
    """What is read of a table: its columns in order, each in the Arrow type asked for.

    Yielded batches have exactly these columns, with these names and Arrow types.
    """

    table: TableId
    columns: tuple[Column, ...]
    filters: tuple[Filter, ...] = ()
    sorts: tuple[Sort, ...] = ()
    limit: int | None = None
    query: str | None = None
    """Read this query's result instead of the table."""
    tuples: bool = False
    """Rows as PostgreSQL's COPY BINARY has them, whole, in one column: nothing looks inside."""

    def arrow_schema(self) -> pa.Schema:
        """The schema of each batch that a reader yields for this extract."""
        if self.tuples:
            return pa.schema([pa.field("tuple", pa.binary())])
        return pa.schema([pa.field(c.name, c.arrow, nullable=c.nullable) for c in self.columns])


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a table that is read and written as one unit of work.

    ``low`` and ``high`` bound ``key`` (``low`` exclusive, ``high`` inclusive, None:
    open); ``key`` names the key columns, or is ``("ctid",)``, or empty for a whole
    relation. Bounds are JSON-able texts or numbers that the source itself made;
    a comparison of them is always the server's.
    """

    table: TableId
    number: int = 0
    relation: TableId | None = None
    """The partition that is read instead of ``table`` itself."""
    key: tuple[str, ...] = ()
    low: tuple[Any, ...] | None = None
    high: tuple[Any, ...] | None = None
    estimated_rows: int | None = None
    ordered: bool = False
    """Its rows come in one order at every read as long as the table is not written to."""
    skip: int = 0
    """Rows at the beginning of that order that are not to be read again."""


class Severity(StrEnum):
    """How much a finding matters: an ERROR forbids the start."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a check or a mapping has to say about an object."""

    severity: Severity
    code: str
    """Stable, kebab-case, as ``zero-dates`` or ``fulltext-index``."""
    object: str
    message: str
    remedy: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict, hash=False, compare=False)
