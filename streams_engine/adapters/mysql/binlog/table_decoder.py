"""Collect the row images of a change set, and decode them to one batch a table version."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streams_engine.adapters.mysql.binlog.row_image import RowImageLayout, Walker, present, walker
from streams_engine.adapters.mysql.binlog.row_values import Image
from streams_engine.adapters.mysql.binlog.system_versioning import CURRENT, current_operations
from streams_engine.adapters.mysql.binlog.table_map import TableMap
from streams_engine.adapters.mysql.catalog.types import constant
from streams_engine.arrow.buffers import violation
from streams_engine.arrow.plain import filled, from_numpy, scalar, to_numpy
from streams_engine.errors import LogLost, SchemaChangeRefused
from streams_engine.model import Op, RowChanges, TableId, TableSubscription, same_values

__all__ = ["ImageKind", "TableImages"]

Arrays = dict[str, pa.Array]

FULL_IMAGES = (
    "SET GLOBAL binlog_row_image = 'FULL' on the source, reconnect its sessions, and load the "
    "table again."
)


@dataclass(slots=True)
class ImageKind:
    """The images of one kind of event: one operation, and one choice of columns."""

    op: Op
    walk: Walker
    before: tuple[int, ...] | None
    after: tuple[int, ...] | None
    aside: bool
    """The images are not in the reader's buffer but in what was decompressed beside it."""
    unchecked: bool
    """The session had switched foreign keys off."""
    starts: array[int] = field(default_factory=lambda: array("q"))
    counts: list[int] = field(default_factory=list)
    seqs: list[int] = field(default_factory=list)
    end: int = 0
    """Where the last event's images end."""
    text_form: Any = None
    """How `row_texts` reads them, once it was asked; False: it does not."""

    def take(self, buffer: Any, at: int, end: int, seq: int) -> int:
        """Take the rows of one event; return their number."""
        starts = self.starts
        known = len(starts)
        if at == end and self.after == ():
            # An INSERT of nothing but defaults with a minimal row image: one row without a byte.
            # MySQL refuses a statement that would write several such rows.
            starts.append(at)
        elif not (self.before or self.after) or self.walk(buffer, at, end, starts.append) != end:
            raise violation("the binary log", "a row extends beyond its event")
        rows = len(starts) - known
        if self.op == 1:
            rows >>= 1
        self.counts.append(rows)
        self.seqs.append(seq)
        self.end = end
        return rows

    def take_all(
        self, buffer: Any, places: Sequence[tuple[int, int]], seq: int, most: int
    ) -> tuple[int, int]:
        """Take the rows of events until the next change's number is ``most``.

        Return how many events were taken, and the number of the next change.
        """
        if not (self.before or self.after):
            for taken, (at, end) in enumerate(places):
                if seq >= most:
                    return taken, seq
                seq += self.take(buffer, at, end, seq)
            return len(places), seq
        starts, walk, add = self.starts, self.walk, self.starts.append
        images = 2 if self.op == Op.UPDATE else 1
        seqs, counts, known = self.seqs, self.counts, len(self.starts)
        for taken, (at, end) in enumerate(places):
            if seq >= most:
                return taken, seq
            if walk(buffer, at, end, add) != end:
                raise violation("the binary log", "a row extends beyond its event")
            rows = (len(starts) - known) // images
            known = len(starts)
            seqs.append(seq)
            counts.append(rows)
            self.end = end
            seq += rows
        return len(places), seq

    def forget(self, seq: int) -> None:
        """Drop the events from this number on: they are read again, or were rolled back."""
        images = 2 if self.op == Op.UPDATE else 1
        while self.seqs and self.seqs[-1] >= seq:
            self.seqs.pop()
            del self.starts[len(self.starts) - images * self.counts.pop() :]

    def clear(self) -> None:
        """Forget the rows, because all were returned."""
        self.starts, self.counts, self.seqs = array("q"), [], []

    def each(self) -> Iterator[tuple[int, Sequence[int]]]:
        """Yield the sequence number of each row, and the places of its images."""
        at, images, starts = 0, 2 if self.op == Op.UPDATE else 1, self.starts
        for first, count in zip(self.seqs, self.counts, strict=True):
            for seq in range(first, first + count):
                yield seq, starts[at : at + images]
                at += images

    def moved(self, by: int) -> ImageKind:
        """Return the same rows in a buffer in which they lie elsewhere."""
        return replace(self, starts=array("q", [start + by for start in self.starts]))

    def order(self) -> np.ndarray:
        """Return the sequence number of each row."""
        counts = np.array(self.counts, np.int64)
        begin = np.cumsum(counts) - counts
        first = np.repeat(np.array(self.seqs, np.int64) - begin, counts)
        numbers: np.ndarray = first + np.arange(len(first), dtype=np.int64)
        return numbers

    def places(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return the places of the before images, and of the after images."""
        starts = np.frombuffer(self.starts, np.int64)
        if self.op == Op.UPDATE:
            return starts[0::2], starts[1::2]
        return (None, starts) if self.op == Op.INSERT else (starts, None)


class TableImages:
    """A table in one version, and the images of it that were gathered."""

    def __init__(
        self, table: TableMap, tracked: TableSubscription, translate: Any, *, whole: bool = False
    ) -> None:
        self.table = table
        self.tracked = tracked
        self.whole = whole
        """Updates without complete old images are refused: one may be a REPLACE, whose other
        columns got their defaults."""
        self.layout = RowImageLayout(table, tracked, translate)
        self.shapes: dict[tuple[Op, bytes, bool, bool], ImageKind] = {}

    @property
    def id(self) -> TableId:
        """The id of the table."""
        return self.tracked.schema.id

    def shape(self, op: Op, bitmaps: bytes, aside: bool, unchecked: bool = False) -> ImageKind:
        """Return the collection that events of this kind are added to."""
        key = (op, bitmaps, aside, unchecked)
        kind = self.shapes.get(key)
        if kind is None:
            kind = self.shapes[key] = self._shape(*key)
        return kind

    def _shape(self, op: Op, bitmaps: bytes, aside: bool, unchecked: bool) -> ImageKind:
        fields = self.layout.fields
        size = (len(fields) + 7) // 8
        first = present(bitmaps[:size], fields)
        second = present(bitmaps[size:], fields) if op == Op.UPDATE else None
        if self.whole and op == Op.UPDATE and len(first) < len(fields):
            raise LogLost(
                f"{self.id}: a session logs parts of rows (binlog_row_image), and MariaDB's "
                "binary log does not show then what REPLACE does to columns that it does not name.",
                remedy="SET GLOBAL binlog_row_image = 'FULL'; reconnect the sessions that write, "
                "and load the tables again (start with fresh=True).",
            )
        walk = walker(
            [[fields[i] for i in there] for there in (first, second) if there is not None]
        )
        if op == Op.UPDATE:
            return ImageKind(op, walk, first, second, aside, unchecked)
        if op == Op.INSERT:
            return ImageKind(op, walk, None, first, aside, unchecked)
        return ImageKind(op, walk, first, None, aside, unchecked)

    def forget(self, seq: int) -> None:
        """Drop the rows from this number on."""
        for shape in self.shapes.values():
            shape.forget(seq)

    def batch(self, main: Image, aside: Image) -> RowChanges | None:
        """Decode all collected rows; return None if there are none."""
        shapes = [shape for shape in self.shapes.values() if shape.counts]
        if not shapes:
            return None
        batch = _Batch(self.layout, shapes, main, aside).build()
        for shape in shapes:
            shape.clear()
        return batch

    def take(self) -> list[ImageKind]:
        """Return what was collected, for `decode`, and forget it."""
        taken = [replace(shape) for shape in self.shapes.values() if shape.counts]
        for shape in self.shapes.values():
            shape.clear()
        return taken

    def decode(self, taken: Sequence[ImageKind], image: Image) -> RowChanges | None:
        """Decode rows that were taken, which lie in a buffer of their own."""
        return _Batch(self.layout, taken, image, image).build()


class _Batch:
    def __init__(
        self, layout: RowImageLayout, shapes: Sequence[ImageKind], main: Image, aside: Image
    ) -> None:
        self.layout = layout
        self.shapes = shapes
        self.images = (main, aside)
        seqs = [shape.order() for shape in shapes]
        self.sizes = [len(part) for part in seqs]
        seq = np.concatenate(seqs)
        op = np.repeat(np.array([s.op for s in shapes], np.uint8), self.sizes)
        # One kind of event comes in order; several are merged.
        self.order = None if len(shapes) == 1 else np.argsort(seq, kind="stable")
        self.seq = seq if self.order is None else seq[self.order]
        self.unchecked = self._unchecked()
        self.op = op if self.order is None else op[self.order]

    def _unchecked(self) -> np.ndarray | None:
        flags = [shape.unchecked for shape in self.shapes]
        if not any(flags):
            return None
        unchecked = np.repeat(np.array(flags), self.sizes)
        return unchecked if self.order is None else unchecked[self.order]

    def build(self) -> RowChanges | None:
        """Build the batch; return None if only the table's history changed."""
        tracked = self.layout.tracked
        names = [column.name for column in tracked.extract.columns]
        period = [CURRENT] if self.layout.versioned else []
        after, absent = self._side("after", names + period)
        identity = list(tracked.identity)
        before: Arrays | None = None
        if any(shape.op != Op.INSERT for shape in self.shapes):
            before, lacking = self._side("before", identity + period)
            if lacking:
                raise SchemaChangeRefused(
                    f"{tracked.schema.id}: the binary log lacks the old value of "
                    f"{', '.join(lacking)}, which identifies the changed row.",
                    remedy=FULL_IMAGES,
                )
            self._complete(after, absent, before)
        self._fill_defaults(after, absent)
        if period:
            before = self._leave_history(after, before, absent)
            if not len(self.op):
                return None
        if before is not None and self._kept(before, after):
            before = None
        return RowChanges(
            table=tracked.schema.id,
            columns=tracked.extract.columns,
            identity=tracked.identity,
            op=self.op,
            seq=self.seq,
            after=_record(after, names, self.layout.schema, len(self.op)),
            before=None if before is None else self._old(before, identity),
            missing={name: mask for name, mask in absent.items() if mask.any()},
            unchecked=self.unchecked,
        )

    def _leave_history(
        self, after: Arrays, before: Arrays | None, absent: dict[str, np.ndarray]
    ) -> Arrays | None:
        """Keep only changes of current rows; return the old values that are left."""
        unchanged = absent.pop(CURRENT, np.zeros(len(self.op), bool))
        has = _flags(after.pop(CURRENT))
        had = np.zeros(len(self.op), bool) if before is None else _flags(before.pop(CURRENT))
        done, keep = current_operations(self.op, had, np.where(unchanged, had, has))
        places = from_numpy(np.flatnonzero(keep))
        self.op, self.seq = done[keep], self.seq[keep]
        self.unchecked = None if self.unchecked is None else self.unchecked[keep]
        gone, new = from_numpy(self.op == Op.DELETE), from_numpy(self.op == Op.INSERT)
        for name, values in after.items():
            after[name] = _nulled(values.take(places), gone)
        for name, mask in absent.items():
            absent[name] = mask[keep] & (self.op != Op.DELETE)
        if before is None:
            return None
        return {name: _nulled(values.take(places), new) for name, values in before.items()}

    def _old(self, before: Arrays, identity: Sequence[str]) -> pa.RecordBatch:
        fields = [self.layout.schema.field(name).with_nullable(True) for name in identity]
        return _record(before, identity, pa.schema(fields), len(self.op))

    def _side(self, side: str, names: Sequence[str]) -> tuple[Arrays, dict[str, np.ndarray]]:
        """Return the columns of the images on one side, and masks of where images lack them."""
        groups: dict[tuple[bool, tuple[int, ...]], list[int]] = {}
        for number, shape in enumerate(self.shapes):
            there = getattr(shape, side)
            if there is not None:
                groups.setdefault((shape.aside, there), []).append(number)
        row = np.full(sum(self.sizes), -1, np.int64)
        bounds = np.cumsum([0, *self.sizes])
        parts: list[Arrays] = []
        total = 0
        which = 0 if side == "before" else 1
        for (aside, there), members in groups.items():
            starts = np.concatenate([self.shapes[m].places()[which] for m in members])
            for member in members:
                size = self.sizes[member]
                row[bounds[member] : bounds[member + 1]] = np.arange(total, total + size)
                total += size
            parts.append(self.layout.decode(self.images[aside], starts, there, names))
            parts[-1][""] = pa.nulls(len(starts))
        if self.order is not None:
            row = row[self.order]
        return self._joined(parts, row, names)

    def _joined(
        self, parts: Sequence[Arrays], row: np.ndarray, names: Sequence[str]
    ) -> tuple[Arrays, dict[str, np.ndarray]]:
        """Return the groups' columns in the order of the log; NULL if a row has no such image."""
        arrays: Arrays = {}
        absent: dict[str, np.ndarray] = {}
        none = row < 0
        in_order = len(row) == 0 or (not none.any() and bool((np.diff(row) == 1).all()))
        index = None if in_order else from_numpy(row, none if none.any() else None)
        for name in names:
            kind = self.layout.kind(name)
            pieces = [part.get(name) for part in parts]
            if any(piece is None for piece in pieces):
                lacking = np.concatenate([np.full(len(p[""]), p.get(name) is None) for p in parts])
                absent[name] = np.where(none, False, lacking[np.where(none, 0, row)])
                pieces = [
                    pa.nulls(len(part[""]), kind) if piece is None else piece
                    for part, piece in zip(parts, pieces, strict=True)
                ]
            if not pieces:
                arrays[name] = pa.nulls(len(row), kind)
                continue
            whole: Any = pieces[0] if len(pieces) == 1 else pa.concat_arrays(pieces)
            arrays[name] = whole if index is None else whole.take(index)
        return arrays, absent

    def _complete(self, after: Arrays, absent: dict[str, np.ndarray], before: Arrays) -> None:
        """Fill key columns that an update's image leaves out with their old values."""
        for name in self.layout.tracked.identity:
            mask = absent.get(name)
            if mask is None:
                continue
            fill = mask & (self.op == Op.UPDATE)
            after[name] = pc.if_else(from_numpy(fill), before[name], after[name])
            absent[name] = mask & ~fill

    def _fill_defaults(self, after: Arrays, absent: dict[str, np.ndarray]) -> None:
        """Fill columns that an inserted row's image leaves out with their defaults."""
        tracked = self.layout.tracked
        known = {column.name: column for column in tracked.schema.columns}
        for name, mask in absent.items():
            if name == CURRENT:
                continue
            lacking = mask & (self.op == Op.INSERT)
            if not lacking.any():
                continue
            value = constant(known[name], after[name].type) if name in known else None
            if value is None:
                raise SchemaChangeRefused(
                    f"{tracked.schema.id}: the binary log lacks the column {name} of an inserted "
                    "row, and its default is an expression.",
                    remedy=FULL_IMAGES,
                    table=str(tracked.schema.id),
                    column=name,
                )
            after[name] = pc.if_else(from_numpy(lacking), value, after[name])
            absent[name] = mask & ~lacking

    def _kept(self, before: Arrays, after: Arrays) -> bool:
        """Return whether nothing was deleted, and every update kept its identity."""
        if (self.op == Op.DELETE).any():
            return False
        updated = from_numpy(np.flatnonzero(self.op == Op.UPDATE))
        return all(
            same_values(before[name].take(updated), after[name].take(updated))
            for name in self.layout.tracked.identity
        )


def _flags(current: pa.Array) -> np.ndarray:
    return to_numpy(filled(current, False))


def _nulled(values: pa.Array, where: pa.Array) -> pa.Array:
    return pc.if_else(where, scalar(None, values.type), values)


def _record(columns: Arrays, names: Sequence[str], schema: pa.Schema, rows: int) -> pa.RecordBatch:
    if not names:
        return pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))
    return pa.RecordBatch.from_arrays([columns[name] for name in names], schema=schema)
