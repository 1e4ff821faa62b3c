"""No server gets a password that TLS was to protect, nor a file of this machine."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from streams_engine import Engine, Stream
from streams_engine.errors import StreamsError
from tests.support import hostile_servers as hostile

PASSWORD = "s3cret-of-the-account"
SECRET_FILE = "what only this machine knows"


def ping(kind: str, port: int, **ssl: Any) -> dict[str, Any]:
    document = {"name": "x", "type": kind, "host": "127.0.0.1", "port": port, "username": "u",
                "password": PASSWORD, "database": "d", "ssl": ssl}  # fmt: skip
    with Engine() as engine:
        seen = engine.connections.ping(document)
    assert PASSWORD not in str(seen)
    return dict(seen)


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
def test_a_greeting_without_tls_gets_nothing(mode: str) -> None:
    """Neither name nor password leave this machine."""
    with hostile.mysql(hostile.OK) as heard:
        seen = ping("mysql", heard.port, mode=mode)
        assert heard.ended.wait(hostile.SECONDS)
        assert bytes(heard.said) == b""
    assert seen["code"] == "CONNECTION_FAILED" and "TLS" in seen["error"]
    assert "ssl.mode" in seen["remedy"]


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
def test_a_postgres_without_tls_gets_nothing(mode: str) -> None:
    with hostile.postgres() as heard:
        seen = ping("postgresql", heard.port, mode=mode)
        assert heard.ended.wait(hostile.SECONDS)
        assert PASSWORD.encode() not in heard.said and b"user" not in heard.said
    assert seen["code"] == "CONNECTION_FAILED" and "TLS" in seen["error"]


def clear_text_servers() -> list[Any]:
    def mysql() -> AbstractContextManager[hostile.Heard]:
        return hostile.mysql(hostile.CLEAR_TEXT, hostile.OK)

    return [pytest.param("mysql", mysql, id="mysql"),
            pytest.param("postgresql", hostile.postgres, id="postgresql")]  # fmt: skip


Server = Callable[[], AbstractContextManager[hostile.Heard]]


@pytest.mark.parametrize("mode", ["prefer", "disabled"])
@pytest.mark.parametrize(("kind", "server"), clear_text_servers())
def test_a_password_is_not_sent_in_clear_text(kind: str, server: Server, mode: str) -> None:
    with server() as heard:
        seen = ping(kind, heard.port, mode=mode)
        assert heard.ended.wait(hostile.SECONDS)
        assert PASSWORD.encode() not in heard.said
    assert seen["ping"] == "failed"
    if mode == "disabled":
        assert seen["code"] == "AUTHENTICATION_FAILED"
        assert "clear text" in seen["error"] and "allowClearText" in seen["remedy"]


@pytest.mark.parametrize(("kind", "server"), clear_text_servers())
def test_it_is_by_option(kind: str, server: Server) -> None:
    with server() as heard:
        ping(kind, heard.port, mode="disabled", allowClearText=True)
        assert PASSWORD.encode() in heard.said


@pytest.mark.parametrize("asked_at", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("end", ["source", "target"])
def test_a_request_for_a_file_is_not_answered(tmp_path: Path, end: str, asked_at: int) -> None:
    """Whichever statement is answered with it, from the first one of the session on."""
    held = tmp_path / "held"
    held.write_text(SECRET_FILE)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "t.csv").write_text("id\n1\n")
    answers = [hostile.OK] * asked_at
    with hostile.mysql(*answers, then=hostile.FILE_REQUEST(str(held))) as heard:
        url = f"mysql://u:{PASSWORD}@127.0.0.1:{heard.port}/d"
        ends = (url, str(tmp_path / "out")) if end == "source" else (str(tmp_path / "in"), url)
        with pytest.raises(StreamsError) as caught:
            Stream(*ends).run()
        assert heard.ended.wait(hostile.SECONDS)
        assert SECRET_FILE.encode() not in heard.said
    assert caught.value.code != "INTERNAL_ERROR"
