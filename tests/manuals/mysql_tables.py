"""MySQL 9 and MariaDB 10.11: RENAME, DROP, TRUNCATE, indexes, views, triggers and databases."""

# fmt: off
from __future__ import annotations

from tests.manuals.entries import LOSSY, RELOAD, Absent, Chapter, Entry

MYSQL, MARIADB = ("mysql9",), ("mariadb",)
ROW5 = "INSERT INTO T (id, a, b) VALUES (5, 5, 'five'); UPDATE T SET b = 'eins' WHERE id = 1"
NEW = "CREATE TABLE T_new (id int PRIMARY KEY, a int, b varchar(20), c int); "
COPY = NEW + "INSERT INTO T_new SELECT id, a, b, 7 FROM T;"
ENDS = Absent("It ends the server: tests/e2e/test_outages.py.")
LIBRARY = Absent("It needs a library of one's own, and touches no table.")

CHAPTER = Chapter(
    statement="other statements on tables",
    section="MySQL 15.1 Data Definition Statements; MariaDB Data Definition",
    servers=("mysql9", "mariadb"),
    setup="""
CREATE TABLE T (id int PRIMARY KEY, a int, b varchar(20));
INSERT INTO T VALUES (1, 10, 'one'), (2, NULL, ''), (3, -1, 'drei'), (4, 2147483647, ' x ')""",
    before="UPDATE T SET a = a - 1 WHERE id < 4; DELETE FROM T WHERE id = 4",
    entries=(
        Entry("my_rename_table", "RENAME TABLE", "RENAME TABLE T TO T_new",
              "INSERT INTO T_new VALUES (5, 5, 'five')"),
        Entry("my_rename_alone", "RENAME TABLE", "RENAME TABLE T TO T_new"),
        Entry("my_rename_back", "RENAME TABLE", "RENAME TABLE T TO T_new; RENAME TABLE T_new TO T", ROW5),
        Entry("my_rename_two", "RENAME TABLE (several)",
              "CREATE TABLE T2 (id int PRIMARY KEY); RENAME TABLE T TO T_x, T2 TO T_y",
              "INSERT INTO T_x VALUES (5, 5, 'five'); INSERT INTO T_y VALUES (1)"),
        Entry("my_rename_swap", "RENAME TABLE (several)",
              COPY + "RENAME TABLE T TO T_old, T_new TO T",
              "INSERT INTO T VALUES (5, 5, 'five', 5); INSERT INTO T_old VALUES (6, 6, 'six')"),
        Entry("my_rename_ring", "RENAME TABLE (several)",
              COPY + "RENAME TABLE T TO T_tmp, T_new TO T, T_tmp TO T_new",
              "INSERT INTO T VALUES (5, 5, 'five', 5); INSERT INTO T_new VALUES (6, 6, 'six')",
              verdict=RELOAD),
        Entry("my_ring_after_a_reload", "RENAME TABLE (several)",
              # In a backlog T is read again, and is T_new by then: no log tells what T_new becomes.
              "ALTER TABLE T MODIFY d decimal(9,2);"
              "RENAME TABLE T TO T_tmp, T_new TO T, T_tmp TO T_new",
              "INSERT INTO T VALUES (5, 'five'); INSERT INTO T_new VALUES (6, 6)",
              setup="CREATE TABLE T (id int PRIMARY KEY, d decimal(14,4));"
                    "INSERT INTO T VALUES (1, 1.2345), (2, NULL);"
                    "CREATE TABLE T_new (id int PRIMARY KEY, b varchar(20));"
                    "INSERT INTO T_new VALUES (1, 'one')",
              before="UPDATE T SET d = d + 1", verdict=RELOAD, options={"allow_lossy": True}),
        Entry("my_ring_of_a_foreign_key", "RENAME TABLE (several)",
              # The name of a foreign key is given once in a database: it changes its table, too.
              "RENAME TABLE T TO T_tmp, T_new TO T, T_tmp TO T_new",
              "INSERT INTO T VALUES (5, NULL), (6, 1); INSERT INTO T_new VALUES (7, 7, 'sieben')",
              setup="CREATE TABLE T (id int PRIMARY KEY, a int, b varchar(20));"
                    "INSERT INTO T VALUES (1, 10, 'one'), (2, NULL, '');"
                    "CREATE TABLE T_new (id int PRIMARY KEY, p int,"
                    " CONSTRAINT T_f FOREIGN KEY (p) REFERENCES T (id));"
                    "INSERT INTO T_new VALUES (1, 2)",
              before="UPDATE T SET a = a - 1", verdict=RELOAD),
        Entry("my_rename_swap_drop", "RENAME TABLE (several) | DROP TABLE",
              COPY + "RENAME TABLE T TO T_old, T_new TO T; DROP TABLE T_old",
              "INSERT INTO T VALUES (5, 5, 'five', 5)", verdict=LOSSY),
        Entry("my_rename_and_reuse", "RENAME TABLE",
              "RENAME TABLE T TO T_old; CREATE TABLE T (id int PRIMARY KEY, z varchar(5))",
              "INSERT INTO T VALUES (1, 'zz'); INSERT INTO T_old VALUES (5, 5, 'five')"),
        Entry("my_gh_ost", "RENAME TABLE (several)",
              "CREATE TABLE T_gho LIKE T; ALTER TABLE T_gho ADD c int DEFAULT 1;"
              "INSERT IGNORE INTO T_gho (id, a, b) SELECT id, a, b FROM T LOCK IN SHARE MODE;"
              "UPDATE T SET a = 77 WHERE id = 1; REPLACE INTO T_gho (id, a, b) VALUES (1, 77, 'one');"
              "RENAME TABLE T TO T_del, T_gho TO T; DROP TABLE T_del",
              "INSERT INTO T VALUES (5, 5, 'five', 5)", verdict=LOSSY),
        Entry("my_pt_osc", "RENAME TABLE (several) | CREATE TRIGGER | DROP TRIGGER",
              "CREATE TABLE T_n LIKE T; ALTER TABLE T_n ADD c int DEFAULT 1;"
              "CREATE TRIGGER T_tr AFTER INSERT ON T FOR EACH ROW REPLACE INTO T_n (id, a, b) VALUES (NEW.id, NEW.a, NEW.b);"
              "INSERT INTO T VALUES (8, 8, 'trig'); INSERT IGNORE INTO T_n (id, a, b) SELECT id, a, b FROM T;"
              "DROP TRIGGER T_tr; RENAME TABLE T TO T_old, T_n TO T",
              "INSERT INTO T VALUES (5, 5, 'five', 5)"),
        Entry("my_drop_table", "DROP TABLE", "DROP TABLE T", verdict=LOSSY),
        Entry("my_drop_tables", "DROP TABLE (several)",
              "CREATE TABLE T2 (id int PRIMARY KEY); INSERT INTO T2 VALUES (1); DROP TABLE IF EXISTS T, T_none, T2 CASCADE",
              verdict=LOSSY),
        Entry("my_drop_and_again", "DROP TABLE", "DROP TABLE T; CREATE TABLE T (id int PRIMARY KEY, z varchar(9))",
              "INSERT INTO T VALUES (5, 'five')", verdict=LOSSY),
        Entry("my_drop_and_same", "DROP TABLE",
              "DROP TABLE T; CREATE TABLE T (id int PRIMARY KEY, a int, b varchar(20))",
              "INSERT INTO T VALUES (1, 5, 'five')", verdict=LOSSY),
        Entry("my_drop_new", "DROP TABLE", "CREATE TABLE T2 (id int PRIMARY KEY); INSERT INTO T2 VALUES (1); DROP TABLE T2",
              ROW5, options={"allow_lossy": True}),
        Entry("my_drop_parent_off", "DROP TABLE",
              "SET foreign_key_checks = 0; DROP TABLE T2; SET foreign_key_checks = 1", "DELETE FROM T WHERE id = 1",
              verdict=LOSSY, setup="""
CREATE TABLE T2 (id int PRIMARY KEY); INSERT INTO T2 VALUES (9), (10), (0), (-1), (-2), (7), (5);
CREATE TABLE T (id int PRIMARY KEY, a int, b varchar(20), FOREIGN KEY (a) REFERENCES T2 (id));
INSERT INTO T VALUES (1, 10, 'one'), (2, NULL, ''), (3, -1, 'drei'), (4, 7, ' x ')""", structure=False),
        Entry("my_truncate", "TRUNCATE TABLE", "TRUNCATE TABLE T", "INSERT INTO T VALUES (1, 1, 'again')"),
        Entry("my_truncate_counter", "TRUNCATE TABLE", "TRUNCATE T", "INSERT INTO T (a) VALUES (7)", setup="""
CREATE TABLE T (id int AUTO_INCREMENT PRIMARY KEY, a int, b varchar(20));
INSERT INTO T VALUES (1, 10, 'one'), (2, NULL, ''), (3, -1, 'drei'), (4, 1, ' x ')"""),
        Entry("my_create_index", "CREATE INDEX", "CREATE INDEX T_i ON T (a DESC, b)", ROW5),
        Entry("my_create_unique_index", "CREATE UNIQUE INDEX", "CREATE UNIQUE INDEX T_i ON T (b)", ROW5),
        Entry("my_create_fulltext_index", "CREATE FULLTEXT INDEX", "CREATE FULLTEXT INDEX T_i ON T (b)", ROW5),
        Entry("my_create_index_if", "CREATE INDEX IF NOT EXISTS | CREATE OR REPLACE INDEX",
              "CREATE INDEX IF NOT EXISTS T_i ON T (a); CREATE OR REPLACE INDEX T_i ON T (b)", ROW5,
              servers=MARIADB),
        Entry("my_drop_index_statement", "DROP INDEX",
              "CREATE INDEX T_i ON T (a); DROP INDEX T_i ON T", ROW5),
        Entry("my_index_name_twice", "CREATE INDEX",
              "CREATE TABLE T2 (id int PRIMARY KEY, a int); CREATE INDEX T_i ON T (a); CREATE INDEX T_i ON T2 (a)",
              ROW5 + "; INSERT INTO T2 VALUES (1, 1)"),
        Entry("my_view", "CREATE VIEW | ALTER VIEW | DROP VIEW",
              "CREATE VIEW T_v AS SELECT id, a FROM T WHERE a > 0; INSERT INTO T_v VALUES (7, 7);"
              "CREATE OR REPLACE VIEW T_v AS SELECT * FROM T; UPDATE T_v SET b = 'by view' WHERE id = 7;"
              "ALTER VIEW T_v AS SELECT id FROM T; DROP VIEW T_v", ROW5),
        Entry("my_rename_view", "RENAME TABLE", "CREATE VIEW T_v AS SELECT 1 AS x; RENAME TABLE T_v TO T_w; DROP VIEW T_w",
              ROW5),
        Entry("my_trigger_before", "CREATE TRIGGER",
              "CREATE TRIGGER T_t BEFORE INSERT ON T FOR EACH ROW SET NEW.b = upper(NEW.b)", ROW5),
        Entry("my_trigger_other", "CREATE TRIGGER",
              "CREATE TABLE T_log (n int AUTO_INCREMENT PRIMARY KEY, id int);"
              "CREATE TRIGGER T_t AFTER UPDATE ON T FOR EACH ROW INSERT INTO T_log (id) VALUES (OLD.id)", ROW5),
        Entry("my_procedure", "CREATE PROCEDURE | CREATE FUNCTION | DROP PROCEDURE",
              "CREATE PROCEDURE T_p() UPDATE T SET a = 123 WHERE id = 2; CALL T_p(); DROP PROCEDURE T_p", ROW5),
        Entry("my_event", "CREATE EVENT | ALTER EVENT",
              "CREATE EVENT T_e ON SCHEDULE EVERY 1 YEAR STARTS '2037-01-01 00:00:00' DO DELETE FROM T; ALTER EVENT T_e COMMENT 'ALTER TABLE T DROP a'; ALTER EVENT T_e DISABLE; DROP EVENT T_e",
              ROW5),
        Entry("my_create_database", "CREATE DATABASE | ALTER DATABASE | DROP DATABASE",
              "DROP DATABASE IF EXISTS T_db; CREATE DATABASE IF NOT EXISTS T_db; CREATE TABLE T_db.T (id int PRIMARY KEY); INSERT INTO T_db.T VALUES (1);"
              "DROP DATABASE T_db; ALTER DATABASE CHARACTER SET utf8mb4", ROW5),
        Entry("my_other_database", "CREATE TABLE",
              "DROP DATABASE IF EXISTS T_db; CREATE DATABASE T_db; CREATE TABLE T_db.T (id int PRIMARY KEY, other int);"
              "INSERT INTO T_db.T VALUES (1, 1); ALTER TABLE T_db.T DROP other; DROP TABLE T_db.T;"
              "DROP DATABASE T_db", ROW5),
        Entry("my_move_out", "RENAME TABLE",
              "DROP DATABASE IF EXISTS T_db; CREATE DATABASE T_db; RENAME TABLE T TO T_db.T; DROP DATABASE T_db", verdict=LOSSY),
        Entry("my_database_charset", "ALTER DATABASE",
              "ALTER DATABASE CHARACTER SET latin1; CREATE TABLE T2 (id int PRIMARY KEY, v varchar(9));"
              "ALTER DATABASE CHARACTER SET utf8mb4", "INSERT INTO T2 VALUES (1, 'é')"),
        Entry("my_analyze", "ANALYZE TABLE | CHECK TABLE | OPTIMIZE TABLE | REPAIR TABLE | CHECKSUM TABLE",
              "ANALYZE TABLE T; CHECK TABLE T; OPTIMIZE TABLE T; REPAIR TABLE T; CHECKSUM TABLE T", ROW5, alone=True),
        Entry("my_flush", "FLUSH", "FLUSH TABLES; FLUSH BINARY LOGS", ROW5, alone=True),
        Entry("my_grant", "GRANT | REVOKE | CREATE USER",
              "CREATE USER 'T_u'@'localhost'; GRANT SELECT ON *.* TO 'T_u'@'localhost'; DROP USER 'T_u'@'localhost'", ROW5),
        Entry("my_histogram", "ANALYZE TABLE UPDATE HISTOGRAM", "ANALYZE TABLE T UPDATE HISTOGRAM ON a WITH 4 BUCKETS", ROW5,
              servers=MYSQL, alone=True),
        Entry("my_import_tablespace", "DISCARD TABLESPACE | IMPORT TABLESPACE",
              "FLUSH TABLES T FOR EXPORT; UNLOCK TABLES", ROW5, alone=True),
        Entry("my_create_spatial_index", "CREATE SPATIAL INDEX", "ALTER TABLE T ADD p point; UPDATE T SET p = point(id, 2); ALTER TABLE T MODIFY p point NOT NULL; CREATE SPATIAL INDEX T_sp ON T (p)",
              "INSERT INTO T VALUES (5, 5, 'five', point(0, 0))"),
        Entry("my_own_tablespace", "CREATE TABLESPACE | ALTER TABLESPACE", "CREATE TABLESPACE T_ts ADD DATAFILE 'T_ts.ibd'; ALTER TABLE T TABLESPACE T_ts; ALTER TABLESPACE T_ts RENAME TO T_tt;"
              "ALTER TABLE T TABLESPACE innodb_file_per_table; DROP TABLESPACE T_tt", ROW5, servers=MYSQL),
        Entry("my_undo_tablespace", "CREATE UNDO TABLESPACE", "CREATE UNDO TABLESPACE T_un ADD DATAFILE 'T_un.ibu'; ALTER UNDO TABLESPACE T_un SET INACTIVE; DROP UNDO TABLESPACE T_un", ROW5,
              servers=MYSQL, tolerant=True),
        Entry("my_create_server", "CREATE SERVER", "CREATE SERVER T_sv FOREIGN DATA WRAPPER mysql OPTIONS (HOST '127.0.0.1', DATABASE 'ALTER TABLE T DROP a'); ALTER SERVER T_sv OPTIONS (PORT 1);"
              "DROP SERVER T_sv", ROW5),
        Entry("my_schema_read_only", "ALTER SCHEMA READ ONLY", "BEGIN; ALTER SCHEMA READ ONLY = 1; ALTER SCHEMA READ ONLY = 0; COMMIT", ROW5, servers=MYSQL, alone=True),
        Entry("my_rename_user", "RENAME USER", "CREATE USER 'T_u'@'localhost'; RENAME USER 'T_u'@'localhost' TO 'T_v'@'localhost'; DROP USER 'T_v'@'localhost'", ROW5),
        Entry("my_cache_index", "CACHE INDEX | LOAD INDEX", "CREATE TABLE T2 (id int PRIMARY KEY) ENGINE=MyISAM; CACHE INDEX T2 IN default; LOAD INDEX INTO CACHE T2 IGNORE LEAVES", "INSERT INTO T2 VALUES (1), (2)", alone=True),
        Entry("my_alter_instance", "ALTER INSTANCE", "ALTER INSTANCE ENABLE INNODB REDO_LOG; ALTER INSTANCE RELOAD KEYRING", ROW5, servers=MYSQL, tolerant=True, alone=True),
        Entry("my_restart", "RESTART", "", verdict=ENDS, load=ENDS, servers=MYSQL),
        Entry("my_reference_system", "CREATE SPATIAL REFERENCE SYSTEM", "CREATE OR REPLACE SPATIAL REFERENCE SYSTEM 990099 NAME 'T of own' DEFINITION 'GEOGCS[\"T\",DATUM[\"T\",SPHEROID[\"s\",6378137,298.25]],"
              "PRIMEM[\"Greenwich\",0],UNIT[\"degree\",0.017453292519943278],AXIS[\"Lat\",NORTH],AXIS[\"Lon\",EAST]]'; DROP SPATIAL REFERENCE SYSTEM 990099", ROW5, servers=MYSQL),
        Entry("my_loadable_function", "CREATE LOADABLE FUNCTION", "", verdict=LIBRARY, load=LIBRARY),
        Entry("my_package", "CREATE PACKAGE", "SET sql_mode = 'ORACLE'; EXECUTE IMMEDIATE 'CREATE PACKAGE T_pk AS FUNCTION f RETURN int; END'; DROP PACKAGE T_pk; SET sql_mode = DEFAULT", ROW5,
              servers=MARIADB, alone=True),
        Entry("my_database_comment", "CREATE DATABASE COMMENT", "CREATE DATABASE T_db COMMENT 'of; it'; ALTER DATABASE T_db COMMENT 'DROP TABLE T'; DROP DATABASE T_db", ROW5, servers=MARIADB),
    ),
)
