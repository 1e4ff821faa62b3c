"""Runs of an Engine: started, steered, remembered, and seen from other processes."""

from __future__ import annotations

import asyncio
import logging
import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from streams_engine import AsyncEngine, Engine, State
from streams_engine.errors import NotFound, StateConflict
from tests.support.engine_shop import Shop

ROWS = 3000


def held(shop: Shop, name: str, *tables: str) -> str:
    """A stream that holds at PAUSED: a limit of rows keeps nothing, a pause does."""
    for table in tables:
        shop.table(table, ROWS)
    stream = shop.engine.streams.start(shop.config(name, *tables))
    shop.engine.streams.pause(stream)
    assert shop.engine.streams.wait(stream, State.PAUSED, timeout=30) is State.PAUSED
    return stream


def test_a_run_is_started_and_remembered(shop: Shop) -> None:
    shop.table("orders", ROWS)
    config = shop.config("copy", "orders")
    stream = shop.engine.streams.start(config)
    assert re.fullmatch(r"stream_[0-9A-Za-z]{27}", stream)
    assert shop.engine.streams.wait(stream, timeout=60) is State.FINISHED
    stats = shop.engine.streams.stats(stream)
    assert (stats["configID"], stats["streamID"]) == (config, stream)
    target = next(node for node in stats["nodes"] if node["type"] == "target")
    assert target["stat"]["counter"] == ROWS
    assert target["stat"]["status"] == "FINISHED"
    seen = shop.engine.streams.get(stream)
    assert (seen["status"], seen["rows"], seen["quarantined"]) == ("FINISHED", ROWS, 0)
    assert seen["error"] is None
    assert re.match(r"20\d\d-\d\d-\d\dT", seen["started"])
    assert seen["ended"] >= seen["started"]
    assert shop.engine.streams.history(config)["items"] == [seen] == [*shop.engine.streams.all()]


def test_every_run_of_a_config_is_in_its_history(shop: Shop) -> None:
    shop.table("orders", 10)
    config = shop.config("copy", "orders", target={
        "id": shop.target, "spec": {"files": {"fileFormat": "csv"},
                                    "db": {"writeMode": "truncate_and_load"}},
    })  # fmt: skip
    runs = []
    for _ in range(2):
        runs.append(shop.engine.streams.start(config))
        shop.engine.streams.wait(runs[-1], timeout=60)
    (shop.folder / "in" / "orders.csv").unlink()
    runs.append(shop.engine.streams.start(config))
    assert shop.engine.streams.wait(runs[-1], timeout=60) is State.FAILED
    history = shop.engine.streams.history(config)["items"]
    assert [run["id"] for run in history] == runs[::-1]
    assert [run["status"] for run in history] == ["FAILED", "FINISHED", "FINISHED"]
    assert history[0]["error"]["code"] == "NOT_FOUND"
    with pytest.raises(NotFound):
        shop.engine.streams.history("config_x")


def test_a_paused_stream_keeps_others_from_starting(shop: Shop) -> None:
    paused = held(shop, "first", "a")
    other = shop.config("second", "a")
    with pytest.raises(StateConflict, match=f"Another stream is paused: {paused}"):
        shop.engine.streams.start(other)
    assert shop.engine.streams.list()["items"][0]["status"] == "PAUSED"
    assert shop.engine.streams.list()["total"] == 1
    shop.engine.streams.resume(paused)
    assert shop.engine.streams.wait(paused, timeout=60) is State.FINISHED


def test_allow_concurrent_lifts_that(shop: Shop, engine_file: Path) -> None:
    paused = held(shop, "first", "a")
    second = shop.config("second", "a", target={
        "id": shop.target, "spec": {"files": {"fileFormat": "csv"},
                                    "db": {"writeMode": "append"}},
    })  # fmt: skip
    with Engine(engine_file, allow_concurrent=True) as other:
        run = other.streams.start(second)
        assert other.streams.wait(run, timeout=60).final
        with pytest.raises(StateConflict, match="A run of this config has not ended"):
            other.streams.start(shop.engine.streams.get(paused)["configID"])


def test_what_a_state_forbids_is_refused(shop: Shop) -> None:
    stream = held(shop, "first", "a")
    config = shop.engine.streams.get(stream)["configID"]
    with pytest.raises(StateConflict, match="has not ended"):
        shop.engine.configs.delete(config)
    with pytest.raises(StateConflict, match="has not ended"):
        shop.engine.configs.delete_all(confirm=True)
    shop.engine.streams.stop(stream)
    assert shop.engine.streams.wait(stream, timeout=60) is State.STOPPED
    for call in (shop.engine.streams.pause, shop.engine.streams.resume, shop.engine.streams.stop):
        if call != shop.engine.streams.stop:
            with pytest.raises(StateConflict):
                call(stream)
        with pytest.raises(NotFound):
            call("stream_x")
    shop.engine.streams.stop(stream)  # it has ended: nothing is done
    assert shop.engine.streams.get(stream)["status"] == "STOPPED"
    shop.engine.configs.delete(config)
    assert shop.engine.streams.list()["items"] == []


def test_a_config_is_planned_and_verified(shop: Shop) -> None:
    shop.table("orders", ROWS)
    config = shop.config("copy", "orders")
    assert [str(table.source) for table in shop.engine.streams.plan(config).tables] == ["orders"]
    assert shop.engine.streams.list()["items"] == [], "a look is no run"
    shop.engine.streams.wait(shop.engine.streams.start(config), timeout=60)
    assert shop.engine.streams.verify(config).ok
    with pytest.raises(StateConflict, match="Only a cdc"):
        shop.engine.streams.release(config)


def test_the_log_says_what_happened(shop: Shop) -> None:
    shop.table("orders", ROWS)
    shop.table("users", ROWS)
    stream = shop.engine.streams.start(shop.config("copy", "orders", "users"))
    followed = list(shop.engine.streams.follow_logs(stream))
    assert shop.engine.streams.wait(stream, timeout=60) is State.FINISHED
    assert followed == shop.engine.streams.logs(stream)["items"]
    states = [r["details"]["state"] for r in followed if r["event"] == "state"]
    assert states == ["RUNNING", "FINISHED"]
    about = {r["table"] for r in shop.engine.streams.logs(stream, table="orders")["items"]}
    assert about == {"orders"}
    assert shop.engine.streams.logs(stream, level="ERROR")["items"] == []
    assert shop.engine.streams.logs(stream, limit=1)["items"] == followed[:1]
    assert {
        "time", "level", "category", "stream", "event", "message", "table", "details",
    } == set(followed[0])  # fmt: skip


# Several processes

CHILD = """
import sys
from streams_engine import Engine, State
engine = Engine(sys.argv[1])
stream = engine.streams.start(sys.argv[2])
engine.streams.pause(stream)
engine.streams.wait(stream, State.PAUSED, timeout=60)
print(stream, flush=True)
print(engine.streams.wait(stream, timeout=60), flush=True)
engine.close()
"""


def child(engine_file: Path, config: str) -> tuple[subprocess.Popen[str], str]:
    """A process whose stream has come to hold; the stream's id."""
    command = [sys.executable, "-c", CHILD, str(engine_file), config]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_another_process_sees_and_steers_a_run(shop: Shop, engine_file: Path) -> None:
    shop.table("a", ROWS)
    process, stream = child(engine_file, shop.config("copy", "a"))
    with process:
        streams = shop.engine.streams
        assert streams.get(stream)["status"] == "PAUSED"
        assert streams.stats(stream)["streamID"] == stream
        with pytest.raises(StateConflict, match="in another process"):
            streams.open(stream)
        with pytest.raises(StateConflict):
            streams.pause(stream)
        streams.resume(stream)
        assert streams.wait(stream, timeout=60) is State.FINISHED
        assert streams.get(stream)["rows"] == ROWS
        assert process.communicate()[0].split() == ["FINISHED"]


def test_a_killed_process_leaves_a_run_that_others_see_as_lost(
    shop: Shop, engine_file: Path
) -> None:
    shop.table("a", ROWS)
    config = shop.config("copy", "a")
    process, stream = child(engine_file, config)
    with process:
        process.send_signal(signal.SIGKILL)
    seen = shop.engine.streams.get(stream)
    assert seen["status"] == "FAILED"
    assert seen["error"]["code"] == "PROCESS_LOST"
    assert shop.engine.streams.stats(stream)["status"] == "FAILED"
    assert shop.engine.streams.logs(stream, level="ERROR")["items"][-1]["event"] == "process-lost"
    assert shop.engine.streams.wait(stream) is State.FAILED
    again = shop.engine.streams.start(config)
    assert shop.engine.streams.wait(again, timeout=60) is State.FINISHED
    assert shop.engine.streams.get(again)["rows"] <= ROWS
    assert [f.name for f in engine_file.parent.glob("engine.db*.lock")] != []
    assert len(list(engine_file.parent.glob("engine.db*.lock"))) == 1, "the dead one's is gone"


def test_a_lost_run_is_found_on_opening(shop: Shop, engine_file: Path) -> None:
    shop.table("a", ROWS)
    process, stream = child(engine_file, shop.config("copy", "a"))
    with process:
        process.send_signal(signal.SIGKILL)
    with Engine(engine_file) as opened:
        assert opened.streams.list()["items"][0] == opened.streams.get(stream)
        assert opened.streams.get(stream)["status"] == "FAILED"


# asyncio


def test_the_async_twin(engine_file: Path, shop: Shop) -> None:
    shop.table("a", ROWS)
    config = shop.config("copy", "a")

    async def work() -> tuple[Any, list[Any], int]:
        async with AsyncEngine(engine_file) as engine:
            stream = await engine.streams.start(config)
            events = [record["event"] async for record in engine.streams.follow_logs(stream)]
            state = await engine.streams.wait(stream, timeout=60)
            assert await engine.connections.ping(shop.source) == {"ping": "ok"}
            assert (await engine.configs.list())["total"] == 1
            assert "SELECT" in await engine.sql.format("select 1")
            with pytest.raises(AttributeError):
                await engine.streams.no_such()
            return state, events, await engine.count(shop.source, "a")

    state, events, count = asyncio.run(work())
    assert (state, count) == (State.FINISHED, ROWS)
    assert "state" in events


def test_of_many_that_start_a_config_one_does(shop: Shop, engine_file: Path) -> None:
    shop.table("a", 200_000)
    config = shop.config("copy", "a")
    engines = [Engine(engine_file) for _ in range(6)]
    together = threading.Barrier(len(engines))

    def start(engine: Engine) -> str | None:
        together.wait()
        try:
            return engine.streams.start(config)
        except StateConflict as error:
            assert "has not ended" in error.message
            return None

    with ThreadPoolExecutor(len(engines)) as pool:
        started = [run for run in pool.map(start, engines) if run is not None]
    assert len(started) == 1
    assert [run["id"] for run in shop.engine.streams.all()] == started
    shop.engine.streams.stop(started[0])
    assert shop.engine.streams.wait(started[0], timeout=60).final
    for engine in engines:
        engine.close()


def test_many_write_to_one_file(shop: Shop, engine_file: Path) -> None:
    engines = [Engine(engine_file) for _ in range(4)]

    def make(engine: Engine) -> list[str]:
        documents = [
            {"name": f"{id(engine)} {n}", "type": "files", "spec": {"files": {"basePath": "/x"}}}
            for n in range(25)
        ]
        return [engine.connections.create(document)["id"] for document in documents]

    with ThreadPoolExecutor(len(engines)) as pool:
        made = [one for ids in pool.map(make, engines) for one in ids]
    assert len(set(made)) == 100
    assert {c["id"] for c in shop.engine.connections.all()} >= set(made)
    for engine in engines:
        engine.close()
        engine.close()


def test_a_closed_engine_says_so(engine_file: Path) -> None:
    engine = Engine(engine_file)
    engine.close()
    with pytest.raises(StateConflict, match="closed"):
        engine.connections.list()


def test_a_failing_callback_leaves_the_run_alone(shop: Shop) -> None:
    shop.table("a", ROWS)
    stream = held(shop, "copy", "a")
    shop.engine.streams.open(stream).on_record(lambda _: 1 / 0)
    shop.engine.streams.resume(stream)
    assert shop.engine.streams.wait(stream, timeout=60) is State.FINISHED


def test_standard_logging_has_the_same_records(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    shop.table("a", ROWS)
    with caplog.at_level(logging.INFO, logger="streams_engine"):
        stream = shop.engine.streams.start(shop.config("copy", "a"))
        shop.engine.streams.wait(stream, timeout=60)
    kept = [(r["event"], r["table"]) for r in shop.engine.streams.logs(stream)["items"]]
    logged = [r for r in caplog.records if r.name == "streams_engine.stream"]
    assert [(r.event, r.table) for r in logged] == kept  # type: ignore[attr-defined]
    assert {r.stream for r in logged} == {shop.engine.streams.get(stream)["name"]}  # type: ignore[attr-defined]
