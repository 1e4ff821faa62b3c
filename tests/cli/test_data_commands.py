"""Statements, rows, navigation, health and readiness from the command line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streams_engine.cli import main
from tests.support.databases import End


class Terminal:
    """Commands over one engine, whose connection ``shop`` is a database."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *arguments: str, code: int = 0) -> str:
        ended = main([*arguments])
        out, err = self.capsys.readouterr()
        assert ended == code, (arguments, out, err)
        return out if code == 0 else out + err

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self(*arguments, "--json", code=code))


@pytest.fixture
def terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Terminal:
    monkeypatch.setenv("STREAMS_ENGINE_FILE", str(tmp_path / "engine.db"))
    return Terminal(capsys)


@pytest.mark.parametrize("name", ["mysql9", "pg18"])
def test_statements_and_rows(
    name: str,
    request: pytest.FixtureRequest,
    database: Callable[..., str],
    terminal: Terminal,
    tmp_path: Path,
) -> None:
    server = request.getfixturevalue(name)
    end = End(server, database(server))
    terminal("connections", "create", end.url, "--name", "shop")
    (tmp_path / "t.sql").write_text("CREATE TABLE t (id int PRIMARY KEY, name varchar(20))")
    terminal("execute", "shop", f"@{tmp_path}/t.sql")
    rows = '[{"id": 1, "name": "Ann"}, {"id": 2, "name": null}, {"id": 3}]'
    assert terminal.json("rows", "insert", "shop", "t", rows)["affectedRows"] == 3
    terminal("rows", "update", "shop", "t", '{"id": 2}', '{"name": "Bob"}')
    terminal("rows", "delete", "shop", "t", '{"id": 3}')
    assert "no JSON" in terminal("rows", "delete", "shop", "t", "id=3", code=2)
    assert "NOT_FOUND" in terminal("rows", "delete", "shop", "t", '{"id": 3}', code=2)

    csv = "id,name\n1,Ann\n2,Bob\n"
    asked = "SELECT id, name FROM t ORDER BY id"
    assert terminal("execute", "shop", asked, "--format", "csv") == csv
    assert terminal.json("execute", "shop", asked, "--limit", "1")["rows"] == [[1, "Ann"]]
    assert terminal("data", "shop", "t", "--sort", "id", "--format", "csv") == csv
    one = terminal("data", "shop", "t", "--filter", "id>1", "--column", "name", "--format", "jsonl")
    assert one == '{"name": "Bob"}\n'
    assert "--confirm" in terminal("execute", "shop", "DROP TABLE t", code=2)
    terminal("execute", "shop", "DROP TABLE t", "--confirm")
    assert terminal.json("connections", "tables", "shop") == []


def test_what_a_database_has(pg18: Any, database: Callable[..., str], terminal: Terminal) -> None:
    end = End(pg18, database(pg18))
    end.run(
        "CREATE TABLE t (id serial PRIMARY KEY, v int)",
        "INSERT INTO t (v) VALUES (7), (NULL)",
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
        "ANALYZE t",
    )
    terminal("connections", "create", end.url, "--name", "shop")
    for command, shown in (
        ("sequences", "t_id_seq"), ("triggers", "g"), ("routines", "plpgsql"), ("sizes", "t"),
        ("overview", "tables: 1"),
    ):  # fmt: skip
        assert shown in terminal("connections", command, "shop")
        assert terminal.json("connections", command, "shop")
    (held,) = terminal.json("connections", "column-summary", "shop", "t", "--column", "v")
    assert (held["nulls"], held["min"]) == (1, 7)
    assert terminal("connections", "triggers", "shop", "--schema", "none") == "none\n"


def test_health_metrics_and_readiness(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/t.csv").write_text("id\n1\n")
    assert terminal("health") == "no streams\n"
    for name in ("in", "out"):
        terminal("connections", "create", f"file://{tmp_path}/{name}", "--name", name)
    document = {"name": "copy", "mode": "convert", "target": {"id": "out"},
                "source": {"connections": [{"connectionId": "in"}]}}  # fmt: skip
    (tmp_path / "copy.json").write_text(json.dumps(document))
    config = terminal("configs", "create", str(tmp_path / "copy.json")).strip()
    ready, seen = tmp_path / "ready", []
    write = Path.write_text

    def written(path: Path, text: str, **more: Any) -> int:
        if path == ready and text:
            seen.append(text)
        return write(path, text, **more)

    monkeypatch.setattr(Path, "write_text", written)
    terminal("streams", "start", config, "--quiet", "--ready-file", str(ready))
    assert seen == [f"{os.getpid()}\n"] and not ready.exists()
    assert terminal.json("health")["status"] == "ok"
    assert terminal.json("health", config)["status"] == "ok"
    assert "ok" in terminal("health")
    assert "streams_engine_" in terminal("metrics")
    assert "streams_engine_" in terminal.json("metrics")["metrics"]
