"""Source of files: a file or a folder is a table, and a change during a snapshot is noticed."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from streams_engine.adapters.files.change_log import demand_current
from streams_engine.adapters.files.discovery import (
    DataFile,
    DiscoveredTable,
    Places,
    discover,
    select,
)
from streams_engine.adapters.files.filters import kept
from streams_engine.adapters.files.formats import csv, jsonl, parquet
from streams_engine.adapters.files.formats.options import CsvOptions, RecordLimits
from streams_engine.adapters.files.formats.text_values import parse, render
from streams_engine.adapters.files.infer_schema import InferredTable, declared, describe
from streams_engine.adapters.files.stores.store import Store
from streams_engine.arrow.batches import prefetch
from streams_engine.contracts import OfferCallback, RecordBatches, Scope, SnapshotHandle
from streams_engine.errors import (
    ConfigError,
    MalformedFile,
    NotFound,
    RowRejected,
    SnapshotLost,
    StreamsError,
)
from streams_engine.model import (
    Catalog,
    Chunk,
    Column,
    Dialect,
    Extract,
    Finding,
    Position,
    TableId,
    TableSchema,
)

__all__ = ["FilesSnapshot", "FilesSource", "as_asked"]

KEY = ("file",)
USUAL = RecordLimits()


class FilesSource:
    """The files below a root, or those at some paths below it."""

    dialect = Dialect.FILES

    def __init__(
        self,
        store: Store,
        *,
        file_format: str | None = None,
        paths: tuple[str, ...] = (),
        places: Places | None = None,
        csv: CsvOptions | None = None,
        columns: Mapping[str, Mapping[str, str]] | None = None,
        limits: RecordLimits = USUAL,
    ) -> None:
        """Create a source of files. ``paths`` are short for ``places``. ``columns`` gives, by
        table and column, the Arrow type to read instead of the inferred one."""
        self._store = store
        self._file_format = file_format
        self._places = places or Places(paths)
        self._options = csv or CsvOptions()
        self._declared = columns or {}
        self._limits = limits
        self._described: dict[Any, InferredTable] = {}
        self._lock = threading.Lock()
        self._offer: OfferCallback | None = None

    def check(self) -> Sequence[Finding]:
        """List the files. Raises `ConnectionFailed`, `NotFound`, `PermissionDenied`."""
        self._discover()
        return ()

    def catalog(self, scope: Scope) -> Catalog:
        """Describe the tables in scope; text files without a manifest are read for it."""
        return Catalog(Dialect.FILES, tuple(table.schema for table in self._tables(scope)))

    @contextmanager
    def snapshot(self, scope: Scope, readers: int) -> Iterator[FilesSnapshot]:
        """Open a snapshot, which fails as soon as one of its files changes."""
        for discovered in self._whole(select(self._discover(), scope.tables)):
            demand_current(self._store, discovered)
        tables = self._tables(scope)
        if self._offer is not None:
            self._offer(SnapshotHandle(tuple(tables), late=True))
        yield FilesSnapshot(self._store, tables, readers)

    def share(self, offer: OfferCallback) -> None:
        """Offer every later snapshot to other processes, which must see the same files."""
        self._offer = offer

    @contextmanager
    def join(self, handle: SnapshotHandle, readers: int) -> Iterator[FilesSnapshot]:
        """Join the snapshot of another process.

        Whether its files exist and are unchanged is checked when they are read.
        """
        yield FilesSnapshot(self._store, handle.view, readers)

    def _whole(self, tables: Sequence[DiscoveredTable]) -> Sequence[DiscoveredTable]:
        """Return the tables, and the root, which may be a table's own folder."""
        root = self._store.root
        alone = self._store.protocol == "file" and not Path(root).is_dir()
        return (
            tables
            if self._places != Places() or alone
            else (*tables, DiscoveredTable(self._store.show(), "", ()))
        )

    def discovered(self) -> list[DiscoveredTable]:
        """List the tables without reading their files."""
        return self._discover()

    def _discover(self) -> list[DiscoveredTable]:
        """List the tables. Raises `NotFound` if a local root does not exist; a bucket has no
        folders."""
        tables = discover(self._store, self._places, self._file_format)
        if not tables:
            self._demand_folder()
        return tables

    def _demand_folder(self) -> None:
        if self._store.protocol == "file" and not Path(self._store.root).is_dir():
            raise NotFound(
                f"The folder {self._store.root} does not exist.",
                remedy="Create it, or name another one. (A target creates its folder.)",
            )

    def close(self) -> None:
        """Do nothing: no file is open."""

    def _tables(self, scope: Scope) -> list[InferredTable]:
        if scope.queries:
            raise ConfigError(
                "A source of files does not run queries.",
                remedy=("Select tables and filter their rows (tables, filters) instead."),
            )
        discovered = self._discover()
        return [self._describe(table) for table in select(discovered, scope.tables)]

    def _describe(self, discovered: DiscoveredTable) -> InferredTable:
        """Return the inferred table, from the cache if no file changed since, because a scan reads
        everything."""
        key = (discovered.name, discovered.files, json.dumps(discovered.manifest, sort_keys=True))
        with self._lock:
            if key in self._described:
                return self._described[key]
        types = self._declared.get(discovered.name, {})
        table = declared(
            describe(self._store, discovered, self._options, types, self._limits), types
        )
        with self._lock:
            self._described[key] = table
        return table


class FilesSnapshot:
    """The files as they were when the view was opened."""

    findings: Sequence[Finding] = ()

    def __init__(self, store: Store, tables: Sequence[InferredTable], readers: int) -> None:
        self.readers = readers
        self._store = store
        self._tables = {table.schema.id: table for table in tables}
        self.catalog = Catalog(Dialect.FILES, tuple(table.schema for table in tables))
        self.position: Position = _position(tables)

    def chunks(self, table: TableSchema, rows: int) -> Sequence[Chunk]:
        """Return one chunk per file; large Parquet files are split by row groups."""
        held = self._table(table.id)
        cuts = [cut for file in held.files for cut in _cuts(held, file, rows)]
        return [
            Chunk(table.id, number, None, KEY, low, high, count, ordered=True)
            for number, (low, high, count) in enumerate(cuts)
        ] or [Chunk(table.id)]

    def read(self, extract: Extract, chunk: Chunk) -> RecordBatches:
        """Yield the chunk. Raises `SnapshotLost` naming a file that changed, `MalformedFile`."""
        return prefetch(self._selected(extract, chunk))

    def _table(self, wanted: TableId) -> InferredTable:
        table = self._tables.get(TableId(wanted.schema, wanted.name))
        if table is None:
            raise NotFound(f"There is no table {wanted} among the files.", table=str(wanted))
        return table

    def _selected(self, extract: Extract, chunk: Chunk) -> Generator[pa.RecordBatch, None, None]:
        table = self._table(extract.table)
        wanted = [column.name for column in extract.columns]
        others = [f.column for f in extract.filters] + [s.column for s in extract.sorts]
        needed = [_column(table, name) for name in dict.fromkeys(wanted + others)]
        rows: Iterable[pa.RecordBatch] = (
            kept(block, extract.filters) for block in self._blocks(table, chunk, needed)
        )
        if extract.sorts:
            rows = _sorted(rows, extract)
        for block in _limited(_skipped(iter(rows), chunk.skip), extract.limit):
            yield _projected(block, extract)

    def _blocks(
        self, table: InferredTable, chunk: Chunk, columns: Sequence[Column]
    ) -> Iterator[pa.RecordBatch]:
        for file in table.files:
            groups = range(len(table.groups.get(file.info.path, ())))
            if chunk.key == KEY and chunk.low is not None and chunk.high is not None:
                if file.info.path != chunk.low[0]:
                    continue
                if len(chunk.low) > 1:
                    groups = range(chunk.low[1], chunk.high[1] + 1)
            yield from self._watched(file, READERS[file.file_format](
                self._store, table, file, groups, columns
            ))  # fmt: skip

    def _watched(
        self, file: DataFile, blocks: Iterator[pa.RecordBatch]
    ) -> Iterator[pa.RecordBatch]:
        """Read a file for as long as it is the file that the snapshot was opened on."""
        self._unchanged(file)
        try:
            yield from blocks
        except StreamsError:
            self._unchanged(file)
            raise
        self._unchanged(file)

    def _unchanged(self, file: DataFile) -> None:
        try:
            now = self._store.stat(file.info.path)
        except NotFound:
            now = None
        if now != file.info:
            what = "was deleted" if now is None else "changed"
            raise SnapshotLost(
                f"{self._store.show(file.info.path)} {what} while it was read.",
                remedy="Start again when nothing writes to the files.",
                file=self._store.show(file.info.path),
            )


def _position(tables: Sequence[InferredTable]) -> Position:
    infos = sorted(file.info for table in tables for file in table.files)
    facts = json.dumps([[info.path, info.size, info.mark] for info in infos])
    digest = hashlib.sha256(facts.encode()).hexdigest()
    return {"system": "files", "files": digest, "writes": digest, "storage": digest}


Cut = tuple[tuple[Any, ...], tuple[Any, ...], int | None]


def _cuts(table: InferredTable, file: DataFile, rows: int) -> Iterator[Cut]:
    path = file.info.path
    groups = table.groups.get(path)
    if groups is None:
        yield (path,), (path,), None
        return
    begin = held = 0
    for number, count in enumerate(groups):
        held += count
        if held >= rows or number == len(groups) - 1:
            yield (path, begin), (path, number), held
            begin, held = number + 1, 0


def _column(table: InferredTable, name: str) -> Column:
    try:
        return table.schema.column(name)
    except KeyError:
        raise NotFound(f"{table.schema.id} has no column {name}.", column=name) from None


# What becomes of blocks


def _batch(arrays: Sequence[pa.Array], names: Sequence[str], rows: int) -> pa.RecordBatch:
    if not names:
        return pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))
    return pa.RecordBatch.from_arrays(list(arrays), list(names))


def _sorted(rows: Iterable[pa.RecordBatch], extract: Extract) -> Iterator[pa.RecordBatch]:
    """Yield all rows in order, NULL last."""
    held = list(rows)
    if not held:
        return
    table = pa.Table.from_batches(held)
    keys = [(s.column, "descending" if s.descending else "ascending") for s in extract.sorts]
    order = pc.sort_indices(table, sort_keys=keys)
    yield from table.take(order).to_batches()


def _limited(rows: Iterable[pa.RecordBatch], limit: int | None) -> Iterator[pa.RecordBatch]:
    left = limit
    for block in rows:
        if left is None:
            yield block
            continue
        yield block.slice(0, left)
        left -= min(left, block.num_rows)
        if not left:
            return


def _skipped(rows: Iterator[pa.RecordBatch], skip: int) -> Iterator[pa.RecordBatch]:
    for block in rows:
        passed = min(skip, block.num_rows)
        skip -= passed
        if passed < block.num_rows:
            yield block.slice(passed)


def _projected(block: pa.RecordBatch, extract: Extract) -> pa.RecordBatch:
    arrays = [as_asked(block.column(c.name), c) for c in extract.columns]
    if not arrays:
        return _batch([], [], block.num_rows)
    return pa.RecordBatch.from_arrays(arrays, schema=extract.arrow_schema())


def as_asked(values: pa.Array, column: Column) -> pa.Array:
    if values.type == column.arrow:
        return values
    try:
        if pa.types.is_string(column.arrow):
            return render(values, form="csv")
        if pa.types.is_string(values.type):
            return parse(values, column.arrow, form="csv")
        return values.cast(column.arrow)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, RowRejected):
        raise RowRejected(
            f"Column {column.name}: a value of {values.type} is not a valid {column.arrow}.",
            column=column.name,
        ) from None


# One reader a format


def _read_csv(
    store: Store, table: InferredTable, file: DataFile, _: Sequence[int], columns: Sequence[Column]
) -> Iterator[pa.RecordBatch]:
    where = store.show(file.info.path)
    declared = [column.name for column in table.schema.columns]
    by_place = file.info.path in table.parts
    path, codec = file.info.path, file.codec
    for block, line in csv.read_texts(store, path, codec, table.options, table.limits):
        names = declared if by_place else block.schema.names
        if len(names) != block.num_columns:
            raise MalformedFile(
                f"{where} has {block.num_columns} columns; its manifest lists {len(names)}.",
                file=where,
            )
        texts = dict(zip(names, block.columns, strict=True))
        arrays = [_parsed(texts.get(c.name), c, block.num_rows, where, line) for c in columns]
        yield _batch(arrays, [c.name for c in columns], block.num_rows)


def _read_jsonl(
    store: Store, table: InferredTable, file: DataFile, _: Sequence[int], columns: Sequence[Column]
) -> Iterator[pa.RecordBatch]:
    where = store.show(file.info.path)
    for records, line in jsonl.read_records(store, file.info.path, file.codec, table.limits):
        arrays = [
            _parsed(jsonl.texts_of(records, c.name, where, line), c, len(records), where, line,
                    "jsonl")
            for c in columns
        ]  # fmt: skip
        yield _batch(arrays, [c.name for c in columns], len(records))


def _parsed(
    texts: pa.Array | None, column: Column, rows: int, where: str, line: int, form: str = "csv"
) -> pa.Array:
    if texts is None:
        return pa.nulls(rows, column.arrow)
    try:
        return parse(texts, column.arrow, form=form)
    except RowRejected as fault:
        raise MalformedFile(
            f"{where}, from line {line}: column {column.name}: {fault.message}.",
            file=where,
            line=line,
            column=column.name,
        ) from None


def _read_parquet(
    store: Store,
    table: InferredTable,
    file: DataFile,
    groups: Sequence[int],
    columns: Sequence[Column],
) -> Iterator[pa.RecordBatch]:
    names = [column.name for column in columns]
    for block in parquet.read_groups(store, file.info.path, groups, names, table.limits):
        there = set(block.schema.names)
        arrays = [
            block.column(c.name).cast(c.arrow)
            if c.name in there
            else pa.nulls(block.num_rows, c.arrow)
            for c in columns
        ]
        yield _batch(arrays, names, block.num_rows)


READERS = {"csv": _read_csv, "json": _read_jsonl, "jsonl": _read_jsonl, "parquet": _read_parquet}
