"""PostgreSQL's log, read from real servers; names are those of the hard cases."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from streams_engine.adapters.postgres.replication import slot_stream
from streams_engine.adapters.postgres.replication.ddl_events import REMOVAL, TRIGGERS
from streams_engine.adapters.postgres.replication.source import PostgresChangeSource
from streams_engine.contracts import Scope
from streams_engine.errors import (
    ConnectionFailed,
    LockTimeout,
    LogLost,
    SchemaChangeRefused,
    TargetConflict,
)
from streams_engine.model import RowChanges, SchemaChange, Truncate
from streams_engine.testing.servers import Server, running
from tests.support.polling import until
from tests.support.postgres_log import Followed, Reading, rows_of


@pytest.fixture
def followed(pg_server: Server, database: Any) -> Iterator[Followed]:
    found = Followed(pg_server, database(pg_server))
    yield found
    found.close()


def test_insert_update_delete(followed: Followed) -> None:
    followed.run("CREATE TABLE t (id int PRIMARY KEY, name text)")
    after = followed.start("t")
    followed.run(
        "INSERT INTO t VALUES (1, 'one'), (2, NULL)",
        "UPDATE t SET name = 'uno' WHERE id = 1",
        "DELETE FROM t WHERE id = 2",
    )
    with followed.reading(followed.tracked("t"), after) as reading:
        assert reading.rows("t") == [
            ("INSERT", None, {"id": "1", "name": "one"}),
            ("INSERT", None, {"id": "2", "name": None}),
            ("UPDATE", {"id": "1"}, {"id": "1", "name": "uno"}),
            ("DELETE", {"id": "2"}, None),
        ]


def test_resumes_at_any_commit(followed: Followed) -> None:
    followed.run("CREATE TABLE t (id int PRIMARY KEY)")
    after = followed.start("t")
    for number in range(5):
        followed.run(f"INSERT INTO t VALUES ({number})")
    with followed.reading(followed.tracked("t"), after) as reading:
        first = reading.reader.poll(10, rows=1)
        assert first.rows == 1 and first.transactions == 1
    with followed.reading(followed.tracked("t"), first.position) as reading:
        second = reading.reader.poll(10, rows=1)
        assert [r[2] for r in _rows(second)] == [{"id": "1"}]
        reading.reader.acknowledge(second.position)
    with followed.reading(followed.tracked("t"), second.position) as reading:
        assert [r[2]["id"] for r in reading.rows("t")] == ["2", "3", "4"]


def _rows(found: Any) -> Any:
    return rows_of([found], "t")


def test_A9_insert_between_slot_and_read_comes_once(followed: Followed) -> None:
    followed.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    open_one = followed.server.connect(followed.database)
    with followed.source.snapshot_at_position(Scope("public", ("t",)), 2, resume=False) as view:
        open_one.execute("INSERT INTO t VALUES (2)")
        table = view.catalog.tables[0]
        tracked = followed.tracked("t")
        (chunk,) = view.chunks(table, 1000)
        loaded = pa.Table.from_batches(view.read(tracked[0].extract, chunk))
        after = view.position
    open_one.close()
    assert loaded.column("id").to_pylist() == ["1"]
    with followed.reading(tracked, after) as reading:
        assert reading.rows("t") == [("INSERT", None, {"id": "2"})]


def test_a_table_that_joins_has_a_view_of_its_own(followed: Followed) -> None:
    followed.run("CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE u (id int PRIMARY KEY)")
    with followed.source.snapshot_at_position(Scope("public", ("t",)), 1, resume=False) as view:
        after = view.position
    followed.run("INSERT INTO t VALUES (1)", "INSERT INTO u VALUES (1)")
    with followed.source.snapshot_at_position(Scope("public", ("t", "u")), 1, resume=True) as view:
        since = view.position
    followed.run("INSERT INTO u VALUES (2)", "INSERT INTO t VALUES (2)")
    tracked = [*followed.tracked("t"), *followed.tracked("u", since=since)]
    with followed.reading(tracked, after) as reading:
        assert [row[2] for row in reading.rows("t")] == [{"id": "1"}, {"id": "2"}]
        assert [row[2] for row in reading.rows("u")] == [{"id": "2"}]


# A: order and resume


def test_A1_commit_order_is_not_begin_order(followed: Followed) -> None:
    followed.run("CREATE TABLE t (id int PRIMARY KEY)")
    after = followed.start("t")
    first, second = (followed.server.connect(followed.database) for _ in range(2))
    first.autocommit = second.autocommit = False
    first.execute("INSERT INTO t VALUES (1)")
    second.execute("INSERT INTO t VALUES (2)")
    second.commit()
    with followed.reading(followed.tracked("t"), after) as reading:
        (earlier,) = reading.rows("t")
        assert earlier[2] == {"id": "2"}
        position = reading.sets[-1].position
        reading.reader.acknowledge(position)
    first.commit()
    first.close()
    second.close()
    with followed.reading(followed.tracked("t"), position) as reading:
        assert reading.rows("t") == [("INSERT", None, {"id": "1"})]


def test_A2_several_changes_share_one_lsn(followed: Followed) -> None:
    followed.run("CREATE TABLE t (id int PRIMARY KEY)")
    after = followed.start("t")
    with followed.sql.cursor() as cursor, cursor.copy("COPY t FROM STDIN") as copy:
        for number in range(1000):
            copy.write_row([number])
    with followed.reading(followed.tracked("t"), after) as reading:
        found = reading.reader.poll(10, rows=10)
        assert found.rows == 1000 and found.transactions == 1
        assert found.position is not None
    with followed.reading(followed.tracked("t"), after) as reading:
        assert len(reading.rows("t")) == 1000


def test_A3_neighbouring_transactions_are_all_read(followed: Followed) -> None:
    """A begin, its first change and the commit before it may have one LSN."""
    followed.run("CREATE TABLE t (id int PRIMARY KEY)")
    position = followed.start("t")
    followed.run(*(f"INSERT INTO t VALUES ({number})" for number in range(20)))
    found = []
    for _ in range(20):
        with followed.reading(followed.tracked("t"), position) as reading:
            one = reading.reader.poll(10, rows=1)
            found += [row[2]["id"] for row in _rows(one)]
            position = one.position
            reading.reader.acknowledge(position)
    assert found == [str(number) for number in range(20)]


def test_A24_a_second_reader_is_refused(followed: Followed) -> None:
    followed.run("CREATE TABLE t (id int PRIMARY KEY)")
    after = followed.start("t")
    with followed.reading(followed.tracked("t"), after) as reading:
        with (
            pytest.raises(LockTimeout, match="another process"),
            followed.reading(followed.tracked("t"), after),
        ):
            pass
        followed.run("INSERT INTO t VALUES (1)")
        assert len(reading.rows("t")) == 1


def test_A27_a_slot_made_anew_is_refused(followed: Followed) -> None:
    followed.run("CREATE TABLE t (id int PRIMARY KEY)")
    after = followed.start("t")
    followed.source._slots.drop_slot()
    with (
        pytest.raises(LogLost, match="does not exist any more"),
        followed.reading(followed.tracked("t"), after),
    ):
        pass
    followed.run("INSERT INTO t VALUES (1)")
    followed.start("t")
    with (
        pytest.raises(LogLost, match="created again"),
        followed.reading(followed.tracked("t"), after),
    ):
        pass


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"system": "1"}, "another server"),
        ({"timeline": 99}, "backup"),
        ({"lsn": "FFF/0"}, "backup"),
    ],
)
def test_A28_another_server_is_refused(followed: Followed, change: Any, why: str) -> None:
    followed.run("CREATE TABLE t (id int PRIMARY KEY)")
    after = {**followed.start("t"), **change}
    with pytest.raises(LogLost, match=why), followed.reading(followed.tracked("t"), after):
        pass


# B: PostgreSQL's own


LONG = "(SELECT string_agg(md5(g::text), '') FROM generate_series(1, 500) g)"


def test_B36_unchanged_toast_is_missing(followed: Followed) -> None:
    """B39 as well: of several types."""
    followed.run(
        "CREATE TABLE t (id int PRIMARY KEY, n int, a text, b jsonb, c bytea, d text[])",
        f"INSERT INTO t SELECT 1, 0, v, to_jsonb(v), v::bytea, ARRAY[v, v] FROM {LONG} x(v)",
    )
    after = followed.start("t")
    followed.run("UPDATE t SET n = 1", "UPDATE t SET n = NULL, a = NULL")
    with followed.reading(followed.tracked("t"), after) as reading:
        assert [row[2] for row in reading.rows("t")] == [
            {"id": "1", "n": "1"},
            {"id": "1", "n": None, "a": None},
        ]


def test_B37_unchanged_toast_comes_from_a_full_old_row(followed: Followed) -> None:
    followed.run(
        "CREATE TABLE t (id int PRIMARY KEY, n int, a text)",
        "ALTER TABLE t REPLICA IDENTITY FULL",
        f"INSERT INTO t SELECT 1, 0, {LONG}",
    )
    after = followed.start("t")
    followed.run("UPDATE t SET n = 1", "DELETE FROM t")
    with followed.reading(followed.tracked("t"), after) as reading:
        update, delete = reading.rows("t")
    assert update[2]["n"] == "1" and len(update[2]["a"]) == 32 * 500
    assert delete == ("DELETE", {"id": "1"}, None)


def test_B38_unchanged_toast_under_a_new_key(followed: Followed) -> None:
    """B45: the old key is there."""
    followed.run("CREATE TABLE t (id int PRIMARY KEY, a text)", f"INSERT INTO t SELECT 1, {LONG}")
    after = followed.start("t")
    followed.run("UPDATE t SET id = 2")
    with followed.reading(followed.tracked("t"), after) as reading:
        assert reading.rows("t") == [("UPDATE", {"id": "1"}, {"id": "2"})]


def test_B40_a_publication_younger_than_its_slot_is_refused(followed: Followed) -> None:
    followed.run("CREATE TABLE t (id int PRIMARY KEY)")
    slot = followed.source._slots.slot
    followed.run(f"SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')")
    with pytest.raises(TargetConflict, match="older than its publication"):
        followed.start("t")


def test_B41_the_slot_moves_while_the_tables_are_idle(followed: Followed) -> None:
    followed.run("CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE other (id int)")
    after = followed.start("t")
    with followed.reading(followed.tracked("t"), after) as reading:
        followed.run("INSERT INTO other SELECT generate_series(1, 10000)")
        sets = reading.caught_up()
        assert not any(s.parts for s in sets)
        reading.reader.acknowledge(sets[-1].position)
        wanted = sets[-1].position["lsn"]
        _until(followed, f"SELECT confirmed_flush_lsn >= '{wanted}' FROM pg_replication_slots")
    assert followed.source.lag(sets[-1].position).retained is not None


def test_commits_that_follow_each_other_closely_are_reported_together(
    followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not with a message each; and the last of them too, soon."""
    followed.run("CREATE TABLE t (id int PRIMARY KEY)")
    after = followed.start("t")
    sent: list[bytes] = []
    with followed.reading(followed.tracked("t"), after) as reading:
        stream = reading.reader._stream
        send = stream._copy.send
        monkeypatch.setattr(stream._copy, "send", lambda m: (sent.append(m), send(m)))
        begun = time.monotonic()
        for number in range(100):
            followed.run(f"INSERT INTO t VALUES ({number})")
            last = reading.reader.poll(10)
            reading.reader.acknowledge(last.position)
        wanted = last.position["lsn"]
        _until(followed, f"SELECT confirmed_flush_lsn >= '{wanted}' FROM pg_replication_slots")
        seconds = time.monotonic() - begun
        asked = 0.1 * 100  # keepalives that want an answer
    assert len(sent) <= seconds / slot_stream.ACKNOWLEDGE_SECONDS + asked + 2


def test_B44_replica_identity_by_index(followed: Followed) -> None:
    followed.run(
        "CREATE TABLE t (id int PRIMARY KEY, a int NOT NULL, b text NOT NULL)",
        "CREATE UNIQUE INDEX i ON t (b, a)",
        "ALTER TABLE t REPLICA IDENTITY USING INDEX i",
        "INSERT INTO t VALUES (1, 2, 'x')",
    )
    after = followed.start("t")
    followed.run("UPDATE t SET id = 5", "UPDATE t SET a = 3", "DELETE FROM t")
    with followed.reading(followed.tracked("t"), after) as reading:
        assert reading.rows("t") == [
            ("UPDATE", {"b": "x", "a": "2"}, {"id": "5", "a": "2", "b": "x"}),
            ("UPDATE", {"b": "x", "a": "2"}, {"id": "5", "a": "3", "b": "x"}),
            ("DELETE", {"b": "x", "a": "3"}, None),
        ]


def test_B44_full_without_a_key_has_the_whole_old_row(followed: Followed) -> None:
    followed.run(
        "CREATE TABLE t (a int, b text)",
        "ALTER TABLE t REPLICA IDENTITY FULL",
        "INSERT INTO t VALUES (1, NULL), (1, NULL)",
    )
    after = followed.start("t")
    followed.run("UPDATE t SET b = 'x' WHERE ctid = '(0,1)'", "DELETE FROM t")
    with followed.reading(followed.tracked("t"), after) as reading:
        update, *deletes = reading.rows("t")
    assert update == ("UPDATE", {"a": "1", "b": None}, {"a": "1", "b": "x"})
    assert sorted(str(row[1]["b"]) for row in deletes) == ["None", "x"]


@pytest.mark.parametrize(
    ("identity", "remedy"),
    [
        ("SELECT", "REPLICA IDENTITY FULL;"),
        ("ALTER TABLE t ADD PRIMARY KEY (a); ALTER TABLE t REPLICA IDENTITY NOTHING", "DEFAULT;"),
        ("CREATE UNIQUE INDEX i ON t (b)", "USING INDEX"),
    ],
)
def test_B44_a_table_without_a_usable_identity_is_refused(
    followed: Followed, identity: str, remedy: str
) -> None:
    followed.run("CREATE TABLE t (a int, b text NOT NULL)", identity)
    findings = followed.source.readiness(Scope("public", ("t",)))
    (found,) = [f for f in findings if f.code == "replica-identity"]
    assert found.severity == "error" and remedy in str(found.remedy)
    followed.run(str(found.remedy))
    findings = followed.source.readiness(Scope("public", ("t",)))
    assert not [f for f in findings if f.severity == "error"]


def test_a_key_that_the_log_lacks_is_refused(followed: Followed) -> None:
    """PostgreSQL 18 logs generated columns of keys; a part of a key can be computed of the rest."""
    key = "k int GENERATED ALWAYS AS (a * 2) STORED, PRIMARY KEY"
    followed.run(f"CREATE TABLE t (a int, {key} (k))", f"CREATE TABLE u (a int, {key} (a, k))")
    findings = followed.source.readiness(Scope("public", ("t", "u")))
    found = [f for f in findings if f.severity == "error"]
    if followed.server.flavour_name == "pg18":
        assert not found
        return
    assert [(f.code, f.object) for f in found] == [("replica-identity-generated", "public.t")]
    followed.run(str(found[0].remedy))
    findings = followed.source.readiness(Scope("public", ("t", "u")))
    assert not [f for f in findings if f.severity == "error"]


def test_B46_truncates_in_order(followed: Followed) -> None:
    followed.run(
        "CREATE TABLE t (id serial PRIMARY KEY)",
        "CREATE TABLE u (id int PRIMARY KEY, t int REFERENCES t)",
        "INSERT INTO t DEFAULT VALUES",
    )
    after = followed.start("t", "u")
    followed.run(
        "BEGIN",
        "INSERT INTO t VALUES (8)",
        "TRUNCATE t RESTART IDENTITY CASCADE",
        "INSERT INTO t VALUES (9)",
        "COMMIT",
        "TRUNCATE u",
    )
    with followed.reading(followed.tracked("t", "u"), after) as reading:
        parts = [part for s in reading.caught_up() for part in s.parts]
    batch = next(p for p in parts if isinstance(p, RowChanges))
    first, second = (p for p in parts if isinstance(p, Truncate))
    assert {table.name for table in first.tables} == {"t", "u"} and first.restart_identity
    assert [table.name for table in second.tables] == ["u"] and not second.restart_identity
    assert batch.seq[0] < first.seq < batch.seq[1] < second.seq


def test_B47_savepoints(followed: Followed) -> None:
    followed.run("CREATE TABLE t (id int PRIMARY KEY)")
    after = followed.start("t")
    followed.run(
        "BEGIN",
        "INSERT INTO t VALUES (1)",
        "SAVEPOINT a",
        "INSERT INTO t VALUES (2)",
        "ROLLBACK TO a",
        "INSERT INTO t VALUES (3)",
        "COMMIT",
    )
    with followed.reading(followed.tracked("t"), after) as reading:
        assert [row[2] for row in reading.rows("t")] == [{"id": "1"}, {"id": "3"}]


@pytest.fixture
def streaming(pg_server: Server, database: Any) -> Iterator[Followed]:
    """Transactions of more than 64 kB are streamed before their commit."""
    name = database(pg_server)
    with pg_server.connect() as connection:
        connection.execute(f"ALTER DATABASE {name} SET logical_decoding_work_mem = '64kB'")
    found = Followed(pg_server, name)
    yield found
    found.close()


def test_B47_savepoints_of_a_streamed_transaction(streaming: Followed) -> None:
    many = "SELECT g, repeat('x', 50) FROM generate_series({}, {}) g"
    streaming.run("CREATE TABLE t (id int PRIMARY KEY, a text)")
    after = streaming.start("t")
    other = streaming.server.connect(streaming.database)
    streaming.run("BEGIN", "SAVEPOINT z", "INSERT INTO t " + many.format(-10, -1))
    streaming.run("ROLLBACK TO z", "INSERT INTO t " + many.format(1, 2000))
    streaming.run("SAVEPOINT a", "INSERT INTO t " + many.format(3001, 5000))
    other.execute("INSERT INTO t VALUES (0, 'other')")
    streaming.run("SAVEPOINT b", "INSERT INTO t " + many.format(5001, 7000), "RELEASE b")
    streaming.run("ROLLBACK TO a", "INSERT INTO t " + many.format(2001, 3000), "COMMIT")
    other.close()
    with streaming.reading(streaming.tracked("t"), after) as reading:
        found = [int(row[2]["id"]) for row in reading.rows("t")]
    assert found == list(range(3001))
    shown = streaming.sql.execute(
        "SELECT stream_txns FROM pg_stat_replication_slots WHERE slot_name = %s",
        (streaming.source._slots.slot,),
    ).fetchone()
    assert shown is not None


def test_B48_a_streamed_transaction_that_is_rolled_back(streaming: Followed) -> None:
    streaming.run("CREATE TABLE t (id int PRIMARY KEY, a text)")
    after = streaming.start("t")
    with streaming.reading(streaming.tracked("t"), after) as reading:
        many = "INSERT INTO t SELECT g, repeat('x', 50) FROM generate_series(1, 20000) g"
        streaming.run("BEGIN", many)
        spools = reading.reader._pending._streamed._spools
        other = streaming.server.connect(streaming.database)
        other.execute("INSERT INTO t VALUES (0)")
        other.close()
        reading.until(lambda sets: bool(sets) and bool(spools))
        streaming.run("ROLLBACK", "INSERT INTO t VALUES (-1)")
        assert [row[2]["id"] for row in reading.rows("t")] == ["0", "-1"]
        assert not spools


def test_B48_a_large_transaction_comes_in_parts(streaming: Followed) -> None:
    """A7: given up in its middle, it comes whole the next time."""
    streaming.run("CREATE TABLE t (id int PRIMARY KEY, a text)")
    after = streaming.start("t")
    streaming.run("INSERT INTO t SELECT g, repeat('x', 50) FROM generate_series(1, 120000) g")
    with streaming.reading(streaming.tracked("t"), after) as reading:
        sets = iter(lambda: reading.reader.poll(30), None)
        first = next(one for one in sets if one.parts)  # a position may come before
        assert first.position is None and first.rows <= 50_000
    with streaming.reading(streaming.tracked("t"), after) as reading:
        sets = reading.caught_up()
        parts = [s for s in sets if s.parts]
        assert [s.position is None for s in parts] == [True] * (len(parts) - 1) + [False]
        assert [s.transactions for s in parts] == [0] * (len(parts) - 1) + [1]
        assert len(reading.rows("t")) == 120_000


def test_B49_a_two_phase_slot_is_refused(followed: Followed) -> None:
    followed.run("CREATE TABLE t (id int PRIMARY KEY)")
    slot = followed.source._slots.slot
    followed.run(
        f"SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput', false, true)",
    )
    with pytest.raises(TargetConflict, match="two_phase"):
        followed.start("t")


def test_B50_partitions_are_their_table(followed: Followed) -> None:
    followed.run(
        "CREATE TABLE t (id int, k int, a text, PRIMARY KEY (id, k)) PARTITION BY LIST (k)",
        "CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1)",
        "CREATE TABLE t2 (a text, k int NOT NULL, gone int, id int NOT NULL)",
        "ALTER TABLE t2 DROP COLUMN gone",
        "ALTER TABLE t ATTACH PARTITION t2 FOR VALUES IN (2)",
    )
    after = followed.start("t")
    followed.run("INSERT INTO t VALUES (1, 1, 'x'), (2, 2, 'y')", "UPDATE t SET k = 2 WHERE id = 1")
    followed.run("CREATE TABLE t3 PARTITION OF t FOR VALUES IN (3)", "INSERT INTO t VALUES (3, 3)")
    with followed.reading(followed.tracked("t"), after) as reading:
        assert reading.rows("t") == [
            ("INSERT", None, {"id": "1", "k": "1", "a": "x"}),
            ("INSERT", None, {"id": "2", "k": "2", "a": "y"}),
            ("DELETE", {"id": "1", "k": "1"}, None),
            ("INSERT", None, {"id": "1", "k": "2", "a": "x"}),
            ("INSERT", None, {"id": "3", "k": "3", "a": None}),
        ]


def test_B55_generated_columns_are_not_in_the_log(followed: Followed) -> None:
    followed.run(
        "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
        " a int, b int GENERATED ALWAYS AS (a * 2) STORED)"
    )
    after = followed.start("t")
    followed.run("INSERT INTO t (a) VALUES (4)")
    with followed.reading(followed.tracked("t"), after) as reading:
        assert reading.rows("t") == [("INSERT", None, {"id": "1", "a": "4"})]


ALIVE = """
SELECT coalesce(max(reply_time - backend_start) > {} * interval '1 second', false)
FROM pg_stat_replication
"""
"""Our walsender has had answers for so long."""


def _until(followed: Followed, query: str) -> None:
    """Ask until the answer is true."""
    until(lambda: followed.sql.execute(query).fetchone()[0])


# B51 to B53: tables that change


def _adopt(reading: Reading, change: SchemaChange) -> None:
    (tracked,) = reading.followed.tracked(change.table.name)
    assert change.after is not None
    reading.reader.adopt(change.table, replace(tracked, schema=change.after))


def _shape(table: Any) -> list[tuple[str, str]]:
    return [(column.name, column.type.text) for column in table.columns]


def test_B51_columns_come_and_go(followed: Followed) -> None:
    followed.run("CREATE TABLE t (id int PRIMARY KEY, a int)")
    after = followed.start("t")
    with followed.reading(followed.tracked("t"), after) as reading:
        followed.run("INSERT INTO t VALUES (1, 1)")
        followed.run(
            "BEGIN",
            "INSERT INTO t VALUES (2, 2)",
            "ALTER TABLE t ADD b text NOT NULL DEFAULT 'x'",
            "INSERT INTO t VALUES (3, 3, 'y')",
            "COMMIT",
        )
        change = reading.schema_change()
        assert _shape(change.before) == [("id", "integer"), ("a", "integer")]
        assert _shape(change.after) == [("id", "integer"), ("a", "integer"), ("b", "text")]
        assert not change.after.column("b").nullable
        assert len(rows_of(reading.sets, "t")) == 2
        assert reading.sets[-1].position is None
        _adopt(reading, change)
        assert reading.rows("t")[2:] == [("INSERT", None, {"id": "3", "a": "3", "b": "y"})]
        followed.run("ALTER TABLE t DROP a, DROP b", "INSERT INTO t VALUES (4)")
        change = reading.schema_change()
        assert _shape(change.after) == [("id", "integer")]
        position = reading.sets[-1].position
        assert position is not None
        (tracked,) = followed.tracked("t")
    with followed.reading([tracked], position) as reading:
        assert reading.rows("t") == [("INSERT", None, {"id": "4"})]


def test_B51_the_log_is_decoded_as_it_was(followed: Followed) -> None:
    """The catalog is two changes ahead of the log."""
    followed.run("CREATE TABLE t (id int PRIMARY KEY, a int, b text)")
    after = followed.start("t")
    tracked = followed.tracked("t")
    followed.run(
        "INSERT INTO t VALUES (1, 1, 'x')",
        "ALTER TABLE t DROP b",
        "INSERT INTO t VALUES (2, 2)",
        "ALTER TABLE t ADD c date, ALTER a DROP DEFAULT",
        "INSERT INTO t VALUES (3, 7, '2020-01-01')",
    )
    with followed.reading(tracked, after) as reading:
        first = reading.schema_change()
        assert _shape(first.after) == [("id", "integer"), ("a", "integer")]
        assert first.after.primary_key is not None
        columns = tracked[0].extract.columns[:2]
        extract = replace(tracked[0].extract, columns=columns)
        reading.reader.adopt(first.table, replace(tracked[0], schema=first.after, extract=extract))
        second = reading.schema_change()
        assert _shape(second.after) == [("id", "integer"), ("a", "integer"), ("c", "date")]
        _adopt(reading, second)
        assert [row[2] for row in reading.rows("t")] == [
            {"id": "1", "a": "1", "b": "x"},
            {"id": "2", "a": "2"},
            {"id": "3", "a": "7", "c": "2020-01-01"},
        ]


def test_B51_a_table_whose_rows_were_rewritten_is_told_at_once(followed: Followed) -> None:
    """Its log is not needed any more: the rows are read again."""
    followed.run("CREATE TABLE t (id int PRIMARY KEY, a int)")
    after = followed.start("t")
    tracked = followed.tracked("t")
    followed.run(
        "INSERT INTO t VALUES (1, 1)",
        "ALTER TABLE t ALTER a TYPE bigint USING a * 100",
    )
    with followed.reading(tracked, after) as reading:
        change = reading.schema_change()
        assert change.rewritten
        assert _shape(change.after) == [("id", "integer"), ("a", "bigint")]


def test_B51_a_rename_is_told_from_a_column_that_replaces_another(followed: Followed) -> None:
    followed.run("CREATE TABLE t (id int PRIMARY KEY, a int, b int)")
    after = followed.start("t")
    tracked = followed.tracked("t")
    followed.run("ALTER TABLE t RENAME a TO z", "INSERT INTO t VALUES (1, 2, 3)")
    with followed.reading(tracked, after) as reading:
        change = reading.schema_change()
        assert change.renamed == {"a": "z"}
        _adopt(reading, change)
        followed.run("ALTER TABLE t DROP z, ADD y int", "INSERT INTO t VALUES (2, 3, 4)")
        assert not reading.schema_change().renamed


def test_B51_an_ambiguous_rename_is_refused_where_columns_have_no_numbers(
    followed: Followed,
) -> None:
    """As those of a checkpoint that an older version wrote."""
    followed.run("CREATE TABLE t (id int PRIMARY KEY, a int, b int)")
    after = followed.start("t")
    (tracked,) = followed.tracked("t")
    unnumbered = tuple(replace(column, number=None) for column in tracked.schema.columns)
    tracked = replace(tracked, schema=replace(tracked.schema, columns=unnumbered))
    followed.run("ALTER TABLE t RENAME a TO z", "INSERT INTO t VALUES (1, 2, 3)")
    with (
        pytest.raises(SchemaChangeRefused, match="column a is gone and z"),
        followed.reading([tracked], after) as reading,
    ):
        reading.caught_up()


def test_B51_the_event_trigger_tells_renames_nullability_and_drops(followed: Followed) -> None:
    followed.run(TRIGGERS, "CREATE TABLE t (id int PRIMARY KEY, a int, b int)")
    after = followed.start("t")
    with followed.reading(followed.tracked("t"), after) as reading:
        followed.run("INSERT INTO t VALUES (1, 2, 3)", "ALTER TABLE t RENAME a TO z")
        followed.run("INSERT INTO t VALUES (2, 3, 4)", "ALTER TABLE t ALTER b SET NOT NULL")
        followed.run("CREATE TABLE other (a int)", "ALTER TABLE other ADD b int")
        change = reading.schema_change()
        assert change.renamed == {"a": "z"}
        assert [c.name for c in change.after.columns] == ["id", "z", "b"]
        _adopt(reading, replace(change, after=_nullable(change.after)))
        change = reading.schema_change()
        assert [c.nullable for c in change.after.columns] == [False, True, False]
        _adopt(reading, change)
        assert reading.rows("t")[-1][2] == {"id": "2", "z": "3", "b": "4"}
        followed.run("DROP TABLE t")
        assert reading.schema_change().after is None
    followed.run(REMOVAL)


def _nullable(table: Any) -> Any:
    """As the table was before its last change, which the catalog has already."""
    columns = tuple(replace(c, nullable=c.name != "id") for c in table.columns)
    return replace(table, columns=columns)


def test_B51_columns_that_changed_places_are_refused(followed: Followed) -> None:
    followed.run("CREATE TABLE t (id int PRIMARY KEY, a int, b int)")
    after = followed.start("t")
    tracked = followed.tracked("t")
    followed.run("ALTER TABLE t RENAME a TO x", "ALTER TABLE t RENAME b TO a")
    followed.run("ALTER TABLE t RENAME x TO b", "INSERT INTO t VALUES (1, 2, 3)")
    with (
        pytest.raises(SchemaChangeRefused, match="changed places"),
        followed.reading(tracked, after) as reading,
    ):
        reading.caught_up()


def test_B51_a_renamed_table(followed: Followed) -> None:
    followed.run("CREATE TABLE t (id int PRIMARY KEY)")
    after = followed.start("t")
    with followed.reading(followed.tracked("t"), after) as reading:
        followed.run("INSERT INTO t VALUES (1)", "ALTER TABLE t RENAME TO u")
        followed.run("INSERT INTO u VALUES (2)")
        change = reading.schema_change()
        assert (change.before.id.name, change.after.id.name) == ("t", "u")
        reading.reader.adopt(change.before.id, None)
        reading.reader.adopt(change.after.id, followed.tracked("u")[0])
        assert [row[2] for row in reading.rows("u")] == [{"id": "2"}]


def test_B51_a_table_renamed_while_nobody_read(followed: Followed) -> None:
    followed.run("CREATE TABLE t (id int PRIMARY KEY)")
    after, tracked = followed.start("t"), followed.tracked("t")
    followed.run("ALTER TABLE t RENAME TO u", "INSERT INTO u VALUES (2)")
    with followed.reading(tracked, after) as reading:
        change = reading.schema_change()
        assert (change.before.id.name, change.after.id.name) == ("t", "u")
        reading.reader.adopt(change.before.id, None)
        reading.reader.adopt(change.after.id, followed.tracked("u")[0])
        assert [row[2] for row in reading.rows("u")] == [{"id": "2"}]


def _swap(first: str, second: str) -> list[str]:
    return [
        f"ALTER TABLE {first} RENAME TO swapped",
        f"ALTER TABLE {second} RENAME TO {first}",
        f"ALTER TABLE swapped RENAME TO {second}",
    ]


def test_B51_one_of_two_tables_that_exchanged_names_is_altered(followed: Followed) -> None:
    """The rows of the other one come without another description."""
    followed.run("CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE u (id int PRIMARY KEY)")
    after, tracked = followed.start("t", "u"), followed.tracked("t", "u")
    followed.run("BEGIN", *_swap("t", "u"))
    followed.run("INSERT INTO u VALUES (1)", "INSERT INTO t VALUES (2)")
    followed.run("ALTER TABLE t ADD a int", "INSERT INTO t VALUES (3, 4)")
    followed.run("INSERT INTO u VALUES (5)", "COMMIT")
    with followed.reading(tracked, after) as reading:
        change = reading.schema_change()
        assert (change.before.id.name, _shape(change.after)[-1]) == ("u", ("a", "integer"))
        old = next(one for one in tracked if one.schema.id == change.table)
        reading.reader.adopt(change.table, replace(old, schema=change.after))
        assert [row[2]["id"] for row in reading.rows("t")] == ["1", "5"]
        assert [row[2]["id"] for row in reading.rows("u")] == ["2", "3"]


def test_B51_a_table_that_had_the_name_of_another_is_renamed_again(followed: Followed) -> None:
    """It is not the followed one, which has its name again."""
    followed.run("CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE d (id int PRIMARY KEY)")
    name = followed.source._publication.name
    followed.run(
        f"CREATE PUBLICATION {name} FOR ALL TABLES WITH (publish_via_partition_root = true)"
    )
    after, tracked = followed.start("t"), followed.tracked("t")
    followed.run("ALTER TABLE t RENAME TO away", "ALTER TABLE d RENAME TO t")
    followed.run("INSERT INTO t VALUES (1)", "ALTER TABLE t RENAME TO e")
    followed.run("ALTER TABLE away RENAME TO t")
    followed.run("INSERT INTO e VALUES (2)", "INSERT INTO t VALUES (3)")
    with followed.reading(tracked, after) as reading:
        assert reading.rows("t") == [("INSERT", None, {"id": "3"})]
        assert not any(isinstance(p, SchemaChange) for s in reading.sets for p in s.parts)


@pytest.mark.parametrize("pg_server", ["pg18"], indirect=True)
def test_B52_a_column_list_leaves_columns_missing(followed: Followed) -> None:
    followed.run("CREATE TABLE t (id int PRIMARY KEY, a int, b int)")
    name = followed.source._publication.name
    followed.run(f"CREATE PUBLICATION {name} FOR TABLE t (id, b)")
    followed.run(f"ALTER PUBLICATION {name} SET (publish_via_partition_root = true)")
    meant = replace(followed.options, partial_publication=True)
    followed.source = PostgresChangeSource(followed.connect, meant)
    after = followed.start("t")
    followed.run("INSERT INTO t VALUES (1, 2, 3)", "UPDATE t SET a = 5, b = 6")
    with followed.reading(followed.tracked("t"), after) as reading:
        assert [row[2] for row in reading.rows("t")] == [
            {"id": "1", "b": "3"},
            {"id": "1", "b": "6"},
        ]


def test_B53_dropped_and_made_again(followed: Followed) -> None:
    followed.run("CREATE TABLE t (id int PRIMARY KEY, a int)")
    name = followed.source._publication.name
    followed.run(
        f"CREATE PUBLICATION {name} FOR ALL TABLES WITH (publish_via_partition_root = true)"
    )
    after = followed.start("t")
    with followed.reading(followed.tracked("t"), after) as reading:
        followed.run("INSERT INTO t VALUES (1, 2)", "DROP TABLE t")
        followed.run("CREATE TABLE t (id int PRIMARY KEY, b text)", "INSERT INTO t VALUES (1, 'x')")
        dropped = reading.schema_change()
        assert dropped.after is None
        reading.reader.adopt(dropped.table, None)
        made = reading.schema_change()
        assert made.before is None and _shape(made.after) == [("id", "integer"), ("b", "text")]
        _adopt(reading, made)
        assert reading.rows("t")[-1] == ("INSERT", None, {"id": "1", "b": "x"})


def test_B53_dropped_and_made_again_while_nobody_read(followed: Followed) -> None:
    followed.run("CREATE TABLE t (id int PRIMARY KEY)")
    name = followed.source._publication.name
    followed.run(
        f"CREATE PUBLICATION {name} FOR ALL TABLES WITH (publish_via_partition_root = true)"
    )
    after, tracked = followed.start("t"), followed.tracked("t")
    followed.run("DROP TABLE t", "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    with followed.reading(tracked, after) as reading:
        dropped = reading.schema_change()
        assert (dropped.table.name, dropped.after) == ("t", None)
        reading.reader.adopt(dropped.table, None)
        made = reading.schema_change()
        assert made.before is None
        _adopt(reading, made)
        assert reading.rows("t")[-1] == ("INSERT", None, {"id": "1"})


def test_B54_views_and_tables_of_others_are_ignored(followed: Followed) -> None:
    followed.run("CREATE TABLE t (id int PRIMARY KEY)")
    name = followed.source._publication.name
    followed.run(
        f"CREATE PUBLICATION {name} FOR ALL TABLES WITH (publish_via_partition_root = true)",
        "CREATE TABLE u (id int PRIMARY KEY)",
        "CREATE MATERIALIZED VIEW v AS SELECT * FROM u",
        "CREATE UNIQUE INDEX ON v (id)",
    )
    after = followed.start("t")
    followed.run("INSERT INTO u VALUES (1)", "REFRESH MATERIALIZED VIEW CONCURRENTLY v")
    followed.run("INSERT INTO t VALUES (1)", "ALTER TABLE u ADD a int", "INSERT INTO u VALUES (2)")
    with followed.reading(followed.tracked("t"), after) as reading:
        assert reading.rows("t") == [("INSERT", None, {"id": "1"})]
        assert rows_of(reading.sets, "u") == []


# The connection


def test_B42_idle_and_unpolled_it_outlives_wal_sender_timeout(
    pg_server: Server, database: Any
) -> None:
    """A22: a paused stream is not ended by the server; B41."""
    name = database(pg_server)
    with pg_server.connect() as connection:
        connection.execute(f"ALTER DATABASE {name} SET wal_sender_timeout = '300ms'")
    followed = Followed(pg_server, name)
    followed.run("CREATE TABLE t (id int PRIMARY KEY)")
    after = followed.start("t")
    with followed.reading(followed.tracked("t"), after) as reading:
        followed.run("INSERT INTO t VALUES (1)")
        assert len(reading.rows("t")) == 1
        _until(followed, ALIVE.format(1.5))
        followed.run("INSERT INTO t VALUES (2)")
        assert len(reading.rows("t")) == 2
    followed.close()


def test_A30_what_nobody_takes_does_not_fill_the_memory(
    pg_server: Server, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = database(pg_server)
    with pg_server.connect() as connection:
        connection.execute(f"ALTER DATABASE {name} SET wal_sender_timeout = '2s'")
    monkeypatch.setattr(slot_stream, "QUEUED_BYTES", 1 << 20)
    followed = Followed(pg_server, name)
    followed.run("CREATE TABLE t (id int PRIMARY KEY, a text)")
    after = followed.start("t")
    with followed.reading(followed.tracked("t"), after) as reading:
        for number in range(10):
            followed.run(
                f"INSERT INTO t SELECT {number * 10000} + g, repeat('x', 200)"
                " FROM generate_series(1, 10000) g"
            )
        stream = reading.reader._stream
        until(lambda: stream._bytes >= 1 << 20)
        _until(followed, ALIVE.format(5))
        assert stream._bytes < 2 << 20
        assert len(reading.rows("t")) == 100_000
    followed.close()


def test_B43_a_lost_slot_is_refused_with_the_setting_that_helps(database: Any) -> None:
    options = {"max_slot_wal_keep_size": "1MB", "max_wal_size": "32MB", "min_wal_size": "32MB"}
    with running("pg15", options) as server:
        followed = Followed(server, server.create_database())
        followed.run("CREATE TABLE t (id int PRIMARY KEY)")
        after = followed.start("t")
        for _ in range(4):
            followed.run("SELECT pg_switch_wal()", "CREATE TABLE x (a int)", "DROP TABLE x")
        followed.run("CHECKPOINT")
        with (
            pytest.raises(LogLost, match="lost") as raised,
            followed.reading(followed.tracked("t"), after),
        ):
            pass
        assert "max_slot_wal_keep_size" in str(raised.value)
        codes = {f.code for f in followed.source.readiness(Scope("public", ("t",)))}
        assert "wal-bounded" in codes
        followed.close()


def test_B67_a_server_that_shuts_down_is_not_held_up(database: Any) -> None:
    with running("pg15") as server:
        followed = Followed(server, server.create_database())
        followed.run("CREATE TABLE t (id int PRIMARY KEY)")
        after = followed.start("t")
        tracked = followed.tracked("t")
        with followed.reading(tracked, after) as reading:
            followed.run("INSERT INTO t VALUES (1)")
            assert len(reading.rows("t")) == 1  # and it is not acknowledged
            followed.sql.close()
            begun = time.monotonic()
            server.process.send_signal(signal.SIGINT)
            server.process.wait(20)
            assert time.monotonic() - begun < 10
            with pytest.raises(ConnectionFailed) as raised:
                while True:
                    reading.reader.poll(1)
            assert raised.value.retryable


def test_readiness_of_a_server_that_is_not_ready(database: Any) -> None:
    with running("pg15", {"wal_level": "replica", "max_replication_slots": "0"}) as server:
        followed = Followed(server, server.create_database())
        followed.run("CREATE UNLOGGED TABLE t (id int PRIMARY KEY)")
        found = {f.code: f for f in followed.source.readiness(Scope("public", ("t",)))}
        errors = {code for code, finding in found.items() if finding.severity == "error"}
        assert errors == {"wal-level", "max-replication-slots", "unlogged"}
        assert "logical" in str(found["wal-level"].remedy)
        followed.sql.close()


def test_readiness_of_a_role_without_rights(followed: Followed) -> None:
    followed.run(
        "CREATE TABLE t (id int PRIMARY KEY)",
        f"CREATE ROLE poor_{followed.database} LOGIN PASSWORD 'x'",
        f"GRANT SELECT ON t TO poor_{followed.database}",
    )
    role = f"poor_{followed.database}"
    connect = replace(followed.connect, user=role, password="x")
    source = PostgresChangeSource(connect, followed.options)
    codes = {f.code for f in source.readiness(Scope("public", ("t",))) if f.severity == "error"}
    assert codes == {"no-replication-right", "no-publication-right", "not-owner"}
    followed.run(f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_release_drops_what_was_made(followed: Followed) -> None:
    followed.run("CREATE TABLE t (id int PRIMARY KEY)")
    followed.start("t")
    followed.source.release()
    followed.source.release()
    left = "SELECT (SELECT count(*) FROM pg_publication), (SELECT count(*) FROM"
    left += " pg_replication_slots WHERE database = current_database())"
    assert followed.sql.execute(left).fetchone() == (0, 0)


def test_A26_a_slot_that_is_there_serves_a_new_load(followed: Followed) -> None:
    followed.run("CREATE TABLE t (id int PRIMARY KEY)")
    before = followed.start("t")
    followed.run("INSERT INTO t VALUES (1)")
    with followed.source.snapshot_at_position(Scope("public", ("t",)), 1, resume=False) as view:
        after = view.position
    followed.run("INSERT INTO t VALUES (2)")
    with followed.reading(followed.tracked("t"), after) as reading:
        assert [row[2] for row in reading.rows("t")] == [{"id": "2"}]
    assert followed.source.at_or_after(followed.start("t"), before)
