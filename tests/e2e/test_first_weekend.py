"""What a first migration from MySQL or MariaDB to PostgreSQL meets: zero dates, collations."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from streams_engine import Stream
from streams_engine.errors import ConfigError
from streams_engine.model import Finding, Severity
from streams_engine.testing.servers import Server
from tests.support.cdc import caught_up, following
from tests.support.databases import End, move

DATES = (
    "0000-00-00", "2021-00-10", "2021-05-00", "2021-02-30", "2021-02-28", "0000-01-01",
    "0001-01-01", "1900-02-29", "2000-02-29", "9999-12-31",
)  # fmt: skip
"""The first four, the sixth and the eighth are no dates elsewhere."""


def _ends(mysql_server: Server, pg18: Server, database: Any) -> tuple[End, End]:
    return End(mysql_server, database(mysql_server)), End(pg18, database(pg18))


def _dated(source: End, *statements: str) -> None:
    """Run statements in a session that takes zero and partial dates."""
    with closing(source.server.connect(source.database)) as connection:
        cursor = connection.cursor()
        cursor.execute("SET sql_mode = 'ALLOW_INVALID_DATES'")
        for statement in statements:
            cursor.execute(statement)


def _by_code(findings: Any, code: str) -> dict[str, Finding]:
    return {f.object.rsplit(".", 1)[1]: f for f in findings if f.code == code}


POST = (
    "CREATE TABLE post (id int PRIMARY KEY, day date NOT NULL, at datetime NOT NULL,"
    " stamp timestamp NOT NULL DEFAULT '2020-01-01 00:00:00', good datetime NOT NULL,"
    " gmt datetime NOT NULL DEFAULT '0000-00-00 00:00:00', free date)"
)


def _posts(source: End) -> None:
    rows = [
        f"({n}, '{day}', '{day} 10:00:00', {'0' if n == 1 else 'DEFAULT'}, '2020-01-01', "
        f"'2020-01-01', '{day}')"
        for n, day in enumerate(DATES, 1)
    ]
    _dated(source, POST, f"INSERT INTO post VALUES {', '.join(rows)}")


def test_zero_dates_relax_not_null_and_are_counted(
    mysql_server: Server, pg18: Server, database: Any
) -> None:
    source, target = _ends(mysql_server, pg18, database)
    _posts(source)
    planned = _by_code(Stream(source.url, target.url).plan().findings, "zero-dates-not-null")
    assert set(planned) == {"day", "at", "stamp", "gmt"}
    for column, count in (("day", "6 rows"), ("at", "6 rows"), ("stamp", "1 row ")):
        assert count in planned[column].message
    assert "default is a zero date" in planned["gmt"].message
    stats = move(source, target)
    assert _by_code(stats.findings, "zero-dates-not-null") == planned
    replaced = _by_code(stats.findings, "zero-dates")
    assert {c: f.message.split()[0] for c, f in replaced.items()} == {
        "day": "6", "at": "6", "stamp": "1", "free": "6",
    }  # fmt: skip
    nullable = (
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'post'"
        " AND is_nullable = 'YES' ORDER BY 1"
    )
    assert [row[0] for row in target.rows(nullable)] == ["at", "day", "free", "gmt", "stamp"]
    kept = target.rows("SELECT id FROM post WHERE day IS NOT NULL AND at IS NOT NULL ORDER BY id")
    assert kept == [(5,), (7,), (9,), (10,)]
    assert Stream(source.url, target.url).verify().ok


def test_zero_dates_in_a_primary_key_are_refused_by_name(
    mysql_server: Server, pg18: Server, database: Any
) -> None:
    source, target = _ends(mysql_server, pg18, database)
    _dated(
        source,
        "CREATE TABLE sale (day date, shop int, PRIMARY KEY (day, shop))",
        "INSERT INTO sale VALUES ('0000-00-00', 1), ('2021-05-00', 1), ('2021-05-01', 1)",
    )
    found = _by_code(Stream(source.url, target.url).plan().findings, "zero-dates-in-key")["day"]
    assert found.severity is Severity.ERROR
    assert "2 rows" in found.message
    with pytest.raises(ConfigError, match=r"sale\.day: 2 rows hold a zero or partial date"):
        move(source, target)
    assert target.rows("SELECT count(*) FROM pg_tables WHERE tablename = 'sale'") == [(0,)]
    stats = move(source, target, on_error="quarantine")
    assert target.rows("SELECT to_char(day, 'YYYYMMDD') FROM sale") == [("20210501",)]
    assert stats.source.failed_counter == 2 or stats.target.failed_counter == 2
    target.run("DROP TABLE sale")
    move(source, target, zero_dates="text")
    assert target.rows("SELECT count(*) FROM sale WHERE day = '0000-00-00'") == [(1,)]


def test_times_outside_a_day_are_counted_by_the_plan(
    mysql_server: Server, pg18: Server, database: Any
) -> None:
    source, target = _ends(mysql_server, pg18, database)
    source.run(
        "CREATE TABLE shift (id int PRIMARY KEY, `from` time(3), lasts time, whole time)",
        "INSERT INTO shift VALUES (1, '10:00:00', '-00:00:01', '24:00:00'),"
        " (2, '24:00:00.001', '25:00:00', NULL), (3, NULL, '838:59:59', '00:00:00')",
    )
    told = _by_code(Stream(source.url, target.url).plan().findings, "time-outside-a-day")
    assert {name: one.message.split(" rows")[0][:2] for name, one in told.items()} == {
        "from": "1 ",
        "lasts": "3",
    }
    kept = Stream(source.url, target.url, on_error="quarantine").plan().findings
    assert '"to": "interval"' in str(_by_code(kept, "time-outside-a-day")["lasts"].remedy)
    overrides = [{"column": f"shift.{name}", "to": "interval"} for name in ("from", "lasts")]
    stream = Stream(source.url, target.url, type_overrides=overrides)
    assert not _by_code(stream.plan().findings, "time-outside-a-day")
    Stream(source.url, target.url).run()
    assert target.rows("SELECT lasts::text, whole::text FROM shift ORDER BY id") == [
        ("-00:00:01", "24:00:00"),
        ("25:00:00", None),
        ("838:59:59", "00:00:00"),
    ]


def test_columns_of_long_times_are_as_planned(
    mysql_server: Server, pg18: Server, database: Any
) -> None:
    """`plan` shows them as a change, and `verify` finds none afterwards, after a cdc either."""
    source, target = _ends(mysql_server, pg18, database)
    source.run(
        "CREATE TABLE a (id int PRIMARY KEY, d time(3), e time(3) DEFAULT '10:00:00', f time,"
        " g time(6) DEFAULT '-100:00:00.5', h datetime(3) DEFAULT '2020-01-01 10:00:00')",
        "INSERT INTO a VALUES (1, '-838:59:59', '24:00:00.001', '100:00:00', NULL, NULL)",
    )
    changes = Stream(source.url, target.url).plan().tables[0].changes
    assert changes == ("d interval(3)", "e interval(3)", "f interval(0)", "g interval(6)")
    move(source, target)
    report = Stream(source.url, target.url).verify()
    assert (report.ok, report.structure) == (True, ())


def test_a_key_of_times_refers_to_one_that_is_an_interval(
    mysql_server: Server, pg18: Server, database: Any
) -> None:
    source, target = _ends(mysql_server, pg18, database)
    source.run(
        "CREATE TABLE p (t time PRIMARY KEY)",
        "CREATE TABLE rows_alone (id int PRIMARY KEY, t time, FOREIGN KEY (t) REFERENCES p (t))",
        "CREATE TABLE q (t time PRIMARY KEY)",
        "CREATE TABLE default_alone (id int PRIMARY KEY, t time DEFAULT '-01:00:00',"
        " FOREIGN KEY (t) REFERENCES q (t))",
        "INSERT INTO p VALUES ('10:00:00'), ('30:00:00')",
        "INSERT INTO rows_alone VALUES (1, '10:00:00')",
        "INSERT INTO q VALUES ('10:00:00')",
        "INSERT INTO default_alone VALUES (1, '10:00:00')",
    )
    move(source, target)
    assert target.rows("SELECT count(*) FROM pg_constraint WHERE contype = 'f'") == [(2,)]
    report = Stream(source.url, target.url).verify()
    assert (report.ok, report.structure) == (True, ())
    refers = "INSERT INTO {} VALUES (2, '{}')"
    target.run(refers.format("rows_alone", "10:00:00"))
    with pytest.raises(Exception, match="foreign key"):
        target.run(refers.format("default_alone", "-01:00:00"))


def test_the_log_widens_times_that_refer_to_each_other(
    mysql_server: Server, pg18: Server, database: Any
) -> None:
    source, target = _ends(mysql_server, pg18, database)
    source.run(
        "CREATE TABLE p (t time(3) PRIMARY KEY, d time(3) DEFAULT '10:00:00')",
        "CREATE TABLE c (id int PRIMARY KEY, t time(3), FOREIGN KEY (t) REFERENCES p (t)"
        " ON UPDATE CASCADE)",
        "INSERT INTO p VALUES ('10:00:00', NULL)",
        "INSERT INTO c VALUES (1, '10:00:00')",
    )
    with following(source, target, tables=["p", "c"]) as stream:
        source.run("INSERT INTO p VALUES ('30:00:00', '-00:00:00.5')")
        source.run("INSERT INTO c VALUES (2, '10:00:00')")
        caught_up(stream)
        source.run("INSERT INTO c VALUES (3, '30:00:00')")
        source.run("UPDATE p SET t = '-10:00:00' WHERE t = '10:00:00'")
        caught_up(stream)
        report = stream.verify()
        assert (report.ok, report.structure) == (True, ())
    assert target.rows("SELECT t::text FROM c ORDER BY id") == [
        ("-10:00:00",),
        ("-10:00:00",),
        ("30:00:00",),
    ]


def test_rows_that_the_server_has_not_counted_are_unknown(
    mysql9: Server, pg18: Server, database: Any
) -> None:
    """MySQL takes its statistics from a table; MariaDB keeps what it has counted."""
    source, target = _ends(mysql9, pg18, database)
    source.run(
        "CREATE TABLE fresh (id int PRIMARY KEY) STATS_AUTO_RECALC = 0",
        "INSERT INTO fresh VALUES (1), (2), (3)",
        "UPDATE mysql.innodb_table_stats SET n_rows = 0 WHERE table_name = 'fresh'"
        " AND database_name = DATABASE()",
        "FLUSH TABLE fresh",
    )
    stream = Stream(source.url, target.url)
    assert str(stream.plan().tables[0]).splitlines()[0].endswith(", rows unknown")
    source.run("ANALYZE TABLE fresh")
    assert str(stream.plan().tables[0]).splitlines()[0].endswith(", about 3 rows")


def test_what_a_type_loses_is_told(mysql_server: Server, pg18: Server, database: Any) -> None:
    source, target = _ends(mysql_server, pg18, database)
    source.run(
        "CREATE TABLE place (id int PRIMARY KEY, at point, cost decimal(9,2) unsigned,"
        " size double unsigned, n int unsigned)"
    )
    findings = Stream(source.url, target.url).plan().findings
    assert set(_by_code(findings, "geometry-as-bytes")) == {"at"}
    assert set(_by_code(findings, "unsigned-left-out")) == {"cost", "size"}
    text = Stream(source.url, target.url, type_overrides=[{"from": "point", "to": "text"}])
    assert not _by_code(text.plan().findings, "geometry-as-bytes")


def _countries(source: End) -> None:
    collation = "utf8mb4_unicode_ci"
    text = f"varchar(8) CHARACTER SET utf8mb4 COLLATE {collation}"
    source.run(
        f"CREATE TABLE country (code {text} PRIMARY KEY)",
        f"CREATE TABLE city (id int PRIMARY KEY, code {text}, second {text},"
        " CONSTRAINT by_case FOREIGN KEY (code) REFERENCES country (code),"
        " CONSTRAINT exact FOREIGN KEY (second) REFERENCES country (code))",
        "INSERT INTO country VALUES ('de'), ('FR')",
        "INSERT INTO city VALUES (1, 'DE', 'de'), (2, 'fr', 'FR'), (3, 'FR', NULL)",
    )


def test_a_foreign_key_that_holds_by_collation_is_named_and_left_out(
    mysql_server: Server, pg18: Server, database: Any
) -> None:
    source, target = _ends(mysql_server, pg18, database)
    _countries(source)
    planned = Stream(source.url, target.url).plan().findings
    found = _by_code(planned, "foreign-key-by-collation")
    assert set(found) == {"by_case"}
    assert "2 rows refer" in found["by_case"].message
    select = str(found["by_case"].remedy).split("rows: ")[1].rstrip(";")
    assert {row[0] for row in source.rows(select)} == {1, 2}
    move(source, target)
    made = target.rows("SELECT conname FROM pg_constraint WHERE contype = 'f'")
    assert made == [("exact",)]


def test_citext_keeps_such_a_key_and_the_extension_is_made(
    mysql_server: Server, pg18: Server, database: Any
) -> None:
    source, target = _ends(mysql_server, pg18, database)
    _countries(source)
    overrides = [
        {"column": name, "to": "citext"} for name in ("country.code", "city.code", "city.second")
    ]
    with Stream(source.url, target.url, type_overrides=overrides) as stream:
        stats = stream.run()
        told = {finding.code for finding in stats.findings}
        assert not told & {"case-sensitive-key", "foreign-key-by-collation", "orphans"}
        assert stream.verify().ok
    made = target.rows("SELECT conname FROM pg_constraint WHERE contype = 'f' ORDER BY 1")
    assert made == [("by_case",), ("exact",)]


def test_differences_beyond_case_are_told_from_those_that_citext_heals(
    mysql_server: Server, pg18: Server, database: Any
) -> None:
    source, target = _ends(mysql_server, pg18, database)
    _countries(source)
    source.run("INSERT INTO country VALUES ('É')", "INSERT INTO city VALUES (9, 'e', NULL)")
    found = _by_code(Stream(source.url, target.url).plan().findings, "foreign-key-by-collation")
    assert "3 rows" in found["by_case"].message
    assert "by which 1 differ" in str(found["by_case"].remedy)
    overrides = [
        {"column": name, "to": "citext"} for name in ("country.code", "city.code", "city.second")
    ]
    plan = Stream(source.url, target.url, type_overrides=overrides).plan()
    found = _by_code(plan.findings, "foreign-key-by-collation")
    assert "1 row refers" in found["by_case"].message
    assert "citext" not in str(found["by_case"].remedy)


def _numbered(source: End) -> None:
    source.run(
        "CREATE TABLE users (id bigint unsigned AUTO_INCREMENT PRIMARY KEY)",
        "CREATE TABLE posts (id bigint unsigned AUTO_INCREMENT PRIMARY KEY,"
        " user_id bigint unsigned NOT NULL, hits bigint unsigned,"
        " FOREIGN KEY (user_id) REFERENCES users (id))",
        "CREATE TABLE profile (user_id bigint unsigned PRIMARY KEY, boss bigint unsigned,"
        " FOREIGN KEY (user_id) REFERENCES users (id),"
        " FOREIGN KEY (boss) REFERENCES profile (user_id))",
        "INSERT INTO users VALUES (1), (7)",
        "INSERT INTO posts VALUES (1, 7, 18446744073709551615)",
        "INSERT INTO profile VALUES (7, NULL), (1, 7)",
    )


TYPES = (
    "SELECT table_name || '.' || column_name, data_type FROM information_schema.columns"
    " WHERE table_schema = 'public' ORDER BY 1"
)


def test_an_option_makes_unsigned_keys_and_what_refers_to_them_bigint(
    mysql_server: Server, pg18: Server, database: Any
) -> None:
    source, target = _ends(mysql_server, pg18, database)
    _numbered(source)
    found = _by_code(Stream(source.url, target.url).plan().findings, "unsigned-key")
    assert "3 columns that refer" in found["id"].message or "numeric(20)" in found["id"].message
    assert "options.unsignedKeys bigint" in str(found["id"].remedy)
    with Stream(source.url, target.url, unsigned_keys="bigint") as stream:
        stats = stream.run()
        assert not _by_code(stats.findings, "unsigned-key")
        assert stream.verify().ok
    assert dict(target.rows(TYPES)) == {
        "posts.hits": "numeric", "posts.id": "bigint", "posts.user_id": "bigint",
        "profile.boss": "bigint", "profile.user_id": "bigint", "users.id": "bigint",
    }  # fmt: skip
    assert target.rows("SELECT count(*) FROM pg_constraint WHERE contype = 'f'") == [(3,)]
    target.run("INSERT INTO users DEFAULT VALUES")
    assert target.rows("SELECT max(id) FROM users") == [(8,)]


def test_a_key_beyond_bigint_is_a_bad_row(
    mysql_server: Server, pg18: Server, database: Any
) -> None:
    source, target = _ends(mysql_server, pg18, database)
    source.run(
        "CREATE TABLE users (id bigint unsigned AUTO_INCREMENT PRIMARY KEY)",
        "INSERT INTO users VALUES (1), (9223372036854775807), (9223372036854775808)",
    )
    stats = move(source, target, unsigned_keys="bigint", on_error="quarantine")
    assert stats.target.failed_counter == 1
    assert target.rows("SELECT id FROM users ORDER BY 1") == [(1,), (9223372036854775807,)]


def test_a_cdc_leaves_out_a_key_that_holds_by_collation_too(
    mysql_server: Server, pg18: Server, database: Any
) -> None:
    source, target = _ends(mysql_server, pg18, database)
    _countries(source)
    name = f"collated {mysql_server.kind}"
    with Stream(source.url, target.url, mode="cdc", name=name) as stream:
        stream.start()
        assert stream.catch_up(120), stream.error
        source.run("INSERT INTO city VALUES (4, 'fR', 'de')")
        assert stream.catch_up(120), stream.error
        told = {finding.code for finding in stream.stats().findings}
        assert "foreign-key-by-collation" in told
        assert "orphans" not in told
        made = target.rows("SELECT conname FROM pg_constraint WHERE contype = 'f'")
        assert made == [("exact",)]
        stream.stop()
        stream.wait(timeout=30)
        stream.release()
