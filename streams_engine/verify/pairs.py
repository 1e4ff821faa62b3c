"""What is compared with what: a table of each end, column by column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from streams_engine.model import Column, Dialect, Filter, NativeType, TableId, TableSchema
from streams_engine.schema.dialects import spec_of
from streams_engine.schema.mapping.tables import ColumnMapping, TableMapping
from streams_engine.schema.row_keys import key_of
from streams_engine.schema.types.canonical import (
    CanonicalColumn,
    CanonicalRead,
    CanonicalType,
    canonical_type_for,
    canonical_type_of,
    in_files,
    nulls_zero_dates,
)

__all__ = ["PairColumn", "VerifyPair", "pair_of", "reads_of"]


@dataclass(frozen=True, slots=True)
class PairColumn:
    """A column on both ends: its names and its types there."""

    name: str
    target_name: str
    source_type: NativeType
    target_type: NativeType
    required: bool = False
    """Neither end may hold NULL in it."""


@dataclass(frozen=True, slots=True)
class VerifyPair:
    """A source table and its target. ``key`` names source columns; empty: there is no key."""

    source: TableId
    target: TableId
    key: tuple[str, ...]
    columns: tuple[PairColumn, ...]
    source_only: bool = False
    """Read without the children of plain inheritance."""
    target_only: bool = False
    filters: tuple[Filter, ...] = ()
    """Which rows of the source were wanted."""
    query: str | None = None
    """The source is no table but this query's result."""
    limit: int | None = None
    """The target holds so many of the source's rows, whichever they are."""
    range_key: str | None = None
    """The first column of the source's primary key, where it holds whole numbers on both ends."""

    @property
    def places(self) -> tuple[int, ...]:
        """The places of the key's columns; none if they are not all compared."""
        names = [column.name for column in self.columns]
        whole = set(self.key) <= set(names)
        return tuple(names.index(name) for name in self.key) if whole else ()


def pair_of(mapping: TableMapping, present: TableSchema | None) -> VerifyPair | str:
    """Pair a mapping with the target's present types, or return why it cannot be compared."""
    if present is None:
        return f"{mapping.target.id} does not exist on the target"
    selected = mapping.selection
    from_files = spec_of(mapping.source.dialect).compared_by_arrow
    if from_files and selected is not None and (selected.filters or selected.limit is not None):
        return "a selection of rows of files cannot be compared"
    types = {
        column.name: _compared(column, present.dialect, mapping.source.dialect)
        for column in present.columns
    }
    required = {column.name for column in present.columns if not column.nullable}
    # What the target computes is compared too: a wrong expression shows in its values.
    columns = mapping.carrying(c for c in mapping.generated if c.target.name in types)
    missing = [c.target.name for c in columns if c.target.name not in types]
    if missing:
        return f"the target lacks the columns {', '.join(missing)}"
    return VerifyPair(
        mapping.source.id,
        mapping.target.id,
        key_of(mapping.source),
        tuple(
            PairColumn(
                c.source.name,
                c.target.name,
                _compared(c.source, mapping.source.dialect, present.dialect),
                types[c.target.name],
                not c.source.nullable and c.target.name in required,
            )
            for c in columns
        ),
        source_only=mapping.source.partitioning is None,
        target_only=present.partitioning is None,
        filters=selected.filters if selected else (),
        query=mapping.source.query,
        limit=selected.limit if selected else None,
        range_key=_range_key(mapping.source, columns, types),
    )


def _range_key(
    table: TableSchema, columns: Sequence[ColumnMapping], types: Mapping[str, NativeType]
) -> str | None:
    """Return the first column of the primary key, if both ends hold whole numbers in it."""
    if table.primary_key is None:
        return None
    name = table.primary_key.columns[0]
    for column in columns:
        if column.source.name == name:
            both = column.source.type, types[column.target.name]
            return name if all(map(_is_whole, both)) else None
    return None


def _is_whole(native: NativeType) -> bool:
    form = canonical_type_of(native)
    if form is CanonicalType.DECIMAL:
        return len(native.args) == 2 and native.args[1] == 0
    return form is CanonicalType.INTEGER and native.name not in ("year", "oid")


def _compared(column: Column, dialect: Dialect, other: Dialect) -> NativeType:
    """Return the canonical type of a column; in files that of what is written there."""
    if not spec_of(dialect).compared_by_arrow:
        return column.type
    return in_files(column.type, column.arrow, other)


def reads_of(pair: VerifyPair, zero_dates: str) -> tuple[CanonicalRead, CanonicalRead]:
    """Return what is read of the source and of the target.

    ``zero_dates`` is the policy that the copy followed.
    """
    left, right = [], []
    for c in pair.columns:
        form = canonical_type_for(c.source_type, c.target_type)
        nulled = nulls_zero_dates(c.source_type, c.target_type, zero_dates)
        alike = c.source_type.args == c.target_type.args
        shown = "null" if nulled else "text"
        left.append(CanonicalColumn(c.name, c.source_type, form, shown, alike, c.required))
        right.append(CanonicalColumn(c.target_name, c.target_type, form, "text", alike, c.required))
    return (
        CanonicalRead(pair.source, tuple(left), pair.source_only, pair.filters, pair.query),
        CanonicalRead(pair.target, tuple(right), pair.target_only),
    )
