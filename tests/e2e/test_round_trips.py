"""There and back: what leaves a database and comes home again is what it was.

The rows of the first and the last database are held against each other by `round_trip`,
which shares nothing with the engine. These rules, and nothing else, may tell them apart:

MySQL, PostgreSQL, MySQL. Integers come back in the type that held them on PostgreSQL
(TINYINT as SMALLINT, SMALLINT UNSIGNED as INT, INT UNSIGNED as BIGINT, BIGINT UNSIGNED as
DECIMAL(20,0)); TINYINT(1) as TINYINT(1) or SMALLINT; YEAR as SMALLINT; BIT(1) as
TINYINT(1). CHAR(n) is VARCHAR(n), every TEXT a LONGTEXT (VARCHAR under a unique or foreign
key), every text utf8mb4 in a binary collation; every BLOB and BINARY a LONGBLOB, a geometry
too. ENUM stays one, SET is the JSON array of its labels, JSON is equal by value. DATETIME
and TIMESTAMP are DATETIME with the same clock in UTC. Zero and partial dates are NULL, and
counted.

PostgreSQL, MySQL (checked on the way), PostgreSQL. boolean is TINYINT(1), then boolean or
smallint. text is LONGTEXT (VARCHAR under a unique or foreign key), then text or varchar;
numeric(p,s) stays, numeric is DECIMAL(65,30) and equal by value; timestamptz is DATETIME(6),
then timestamp, with the clock in UTC; uuid is CHAR(36), then varchar(36); char(n) is CHAR(n),
then varchar(n), trailing blanks aside; bytea is LONGBLOB; json and jsonb are equal by value;
an array is the JSON that to_jsonb makes of it; an enum stays one; a domain is its base type;
anything else is its text, in a VARCHAR where its longest text is known. A table of another
schema is called schema__table; a partitioned table is one table; tables that inherit are
tables with their own rows.

Primary and foreign keys stay on both ways; SET NULL of a column that is NOT NULL may become
NO ACTION, which is all that it can do.

Through Parquet every type stays as it was, but a domain, which becomes its base, and a
composite, which becomes its text; constraints and indexes do not stay, zero dates are NULL.
From MySQL to MySQL all values and the whole structure stay; between the flavours all but the
collations.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support import round_trip, samples
from tests.support.canonical_rows import End
from tests.support.round_trip import Allowed, compare, compare_keys, compare_structure
from tests.support.sample_moves import server
from tests.support.samples import Server

Check = Callable[[End, End], list[str]]
Faults = dict[str, str]
"""A statement that makes a fault, and what must be told of it."""

# --- databases that have every type of the rules ---------------------------------------------

TYPES_MYSQL = """
CREATE TABLE every_type (id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
 t TINYINT, tu TINYINT UNSIGNED, yes TINYINT(1), several TINYINT(1), s SMALLINT,
 su SMALLINT UNSIGNED, m MEDIUMINT, mu MEDIUMINT UNSIGNED, i INT, iu INT UNSIGNED, b BIGINT,
 bu BIGINT UNSIGNED, d DECIMAL(20,6), big DECIMAL(65,30), f FLOAT, g DOUBLE, y YEAR, b1 BIT(1),
 b9 BIT(9), c CHAR(5), v VARCHAR(40), little TINYTEXT, txt TEXT, kind ENUM('a','b,c','it''s'),
 flags SET('x','y z','it''s'), doc JSON, raw VARBINARY(20), fixed BINARY(4), stuff BLOB,
 day DATE, at DATETIME(6), at0 DATETIME, stamp TIMESTAMP(3) NULL, clock TIME(2), place POINT,
 twice DECIMAL(21,6) AS (d * 2) STORED);
INSERT INTO every_type (t, tu, yes, several, s, su, m, mu, i, iu, b, bu, d, big, f, g, y, b1,
 b9, c, v, little, txt, kind, flags, doc, raw, fixed, stuff, day, at, at0, stamp, clock, place)
VALUES (-128, 255, 1, 2, -32768, 65535, -8388608, 16777215, -2147483648, 4294967295,
 -9223372036854775808, 18446744073709551615, 12345678901234.567890,
 -12345678901234567890123456789012345.123456789012345678901234567891, 16777216,
 1.7976931348623157e308, 2155, b'1', b'100000001', 'ab', 'ä€😀\\n"\\'\\\\', ' a ', 'long\\ttext',
 'b,c', 'x,y z', '{"k": [1.5, 18446744073709551615, null, "ü\\\\n", {"b": true, "a": {}}]}',
 X'00FF', X'01020000', X'', '9999-12-31', '2020-02-29 23:59:59.999999', '1000-01-01 00:00:00',
 '2038-01-19 03:14:07.999', '23:59:59.99', ST_GeomFromText('POINT(1 -2.5)')),
 (127, 0, 0, -1, 32767, 0, 8388607, 0, 2147483647, 0, 9223372036854775807, 0, -0.000001,
 0.000000000000000000000000000001, 0.1, -2.2250738585072014e-308, '0000', b'0', b'000000000',
 '', '', '', '', 'it''s', '', '[]', X'', X'00000000', X'FFFE00', '1000-01-01',
 '2020-01-01 00:00:00.100000', '2020-01-01 12:30:00', '1970-01-01 00:00:01.000', '00:00:00',
 ST_GeomFromText('POINT(0 0)')),
 (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
 NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
 NULL, NULL, NULL, NULL);
CREATE TABLE zero_dates (id INT PRIMARY KEY, day DATE, at DATETIME(3), stamp TIMESTAMP NULL);
INSERT INTO zero_dates VALUES (1, '0000-00-00', '0000-00-00', '0000-00-00'),
 (2, '2020-00-01', '2020-01-00 01:02:03.5', '2020-01-01 00:00:00'),
 (3, '2020-01-01', '2020-01-01 01:02:03.25', '2020-01-01 00:00:00');
CREATE TABLE counted (n BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, v INT)
 AUTO_INCREMENT = 4000000000;
INSERT INTO counted (v) VALUES (1), (2);
CREATE TABLE `Places of "Birth"` (`select` VARCHAR(20) NOT NULL PRIMARY KEY, `größe` INT);
INSERT INTO `Places of "Birth"` VALUES ('Köln', 1), ('a''b', NULL);
CREATE TABLE people (id INT NOT NULL PRIMARY KEY, place VARCHAR(20), boss INT,
 FOREIGN KEY (place) REFERENCES `Places of "Birth"` (`select`) ON DELETE CASCADE ON UPDATE CASCADE,
 FOREIGN KEY (boss) REFERENCES people (id) ON DELETE SET NULL);
INSERT INTO people VALUES (2, NULL, NULL), (1, 'Köln', 2);
CREATE TABLE no_key (v VARCHAR(10), n INT);
INSERT INTO no_key VALUES ('twice', 1), ('twice', 1), ('once', 1), (NULL, NULL), (NULL, NULL);
CREATE TABLE empty_one (id INT PRIMARY KEY, v TEXT)
"""
MORE_MYSQL = """
CREATE TABLE long_times (id INT PRIMARY KEY, clock TIME(6), span TIME);
INSERT INTO long_times VALUES (1, '-838:59:59', '838:59:59'), (2, '-00:00:00.000001', '25:00:00'),
 (3, NULL, NULL)
"""
STRUCTURE_MYSQL = """
CREATE TABLE structure (a INT NOT NULL COMMENT 'it''s "a"', b VARCHAR(30) NOT NULL DEFAULT 'it''s',
 c TEXT, d DATETIME(3) DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
 e DECIMAL(8,3) UNSIGNED NOT NULL DEFAULT 1.5, f CHAR(3) CHARACTER SET ascii COLLATE ascii_bin,
 g VARCHAR(20) CHARACTER SET latin1 DEFAULT '', h BIT(5) DEFAULT b'101', i INT AS (a + 1) VIRTUAL,
 j VARCHAR(36) DEFAULT (UUID()), k SET('p','q') DEFAULT 'p,q', l SMALLINT UNSIGNED DEFAULT 7,
 n BIGINT NOT NULL AUTO_INCREMENT, PRIMARY KEY (b, a), UNIQUE KEY counter (n),
 KEY prefix (c(12), a), KEY down (e DESC, a) COMMENT 'falling', UNIQUE KEY uniq (g, f),
 FULLTEXT KEY words (c), CONSTRAINT sane CHECK (a > 0))
 AUTO_INCREMENT = 500 COMMENT 'the ''table''';
INSERT INTO structure (a, b, c, d, f, g, j, n) VALUES (1, 'x', 'some words',
 '2020-01-01 00:00:00.5', 'abc', 'ä', 'j', 17);
CREATE TABLE lower_one (x INT, y VARCHAR(30) CHARACTER SET utf8mb4, z CHAR(2), KEY own_name (z),
 CONSTRAINT named FOREIGN KEY (y, x) REFERENCES structure (b, a) ON UPDATE CASCADE)
 DEFAULT CHARSET latin1;
INSERT INTO lower_one VALUES (1, 'x', 'ä'), (NULL, NULL, 'b')
"""
TYPES_POSTGRES = """
CREATE TYPE mood AS ENUM ('sad', 'it''s', 'a,b');
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE DOMAIN code AS varchar(8);
CREATE TYPE pair AS (a int, b text);
CREATE TABLE every_type (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, yes boolean,
 s smallint, i integer, b bigint, r real, d double precision, n numeric(20,6), free numeric,
 whole numeric(30), c char(5), v varchar(40), anyv varchar, t text, raw bytea, day date,
 clock time, clock1 time(1), clocktz timetz, at timestamp, at3 timestamp(3), stamp timestamptz,
 span interval, u uuid, j json, jb jsonb, m mood, ms mood[], ints int[], words text[],
 nested int[][], nums numeric[], stamps timestamptz[], net inet, block cidr, mac macaddr,
 ir int4range, tr tstzrange, mr nummultirange, tv tsvector, tq tsquery, p point, pr pair,
 bt bit(5), b1 bit(1), vb varbit, dom positive, cd code,
 twice numeric(21,6) GENERATED ALWAYS AS (n * 2) STORED);
INSERT INTO every_type VALUES (1, true, -32768, -2147483648, -9223372036854775808, 16777216,
 1.7976931348623157e308, 12345678901234.567890, 12345678901234567890.123456789012345678901234567891,
 123456789012345678901234567890, 'ab', 'ä€😀' || E'\\n"''\\\\', 'any', E'long\\ttext', '\\x00ff',
 '9999-12-31', '23:59:59.999999', '23:59:59.9', '12:00:00.5+05:30', '2020-02-29 23:59:59.999999',
 '1000-01-01 00:00:00.120', '2020-06-30 23:59:59.5+02', '1 year 2 mons -3 days 04:05:06.789',
 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"b": 1.50, "a": [2, null]}',
 '{"k": [1.50, 18446744073709551615, null, "ü\\n", {"b": true, "a": {}}]}', 'a,b', '{sad,"a,b"}',
 '{1,NULL,-3}', ARRAY['a,b', 'quote"d', 'back\\slash', '', NULL, 'NULL', 'ü😀'], '{{1,2},{3,4}}',
 '{1.50,-0.001}', '{2020-01-01 00:00:00+02,NULL}', '10.1.2.3/24', '10.0.0.0/8',
 '08:00:2b:01:02:03', '[1,10)', '[2020-01-01 00:00:00+00,)', '{[1,2),(5.5,7]}',
 'fat:2A cat:3 ''it''''s''', 'fat & (cat | !rat)', '(1.5,-2)', '(7,"it''s, ""q"" .")', B'10101',
 B'1', B'1010101', 5, 'Code'),
 (2, false, 32767, 2147483647, 9223372036854775807, 0.1, -2.2250738585072014e-308, -0.000001,
 -0.000000000000000000000000000001, 0, '', '', '', '', '', '1000-01-01', '00:00:00', '00:00:00',
 '00:00:00-12', '2020-01-01 00:00:00', '2020-01-01 12:30:00', '1970-01-01 00:00:00+00', '0',
 '00000000-0000-0000-0000-000000000000', '[]', '"text"', 'sad', '{}', '{}', '{}', '{}', '{}', '{}',
 '::1', '::/0', '00:00:00:00:00:00', 'empty', 'empty', '{}', '', '', '(0,0)', '(,)', B'00000',
 B'0', B'', 1, '');
INSERT INTO every_type (id) VALUES (3);
CREATE TABLE named (name text PRIMARY KEY, note text UNIQUE);
INSERT INTO named VALUES ('Key1', 'a'), ('KEY1', 'A'), ('straße', 'ä'), ('strasse', NULL);
CREATE TABLE "Ref Erring" ("select" text REFERENCES named ON DELETE CASCADE, "größe" int,
 CONSTRAINT once UNIQUE ("select", "größe"));
INSERT INTO "Ref Erring" VALUES ('Key1', 1), ('KEY1', 1), (NULL, NULL);
CREATE SCHEMA other;
CREATE TABLE other.notes (id int PRIMARY KEY, body text, name text REFERENCES public.named);
INSERT INTO other.notes VALUES (1, 'in another schema', 'straße');
CREATE TABLE measured (day date NOT NULL, v real, PRIMARY KEY (day)) PARTITION BY RANGE (day);
CREATE TABLE measured_1 PARTITION OF measured FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE measured_2 PARTITION OF measured FOR VALUES FROM ('2021-01-01') TO ('2022-01-01');
INSERT INTO measured VALUES ('2020-05-05', 1), ('2021-05-05', 2);
CREATE TABLE forebear (id int PRIMARY KEY, v text);
CREATE TABLE heir (extra int) INHERITS (forebear);
INSERT INTO forebear VALUES (1, 'own');
INSERT INTO heir VALUES (1, 'of the heir', 7), (2, NULL, NULL);
CREATE TABLE no_key (v varchar(10), n int);
INSERT INTO no_key VALUES ('twice', 1), ('twice', 1), ('once', 1), (NULL, NULL), (NULL, NULL);
CREATE TABLE empty_one (id int PRIMARY KEY, v text);
"""
BLANKS_POSTGRES = """
CREATE TABLE blanks (name text PRIMARY KEY, v varchar(9) UNIQUE);
INSERT INTO blanks VALUES ('key', 'v'), ('key ', 'v '), ('Key', 'V'), ('', ''), (' ', ' ');
"""
MADE = {
    "types": (TYPES_MYSQL, TYPES_POSTGRES),
    "more": (TYPES_MYSQL + ";" + MORE_MYSQL, TYPES_POSTGRES),
    "structure": (TYPES_MYSQL + ";" + MORE_MYSQL + ";" + STRUCTURE_MYSQL, ""),
    "blanks": ("", BLANKS_POSTGRES),
}


def run_statements(where: Server, database: str, script: str) -> None:
    """A script of statements that end in a semicolon and a line break, in a lax SQL mode."""
    if samples.dialect(where) == "postgresql":
        samples.run_postgres(where, database, script)
        return
    with samples.mysql_connection(where, database) as connection, connection.cursor() as cursor:
        cursor.execute("SET SESSION sql_mode = ''")
        for statement in re.split(r";\s*\n|;\s*$", script):
            if statement.strip():
                cursor.execute(statement)


def made(where: Server, *scripts: str) -> End:
    """A new database, filled by scripts."""
    end = End(where, samples.create(where, "made"))
    for script in scripts:
        run_statements(where, end.database, script)
    return end


def filled(where: Server, sample: str, data: Path) -> End:
    """A sample, or one of the databases above."""
    if sample in MADE:
        return made(where, MADE[sample][samples.dialect(where) == "postgresql"])
    return End(where, samples.load(where, sample, data))


class Journey:
    """The databases of one test, dropped at its end, and the moves between them."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def start(self, where: Server, sample: str, data: Path) -> End:
        """The database that everything is held against."""
        return self.keep(filled(where, sample, data))

    def keep(self, end: End) -> End:
        """Drop this database at the end."""
        self._stack.callback(samples.drop, end.server, end.database)
        return end

    def to(self, source: End | str, target: Server) -> tuple[End, Any]:
        """Move into a new database: it, and the run's stats."""
        end = self.keep(made(target))
        return end, move(source, end)


def move(source: End | str, target: End | str) -> Any:
    """The engine's one part in these tests."""
    from streams_engine import Stream

    urls = (
        end if isinstance(end, str) else end.server.url(end.database) for end in (source, target)
    )
    return Stream(*urls, mode="convert").run()


def agree(differences: list[str]) -> None:
    """There is no difference; a failure shows all of them, whole."""
    assert not differences, "\n".join(differences)


@pytest.fixture
def journey() -> Iterator[Journey]:
    with ExitStack() as stack:
        yield Journey(stack)


def zero_dates(stats: Any) -> dict[str, str]:
    """The columns whose zero dates a run says it made NULL, and the count that it tells."""
    return {
        ".".join(finding.object.split(".")[-2:]): finding.message.split()[0]
        for finding in stats.findings
        if finding.code == "zero-dates"
    }


ZEROES = {"zero_dates.day": "2", "zero_dates.at": "2", "zero_dates.stamp": "1"}


# --- the ways ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "home, through, sample",
    [
        ("mysql9", "pg15", "sakila"),
        ("mysql9", "pg15", "northwind"),
        ("mysql9", "pg15", "types"),
        ("mysql9", "pg18", "employees_small"),
        ("mariadb", "pg18", "sakila"),
        ("mariadb", "pg18", "chinook"),
        ("mariadb", "pg18", "types"),
    ],
)
def test_mysql_there_and_back(
    request: pytest.FixtureRequest,
    shared_data: Path,
    journey: Journey,
    home: str,
    through: str,
    sample: str,
) -> None:
    first = journey.start(server(request, home), sample, shared_data)
    between, stats = journey.to(first, server(request, through))
    last, _ = journey.to(between, first.server)
    agree(compare(first, last, round_trip.mysql_through_postgres))
    agree(compare_keys(first, last))
    assert zero_dates(stats) == (ZEROES if sample == "types" else {})


@pytest.mark.parametrize(
    "home, through, sample",
    [
        ("pg15", "mysql9", "sakila"),
        ("pg15", "mysql9", "northwind"),
        ("pg15", "mysql9", "types"),
        ("pg15", "mysql9", "blanks"),
        ("pg18", "mariadb", "sakila"),
        ("pg18", "mariadb", "chinook"),
        ("pg18", "mariadb", "types"),
        ("pg18", "mariadb", "blanks"),
    ],
)
def test_postgres_there_and_back(
    request: pytest.FixtureRequest,
    shared_data: Path,
    journey: Journey,
    home: str,
    through: str,
    sample: str,
) -> None:
    first = journey.start(server(request, home), sample, shared_data)
    between, _ = journey.to(first, server(request, through))
    agree(compare(first, between, round_trip.postgres_into_mysql))
    agree(compare_keys(first, between))
    last, _ = journey.to(between, first.server)
    agree(compare(first, last, round_trip.postgres_through_mysql))
    agree(compare_keys(first, last))


@pytest.mark.parametrize(
    "home, sample",
    [
        ("mysql9", "sakila"),
        ("mysql9", "employees_small"),
        ("mysql9", "more"),
        ("mariadb", "northwind"),
        ("mariadb", "chinook"),
        ("mariadb", "more"),
        ("pg15", "sakila"),
        ("pg15", "types"),
        ("pg18", "chinook"),
        ("pg18", "northwind"),
        ("pg18", "types"),
    ],
)
def test_through_parquet(
    request: pytest.FixtureRequest,
    shared_data: Path,
    tmp_path: Path,
    journey: Journey,
    home: str,
    sample: str,
) -> None:
    first = journey.start(server(request, home), sample, shared_data)
    files = f"file://{tmp_path}/files?format=parquet"
    stats = move(first, files)
    last, _ = journey.to(files, first.server)
    agree(compare(first, last, round_trip.unchanged_through_files))
    assert zero_dates(stats) == (ZEROES if sample == "more" and "pg" not in home else {})


@pytest.mark.parametrize(
    "source, target, sample",
    [
        ("mysql9", "mysql9", "sakila"),
        ("mysql9", "mysql9", "structure"),
        ("mariadb", "mariadb", "employees_small"),
        ("mariadb", "mariadb", "structure"),
        ("mysql9", "mariadb", "chinook"),
        ("mysql9", "mariadb", "northwind"),
        ("mysql9", "mariadb", "structure"),
    ],
)
def test_mysql_to_mysql(
    request: pytest.FixtureRequest,
    shared_data: Path,
    journey: Journey,
    source: str,
    target: str,
    sample: str,
) -> None:
    first = journey.start(server(request, source), sample, shared_data)
    last, _ = journey.to(first, server(request, target))
    agree(compare(first, last, round_trip.unchanged))
    agree(compare_structure(first, last))


# --- the comparison can fail ------------------------------------------------------------------

TYPES_BACK_ON_MYSQL = """
UPDATE zero_dates SET day = NULL, at = NULL WHERE id < 3;
UPDATE zero_dates SET stamp = NULL WHERE id = 1;
ALTER TABLE zero_dates MODIFY stamp DATETIME(6), MODIFY at DATETIME(6);
ALTER TABLE every_type MODIFY id BIGINT NOT NULL AUTO_INCREMENT, MODIFY t SMALLINT,
 MODIFY tu SMALLINT, MODIFY several SMALLINT, MODIFY su INT, MODIFY m INT, MODIFY mu INT,
 MODIFY iu BIGINT, MODIFY bu DECIMAL(20,0), MODIFY y SMALLINT, MODIFY b1 TINYINT(1),
 MODIFY c VARCHAR(5) COLLATE utf8mb4_bin, MODIFY v VARCHAR(40) COLLATE utf8mb4_bin,
 MODIFY little LONGTEXT COLLATE utf8mb4_bin, MODIFY txt LONGTEXT COLLATE utf8mb4_bin,
 MODIFY flags VARCHAR(99), MODIFY raw LONGBLOB, MODIFY fixed LONGBLOB, MODIFY stuff LONGBLOB,
 MODIFY stamp DATETIME(6), MODIFY place LONGBLOB;
UPDATE every_type SET flags = IF(flags = '', '[]',
 CONCAT('["', REPLACE(flags, ',', '", "'), '"]'));
ALTER TABLE every_type MODIFY flags JSON;
ALTER TABLE counted MODIFY n DECIMAL(20,0);
ALTER TABLE people DROP FOREIGN KEY people_ibfk_1;
ALTER TABLE people MODIFY place VARCHAR(20) COLLATE utf8mb4_bin;
ALTER TABLE `Places of "Birth"` MODIFY `select` VARCHAR(20) COLLATE utf8mb4_bin;
ALTER TABLE people ADD FOREIGN KEY (place) REFERENCES `Places of "Birth"` (`select`)
 ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE no_key MODIFY v VARCHAR(10) COLLATE utf8mb4_bin;
ALTER TABLE empty_one MODIFY v LONGTEXT COLLATE utf8mb4_bin
"""
ON_MYSQL: Faults = {
    "UPDATE every_type SET tu = 254 WHERE id = 1": "every_type.tu",
    "UPDATE every_type SET yes = NULL WHERE id = 1": "every_type.yes",
    "UPDATE every_type SET several = 1 WHERE id = 1": "every_type.several",
    "UPDATE every_type SET bu = 18446744073709551614 WHERE id = 1": "every_type.bu",
    "UPDATE every_type SET d = d + 0.000001 WHERE id = 2": "every_type.d",
    "UPDATE every_type SET big = big + 1e-30 WHERE id = 1": "every_type.big",
    "UPDATE every_type SET f = 16777218 WHERE id = 1": "every_type.f",
    "UPDATE every_type SET g = 1.7976931348623155e308 WHERE id = 1": "every_type.g",
    "UPDATE every_type SET b1 = 0 WHERE id = 1": "every_type.b1",
    "UPDATE every_type SET b9 = b'1' WHERE id = 1": "every_type.b9",
    "UPDATE every_type SET c = 'AB' WHERE id = 1": "every_type.c",
    "UPDATE every_type SET v = NULL WHERE id = 2": "every_type.v",
    "UPDATE every_type SET little = ' a' WHERE id = 1": "every_type.little",
    "UPDATE every_type SET kind = 'a' WHERE id = 1": "every_type.kind",
    """UPDATE every_type SET flags = '["y z", "x"]' WHERE id = 1""": "every_type.flags",
    """UPDATE every_type SET flags = '[""]' WHERE id = 2""": "every_type.flags",
    """UPDATE every_type SET doc = '{}' WHERE id = 2""": "every_type.doc",
    "UPDATE every_type SET raw = X'00FF00' WHERE id = 1": "every_type.raw",
    "UPDATE every_type SET stuff = NULL WHERE id = 1": "every_type.stuff",
    "UPDATE every_type SET at = '2020-02-29 23:59:59.999998' WHERE id = 1": "every_type.at",
    "UPDATE every_type SET stamp = stamp + INTERVAL 1 HOUR WHERE id = 1": "every_type.stamp",
    "UPDATE every_type SET clock = '24:00:00' WHERE id = 1": "every_type.clock",
    "UPDATE every_type SET place = NULL WHERE id = 2": "every_type.place",
    "UPDATE zero_dates SET day = '2020-01-02' WHERE id = 3": "zero_dates.day",
    "UPDATE zero_dates SET day = '2020-01-01' WHERE id = 2": "zero_dates.day",
    "UPDATE zero_dates SET day = '0000-00-00' WHERE id = 1": "zero_dates.day",
    "UPDATE no_key SET n = 2 WHERE v = 'twice' LIMIT 1": "no_key.n",
    "DELETE FROM no_key WHERE v = 'twice' LIMIT 1": "no_key.v: of 5 and 4 values",
    "ALTER TABLE every_type MODIFY v VARCHAR(41) COLLATE utf8mb4_bin": "every_type.v",
    "ALTER TABLE every_type MODIFY v VARCHAR(40) COLLATE utf8mb4_general_ci": "every_type.v",
    "ALTER TABLE every_type MODIFY d DECIMAL(21,6)": "every_type.d",
    "ALTER TABLE every_type MODIFY flags TEXT": "every_type.flags",
    "ALTER TABLE every_type MODIFY kind ENUM('b,c','a','it''s')": "every_type.kind",
    "ALTER TABLE people MODIFY boss INT FIRST": "people: ['id', 'place', 'boss'] is ['boss'",
    "ALTER TABLE people DROP FOREIGN KEY people_ibfk_2": "people: foreign keys",
    "ALTER TABLE counted DROP PRIMARY KEY": "counted: primary key",
    "DROP TABLE empty_one": "empty_one has not come",
    "CREATE TABLE too_much (a INT)": "too_much came from nowhere",
}


def finds(first: End, last: End, faults: Faults, *checks: Check) -> None:
    """The two are equal; then each fault, made in the second of them, is told.

    Faults that tell of different things are made together, to save time; one that tells
    nothing only begins another such batch.
    """
    before = [difference for check in checks for difference in check(first, last)]
    assert before == []
    rest = dict(faults)
    while rest:
        batch: dict[str, str] = {}
        while rest and (told := next(iter(rest.values()))) not in batch:
            fault = next(iter(rest))
            del rest[fault]
            if not told:
                break
            batch[told] = fault
            run_statements(last.server, last.database, fault)
        after = [difference for check in checks for difference in check(first, last)]
        new = [difference for difference in after if difference not in before]
        untold = {fault for told, fault in batch.items() if not any(_tells(d, told) for d in new)}
        assert not untold, new
        before = after


def _tells(difference: str, told: str) -> bool:
    """A name of a column stands at the beginning, any other words anywhere."""
    return told in difference if " " in told else difference.startswith(told + ":")


def rows_by(allowed: Allowed) -> Check:
    return lambda first, last: compare(first, last, allowed)


@pytest.mark.parametrize("home", ["mysql9", "mariadb"])
def test_a_fault_on_the_way_back_to_mysql_is_found(
    request: pytest.FixtureRequest, journey: Journey, home: str
) -> None:
    where = server(request, home)
    first = journey.keep(made(where, TYPES_MYSQL))
    last = journey.keep(made(where, TYPES_MYSQL, TYPES_BACK_ON_MYSQL))
    finds(first, last, ON_MYSQL, rows_by(round_trip.mysql_through_postgres), compare_keys)


TYPES_BACK_ON_POSTGRES = """
ALTER TABLE every_type ALTER free TYPE numeric(65,30), ALTER c TYPE varchar(5),
 ALTER anyv TYPE text, ALTER clock1 TYPE time(6), ALTER clocktz TYPE text,
 ALTER at3 TYPE timestamp(6), ALTER stamp TYPE timestamp(6), ALTER span TYPE text,
 ALTER u TYPE varchar(36), ALTER j TYPE jsonb, ALTER yes TYPE smallint USING yes::int,
 ALTER ms TYPE jsonb USING to_jsonb(ms), ALTER ints TYPE jsonb USING to_jsonb(ints),
 ALTER words TYPE jsonb USING to_jsonb(words), ALTER nested TYPE jsonb USING to_jsonb(nested),
 ALTER nums TYPE jsonb USING to_jsonb(nums), ALTER stamps TYPE jsonb USING to_jsonb(stamps),
 ALTER net TYPE text USING abbrev(net), ALTER block TYPE text USING block::text,
 ALTER mac TYPE text, ALTER ir TYPE text, ALTER tr TYPE text, ALTER mr TYPE text,
 ALTER tv TYPE text, ALTER tq TYPE text, ALTER p TYPE text, ALTER pr TYPE text,
 ALTER b1 TYPE boolean USING b1 = B'1', ALTER vb TYPE text, ALTER dom TYPE integer,
 ALTER cd TYPE varchar(8);
CREATE TABLE other__notes AS SELECT * FROM other.notes;
DROP SCHEMA other CASCADE;
ALTER TABLE other__notes ADD PRIMARY KEY (id);
ALTER TABLE other__notes ADD FOREIGN KEY (name) REFERENCES named;
CREATE TABLE whole_measured AS SELECT * FROM measured;
DROP TABLE measured;
ALTER TABLE whole_measured RENAME TO measured;
ALTER TABLE measured ADD PRIMARY KEY (day);
ALTER TABLE heir NO INHERIT forebear;
"""
ON_POSTGRES: Faults = {
    "UPDATE every_type SET yes = 2 WHERE id = 1": "every_type.yes",
    "UPDATE every_type SET n = n + 0.000001 WHERE id = 1": "every_type.n",
    "UPDATE every_type SET free = free + 1e-30 WHERE id = 1": "every_type.free",
    "UPDATE every_type SET c = 'b' WHERE id = 2": "every_type.c",
    "UPDATE every_type SET t = NULL WHERE id = 2": "every_type.t",
    "UPDATE every_type SET raw = '\\x00fe' WHERE id = 1": "every_type.raw",
    "UPDATE every_type SET clocktz = '12:00:00.5+05' WHERE id = 1": "every_type.clocktz",
    "UPDATE every_type SET stamp = stamp + interval '2 hours' WHERE id = 1": "every_type.stamp",
    "UPDATE every_type SET span = '1 year' WHERE id = 1": "every_type.span",
    "UPDATE every_type SET u = upper(u) WHERE id = 1": "every_type.u",
    "UPDATE every_type SET jb = '{\"k\": 1}' WHERE id = 1": "every_type.jb",
    "UPDATE every_type SET ints = '[1, 0, -3]' WHERE id = 1": "every_type.ints",
    "UPDATE every_type SET words = words - 5 WHERE id = 1": "every_type.words",
    "UPDATE every_type SET nested = '[1,2,3,4]' WHERE id = 1": "every_type.nested",
    "UPDATE every_type SET ms = NULL WHERE id = 2": "every_type.ms",
    "UPDATE every_type SET net = '10.1.2.3' WHERE id = 1": "every_type.net",
    "UPDATE every_type SET pr = '(7,x)' WHERE id = 1": "every_type.pr",
    "UPDATE every_type SET b1 = NULL WHERE id = 1": "every_type.b1",
    "UPDATE heir SET v = 'x' WHERE id = 1": "heir.v",
    "INSERT INTO forebear VALUES (2, 'of the heir')": "forebear.id: of 1 and 2 values",
    "DELETE FROM measured WHERE v = 2": "measured.day",
    "UPDATE other__notes SET body = ''": "other__notes.body",
    "ALTER TABLE every_type ALTER s TYPE integer": "every_type.s",
    "ALTER TABLE every_type ALTER v TYPE text": "every_type.v",
    "ALTER TABLE every_type ALTER words TYPE text": "every_type.words",
    "ALTER TABLE every_type ALTER stamp TYPE timestamptz": "every_type.stamp",
    "ALTER TYPE mood ADD VALUE 'more'": "every_type.m",
    "ALTER TABLE heir ALTER v TYPE varchar(99)": "heir.v",
    'ALTER TABLE "Ref Erring" DROP CONSTRAINT "Ref Erring_select_fkey"': "Ref Erring: foreign keys",
    "ALTER TABLE forebear DROP CONSTRAINT forebear_pkey": "forebear: primary key",
    "ALTER TABLE other__notes RENAME TO notes": "other__notes has not come",
}


def test_a_fault_on_the_way_back_to_postgres_is_found(pg15: Server, journey: Journey) -> None:
    first = journey.keep(made(pg15, TYPES_POSTGRES))
    last = journey.keep(made(pg15, TYPES_POSTGRES, TYPES_BACK_ON_POSTGRES))
    finds(first, last, ON_POSTGRES, rows_by(round_trip.postgres_through_mysql), compare_keys)


FEW_POSTGRES = """
CREATE TYPE mood AS ENUM ('sad', 'it''s');
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE TABLE few (id int PRIMARY KEY, yes boolean, free numeric, n numeric(9,2), c char(5),
 t text, v varchar(9), raw bytea, stamp timestamptz, at timestamp(3), clock time, span interval,
 u uuid, jb jsonb, m mood, words text[], net inet, dom positive, r real, bt bit(5));
INSERT INTO few VALUES (1, true, 1.5, 1.50, 'ab', 'it''s', 'ä', '\\x00ff',
 '2020-06-30 23:59:59.5+02', '2020-01-01 00:00:00.12', '12:00:00.25', '1 day 02:00:00',
 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"k": [1.50, null]}', 'it''s', '{"a,b",NULL}',
 '10.1.2.3/24', 5, 0.1, B'10101');
INSERT INTO few (id) VALUES (2);
CREATE SCHEMA other;
CREATE TABLE other.notes (id text PRIMARY KEY, up text REFERENCES other.notes);
INSERT INTO other.notes VALUES ('Key', NULL), ('KEY', 'KEY');
"""
FEW_MYSQL = """
CREATE TABLE few (id INT PRIMARY KEY, yes TINYINT(1), free DECIMAL(65,30), n DECIMAL(9,2),
 c CHAR(5), t LONGTEXT, v VARCHAR(9), raw LONGBLOB, stamp DATETIME(6), at DATETIME(3),
 clock TIME(6), span LONGTEXT, u CHAR(36), jb JSON, m ENUM('sad', 'it''s'), words JSON,
 net LONGTEXT, dom INT, r FLOAT, bt BIT(5)) COLLATE utf8mb4_bin;
INSERT INTO few VALUES (1, 1, 1.5, 1.5, 'ab', 'it''s', 'ä', X'00FF', '2020-06-30 21:59:59.5',
 '2020-01-01 00:00:00.12', '12:00:00.25', '1 day 02:00:00',
 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"k": [1.5, null]}', 'it''s', '["a,b", null]',
 '10.1.2.3/24', 5, 0.1, b'10101');
INSERT INTO few (id) VALUES (2);
CREATE TABLE other__notes (id VARCHAR(99) PRIMARY KEY, up VARCHAR(99),
 FOREIGN KEY (up) REFERENCES other__notes (id)) COLLATE utf8mb4_bin;
INSERT INTO other__notes VALUES ('Key', NULL), ('KEY', 'KEY')
"""
BETWEEN: Faults = {
    "UPDATE few SET yes = 2 WHERE id = 1": "few.yes",
    "UPDATE few SET free = 1.500000000000000000000000000001 WHERE id = 1": "few.free",
    "UPDATE few SET t = '' WHERE id = 2": "few.t",
    "UPDATE few SET v = 'a' WHERE id = 1": "few.v",
    "UPDATE few SET raw = X'00' WHERE id = 1": "few.raw",
    "UPDATE few SET stamp = '2020-06-30 23:59:59.5' WHERE id = 1": "few.stamp",
    "UPDATE few SET clock = '12:00:00' WHERE id = 1": "few.clock",
    "UPDATE few SET span = '26:00:00' WHERE id = 1": "few.span",
    "UPDATE few SET jb = '{\"k\": [1.5]}' WHERE id = 1": "few.jb",
    'UPDATE few SET words = \'["a", "b", null]\' WHERE id = 1': "few.words",
    "UPDATE few SET r = 0.1000001 WHERE id = 1": "few.r",
    "UPDATE other__notes SET id = 'keY' WHERE id = 'Key'": "other__notes.id",
    "ALTER TABLE few MODIFY yes SMALLINT": "few.yes",
    "ALTER TABLE few MODIFY stamp DATETIME(3)": "few.stamp",
    "ALTER TABLE few MODIFY t TEXT COLLATE utf8mb4_bin": "few.t",
    "ALTER TABLE few MODIFY net VARCHAR(42) COLLATE utf8mb4_bin": "few.net",
    "ALTER TABLE few MODIFY v VARCHAR(9) COLLATE utf8mb4_unicode_ci": "few.v",
    "ALTER TABLE few DROP PRIMARY KEY": "few: primary key",
    "RENAME TABLE other__notes TO notes": "other__notes has not come",
}


@pytest.mark.parametrize("target", ["mysql9", "mariadb"])
def test_a_fault_between_postgres_and_mysql_is_found(
    request: pytest.FixtureRequest, pg15: Server, journey: Journey, target: str
) -> None:
    first = journey.keep(made(pg15, FEW_POSTGRES))
    last = journey.keep(made(server(request, target), FEW_MYSQL))
    finds(first, last, BETWEEN, rows_by(round_trip.postgres_into_mysql), compare_keys)


STRUCTURE_FAULTS: Faults = {
    "UPDATE zero_dates SET day = '0000-01-00' WHERE id = 1": "zero_dates.day",
    "UPDATE long_times SET span = '838:59:58' WHERE id = 1": "long_times.span",
    "ALTER TABLE structure MODIFY l SMALLINT UNSIGNED NOT NULL": "'l'): nullable 'YES' is 'NO'",
    "ALTER TABLE structure ALTER l SET DEFAULT 8": "'l'): default",
    "ALTER TABLE structure MODIFY d DATETIME(3) DEFAULT CURRENT_TIMESTAMP(3)": "'d'): extra",
    "ALTER TABLE structure COMMENT 'x'": "('table', 'structure'): comment",
    "ALTER TABLE structure AUTO_INCREMENT = 501": "next number 500 is 501",
    "ALTER TABLE structure DROP KEY down": "'down', '1') has not come",
    "ALTER TABLE structure DROP KEY prefix, ADD KEY prefix (c(13), a)": "prefix 12 is 13",
    "ALTER TABLE structure DROP KEY uniq, ADD KEY uniq (g, f)": "unique True is False",
    "ALTER TABLE structure DROP KEY words": "'words', '1') has not come",
    "ALTER TABLE structure DROP CONSTRAINT sane": "'sane') has not come",
    "ALTER TABLE structure MODIFY j VARCHAR(36)": "'j'): default",
    "ALTER TABLE structure ALTER k SET DEFAULT 'p'": "'k'): default",
    "ALTER TABLE structure MODIFY g VARCHAR(20) CHARACTER SET utf8mb3": "'g'): charset",
    "ALTER TABLE structure MODIFY a INT NOT NULL COMMENT 'a'": "'a'): comment",
    "ALTER TABLE structure DROP i, ADD i INT AFTER h": "'i'): generated",
    "ALTER TABLE lower_one DROP FOREIGN KEY named": "'named', '1') has not come",
    "": "",
    "ALTER TABLE structure MODIFY n BIGINT NOT NULL": "next number 500 is None",
    "ALTER TABLE structure MODIFY l SMALLINT": "structure.l",
    "ALTER TABLE structure DROP PRIMARY KEY": "'PRIMARY', '1') has not come",
    "ALTER TABLE lower_one RENAME TO Lower_one": "('table', 'lower_one') has not come",
}


@pytest.mark.parametrize(
    "source, target", [("mysql9", "mysql9"), ("mariadb", "mariadb"), ("mysql9", "mariadb")]
)
def test_a_fault_between_two_of_mysql_is_found(
    request: pytest.FixtureRequest, journey: Journey, source: str, target: str
) -> None:
    scripts = TYPES_MYSQL, MORE_MYSQL, STRUCTURE_MYSQL
    first, last = (journey.keep(made(server(request, w), *scripts)) for w in (source, target))
    faults = dict(STRUCTURE_FAULTS)
    if source == target:  # between the flavours collations are others
        fault = "ALTER TABLE structure MODIFY f CHAR(3) CHARACTER SET ascii"
        faults[fault] = "'f'): collation 'ascii_bin' is 'ascii_general_ci'"
    finds(first, last, faults, rows_by(round_trip.unchanged), compare_structure)


NULLED = """
UPDATE zero_dates SET day = NULL, at = NULL WHERE id < 3;
UPDATE zero_dates SET stamp = NULL WHERE id = 1
"""
FILE_FAULTS: dict[str, Faults] = {
    "mysql9": {
        "UPDATE zero_dates SET day = '0000-00-00' WHERE id = 1": "zero_dates.day",
        "UPDATE zero_dates SET at = NULL WHERE id = 3": "zero_dates.at",
        "UPDATE long_times SET clock = '-00:00:00.000002' WHERE id = 2": "long_times.clock",
        "UPDATE every_type SET y = '1901' WHERE y = '0000'": "every_type.y",
        "UPDATE every_type SET c = 'AB' WHERE c = 'ab'": "every_type.c",
        "ALTER TABLE every_type MODIFY tu SMALLINT UNSIGNED": "every_type.tu",
        "ALTER TABLE every_type MODIFY txt LONGTEXT": "every_type.txt",
        "ALTER TABLE every_type MODIFY kind ENUM('a','b,c','it''s','more')": "every_type.kind",
    },
    "pg15": {
        "UPDATE every_type SET span = '1 day' WHERE id = 1": "every_type.span",
        "UPDATE every_type SET ints = '{1,NULL,3}' WHERE id = 1": "every_type.ints",
        "UPDATE every_type SET tv = 'fat' WHERE id = 1": "every_type.tv",
        "UPDATE every_type SET c = 'a b' WHERE id = 1": "every_type.c",
        "ALTER TABLE every_type ALTER net TYPE text": "every_type.net",
        "ALTER TABLE every_type ALTER whole TYPE numeric": "every_type.whole",
        "ALTER TABLE every_type ALTER dom TYPE text": "every_type.dom",
        "ALTER TABLE every_type ALTER at3 TYPE timestamp": "every_type.at3",
        "DELETE FROM ONLY forebear": "forebear.id",
        "ALTER TABLE other.notes RENAME TO note": "other__notes has not come",
    },
}


@pytest.mark.parametrize("home", FILE_FAULTS)
def test_a_fault_on_the_way_through_files_is_found(
    request: pytest.FixtureRequest, journey: Journey, home: str
) -> None:
    where = server(request, home)
    scripts = (TYPES_MYSQL, MORE_MYSQL) if home == "mysql9" else (TYPES_POSTGRES,)
    first = journey.keep(made(where, *scripts))
    last = journey.keep(made(where, *scripts, *([NULLED] if home == "mysql9" else [])))
    finds(first, last, FILE_FAULTS[home], rows_by(round_trip.unchanged_through_files))
