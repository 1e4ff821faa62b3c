"""The checkpoint of a load: which records are of which table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from streams_engine.model import Chunk, TableId
from streams_engine.runtime.resuming import Continuation, Memory, chunk_key, is_chunk_of

PLAIN, ODD = TableId("s", "t"), TableId("s", "t:x")


class Records:
    """A sink that keeps records alone."""

    def __init__(self, records: Mapping[str, Mapping[str, Any]]) -> None:
        self.records = dict(records)

    def load_state(self, _: str) -> Mapping[str, Mapping[str, Any]]:
        """All of them."""
        return dict(self.records)

    def save_state(self, _: str, records: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Put or remove records."""
        for key, record in records.items():
            if record is None:
                self.records.pop(key, None)
            else:
                self.records[key] = record


def checkpoint() -> Records:
    """One finished chunk of each of two tables."""
    done = {"done": True, "rows": 5, "last": None}
    chunks = [Chunk(PLAIN, 0), Chunk(ODD, 0), Chunk(ODD, 1)]
    return Records({"run": {"fingerprint": "f"}} | {chunk_key(chunk): done for chunk in chunks})


def test_a_table_that_begins_keeps_the_chunks_of_one_whose_name_begins_so() -> None:
    sink = checkpoint()
    memory = Memory(sink, "stream")  # type: ignore[arg-type]
    memory.known()
    memory.begin("f", {}, {PLAIN: [Chunk(PLAIN, 0)]})
    assert chunk_key(Chunk(PLAIN, 0)) not in sink.records
    assert {chunk_key(Chunk(ODD, n)) for n in (0, 1)} <= sink.records.keys()


def test_a_table_that_is_loaded_again_forgets_its_own_chunks_alone() -> None:
    memory = Memory(checkpoint(), "stream")  # type: ignore[arg-type]
    memory.known()
    going_on = Continuation(True, True, {}, {}, frozenset({PLAIN}))
    opening = memory.opening("f", {}, going_on)
    assert {key for key, record in opening.items() if record is None} == {
        chunk_key(Chunk(PLAIN, 0))
    }


@pytest.mark.parametrize("name", ["t", "t:x", "t:1", "chunk:t:1", "", ":", "täble"])
def test_each_chunk_is_of_its_own_table(name: str) -> None:
    others = [TableId("s", other) for other in ("t", "t:x", "t:1", "chunk:t:1", "", ":", "täble")]
    key = chunk_key(Chunk(TableId("s", name), 1))
    assert [table.name for table in others if is_chunk_of(key, [table])] == [name]
