"""MariaDB 10.11: what MySQL does not have."""

# fmt: off
from __future__ import annotations

from tests.manuals.entries import LOSSY, RELOAD, Absent, Carried, Chapter, Entry, Refused

ROW5 = "INSERT INTO T (id, a, b) VALUES (5, 5, 'five'); UPDATE T SET b = 'eins' WHERE id = 1"
VERSIONED = """
CREATE TABLE T (id int PRIMARY KEY, a int, b varchar(20)) WITH SYSTEM VERSIONING;
INSERT INTO T VALUES (1, 10, 'one'), (2, NULL, ''), (3, -1, 'drei'), (4, 99, ' x ')"""
PERIOD = """
CREATE TABLE T (id int, a int, s date, e date, PERIOD FOR p (s, e), PRIMARY KEY (id, s));
INSERT INTO T VALUES (1, 10, '2020-01-01', '2021-01-01'), (2, NULL, '2020-01-01', '2020-06-01')"""
NO_DEFAULT = {"postgresql": Carried("default"), "load postgresql": Carried("default")}
REPEATED = "INSERT INTO T VALUES (5, 5, 'five'); UPDATE T SET a = 1 WHERE id = 1; DELETE FROM T WHERE id = 2"
WHY = "The server logs such rows as statements."
TRX, TRX_LOAD = Refused("SCHEMA_CHANGE_REFUSED", why=WHY), Refused("INVALID_CONFIG", why=WHY)
NO_JSON = Refused("ROW_REJECTED", source="UPDATE T SET j = 'null' WHERE j = ''",
                  why="The server gives existing rows an empty text, which is no JSON.")
PACKAGE = Absent("A package of its own, which the tests' server lacks; engines that keep rows elsewhere are refused.")
ENDS = Absent("It ends the server: tests/e2e/test_outages.py.")

CHAPTER = Chapter(
    statement="of MariaDB's own",
    section="MariaDB 10.11 SQL Statements: SEQUENCE, SYSTEM VERSIONING, PERIOD, OR REPLACE, ...",
    servers=("mariadb",),
    setup="""
CREATE TABLE T (id int PRIMARY KEY, a int, b varchar(20));
INSERT INTO T VALUES (1, 10, 'one'), (2, NULL, ''), (3, -1, 'drei'), (4, 99, ' x ')""",
    before="UPDATE T SET a = a - 1 WHERE id < 4; DELETE FROM T WHERE id = 4",
    entries=(
        Entry("ma_versioned_rows", "WITH SYSTEM VERSIONING", REPEATED, setup=VERSIONED, structure=False),
        Entry("ma_versioned_create", "WITH SYSTEM VERSIONING",
              "CREATE TABLE T2 (id int PRIMARY KEY, v int) WITH SYSTEM VERSIONING",
              "INSERT INTO T2 VALUES (1, 1), (2, 2); UPDATE T2 SET v = 3 WHERE id = 1; DELETE FROM T2 WHERE id = 2", structure=False),
        Entry("ma_versioned_add", "ADD SYSTEM VERSIONING", "ALTER TABLE T ADD SYSTEM VERSIONING", REPEATED.replace("5, 5", "6, 6"), structure=False),
        Entry("ma_versioned_drop", "DROP SYSTEM VERSIONING", "ALTER TABLE T DROP SYSTEM VERSIONING", REPEATED, setup=VERSIONED, structure=False),
        Entry("ma_versioned_explicit", "GENERATED ALWAYS AS ROW START | GENERATED ALWAYS AS ROW END | PERIOD FOR SYSTEM_TIME",
              "CREATE TABLE T2 (id int PRIMARY KEY, s timestamp(6) GENERATED ALWAYS AS ROW START,"
              " e timestamp(6) GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (s, e)) WITH SYSTEM VERSIONING",
              "INSERT INTO T2 (id) VALUES (1), (2); DELETE FROM T2 WHERE id = 2", structure=False),
        Entry("ma_versioned_columns", "WITHOUT SYSTEM VERSIONING (column)",
              "CREATE TABLE T2 (id int PRIMARY KEY, v int, w int WITHOUT SYSTEM VERSIONING) WITH SYSTEM VERSIONING",
              "INSERT INTO T2 VALUES (1, 1, 1); UPDATE T2 SET w = 2; UPDATE T2 SET v = 2", structure=False),
        Entry("ma_versioned_trx", "GENERATED ALWAYS AS ROW START",
              "CREATE TABLE T2 (id int PRIMARY KEY, s bigint unsigned GENERATED ALWAYS AS ROW START,"
              " e bigint unsigned GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (s, e)) WITH SYSTEM VERSIONING",
              "INSERT INTO T2 (id) VALUES (1)", verdict=TRX, load=TRX_LOAD),
        Entry("ma_versioned_add_column", "ALTER TABLE (versioned)",
              "SET system_versioning_alter_history = 1; ALTER TABLE T ADD c int DEFAULT 4",
              "INSERT INTO T VALUES (5, 5, 'five', 1); UPDATE T SET c = 9 WHERE id = 1", setup=VERSIONED, alone=True, structure=False),
        Entry("ma_delete_history", "DELETE HISTORY", "DELETE HISTORY FROM T", REPEATED, setup=VERSIONED, structure=False),
        Entry("ma_delete_history_before", "DELETE HISTORY BEFORE SYSTEM_TIME", "DELETE HISTORY FROM T BEFORE SYSTEM_TIME now()", REPEATED, setup=VERSIONED, structure=False),
        Entry("ma_insert_history", "system_versioning_insert_history", "SET system_versioning_insert_history = 1;"
              "INSERT INTO T (id, a, b, row_start, row_end) VALUES (50, 1, 'past', '2020-01-01', '2020-02-01')", REPEATED,
              setup=VERSIONED, alone=True, structure=False),
        Entry("ma_versioned_truncate", "TRUNCATE TABLE", "TRUNCATE T2; INSERT INTO T VALUES (6, 6, 'x')",
              setup=VERSIONED + "; CREATE TABLE T2 (id int PRIMARY KEY); INSERT INTO T2 VALUES (1)", structure=False),
        Entry("ma_period_rows", "PERIOD FOR", "UPDATE T SET a = 5", setup=PERIOD, before="", structure=False),
        Entry("ma_period_delete", "DELETE FOR PORTION OF", "DELETE FROM T FOR PORTION OF p FROM '2020-03-01' TO '2020-04-01'", setup=PERIOD, before="", structure=False),
        Entry("ma_period_update", "UPDATE FOR PORTION OF", "UPDATE T FOR PORTION OF p FROM '2020-03-01' TO '2020-04-01' SET a = 7", setup=PERIOD, before="", structure=False),
        Entry("ma_period_create", "PERIOD FOR | WITHOUT OVERLAPS",
              "CREATE TABLE T2 (id int, s date, e date, PERIOD FOR p (s, e), PRIMARY KEY (id, p WITHOUT OVERLAPS))",
              "INSERT INTO T2 VALUES (1, '2020-01-01', '2020-02-01')", structure=False),
        Entry("ma_period_add", "ADD PERIOD FOR | DROP PERIOD FOR",
              "ALTER TABLE T ADD s date NOT NULL DEFAULT '2020-01-01', ADD e date NOT NULL DEFAULT '2021-01-01';"
              "ALTER TABLE T ADD PERIOD FOR p (s, e); ALTER TABLE T DROP PERIOD FOR p", ROW5, structure=False),
        Entry("ma_sequence", "CREATE SEQUENCE", "CREATE SEQUENCE T_q START 100 INCREMENT 10; INSERT INTO T VALUES (NEXT VALUE FOR T_q, 1, 'seq');"
              "INSERT INTO T VALUES (nextval(T_q), 2, 'seq'); DROP SEQUENCE T_q", ROW5),
        Entry("ma_sequence_default", "DEFAULT nextval", "CREATE SEQUENCE T_q START 100;"
              "CREATE TABLE T2 (id int DEFAULT nextval(T_q) PRIMARY KEY, v int)", "INSERT INTO T2 (v) VALUES (1), (2)", structure=False),
        Entry("ma_sequence_alter", "ALTER SEQUENCE | SETVAL", "CREATE SEQUENCE T_q; ALTER SEQUENCE T_q RESTART 50; SELECT setval(T_q, 77); RENAME TABLE T_q TO T_r; DROP SEQUENCE T_r", ROW5),
        Entry("ma_check_constraint_name", "ADD CONSTRAINT IF NOT EXISTS", "ALTER TABLE T ADD CONSTRAINT IF NOT EXISTS T_c CHECK (a < 1000)", ROW5),
        Entry("ma_drop_constraint_if", "DROP CONSTRAINT IF EXISTS", "ALTER TABLE T DROP CONSTRAINT IF EXISTS T_none", ROW5),
        Entry("ma_change_if", "CHANGE COLUMN IF EXISTS | MODIFY COLUMN IF EXISTS",
              "ALTER TABLE T CHANGE IF EXISTS a amount bigint, MODIFY IF EXISTS zz int", "INSERT INTO T VALUES (5, 5, 'five')"),
        Entry("ma_rename_column_if", "RENAME COLUMN IF EXISTS", "ALTER TABLE T RENAME COLUMN a TO amount", "INSERT INTO T VALUES (5, 5, 'five')"),
        Entry("ma_alter_if_exists", "ALTER TABLE IF EXISTS", "ALTER TABLE IF EXISTS T_none ADD c int; ALTER TABLE IF EXISTS T ADD c int", "INSERT INTO T VALUES (5, 5, 'x', 1)"),
        Entry("ma_alter_ignore", "ALTER IGNORE TABLE", "ALTER IGNORE TABLE T ADD UNIQUE (b)", ROW5, setup="""
CREATE TABLE T (id int PRIMARY KEY, a int, b varchar(20));
INSERT INTO T VALUES (1, 10, 'same'), (2, NULL, 'same'), (3, -1, 'drei'), (4, 99, 'same')""", before="",
              verdict=RELOAD),
        Entry("ma_alter_online", "ALTER ONLINE TABLE | WAIT | NOWAIT", "ALTER ONLINE TABLE T WAIT 5 ADD c int DEFAULT 2", "INSERT INTO T VALUES (5, 5, 'x', 1)"),
        Entry("ma_rename_if_exists", "RENAME TABLE IF EXISTS | RENAME TABLE WAIT", "RENAME TABLE IF EXISTS T_none TO T_x, T TO T_new; RENAME TABLE T_new WAIT 5 TO T_newer",
              "INSERT INTO T_newer VALUES (5, 5, 'x')"),
        Entry("ma_drop_wait", "DROP TABLE WAIT", "DROP TABLE T WAIT 5", verdict=LOSSY),
        Entry("ma_truncate_wait", "TRUNCATE TABLE WAIT", "TRUNCATE TABLE T NOWAIT", "INSERT INTO T VALUES (1, 1, 'x')"),
        Entry("ma_or_replace", "CREATE OR REPLACE TABLE", "CREATE OR REPLACE TABLE T (id int PRIMARY KEY, z varchar(9))", "INSERT INTO T VALUES (5, 'x')", verdict=LOSSY),
        Entry("ma_or_replace_like", "CREATE OR REPLACE TABLE LIKE", "CREATE TABLE T2 (id int PRIMARY KEY, z int); CREATE OR REPLACE TABLE T LIKE T2", "INSERT INTO T VALUES (5, 6)", verdict=LOSSY),
        Entry("ma_or_replace_select", "CREATE OR REPLACE TABLE AS SELECT", "CREATE TABLE T2 (id int PRIMARY KEY); INSERT INTO T2 VALUES (1), (2);"
              "CREATE OR REPLACE TABLE T (PRIMARY KEY (id)) AS SELECT id, 'sel' AS s FROM T2", "INSERT INTO T VALUES (5, 'x')", verdict=LOSSY),
        Entry("ma_if_not_exists_select", "CREATE TABLE IF NOT EXISTS AS SELECT", "CREATE TABLE IF NOT EXISTS T (id int) AS SELECT 77 AS id", ROW5),
        Entry("ma_compressed", "COMPRESSED", "CREATE TABLE T2 (id int PRIMARY KEY, c varchar(500) COMPRESSED, d blob COMPRESSED=zlib)",
              "INSERT INTO T2 VALUES (1, repeat('ä', 400), repeat('x', 5000)), (2, '', NULL)"),
        Entry("ma_compressed_add", "COMPRESSED", "ALTER TABLE T MODIFY b varchar(200) COMPRESSED", "INSERT INTO T VALUES (5, 5, repeat('b', 200))"),
        Entry("ma_page_compressed", "PAGE_COMPRESSED | ENCRYPTED", "CREATE TABLE T2 (id int PRIMARY KEY) PAGE_COMPRESSED=1 ENCRYPTED=NO", "INSERT INTO T2 VALUES (1)", structure=False),
        Entry("ma_persistent", "GENERATED PERSISTENT", "CREATE TABLE T2 (id int PRIMARY KEY, g int AS (id * 2) PERSISTENT)", "INSERT INTO T2 (id) VALUES (1)"),
        Entry("ma_default_expression", "DEFAULT expr", "CREATE TABLE T2 (id int PRIMARY KEY, a int DEFAULT (1 + 1), b varchar(9) DEFAULT concat('x', 'y'), c datetime DEFAULT (now() + interval 1 day))",
              "INSERT INTO T2 (id, c) VALUES (1, '2020-01-01')", on=NO_DEFAULT),
        Entry("ma_default_column", "DEFAULT expr", "ALTER TABLE T ADD c int DEFAULT (id * 2)", "INSERT INTO T (id, a) VALUES (5, 5)", on=NO_DEFAULT),
        Entry("ma_default_text", "DEFAULT literal", "ALTER TABLE T ADD c text DEFAULT 'text', ADD d blob DEFAULT 0x00ff", "INSERT INTO T (id) VALUES (5)"),
        Entry("ma_check_column", "CHECK", "ALTER TABLE T MODIFY a int CHECK (a < 5000)", ROW5),
        Entry("ma_json_check", "JSON", "ALTER TABLE T ADD j json DEFAULT '[]'", """INSERT INTO T (id, j) VALUES (5, '{"b": 1,  "a": 1.0}')"""),
        Entry("ma_json_not_null", "JSON", "ALTER TABLE T ADD j json NOT NULL; INSERT INTO T VALUES (5, 5, 'five', '[]')",
              on={"postgresql": NO_JSON}, load=NO_JSON),
        Entry("ma_json_to_text", "JSON", "ALTER TABLE T ADD j json; ALTER TABLE T MODIFY j longtext", "INSERT INTO T (id, j) VALUES (5, 'not json')"),
        Entry("ma_inet_modify", "INET4 | INET6 | UUID", "ALTER TABLE T ADD i inet6 DEFAULT '::1'; ALTER TABLE T ADD u uuid, ADD v inet4",
              "INSERT INTO T (id, i, u) VALUES (5, '::2', '123e4567-e89b-12d3-a456-426655440000')"),
        Entry("ma_uuid_default", "UUID", "CREATE TABLE T2 (id uuid DEFAULT uuid() PRIMARY KEY, v int)", "INSERT INTO T2 VALUES ('123e4567-e89b-12d3-a456-426655440000', 1); UPDATE T2 SET v = 2"),
        Entry("ma_oracle_types", "sql_mode ORACLE", "SET sql_mode = 'ORACLE'; CREATE TABLE T2 (id number(9) PRIMARY KEY, v varchar2(9), r raw(4), c clob, d date)",
              "INSERT INTO T2 VALUES (1, 'x', 0x01, 'clob', '2020-01-01 10:00:00')"),
        Entry("ma_oracle_default", "sql_mode ORACLE", "SET sql_mode = 'ORACLE'; ALTER TABLE T ADD (c number DEFAULT 1)", "INSERT INTO T VALUES (5, 5, 'x', 2)", alone=True),
        Entry("ma_truncated_row", "DELETE SELF", "DELETE FROM T WHERE id IN (SELECT id + 1 FROM T)", ROW5.replace("id = 1", "id = 3")),
        Entry("ma_update_self", "UPDATE ORDER BY", "UPDATE T SET id = id - 100 ORDER BY id", ""),
        Entry("ma_replace_returning", "REPLACE RETURNING", "REPLACE INTO T VALUES (1, 1, 'r') RETURNING *", ROW5),
        Entry("ma_insert_select_returning", "INSERT SELECT RETURNING", "INSERT INTO T SELECT id + 50, a, b FROM T RETURNING id", ROW5),
        Entry("ma_load_xa", "XA", "XA START 'T_x'; INSERT INTO T VALUES (50, 5, 'x'); XA END 'T_x'; XA PREPARE 'T_x'; XA COMMIT 'T_x'", ROW5),
        Entry("ma_set_statement", "SET STATEMENT", "SET STATEMENT foreign_key_checks=0 FOR INSERT INTO T VALUES (61, 6, 'c'); SET STATEMENT lock_wait_timeout=5 FOR ALTER TABLE T ADD c int DEFAULT 1", "INSERT INTO T VALUES (5, 5, 'x', 2)"),
        Entry("ma_execute_immediate", "EXECUTE IMMEDIATE", "EXECUTE IMMEDIATE 'ALTER TABLE T ADD c int DEFAULT 5'", "INSERT INTO T VALUES (5, 5, 'x', 2)"),
        Entry("ma_analyze_persistent", "ANALYZE PERSISTENT | ANALYZE statement", "ANALYZE TABLE T PERSISTENT FOR ALL; ANALYZE UPDATE T SET a = 4 WHERE id = 1", ROW5, alone=True),
        Entry("ma_lateral_comment", "executable comments", "ALTER TABLE T /*M!100000 ADD c int DEFAULT 3 */ /*!99997 , ADD zz int */", "INSERT INTO T VALUES (5, 5, 'x', 2)"),
        Entry("ma_charset_uca", "COLLATE", "CREATE TABLE T2 (id int PRIMARY KEY, v varchar(9)) COLLATE uca1400_as_cs", "INSERT INTO T2 VALUES (1, 'É')"),
        Entry("ma_engine_s3", "ENGINE", "CREATE TABLE T2 (id int PRIMARY KEY) ENGINE=Aria", "INSERT INTO T2 VALUES (1), (2)"),
        Entry("ma_ignored_index", "IGNORED", "CREATE TABLE T2 (id int PRIMARY KEY, v int, KEY T_k (v) IGNORED)", "INSERT INTO T2 VALUES (1, 1)"),
        Entry("ma_desc_index", "INDEX DESC", "CREATE TABLE T2 (id int, v int, PRIMARY KEY (id DESC), KEY (v DESC))", "INSERT INTO T2 VALUES (1, 1), (2, NULL)"),
        Entry("ma_hash_unique", "UNIQUE USING HASH", "CREATE TABLE T2 (id int PRIMARY KEY, v text, UNIQUE (v))", "INSERT INTO T2 VALUES (1, repeat('x', 5000)), (2, NULL)"),
        Entry("ma_fk_in_log", "FOREIGN KEY", "CREATE TABLE T2 (id int PRIMARY KEY, t int); INSERT INTO T2 VALUES (1, 1), (2, 2);"
              "ALTER TABLE T2 ADD FOREIGN KEY (t) REFERENCES T (id) ON DELETE CASCADE ON UPDATE CASCADE", "DELETE FROM T WHERE id = 1; UPDATE T SET id = 20 WHERE id = 2"),
        Entry("ma_null_to_not_null", "MODIFY COLUMN", "SET sql_mode = ''; ALTER TABLE T MODIFY a int NOT NULL", ROW5, alone=True,
              verdict=RELOAD),
        Entry("ma_dynamic_columns", "COLUMN_CREATE", "ALTER TABLE T ADD d blob; UPDATE T SET d = COLUMN_CREATE('x', 1, 'y', 'zwei')",
              "INSERT INTO T VALUES (5, 5, 'x', COLUMN_CREATE('k', 1.50)); UPDATE T SET d = COLUMN_ADD(d, 'z', NULL, 'x', 2) WHERE id < 4"),
        Entry("ma_engines_apart", "ENGINE S3 | ENGINE CONNECT | ENGINE SPIDER | ENGINE MYROCKS | ENGINE ColumnStore", "", verdict=PACKAGE, load=PACKAGE),
        Entry("ma_sequence_replaced", "CREATE OR REPLACE SEQUENCE | CREATE TABLE SEQUENCE=1", "CREATE SEQUENCE T_q; CREATE OR REPLACE SEQUENCE T_q START 500;"
              "INSERT INTO T VALUES (nextval(T_q), 1, 'seq'); DROP SEQUENCE T_q; CREATE TABLE T_q (next_not_cached_value bigint NOT NULL, minimum_value bigint NOT NULL,"
              " maximum_value bigint NOT NULL, start_value bigint NOT NULL, increment bigint NOT NULL, cache_size bigint unsigned NOT NULL,"
              " cycle_option tinyint unsigned NOT NULL, cycle_count bigint NOT NULL) ENGINE=InnoDB SEQUENCE=1; DROP TABLE T_q", ROW5),
        Entry("ma_swap_types", "UUID | INET4 | INET6",
              "RENAME TABLE T TO T_x, T2 TO T, T_x TO T2", "UPDATE T SET u = uuid() WHERE id = 5; INSERT INTO T2 VALUES (8, '2001-01-01', 3, 'x')",
              setup="CREATE TABLE T (id int PRIMARY KEY, u timestamp(6) NULL, i bit(9), n varchar(9) UNIQUE); INSERT INTO T VALUES (1, '2020-02-02', 5, 'p');"
              "CREATE TABLE T2 (id int PRIMARY KEY, u uuid, i inet6, n inet4 UNIQUE); INSERT INTO T2 VALUES (5, uuid(), '::1', '1.2.3.4')",
              before="INSERT INTO T VALUES (2, NULL, NULL, NULL)"),
        Entry("ma_rename_key", "ALTER TABLE RENAME INDEX", "ALTER TABLE T ADD KEY T_a (a); ALTER TABLE T RENAME KEY T_a TO T_z", ROW5),
        Entry("ma_alter_key_if", "ALTER TABLE ... ALTER KEY IF EXISTS", "ALTER TABLE T ADD KEY T_a (a); ALTER TABLE T ALTER KEY IF EXISTS T_a IGNORED, ALTER KEY IF EXISTS T_none IGNORED", ROW5),
        Entry("ma_foreign_if", "ADD FOREIGN KEY IF NOT EXISTS", "CREATE TABLE T2 (id int PRIMARY KEY); INSERT INTO T2 VALUES (1), (2), (3), (5);"
              "ALTER TABLE T ADD CONSTRAINT T_fk FOREIGN KEY IF NOT EXISTS T_fk (id) REFERENCES T2 (id) ON DELETE CASCADE;"
              "ALTER TABLE T ADD CONSTRAINT T_fk FOREIGN KEY IF NOT EXISTS T_fk (id) REFERENCES T2 (id)", ROW5 + "; DELETE FROM T2 WHERE id = 2"),
        Entry("ma_drop_foreign_if", "DROP FOREIGN KEY IF EXISTS", "ALTER TABLE T DROP FOREIGN KEY IF EXISTS T_fk, DROP FOREIGN KEY IF EXISTS T_none", "INSERT INTO T VALUES (5, 500, 'x')", setup="""
CREATE TABLE T2 (id int PRIMARY KEY); INSERT INTO T2 VALUES (1), (2), (9), (10), (0);
CREATE TABLE T (id int PRIMARY KEY, a int, b varchar(20), CONSTRAINT T_fk FOREIGN KEY (a) REFERENCES T2 (id));
INSERT INTO T VALUES (1, 10, 'one'), (2, NULL, ''), (3, 1, 'drei'), (4, 1, ' x ')"""),
        Entry("ma_primary_if", "ADD PRIMARY KEY IF NOT EXISTS", "ALTER TABLE T ADD PRIMARY KEY IF NOT EXISTS (id); ALTER TABLE T ADD PRIMARY KEY IF NOT EXISTS (b)",
              "INSERT INTO T VALUES (5, 9, 'five'); UPDATE T SET a = 1 WHERE id = 2", setup="""
CREATE TABLE T (id int NOT NULL, a int, b varchar(20)); INSERT INTO T VALUES (1, 10, 'one'), (2, NULL, ''), (3, -1, 'drei'), (4, 99, ' x ')"""),
        Entry("ma_index_if", "ADD INDEX IF NOT EXISTS", "ALTER TABLE T ADD INDEX IF NOT EXISTS T_a (a); ALTER TABLE T ADD INDEX IF NOT EXISTS T_a (b), ADD UNIQUE KEY IF NOT EXISTS T_u (b)", ROW5),
        Entry("ma_history_auto", "PARTITION BY SYSTEM_TIME AUTO", "CREATE TABLE T2 (id int PRIMARY KEY, v int) WITH SYSTEM VERSIONING"
              " PARTITION BY SYSTEM_TIME INTERVAL 1 WEEK AUTO PARTITIONS 3", "INSERT INTO T2 VALUES (1, 1), (2, 2); UPDATE T2 SET v = 3 WHERE id = 1; DELETE FROM T2 WHERE id = 2", structure=False),
        Entry("ma_convert_list", "PARTITION CONVERT", "ALTER TABLE T CONVERT PARTITION p2 TO TABLE T_out", "INSERT INTO T VALUES (9, 1, 'n'); INSERT INTO T_out VALUES (8, 3, 'm')", before="", setup="""
CREATE TABLE T (id int NOT NULL, k int NOT NULL, v varchar(20), PRIMARY KEY (id, k))
 PARTITION BY LIST (k) (PARTITION p1 VALUES IN (1, 2), PARTITION p2 VALUES IN (3, 4));
INSERT INTO T VALUES (1, 1, 'a'), (2, 3, 'b'), (3, 4, NULL)""", verdict=RELOAD),
        Entry("ma_versioned_one_column", "WITH SYSTEM VERSIONING (column)", "CREATE TABLE T2 (id int PRIMARY KEY, v int WITH SYSTEM VERSIONING, w int)",
              "INSERT INTO T2 VALUES (1, 1, 1); UPDATE T2 SET w = 2; UPDATE T2 SET v = 2; DELETE FROM T2 WHERE id = 1; INSERT INTO T2 VALUES (3, 3, NULL)", structure=False),
        Entry("ma_backup_stage", "BACKUP STAGE", "BEGIN; BACKUP STAGE START; BACKUP STAGE FLUSH; BACKUP STAGE END; COMMIT", ROW5, alone=True),
        Entry("ma_kill_user", "KILL", "KILL QUERY USER 'T_u'@'localhost'", ROW5, alone=True),
        Entry("ma_shutdown", "SHUTDOWN", "", verdict=ENDS, load=ENDS),
        Entry("ma_engine_options", "TABLE OPTIONS by engine", "SET sql_mode = 'IGNORE_BAD_TABLE_OPTIONS'; CREATE TABLE T2 (id int PRIMARY KEY, v int no_option=5)"
              " other_option='x; y' PAGE_COMPRESSED=1 PAGE_COMPRESSION_LEVEL=3", "INSERT INTO T2 VALUES (1, 1)", alone=True, structure=False),
        Entry("ma_period_foreign", "CREATE TABLE WITH PERIOD and FOREIGN KEY", "CREATE TABLE T2 (id int, s date, e date, t int, PERIOD FOR p (s, e), PRIMARY KEY (id, s),"
              " FOREIGN KEY (t) REFERENCES T (id) ON DELETE CASCADE)", "INSERT INTO T2 VALUES (1, '2020-01-01', '2021-01-01', 1), (2, '2020-01-01', '2021-01-01', 3);"
              "DELETE FROM T2 FOR PORTION OF p FROM '2020-03-01' TO '2020-04-01' WHERE id = 1; DELETE FROM T WHERE id = 3", structure=False),
        Entry("ma_alter_algorithm", "alter_algorithm", "SET alter_algorithm = 'COPY'; ALTER TABLE T ADD c int DEFAULT 3; SET alter_algorithm = 'DEFAULT'", "INSERT INTO T (id) VALUES (5)", alone=True),
        Entry("ma_two_phase", "binlog_alter_two_phase", "SET binlog_alter_two_phase = 1; ALTER TABLE T ADD c int DEFAULT 8; INSERT INTO T (id) VALUES (6); ALTER TABLE T DROP c, ADD d int DEFAULT 9;"
              "SET binlog_alter_two_phase = 0", "INSERT INTO T (id) VALUES (5)", alone=True, verdict=LOSSY),
        Entry("ma_two_phase_add", "binlog_alter_two_phase", "SET binlog_alter_two_phase = 1; ALTER TABLE T ADD c int DEFAULT 8, ALGORITHM=COPY; INSERT INTO T (id) VALUES (6);"
              "ALTER TABLE T MODIFY a bigint, ALGORITHM=COPY; SET binlog_alter_two_phase = 0", "INSERT INTO T (id, a) VALUES (5, 50000000000)", alone=True),
        Entry("ma_two_phase_failed", "binlog_alter_two_phase", "SET binlog_alter_two_phase = 1; ALTER TABLE T ADD UNIQUE T_u (b), ADD c int DEFAULT 8, ALGORITHM=COPY;"
              "SET binlog_alter_two_phase = 0", ROW5, alone=True, tolerant=True, before="UPDATE T SET b = 'same'"),
        Entry("ma_truncate_history", "TRUNCATE HISTORY", "TRUNCATE T", REPEATED, setup=VERSIONED, structure=False, tolerant=True),
        Entry("ma_load_local", "LOAD DATA LOCAL", "LOAD DATA LOCAL INFILE 'tests/manuals/rows.csv' REPLACE INTO TABLE T FIELDS TERMINATED BY ',' ENCLOSED BY '\"' (id, a, b)", ROW5.replace("5, 5", "50, 5")),
        Entry("ma_install_soname", "INSTALL SONAME", "INSTALL SONAME 'T_none'", ROW5, alone=True, tolerant=True),
        Entry("ma_not_atomic", "BEGIN NOT ATOMIC", "EXECUTE IMMEDIATE 'BEGIN NOT ATOMIC INSERT INTO T VALUES (50, 5, ''x''); ALTER TABLE T ADD c int DEFAULT 3; INSERT INTO T VALUES (51, 5, ''y'', 1); END'",
              "INSERT INTO T VALUES (5, 5, 'x', 2)", alone=True),
    ),
)
