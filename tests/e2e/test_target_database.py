"""A misspelt target makes no database at a prompt; elsewhere one is made, and told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streams_engine import Stream
from streams_engine.cli.app import run
from streams_engine.errors import NotFound
from streams_engine.lifecycle import State
from streams_engine.model import Severity
from streams_engine.testing.servers import Server


@pytest.fixture(params=["pg18", "mysql9"])
def target(request: pytest.FixtureRequest) -> Server:
    server: Server = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def source(tmp_path: Any) -> str:
    (tmp_path / "t.csv").write_text("id\n1\n2\n")
    return str(tmp_path)


def misspelt(name: str) -> str:
    return name[:-2] + name[-1] + name[-2] + "x"


def test_a_misspelt_database_is_refused_at_a_prompt(
    target: Server, source: str, database: Any, capsys: Any
) -> None:
    wrong = misspelt(database(target))
    assert run(["plan", source, target.url(wrong)]) == 6
    assert run(["run", source, target.url(wrong)]) == 2
    assert f"The database {wrong} does not exist. Similar names: " in capsys.readouterr().err


def test_a_misspelt_database_is_refused_where_none_is_to_be_made(
    target: Server, source: str, database: Any
) -> None:
    wrong = misspelt(name := database(target))
    stream = Stream(source, target.url(wrong), create_database=False)
    (told,) = stream.plan().errors
    assert told.code == "no-database" and told.message.startswith(f"The database {wrong} does not")
    assert name in told.message, "a near one is named"
    with pytest.raises(NotFound, match="createDatabase") as caught:
        stream.run()
    assert name in str(caught.value)


def test_a_database_is_created_and_that_is_told(target: Server, source: str, database: Any) -> None:
    new = database.adopt(target, f"new_{target.port}")
    stream = Stream(source, target.url(new))
    (told,) = [finding for finding in stream.plan().findings if finding.object == "target"]
    assert told.code == "database-created" and told.severity is Severity.WARNING
    stats = stream.run()
    assert stats.state is State.FINISHED and stats.errors == ()
    assert "database-created" in {finding.code for finding in stats.findings}
    assert "database-created" not in {
        finding.code for finding in Stream(source, target.url(new)).plan().findings
    }


def test_a_database_is_created_at_a_prompt_where_that_is_asked_for(
    target: Server, source: str, database: Any, tmp_path: Any
) -> None:
    new = database.adopt(target, f"asked_{target.port}")
    assert run(["run", source, target.url(new), "--create-database"]) == 0
    other = database.adopt(target, f"kept_{target.port}")
    config = tmp_path / "config.json"
    made = {
        "mode": "convert",
        "source": {"connections": [{"connection": source}]},
        "target": {"connection": target.url(other)},
    }
    config.write_text(json.dumps(made))
    assert run(["run", str(config)]) == 0, "a document's name is not typed"


def test_a_plan_says_that_the_target_refuses_the_password(
    target: Server, source: str, database: Any, capsys: Any
) -> None:
    user, _, place = target.url(database(target)).partition("@")
    wrong = f"{user.rsplit(':', 1)[0]}:wrong@{place}"
    (told,) = Stream(source, wrong).plan().errors
    assert told.code == "target-not-reached" and "password" in told.message
    assert run(["plan", source, wrong]) == 6
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "1 error was found: target-not-reached (1). A run would fail."
    assert run(["plan", source, wrong, "--accept", "target-not-reached"]) == 0


def test_a_plan_without_the_target_says_so(source: str) -> None:
    plan = Stream(source, "postgresql://me@127.0.0.1:1/copy").plan()
    assert [f.code for f in plan.findings if f.object == "target"] == ["target-not-reached"]
    assert len(plan.tables) == 1
