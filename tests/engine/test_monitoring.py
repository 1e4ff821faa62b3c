"""Logs of all streams, their retention, and health and metrics of an engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streams_engine import ConfigError, Engine, State
from streams_engine.engine import runs
from tests.support.schema_play import validator


def configured(engine: Engine, folder: Path, *names: str) -> list[str]:
    """Configs that copy a folder of two rows, and a stored run of each."""
    (folder / "in").mkdir(exist_ok=True)
    (folder / "in" / "t.csv").write_text("id\n1\n2\n")
    ids = []
    for name in names:
        for end in ("in", "out"):
            place = {"files": {"basePath": str(folder / end / ("" if end == "in" else name))}}
            engine.connections.create({"name": f"{name}-{end}", "type": "files", "spec": place})
        source = {"connections": [{"connectionId": f"{name}-in"}]}
        document = {"name": name, "mode": "convert", "source": source,
                    "target": {"id": f"{name}-out"}}  # fmt: skip
        ids.append(engine.configs.create(document)["id"])
    return ids


def run(engine: Engine, config: str) -> str:
    stream = engine.streams.start(config)
    assert engine.streams.wait(stream, timeout=60) is State.FINISHED
    return stream


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with Engine(tmp_path / "engine.db") as made:
        yield made


def test_the_logs_of_all_streams(engine: Engine, tmp_path: Path) -> None:
    streams = [run(engine, config) for config in configured(engine, tmp_path, "a", "b")]
    page = engine.logs()
    assert {record["stream"] for record in page["items"]} == set(streams)
    assert not [e for record in page["items"] for e in validator("log").iter_errors(record)]
    assert {"general", "progress", "stat"} <= {record["category"] for record in page["items"]}
    progress = engine.logs(category="progress", table="t")["items"]
    assert [r["message"].split(" rows")[0] for r in progress if r["details"]["phase"] == "copied"] \
        == ["copied 2", "copied 2"]  # fmt: skip
    one = engine.logs(filters=[{"column": "stream", "operator": "=", "value": streams[0]}])
    assert one["total"] == engine.streams.logs(streams[0])["total"]
    assert engine.logs(limit=1, sort=[{"column": "time", "direction": "desc"}])["items"]


@pytest.mark.parametrize("wrong", [
    {"category": "none"}, {"level": "LOUD"}, {"limit": -1}, {"offset": -1},
    {"sort": [{"column": "colour"}]},
])  # fmt: skip
def test_a_wrong_question_is_refused(engine: Engine, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        engine.logs(**wrong)
    assert next(iter(wrong)) in caught.value.path


def test_old_records_are_deleted(engine: Engine, tmp_path: Path) -> None:
    [config] = configured(engine, tmp_path, "a")
    run(engine, config)
    engine._store.write("UPDATE logs SET at = at - 100 WHERE number <= 3")
    before = engine.logs()["total"]
    with Engine(tmp_path / "engine.db", log_max_age=50) as other:
        assert other.logs()["total"] == before - 3


def test_the_oldest_of_too_many_records_are_deleted(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [config] = configured(engine, tmp_path, "a")
    run(engine, config)
    newest = engine.logs()["items"][-1]
    monkeypatch.setattr(runs, "PRUNED_EVERY", 1)
    with Engine(tmp_path / "engine.db", log_max_bytes=600) as other:
        assert 0 < other.logs()["total"] <= 5
        assert other.logs()["items"][-1] == newest
        run(other, config)
        assert 0 < other.logs()["total"] <= 5
    with Engine(tmp_path / "engine.db", log_max_bytes=1) as other:
        assert other.logs()["total"] == 1  # numbers go on from it


@pytest.mark.parametrize("wrong", [{"log_max_age": 0}, {"log_max_bytes": -1},
                                   {"log_max_age": True}])  # fmt: skip
def test_a_retention_that_keeps_nothing(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Engine(**wrong)


def test_health_and_metrics(engine: Engine, tmp_path: Path) -> None:
    assert engine.health() == {"status": "ok", "streams": {}}
    first, second = configured(engine, tmp_path, "a", "b")
    stream = run(engine, first)
    (tmp_path / "out" / "b").mkdir(parents=True)
    (tmp_path / "out" / "b" / "t").write_text("a file in the way")
    failed = engine.streams.start(second)
    assert engine.streams.wait(failed, timeout=60) is State.FAILED
    for one in (engine, Engine(tmp_path / "engine.db")):  # another process sees the same
        health = one.health()
        assert health["status"] == "failed"
        assert health["streams"][stream]["status"] == "ok"
        assert health["streams"][failed] == one.streams.health(failed)
        assert health["streams"][failed]["findings"][0]["severity"] == "error"
        metrics = one.metrics()
        name = engine.streams.get(failed)["name"]
        assert f'streams_engine_state{{state="FAILED",stream="{name}"}} 1.0' in metrics
        if one is not engine:
            one.close()
