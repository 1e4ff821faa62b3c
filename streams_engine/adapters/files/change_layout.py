"""What a file of changes looks like: its columns, its name, and the rows of a set as one batch."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streams_engine.adapters.files.encoders import written_columns
from streams_engine.adapters.files.native import files_type
from streams_engine.changes import LoggedChanges, Op
from streams_engine.errors import ConfigError
from streams_engine.model import Column, Position, TableId

__all__ = ["FOLDER", "Entry", "Layout", "file_name", "layout_of", "number_of", "position_text"]

FOLDER = "_changes"
"""Below a table's folder. The underscore hides it from what reads that folder as a data set."""

OPS = pa.array(["insert", "update", "delete", "truncate"])
"""By the numbers of `Op`; the last one is a truncation, which has no columns."""
TRUNCATE = 3
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
class Entry:
    """Changes, or a truncation, as they are held: ``seq`` is that of the file."""

    changes: LoggedChanges | None
    seq: np.ndarray
    number: int
    """Of the set."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of one table's changes in one version of the table."""

    table: TableId
    columns: tuple[Column, ...]
    """The table's own."""
    identity: tuple[str, ...]
    written: tuple[Column, ...]
    """The columns of the file."""

    def held(self, entries: Sequence[Entry]) -> pa.RecordBatch:
        """Entries as one batch: the number of the set first, and not yet what it stands for."""
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
            pa.array(np.repeat([entry.number for entry in entries], rows), pa.int64()),
            OPS.take(pa.array(op)),
            pa.array(np.concatenate([entry.seq for entry in entries]), pa.int64()),
            *after,
            *before,
            _named(missing, len(op)),
        ]
        names = [SET, "_op", "_seq", *(c.name for c in self.written[len(BEGIN) :])]
        return pa.RecordBatch.from_arrays(arrays, names)

    def stamped(self, held: pa.RecordBatch, stamps: pa.StructArray) -> pa.RecordBatch:
        """What is written: each row with the position and commit time of its set."""
        told = stamps.take(held.column(0))
        arrays = [held.column(1), told.field(0), told.field(1), *held.columns[2:]]
        return pa.RecordBatch.from_arrays(arrays, [column.name for column in self.written])

    def _arrow(self, name: str) -> pa.DataType:
        return next(column.arrow for column in self.columns if column.name == name)

    def _after(
        self, entries: Sequence[Entry], column: Column, missing: np.ndarray | None
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
        return pc.if_else(pa.array(missing), pa.scalar(None, values.type), values)


def layout_of(table: TableId, columns: Sequence[Column], identity: Sequence[str]) -> Layout:
    """The layout of a table's changes. Raises `ConfigError` where names would collide."""
    by_name = {column.name: column for column in columns}
    own = {column.name for column in (*BEGIN, *END)} | {BEFORE + name for name in identity}
    taken = sorted(own & set(by_name))
    if taken:
        raise ConfigError(
            f"{table}: its column {taken[0]} is called like one of the change log's own.",
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
    return Layout(table, tuple(columns), known, written_columns(written, str(table)))


def position_text(position: Position) -> str:
    """A position in one word: an LSN, a place in the binary log, a GTID set; else its JSON."""
    if position.get("lsn"):
        return str(position["lsn"])
    if position.get("file"):
        return f"{position['file']}:{position['pos']}"
    return str(position.get("gtid") or json.dumps(position, sort_keys=True, default=str))


def file_name(number: int, epoch: int, position: Position) -> str:
    """A file's name without its ending: it sorts by its number, and tells its position."""
    if position.get("lsn"):
        place = "-".join(f"{int(half, 16):08X}" for half in str(position["lsn"]).split("/"))
    elif position.get("file"):
        place = f"{position['file']}-{int(position['pos']):010d}"
    else:
        place = position_text(position)
    return f"{number:010d}-e{epoch}-{re.sub('[^A-Za-z0-9._-]', '_', place)[:LONGEST_POSITION]}"


def number_of(name: str) -> tuple[int, int] | None:
    """The number and the epoch that a file's name tells; None where it is none of ours."""
    found = NAME.fullmatch(name)
    return None if found is None else (int(found[1]), int(found[2]))


def _op(entry: Entry) -> np.ndarray:
    return np.array([TRUNCATE], np.uint8) if entry.changes is None else entry.changes.op


def _as(values: pa.Array, wanted: pa.DataType) -> pa.Array:
    return values if values.type == wanted else values.cast(wanted)


def _before(entry: Entry, name: str, arrow: pa.DataType) -> pa.Array:
    changes = entry.changes
    if changes is None:
        return pa.nulls(len(entry.seq), arrow)
    if changes.before is not None:
        return _as(changes.before.column(name), arrow)
    # Every update kept its identity: its old values are the new ones.
    kept = pa.array(changes.op == Op.UPDATE)
    values = _as(changes.after.column(name), arrow)
    return pc.if_else(kept, values, pa.scalar(None, arrow))


def _joined_masks(entries: Sequence[Entry], name: str) -> np.ndarray:
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
    """By row the names of its missing columns as a JSON list, NULL where there are none."""
    if not missing:
        return pa.nulls(rows, pa.string())
    names = list(missing)
    kinds, which = np.unique(np.column_stack(list(missing.values())), axis=0, return_inverse=True)
    texts: list[Any] = [
        json.dumps([names[i] for i in np.flatnonzero(kind)], ensure_ascii=False)
        if kind.any()
        else None
        for kind in kinds
    ]
    return pa.array(texts, pa.string()).take(pa.array(which.reshape(-1)))
