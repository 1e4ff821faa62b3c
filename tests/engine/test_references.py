"""References in documents that somebody else wrote do not read this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streams_engine import AsyncStream, Engine, Stream
from streams_engine.errors import ConfigError, StreamsError

SECRET = "what only this machine knows"


@pytest.fixture
def references(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two references that lead to a secret of this machine."""
    held = tmp_path / "held"
    held.write_text(SECRET)
    monkeypatch.setenv("SE_HELD", SECRET)
    return ["env:SE_HELD", f"file:{held}"]


def connection(password: str, **more: Any) -> dict[str, Any]:
    return {"name": password, "type": "mysql", "host": "127.0.0.1", "port": 1, "username": "u",
            "password": password, **more}  # fmt: skip


def reached(seen: dict[str, Any]) -> bool:
    """The secret was resolved, and the server asked: nobody listens there."""
    assert SECRET not in str(seen)
    return bool(seen["code"] == "CONNECTION_FAILED")


def test_an_engine_resolves_none_by_default(references: list[str]) -> None:
    with Engine() as engine:
        for reference in references:
            stored = engine.connections.create(connection(reference))
            for seen in (engine.connections.ping(connection(reference)),
                         engine.connections.ping(stored["id"])):  # fmt: skip
                assert seen["code"] == "INVALID_CONFIG" and "references=" in seen["remedy"]


def test_an_engine_resolves_what_it_is_told_to(references: list[str]) -> None:
    for chosen in ({"env"}, {"file"}, {"env", "file"}, "env"):
        with Engine(references=chosen) as engine:
            for reference in references:
                seen = engine.connections.ping(connection(reference))
                assert reached(seen) == (reference.partition(":")[0] in chosen)


def test_a_resolver_of_the_application_always_counts(references: list[str]) -> None:
    with Engine(resolvers={"env": lambda name: name.lower(), "vault": str}) as engine:
        assert reached(engine.connections.ping(connection(references[0])))
        assert reached(engine.connections.ping(connection("vault:x")))
        assert not reached(engine.connections.ping(connection(references[1])))


@pytest.mark.parametrize(
    "place",
    [
        lambda reference: connection("p", ssl={"mode": "require", "ca": reference}),
        lambda reference: connection(
            "p", ssh={"host": "127.0.0.1", "port": 1, "username": "u", "password": reference}
        ),
        lambda reference: {
            "name": "s", "type": "files",
            "storage_config": {"provider": "s3", "uri": "s3://b", "credentials_ref": reference},
        },
        lambda reference: f"mysql://u:{reference}@127.0.0.1:1/d",
    ],
)  # fmt: skip
def test_wherever_the_reference_stands(references: list[str], place: Callable[[str], Any]) -> None:
    with Engine() as engine:
        seen = engine.connections.ping(place(references[0]))
    assert seen["code"] == "INVALID_CONFIG" and "SE_HELD" in seen["error"]


@pytest.mark.parametrize("made", [Stream, AsyncStream])
def test_a_stream_resolves_them_unless_told_not_to(references: list[str], made: Any) -> None:
    document = {
        "mode": "convert",
        "source": {"connections": [{"connection": connection(references[0])}]},
        "target": {"connection": "null://"},
    }
    for options, code in (({}, "CONNECTION_FAILED"), ({"references": "none"}, "INVALID_CONFIG")):
        stream = made.from_config(document, **options)
        with pytest.raises(StreamsError) as caught:
            getattr(stream, "_stream", stream).plan()
        assert caught.value.code == code
        assert SECRET not in str(caught.value)


def test_only_what_is_built_in_can_be_allowed() -> None:
    with pytest.raises(ConfigError, match="vault"):
        Engine(references={"vault"})
