"""From a source's tables to the target's: columns, types, keys, names, and what is lost.

Pure: no server is asked. The result is what `plan()` shows and what a run builds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from streams_engine.errors import LossyMapping
from streams_engine.model import (
    Catalog,
    Column,
    Dialect,
    Extract,
    Filter,
    Finding,
    NativeType,
    RowObservations,
    Severity,
    Sort,
    TableId,
    TableSchema,
)
from streams_engine.schema.types.loss import describe_loss

__all__ = [
    "ColumnMapping",
    "MappedCatalog",
    "MappingOptions",
    "SelectedRows",
    "TableMapping",
    "TextConversion",
    "computes_all",
    "keyed_by",
    "notes_of",
    "override_for",
    "unchanged",
    "warning",
]


@dataclass(frozen=True, slots=True)
class MappingOptions:
    """The user's options of the mapping."""

    target_schema: str | None = None
    """Every table goes into this schema; None: each into one of its own name."""
    overrides: tuple[tuple[str, NativeType], ...] = ()
    """(``table.column``, ``schema.table.column`` or a source type's text, target type)."""
    zero_dates: str = "null"
    unsigned_keys: str = "exact"
    """``bigint``: what BIGINT UNSIGNED becomes where MySQL numbers it, and where keys refer."""
    identifier_case: str = "preserve"
    observed: RowObservations = field(default_factory=RowObservations)
    """What a scan of the rows showed."""
    allow_lossy: bool = False
    quarantine: bool = False
    """Rows that the target cannot hold are quarantined."""
    prefix: str = ""
    """Before the name of every table: the alias of one of several sources, and ``_``."""
    mariadb: bool = False
    """The target is MariaDB, where its dialect is MySQL's."""
    followed: bool = False
    """Rows are told apart by their keys, in a log: a computed key column carries data."""


@dataclass(frozen=True, slots=True)
class SelectedRows:
    """Selection of rows and columns of a table. Empty ``columns`` select all."""

    columns: tuple[str, ...] = ()
    filters: tuple[Filter, ...] = ()
    sorts: tuple[Sort, ...] = ()
    limit: int | None = None

    @property
    def ordered(self) -> bool:
        """It is one query's result, in one order: it cannot be cut into chunks."""
        return bool(self.sorts) or self.limit is not None


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """One column on its way: how it is read, what is done to it, what it becomes."""

    source: Column
    """With the Arrow type that the reader is asked for."""
    target: Column
    """With the Arrow type that arrives at the sink."""
    convert: str | None = None
    notes: tuple[str, ...] = ()
    fit: str | None = None
    """By what check (of `streams_engine.schema.types.casts`) values go into a type that was there
    already and does not hold every one of them."""


TextConversion = Callable[[bytes], bytes]
"""A value's text in the source's log -> one that the target's type reads back exactly. Raises
`ValueError` if there is none."""


def unchanged(value: bytes) -> bytes:
    """Return the text: the target reads what the source prints."""
    return value


@dataclass(frozen=True, slots=True)
class TableMapping:
    """One table on its way; ``columns`` are those that carry data."""

    source: TableSchema
    target: TableSchema
    columns: tuple[ColumnMapping, ...]
    generated: tuple[ColumnMapping, ...] = field(default=(), kw_only=True)
    """Those that the target computes. Where its column is a plain one, they carry data too."""
    selection: SelectedRows | None = None
    tuples: bool = False
    """Rows may be copied as the source's server wrote them; not if bad rows are quarantined."""

    def carrying(self, plain: Iterable[ColumnMapping]) -> tuple[ColumnMapping, ...]:
        """Return the columns, including these generated ones as plain columns, in the source
        table's order."""
        places = {column.name: i for i, column in enumerate(self.source.columns)}
        columns = (
            *self.columns,
            *(replace(c, target=replace(c.target, generated=None)) for c in plain),
        )
        return tuple(sorted(columns, key=lambda c: places[c.source.name]))

    def extract(self) -> Extract:
        """Return the extract to read from the source."""
        chosen = self.selection or SelectedRows()
        return Extract(
            self.source.id,
            tuple(c.source for c in self.columns),
            chosen.filters,
            chosen.sorts,
            chosen.limit,
            self.source.query,
            self.tuples,
        )


@dataclass(frozen=True, slots=True)
class MappedCatalog:
    """A whole source on its way."""

    source: Catalog
    target: Catalog
    tables: tuple[TableMapping, ...]
    findings: tuple[Finding, ...] = ()


def chosen_type(
    options: MappingOptions, table: TableId, column: Column, *, postgres_source: bool
) -> NativeType | None:
    """Return the type that the user chose for a column, or None.

    Raises `LossyMapping` if it would silently round or truncate values and ``allowLossy`` is off.
    """
    native = override_for(options.overrides, table, column)
    lost = native and describe_loss(column.type, native, postgres_source=postgres_source)
    if lost and not options.allow_lossy:
        raise LossyMapping(
            f"Column {table}.{column.name}: {column.type} as {native} would lose {lost}.",
            remedy="Choose a wider type in typeOverrides, or set allowLossy: true.",
            column=f"{table}.{column.name}",
        )
    return native


def computes_all(table: TableSchema) -> bool:
    """Return whether a table has generated columns alone, so that no other value tells of a row."""
    return all(column.generated is not None for column in table.columns)


def keyed_by(options: MappingOptions, table: TableSchema, column: Column) -> bool:
    """Return whether a generated column has to carry data, because a log tells rows apart by it."""
    key = table.primary_key
    return bool(options.followed and column.generated and key and column.name in key.columns)


def notes_of(table: TableSchema) -> Iterator[str]:
    """Yield what a table has that no target but PostgreSQL can have, a sentence each."""
    yield from table.source_notes
    unproved = [f'"{column.name}"' for column in table.columns if column.unproved]
    if unproved:
        yield (
            f"NOT NULL of {', '.join(unproved)} is NOT VALID: the target allows NULL until it is "
            "validated."
        )
    tree = table.partitioning
    parts = {str(part.id): part.options for part in tree.every()} if tree else {}
    for name, options in {str(table.id): table.options, **parts}.items():
        if options and table.dialect is Dialect.POSTGRES:
            yield f"The storage options of {name} ({', '.join(options)}) are PostgreSQL's own."


def warning(code: str, what: object, message: str, remedy: str | None = None) -> Finding:
    """Create a finding of severity warning."""
    return Finding(Severity.WARNING, code, str(what), message, remedy)


def override_for(
    overrides: Sequence[tuple[str, NativeType]], table: TableId, column: Column
) -> NativeType | None:
    """Return the user's type for a column, by its name first, then by its source type."""
    names = {f"{table.name}.{column.name}", f"{table.schema}.{table.name}.{column.name}"}
    for pattern, native in overrides:
        if pattern in names:
            return native
    native_text = column.type.text.lower()
    for pattern, native in overrides:
        if pattern.lower() in (native_text, column.type.name):
            return native
    return None


@dataclass(slots=True)
class Findings:
    """A list of findings in the making."""

    items: list[Finding] = field(default_factory=list)

    def warn(self, code: str, what: object, message: str, remedy: str | None = None) -> None:
        """Add a warning."""
        self.items.append(warning(code, what, message, remedy))

    def tell(self, code: str, what: object, message: str, remedy: str | None = None) -> None:
        """Add a finding of severity info."""
        self.items.append(Finding(Severity.INFO, code, str(what), message, remedy))
