"""Bad input: a clear error with a stable code, no secret in it, nothing half-made on the target."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import Any

import pytest

from streams_engine import Stream
from streams_engine.errors import ConfigError
from streams_engine.testing.servers import Server
from tests.support.databases import SECRET_ROW, End, account, leftovers, move, refused

T = "CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(40))"
SEVERAL = f"INSERT INTO t VALUES (1, 'a'), (2, '{SECRET_ROW}'), (3, 'c')"


@pytest.fixture
def source(mysql9: Server, database: Any) -> End:
    """A MySQL database with one small table."""
    end = End(mysql9, database(mysql9))
    end.run(T, SEVERAL)
    return end


@pytest.fixture
def postgres(pg15: Server, database: Any) -> End:
    """A PostgreSQL source with the same table."""
    end = End(pg15, database(pg15))
    end.run(T, SEVERAL)
    return end


@pytest.fixture
def target(pg18: Server, database: Any) -> End:
    """An empty target."""
    return End(pg18, database(pg18))


# Documents

DOCUMENT: dict[str, Any] = {
    "name": "d",
    "mode": "convert",
    "source": {"connections": [{"connection": "mysql://u:hidden-pw@127.0.0.1:1/d"}]},
    "target": {"connection": "postgresql://u:hidden-pw@127.0.0.1:1/d"},
}


@pytest.mark.parametrize(
    ("change", "path", "hint"),
    [
        ({"sources": 1}, "$.sources", "source"),
        ({"options": {"onErorr": "fail"}}, "$.options.onErorr", "onError"),
        ({"options": {"parallelism": "4"}}, "$.options.parallelism", "integer"),
        ({"limits": {"numberOfEvents": "many"}}, "$.limits.numberOfEvents", "integer"),
        ({"reportingInterval": 1.5}, "$.reportingInterval", "integer"),
        ({"mode": "copy"}, "$.mode", "convert"),
        ({"options": {"zeroDates": "zero"}}, "$.options.zeroDates", "null"),
    ],
)
def test_a_wrong_document_names_its_path(change: dict[str, Any], path: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Stream.from_config({**DOCUMENT, **change})
    assert caught.value.code == "INVALID_CONFIG"
    assert caught.value.path == path
    assert path in str(caught.value) and hint in str(caught.value)
    assert "hidden-pw" not in f"{caught.value} {caught.value.to_dict()}"


@pytest.mark.parametrize("size", [5, 9, 1001, 5000])
def test_a_bundle_size_out_of_range_is_refused(size: int) -> None:
    with pytest.raises(ConfigError, match="dataBundleSize") as caught:
        Stream("mysql://u@h/d", "postgresql://u@h/d", data_bundle_size=size)
    assert caught.value.path == "$.source.options.dataBundleSize"
    assert "10" in str(caught.value) or "1000" in str(caught.value)


def test_an_unknown_keyword_is_refused() -> None:
    with pytest.raises(ConfigError, match="write_mod") as caught:
        Stream("mysql://u@h/d", "postgresql://u@h/d", write_mod="append")
    assert "write_mode" in str(caught.value)


# What is not there, and who may not


@pytest.mark.parametrize("kind", ["source", "postgres"])
def test_a_missing_table_is_named(
    request: pytest.FixtureRequest, kind: str, target: End, caplog: Any
) -> None:
    end = request.getfixturevalue(kind)
    refused(caplog, end, target, "NOT_FOUND", "tt", "t.", tables=["tt"])
    assert leftovers(target) == []


@pytest.mark.parametrize("kind", ["source", "postgres"])
def test_a_missing_source_database_is_named(
    request: pytest.FixtureRequest, kind: str, target: End, caplog: Any
) -> None:
    end = request.getfixturevalue(kind)
    refused(caplog, end.server.url("nowhere_at_all"), target, "NOT_FOUND", "nowhere_at_all")
    assert leftovers(target) == []


@pytest.mark.parametrize("kind", ["source", "postgres"])
def test_a_wrong_password_of_the_source_is_not_echoed(
    request: pytest.FixtureRequest, kind: str, target: End, caplog: Any
) -> None:
    end = request.getfixturevalue(kind)
    wrong = end.url.replace(end.server.password, "wr0ng-hidden")
    refused(caplog, wrong, target, "AUTHENTICATION_FAILED", str(end.server.port))
    assert leftovers(target) == []


def test_a_wrong_password_of_the_target_is_not_echoed(
    source: End, target: End, caplog: Any
) -> None:
    wrong = target.url.replace(target.server.password, "wr0ng-hidden")
    refused(caplog, source, wrong, "AUTHENTICATION_FAILED", str(target.server.port))
    assert leftovers(target) == []


@pytest.mark.parametrize("scheme", ["mysql", "mariadb", "postgresql"])
def test_a_source_that_nobody_serves(scheme: str, target: End, caplog: Any) -> None:
    with closing(socket.socket()) as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        url = f"{scheme}://u:hidden-pw@127.0.0.1:{port}/d"
        refused(caplog, url, target, "CONNECTION_FAILED", f"127.0.0.1:{port}")
    assert leftovers(target) == []


def test_a_target_that_nobody_serves(source: End, caplog: Any) -> None:
    with closing(socket.socket()) as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        url = f"postgresql://u:hidden-pw@127.0.0.1:{port}/d"
        refused(caplog, source, url, "CONNECTION_FAILED", f"127.0.0.1:{port}")


def test_a_mysql_account_that_may_not_read_a_table(source: End, target: End, caplog: Any) -> None:
    source.run("CREATE TABLE hidden_one (id INT PRIMARY KEY)")
    grant = f"GRANT INSERT ON {source.database}.hidden_one TO {{who}}"
    more = f"GRANT SELECT ON {source.database}.t TO {{who}}"
    with account(source.server, "limited", "hidden-pw", grant, more) as url:
        refused(caplog, url + source.database, target, "PERMISSION_DENIED", "hidden_one", "GRANT")
        assert leftovers(target) == []


def test_a_mysql_account_that_may_not_use_the_database(
    source: End, target: End, caplog: Any
) -> None:
    with account(source.server, "limited", "hidden-pw") as url:
        refused(caplog, url + source.database, target, "PERMISSION_DENIED", source.database)
    assert leftovers(target) == []


def test_a_mysql_account_that_reads_alone_moves_with_one_reader(source: End, target: End) -> None:
    grant = f"GRANT SELECT ON {source.database}.* TO {{who}}"
    with account(source.server, "limited", "hidden-pw", grant) as url:
        stats = move(url + source.database, target)
    assert target.rows("SELECT count(*) FROM t") == [(3,)]
    assert "one-reader" in {finding.code for finding in stats.findings}


def test_a_postgres_account_that_may_not_read(postgres: End, target: End, caplog: Any) -> None:
    with account(postgres.server, "limited", "hidden-pw") as url:
        refused(caplog, url + postgres.database, target, "PERMISSION_DENIED", "public.t", "Grant")
    assert leftovers(target) == []


def test_a_postgres_account_with_select_alone_can_read(postgres: End, target: End) -> None:
    with account(postgres.server, "limited", "hidden-pw") as url:
        postgres.run("GRANT SELECT ON t TO limited")
        try:
            move(url + postgres.database, target)
        finally:
            postgres.run("REVOKE ALL ON t FROM limited")
    assert target.rows("SELECT count(*) FROM t") == [(3,)]


@pytest.mark.parametrize("schema", ["public", "elsewhere"])
def test_a_target_account_that_may_not_create(
    source: End, target: End, caplog: Any, schema: str
) -> None:
    source.run("CREATE TABLE e (id INT PRIMARY KEY, kind ENUM('x', 'y'))")
    with account(target.server, "limited", "hidden-pw") as url:
        refused(caplog, source, url + target.database, "PERMISSION_DENIED", "Grant", schema=schema)
    assert leftovers(target) == []


def test_a_target_account_that_may_make_tables_but_no_schema(
    source: End, target: End, caplog: Any
) -> None:
    """The state needs a schema of its own: said before a table is made."""
    with account(target.server, "limited", "hidden-pw") as url:
        target.run("GRANT CREATE ON SCHEMA public TO limited")
        try:
            refused(caplog, source, url + target.database, "PERMISSION_DENIED", "stateSchema")
            assert leftovers(target) == []
            move(source, url + target.database, state_schema="public")
            assert target.rows("SELECT count(*) FROM t") == [(3,)]
            assert leftovers(target) == ["public.t"]
        finally:
            target.run("DROP OWNED BY limited")


def test_a_target_account_that_may_not_create_the_database(
    source: End, pg18: Server, caplog: Any
) -> None:
    with account(pg18, "limited", "hidden-pw") as url:
        refused(caplog, source, url + "not_there_yet", "PERMISSION_DENIED", "not_there_yet")


def test_a_missing_target_database_is_made(source: End, pg18: Server, database: Any) -> None:
    name = database.adopt(pg18, "made here")
    move(source, End(pg18, name))
    assert End(pg18, name).rows("SELECT count(*) FROM t") == [(3,)]


# What is on the target


def test_rows_under_fail_if_not_empty(source: End, target: End, caplog: Any) -> None:
    source.run("CREATE TABLE other (id INT PRIMARY KEY)")
    target.run("CREATE TABLE t (id int PRIMARY KEY, name varchar(40))", "INSERT INTO t VALUES (9)")
    refused(caplog, source, target, "TARGET_CONFLICT", "public.t", "fail_if_not_empty", "append")
    assert leftovers(target) == ["public.t"]
    assert target.rows("SELECT * FROM t") == [(9, None)]


def test_a_table_under_fail_if_exists(source: End, target: End, caplog: Any) -> None:
    source.run("CREATE TABLE other (id INT PRIMARY KEY)")
    target.run(T)
    refused(caplog, source, target, "TARGET_CONFLICT", "public.t", schema_policy="fail_if_exists")
    assert leftovers(target) == ["public.t"]


@pytest.mark.parametrize("policy", ["create_missing_only", "validate_existing"])
@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("id int PRIMARY KEY, name bytea", "column name"),
        ("id int PRIMARY KEY", "column name"),
        ("id date PRIMARY KEY, name text", "column id"),
        ("id int PRIMARY KEY, name text, more int NOT NULL", "column more"),
        ("id int PRIMARY KEY, name text GENERATED ALWAYS AS ('x') STORED", "column name"),
        ("id uuid, name date", "column id"),
    ],
)
def test_an_incompatible_table(
    source: End, target: End, caplog: Any, policy: str, table: str, told: str
) -> None:
    target.run(f"CREATE TABLE t ({table})")
    refused(caplog, source, target, "TARGET_CONFLICT", "public.t", told, schema_policy=policy)
    assert leftovers(target) == ["public.t"]


def test_a_missing_table_under_validate_existing(source: End, target: End, caplog: Any) -> None:
    source.run("CREATE TABLE other (id INT PRIMARY KEY)")
    target.run(T)
    refused(caplog, source, target, "NOT_FOUND", "public.other", schema_policy="validate_existing")
    assert leftovers(target) == ["public.t"]


# Types


def test_a_nonsense_type_names_its_path(source: End, target: End, caplog: Any) -> None:
    overrides = [{"column": "t.id", "type": "bigint"}, {"column": "t.name", "type": "nonsense(3)"}]
    refused(
        caplog, source, target, "UNSUPPORTED_TYPE",
        "nonsense(3)", "$.options.typeOverrides[1].type", type_overrides=overrides,
    )  # fmt: skip
    assert leftovers(target) == []


def test_a_type_override_of_no_column_is_told(source: End, target: End) -> None:
    stats = move(source, target, type_overrides=[{"column": "t.nmae", "type": "text"}])
    found = [finding for finding in stats.findings if "t.nmae" in finding.object]
    assert found and "Did you mean t.name?" in found[0].remedy


# Rows that do not fit


@pytest.mark.parametrize(
    ("constraint", "told"),
    [
        ("CHECK (name <> 's3cret-row-value')", "check"),
        ("UNIQUE (name)", "key"),
        ("ALTER name", "NULL"),
        ("FOREIGN KEY (name) REFERENCES names", "refers"),
    ],
)
def test_a_row_that_the_target_refuses(
    source: End, target: End, caplog: Any, constraint: str, told: str
) -> None:
    source.run(f"INSERT INTO t VALUES (4, '{SECRET_ROW}'), (5, NULL)")
    target.run("CREATE TABLE names (name varchar(40) PRIMARY KEY)", T)
    target.run("INSERT INTO names VALUES ('a'), ('c')")
    if constraint.startswith("ALTER"):
        target.run("ALTER TABLE t ALTER name SET NOT NULL")
    else:
        target.run(f"ALTER TABLE t ADD {constraint}")
    before = leftovers(target)
    error = refused(caplog, source, target, "ROW_REJECTED", "public.t", told)
    assert error.details["sqlstate"].startswith("23")
    assert target.rows("SELECT * FROM t") == []
    assert [x for x in leftovers(target) if "streams_engine" not in x] == before


def test_quarantine_sets_the_refused_rows_aside(source: End, target: End) -> None:
    source.run(f"INSERT INTO t VALUES (4, '{SECRET_ROW}'), (5, NULL)")
    target.run(T, "ALTER TABLE t ADD CONSTRAINT odd CHECK (name <> 's3cret-row-value')")
    target.run("ALTER TABLE t ALTER name SET NOT NULL")
    stats = move(source, target, on_error="quarantine")
    assert target.rows("SELECT id FROM t ORDER BY id") == [(1,), (3,)]
    assert (stats.target.counter, stats.target.failed_counter) == (2, 3)
    assert stats.to_dict()["nodes"][1]["stat"]["failedCounter"] == 3
    assert stats.tables[0].rejected == 3
    aside = target.rows(
        "SELECT source_row->>'id', source_row->>'name', code, reason, source_table"
        " FROM streams_engine.quarantine ORDER BY 1"
    )
    assert [row[:3] for row in aside] == [
        ("2", SECRET_ROW, "23514"), ("4", SECRET_ROW, "23514"), ("5", None, "23502"),
    ]  # fmt: skip
    assert "odd" in aside[0][3] and SECRET_ROW not in aside[0][3]
    assert target.rows("SELECT count(*) FROM streams_engine.state") == [(0,)]


HARD = [
    # table, row, what the error tells, the sql of the row that fits
    ("CREATE TABLE h (id INT PRIMARY KEY, v VARCHAR(9))", "CONCAT('a', CHAR(0), 'b')", "NUL"),
]


@pytest.mark.parametrize(("table", "value", "told"), HARD)
def test_a_value_without_counterpart(
    source: End, target: End, caplog: Any, table: str, value: str, told: str
) -> None:
    source.run(table, "INSERT INTO h VALUES (1, NULL)", f"INSERT INTO h VALUES (2, {value})")
    refused(
        caplog, source, target, "ROW_REJECTED", "h", told,
        secrets=["25:00:00", "00:00:01", "a\\x00b", "a\0b"], tables=["h"],
    )  # fmt: skip
    assert target.rows("SELECT count(*) FROM h") == [(0,)]
    stats = move(source, target, tables=["h"], on_error="quarantine", name="again",
                 write_mode="truncate_and_load")  # fmt: skip
    assert target.rows("SELECT id, v FROM h") == [(1, None)]
    assert stats.target.failed_counter == 1
    assert target.rows("SELECT source_row->>'id' FROM streams_engine.quarantine") == [("2",)]


@pytest.mark.parametrize("value", ["25:00:00", "-00:00:01", "24:00:01"])
def test_a_time_outside_a_day_is_set_aside_or_makes_an_interval(
    source: End, target: End, value: str
) -> None:
    source.run(
        "CREATE TABLE h (id INT PRIMARY KEY, v TIME)",
        f"INSERT INTO h VALUES (1, NULL), (2, '{value}'), (3, '24:00:00')",
    )
    rows = "SELECT v::text, pg_typeof(v)::text FROM h ORDER BY id"
    stats = move(source, target, tables=["h"], on_error="quarantine")
    time = "time without time zone"
    assert target.rows(rows) == [(None, time), ("24:00:00", time)]
    assert stats.target.failed_counter == 1
    assert target.rows("SELECT source_row->>'id' FROM streams_engine.quarantine") == [("2",)]
    move(source, target, tables=["h"], name="again", schema_policy="drop_and_recreate")
    assert target.rows(rows) == [(None, "interval"), (value, "interval"), ("24:00:00", "interval")]


ZEROES = [
    "SET SESSION sql_mode = '', time_zone = '+00:00'",
    "CREATE TABLE z (id INT PRIMARY KEY, d DATE, dt DATETIME(3), ts TIMESTAMP NULL)",
    "INSERT INTO z VALUES (1, '0000-00-00', '0000-00-00', '0000-00-00'),"
    " (2, '2020-00-01', '2020-01-00 01:02:03', '2020-01-01 00:00:00'),"
    " (3, '2020-01-01', '2020-01-01 01:02:03', '2020-01-01 00:00:00')",
]


def test_zero_dates_become_null(source: End, target: End) -> None:
    source.run(*ZEROES)
    stats = move(source, target, tables=["z"])
    assert target.rows("SELECT id, d IS NULL, dt IS NULL, ts IS NULL FROM z ORDER BY 1") == [
        (1, True, True, True), (2, True, True, False), (3, False, False, False),
    ]  # fmt: skip
    told = {f.object: f.message for f in stats.findings if f.code == "zero-dates"}
    assert {key.rsplit(".")[-1]: text.split()[0] for key, text in told.items()} == {
        "d": "2", "dt": "2", "ts": "1",
    }  # fmt: skip


def test_zero_dates_as_errors(source: End, target: End, caplog: Any) -> None:
    source.run(*ZEROES)
    refused(
        caplog, source, target, "ROW_REJECTED", "z", "zeroDates",
        secrets=["0000-00-00"], tables=["z"], zero_dates="error",
    )  # fmt: skip
    assert target.rows("SELECT count(*) FROM z") == [(0,)]


def test_zero_dates_as_errors_set_aside(source: End, target: End) -> None:
    source.run(*ZEROES)
    stats = move(source, target, tables=["z"], zero_dates="error", on_error="quarantine")
    assert target.rows("SELECT id FROM z") == [(3,)]
    assert stats.target.failed_counter == 2


def test_zero_dates_as_text(source: End, target: End) -> None:
    source.run(*ZEROES)
    texts = [{"column": f"z.{name}", "type": "text"} for name in ("d", "dt", "ts")]
    move(source, target, tables=["z"], zero_dates="text", type_overrides=texts)
    assert target.rows("SELECT d, dt, ts FROM z ORDER BY id LIMIT 2") == [
        ("0000-00-00", "0000-00-00 00:00:00.000", "0000-00-00 00:00:00"),
        ("2020-00-01", "2020-01-00 01:02:03.000", "2020-01-01 00:00:00"),
    ]


def test_a_zero_date_in_a_column_without_null(source: End, target: End, caplog: Any) -> None:
    source.run(
        ZEROES[0],
        "CREATE TABLE z (id INT PRIMARY KEY, d DATE NOT NULL)",
        "INSERT INTO z VALUES (1, '0000-00-00')",
    )
    target.run("CREATE TABLE z (id int PRIMARY KEY, d date NOT NULL)")
    refused(caplog, source, target, "ROW_REJECTED", "column d", tables=["z"])


def test_tinyint_one_is_boolean_only_where_it_fits(source: End, target: End) -> None:
    source.run(
        "CREATE TABLE f (id INT PRIMARY KEY, yes TINYINT(1), many TINYINT(1), minus TINYINT(1))",
        "INSERT INTO f VALUES (1, 0, 2, -1), (2, 1, 0, 0), (3, NULL, NULL, NULL)",
    )
    move(source, target, tables=["f"])
    assert target.rows("SELECT yes, many, minus FROM f ORDER BY id") == [
        (False, 2, -1), (True, 0, 0), (None, None, None),
    ]  # fmt: skip
