"""Lists have one form: limit, offset, filters, sort; items, total, limit, offset."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streams_engine import AsyncEngine, Engine, State
from streams_engine.errors import ConfigError, StateConflict
from tests.support.engine_shop import Shop

SECRET = "hunter2-is-secret"


def connection(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "mysql", "host": "db1", "port": 3306, "username": "reader",
            "password": SECRET} | more  # fmt: skip


@pytest.fixture
def many() -> Any:
    """Ten connections: c0 to c9 on ports 3300 to 3309, every other one PostgreSQL's."""
    with Engine() as engine:
        for number in range(10):
            kind = "postgresql" if number % 2 else "mysql"
            engine.connections.create(connection(f"c{number}", type=kind, port=3300 + number))
        yield engine


PAGES: list[tuple[dict[str, Any], list[str], int]] = [
    ({}, [f"c{n}" for n in range(10)], 10),
    ({"limit": 3}, ["c0", "c1", "c2"], 10),
    ({"limit": 3, "offset": 8}, ["c8", "c9"], 10),
    ({"limit": 0}, [], 10),
    ({"offset": 99}, [], 10),
    ({"filters": [{"column": "type", "value": "postgresql"}], "limit": 2}, ["c1", "c3"], 5),
    ({"filters": [{"column": "port", "operator": ">", "value": 3307}]}, ["c8", "c9"], 2),
    ({"filters": [{"column": "name", "operator": "in", "value": ["c3", "c4"]},
                  {"column": "type", "value": "mysql"}]}, ["c4"], 1),
    ({"filters": [{"column": "schema", "operator": "IS NULL"}], "limit": 1}, ["c0"], 10),
    ({"sort": [{"column": "port", "direction": "desc"}], "limit": 2}, ["c9", "c8"], 10),
    ({"sort": [{"column": "type", "direction": "desc"}, {"column": "name", "direction": "desc"}],
      "limit": 2, "offset": 4}, ["c1", "c8"], 10),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "names", "total"), PAGES)
def test_a_list_comes_in_pages(
    many: Engine, asked: dict[str, Any], names: list[str], total: int
) -> None:
    page = many.connections.list(**asked)
    assert [one["name"] for one in page["items"]] == names
    assert (page["total"], page["limit"], page["offset"]) == (
        total, asked.get("limit"), asked.get("offset", 0),
    )  # fmt: skip
    assert SECRET not in json.dumps(page)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"limit": -1}, r"\$\.limit"),
    ({"limit": "5"}, r"\$\.limit"),
    ({"limit": True}, r"\$\.limit"),
    ({"offset": -1}, r"\$\.offset"),
    ({"offset": 1.5}, r"\$\.offset"),
    ({"offset": None}, r"\$\.offset"),
    ({"filters": [{"column": "id", "operator": "~"}]}, r"\$\.filters\[0\]\.operator"),
    ({"filters": [{"column": "id"}]}, r"\$\.filters\[0\]\.value"),
    ({"filters": [{"colum": "id", "value": 1}]}, r"\$\.filters\[0\]"),
    ({"filters": {"column": "id", "value": 1}}, r"\$\.filters: expected a list"),
    ({"filters": "id"}, r"\$\.filters: expected a list"),
    ({"filters": [3]}, r"\$\.filters\[0\]"),
    ({"sort": [{"column": "id", "direction": "up"}]}, r"\$\.sorts\[0\]\.direction"),
    ({"sort": "id"}, r"\$\.sorts: expected a list"),
]


def test_what_is_wrong_is_refused_by_its_path_on_every_list(shop: Shop) -> None:
    shop.table("a", 3)
    engine, config = shop.engine, shop.config("copy", "a")
    run = engine.streams.start(config)
    engine.streams.wait(run, timeout=60)
    lists: list[Callable[..., Any]] = [
        engine.connections.list,
        engine.configs.list,
        engine.streams.list,
        lambda **more: engine.streams.history(config, **more),
        lambda **more: engine.streams.logs(run, **more),
        lambda **more: engine.data(shop.source, "a", **more),
    ]
    for number, one in enumerate(lists):
        for asked, told in REFUSED:
            with pytest.raises(ConfigError, match=told):
                one(**asked)
        if number < 5:  # what is not there in data is told by the table's own columns
            for key, condition in (("filters", {"column": "tim", "value": 1}),
                                   ("sort", {"column": "nothing"})):  # fmt: skip
                with pytest.raises(ConfigError, match=r"s\[0\]\.column: unknown column"):
                    one(**{key: [condition]})
    with pytest.raises(ConfigError, match="did you mean 'status'"):
        engine.streams.list(sort=[{"column": "statu"}])


def test_a_secret_is_nothing_to_filter_by(many: Engine) -> None:
    nested = {"host": "h", "username": "u", "password": SECRET}
    many.connections.create({"name": "n", "type": "mysql", "spec": {"database": nested}})
    begins = {"operator": "STARTS_WITH", "value": "h"}
    with pytest.raises(ConfigError, match="unknown column"):
        many.connections.list(filters=[{"column": "password"} | begins])
    told = many.connections.list(filters=[{"column": "spec.database.password"} | begins])
    assert told["total"] == 0
    assert many.connections.list(filters=[{"column": "spec.database.host"} | begins])["total"] == 1


def test_a_value_of_another_type_is_refused(many: Engine) -> None:
    with pytest.raises(ConfigError, match=r"\$\.filters\[0\]\.value: it cannot be compared"):
        many.connections.list(filters=[{"column": "port", "operator": "<", "value": "x"}])


def test_runs_and_their_logs_are_filtered_and_sorted(shop: Shop) -> None:
    shop.table("a", 10)
    more = {"spec": {"files": {"fileFormat": "csv"}, "db": {"writeMode": "truncate_and_load"}}}
    configs = [shop.config(name, "a", target={"id": shop.target} | more) for name in ("x", "y")]
    streams = shop.engine.streams
    runs = []
    for config in (*configs, configs[0]):
        runs.append(streams.start(config))
        assert streams.wait(runs[-1], timeout=60) is State.FINISHED
    assert [one["id"] for one in streams.all()] == runs[::-1]
    assert [one["id"] for one in streams.history(configs[0], limit=1)["items"]] == runs[2:]
    oldest = streams.list(sort=[{"column": "started"}], limit=1)
    assert ([one["id"] for one in oldest["items"]], oldest["total"]) == (runs[:1], 3)
    of_y = streams.list(filters=[{"column": "configID", "value": configs[1]}])
    assert [one["id"] for one in of_y["items"]] == [runs[1]]
    newest = streams.logs(runs[0], sort=[{"column": "time", "direction": "desc"}], limit=1)
    assert newest["total"] > 1
    assert newest["items"][0]["details"]["state"] == "FINISHED"
    about = streams.logs(runs[0], filters=[{"column": "details.state", "value": "RUNNING"}])
    assert [one["event"] for one in about["items"]] == ["state"]


def test_a_config_shows_the_stream_that_it_would_start(shop: Shop) -> None:
    shop.table("a", 200_000)
    engine, config = shop.engine, shop.config("copy", "a")
    made = engine.configs.get(config)
    assert made["latestRun"] is None
    assert made["stream"]["status"] == "READY"
    assert engine.configs.get(config) == made == engine.configs.list()["items"][0]
    run = engine.streams.start(config)
    assert run == made["stream"]["id"]
    engine.streams.pause(run)
    engine.streams.wait(run, State.PAUSED, timeout=60)
    held = engine.configs.get(config)
    assert held["stream"] is None, "it would start none"
    assert (held["latestRun"]["id"], held["latestRun"]["status"]) == (run, "PAUSED")
    engine.streams.stop(run)
    engine.streams.wait(run, timeout=60)
    stopped = engine.configs.list(filters=[{"column": "latestRun.status", "value": "STOPPED"}])
    (seen,) = stopped["items"]
    assert seen["latestRun"]["ended"] is not None
    assert seen["stream"]["id"] not in (run, None)
    assert engine.configs.update(config, seen) == seen, "what was added may be given back"
    assert engine.configs.create(seen)["latestRun"] is None


def test_everything_goes_only_when_it_is_confirmed(shop: Shop) -> None:
    shop.table("a", 200_000)
    engine, config = shop.engine, shop.config("copy", "a")
    run = engine.streams.start(config)
    engine.streams.pause(run)
    engine.streams.wait(run, State.PAUSED, timeout=60)
    everything: list[Callable[..., int]] = [
        engine.connections.delete_all,
        engine.configs.delete_all,
        engine.streams.delete_all,
        engine.streams.delete_all_logs,
    ]
    for delete in everything:
        for unsure in ({}, {"confirm": False}, {"confirm": "yes"}, {"confirm": 1}):
            with pytest.raises(ConfigError, match="confirm=True"):
                delete(**unsure)
    for delete in everything[:3]:
        with pytest.raises(StateConflict):
            delete(confirm=True)
    followed = engine.streams.follow_logs(run)
    first = next(followed)
    assert engine.streams.delete_all_logs(confirm=True) > 0
    assert engine.streams.logs(run)["total"] == 1
    engine.streams.stop(run)
    engine.streams.wait(run, timeout=60)
    assert first["event"] and "STOPPED" in {one["details"].get("state") for one in followed}
    assert engine.streams.delete_all(confirm=True) == 1
    assert engine.streams.list()["total"] == 0
    assert engine.configs.get(config)["latestRun"] is None
    with pytest.raises(StateConflict, match="copy_"):
        engine.connections.delete_all(confirm=True)
    assert engine.configs.delete_all(confirm=True) == 1
    assert engine.connections.delete_all(confirm=True) == 2
    assert [*engine.connections.all()] == [*engine.configs.all()] == []


def test_the_async_twin_iterates(tmp_path: Path) -> None:
    async def names() -> list[str]:
        async with AsyncEngine(tmp_path / "engine.db") as engine:
            for name in "ab":
                await engine.connections.create(connection(name))
            assert (await engine.connections.list(limit=1))["total"] == 2
            return [one["name"] async for one in engine.connections.all()]

    assert asyncio.run(names()) == ["a", "b"]


def test_a_file_of_the_version_before_is_brought_on(tmp_path: Path) -> None:
    import sqlite3

    from streams_engine.engine.store import MIGRATIONS

    path = tmp_path / "engine.db"
    with Engine(path) as engine:
        ends = [engine.connections.create(connection(name))["id"] for name in "ab"]
        config = engine.configs.create(
            {"name": "c", "mode": "convert", "source": {"connections": [{"connectionId": ends[0]}]},
             "target": {"id": ends[1]}}
        )["id"]  # fmt: skip
    old = sqlite3.connect(path)
    old.execute("ALTER TABLE configs DROP COLUMN stream")
    old.execute("DROP TABLE IF EXISTS requests")
    old.execute("DROP INDEX logs_by_time")
    old.execute("ALTER TABLE logs DROP COLUMN category")
    old.execute("ALTER TABLE runs DROP COLUMN reported")
    old.execute("PRAGMA user_version = 1")
    old.close()
    with Engine(path) as engine:
        assert engine.configs.get(config)["stream"]["status"] == "READY"
    with sqlite3.connect(path) as new:
        assert new.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS)
    new.close()
