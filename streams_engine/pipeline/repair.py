"""Write differing rows of the target again, as the source has them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from streams_engine.contracts import ChangeSink, ChangeWriter, Scope
from streams_engine.errors import StateConflict
from streams_engine.faults import reach
from streams_engine.model import (
    Chunk,
    Extract,
    Filter,
    NetChanges,
    Op,
    TableId,
    Truncation,
)
from streams_engine.pipeline.changes.table_replication import TableReplication, follow
from streams_engine.pipeline.checkpoint import CheckpointStore
from streams_engine.pipeline.checkpoint_records import REPAIR
from streams_engine.pipeline.context import RunContext
from streams_engine.pipeline.multi_source import SourceSpec
from streams_engine.schema.mapping.tables import MappedCatalog, TableMapping
from streams_engine.schema.row_keys import key_of

__all__ = ["Key", "Repairs", "RowRepair", "Write"]

Key = tuple[str | None, ...]
"""The texts of a row's key, in the order of the key's columns."""
Write = Callable[[Callable[[ChangeWriter], int]], int]
"""Runs work in a transaction of the stream's own, under its fence, and commits it."""

REPAIR_KEYS = 5000
"""Rows that are written in one transaction."""

KINDS = ("missing", "extra", "different")

STATEMENT_KEYS = 500
"""Keys that one statement asks for."""


@dataclass(frozen=True, slots=True)
class Repairs:
    """Repairs the tables of a stream: through the log that is followed, else directly."""

    context: RunContext
    mapped: MappedCatalog
    followed: Callable[[str, Callable[[ChangeWriter], int]], int] | None = None
    """By the alias of a source: has work done between two transactions of its log."""

    def __call__(self, table: TableId, kinds: Mapping[Key, str] | None) -> int:
        """Write rows of a source's table again, by their keys; None: all of them. Return how many.

        Raises `StateConflict` where that cannot be done.
        """
        (mapping,) = (m for m in self.mapped.tables if m.source.id == table)
        (origin,) = (s for s in self.context.sources if s.alias == table.alias)
        repair = RowRepair(
            origin, mapping, key_of(mapping.source), self.context.job.zero_dates, self._write(table)
        )
        if kinds is None:
            self._demand_resting(table)
            return repair.whole()
        keys = list(kinds)
        return sum(
            repair.rows({key: kinds[key] for key in keys[start : start + REPAIR_KEYS]})
            for start in range(0, len(keys), REPAIR_KEYS)
        )

    def _write(self, table: TableId) -> Write:
        followed = self.followed

        def write(work: Callable[[ChangeWriter], int]) -> int:
            def written(writer: ChangeWriter) -> int:
                count = work(writer)
                reach("verify: repair written")
                return count

            count = followed(table.alias, written) if followed else self._directly(written)
            reach("verify: repair committed")
            return count

        return write

    def _directly(self, work: Callable[[ChangeWriter], int]) -> int:
        sink = self.context.sink
        if not isinstance(sink, ChangeSink):
            raise StateConflict(
                "The target cannot be repaired row by row.", remedy="Load the tables again."
            )
        name = self.context.job.name
        with sink.change_writer(name, REPAIR) as writer:
            count = work(writer)
            writer.commit({})
        CheckpointStore(self.context.checkpoints, name).remove([REPAIR])
        return count

    def _demand_resting(self, table: TableId) -> None:
        if self.followed is not None:
            raise StateConflict(
                f"{table} has to be written again whole, for single rows of it cannot be named, or "
                "too many differ. That cannot be done while its log is followed.",
                remedy="Load it again: stop the stream, and start(fresh=True).",
            )


@dataclass(frozen=True, slots=True)
class RowRepair:
    """Repairs one table. ``key``: the source's columns that name a row; empty: none do."""

    origin: SourceSpec
    mapping: TableMapping
    key: tuple[str, ...]
    zero_dates: str
    write: Write

    def rows(self, kinds: Mapping[Key, str]) -> int:
        """Write the rows with these keys again, each by what it is: ``missing`` on the target,
        ``extra``, or ``different``. Return how many.

        They are committed together. A row that changes while it is read is left as it is. Raises
        `StateConflict` for a key that cannot be asked for by its text.
        """
        followed = self._followed()
        keys = {kind: [k for k, is_ in kinds.items() if is_ == kind] for kind in KINDS}
        before = {kind: self._read(followed, keys[kind]) for kind in KINDS}

        def work(writer: ChangeWriter) -> int:
            # Nothing of the log is between the two reads where a row is the same in both.
            now = {kind: self._read(followed, keys[kind]) for kind in KINDS}
            missing, different = (_unchanged(before[k], now[k]) for k in ("missing", "different"))
            changes = NetChanges(
                self.mapping.target.id,
                followed.columns,
                followed.key,
                deletes=None if now["extra"].num_rows else self._named(followed, keys["extra"]),
                updates=tuple(self._shown(followed, different)),
                inserts=next(iter(self._shown(followed, missing)), None),
            )
            if changes.rows:
                writer.apply([changes])
            return changes.rows

        return self.write(work)

    def whole(self) -> int:
        """Empty the table and load it again, in one transaction. Return its rows."""
        followed = self._followed()

        def work(writer: ChangeWriter) -> int:
            writer.apply([Truncation((self.mapping.target.id,))])
            count = 0
            with self._view() as read:
                for batch in read(followed.tracked.extract):
                    for rows in self._shown(followed, pa.Table.from_batches([batch])):
                        writer.apply([self._inserts(followed, rows)])
                    count += batch.num_rows
            return count

        return self.write(work)

    def _followed(self) -> TableReplication:
        schema = self.mapping.source
        bare = replace(schema, id=replace(schema.id, alias=""))
        return follow(
            self.mapping,
            bare,
            self.key,
            (),
            None,
            zero_dates=self.zero_dates,
            quarantine=False,
            operations=frozenset(Op),
        )

    def _inserts(self, followed: TableReplication, rows: pa.RecordBatch) -> NetChanges:
        target = self.mapping.target.id
        return NetChanges(target, followed.columns, followed.key, inserts=rows)

    def _read(self, followed: TableReplication, keys: Sequence[Key]) -> pa.Table:
        """Read the source's rows with these keys, as they are now."""
        extract = followed.tracked.extract
        batches = []
        if keys:
            with self._view() as read:
                for filters in self._filters(keys):
                    batches += list(read(replace(extract, filters=(*extract.filters, *filters))))
        return pa.Table.from_batches(batches, extract.arrow_schema())

    def _filters(self, keys: Sequence[Key]) -> Iterator[tuple[Filter, ...]]:
        if any(value is None for key in keys for value in key):
            raise self._cannot("a key is NULL")
        if len(self.key) == 1:
            for start in range(0, len(keys), STATEMENT_KEYS):
                values = [key[0] for key in keys[start : start + STATEMENT_KEYS]]
                yield (Filter(self.key[0], "IN", values),)
            return
        for key in keys:
            yield tuple(Filter(c, "=", value) for c, value in zip(self.key, key, strict=True))

    @contextlib.contextmanager
    def _view(self) -> Iterator[Callable[[Extract], Iterator[pa.RecordBatch]]]:
        """Open a view of the source's table, and yield what reads it."""
        table = self.mapping.source.id
        scope = Scope(table.schema, (table.name,))
        with self.origin.source.snapshot(scope, 1) as view:

            def read(extract: Extract) -> Iterator[pa.RecordBatch]:
                with contextlib.closing(view.read(extract, Chunk(extract.table))) as batches:
                    yield from batches

            yield read

    def _shown(self, followed: TableReplication, rows: pa.Table) -> Iterator[pa.RecordBatch]:
        """Yield rows as the target has them. Raises `RowRejected` where it cannot hold one."""
        for batch in rows.combine_chunks().to_batches():
            converted = followed.converted(followed.tracked.inserts(batch), [])
            if converted is not None:
                yield converted.after

    def _named(self, followed: TableReplication, keys: Sequence[Key]) -> pa.RecordBatch | None:
        """Return keys of rows that the source lacks, as values of the target."""
        if not keys:
            return None
        types = {column.name: column.arrow for column in followed.columns}
        try:
            arrays = [
                pa.array([key[place] for key in keys], pa.string()).cast(types[name])
                for place, name in enumerate(followed.key)
            ]
        except pa.ArrowInvalid:
            raise self._cannot("a key has no text that it can be made of") from None
        return pa.RecordBatch.from_arrays(arrays, list(followed.key))

    def _cannot(self, why: str) -> StateConflict:
        return StateConflict(
            f"Single rows of {self.mapping.target.id} cannot be repaired: {why}.",
            remedy="Load the table again.",
        )


def _unchanged(before: pa.Table, now: pa.Table) -> pa.Table:
    """Return the rows of ``now`` that are the same before."""
    known = {tuple(map(repr, row.values())) for row in before.to_pylist()}
    same = [tuple(map(repr, row.values())) in known for row in now.to_pylist()]
    return now.filter(pa.array(same, pa.bool_()))
