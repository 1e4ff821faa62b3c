"""Rows go into tables whose foreign keys are there and lead back to themselves: of two tables that
refer to each other, and of one that refers to itself. Afterwards the keys are there as before."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from streams_engine import State, Stream
from streams_engine.errors import StreamsError
from streams_engine.model import Finding, Severity
from streams_engine.testing.servers import Server
from tests.support.databases import End, account, move
from tests.support.kills import child

SECONDS = 90.0

UNCHECKED = {
    "mysql": "SET foreign_key_checks = 0",
    "pg": "SET session_replication_role = replica",
}

TABLES = (
    "CREATE TABLE orders (id int PRIMARY KEY, paid int)",
    "CREATE TABLE payments (id int PRIMARY KEY, pays int, CONSTRAINT payments_order"
    " FOREIGN KEY (pays) REFERENCES orders (id) ON DELETE CASCADE)",
    "ALTER TABLE orders ADD CONSTRAINT orders_payment FOREIGN KEY (paid) REFERENCES payments (id)",
    "CREATE TABLE ring (id int PRIMARY KEY, up int, CONSTRAINT ring_up FOREIGN KEY (up)"
    " REFERENCES ring (id))",
    "CREATE TABLE leaf (id int PRIMARY KEY, pays int, CONSTRAINT leaf_payment FOREIGN KEY (pays)"
    " REFERENCES payments (id))",
    "INSERT INTO orders VALUES (1, NULL), (2, NULL)",
    "INSERT INTO payments VALUES (7, 1), (8, 2)",
    "UPDATE orders SET paid = id + 6",
    "INSERT INTO ring VALUES (1, NULL), (2, 1)",
    "UPDATE ring SET up = 2 WHERE id = 1",
    "INSERT INTO leaf VALUES (1, 8)",
)
NAMES = ("orders", "payments", "ring", "leaf")
CYCLES = {"orders_payment", "payments_order", "ring_up"}
KEYS = CYCLES | {"leaf_payment"}

TARGETS = ["pg18", "mysql9", "mariadb"]
ROUTES = [
    ("mysql9", "pg18"),
    ("mysql9", "mysql9"),
    ("pg18", "pg18"),
    ("pg18", "mariadb"),
]


def _family(server: Server) -> str:
    return "mysql" if server.kind in ("mysql", "mariadb") else "pg"


@pytest.fixture
def ends(request: pytest.FixtureRequest, database: Any) -> Any:
    """Make the two ends of a route; the source has the tables."""

    def make(source_name: str, target_name: str) -> tuple[End, End]:
        servers = [request.getfixturevalue(name) for name in (source_name, target_name)]
        source, target = (End(server, database(server)) for server in servers)
        source.run(*TABLES)
        return source, target

    return make


def _keys(end: End) -> dict[str, str]:
    """The foreign keys of a database, and what each does on DELETE."""
    if _family(end.server) == "pg":
        query = (
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE contype = 'f' AND convalidated"
        )
    else:
        query = (
            "SELECT constraint_name, replace("  # InnoDB takes RESTRICT and NO ACTION for one
            "concat(referenced_table_name, delete_rule, update_rule), 'RESTRICT', 'NO ACTION')"
            " FROM information_schema.referential_constraints"
            f" WHERE constraint_schema = '{end.database}'"
        )
    return {name: text for name, text in end.rows(query)}


def _rows(end: End) -> list[list[tuple[Any, ...]]]:
    return [end.rows(f"SELECT * FROM {name} ORDER BY 1") for name in NAMES]


def _unchecked(end: End, *statements: str) -> None:
    with closing(end.server.connect(end.database)) as connection:
        cursor = connection.cursor()
        for statement in (UNCHECKED[_family(end.server)], *statements):
            cursor.execute(statement)


@pytest.mark.parametrize("options", [{"parallelism": 1}, {"parallelism": 2}, {"fresh": True}])
@pytest.mark.parametrize("route", ROUTES, ids="-".join)
def test_tables_that_refer_to_each_other_are_emptied_and_loaded(
    ends: Any, route: tuple[str, str], options: dict[str, Any]
) -> None:
    source, target = ends(*route)
    move(source, target)
    before = _keys(target)
    assert before.keys() == KEYS
    source.run("INSERT INTO ring VALUES (3, 2)", "UPDATE ring SET up = 3 WHERE id = 1")
    fresh = {k: v for k, v in options.items() if k == "fresh"}
    rest = {k: v for k, v in options.items() if k != "fresh"}
    stream = Stream(source.url, target.url, write_mode="truncate_and_load", **rest)
    stats = stream.run(**fresh)
    assert stats.errors == ()
    assert _rows(target) == _rows(source)
    assert _keys(target) == before
    told = [f.object for f in stats.findings if f.code == "foreign-key-dropped"]
    assert len(told) == 3 and not any("leaf" in text for text in told)


@pytest.mark.parametrize("target_name", TARGETS)
def test_append_and_upsert_reach_tables_that_refer_to_each_other(
    ends: Any, target_name: str
) -> None:
    source, target = ends("mysql9", target_name)
    move(source, target)
    before = _keys(target)
    target.run("UPDATE orders SET paid = NULL", "DELETE FROM leaf", "DELETE FROM payments")
    move(source, target, write_mode="upsert", parallelism=2)
    assert _rows(target) == _rows(source)
    _unchecked(target, *(f"DELETE FROM {name}" for name in NAMES))
    move(source, target, write_mode="append", parallelism=2)
    assert _rows(target) == _rows(source)
    assert _keys(target) == before


@pytest.mark.parametrize("target_name", TARGETS)
def test_a_row_that_refers_to_none_is_told_and_its_key_left_out(
    ends: Any, target_name: str
) -> None:
    source, target = ends("mysql9", target_name)
    move(source, target)
    _unchecked(source, "INSERT INTO payments VALUES (9, 99)")
    stats = move(source, target, write_mode="truncate_and_load", parallelism=2)
    (told,) = stats.errors
    assert (told.code, told.severity) == ("orphans", Severity.ERROR)
    assert "payments_order" in told.object and "1 row refers" in told.message
    assert _rows(target) == _rows(source)
    assert _keys(target).keys() == KEYS - {"payments_order"}


def test_keys_come_back_as_they_were(ends: Any) -> None:
    """Of partitions, deferred ones, with their comments; a key that is not proved stays."""
    source, target = ends("pg18", "pg18")
    source.run(
        "CREATE TABLE split (id int, at int, up int, PRIMARY KEY (id, at)) PARTITION BY RANGE (at)",
        "CREATE TABLE split_1 PARTITION OF split FOR VALUES FROM (1) TO (10)",
        "CREATE TABLE split_2 PARTITION OF split FOR VALUES FROM (10) TO (20)",
        "ALTER TABLE split ADD CONSTRAINT whole FOREIGN KEY (up, at) REFERENCES split (id, at)"
        " DEFERRABLE INITIALLY DEFERRED",
        "COMMENT ON CONSTRAINT whole ON split IS 'of all'",
        "ALTER TABLE split_1 ADD CONSTRAINT part FOREIGN KEY (up, at) REFERENCES split_1 (id, at)"
        " ON DELETE CASCADE",
        "ALTER TABLE split_2 ADD CONSTRAINT outer_part FOREIGN KEY (up, at)"
        " REFERENCES split_1 (id, at) NOT VALID",
        "INSERT INTO split VALUES (1, 1, NULL), (2, 1, 1), (3, 11, NULL)",
        "UPDATE split SET up = 2 WHERE id = 1",
    )
    move(source, target)
    query = (
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(c.oid),"
        " obj_description(c.oid, 'pg_constraint') FROM pg_constraint c WHERE contype = 'f'"
        " AND conname !~ '_[0-9]+$' ORDER BY 1, 2, 3"
    )
    before = target.rows(query)
    stats = move(source, target, write_mode="truncate_and_load", parallelism=2)
    assert stats.errors == ()
    assert len(_told(stats.findings, "foreign-key-dropped")) == 5
    assert target.rows(query) == before == source.rows(query)
    assert target.rows("SELECT * FROM split ORDER BY 1") == source.rows(
        "SELECT * FROM split ORDER BY 1"
    )


CHILD = """
import os, signal, sys
from streams_engine import Stream, faults
source, target, point, mode = sys.argv[1:5]
def reached(name):
    if name == point:
        print("killed", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
faults.install(reached)
Stream(source, target, name="back", write_mode=mode).run()
"""


ANSWERS = """
import os, signal, sys
from urllib.parse import urlsplit
import psycopg, pymysql.connections
from streams_engine import Stream
source, target, left = sys.argv[1], sys.argv[2], int(sys.argv[3])
end = urlsplit(target)

def answered(port):
    global left
    if port == end.port:
        left -= 1
        if left == 0:
            print("killed", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

def told(cls, name, port):
    plain = getattr(cls, name)
    def tell(self, *given, **named):
        found = plain(self, *given, **named)
        answered(port(self))
        return found
    setattr(cls, name, tell)

told(pymysql.connections.Connection, "_read_query_result", lambda c: c.port)
told(psycopg.Connection, "wait", lambda c: c.info.port)
Stream(source, target, name="back", write_mode="truncate_and_load").run()
"""
EVERY = 25
"""One in so many answers."""


@pytest.mark.parametrize("fresh", [False, True], ids=["resumed", "fresh"])
@pytest.mark.parametrize("target_name", TARGETS)
def test_keys_come_back_after_a_kill(ends: Any, target_name: str, fresh: bool) -> None:
    source, target = ends("mysql9", target_name)
    move(source, target)
    before = _keys(target)
    mode = "truncate_and_load"
    with child(CHILD, source.url, target.url, "load: structure made", mode) as process:
        assert "killed" in process.told(SECONDS)
    assert _keys(target).keys() == KEYS - CYCLES
    stream = Stream(source.url, target.url, name="back", write_mode=mode)
    stream.run(fresh=fresh)
    assert stream.state is State.FINISHED
    assert _rows(target) == _rows(source)
    assert _keys(target) == before


@pytest.mark.parametrize("target_name", TARGETS)
def test_keys_of_a_killed_load_come_back_with_other_tables(ends: Any, target_name: str) -> None:
    """A later start leaves tables out: their keys come back all the same."""
    source, target = ends("mysql9", target_name)
    move(source, target)
    before = _keys(target)
    mode = "append"
    _unchecked(target, *(f"DELETE FROM {name}" for name in NAMES))
    with child(CHILD, source.url, target.url, "load: structure made", mode) as process:
        assert "killed" in process.told(SECONDS)
    stream = Stream(source.url, target.url, name="back", write_mode=mode, tables=["ring"])
    stream.run(fresh=True)
    assert target.rows("SELECT count(*) FROM ring") == [(2,)]
    assert _keys(target) == before


@pytest.mark.parametrize("target_name", TARGETS)
def test_tables_that_are_made_again_get_their_keys_once(ends: Any, target_name: str) -> None:
    source, target = ends("mysql9", target_name)
    move(source, target)
    before = _keys(target)
    mode = "truncate_and_load"
    with child(CHILD, source.url, target.url, "load: structure made", mode) as process:
        assert "killed" in process.told(SECONDS)
    policy = "drop_and_recreate"
    Stream(source.url, target.url, name="back", schema_policy=policy).run(fresh=True)
    assert _rows(target) == _rows(source)
    assert _keys(target) == before


@pytest.mark.soak
@pytest.mark.parametrize("every", [EVERY, 1], ids=["some", "each"])
@pytest.mark.parametrize("target_name", TARGETS)
def test_a_load_goes_on_wherever_it_was_killed(ends: Any, target_name: str, every: int) -> None:
    """Also between two statements of MySQL, where each commits: what was not emptied then is."""
    source, target = ends("mysql9", target_name)
    move(source, target)
    before = _keys(target)
    mode = "truncate_and_load"
    answers, ended = every // 2 + 1, False
    while not ended:
        with child(ANSWERS, source.url, target.url, str(answers)) as process:
            ended = "killed" not in process.told(SECONDS)
        if not ended:
            Stream(source.url, target.url, name="back", write_mode=mode).run()
        assert _rows(target) == _rows(source), answers
        assert _keys(target) == before, answers
        answers += every


@pytest.mark.parametrize("target_name", TARGETS)
def test_tables_of_others_keep_their_structure_after_a_kill(ends: Any, target_name: str) -> None:
    """They have keys under other names, and no index of the source's: a resumed load adds none."""
    source, target = ends("mysql9", target_name)
    source.run("CREATE INDEX ring_more ON ring (up, id)")
    other = {name: f"my_{name}" for name in KEYS}
    for statement in TABLES:
        if statement.startswith(("CREATE", "ALTER")):
            for name, mine in other.items():
                statement = statement.replace(f"CONSTRAINT {name}", f"CONSTRAINT {mine}")
            target.run(statement)
    before = _keys(target)
    assert before.keys() == set(other.values())
    mode = "truncate_and_load"
    for _ in range(2):
        with child(CHILD, source.url, target.url, "load: structure made", mode) as process:
            assert "killed" in process.told(SECONDS)
    Stream(source.url, target.url, name="back", write_mode=mode).run()
    assert _rows(target) == _rows(source)
    assert _keys(target) == before
    table = "pg_indexes" if target_name == "pg18" else "information_schema.statistics"
    column = "indexname" if target_name == "pg18" else "index_name"
    schema = "" if target_name == "pg18" else f" AND table_schema = '{target.database}'"
    query = f"SELECT count(*) FROM {table} WHERE {column} = 'ring_more'{schema}"
    assert target.rows(query) == [(0,)]


@pytest.mark.parametrize("target_name", TARGETS)
def test_a_table_that_others_refer_to_is_not_emptied(ends: Any, target_name: str) -> None:
    source, target = ends("mysql9", target_name)
    move(source, target)
    with pytest.raises(StreamsError, match="refers to") as caught:
        move(source, target, write_mode="truncate_and_load", tables=["orders", "payments"])
    assert caught.value.code == "TARGET_CONFLICT"
    assert "drop" in str(caught.value.remedy)
    assert _rows(target) == _rows(source)
    assert _keys(target).keys() == KEYS


def test_a_failed_load_is_started_again(ends: Any) -> None:
    """A bad row ends the load; once it is repaired, the keys are there again."""
    source, target = ends("mysql9", "pg18")
    move(source, target)
    before = _keys(target)
    target.run("ALTER TABLE ring ADD CHECK (id < 50)")
    source.run("INSERT INTO ring VALUES (60, 1)")
    stream = Stream(source.url, target.url, write_mode="truncate_and_load")
    with pytest.raises(StreamsError, match="ring"):
        stream.run()
    source.run("DELETE FROM ring WHERE id = 60")
    Stream(source.url, target.url, write_mode="truncate_and_load").run()
    assert _rows(target) == _rows(source)
    assert _keys(target) == before


def test_an_account_that_may_not_drop_a_key_is_told(ends: Any) -> None:
    """Who may only write rows loads a table that refers to itself as far as its key allows."""
    source, target = ends("mysql9", "pg18")
    move(source, target)
    before = _keys(target)
    _unchecked(target, *(f"DELETE FROM {name}" for name in NAMES))
    grants = [f"GRANT CREATE ON DATABASE {target.database} TO writer"]
    with account(target.server, "writer", "secret", *grants) as url:
        target.run("GRANT SELECT, INSERT ON ring TO writer")
        stats = move(source, url + target.database, tables=["ring"], write_mode="append")
        target.run("DROP OWNED BY writer")
    assert _told(stats.findings, "foreign-key-enforced") == ["constraint ring_up of public.ring"]
    in_order = "SELECT * FROM ring ORDER BY 1"
    assert target.rows(in_order) == source.rows(in_order)
    assert _keys(target) == before


def _told(findings: Any, code: str) -> list[str]:
    some: list[Finding] = list(findings)
    return [f.object for f in some if f.code == code]
