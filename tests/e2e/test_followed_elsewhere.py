"""Another process follows: one waits for it, and is told at once when nobody does."""

from __future__ import annotations

import time
from typing import Any

import pytest

from streams_engine import Stream
from streams_engine.cli.app import run
from streams_engine.errors import StateConflict
from streams_engine.testing.servers import Server
from tests.support.databases import End


@pytest.mark.parametrize("source", ["mysql9", "pg18"])
def test_a_stream_that_is_not_running_is_told_at_once(
    source: str, pg18: Server, request: pytest.FixtureRequest, database: Any, capsys: Any
) -> None:
    server: Server = request.getfixturevalue(source)
    one, two = End(server, database(server)), End(pg18, database(pg18))
    one.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    given: dict[str, Any] = {"mode": "cdc", "name": "elsewhere"}
    command = ["catch-up", one.url, two.url, "--set", "name=elsewhere"]
    with Stream(one.url, two.url, **given) as stream:
        stream.start()
        assert stream.catch_up(120), stream.error
        one.run("INSERT INTO t VALUES (2)")
        assert Stream(one.url, two.url, **given).catch_up(60, elsewhere=True)
        assert two.rows("SELECT count(*) FROM t") == [(2,)]
        assert run(command) == 0
    assert capsys.readouterr().out == "caught up\n"
    one.run("INSERT INTO t VALUES (3)")
    begun = time.monotonic()
    with pytest.raises(StateConflict, match="is not running"):
        Stream(one.url, two.url, **given).verify(live=True)
    assert time.monotonic() - begun < 30, "60 seconds were waited before"
    assert run(command) == 1
    assert "is not running" in capsys.readouterr().err
    Stream(one.url, two.url, **given).release()
