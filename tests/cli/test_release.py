"""`release` says what it dropped, and wrong words name what is near."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streams_engine import Stream
from streams_engine.cli.app import run
from streams_engine.testing.servers import Server
from tests.support.databases import End


@pytest.mark.parametrize(("source", "slot"), [("pg18", True), ("mysql9", False)])
def test_release_says_what_it_dropped(
    source: str,
    slot: bool,
    pg18: Server,
    request: pytest.FixtureRequest,
    database: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server: Server = request.getfixturevalue(source)
    here, there = End(server, database(server)), End(pg18, database(pg18))
    here.run("CREATE TABLE a (id int PRIMARY KEY)", "INSERT INTO a VALUES (1)")
    with Stream(here.url, there.url, mode="cdc", name="shop") as stream:
        stream.start()
        assert stream.catch_up(120), stream.error
    command = ["release", here.url, there.url, "--set", "name=shop"]
    assert run(command) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "dropped: checkpoint of shop on the target"
    kinds = [line.split()[1] for line in said]
    assert kinds == [*(["replication", "publication"] if slot else []), "checkpoint"]
    assert run(command) == 0
    assert capsys.readouterr().out == "nothing to drop: it was released before\n"
    assert run([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"released": True, "dropped": []}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["plan", ".", "null://", "--set", "options.paralelism=3"], "did you mean 'parallelism'?"),
        (["plan", ".", "null://", "--set", "option.onError=fail"], "did you mean 'options'?"),
        (["plan", ".", "null://", "--set", "options.onError=fial"], "'fail' or 'quarantine'"),
        (["run", ".", "null://", "--fresch"], "--fresh"),
        (["rnu"], "'run'?"),
        (["streams", "strat"], "'start'?"),
    ],
)
def test_wrong_words_name_what_is_near(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    told = capsys.readouterr().err
    assert said in told and "?." not in told
