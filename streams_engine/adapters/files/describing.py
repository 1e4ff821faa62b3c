"""What a table of files holds: declared by its manifest or footers, else by a full scan."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa

from streams_engine.adapters.files import csv, jsonl, manifest, parquet
from streams_engine.adapters.files.detect import Detection
from streams_engine.adapters.files.discovery import DataFile, Found
from streams_engine.adapters.files.native import arrow_of, files_type
from streams_engine.adapters.files.options import CsvOptions, RecordLimits
from streams_engine.adapters.files.store import Store
from streams_engine.errors import ConfigError, MalformedFile
from streams_engine.model import Column, Dialect, Index, IndexPart, TableId, TableSchema

__all__ = ["Table", "declared", "describe"]


USUAL = RecordLimits()


@dataclass(frozen=True)
class Table:
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
    found: Found,
    options: CsvOptions,
    types: Collection[str] = (),
    limits: RecordLimits = USUAL,
) -> Table:
    """Describe a table. Raises `MalformedFile` naming the file that has no place in it.

    ``types``: the columns whose types are given by the user, which need no scan.
    """
    document = found.manifest
    parts: frozenset[str] = frozenset()
    facts = _Facts()
    if document is not None:
        options = CsvOptions(**document["csv"]) if document.get("csv") else options
        parts = frozenset(f"{found.path}/{part['path']}" for part in document["parts"])
        if found.file_format == "parquet":
            facts = _parquet(store, found.files, options, (), limits)
        declared = manifest.columns_of(document, store.show(found.path))
        further = [c for c in facts.columns if c.name not in {d.name for d in declared}]
        facts.columns = (*declared, *further)
        if facts.rows is None and all(file.info.path in parts for file in found.files):
            facts.rows = int(document["rows"])
    else:
        facts = SCANS[found.file_format](store, found.files, options, types, limits)
    schema = TableSchema(
        TableId("", found.name),
        Dialect.FILES,
        facts.columns,
        primary_key=_key(document),
        estimated_rows=facts.rows,
        bytes=sum(file.info.size for file in found.files),
        source_notes=_notes(document, store.show(found.path)),
    )
    return Table(schema, found.files, options, facts.groups, parts, limits)


def declared(table: Table, types: Mapping[str, str]) -> Table:
    """The table with columns as the user says that they are. Raises `ConfigError` naming one."""
    known = {column.name: column for column in table.schema.columns}
    if not known:  # there is nothing in the files: the user alone knows
        known = {name: _column(name, pa.string()) for name in types}
    for name, text in types.items():
        what = f"{table.schema.id.name}.{name}"
        if name not in known:
            raise ConfigError(f"columns: there is no column {what}.", path=f"columns.{what}")
        try:
            arrow = arrow_of(text)
        except (ValueError, pa.ArrowInvalid):
            raise ConfigError(f"columns.{what}: '{text}' is no Arrow type known here.") from None
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
    return (f"{where}: its manifest says that the table was not written to its end.",)


def _column(name: str, arrow: pa.DataType, kind: str | None = None) -> Column:
    return Column(name, files_type(arrow, kind), arrow)


def _csv(
    store: Store,
    files: Sequence[DataFile],
    options: CsvOptions,
    types: Collection[str],
    limits: RecordLimits,
) -> _Facts:
    found: dict[str, Detection] = {}
    rows: int | None = 0
    for file in files:
        for batch, _ in csv.read_texts(store, file.info.path, file.codec, options, limits):
            columns = dict(zip(batch.schema.names, batch.columns, strict=True))
            for name in columns:
                found.setdefault(name, Detection())
            unknown = [name for name in columns if name not in types]
            if not unknown:  # the header was all that there is to know
                rows = None
                break
            if rows is not None:
                rows += batch.num_rows
            for name in unknown:
                found[name].show(columns[name])
    return _Facts(tuple(_column(name, d.arrow) for name, d in found.items()), rows)


def _jsonl(
    store: Store,
    files: Sequence[DataFile],
    _: CsvOptions,
    __: Collection[str],
    limits: RecordLimits,
) -> _Facts:
    """Any line can have a column of its own: all are looked at."""
    found: dict[str, jsonl.JsonDetection] = {}
    rows = 0
    for file in files:
        where = store.show(file.info.path)
        for records, line in jsonl.read_records(store, file.info.path, file.codec, limits):
            rows += len(records)
            names = dict.fromkeys(name for record in records for name in record)
            if len(found.keys() | names.keys()) > limits.columns:
                raise limits.too_wide(where, f", from line {line}")
            for name in names:
                jsonl.texts_of(records, name, where, line)
                values = [record.get(name) for record in records]
                found.setdefault(name, jsonl.JsonDetection()).show(values)
    return _Facts(tuple(_column(name, d.arrow, d.name) for name, d in found.items()), rows)


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
    """One column of two files; the wider type of two whole numbers or two floats."""
    nullable = one.nullable or other.nullable
    if one.arrow == other.arrow:
        return replace(one, nullable=nullable), where
    arrow = _wider(one.arrow, other.arrow)
    if arrow is None:
        raise MalformedFile(
            f"Column {one.name} is {one.arrow} in {where} and {other.arrow} in {there}.",
            remedy="Put the files into folders of their own.",
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
    "jsonl": _jsonl,
    "parquet": _parquet,
}
