"""Write changes into files: held back until a file of them is worth it, then committed."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from streams_engine.adapters.files import manifest
from streams_engine.adapters.files.change_log import (
    FOLDER,
    ChangeFile,
    ChangeFileLayout,
    LogDocument,
    file_name,
    layout_of,
    number_of,
    position_text,
)
from streams_engine.adapters.files.formats.encoders import encoder, normalised
from streams_engine.adapters.files.formats.options import FileForm
from streams_engine.adapters.files.stores.store import Store
from streams_engine.arrow.batches import coalesced
from streams_engine.contracts import ApplyResult, QuarantinedRow, Statement
from streams_engine.errors import InternalError, RowRejected, TargetConflict
from streams_engine.model import (
    Column,
    Finding,
    NetChanges,
    Position,
    RowChanges,
    TableId,
    Truncation,
)

__all__ = ["FilesChangeWriter"]

FULL_BYTES = 64 << 20
"""So much is held in memory: then it is to be committed, or, in one transaction, to be spooled."""

ARRAY_BYTES = 256
"""What an array holds beyond its values: it is what one-row transactions mostly come to."""

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
STAMP = pa.struct([("position", pa.string()), ("committed_at", pa.timestamp("us", "UTC"))])


class FilesTarget(Protocol):
    """The sink's folders, as a change writer uses them."""

    store: Store
    form: FileForm
    """Format, compression and the options of CSV."""

    def folder(self, table: TableId) -> str:
        """Return the folder of a table."""
        ...

    def quarantine(self, stream: str, name: str) -> str:
        """Return the path of a file of quarantined rows."""
        ...

    def manifest_of(self, stream: str, folder: str, layout: ChangeFileLayout) -> dict[str, Any]:
        """Return the manifest of a folder, a new one where there is none."""
        ...

    def put_manifest(self, folder: str, document: dict[str, Any]) -> None:
        """Replace the manifest of a folder."""
        ...


class FilesChangeWriter:
    """One log's way into files. See `LogWriter`."""

    findings: Sequence[Finding] = ()
    foreign_keys_enforced = False

    def __init__(self, sink: FilesTarget, path: str, log: LogDocument) -> None:
        self._sink = sink
        self._store = sink.store
        self._path = path
        self._log = log
        self._layouts: dict[TableId, ChangeFileLayout] = {}
        self._described: dict[TableId, ChangeFileLayout] = {}
        """By table, what its manifest says already."""
        self.document: Mapping[str, Any] | None = log.document
        """What the last commit said."""
        self._segments: dict[TableId, list[_Segment]] = {}
        self._stamps: list[Mapping[str, Any]] = []
        self._next = self._bytes = 0

    @property
    def full(self) -> bool:
        """True once so much is held that it is worth a file."""
        return self._bytes >= FULL_BYTES

    def apply(self, steps: Sequence[NetChanges | Truncation]) -> ApplyResult:
        """Raise `InternalError`: files take the changes themselves, not net changes."""
        raise InternalError(
            "The change log writer received net changes; it takes logged changes only."
        )

    def append(
        self,
        changes: Sequence[RowChanges | Truncation],
        position: Position | None,
        committed_at: float | None,
    ) -> ApplyResult:
        """Hold changes until `commit`; see `LogWriter`."""
        ahead = next((i for i, c in enumerate(changes) if isinstance(c, RowChanges)), 0)
        firsts = [int(c.seq[0]) for c in changes if isinstance(c, RowChanges)]
        # What truncations take ahead of the first row comes off its place.
        offset = self._next + ahead - min(firsts, default=0)
        rows: dict[TableId, int] = {}
        size = 0
        for change in changes:
            if isinstance(change, Truncation):
                self._hold_end(change.tables, dropped=False)
                continue
            seq = change.seq + offset
            self._next = max(self._next, int(seq[-1]) + 1)
            self._segment(change.table, change).entries.append(
                ChangeFile(change, seq, len(self._stamps))
            )
            rows[change.table] = rows.get(change.table, 0) + change.rows
            size += change.after.nbytes + (0 if change.before is None else change.before.nbytes)
            self._bytes += ARRAY_BYTES * len(change.columns)
        self._bytes += size
        if position is not None:
            self._stamps.append(_stamp(position, committed_at))
        elif self.full:
            self._spool()
        return ApplyResult(rows, {}, size)

    def create(self, table: TableId, columns: Sequence[Column], identity: Sequence[str]) -> None:
        """Hold that a table without rows begins; see `LogWriter`."""
        self._layouts[table] = layout_of(table, columns, identity)
        self._hold_end([table], dropped=False)

    def drop(self, table: TableId) -> None:
        """Hold that a table no longer exists; see `LogWriter`."""
        self._hold_end([table], dropped=True)

    def column_names(self, table: TableId) -> set[str]:
        """Return the names of the columns of all files of a table; see `LogWriter`."""
        document = manifest.read(self._store, self._sink.folder(table)) or {}
        versions = (document.get("changes") or {}).get("versions", ())
        written = (document.get("columns", ()), *(version["columns"] for version in versions))
        held = (segment.layout.columns for segment in self._segments.get(table, ()))
        return {c["name"] for columns in written for c in columns} | {
            column.name for columns in held for column in columns
        }

    def execute(self, statements: Sequence[Statement]) -> Sequence[Finding]:
        """Do nothing: files have no structure."""
        return ()

    def commit(
        self,
        document: Mapping[str, Any],
        records: Mapping[str, Mapping[str, Any] | None] | None = None,
        quarantined: Sequence[QuarantinedRow] = (),
    ) -> None:
        """Write the files, and then the document with which they count. Raises `FencedOff`."""
        count = max(map(len, self._segments.values()), default=0)
        then = self._log.committed(document, records or {}, count)
        stamps = pa.array(self._stamps, STAMP)
        for several in self._segments.values():
            for number, segment in enumerate(several, self._log.number + 1):
                name = file_name(number, self._log.epoch, document["position"])
                self._write(segment, name, stamps)
        self._quarantine(quarantined, document["position"])
        then.put(self._store, self._path, after=self._log)
        self._log, self.document = then, then.document
        self.rollback()

    def check_fence(self) -> None:
        """Raise `FencedOff` if another process took the log over."""
        self._log.demand_there(self._store, self._path)

    def rollback(self) -> None:
        """Discard the changes that are not committed."""
        for several in self._segments.values():
            for segment in several:
                segment.close()
        self._segments, self._stamps = {}, []
        self._next = self._bytes = 0

    def sweep(self, folders: Sequence[str]) -> None:
        """Delete files that earlier writers left without a commit."""
        for folder in folders:
            document = manifest.read(self._store, folder) or {}
            if document.get("changes", {}).get("log") != self._path:
                continue
            for info in self._store.list(f"{folder}/{FOLDER}"):
                told = number_of(info.path.rsplit("/", 1)[-1])
                if told is not None and not self._log.counts(*told):
                    self._store.delete(info.path)

    # What is held

    def _hold_end(self, tables: Sequence[TableId], *, dropped: bool) -> None:
        """Hold that the rows of tables end here."""
        entry = ChangeFile(None, np.array([self._next]), len(self._stamps), dropped)
        for table in tables:
            self._segment(table).entries.append(entry)
        self._next += 1

    def _segment(self, table: TableId, change: RowChanges | None = None) -> _Segment:
        """Return the open file for a table's next change; each file has one layout."""
        layout = self._layouts.get(table)
        if change is None:
            layout = layout or self._known(table)
        elif layout is None or (layout.columns, layout.identity) != (
            change.columns,
            change.identity,
        ):
            layout = layout_of(table, change.columns, change.identity)
        self._layouts[table] = layout
        several = self._segments.setdefault(table, [])
        if not several or several[-1].layout is not layout:
            several.append(_Segment(layout))
        return several[-1]

    def _known(self, table: TableId) -> ChangeFileLayout:
        """Return the layout of a table that is truncated before any change of it, from its
        manifest."""
        document = manifest.read(self._store, self._sink.folder(table))
        if document is None:
            return layout_of(table, (), ())
        columns = manifest.columns_of(document, self._sink.folder(table))
        return layout_of(table, columns, document["primaryKey"])

    def _spool(self) -> None:
        """Write a transaction that exceeds the memory limit to disk until its end."""
        for several in self._segments.values():
            for segment in several:
                segment.spool()
        self._bytes = 0

    # What is written

    def _write(self, segment: _Segment, name: str, stamps: pa.StructArray) -> None:
        layout, sink = segment.layout, self._sink
        folder = sink.folder(layout.table)
        name += sink.form.ending
        if self._described.get(layout.table) is not layout:
            self._describe(layout, folder, name)
        with self._store.writing(f"{folder}/{FOLDER}/{name}") as file:
            made = encoder(file, sink.form, layout.written)
            for block in coalesced(segment.batches()):
                rows = layout.stamped(block, stamps)
                try:
                    made.write(made.encode(normalised(rows, layout.written)))
                except RowRejected as fault:
                    raise RowRejected(
                        f"A change of {layout.table} cannot be written: {fault.message}",
                        remedy=fault.remedy,
                        table=str(layout.table),
                        **fault.details,
                    ) from None
            made.finish()

    def _describe(self, layout: ChangeFileLayout, folder: str, name: str) -> None:
        """Record in the table's manifest which columns its change files have from here on."""
        document = self._sink.manifest_of(self._log.stream, folder, layout)
        if document["stream"] != self._log.stream:
            raise TargetConflict(
                f"{self._store.show(folder)} belongs to stream '{document['stream']}'.",
                remedy="Choose another folder for this stream.",
                folder=self._store.show(folder),
            )
        told: dict[str, Any] = document.get("changes") or {"versions": []}
        columns = manifest.documents_of(layout.written)
        versions = [v for v in told["versions"] if self._stands(v["from"])]
        if not versions or versions[-1]["columns"] != columns:
            versions.append({"from": name, "columns": columns, "identity": list(layout.identity)})
        form = self._sink.form
        told = {
            "log": self._path,
            "folder": FOLDER,
            "format": form.file_format,
            "compression": form.compression,
            "csv": form.dialect,
            "versions": versions,
        }
        if told != document.get("changes"):
            self._sink.put_manifest(folder, {**document, "changes": told, "complete": True})
        self._described[layout.table] = layout

    def _stands(self, name: str) -> bool:
        """Return whether a file is part of the log, or will be with the present commit."""
        told = number_of(name)
        return told is not None and (told[1] == self._log.epoch or self._log.counts(*told))

    def _quarantine(self, quarantined: Sequence[QuarantinedRow], position: Position) -> None:
        if not quarantined:
            return
        name = file_name(self._log.number + 1, self._log.epoch, position)
        with self._store.writing(self._sink.quarantine(self._log.stream, name)) as file:
            for row in quarantined:
                line = {**asdict(row), "table": str(row.table), "row": dict(row.row)}
                text = json.dumps(line, ensure_ascii=False, default=str)
                file.write(text.encode("utf-8", "backslashreplace") + b"\n")


@dataclass
class _Segment:
    """One file in the making."""

    layout: ChangeFileLayout
    entries: list[ChangeFile] = field(default_factory=list)
    _spooled: Any = None
    _writer: Any = None

    def spool(self) -> None:
        """Write the held batches to a temporary file, which is deleted with this object."""
        if not self.entries:
            return
        batch = self.layout.held(self.entries)
        if self._writer is None:
            self._spooled = tempfile.TemporaryFile()  # noqa: SIM115
            self._writer = pa.ipc.new_stream(self._spooled, batch.schema)
        self._writer.write_batch(batch)
        self.entries = []

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield all batches, in order."""
        if self._writer is not None:
            self.spool()
            self._writer.close()
            self._spooled.seek(0)
            with pa.ipc.open_stream(self._spooled) as reader:
                yield from reader
        elif self.entries:
            yield self.layout.held(self.entries)

    def close(self) -> None:
        """Let the temporary file go."""
        if self._spooled is not None:
            self._spooled.close()


def _stamp(position: Position, committed_at: float | None) -> Mapping[str, Any]:
    moment = None if committed_at is None else BEGINNING + timedelta(seconds=committed_at)
    return {"position": position_text(position), "committed_at": moment}
