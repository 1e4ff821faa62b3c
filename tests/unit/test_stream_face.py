"""What `Stream` says without any server."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from streams_engine import Engine, State, Stream
from streams_engine.errors import ConfigError, StateConflict


def test_a_stream_that_was_not_started_has_nothing_to_catch_up_with() -> None:
    stream = Stream("mysql://root@127.0.0.1:1/a", "postgresql://me@127.0.0.1:1/b", mode="cdc")
    with pytest.raises(StateConflict, match="not started"):
        stream.catch_up()


def test_a_relative_path_is_of_the_folder_that_it_was_given_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "in").mkdir(parents=True)
        (tmp_path / name / "in" / "t.csv").write_text(f"a\n{name}\n")
        monkeypatch.chdir(tmp_path / name)
        with Stream("in", "out?format=csv", tables=["t"]) as stream:
            stream.start()
            assert stream.wait(timeout=30) is State.FINISHED
    found = [path for path in tmp_path.rglob("part-*") if path.is_file()]
    assert sorted(path.relative_to(tmp_path).parts[0] for path in found) == ["one", "two"]
    assert os.getcwd() == str(tmp_path / "two")


def test_a_ping_takes_a_url_and_repeats_no_password() -> None:
    with Engine() as engine:
        seen = engine.connections.ping("mysql://root:hunter2-secret@127.0.0.1:1/shop")
        assert (seen["ping"], seen["code"]) == ("failed", "CONNECTION_FAILED")
        assert "hunter2" not in str(seen)


def test_a_key_may_be_a_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SE_NO_SUCH_KEY", raising=False)
    document = {
        "name": "x", "type": "mysql", "host": "127.0.0.1", "port": 1, "username": "u",
        "ssl": {"mode": "require", "client_cert": "/c.pem", "client_key": "env:SE_NO_SUCH_KEY"},
    }  # fmt: skip
    with Engine() as engine:
        seen = engine.connections.ping(document)
    assert seen["code"] == "INVALID_CONFIG" and "SE_NO_SUCH_KEY" in seen["error"]


def test_names_between_postgres_servers_are_not_lowered_in_silence() -> None:
    ends = ("postgresql://me@127.0.0.1:1/a", "postgresql://me@127.0.0.1:1/b")
    with pytest.raises(ConfigError, match=r"\$\.options\.identifierCase"):
        Stream(*ends, identifier_case="lower")


def test_files_get_columns_in_lower_case_too(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "T.csv").write_text("Id,NAME\n1,a\n")
    target = f"file://{tmp_path}/out?format=csv"
    Stream(str(tmp_path / "in"), target, identifier_case="lower").run()
    (part,) = (tmp_path / "out" / "t").glob("part-*")
    assert part.read_text() == "id,name\n1,a\n"
