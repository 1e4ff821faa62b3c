"""Infer a table's schema: from its manifest or footers, else by a full scan."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa

from streams_engine.adapters.files import manifest
from streams_engine.adapters.files.discovery import DataFile, DiscoveredTable
from streams_engine.adapters.files.formats import csv, jsonl, parquet
from streams_engine.adapters.files.formats.options import CsvOptions, RecordLimits
from streams_engine.adapters.files.formats.type_detection import TypeDetection
from streams_engine.adapters.files.stores.store import Store
from streams_engine.errors import ConfigError, MalformedFile
from streams_engine.model import Column, Dialect, Index, IndexPart, TableId, TableSchema
from streams_engine.schema.types.files import arrow_of, files_type

__all__ = ["InferredTable", "declared", "describe"]


USUAL = RecordLimits()


@dataclass(frozen=True)
class InferredTable:
    """A table with all that reading it needs. Pickles."""

    schema: TableSchema
    files: tuple[DataFile, ...]
    options: CsvOptions
    groups: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """The rows of each row group of each Parquet file."""
    parts: frozenset[str] = frozenset()
    """Files that this library wrote, whose columns stand in the schema's order."""
    limits: RecordLimits = USUAL


@dataclass
class _Facts:
    columns: tuple[Column, ...] = ()
    rows: int | None = None
    groups: dict[str, tuple[int, ...]] = field(default_factory=dict)


def describe(
    store: Store,
    discovered: DiscoveredTable,
    options: CsvOptions,
    types: Collection[str] = (),
    limits: RecordLimits = USUAL,
) -> InferredTable:
    """Describe a table. Raises `MalformedFile` naming the file that has no place in it.

    ``types``: the columns whose types are given by the user, which need no scan.
    """
    document = discovered.manifest
    parts: frozenset[str] = frozenset()
    facts = _Facts()
    if document is not None:
        options = CsvOptions(**document["csv"]) if document.get("csv") else options
        parts = frozenset(f"{discovered.path}/{part['path']}" for part in document["parts"])
        if discovered.file_format == "parquet":
            facts = _parquet(store, discovered.files, options, (), limits)
        declared = manifest.columns_of(document, store.show(discovered.path))
        further = [c for c in facts.columns if c.name not in {d.name for d in declared}]
        facts.columns = (*declared, *further)
        if facts.rows is None and all(file.info.path in parts for file in discovered.files):
            facts.rows = int(document["rows"])
    else:
        facts = SCANS[discovered.file_format](store, discovered.files, options, types, limits)
    schema = TableSchema(
        TableId("", discovered.name),
        Dialect.FILES,
        facts.columns,
        primary_key=_key(document),
        estimated_rows=facts.rows,
        bytes=sum(file.info.size for file in discovered.files),
        source_notes=_notes(document, store.show(discovered.path)),
    )
    return InferredTable(schema, discovered.files, options, facts.groups, parts, limits)


def declared(table: InferredTable, types: Mapping[str, str]) -> InferredTable:
    """Return the table with the column types that the user declares. Raises `ConfigError` naming
    one."""
    known = {column.name: column for column in table.schema.columns}
    if not known:  # there is nothing in the files: the user alone knows
        known = {name: _column(name, pa.string()) for name in types}
    for name, text in types.items():
        what = f"{table.schema.id.name}.{name}"
        if name not in known:
            raise ConfigError(f"columns: the file has no column {what}.", path=f"columns.{what}")
        try:
            arrow = arrow_of(text)
        except (ValueError, pa.ArrowInvalid):
            raise ConfigError(f"columns.{what}: '{text}' is not a known Arrow type.") from None
        known[name] = replace(_column(name, arrow), nullable=known[name].nullable)
    return replace(table, schema=replace(table.schema, columns=tuple(known.values())))


def _key(document: Mapping[str, Sequence[str]] | None) -> Index | None:
    names = document.get("primaryKey") if document else None
    if not names:
        return None
    parts = tuple(IndexPart(name) for name in names)
    return Index("primary", parts, unique=True, primary=True, constraint=True)


def _notes(document: Mapping[str, object] | None, where: str) -> tuple[str, ...]:
    if document is None or document.get("complete"):
        return ()
    return (f"{where}: the manifest says that the table was not written completely.",)


def _column(name: str, arrow: pa.DataType, kind: str | None = None) -> Column:
    return Column(name, files_type(arrow, kind), arrow)


def _csv(
    store: Store,
    files: Sequence[DataFile],
    options: CsvOptions,
    types: Collection[str],
    limits: RecordLimits,
) -> _Facts:
    detections: dict[str, TypeDetection] = {}
    rows: int | None = 0
    for file in files:
        for batch, _ in csv.read_texts(store, file.info.path, file.codec, options, limits):
            columns = dict(zip(batch.schema.names, batch.columns, strict=True))
            for name in columns:
                detections.setdefault(name, TypeDetection())
            unknown = [name for name in columns if name not in types]
            if not unknown:  # the header was all that there is to know
                rows = None
                break
            if rows is not None:
                rows += batch.num_rows
            for name in unknown:
                detections[name].show(columns[name])
    return _Facts(tuple(_column(name, d.arrow) for name, d in detections.items()), rows)


def _jsonl(
    store: Store,
    files: Sequence[DataFile],
    _: CsvOptions,
    __: Collection[str],
    limits: RecordLimits,
) -> _Facts:
    """Infer the columns of JSON Lines, reading all lines, because each can have its own keys."""
    detections: dict[str, jsonl.JsonDetection] = {}
    rows = 0
    for file in files:
        where = store.show(file.info.path)
        for records, line in jsonl.read_records(store, file.info.path, file.codec, limits):
            rows += len(records)
            names = dict.fromkeys(name for record in records for name in record)
            if len(detections.keys() | names.keys()) > limits.columns:
                raise limits.too_wide(where, f", from line {line}")
            for name in names:
                jsonl.texts_of(records, name, where, line)
                values = [record.get(name) for record in records]
                detections.setdefault(name, jsonl.JsonDetection()).show(values)
    return _Facts(tuple(_column(name, d.arrow, d.name) for name, d in detections.items()), rows)


def _parquet(
    store: Store,
    files: Sequence[DataFile],
    _: CsvOptions,
    __: Collection[str],
    limits: RecordLimits,
) -> _Facts:
    facts = _Facts(rows=0)
    united: dict[str, tuple[Column, str]] = {}
    seen: list[set[str]] = []
    for file in files:
        where = store.show(file.info.path)
        footer = parquet.footer(store, file.info.path, limits)
        facts.groups[file.info.path] = footer.groups
        facts.rows = (facts.rows or 0) + sum(footer.groups)
        seen.append({column.name for column in footer.columns})
        for column in footer.columns:
            earlier = united.get(column.name)
            united[column.name] = (
                (column, where) if earlier is None else _united(*earlier, column, where)
            )
    facts.columns = tuple(
        column if all(name in names for names in seen) else replace(column, nullable=True)
        for name, (column, _) in united.items()
    )
    return facts


def _united(one: Column, where: str, other: Column, there: str) -> tuple[Column, str]:
    """Combine a column of two files: the wider type of two whole numbers or two floats."""
    nullable = one.nullable or other.nullable
    if one.arrow == other.arrow:
        return replace(one, nullable=nullable), where
    arrow = _wider(one.arrow, other.arrow)
    if arrow is None:
        raise MalformedFile(
            f"Column {one.name} is {one.arrow} in {where} and {other.arrow} in {there}.",
            remedy="Move the files into separate folders.",
            column=one.name,
        )
    return replace(_column(one.name, arrow), nullable=nullable), where


def _wider(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    both = (one, other)
    if all(map(pa.types.is_floating, both)):
        return pa.float64()
    if all(map(pa.types.is_decimal, both)):
        scale = max(one.scale, other.scale)
        digits = max(one.precision - one.scale, other.precision - other.scale) + scale
        if digits > 76:
            return None
        return (pa.decimal128 if digits <= 38 else pa.decimal256)(digits, scale)
    if not all(map(pa.types.is_integer, both)):
        return None
    signed = {bool(pa.types.is_signed_integer(kind)): kind.bit_width for kind in both}
    if len(signed) == 1:
        return max(both, key=lambda kind: kind.bit_width)
    # A signed type that holds the unsigned one too; beyond 64 bits, a decimal.
    width = max(signed[True], 2 * signed[False])
    return {16: pa.int16(), 32: pa.int32(), 64: pa.int64()}.get(width, pa.decimal128(20, 0))


Scan = Callable[[Store, Sequence[DataFile], CsvOptions, Collection[str], RecordLimits], _Facts]

SCANS: Mapping[str, Scan] = {
    "csv": _csv,
    "json": _jsonl,
    "jsonl": _jsonl,
    "parquet": _parquet,
}
