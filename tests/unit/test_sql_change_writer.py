"""The writer of changes of every SQL database, on a session that is made up."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pytest

from streams_engine.adapters.sql.change_writer import (
    Claim,
    SqlChangeWriter,
    StepsAsTheyCome,
    change_table,
)
from streams_engine.contracts import ApplyResult, QuarantinedRow, Statement
from streams_engine.errors import FencedOff, RowRejected
from streams_engine.model import Finding, NetChanges, TableId, Truncation

TABLE, OTHER = TableId("public", "t"), TableId("public", "u")


class FakeServer:
    """Connection, session and state in one: it notes what is done in order."""

    foreign_keys_enforced = False
    findings: Sequence[Finding] = ()
    errors = (OSError,)
    order = StepsAsTheyCome
    bytes = 0

    def __init__(self) -> None:
        self.done: list[str] = []
        self.missed = 0
        self.epoch_now = 1
        self.tables = self
        self.refusing = False

    def note(self, what: str) -> None:
        self.done.append(what)

    def undoing(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    # connection

    def commit(self) -> None:
        self.note("commit")

    def rollback(self) -> None:
        self.note("rollback")

    # state

    def translating(self, what: str) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def claim(self, connection: Any, stream: str, key: str) -> tuple[dict[str, Any] | None, int]:
        self.note("claim")
        return {"at": 0}, self.epoch_now

    def commit_claimed(
        self, connection: Any, stream: str, key: str, epoch: int, document: Mapping[str, Any]
    ) -> bool:
        self.note(f"position {document['at']}")
        return epoch == self.epoch_now

    def epoch(self, connection: Any, stream: str, key: str) -> int:
        return self.epoch_now

    def save(self, connection: Any, stream: str, records: Mapping[str, Any]) -> None:
        self.note(f"save {','.join(records)}")

    def quarantine(self, connection: Any, stream: str, quarantined: Sequence[Any]) -> None:
        self.note(f"quarantine {len(quarantined)}")

    # session

    def begin(self, connection: Any = None) -> None:
        self.note("begin")

    def change(self, step: NetChanges) -> tuple[int, int]:
        self.note(f"change {step.table.name}")
        if self.refusing:
            raise RowRejected("a row")
        self.bytes += 10
        return 1, self.missed

    def empty(self, step: Truncation) -> None:
        self.note("empty")

    def at_once(self, steps: Sequence[NetChanges | Truncation], claim: Claim) -> ApplyResult | None:
        self.note(f"at once {json.loads(claim.document)}")
        self.bytes += 10
        return None if self.refusing else ApplyResult({TABLE: len(steps)}, {})

    @contextlib.contextmanager
    def foreign_keys_active(self) -> Iterator[None]:
        self.note("active")
        try:
            yield
        finally:
            self.note("rest")

    def execute(self, statements: Sequence[Statement]) -> Sequence[Finding]:
        return ()

    def ended(self, *, committed: bool) -> None:
        self.note("committed" if committed else "undone")


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def writer(server: FakeServer) -> SqlChangeWriter:
    made = SqlChangeWriter(server, server, server, "s", "key")  # type: ignore[arg-type]
    assert server.done == ["begin", "claim", "commit"] and made.document == {"at": 0}
    server.done.clear()
    return made


def changes(table: TableId = TABLE, **more: Any) -> NetChanges:
    return NetChanges(table, (), ("id",), **more)


def test_steps_are_applied_in_order_and_counted_by_table(
    server: FakeServer, writer: SqlChangeWriter
) -> None:
    server.missed = 2
    applied = writer.apply([changes(), Truncation((TABLE,)), changes(OTHER), changes()])
    assert server.done == ["begin", "change t", "empty", "change u", "change t"]
    assert applied.rows == {TABLE: 2, OTHER: 1}
    assert applied.unmatched == {TABLE: 4, OTHER: 2}
    assert applied.bytes == 30


def test_tables_whose_rows_were_all_there_are_not_named(writer: SqlChangeWriter) -> None:
    assert writer.apply([changes()]).unmatched == {}


def test_foreign_keys_act_for_a_step_whose_log_lacks_what_they_did(
    server: FakeServer, writer: SqlChangeWriter
) -> None:
    server.refusing = True
    with pytest.raises(RowRejected):
        writer.apply([changes(cascades=True)])
    assert server.done == ["begin", "active", "change t", "rest"]


def test_rows_records_and_position_are_committed_together(
    server: FakeServer, writer: SqlChangeWriter
) -> None:
    writer.commit({"at": 1}, {"a": None}, [QuarantinedRow(TABLE, "bad", "22000", {})])
    assert server.done == ["begin", "save a", "quarantine 1", "position 1", "committed"]
    assert writer.document == {"at": 1}


def test_who_was_taken_over_from_commits_nothing(
    server: FakeServer, writer: SqlChangeWriter
) -> None:
    server.epoch_now = 2
    with pytest.raises(FencedOff, match="taken over the stream 's'"):
        writer.commit({"at": 1})
    assert server.done[-2:] == ["rollback", "undone"] and writer.document == {"at": 0}
    with pytest.raises(FencedOff):
        writer.check_fence()


def test_a_step_counts_rows_wanted_and_rows_found() -> None:
    rows = pa.record_batch({"id": [1, 2, 3]})
    did: list[str] = []

    def counting(what: str, count: int) -> Callable[..., int]:
        return lambda *_: did.append(what) or count  # type: ignore[func-returns-value]

    counted = change_table(
        changes(deletes=rows, moves=((rows[:1], rows[:1]),), updates=(rows,), inserts=rows),
        delete=counting("delete", 2),
        move=counting("move", 0),
        update=counting("update", 3),
        insert=counting("insert", 3),
    )
    assert counted == (8, 2) and did == ["delete", "move", "update", "insert"]


def test_a_small_set_is_applied_and_committed_at_once(
    server: FakeServer, writer: SqlChangeWriter
) -> None:
    """With the fence's epoch in the record; what is refused is told, and nothing is done."""
    applied = writer.apply_and_commit([changes()], {"at": 1})
    assert applied == ApplyResult({TABLE: 1}, {}, 10) and writer.document == {"at": 1}
    server.refusing = True
    assert writer.apply_and_commit([changes()], {"at": 2}) is None
    assert writer.document == {"at": 1}
    writer.foreign_keys_enforced = True
    assert writer.apply_and_commit([changes()], {"at": 3}) is None
    assert server.done == [
        "at once {'at': 1, 'epoch': 1}", "committed", "at once {'at': 2, 'epoch': 1}"
    ]  # fmt: skip
