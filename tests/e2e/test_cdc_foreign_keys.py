"""CASE A32: foreign keys of the target, where they rest and where they act."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import zip_longest
from typing import Any

import pytest

from streams_engine import State, Stream
from streams_engine.adapters.postgres.replication.ddl_events import TRIGGERS
from streams_engine.errors import RowRejected
from streams_engine.testing.servers import Server
from tests.support.databases import End, account
from tests.support.workload import differences, make_tables

SECONDS = 120

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


ACTIONS = {
    "cascade": "ON DELETE CASCADE ON UPDATE CASCADE",
    "nulled": "ON DELETE SET NULL ON UPDATE CASCADE",
    "cut": "ON DELETE CASCADE ON UPDATE SET NULL",
    "restrict": "ON DELETE RESTRICT ON UPDATE RESTRICT",
    "refused": "ON DELETE NO ACTION ON UPDATE NO ACTION",
}
IDLE = ("ON DELETE RESTRICT", "ON DELETE NO ACTION")
"""Which do nothing to children when their parent goes, or moves."""

FREE = (
    # Each a transaction that leaves no child behind by itself, whatever the foreign key does.
    ("INSERT INTO p VALUES (301, 301)", "INSERT INTO c VALUES (1303, 301, 1)"),
    ("INSERT INTO p VALUES (302, 302)", "UPDATE c SET p = 302 WHERE p = 301",
     "DELETE FROM p WHERE id = 301"),
    # The parent's first change comes before those of its children, and its end after them.
    ("UPDATE p SET code = 5 WHERE id = 1", "UPDATE c SET p = 2 WHERE p = 1",
     "DELETE FROM p WHERE id = 1"),
    # Parents exchange a unique value.
    ("UPDATE p SET code = -1 WHERE id = 2", "UPDATE p SET code = 102 WHERE id = 3",
     "UPDATE p SET code = 103 WHERE id = 2"),
    # A unique value is taken over from a parent that goes.
    ("DELETE FROM c WHERE p = 4", "DELETE FROM p WHERE id = 4",
     "INSERT INTO p VALUES (400, 104)", "INSERT INTO c VALUES (1040, 400, 1)"),
    ("DELETE FROM c WHERE p = 6", "DELETE FROM p WHERE id = 6",
     "INSERT INTO p VALUES (6, 6)", "INSERT INTO c VALUES (1006, 6, 1)"),
    # Nobody refers to the parent that moves.
    ("DELETE FROM c WHERE p = 7", "UPDATE p SET id = 700 WHERE id = 7"),
)  # fmt: skip
MOVES = (
    ("UPDATE p SET id = 303 WHERE id = 302",),
    ("UPDATE p SET id = 113 WHERE id = 13", "UPDATE p SET id = 13 WHERE id = 12",
     "UPDATE p SET id = 12 WHERE id = 11"),
    ("UPDATE p SET id = -1 WHERE id = 14", "UPDATE p SET id = 14 WHERE id = 15",
     "UPDATE p SET id = 15 WHERE id = -1"),
    ("UPDATE p SET id = 171 WHERE id = 17", "UPDATE c SET n = n + 1 WHERE p = 171",
     "INSERT INTO c VALUES (1171, 171, 1)"),
    ("UPDATE p SET id = 181, code = 181 WHERE id = 18", "INSERT INTO p VALUES (18, 118)"),
    tuple(f"UPDATE p SET id = {1000 + i} WHERE id = {i}" for i in range(20, 60)),
)  # fmt: skip
DELETES = (
    ("DELETE FROM p WHERE id = 8",),
    ("UPDATE p SET code = 9 WHERE id = 9", "DELETE FROM p WHERE id IN (9, 10)",
     "INSERT INTO p VALUES (9, 109)"),
    ("DELETE FROM p WHERE id BETWEEN 60 AND 99",),
)  # fmt: skip
TREE = (
    ("INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 2), (4, 1)",),
    ("UPDATE tree SET up = 4 WHERE id = 3", "DELETE FROM tree WHERE id = 2"),
    ("DELETE FROM tree WHERE id = 1",),
)


def family(name: str, transaction: tuple[str, ...]) -> tuple[str, ...]:
    """The statements for the tables of one kind of foreign key."""
    words = {"p": f"p_{name}", "c": f"c_{name}"}
    return tuple(
        re.sub(r"(INTO|UPDATE|FROM) ([pc])\b", lambda m: f"{m[1]} {words[m[2]]}", statement)
        for statement in transaction
    )


def rounds(kind: str) -> Iterator[list[tuple[str, ...]]]:
    """Transactions to be caught up with together: no two of them touch the same tables."""
    # InnoDB has no ON UPDATE CASCADE to the table itself.
    move = (("UPDATE tree SET id = 5 WHERE id = 4",),) if kind == "postgresql" else ()
    several = [[*TREE[:2], *move, *TREE[2:]]]
    for name, action in ACTIONS.items():
        more = () if action.startswith(IDLE) else MOVES + DELETES
        several.append([family(name, transaction) for transaction in (*FREE, *more)])
    for together in zip_longest(*several):
        yield [transaction for transaction in together if transaction]


def make_families(end: End) -> list[str]:
    """Tables whose foreign keys do each of what one can do. Returns their names."""
    end.run(
        "CREATE TABLE tree (id int PRIMARY KEY, up int,"
        " FOREIGN KEY (up) REFERENCES tree (id) ON DELETE CASCADE ON UPDATE CASCADE)"
    )
    names = ["tree"]
    for name, action in ACTIONS.items():
        parent, child = f"p_{name}", f"c_{name}"
        end.run(
            f"CREATE TABLE {parent} (id int PRIMARY KEY, code int UNIQUE)",
            f"CREATE TABLE {child} (id int PRIMARY KEY, p int, n int,"
            f" FOREIGN KEY (p) REFERENCES {parent} (id) {action})",
            f"INSERT INTO {parent} VALUES "
            + ", ".join(f"({i}, {100 + i if i < 18 else 1000 + i})" for i in range(1, 100)),
            f"INSERT INTO {child} VALUES "
            + ", ".join(f"({i}, {i % 99 + 1}, 0)" for i in range(300)),
        )
        names += [parent, child]
    return names


@contextmanager
def bare(server: Server, target: End, who: str) -> Iterator[str]:
    """The target's URL for an account for which foreign keys act, where they can."""
    if server.kind != "postgresql":
        yield target.url
        return
    grant = f'GRANT ALL ON DATABASE "{target.database}" TO {{who}}'
    with account(server, who, "pw", grant) as login, owned(target, who):
        target.run(f"GRANT ALL ON SCHEMA public TO {who}")
        yield login + target.database


@pytest.mark.parametrize("target_name", ["pg18", "mysql9"])
@pytest.mark.parametrize("source_name", ["mysql9", "mariadb", "pg18"])
@pytest.mark.parametrize("together", [False, True], ids=["one by one", "in one set"])
def test_a32_no_row_is_lost_to_a_foreign_key_that_acts(
    source_name: str,
    target_name: str,
    together: bool,
    request: pytest.FixtureRequest,
    database: Any,
) -> None:
    """Whatever the source's foreign keys did, or let be, the target has the same rows."""
    servers = [request.getfixturevalue(name) for name in (source_name, target_name)]
    source, target = (End(server, database(server)) for server in servers)
    tables = make_families(source)
    name = f"kin {source_name} {target_name} {together}"
    with (
        bare(servers[1], target, f"kin_{source_name}_{int(together)}") as url,
        Stream(source.url, url, mode="cdc", name=name) as stream,
    ):
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        if together:
            stream.pause()
            stream.wait(State.PAUSED, timeout=SECONDS)
        for transactions in rounds(source.server.kind):
            for transaction in transactions:
                source.run("BEGIN", *transaction, "COMMIT")
            if not together:
                assert stream.catch_up(SECONDS), (transactions, stream.error)
                assert unlike(source, target, tables) == [], transactions
        if together:
            stream.resume()
            assert stream.catch_up(SECONDS), stream.error
            assert unlike(source, target, tables) == []
        changes = stream.stats().changes
        assert changes is not None and changes.unmet == 0
        stream.stop()
        stream.wait(timeout=SECONDS)
        stream.release()


def unlike(source: End, target: End, tables: list[str]) -> list[tuple[str, list[Any], list[Any]]]:
    """The tables whose rows are not the same, with what either side alone has."""
    found = []
    for table in tables:
        one, other = (set(end.rows(f"SELECT * FROM {table}")) for end in (source, target))
        if one != other:
            found.append((table, sorted(one - other, key=str), sorted(other - one, key=str)))
    return found


@pytest.mark.parametrize("rows", [3, 7])
def test_a32_a_transaction_that_comes_in_parts(
    pg18: Server, database: Any, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    """What becomes of the children is not known yet where a parent moves or goes, and rows that
    exchange unique values may be parted, or come together."""
    monkeypatch.setattr(
        "streams_engine.adapters.postgres.replication.pending_messages.ROWS_BUDGET", rows
    )
    source, target = (End(pg18, database(pg18)) for _ in range(2))
    tables = make_families(source)
    with (
        bare(pg18, target, "parts") as url,
        Stream(source.url, url, mode="cdc", name="parts") as stream,
    ):
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        for transactions in rounds(pg18.kind):
            source.run("BEGIN", *sum(transactions, ()), "COMMIT")
            assert stream.catch_up(SECONDS), (transactions, stream.error)
            assert unlike(source, target, tables) == [], transactions
        stream.stop()
        stream.wait(timeout=SECONDS)
        stream.release()


@pytest.mark.parametrize("statement", ["DELETE FROM parent WHERE id = 1", "TRUNCATE parent"])
def test_a32_what_a_foreign_key_would_take_too_much_is_refused(
    mysql9: Server, pg18: Server, database: Any, statement: str
) -> None:
    """The source keeps children without their parent; the target's foreign key could not."""
    source, target = End(mysql9, database(mysql9)), End(pg18, database(pg18))
    make_tables(source, 10)
    with (
        bare(pg18, target, "orphans") as url,
        Stream(source.url, url, mode="cdc", name="orphans") as stream,
    ):
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        before = target.rows("SELECT * FROM child ORDER BY id")
        source.run("SET foreign_key_checks = 0", statement)
        assert stream.wait(timeout=SECONDS) is State.FAILED
        assert isinstance(stream.error, RowRejected)
        assert "child" in str(stream.error) and "session_replication_role" in stream.error.remedy
        assert target.rows("SELECT * FROM child ORDER BY id") == before
        assert target.rows("SELECT count(*) FROM parent WHERE id = 1") == [(1,)]


def test_a_key_follows_its_column_and_its_table_that_are_renamed_together(
    pg18: Server, database: Any
) -> None:
    """The catalog has the table under its last name alone when its column is renamed in the log."""
    source, target = (End(pg18, database(pg18)) for _ in range(2))
    source.run(
        TRIGGERS,
        "CREATE TABLE p (id int PRIMARY KEY)",
        "CREATE TABLE c (id int PRIMARY KEY, p_id int UNIQUE REFERENCES p, own int REFERENCES c)",
        "INSERT INTO p VALUES (1)",
        "INSERT INTO c VALUES (1, 1, 1)",
    )
    with Stream(source.url, target.url, mode="cdc", name="renamed together") as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        source.run(
            "BEGIN",
            "ALTER TABLE c RENAME COLUMN p_id TO q_id",
            "ALTER TABLE c RENAME COLUMN id TO key",
            "ALTER TABLE c RENAME TO d",
            "INSERT INTO d VALUES (2, NULL, 1)",
            "COMMIT",
        )
        assert stream.catch_up(SECONDS), stream.error
        keys = (
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE conrelid = 'd'::regclass AND contype IN ('f', 'u', 'p') ORDER BY 1"
        )
        assert target.rows(keys) == source.rows(keys)
        assert target.rows("SELECT * FROM d ORDER BY 1") == [(1, 1, 1), (2, None, 1)]
        stream.stop()
        stream.wait(timeout=SECONDS)
        stream.release()


def test_a_key_to_a_table_that_joins_is_not_said_to_be_left_out(
    pg18: Server, database: Any
) -> None:
    """The parent is new, and joins after the change that has its child refer to it."""
    source, target = (End(pg18, database(pg18)) for _ in range(2))
    source.run("CREATE TABLE c (id int PRIMARY KEY)", "INSERT INTO c VALUES (1)")
    with Stream(source.url, target.url, mode="cdc", name="a key waits") as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        source.run(
            "BEGIN",
            "CREATE TABLE p (id int PRIMARY KEY)",
            "INSERT INTO p VALUES (7)",
            "ALTER TABLE c ADD p_id int REFERENCES p",
            "INSERT INTO c VALUES (2, 7)",
            "COMMIT",
        )
        assert stream.catch_up(SECONDS), stream.error
        codes = {f.code for f in stream.stats().findings if f.object.endswith("c_p_id_fkey")}
        assert codes == {"foreign-key-waits"}
        assert target.rows("SELECT * FROM c ORDER BY 1") == [(1, None), (2, 7)]
        keys = "SELECT conname FROM pg_constraint WHERE conrelid = 'c'::regclass AND contype = 'f'"
        assert target.rows(keys) == [("c_p_id_fkey",)]
        stream.stop()
        stream.wait(timeout=SECONDS)
        stream.release()


def test_a_table_that_is_read_again_amid_rows_is_not_said_to_be_so_for_a_key(
    pg18: Server, database: Any
) -> None:
    """Rows of its transaction were applied already: the next session begins by reading it."""
    source, target = (End(pg18, database(pg18)) for _ in range(2))
    source.run("CREATE TABLE t (id int PRIMARY KEY, n int)", "INSERT INTO t VALUES (1, 1)")
    with Stream(source.url, target.url, mode="cdc", name="read again") as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        source.run(
            "BEGIN",
            "INSERT INTO t VALUES (2, 2)",
            "ALTER TABLE t ALTER n TYPE bigint USING n * 100",
            "INSERT INTO t VALUES (3, 3)",
            "COMMIT",
        )
        assert stream.catch_up(SECONDS), stream.error
        (told,) = [f for f in stream.stats().findings if f.code == "table-reloaded"]
        assert told.message.startswith("A schema change"), told.message
        assert target.rows("SELECT * FROM t ORDER BY 1") == [(1, 100), (2, 200), (3, 3)]
        stream.stop()
        stream.wait(timeout=SECONDS)
        stream.release()
