"""A chunk's transaction where the answer to its commit is lost, on a server that is made up."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from streams_engine.adapters.sql.chunk_write import ChunkWriter
from streams_engine.adapters.sql.pool import ConnectionPool, Driver
from streams_engine.contracts import Checkpoint, Fence, QuarantinedRow, WritePlan
from streams_engine.errors import ConnectionFailed, FencedOff, ServerError
from streams_engine.model import TableId

TABLE = TableId("public", "t")
CHECKPOINT = Checkpoint("chunk", {"done": True}, run=("run", {"start": 1}))


class Lost(OSError):
    """The connection broke."""


class FakeConnection:
    """Notes what is done in order; ``refusal`` is what its commit raises."""

    def __init__(self, done: list[str], refusal: Exception | None) -> None:
        self.done = done
        self.refusal = refusal

    def commit(self) -> None:
        self.done.append("commit")
        if self.refusal is not None:
            raise self.refusal

    def rollback(self) -> None:
        self.done.append("rollback")


class FakeState:
    """The state's tables: ``ends`` are the answers to how the transaction ended."""

    def __init__(self, done: list[str], ends: list[bool | None]) -> None:
        self.done = done
        self.ends = ends
        self.tables = self
        self.fenced = False

    def begin(self, connection: Any) -> str:
        self.done.append("begin")
        return "attempt"

    def enter(self, connection: Any, stream: str, fence: Fence) -> None:
        self.done.append("enter")
        if self.fenced:
            raise FencedOff("Another worker has written it.")

    def record(
        self,
        connection: Any,
        stream: str,
        checkpoint: Checkpoint,
        quarantined: Any,
        attempt: str,
        run: tuple[str, Any],
    ) -> None:
        self.done.append(f"record {checkpoint.key} {len(quarantined)} {attempt} of {run[0]}")

    def committed(self, connection: Any, stream: str, key: str, attempt: str) -> bool | None:
        self.done.append(f"ask {key} {attempt}")
        if not self.ends:
            raise ServerError("No answer.")
        return self.ends.pop(0)


class FakeLoad:
    """Counts rows."""

    def __init__(self, connection: FakeConnection, plan: WritePlan) -> None:
        self.done = connection.done
        self.rows = self.bytes = 0
        self.quarantined = [QuarantinedRow(TABLE, "bad", "22000", {})]

    def prepare(self) -> None:
        self.done.append("prepare")

    def run(self, rows: Iterator[int]) -> None:
        self.rows = sum(rows)
        self.done.append("load")


@contextlib.contextmanager
def translating(what: str) -> Iterator[None]:
    try:
        yield
    except OSError:
        raise ConnectionFailed(f"{what}: the connection broke.") from None


class Place:
    """A writer, and what was done in order."""

    def __init__(self, refusal: Exception | None = None, ends: tuple[bool | None, ...] = ()):
        self.done: list[str] = []
        self.state = FakeState(self.done, list(ends))
        self.pool = ConnectionPool(
            Driver(
                errors=(OSError,),
                translating=translating,
                open=lambda: FakeConnection(self.done, refusal),
                answers=lambda connection: True,
                is_open=lambda connection: True,
                end=lambda connection: None,
                abort=lambda connections: None,
                begin=lambda connection: None,
            )
        )
        self.writer = ChunkWriter(
            self.pool,
            self.state,  # type: ignore[arg-type]
            load=FakeLoad,
            is_lost=lambda connection, error: isinstance(error, Lost),
            fresh=lambda: contextlib.nullcontext(None),
            settle_seconds=0.01,
            ask_seconds=0,
        )

    def write(self, fence: Fence | None = None) -> tuple[int, int]:
        written = self.writer.write(
            "s", WritePlan(TABLE, ()), iter([2, 3]), lambda: CHECKPOINT, fence
        )
        return written.rows, written.quarantined


WRITING = ["begin", "load", "record chunk 1 attempt of run", "commit"]


def test_rows_and_record_are_written_in_one_transaction() -> None:
    place = Place()
    assert place.write() == (5, 1)
    assert place.done == ["prepare", *WRITING]


def test_a_fence_is_entered_before_the_rows() -> None:
    place = Place()
    place.write(Fence(run=("run", {}), chunk=("chunk", None)))
    assert place.done[:4] == ["prepare", "begin", "enter", "load"]


def test_nothing_is_written_where_the_fence_does_not_hold() -> None:
    place = Place()
    place.state.fenced = True
    with pytest.raises(FencedOff):
        place.write(Fence(run=("run", {}), chunk=("chunk", None)))
    assert place.done == ["prepare", "begin", "enter", "rollback"]


def test_a_commit_whose_answer_was_lost_counts_where_the_server_says_so() -> None:
    place = Place(Lost(), ends=(None, True))
    assert place.write() == (5, 1)
    assert place.done[-3:] == ["commit", "ask chunk attempt", "ask chunk attempt"]


def test_a_commit_whose_answer_was_lost_fails_where_the_server_rolled_back() -> None:
    place = Place(Lost(), ends=(False,))
    with pytest.raises(ConnectionFailed, match=r"committing public\.t"):
        place.write()
    assert place.done[-2:] == ["ask chunk attempt", "rollback"]


def test_a_commit_of_unknown_outcome_is_said_to_be_one() -> None:
    place = Place(Lost())
    with pytest.raises(ConnectionFailed, match="whether it succeeded is unknown"):
        place.write()


def test_a_refused_commit_is_not_asked_about() -> None:
    place = Place(OSError())
    with pytest.raises(ConnectionFailed, match="committing"):
        place.write()
    assert place.done[-2:] == ["commit", "rollback"]


def test_nothing_is_committed_once_the_sink_is_closed() -> None:
    place = Place()
    with pytest.raises(ConnectionFailed, match="closed"):
        place.writer.write(
            "s",
            WritePlan(TABLE, ()),
            iter([1]),
            lambda: (place.pool.close(), CHECKPOINT)[1],  # type: ignore[func-returns-value]
        )
    assert "commit" not in place.done
