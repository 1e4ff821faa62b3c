"""Servers that get another address: what was begun goes on, and another server is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from streams_engine import State, Stream
from streams_engine.errors import CheckpointMismatch
from streams_engine.testing.servers import Server
from tests.support.cdc import (
    caught_up,
    cdc,
    failure,
    following,
    prepared,
    run_once,
    shown,
    write,
)
from tests.support.databases import End
from tests.support.relay import relayed
from tests.support.stream_control import ROWS, SECONDS, big, equal, held, sums

Move = Callable[[End], End]
OPTIONS = {"name": "moved", "data_bundle_size": 100}


@pytest.fixture(params=["mysql9", "pg15"])
def server(request: pytest.FixtureRequest) -> Server:
    """A server of each kind that says which one it is."""
    found: Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=["pg18", "mysql9"])
def target(request: pytest.FixtureRequest, database: Any) -> End:
    """An empty target of each kind."""
    there: Server = request.getfixturevalue(request.param)
    return End(there, database(there))


@pytest.fixture(params=["host", "port"])
def move(request: pytest.FixtureRequest) -> Iterator[Move]:
    """Gives an end another address: another name of the host, or a port that leads to its own."""
    with ExitStack() as relays:

        def moved(end: End) -> End:
            if request.param == "host":
                url = end.url.replace("@127.0.0.1:", "@localhost:")
            else:
                port = relays.enter_context(relayed(end.server)).port
                url = end.url.replace(f":{end.server.port}/", f":{port}/")
            assert url != end.url
            return End(end.server, end.database, url)

        yield moved


def begin(source: End, target: End, **options: Any) -> None:
    """Load a part, and stop."""
    with held(5000) as gate:
        stream = Stream(source.url, target.url, **OPTIONS, **options)
        stream.start()
        gate.wait()
        stream.stop()
        gate.open()
        assert stream.wait(timeout=SECONDS) is State.STOPPED


def test_a_load_resumes_at_other_addresses(
    server: Server, target: End, database: Any, move: Move
) -> None:
    source = End(server, database(server))
    big(source)
    begin(source, target)
    there = sums(target)[0]
    assert there
    again = Stream(move(source).url, move(target).url, **OPTIONS)
    again.run()
    if source.server is not target.server:  # whose log the target's own rows move
        assert again.stats().target.counter == ROWS - there
    equal(source, target)


def test_a_cdc_resumes_at_other_addresses(
    server: Server, target: End, database: Any, move: Move
) -> None:
    with prepared(server, database) as source:
        run_once(source, target)
        write(source, 10)
        with following(move(source), move(target)) as stream:
            assert stream.stats().target.counter < 20  # no second load
            write(source, 20)
            caught_up(stream)
        assert shown(target) == shown(source)
        run_once(source, target)  # and back


OTHERS = [("pg15", "pg18"), ("mysql9", "mariadb")]


def another(
    request: pytest.FixtureRequest, database: Any, names: tuple[str, str]
) -> tuple[Server, End]:
    """A server, and a database of another that is addressed as one of the same kind."""
    one, other = map(request.getfixturevalue, names)
    there = End(other, database(other))
    scheme = one.url().partition(":")[0]
    return one, End(other, there.database, scheme + there.url[there.url.index(":") :])


@pytest.mark.parametrize("names", OTHERS)
def test_a_load_does_not_resume_from_another_server(
    request: pytest.FixtureRequest, pg15: Server, database: Any, names: tuple[str, str]
) -> None:
    server, other = another(request, database, names)
    source = End(server, other.database)
    target = End(pg15, database(pg15))
    make(request, source)
    big(source)
    big(other)
    begin(source, target)
    there = sums(target)
    with pytest.raises(CheckpointMismatch, match="source") as caught:
        Stream(other.url, target.url, **OPTIONS).run()
    assert caught.value.details["changed"]["source"]["before"]
    assert sums(target) == there


@pytest.mark.parametrize("names", OTHERS)
def test_a_cdc_does_not_resume_from_another_server(
    request: pytest.FixtureRequest, pg15: Server, database: Any, names: tuple[str, str]
) -> None:
    server, other = another(request, database, names)
    source, target = End(server, other.database), End(pg15, database(pg15))
    make(request, source)
    with prepared(server, lambda _: other.database) as source:
        other.run("CREATE TABLE t (id int PRIMARY KEY, v varchar(40))")
        other.run("CREATE TABLE bag (x int, y varchar(10))")
        if server.kind == "postgresql":
            other.run("ALTER TABLE bag REPLICA IDENTITY FULL")
        run_once(source, target)
        there = shown(target)
        with cdc(other, target) as stream:
            stream.start()
            error = failure(stream)
        assert error.code == "CHECKPOINT_MISMATCH" and "source" in str(error)
        assert set(error.details["changed"]) == {"source"}
        assert shown(target) == there
        write(source, 10)
        run_once(source, target)  # at the former server it goes on
        assert shown(target) == shown(source)


def make(request: pytest.FixtureRequest, end: End) -> None:
    """Create the database of an end, and drop it after the test."""

    def run(statement: str) -> None:
        with closing(end.server.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(statement)

    run(f"CREATE DATABASE {end.database}")
    force = " WITH (FORCE)" if end.server.kind == "postgresql" else ""
    request.addfinalizer(lambda: run(f"DROP DATABASE IF EXISTS {end.database}{force}"))


def test_a_mariadb_is_known_by_its_address(
    mariadb: Server, pg18: Server, database: Any, move: Move
) -> None:
    """Its server id is 1 on most, so another address may be another server."""
    target = End(pg18, database(pg18))
    with prepared(mariadb, database) as source:
        run_once(source, target)
        with following(source, move(target)):
            pass
        with cdc(move(source), target) as stream:
            stream.start()
            error = failure(stream)
    assert error.code == "CHECKPOINT_MISMATCH"
    change = error.details["changed"]["source"]
    assert change["before"] == [f"127.0.0.1:{mariadb.port}"] != change["after"]


def test_a_password_or_another_account_is_no_other_target(
    pg18: Server, mysql9: Server, database: Any
) -> None:
    target = End(pg18, database(pg18))
    target.run("CREATE ROLE another LOGIN SUPERUSER PASSWORD 'x'")
    try:
        with prepared(mysql9, database) as source:
            run_once(source, target)
            url = f"postgresql://another:x@localhost:{pg18.port}/{target.database}"
            run_once(source, End(pg18, target.database, url))
    finally:
        target.run("DROP OWNED BY another", "DROP ROLE another")
