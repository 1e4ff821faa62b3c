"""`options.verification`: source and target are compared beside a cdc, which it never disturbs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from streams_engine import Event, Stats, Stream
from streams_engine.errors import ServerError
from streams_engine.stats import VerificationStats
from streams_engine.testing.servers import Server
from tests.support.cdc import cdc, prepared
from tests.support.databases import End
from tests.support.outages import reached

EVERY = {"every": 1, "sample": 1}


@contextmanager
def following_by(stream: Stream) -> Iterator[None]:
    with stream:
        stream.start()
        reached(stream, lambda stats: stats.phase == "following")
        yield


def next_one(stream: Stream) -> VerificationStats:
    """The outcome of the next comparison that begins by now."""
    before = [stream.stats().verification]

    def came(stats: Stats) -> bool:
        if stats.verification not in before:
            before.append(stats.verification)
        return len(before) == 3  # the first of them may have begun before

    reached(stream, came)
    told = before[-1]
    assert told is not None
    return told


def test_differences_are_told_and_the_stream_goes_on(
    mysql9: Server, pg18: Server, database: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with prepared(mysql9, database) as source:
        target = End(pg18, database(pg18))
        events: list[Event] = []
        stream = cdc(source, target, verification=EVERY)
        stream.on_record(events.append)
        with following_by(stream):
            told = next_one(stream)
            assert told.ok and told.tables == 2 and not told.different
            target.run("UPDATE t SET v = 's3cret' WHERE id = 1")
            told = next_one(stream)
            assert told.ok is False and told.differing == 1
            assert [name.rpartition(".")[2] for name in told.different] == ["t"]
            source.run("INSERT INTO t VALUES (3, 'three')")
            assert stream.catch_up(120)
            warned = [e for e in events if e.event == "verification" and e.level == logging.WARNING]
            assert warned and all("s3cret" not in repr(event) for event in events)
            assert stream.stats().to_dict()["verification"]["ok"] is False
        assert "Not equal" in caplog.text


FAULTS = {"SERVER_ERROR": ServerError("denied"), "INTERNAL_ERROR": RuntimeError("a fault")}


@pytest.mark.parametrize("code", FAULTS)
def test_what_fails_there_ends_nothing(
    code: str, pg18: Server, mysql9: Server, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise FAULTS[code]

    monkeypatch.setattr("streams_engine.verify.verification.verify_mapped", fails)
    with prepared(mysql9, database) as source:
        target = End(pg18, database(pg18))
        stream = cdc(source, target, verification=EVERY)
        with following_by(stream):
            told = next_one(stream)
            assert (told.ok, told.error) == (None, code)
            source.run("INSERT INTO t VALUES (3, 'three')")
            assert stream.catch_up(120)
