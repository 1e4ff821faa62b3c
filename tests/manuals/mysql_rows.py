"""MySQL 9 and MariaDB 10.11: statements that change rows, and transactions."""

# fmt: off
from __future__ import annotations

from tests.manuals.entries import Absent, Carried, Chapter, Entry, Refused

MYSQL, MARIADB = ("mysql9",), ("mariadb",)
ORPHANS = "The log lacks cascades, and rows that refer to none keep the key out."
UNIQUE = """
CREATE TABLE T (id int PRIMARY KEY, a int UNIQUE, b varchar(20) DEFAULT 'dflt');
INSERT INTO T VALUES (1, 10, 'one'), (2, NULL, ''), (3, -1, 'drei'), (4, 99, ' x ')"""
TWO = """
CREATE TABLE T (id int PRIMARY KEY, a int, b varchar(20));
INSERT INTO T VALUES (1, 10, 'one'), (2, NULL, ''), (3, -1, 'drei'), (4, 99, ' x ');
CREATE TABLE T2 (id int PRIMARY KEY, t int); INSERT INTO T2 VALUES (1, 1), (2, 3), (3, 3)"""
BAG = """
CREATE TABLE T (a int, b varchar(20));
INSERT INTO T VALUES (1, 'x'), (1, 'x'), (1, 'x'), (NULL, NULL), (NULL, NULL), (2, 'y')"""
BY_HAND = Absent("Files are laid into the server's directory by hand: no statement does it alone.")

CHAPTER = Chapter(
    statement="statements on rows",
    section="MySQL 15.2 Data Manipulation Statements, 15.3 Transactional; MariaDB Data Manipulation",
    servers=("mysql9", "mariadb"),
    setup="""
CREATE TABLE T (id int PRIMARY KEY, a int, b varchar(20) DEFAULT 'dflt');
INSERT INTO T VALUES (1, 10, 'one'), (2, NULL, ''), (3, -1, 'drei'), (4, 99, ' x ')""",
    before="",
    entries=(
        Entry("my_insert_values", "INSERT VALUES", "INSERT INTO T VALUES (5, 5, DEFAULT), (6, NULL, NULL), (7, 1+1, 'b')"),
        Entry("my_insert_set", "INSERT SET", "INSERT INTO T SET id = 5, b = 'five'"),
        Entry("my_insert_select", "INSERT SELECT", "INSERT INTO T SELECT id + 10, a, b FROM T"),
        Entry("my_insert_table", "INSERT TABLE", "CREATE TABLE T2 LIKE T; INSERT INTO T2 TABLE T", servers=MYSQL),
        Entry("my_insert_row", "INSERT VALUES AS alias",
              "INSERT INTO T VALUES (5, 5, 'x'), (1, 7, 'y') AS n ON DUPLICATE KEY UPDATE a = n.a", servers=MYSQL),
        Entry("my_insert_ignore", "INSERT IGNORE",
              "INSERT IGNORE INTO T VALUES (1, 0, 'dup'), (5, 5, repeat('z', 50)), (6, 'x7', 'bad')", setup=UNIQUE),
        Entry("my_insert_on_duplicate", "ON DUPLICATE KEY UPDATE",
              "INSERT INTO T VALUES (1, 5, 'n'), (9, 10, 'by a') ON DUPLICATE KEY UPDATE b = concat(b, '+'), a = a",
              setup=UNIQUE),
        Entry("my_insert_on_duplicate_none", "ON DUPLICATE KEY UPDATE",
              "INSERT INTO T VALUES (1, 5, 'n') ON DUPLICATE KEY UPDATE b = b"),
        Entry("my_insert_returning", "INSERT RETURNING", "INSERT INTO T VALUES (5, 5, 'x') RETURNING id", servers=MARIADB),
        Entry("my_insert_delayed", "INSERT LOW_PRIORITY | INSERT HIGH_PRIORITY",
              "INSERT LOW_PRIORITY INTO T VALUES (5, 5, 'x'); INSERT HIGH_PRIORITY INTO T VALUES (6, 5, 'x')"),
        Entry("my_insert_zero_auto", "INSERT VALUES",
              "INSERT INTO T VALUES (0, 5, 'x'), (NULL, 6, 'y'); SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO';"
              "INSERT INTO T VALUES (0, 7, 'zero')", setup="""
CREATE TABLE T (id int AUTO_INCREMENT PRIMARY KEY, a int, b varchar(20)); INSERT INTO T VALUES (1, 1, 'x')"""),
        Entry("my_replace", "REPLACE", "REPLACE INTO T VALUES (1, 5, 'n'), (5, 6, 'o')"),
        Entry("my_replace_two", "REPLACE", "REPLACE INTO T VALUES (1, -1, 'takes two'), (9, 99, 'other')", setup=UNIQUE),
        Entry("my_replace_set", "REPLACE SET | REPLACE SELECT",
              "REPLACE INTO T SET id = 1; REPLACE INTO T SELECT id + 1, a, 'sel' FROM T WHERE id < 3"),
        Entry("my_update", "UPDATE", "UPDATE T SET a = a + 1, b = concat(b, 'ü')"),
        Entry("my_update_same", "UPDATE", "UPDATE T SET a = a WHERE id = 1"),
        Entry("my_update_key", "UPDATE", "UPDATE T SET id = id + 100; UPDATE T SET id = 1 WHERE id = 104"),
        Entry("my_update_key_shift", "UPDATE ORDER BY LIMIT", "UPDATE T SET id = id + 1 ORDER BY id DESC"),
        Entry("my_update_unique_swap", "UPDATE", "BEGIN; UPDATE T SET a = 1000 WHERE id = 1; UPDATE T SET a = 10 WHERE id = 3;"
              "UPDATE T SET a = -1 WHERE id = 1; COMMIT", setup=UNIQUE),
        Entry("my_update_limit", "UPDATE ORDER BY LIMIT", "UPDATE T SET b = 'lim' ORDER BY a DESC LIMIT 2"),
        Entry("my_update_ignore", "UPDATE IGNORE", "UPDATE IGNORE T SET a = 10 WHERE id > 1", setup=UNIQUE),
        Entry("my_update_multi", "UPDATE multi-table", "UPDATE T JOIN T2 ON T2.t = T.id SET T.b = 'j', T2.t = T2.t + 10",
              setup=TWO),
        Entry("my_update_subquery", "UPDATE", "UPDATE T SET a = (SELECT count(*) FROM T2 WHERE T2.t = T.id)", setup=TWO),
        Entry("my_update_cte", "WITH UPDATE", "WITH c AS (SELECT 1 AS i) UPDATE T JOIN c ON c.i = T.id SET b = 'cte'",
              servers=MYSQL),
        Entry("my_delete", "DELETE", "DELETE FROM T WHERE id = 1 OR a IS NULL"),
        Entry("my_delete_all", "DELETE", "DELETE FROM T", "INSERT INTO T VALUES (1, 1, 'again')"),
        Entry("my_delete_limit", "DELETE ORDER BY LIMIT", "DELETE QUICK FROM T ORDER BY id DESC LIMIT 1"),
        Entry("my_delete_multi", "DELETE multi-table", "DELETE T, T2 FROM T JOIN T2 ON T2.t = T.id WHERE T.id = 3", setup=TWO),
        Entry("my_delete_using", "DELETE USING", "DELETE FROM T2 USING T JOIN T2 ON T2.t = T.id", setup=TWO),
        Entry("my_delete_returning", "DELETE RETURNING", "DELETE FROM T WHERE id = 1 RETURNING a", servers=MARIADB),
        Entry("my_delete_insert", "DELETE", "BEGIN; DELETE FROM T WHERE id = 1; INSERT INTO T VALUES (1, 2, 'back');"
              "UPDATE T SET a = 3 WHERE id = 1; COMMIT"),
        Entry("my_bag", "INSERT VALUES | DELETE | UPDATE", "DELETE FROM T WHERE a = 1 LIMIT 1; UPDATE T SET b = 'z' WHERE a IS NULL LIMIT 1;"
              "INSERT INTO T VALUES (1, 'x')", setup=BAG),
        Entry("my_truncate_rows", "TRUNCATE TABLE", "INSERT INTO T VALUES (5, 5, 'x'); TRUNCATE T; INSERT INTO T VALUES (5, 5, 'y')"),
        Entry("my_call_do", "CALL | DO | HANDLER", "DO 1; HANDLER T OPEN; HANDLER T READ FIRST; HANDLER T CLOSE;"
              "INSERT INTO T VALUES (5, 5, 'x')"),
        Entry("my_commit", "START TRANSACTION | COMMIT",
              "START TRANSACTION; INSERT INTO T VALUES (5, 5, 'x'); UPDATE T SET a = 6 WHERE id = 5; COMMIT"),
        Entry("my_rollback", "ROLLBACK", "BEGIN; INSERT INTO T VALUES (5, 5, 'x'); ROLLBACK; INSERT INTO T VALUES (6, 6, 'y')"),
        Entry("my_savepoint", "SAVEPOINT | ROLLBACK TO SAVEPOINT | RELEASE SAVEPOINT",
              "BEGIN; INSERT INTO T VALUES (5, 5, 'x'); SAVEPOINT s; DELETE FROM T; ROLLBACK TO SAVEPOINT s;"
              "RELEASE SAVEPOINT s; INSERT INTO T VALUES (6, 6, 'y'); COMMIT"),
        Entry("my_chain", "COMMIT AND CHAIN", "BEGIN; INSERT INTO T VALUES (5, 5, 'x'); COMMIT AND CHAIN;"
              "INSERT INTO T VALUES (6, 6, 'y'); COMMIT"),
        Entry("my_autocommit_off", "SET autocommit", "SET autocommit = 0; INSERT INTO T VALUES (5, 5, 'x'); COMMIT;"
              "UPDATE T SET a = 8 WHERE id = 5; COMMIT; SET autocommit = 1"),
        Entry("my_implicit_commit", "implicit commit",
              "BEGIN; INSERT INTO T VALUES (5, 5, 'x'); CREATE TABLE T2 (id int PRIMARY KEY); ROLLBACK; INSERT INTO T2 VALUES (1)"),
        Entry("my_lock_tables", "LOCK TABLES | UNLOCK TABLES",
              "LOCK TABLES T WRITE; INSERT INTO T VALUES (5, 5, 'x'); UNLOCK TABLES", alone=True),
        Entry("my_xa", "XA", "XA START 'T_xa'; INSERT INTO T VALUES (5, 5, 'x'); XA END 'T_xa'; XA PREPARE 'T_xa'; XA COMMIT 'T_xa'"),
        Entry("my_xa_one_phase", "XA", "XA START 'T_xa'; INSERT INTO T VALUES (5, 5, 'x'); XA END 'T_xa'; XA COMMIT 'T_xa' ONE PHASE"),
        Entry("my_xa_rollback", "XA", "XA START 'T_xa'; INSERT INTO T VALUES (5, 5, 'x'); XA END 'T_xa'; XA PREPARE 'T_xa'; XA ROLLBACK 'T_xa'"),
        Entry("my_mixed_engines", "START TRANSACTION",
              "CREATE TABLE T2 (id int PRIMARY KEY) ENGINE=MyISAM; BEGIN; INSERT INTO T VALUES (5, 5, 'x');"
              "INSERT INTO T2 VALUES (1); ROLLBACK; INSERT INTO T2 VALUES (2)", servers=MARIADB),
        Entry("my_large_transaction", "INSERT SELECT",
              "BEGIN; INSERT INTO T SELECT 1000 + x.id * 64 + y.id * 16 + z.id * 4, x.a, repeat('q', 20) FROM T x, T y, T z;"
              "UPDATE T SET a = 0 WHERE id >= 1000; DELETE FROM T WHERE id > 1200; COMMIT"),
        Entry("my_cascade", "FOREIGN KEY actions", "DELETE FROM T WHERE id = 3; UPDATE T SET id = 100 WHERE id = 1", setup="""
CREATE TABLE T (id int PRIMARY KEY); INSERT INTO T VALUES (1), (2), (3);
CREATE TABLE T2 (id int PRIMARY KEY, t int, FOREIGN KEY (t) REFERENCES T (id) ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE T3 (id int PRIMARY KEY, t int, FOREIGN KEY (t) REFERENCES T2 (id) ON DELETE SET NULL);
INSERT INTO T2 VALUES (10, 1), (30, 3); INSERT INTO T3 VALUES (100, 10), (300, 30)"""),
        Entry("my_replace_parent", "REPLACE | FOREIGN KEY actions", "REPLACE INTO T VALUES (1)", setup="""
CREATE TABLE T (id int PRIMARY KEY); INSERT INTO T VALUES (1), (2);
CREATE TABLE T2 (id int PRIMARY KEY, t int, FOREIGN KEY (t) REFERENCES T (id) ON DELETE CASCADE);
INSERT INTO T2 VALUES (10, 1), (20, 2)"""),
        Entry("my_fk_checks_off", "SET foreign_key_checks",
              "SET foreign_key_checks = 0; DELETE FROM T WHERE id = 1; INSERT INTO T2 VALUES (40, 77); SET foreign_key_checks = 1",
              setup="""
CREATE TABLE T (id int PRIMARY KEY); INSERT INTO T VALUES (1), (2);
CREATE TABLE T2 (id int PRIMARY KEY, t int, FOREIGN KEY (t) REFERENCES T (id) ON DELETE CASCADE);
INSERT INTO T2 VALUES (10, 1), (20, 2)""", structure=False, on={"load mariadb-pg18": Refused("INVALID_CONFIG",
              target="ALTER TABLE T2 ADD CONSTRAINT T2_ibfk_1 FOREIGN KEY (t) REFERENCES T (id) ON DELETE CASCADE NOT VALID", why=ORPHANS),
              "load mariadb-mariadb": Refused("INVALID_CONFIG", target="SET foreign_key_checks = 0;"
              "ALTER TABLE T2 ADD CONSTRAINT T2_ibfk_1 FOREIGN KEY (t) REFERENCES T (id) ON DELETE CASCADE", why=ORPHANS)}),
        Entry("my_zero_dates", "SET sql_mode",
              "SET sql_mode = ''; INSERT INTO T VALUES (1, '0000-00-00', '0000-00-00 00:00:00', 0), (2, '2020-00-15', '2020-01-00', 0);"
              "UPDATE T SET d = '0000-00-00' WHERE id = 2", setup="CREATE TABLE T (id int PRIMARY KEY, d date, t datetime, u timestamp NULL)"),
        Entry("my_generated_rows", "INSERT VALUES | UPDATE", "INSERT INTO T (id, a) VALUES (1, 5), (2, NULL); UPDATE T SET a = 9; DELETE FROM T WHERE id = 2",
              setup="CREATE TABLE T (id int PRIMARY KEY, a int, v int AS (a + 1), s varchar(9) AS (concat('<', a, '>')) STORED)"),
        Entry("my_json_update", "UPDATE", "UPDATE T SET j = json_set(j, '$.a', 2); UPDATE T SET j = json_remove(j, '$.b')",
              setup="""CREATE TABLE T (id int PRIMARY KEY, j json); INSERT INTO T VALUES (1, '{"a": 1, "b": [1, 2]}'), (2, '{}')"""),
        Entry("my_big_values", "UPDATE", "UPDATE T SET b = repeat('ä', 500000) WHERE id = 1; UPDATE T SET a = 1 WHERE id = 1",
              setup="CREATE TABLE T (id int PRIMARY KEY, a int, b longtext); INSERT INTO T VALUES (1, 1, 'x'), (2, 2, NULL)"),
        Entry("my_key_trailing_space", "UPDATE", "UPDATE T SET v = 2 WHERE k = 'a'; INSERT INTO T VALUES ('b ', 3)",
              setup="CREATE TABLE T (k varchar(9) COLLATE utf8mb4_bin PRIMARY KEY, v int); INSERT INTO T VALUES ('a ', 1)"),
        Entry("my_key_case_change", "UPDATE", "UPDATE T SET k = 'ABC' WHERE k = 'abc'; INSERT INTO T VALUES ('x', 2); DELETE FROM T WHERE k = 'X'",
              setup="CREATE TABLE T (k varchar(9) PRIMARY KEY, v int); INSERT INTO T VALUES ('abc', 1)"),
        Entry("my_memory_rows", "ENGINE", "DELETE FROM T; INSERT INTO T VALUES (7)", alone=True,
              setup="CREATE TABLE T (id int PRIMARY KEY) ENGINE=MEMORY; INSERT INTO T VALUES (1), (2)",
              on={"mysql": Carried("engine"), "load mysql": Carried("engine")}),
        Entry("my_load_data", "LOAD DATA", "LOAD DATA LOCAL INFILE 'tests/manuals/rows.csv' INTO TABLE T FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\"' (id, @a, b) SET a = @a * 2"),
        Entry("my_load_replace", "LOAD DATA REPLACE", "LOAD DATA LOCAL INFILE 'tests/manuals/rows.csv' REPLACE INTO TABLE T CHARACTER SET utf8mb4 FIELDS TERMINATED BY ',' ENCLOSED BY '\"' IGNORE 1 LINES (id, a, b)", setup=UNIQUE),
        Entry("my_load_ignore", "LOAD DATA IGNORE", "LOAD DATA LOW_PRIORITY LOCAL INFILE 'tests/manuals/rows.csv' IGNORE INTO TABLE T FIELDS TERMINATED BY ',' (id, a, b)", setup=UNIQUE),
        Entry("my_load_xml", "LOAD XML", "LOAD XML LOCAL INFILE 'tests/manuals/rows.xml' INTO TABLE T ROWS IDENTIFIED BY '<row>'"),
        Entry("my_delayed", "INSERT DELAYED | REPLACE DELAYED", "INSERT DELAYED INTO T VALUES (5, 5, 'x'); REPLACE DELAYED INTO T VALUES (1, 5, 'y')", servers=MYSQL),
        Entry("my_import_table", "IMPORT TABLE", "", verdict=BY_HAND, load=BY_HAND, servers=MYSQL),
        Entry("my_update_low_priority", "UPDATE LOW_PRIORITY", "UPDATE LOW_PRIORITY T SET a = 5 WHERE id = 1; DELETE LOW_PRIORITY FROM T WHERE id = 2"),
        Entry("my_read_only_transaction", "START TRANSACTION READ ONLY", "START TRANSACTION READ ONLY; SELECT count(*) FROM T; COMMIT; START TRANSACTION WITH CONSISTENT SNAPSHOT, READ WRITE; INSERT INTO T VALUES (5, 5, 'x'); COMMIT"),
        Entry("my_xa_suspend", "XA RECOVER | XA SUSPEND", "XA START 'T_xa', 'branch', 7; INSERT INTO T VALUES (5, 5, 'x'); XA END 'T_xa', 'branch', 7 SUSPEND; XA END 'T_xa', 'branch', 7;"
              "XA PREPARE 'T_xa', 'branch', 7; XA COMMIT 'T_xa', 'branch', 7; XA RECOVER", tolerant=True, alone=True),
        Entry("my_lock_instance", "LOCK INSTANCE", "BEGIN; LOCK INSTANCE FOR BACKUP; INSERT INTO T VALUES (5, 5, 'x'); UNLOCK INSTANCE; COMMIT", servers=MYSQL, alone=True),
    ),
)
