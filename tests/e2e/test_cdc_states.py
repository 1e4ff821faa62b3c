"""The life of a cdc: pauses, stops, limits, lost logs and connections, and what is refused.

From MySQL and PostgreSQL into PostgreSQL.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streams_engine import State, Stream
from streams_engine.errors import ConfigError, SchemaChangeRefused, StateConflict
from streams_engine.pipeline.changes import applier
from streams_engine.stats import Stats
from streams_engine.testing.servers import Server
from tests.support.cdc import (
    NAME,
    OWN_SLOTS,
    caught_up,
    cdc,
    failure,
    following,
    is_postgres,
    prepared,
    run_once,
    shown,
    write,
)
from tests.support.databases import SECRET_ROW, End, refused
from tests.support.fault_points import at_points
from tests.support.polling import until
from tests.support.stream_control import SECONDS, kill_first, records


@pytest.fixture(params=["mysql9", "pg18"])
def source(request: pytest.FixtureRequest, database: Any) -> Iterator[End]:
    """Each kind of source."""
    with prepared(request.getfixturevalue(request.param), database) as end:
        yield end


@pytest.fixture
def mysql(mysql9: Server, database: Any) -> Iterator[End]:
    """A source in MySQL alone."""
    with prepared(mysql9, database) as end:
        yield end


@pytest.fixture
def postgres(pg18: Server, database: Any) -> Iterator[End]:
    """A source in PostgreSQL alone."""
    with prepared(pg18, database) as end:
        yield end


@pytest.fixture
def target(pg18: Server, database: Any) -> End:
    """An empty target."""
    return End(pg18, database(pg18))


# Pause, stop, start


def test_follows_and_catches_up(source: End, target: End) -> None:
    with following(source, target) as stream:
        assert shown(target) == shown(source)
        write(source, 10)
        caught_up(stream)
        assert shown(target) == shown(source)
        assert stream.state is State.RUNNING
        changes = stream.stats().changes
    assert stream.state is State.STOPPED
    assert changes is not None and changes.unmet == 0 and changes.transactions == 3


def test_a22_a_pause_holds_and_what_came_meanwhile_arrives(source: End, target: End) -> None:
    with following(source, target) as stream:
        stream.pause()
        assert stream.wait(State.PAUSED, timeout=SECONDS) is State.PAUSED
        before = shown(target)
        write(source, 10)
        assert not stream.catch_up(0.3)
        assert shown(target) == before
        stream.resume()
        caught_up(stream)
        assert stream.state is State.RUNNING
        assert shown(target) == shown(source)


def test_a23_stopped_and_started_again(source: End, target: End) -> None:
    for number in (10, 20, 30):
        with following(source, target) as stream:
            assert shown(target) == shown(source)
            write(source, number)
            caught_up(stream)
            stream.stop()
            assert stream.wait(timeout=SECONDS) is State.STOPPED
        write(source, number + 5)
    run_once(source, target)
    assert shown(target) == shown(source)


def test_a23_stopped_while_it_is_paused(source: End, target: End) -> None:
    with following(source, target) as stream:
        stream.pause()
        stream.wait(State.PAUSED, timeout=SECONDS)
        write(source, 10)
        stream.stop()
        assert stream.wait(timeout=SECONDS) is State.STOPPED
        assert not stream.catch_up(SECONDS)
    run_once(source, target)
    assert shown(target) == shown(source)


def test_a23_a_stream_starts_once(source: End, target: End) -> None:
    with following(source, target) as stream:
        with pytest.raises(StateConflict):
            stream.start()
        with pytest.raises(StateConflict):
            stream.resume()
        with pytest.raises(StateConflict):
            stream.release()
        write(source, 10)
        caught_up(stream)
    with pytest.raises(StateConflict):
        stream.start()
    assert shown(target) == shown(source)


def test_a_forced_stop_loses_and_doubles_nothing(source: End, target: End) -> None:
    with following(source, target) as stream:
        write(source, 10)
        stream.stop(force=True)
        assert stream.wait(timeout=SECONDS) is State.STOPPED
    write(source, 20)
    run_once(source, target)
    assert shown(target) == shown(source)


def test_a_fresh_start_loads_again(source: End, target: End) -> None:
    """CASES A25: an old checkpoint does not survive it."""
    run_once(source, target)
    write(source, 10)
    target.run("TRUNCATE t, bag")
    with cdc(source, target) as stream:
        stream.start(fresh=True)
        caught_up(stream)
        assert shown(target) == shown(source)
        write(source, 20)
        caught_up(stream)
    assert shown(target) == shown(source)


# Limits


def test_a8_the_time_limit_ends_it_and_the_next_run_goes_on(source: End, target: End) -> None:
    stream = cdc(source, target, limits={"elapsedTime": 1})
    stream.start()
    assert stream.wait(timeout=SECONDS) is State.TIME_LIMIT_REACHED
    write(source, 10)
    run_once(source, target)
    assert shown(target) == shown(source)


def test_a8_the_event_limit_ends_at_a_commit(source: End, target: End) -> None:
    """Five row changes may come, and transactions have two: it ends after the third one."""
    run_once(source, target)
    for first in (10, 20, 30, 40):
        source.run(f"INSERT INTO t VALUES ({first}, 'a'), ({first + 1}, 'b')")
    stream = cdc(source, target, limits={"numberOfEvents": 5})
    stats = stream.run()
    assert stream.state is State.EVENT_LIMIT_REACHED
    assert [row[0] for row in target.rows("SELECT id FROM t WHERE id > 2 ORDER BY id")] == [
        10, 11, 20, 21, 30, 31,
    ]  # fmt: skip
    assert stats.target.counter == 6
    run_once(source, target)
    assert shown(target) == shown(source)


# Who may go on from a checkpoint


def test_another_configuration_does_not_go_on(source: End, target: End) -> None:
    run_once(source, target)
    with cdc(source, target, type_overrides=[{"column": "t.id", "to": "bigint"}]) as stream:
        stream.start()
        error = failure(stream)
    assert error.code == "CHECKPOINT_MISMATCH" and "fresh" in str(error)
    write(source, 10)
    run_once(source, target)
    assert shown(target) == shown(source)


def test_a24_a_second_stream_of_the_name(mysql: End, target: End) -> None:
    """The later one takes over, and the first ends with a plain error; nothing comes twice.

    From PostgreSQL the first keeps its slot: see test_second_starts.
    """
    with (
        following(mysql, target) as first,
        cdc(mysql, target, reporting_interval=1) as second,
    ):
        claimed = progress(second, lambda stats: stats.phase == "following")
        second.start()
        assert claimed.wait(SECONDS), second.error
        write(mysql, 10)
        assert failure(first).code == "FENCED_OFF"
        caught_up(second)
        write(mysql, 20)
        caught_up(second)
    assert shown(target) == shown(mysql)


# Where it begins, and what it takes


def test_without_a_load_it_begins_at_the_end(source: End, target: End) -> None:
    with following(source, target, initial_load=False) as stream:
        source.run("INSERT INTO t VALUES (3, 'three')", "INSERT INTO bag VALUES (3, 'c')")
        caught_up(stream)
    source.run("INSERT INTO t VALUES (4, 'four')")
    run_once(source, target, initial_load=False)
    assert target.rows("SELECT id FROM t ORDER BY id") == [(3,), (4,)]
    assert target.rows("SELECT * FROM bag") == [(3, "c")]


def test_it_begins_where_it_is_told(mysql: End, target: End) -> None:
    [(file, position, *_)] = mysql.rows("SHOW BINARY LOG STATUS")
    mysql.run("INSERT INTO t VALUES (3, 'three')")
    told = {"initial_load": False, "binlog_position": f"{file}:{position}"}
    with following(mysql, target, **told) as stream:
        mysql.run("INSERT INTO t VALUES (4, 'four')")
        caught_up(stream)
    assert target.rows("SELECT id FROM t ORDER BY id") == [(3,), (4,)]


def test_a_position_that_is_none_is_refused(mysql: End, target: End) -> None:
    with pytest.raises(ConfigError, match="binlogPosition"):
        cdc(mysql, target, initial_load=False, binlog_position="yesterday")


def test_operations_that_are_not_wanted_are_left_out(source: End, target: End) -> None:
    with following(source, target, operations=["insert", "update"]) as stream:
        source.run(
            "DELETE FROM t WHERE id = 1",
            "UPDATE t SET v = 'new' WHERE id = 2",
            "INSERT INTO t VALUES (3, 'three')",
        )
        caught_up(stream)
    found = target.rows("SELECT id, v FROM t ORDER BY id")
    assert found == [(1, "one"), (2, "new"), (3, "three")]


def test_rows_are_not_read_again_where_operations_are_left_out(source: End, target: End) -> None:
    """To empty the table would lose the rows that only the source was to delete."""
    narrow = "ALTER v TYPE varchar(10)" if is_postgres(source) else "MODIFY v varchar(10)"
    with following(source, target, operations=["insert", "update"]) as stream:
        source.run("DELETE FROM t WHERE id = 1")
        caught_up(stream)
        source.run(f"ALTER TABLE t {narrow}")
        with pytest.raises(SchemaChangeRefused):
            stream.catch_up(SECONDS)
        assert stream.wait(timeout=SECONDS) == "FAILED"
    assert isinstance(stream.error, SchemaChangeRefused) and "operations" in str(stream.error)
    assert target.rows("SELECT id FROM t ORDER BY id") == [(1,), (2,)]


# Schema changes


def test_schema_changes_ignored(source: End, target: End) -> None:
    with following(source, target, schema_changes="ignore") as stream:
        source.run("ALTER TABLE t ADD COLUMN w int DEFAULT 7", "INSERT INTO t VALUES (3, 'c', 8)")
        caught_up(stream)
    assert target.rows("SELECT * FROM t WHERE id > 2") == [(3, "c")]


def test_schema_changes_applied(source: End, target: End) -> None:
    with following(source, target) as stream:
        source.run("ALTER TABLE t ADD COLUMN w int DEFAULT 7", "INSERT INTO t VALUES (3, 'c', 8)")
        caught_up(stream)
    assert shown(target) == shown(source)


def test_schema_changes_fail_and_tell_no_value(source: End, target: End, caplog: Any) -> None:
    """CASES E121: a default is a value too."""
    run_once(source, target)
    source.run(
        f"ALTER TABLE t ADD COLUMN w varchar(40) DEFAULT '{SECRET_ROW}'",
        "INSERT INTO t (id) VALUES (3)",
    )
    refused(
        caplog, source, target, "SCHEMA_CHANGE_REFUSED", "t", "schemaChanges",
        mode="cdc", name=NAME, tables=["t", "bag"], schema_changes="fail",
    )  # fmt: skip
    assert target.rows("SELECT id FROM t ORDER BY id") == [(1,), (2,)]


def test_a29_a_table_that_joins_later_is_loaded_and_followed(source: End, target: End) -> None:
    run_once(source, target, tables=["t"])
    write(source, 10)
    with following(source, target) as stream:
        assert shown(target) == shown(source)
        write(source, 20)
        caught_up(stream)
    assert shown(target) == shown(source)
    write(source, 30)
    run_once(source, target)
    assert shown(target) == shown(source)


# Logs that are gone


def test_a27_a_slot_that_was_dropped(postgres: End, target: End) -> None:
    run_once(postgres, target)
    postgres.run(f"SELECT pg_drop_replication_slot(slot_name) {OWN_SLOTS}")
    write(postgres, 10)
    before = shown(target)
    with cdc(postgres, target) as stream:
        stream.start()
        error = failure(stream)
    assert error.code == "LOG_LOST" and "fresh" in str(error)
    assert shown(target) == before


def test_c92_a_log_that_was_purged(mysql: End, target: End) -> None:
    run_once(mysql, target)
    write(mysql, 10)
    mysql.run("FLUSH BINARY LOGS")
    last = mysql.rows("SHOW BINARY LOGS")[-1][0]
    mysql.run(f"PURGE BINARY LOGS TO '{last}'")
    before = shown(target)
    with cdc(mysql, target) as stream:
        stream.start()
        error = failure(stream)
    assert error.code == "LOG_LOST" and "fresh" in str(error)
    assert shown(target) == before


def test_b44_a_table_without_an_identity_is_refused_up_front(postgres: End, target: End) -> None:
    postgres.run("ALTER TABLE bag REPLICA IDENTITY DEFAULT")
    with cdc(postgres, target) as stream:
        stream.start()
        error = failure(stream)
    assert "ALTER TABLE" in str(error) and "REPLICA IDENTITY FULL" in str(error), error
    assert "bag" in str(error)
    assert postgres.rows(f"SELECT 1 {OWN_SLOTS}") == []
    assert target.rows("SELECT 1 FROM information_schema.tables WHERE table_name = 'bag'") == []


def test_release_leaves_nothing_behind(source: End, target: End) -> None:
    run_once(source, target)
    assert records(target)
    cdc(source, target).release()
    assert records(target) == []
    if is_postgres(source):
        assert source.rows(f"SELECT 1 {OWN_SLOTS}") == []
        assert source.rows("SELECT 1 FROM pg_publication") == []


# Connections


SOURCE_SESSIONS = {
    "mysql": "SELECT id FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'",
    "postgresql": "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walsender'"
    " AND datname = current_database()",
}
TARGET_SESSIONS = (
    "SELECT pid FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


@pytest.mark.parametrize("side", ["source", "target"])
def test_e116_a_connection_that_is_killed_is_opened_again(
    source: End, target: End, side: str
) -> None:
    with following(source, target) as stream:
        write(source, 5)
        caught_up(stream)
        for number in (10, 20):
            if side == "source":
                assert kill_first(source, SOURCE_SESSIONS[source.server.kind])
            else:
                assert kill_first(target, TARGET_SESSIONS)
            write(source, number)
            caught_up(stream)
            assert shown(target) == shown(source)
        changes = stream.stats().changes
    assert changes is not None and changes.reconnects > 0 and changes.unmet == 0


def progress(stream: Stream, wanted: Callable[[Stats], bool]) -> threading.Event:
    """Set once the stream has told of stats that are as wanted."""
    seen = threading.Event()
    stream.on_progress(lambda stats: seen.set() if wanted(stats) else None)
    return seen


def test_e120_no_lag_when_idle(source: End, mysql9: Server, pg18: Server, database: Any) -> None:
    """The target is another server: what it writes for itself is not the source's log."""
    other = mysql9 if is_postgres(source) else pg18
    target = End(other, database(other))
    with cdc(source, target, reporting_interval=1) as stream:
        still = progress(
            stream,
            lambda stats: (
                stats.changes is not None
                and (stats.changes.lag_bytes, stats.changes.lag_seconds) == (0, 0.0)
            ),
        )
        stream.start()
        caught_up(stream)
        write(source, 10)
        caught_up(stream)
        assert still.wait(SECONDS), stream.stats().changes


@pytest.mark.parametrize("what", ["awaited", "idle"])
def test_e120_what_others_write_is_passed(
    source: End, mysql9: Server, pg18: Server, database: Any, what: str
) -> None:
    """Log without changes of ours comes once, and then never again: its end must not be lost."""
    other = mysql9 if is_postgres(source) else pg18
    target, beside = End(other, database(other)), End(source.server, database(source.server))
    with cdc(source, target, reporting_interval=1) as stream:
        stream.start()
        caught_up(stream)
        fetched: list[float] = []

        def reached(point: str) -> None:
            if point == "log: fetched":
                fetched.append(time.monotonic())

        with at_points(reached):
            beside.run("CREATE TABLE x (y int)", *["INSERT INTO x VALUES (1)"] * 3)
            if is_postgres(source):
                beside.run("VACUUM x", "CHECKPOINT")
            # The reader has passed it all, too soon to write that down.
            until(lambda: fetched and time.monotonic() - fetched[-1] > 0.5)
        if what == "idle":
            still = progress(stream, lambda stats: stats.changes and not stats.changes.lag_bytes)
            assert still.wait(SECONDS), stream.stats().changes
        else:
            assert stream.catch_up(5), stream.stats().changes


def test_e121_a_row_that_is_refused_is_told_without_its_values(
    source: End, target: End, caplog: Any
) -> None:
    target.run("CREATE TABLE t (id int PRIMARY KEY, v varchar(40) CHECK (v <> 's3cret-row-value'))")
    run_once(source, target)
    source.run(f"INSERT INTO t VALUES (3, '{SECRET_ROW}')")
    refused(
        caplog, source, target, "ROW_REJECTED", "t",
        mode="cdc", name=NAME, tables=["t", "bag"],
    )  # fmt: skip
    assert target.rows("SELECT id FROM t ORDER BY id") == [(1,), (2,)]


def test_several_sources_in_one_cdc(mysql: End, postgres: End, target: End) -> None:
    document = {
        "mode": "cdc",
        "name": NAME,
        "source": {
            "connections": [
                {"alias": alias, "connection": end.url, "tables": [{"name": "t"}, {"name": "bag"}]}
                for alias, end in (("shop", mysql), ("crm", postgres))
            ]
        },
        "target": {"connection": target.url},
    }

    def same() -> bool:
        return all(
            sorted(map(repr, target.rows(f"SELECT * FROM {alias}_{table}")))
            == sorted(map(repr, end.rows(f"SELECT * FROM {table}")))
            for alias, end in (("shop", mysql), ("crm", postgres))
            for table in ("t", "bag")
        )

    for number in (10, 20):
        with Stream.from_config(document) as stream:
            stream.start()
            caught_up(stream)
            assert same()
            write(mysql, number)
            write(postgres, number + 1)
            caught_up(stream)
            assert same()
        write(mysql, number + 5)
    with Stream.from_config(document) as stream:
        stream.start()
        caught_up(stream)
        assert same()


def test_an_idle_stream_is_woken_by_what_is_asked_of_it(
    source: End, target: End, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing waits until the log is polled again: no pause, no table that joins, no repair, no
    `catch_up`, and not the stop."""
    monkeypatch.setattr(applier, "IDLE_POLL_SECONDS", 600.0)
    begun = time.monotonic()
    with following(source, target, tables=None) as stream:
        stream.pause()
        assert stream.wait(State.PAUSED, timeout=SECONDS) is State.PAUSED
        stream.resume()
        target.run("UPDATE t SET v = 'other' WHERE id = 1")
        assert stream.verify(repair=True).ok
        source.run("CREATE TABLE later (id int PRIMARY KEY)", "INSERT INTO later VALUES (1)")
        caught_up(stream)
        assert target.rows("SELECT id FROM later") == [(1,)]
    assert time.monotonic() - begun < SECONDS
