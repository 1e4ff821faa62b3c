"""A table's directory: its files before a load, and the data file being written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from streams_engine.adapters.files import manifest
from streams_engine.adapters.files.change_log import FOLDER, number_of
from streams_engine.adapters.files.discovery import PART
from streams_engine.adapters.files.formats.encoders import Encoder, normalised
from streams_engine.adapters.files.formats.options import format_of
from streams_engine.adapters.files.stores.store import Store
from streams_engine.contracts import Checkpoint, QuarantinedRow, WritePlan
from streams_engine.errors import RowRejected, TargetConflict
from streams_engine.model import Column
from streams_engine.schema.types.source_texts import quarantined_row

__all__ = [
    "NoRows",
    "PartWriter",
    "PendingPart",
    "TableDirectory",
]


Document = dict[str, Any]
CHANGES = f"{FOLDER}/"


class TableDirectory:
    """A table's folder, with its manifest and the data files that lie in it."""

    def __init__(self, store: Store, folder: str, stream: str) -> None:
        self._store = store
        self._folder = folder
        self._stream = stream
        self.document: Document | None = manifest.read(store, folder)
        self._names = sorted(
            name
            for info in store.list(folder)
            if _is_data(name := info.path[len(folder) + 1 :]) and not name.startswith(CHANGES)
        )

    @property
    def ours(self) -> bool:
        """Whether this stream wrote the manifest."""
        return self.document is not None and self.document["stream"] == self._stream

    def check(self, write_mode: str) -> None:
        """Check that the write mode may use the folder; changes nothing. Raises
        `TargetConflict`."""
        document = self.document
        if write_mode == "append":
            if document is not None and document["records"] and not self.ours:
                raise self._unfinished(document)
            return
        foreign = self._foreign()
        others = document is not None and not self.ours and _holds(document)
        if foreign or (others and write_mode != "truncate_and_load"):
            raise self._conflict(foreign)

    def make(self, write_mode: str) -> Mapping[str, Any]:
        """Delete what the write mode replaces; return what stays, for the new manifest."""
        document = self.document
        if write_mode != "append" or document is None:
            rest = self._others() if write_mode == "append" else {"foreign": []}
            self._remove([*self._listed(), *self._orphans(), *self._changes()], document)
            return {"parts": [], "quarantined": [], **rest}
        # Of an unfinished run of this stream nothing stays, for it is repeated.
        stays, goes = split(document, lambda part: "key" not in part)
        self._remove([part["path"] for part in goes["parts"]] + self._orphans(), goes)
        return {**stays, **self._others()}

    def sweep(self) -> None:
        """Remove parts that were never committed."""
        for name in self._orphans():
            self._store.delete(f"{self._folder}/{name}")

    def _unfinished(self, document: Mapping[str, Any]) -> TargetConflict:
        return TargetConflict(
            f"{self._store.show(self._folder)}: stream '{document['stream']}' has not finished "
            "loading this table.",
            remedy="Let it finish, or use truncate_and_load.",
            folder=self._store.show(self._folder),
        )

    def _others(self) -> Mapping[str, Any]:
        """Return the files of others, and a prefix for our data files if names would collide."""
        foreign = self._foreign()
        clashes = [name for name in foreign if PART.match(name)]
        if not clashes:
            return {"foreign": foreign}
        number = 1
        while any(name.startswith(f"part-r{number}-") for name in clashes):
            number += 1
        return {"foreign": foreign, "prefix": f"r{number}-"}

    def _listed(self) -> list[str]:
        return [part["path"] for part in (self.document or {}).get("parts", ())]

    def _orphans(self) -> list[str]:
        """List whole parts whose commit was never reached; a finished run has none."""
        document = self.document
        if document is None or document["complete"]:
            return []
        known = {*self._listed(), *document.get("foreign", ())}
        return [name for name in self._names if name not in known and PART.fullmatch(_dotted(name))]

    def _changes(self) -> list[str]:
        """Return the change files of the stream that the manifest names."""
        if self.document is None:
            return []
        infos = self._store.list(f"{self._folder}/{CHANGES[:-1]}")
        names = [info.path[len(self._folder) + 1 :] for info in infos]
        return [name for name in names if number_of(name.removeprefix(CHANGES)) is not None]

    def _foreign(self) -> list[str]:
        known = {*self._listed(), *self._orphans()}
        return [name for name in self._names if name not in known]

    def _remove(self, names: Sequence[str], document: Mapping[str, Any] | None) -> None:
        # The manifest goes first: a reader must not find it listing what is gone.
        if self.document is not None and names:
            kept = split(self.document, lambda part: part["path"] not in names)[0]
            self._store.write_json(
                f"{self._folder}/{manifest.NAME}", {**self.document, **kept, "records": {}}
            )
        for name in names:
            self._store.delete(f"{self._folder}/{name}")
        for part in (document or {}).get("quarantined", ()):
            self._store.delete(part["path"])

    def _conflict(self, foreign: Sequence[str]) -> TargetConflict:
        where = self._store.show(self._folder)
        owner = (self.document or {}).get("stream")
        what = f"such as {foreign[0]}" if foreign else f"they belong to stream '{owner}'"
        return TargetConflict(
            f"{where} contains files that stream '{self._stream}' did not write: {what}.",
            remedy="Choose an empty folder, or writeMode append"
            + ("; no write mode deletes files that are not in a manifest." if foreign else
               " or truncate_and_load."),
            folder=where,
        )  # fmt: skip


def split(document: Mapping[str, Any], stays: Any) -> tuple[Document, Document]:
    """Split a manifest's data files and quarantined rows into those that stay and those that go."""
    lists = {name: document.get(name, ()) for name in ("parts", "quarantined")}
    return (
        {name: [part for part in parts if stays(part)] for name, parts in lists.items()},
        {name: [part for part in parts if not stays(part)] for name, parts in lists.items()},
    )


def _holds(document: Mapping[str, Any]) -> bool:
    return bool(document["parts"] or document.get("changes"))


def _is_data(path: str) -> bool:
    last = path.rsplit("/", 1)[-1]
    return last[0] not in "_." and format_of(path) is not None


def _dotted(name: str) -> str:
    """Return a data file's name up to and including its first dot, which the pattern matches."""
    return name[: name.find(".") + 1]


class NoRows(Exception):
    """Every row was quarantined: there is no data file."""


@dataclass(frozen=True, slots=True)
class PendingPart:
    """Data file that is written, and what its commit adds to the manifest. Pickles."""

    name: str
    number: int
    rows: int
    bytes: int
    key: str
    record: dict[str, Any]
    quarantined: dict[str, Any] | None
    run: tuple[str, Mapping[str, Any]] | None = None
    """As `Checkpoint.run`."""


@dataclass
class PartWriter:
    """One part in the making."""

    plan: WritePlan
    columns: Sequence[Column]
    rows: int = 0
    bytes: int = 0
    quarantined: list[QuarantinedRow] = field(default_factory=list)
    checkpoint: Checkpoint | None = None

    def take(self, made: Encoder, block: pa.RecordBatch) -> None:
        """Write a block; if rows may be quarantined, find a bad one by halving."""
        try:
            encoded = made.encode(normalised(block, self.columns))
        except RowRejected as fault:
            if not self.plan.quarantine:
                raise RowRejected(
                    f"writing {self.plan.table}: {fault.message}",
                    remedy=fault.remedy,
                    table=str(self.plan.table),
                    **fault.details,
                ) from None
            if block.num_rows == 1:
                self.quarantined.append(self._quarantined(block, fault))
                return
            half = block.num_rows // 2
            self.take(made, block.slice(0, half))
            self.take(made, block.slice(half))
            return
        made.write(encoded)
        self.rows += block.num_rows

    def _quarantined(self, row: pa.RecordBatch, fault: RowRejected) -> QuarantinedRow:
        return quarantined_row(self.plan, row, fault.message, "RANGE")
