"""`engine.streams.catch_up` of a run that another process owns: asked through the engine's file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from streams_engine import Engine, State
from streams_engine.errors import StateConflict
from streams_engine.testing.servers import Server
from tests.support.databases import End
from tests.support.engine_documents import document

START = [sys.executable, "-m", "streams_engine", "streams", "start", "--quiet", "--engine"]


def test_another_process_waits_for_a_cdc(
    pg18: Server, mysql9: Server, database: Any, tmp_path: Path
) -> None:
    source, target = End(pg18, database(pg18)), End(mysql9, database(mysql9))
    source.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    file = tmp_path / "engine.db"
    with Engine(file) as engine:
        ids = [engine.connections.create(document(end))["id"] for end in (source, target)]
        config = engine.configs.create(
            {"name": "step", "mode": "cdc", "source": {"connections": [{"connectionId": ids[0]}]},
             "target": {"id": ids[1]}}
        )["id"]  # fmt: skip
        run = engine.configs.get(config)["stream"]["id"]
        with subprocess.Popen([*START, str(file), config]) as process:
            while engine.configs.get(config)["latestRun"] is None:
                assert process.poll() is None
            engine.streams.wait(run, State.RUNNING, timeout=60)
            source.run("INSERT INTO t VALUES (2)")
            assert engine.streams.catch_up(run, 60)
            assert target.rows("SELECT count(*) FROM t") == [(2,)]
            engine.streams.stop(run)
            engine.streams.release(config)  # waits for the end that was asked for
            assert engine.streams.wait(run, timeout=60) is State.STOPPED
        assert process.returncode == 3
        with pytest.raises(StateConflict, match="has ended: STOPPED"):
            engine.streams.catch_up(run, 1)
