"""The log of changes of a table of files: its entries, its file names, its current rows."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streams_engine.adapters.files.discovery import DiscoveredTable
from streams_engine.adapters.files.formats.encoders import written_columns
from streams_engine.adapters.files.formats.options import stem_of
from streams_engine.adapters.files.stores.store import Store
from streams_engine.arrow.plain import from_numpy, texts
from streams_engine.errors import ConfigError, ConnectionFailed, FencedOff, MalformedFile
from streams_engine.model import Column, Op, Position, RowChanges, TableId
from streams_engine.schema.types.files import files_type

__all__ = [
    "FOLDER",
    "VERSION",
    "ChangeFile",
    "ChangeFileLayout",
    "LogDocument",
    "demand_current",
    "file_name",
    "has_changes",
    "layout_of",
    "number_of",
    "position_text",
    "read_log",
]


FOLDER = "_changes"
"""Below a table's folder. The underscore hides it from what reads that folder as a data set."""

OPS = texts(["insert", "update", "delete", "truncate", "drop"])
"""By the numbers of `Op`; the last two have no columns."""
TRUNCATE, DROP = 3, 4
SET = "_set"
"""While rows are held: which of the sets they came with, for its position may not be known yet."""

NAME = re.compile(r"(\d{10})-e(\d+)-.*")
LONGEST_POSITION = 80


def _own(name: str, arrow: pa.DataType, *, nullable: bool = False) -> Column:
    return Column(name, files_type(arrow), arrow, nullable=nullable)


BEGIN = (
    _own("_op", pa.string()),
    _own("_position", pa.string()),
    _own("_committed_at", pa.timestamp("us", "UTC"), nullable=True),
    _own("_seq", pa.int64()),
)
END = (_own("_missing", pa.string(), nullable=True),)
BEFORE = "_before_"


@dataclass(frozen=True, slots=True)
class ChangeFile:
    """Changes, a truncation or the end of the table as they are held: ``seq`` is that of the
    file."""

    changes: RowChanges | None
    seq: np.ndarray
    number: int
    """Of the set."""
    dropped: bool = False


@dataclass(frozen=True, slots=True)
class ChangeFileLayout:
    """The columns of one table's changes in one version of the table."""

    table: TableId
    columns: tuple[Column, ...]
    """The table's own."""
    identity: tuple[str, ...]
    written: tuple[Column, ...]
    """The columns of the file."""

    def held(self, entries: Sequence[ChangeFile]) -> pa.RecordBatch:
        """Return entries as one batch, with the number of their set in place of what the set's end
        will tell."""
        rows = [len(entry.seq) for entry in entries]
        op = np.concatenate([_op(entry) for entry in entries])
        missing = {
            column.name: _joined_masks(entries, column.name)
            for column in self.columns
            if any(e.changes is not None and column.name in e.changes.missing for e in entries)
        }
        after = [self._after(entries, column, missing.get(column.name)) for column in self.columns]
        before = [
            pa.concat_arrays([_before(e, name, self._arrow(name)) for e in entries])
            for name in self.identity
        ]
        arrays = [
            from_numpy(np.repeat([entry.number for entry in entries], rows).astype(np.int64)),
            OPS.take(from_numpy(op)),
            from_numpy(np.concatenate([entry.seq for entry in entries]).astype(np.int64)),
            *after,
            *before,
            _named(missing, len(op)),
        ]
        names = [SET, "_op", "_seq", *(c.name for c in self.written[len(BEGIN) :])]
        return pa.RecordBatch.from_arrays(arrays, names)

    def stamped(self, held: pa.RecordBatch, stamps: pa.StructArray) -> pa.RecordBatch:
        """Return the rows to write: each with the position and commit time of its set."""
        told = stamps.take(held.column(0))
        arrays = [held.column(1), told.field(0), told.field(1), *held.columns[2:]]
        return pa.RecordBatch.from_arrays(arrays, [column.name for column in self.written])

    def _arrow(self, name: str) -> pa.DataType:
        return next(column.arrow for column in self.columns if column.name == name)

    def _after(
        self, entries: Sequence[ChangeFile], column: Column, missing: np.ndarray | None
    ) -> pa.Array:
        parts = [
            pa.nulls(len(entry.seq), column.arrow)
            if entry.changes is None
            else _as(entry.changes.after.column(column.name), column.arrow)
            for entry in entries
        ]
        values = pa.concat_arrays(parts)
        if missing is None:
            return values
        return pc.if_else(from_numpy(missing), pa.nulls(1, values.type)[0], values)


def layout_of(
    table: TableId, columns: Sequence[Column], identity: Sequence[str]
) -> ChangeFileLayout:
    """Return the layout of a table's change files. Raises `ConfigError` if column names collide."""
    by_name = {column.name: column for column in columns}
    own = {column.name for column in (*BEGIN, *END)} | {BEFORE + name for name in identity}
    taken = sorted(own & set(by_name))
    if taken:
        raise ConfigError(
            f"{table}: the column {taken[0]} has the name of a column that the change log adds.",
            path="$.source.connections[*].tables[*].selection.selectedColumns",
            remedy="Leave the column out, or rename it on the source.",
        )
    known = tuple(name for name in identity if name in by_name)
    # A deleted row has no new values, an inserted one no old ones.
    written = (
        *BEGIN,
        *(replace(column, nullable=True) for column in columns),
        *(replace(by_name[name], name=BEFORE + name, nullable=True) for name in known),
        *END,
    )
    return ChangeFileLayout(table, tuple(columns), known, written_columns(written, str(table)))


def position_text(position: Position) -> str:
    """Return a position as one word: an LSN, a place in the binary log, a GTID set; else its
    JSON."""
    if position.get("lsn"):
        return str(position["lsn"])
    if position.get("file"):
        return f"{position['file']}:{position['pos']}"
    return str(position.get("gtid") or json.dumps(position, sort_keys=True, default=str))


def file_name(number: int, epoch: int, position: Position) -> str:
    """Return a file's name without its ending; names sort by number and contain the position."""
    if position.get("lsn"):
        place = "-".join(f"{int(half, 16):08X}" for half in str(position["lsn"]).split("/"))
    elif position.get("file"):
        place = f"{position['file']}-{int(position['pos']):010d}"
    else:
        place = position_text(position)
    return f"{number:010d}-e{epoch}-{re.sub('[^A-Za-z0-9._-]', '_', place)[:LONGEST_POSITION]}"


def number_of(name: str) -> tuple[int, int] | None:
    """Return the number and epoch in a file's name; None if it is not a change file's name."""
    match = NAME.fullmatch(name)
    return None if match is None else (int(match[1]), int(match[2]))


def _op(entry: ChangeFile) -> np.ndarray:
    if entry.changes is not None:
        return entry.changes.op
    return np.array([DROP if entry.dropped else TRUNCATE], np.uint8)


def _as(values: pa.Array, wanted: pa.DataType) -> pa.Array:
    return values if values.type == wanted else values.cast(wanted)


def _before(entry: ChangeFile, name: str, arrow: pa.DataType) -> pa.Array:
    changes = entry.changes
    if changes is None:
        return pa.nulls(len(entry.seq), arrow)
    if changes.before is not None:
        return _as(changes.before.column(name), arrow)
    # Every update kept its identity: its old values are the new ones.
    kept = from_numpy(changes.op == Op.UPDATE)
    values = _as(changes.after.column(name), arrow)
    return pc.if_else(kept, values, pa.nulls(1, arrow)[0])


def _joined_masks(entries: Sequence[ChangeFile], name: str) -> np.ndarray:
    none = np.zeros(0, bool)
    masks = []
    for entry in entries:
        changes = entry.changes
        mask = none if changes is None else changes.missing.get(name, none)
        if changes is None or not len(mask):
            masks.append(np.zeros(len(entry.seq), bool))
        else:
            masks.append(mask & (changes.op == Op.UPDATE))
    return np.concatenate(masks)


def _named(missing: Mapping[str, np.ndarray], rows: int) -> pa.Array:
    """Return, for each row, the names of its missing columns as a JSON list; NULL if there are
    none."""
    if not missing:
        return pa.nulls(rows, pa.string())
    names = list(missing)
    kinds, which = np.unique(np.column_stack(list(missing.values())), axis=0, return_inverse=True)
    lists: list[Any] = [
        json.dumps([names[i] for i in np.flatnonzero(kind)], ensure_ascii=False)
        if kind.any()
        else None
        for kind in kinds
    ]
    return pa.array(lists, pa.string()).take(from_numpy(which.reshape(-1)))


VERSION = 1
Records = Mapping[str, Mapping[str, Any] | None]


@dataclass
class LogDocument:
    """The durable state of one log."""

    stream: str
    key: str
    epoch: int = 0
    owner: str = ""
    """Who took it over last, by chance: two that do so at once have one number."""
    number: int = 0
    """Of the last file that counts."""
    epochs: list[list[int]] = field(default_factory=list)
    """[epoch, its first number], in order; only those that committed files."""
    document: Mapping[str, Any] | None = None
    """What the last commit said: the position."""
    records: dict[str, Mapping[str, Any] | None] = field(default_factory=dict)
    """Further records of the commits since the takeover; None: removed."""

    def counts(self, number: int, epoch: int) -> bool:
        """Return whether a file of this number and epoch is part of the log."""
        mine = [epoch_of_file for epoch_of_file, first in self.epochs if first <= number]
        return number <= self.number and bool(mine) and mine[-1] == epoch

    def taken_over(self) -> LogDocument:
        """Return the same log under its next epoch."""
        taken = LogDocument(self.stream, self.key, self.epoch + 1, secrets.token_hex(8))
        taken.number, taken.epochs = self.number, [list(pair) for pair in self.epochs]
        taken.document, taken.records = self.document, dict(self.records)
        return taken

    def committed(self, document: Mapping[str, Any], records: Records, files: int) -> LogDocument:
        """Return the log after a commit that uses so many file numbers."""
        then = LogDocument(self.stream, self.key, self.epoch, self.owner, self.number + files)
        then.epochs = [list(pair) for pair in self.epochs]
        if files and (not then.epochs or then.epochs[-1][0] != self.epoch):
            then.epochs.append([self.epoch, self.number + 1])
        then.document, then.records = document, {**self.records, **records}
        return then

    def put(self, store: Store, path: str, *, after: LogDocument) -> None:
        """Replace the document. Raises `FencedOff` if ``after`` is not the one that is there.

        Whether a put without an answer was done after all is settled by looking.
        """
        after.demand_there(store, path)
        self.put_anyway(store, path)

    def demand_there(self, store: Store, path: str) -> None:
        """Raise `FencedOff` if another process took the log over."""
        there = read_log(store, path)
        if there is None or (there.epoch, there.owner) != (self.epoch, self.owner):
            raise FencedOff(
                f"Stream '{self.stream}': another process now writes to its change log "
                f"'{self.key}'.",
                remedy="Run a stream in one process at a time: stop one of the two.",
            )

    def put_anyway(self, store: Store, path: str) -> None:
        """Replace the document, whoever had it."""
        wanted = {"version": VERSION, **vars(self)}
        try:
            store.write_json(path, wanted)
        except ConnectionFailed:
            if store.read_json(path) != json.loads(json.dumps(wanted)):
                raise


def read_log(store: Store, path: str) -> LogDocument | None:
    """Read a log's document; None if it does not exist. Raises `MalformedFile`."""
    document = store.read_json(path)
    if document is None:
        return None
    try:
        if document.pop("version") != VERSION:
            raise ValueError
        return LogDocument(**document)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise MalformedFile(
            f"{store.show(path)} is not a change log of this version.",
            remedy="Restore the file, or load again with start(fresh=True).",
            file=store.show(path),
        ) from None


def demand_current(store: Store, table: DiscoveredTable) -> None:
    """Raise `ConfigError` if a table's parts are older than its log of changes.

    What they hold are the rows of the load: as the table's rows they would be wrong.
    """
    if not has_changes(store, table):
        return
    where = store.show(f"{table.path}/{FOLDER}")
    parts = [file.info.path for file in table.files]
    shown = f"files.paths [{', '.join(parts[:2])}{', ...' if len(parts) > 2 else ''}]"
    raise ConfigError(
        f"{table.name}: a cdc wrote these files. Its rows are the loaded files and the change "
        f"log in {where}; a change log cannot be read as a source.",
        path="$.source",
        remedy=(
            "Read the database that the stream reads, or a database that a cdc keeps in "
            f"step. To read only the rows of the initial load, name its files ({shown})."
        ),
        table=table.name,
    )


def has_changes(store: Store, table: DiscoveredTable) -> bool:
    """Return True if a change file belongs to the log; if the log is outside of this root, any
    change file does."""
    if any(file.info.path == table.path for file in table.files):
        return False  # a file by its own name
    folder = f"{table.path}/{FOLDER}" if table.path else FOLDER
    files = store.list(folder)
    if not files:
        return False
    told = (table.manifest or {}).get("changes", {}).get("log")
    log = read_log(store, str(told)) if told else None
    if log is None:
        return True
    numbers = (number_of(stem_of(file.path.rsplit("/", 1)[-1])) for file in files)
    return any(number is None or log.counts(*number) for number in numbers)
