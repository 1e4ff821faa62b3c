"""Statements that ask for confirmation are found by their parse, however they are dressed."""

from __future__ import annotations

import logging

import pytest

from streams_engine.schema.destructive import count_statements, destructive

ASKED: dict[str, list[str]] = {
    "mysql": [
        "SELECT {#\n d '2020-01-01'}; DROP TABLE t; #}",
        "SELECT '/\\*! x' /*! ; DROP TABLE t */",
        "SHOW TABLES /*! ; DROP TABLE t */",
        "DROP TABLE t",
        "drop table t",
        "TRUNCATE t",
        "DELETE FROM t",
        "DELETE t FROM t JOIN u ON t.a=u.a",
        "UPDATE t SET a=1",
        "UPDATE t SET a=1 WHERE 1",
        "UPDATE t SET a=1 WHERE 1=1",
        "DELETE FROM t LIMIT 1",
        "REPLACE INTO t VALUES (1)",
        "SELECT 1 /*! ; DROP TABLE t */",
        "/*!50001 DROP TABLE t */",
        "/*M!100100 DROP TABLE t */",
        "SELECT 1; DROP TABLE t",
        "SELECT 1 --1; DROP TABLE t",
        "SELECT /* /* */ 1; DROP TABLE x; -- */",
        "ALTER TABLE t DROP COLUMN a",
        "ALTER TABLE t ADD COLUMN a INT, DROP b",
        "ALTER TABLE t TRUNCATE PARTITION p",
        "CREATE OR REPLACE TABLE t (a int)",
        "CREATE OR REPLACE VIEW v AS SELECT 1",
        "WITH c AS (SELECT 1) DELETE FROM t",
        "CALL p()",
        "LOAD DATA INFILE 'x' INTO TABLE t",
        "SELECT * INTO OUTFILE '/tmp/x' FROM t",
        "RENAME TABLE a TO b",
        "PREPARE s FROM 'DROP TABLE t'",
        "EXECUTE s",
        "EXPLAIN ANALYZE DELETE FROM t",
        "ANALYZE DELETE FROM t WHERE a=1",
        "ANALYZE FORMAT=JSON DELETE FROM t",
        "SET STATEMENT max_statement_time=1 FOR DELETE FROM t",
        "BEGIN NOT ATOMIC DROP TABLE t; END",
        "SET sql_mode='NO_BACKSLASH_ESCAPES'; SELECT '\\'; DROP TABLE t; -- '",
        "CREATE PROCEDURE p() BEGIN DROP TABLE t; END",
        "HANDLER t OPEN",
        "KILL 3",
        "XA START 'a'",
        "FLUSH TABLES",
        "garbage",
        "'; DROP TABLE t",
        "SELECT 'unclosed",
        "CREATE TABLE x REPLACE SELECT 1",
        "START SLAVE",
        "DO 1",
        "# x\nDROP TABLE t",
    ],
    "postgres": [
        "DROP TABLE t",
        "TRUNCATE t",
        "DELETE FROM t",
        "DELETE FROM ONLY t",
        "DELETE FROM t WHERE true",
        "UPDATE t SET a=1",
        "MERGE INTO t USING u ON t.a=u.a WHEN MATCHED THEN DELETE",
        "WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d",
        "WITH d AS (UPDATE t SET a=1 RETURNING 1) SELECT 1",
        "SELECT E'\\''; DROP TABLE t; --'",
        "SELECT a$$; DROP TABLE t; $$",
        "DO $$ BEGIN DROP TABLE t; END $$",
        "ALTER TABLE t DROP COLUMN a",
        "ALTER TABLE t ALTER COLUMN a DROP DEFAULT",
        "ALTER TABLE t DETACH PARTITION p",
        "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "COPY t FROM '/x'",
        "VACUUM FULL t",
        "EXPLAIN ANALYZE DELETE FROM t",
        "EXPLAIN (ANALYZE, COSTS off) DELETE FROM t",
        "explain (analyze) drop table t",
        "CALL p()",
        "DISCARD ALL",
        "CLUSTER t",
        "REASSIGN OWNED BY a TO b",
        "DROP OWNED BY a",
        "PREPARE s AS DELETE FROM t",
        "REFRESH MATERIALIZED VIEW v",
        "SELECT 1 -- x\n; DROP TABLE t",
        "LOCK TABLE t",
        "SELECT b'1'; DROP TABLE t; --'",
    ],
}

SPARED: dict[str, list[str]] = {
    "mysql": [
        "SELECT 1",
        "SELECT 1;",
        "SELECT 1; SELECT 2",
        "SELECT '/*! DROP */'",
        "SELECT 'DROP TABLE t'",
        "SELECT `drop` FROM t -- DROP TABLE t",
        "SHOW TABLES",
        "SHOW CREATE TABLE t",
        "EXPLAIN SELECT 1",
        "EXPLAIN DELETE FROM t",
        "DESCRIBE t",
        "EXPLAIN ANALYZE SELECT * FROM t",
        "SET @a=1",
        "USE db",
        "INSERT INTO t VALUES (1)",
        "INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE a=1",
        "UPDATE t SET a=1 WHERE id=3",
        "DELETE FROM t WHERE id=3",
        "CREATE TABLE t (a int, `drop` int)",
        "CREATE TABLE t (a int REFERENCES u (a) ON DELETE CASCADE ON UPDATE CASCADE)",
        "ALTER TABLE t ADD COLUMN a int",
        "ALTER TABLE t ADD COLUMN `drop` int",
        "CREATE INDEX i ON t (a)",
        "CREATE TRIGGER x BEFORE DELETE ON t FOR EACH ROW SET @a = 1",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "START TRANSACTION",
        "TABLE t",
        "GRANT SELECT ON t TO u",
        "ANALYZE TABLE t",
        "CREATE DATABASE x",
        "SELECT 1 # x; DROP TABLE t",
        "(SELECT 1) UNION (SELECT 2)",
        "WITH c AS (SELECT 1 AS a) DELETE FROM t WHERE a IN (SELECT a FROM c)",
    ],
    "postgres": [
        "SELECT 1",
        "SELECT $x$; DROP TABLE t; $x$",
        "SELECT 'a\\'",
        'SELECT "drop" FROM t',
        "SELECT 1 /* /* */ ; DROP TABLE t; */",
        "EXPLAIN SELECT 1",
        "EXPLAIN (ANALYZE) SELECT 1",
        "EXPLAIN DELETE FROM t",
        "SHOW server_version",
        "SET search_path = a",
        "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING RETURNING *",
        "UPDATE t SET a=1 WHERE id = 1",
        "WITH d AS (DELETE FROM t WHERE a=1 RETURNING *) SELECT * FROM d",
        "CREATE TABLE t AS SELECT 1",
        "CREATE SCHEMA s",
        "ALTER TABLE t ADD COLUMN a int",
        "COMMENT ON TABLE t IS 'drop'",
        "CREATE INDEX CONCURRENTLY i ON t (a)",
        "SELECT U&'\\0027; DROP TABLE t; --'",
        "VALUES (1)",
        "ALTER TABLE t RENAME a TO b",
    ],
}


@pytest.mark.parametrize("dialect", ASKED)
def test_what_destroys_asks(dialect: str) -> None:
    assert [sql for sql in ASKED[dialect] if not destructive(sql, dialect)] == []


@pytest.mark.parametrize("dialect", SPARED)
def test_what_destroys_nothing_does_not(dialect: str) -> None:
    told = {sql: destructive(sql, dialect) for sql in SPARED[dialect]}
    assert {sql: reasons for sql, reasons in told.items() if reasons} == {}


@pytest.mark.parametrize("dialect", ["mysql", "postgres"])
def test_reasons_and_logs_hold_no_text_of_the_statement(
    dialect: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        for sql in (*ASKED[dialect], "ALTER SYSTEM SET x = 'hunter2'", "GARBAGE 'hunter2'"):
            assert "hunter2" not in " ".join(destructive(sql, dialect))
    assert "hunter2" not in caplog.text
    assert [one for one in caplog.records if one.name == "sqlglot"] == []


@pytest.mark.parametrize(
    ("sql", "count"),
    [("", 0), (" ; ;", 0), ("-- x", 0), ("SELECT 1", 1), ("SELECT 1;", 1), ("SELECT ';'", 1),
     ("SELECT 1; SELECT 2;", 2), ("SELECT 'open", 2), ("/*! DROP TABLE t */", 1)],
)  # fmt: skip
def test_statements_are_counted(sql: str, count: int) -> None:
    assert count_statements(sql, "mysql") == count
