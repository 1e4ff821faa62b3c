"""Files as a sink: parts, and a manifest a table whose atomic replacement is the commit.

``<root>/<table>/part-<chunk>-<portion>.<ext>`` and ``_manifest.json`` beside them;
``<root>/_streams_engine/<stream>.json`` holds the other checkpoint records. A part that no
manifest lists does not count; the same portion written again takes its place.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from streams_engine.adapters.files import manifest
from streams_engine.adapters.files.appending import FilesWriter
from streams_engine.adapters.files.change_layout import Layout
from streams_engine.adapters.files.encoders import (
    COMPRESSIONS,
    encoder,
    ending,
    written_columns,
)
from streams_engine.adapters.files.options import CsvOptions
from streams_engine.adapters.files.parts import NoRows, Part, Pending
from streams_engine.adapters.files.room import Room
from streams_engine.adapters.files.state import OWN, FilesState, folder_of, safe
from streams_engine.adapters.files.store import Store
from streams_engine.bundles import blocks
from streams_engine.errors import ConfigError, ConnectionFailed, FencedOff, TargetConflict
from streams_engine.model import Column, Dialect, Finding, TableId, TableSchema
from streams_engine.protocols import Load, Mark, Rejected, Written
from streams_engine.required import required
from streams_engine.sharing import Fence, Staged

__all__ = ["FilesSink"]

Document = dict[str, Any]


class FilesSink(FilesState):
    """Writes tables below a root. Safe to use from many threads."""

    dialect = Dialect.FILES
    transactional_ddl = True
    """There is no DDL: nothing of a table's new columns commits by itself."""

    def __init__(
        self,
        store: Store,
        *,
        file_format: str,
        compression: str | None = None,
        csv: CsvOptions | None = None,
    ) -> None:
        known = COMPRESSIONS.get(file_format)
        if known is None:
            raise ConfigError(f"No file format {file_format}; {', '.join(COMPRESSIONS)} are known.")
        compression = compression or ("zstd" if file_format == "parquet" else "none")
        if compression not in known:
            raise ConfigError(
                f"{file_format} is not written with compression {compression}; "
                f"{', '.join(known)} are possible."
            )
        super().__init__(store)
        self.form = file_format, compression, csv or CsvOptions()
        self._format, self._compression, self._csv = self.form
        self._busy: set[tuple[str, int, int]] = set()

    def check(self) -> Sequence[Finding]:
        """Write a small file and remove it. Raises `PermissionDenied`, `ConnectionFailed`."""
        with self.store.probing(f"{OWN}/probe-{threading.get_ident()}.json"):
            return ()

    # A log that is followed

    @contextmanager
    def follow(self, stream: str, key: str) -> Iterator[FilesWriter]:
        """Take over a log of the stream: what its earlier writers have not committed goes."""
        path, log, folders = self.take_over(stream, key)
        writer = FilesWriter(self, path, log)
        writer.sweep(folders)
        try:
            yield writer
        finally:
            writer.abandon()

    def folder(self, table: TableId) -> str:
        """Where a table's files lie."""
        return folder_of(table)

    def quarantine(self, stream: str, name: str) -> str:
        """Where rows that were set aside go."""
        return f"{OWN}/quarantine/{safe(stream)}/{name}.jsonl"

    def manifest_of(self, stream: str, folder: str, layout: Layout) -> Document:
        """The manifest of a table that is followed; a new one where it was made since."""
        self.register(stream, folder)
        document = manifest.read(self.store, folder)
        if document is not None:
            return document
        columns = written_columns(layout.columns, str(layout.table))
        return self._fresh(stream, layout.table.name, columns)

    # Layout

    def prepare(
        self, stream: str, tables: Sequence[TableSchema], *, write_mode: str, keep: bool
    ) -> None:
        """Make room for the tables; see `LayoutSink`. Raises `TargetConflict`, `ConfigError`."""
        if write_mode == "upsert":
            raise ConfigError(
                "Files have no keys that upsert could match on.",
                path="$.target.spec.files.writeMode",
                remedy="Use append or truncate_and_load.",
            )
        rooms = [(table, Room(self.store, folder_of(table.id), stream)) for table in tables]
        for _, room in rooms:
            if not (keep and room.ours):
                room.check(write_mode)
        for table, room in rooms:
            folder = folder_of(table.id)
            self.register(stream, folder)
            with self.guard(folder):
                if keep and room.ours and room.document is not None:
                    room.document["primaryKey"] = _key(table)
                    self.put_manifest(folder, room.document)
                    continue
                stays = room.make(write_mode)
                columns = written_columns(table.columns, str(table.id))
                document = self._fresh(stream, table.id.name, columns)
                document |= {**stays, "primaryKey": _key(table)}
                if document["parts"]:
                    self._same_shape(folder, room.document or {}, columns)
                self.put_manifest(folder, document)

    def finish(self, stream: str, tables: Sequence[TableId]) -> None:
        """The manifests of these tables say that they are whole."""
        for table in tables:
            folder = folder_of(table)
            with self.guard(folder):
                room = Room(self.store, folder, stream)
                if room.ours and room.document is not None:
                    room.sweep()
                    room.document["complete"] = True
                    self.put_manifest(folder, room.document)

    def close(self) -> None:
        """Nothing is open."""

    # Rows

    def write_rows(
        self, stream: str, load: Load, rows: Iterator[pa.RecordBatch], mark: Mark
    ) -> Written:
        """Write one part and commit it with its record. See `Sink`."""
        if load.upsert:
            raise ConfigError("Files have no keys that upsert could match on.")
        folder = folder_of(load.table)
        columns = written_columns(load.columns, str(load.table))
        self.register(stream, folder)
        with self._portion(stream, folder, load, columns) as (name, number):
            staged = self._stage(stream, load, columns, rows, mark, name, number)
            with self.guard(folder):
                document = self._opened(stream, folder, load.table, columns)
                self._commit(document, folder, load.chunk, staged.pending)
        return staged.written

    def stage(
        self, stream: str, load: Load, rows: Iterator[pa.RecordBatch], mark: Mark, fence: Fence
    ) -> Staged:
        """Write one part, under a number that no other attempt has; no manifest lists it yet."""
        columns = written_columns(load.columns, str(load.table))
        number = secrets.randbits(60)
        name = f"part-{load.chunk}-{number}{ending(self._format, self._compression)}"
        return self._stage(stream, load, columns, rows, mark, name, number)

    def settle(self, stream: str, load: Load, staged: Staged, fence: Fence) -> None:
        """List the part in its table's manifest, where the chunk's record is as it was."""
        folder = folder_of(load.table)
        columns = written_columns(load.columns, str(load.table))
        pending: Pending = staged.pending
        key, before = fence.chunk
        self.register(stream, folder)
        with self.guard(folder):
            document = self._opened(stream, folder, load.table, columns)
            if document["records"].get(key) == before:
                self._commit(document, folder, load.chunk, pending)
                return
        self.store.delete(f"{folder}/{pending.name}")
        if pending.quarantined is not None:
            self.store.delete(pending.quarantined["path"])
        raise FencedOff(
            f"Another worker has written {key} meanwhile.", remedy="It goes on from there."
        )

    def _stage(
        self,
        stream: str,
        load: Load,
        columns: Sequence[Column],
        rows: Iterator[pa.RecordBatch],
        mark: Mark,
        name: str,
        number: int,
    ) -> Staged:
        part = Part(load, columns)
        self._write_part(f"{folder_of(load.table)}/{name}", part, rows, mark)
        checkpoint = required(part.checkpoint, "the record of a part")
        aside = (*checkpoint.rejected, *part.rejected)
        quarantined = self._set_aside(stream, load, number, aside)
        key, record = checkpoint.key, dict(checkpoint.document)
        pending = Pending(name, number, part.rows, part.bytes, key, record, quarantined)
        return Staged(Written(part.rows, len(aside), part.bytes), pending)

    @contextmanager
    def _portion(
        self, stream: str, folder: str, load: Load, columns: Sequence[Column]
    ) -> Iterator[tuple[str, int]]:
        """The name and number of this write's part: the first that is not committed yet."""
        with self.guard(folder):
            document = self._opened(stream, folder, load.table, columns)
            done = [
                part["portion"]
                for part in (*document["parts"], *document["quarantined"])
                if part["chunk"] == load.chunk
            ]
            number = max(done, default=-1) + 1
            with self._lock:
                while (folder, load.chunk, number) in self._busy:
                    number += 1
                self._busy.add((folder, load.chunk, number))
        suffix = ending(self._format, self._compression)
        try:
            yield f"part-{document.get('prefix', '')}{load.chunk}-{number}{suffix}", number
        finally:
            with self._lock:
                self._busy.discard((folder, load.chunk, number))

    def _opened(
        self, stream: str, folder: str, table: TableId, columns: Sequence[Column]
    ) -> Document:
        """The table's manifest, with these columns."""
        document = manifest.read(self.store, folder)
        if document is not None and document["stream"] != stream:
            raise TargetConflict(
                f"{self.store.show(folder)} is of stream '{document['stream']}'.",
                folder=self.store.show(folder),
            )
        fresh = self._fresh(stream, table.name, columns)
        if document is None:
            document = fresh
        elif document["parts"]:
            self._same_shape(folder, document, columns)
            return document
        document |= {name: fresh[name] for name in ("columns", "format", "compression", "csv")}
        self.put_manifest(folder, document)
        return document

    def _same_shape(
        self, folder: str, document: Mapping[str, Any], columns: Sequence[Column]
    ) -> None:
        there = [(c["name"], c["arrow"]) for c in document["columns"]]
        dialect = asdict(self._csv) if self._format == "csv" else None
        if (
            there != [(c.name, str(c.arrow)) for c in columns]
            or document["format"] != self._format
            or document["csv"] != dialect
        ):
            raise TargetConflict(
                f"{self.store.show(folder)} holds parts of other columns or of another format.",
                remedy="Use truncate_and_load, or another folder.",
                folder=self.store.show(folder),
            )

    def _write_part(
        self, path: str, part: Part, rows: Iterator[pa.RecordBatch], mark: Mark
    ) -> None:
        """The part, whole; none where there are no rows."""
        several = blocks(rows)
        first = next(several, None)
        if first is None:
            part.checkpoint = mark()
            return
        try:
            with self.store.writing(path) as file:
                made = encoder(file, self._format, self._compression, part.columns, self._csv)
                part.take(made, first)
                for block in several:
                    part.take(made, block)
                made.finish()
                part.checkpoint = mark()
                part.bytes = file.tell()
                if not part.rows:
                    raise NoRows
        except NoRows:
            part.bytes = 0

    def _set_aside(
        self, stream: str, load: Load, number: int, rejected: Sequence[Rejected]
    ) -> Document | None:
        if not rejected:
            return None
        path = self.quarantine(stream, f"{folder_of(load.table)}-{load.chunk}-{number}")
        with self.store.writing(path) as file:
            for row in rejected:
                document = {**asdict(row), "table": str(row.table), "row": dict(row.row)}
                line = json.dumps(document, ensure_ascii=False, default=str)
                file.write(line.encode("utf-8", "backslashreplace") + b"\n")
        return {"path": path, "rows": len(rejected), "chunk": load.chunk, "portion": number}

    def _commit(self, document: Document, folder: str, chunk: int, pending: Pending) -> None:
        """The manifest with the part and the record, replaced in one step; under its guard."""
        if pending.rows:
            document["parts"].append(
                {
                    "path": pending.name,
                    "rows": pending.rows,
                    "bytes": pending.bytes,
                    "chunk": chunk,
                    "portion": pending.number,
                    "key": pending.key,
                }
            )
        if pending.quarantined is not None:
            document["quarantined"].append({**pending.quarantined, "key": pending.key})
        document["records"][pending.key] = pending.record
        document["complete"] = False
        try:
            self.put_manifest(folder, document)
        except ConnectionFailed:
            # Whether it was put after all is settled by looking.
            if manifest.read(self.store, folder) != json.loads(json.dumps(document)):
                raise

    # Documents

    def _fresh(self, stream: str, table: str, columns: Sequence[Column]) -> Document:
        return {
            "version": manifest.VERSION,
            "stream": stream,
            "table": table,
            "format": self._format,
            "compression": self._compression,
            "csv": asdict(self._csv) if self._format == "csv" else None,
            "columns": manifest.documents_of(columns),
            "primaryKey": [],
            "parts": [],
            "quarantined": [],
            "foreign": [],
            "rows": 0,
            "complete": False,
            "records": {},
        }


def _key(table: TableSchema) -> list[str]:
    return list(table.primary_key.columns) if table.primary_key else []
