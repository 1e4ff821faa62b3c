"""A query that is closed before its end, or forgotten, leaves nothing behind."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams_engine import Engine
from streams_engine.errors import QueryStopped
from streams_engine.query import queries
from streams_engine.query.execution import DuckdbExecution

ROWS = 40_000
SQL = "SELECT a.id, b.name FROM lake.a a JOIN lake.b b ON a.id = b.id"
MOST_GROWTH = 24 << 20


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """A folder with two tables of more than a batch."""
    folder = tmp_path / "lake"
    folder.mkdir()
    for name in "ab":
        lines = "".join(f"{n},text {n}\n" for n in range(ROWS))
        (folder / f"{name}.csv").write_text(f"id,name\n{lines}")
    return folder


@pytest.fixture
def engine(lake: Path) -> Iterator[Engine]:
    with Engine() as opened:
        spec = {"files": {"basePath": str(lake)}}
        opened.connections.create({"name": "lake", "type": "files", "spec": spec})
        yield opened


@pytest.fixture
def living(monkeypatch: pytest.MonkeyPatch) -> weakref.WeakSet[DuckdbExecution]:
    """The instances of DuckDB that were opened and still live."""
    alive: weakref.WeakSet[DuckdbExecution] = weakref.WeakSet()

    class Watched(DuckdbExecution):
        def __init__(self) -> None:
            super().__init__()
            alive.add(self)

    monkeypatch.setattr(queries, "DuckdbExecution", Watched)
    return alive


def test_a_result_that_is_closed_lets_everything_go(
    engine: Engine, living: weakref.WeakSet[DuckdbExecution]
) -> None:
    result = engine.query(SQL)
    reader = result.reader()
    assert reader.read_next_batch().num_rows
    result.close()
    gc.collect()
    assert not living, "though the reader and the result are still there"
    with pytest.raises(QueryStopped, match="closed before its last row"):
        reader.read_next_batch()
    assert result.status == "complete"


@pytest.mark.parametrize("read", [False, True])
def test_a_result_that_is_forgotten_lets_everything_go(
    engine: Engine, living: weakref.WeakSet[DuckdbExecution], read: bool
) -> None:
    result = engine.query(SQL)
    if read:
        result.reader().read_next_batch()
    del result
    gc.collect()
    assert not living


def test_a_reader_that_is_read_to_its_end_says_so_again(engine: Engine) -> None:
    with engine.query(SQL) as result:
        reader = result.reader()
        assert sum(batch.num_rows for batch in reader) == ROWS
    with pytest.raises(StopIteration):
        reader.read_next_batch()


CHILD = """
import sys
from streams_engine import Engine

with Engine() as engine:
    spec = {"files": {"basePath": sys.argv[1]}}
    engine.connections.create({"name": "lake", "type": "files", "spec": spec})
    cut = engine.query(sys.argv[2])
    reader = cut.reader()
    reader.read_next_batch()
    cut.close()
    kept = engine.query(sys.argv[2])
    kept.reader().read_next_batch()
    unread = engine.query(sys.argv[2])
"""


def test_a_process_ends_without_a_word_of_leaks(lake: Path) -> None:
    """nanobind, by which DuckDB is bound, prints at exit what is still alive (DuckDB 2.0.0)."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", CHILD, str(lake), SQL],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (ran.stdout, ran.stderr) == ("", "")


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.soak
def test_a_thousand_cut_queries_leave_memory_flat(engine: Engine) -> None:
    def cut(times: int) -> None:
        for _ in range(times):
            with engine.query(SQL) as result:
                result.reader().read_next_batch()

    cut(100)
    gc.collect()
    before = resident()
    cut(1000)
    gc.collect()
    assert resident() - before < MOST_GROWTH
