"""A cdc run by an Engine: its states, what it retains, and its release."""

from __future__ import annotations

from typing import Any

import pytest

from streams_engine import Engine, State
from streams_engine.errors import StateConflict
from streams_engine.testing.servers import Server
from tests.support.databases import End
from tests.support.engine_documents import document


def test_a_cdc_is_followed_stopped_continued_and_released(
    pg18: Server, mysql9: Server, database: Any
) -> None:
    source, target = End(pg18, database(pg18)), End(mysql9, database(mysql9))
    source.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    with Engine() as engine:
        ids = [engine.connections.create(document(end))["id"] for end in (source, target)]
        config = engine.configs.create(
            {"name": "step", "mode": "cdc", "source": {"connections": [{"connectionId": ids[0]}]},
             "target": {"id": ids[1]}}
        )["id"]  # fmt: skip
        for rows in (2, 3):
            stream = engine.streams.start(config)
            source.run(f"INSERT INTO t VALUES ({rows})")
            assert engine.streams.open(stream).catch_up(120)
            assert engine.streams.stats(stream)["status"] == "RUNNING"
            assert "retainedBytes" in engine.streams.stats(stream)["changes"]
            assert target.rows("SELECT count(*) FROM t") == [(rows,)]
            with pytest.raises(StateConflict, match="has not ended"):
                engine.streams.release(config)
            engine.streams.stop(stream)
            if rows == 2:  # a release waits for the end of a run that was asked to stop
                assert engine.streams.wait(stream, timeout=60) is State.STOPPED
        slots = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"
        assert source.rows(slots) == [(1,)]
        engine.streams.release(config)
        assert source.rows(slots) == [(0,)]
