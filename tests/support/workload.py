"""Random concurrent writes to a source, seeded, and whether two ends hold equal rows."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

from pymysql.err import OperationalError

from tests.support.databases import End

__all__ = ["TABLES", "Workload", "differences", "make_tables"]

TABLES = {
    "keyed": ("id", "grp", "label", "amount", "note"),
    "pair": ("a", "b", "v"),
    "bag": ("x", "y"),
    "parent": ("id", "name"),
    "child": ("id", "parent_id", "maybe_id", "n"),
    "tag": ("parent_id", "word"),
}

NOTE = "x" * 2100
"""Longer than what a PostgreSQL page keeps inline: an update that leaves it does not log it."""


def make_tables(end: End, rows: int) -> None:
    """The tables of the workload, with some rows in them."""
    text = "varchar(40)"
    postgres = end.server.kind == "postgresql"
    note = "text" if postgres else "mediumtext"
    exact = "" if postgres else " CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    end.run(
        f"CREATE TABLE keyed (id bigint PRIMARY KEY, grp int, label {text}, amount decimal(12,3),"
        f" note {note})",
        f"CREATE TABLE pair (a int, b varchar(10){exact}, v int, PRIMARY KEY (a, b), UNIQUE (v))",
        f"CREATE TABLE bag (x int, y {text})",
        f"CREATE TABLE parent (id int PRIMARY KEY, name {text})",
        "CREATE TABLE child (id int PRIMARY KEY, parent_id int, maybe_id int, n int,"
        " FOREIGN KEY (parent_id) REFERENCES parent (id) ON DELETE CASCADE ON UPDATE CASCADE,"
        " FOREIGN KEY (maybe_id) REFERENCES parent (id) ON DELETE SET NULL)",
        f"CREATE TABLE tag (parent_id int NOT NULL, word {text},"
        " FOREIGN KEY (parent_id) REFERENCES parent (id) ON DELETE CASCADE ON UPDATE CASCADE)",
    )
    if postgres:
        end.run(
            "ALTER TABLE bag REPLICA IDENTITY FULL",
            "ALTER TABLE tag REPLICA IDENTITY FULL",
            "ALTER TABLE keyed ALTER note SET STORAGE EXTERNAL",
        )
    numbers = range(rows)
    for start in range(0, rows, 500):
        part = numbers[start : start + 500]
        end.run(
            "INSERT INTO keyed VALUES "
            + ", ".join(f"({i}, {i % 7}, 'k{i}', {i}.125, NULL)" for i in part),
            "INSERT INTO bag VALUES " + ", ".join(f"({i % 5}, 'b{i % 3}')" for i in part),
        )
    end.run(
        "INSERT INTO parent VALUES " + ", ".join(f"({i}, 'p{i}')" for i in range(40)),
        "INSERT INTO child VALUES "
        + ", ".join(f"({i}, {i % 40}, {(i * 3) % 40}, {i})" for i in range(200)),
        "INSERT INTO tag VALUES " + ", ".join(f"({i % 40}, 'w{i % 3}')" for i in range(100)),
    )


def differences(source: End, target: End) -> list[str]:
    """The tables whose rows are not the same, with what is too many on either side."""
    found = []
    for table, columns in TABLES.items():
        query = f"SELECT {', '.join(columns)} FROM {table}"
        one, other = (sorted(map(_shown, end.rows(query))) for end in (source, target))
        if one != other:
            only = [len(set(a) - set(b)) for a, b in ((one, other), (other, one))]
            some = [list(set(a) - set(b))[:3] for a, b in ((one, other), (other, one))]
            found.append(f"{table}: {len(one)} and {len(other)} rows, {only} alone: {some}")
    return found


def _shown(row: tuple[Any, ...]) -> str:
    return repr(
        [value if value is None else str(value)[:60] + str(len(str(value))) for value in row]
    )


FLUSHES = (
    ("FLUSH TABLES",),
    ("FLUSH TABLES child, tag",),
    ("FLUSH TABLES WITH READ LOCK", "UNLOCK TABLES"),
    ("FLUSH TABLES keyed WITH READ LOCK", "UNLOCK TABLES"),
)
"""What another session does meanwhile on MySQL and MariaDB: tables get other ids in the log."""


class Workload:
    """Transactions of several writers until it is told to stop."""

    def __init__(self, source: End, seed: int, *, writers: int = 2, pause: float = 0.0) -> None:
        self._source = source
        self._seed = seed
        self._writers = writers
        self._pause = pause
        self._stop = threading.Event()
        self.committed = 0
        self._counted = threading.Condition()
        self._errors: list[BaseException] = []

    @contextmanager
    def running(self) -> Iterator[Workload]:
        """Writers write while the block runs."""
        threads = [
            threading.Thread(target=self._write, args=(random.Random(self._seed * 31 + n),))
            for n in range(self._writers)
        ]
        if self._source.server.kind != "postgresql":
            threads.append(threading.Thread(target=self._flush, args=(random.Random(self._seed),)))
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()
        assert not self._errors, self._errors

    def committed_reach(self, count: int, seconds: float) -> None:
        """Wait until so many transactions were committed."""
        with self._counted:
            assert self._counted.wait_for(
                lambda: self.committed >= count or self._errors, seconds
            ), f"{self.committed} transactions in {seconds} seconds"

    def _write(self, chosen: random.Random) -> None:
        try:
            with closing(self._source.server.connect(self._source.database)) as connection:
                if self._source.server.kind == "postgresql":
                    connection.autocommit = False
                else:
                    connection.autocommit(False)
                    # Who waits for a row keeps its table from being closed, and so whoever has
                    # the row from going on: no server sees that circle.
                    connection.cursor().execute("SET SESSION innodb_lock_wait_timeout = 1")
                while not self._stop.wait(self._pause):
                    self._transact(connection, chosen)
        except BaseException as error:
            self._errors.append(error)

    def _flush(self, chosen: random.Random) -> None:
        """Close tables under the writers' hands, and keep them out for a moment."""
        try:
            with closing(self._source.server.connect(self._source.database)) as connection:
                cursor = connection.cursor()
                cursor.execute("SET SESSION lock_wait_timeout = 1")
                while not self._stop.wait(chosen.uniform(0.2, 1.5)):
                    for statement in chosen.choice(FLUSHES):
                        with suppress(OperationalError):  # the writers kept it waiting
                            cursor.execute(statement)
        except BaseException as error:
            self._errors.append(error)

    def _transact(self, connection: Any, chosen: random.Random) -> None:
        with connection.cursor() as cursor:
            try:
                if self._source.server.kind != "postgresql":
                    cursor.execute("BEGIN")
                for _ in range(chosen.randint(1, 8)):
                    self._step(cursor, chosen)
                if chosen.random() < 0.15:
                    connection.rollback()
                    return
                connection.commit()
                with self._counted:
                    self.committed += 1
                    self._counted.notify_all()
            except Exception as error:
                if not refused(error):
                    raise
                with suppress(Exception):
                    connection.rollback()

    def _step(self, cursor: Any, chosen: random.Random) -> None:
        if chosen.random() < 0.1:
            cursor.execute("SAVEPOINT here")
            for statement in chosen.choice(STATEMENTS)(chosen):
                cursor.execute(statement)
            cursor.execute(chosen.choice(["ROLLBACK TO SAVEPOINT here", "RELEASE SAVEPOINT here"]))
            return
        for statement in chosen.choice(STATEMENTS)(chosen):
            cursor.execute(statement)


def refused(error: Exception) -> bool:
    """True for what concurrent writers may run into: duplicates, deadlocks, missing parents."""
    state = getattr(error, "sqlstate", None)
    number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    return state in ("23505", "23503", "40P01", "40001") or number in (
        1062, 1205, 1213, 1451, 1452, 1020, 3572,
    )  # fmt: skip


def _insert_keyed(r: random.Random) -> list[str]:
    first = r.randint(0, 10**12)
    rows = (f"({first + i}, {i % 9}, 'é\\t{i}', -{i}.5, NULL)" for i in range(r.randint(1, 30)))
    return [f"INSERT INTO keyed (id, grp, label, amount, note) VALUES {', '.join(rows)}"]


def _note(r: random.Random) -> list[str]:
    note = "NULL" if r.random() < 0.3 else f"'{r.choice('abc')}{NOTE}'"
    return [f"UPDATE keyed SET note = {note} WHERE id = {r.randint(0, 400)}"]


def _update_keyed(r: random.Random) -> list[str]:
    low = r.randint(0, 400)
    label = r.choice(["''", "NULL", "'u'", "'\\\\N'"])
    return [f"UPDATE keyed SET label = {label}, amount = amount + 1.001 WHERE id BETWEEN {low} AND"
            f" {low + r.choice([0, 0, 3, 60])}"]  # fmt: skip


def _move_keyed(r: random.Random) -> list[str]:
    return [f"UPDATE keyed SET id = {r.randint(0, 400)} WHERE id = {r.randint(0, 400)}"]


def _delete_keyed(r: random.Random) -> list[str]:
    return [f"DELETE FROM keyed WHERE id = {r.randint(0, 400)}"]


def _put_pair(r: random.Random) -> list[str]:
    b = r.choice(["a", "A", "b", "ä"])
    return [f"INSERT INTO pair VALUES ({r.randint(0, 20)}, '{b}', {r.randint(0, 1000)})"]


def _swap_pair(r: random.Random) -> list[str]:
    """Two rows exchange a unique value."""
    one, other = r.randint(0, 20), r.randint(0, 20)
    return [
        f"UPDATE pair SET v = -1 - v WHERE a IN ({one}, {other}) AND v >= 0",
        f"UPDATE pair SET v = 100000 + a * 10 WHERE a = {one} AND b = 'a'",
        f"UPDATE pair SET v = -1 - v WHERE a IN ({one}, {other}) AND v < 0",
    ]


def _drop_pair(r: random.Random) -> list[str]:
    return [f"DELETE FROM pair WHERE a = {r.randint(0, 20)}"]


def _put_bag(r: random.Random) -> list[str]:
    y = r.choice(["NULL", "''", "'b0'", "'b1'"])
    return [f"INSERT INTO bag VALUES ({r.randint(0, 4)}, {y}), ({r.randint(0, 4)}, {y})"]


def _drop_bag(r: random.Random) -> list[str]:
    return [f"DELETE FROM bag WHERE x = {r.randint(0, 4)} AND y = 'b{r.randint(0, 2)}'"]


def _update_bag(r: random.Random) -> list[str]:
    return [f"UPDATE bag SET y = 'b{r.randint(0, 2)}' WHERE x = {r.randint(0, 4)} AND y IS NULL"]


def _put_family(r: random.Random) -> list[str]:
    parent, child = r.randint(0, 60), r.randint(200, 10**6)
    return [
        f"INSERT INTO parent VALUES ({parent}, 'new')",
        f"INSERT INTO child VALUES ({child}, {parent}, {parent}, 1)",
    ]


def _drop_parent(r: random.Random) -> list[str]:
    return [f"DELETE FROM parent WHERE id = {r.randint(0, 60)}"]


def _update_child(r: random.Random) -> list[str]:
    return [f"UPDATE child SET n = n + 1, parent_id = {r.randint(0, 60)}"
            f" WHERE id < {r.randint(0, 200)} AND n % 5 = {r.randint(0, 4)}"]  # fmt: skip


def _child_again(r: random.Random) -> list[str]:
    """A row is changed, goes and comes again: a DELETE has another table map on MySQL 9."""
    one, other = r.randint(0, 200), r.randint(0, 200)
    steps = [
        f"UPDATE child SET n = n + 100 WHERE id = {one}",
        f"DELETE FROM child WHERE id = {one}",
        f"INSERT INTO child VALUES ({one}, NULL, NULL, {r.randint(0, 9)})",
        f"DELETE FROM child WHERE id = {other}",
        f"UPDATE child SET id = {other} WHERE id = {one}",
    ]
    return steps[r.randint(0, 2) : r.randint(3, 5)]


def _tag(r: random.Random) -> list[str]:
    parent, word = r.randint(0, 40), f"w{r.randint(0, 2)}"
    return r.sample(
        [
            f"INSERT INTO tag SELECT id, '{word}' FROM parent WHERE id = {parent}",
            f"DELETE FROM tag WHERE parent_id = {parent} AND word = '{word}'",
            f"UPDATE tag SET word = '{word}' WHERE parent_id = {parent}",
            f"INSERT INTO tag SELECT id, 'w9' FROM parent WHERE id BETWEEN {parent} AND 40",
        ],
        r.randint(1, 4),
    )


def _truncate(r: random.Random) -> list[str]:
    return ["DELETE FROM bag WHERE x = 3"]


STATEMENTS: list[Callable[[random.Random], list[str]]] = [
    _insert_keyed, _note, _update_keyed, _update_keyed, _move_keyed, _delete_keyed, _put_pair,
    _put_pair, _swap_pair, _drop_pair, _put_bag, _put_bag, _drop_bag, _update_bag, _put_family,
    _drop_parent, _update_child, _child_again, _child_again, _tag, _tag, _truncate,
]  # fmt: skip
