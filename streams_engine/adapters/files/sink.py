"""Sink of files: data files, and a manifest per table whose atomic replacement is the commit.

``<root>/<table>/part-<chunk>-<portion>.<ext>`` with ``_manifest.json`` in the same folder;
``<root>/_streams_engine/<stream>.json`` has the other checkpoint records. A data file that no
manifest lists does not count; writing the same portion again replaces it.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from streams_engine.adapters.files import manifest
from streams_engine.adapters.files.change_log import ChangeFileLayout
from streams_engine.adapters.files.change_writer import FilesChangeWriter
from streams_engine.adapters.files.checkpoint import OWN, FilesCheckpoint, folder_of, safe
from streams_engine.adapters.files.formats.encoders import encoder, written_columns
from streams_engine.adapters.files.formats.options import CsvOptions, ParquetOptions, file_form
from streams_engine.adapters.files.stores.store import Store
from streams_engine.adapters.files.table_directory import (
    NoRows,
    PartWriter,
    PendingPart,
    TableDirectory,
)
from streams_engine.contracts import (
    CheckpointCallback,
    Fence,
    PreparedWrite,
    QuarantinedRow,
    WritePlan,
    WriteResult,
)
from streams_engine.errors import ConfigError, ConnectionFailed, FencedOff, TargetConflict, require
from streams_engine.model import Column, Dialect, Finding, TableId, TableSchema

__all__ = ["FilesSink"]

Document = dict[str, Any]


class FilesSink(FilesCheckpoint):
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
        parquet: ParquetOptions | None = None,
    ) -> None:
        """Create a sink. Raises `ConfigError` for a form of files that does not exist."""
        super().__init__(store)
        self.form = file_form(file_format, compression, csv, parquet)
        self._busy: set[tuple[str, int, int]] = set()

    def check(self) -> Sequence[Finding]:
        """Write a small file and remove it. Raises `PermissionDenied`, `ConnectionFailed`."""
        with self.store.probing(f"{OWN}/probe-{threading.get_ident()}.json"):
            return ()

    # A log that is followed

    @contextmanager
    def change_writer(self, stream: str, key: str) -> Iterator[FilesChangeWriter]:
        """Take over a log of the stream, deleting what earlier writers have not committed."""
        path, log, folders = self.take_over(stream, key)
        writer = FilesChangeWriter(self, path, log)
        writer.sweep(folders)
        try:
            yield writer
        finally:
            writer.rollback()

    def folder(self, table: TableId) -> str:
        """Return the folder of a table's files."""
        return folder_of(table)

    def quarantine(self, stream: str, name: str) -> str:
        """Return the path of a file with quarantined rows."""
        return f"{OWN}/quarantine/{safe(stream)}/{name}.jsonl"

    def quarantine_place(self, stream: str) -> str:
        """Return the folder with the quarantined rows of a stream."""
        return f"the files of {OWN}/quarantine/{safe(stream)}/"

    def manifest_of(self, stream: str, folder: str, layout: ChangeFileLayout) -> Document:
        """Return the manifest of a table in a cdc; a new one if the table was created since."""
        self.register(stream, folder)
        document = manifest.read(self.store, folder)
        if document is not None:
            return document
        columns = written_columns(layout.columns, str(layout.table))
        return self._fresh(stream, layout.table.name, columns)

    # Layout

    def prepare(
        self,
        stream: str,
        tables: Sequence[TableSchema],
        *,
        write_mode: str,
        keep: bool,
        reload: AbstractSet[TableId] = frozenset(),
    ) -> None:
        """Prepare the tables' folders; see `LayoutSink`. Raises `TargetConflict`, `ConfigError`."""
        if write_mode == "upsert":
            raise ConfigError(
                "writeMode upsert is not possible for files: they have no keys.",
                path="$.target.spec.files.writeMode",
                remedy="Use append or truncate_and_load.",
            )
        directories = [
            (table, TableDirectory(self.store, folder_of(table.id), stream)) for table in tables
        ]
        for _, directory in directories:
            if not (keep and directory.ours):
                directory.check(write_mode)
        for table, directory in directories:
            folder = folder_of(table.id)
            self.register(stream, folder)
            with self.guard(folder):
                stays = keep and directory.ours and table.id not in reload
                if stays and directory.document is not None:
                    directory.document["primaryKey"] = _key(table)
                    self.put_manifest(folder, directory.document)
                    continue
                kept = directory.make(write_mode)
                columns = written_columns(table.columns, str(table.id))
                document = self._fresh(stream, table.id.name, columns)
                document |= {**kept, "primaryKey": _key(table)}
                if document["parts"]:
                    self._same_shape(folder, directory.document or {}, columns)
                self.put_manifest(folder, document)

    def finish(self, stream: str, tables: Sequence[TableId]) -> None:
        """Mark these tables as complete in their manifests."""
        for table in tables:
            folder = folder_of(table)
            with self.guard(folder):
                directory = TableDirectory(self.store, folder, stream)
                if directory.ours and directory.document is not None:
                    directory.sweep()
                    directory.document["complete"] = True
                    self.put_manifest(folder, directory.document)

    def close(self) -> None:
        """Do nothing: no connection is open."""

    # Rows

    def write_rows(
        self,
        stream: str,
        plan: WritePlan,
        rows: Iterator[pa.RecordBatch],
        make_checkpoint: CheckpointCallback,
    ) -> WriteResult:
        """Write one part and commit it with its record. See `Sink`."""
        if plan.upsert:
            raise ConfigError("writeMode upsert is not possible for files: they have no keys.")
        folder = folder_of(plan.table)
        columns = written_columns(plan.columns, str(plan.table))
        self.register(stream, folder)
        with self._portion(stream, folder, plan, columns) as (name, number):
            prepared = self._prepare(stream, plan, columns, rows, make_checkpoint, name, number)
            with self.guard(folder):
                document = self._opened(stream, folder, plan.table, columns)
                self._demand_run(stream, prepared.pending, f"{folder}/{name}")
                self._commit(document, folder, plan.chunk, prepared.pending)
        return prepared.written

    def prepare_write(
        self,
        stream: str,
        plan: WritePlan,
        rows: Iterator[pa.RecordBatch],
        make_checkpoint: CheckpointCallback,
        fence: Fence,
    ) -> PreparedWrite:
        """Write one part, under a number that no other attempt has; no manifest lists it yet."""
        columns = written_columns(plan.columns, str(plan.table))
        number = secrets.randbits(60)
        name = f"part-{plan.chunk}-{number}{self.form.ending}"
        return self._prepare(stream, plan, columns, rows, make_checkpoint, name, number)

    def commit_write(
        self, stream: str, plan: WritePlan, prepared: PreparedWrite, fence: Fence
    ) -> None:
        """Add the data file to its table's manifest, if the chunk's record is unchanged."""
        folder = folder_of(plan.table)
        columns = written_columns(plan.columns, str(plan.table))
        pending: PendingPart = prepared.pending
        key, before = fence.chunk
        self.register(stream, folder)
        with self.guard(folder):
            document = self._opened(stream, folder, plan.table, columns)
            if document["records"].get(key) == before:
                self._commit(document, folder, plan.chunk, pending)
                return
        self.store.delete(f"{folder}/{pending.name}")
        if pending.quarantined is not None:
            self.store.delete(pending.quarantined["path"])
        raise FencedOff(
            f"Another worker has written {key} meanwhile.",
            remedy="That worker continues; nothing needs to be done.",
        )

    def _prepare(
        self,
        stream: str,
        plan: WritePlan,
        columns: Sequence[Column],
        rows: Iterator[pa.RecordBatch],
        make_checkpoint: CheckpointCallback,
        name: str,
        number: int,
    ) -> PreparedWrite:
        part = PartWriter(plan, columns)
        self._write_part(f"{folder_of(plan.table)}/{name}", part, rows, make_checkpoint)
        checkpoint = require(part.checkpoint, "the record of a part")
        rejected_rows = (*checkpoint.quarantined, *part.quarantined)
        quarantined = self._quarantine(stream, plan, number, rejected_rows)
        key, record = checkpoint.key, dict(checkpoint.document)
        pending = PendingPart(
            name, number, part.rows, part.bytes, key, record, quarantined, checkpoint.run
        )
        return PreparedWrite(WriteResult(part.rows, len(rejected_rows), part.bytes), pending)

    def _demand_run(self, stream: str, pending: PendingPart, path: str) -> None:
        """Raise `FencedOff`, and leave no data file, if the stream was started again meanwhile."""
        if pending.run is None:
            return
        key, document = pending.run
        if self.record(stream, key) != document:
            self.store.delete(path)
            if pending.quarantined is not None:
                self.store.delete(pending.quarantined["path"])
            raise FencedOff(
                f"Another process has started the stream '{stream}' again; this process no "
                "longer writes.",
                remedy="Run a stream in one process at a time.",
            )

    @contextmanager
    def _portion(
        self, stream: str, folder: str, plan: WritePlan, columns: Sequence[Column]
    ) -> Iterator[tuple[str, int]]:
        """Reserve the name and number of this write's data file: the first that is not committed
        yet."""
        with self.guard(folder):
            document = self._opened(stream, folder, plan.table, columns)
            done = [
                part["portion"]
                for part in (*document["parts"], *document["quarantined"])
                if part["chunk"] == plan.chunk
            ]
            number = max(done, default=-1) + 1
            with self._lock:
                while (folder, plan.chunk, number) in self._busy:
                    number += 1
                self._busy.add((folder, plan.chunk, number))
        suffix = self.form.ending
        try:
            yield f"part-{document.get('prefix', '')}{plan.chunk}-{number}{suffix}", number
        finally:
            with self._lock:
                self._busy.discard((folder, plan.chunk, number))

    def _opened(
        self, stream: str, folder: str, table: TableId, columns: Sequence[Column]
    ) -> Document:
        """Return the table's manifest, created or checked for these columns."""
        document = manifest.read(self.store, folder)
        if document is not None and document["stream"] != stream:
            raise TargetConflict(
                f"{self.store.show(folder)} belongs to stream '{document['stream']}'.",
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
        dialect = self.form.dialect
        if (
            there != [(c.name, str(c.arrow)) for c in columns]
            or document["format"] != self.form.file_format
            or document["csv"] != dialect
        ):
            raise TargetConflict(
                f"{self.store.show(folder)} contains files with other columns or of another "
                "format.",
                remedy="Use truncate_and_load, or another folder.",
                folder=self.store.show(folder),
            )

    def _write_part(
        self,
        path: str,
        part: PartWriter,
        rows: Iterator[pa.RecordBatch],
        make_checkpoint: CheckpointCallback,
    ) -> None:
        """Write the complete data file; none if there are no rows."""
        first = next(rows, None)
        if first is None:
            part.checkpoint = make_checkpoint()
            return
        try:
            with self.store.writing(path) as file:
                made = encoder(file, self.form, part.columns)
                part.take(made, first)
                for block in rows:
                    part.take(made, block)
                made.finish()
                part.checkpoint = make_checkpoint()
                part.bytes = file.tell()
                if not part.rows:
                    raise NoRows
        except NoRows:
            part.bytes = 0

    def _quarantine(
        self, stream: str, plan: WritePlan, number: int, quarantined: Sequence[QuarantinedRow]
    ) -> Document | None:
        if not quarantined:
            return None
        path = self.quarantine(stream, f"{folder_of(plan.table)}-{plan.chunk}-{number}")
        with self.store.writing(path) as file:
            for row in quarantined:
                document = {**asdict(row), "table": str(row.table), "row": dict(row.row)}
                line = json.dumps(document, ensure_ascii=False, default=str)
                file.write(line.encode("utf-8", "backslashreplace") + b"\n")
        return {"path": path, "rows": len(quarantined), "chunk": plan.chunk, "portion": number}

    def _commit(self, document: Document, folder: str, chunk: int, pending: PendingPart) -> None:
        """Replace the manifest, in one step, by one with the data file and its record. Call it
        under the folder's lock."""
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
            "format": self.form.file_format,
            "compression": self.form.compression,
            "csv": self.form.dialect,
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
