"""Every type case by the log: what the target prints of it is what it prints of the loaded row.

Each table has a row of the values and one of NULLs before the stream starts. While it follows, the
values are inserted again under another key, and the row of NULLs is updated to them. All three
rows must be printed alike by the target's server, or be set aside for one and the same reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from streams_engine import Stream
from streams_engine.errors import StreamsError
from streams_engine.testing.servers import Server
from tests.support.databases import End
from tests.support.type_cases import Case, column, grouped, mode
from tests.support.type_routes import (
    PINNED,
    TOGETHER,
    Duty,
    Fact,
    MysqlSource,
    PostgresSource,
    duty_mysql_to_mysql,
    duty_postgres_to_mysql,
    mysql_cases,
    mysql_expression,
    postgres_cases,
)

SECONDS = 60.0
LOADED, INSERTED, UPDATED = 1, range(2, 3), range(3, 4)
MANY_INSERTED, MANY_UPDATED = range(100, 140), range(200, 240)
"""The keys of the rows. Writers carry few changes in another way than many."""

Source = MysqlSource | PostgresSource
Tables = Mapping[str, list[Case]]


def sessions(source: Source, tables: Tables) -> Iterator[tuple[Any, str, list[Case]]]:
    """A cursor in the table's own settings, for each table."""
    mysql = source.end.server.kind != "postgresql"
    with closing(source.end.server.connect(source.end.database)) as connection:
        cursor = connection.cursor()
        for statement in ["SET time_zone = '+00:00'"] if mysql else PINNED.split(";"):
            cursor.execute(statement)
        for name, members in tables.items():
            if mysql:
                cursor.execute("SET SESSION sql_mode = DEFAULT")
                if "sql_mode" in members[0]:
                    cursor.execute("SET SESSION sql_mode = %s", (mode(members[0]),))
            yield cursor, name, members


def literals(members: list[Case]) -> str:
    return ", ".join(case["literal_sql"] for case in members)


def load(source: Source, tables: Tables) -> None:
    """The tables, with a row of the values and some of NULLs."""
    for cursor, name, members in sessions(source, tables):
        columns = ", ".join(f"{column(case)} {case['type']}" for case in members)
        nulls = ", ".join(
            "NULL" if source.facts[case["id"]].nullable else case["literal_sql"] for case in members
        )
        cursor.execute(f"CREATE TABLE {name} (id INT PRIMARY KEY, n INT, {columns})")
        cursor.execute(f"INSERT INTO {name} VALUES ({LOADED}, 0, {literals(members)})")
        empty = ", ".join(f"({key}, 0, {nulls})" for key in (*UPDATED, *MANY_UPDATED))
        cursor.execute(f"INSERT INTO {name} VALUES {empty}")


def change(source: Source, tables: Tables, inserted: range, updated: range) -> None:
    """The same values by the log."""
    for cursor, name, members in sessions(source, tables):
        rows = ", ".join(f"({key}, 0, {literals(members)})" for key in inserted)
        cursor.execute(f"INSERT INTO {name} VALUES {rows}")
        sets = ", ".join(f"{column(case)} = {case['literal_sql']}" for case in members)
        where = f"id BETWEEN {updated[0]} AND {updated[-1]}"
        cursor.execute(f"UPDATE {name} SET n = 1, {sets} WHERE {where}")


def expression(target: End, fact: Fact, name: str) -> str:
    return mysql_expression(fact, name) if target.server.kind != "postgresql" else f"{name}::text"


def printed(target: End, source: Source, tables: Tables) -> dict[str, dict[int, Any]]:
    """What the target prints: {case: {key: text}}."""
    found: dict[str, dict[int, Any]] = {}
    mysql = target.server.kind != "postgresql"
    with closing(target.server.connect(target.database)) as connection:
        cursor = connection.cursor()
        for statement in ["SET time_zone = '+00:00'"] if mysql else PINNED.split(";"):
            cursor.execute(statement)
        for name, members in tables.items():
            shown = [expression(target, source.facts[c["id"]], column(c)) for c in members]
            cursor.execute(f"SELECT id, {', '.join(shown)} FROM {name}")
            for key, *texts in cursor.fetchall():
                for case, text in zip(members, texts, strict=True):
                    found.setdefault(case["id"], {})[key] = text
    return found


def compared(
    source: Source, tables: Tables, came: Mapping[str, Mapping[int, Any]]
) -> dict[str, Any]:
    """The cases whose rows are not all printed alike, with those that differ."""
    keys = [*INSERTED, *UPDATED, *MANY_INSERTED, *MANY_UPDATED]
    wrong = {}
    for case in (case for members in tables.values() for case in members):
        rows = came[case["id"]]
        assert rows.keys() == {LOADED, *keys}
        other = {key: rows[key] for key in keys if rows[key] != rows[LOADED]}
        if other:
            fact = source.facts[case["id"]]
            wrong[case["id"]] = (case["type"], fact.text, rows[LOADED], list(other.items())[:3])
    return wrong


def bags(source: Source, tables: Tables) -> None:
    """The tables once more, without a key and with one row: changes find it by all its values."""
    full = source.end.server.kind == "postgresql"
    for cursor, name, members in sessions(source, tables):
        columns = ", ".join(f"{column(case)} {case['type']}" for case in members)
        cursor.execute(f"CREATE TABLE k{name} ({columns})")
        if full:
            cursor.execute(f"ALTER TABLE k{name} REPLICA IDENTITY FULL")
        cursor.execute(f"INSERT INTO k{name} VALUES ({literals(members)})")


def alike(
    source: Source,
    target: End,
    refused: Callable[[Fact], bool],
    counted: Callable[[str], None],
) -> None:
    alone = [case for case in source.wanted if refused(source.facts[case["id"]])]
    tables = grouped([case for case in source.wanted if case not in alone])
    load(source, tables)
    bags(source, tables)
    bagged = [f"k{name}" for name in tables]
    with Stream(
        source.end.url, target.url, mode="cdc", name="types", tables=[*tables, *bagged]
    ) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        for name in bagged:
            assert target.rows(f"SELECT count(*) FROM {name}") == [(1,)]
        change(source, tables, INSERTED, UPDATED)
        assert stream.catch_up(SECONDS), stream.error
        change(source, tables, MANY_INSERTED, MANY_UPDATED)
        source.end.run(*(f"DELETE FROM {name}" for name in bagged))
        assert stream.catch_up(SECONDS), stream.error
        changes = stream.stats().changes
    stream.release()
    wrong = compared(source, tables, printed(target, source, tables))
    for name, found in wrong.items():
        print("  wrong:", name, found)
    counted(
        f"{source.end.server.kind} -> {target.server.kind} by the log: "
        f"{len(source.wanted) - len(alone) - len(wrong)} of {len(source.wanted)} as by the "
        f"snapshot, {len(alone)} refused; {len(source.impossible)} this server does not take"
    )
    assert not sorted(wrong)
    assert [name for name in bagged if target.rows(f"SELECT * FROM {name}")] == []
    assert changes is not None and changes.unmet == 0


def refused_by_postgres(fact: Fact) -> bool:
    """What PostgreSQL's type cannot hold, and what does not become NULL."""
    if fact.text is None:
        return False
    if fact.native == "time":
        outside = re.match(r"-|2[4-9]|[3-9]\d|\d{3}", fact.text) is not None
        return outside and not re.fullmatch(r"24:00:00(\.0+)?", fact.text)
    odd = fact.native == "enum" and fact.text == ""
    return odd or "\0" in fact.text


@pytest.mark.parametrize("target_name", ["pg18", "mysql9"])
def test_mysql_by_the_log(
    mysql_server: Server,
    target_name: str,
    request: pytest.FixtureRequest,
    database: Any,
    shared_data: Path,
    counted: Callable[[str], None],
) -> None:
    sink: Server = request.getfixturevalue(target_name)
    source = MysqlSource.prepare(mysql_server, database, mysql_cases(shared_data, mysql_server))

    def refused(fact: Fact) -> bool:
        if target_name == "pg18":
            return refused_by_postgres(fact)
        return duty_mysql_to_mysql(fact, mysql_server, sink) not in TOGETHER

    alike(source, End(sink, database(sink)), refused, counted)


@pytest.mark.parametrize("target_name", ["pg18", "mysql9"])
def test_postgres_by_the_log(
    pg18: Server,
    target_name: str,
    request: pytest.FixtureRequest,
    database: Any,
    shared_data: Path,
    counted: Callable[[str], None],
) -> None:
    sink: Server = request.getfixturevalue(target_name)
    source = PostgresSource.prepare(pg18, database, postgres_cases(shared_data))

    def refused(fact: Fact) -> bool:
        return target_name == "mysql9" and duty_postgres_to_mysql(fact, sink) not in TOGETHER

    alike(source, End(sink, database(sink)), refused, counted)


@pytest.mark.parametrize("every", [12, pytest.param(1, marks=pytest.mark.soak)])
@pytest.mark.parametrize(("source_name", "target_name"), [("mysql9", "pg18"), ("pg18", "mysql9")])
def test_what_the_load_refuses_the_log_refuses(
    source_name: str,
    target_name: str,
    every: int,
    request: pytest.FixtureRequest,
    database: Any,
    shared_data: Path,
) -> None:
    """Each by itself: by name, and without a trace of it on the target."""
    server: Server = request.getfixturevalue(source_name)
    sink: Server = request.getfixturevalue(target_name)
    target = End(sink, database(sink))
    source: Source
    if source_name == "mysql9":
        source = MysqlSource.prepare(server, database, mysql_cases(shared_data, server))
        wanted = [c for c in source.wanted if refused_by_postgres(source.facts[c["id"]])]
    else:
        source = PostgresSource.prepare(server, database, postgres_cases(shared_data))
        facts = source.facts
        wanted = [
            c for c in source.wanted if duty_postgres_to_mysql(facts[c["id"]], sink) is Duty.REFUSE
        ]
    tables = {f"r{number}": [case] for number, case in enumerate(wanted[::every])}
    wrong = {}
    for cursor, name, (case,) in sessions(source, tables):
        cursor.execute(f"CREATE TABLE {name} (id INT PRIMARY KEY, {column(case)} {case['type']})")
        stream = Stream(source.end.url, target.url, mode="cdc", name=name, tables=[name])
        with stream:
            stream.start()
            assert stream.catch_up(SECONDS), stream.error
            cursor.execute(f"INSERT INTO {name} VALUES (1, {case['literal_sql']})")
            try:
                came = stream.catch_up(SECONDS)
            except StreamsError:
                came = False
        stream.release()
        told = (getattr(stream.error, "code", None), str(stream.error))
        # A statement with parameters is refused by PostgreSQL without the column's name.
        if came or told[0] != "ROW_REJECTED" or not re.search(rf"\b{name}\b", told[1]):
            wrong[case["id"]] = (case["type"], source.facts[case["id"]].text, came, told)
        assert target.rows(f"SELECT * FROM {name}") == []
    for found in wrong.items():
        print("  wrong:", found)
    assert not sorted(wrong)
