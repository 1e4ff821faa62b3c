"""The logs that are read: tables, and transactions made on a private server at full speed.

Everything of a log is there before a run begins, and what comes before its begin is there for
peers to warm up on. A log is the newest on its server: nothing is written after its end.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from benchmarks.data import NUMBERS, SHAPES
from streams_engine.testing.servers import Server

__all__ = ["Log", "Writing", "behind", "change", "plain", "single"]

TRANSACTION_ROWS = 20_000
WARM_ROWS = 100_000
WARM_SINGLE = 15_000
WARM_WIDE = 5_000
PUBLICATION = "bench"
BASE_ROWS = 200_000
"""Rows that are there before changes of all kinds are made."""

SPOT = 1_000_000_000
"""The key of the row that the last transaction of a log makes."""


@dataclass(frozen=True, slots=True)
class Log:
    """One log. ``begin`` and ``first`` are ``file:pos``, or the name of a slot to be copied."""

    server: Server
    database: str
    table: str
    rows: int
    """Row changes between ``begin`` and the end."""
    transactions: int
    first: str
    """Before the rows that peers warm up on."""
    begin: str
    end: str
    """``file:pos``, or the last transaction's LSN."""
    warm: int = 0
    gtids: str = ""
    """Executed before ``first``, on MySQL."""

    @property
    def url(self) -> str:
        """The source."""
        return self.server.url(self.database)

    @contextmanager
    def entry(self, *, warm: bool = False) -> Iterator[str]:
        """Where one run begins: a position, or a slot of its own."""
        at = self.first if warm else self.begin
        if self.server.kind != "postgresql":
            yield at
            return
        slot = f"run_{secrets.token_hex(4)}"
        with closing(self.server.connect(self.database)) as connection:
            connection.execute("SELECT pg_copy_logical_replication_slot(%s, %s)", (at, slot))
            try:
                yield slot
            finally:
                drop_slot(connection, slot)


def drop_slot(connection: Any, slot: str) -> None:
    """Drop a slot, ending whoever still reads it."""
    connection.execute(
        "SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots"
        " WHERE slot_name = %s AND active",
        (slot,),
    )
    connection.execute(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s",
        (slot,),
    )


@dataclass(slots=True)
class Writing:
    """A new database whose tables are written to; a context manager for the connection."""

    server: Server
    database: str = ""
    _connection: Any = None
    _marks: list[str] = field(default_factory=list)

    @property
    def dialect(self) -> str:
        """As shapes name it."""
        return "postgresql" if self.server.kind == "postgresql" else "mysql"

    def __enter__(self) -> Writing:
        if self.dialect == "mysql":  # so that a log is read from its very first file
            with closing(self.server.connect()) as connection, connection.cursor() as cursor:
                modern = self.server.kind == "mysql"
                cursor.execute("RESET BINARY LOGS AND GTIDS" if modern else "RESET MASTER")
        else:
            self._forget_slots()
        self.database = self.server.create_database()
        self._connection = self.server.connect(self.database)
        if self.server.kind == "mysql":
            self.run("SET SESSION cte_max_recursion_depth = 10000")
        if self.dialect == "postgresql":
            self.run("SET synchronous_commit = off")
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def _forget_slots(self) -> None:
        with closing(self.server.connect()) as connection:
            slots = connection.execute("SELECT slot_name FROM pg_replication_slots").fetchall()
            for (slot,) in slots:
                drop_slot(connection, slot)

    def run(self, *statements: str) -> Any:
        """Execute statements; the last one's first row."""
        with self._connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            row = cursor.fetchone() if cursor.description else None
        return row

    def table(self, shape: str) -> None:
        """Make an empty table with its key alone."""
        self.run(SHAPES[shape].create(self.dialect))

    def publish(self, *tables: str) -> None:
        """Let the log of PostgreSQL have the tables."""
        if self.dialect == "postgresql":
            self.run(
                f"CREATE PUBLICATION {PUBLICATION} FOR TABLE {', '.join(tables)}"
                " WITH (publish_via_partition_root = true)"
            )

    def insert(self, shape: str, first: int, last: int) -> None:
        """One transaction of rows."""
        chosen = SHAPES[shape]
        numbers = NUMBERS[self.dialect].format(first=first, last=last)
        select = f"SELECT {chosen.values[self.dialect]} FROM s"
        self.run(f"INSERT INTO {chosen.table} {numbers} {select}")

    def bulk(self, shape: str, first: int, rows: int) -> int:
        """Transactions of 20,000 rows. Returns how many."""
        steps = range(first, first + rows, TRANSACTION_ROWS)
        for step in steps:
            self.insert(shape, step, min(step + TRANSACTION_ROWS, first + rows) - 1)
        return len(steps)

    def loop(self, first: int, last: int, body: str) -> None:
        """A statement for each number ``i``, each a transaction of its own."""
        if self.dialect == "postgresql":
            self.run(f"DO $$ BEGIN FOR i IN {first}..{last} LOOP {body}; COMMIT; END LOOP; END $$")
            return
        self.run(
            "SET SESSION sql_log_bin = 0",
            "DROP PROCEDURE IF EXISTS bench_loop",
            "CREATE PROCEDURE bench_loop(IN i BIGINT, IN finish BIGINT)"
            f" BEGIN WHILE i <= finish DO {body}; SET i = i + 1; END WHILE; END",
            "SET SESSION sql_log_bin = 1",
            f"CALL bench_loop({first}, {last})",
        )

    def singles(self, shape: str, first: int, rows: int) -> None:
        """So many transactions of one row."""
        chosen = SHAPES[shape]
        body = f"INSERT INTO {chosen.table} SELECT {chosen.values[self.dialect]}"
        self.loop(first, first + rows - 1, body)

    def spot(self, shape: str = "mixed") -> None:
        """The last transaction, whose row tells a watcher that all is there."""
        self.insert(shape, SPOT, SPOT)

    def mark(self, name: str) -> str:
        """Where the log is now; on PostgreSQL a slot that stands there."""
        if self.dialect == "postgresql":
            slot = f"{name}_{secrets.token_hex(4)}"
            self.run(f"SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')")
            return slot
        words = "BINARY LOG" if self.server.kind == "mysql" else "MASTER"
        file, position = self.run(f"SHOW {words} STATUS")[:2]
        return f"{file}:{position}"

    def end(self) -> str:
        """The end of the log."""
        if self.dialect == "mysql":
            return self.mark("end")
        self.run("SET synchronous_commit = on")
        # A commit that waits for its own log lets a walsender have all before it.
        self.run("CREATE TABLE IF NOT EXISTS bench_flushed (n int)", "INSERT INTO bench_flushed"
                 " VALUES (1)")  # fmt: skip
        return str(self.run("SELECT pg_current_wal_flush_lsn()")[0])


def _warm(writing: Writing, shape: str, warm: int) -> int:
    """What peers warm up on: rows in bulk, rows in transactions of their own, and wide ones."""
    if not warm:
        return 0
    wide = WARM_WIDE if shape == "wide" else 0
    writing.bulk("mixed", SPOT + 1, warm - WARM_SINGLE - wide)
    writing.singles("mixed", 2 * SPOT, WARM_SINGLE)
    if wide:
        writing.bulk("wide", 2 * SPOT, wide)
    return warm


def plain(server: Server, shape: str, rows: int, *, single: bool, warm: int = WARM_ROWS) -> Log:
    """Inserts: transactions of 20,000 rows, or of one."""
    with Writing(server) as writing:
        tables = ("mixed", "wide") if shape == "wide" else ("mixed",)
        for table in tables:
            writing.table(table)
        writing.publish(*tables)
        first = writing.mark("first")
        gtids = str(writing.run("SELECT @@gtid_executed")[0]) if server.kind == "mysql" else ""
        warmed = _warm(writing, shape, warm)
        begin = writing.mark("begin")
        if single:
            writing.singles(shape, 1, rows)
            transactions = rows
        else:
            transactions = writing.bulk(shape, 1, rows)
        end = writing.end()
        return Log(
            server, writing.database, shape, rows, transactions, first, begin, end, warmed, gtids
        )


def single(server: Server, rows: int) -> Log:
    """One transaction."""
    with Writing(server) as writing:
        writing.table("mixed")
        writing.publish("mixed")
        begin = writing.mark("begin")
        # The name of the CTE's digits bounds one statement at a million rows.
        writing.run("BEGIN")
        for first in range(1, rows + 1, 1_000_000):
            writing.insert("mixed", first, min(first + 999_999, rows))
        writing.run("COMMIT")
        end = writing.end()
        return Log(server, writing.database, "mixed", rows, 1, begin, begin, end)


def base(writing: Writing) -> None:
    """The table with the rows that are changed later."""
    writing.table("mixed")
    for first in range(1, BASE_ROWS + 1, 100_000):
        writing.insert("mixed", first, first + 99_999)


def behind(server: Server, rows: int, *, single: bool) -> Log:
    """Inserts, updates and deletes: half, three tenths and a fifth of the changes."""
    with Writing(server) as writing:
        base(writing)
        writing.publish("mixed")
        begin = writing.mark("begin")
        transactions = change(writing, rows, single=single)
        end = writing.end()
        changed = rows + 1
        return Log(server, writing.database, "mixed", changed, transactions + 1, begin, begin, end)


def change(writing: Writing, rows: int, *, single: bool) -> int:
    """So many changes of the base, and the row of the last transaction; how many transactions
    the changes are."""
    transactions = (_changes_one_by_one if single else _changes)(writing, rows)
    writing.spot()
    return transactions


UPDATE = "UPDATE mixed SET amount = amount + 1, note = 'changed' WHERE id "
DELETE = "DELETE FROM mixed WHERE id "
DELETED_FROM = 120_000
"""Rows before it are updated, from it on deleted."""


def _changes(writing: Writing, rows: int) -> int:
    """Transactions of 10,000 inserts, 6,000 updates and 4,000 deletes."""
    count = -(-rows // TRANSACTION_ROWS)
    for number in range(count):
        size = min(TRANSACTION_ROWS, rows - number * TRANSACTION_ROWS)
        updates, deletes = size * 3 // 10, size // 5
        inserts = size - updates - deletes
        first, updated, deleted = number * 10_000, number * 6_000, number * 4_000 + DELETED_FROM
        new = BASE_ROWS + first
        writing.run("BEGIN")
        writing.insert("mixed", new + 1, new + inserts)
        writing.run(
            f"{UPDATE} BETWEEN {updated + 1} AND {updated + updates}",
            f"{DELETE} BETWEEN {deleted + 1} AND {deleted + deletes}",
            "COMMIT",
        )
    return count


def _changes_one_by_one(writing: Writing, rows: int) -> int:
    """In turn of ten: five inserts, three updates, two deletes, each a transaction."""
    values = SHAPES["mixed"].values[writing.dialect].replace("i,", f"i + {BASE_ROWS},", 1)
    insert = f"INSERT INTO mixed SELECT {values}"
    end = "END IF"
    body = (
        f"IF i % 10 < 5 THEN {insert};"
        f" {'ELSIF' if writing.dialect == 'postgresql' else 'ELSEIF'} i % 10 < 8 THEN"
        f" {UPDATE} = i; ELSE {DELETE} = i + {DELETED_FROM}; {end}"
    )
    writing.loop(1, rows, body)
    return rows
