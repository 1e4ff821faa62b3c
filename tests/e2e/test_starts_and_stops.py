"""A stream that is started and stopped again and again leaves nothing open and nothing behind."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from streams_engine import State, Stream
from streams_engine.errors import InternalError, StreamsError
from streams_engine.faults import POINTS, install
from streams_engine.testing.servers import Server
from tests.support.databases import End, leftovers
from tests.support.polling import came

SECONDS = 60.0
SOON = 15.0
"""Where a busy server is asked too late to kill a reader's thread, a heartbeat ends that, and they
are five seconds apart."""

PAIRS = [
    (source, target)
    for source in ("mysql9", "mariadb", "pg15", "pg18", "files")
    for target in ("mysql9", "mariadb", "pg15", "pg18", "files")
    if (source, target) != ("files", "files")
]
OFTEN: dict[tuple[str, str, str], int] = {
    ("mysql9", "pg18", "cdc"): 20,
    ("mariadb", "files", "cdc"): 8,
    ("pg18", "mysql9", "cdc"): 8,
    ("pg18", "mysql9", "convert"): 5,
    ("files", "pg18", "convert"): 5,
}
"""How often each ordinary run starts and stops one of these."""

CASES = [
    *(pytest.param(*case, cycles) for case, cycles in OFTEN.items()),
    *(
        pytest.param(source, target, mode, 200, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])
        for source, target in PAIRS
        for mode in ("convert", "cdc")
        if (source, mode) != ("files", "cdc")
    ),
]

SESSIONS = {
    "postgresql": "SELECT pid, datname, state, query FROM pg_stat_activity"
    " WHERE application_name = 'streams_engine'",
    "mysql": "SELECT id, db, command, info FROM information_schema.processlist"
    " WHERE id <> connection_id() AND command <> 'Daemon'",
}
KEPT_ON_SOURCE = """
SELECT 'slot ' || slot_name FROM pg_replication_slots WHERE database = current_database()
UNION ALL SELECT 'publication ' || pubname FROM pg_publication
UNION ALL SELECT 'origin ' || roname FROM pg_replication_origin
UNION ALL SELECT 'event trigger ' || evtname FROM pg_event_trigger
"""


def family(server: Server) -> str:
    return "postgresql" if server.kind == "postgresql" else "mysql"


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporary files of this test alone."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))


class Census:
    """What of this process and of some servers is open."""

    def __init__(self, ends: list[End]) -> None:
        self._ends = ends
        self._before = self._count()

    def _count(self) -> dict[str, dict[Any, Any]]:
        found: dict[str, dict[Any, Any]] = {
            "descriptors": dict(descriptors()),
            "threads": {thread: thread.name for thread in threading.enumerate()},
            "files": {path: "" for path in Path(tempfile.gettempdir()).iterdir()},
        }
        for end in self._ends:
            rows = end.rows(SESSIONS[family(end.server)])
            found[f"sessions of {end.server.flavour_name}"] = {row[0]: row[1:] for row in rows}
        return found

    def new(self, seconds: float) -> dict[str, list[Any]]:
        """What is there and was not before, once nothing is or the time is over."""
        more: dict[str, list[Any]] = {}

        def nothing() -> bool:
            more.clear()
            for what, things in self._count().items():
                new = [value for key, value in things.items() if key not in self._before[what]]
                more.update({what: new} if new else {})
            return not more

        came(nothing, seconds, pause=0.1)
        return more


def descriptors() -> Iterator[tuple[str, str]]:
    for entry in os.listdir("/proc/self/fd"):
        try:
            leads = os.readlink(f"/proc/self/fd/{entry}")
        except FileNotFoundError:
            continue
        if leads.startswith(("socket:", "/")) and not leads.startswith(("/dev/", "/proc/")):
            yield leads, leads


class Pair:
    """A source and a target that has nothing of the source yet."""

    def __init__(
        self, source: str, target: str, mode: str, request: Any, database: Any, tmp: Path
    ) -> None:
        self.mode = mode
        self.folder = tmp
        self.ends: list[End] = []
        self.urls = [self._url(name, side, request, database)
                     for name, side in ((source, "in"), (target, "out"))]  # fmt: skip
        self.source = self.ends[0] if source != "files" else None
        self.target = self.ends[-1] if target != "files" else None

    def _url(self, name: str, side: str, request: Any, database: Any) -> str:
        if name == "files":
            (self.folder / side).mkdir()
            if side == "in":
                (self.folder / side / "t.csv").write_text("id,v\n1,a\n2,b\n")
            return str(self.folder / side)
        server: Server = request.getfixturevalue(name)
        end = End(server, database(server))
        self.ends.append(end)
        if side == "in":
            end.run("CREATE TABLE t (id int PRIMARY KEY, v varchar(20))")
            end.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')")
        return end.url

    def stream(self, **options: Any) -> Stream:
        if self.mode == "convert":
            options.setdefault("write_mode", "truncate_and_load")
        return Stream(*self.urls, mode=self.mode, name="often", **options)


def followed(stream: Stream) -> None:
    stream.start()
    if stream._config.follows:
        assert stream.catch_up(SECONDS), stream.error
        stream.stop()


def paused(stream: Stream) -> None:
    stream.start()
    try:
        stream.pause()
        stream.wait(State.PAUSED, timeout=SECONDS)
        stream.stop()
    except StreamsError:
        assert stream.wait(timeout=SECONDS).final


def stopped_at_once(stream: Stream) -> None:
    stream.start()
    stop(stream)


def forced(stream: Stream) -> None:
    stream.start()
    if stream._config.follows:
        assert stream.catch_up(SECONDS), stream.error
    stop(stream, force=True)


def stop(stream: Stream, *, force: bool = False) -> None:
    try:
        stream.stop(force=force)
    except StreamsError:  # it was through already
        assert stream.wait(timeout=SECONDS) is State.FINISHED


WAYS: list[Callable[[Stream], None]] = [followed, paused, stopped_at_once, forced]


@pytest.mark.parametrize(("source", "target", "mode", "cycles"), CASES)
def test_starts_and_stops_leave_nothing_open(
    source: str,
    target: str,
    mode: str,
    cycles: int,
    request: pytest.FixtureRequest,
    database: Any,
    tmp_path: Path,
) -> None:
    pair = Pair(source, target, mode, request, database, tmp_path)
    followed_once = pair.stream()
    followed(followed_once)  # what is made once for a process is no leak
    followed_once.wait(timeout=SECONDS)
    census = Census(pair.ends)
    for cycle in range(cycles):
        with pair.stream() as stream:
            WAYS[cycle % len(WAYS)](stream)
            assert stream.wait(timeout=SECONDS).final
            assert stream.error is None, (cycle, stream.error)
        if cycle % 5 == 4:
            with pair.stream(tables=["not_there"]) as failing:
                failing.start()
                assert failing.wait(timeout=SECONDS) is State.FAILED
    assert census.new(SOON) == {}
    if mode == "cdc":
        pair.stream().release()
        assert census.new(SOON) == {}
        if pair.source is not None and family(pair.source.server) == "postgresql":
            assert pair.source.rows(KEPT_ON_SOURCE) == []
    assert left_on(pair.target) in ([], ["public.t"], ["t"])


def left_on(target: End | None) -> list[str]:
    if target is None:
        return []
    if family(target.server) == "postgresql":
        return leftovers(target)
    return [row[0] for row in target.rows("SHOW TABLES")]


REFUSED: dict[str, tuple[tuple[str, ...], tuple[str, ...], dict[str, Any]]] = {
    "a table that is there": ((), ("CREATE TABLE t (id int PRIMARY KEY, other int)",), {}),
    "a table that is not there": ((), (), {"tables": ["t", "not_there"]}),
    "an empty source": (("DROP TABLE t",), (), {}),
}


@pytest.mark.parametrize("why", REFUSED)
@pytest.mark.parametrize("mode", ["convert", "cdc"])
@pytest.mark.parametrize(("source", "target"), [("pg18", "mysql9"), ("mysql9", "pg18")])
def test_a_refused_start_leaves_nothing_behind(
    source: str,
    target: str,
    mode: str,
    why: str,
    request: pytest.FixtureRequest,
    database: Any,
    tmp_path: Path,
) -> None:
    pair = Pair(source, target, mode, request, database, tmp_path)
    assert pair.source is not None and pair.target is not None
    on_source, on_target, options = REFUSED[why]
    pair.source.run(*on_source)
    pair.target.run(*on_target)
    before = left_on(pair.target)
    census = Census(pair.ends)
    for _ in range(3):
        stream = Stream(*pair.urls, mode=mode, name="refused", **options)
        stream.start()
        assert stream.wait(timeout=SECONDS) is State.FAILED
        assert stream.error is not None and stream.error.code != "INTERNAL_ERROR", stream.error
    assert census.new(SOON) == {}
    assert left_on(pair.target) == before
    if family(pair.source.server) == "postgresql":
        assert pair.source.rows(KEPT_ON_SOURCE) == []


@pytest.mark.parametrize("load", [True, False], ids=["load", "no load"])
@pytest.mark.parametrize(
    ("source", "target"), [("pg18", "mysql9"), ("mysql9", "pg18"), ("mariadb", "files")]
)
def test_a_start_that_breaks_off_leaves_nothing_open(
    source: str,
    target: str,
    load: bool,
    request: pytest.FixtureRequest,
    database: Any,
    tmp_path: Path,
) -> None:
    """At any point of the way; and nothing on the source before its position is recorded."""
    pair = Pair(source, target, "cdc", request, database, tmp_path)
    assert pair.source is not None
    census = Census(pair.ends)
    reached: list[str] = []
    for point in (point for point in POINTS if point.startswith("handover")):

        def hook(name: str, point: str = point) -> None:
            if name == point:
                reached.append(point)
                raise OSError("broken off")

        install(hook)
        try:
            with pair.stream(initial_load=load) as stream:
                stream.start()
                try:
                    passed = stream.catch_up(SECONDS)
                except InternalError:
                    passed = False
                assert passed is (point not in reached)
                if not passed:
                    assert stream.wait(timeout=SECONDS) is State.FAILED
                    assert stream.error is not None and stream.error.code == "INTERNAL_ERROR"
        finally:
            install(None)
        assert census.new(SOON) == {}, point
        recorded = passed or "handover: structure made" in reached
        if family(pair.source.server) == "postgresql" and not recorded:
            assert pair.source.rows(KEPT_ON_SOURCE) == [], point
        pair.stream().release()
    assert "handover: structure made" in reached
    assert census.new(SOON) == {}
