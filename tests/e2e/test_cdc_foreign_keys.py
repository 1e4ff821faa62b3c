"""CASE A32: foreign keys of the target, where they rest and where they act."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from streams_engine import State, Stream
from streams_engine.testing.servers import Server

from .moving import End, account
from .workload import differences, make_tables

SECONDS = 30

WRITES = (
    "INSERT INTO parent VALUES (100, 'a'), (101, 'b')",
    "INSERT INTO child VALUES (1000, 100, 101, 1), (1001, 101, NULL, 1)",
    "UPDATE child SET parent_id = 101 WHERE id = 1000",
    "DELETE FROM parent WHERE id = 100",
    "DELETE FROM parent WHERE id = 3",
    "INSERT INTO parent VALUES (3, 'again')",
    "INSERT INTO child VALUES (1002, 3, 3, 1)",
    "INSERT INTO parent VALUES (201, 'moving')",
    "INSERT INTO child VALUES (1003, 201, NULL, 1)",
    "UPDATE parent SET id = 202 WHERE id = 201",
    "DELETE FROM child WHERE parent_id = 101",
    "DELETE FROM parent WHERE id = 101",
)


@contextmanager
def owned(target: End, who: str) -> Iterator[None]:
    """What an account owns in the target goes afterwards."""
    try:
        yield
    finally:
        target.run(f"DROP OWNED BY {who} CASCADE")


@pytest.mark.parametrize("source_name", ["mysql9", "mariadb", "pg18"])
@pytest.mark.parametrize("allowed", [True, False], ids=["they rest", "they act"])
def test_a32_children_follow_their_parents_once(
    source_name: str, allowed: bool, request: pytest.FixtureRequest, database: Any, pg18: Server
) -> None:
    server: Server = request.getfixturevalue(source_name)
    source, target = End(server, database(server)), End(pg18, database(pg18))
    make_tables(source, 50)
    name = f"family {source_name} {allowed}"
    who = f"family_{source_name}_{int(allowed)}"
    with account(pg18, who, "pw", f'GRANT ALL ON DATABASE "{target.database}" TO {{who}}') as login:
        target.run(f"GRANT ALL ON SCHEMA public TO {who}")
        url = target.url if allowed else login + target.database
        with owned(target, who), Stream(source.url, url, mode="cdc", name=name) as stream:
            stream.start()
            assert stream.catch_up(SECONDS), stream.error
            stream.pause()
            stream.wait(State.PAUSED, timeout=SECONDS)
            for statement in WRITES:
                source.run(statement)
            stream.resume()
            assert stream.catch_up(SECONDS), stream.error
            assert differences(source, target) == []
            told = {finding.code for finding in stream.stats().findings}
            assert ("foreign-keys-act" in told) is not allowed
            stream.stop()
            stream.wait(timeout=SECONDS)
            stream.release()
