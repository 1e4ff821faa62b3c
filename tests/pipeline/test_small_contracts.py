"""The smallest adapters: a sink that stores no checkpoint, and a log without further abilities."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import pyarrow as pa
import pytest

from streams_engine import ConfigError, State, Stream, contracts
from streams_engine.adapters.memory import MemoryDatabase, MemorySink, MemorySource
from streams_engine.contracts import (
    ChangeReader,
    CheckpointCallback,
    CheckpointStorage,
    Scope,
    Snapshot,
    WritePlan,
    WriteResult,
)
from streams_engine.model import Catalog, Dialect, Finding, Position, TableId, TableSubscription

SHOP = pa.schema([("id", pa.int64()), ("who", pa.string())])


class RowSink:
    """Keeps rows in lists: four members, and no checkpoint."""

    dialect = None

    def __init__(self) -> None:
        self.tables: dict[str, list[dict[str, Any]]] = {}
        self.writes = 0
        self.reading: Callable[[], Any] = lambda: None

    def check(self) -> Sequence[Finding]:
        return ()

    def write_rows(
        self,
        stream: str,
        plan: WritePlan,
        rows: Iterator[pa.RecordBatch],
        make_checkpoint: CheckpointCallback,
    ) -> WriteResult:
        batches = []
        for batch in rows:
            batches.append(batch)
            self.reading()
        make_checkpoint()
        self.writes += 1
        read = [row for batch in batches for row in batch.to_pylist()]
        self.tables.setdefault(plan.table.name, []).extend(read)
        return WriteResult(len(read), 0, sum(batch.nbytes for batch in batches))

    def close(self) -> None: ...


class BareLog:
    """What following needs and no more: no lag, readiness, identities or slot."""

    dialect = Dialect.FILES

    def __init__(self, inner: MemorySource) -> None:
        self._inner = inner

    def check(self) -> Sequence[Finding]:
        return self._inner.check()

    def catalog(self, scope: Scope) -> Catalog:
        return self._inner.catalog(scope)

    def snapshot(self, scope: Scope, readers: int) -> AbstractContextManager[Snapshot]:
        return self._inner.snapshot(scope, readers)

    def snapshot_at_position(
        self, scope: Scope, readers: int, *, resume: bool
    ) -> AbstractContextManager[Snapshot]:
        return self._inner.snapshot_at_position(scope, readers, resume=resume)

    def start(self, tables: Sequence[TableId]) -> Position:
        return self._inner.start(tables)

    def changes(
        self, tracked: Sequence[TableSubscription], after: Position
    ) -> AbstractContextManager[ChangeReader]:
        return self._inner.changes(tracked, after)

    def end(self) -> Position:
        return self._inner.end()

    def at_or_after(self, position: Position, wanted: Position) -> bool:
        return self._inner.at_or_after(position, wanted)

    def close(self) -> None:
        self._inner.close()


@pytest.fixture
def shop() -> MemoryDatabase:
    database = MemoryDatabase("shop")
    database.create_table("orders", SHOP, ["id"])
    for number in range(100):
        database.insert("orders", {"id": number, "who": f"customer {number}"})
    return database


def test_rows_arrive_in_a_sink_without_checkpoint_and_a_finding_says_so(
    shop: MemoryDatabase,
) -> None:
    sink = RowSink()
    stats = Stream(MemorySource(shop), sink).run()
    assert sorted(row["id"] for row in sink.tables["orders"]) == list(range(100))
    assert [f.code for f in stats.findings] == ["no-checkpoint"]


def test_a_pause_resumes_within_the_run(shop: MemoryDatabase) -> None:
    """The records of the run live in memory: nothing is copied twice."""
    shop.create_table("visits", SHOP, ["id"])
    shop.insert("visits", {"id": 1, "who": "somebody"})
    sink = RowSink()
    with Stream(MemorySource(shop), sink, parallelism=1) as stream:
        sink.reading = lambda: stream.pause() if not sink.writes else None
        stream.start()
        assert stream.wait(State.PAUSED, timeout=60) is State.PAUSED
        assert len(sink.tables) == 1
        stream.resume()
        assert stream.wait(State.FINISHED, timeout=60) is State.FINISHED
    assert {name: len(rows) for name, rows in sink.tables.items()} == {"orders": 100, "visits": 1}
    assert sink.writes == 2


def test_following_a_log_into_it_is_refused(shop: MemoryDatabase) -> None:
    with pytest.raises(ConfigError, match=r"\$\.target"):
        Stream(MemorySource(shop), RowSink(), mode="cdc").run()


def test_a_log_without_further_abilities_is_followed(shop: MemoryDatabase) -> None:
    copy = MemoryDatabase("copy")
    with Stream(BareLog(MemorySource(shop)), MemorySink(copy), mode="cdc") as stream:
        stream.start()
        shop.insert("orders", {"id": 100, "who": "last"})
        assert stream.catch_up(60)
        assert copy.rows("orders") == shop.rows("orders")
        changes = stream.stats().changes
        assert changes is not None and changes.lag_bytes is None
    stream.release()


def test_every_contract_is_small() -> None:
    """A class of the contracts asks for at most six members beyond those of its bases."""
    for name in contracts.__all__:
        kind = getattr(contracts, name)
        if not getattr(kind, "_is_protocol", False):
            continue
        own = {member for member in vars(kind) if member[0] != "_"}
        own |= {member for member in vars(kind).get("__annotations__", {})}
        assert len(own) <= 6 or name in {"Explorer", "ChangeWriter"}, (name, sorted(own))


def test_storage_of_checkpoints_is_an_ability() -> None:
    assert isinstance(MemorySink(MemoryDatabase()), CheckpointStorage)
    assert not isinstance(RowSink(), CheckpointStorage)
