"""A change of structure, and the rows that were there: what no message of a log says of them.

Each case is a table, statements, and what only the source's own rows can tell. The target has the
same rows afterwards, whether the statements came while the stream followed or while it was stopped.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from streams_engine import State, Stream
from streams_engine.errors import ServerError
from streams_engine.testing.servers import Server
from tests.support.cdc import OWN_SLOTS, caught_up, is_postgres
from tests.support.databases import End
from tests.support.fault_points import once_at
from tests.support.stream_control import SECONDS

ITEM = ("CREATE TABLE item (id int PRIMARY KEY, qty int)", "INSERT INTO item VALUES (1, 5), (2, 7)")
EVENTS = (
    "CREATE TABLE item (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day)",
    "CREATE TABLE item_22 PARTITION OF item FOR VALUES FROM ('2022-01-01') TO ('2023-01-01')",
    "CREATE TABLE item_23 PARTITION OF item FOR VALUES FROM ('2023-01-01') TO ('2024-01-01')",
    "INSERT INTO item VALUES (1, '2022-05-05'), (2, '2023-05-05')",
)
MY_EVENTS = (
    "CREATE TABLE item (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (year(day)) "
    "(PARTITION p22 VALUES LESS THAN (2023), PARTITION p23 VALUES LESS THAN (2024))",
    "INSERT INTO item VALUES (1, '2022-05-05'), (2, '2023-05-05')",
)

POSTGRES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "constraints replaced under their names": (
        (
            "CREATE TABLE item (id int PRIMARY KEY, qty int CONSTRAINT small CHECK (qty < 10),"
            " CONSTRAINT one UNIQUE (qty))",
            "INSERT INTO item VALUES (1, 5), (2, 7)",
        ),
        (
            "ALTER TABLE item DROP CONSTRAINT small, ADD CONSTRAINT small CHECK (qty < 1000),"
            " DROP CONSTRAINT one, ADD CONSTRAINT one UNIQUE (qty, id)",
            "INSERT INTO item VALUES (3, 500), (4, 500)",
        ),
    ),
    "another default now": (ITEM, (
        "ALTER TABLE item ADD COLUMN v text DEFAULT 'old'",
        "ALTER TABLE item ALTER COLUMN v SET DEFAULT 'new'",
        "INSERT INTO item (id, qty) VALUES (3, 1)",
    )),
    "no default now": (ITEM, (
        "ALTER TABLE item ADD COLUMN v int NOT NULL DEFAULT 4",
        "ALTER TABLE item ALTER COLUMN v DROP DEFAULT",
        "INSERT INTO item VALUES (3, 1, 9)",
    )),
    "a default of each row": (ITEM, (
        "ALTER TABLE item ADD COLUMN v text DEFAULT md5(random()::text)",
        "UPDATE item SET qty = 0 WHERE id = 1",
    )),
    "a type with USING": (ITEM, (
        "ALTER TABLE item ALTER COLUMN qty TYPE bigint USING qty * 100",
        "INSERT INTO item VALUES (3, 1)",
    )),
    "renamed without a row": (ITEM, ("ALTER TABLE item RENAME COLUMN qty TO amount",)),
    "dropped and added again": (ITEM, (
        "ALTER TABLE item DROP COLUMN qty",
        "ALTER TABLE item ADD COLUMN qty int DEFAULT 1",
        "UPDATE item SET qty = 3 WHERE id = 2",
    )),
    "dropped and added as it was": (ITEM, (
        "ALTER TABLE item DROP COLUMN qty, ADD COLUMN qty int",
        "INSERT INTO item VALUES (3, 9)",
    )),
    "truncated partition": (EVENTS, (
        "TRUNCATE item_22", "INSERT INTO item VALUES (3, '2023-06-06')",
    )),
    "dropped partition": (EVENTS, ("DROP TABLE item_22",)),
    "new partition": (EVENTS, (
        "CREATE TABLE item_24 PARTITION OF item FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')",
        "INSERT INTO item VALUES (3, '2024-06-06')",
    )),
    "attached with rows": (EVENTS, (
        "CREATE TABLE item_24 (id int NOT NULL, day date NOT NULL)",
        "INSERT INTO item_24 VALUES (3, '2024-06-06')",
        "ALTER TABLE item ATTACH PARTITION item_24 "
        "FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')",
        "INSERT INTO item VALUES (4, '2024-07-07')",
    )),
}  # fmt: skip
MYSQL: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "a default of each row": (ITEM, (
        "ALTER TABLE item ADD COLUMN v datetime(6) DEFAULT CURRENT_TIMESTAMP(6)",
        "UPDATE item SET qty = 0 WHERE id = 1",
    )),
    "a generated column": (ITEM, (
        "ALTER TABLE item ADD COLUMN v varchar(40) AS (upper(concat('x', qty)))",
        "INSERT INTO item (id, qty) VALUES (3, 1)",
    )),
    "longer bits": (
        (
            "CREATE TABLE item (id int PRIMARY KEY, v bit(10))",
            "INSERT INTO item VALUES (1, b'1000000001')",
        ),
        ("ALTER TABLE item MODIFY v bit(20)", "INSERT INTO item VALUES (2, b'11')"),
    ),
    "dropped and added again": (ITEM, (
        "ALTER TABLE item DROP COLUMN qty, ADD COLUMN qty varchar(9) DEFAULT 'new'",
        "INSERT INTO item (id) VALUES (3)",
    )),
    "names that are swapped": (ITEM, (
        "ALTER TABLE item ADD COLUMN w int DEFAULT 3",
        "ALTER TABLE item RENAME COLUMN qty TO w, RENAME COLUMN w TO qty",
        "INSERT INTO item (id, qty, w) VALUES (3, 30, 300)",
    )),
    "truncated partition": (MY_EVENTS, ("ALTER TABLE item TRUNCATE PARTITION p22",)),
    "dropped partition": (MY_EVENTS, (
        "ALTER TABLE item DROP PARTITION p22", "INSERT INTO item VALUES (3, '2023-06-06')",
    )),
    "exchanged partition": (MY_EVENTS, (
        "CREATE TABLE other (id int, day date, PRIMARY KEY (id, day))",
        "INSERT INTO other VALUES (9, '2022-09-09')",
        "ALTER TABLE item EXCHANGE PARTITION p22 WITH TABLE other",
    )),
}  # fmt: skip
ROUTES = [("pg15", "pg18"), ("pg18", "mysql9"), ("mysql9", "pg18"), ("mariadb", "mysql9")]
CASES = [
    pytest.param(source, target, case, id=f"{case}-{source}-{target}")
    for source, target in ROUTES
    for case in (POSTGRES if source.startswith("pg") else MYSQL)
]


@contextmanager
def two(request: Any, database: Any, source: str, target: str) -> Iterator[tuple[End, End]]:
    servers: list[Server] = [request.getfixturevalue(name) for name in (source, target)]
    ends = End(servers[0], database(servers[0])), End(servers[1], database(servers[1]))
    yield ends
    if is_postgres(ends[0]):
        ends[0].run(f"SELECT pg_terminate_backend(active_pid, 5000) {OWN_SLOTS} AND active")
        ends[0].run(f"SELECT pg_drop_replication_slot(slot_name) {OWN_SLOTS}")


def texts(end: End) -> list[str]:
    """The rows, by the server's own texts."""
    names = end.rows(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'item' "
        f"AND table_schema = '{'public' if is_postgres(end) else end.database}'"
    )
    shown = []
    for name, kind in sorted(names):
        if kind == "bit":
            text = f"{name}::text" if is_postgres(end) else f"lpad(bin({name}), 20, '0')"
        elif "time" in kind and is_postgres(end):
            text = f"to_char({name}, 'YYYY-MM-DD HH24:MI:SS.US')"
        elif kind == "date" and is_postgres(end):
            text = f"to_char({name}, 'YYYY-MM-DD')"
        else:
            text = f"CAST({name} AS char(40))"
        shown.append(f"coalesce(trim({text}), 'NULL')")
    rows = end.rows(f"SELECT {', '.join(shown)} FROM item")
    return sorted(repr((sorted(name for name, _ in names), row)) for row in rows)


def fail() -> None:
    raise ServerError("cut here")


def stream(source: End, target: End) -> Stream:
    return Stream(source.url, target.url, mode="cdc", name="rows there", allow_lossy=True)


@pytest.mark.parametrize(("source_name", "target_name", "case"), CASES)
def test_the_target_has_the_rows_of_the_source(
    source_name: str, target_name: str, case: str, request: Any, database: Any
) -> None:
    tables, statements = (POSTGRES if source_name.startswith("pg") else MYSQL)[case]
    with two(request, database, source_name, target_name) as (source, target):
        source.run(*tables)
        with stream(source, target) as first:
            first.start()
            caught_up(first)
            source.run(*statements)
            caught_up(first)
            assert texts(source) == texts(target), "while it followed"


@pytest.mark.parametrize(("source_name", "target_name", "case"), CASES[::3])
def test_the_target_has_the_rows_of_the_source_after_a_backlog(
    source_name: str, target_name: str, case: str, request: Any, database: Any
) -> None:
    tables, statements = (POSTGRES if source_name.startswith("pg") else MYSQL)[case]
    with two(request, database, source_name, target_name) as (source, target):
        source.run(*tables)
        with stream(source, target) as first:
            first.start()
            caught_up(first)
        source.run(*statements, "CREATE TABLE later (id int PRIMARY KEY)",
                   "INSERT INTO later VALUES (1)")  # fmt: skip
        with stream(source, target) as second:
            second.start()
            caught_up(second)
            assert texts(source) == texts(target), "after a backlog"
            assert target.rows("SELECT id FROM later") == [(1,)]


@pytest.mark.parametrize("point", ["reload: emptied", "reload: rows applied", "ddl: recorded"])
@pytest.mark.parametrize(("source_name", "target_name"), ROUTES)
def test_a_cut_while_a_table_is_read_again(
    source_name: str, target_name: str, point: str, request: Any, database: Any
) -> None:
    case = "a type with USING" if source_name.startswith("pg") else "a default of each row"
    tables, statements = (POSTGRES if source_name.startswith("pg") else MYSQL)[case]
    with two(request, database, source_name, target_name) as (source, target):
        source.run(*tables)
        with stream(source, target) as first:
            first.start()
            caught_up(first)
        source.run(*statements)
        with once_at(point, fail), stream(source, target) as second:
            second.start()
            assert second.wait(timeout=SECONDS) is State.FAILED
        with stream(source, target) as third:
            third.start()
            caught_up(third)
            assert texts(source) == texts(target)


@pytest.mark.parametrize("policy", ["ignore", "fail"])
@pytest.mark.parametrize("source_name", ["pg18", "mysql9"])
def test_what_was_emptied_is_read_again_whatever_schema_changes_do_from_now_on(
    source_name: str, policy: str, request: Any, database: Any
) -> None:
    case = "a type with USING" if source_name.startswith("pg") else "a default of each row"
    tables, statements = (POSTGRES if source_name.startswith("pg") else MYSQL)[case]
    with two(request, database, source_name, "mysql9") as (source, target):
        source.run(*tables)
        with stream(source, target) as first:
            first.start()
            caught_up(first)
        source.run(*statements)
        with once_at("reload: emptied", fail), stream(source, target) as second:
            second.start()
            assert second.wait(timeout=SECONDS) is State.FAILED
        url = source.url, target.url
        with Stream(*url, mode="cdc", name="rows there", schema_changes=policy) as third:
            third.start()
            caught_up(third)
            assert texts(source) == texts(target)
