"""A source that holds nothing, and a place in a log that is none, are errors and no empty runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streams_engine import State, Stream
from streams_engine.errors import ConfigError, NotFound, StreamsError
from streams_engine.testing.servers import Server, running
from tests.support.cdc import OWN_SLOTS, caught_up, failure
from tests.support.databases import End, leftovers
from tests.support.polling import until
from tests.support.stream_control import SECONDS

POSITION = "$.source.options.binlogPosition"


@pytest.fixture
def target(pg18: Server, database: Any) -> End:
    """An empty target."""
    return End(pg18, database(pg18))


@pytest.fixture(params=["mysql9", "mariadb", "pg18"])
def empty(request: pytest.FixtureRequest, database: Any) -> Iterator[End]:
    """A database without a table; its slots are dropped afterwards."""
    server = request.getfixturevalue(request.param)
    end = End(server, database(server))
    yield end
    if server.kind == "postgresql":
        end.run(f"SELECT pg_drop_replication_slot(slot_name) {OWN_SLOTS}")


@pytest.fixture
def logged(mysql_server: Server, database: Any) -> End:
    """A MySQL or MariaDB database with one table of two rows, its log in a file of its own."""
    end = End(mysql_server, database(mysql_server))
    end.run("CREATE TABLE t (id int PRIMARY KEY)", "FLUSH BINARY LOGS")
    end.run("INSERT INTO t VALUES (1), (2)")
    return end


def error_of(stream: Stream) -> StreamsError:
    """What a run, and a look at what it would do, fail of."""
    with pytest.raises(StreamsError) as planned:
        stream.plan()
    with pytest.raises(StreamsError) as caught:
        stream.run()
    assert str(planned.value) == str(caught.value)
    return caught.value


def test_a_database_without_tables_is_an_error(empty: End, target: End) -> None:
    error = error_of(Stream(empty.url, target.url))
    assert isinstance(error, NotFound)
    assert empty.database in error.message and "allowEmpty" in str(error.remedy)
    assert empty.server.password not in str(error)


def test_an_empty_database_may_be_meant(empty: End, target: End) -> None:
    stream = Stream(empty.url, target.url, allow_empty=True)
    assert stream.run().to_dict()["status"] == "FINISHED"
    assert stream.verify().ok


def test_a_cdc_of_an_empty_database_makes_nothing(empty: End, target: End) -> None:
    with Stream(empty.url, target.url, mode="cdc", name="void") as stream:
        stream.start()
        assert isinstance(failure(stream), NotFound)
    if empty.server.kind == "postgresql":
        assert empty.rows(f"SELECT slot_name {OWN_SLOTS}") == []
        assert empty.rows("SELECT pubname FROM pg_publication") == []
    assert [name for name in leftovers(target) if "streams_engine" not in name] == []


@pytest.mark.parametrize("load", [True, False])
def test_a_cdc_may_begin_with_an_empty_database(empty: End, target: End, load: bool) -> None:
    """It follows; a table that is made later joins, at the next start at the latest."""
    options: dict[str, Any] = {"mode": "cdc", "name": "void", "allow_empty": True}
    with Stream(empty.url, target.url, initial_load=load, **options) as stream:
        stream.start()
        caught_up(stream)
    empty.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)")
    with Stream(empty.url, target.url, initial_load=load, **options) as stream:
        stream.start()
        caught_up(stream)
        if load:
            assert target.rows("SELECT count(*) FROM t") == [(2,)]


def test_a_folder_that_is_not_there(tmp_path: Path, target: End) -> None:
    error = error_of(Stream(str(tmp_path / "gone"), target.url, allow_empty=True))
    assert isinstance(error, NotFound) and str(tmp_path / "gone") in error.message


def test_a_folder_without_data(tmp_path: Path, target: End) -> None:
    (tmp_path / "notes.md").write_text("# no rows")
    error = error_of(Stream(str(tmp_path), target.url))
    assert isinstance(error, NotFound) and str(tmp_path) in error.message
    assert Stream(str(tmp_path), target.url, allow_empty=True).run()


def test_a_schema_that_is_not_there(pg_server: Server, database: Any, tmp_path: Path) -> None:
    source = End(pg_server, database(pg_server))
    source.run("CREATE SCHEMA sales", "CREATE TABLE sales.t (id int)")
    for mode in ("convert", "cdc"):
        with Stream(f"{source.url}?schema=sale", str(tmp_path), mode=mode) as stream:
            stream.start()
            assert stream.wait(timeout=SECONDS) is State.FAILED
        assert isinstance(stream.error, NotFound)
        assert "'sale'" in stream.error.message and "sales" in str(stream.error.remedy)


def test_one_empty_source_of_several_is_named(empty: End, tmp_path: Path, target: End) -> None:
    (tmp_path / "t.csv").write_text("id\n1\n")
    stream = Stream.from_config(
        {
            "mode": "convert",
            "source": {
                "connections": [
                    {"alias": "a", "connection": str(tmp_path)},
                    {"alias": "b", "connection": empty.url},
                ]
            },
            "target": {"connection": target.url},
        }
    )
    error = error_of(stream)
    assert error.message.startswith("source b: ") and error.details["source"] == "b"


# The place where a log begins to be read


def follow(source: End, folder: Path, position: str) -> Stream:
    return Stream(
        source.url, str(folder), mode="cdc", name="at", initial_load=False, binlog_position=position
    )


def logs(source: End) -> list[tuple[Any, ...]]:
    return source.rows("SHOW BINARY LOGS")


def refusal(source: End, folder: Path, position: str) -> ConfigError:
    with follow(source, folder, position) as stream:
        stream.start()
        error = failure(stream)
    assert isinstance(error, ConfigError) and error.path == POSITION
    return error


def events(source: End) -> list[tuple[Any, ...]]:
    """(file, offset, kind, ...) of the newest file."""
    return source.rows(f"SHOW BINLOG EVENTS IN '{logs(source)[-1][0]}'")


def test_a_file_that_the_server_does_not_have(logged: End, tmp_path: Path) -> None:
    stem = logs(logged)[-1][0].rpartition(".")[0]
    error = refusal(logged, tmp_path, f"{stem}.999999:4")
    assert f"{stem}.999999" in error.message


def test_a_place_behind_the_end_of_the_file(logged: End, tmp_path: Path) -> None:
    file, size = logs(logged)[-1][:2]
    message = refusal(logged, tmp_path, f"{file}:{size + 1000}").message
    said = int(message.rstrip(".").rpartition(" ")[2])
    # A server may write an event of its own (MariaDB: its binlog checkpoint) at any time.
    assert (
        message.startswith(f"{POSITION}: {file} ends at ") and size <= said <= logs(logged)[-1][1]
    )


def test_a_place_where_no_event_begins(logged: End, tmp_path: Path) -> None:
    file, place = events(logged)[-1][:2]
    assert "no event begins" in refusal(logged, tmp_path, f"{file}:{place + 1}").message


def test_a_place_within_a_transaction(logged: End, tmp_path: Path) -> None:
    file, place = next(e for e in events(logged) if e[2].startswith("Write_rows"))[:2]
    assert "middle of a transaction" in refusal(logged, tmp_path, f"{file}:{place}").message


def test_a_stream_begins_where_it_is_told_to(logged: End, tmp_path: Path) -> None:
    """At the transaction, and at the end of the file."""
    begin = next(e for e in events(logged) if e[2] in ("Gtid", "Anonymous_Gtid"))
    file, end = logs(logged)[-1][:2]
    for place, rows in ((begin[1], 2), (end, 0)):
        folder = tmp_path / str(place)
        with follow(logged, folder, f"{file}:{place}") as stream:
            stream.start()
            caught_up(stream)
            assert stream.stats().to_dict()["nodes"][1]["stat"]["counter"] == rows


def gtids(source: End) -> str:
    maria = source.server.kind == "mariadb"
    query = "SELECT @@gtid_binlog_pos" if maria else "SELECT @@global.gtid_executed"
    return str(source.rows(query)[0][0])


def test_gtids_that_the_server_never_had(logged: End, tmp_path: Path) -> None:
    for wanted in (
        ("0-99-99999999",)
        if logged.server.kind == "mariadb"
        else (f"{gtids(logged).split(':')[0]}:1-99999999", f"{'ab' * 16}:1-3")
    ):
        assert "lacks" in refusal(logged, tmp_path, wanted).message


def test_a_gtid_set_of_the_other_family(logged: End, tmp_path: Path) -> None:
    other = f"{'ab' * 16}:1-3" if logged.server.kind == "mariadb" else "0-1-7"
    assert "expected" in refusal(logged, tmp_path, other).message


def test_a_stream_begins_after_a_gtid_set(logged: End, tmp_path: Path) -> None:
    before = gtids(logged)
    logged.run("INSERT INTO t VALUES (3)", "FLUSH BINARY LOGS", "INSERT INTO t VALUES (4)")
    with follow(logged, tmp_path, before) as stream:
        stream.start()
        caught_up(stream)
        assert stream.stats().to_dict()["nodes"][1]["stat"]["counter"] == 2


def purge(source: End, last: str) -> None:
    """Drop all logs before the last one; MariaDB waits for a checkpoint of its own."""

    def purged() -> bool:
        source.run(f"PURGE BINARY LOGS TO '{last}'")
        return bool(logs(source)[0][0] == last)

    until(purged)


def test_gtids_that_are_purged(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """On servers of their own: a file that a replica still reads is not purged."""
    for flavour in ("mysql9", "mariadb"):
        request.getfixturevalue(flavour)  # skips, or fails, where it cannot be had
        with running(flavour) as server:
            source = End(server, server.create_database())
            source.run("CREATE TABLE t (id int PRIMARY KEY)")
            before = gtids(source)
            source.run("INSERT INTO t VALUES (1)", "FLUSH BINARY LOGS")
            last = logs(source)[-1][0]
            purge(source, last)
            assert "purged" in refusal(source, tmp_path / flavour, before).message


def test_names_of_slots_and_publications(pg18: Server, tmp_path: Path) -> None:
    """Names that the server would refuse, or cut, are refused before it is asked."""
    for key, name in (("replication_slot", "My-Slot"), ("publication_name", "p" * 64)):
        with pytest.raises(ConfigError) as caught:
            Stream(pg18.url("postgres"), str(tmp_path), mode="cdc", **{key: name})
        assert "63" in str(caught.value)
        assert caught.value.path.startswith("$.source.options.")
