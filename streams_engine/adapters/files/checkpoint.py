"""Checkpoint records of streams to files: where each is stored, and in which order they change.

The records of a load are in the manifest of their table, together with its data files; those of a
log in the log's document; all others in the stream's own document, which names the folders and
logs.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from streams_engine.adapters.files import manifest
from streams_engine.adapters.files.change_log import LogDocument, read_log
from streams_engine.adapters.files.stores.store import Store
from streams_engine.adapters.files.table_directory import split
from streams_engine.model import TableId

__all__ = ["OWN", "FilesCheckpoint", "folder_of", "safe"]

OWN = "_streams_engine"
Document = dict[str, Any]


class FilesCheckpoint:
    """The records of the streams below one root. Safe to use from many threads."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._locks: dict[str, threading.RLock] = {}
        self._lock = threading.Lock()
        self._own_lock = threading.RLock()
        """Taken before a table's lock, never after it."""
        self._registered: set[tuple[str, str]] = set()

    def load_state(self, stream: str) -> Mapping[str, Mapping[str, Any]]:
        """Return the stream's own records, and those in its manifests."""
        own = self._own(stream)
        records = dict(own["records"])
        for folder in own["folders"]:
            document = manifest.read(self.store, folder)
            if document is not None and document["stream"] == stream:
                records |= document["records"]
        for log in self._logs(stream, own):
            _overlay(records, log.records)
            if log.document is not None:
                records[log.key] = log.document
        return records

    def record(self, stream: str, key: str) -> Mapping[str, Any] | None:
        """Return one of the stream's own records, or None."""
        record: Mapping[str, Any] | None = self._own(stream)["records"].get(key)
        return record

    def save_state(self, stream: str, records: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Put or remove records; with the record of a chunk go the parts that it stands for."""
        with self._own_lock:
            own = self._folded(stream)
            left = dict(records)
            whole: list[tuple[str, list[str]]] = []
            for folder in own["folders"]:
                self._save_in_manifest(stream, folder, left, whole)
            _overlay(own["records"], left)
            self._put_own(stream, own)
            # Last, for what else is put may say why these are not needed any more.
            for folder, keys in whole:
                self._settle(folder, keys)

    def _save_in_manifest(
        self,
        stream: str,
        folder: str,
        left: dict[str, Mapping[str, Any] | None],
        whole: list[tuple[str, list[str]]],
    ) -> None:
        with self.guard(folder):
            document = manifest.read(self.store, folder)
            if document is None or document["stream"] != stream:
                return
            mine = {key: left.pop(key) for key in list(left) if key in document["records"]}
            if not mine:
                return
            gone = {key for key, record in mine.items() if record is None}
            if len(gone) == len(mine) and document["complete"]:
                whole.append((folder, list(gone)))
                return
            stays, goes = split(document, lambda part: part.get("key") not in gone)
            document.update(stays)
            for key, record in mine.items():
                document["records"].pop(key)
                if record is not None:
                    document["records"][key] = record
            if gone:
                document["complete"] = False
            self.put_manifest(folder, document)
            for part in goes["parts"]:
                self.store.delete(f"{folder}/{part['path']}")
            for part in goes["quarantined"]:
                self.store.delete(part["path"])

    def _settle(self, folder: str, keys: Sequence[str]) -> None:
        """Remove the records that a restart would need from a table's parts: the table is
        complete."""
        with self.guard(folder):
            document = manifest.read(self.store, folder)
            if document is not None:
                for part in (*document["parts"], *document["quarantined"]):
                    if part.get("key") in keys:
                        part.pop("key")
                for key in keys:
                    document["records"].pop(key, None)
                self.put_manifest(folder, document)

    def forget(self, stream: str) -> None:
        """Remove the records; parts and manifests stay."""
        with self._own_lock:
            own = self._own(stream)
            for key in own["logs"]:
                self.store.delete(_log_path(stream, key))
            for folder in own["folders"]:
                with self.guard(folder):
                    document = manifest.read(self.store, folder)
                    if document is not None and document["stream"] == stream:
                        for part in (*document["parts"], *document["quarantined"]):
                            part.pop("key", None)
                        document["records"] = {}
                        self.put_manifest(folder, document)
            self.store.delete(_own_path(stream))
            self._registered = {pair for pair in self._registered if pair[0] != stream}

    # A log that is followed

    def take_over(self, stream: str, key: str) -> tuple[str, LogDocument, Sequence[str]]:
        """Return a log's document under its next epoch, its path, and the stream's folders."""
        path = _log_path(stream, key)
        with self._own_lock:
            own = self._folded(stream)
            if key not in own["logs"]:
                own["logs"].append(key)
                self._put_own(stream, own)
            log = read_log(self.store, path) or LogDocument(
                stream, key, document=own["records"].get(key)
            )
            log = log.taken_over()
            log.put_anyway(self.store, path)
        return path, log, own["folders"]

    def _logs(self, stream: str, own: Document) -> list[LogDocument]:
        several = (read_log(self.store, _log_path(stream, key)) for key in own["logs"])
        return [log for log in several if log is not None]

    def _folded(self, stream: str) -> Document:
        """Return the stream's own document, updated with the records that its logs committed
        since."""
        own = self._own(stream)
        logs = [log for log in self._logs(stream, own) if log.records]
        for log in logs:
            _overlay(own["records"], log.records)
        if logs:
            self._put_own(stream, own)
        for log in logs:
            log.records = {}
            log.put(self.store, _log_path(stream, log.key), after=log)
        return own

    # Documents

    def put_manifest(self, folder: str, document: Document) -> None:
        """Replace a folder's manifest."""
        document["rows"] = sum(part["rows"] for part in document["parts"])
        self.store.write_json(f"{folder}/{manifest.NAME}", document)

    def _own(self, stream: str) -> Document:
        document = self.store.read_json(_own_path(stream))
        return {"stream": stream, "records": {}, "folders": [], "logs": [], **(document or {})}

    def _put_own(self, stream: str, own: Mapping[str, Any]) -> None:
        if own["records"] or own["folders"] or own["logs"]:
            self.store.write_json(_own_path(stream), own)
        else:
            self.store.delete(_own_path(stream))

    def register(self, stream: str, folder: str) -> None:
        """Add a folder to the stream's own document, which lists where its records may be."""
        with self._own_lock:
            if (stream, folder) in self._registered:
                return
            own = self._own(stream)
            if folder not in own["folders"]:
                own["folders"].append(folder)
                self._put_own(stream, own)
            self._registered.add((stream, folder))

    def guard(self, folder: str) -> threading.RLock:
        """Return the lock under which a folder's manifest is read and replaced."""
        with self._lock:
            return self._locks.setdefault(folder, threading.RLock())


def safe(name: str) -> str:
    """Return a name as one path component that does not look hidden or private."""
    plain = quote(name, safe="")
    return f"%{ord(plain[0]):02X}{plain[1:]}" if plain[:1] in ("_", ".") else plain or "%00"


def folder_of(table: TableId) -> str:
    return safe(f"{table.schema}.{table.name}" if table.schema else table.name)


def _own_path(stream: str) -> str:
    return f"{OWN}/{safe(stream)}.json"


def _log_path(stream: str, key: str) -> str:
    return f"{OWN}/logs/{safe(stream)}/{safe(key)}.json"


def _overlay(records: Document, changes: Mapping[str, Mapping[str, Any] | None]) -> None:
    """Put records, and remove those that are None."""
    for key, record in changes.items():
        records.pop(key, None)
        if record is not None:
            records[key] = record
