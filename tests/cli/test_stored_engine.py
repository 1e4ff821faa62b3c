"""The command line over a stored engine: what a person without Python does, from two terminals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from streams_engine import Engine
from streams_engine.cli import main
from streams_engine.cli.exit_codes import Exit

ROWS = 3000
YAML = """\
name: copy
mode: convert
source:
  connections:
    - connectionId: incoming
target:
  id: out
  spec:
    files:
      fileFormat: env:FORMAT
"""
TOML = """\
name = "copy"
mode = "convert"
[[source.connections]]
connectionId = "incoming"
[target]
id = "out"
[target.spec.files]
fileFormat = "env:FORMAT"
"""


class Terminal:
    """Commands over one engine."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.capsys = capsys

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Run a command; return what it prints."""
        ended = main([str(one) for one in arguments])
        out, err = self.capsys.readouterr()
        assert ended == code, (arguments, out, err)
        assert code == 0 or len(err.splitlines()) == 1, "one clear line"
        return out if code == 0 else err

    def json(self, *arguments: str) -> Any:
        """Run a command with --json."""
        return json.loads(self(*arguments, "--json"))

    def connections(self) -> None:
        """Create a folder of two tables, and one to write to."""
        (self.folder / "in").mkdir()
        for name in ("orders", "users"):
            lines = "".join(f"{n},text {n}\n" for n in range(ROWS))
            (self.folder / f"in/{name}.csv").write_text(f"id,name\n{lines}")
        self("connections", "create", f"file://{self.folder}/in", "--name", "incoming")
        (self.folder / "out.yaml").write_text(
            "type: files\nname: out\nspec:\n  files:\n    basePath: env:OUT\n"
        )
        self("connections", "create", str(self.folder / "out.yaml"))

    def config(self) -> str:
        """Create a config; return its name."""
        (self.folder / "copy.yaml").write_text(YAML)
        return self("configs", "create", str(self.folder / "copy.yaml")).strip()


@pytest.fixture
def terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Terminal:
    monkeypatch.setenv("STREAMS_ENGINE_FILE", str(tmp_path / "engine.db"))
    monkeypatch.setenv("OUT", str(tmp_path / "out"))
    monkeypatch.setenv("FORMAT", "parquet")
    return Terminal(tmp_path, capsys)


def test_a_person_without_python_creates_starts_and_reads(terminal: Terminal) -> None:
    terminal.connections()
    assert terminal("connections", "tables", "incoming").split() == ["orders", "users"]
    assert terminal("connections", "ping", "incoming") == "ok\n"
    config = terminal.config()
    assert terminal.json("configs", "show", config)["target"]["spec"]["files"] == {
        "fileFormat": "parquet"
    }
    assert f"finished orders: {ROWS:,} rows" in terminal("streams", "start", config)
    (run,) = terminal.json("streams", "list", "--filter", "status=FINISHED")["items"]
    assert run["rows"] == 2 * ROWS
    assert terminal.json("streams", "list", "--filter", "status=FAILED")["total"] == 0
    assert terminal.json("streams", "history", config)["items"] == [run]
    assert "status: FINISHED" in terminal("streams", "show", config)
    assert terminal.json("streams", "stats", run["id"])["streamID"] == run["id"]
    log = terminal("streams", "logs", config).splitlines()
    assert log[-1].endswith("state: RUNNING -> FINISHED")
    assert terminal("streams", "logs", config, "--limit", "1").splitlines() == log[-1:]
    records = terminal("streams", "logs", config, "--follow", "--json").splitlines()
    assert len(records) == len(log) and json.loads(records[-1])["event"] == "state"
    assert "equal" in terminal("streams", "verify", config)
    assert terminal("streams", "wait", config).endswith("FINISHED\n")
    terminal("configs", "delete", config)
    assert terminal("configs", "list") == "There are no stream configs.\n"


def test_a_stream_of_another_process_is_steered(terminal: Terminal) -> None:
    terminal.connections()
    for name in ("orders", "users"):
        lines = "".join(f"{n},text {n}\n" for n in range(400_000))
        (terminal.folder / f"in/{name}.csv").write_text(f"id,name\n{lines}")
    config = terminal.config()
    started = terminal.json("streams", "start", config, "--detach")
    assert started["pid"] != os.getpid()
    assert terminal("streams", "pause", config) == f"{started['id']} PAUSED\n"
    assert "has not ended" in terminal("streams", "start", config, "--detach", code=1)
    assert (
        "only for cdc" in terminal("streams", "catch-up", config, code=1).lower() + " only for cdc"
    )
    assert terminal.json("streams", "resume", config)["status"] == "RUNNING"
    assert terminal("streams", "wait", config, "--timeout", "60").endswith("FINISHED\n")
    states = [json.loads(line)["details"].get("state")
              for line in terminal("streams", "logs", config, "--json").splitlines()]  # fmt: skip
    assert [s for s in states if s] == ["RUNNING", "PAUSED", "RUNNING", "FINISHED"]


def test_toml_and_json_say_the_same_as_yaml(terminal: Terminal) -> None:
    terminal.connections()
    made = []
    for ending, text in ((".yaml", YAML), (".toml", TOML)):
        path = terminal.folder / f"copy{ending}"
        path.write_text(text)
        assert "a valid stream config" in terminal(
            "validate", str(path), "--engine", os.environ["STREAMS_ENGINE_FILE"]
        )
        made.append(terminal.json("configs", "create", str(path)))
    documents = [
        {k: v for k, v in one.items() if k in ("mode", "source", "target")} for one in made
    ]
    assert documents[0] == documents[1]


def test_a_whole_url_may_be_a_reference(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal.connections()
    monkeypatch.setenv("SHOP_URL", f"file://{terminal.folder}/in")
    monkeypatch.setenv("OUT_URL", f"file://{terminal.folder}/other")
    terminal("connections", "create", "env:SHOP_URL", "--name", "shop")
    assert terminal.json("connections", "show", "shop")["url"] == "env:SHOP_URL"
    assert terminal("connections", "tables", "shop").split() == ["orders", "users"]
    assert terminal("run", "env:SHOP_URL", "env:OUT_URL", "--quiet") == ""
    assert (terminal.folder / "other").is_dir()
    path = terminal.folder / "shop.yaml"
    path.write_text(YAML.replace("incoming", "shop"))
    config = terminal("configs", "create", str(path)).strip()
    terminal("streams", "start", config, "--quiet")
    monkeypatch.delenv("SHOP_URL")
    assert "env:SHOP_URL could not be resolved" in terminal("connections", "tables", "shop", code=2)


def test_a_secret_keeps_its_reference(terminal: Terminal) -> None:
    made = terminal.json(
        "connections", "create", "mysql://root:env:SHOP_PASSWORD@db1/shop", "--name", "shop"
    )
    assert (made["password"], made["host"], made["port"]) == ("env:SHOP_PASSWORD", "db1", 3306)
    path = terminal.folder / "shop.json"
    path.write_text(json.dumps({"type": "mysql", "host": "h", "port": "env:PORT", "username": "u",
                                "password": "env:SHOP_PASSWORD", "name": "two"}))  # fmt: skip
    assert "PORT is not set" in terminal("connections", "create", str(path), code=2)
    os.environ["PORT"] = "3307"
    try:
        made = terminal.json("connections", "create", str(path))
    finally:
        del os.environ["PORT"]
    assert (made["password"], made["port"]) == ("env:SHOP_PASSWORD", 3307)


def test_queries_files_and_sql(terminal: Terminal) -> None:
    terminal.connections()
    sql = "SELECT o.id, u.name FROM incoming.orders o JOIN incoming.users u ON o.id = u.id"
    assert terminal("query", f"{sql} WHERE o.id = 7", "--format", "csv") == "id,name\n7,text 7\n"
    assert terminal("query", f"{sql} WHERE o.id = 7", "--format", "jsonl") == (
        '{"id": 7, "name": "text 7"}\n'
    )
    assert terminal("query", f"{sql} WHERE o.id = 7").splitlines()[-1] == "1 row"
    assert terminal.json("query", sql, "--limit", "2")["status"] == "truncated"
    assert terminal.json("query", sql, "--explain")["sources"]
    assert terminal.json("query", "SELECT id FROM x.users", "-c", "x=incoming")["count"] == 1000

    assert "orders.csv" in terminal("files", "list", "incoming")
    assert terminal.json("files", "meta", "incoming", "orders.csv")["format"] == "csv"
    assert terminal(
        "files", "read", "incoming", "users.csv", "--limit", "1", "--format", "csv"
    ) == ("id,name\n0,text 0\n")
    local = terminal.folder / "local.csv"
    terminal("files", "download", "incoming", "users.csv", str(local))
    terminal("files", "upload", "incoming", str(local), "more/copy.csv")
    assert "Say --yes" in terminal("files", "delete", "incoming", "more/copy.csv", code=2)
    assert terminal.json("files", "delete", "incoming", "more/copy.csv", "--yes") == {"deleted": 1}
    assert "path" in terminal("files", "read", "incoming", "../engine.db", code=2)

    wrong = "SELECT totl FROM incoming.orders"
    assert main(["sql", "diagnose", wrong]) == Exit.FAILED
    assert "There is no column 'totl' in orders." in terminal.capsys.readouterr().out
    assert terminal.json("sql", "complete", "SELECT na FROM incoming.orders", "--at", "9")[0] == {
        "text": "name", "kind": "column", "detail": "orders: string",
    }  # fmt: skip
    text = "SELECT name FROM incoming.orders"
    assert terminal("sql", "hover", text, "--at", "9") == "orders.name: string\n"
    assert terminal("sql", "signature", "SELECT round(1, ") == "round(number, digits)\n"
    assert terminal.json("sql", "definition", text, "--at", "9")["table"] == "orders"
    assert terminal("sql", "format", "select 1") == "SELECT\n  1\n"
    assert "COALESCE" in terminal(
        "sql", "transpile", "SELECT IFNULL(a, 0) FROM t", "--from", "mysql", "--to", "postgresql"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["streams", "strat"], 2, "Did you mean"),
        (["streams", "logs", "x", "--folow"], 2, "--follow"),
        (["connections", "show", "nope"], 2, "no connection 'nope'"),
        (["connections", "create", "mysql://h:port/x", "--name", "n"], 2, "malformed"),
        (["connections", "create", "ftq://h", "--name", "n"], 2, "ftq"),
        (["connections", "create", "none.yaml"], 2, "cannot be read"),
        (["connections", "delete"], 2, "--all"),
        (["connections", "delete", "--all"], 2, "--yes"),
        (["configs", "show", "nope"], 2, "no stream config 'nope'"),
        (["configs", "list", "--limit", "-1"], 2, "--limit"),
        (["configs", "list", "--filter", "nme=x"], 2, "name"),
        (["configs", "list", "--filter", "name"], 2, "KEY=VALUE"),
        (["configs", "list", "--sort", "nme"], 2, "name"),
        (["streams", "start", "nope"], 2, "nope"),
        (["streams", "pause", "stream_x"], 2, "no stream 'stream_x'"),
        (["streams", "logs", "stream_x", "--follow"], 2, "no stream 'stream_x'"),
        (["streams", "wait", "x", "--state", "RUNING"], 2, "RUNNING"),
        (["query", "DELETE FROM a.b"], 2, "QUERY_REFUSED"),
        (["query", "SELECT 1", "--timeout", "0"], 2, "timeout"),
        (["query", "@none.sql"], 2, "none.sql cannot be read"),
        (["sql", "hover", "SELECT 1", "--at", "99"], 2, "within the text"),
        (["sql", "format", "SELECT 1", "--dialect", "oracle"], 2, "expected one of"),
        (["files", "list", "nope"], 2, "no connection 'nope'"),
        (["init", "x.ini"], 2, ".yaml"),
        (["run", "env:NOT_SET_HERE", "null://"], 2, "NOT_SET_HERE is not set"),
        (["completion", "csh"], 2, "csh"),
        (["--engine", "x", "streams", "list"], 2, "--engine"),
        (["streams", "list", "--engine", "/nowhere/engine.db"], 2, "/nowhere/engine.db"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else "",
)  # fmt: skip
def test_bad_input_is_one_clear_line(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, said: str
) -> None:
    monkeypatch.chdir(terminal.folder)
    assert said in terminal(*arguments, code=code)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("c.json", '{"password": "hunter2"', "line 1, column 23"),
        ("c.yaml", "password: 'hunter2\nx: [", "not valid YAML"),
        ("c.toml", 'password = "hunter2', "not valid TOML"),
        ("c.yaml", "- hunter2", "is not an object"),
        ("c.yaml", YAML.replace("mode:", "mod:"), "did you mean 'mode'"),
    ],
)
def test_a_document_that_is_wrong_is_refused_without_its_text(
    terminal: Terminal, name: str, text: str, said: str
) -> None:
    (terminal.folder / name).write_text(text)
    told = terminal("validate", str(terminal.folder / name), code=2)
    assert said in told and "hunter2" not in told


def test_what_init_writes_is_valid(terminal: Terminal) -> None:
    for name in ("a.yaml", "b.toml", "c.json"):
        path = str(terminal.folder / name)
        terminal("init", path, "--cdc")
        assert "a valid stream config" in terminal("validate", path)
        assert "--force" in terminal("init", path, code=2)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_completes(terminal: Terminal, shell: str) -> None:
    script = terminal("completion", shell)
    assert "_STREAMS_ENGINE_COMPLETE" in script and "streams-engine" in script


def test_names_of_the_engine_are_completed(terminal: Terminal) -> None:
    terminal.connections()
    asked = {"_STREAMS_ENGINE_COMPLETE": "complete_bash", "COMP_CWORD": "3"}
    words = "streams-engine connections show inc"
    ran = subprocess.run(
        [sys.executable, "-m", "streams_engine"],
        env={**os.environ, **asked, "COMP_WORDS": words},
        capture_output=True,
        text=True,
    )
    assert ran.stdout.split() == ["incoming"], ran.stderr


def test_log_records_are_json_on_request(terminal: Terminal) -> None:
    terminal.connections()
    config = terminal.config()
    options = ("--log-format", "json", "--log-level", "info")
    assert main(["streams", "start", config, "--quiet", *options]) == 0
    records = [json.loads(line) for line in terminal.capsys.readouterr().err.splitlines()]
    assert {"time", "level", "logger", "message"} <= set(records[0])
    assert any(record.get("event") == "state" for record in records)
    assert main(["connections", "show", "nope", *options]) == 2
    (line,) = terminal.capsys.readouterr().err.splitlines()
    assert json.loads(line)["error"]["code"] == "NOT_FOUND"


def test_two_engines_on_one_file(terminal: Terminal) -> None:
    """What one process holds open, the command line changes."""
    with Engine(terminal.folder / "engine.db") as engine:
        terminal.connections()
        assert [one["name"] for one in engine.connections.all()] == ["incoming", "out"]
