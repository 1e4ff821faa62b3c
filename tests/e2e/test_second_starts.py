"""A stream that runs is started a second time: one of the two goes on, the other says why not.

A PostgreSQL source has a slot, which one process reads: the first keeps it. A MySQL source has
none: the second takes the stream over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from streams_engine import State, Stream, faults
from tests.support.cdc import caught_up, failure, prepared, write
from tests.support.databases import End
from tests.support.replay_files import folder_files, replayed
from tests.support.stream_control import CHUNK_ROWS, SECONDS

Rows = list[list[str]]


class Way:
    """From a source to a target, with what the target holds."""

    def __init__(self, source: End, url: str, rows: Callable[[], Rows]) -> None:
        self.source, self.url, self._rows = source, url, rows
        self.options: dict[str, Any] = {"name": "life", "tables": ["t", "bag"], "mode": "cdc"}

    def stream(self, **options: Any) -> Stream:
        return Stream(self.source.url, self.url, **{**self.options, **options})

    def equal(self) -> bool:
        found = [self.source.rows(f"SELECT * FROM {table}") for table in ("t", "bag")]
        return self._rows() == [_sorted(rows) for rows in found]


def _sorted(rows: Any) -> list[str]:
    return sorted(repr(tuple(str(value) for value in row)) for row in rows)


@pytest.fixture(params=["pg18", "mysql9", "files"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[End, Any], Way]:
    return lambda source, database: way(source, request.param, request, database, tmp_path)


def way(source: End, kind: str, request: pytest.FixtureRequest, database: Any, folder: Path) -> Way:
    """A way into a database of a server, or into files."""
    if kind == "files":
        return Way(source, f"file://{folder}/out?format=jsonl", lambda: _in_files(folder))
    server = request.getfixturevalue(kind)
    end = End(server, database(server))
    return Way(source, end.url, lambda: _in_tables(end))


def _in_tables(end: End) -> Rows:
    return [_sorted(end.rows(f"SELECT * FROM {table}")) for table in ("t", "bag")]


def _in_files(folder: Path) -> Rows:
    files = folder_files(folder / "out")
    columns = {"t": ("id", "v"), "bag": ("x", "y")}
    return [
        _sorted([row.get(c) for c in names] for row in replayed(files, table))
        for table, names in columns.items()
    ]


@pytest.fixture(params=["pg18", "pg15"])
def postgres(request: pytest.FixtureRequest, database: Any, target: Any) -> Iterator[Way]:
    with prepared(request.getfixturevalue(request.param), database) as end:
        yield target(end, database)


@pytest.fixture(params=["mysql9", "mariadb"])
def mysql(request: pytest.FixtureRequest, database: Any, target: Any) -> Iterator[Way]:
    with prepared(request.getfixturevalue(request.param), database) as end:
        yield target(end, database)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle stream looks often whether it is still this process's."""
    monkeypatch.setattr("streams_engine.pipeline.changes.applier.IDLE_COMMIT_SECONDS", 0.5)


def reader(source: End) -> int:
    """The server process that reads the stream's slot."""
    [(pid,)] = source.rows(
        "SELECT active_pid FROM pg_replication_slots WHERE database = current_database() AND active"
    )
    return int(pid)


def test_a_second_start_of_an_idle_stream_leaves_the_slot_to_the_first(postgres: Way) -> None:
    with postgres.stream() as first, postgres.stream() as second:
        first.start()
        caught_up(first)
        write(postgres.source, 5)
        caught_up(first)
        pid = reader(postgres.source)
        second.start()
        error = failure(second)
        assert error.code == "LOCK_TIMEOUT" and not error.retryable
        assert f"server process {pid}" in error.message
        assert f"pg_terminate_backend({pid})" in str(error.remedy)
        assert first.state is State.RUNNING and reader(postgres.source) == pid
        write(postgres.source, 10)
        caught_up(first)
        assert postgres.equal()
    with postgres.stream() as third:
        third.start()
        write(postgres.source, 20)
        caught_up(third)
        assert postgres.equal()
    third.release()


def test_a_second_start_takes_an_idle_stream_over(mysql: Way) -> None:
    with mysql.stream() as first, mysql.stream() as second:
        first.start()
        caught_up(first)
        write(mysql.source, 5)
        caught_up(first)
        second.start()
        caught_up(second)
        error = failure(first)  # without any change: it looks
        assert error.code == "FENCED_OFF" and error.remedy
        assert second.state is State.RUNNING
        write(mysql.source, 10)
        caught_up(second)
        assert mysql.equal()


def test_a_second_start_takes_a_busy_stream_over(mysql: Way) -> None:
    with mysql.stream() as first, mysql.stream() as second:
        first.start()
        caught_up(first)
        write(mysql.source, 5)
        caught_up(first)
        second.start()
        for number in range(10, 100, 10):
            write(mysql.source, number)
        caught_up(second)
        assert failure(first).code == "FENCED_OFF"
        write(mysql.source, 110)
        caught_up(second)
        assert mysql.equal()


def test_a_second_start_that_cannot_read_leaves_the_first_alone(
    mysql: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two readers of a MySQL log with one server id would push each other out."""
    monkeypatch.setattr("streams_engine.adapters.mysql.binlog.dump.HELD_SECONDS", 1)
    document = {
        "mode": "cdc", "name": "life",
        "source": {
            "connections": [
                {"connection": mysql.source.url, "tables": [{"name": "t"}, {"name": "bag"}]}
            ],
            "options": {"serverId": 77_001},
        },
        "target": {"connection": mysql.url},
    }  # fmt: skip
    with Stream.from_config(document) as first, Stream.from_config(document) as second:
        first.start()
        caught_up(first)
        write(mysql.source, 5)
        caught_up(first)
        second.start()
        error = failure(second)
        assert error.code == "INVALID_CONFIG" and "77001" in error.message
        write(mysql.source, 10)
        caught_up(first)
        assert first.state is State.RUNNING and mysql.equal()


# While the first one loads


class Gates:
    """Holds whoever comes first to one point, until it is let go; and says who came to others."""

    def __init__(self, point: str) -> None:
        self._point = point
        self.held, self._open = threading.Event(), threading.Event()
        self._then: tuple[str, Callable[[], None]] | None = None
        faults.install(self._reached)

    def then(self, point: str, work: Callable[[], None]) -> None:
        """Do something once, when anybody comes to a point."""
        self._then = point, work

    def _reached(self, name: str) -> None:
        if name == self._point and not self.held.is_set():
            self.held.set()
            assert self._open.wait(SECONDS)
        elif self._then is not None and name == self._then[0]:
            _, work = self._then
            self._then = None
            work()

    def let_go(self) -> None:
        self._open.set()


@pytest.fixture
def gates() -> Iterator[Callable[[str], Gates]]:
    made: list[Gates] = []

    def install(point: str) -> Gates:
        made.append(Gates(point))
        return made[-1]

    yield install
    faults.install(None)
    for gate in made:
        gate.let_go()


LOADS = [("mysql9", "pg18"), ("pg18", "mysql9"), ("mysql9", "files")]


@pytest.fixture(params=LOADS, ids="-".join)
def source(request: pytest.FixtureRequest, database: Any, tmp_path: Path) -> Iterator[Way]:
    server, kind = request.param
    with prepared(request.getfixturevalue(server), database) as end:
        rows = ", ".join(f"({n}, 'n{n}')" for n in range(1000, 5000))
        end.run(f"INSERT INTO t VALUES {rows}")
        made = way(end, kind, request, database, tmp_path)
        made.options["chunk_rows"] = CHUNK_ROWS
        yield made


@pytest.mark.parametrize("while_it_loads", [True, False])
@pytest.mark.parametrize("mode", ["cdc", "convert"])
def test_a_second_start_takes_a_load_over(
    source: Way, mode: str, while_it_loads: bool, gates: Any
) -> None:
    """What the first one copies from then on counts nowhere, whenever it comes."""
    gate = gates("handover: chunk copied")
    with (
        source.stream(mode=mode, parallelism=1) as first,
        source.stream(mode=mode, parallelism=1) as second,
    ):
        first.start()
        assert gate.held.wait(SECONDS)

        def let_the_first_go_on() -> None:
            gate.let_go()
            assert failure(first).code == "FENCED_OFF"

        if while_it_loads:
            gate.then("handover: chunk copied", let_the_first_go_on)
        second.start()
        if mode == "cdc":
            caught_up(second)
            write(source.source, 10)
            caught_up(second)
        else:
            assert second.wait(timeout=SECONDS) is State.FINISHED, second.error
        if not while_it_loads:
            let_the_first_go_on()
        assert source.equal()
    if mode == "cdc":
        second.release()


@pytest.mark.parametrize("point", ["handover: structure made", "handover: rows copied",
                                   "handover: keys built"])  # fmt: skip
def test_a_load_that_ends_beside_a_second_start_is_not_followed(
    source: Way, point: str, gates: Any
) -> None:
    gate = gates(point)
    with source.stream() as first, source.stream() as second:
        first.start()
        assert gate.held.wait(SECONDS)
        second.start()
        caught_up(second)
        write(source.source, 10)
        caught_up(second)
        gate.let_go()
        assert failure(first).code == "FENCED_OFF"
        write(source.source, 20)
        caught_up(second)
        assert source.equal()
    second.release()
