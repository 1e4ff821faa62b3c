"""The change source of MySQL and MariaDB on real servers, case after case of the hard ones."""

from __future__ import annotations

import threading
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from streams_engine.adapters.mysql.binlog.dump import BinlogDump
from streams_engine.contracts import Scope
from streams_engine.errors import (
    ConfigError,
    ConnectionFailed,
    LogLost,
    PermissionDenied,
    SchemaChangeRefused,
    StreamsError,
)
from streams_engine.model import RowChanges, SchemaChange, Severity, TableId, Truncate
from streams_engine.testing.servers import Server, running
from tests.support.mysql_log import Place, applied, batches, inserted
from tests.support.relay import relayed

TABLE = "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(50))"


@pytest.fixture
def place(mysql_server: Server, database: Any) -> Place:
    return Place(mysql_server, database(mysql_server))


def rows(place: Place, table: str = "t") -> list[tuple[Any, ...]]:
    return sorted(place.ask(f"SELECT * FROM {table}"))


def held(sets: Any, table: str = "t", start: Any = ()) -> list[tuple[Any, ...]]:
    return sorted(tuple(row.values()) for row in applied(sets, start).get(table, []))


def test_insert_update_delete_and_key_change_arrive_in_order(place: Place) -> None:
    place.run(TABLE)
    tracked, position = place.begin()
    place.run(
        "INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, NULL)",
        "UPDATE t SET v = 'c' WHERE id = 1",
        "UPDATE t SET id = 10 WHERE id = 2",
        "DELETE FROM t WHERE id = 3",
        "INSERT INTO t VALUES (3, 'again')",
    )
    sets = place.sets(tracked, position)
    assert held(sets) == rows(place)
    assert sum(one.transactions for one in sets) == 5
    assert all(one.committed_at for one in sets if one.transactions)


def test_case_009_handover_has_no_gap_and_nothing_twice(place: Place) -> None:
    place.run(TABLE)
    stop = threading.Event()

    def write() -> None:
        number = 0
        with closing(place.server.connect(place.database)) as connection:
            while not stop.is_set():
                number += 1
                connection.cursor().execute("INSERT INTO t VALUES (%s, 'x')", (number,))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while not place.ask("SELECT 1 FROM t LIMIT 1"):
            pass
        with place.source.snapshot_at_position(Scope(place.database), 2, resume=False) as view:
            (table,) = view.catalog.tables
            tracked, position = place.tracked(table), view.position
            seen = [
                row
                for chunk in view.chunks(table, 1000)
                for batch in view.read(tracked.extract, chunk)
                for row in batch.to_pylist()
            ]
    finally:
        stop.set()
        writer.join()
    sets = place.sets([tracked], position)
    assert held(sets, start=seen) == rows(place)


def test_case_004_resumes_from_each_position_without_loss(place: Place) -> None:
    place.run(TABLE)
    tracked, position = place.begin()
    sets = []
    for number in range(5):
        place.run(f"INSERT INTO t VALUES ({number}, 'x')")
        sets += place.sets(tracked, position)
        position = sets[-1].position
    assert held(sets) == rows(place)
    assert sum(one.rows for one in sets) == 5


def test_case_007_a_transaction_larger_than_a_set_comes_in_parts(place: Place) -> None:
    place.run(TABLE)
    tracked, position = place.begin()
    place.run(
        "INSERT INTO t WITH RECURSIVE q(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM q "
        "WHERE n < 150000) SELECT n, REPEAT('x', 20) FROM q",
        session=[
            "SET SESSION max_recursive_iterations = 1000000"
            if place.server.kind == "mariadb"
            else "SET SESSION cte_max_recursion_depth = 1000000"
        ],
    )
    sets = place.sets(tracked, position)
    assert [one.position is None for one in sets] == [True] * (len(sets) - 1) + [False]
    assert len(sets) > 2
    assert sum(one.rows for one in sets) == 150_000
    assert sum(one.transactions for one in sets) == 1
    assert inserted(sets, "t")["id"].to_pylist() == list(range(1, 150_001))


def test_case_119_values_larger_than_a_packet(place: Place) -> None:
    place.run("CREATE TABLE t (id INT PRIMARY KEY, v LONGBLOB)")
    tracked, position = place.begin()
    place.run(
        "INSERT INTO t VALUES (1, REPEAT('a', 20000000))",
        "INSERT INTO t VALUES (2, 'small')",
        "UPDATE t SET v = REPEAT('b', 17000000) WHERE id = 1",
        "INSERT INTO t VALUES (3, REPEAT('c', 16777215 - 70)), (4, 'x')",
    )
    sets = place.sets(tracked, position)
    assert held(sets) == rows(place)


def test_case_089_compressed_transactions(place: Place) -> None:
    place.run(TABLE)
    tracked, position = place.begin()
    maria = place.server.kind == "mariadb"
    switch = "GLOBAL log_bin_compress" if maria else "SESSION binlog_transaction_compression"
    try:
        place.run(
            "INSERT INTO t VALUES (1, 'plain')",
            "BEGIN",
            "INSERT INTO t SELECT 2, REPEAT('x', 50)",
            f"INSERT INTO t VALUES {', '.join(f'({n}, REPEAT(9, 50))' for n in range(3, 500))}",
            "UPDATE t SET v = REPEAT('y', 50) WHERE id < 100",
            "DELETE FROM t WHERE id > 400",
            "COMMIT",
            "INSERT INTO t VALUES (1000, 'after')",
            session=[f"SET {switch} = ON"],
        )
    finally:
        if maria:
            place.run("SET GLOBAL log_bin_compress = OFF")
    sets = place.sets(tracked, position)
    assert held(sets) == rows(place)
    assert sum(one.transactions for one in sets) == 3


def test_case_090_prepared_transactions_are_applied_at_their_commit(place: Place) -> None:
    place.run(TABLE)
    tracked, position = place.begin()
    for number, name in enumerate(("one", "two"), 100):
        place.run(  # a prepared transaction outlives its session
            f"XA START '{name}'",
            f"INSERT INTO t VALUES ({number}, 'prepared')",
            f"XA END '{name}'",
            f"XA PREPARE '{name}'",
        )
    place.run("INSERT INTO t VALUES (1, 'meanwhile')")
    sets = place.sets(tracked, position)
    assert held(sets) == [(1, "meanwhile")]
    assert sets[-1].position is not None
    position = sets[-1].position
    assert len(position["prepared"]) == 2
    place.run("XA COMMIT 'one'", "XA ROLLBACK 'two'")
    sets += place.sets(tracked, position)  # as after a restart
    assert held(sets) == rows(place)
    assert len(rows(place)) == 2
    assert "prepared" not in (sets[-1].position or {})


def test_case_047_rolled_back_savepoints_leave_nothing(place: Place) -> None:
    place.run(TABLE)
    tracked, position = place.begin()
    place.run(
        "BEGIN",
        "INSERT INTO t VALUES (1, 'a')",
        "SAVEPOINT s",
        "INSERT INTO t VALUES (2, 'b')",
        "ROLLBACK TO s",
        "INSERT INTO t VALUES (3, 'c')",
        "COMMIT",
        "BEGIN",
        "INSERT INTO t VALUES (4, 'd')",
        "ROLLBACK",
    )
    assert held(place.sets(tracked, position)) == rows(place) == [(1, "a"), (3, "c")]


def test_case_083_minimal_row_images_say_what_is_missing(place: Place) -> None:
    place.run("CREATE TABLE t (id INT PRIMARY KEY, a INT, b TEXT, c VARCHAR(9))")
    place.run("INSERT INTO t VALUES (1, 1, 'text', 'c'), (2, 2, NULL, NULL)")
    tracked, position = place.begin()
    start = [dict(zip(["id", "a", "b", "c"], row, strict=True)) for row in rows(place)]
    place.run(
        "UPDATE t SET a = 5 WHERE id = 1",
        "UPDATE t SET id = 3, c = NULL WHERE id = 1",
        "DELETE FROM t WHERE id = 2",
        session=["SET SESSION binlog_row_image = 'MINIMAL'"],
    )
    if place.server.kind == "mariadb":  # a REPLACE looks like an update there
        with pytest.raises(LogLost, match="REPLACE"):
            place.sets(tracked, position)
        return
    sets = place.sets(tracked, position)
    assert held(sets, start=start) == rows(place)
    (batch,) = batches(sets)
    assert batch.missing["b"].tolist() == [True, True, False]


def test_case_084_without_full_metadata_columns_are_told_by_the_tracked_schema(
    place: Place,
) -> None:
    place.run(TABLE)
    tracked, position = place.begin()
    maria = place.server.kind == "mariadb"
    place.run(f"SET GLOBAL binlog_row_metadata = '{'NO_LOG' if maria else 'MINIMAL'}'")
    try:
        place.run("INSERT INTO t VALUES (1, 'ä')", "ALTER TABLE t ADD COLUMN n INT UNSIGNED FIRST")
        place.run("INSERT INTO t VALUES (4294967295, 2, 'ö')")
    finally:
        place.run("SET GLOBAL binlog_row_metadata = 'FULL'")
    with place.source.changes(tracked, position) as reader:
        found = []
        for one in place.until(reader, place.source.end()):
            found.append(one)
            for part in one.parts:
                if isinstance(part, SchemaChange):
                    assert part.after is not None
                    reader.adopt(part.table, place.tracked(part.after))
    first, second = batches(found)
    assert first.after.to_pylist() == [{"id": 1, "v": "ä"}]
    assert second.after.to_pylist() == [{"n": 4294967295, "id": 2, "v": "ö"}]


def test_case_087_ddl_of_other_tables_never_stops_the_stream(place: Place) -> None:
    place.run(TABLE, "CREATE TABLE other (id INT)")
    (tracked,) = [t for t in place.begin()[0] if t.schema.id.name == "t"]
    position = place.source.end()
    place.run(
        "CREATE USER IF NOT EXISTS 'somebody'@'localhost'",
        "GRANT SELECT ON *.* TO 'somebody'@'localhost'",
        "DROP USER 'somebody'@'localhost'",
        "ALTER TABLE other ADD COLUMN x FLOAT8 DEFAULT -1, ADD y NUMERIC(5,2) DEFAULT 0.5",
        "CREATE TEMPORARY TABLE tmp (id INT)",
        "CREATE VIEW w AS SELECT * FROM t",
        "/* a comment */ CREATE INDEX i ON other (x)",
        "ANALYZE TABLE t",
        "INSERT INTO t VALUES (1, 'a')",
    )
    sets = place.sets([tracked], position)
    assert held(sets) == [(1, "a")]
    assert not [p for s in sets for p in s.parts if isinstance(p, SchemaChange)]


def test_case_088_truncate_drop_and_rename(place: Place) -> None:
    place.run(TABLE, "CREATE TABLE u (id INT PRIMARY KEY)")
    tracked, position = place.begin()
    place.run("INSERT INTO t VALUES (1, 'a')", "TRUNCATE TABLE t", "INSERT INTO t VALUES (2, 'b')")
    place.run("RENAME TABLE t TO s, u TO t", "DROP TABLE s, t")
    found: list[Any] = []
    with place.source.changes(tracked, position) as reader:
        for one in place.until(reader, place.source.end()):
            found += one.parts
            for part in one.parts:
                if isinstance(part, SchemaChange) and part.after is not None:
                    reader.adopt(part.table, None)
                    reader.adopt(part.after.id, place.tracked(part.after))
    kinds = [type(part).__name__ for part in found]
    assert kinds.index("Truncate") > 0
    truncate = next(p for p in found if isinstance(p, Truncate))
    seqs = [n for p in found if hasattr(p, "op") for n in p.seq.tolist()]
    assert seqs[0] < truncate.seq < seqs[1]
    moves = [p for p in found if isinstance(p, SchemaChange)]
    assert [(m.table.name, m.after.id.name if m.after else None) for m in moves] == [
        ("t", "s"),
        ("u", "t"),
        ("s", None),
        ("t", None),
    ]


def test_case_086_a_cut_over_by_rename_goes_on_with_the_new_columns(place: Place) -> None:
    place.run(TABLE)
    tracked, position = place.begin()
    place.run(
        "CREATE TABLE _t_new (id INT PRIMARY KEY, v VARCHAR(50), w INT)",
        "INSERT INTO _t_new VALUES (1, 'copied', 1)",
        "RENAME TABLE t TO _t_old, _t_new TO t",
        "INSERT INTO t VALUES (2, 'new', 2)",
    )
    with place.source.changes(tracked, position) as reader:
        found: list[Any] = []
        for one in place.until(reader, place.source.end()):
            found += one.parts
            for part in one.parts:
                if isinstance(part, SchemaChange) and part.before is not None:
                    assert part.after is not None
                    reader.adopt(part.table, place.tracked(part.after))
    change = next(p for p in found if isinstance(p, SchemaChange) and p.before is not None)
    assert change.after is not None
    assert change.after.id == change.before.id  # type: ignore[union-attr]
    assert [c.name for c in change.after.columns] == ["id", "v", "w"]
    rows = [part for part in found if isinstance(part, RowChanges)]
    assert rows[-1].after.to_pylist() == [{"id": 2, "v": "new", "w": 2}]


def test_case_029_a_table_with_a_later_view_skips_what_is_in_it(place: Place) -> None:
    place.run(TABLE, "CREATE TABLE u (id INT PRIMARY KEY)")
    tracked, position = place.begin()
    place.run("INSERT INTO t VALUES (1, 'a')", "INSERT INTO u VALUES (1)")
    with place.source.snapshot_at_position(Scope(place.database, ("u",)), 1, resume=True) as view:
        later = place.tracked(view.catalog.tables[0], since=view.position)
    place.run("INSERT INTO t VALUES (2, 'b')", "INSERT INTO u VALUES (2)")
    both = [t for t in tracked if t.schema.id.name == "t"] + [later]
    sets = place.sets(both, position)
    assert held(sets) == rows(place)
    assert held(sets, "u") == [(2,)]


def test_case_094_rotation_and_restart_of_the_reader_in_each_file(place: Place) -> None:
    place.run(TABLE)
    tracked, position = place.begin()
    for number in range(3):
        place.run(f"INSERT INTO t VALUES ({number}, 'x')", "FLUSH BINARY LOGS")
    sets = place.sets(tracked, position)
    assert held(sets) == rows(place)
    middle = next(one.position for one in sets if one.position is not None)
    assert place.source.at_or_after(place.source.end(), middle)


def test_case_096_a_statement_on_a_followed_table_is_refused(place: Place) -> None:
    place.run(TABLE)
    tracked, position = place.begin()
    place.run(
        "INSERT INTO t VALUES (1, 'secret')", session=["SET SESSION binlog_format = 'STATEMENT'"]
    )
    with pytest.raises(LogLost, match="binlog_format") as caught:
        place.sets(tracked, position)
    assert "secret" not in str(caught.value)


def test_case_082_partial_json_is_refused_in_the_stream(mysql9: Server, database: Any) -> None:
    place = Place(mysql9, database(mysql9))
    place.run("CREATE TABLE t (id INT PRIMARY KEY, j JSON)")
    place.run("INSERT INTO t VALUES (1, JSON_OBJECT('a', REPEAT('x', 1000), 'b', 1))")
    tracked, position = place.begin()
    place.run(
        "UPDATE t SET j = JSON_SET(j, '$.b', 2)",
        session=["SET SESSION binlog_row_value_options = 'PARTIAL_JSON'"],
    )
    with pytest.raises(LogLost, match="PARTIAL_JSON"):
        place.sets(tracked, position)


def test_case_103_a_key_that_only_changes_its_case_is_a_key_change(place: Place) -> None:
    place.run("CREATE TABLE t (id VARCHAR(9) PRIMARY KEY, v INT)", "INSERT INTO t VALUES ('a', 1)")
    tracked, position = place.begin()
    place.run("UPDATE t SET id = 'A'")
    (batch,) = batches(place.sets(tracked, position))
    assert batch.before is not None
    assert batch.before.to_pylist() == [{"id": "a"}]


def test_case_102_rows_without_a_key_have_all_their_old_values(place: Place) -> None:
    place.run("CREATE TABLE t (a INT, b VARCHAR(9))")
    tracked, position = place.begin()
    place.run(
        "INSERT INTO t VALUES (1, NULL), (1, NULL), (2, 'x')", "DELETE FROM t WHERE a = 1 LIMIT 1"
    )
    assert tracked[0].identity == ("a", "b")
    sets = place.sets(tracked, position)
    found = applied(sets)["t"]
    assert sorted(map(str, found)) == ["{'a': 1, 'b': None}", "{'a': 2, 'b': 'x'}"]


def test_case_024_a_server_id_that_is_taken_is_refused(place: Place) -> None:
    place.run(TABLE)
    own = place.ask("SELECT @@server_id")[0][0]
    other = Place(place.server, place.database, server_id=own)
    tracked, position = place.begin()
    with pytest.raises(ConfigError, match="server id"):
        other.sets(tracked, position)


def test_case_027_another_server_is_refused(place: Place) -> None:
    place.run(TABLE)
    tracked, position = place.begin()
    stranger = {**position, "server": "11111111-1111-1111-1111-111111111111", "gtid": None}
    with pytest.raises(LogLost):
        place.sets(tracked, stranger)
    ahead = (
        "7-7-7" if place.server.kind == "mariadb" else "11111111-1111-1111-1111-111111111111:1-5"
    )
    with pytest.raises(LogLost):
        place.sets(tracked, {**stranger, "gtid": ahead})


def test_case_093_goes_on_by_gtid_where_file_and_place_say_nothing(place: Place) -> None:
    place.run(TABLE)
    tracked, position = place.begin()
    place.run("INSERT INTO t VALUES (1, 'a')", "INSERT INTO t VALUES (2, 'b')")
    moved = {**position, "server": "other", "file": None}
    sets = place.sets(tracked, moved)
    assert held(sets) == rows(place)
    assert sets[-1].position is not None
    assert sets[-1].position["server"] == place.source.end()["server"]


def test_case_092_purged_and_reset_logs_are_named(mysql_server: Server) -> None:
    with running(mysql_server.flavour_name) as server:
        place = Place(server, server.create_database())
        place.run(TABLE)
        tracked, position = place.begin()
        place.run(
            "INSERT INTO t VALUES (0, 'a')", "FLUSH BINARY LOGS", "INSERT INTO t VALUES (1, 'a')"
        )
        last = place.source.end()
        while position["file"] in [row[0] for row in place.ask("SHOW BINARY LOGS")]:
            # MariaDB keeps a file until a checkpoint says that recovery does not need it.
            place.run("INSERT INTO t SELECT MAX(id) + 1, 'b' FROM t")
            place.run(f"PURGE BINARY LOGS TO '{last['file']}'")
        with pytest.raises(LogLost, match="purged"):
            place.sets(tracked, position)
        with pytest.raises(LogLost, match="purged"):
            place.sets(tracked, {**position, "server": "other", "file": None})
        reset = "RESET MASTER" if server.kind == "mariadb" else "RESET BINARY LOGS AND GTIDS"
        place.run(reset)
        with pytest.raises(LogLost, match="reset"):
            place.sets(tracked, last)


def test_case_095_a_server_that_stops_is_a_failure_to_try_again(mysql_server: Server) -> None:
    with running(mysql_server.flavour_name) as server:
        place = Place(server, server.create_database())
        place.run(TABLE)
        tracked, position = place.begin()
        with place.source.changes(tracked, position) as reader:
            reader.poll(0.1)
            server.process.terminate()
            with pytest.raises(ConnectionFailed) as caught:
                for _ in range(100):
                    reader.poll(1)
            assert caught.value.retryable


def test_readiness_names_what_is_missing(place: Place, mysql_server: Server) -> None:
    place.run(TABLE, "CREATE TABLE m (id INT) ENGINE = MyISAM")
    found = {finding.code: finding for finding in place.source.readiness(Scope(place.database))}
    assert "not-transactional" in found
    assert not [f for f in found.values() if f.severity is Severity.ERROR]
    place.run("SET GLOBAL binlog_row_image = 'MINIMAL'")
    try:
        found = {f.code: f for f in place.source.readiness(Scope(place.database))}
    finally:
        place.run("SET GLOBAL binlog_row_image = 'FULL'")
    assert found["binlog-row-image"].remedy


def test_handover_without_the_global_lock_is_refused(place: Place) -> None:
    place.run(TABLE, "DROP USER IF EXISTS 'plain'@'127.0.0.1'")
    place.run("CREATE USER 'plain'@'127.0.0.1' IDENTIFIED BY 'p'")
    place.run(f"GRANT SELECT ON {place.database}.* TO 'plain'@'127.0.0.1'")
    weak = Place(place.server, place.database)
    connect = type(place.connect)(
        place.server.kind, place.server.host, place.server.port, "plain", "p", place.database
    )
    weak.source = type(place.source)(connect, place.source._options)
    try:
        with (
            pytest.raises(StreamsError) as caught,
            weak.source.snapshot_at_position(Scope(place.database), 2, resume=False),
        ):
            pass
        assert isinstance(caught.value, PermissionDenied)
        assert "GRANT" in str(caught.value)
        codes = {f.code for f in weak.source.readiness(Scope(place.database))}
        assert "missing-right" in codes
    finally:
        place.run("DROP USER 'plain'@'127.0.0.1'")


def test_a_change_of_structure_past_the_log_is_refused(place: Place) -> None:
    place.run(TABLE)
    tracked, position = place.begin()
    place.run("ALTER TABLE t DROP COLUMN v", session=["SET SESSION sql_log_bin = 0"])
    place.run("INSERT INTO t VALUES (1)")
    with pytest.raises(SchemaChangeRefused):
        place.sets(tracked, position)


def test_starts_where_the_options_say(place: Place) -> None:
    place.run(TABLE)
    tracked, position = place.begin()
    place.run("INSERT INTO t VALUES (1, 'a')")
    table = TableId(place.database, "t")
    for text in (f"{position['file']}:{position['pos']}", str(position["gtid"])):
        other = Place(place.server, place.database, position=text)
        assert held(other.sets(tracked, other.source.start([table]))) == [(1, "a")]
    assert place.source.at_or_after(place.source.start([table]), position)


def test_an_idle_log_gives_nothing_and_lag_is_zero_at_its_end(place: Place) -> None:
    place.run(TABLE)
    tracked, _ = place.begin()
    end = place.source.end()
    with place.source.changes(tracked, end) as reader:
        found = reader.poll(0.2)
        assert found is None or not found.parts
    assert place.source.lag(end).bytes == 0
    place.run("INSERT INTO t VALUES (1, 'a')")
    assert place.source.lag(end).bytes > 0


def test_a_closed_reader_is_noticed_at_the_first_heartbeat(place: Place) -> None:
    """The server's next write fails; after an orderly end it would be the one after that."""
    with relayed(place.server) as relay, ExitStack() as opened:
        dump = BinlogDump(
            replace(place.connect, port=relay.port), place.source.end(), None, by_gtid=False
        )
        opened.callback(dump.close)
        assert dump.receive(10), "the server sent nothing"
        while dump.receive(0.2):  # what is not read would reset it anyhow
            dump.packets.drop(dump.packets.fill)
        opened.close()
        assert relay.reset.wait(10)


def test_case_030_a_reader_that_nobody_polls_goes_on(place: Place) -> None:
    place.run("CREATE TABLE t (id INT PRIMARY KEY, v LONGTEXT)")
    tracked, position = place.begin()
    with place.source.changes(tracked, position) as reader:
        for number in range(40):
            place.run(f"INSERT INTO t VALUES ({number}, REPEAT('x', 1000000))")
        sets = list(place.until(reader, place.source.end()))
    assert sum(one.rows for one in sets) == 40
    assert max(one.bytes for one in sets) < 40_000_000
    assert pa.total_allocated_bytes() >= 0


def test_case_093_tagged_gtids_are_followed_and_resumed(
    mysql_server: Server, database: Any
) -> None:
    if mysql_server.kind == "mariadb":
        pytest.skip("MariaDB has no tagged GTIDs")
    place = Place(mysql_server, database(mysql_server))
    place.run(TABLE)
    tracked, position = place.begin()
    automatic = "SET SESSION gtid_next = 'AUTOMATIC:some_tag'"
    place.run("INSERT INTO t VALUES (1, 'a')", "INSERT INTO t VALUES (2, 'b')", session=[automatic])
    sets = place.sets(tracked, position)
    assert sets[-1].position is not None
    assert ":some_tag:" in str(sets[-1].position["gtid"])
    assert place.source.at_or_after(sets[-1].position, place.source.end())
    place.run("INSERT INTO t VALUES (3, 'c')", session=[automatic])
    by_gtid = {**sets[-1].position, "server": "other", "file": None}
    sets += place.sets(tracked, by_gtid)
    assert held(sets) == rows(place)


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "compressed"])
def test_a_table_that_is_created_from_a_query_comes_with_its_rows(
    place: Place, compressed: bool
) -> None:
    if compressed and place.server.kind == "mariadb":
        pytest.skip("MariaDB compresses statements, not transactions")
    place.run(TABLE)
    tracked, position = place.begin()
    place.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    place.run(
        "CREATE TABLE u (id INT PRIMARY KEY) SELECT id FROM t",
        "INSERT INTO u VALUES (3)",
        session=["SET SESSION binlog_transaction_compression = ON"] if compressed else [],
    )
    sets, changes = [], []
    with place.source.changes(tracked, position) as reader:
        for one in place.until(reader, place.source.end()):
            sets.append(one)
            for part in one.parts:
                if isinstance(part, SchemaChange) and part.before is None:
                    assert part.after is not None
                    changes.append(part.after.id.name)
                    reader.adopt(part.after.id, place.tracked(part.after))
    assert changes == ["u"]
    assert held(sets, "u") == rows(place, "u") == [(1,), (2,), (3,)]
