"""Hard cases of a cdc from one end to the other, that no narrower test holds (docs/cases.md)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from streams_engine.testing.servers import Server
from tests.support.cdc import caught_up, following, is_postgres, prepared, run_once, shown, write
from tests.support.databases import End


@pytest.fixture(params=["mysql9", "pg18"])
def source(request: pytest.FixtureRequest, database: Any) -> Iterator[End]:
    """Each kind of source."""
    with prepared(request.getfixturevalue(request.param), database) as end:
        yield end


@pytest.fixture
def mysql(mysql9: Server, database: Any) -> Iterator[End]:
    """A source in MySQL alone."""
    with prepared(mysql9, database) as end:
        yield end


@pytest.fixture
def postgres(pg18: Server, database: Any) -> Iterator[End]:
    """A source in PostgreSQL alone."""
    with prepared(pg18, database) as end:
        yield end


@pytest.fixture
def target(pg18: Server, database: Any) -> End:
    """An empty target."""
    return End(pg18, database(pg18))


def test_a31_nobody_sees_half_a_transaction(source: End, target: End) -> None:
    """Money moves between two tables: whoever looks finds all of it."""
    source.run(
        "CREATE TABLE one (id int PRIMARY KEY, n int)",
        "CREATE TABLE two (id int PRIMARY KEY, n int)",
        "INSERT INTO one VALUES (1, 1000)",
        "INSERT INTO two VALUES (1, 0)",
    )
    total = "SELECT (SELECT sum(n) FROM one) + (SELECT sum(n) FROM two)"
    seen = set()
    with following(source, target, tables=["one", "two"]) as stream:
        with closing(source.server.connect(source.database)) as connection:
            cursor = connection.cursor()
            for amount in range(1, 41):
                cursor.execute("BEGIN")
                cursor.execute(f"UPDATE one SET n = n - {amount}")
                cursor.execute(f"UPDATE two SET n = n + {amount}")
                cursor.execute("COMMIT")
                seen.add(int(target.rows(total)[0][0]))
        caught_up(stream)
    assert seen == {1000}
    assert target.rows("SELECT n FROM two") == [(820,)]


ODD = ['we"ird', "Mixed Case", "sel.ect", "back`tick", "select", "ü😀", "tail_", "a\\b", "50%s"]


@pytest.mark.parametrize("target_name", ["pg18", "mysql9"])
def test_b62_c101_odd_names(
    source: End, target_name: str, request: pytest.FixtureRequest, database: Any
) -> None:
    """Tables and columns of odd names are loaded, followed, and found by their keys."""
    server: Server = request.getfixturevalue(target_name)
    target = End(server, database(server))

    def quoted(end: End, name: str) -> str:
        mark = '"' if is_postgres(end) else "`"
        return mark + name.replace(mark, mark * 2) + mark

    def rows(end: End) -> list[list[tuple[Any, ...]]]:
        return [end.rows(f"SELECT * FROM {quoted(end, name)} ORDER BY 1") for name in names]

    # A character beyond the basic plane is no part of a name in MySQL.
    both = {source.server.kind, target.server.kind}
    names = [name if both == {"postgresql"} else name.replace("😀", "") for name in ODD]
    for name in names:
        q = quoted(source, name)
        source.run(
            f"CREATE TABLE {q} ({q} int PRIMARY KEY, v int)", f"INSERT INTO {q} VALUES (1, 1)"
        )
    with following(source, target, tables=names) as stream:
        for name in names:
            q = quoted(source, name)
            source.run(
                f"INSERT INTO {q} VALUES (2, 2), (3, 3)",
                f"UPDATE {q} SET v = 10 WHERE {q} = 1",
                f"DELETE FROM {q} WHERE {q} = 2",
            )
        caught_up(stream)
    assert rows(target) == rows(source) == [[(1, 10), (3, 3)]] * len(names)


def test_b65_a_message_as_the_last_thing_in_the_log(postgres: End, target: End) -> None:
    for transactional in ("false", "true"):
        with following(postgres, target) as stream:
            postgres.run(f"SELECT pg_logical_emit_message({transactional}, 'se', 'hello')")
            caught_up(stream)
        write(postgres, 10 if transactional == "false" else 20)
    run_once(postgres, target)
    assert shown(target) == shown(postgres)


def test_c71_null_is_never_the_default(source: End, target: End) -> None:
    source.run("CREATE TABLE d (id int PRIMARY KEY, v int DEFAULT 7, w varchar(9) DEFAULT 'x')")
    with following(source, target, tables=["d"]) as stream:
        source.run(
            "INSERT INTO d VALUES (1, NULL, NULL), (2, 2, 'y')", "INSERT INTO d (id) VALUES (3)"
        )
        source.run("UPDATE d SET v = NULL, w = NULL WHERE id = 2")
        caught_up(stream)
    assert target.rows("SELECT * FROM d ORDER BY id") == [
        (1, None, None), (2, None, None), (3, 7, "x"),
    ]  # fmt: skip


def test_c88_statements_over_several_tables(mysql: End, target: End) -> None:
    with following(mysql, target) as stream:
        mysql.run(
            "UPDATE t JOIN bag ON t.id = bag.x SET t.v = 'joined', bag.y = 'j'",
            "INSERT INTO bag VALUES (2, 'b'), (3, 'c')",
            "DELETE t, bag FROM t JOIN bag ON t.id = bag.x WHERE t.id = 2",
        )
        caught_up(stream)
        changes = stream.stats().changes
    assert shown(target) == shown(mysql)
    assert changes is not None and changes.unmet == 0


def test_c96_a_table_without_transactions(mysql: End, target: End) -> None:
    mysql.run("CREATE TABLE m (id int PRIMARY KEY, v int) ENGINE = MyISAM")
    mysql.run("INSERT INTO m VALUES (1, 1)")
    with following(mysql, target, tables=["m"]) as stream:
        mysql.run("INSERT INTO m VALUES (2, 2), (3, 3)", "UPDATE m SET v = 9 WHERE id < 3")
        mysql.run("DELETE FROM m WHERE id = 3")
        caught_up(stream)
        told = [finding.code for finding in stream.stats().findings]
    assert target.rows("SELECT * FROM m ORDER BY id") == [(1, 9), (2, 9)]
    assert "not-transactional" in told


def test_c105_zero_in_a_counting_column(mysql: End, mysql9: Server, database: Any) -> None:
    target = End(mysql9, database(mysql9))
    mysql.run("CREATE TABLE c (id int AUTO_INCREMENT PRIMARY KEY, v int)")
    with following(mysql, target, tables=["c"]) as stream:
        mysql.run(
            "SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO'",
            "INSERT INTO c VALUES (0, 1), (5, 2)",
            "UPDATE c SET v = 3 WHERE id = 0",
        )
        caught_up(stream)
    assert target.rows("SELECT * FROM c ORDER BY id") == [(0, 3), (5, 2)]


def test_c106_mariadb_under_the_name_of_mysql(mariadb: Server, target: End, database: Any) -> None:
    with prepared(mariadb, database) as end:
        end.url = end.url.replace("mariadb://", "mysql://")
        assert end.url.startswith("mysql://")
        with following(end, target) as stream:
            write(end, 10)
            caught_up(stream)
        write(end, 20)
        run_once(end, target)
        assert shown(target) == shown(end)


def test_d109_d110_a_target_with_more_and_other_columns(source: End, target: End) -> None:
    """Columns of the target's own keep their defaults, and values follow its types."""
    target.run(
        "CREATE TABLE t (own int DEFAULT 5, v text, id numeric(20,2) PRIMARY KEY)",
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN NEW.own = NEW.own + 1; RETURN NEW; END'",
        "CREATE TRIGGER once BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()",
    )
    with following(source, target, tables=["t"]) as stream:
        loaded = target.rows("SELECT DISTINCT own FROM t")
        source.run("INSERT INTO t VALUES (3, 'three')", "UPDATE t SET v = 'x' WHERE id = 1")
        source.run("DELETE FROM t WHERE id = 2")
        caught_up(stream)
    found = target.rows("SELECT id::int, v, own FROM t ORDER BY id")
    assert [row[:2] for row in found] == [(1, "x"), (3, "three")]
    # Triggers rest while changes are applied; during the load they fire.
    assert loaded == [(6,)] and [row[2] for row in found] == [6, 5]


def test_e119_a_thousand_columns(source: End, target: End) -> None:
    columns = ", ".join(f"c{number} int" for number in range(1000))
    values = ", ".join(map(str, range(1000)))
    source.run(f"CREATE TABLE wide (id int PRIMARY KEY, {columns})")
    source.run(f"INSERT INTO wide VALUES (1, {values})")
    with following(source, target, tables=["wide"]) as stream:
        source.run(f"INSERT INTO wide VALUES (2, {values})", "UPDATE wide SET c999 = -1")
        caught_up(stream)
    assert target.rows("SELECT * FROM wide ORDER BY id") == [
        (key, *range(999), -1) for key in (1, 2)
    ]


def aside(target: End) -> list[tuple[Any, ...]]:
    """Keys and reasons of the rows that were set aside."""
    if is_postgres(target):
        query = "SELECT source_row->>'id', reason FROM streams_engine.quarantine ORDER BY id"
    else:
        query = (
            "SELECT JSON_UNQUOTE(JSON_EXTRACT(source_row, '$.id')), reason"
            " FROM streams_engine_quarantine ORDER BY id"
        )
    return target.rows(query)


@pytest.mark.parametrize(("source_name", "target_name"), [("mysql9", "pg18"), ("pg18", "mysql9")])
def test_d108_rows_that_fit_no_type_are_set_aside_alike(
    source_name: str, target_name: str, request: pytest.FixtureRequest, database: Any
) -> None:
    """By load and by log with the same reason; the rows beside them arrive."""
    server: Server = request.getfixturevalue(target_name)
    target = End(server, database(server))
    with prepared(request.getfixturevalue(source_name), database) as source:
        bad = "'infinity'" if is_postgres(source) else "'0000-00-00'"
        setting = "SET timezone = 'UTC'" if is_postgres(source) else "SET sql_mode = ''"
        policy = {} if is_postgres(source) else {"zero_dates": "error"}
        source.run("CREATE TABLE z (id int PRIMARY KEY, d date NOT NULL)")
        source.run(setting, f"INSERT INTO z VALUES (1, {bad}), (2, '2020-01-01')")
        with following(source, target, tables=["z"], on_error="quarantine", **policy) as stream:
            source.run(setting, f"INSERT INTO z VALUES (3, {bad}), (4, '2020-01-01')")
            source.run(setting, f"UPDATE z SET d = {bad} WHERE id = 2")
            caught_up(stream)
            stats = stream.stats()
    assert target.rows("SELECT id FROM z ORDER BY id") == [(2,), (4,)]
    found = aside(target)
    assert [key for key, _ in found] == ["1", "3", "2"]
    assert len({reason for _, reason in found}) == 1, found
    assert stats.target.failed_counter == 3


def test_c70_zero_dates_of_the_log_are_told_of(mysql: End, target: End) -> None:
    mysql.run("CREATE TABLE z (id int PRIMARY KEY, d date)")
    with following(mysql, target, tables=["z"]) as stream:
        mysql.run("SET sql_mode = ''", "INSERT INTO z VALUES (1, '0000-00-00'), (2, '2020-00-01')")
        caught_up(stream)
        told = [f.object for f in stream.stats().findings if f.code == "zero-dates"]
    assert target.rows("SELECT * FROM z ORDER BY id") == [(1, None), (2, None)]
    assert len(told) == 1 and told[0].endswith("z.d")


def test_b56_after_a_cut_over_the_target_numbers_its_own_rows(source: End, target: End) -> None:
    """Rows that came by the log moved no counter; the end of the run does."""
    numbered = "GENERATED BY DEFAULT AS IDENTITY" if is_postgres(source) else "AUTO_INCREMENT"
    source.run(
        f"CREATE TABLE n (id int {numbered} PRIMARY KEY, v varchar(9))",
        "INSERT INTO n (v) VALUES ('a')",
    )
    with following(source, target, tables=["n"]) as stream:
        source.run("INSERT INTO n (v) VALUES ('b'), ('c')")
        caught_up(stream)
    target.run("INSERT INTO n (v) VALUES ('own')")
    assert target.rows("SELECT id, v FROM n ORDER BY id")[-1] == (4, "own")


@pytest.mark.parametrize("copies", [3, 120])
def test_copies_of_rows_without_a_key_go_exactly(
    mysql: End, mariadb: Server, database: Any, copies: int
) -> None:
    """Of a few values with many equals one by one, of many values all at once and some back."""
    target = End(mariadb, database(mariadb))
    rows = ", ".join(
        f"({n % copies if n % 7 else 'NULL'}, 'b{n % 2}', {n % 2}/3)" for n in range(2000)
    )
    mysql.run(
        "CREATE TABLE doubles (x int, y varchar(9), f double)", f"INSERT INTO doubles VALUES {rows}"
    )
    with following(mysql, target, tables=["doubles"]) as stream:
        mysql.run(
            f"DELETE FROM doubles WHERE x < {copies} LIMIT 400",
            "UPDATE doubles SET y = 'B1' WHERE x IS NULL LIMIT 5",
            "DELETE FROM doubles WHERE f > 0 LIMIT 100",
        )
        caught_up(stream)
        changes = stream.stats().changes
        assert changes is not None and changes.unmet == 0
    query = "SELECT x, BINARY y, f, COUNT(*) FROM doubles GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    assert target.rows(query) == mysql.rows(query)
