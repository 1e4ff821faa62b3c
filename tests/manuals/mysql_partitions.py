"""MySQL 9 and MariaDB 10.11: partitions, and statements that move rows with them."""

# fmt: off
from __future__ import annotations

from tests.manuals.entries import RELOAD, Absent, Chapter, Entry

MYSQL, MARIADB = ("mysql9",), ("mariadb",)
ROW = "INSERT INTO T VALUES (9, '2026-06-06', 'nine'); UPDATE T SET v = 'x' WHERE id = 3"
PLAIN = """
CREATE TABLE T (id int NOT NULL, day date NOT NULL, v varchar(20), PRIMARY KEY (id, day));
INSERT INTO T VALUES (1, '2022-05-05', 'a'), (2, '2023-01-01', 'b'), (3, '2025-06-06', NULL)"""
LIST = """
CREATE TABLE T (id int NOT NULL, k int NOT NULL, v varchar(20), PRIMARY KEY (id, k))
 PARTITION BY LIST (k) (PARTITION p1 VALUES IN (1, 2), PARTITION p2 VALUES IN (3, 4));
INSERT INTO T VALUES (1, 1, 'a'), (2, 3, 'b'), (3, 4, NULL)"""
HASH = """
CREATE TABLE T (id int NOT NULL PRIMARY KEY, v varchar(20)) PARTITION BY HASH (id) PARTITIONS 4;
INSERT INTO T VALUES (1, 'a'), (2, 'b'), (3, NULL), (4, 'd')"""
HASHED = "INSERT INTO T VALUES (9, 'nine'); UPDATE T SET v = 'x' WHERE id = 3"
PLACES = Absent("A place of the server's files: `my_connection_option` plays what ALTER TABLE makes of it.")
BY_HAND = Absent("Files are laid into the server's directory by hand: no statement does it alone.")

CHAPTER = Chapter(
    statement="partition options",
    section="MySQL 15.1.11.1 ALTER TABLE Partition Operations; MariaDB Partitioning",
    servers=("mysql9", "mariadb"),
    setup="""
CREATE TABLE T (id int NOT NULL, day date NOT NULL, v varchar(20), PRIMARY KEY (id, day))
 PARTITION BY RANGE (YEAR(day)) (PARTITION p22 VALUES LESS THAN (2023),
 PARTITION p23 VALUES LESS THAN (2024), PARTITION pmax VALUES LESS THAN MAXVALUE);
INSERT INTO T VALUES (1, '2022-05-05', 'a'), (2, '2023-01-01', 'b'), (3, '2025-06-06', NULL),
 (4, '2023-12-31', 'd');
CREATE TABLE T_st (id int NOT NULL, day date NOT NULL, v varchar(20), PRIMARY KEY (id, day));
INSERT INTO T_st VALUES (90, '2023-03-03', 'x'), (91, '2023-04-04', 'y')""",
    before="UPDATE T SET v = concat(v, '!'); DELETE FROM T WHERE id = 4",
    entries=(
        Entry("my_part_range", "PARTITION BY RANGE",
              "ALTER TABLE T PARTITION BY RANGE (YEAR(day)) (PARTITION p0 VALUES LESS THAN (2024),"
              " PARTITION p1 VALUES LESS THAN MAXVALUE)", ROW, setup=PLAIN),
        Entry("my_part_range_columns", "PARTITION BY RANGE COLUMNS",
              "ALTER TABLE T PARTITION BY RANGE COLUMNS (day, id) (PARTITION p0 VALUES LESS THAN ('2024-01-01', 5),"
              " PARTITION p1 VALUES LESS THAN (MAXVALUE, MAXVALUE))", ROW, setup=PLAIN),
        Entry("my_part_list", "PARTITION BY LIST", "ALTER TABLE T DROP PARTITION p1",
              "INSERT INTO T VALUES (9, 3, 'n')", setup=LIST, verdict=RELOAD),
        Entry("my_part_hash", "PARTITION BY HASH | PARTITION BY LINEAR HASH",
              "ALTER TABLE T PARTITION BY LINEAR HASH (id) PARTITIONS 3", ROW, setup=PLAIN),
        Entry("my_part_key", "PARTITION BY KEY", "ALTER TABLE T PARTITION BY KEY ALGORITHM=2 (id) PARTITIONS 2",
              ROW, setup=PLAIN),
        Entry("my_part_sub", "SUBPARTITION BY",
              "ALTER TABLE T PARTITION BY RANGE (YEAR(day)) SUBPARTITION BY HASH (id) SUBPARTITIONS 2"
              " (PARTITION p0 VALUES LESS THAN (2024), PARTITION p1 VALUES LESS THAN MAXVALUE);"
              "ALTER TABLE T TRUNCATE PARTITION p0", ROW, setup=PLAIN, verdict=RELOAD),
        Entry("my_part_create", "PARTITION BY HASH",
              "CREATE TABLE T2 (id int PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 2",
              "INSERT INTO T2 VALUES (1), (2)"),
        Entry("my_part_add", "ADD PARTITION",
              "ALTER TABLE T ADD PARTITION (PARTITION p5 VALUES IN (5, 6))",
              "INSERT INTO T VALUES (9, 5, 'n')", setup=LIST),
        Entry("my_part_add_hash", "ADD PARTITION | COALESCE PARTITION",
              "ALTER TABLE T ADD PARTITION PARTITIONS 2; ALTER TABLE T COALESCE PARTITION 3", HASHED,
              setup=HASH),
        Entry("my_part_drop", "DROP PARTITION", "ALTER TABLE T DROP PARTITION p22", ROW, verdict=RELOAD),
        Entry("my_part_drop_two", "DROP PARTITION", "ALTER TABLE T DROP PARTITION p22, p23", ROW,
              verdict=RELOAD),
        Entry("my_part_drop_empty", "DROP PARTITION",
              "DELETE FROM T WHERE day < '2023-01-01'; ALTER TABLE T DROP PARTITION p22", ROW),
        Entry("my_part_drop_if", "DROP PARTITION IF EXISTS",
              "ALTER TABLE T DROP PARTITION IF EXISTS p22, pnone", ROW, verdict=RELOAD, servers=MARIADB),
        Entry("my_part_truncate", "TRUNCATE PARTITION", "ALTER TABLE T TRUNCATE PARTITION p23", ROW,
              verdict=RELOAD),
        Entry("my_part_truncate_all", "TRUNCATE PARTITION", "ALTER TABLE T TRUNCATE PARTITION ALL", ROW
              .split(";")[0], verdict=RELOAD),
        Entry("my_part_truncate_hash", "TRUNCATE PARTITION", "ALTER TABLE T TRUNCATE PARTITION p1", HASHED,
              setup=HASH, verdict=RELOAD),
        Entry("my_part_exchange", "EXCHANGE PARTITION",
              "ALTER TABLE T EXCHANGE PARTITION p23 WITH TABLE T_st", ROW, verdict=RELOAD),
        Entry("my_part_exchange_novalid", "EXCHANGE PARTITION | WITHOUT VALIDATION",
              "ALTER TABLE T EXCHANGE PARTITION p23 WITH TABLE T_st WITHOUT VALIDATION", ROW,
              verdict=RELOAD, servers=MYSQL),
        Entry("my_part_reorganize", "REORGANIZE PARTITION",
              "ALTER TABLE T REORGANIZE PARTITION pmax INTO (PARTITION p25 VALUES LESS THAN (2026),"
              " PARTITION pmax VALUES LESS THAN MAXVALUE)", ROW),
        Entry("my_part_reorganize_hash", "REORGANIZE PARTITION", "ALTER TABLE T REORGANIZE PARTITION", HASHED,
              setup=HASH, servers=("mysql9", "mariadb")),
        Entry("my_part_remove", "REMOVE PARTITIONING", "ALTER TABLE T REMOVE PARTITIONING", ROW),
        Entry("my_part_alter_both", "several alter options",
              "ALTER TABLE T ADD w int DEFAULT 3 PARTITION BY HASH (id) PARTITIONS 2",
              "INSERT INTO T VALUES (9, '2026-06-06', 'nine', 1)"),
        Entry("my_part_rebuild", "REBUILD PARTITION | OPTIMIZE PARTITION | ANALYZE PARTITION | CHECK PARTITION"
              " | REPAIR PARTITION", "ALTER TABLE T REBUILD PARTITION p22; ALTER TABLE T OPTIMIZE PARTITION p22;"
              "ALTER TABLE T ANALYZE PARTITION ALL; ALTER TABLE T CHECK PARTITION p22;"
              "ALTER TABLE T REPAIR PARTITION p22", ROW, alone=True),
        Entry("my_part_move_row", "UPDATE", "UPDATE T SET day = '2022-12-12' WHERE id = 3", ROW.split(";")[0]),
        Entry("my_part_selection", "DELETE PARTITION | INSERT PARTITION | UPDATE PARTITION",
              "DELETE FROM T PARTITION (p22); INSERT INTO T PARTITION (p23) VALUES (6, '2023-09-09', 'p');"
              "UPDATE T PARTITION (p23) SET v = 'upd'", ROW),
        Entry("ma_part_convert_out", "CONVERT PARTITION TO TABLE",
              "ALTER TABLE T CONVERT PARTITION p23 TO TABLE T_out", ROW, verdict=RELOAD, servers=MARIADB),
        Entry("ma_part_convert_in", "CONVERT TABLE TO PARTITION",
              "ALTER TABLE T DROP PARTITION pmax; CREATE TABLE T_late LIKE T_st;"
              "INSERT INTO T_late VALUES (7, '2025-07-07', 'late');"
              "ALTER TABLE T CONVERT TABLE T_late TO PARTITION p25 VALUES LESS THAN (2026)", "",
              verdict=RELOAD, servers=MARIADB),
        Entry("ma_part_system_time", "PARTITION BY SYSTEM_TIME",
              "CREATE TABLE T2 (id int PRIMARY KEY) WITH SYSTEM VERSIONING PARTITION BY SYSTEM_TIME"
              " (PARTITION p0 HISTORY, PARTITION pn CURRENT)",
              "INSERT INTO T2 VALUES (1), (2); UPDATE T2 SET id = 3 WHERE id = 1; DELETE FROM T2 WHERE id = 2;"
              "ALTER TABLE T2 TRUNCATE PARTITION p0", servers=MARIADB),
        Entry("my_part_discard", "DISCARD PARTITION TABLESPACE",
              "BEGIN; ALTER TABLE T DISCARD PARTITION p22 TABLESPACE; ALTER TABLE T DROP PARTITION p22; COMMIT", ROW, verdict=RELOAD, servers=MYSQL, alone=True),
        Entry("my_part_import", "IMPORT PARTITION TABLESPACE | IMPORT PARTITION without cfg", "", verdict=BY_HAND, load=BY_HAND),
        Entry("my_part_list_columns", "PARTITION BY LIST COLUMNS",
              "ALTER TABLE T PARTITION BY LIST COLUMNS (day) (PARTITION p0 VALUES IN ('2022-05-05', '2023-01-01'), PARTITION p1 VALUES IN ('2025-06-06', '2026-06-06'));"
              "ALTER TABLE T TRUNCATE PARTITION p0", ROW, setup=PLAIN, before="", verdict=RELOAD),
        Entry("my_part_options", "PARTITION MAX_ROWS | SUBPARTITION names",
              "ALTER TABLE T PARTITION BY RANGE (YEAR(day)) SUBPARTITION BY HASH (id) (PARTITION p0 VALUES LESS THAN (2024) MAX_ROWS = 9 MIN_ROWS = 1 COMMENT = 'of; p0'"
              " (SUBPARTITION s0, SUBPARTITION s1), PARTITION p1 VALUES LESS THAN MAXVALUE (SUBPARTITION s2, SUBPARTITION s3));"
              "ALTER TABLE T TRUNCATE PARTITION p0", ROW, setup=PLAIN, verdict=RELOAD),
        Entry("my_part_directory", "PARTITION DATA DIRECTORY", "", verdict=PLACES, load=PLACES),
        Entry("my_part_replace", "REPLACE PARTITION", "REPLACE INTO T PARTITION (p23) VALUES (2, '2023-01-01', 'rep'), (6, '2023-09-09', NULL)", ROW),
        Entry("ma_part_interval", "PARTITION BY SYSTEM_TIME INTERVAL",
              "CREATE TABLE T2 (id int PRIMARY KEY, v int) WITH SYSTEM VERSIONING PARTITION BY SYSTEM_TIME INTERVAL 1 MONTH (PARTITION p0 HISTORY, PARTITION pn CURRENT)",
              "INSERT INTO T2 VALUES (1, 1), (2, 2); UPDATE T2 SET v = 3 WHERE id = 1; DELETE FROM T2 WHERE id = 2", servers=MARIADB, structure=False),
        Entry("ma_part_limit", "PARTITION BY SYSTEM_TIME LIMIT",
              "CREATE TABLE T2 (id int PRIMARY KEY, v int) WITH SYSTEM VERSIONING PARTITION BY SYSTEM_TIME LIMIT 2 (PARTITION p0 HISTORY, PARTITION p1 HISTORY, PARTITION pn CURRENT)",
              "INSERT INTO T2 VALUES (1, 1), (2, 2); UPDATE T2 SET v = v + 1; UPDATE T2 SET v = v + 1; UPDATE T2 SET v = v + 1; DELETE FROM T2 WHERE id = 2;"
              "ALTER TABLE T2 DROP PARTITION p0", servers=MARIADB, structure=False),
    ),
)
