"""Tables, columns, types, keys and catalogs: frozen, without I/O; everything pickles.

Names are as the server holds them, never quoted. SQL texts are `Expression`, in the dialect
that they were read in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

import pyarrow as pa

__all__ = [
    "Catalog",
    "Check",
    "Column",
    "Dialect",
    "Exclusion",
    "Expression",
    "Extension",
    "ForeignKey",
    "Identity",
    "Index",
    "IndexPart",
    "NativeType",
    "ObjectKind",
    "ObjectRef",
    "Partition",
    "Partitioning",
    "Sequence",
    "SequenceValue",
    "SkippedObject",
    "TableId",
    "TableSchema",
    "TypeKind",
    "UserType",
]


class Dialect(str):
    """A family of types and SQL, by the name that it is stored under. MariaDB is of MySQL's family.

    There is one object for each name, also after pickling. `schema.dialects.spec_of` tells what is
    known of it; an adapter may bring a dialect of its own.
    """

    __slots__ = ()

    MYSQL: ClassVar[Dialect]
    POSTGRES: ClassVar[Dialect]
    FILES: ClassVar[Dialect]
    """Files, whose types are Arrow's."""

    def __new__(cls, name: str) -> Dialect:
        return _DIALECTS.setdefault(name, super().__new__(cls, name))

    def __reduce__(self) -> tuple[type[Dialect], tuple[str]]:
        return Dialect, (str(self),)


_DIALECTS: dict[str, Dialect] = {}
Dialect.MYSQL = Dialect("mysql")
Dialect.POSTGRES = Dialect("postgres")
Dialect.FILES = Dialect("files")


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


class ObjectKind(StrEnum):
    """The kind of a database object."""

    SCHEMA = "schema"
    DATABASE = "database"
    EXTENSION = "extension"
    TYPE = "type"
    SEQUENCE = "sequence"
    TABLE = "table"
    TABLES = "tables"
    PARTITION = "partition"
    COLUMN = "column"
    IDENTITY = "identity"
    AUTO_INCREMENT = "AUTO_INCREMENT"
    INDEX = "index"
    CONSTRAINT = "constraint"
    CHECK = "check"
    FOREIGN_KEY = "foreign key"
    COMMENT = "comment on"


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """A database object. Compare references; ``str()`` is for people."""

    kind: ObjectKind
    name: str = ""
    """Its own name, qualified where ``table`` is None; empty for a table."""
    table: TableId | None = None
    """The table itself, or the one that it belongs to."""

    def __str__(self) -> str:
        if self.table is None:
            return f"{self.kind} {self.name}"
        label = _LABELS.get(self.kind, "{kind} {name} of {table}")
        return label.format(kind=self.kind, name=self.name, table=self.table)


_LABELS = {
    ObjectKind.TABLE: "table {table}",
    ObjectKind.PARTITION: "partition {table}",
    ObjectKind.COLUMN: "column {table}.{name}",
    ObjectKind.IDENTITY: "identity of {table}.{name}",
    ObjectKind.SEQUENCE: "sequence of {table}.{name}",
    ObjectKind.AUTO_INCREMENT: "AUTO_INCREMENT of {table}",
}


class TypeKind(StrEnum):
    """The kind of a `NativeType`; MySQL knows BASE, ENUM and SET only."""

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
    """The value that the source would give next, None if it is not known."""
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
    unproved: str | None = None
    """PostgreSQL 18: the name of its NOT NULL constraint that is NOT VALID: it has NULLs still, so
    ``nullable`` is True."""
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
    number: int | None = field(default=None, compare=False)
    """PostgreSQL: what the server knows it by in its table. Under one name another number is
    another column."""
    written: int | None = field(default=None, compare=False)
    """PostgreSQL: the transaction that wrote its description last. Another one, and another file of
    the table, is how ``ALTER TYPE ... USING`` shows that keeps the type."""
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
    needs: tuple[str, ...] = ()
    """The user's operator classes that it needs, which are not moved, by qualified name."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it covers, expressions left out."""
        return tuple(part.column for part in self.parts if part.column is not None)

    @property
    def without_overlaps(self) -> bool:
        """PostgreSQL 18: its last column is a period. Of keys, only these have a GiST index."""
        return self.constraint and self.method == "gist"


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
    enforced: bool = True
    """False: rows need not satisfy it; it is validated by nobody."""
    comment: str | None = None
    period: bool = False
    """PostgreSQL 18: the last column is a period, which the referenced ones cover together."""
    referenced_oid: int | None = field(default=None, compare=False)
    """PostgreSQL's number of the referenced table, whatever its name is."""


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
    enforced: bool = True
    """False where rows are not compared with it: NOT ENFORCED."""


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
    columns: tuple[Column, ...] = ()
    """Columns whose default or NOT NULL is its own, and not that of what it is a partition of."""
    unlogged: bool = field(default=False, compare=False)
    """Of a source: its changes are in no log."""
    options: tuple[str, ...] = ()
    """Its storage options, as ``fillfactor=70``."""
    inherited: tuple[tuple[str, str], ...] = ()
    """Indexes that it has because the whole table has them: (the whole's name, its name here)."""


@dataclass(frozen=True, slots=True)
class Partitioning:
    """Partitioning of a table: its key clause (``RANGE (logdate)``) and its partitions."""

    key: str
    dialect: Dialect
    partitions: tuple[Partition, ...] = ()
    needs: tuple[str, ...] = ()
    """The user's functions and operator classes that its key needs, which are not moved."""

    def every(self) -> tuple[Partition, ...]:
        """Return the partitions and their sub-partitions, in order."""
        partitions: list[Partition] = []
        for part in self.partitions:
            partitions += (part, *(part.partitioning.every() if part.partitioning else ()))
        return tuple(partitions)

    def leaves(self) -> tuple[TableId, ...]:
        """Return the relations that contain rows, in order."""
        relations: list[TableId] = []
        for part in self.partitions:
            relations.extend(part.partitioning.leaves() if part.partitioning else (part.id,))
        return tuple(relations)


@dataclass(frozen=True, slots=True)
class Extension:
    """An extension of PostgreSQL that a table needs."""

    name: str
    schema: str
    version: str
    for_types: bool = field(default=False, compare=False)
    """Only types of columns need it."""


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
    storage: tuple[tuple[int, int], ...] = field(default=(), compare=False)
    """PostgreSQL: (oid, relfilenode) of the table or of each leaf partition. Where a file is
    another one, the rows were written anew: by a change of type, say, or a TRUNCATE."""
    links: tuple[tuple[int, int], ...] = field(default=(), compare=False)
    """PostgreSQL: (oid, transaction that made it one) of each partition. Where the transaction is
    another one, the partition was away meanwhile, and changed without this table's log."""
    types: tuple[UserType, ...] = ()
    """PostgreSQL: the user's types that its columns are made of, in an order in which they can be
    created."""
    extensions: tuple[Extension, ...] = field(default=(), compare=False)
    """PostgreSQL: those that its types, indexes, defaults or checks need."""
    source_notes: tuple[str, ...] = ()
    """What the catalog reader saw and cannot express, each a sentence for `plan()`."""
    versioned: bool = False
    """MariaDB: WITH SYSTEM VERSIONING. Its log has rows of the history too."""

    def column(self, name: str) -> Column:
        """Return the column of that name. Raises KeyError if there is none."""
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
    numbers: tuple[int, ...] = field(default=(), compare=False)
    """What the server knows an enum's labels or a composite's attributes by, each under any
    name."""
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
    """None if it was never called."""
    owner: tuple[TableId, str] | None = None
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class SequenceValue:
    """Present value of a sequence, or of a column that numbers its rows, on a source."""

    value: int | None
    """None if this account may not read it."""
    called: bool = True
    """False if ``value`` is the next one that is given."""
    sequence: TableId | None = None
    """Its name; None for AUTO_INCREMENT."""
    column: tuple[TableId, str] | None = None
    """The column that owns it, if any does."""
    increment: int = 1
    cycle: bool = False


@dataclass(frozen=True, slots=True)
class SkippedObject:
    """An object of the source that is not moved: a view, trigger, routine or event."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Catalog:
    """The objects of a source within a scope, or of a target at the given names."""

    dialect: Dialect
    tables: tuple[TableSchema, ...] = ()
    types: tuple[UserType, ...] = ()
    """In an order in which they can be created."""
    sequences: tuple[Sequence, ...] = ()
    extensions: tuple[Extension, ...] = ()
    skipped: tuple[SkippedObject, ...] = ()
    mariadb: bool | None = None
    """True for MariaDB, False for MySQL, None if it is not known or another dialect."""
    schemas: frozenset[str] = frozenset()
    """Of a target: the schemas that exist already and need not be made."""

    def table(self, wanted: TableId) -> TableSchema | None:
        """Return the table of that id, or None."""
        return next((table for table in self.tables if table.id == wanted), None)
