"""Quarantined rows hold the source's own texts: they can be written back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from streams_engine import Stream
from streams_engine.errors import RowRejected
from streams_engine.testing.servers import Server
from tests.support.cdc import caught_up, following
from tests.support.databases import End, move

MYSQL = (
    "CREATE TABLE t (id int PRIMARY KEY, tm time(3), s set('a','b'), f float, d double, b boolean,"
    " y year, dt datetime(2), ts timestamp(3) NULL, w datetime, raw varbinary(9), n decimal(5,2),"
    " u bit(3), v varchar(9))"
)
MYSQL_ROW = (
    "(1, '20:00:00.5', 'a,b', 0.1, 1e300, 1, 1999, '2020-01-02 03:04:05.6',"
    " '2020-01-02 03:04:05', '2020-01-02 03:04:05', 'abc', 1.5, 5, {})"
)
MYSQL_TEXTS = {
    "id": "1", "tm": "20:00:00.500", "s": "a,b", "f": "0.1", "d": "1e+300", "b": "1", "y": "1999",
    "dt": "2020-01-02 03:04:05.60", "ts": "2020-01-02 03:04:05.000", "w": "2020-01-02 03:04:05",
    "raw": "0x616263", "n": "1.50", "u": "5",
}  # fmt: skip
POSTGRES = (
    "CREATE TABLE t (id int PRIMARY KEY, b boolean, r real, d double precision, n numeric(9,3),"
    " raw bytea, day date, ts timestamp, tz timestamptz, tm time, span interval, u uuid, a text[],"
    " i int[], j jsonb)"
)
POSTGRES_VALUES = (
    "1", "true", "0.1", "Infinity", "1.500", "\\x6162", "0044-03-15 BC", "2020-01-02 03:04:05.5",
    "2020-01-02 03:04:05+00", "20:00:00", "1 mon -02:00:00", "0b8f2d6e-3c1a-4e52-9d6b-1c2d3e4f5a6b",
    "{a,NULL}", "{1,2}", '{"a": 1}',
)  # fmt: skip
POSTGRES_NAMES = ("id", "b", "r", "d", "n", "raw", "day", "ts", "tz", "tm", "span", "u", "a", "i",
                  "j")  # fmt: skip


def _aside(target: End) -> list[tuple[Any, ...]]:
    postgres = target.server.kind == "postgresql"
    place = "streams_engine.quarantine" if postgres else "streams_engine_quarantine"
    rows = target.rows(f"SELECT source_table, reason, source_row FROM {place} ORDER BY id")
    return [(*r[:2], r[2] if isinstance(r[2], dict) else json.loads(r[2])) for r in rows]


@pytest.mark.parametrize("where", ["load", "log"])
@pytest.mark.parametrize("bad", ["'nul\\0'", "'refused'"])
def test_of_mysql(mysql_server: Server, pg18: Server, database: Any, where: str, bad: str) -> None:
    source, target = End(mysql_server, database(mysql_server)), End(pg18, database(pg18))
    source.run(MYSQL)
    move(source, target, tables=["t"], name="makes it")
    target.run("ALTER TABLE t ADD CONSTRAINT rule CHECK (v <> 'refused')")
    insert = "INSERT INTO t VALUES " + MYSQL_ROW.format(bad)
    options = {"tables": ["t"], "on_error": "quarantine", "schema_policy": "validate_existing"}
    if where == "load":
        source.run("SET time_zone = '+00:00'", insert)
        move(source, target, **options)
    else:
        with following(source, target, **options) as stream:
            source.run("SET time_zone = '+00:00'", insert)
            caught_up(stream)
    table, reason, row = _aside(target)[0]
    assert table == f"{source.database}.t"
    value = {"hex": b"nul\0".hex()} if "nul" in bad else "refused"
    assert row == {**MYSQL_TEXTS, "v": value}
    assert ("v" if "nul" in bad else "rule") in reason


def test_of_mysql_on_mysql_and_in_files(
    mysql9: Server, mariadb: Server, database: Any, tmp_path: Path
) -> None:
    source, target = End(mysql9, database(mysql9)), End(mariadb, database(mariadb))
    source.run(MYSQL.replace("v varchar(9)", "v varchar(9), UNIQUE (y)"))
    move(source, target, tables=["t"], name="makes it")
    target.run("ALTER TABLE t ADD CONSTRAINT rule CHECK (v <> 'refused')")
    source.run("SET time_zone = '+00:00'", "INSERT INTO t VALUES " + MYSQL_ROW.format("'refused'"))
    options: Any = {"tables": ["t"], "on_error": "quarantine"}
    move(source, target, schema_policy="validate_existing", **options)
    table, _, row = _aside(target)[0]
    assert (table, row) == (f"{source.database}.t", {**MYSQL_TEXTS, "v": "refused"})
    source.run("SET sql_mode = ''", "UPDATE t SET w = '0000-00-00'")
    move(source, f"file://{tmp_path}?format=parquet", zero_dates="error", **options)
    lines = [json.loads(line) for path in tmp_path.rglob("quarantine/**/*.jsonl")
             for line in path.read_text().splitlines()]  # fmt: skip
    assert [line["table"] for line in lines] == [f"{source.database}.t"]
    assert {**lines[0]["row"], "w": ""} == {**MYSQL_TEXTS, "v": "refused", "w": ""}


@pytest.mark.parametrize("where", ["load", "log"])
def test_of_postgres(pg15: Server, pg18: Server, database: Any, where: str) -> None:
    source, target = End(pg15, database(pg15)), End(pg18, database(pg18))
    source.run(POSTGRES)
    move(source, target, tables=["t"], name="makes it")
    target.run("ALTER TABLE t ADD CONSTRAINT rule CHECK (id <> 1)")
    values = ", ".join(f"'{value}'" for value in POSTGRES_VALUES)
    options = {"tables": ["t"], "on_error": "quarantine", "schema_policy": "validate_existing"}
    if where == "load":
        source.run(f"INSERT INTO t VALUES ({values})")
        move(source, target, **options)
    else:
        with following(source, target, **options) as stream:
            source.run(f"INSERT INTO t VALUES ({values})")
            caught_up(stream)
    table, reason, row = _aside(target)[0]
    assert table == "public.t" and "rule" in reason
    wanted = dict(zip(POSTGRES_NAMES, POSTGRES_VALUES, strict=True))
    wanted["b"] = "true" if where == "load" else row["b"]
    assert row["b"] in ("true", "t")
    assert row == wanted


def test_a_nul_in_json_names_table_and_column(
    mysql_server: Server, pg18: Server, database: Any
) -> None:
    source, target = End(mysql_server, database(mysql_server)), End(pg18, database(pg18))
    column = "json" if mysql_server.kind == "mysql" else "longtext"
    override = [] if mysql_server.kind == "mysql" else [{"column": "t.attrs", "to": "jsonb"}]
    source.run(
        f"CREATE TABLE t (id int PRIMARY KEY, attrs {column})",
        'INSERT INTO t VALUES (1, \'{"a": 1}\'), (2, \'{"a": "\\\\u0000"}\')',
    )
    with pytest.raises(RowRejected, match=r"public\.t \(column attrs\)"):
        move(source, target, type_overrides=override)
    options: Any = {"type_overrides": override, "schema_policy": "drop_and_recreate"}
    stats = Stream(source.url, target.url, on_error="quarantine", **options).run()
    assert stats.target.failed_counter == 1
    assert "attrs" in _aside(target)[0][1]
    assert target.rows("SELECT id FROM t") == [(1,)]


@pytest.mark.parametrize("into", ["pg18", "mysql9", "files"])
@pytest.mark.parametrize("mode", ["convert", "cdc"])
def test_the_end_says_how_many_and_where(
    mariadb: Server,
    pg18: Server,
    mysql9: Server,
    database: Any,
    tmp_path: Path,
    into: str,
    mode: str,
) -> None:
    server = pg18 if into == "mysql9" else mariadb
    source, schema = End(server, database(server)), "public"
    begin, bad = "SET DateStyle = 'ISO'", "infinity"
    if server is mariadb:
        begin, bad, schema = "SET sql_mode = ''", "0000-00-00", source.database
    source.run(
        begin,
        "CREATE TABLE t (id int PRIMARY KEY, d date)",
        f"INSERT INTO t VALUES (1, '{bad}'), (2, '{bad}')",
    )
    end = None if into == "files" else End(pg18, database(pg18)) if into == "pg18" else None
    end = End(mysql9, database(mysql9)) if into == "mysql9" else end
    url = f"file://{tmp_path}?format=parquet" if end is None else end.url
    name = "says where"
    options: Any = {"zero_dates": "error", "on_error": "quarantine", "tables": ["t"], "name": name}
    stream = Stream(source.url, url, mode=mode, **options)
    if mode == "cdc":
        stream.start()
        caught_up(stream)
        source.run(begin, f"INSERT INTO t VALUES (3, '{bad}')")
        caught_up(stream)
        stream.stop()
        stream.wait()
        stats = stream.stats()
        stream.release()
    else:
        stats = stream.run()
    told = [finding for finding in stats.findings if finding.code == "quarantined"]
    count = 3 if mode == "cdc" else 2
    place = "_streams_engine/quarantine/"
    if end is not None:
        own = "streams_engine.quarantine" if into == "pg18" else None
        place = f"the table {own or end.database + '.streams_engine_quarantine'}"
    assert [finding.object for finding in told] == [f"{schema}.t"]
    assert f"{count} rows of the source" in told[0].message and place in told[0].message
    assert f"{count} quarantined" in str(stats)
