"""A target in memory, and a run of the apply loop against it: what no server is needed for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pyarrow as pa

from streams_engine.contracts import ApplyResult
from streams_engine.errors import RowRejected
from streams_engine.lifecycle import State
from streams_engine.model import (
    ChangeSet,
    Column,
    Dialect,
    Index,
    IndexPart,
    NativeType,
    NetChanges,
    Op,
    Position,
    RowChanges,
    TableId,
    TableSchema,
    TableSubscription,
    Truncation,
)
from streams_engine.pipeline.changes.applier import ChangeApplier
from streams_engine.pipeline.changes.table_replication import TableReplication, follow
from streams_engine.pipeline.control import Control
from streams_engine.schema.mapping.tables import ColumnMapping, TableMapping
from streams_engine.stats import Counters

__all__ = ["Kept", "Rows", "followed", "replay"]

Row = tuple[Any, ...]

INT = NativeType(Dialect.MYSQL, "int", "int")


def followed(name: str, columns: Sequence[str], key: Sequence[str]) -> TableReplication:
    """A table of integer columns, as the apply loop knows it."""
    source = TableSchema(
        TableId("s", name),
        Dialect.MYSQL,
        tuple(Column(c, INT, pa.int32(), nullable=c not in key) for c in columns),
        Index("PRIMARY", tuple(IndexPart(c) for c in key), True, True) if key else None,
    )
    mapping = TableMapping(source, source, tuple(ColumnMapping(c, c) for c in source.columns))
    return follow(
        mapping,
        source,
        tuple(key or columns),
        (),
        None,
        zero_dates="null",
        quarantine=False,
        operations=frozenset(Op),
    )


class Rows:
    """A target of tables: a multiset of rows for each, changed by what a set comes to.

    ``stubborn``: every set is refused at first, so that it is applied one change after the other.
    """

    findings = ()
    foreign_keys_enforced = False
    document: Mapping[str, Any] | None = None

    def __init__(self, tables: Mapping[TableId, Counter[Row]], *, stubborn: bool = False) -> None:
        self.tables = {table: Counter(rows) for table, rows in tables.items()}
        self.unmet = 0
        self._durable = self._copy()
        self._stubborn = stubborn
        self._refused = False

    def _copy(self) -> dict[TableId, Counter[Row]]:
        return {table: Counter(rows) for table, rows in self.tables.items()}

    def apply(self, steps: Sequence[NetChanges | Truncation]) -> ApplyResult:
        if self._stubborn and not self._refused:
            self._refused = True
            raise RowRejected("a foreign key", remedy="none", sqlstate="23503")
        self._refused = False
        for step in steps:
            if isinstance(step, Truncation):
                for table in step.tables:
                    self.tables[table].clear()
                continue
            rows = self.tables[step.table]
            names = [column.name for column in step.columns]
            if step.deletes is not None:
                self._delete(rows, step, names)
            for old, new in step.moves:
                self._update(rows, names, step.key, old.to_pylist()[0], new.to_pylist()[0])
            # All of them leave before any comes back: a key may go from one to the other.
            for part in step.updates:
                for new in part.to_pylist():
                    self._update(rows, names, step.key, new, new)
            for row in [] if step.inserts is None else step.inserts.to_pylist():
                assert not step.key or not self._found(rows, names, step.key, row)
                rows[tuple(row[name] for name in names)] += 1
        return ApplyResult({}, {})

    def _delete(self, rows: Counter[Row], step: NetChanges, names: Sequence[str]) -> None:
        assert step.deletes is not None
        copies = [1] * step.deletes.num_rows if step.copies is None else step.copies.tolist()
        for wanted, count in zip(step.deletes.to_pylist(), copies, strict=True):
            there = self._found(rows, names, step.key or names, wanted)
            assert sum(rows[row] for row in there) >= count, "a row that goes is there"
            rows[there[0]] -= count

    def _update(
        self,
        rows: Counter[Row],
        names: Sequence[str],
        key: Sequence[str],
        old: Mapping[str, Any],
        new: Mapping[str, Any],
    ) -> None:
        (there,) = self._found(rows, names, key, old)
        rows[there] -= 1
        rows[tuple((dict(zip(names, there, strict=True)) | dict(new)).values())] += 1

    @staticmethod
    def _found(
        rows: Counter[Row], names: Sequence[str], key: Sequence[str], wanted: Mapping[str, Any]
    ) -> list[Row]:
        places = [(names.index(name), wanted[name]) for name in key]
        return [r for r, n in rows.items() if n and all(r[at] == value for at, value in places)]

    def commit(self, document: Mapping[str, Any], *_: Any) -> None:
        self.document = document
        self._durable = self._copy()

    def rollback(self) -> None:
        self.tables = {table: Counter(rows) for table, rows in self._durable.items()}


class Kept:
    """A target that keeps the log itself: every change in the order in which it came."""

    findings = ()
    foreign_keys_enforced = False
    full = False
    document: Mapping[str, Any] | None = None

    def __init__(self) -> None:
        self.log: dict[TableId, list[tuple[Op, Row]]] = {}

    def append(
        self, changes: Sequence[RowChanges | Truncation], position: Any, committed_at: Any
    ) -> ApplyResult:
        for change in changes:
            if isinstance(change, Truncation):
                for table in change.tables:
                    self.log.setdefault(table, []).append((Op.DELETE, ("all",)))
                continue
            kept = self.log.setdefault(change.table, [])
            after = change.after.to_pylist()
            before = after if change.before is None else change.before.to_pylist()
            for op, new, old in zip(change.op.tolist(), after, before, strict=True):
                kept.append((Op(op), tuple((old if op == Op.DELETE else new).values())))
        return ApplyResult({}, {})

    def create(self, table: TableId, columns: Any, identity: Any) -> None:
        raise NotImplementedError

    def drop(self, table: TableId) -> None:
        raise NotImplementedError

    def column_names(self, table: TableId) -> set[str]:
        raise NotImplementedError

    def apply(self, steps: Any) -> ApplyResult:
        raise NotImplementedError

    def execute(self, statements: Any) -> Any:
        raise NotImplementedError

    def commit(self, document: Mapping[str, Any], *_: Any) -> None:
        self.document = document

    def rollback(self) -> None:
        pass


class _Source:
    """A log that ends: ``opened`` gives its reader, ``ended`` says when all of it was given."""

    def __init__(
        self, opened: Callable[[Sequence[TableSubscription]], Any], ended: Callable[[], bool]
    ):
        self._opened, self._ended = opened, ended
        self.control = Control()

    @contextmanager
    def changes(self, tracked: Sequence[TableSubscription], after: Position) -> Iterator[Any]:
        reader = self._opened(tracked)
        poll = reader.poll

        def polled(timeout: float, rows: int | None = None) -> ChangeSet | None:
            found: ChangeSet | None = poll(timeout, rows)
            if found is None and self._ended():
                self.control.request_stop()
            return found

        reader.poll = polled
        yield reader


def replay(
    tables: Sequence[TableReplication],
    opened: Callable[[Sequence[TableSubscription]], Any],
    ended: Callable[[], bool],
    writer: Rows | Kept,
) -> None:
    """Apply a log to its end, as a stream does."""
    source = _Source(opened, ended)

    class Sink:
        transactional_ddl = True

        def change_writer(self, stream: str, key: str) -> AbstractContextManager[Any]:
            @contextmanager
            def writing() -> Iterator[Any]:
                yield writer

            return writing()

    by_name = {table.mapping.source.id: table for table in tables}
    counters = Counters()
    for name in by_name:
        counters.expect(name, None)
    follower = ChangeApplier(
        "s", "k", "", source, Sink(), source.control, counters, lambda _: {},
        lambda _: dict(by_name), _no_ddl, poll_seconds=0.0, position={"at": 0},
    )  # fmt: skip
    source.control.move(State.RUNNING)
    follower.run()


def _no_ddl(*_: Any) -> None:
    raise AssertionError("no structure changes here")
