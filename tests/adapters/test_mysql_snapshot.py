"""One consistent view on several connections: sums agree while writers run, DDL waits."""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pymysql
import pytest
from pymysql.constants import CR
from pymysql.cursors import SSCursor

from streams_engine.adapters.mysql.connection import MysqlConnect, shut_down
from streams_engine.adapters.mysql.snapshot.snapshot import MysqlSnapshot
from streams_engine.adapters.mysql.snapshot.source import MysqlSource
from streams_engine.contracts import Scope
from streams_engine.errors import (
    AuthenticationFailed,
    ConnectionFailed,
    NotFound,
    PermissionDenied,
    SnapshotLost,
)
from streams_engine.model import Chunk, Extract, Filter, Sort, TableSchema
from streams_engine.testing.servers import Server
from tests.support.polling import until

DIGITS = "(SELECT 0 d" + "".join(f" UNION ALL SELECT {n}" for n in range(1, 10)) + ")"


def numbers(rows: int) -> str:
    """A derived table of 0 .. rows-1 as ``i``, without recursion."""
    places = len(str(rows - 1))
    number = " + ".join(f"d{n}.d * {10**n}" for n in range(places))
    tables = ", ".join(f"{DIGITS} d{n}" for n in range(places))
    return f"(SELECT i FROM (SELECT {number} AS i FROM {tables}) AS many WHERE i < {rows}) AS n"


class Place:
    """A database of its own on a server, with a raw connection to it."""

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.name = name
        self.connect = MysqlConnect(
            server.kind, server.host, server.port, server.user, server.password, name
        )
        self.source = MysqlSource(self.connect)
        self.raw = server.connect(name)

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        with self.raw.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def account(self, *rights: str) -> MysqlConnect:
        user = f"u_{self.name}"
        self.run(
            f"CREATE USER '{user}'@'%' IDENTIFIED BY 'secret-word'",
            *(f"GRANT {right} TO '{user}'@'%'" for right in rights),
        )
        return replace(self.connect, user=user, password="secret-word")


@pytest.fixture
def place(mysql_server: Server, database: Any) -> Iterator[Place]:
    found = Place(mysql_server, database(mysql_server))
    yield found
    found.run(f"DROP USER IF EXISTS 'u_{found.name}'@'%'")
    found.raw.close()


def rows_of(view: MysqlSnapshot, table: TableSchema, chunk: Chunk, **extra: Any) -> list[Any]:
    extract = Extract(table.id, table.columns, **extra)
    batches = list(view.read(extract, chunk))
    rows: list[Any] = pa.Table.from_batches(batches, extract.arrow_schema()).to_pylist()
    return rows


def all_rows(view: MysqlSnapshot, table: TableSchema, chunks: Sequence[Chunk]) -> list[Any]:
    with ThreadPoolExecutor(view.readers) as pool:
        parts = pool.map(lambda chunk: rows_of(view, table, chunk), chunks)
        return [row for part in parts for row in part]


# The view


class Writers:
    """Sessions that move money between two tables, never making or losing any."""

    def __init__(self, place: Place, accounts: int) -> None:
        self._stop = threading.Event()
        self.moved = 0
        self._threads = [
            threading.Thread(target=self._work, args=(place, accounts, seed)) for seed in range(3)
        ]

    def _work(self, place: Place, accounts: int, seed: int) -> None:
        connection = place.server.connect(place.name)
        connection.autocommit(False)
        turn = seed
        while not self._stop.is_set():
            turn += 7919
            with contextlib.suppress(pymysql.MySQLError), connection.cursor() as cursor:
                cursor.execute("UPDATE a SET v = v - 5 WHERE id = %s", (turn % accounts,))
                cursor.execute("UPDATE b SET v = v + 5 WHERE id = %s", (turn * 31 % accounts,))
                connection.commit()
                self.moved += 1
        connection.close()

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        until(lambda: self.moved >= 20)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def bank(place: Place, accounts: int = 20_000) -> int:
    for table in "ab":
        place.run(
            f"CREATE TABLE {table} (id BIGINT PRIMARY KEY, v BIGINT NOT NULL)",
            f"INSERT INTO {table} SELECT i, 1000 FROM {numbers(accounts)}",
            f"ANALYZE TABLE {table}",
        )
    return accounts * 2 * 1000


def total(view: MysqlSnapshot, rows: int) -> int:
    tables = view.catalog.tables
    chunks = [(table, chunk) for table in tables for chunk in view.chunks(table, rows)]
    with ThreadPoolExecutor(view.readers) as pool:
        parts = pool.map(lambda c: sum(row["v"] for row in rows_of(view, *c)), chunks)
        return sum(parts)


@pytest.mark.parametrize("readers", [1, 4])
def test_sums_agree_while_writers_run(place: Place, readers: int) -> None:
    money = bank(place)
    with Writers(place, 20_000) as writers:
        for _ in range(3):
            with place.source.snapshot(Scope(), readers) as view:
                assert view.readers == readers and not view.findings
                before = writers.moved
                assert total(view, 2_000) == money
                assert total(view, 5_000) == money  # the view stands still
                assert writers.moved > before  # and keeps nobody waiting


def test_without_the_right_to_lock_one_reader_keeps_the_view(place: Place) -> None:
    money = bank(place)
    source = MysqlSource(place.account(f"SELECT ON `{place.name}`.*"))
    with Writers(place, 20_000), source.snapshot(Scope(), 4) as view:
        assert view.readers == 1
        assert [finding.code for finding in view.findings] == ["one-reader"]
        assert "RELOAD" in str(view.findings[0].message)
        assert total(view, 2_000) == money


def test_locks_on_the_tables_do_where_the_global_one_is_not_to_be_had(place: Place) -> None:
    """As on managed servers: several readers, and a position that equals the view."""
    money = bank(place)
    source = MysqlSource(
        place.account(f"SELECT, LOCK TABLES ON `{place.name}`.*", "REPLICATION CLIENT ON *.*")
    )
    with Writers(place, 20_000) as writers:
        for _ in range(3):
            with source.snapshot(Scope(), 4) as view:
                assert view.readers == 4 and not view.findings
                assert "file" in view.position
                before = writers.moved
                assert total(view, 2_000) == money
                assert writers.moved > before  # the locks are gone


def test_a_lock_that_is_not_had_in_time_is_done_without(
    place: Place,
) -> None:
    money = bank(place, 1000)
    blocker = place.server.connect(place.name)
    with contextlib.closing(blocker), blocker.cursor() as cursor:
        cursor.execute("LOCK TABLES b WRITE, a READ")
        started = time.monotonic()
        # A metadata lock that another session keeps is waited for, and named.
        source = MysqlSource(replace(place.connect, lock_seconds=2))
        with pytest.raises(Exception, match=r"\.b") as caught, source.snapshot(Scope(), 2):
            pass
        assert getattr(caught.value, "code", "") == "LOCK_TIMEOUT"
        assert time.monotonic() - started < 10
    with place.source.snapshot(Scope(), 2) as view:
        assert total(view, 500) == money


def test_ddl_waits_and_keeps_no_reader_waiting(place: Place) -> None:
    bank(place, 1000)
    other = place.server.connect(place.name)
    failed: list[BaseException] = []

    def alter() -> None:
        try:
            with other.cursor() as cursor:
                cursor.execute("SET SESSION lock_wait_timeout = 60")
                cursor.execute("ALTER TABLE b ADD COLUMN w INT, ALGORITHM=COPY")
        except pymysql.MySQLError as error:
            failed.append(error)

    with place.source.snapshot(Scope(), 3) as view:
        for statement in ("DROP TABLE a", "ALTER TABLE a ADD COLUMN w INT", "TRUNCATE TABLE a"):
            with pytest.raises(pymysql.MySQLError) as caught:
                place.run("SET SESSION lock_wait_timeout = 1", statement)
            assert caught.value.args[0] == 1205
        thread = threading.Thread(target=alter)
        thread.start()
        waits = f"SELECT state FROM information_schema.processlist WHERE id = {other.thread_id()}"
        until(lambda: "metadata lock" in str(place.run(waits)))
        started = time.monotonic()
        assert total(view, 100) == 2_000_000
        assert time.monotonic() - started < 5
        assert thread.is_alive()
    thread.join()
    other.close()
    assert not failed


def test_the_position_names_server_and_log(place: Place) -> None:
    bank(place, 10)
    with place.source.snapshot(Scope(), 2) as view:
        first = dict(view.position)
    with place.source.snapshot(Scope(), 2) as view:
        assert view.position == first
    assert first["server"] and first["file"] and first["pos"] and first["gtid"]
    place.run("UPDATE a SET v = 0 WHERE id = 1")
    with place.source.snapshot(Scope(), 2) as view:
        assert view.position["server"] == first["server"]
        assert view.position["pos"] != first["pos"] and view.position["gtid"] != first["gtid"]


def test_tables_without_transactions_are_named(place: Place) -> None:
    place.run("CREATE TABLE m (id INT PRIMARY KEY) ENGINE=MyISAM", "CREATE TABLE i (id INT)")
    with place.source.snapshot(Scope(), 2) as view:
        named = {f.object for f in view.findings if f.code == "not-transactional"}
        assert named == {f"{place.name}.m"}


def test_hundreds_of_tables_are_locked(place: Place) -> None:
    place.run(*(f"CREATE TABLE `t {n}` (id INT PRIMARY KEY)" for n in range(130)))
    with place.source.snapshot(Scope(), 2) as view:
        assert len(view.catalog.tables) == 130
        with pytest.raises(pymysql.MySQLError):
            place.run("SET SESSION lock_wait_timeout = 1", "DROP TABLE `t 129`")


# Readers


def test_a_reader_that_dies_cannot_rejoin(place: Place) -> None:
    bank(place)
    with place.source.snapshot(Scope(), 1) as view:
        table = view.catalog.tables[0]
        session = view._all[0].thread_id()
        place.run(f"KILL {session}")
        gone = f"SELECT 1 FROM information_schema.processlist WHERE id = {session}"
        until(lambda: not place.run(gone))
        with pytest.raises(SnapshotLost, match="cannot join the snapshot"):
            rows_of(view, table, Chunk(table.id))
        with pytest.raises(SnapshotLost):
            rows_of(view, table, Chunk(table.id))


def test_a_read_that_is_left_early_gives_its_reader_back(place: Place) -> None:
    place.run(
        "CREATE TABLE c (id INT PRIMARY KEY, v VARCHAR(255))",
        f"INSERT INTO c SELECT i, REPEAT('x', 250) FROM {numbers(200_000)}",
    )
    with place.source.snapshot(Scope(), 1) as view:
        table = view.catalog.tables[0]
        extract = Extract(table.id, table.columns)
        place.run("DELETE FROM c WHERE id >= 100")  # not in this view
        for _ in range(5):
            reading = view.read(extract, Chunk(table.id))
            next(reading)
            started = time.monotonic()
            reading.close()
            assert time.monotonic() - started < 2
        assert sum(b.num_rows for b in view.read(extract, Chunk(table.id))) == 200_000


def test_closing_ends_a_read_that_is_under_way(place: Place) -> None:
    bank(place, 50_000)
    with place.source.snapshot(Scope(), 1) as view:
        table = view.catalog.tables[0]
        reading = view.read(Extract(table.id, table.columns), Chunk(table.id))
        next(reading)
        place.source.close()
        with pytest.raises(Exception, match="connection"):
            for _ in range(2):
                list(view.read(Extract(table.id, table.columns), Chunk(table.id)))


# Chunks

KEYS = {
    "dense": ("id INT PRIMARY KEY", "i", 0),
    "negative": ("id INT PRIMARY KEY", "i - 10000", 0),
    # BIGINT UNSIGNED beyond 2^63, which no signed number holds
    "unsigned": ("id BIGINT UNSIGNED PRIMARY KEY", "18446744073709551615 - i", 0),
    "sparse": (
        "id BIGINT PRIMARY KEY",
        "IF(i < 19990, i, 9223372036854775807 - i)",
        0,
    ),
    "descending": ("id INT, PRIMARY KEY (id DESC)", "i", 0),
    # case 14: an order that Python does not know
    "collated": (
        "id VARCHAR(40) COLLATE utf8mb4_general_ci PRIMARY KEY",
        "CONCAT(ELT(i % 6 + 1, 'a', 'B', 'é', '_', 'ß', 'Z'), i, '''\\\\ %%')",
        0,
    ),
    "latin1": ("id VARCHAR(40) CHARACTER SET latin1 PRIMARY KEY", "CONCAT('ü', i)", 0),
    "composite": ("k INT, id VARCHAR(20), PRIMARY KEY (k, id)", "i % 7, CONCAT('x', i)", 0),
    "dates": ("id DATETIME(6) PRIMARY KEY", "'2020-01-01' + INTERVAL i * 1000001 MICROSECOND", 0),
    "bytes": ("id BINARY(16) PRIMARY KEY", "UNHEX(LEFT(SHA2(i, 256), 32))", 1),
    "decimal": ("id DECIMAL(30,10) PRIMARY KEY", "i / 3", 1),
    "enum": ("e ENUM('z', 'a'), id INT, PRIMARY KEY (e, id)", "i % 2 + 1, i", 1),
    "prefix": ("id TEXT, PRIMARY KEY (id(20))", "CONCAT('x', i)", 1),
    "keyless": ("id INT", "i % 100", 1),
}


@pytest.mark.parametrize("kind", KEYS)
def test_chunks_hold_each_row_once(place: Place, kind: str) -> None:
    columns, values, expected = KEYS[kind]
    rows = 20_000
    place.run(
        f"CREATE TABLE c ({columns}) CHARACTER SET utf8mb4",
        f"INSERT INTO c SELECT {values} FROM {numbers(rows)}",
        "ANALYZE TABLE c",
    )
    with place.source.snapshot(Scope(), 3) as view:
        table = view.catalog.tables[0]
        chunks = view.chunks(table, 3_000)
        assert [chunk.number for chunk in chunks] == list(range(len(chunks)))
        if expected:
            assert len(chunks) == expected
        else:
            assert 4 <= len(chunks) <= 14
        parts = [rows_of(view, table, chunk) for chunk in chunks]
        held = sorted(tuple(map(str, row.values())) for part in parts for row in part)
        names = ", ".join(f"`{column.name}`" for column in table.columns)
        whole = rows_of(view, table, Chunk(table.id))
        assert len(held) == rows == len(whole)
        assert held == sorted(tuple(map(str, row.values())) for row in whole), names
        assert max(map(len, parts)) <= (9_000 if not expected else rows)
        # A chunk that was cut goes on after the last row's key, written as the runtime does.
        if chunks[0].key:
            first = rows_of(view, table, chunks[0])
            last = tuple(
                v if isinstance(v, int) else str(v)
                for v in (first[99][name] for name in chunks[0].key)
            )
            assert rows_of(view, table, replace(chunks[0], low=last)) == first[100:]


def test_a_small_table_is_one_chunk_and_stale_statistics_are_noticed(place: Place) -> None:
    place.run(
        "CREATE TABLE c (id INT PRIMARY KEY) STATS_AUTO_RECALC=0",
        f"INSERT INTO c SELECT i FROM {numbers(20_000)}",
    )
    with place.source.snapshot(Scope(), 3) as view:
        table = view.catalog.tables[0]
        assert len(view.chunks(table, 20_000)) == 1
        assert len(view.chunks(replace(table, estimated_rows=0), 3_000)) >= 5


# Selections

FILTERS = [
    (Filter("v", "=", "b%"), {2}),
    (Filter("v", "!=", "b%"), {1, 3, 4, 5}),
    (Filter("id", "<", 3), {1, 2}),
    (Filter("id", ">=", "4"), {4, 5, 6}),
    (Filter("v", "IN", ["b%", "it's"]), {2, 3}),
    (Filter("v", "IN", []), set()),
    (Filter("v", "NOT IN", ["b%", "it's"]), {1, 4, 5}),
    (Filter("v", "LIKE", "a%"), {1, 5}),
    (Filter("v", "NOT LIKE", "a%"), {2, 3, 4}),
    (Filter("id", "BETWEEN", [2, 3]), {2, 3}),
    (Filter("v", "CONTAINS", "%"), {2}),
    (Filter("v", "CONTAINS", "_"), {5}),
    (Filter("v", "NOT_CONTAINS", "%"), {1, 3, 4, 5}),
    (Filter("v", "STARTS_WITH", "a_"), {5}),
    (Filter("v", "ENDS_WITH", "\\"), {4}),
    (Filter("v", "IS NULL"), {6}),
    (Filter("v", "IS NOT NULL"), {1, 2, 3, 4, 5}),
    (Filter("v", "=", "' OR 1=1 -- "), set()),
]


def test_filters_sorts_and_limits(place: Place) -> None:
    place.run(
        "CREATE TABLE c (id INT PRIMARY KEY, v VARCHAR(20))",
        "INSERT INTO c VALUES (1, 'abc'), (2, 'b%'), (3, 'it''s'), (4, 'x\\\\'), (5, 'a_c'),"
        " (6, NULL)",
    )
    with place.source.snapshot(Scope(), 1) as view:
        table = view.catalog.tables[0]
        whole = Chunk(table.id)
        for chosen, expected in FILTERS:
            found = {row["id"] for row in rows_of(view, table, whole, filters=(chosen,))}
            assert found == expected, chosen
        last = rows_of(view, table, whole, sorts=(Sort("id", True),), limit=2)
        assert [row["id"] for row in last] == [6, 5]


def test_odd_names_and_invisible_columns(place: Place) -> None:
    odd = "we`ird. é$"
    quoted = odd.replace("`", "``")
    place.run(
        f"CREATE TABLE `{quoted}` (`a``b %` INT PRIMARY KEY, i INT INVISIBLE DEFAULT 7)",
        f"INSERT INTO `{quoted}` VALUES (1)",
        f"CREATE TABLE `{quoted.upper()}` (other INT)",
    )
    with place.source.snapshot(Scope(None, (odd,)), 2) as view:
        (table,) = view.catalog.tables
        (chunk,) = view.chunks(table, 10)
        assert rows_of(view, table, chunk) == [{"a`b %": 1, "i": 7}]


# Refusals


def test_what_is_not_there_is_named(place: Place) -> None:
    place.run("CREATE TABLE customers (id INT)")
    with pytest.raises(NotFound, match="customer'") as caught:
        place.source.catalog(Scope(None, ("customer",)))
    assert "customers" in str(caught.value)
    with pytest.raises(NotFound, match="no database 'nowhere'"):
        place.source.catalog(Scope("nowhere"))
    with (
        pytest.raises(NotFound),
        place.source.snapshot(Scope(None, ("customers", "none")), 2),
    ):
        pass


def test_accounts_that_may_not(place: Place) -> None:
    place.run("CREATE TABLE a (id INT)", "CREATE TABLE b (id INT)")
    account = place.account(f"SELECT (id) ON `{place.name}`.a", f"INSERT ON `{place.name}`.b")
    with (
        pytest.raises(PermissionDenied, match=r"\.b"),
        MysqlSource(account).snapshot(Scope(), 2),
    ):
        pass
    with pytest.raises(AuthenticationFailed) as caught:
        MysqlSource(replace(account, password="wrong-secret")).check()
    assert "wrong-secret" not in f"{caught.value}{caught.value.details}{account!r}"
    with pytest.raises(ConnectionFailed):
        MysqlSource(replace(account, port=1)).check()


def test_the_session_is_pinned(place: Place) -> None:
    place.run("SET GLOBAL time_zone = '+05:00'", "SET GLOBAL sql_select_limit = 3")
    try:
        connect = replace(place.connect, kind="mysql")  # whatever the document calls it
        with contextlib.closing(connect.open()) as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT @@time_zone, @@sql_select_limit > 3, @@autocommit, @@character_set_results,"
                " @@net_write_timeout >= 3600, @@wait_timeout >= 86400, @@sql_mode"
            )
            (row,) = cursor.fetchall()
        assert row[:6] == ("+00:00", 1, 1, "utf8mb4", 1, 1)
        assert "ANSI_QUOTES" not in row[6] and "NO_BACKSLASH_ESCAPES" not in row[6]
        with contextlib.closing(connect.open(database="information_schema")) as connection:
            assert connection.db == b"information_schema" or connection.db == "information_schema"
    finally:
        place.run("SET GLOBAL time_zone = 'SYSTEM'", "SET GLOBAL sql_select_limit = DEFAULT")


def test_caching_sha2_without_tls(mysql9: Server, database: Any) -> None:
    place = Place(mysql9, database(mysql9))
    connect = place.account("SELECT ON *.*")
    try:
        for _ in range(2):  # the first by RSA, the second out of the server's cache
            assert MysqlSource(connect).check() == ()
    finally:
        place.run(f"DROP USER 'u_{place.name}'@'%'")
        place.raw.close()


@pytest.mark.parametrize("end", ["close", "cut"])
def test_a_session_that_ends_within_a_result_is_silent(place: Place, end: str) -> None:
    place.run(
        "CREATE TABLE t (id int, v text)", f"INSERT INTO t SELECT i, '' FROM {numbers(20000)}"
    )
    unheard: list[Any] = []
    before, sys.unraisablehook = sys.unraisablehook, unheard.append
    try:
        connection = place.connect.open()
        cursor = connection.cursor(SSCursor)
        cursor.execute("SELECT id, repeat('x', 1000) FROM t")
        cursor.fetchone()
        connection.close() if end == "close" else shut_down(connection)
        with pytest.raises(pymysql.OperationalError) as caught:
            while cursor.fetchone():
                pass
        assert caught.value.args[0] == CR.CR_SERVER_LOST
        del connection, cursor, caught
        gc.collect()
    finally:
        sys.unraisablehook = before
    assert unheard == []
