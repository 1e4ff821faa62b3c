"""PostgreSQL 15 and 18: partitioned tables."""

# fmt: off
from __future__ import annotations

from dataclasses import replace

from tests.manuals.entries import LOSSY, NO_UNDO, RELOAD, Absent, Chapter, Entry, Refused

PG18 = ("pg18",)
ROW = "INSERT INTO T VALUES (9, '2025-06-06', 'nine'); UPDATE T SET v = 'x' WHERE id = 3"
LIST = """
CREATE TABLE T (id int, k int, v text, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
CREATE TABLE T_1 PARTITION OF T FOR VALUES IN (1, 2);
INSERT INTO T VALUES (1, 1, 'a'), (2, 2, 'b')"""
HASH = """
CREATE TABLE T (id int PRIMARY KEY, v text) PARTITION BY HASH (id);
CREATE TABLE T_0 PARTITION OF T FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE T_1 PARTITION OF T FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO T VALUES (1, 'a'), (2, 'b'), (3, NULL)"""
INTERRUPTED = Absent("Only after DETACH CONCURRENTLY was interrupted.")
NINETEEN = Absent("Of PostgreSQL 19.")
UNLOGGED = Refused("SCHEMA_CHANGE_REFUSED", why="The rows of an unlogged partition are in no log.")
UNLOGGED_START = Refused("INVALID_CONFIG", why="The rows of an unlogged partition are in no log.")
INFINITE = Refused("ROW_REJECTED", options={"type_overrides": [{"from": "date", "type": "text"}]})
PUBLISHED = Refused("LOG_LOST", why="The log has the changes under the partitions from there on.")

CHAPTER = Chapter(
    statement="partitions",
    section="PostgreSQL 18 5.12 Table Partitioning; ALTER TABLE ATTACH, DETACH; CREATE TABLE PARTITION OF",
    servers=("pg15", "pg18"),
    setup="""
CREATE TABLE T (id int, day date, v text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE T_22 PARTITION OF T FOR VALUES FROM ('2022-01-01') TO ('2023-01-01');
CREATE TABLE T_23 PARTITION OF T FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
CREATE TABLE T_d PARTITION OF T DEFAULT;
INSERT INTO T VALUES (1, '2022-05-05', 'a'), (2, '2023-01-01', 'b'), (3, '2025-01-01', NULL), (4, '2022-01-01', 'd')""",
    before="UPDATE T SET v = v || '!'; DELETE FROM T WHERE id = 4",
    entries=(
        Entry("pg_part_rows", "PARTITION BY RANGE", ROW),
        Entry("pg_part_new", "PARTITION OF FOR VALUES FROM TO",
              "CREATE TABLE T_27 PARTITION OF T FOR VALUES FROM ('2027-01-01') TO (MAXVALUE)",
              "INSERT INTO T VALUES (9, '2027-03-03', 'new'); INSERT INTO T_27 VALUES (10, '2028-01-01', 'direct')"),
        Entry("pg_part_new_no_default", "PARTITION OF FOR VALUES IN",
              "CREATE TABLE T_3 PARTITION OF T FOR VALUES IN (3, NULL)", "INSERT INTO T VALUES (3, 3, 'c')", setup=LIST,
              before="UPDATE T SET v = 'w'"),
        Entry("pg_part_new_empty", "PARTITION OF FOR VALUES IN", "CREATE TABLE T_3 PARTITION OF T FOR VALUES IN (3)",
              "INSERT INTO T VALUES (4, 1, 'd')", setup=LIST, before=""),
        Entry("pg_part_default", "PARTITION OF DEFAULT", "CREATE TABLE T_d PARTITION OF T DEFAULT",
              "INSERT INTO T VALUES (30, 30, 'thirty')", setup=LIST, before=""),
        Entry("pg_part_hash", "PARTITION OF FOR VALUES WITH", "INSERT INTO T SELECT g, 'h' FROM generate_series(10, 30) g",
              "UPDATE T SET v = 'x' WHERE id = 12; DELETE FROM T WHERE id = 11; UPDATE T SET id = 99 WHERE id = 10",
              setup=HASH, before=""),
        Entry("pg_part_own_columns", "PARTITION OF (column options)",
              "CREATE TABLE T_27 PARTITION OF T (v NOT NULL DEFAULT 'own') FOR VALUES FROM ('2027-01-01') TO ('2028-01-01')",
              "INSERT INTO T_27 (id, day) VALUES (9, '2027-03-03')"),
        Entry("pg_part_sub", "PARTITION OF ... PARTITION BY",
              "CREATE TABLE T_27 PARTITION OF T FOR VALUES FROM ('2027-01-01') TO ('2028-01-01') PARTITION BY HASH (id);"
              "CREATE TABLE T_27a PARTITION OF T_27 FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
              "INSERT INTO T VALUES (9, '2027-03-03', 'sub')"),
        Entry("pg_part_new_root", "PARTITION BY RANGE",
              "CREATE TABLE T2 (id int PRIMARY KEY) PARTITION BY RANGE (id);"
              "CREATE TABLE T_21 PARTITION OF T2 FOR VALUES FROM (MINVALUE) TO (10)", "INSERT INTO T2 VALUES (1), (2)"),
        Entry("pg_part_expression", "PARTITION BY (expr)",
              "CREATE TABLE T2 (id int, v text) PARTITION BY LIST ((id % 2)); ALTER TABLE T2 REPLICA IDENTITY FULL;"
              "CREATE TABLE T_20 PARTITION OF T2 FOR VALUES IN (0); ALTER TABLE T_20 REPLICA IDENTITY FULL",
              "INSERT INTO T2 VALUES (2, 'x'); UPDATE T2 SET v = 'y'"),
        Entry("pg_part_attach_empty", "ATTACH PARTITION",
              "CREATE TABLE T_27 (LIKE T INCLUDING ALL); ALTER TABLE T ATTACH PARTITION T_27 FOR VALUES FROM ('2027-01-01') TO ('2028-01-01')",
              "INSERT INTO T VALUES (9, '2027-03-03', 'new')"),
        Entry("pg_part_attach_first", "ATTACH PARTITION",
              "CREATE TABLE T_1 (id int, k int, v text, PRIMARY KEY (id, k)); ALTER TABLE T ATTACH PARTITION T_1 FOR VALUES IN (1, 2)",
              "INSERT INTO T VALUES (1, 1, 'a'); INSERT INTO T_1 VALUES (2, 2, 'b')",
              setup="CREATE TABLE T (id int, k int, v text, PRIMARY KEY (id, k)) PARTITION BY LIST (k)", before="", verdict=RELOAD),
        Entry("pg_part_attach_rows", "ATTACH PARTITION",
              "CREATE TABLE T_27 (LIKE T INCLUDING ALL); INSERT INTO T_27 VALUES (8, '2027-02-02', 'was there');"
              "ALTER TABLE T ATTACH PARTITION T_27 FOR VALUES FROM ('2027-01-01') TO ('2028-01-01')",
              "INSERT INTO T VALUES (9, '2027-03-03', 'new')", verdict=RELOAD),
        Entry("pg_part_attach_followed", "ATTACH PARTITION",
              "ALTER TABLE T ATTACH PARTITION T_f FOR VALUES IN (7)", "INSERT INTO T VALUES (9, 7, 'new')",
              setup=LIST + "; CREATE TABLE T_f (LIKE T INCLUDING ALL); INSERT INTO T_f VALUES (7, 7, 'seven')", before="",
              verdict=RELOAD),
        Entry("pg_part_detach", "DETACH PARTITION", "ALTER TABLE T DETACH PARTITION T_22", ROW, verdict=RELOAD),
        Entry("pg_part_detach_alone", "DETACH PARTITION", "ALTER TABLE T DETACH PARTITION T_22", verdict=RELOAD),
        Entry("pg_part_detach_concurrently", "DETACH PARTITION CONCURRENTLY",
              "DROP TABLE T_d; ALTER TABLE T DETACH PARTITION T_22 CONCURRENTLY", "INSERT INTO T VALUES (7, '2023-05-05', 'y')",
              verdict=RELOAD, alone=True),
        Entry("pg_part_detach_write", "DETACH PARTITION", "ALTER TABLE T DETACH PARTITION T_22; UPDATE T_22 SET v = 'alone'", ROW,
              verdict=RELOAD),
        Entry("pg_part_detach_drop", "DETACH PARTITION | DROP TABLE", "ALTER TABLE T DETACH PARTITION T_22; DROP TABLE T_22", ROW,
              verdict=LOSSY),  # bare: read again where no look saw it alone
        Entry("pg_part_drop", "DROP TABLE", "DROP TABLE T_22", ROW, verdict=RELOAD),
        Entry("pg_part_drop_root", "DROP TABLE", "DROP TABLE T", verdict=LOSSY, on={"within mysql": replace(NO_UNDO, target="DROP TABLE T")}),
        Entry("pg_part_new_then_drop_root", "PARTITION OF | DROP TABLE",
              "CREATE TABLE T_3 PARTITION OF T FOR VALUES IN (3, NULL); INSERT INTO T VALUES (3, 3, 'c'); DROP TABLE T",
              setup=LIST, before="", verdict=LOSSY, on={"within mysql": replace(NO_UNDO, target="DROP TABLE T")}),
        Entry("pg_part_truncate_one", "TRUNCATE", "TRUNCATE T_23", ROW, verdict=RELOAD),
        Entry("pg_part_truncate_new", "TRUNCATE",
              "CREATE TABLE T_27 PARTITION OF T FOR VALUES FROM ('2027-01-01') TO ('2028-01-01');"
              "INSERT INTO T VALUES (7, '2027-03-03', 'gone'); TRUNCATE T_27", ROW, verdict=RELOAD),
        Entry("pg_part_come_and_go", "PARTITION OF | DROP TABLE",
              "CREATE TABLE T_27 PARTITION OF T FOR VALUES FROM ('2027-01-01') TO ('2028-01-01');"
              "INSERT INTO T VALUES (7, '2027-03-03', 'gone'); DROP TABLE T_27", ROW, verdict=RELOAD),
        Entry("pg_part_come_and_leave", "PARTITION OF | DETACH PARTITION",
              "CREATE TABLE T_27 PARTITION OF T FOR VALUES FROM ('2027-01-01') TO ('2028-01-01');"
              "INSERT INTO T VALUES (7, '2027-03-03', 'gone'); ALTER TABLE T DETACH PARTITION T_27", ROW, verdict=RELOAD),
        Entry("pg_part_away_and_back", "DETACH PARTITION | ATTACH PARTITION",
              "ALTER TABLE T DETACH PARTITION T_22; UPDATE T_22 SET v = 'alone';"
              "ALTER TABLE T ATTACH PARTITION T_22 FOR VALUES FROM ('2022-01-01') TO ('2023-01-01')", ROW, verdict=RELOAD),
        Entry("pg_part_truncate_root", "TRUNCATE", "TRUNCATE T", "INSERT INTO T VALUES (9, '2025-06-06', 'nine')"),
        Entry("pg_part_truncate_only_row", "TRUNCATE", "TRUNCATE ONLY T_23", ROW, verdict=RELOAD),
        Entry("pg_part_move_row", "UPDATE", "UPDATE T SET day = '2022-12-12' WHERE id = 3; UPDATE T SET day = '2023-12-12', v = 'm' WHERE id = 1"),
        Entry("pg_part_direct", "PARTITION OF", "INSERT INTO T_22 VALUES (11, '2022-06-06', 'd'); UPDATE T_22 SET v = 'direct'; DELETE FROM ONLY T_23"),
        Entry("pg_part_index", "CREATE INDEX", "CREATE INDEX T_i ON T (v)", ROW),
        Entry("pg_part_index_only", "CREATE INDEX ON ONLY | ALTER INDEX ATTACH PARTITION",
              "CREATE INDEX T_i ON ONLY T (v); CREATE INDEX T_i22 ON T_22 (v); ALTER INDEX T_i ATTACH PARTITION T_i22", ROW, structure=False),
        Entry("pg_part_index_then_all", "CREATE INDEX ON ONLY | ALTER INDEX ATTACH PARTITION",
              "CREATE INDEX T_i ON ONLY T (v); CREATE INDEX T_i22 ON T_22 (v); ALTER INDEX T_i ATTACH PARTITION T_i22;"
              "INSERT INTO T VALUES (8, '2022-07-07', 'between'); CREATE INDEX T_i23 ON T_23 (v); ALTER INDEX T_i ATTACH PARTITION T_i23;"
              "CREATE INDEX T_id ON T_d (v); ALTER INDEX T_i ATTACH PARTITION T_id", ROW),
        Entry("pg_part_own_key", "CREATE INDEX",
              "CREATE TABLE T2 (id int NOT NULL, v text) PARTITION BY RANGE (id);"
              "CREATE TABLE T2_a PARTITION OF T2 FOR VALUES FROM (0) TO (10); ALTER TABLE T2_a ADD PRIMARY KEY (id);"
              "CREATE UNIQUE INDEX T_u ON T2 (id); ALTER TABLE T2 REPLICA IDENTITY USING INDEX T_u;"
              "ALTER TABLE T2_a REPLICA IDENTITY FULL",
              "INSERT INTO T2 VALUES (1, 'one')"),
        Entry("pg_part_own_index", "CREATE INDEX", "CREATE INDEX ON T_22 (v) WHERE v > 'a'; CREATE INDEX ON T (v)", ROW),
        Entry("pg_part_own_constraints", "CREATE INDEX | FOREIGN KEY",
              "CREATE TABLE T2 (id int PRIMARY KEY); INSERT INTO T2 VALUES (1), (9);"
              "ALTER TABLE T_22 ADD CONSTRAINT T_22_c CHECK (id > 0), ADD CONSTRAINT T_22_f FOREIGN KEY (id) REFERENCES T2,"
              " ADD CONSTRAINT T_22_u UNIQUE (v); ALTER TABLE T_22 ALTER v SET DEFAULT 'own'", "INSERT INTO T_22 (id, day) VALUES (9, '2022-06-06')"),
        Entry("pg_part_own_renamed", "CREATE INDEX",
              "CREATE INDEX T_22_own ON T_22 (v) WHERE v > 'a'; ALTER TABLE T RENAME v TO w; ALTER INDEX T_22_own RENAME TO T_22_mine",
              "INSERT INTO T VALUES (9, '2022-06-06', 'nine')", servers=PG18, on={"within mysql": NO_UNDO}),
        Entry("pg_part_add_column", "ADD COLUMN", "ALTER TABLE T ADD c int DEFAULT 5", "INSERT INTO T VALUES (9, '2025-06-06', 'nine', 6)"),
        Entry("pg_part_drop_column", "DROP COLUMN", "ALTER TABLE T DROP v", "INSERT INTO T VALUES (9, '2025-06-06')", verdict=LOSSY, on={"within mysql": NO_UNDO}),
        Entry("pg_part_attach_followed_at_once", "ATTACH PARTITION",
              "BEGIN; ALTER TABLE T ATTACH PARTITION T_27 FOR VALUES FROM ('2027-01-01') TO ('2028-01-01');"
              "INSERT INTO T VALUES (9, '2027-03-03', 'nine'); COMMIT",
              "INSERT INTO T_27 VALUES (10, '2027-03-03', 'zehn')", verdict=RELOAD, setup="""
CREATE TABLE T (id int, day date, v text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE T_d PARTITION OF T DEFAULT;
CREATE TABLE T_27 (id int NOT NULL, day date NOT NULL, v text, PRIMARY KEY (id, day));
INSERT INTO T_27 VALUES (7, '2027-05-05', 'g'); INSERT INTO T VALUES (1, '2022-05-05', 'a')"""),
        Entry("pg_part_other_order", "ATTACH PARTITION",
              "CREATE TABLE T_27 (v text, extra int, day date NOT NULL, id int NOT NULL, PRIMARY KEY (id, day));"
              "ALTER TABLE T_27 DROP extra; ALTER TABLE T ATTACH PARTITION T_27 FOR VALUES FROM ('2027-01-01') TO ('2028-01-01')",
              "INSERT INTO T VALUES (9, '2027-03-03', 'new')", options={"allow_lossy": True}),
        Entry("pg_part_rename", "RENAME TO", "ALTER TABLE T_22 RENAME TO T_22x", ROW),
        Entry("pg_part_rename_exchange", "RENAME TO",
              "BEGIN; ALTER TABLE T_22 RENAME TO T_x; ALTER TABLE T_23 RENAME TO T_22; ALTER TABLE T_x RENAME TO T_23; COMMIT", ROW),
        Entry("pg_part_rename_index", "RENAME TO",
              "CREATE INDEX T_v ON T (v); ALTER INDEX T_22_pkey RENAME TO T_k; ALTER INDEX T_23_v_idx RENAME TO T_y", ROW),
        Entry("pg_part_attach_index", "ATTACH PARTITION",
              "CREATE INDEX T_v ON T (v);"
              "CREATE TABLE T_27 (id int NOT NULL, day date NOT NULL, v text, CONSTRAINT T_own PRIMARY KEY (id, day));"
              "CREATE INDEX T_ownv ON T_27 (v);"
              "ALTER TABLE T ATTACH PARTITION T_27 FOR VALUES FROM ('2027-01-01') TO ('2028-01-01')",
              "INSERT INTO T VALUES (9, '2027-03-03', 'nine')", verdict=RELOAD),
        Entry("pg_part_rename_root", "RENAME TO", "ALTER TABLE T RENAME TO T_new", "INSERT INTO T_new VALUES (9, '2025-06-06', 'n')"),
        Entry("pg_part_rotate", "DETACH PARTITION | PARTITION OF",
              "CREATE TABLE T_27 PARTITION OF T FOR VALUES FROM ('2027-01-01') TO ('2028-01-01'); INSERT INTO T VALUES (9, '2027-03-03', 'new');"
              "DROP TABLE T_22", "INSERT INTO T VALUES (10, '2027-04-04', 'more')", verdict=RELOAD),
        Entry("pg_part_foreign_key", "FOREIGN KEY",
              "CREATE TABLE T2 (id int PRIMARY KEY, t int, d date, FOREIGN KEY (t, d) REFERENCES T (id, day) ON DELETE CASCADE)",
              "INSERT INTO T2 VALUES (1, 1, '2022-05-05'); DELETE FROM T WHERE id = 1"),
        Entry("pg_part_referred_drop", "FOREIGN KEY",
              "CREATE TABLE T2 (id int PRIMARY KEY, t int, d date, FOREIGN KEY (t, d) REFERENCES T (id, day) ON DELETE CASCADE);"
              "INSERT INTO T2 VALUES (1, 2, '2023-01-01'); ALTER TABLE T DETACH PARTITION T_22", ROW, verdict=RELOAD),
        Entry("pg_part_by_collate", "PARTITION BY COLLATE | PARTITION BY opclass",
              "CREATE TABLE T2 (id text, v int) PARTITION BY RANGE (id COLLATE \"C\" text_ops); ALTER TABLE T2 REPLICA IDENTITY FULL;"
              "CREATE TABLE T_21 PARTITION OF T2 FOR VALUES FROM ('a') TO ('z'); ALTER TABLE T_21 REPLICA IDENTITY FULL", "INSERT INTO T2 VALUES ('b', 1), ('bä', 2); UPDATE T2 SET v = 3 WHERE id = 'b'", structure=False),
        Entry("pg_part_finalize", "DETACH PARTITION FINALIZE", "", verdict=INTERRUPTED, load=INTERRUPTED),
        Entry("pg_part_minvalue", "PARTITION OF FOR VALUES FROM MINVALUE",
              "ALTER TABLE T DETACH PARTITION T_d; CREATE TABLE T_0 PARTITION OF T FOR VALUES FROM (MINVALUE) TO ('2022-01-01')",
              "INSERT INTO T VALUES (9, '0001-01-01', 'early'), (8, '-infinity', 'first')", verdict=RELOAD, on={"load files": INFINITE, "files": INFINITE, "mysql": Refused("ROW_REJECTED"), "load mysql": Refused("ROW_REJECTED")}),
        Entry("pg_part_foreign", "partition of a foreign table",
              "CREATE FOREIGN DATA WRAPPER T_w; CREATE SERVER T_sv FOREIGN DATA WRAPPER T_w; CREATE FOREIGN TABLE T_ft PARTITION OF T FOR VALUES FROM ('2027-01-01') TO ('2028-01-01') SERVER T_sv", ROW,
              tolerant=True),
        Entry("pg_part_unlogged", "partition that is unlogged",
              "CREATE UNLOGGED TABLE T_27 PARTITION OF T FOR VALUES FROM ('2027-01-01') TO ('2028-01-01')", "INSERT INTO T VALUES (9, '2027-03-03', 'lost'), (10, '2025-03-03', 'logged')",
              verdict=UNLOGGED, load=UNLOGGED_START),
        Entry("pg_part_attach_default", "ATTACH PARTITION DEFAULT",
              "CREATE TABLE T_x (LIKE T INCLUDING ALL); INSERT INTO T_x VALUES (70, 70, 'there'); ALTER TABLE T ATTACH PARTITION T_x DEFAULT", "INSERT INTO T VALUES (30, 30, 'thirty')",
              setup=LIST, before="", verdict=RELOAD),
        Entry("pg_part_root_off", "publish_via_partition_root off",
              "DO $$ DECLARE p text; BEGIN FOR p IN SELECT pubname FROM pg_publication LOOP EXECUTE format('ALTER PUBLICATION %I SET (publish_via_partition_root = false)', p); END LOOP; END $$", ROW, verdict=PUBLISHED),
        Entry("pg_part_split", "SPLIT PARTITION | MERGE PARTITIONS", "", verdict=NINETEEN, load=NINETEEN),
    ),
)
