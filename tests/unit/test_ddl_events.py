"""What DDL statements make of known tables, without a server."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streams_engine.adapters.mysql.binlog.ddl_columns import DdlContext, Known
from streams_engine.adapters.mysql.binlog.ddl_lexer import UnparsedStatementError, masked
from streams_engine.adapters.mysql.binlog.ddl_parser import (
    DdlOutcome,
    database_collation,
    schema_of_statement,
)
from streams_engine.adapters.mysql.binlog.events import (
    ANSI_QUOTES,
    ORACLE,
    PIPES_AS_CONCAT,
    REAL_AS_FLOAT,
)
from streams_engine.adapters.mysql.binlog.server_defaults import (
    CharacterSet,
    ServerDefaults,
    ServerFacts,
)
from streams_engine.model import Check, Dialect, Expression, TableId, TableSchema

T = TableId("d", "t")
FACTS = ServerFacts(
    {
        "latin1": CharacterSet("latin1_swedish_ci", 1),
        "utf8mb3": CharacterSet("utf8mb3_general_ci", 3),
        "utf8mb4": CharacterSet("utf8mb4_0900_ai_ci", 4),
        "binary": CharacterSet("binary", 1),
    },
    {"d": "utf8mb4_0900_ai_ci"},
)


def outcome(statement: str, known: Known, sql_mode: int = 0, **session: str) -> DdlOutcome:
    """What a statement of database ``d`` does to known tables."""
    defaults = ServerDefaults(lambda: FACTS)
    context = DdlContext("d", known, sql_mode=sql_mode, defaults=defaults, **session)
    return schema_of_statement(statement, context)


def made(*statements: str, sql_mode: int = 0, **session: str) -> TableSchema:
    """The table after CREATE TABLE and what follows."""
    known: dict[TableId, TableSchema] = {}
    for statement in statements:
        (change,) = outcome(statement, known.get, sql_mode, **session).changes
        assert change.after is not None
        known[change.after.id] = change.after
    return change.after


def columns(*statements: str, sql_mode: int = 0) -> list[str]:
    return [f"{c.name} {c.type.text}" for c in made(*statements, sql_mode=sql_mode).columns]


BASE = "CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(9) NOT NULL, b DECIMAL(5,2))"


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("ALTER TABLE t ADD c INT", ["id int", "a varchar(9)", "b decimal(5,2)", "c int"]),
        (
            "ALTER TABLE `d`.`t` ADD COLUMN c BIGINT UNSIGNED DEFAULT -1 AFTER id, DROP b",
            ["id int", "c bigint unsigned", "a varchar(9)"],
        ),
        (
            "alter table t add column (c float8, d numeric(7)), add key (c), algorithm=instant",
            ["id int", "a varchar(9)", "b decimal(5,2)", "c double", "d decimal(7,0)"],
        ),
        ("ALTER TABLE t MODIFY b TEXT FIRST", ["b text", "id int", "a varchar(9)"]),
        (
            "ALTER TABLE t CHANGE a `a b` ENUM('x','it''s') CHARACTER SET latin1 AFTER b",
            ["id int", "b decimal(5,2)", "a b enum('x','it''s')"],
        ),
        (
            "ALTER TABLE t RENAME COLUMN a TO z, DROP PRIMARY KEY",
            ["id int", "z varchar(9)", "b decimal(5,2)"],
        ),
        (
            "ALTER TABLE t ADD c DATETIME(6) DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE "
            "CURRENT_TIMESTAMP(6) COMMENT 'a, b (c)' FIRST",
            ["c datetime(6)", "id int", "a varchar(9)", "b decimal(5,2)"],
        ),
        (
            "/* x */ ALTER TABLE t /*!80023 ADD COLUMN c INT INVISIBLE */ -- end",
            ["id int", "a varchar(9)", "b decimal(5,2)", "c int"],
        ),
        (
            "ALTER TABLE t ADD c INT GENERATED ALWAYS AS (id + 1) STORED, DROP COLUMN IF EXISTS q",
            ["id int", "a varchar(9)", "b decimal(5,2)", "c int"],
        ),
    ],
)
def test_case_085_alter_table(statement: str, expected: list[str]) -> None:
    assert columns(BASE, statement) == expected


@pytest.mark.parametrize(
    ("actions", "nullable"),
    [
        ("CHANGE id id INT, DROP PRIMARY KEY", True),
        ("DROP PRIMARY KEY, MODIFY id INT, ADD PRIMARY KEY (a)", True),
        ("MODIFY id BIGINT", False),
        ("CHANGE id k BIGINT", False),
        ("DROP PRIMARY KEY", False),
    ],
)
def test_a_column_is_not_null_while_the_primary_key_has_it(actions: str, nullable: bool) -> None:
    table = made(BASE, f"ALTER TABLE t {actions}")
    assert table.columns[0].nullable == nullable


def test_compressed_columns_of_mariadb_are_as_the_catalog_writes_them() -> None:
    compressed = "/*M!100301 COMPRESSED*/"
    create = "CREATE TABLE t (id int, a varchar(9) COMPRESSED=zlib NOT NULL, b blob COMPRESSED)"
    converted = "ALTER TABLE t ADD c tinytext COMPRESSED, CONVERT TO CHARACTER SET utf8mb4"
    assert columns(f"{create} CHARSET latin1", "ALTER TABLE t MODIFY b blob", converted) == [
        "id int",
        f"a varchar(9) {compressed}",
        "b blob",
        f"c text {compressed}",
    ]


def test_ansi_quotes_are_names() -> None:
    assert columns(BASE, 'ALTER TABLE "t" ADD "c" INT', sql_mode=ANSI_QUOTES)[-1] == "c int"


def test_renamed_columns_are_told_and_keys_follow() -> None:
    known = {T: made(BASE)}
    statement = "ALTER TABLE t CHANGE id nr BIGINT, RENAME COLUMN a TO z"
    (change,) = outcome(statement, known.get).changes
    assert dict(change.renamed) == {"id": "nr", "a": "z"}
    assert change.after is not None
    assert change.after.primary_key is not None
    assert change.after.primary_key.columns == ("nr",)
    assert not change.after.column("nr").nullable


def test_create_table_with_keys_charsets_and_options() -> None:
    table = made(
        "CREATE TABLE IF NOT EXISTS t (`id` bigint unsigned NOT NULL AUTO_INCREMENT, "
        "n varchar(5) CHARACTER SET utf8 NOT NULL, x text COLLATE latin1_bin, y char(3) "
        "CHARACTER SET binary, f bool, CONSTRAINT p PRIMARY KEY (id), UNIQUE KEY u (n), "
        "CONSTRAINT c CHECK (f > 0), FOREIGN KEY (n) REFERENCES o (n)) ENGINE=InnoDB "
        "DEFAULT CHARSET=utf8mb4 /*!50100 PARTITION BY HASH (id) */"
    )
    assert [(c.name, c.type.text, c.charset, c.nullable) for c in table.columns] == [
        ("id", "bigint unsigned", None, False),
        ("n", "varchar(5)", "utf8mb3", False),
        ("x", "text", "latin1", True),
        ("y", "binary(3)", None, True),
        ("f", "tinyint(1)", None, True),
    ]
    assert table.primary_key is not None
    assert table.primary_key.columns == ("id",)
    assert [i.columns for i in table.indexes] == [("n",)]


def test_renames_in_a_circle() -> None:
    other = TableId("d", "u")
    known = {T: made(BASE), other: made("CREATE TABLE u (x INT)")}
    found = outcome("RENAME TABLE t TO tmp, u TO t, tmp TO u", known.get).changes
    assert {(c.table.name, c.after.id.name if c.after else "") for c in found} == {
        ("t", "u"),
        ("u", "t"),
    }


def test_like_drop_and_truncate() -> None:
    known = {T: made(BASE)}
    (change,) = outcome("CREATE TABLE n LIKE t", known.get).changes
    assert change.after is not None
    assert change.after.columns == known[T].columns
    found = outcome("DROP TABLE IF EXISTS t, x.y /* generated */", known.get)
    assert [c.table for c in found.changes] == [T, TableId("x", "y")]
    assert outcome("TRUNCATE t", known.get).emptied == (T,)


@pytest.mark.parametrize(
    "statement",
    [
        "GRANT ALL ON *.* TO x",
        "CREATE USER 'a'@'b'",
        "CREATE TEMPORARY TABLE t (a INT)",
        "CREATE OR REPLACE VIEW t AS SELECT 1",
        "CREATE UNIQUE INDEX i ON t (a)",
        "DROP VIEW t",
        "DROP INDEX i ON t",
        "ALTER DATABASE d CHARACTER SET latin1",
        "ALTER USER x",
        "ALTER TABLE t ENGINE = InnoDB",
        "ALTER TABLE t ADD INDEX (a), DROP INDEX b, ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES o",
        "ALTER TABLE t ADD PARTITION (PARTITION p VALUES LESS THAN (5))",
        "FLUSH TABLES",
        "",
    ],
)
def test_case_087_what_touches_no_column_changes_nothing(statement: str) -> None:
    assert outcome(statement, {T: made(BASE)}.get) == DdlOutcome()


def test_what_is_not_understood_says_so() -> None:
    with pytest.raises(UnparsedStatementError):
        outcome("ALTER TABLE t ADD c SOMETHING(5)", {T: made(BASE)}.get)


def test_a_masked_statement_has_no_literals() -> None:
    text = masked("ALTER TABLE t ADD c INT DEFAULT 5 COMMENT 'it''s \\' secret'")
    assert text == "ALTER TABLE t ADD c INT DEFAULT ? COMMENT ?"


# Letter case, names, character sets, modes


def test_keys_follow_the_columns_whatever_their_letter_case() -> None:
    table = made(
        "CREATE TABLE t (`id` INT, Code INT, PRIMARY KEY (`ID`), UNIQUE (CODE))",
        "ALTER TABLE t ADD UNIQUE KEY u (ID, code)",
    )
    assert table.primary_key is not None and table.primary_key.columns == ("id",)
    assert [i.columns for i in table.indexes] == [("Code",), ("id", "Code")]
    assert not table.column("id").nullable


def test_a_key_of_a_column_that_is_not_there_is_not_guessed_at() -> None:
    (change,) = outcome("CREATE TABLE t (a INT, PRIMARY KEY (b))", {}.get).changes
    assert change.after is None and change.unknown == T


def test_keys_without_a_name_are_named_as_the_server_does() -> None:
    table = made("CREATE TABLE t (a INT, b INT, UNIQUE (a), UNIQUE (a, b), UNIQUE KEY a_2 (b))")
    assert [i.name for i in table.indexes] == ["a", "a_3", "a_2"]


def test_a_key_of_a_period_holds_its_ends() -> None:
    table = made(
        "CREATE TABLE t (id INT, s DATE, e DATE, PERIOD FOR p (s, e),"
        " PRIMARY KEY (id, P WITHOUT OVERLAPS))"
    )
    assert table.primary_key is not None and table.primary_key.columns == ("id", "e", "s")


def test_a_primary_key_keeps_the_length_of_its_parts() -> None:
    table = made("CREATE TABLE t (a TEXT NOT NULL, b INT, PRIMARY KEY (a(5), b DESC))")
    assert table.primary_key is not None
    assert [(p.length, p.descending) for p in table.primary_key.parts] == [(5, False), (None, True)]


@pytest.mark.parametrize(
    ("options", "column", "expected"),
    [
        ("", "v VARCHAR(9)", ("utf8mb4", "utf8mb4_0900_ai_ci")),
        ("DEFAULT CHARSET=latin1", "v VARCHAR(9)", ("latin1", "latin1_swedish_ci")),
        ("CHARSET utf8", "v VARCHAR(9)", ("utf8mb3", "utf8mb3_general_ci")),
        ("COLLATE 'latin1_bin'", "v VARCHAR(9)", ("latin1", "latin1_bin")),
        (
            "COLLATE utf8mb4_bin",
            "v VARCHAR(9) CHARACTER SET latin1",
            ("latin1", "latin1_swedish_ci"),
        ),
        (
            "COLLATE utf8mb4_bin",
            "v VARCHAR(9) CHARSET utf8mb4",
            ("utf8mb4", "utf8mb4_0900_ai_ci"),
        ),
        ("CHARSET latin1", "v ENUM('a', 'A') BINARY", ("latin1", "latin1_bin")),
        ("", "v VARCHAR(9) ASCII", ("latin1", "latin1_swedish_ci")),
        ("", "v NATIONAL VARCHAR(9)", ("utf8mb3", "utf8mb3_general_ci")),
        ("", "v NCHAR(9)", ("utf8mb3", "utf8mb3_general_ci")),
        ("", "v VARCHAR(9) COLLATE uca1400_as_cs", ("utf8mb4", "utf8mb4_uca1400_as_cs")),
        ("CHARSET binary", "v ENUM('a')", ("binary", "binary")),
    ],
)
def test_character_sets_and_collations(options: str, column: str, expected: tuple[str]) -> None:
    found = made(f"CREATE TABLE t (id INT, {column}) {options}").column("v")
    assert (found.charset, found.collation) == expected


def test_the_default_character_set_of_a_table_and_of_its_database_changes() -> None:
    table = made(
        "CREATE TABLE t (a TEXT CHARACTER SET latin1, b VARCHAR(9))",
        "ALTER TABLE t DEFAULT CHARACTER SET latin1",
        "ALTER TABLE t ADD c VARCHAR(9)",
        "ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4",
    )
    assert {c.collation for c in table.columns} == {"utf8mb4_0900_ai_ci"}
    assert [c.type.text for c in table.columns] == ["mediumtext", "varchar(9)", "varchar(9)"]
    defaults = ServerDefaults(lambda: FACTS)
    context = DdlContext("d", {}.get, defaults=defaults)
    assert database_collation("ALTER DATABASE CHARACTER SET latin1", context) == (
        "d",
        "latin1_swedish_ci",
    )
    assert database_collation("CREATE DATABASE IF NOT EXISTS `e` COLLATE latin1_bin", context) == (
        "e",
        "latin1_bin",
    )
    assert database_collation("ALTER TABLE t CHARSET latin1", context) is None


@pytest.mark.parametrize(
    ("column", "charset", "expected"),
    [
        ("TEXT(60)", "utf8mb4", "tinytext"),
        ("TEXT(64)", "utf8mb4", "text"),
        ("TEXT(200)", "latin1", "tinytext"),
        ("BLOB(200)", "utf8mb4", "tinyblob"),
        ("VARCHAR(20000)", "utf8mb4", "mediumtext"),
        ("VARCHAR(20000)", "latin1", "varchar(20000)"),
        ("VARBINARY(20000)", "utf8mb4", "varbinary(20000)"),
    ],
)
def test_the_size_of_a_text_counts_bytes(column: str, charset: str, expected: str) -> None:
    assert columns(f"CREATE TABLE t (v {column}) CHARSET {charset}") == [f"v {expected}"]


@pytest.mark.parametrize(
    ("default", "expected"),
    [
        ("_latin1'é'", "'Ã©'"),
        ("_utf8mb4 0x41", "'A'"),
        ("N'x''y'", "'x''y'"),
        ('"it\'s"', "'it''s'"),
        ("b'101'", "'\x05'"),
        ("x'4142'", "'AB'"),
        ("0x141", "'\x01A'"),
        ("0xff", "0xff"),
        ("(now() + interval 1 day)", "(now() + interval 1 day)"),
        ("concat('a', 'b')", "concat('a', 'b')"),
        ("NEXT VALUE FOR q.s", "nextval(`q`.`s`)"),
        ("-5", "-5"),
    ],
)
def test_defaults(default: str, expected: str) -> None:
    found = made(f"CREATE TABLE t (v VARCHAR(9) DEFAULT {default})").column("v").default
    assert found is not None and found.sql == expected


@pytest.mark.parametrize("key", ["UNIQUE KEY (c(2))", "CONSTRAINT k UNIQUE ((a + 1))"])
def test_a_unique_key_of_a_part_hides_no_column(key: str) -> None:
    whole = "CREATE TABLE t (a INT PRIMARY KEY, c VARCHAR(9)"
    assert columns(f"{whole}, {key}, `unique` INT)") == ["a int", "c varchar(9)", "unique int"]
    altered = columns(f"{whole})", f"ALTER TABLE t ADD {key}, ADD x INT, ADD (y INT, {key})")
    assert altered == ["a int", "c varchar(9)", "x int", "y int"]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("BINARY(2) DEFAULT b'101'", "0x05"),
        ("VARBINARY(9) DEFAULT x'ff'", "0xFF"),
        ("VARCHAR(9) CHARSET latin1 DEFAULT 0xe9", "'é'"),
        ("ENUM('a', 'b') DEFAULT 0x62", "'b'"),
        ("INT DEFAULT b'101'", "5"),
        ("DECIMAL(5,2) DEFAULT 0x10", "16"),
        ("DATE DEFAULT 0", "'0000-00-00'"),
        ("DATETIME DEFAULT '0'", "'0000-00-00 00:00:00'"),
        ("BIT(3) DEFAULT b'101'", "b'101'"),
        ("BIT(9) DEFAULT 0x05", "b'101'"),
    ],
)
def test_a_default_of_bits_is_of_its_column_type(column: str, expected: str) -> None:
    found = made(f"CREATE TABLE t (v {column}) CHARSET utf8mb4").column("v").default
    assert found is not None and found.sql == expected


def test_an_introducer_is_of_the_characters_that_the_client_sent() -> None:
    found = made("CREATE TABLE t (v TEXT DEFAULT _latin1'é')", codec="cp1252").column("v")
    assert found.default is not None and found.default.sql == "'é'"


def test_expressions_are_written_for_another_sql_mode() -> None:
    column = made('CREATE TABLE t ("a b" INT, g INT AS ("a b" + 1))', sql_mode=ANSI_QUOTES)
    assert column.column("g").generated == Expression("`a b` + 1", Dialect.MYSQL)
    arrow = made("CREATE TABLE t (j JSON, g INT AS (j->'$.id'))").column("g").generated
    assert arrow == Expression("j->'$.id'", Dialect.MYSQL)
    pipes = "CREATE TABLE t (a TEXT, g TEXT AS (a || 'x'))"
    (change,) = outcome(pipes, {}.get, PIPES_AS_CONCAT).changes
    assert change.after is None and change.unknown == T


def test_types_of_other_sql_modes() -> None:
    oracle = "CREATE TABLE t (a NUMBER, b NUMBER(9), c VARCHAR2(9), d RAW(4), e CLOB, f DATE)"
    assert columns(oracle, sql_mode=ORACLE) == [
        "a double",
        "b decimal(9,0)",
        "c varchar(9)",
        "d varbinary(4)",
        "e longtext",
        "f datetime",
    ]
    assert columns("CREATE TABLE t (a REAL)", sql_mode=REAL_AS_FLOAT) == ["a float"]


@pytest.mark.parametrize(
    "moment", ["'2020-01-01 00:00:00'", "TIMESTAMP'2020-01-01 00:00:00'", "20200101000000"]
)
def test_a_moment_of_another_time_zone_is_not_guessed_at(moment: str) -> None:
    sql = f"CREATE TABLE t (v TIMESTAMP DEFAULT {moment})"
    assert made(sql, time_zone="+00:00").column("v").default is not None
    (change,) = outcome(sql, {}.get, time_zone="+05:00").changes
    assert change.after is None and change.unknown == T


@pytest.mark.parametrize("value", ["CURRENT_TIMESTAMP", "now(6)", "(now() + INTERVAL 1 DAY)", "0"])
def test_no_moment_of_a_time_zone(value: str) -> None:
    sql = f"CREATE TABLE t (v TIMESTAMP DEFAULT {value})"
    assert made(sql, time_zone="+05:00").column("v").default is not None


# What goes, and what takes another's place


def test_a_table_that_is_not_known_exchanges_rows_with_one_that_is() -> None:
    known = {T: made("CREATE TABLE t (id INT PRIMARY KEY)")}
    exchange = "ALTER TABLE other.u EXCHANGE PARTITION p WITH TABLE t"
    (change,) = outcome(exchange, known.get).changes
    assert change.table == T and change.rewritten and change.after == known[T]
    (change,) = outcome("ALTER TABLE other.u CONVERT TABLE t TO PARTITION p", known.get).changes
    assert change.table == T and change.after is None
    assert not outcome("ALTER TABLE other.u EXCHANGE PARTITION p WITH TABLE v", known.get).changes


def test_what_refuses_rows_goes_at_its_place() -> None:
    checks = (
        Check("c", Expression("a", Dialect.MYSQL)),
        Check("a", Expression("a", Dialect.MYSQL)),
    )
    table = replace(made("CREATE TABLE t (a INT, UNIQUE u (a))"), checks=checks)
    for statement, left in (
        ("ALTER TABLE t DROP CONSTRAINT c", (["a"], ["u"])),
        ("ALTER TABLE t DROP CHECK C", (["a"], ["u"])),
        ("ALTER TABLE t ALTER CHECK c NOT ENFORCED", (["a"], ["u"])),
        ("ALTER TABLE t MODIFY a BIGINT", (["c"], ["u"])),  # MariaDB's check of a column
        ("ALTER TABLE t DROP INDEX u", (["c", "a"], [])),
        ("ALTER TABLE t DROP CONSTRAINT u", (["c", "a"], [])),
        ("DROP INDEX U ON t", (["c", "a"], [])),
        ("ALTER TABLE t RENAME INDEX u TO w", (["c", "a"], ["w"])),
    ):
        (change,) = outcome(statement, {T: table}.get).changes
        assert change.after is not None
        found = [c.name for c in change.after.checks], [i.name for i in change.after.indexes]
        assert found == left, statement


def test_what_is_not_there_if_exists() -> None:
    table = made(BASE)
    statement = (
        "ALTER TABLE t CHANGE IF EXISTS a z BIGINT, MODIFY IF EXISTS q INT,"
        " RENAME COLUMN IF EXISTS q TO r, ALTER IF EXISTS q SET DEFAULT 5"
    )
    (change,) = outcome(statement, {T: table}.get).changes
    assert change.after is not None
    assert [c.name for c in change.after.columns] == ["id", "z", "b"]


def test_create_or_replace_takes_the_place_of_what_was_there() -> None:
    known = {T: made(BASE), TableId("d", "m"): made("CREATE TABLE m (x INT)")}
    for statement, names in (
        ("CREATE OR REPLACE TABLE t (q INT)", ["q"]),
        ("CREATE OR REPLACE TABLE t LIKE m", ["x"]),
    ):
        (change,) = outcome(statement, known.get).changes
        assert change.replaces and change.after is not None
        assert [c.name for c in change.after.columns] == names


def test_the_engine_is_spelled_as_in_the_catalog() -> None:
    table = made("CREATE TABLE t (a INT) ENGINE=innodb")
    assert table.engine == "InnoDB"
    (change,) = outcome("ALTER TABLE t COMMENT 'x' ENGINE MERGE", {T: table}.get).changes
    assert change.after is not None and change.after.engine == "MRG_MyISAM"
    (emptied,) = outcome("ALTER TABLE t ENGINE = blackhole", {T: table}.get).changes
    assert emptied.rewritten


def test_of_several_words_on_null_the_last_counts() -> None:
    table = made("CREATE TABLE t (a INT NOT NULL NULL, b INT NULL NOT NULL, c INT)")
    assert [c.nullable for c in table.columns] == [True, False, True]


def test_what_a_column_references_is_none_of_its_own() -> None:
    a, b, c = made(
        "CREATE TABLE t (a INT NOT NULL REFERENCES d.p (id) ON UPDATE CASCADE ON DELETE SET NULL,"
        " b INT DEFAULT 5 REFERENCES `p` (`id`) MATCH FULL ON DELETE SET DEFAULT,"
        " c INT REFERENCES p (id) ON DELETE NO ACTION ON UPDATE RESTRICT DEFAULT 7)"
    ).columns
    assert (a.nullable, a.on_update, a.default) == (False, None, None)
    assert (b.nullable, str(b.default.sql if b.default else "")) == (True, "5")
    assert (c.on_update, str(c.default.sql if c.default else "")) == (None, "7")


def test_a_key_that_is_there_is_not_added_again_if_not_exists() -> None:
    made_before = (
        "CREATE TABLE t (a INT NOT NULL, b INT, UNIQUE KEY u (b))",
        "ALTER TABLE t ADD PRIMARY KEY IF NOT EXISTS (a)",
    )
    table = made(*made_before)
    assert table.primary_key is not None and table.primary_key.columns == ("a",)
    again = "ALTER TABLE t ADD PRIMARY KEY IF NOT EXISTS (b), ADD UNIQUE KEY IF NOT EXISTS U (a)"
    assert outcome(again, {table.id: table}.get).changes == ()
