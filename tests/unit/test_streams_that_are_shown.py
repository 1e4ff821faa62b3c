"""What a repr, a traceback and an error show of a stream: its ends and state, and no secret."""

from __future__ import annotations

import traceback
from typing import Any

import pytest

from streams_engine import AsyncStream, Stream
from streams_engine.config import parse_config, parse_connection
from streams_engine.config.documents import SourceConnection, TargetDocument
from streams_engine.errors import ConfigError

SECRET = "hunter2-is-secret"
URL = f"mysql://reader:{SECRET}@db1:3307/shop"
DOCUMENT: dict[str, Any] = {
    "type": "postgresql",
    "host": "db2",
    "username": "me",
    "password": SECRET,
    "database": "target",
    "ssl": {"mode": "require", "client_cert": "/c.pem", "client_key": SECRET},
    "ssh": {"host": "h", "username": "u", "privateKey": SECRET, "passphrase": SECRET},
}
KEYS = {"accessKey": SECRET, "secretKey": SECRET, "sessionToken": SECRET}
BUCKET = {"type": "files", "spec": {"s3": {"scope": {"bucket": "b"}, "credentials": KEYS}}}
ENDS = [URL, DOCUMENT, BUCKET]


def document(source: Any, target: Any) -> dict[str, Any]:
    return {
        "name": "shop", "mode": "convert",
        "source": {"connections": [{"connection": source}]}, "target": {"connection": target},
    }  # fmt: skip


@pytest.mark.parametrize("source", ENDS)
@pytest.mark.parametrize("target", ENDS)
def test_no_repr_shows_a_secret(source: Any, target: Any) -> None:
    stream = Stream(source, target, name="shop")
    config = parse_config(document(source, target))
    for one in (stream, AsyncStream(source, target), stream.__dict__, config, config.document,
                parse_connection(source), stream._parts):  # fmt: skip
        assert SECRET not in repr(one), type(one)
        assert SECRET not in str(one), type(one)


def test_a_repr_says_name_mode_both_ends_and_state() -> None:
    shown = repr(Stream(URL, DOCUMENT, name="shop", mode="cdc"))
    for part in ("shop", "cdc", "mysql://db1:3307/shop", "postgresql://db2:5432/target", "READY"):
        assert part in shown


def test_a_half_made_stream_can_be_printed() -> None:
    """A debugger shows one whose constructor raised."""
    assert "not made" in repr(Stream.__new__(Stream))


@pytest.mark.parametrize("bad", [URL + "?colour=red", DOCUMENT | {"hots": 1}])
def test_locals_of_a_traceback_show_no_secret_of_ours(bad: Any) -> None:
    """What tools that report errors with their local variables (Sentry, pytest -l) would send.

    The caller's own arguments are the caller's.
    """
    with pytest.raises(ConfigError) as caught:
        Stream(bad, "null://")
    told = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    ours = [frame for frame in told.stack if "streams_engine/" in frame.filename]
    assert ours
    for frame in ours:
        assert SECRET not in str(frame.locals), (frame.filename, frame.name)


def test_models_hide_connections() -> None:
    for model in (SourceConnection(connection=URL), TargetDocument(connection=URL)):
        assert SECRET not in repr(model)
