"""Where the row images of a change set are gathered, and made into one batch a table version."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streams_engine.adapters.mysql.defaults import constant
from streams_engine.adapters.mysql.rowimage import Layout, Walker, present, walker
from streams_engine.adapters.mysql.rowvalues import Image
from streams_engine.adapters.mysql.tablemap import TableMap
from streams_engine.adapters.mysql.versioning import CURRENT, current_operations
from streams_engine.bounds import violation
from streams_engine.changes import ChangeBatch, Op, Tracked, same_values
from streams_engine.errors import SchemaChangeRefused
from streams_engine.model import TableId

__all__ = ["Followed", "Shape"]

Arrays = dict[str, pa.Array]

FULL_IMAGES = (
    "SET GLOBAL binlog_row_image = 'FULL' on the source, reconnect its sessions, and load the "
    "table again."
)


@dataclass(slots=True)
class Shape:
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

    def take(self, buffer: Any, at: int, end: int, seq: int) -> int:
        """The rows of one event. Returns how many they are."""
        starts = self.starts
        known = len(starts)
        if at == end and self.after == ():
            # An INSERT of nothing but defaults with a minimal row image: one row without a byte.
            # MySQL refuses a statement that would write several such rows.
            starts.append(at)
        elif not (self.before or self.after) or self.walk(buffer, at, end, starts.append) != end:
            raise violation("the binary log", "a row goes beyond its event")
        rows = len(starts) - known
        if self.op == 1:
            rows >>= 1
        self.counts.append(rows)
        self.seqs.append(seq)
        return rows

    def forget(self, seq: int) -> None:
        """Drop the events from this number on: they are read again, or were rolled back."""
        images = 2 if self.op == Op.UPDATE else 1
        while self.seqs and self.seqs[-1] >= seq:
            self.seqs.pop()
            del self.starts[len(self.starts) - images * self.counts.pop() :]

    def clear(self) -> None:
        """All of them were given."""
        self.starts, self.counts, self.seqs = array("q"), [], []

    def order(self) -> np.ndarray:
        """The sequence number of each row."""
        counts = np.array(self.counts, np.int64)
        begin = np.cumsum(counts) - counts
        first = np.repeat(np.array(self.seqs, np.int64) - begin, counts)
        numbers: np.ndarray = first + np.arange(len(first), dtype=np.int64)
        return numbers

    def places(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        """(places of the images before, of those after)."""
        starts = np.frombuffer(self.starts, np.int64)
        if self.op == Op.UPDATE:
            return starts[0::2], starts[1::2]
        return (None, starts) if self.op == Op.INSERT else (starts, None)


class Followed:
    """A table in one version, and the images of it that were gathered."""

    def __init__(
        self, table: TableMap, tracked: Tracked, translate: Any, *, skipped: bool = False
    ) -> None:
        self.table = table
        self.tracked = tracked
        self.skipped = skipped
        """What comes belongs to transactions that the table's rows were read after."""
        self.layout = Layout(table, tracked, translate)
        self.shapes: dict[tuple[Op, bytes, bool, bool], Shape] = {}

    @property
    def id(self) -> TableId:
        """Which table it is."""
        return self.tracked.schema.id

    def shape(self, op: Op, bitmaps: bytes, aside: bool, unchecked: bool = False) -> Shape:
        """Where events of this kind go."""
        key = (op, bitmaps, aside, unchecked)
        found = self.shapes.get(key)
        if found is None:
            found = self.shapes[key] = self._shape(*key)
        return found

    def _shape(self, op: Op, bitmaps: bytes, aside: bool, unchecked: bool) -> Shape:
        fields = self.layout.fields
        size = (len(fields) + 7) // 8
        first = present(bitmaps[:size], fields)
        second = present(bitmaps[size:], fields) if op == Op.UPDATE else None
        walk = walker(
            [[fields[i] for i in there] for there in (first, second) if there is not None]
        )
        if op == Op.UPDATE:
            return Shape(op, walk, first, second, aside, unchecked)
        if op == Op.INSERT:
            return Shape(op, walk, None, first, aside, unchecked)
        return Shape(op, walk, first, None, aside, unchecked)

    def forget(self, seq: int) -> None:
        """Drop what came from this number on."""
        for shape in self.shapes.values():
            shape.forget(seq)

    def batch(self, main: Image, aside: Image) -> ChangeBatch | None:
        """All that was gathered, decoded; None where nothing was."""
        shapes = [shape for shape in self.shapes.values() if shape.counts]
        if not shapes:
            return None
        found = _Batch(self.layout, shapes, main, aside).build()
        for shape in shapes:
            shape.clear()
        return found


class _Batch:
    def __init__(self, layout: Layout, shapes: Sequence[Shape], main: Image, aside: Image) -> None:
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
        found = np.repeat(np.array(flags), self.sizes)
        return found if self.order is None else found[self.order]

    def build(self) -> ChangeBatch | None:
        """The batch; None where it has changes of a table's history alone."""
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
                    f"{tracked.schema.id}: the log does not carry the old value of "
                    f"{', '.join(lacking)}, which tells which row was changed.",
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
        return ChangeBatch(
            table=tracked.schema.id,
            tracked=tracked,
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
        """Leave what was done to current rows alone; returns the old values that are left."""
        unchanged = absent.pop(CURRENT, np.zeros(len(self.op), bool))
        has = _flags(after.pop(CURRENT))
        had = np.zeros(len(self.op), bool) if before is None else _flags(before.pop(CURRENT))
        done, keep = current_operations(self.op, had, np.where(unchanged, had, has))
        places = pa.array(np.flatnonzero(keep))
        self.op, self.seq = done[keep], self.seq[keep]
        self.unchecked = None if self.unchecked is None else self.unchecked[keep]
        gone, new = pa.array(self.op == Op.DELETE), pa.array(self.op == Op.INSERT)
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
        """(columns of the images on one side, for those not in every image where they lack)."""
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
        """The groups' columns in the order of the log, NULL where a row has no such image."""
        found: Arrays = {}
        absent: dict[str, np.ndarray] = {}
        none = row < 0
        in_order = len(row) == 0 or (not none.any() and bool((np.diff(row) == 1).all()))
        index = None if in_order else pa.array(row, mask=none if none.any() else None)
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
                found[name] = pa.nulls(len(row), kind)
                continue
            whole: Any = pieces[0] if len(pieces) == 1 else pa.concat_arrays(pieces)
            found[name] = whole if index is None else whole.take(index)
        return found, absent

    def _complete(self, after: Arrays, absent: dict[str, np.ndarray], before: Arrays) -> None:
        """A key column that an update's image leaves out has its old value."""
        for name in self.layout.tracked.identity:
            mask = absent.get(name)
            if mask is None:
                continue
            fill = mask & (self.op == Op.UPDATE)
            after[name] = pc.if_else(pa.array(fill), before[name], after[name])
            absent[name] = mask & ~fill

    def _fill_defaults(self, after: Arrays, absent: dict[str, np.ndarray]) -> None:
        """An inserted row has the default of a column that its image leaves out."""
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
                    f"{tracked.schema.id}: the log does not carry the column {name} of an inserted "
                    "row, whose default is not known as a value.",
                    remedy=FULL_IMAGES,
                    table=str(tracked.schema.id),
                    column=name,
                )
            after[name] = pc.if_else(pa.array(lacking), value, after[name])
            absent[name] = mask & ~lacking

    def _kept(self, before: Arrays, after: Arrays) -> bool:
        """Whether nothing was deleted, and every update kept its identity."""
        if (self.op == Op.DELETE).any():
            return False
        updated = pa.array(np.flatnonzero(self.op == Op.UPDATE))
        return all(
            same_values(before[name].take(updated), after[name].take(updated))
            for name in self.layout.tracked.identity
        )


def _flags(current: pa.Array) -> np.ndarray:
    flags: np.ndarray = current.fill_null(False).to_numpy(zero_copy_only=False)
    return flags


def _nulled(values: pa.Array, where: pa.Array) -> pa.Array:
    return pc.if_else(where, pa.scalar(None, values.type), values)


def _record(columns: Arrays, names: Sequence[str], schema: pa.Schema, rows: int) -> pa.RecordBatch:
    if not names:
        return pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))
    return pa.RecordBatch.from_arrays([columns[name] for name in names], schema=schema)
