"""What DDL statements make of known tables, without a server."""

from __future__ import annotations

import pytest

from streams_engine.adapters.mysql.ddl_events import Outcome, schema_of_statement
from streams_engine.adapters.mysql.sqlwords import NotUnderstoodError, masked
from streams_engine.model import TableId, TableSchema

T = TableId("d", "t")


def made(*statements: str, ansi: bool = False) -> TableSchema:
    """The table after CREATE TABLE and what follows."""
    known: dict[TableId, TableSchema] = {}
    for statement in statements:
        (change,) = schema_of_statement(statement, "d", known.get, ansi_quotes=ansi).changes
        assert change.after is not None
        known[change.after.id] = change.after
    return change.after


def columns(*statements: str, ansi: bool = False) -> list[str]:
    return [f"{c.name} {c.type.text}" for c in made(*statements, ansi=ansi).columns]


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


def test_ansi_quotes_are_names() -> None:
    assert columns(BASE, 'ALTER TABLE "t" ADD "c" INT', ansi=True)[-1] == "c int"


def test_renamed_columns_are_told_and_keys_follow() -> None:
    known = {T: made(BASE)}
    statement = "ALTER TABLE t CHANGE id nr BIGINT, RENAME COLUMN a TO z"
    (change,) = schema_of_statement(statement, "d", known.get).changes
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
    found = schema_of_statement("RENAME TABLE t TO tmp, u TO t, tmp TO u", "d", known.get).changes
    assert {(c.table.name, c.after.id.name if c.after else "") for c in found} == {
        ("t", "u"),
        ("u", "t"),
    }


def test_like_drop_and_truncate() -> None:
    known = {T: made(BASE)}
    (change,) = schema_of_statement("CREATE TABLE n LIKE t", "d", known.get).changes
    assert change.after is not None
    assert change.after.columns == known[T].columns
    found = schema_of_statement("DROP TABLE IF EXISTS t, x.y /* generated */", "d", known.get)
    assert [c.table for c in found.changes] == [T, TableId("x", "y")]
    assert schema_of_statement("TRUNCATE t", "d", known.get).emptied == (T,)


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
    assert schema_of_statement(statement, "d", {T: made(BASE)}.get) == Outcome()


def test_what_is_not_understood_says_so() -> None:
    with pytest.raises(NotUnderstoodError):
        schema_of_statement("ALTER TABLE t ADD c SOMETHING(5)", "d", {T: made(BASE)}.get)


def test_a_masked_statement_has_no_literals() -> None:
    text = masked("ALTER TABLE t ADD c INT DEFAULT 5 COMMENT 'it''s \\' secret'")
    assert text == "ALTER TABLE t ADD c INT DEFAULT ? COMMENT ?"
