"""PostgreSQL 15 and 18: ALTER TABLE of columns, constraints and properties."""

# fmt: off
from __future__ import annotations

from dataclasses import replace

from tests.manuals.entries import (
    LOSSY,
    NO_UNDO,
    RELOAD,
    Absent,
    Carried,
    Chapter,
    Entry,
    Refused,
)

PG18 = ("pg18",)
ROW5 = "INSERT INTO T (id, a, b) VALUES (5, 5, 'five'); UPDATE T SET b = 'eins' WHERE id = 1"
CHECKED = """
CREATE TABLE T (id int PRIMARY KEY, a int CONSTRAINT T_c CHECK (a < 100), b text);
INSERT INTO T VALUES (1, 10, 'one'), (2, NULL, ''), (3, -1, 'drei'), (4, 99, ' x ')"""
GENERATED = """
CREATE TABLE T (id int PRIMARY KEY, a int, b text, g int GENERATED ALWAYS AS (a * 2) STORED);
INSERT INTO T VALUES (1, 10, 'one'), (2, NULL, ''), (3, -1, 'drei'), (4, 99, ' x ')"""
NULLABLE = """
CREATE TABLE T (id int, a int NOT NULL, b text);
INSERT INTO T VALUES (1, 10, 'one'), (2, 0, ''), (3, -1, 'drei'), (4, 99, ' x ');
ALTER TABLE T REPLICA IDENTITY FULL"""
KEYED = """
CREATE TABLE T (id int, a int NOT NULL, b text, c int, CONSTRAINT T_pk PRIMARY KEY (id));
INSERT INTO T VALUES (1, 1, 'one', 1), (2, 1, 'two', 2)"""
TWO = """
CREATE TABLE T2 (id int PRIMARY KEY); INSERT INTO T2 VALUES (9), (0), (-2), (10), (-1), (2147483647);
CREATE TABLE T (id int PRIMARY KEY, a int CONSTRAINT T_fk REFERENCES T2, b text);
INSERT INTO T VALUES (1, 10, 'one'), (2, NULL, ''), (3, -1, 'drei'), (4, 9, ' x ')"""
FAMILY = """
CREATE TABLE T (id int PRIMARY KEY, a int, b text); CREATE TABLE T2 (own int, PRIMARY KEY (id)) INHERITS (T);
INSERT INTO T VALUES (1, 1, 'one'); INSERT INTO T2 VALUES (2, 2, 'two', 22)"""

CHAPTER = Chapter(
    statement="ALTER TABLE",
    section="PostgreSQL 18 ALTER TABLE",
    servers=("pg15", "pg18"),
    setup="""
CREATE TABLE T (id int PRIMARY KEY, a int, b text);
INSERT INTO T VALUES (1, 10, 'one'), (2, NULL, ''), (3, -1, 'drei'), (4, 2147483647, ' x ')""",
    before="UPDATE T SET a = a - 1 WHERE id < 4; DELETE FROM T WHERE id = 4",
    entries=(
        Entry("pg_add_column", "ADD COLUMN", "ALTER TABLE T ADD COLUMN c int",
              "INSERT INTO T VALUES (5, 5, 'five', 50); UPDATE T SET c = 1 WHERE id = 1"),
        Entry("pg_add_alone", "ADD COLUMN", "ALTER TABLE T ADD c int DEFAULT 7"),
        Entry("pg_add_if_not_exists", "ADD COLUMN IF NOT EXISTS",
              "ALTER TABLE T ADD IF NOT EXISTS a bigint, ADD IF NOT EXISTS c int",
              "INSERT INTO T VALUES (5, 5, 'five', 50)"),
        Entry("pg_add_several", "ADD COLUMN",
              "ALTER TABLE T ADD c int DEFAULT 1, ADD d text DEFAULT 'd''d', ADD e date",
              "INSERT INTO T (id, d) VALUES (5, NULL)"),
        Entry("pg_add_not_null_default", "ADD COLUMN DEFAULT | ADD COLUMN NOT NULL",
              "ALTER TABLE T ADD c int NOT NULL DEFAULT 7", "INSERT INTO T (id) VALUES (5)"),
        Entry("pg_add_default_then_set", "ADD COLUMN DEFAULT | ALTER COLUMN SET DEFAULT",
              "ALTER TABLE T ADD s text DEFAULT 'old'; ALTER TABLE T ALTER s SET DEFAULT 'new'",
              "INSERT INTO T (id) VALUES (5)"),
        Entry("pg_add_default_then_drop", "ADD COLUMN DEFAULT | ALTER COLUMN DROP DEFAULT",
              "ALTER TABLE T ADD n int NOT NULL DEFAULT 5; ALTER TABLE T ALTER n DROP DEFAULT",
              "INSERT INTO T VALUES (5, 5, 'five', 9)"),
        Entry("pg_add_nullable_then_drop", "ADD COLUMN DEFAULT | ALTER COLUMN DROP DEFAULT",
              "ALTER TABLE T ADD n int DEFAULT 5; ALTER TABLE T ALTER n DROP DEFAULT",
              "INSERT INTO T VALUES (5, 5, 'five', 9)"),
        Entry("pg_add_default_update_some", "ADD COLUMN DEFAULT | ALTER COLUMN SET DEFAULT",
              "ALTER TABLE T ADD n int DEFAULT 5; ALTER TABLE T ALTER n SET DEFAULT 6",
              "UPDATE T SET n = 1 WHERE id = 1"),
        Entry("pg_add_default_now", "ADD COLUMN DEFAULT (stable)",
              "ALTER TABLE T ADD c timestamptz NOT NULL DEFAULT now()",
              "INSERT INTO T (id) VALUES (5)"),  # bare: read again where no look saw it in time
        Entry("pg_add_default_date", "ADD COLUMN DEFAULT (stable)",
              "ALTER TABLE T ADD c date DEFAULT current_date; ALTER TABLE T ALTER c DROP DEFAULT",
              "INSERT INTO T VALUES (5, 5, 'five', '2020-02-29')"),
        Entry("pg_add_default_volatile", "ADD COLUMN DEFAULT (volatile)",
              "ALTER TABLE T ADD c uuid DEFAULT gen_random_uuid()", "INSERT INTO T (id) VALUES (5)",
              verdict=RELOAD),
        Entry("pg_add_volatile_dropped", "ADD COLUMN DEFAULT (volatile)",
              "ALTER TABLE T ADD c float8 DEFAULT random(); ALTER TABLE T ALTER c DROP DEFAULT",
              "INSERT INTO T VALUES (5, 5, 'five', 0.5)", verdict=RELOAD),
        Entry("pg_add_backfilled", "ADD COLUMN | ALTER COLUMN SET NOT NULL | ALTER COLUMN SET DEFAULT",
              "ALTER TABLE T ADD n int; UPDATE T SET n = id * 10; ALTER TABLE T ALTER n SET NOT NULL;"
              "ALTER TABLE T ALTER n SET DEFAULT 7", "INSERT INTO T (id) VALUES (5)"),
        Entry("pg_add_backfilled_more", "ADD COLUMN | ALTER COLUMN SET NOT NULL | ALTER COLUMN TYPE",
              "ALTER TABLE T ADD n int, ADD o int; UPDATE T SET n = id * 10, o = id; ALTER TABLE T ADD m text, ALTER n SET NOT NULL;"
              "UPDATE T SET m = 'm' || id; ALTER TABLE T ALTER o TYPE bigint, ALTER m SET NOT NULL, ALTER m SET DEFAULT 'neu'; CREATE INDEX T_k ON T (n)",
              "INSERT INTO T (id, n) VALUES (5, 50)"),
        Entry("pg_add_serial", "ADD COLUMN DEFAULT (volatile)", "ALTER TABLE T ADD n serial",
              "INSERT INTO T (id) VALUES (5)", verdict=RELOAD, on={"mysql": Carried("default")}),
        Entry("pg_add_identity", "ADD COLUMN GENERATED AS IDENTITY",
              "ALTER TABLE T ADD n int GENERATED BY DEFAULT AS IDENTITY",
              "INSERT INTO T (id) VALUES (5)", verdict=RELOAD),
        Entry("pg_add_stored", "ADD COLUMN GENERATED STORED",
              "ALTER TABLE T ADD g int GENERATED ALWAYS AS (a * 2) STORED",
              "INSERT INTO T (id, a) VALUES (5, 5); UPDATE T SET a = 7 WHERE id = 1", on={"files": RELOAD}),
        Entry("pg_add_stored_alone", "ADD COLUMN GENERATED STORED",
              "ALTER TABLE T ADD g text GENERATED ALWAYS AS (lower(b)) STORED", on={"files": RELOAD}),
        Entry("pg_add_virtual", "ADD COLUMN GENERATED VIRTUAL",
              "ALTER TABLE T ADD g int GENERATED ALWAYS AS (a * 2) VIRTUAL",
              "INSERT INTO T (id, a) VALUES (5, 5); UPDATE T SET a = 7 WHERE id = 1", servers=PG18, on={"files": RELOAD}),
        Entry("pg_add_unique", "ADD COLUMN UNIQUE", "ALTER TABLE T ADD c int UNIQUE",
              "INSERT INTO T (id, c) VALUES (5, 5)"),
        Entry("pg_add_references", "ADD COLUMN REFERENCES",
              "ALTER TABLE T ADD c int REFERENCES T (id)", "INSERT INTO T (id, c) VALUES (5, 1)"),
        Entry("pg_add_check_inline", "ADD COLUMN CHECK", "ALTER TABLE T ADD c int CHECK (c > 0)",
              "INSERT INTO T (id, c) VALUES (5, 5)"),
        Entry("pg_add_collate", "ADD COLUMN COLLATE", """ALTER TABLE T ADD c text COLLATE "C" """,
              "INSERT INTO T (id, c) VALUES (5, 'ä')"),
        Entry("pg_add_compression", "ADD COLUMN COMPRESSION | ADD COLUMN STORAGE",
              "ALTER TABLE T ADD c text COMPRESSION pglz",
              "INSERT INTO T (id, c) VALUES (5, repeat('x', 5000))"),
        Entry("pg_add_array", "ADD COLUMN DEFAULT", "ALTER TABLE T ADD c int[] DEFAULT '{1,NULL}'",
              "INSERT INTO T (id, c) VALUES (5, '{}')", on={"mysql": Carried("default"), "load mysql": Carried("default")}),
        Entry("pg_add_enum_default", "ADD COLUMN DEFAULT",
              "CREATE TYPE T_e AS ENUM ('p', 'q'); ALTER TABLE T ADD c T_e DEFAULT 'q'",
              "INSERT INTO T (id, c) VALUES (5, 'p')"),
        Entry("pg_add_domain", "ADD COLUMN", "CREATE DOMAIN T_d AS int DEFAULT 4 CHECK (VALUE > 0);"
              "ALTER TABLE T ADD c T_d", "INSERT INTO T (id, c) VALUES (5, 5)"),
        Entry("pg_add_and_row_before", "ADD COLUMN",
              "BEGIN; INSERT INTO T VALUES (6, 6, 'x'); ALTER TABLE T ADD c int DEFAULT 3;"
              "INSERT INTO T VALUES (7, 7, 'y', 8); COMMIT", "UPDATE T SET c = 0 WHERE id = 6"),
        Entry("pg_add_rolled_back", "ADD COLUMN",
              "BEGIN; ALTER TABLE T ADD c int; INSERT INTO T VALUES (6, 6, 'x', 1); ROLLBACK", ROW5),
        Entry("pg_add_savepoint", "ADD COLUMN",
              "BEGIN; SAVEPOINT s; ALTER TABLE T ADD c int; INSERT INTO T VALUES (6, 6, 'x', 1);"
              "ROLLBACK TO s; INSERT INTO T VALUES (7, 7, 'y'); ALTER TABLE T ADD d text; COMMIT",
              "INSERT INTO T VALUES (8, 8, 'z', 'dd')"),
        Entry("pg_drop_column", "DROP COLUMN", "ALTER TABLE T DROP COLUMN a",
              "INSERT INTO T VALUES (5, 'five')", verdict=LOSSY, on={"within mysql": NO_UNDO}),
        Entry("pg_drop_alone", "DROP COLUMN", "ALTER TABLE T DROP COLUMN a", verdict=LOSSY, on={"within mysql": NO_UNDO}),
        Entry("pg_drop_if_exists", "DROP COLUMN IF EXISTS", "ALTER TABLE T DROP IF EXISTS zz", ROW5),
        Entry("pg_drop_cascade", "DROP COLUMN CASCADE", "ALTER TABLE T DROP a CASCADE",
              "INSERT INTO T VALUES (5, 'five')", setup=GENERATED, verdict=LOSSY, on={"within mysql": NO_UNDO}),
        Entry("pg_drop_generated", "DROP COLUMN", "ALTER TABLE T DROP g",
              "INSERT INTO T VALUES (5, 5, 'five')", setup=GENERATED),
        Entry("pg_drop_and_add_same", "DROP COLUMN | ADD COLUMN",
              "ALTER TABLE T DROP a, ADD a text DEFAULT 'n'", "INSERT INTO T VALUES (5, 'five', 'a')",
              verdict=LOSSY),
        Entry("pg_drop_add_same_type", "DROP COLUMN | ADD COLUMN",
              "ALTER TABLE T DROP b; ALTER TABLE T ADD b text", "INSERT INTO T VALUES (5, 1, 'b')",
              verdict=LOSSY, on={"within mysql": NO_UNDO}),
        Entry("pg_generated_to_plain", "DROP COLUMN | ADD COLUMN",
              "ALTER TABLE T DROP g; ALTER TABLE T ADD g int", "INSERT INTO T VALUES (5, 5, 'x', 9)",
              setup=GENERATED, on={"files": RELOAD}),
        Entry("pg_type_wider", "ALTER COLUMN TYPE", "ALTER TABLE T ALTER a TYPE bigint",
              "INSERT INTO T VALUES (5, 50000000000, 'five')"),
        Entry("pg_type_alone", "ALTER COLUMN TYPE", "ALTER TABLE T ALTER a TYPE bigint"),
        Entry("pg_type_to_text", "ALTER COLUMN TYPE", "ALTER TABLE T ALTER a SET DATA TYPE text",
              "INSERT INTO T VALUES (5, 'words', 'five')"),
        Entry("pg_type_varchar", "ALTER COLUMN TYPE",
              "ALTER TABLE T ALTER b TYPE varchar(50); ALTER TABLE T ALTER b TYPE varchar(60)",
              "INSERT INTO T VALUES (5, 5, repeat('ä', 60))", verdict=RELOAD),
        Entry("pg_type_numeric", "ALTER COLUMN TYPE",
              "ALTER TABLE T ADD c numeric(6,2) DEFAULT 1.25; ALTER TABLE T ALTER c TYPE numeric(12,4)",
              "INSERT INTO T VALUES (5, 5, 'five', 12345678.1234)"),
        Entry("pg_type_using", "ALTER COLUMN TYPE USING",
              "ALTER TABLE T ALTER a TYPE bigint USING a::bigint * 100",
              "INSERT INTO T VALUES (5, 5, 'five')", verdict=RELOAD),
        Entry("pg_type_using_same", "ALTER COLUMN TYPE USING",
              "ALTER TABLE T ALTER a TYPE int USING -a", "INSERT INTO T VALUES (5, 5, 'five')",
              verdict=RELOAD),
        Entry("pg_type_using_cents", "ALTER COLUMN TYPE USING",
              "ALTER TABLE T ALTER a TYPE numeric(12,2) USING a / 100.0",
              "INSERT INTO T VALUES (5, 9.5, 'five')", verdict=RELOAD),
        Entry("pg_type_collate", "ALTER COLUMN TYPE COLLATE",
              """ALTER TABLE T ALTER b TYPE text COLLATE "C" """, ROW5),
        Entry("pg_type_timestamptz", "ALTER COLUMN TYPE",
              "ALTER TABLE T ADD c timestamp DEFAULT '2020-02-29 12:00'; SET timezone = '+5';"
              "ALTER TABLE T ALTER c TYPE timestamptz", "INSERT INTO T VALUES (5, 5, 'x', '2020-01-01')",
              verdict=RELOAD, alone=True),
        Entry("pg_type_text_to_enum", "ALTER COLUMN TYPE USING",
              "CREATE TYPE T_e AS ENUM ('p', 'q'); ALTER TABLE T ADD t text DEFAULT 'p';"
              "ALTER TABLE T ALTER t DROP DEFAULT; ALTER TABLE T ALTER t TYPE T_e USING t::T_e",
              "INSERT INTO T VALUES (5, 5, 'x', 'q')"),
        Entry("pg_type_int_to_bool", "ALTER COLUMN TYPE USING",
              "ALTER TABLE T ALTER a TYPE bool USING a > 0", "INSERT INTO T VALUES (5, true, 'x')",
              verdict=RELOAD),
        Entry("pg_type_text_to_array", "ALTER COLUMN TYPE USING",
              "ALTER TABLE T ALTER b TYPE text[] USING ARRAY[b]", "INSERT INTO T VALUES (5, 5, '{x,y}')",
              verdict=RELOAD),
        Entry("pg_type_narrower", "ALTER COLUMN TYPE", "ALTER TABLE T ALTER a TYPE smallint",
              "INSERT INTO T VALUES (5, 5, 'five')", verdict=RELOAD),
        Entry("pg_type_key", "ALTER COLUMN TYPE", "ALTER TABLE T ALTER id TYPE bigint",
              "INSERT INTO T VALUES (50000000000, 5, 'five'); DELETE FROM T WHERE id = 1"),
        Entry("pg_type_jsonb", "ALTER COLUMN TYPE USING",
              "ALTER TABLE T ADD c json DEFAULT '{\"b\": 1, \"a\": 2}'; ALTER TABLE T ALTER c TYPE jsonb",
              "INSERT INTO T VALUES (5, 5, 'five', '[1.50]')"),
        Entry("pg_set_default", "ALTER COLUMN SET DEFAULT", "ALTER TABLE T ALTER a SET DEFAULT 42",
              "INSERT INTO T (id) VALUES (5)"),
        Entry("pg_drop_default", "ALTER COLUMN DROP DEFAULT",
              "ALTER TABLE T ALTER a SET DEFAULT 42; ALTER TABLE T ALTER a DROP DEFAULT", ROW5),
        Entry("pg_set_not_null", "ALTER COLUMN SET NOT NULL", "ALTER TABLE T ALTER b SET NOT NULL", ROW5),
        Entry("pg_drop_not_null", "ALTER COLUMN DROP NOT NULL", "ALTER TABLE T ALTER a DROP NOT NULL",
              "INSERT INTO T VALUES (5, NULL, 'five')", setup=NULLABLE),
        Entry("pg_drop_not_null_key", "DROP CONSTRAINT | ALTER COLUMN DROP NOT NULL",
              "ALTER TABLE T DROP CONSTRAINT T_pk, ALTER id DROP NOT NULL, REPLICA IDENTITY FULL",
              "INSERT INTO T VALUES (NULL, 9, 'nine'); DELETE FROM T WHERE id = 1", setup="""
CREATE TABLE T (id int CONSTRAINT T_pk PRIMARY KEY, a int, b text);
INSERT INTO T VALUES (1, 10, 'one'), (2, NULL, ''), (3, -1, 'drei'), (4, 9, ' x ')"""),
        Entry("pg_drop_expression", "ALTER COLUMN DROP EXPRESSION", "ALTER TABLE T ALTER g DROP EXPRESSION",
              "INSERT INTO T VALUES (5, 5, 'x', 100); UPDATE T SET g = 0 WHERE id = 1", setup=GENERATED),
        Entry("pg_drop_expression_alone", "ALTER COLUMN DROP EXPRESSION",
              "ALTER TABLE T ALTER g DROP EXPRESSION IF EXISTS", "UPDATE T SET a = 500 WHERE id = 1",
              setup=GENERATED),
        Entry("pg_set_expression", "ALTER COLUMN SET EXPRESSION",
              "ALTER TABLE T ALTER g SET EXPRESSION AS (a * 3)", "INSERT INTO T (id, a) VALUES (5, 5)",
              setup=GENERATED, servers=PG18, on={"files": RELOAD}),
        Entry("pg_set_expression_alone", "ALTER COLUMN SET EXPRESSION",
              "ALTER TABLE T ALTER g SET EXPRESSION AS (a * 3)", setup=GENERATED, servers=PG18, on={"files": RELOAD}),
        Entry("pg_generated_another", "DROP COLUMN | ADD COLUMN GENERATED STORED",
              "ALTER TABLE T DROP g; ALTER TABLE T ADD g int GENERATED ALWAYS AS (a * 5) STORED",
              "INSERT INTO T (id, a) VALUES (5, 5)", setup=GENERATED, on={"files": RELOAD}),
        Entry("pg_generated_type", "ALTER COLUMN TYPE", "ALTER TABLE T ALTER g TYPE bigint",
              "INSERT INTO T (id, a) VALUES (5, 5)", setup=GENERATED),
        Entry("pg_generated_renamed", "RENAME COLUMN", "ALTER TABLE T RENAME g TO h",
              "INSERT INTO T (id, a) VALUES (5, 5)", setup=GENERATED),
        Entry("pg_add_generated_identity", "ALTER COLUMN ADD GENERATED AS IDENTITY",
              "ALTER TABLE T ALTER id ADD GENERATED BY DEFAULT AS IDENTITY (START 100)",
              "INSERT INTO T (a) VALUES (5)"),
        Entry("pg_set_generated", "ALTER COLUMN SET GENERATED",
              "ALTER TABLE T ALTER id ADD GENERATED BY DEFAULT AS IDENTITY (START 100);"
              "ALTER TABLE T ALTER id SET GENERATED ALWAYS SET INCREMENT 5 RESTART 300",
              "INSERT INTO T (a) VALUES (5)"),
        Entry("pg_drop_identity", "ALTER COLUMN DROP IDENTITY",
              "ALTER TABLE T ALTER n DROP IDENTITY, ALTER n DROP NOT NULL",
              "INSERT INTO T (id, n) VALUES (5, NULL)", setup="""
CREATE TABLE T (id int PRIMARY KEY, a int, b text, n int GENERATED ALWAYS AS IDENTITY);
INSERT INTO T VALUES (1, 10, 'one'), (2, NULL, ''), (3, -1, 'drei'), (4, 9, ' x ')"""),
        Entry("pg_set_statistics", "ALTER COLUMN SET STATISTICS | ALTER COLUMN SET (attribute_option)",
              "ALTER TABLE T ALTER a SET STATISTICS 500; ALTER TABLE T ALTER a SET (n_distinct = 5);"
              "ALTER TABLE T ALTER a RESET (n_distinct)", ROW5),
        Entry("pg_set_storage", "ALTER COLUMN SET STORAGE | ALTER COLUMN SET COMPRESSION",
              "ALTER TABLE T ALTER b SET STORAGE EXTERNAL; ALTER TABLE T ALTER b SET COMPRESSION pglz",
              "UPDATE T SET b = repeat('x', 9000) WHERE id = 1; UPDATE T SET a = 0 WHERE id = 1"),
        Entry("pg_add_check", "ADD CHECK", "ALTER TABLE T ADD CONSTRAINT T_c CHECK (a < 100)", ROW5),
        Entry("pg_add_check_not_valid", "ADD CONSTRAINT NOT VALID | VALIDATE CONSTRAINT",
              "ALTER TABLE T ADD CONSTRAINT T_c CHECK (a < 100) NOT VALID;"
              "ALTER TABLE T VALIDATE CONSTRAINT T_c", ROW5),
        Entry("pg_add_check_not_valid_bad", "ADD CONSTRAINT NOT VALID",
              "ALTER TABLE T ADD CONSTRAINT T_c CHECK (a > 1000) NOT VALID",
              "INSERT INTO T VALUES (5, 5000, 'x')", on={"mysql": Carried("left-out"), "load mysql": Carried("left-out")}),
        Entry("pg_add_check_not_enforced", "ADD CONSTRAINT NOT ENFORCED",
              "ALTER TABLE T ADD CONSTRAINT T_c CHECK (a > 1000) NOT ENFORCED", ROW5, servers=PG18),
        Entry("pg_drop_check", "DROP CONSTRAINT", "ALTER TABLE T DROP CONSTRAINT T_c",
              "INSERT INTO T VALUES (5, 500, 'x')", setup=CHECKED),
        Entry("pg_drop_constraint_if", "DROP CONSTRAINT IF EXISTS",
              "ALTER TABLE T DROP CONSTRAINT IF EXISTS T_none", ROW5),
        Entry("pg_check_replaced", "DROP CONSTRAINT | ADD CHECK",
              "ALTER TABLE T DROP CONSTRAINT T_c, ADD CONSTRAINT T_c CHECK (a < 1000)",
              "INSERT INTO T VALUES (5, 500, 'x')", setup=CHECKED),
        Entry("pg_unique_replaced", "DROP CONSTRAINT | ADD UNIQUE",
              "ALTER TABLE T ADD CONSTRAINT T_u UNIQUE (a); INSERT INTO T VALUES (7, 77, 'x');"
              "ALTER TABLE T DROP CONSTRAINT T_u, ADD CONSTRAINT T_u UNIQUE (b, a)", "INSERT INTO T VALUES (8, 77, 'y')"),
        Entry("pg_rename_constraint", "RENAME CONSTRAINT",
              "ALTER TABLE T RENAME CONSTRAINT T_c TO T_d", ROW5, setup=CHECKED),
        Entry("pg_add_not_null_constraint", "ADD NOT NULL",
              "INSERT INTO T VALUES (8, 8, NULL); ALTER TABLE T ADD CONSTRAINT T_nn NOT NULL b NOT VALID", ROW5,
              on={"mysql": Carried("not-carried"), "load mysql": Carried("not-carried"), "load files": Carried("not-carried")},
              servers=PG18),
        Entry("pg_drop_not_null_unproved", "ADD NOT NULL | DROP CONSTRAINT",
              "INSERT INTO T VALUES (8, 8, NULL); ALTER TABLE T ADD CONSTRAINT T_nn NOT NULL b NOT VALID; UPDATE T SET a = 9 WHERE id = 1;"
              "ALTER TABLE T DROP CONSTRAINT T_nn", "UPDATE T SET a = 9 WHERE id = 8; INSERT INTO T VALUES (9, 9, NULL)", servers=PG18),
        Entry("pg_validate_not_null", "ADD NOT NULL | VALIDATE CONSTRAINT",
              "INSERT INTO T VALUES (8, 8, NULL); ALTER TABLE T ADD CONSTRAINT T_nn NOT NULL b NOT VALID;"
              "UPDATE T SET b = 'eight' WHERE id = 8; ALTER TABLE T VALIDATE CONSTRAINT T_nn", ROW5, servers=PG18),
        Entry("pg_add_unique_key", "ADD UNIQUE",
              "ALTER TABLE T ADD CONSTRAINT T_u UNIQUE (b)", "INSERT INTO T VALUES (5, 5, 'five')"),
        Entry("pg_add_unique_nulls", "ADD UNIQUE NULLS NOT DISTINCT",
              "ALTER TABLE T ADD CONSTRAINT T_u UNIQUE NULLS NOT DISTINCT (a)",
              "INSERT INTO T VALUES (5, 5, 'five')"),
        Entry("pg_add_unique_include", "ADD UNIQUE INCLUDE",
              "ALTER TABLE T ADD CONSTRAINT T_u UNIQUE (b) INCLUDE (a)", ROW5),
        Entry("pg_drop_unique", "DROP CONSTRAINT", "ALTER TABLE T DROP CONSTRAINT T_u",
              "INSERT INTO T VALUES (5, 10, 'a'), (6, 10, 'b')", setup="""
CREATE TABLE T (id int PRIMARY KEY, a int CONSTRAINT T_u UNIQUE, b text);
INSERT INTO T VALUES (1, 10, 'one'), (2, NULL, ''), (3, -1, 'drei'), (4, 90, ' x ')"""),
        Entry("pg_unique_using_index", "ADD UNIQUE USING INDEX",
              "CREATE UNIQUE INDEX T_i ON T (b); ALTER TABLE T ADD CONSTRAINT T_u UNIQUE USING INDEX T_i",
              ROW5),
        Entry("pg_unique_deferrable", "ADD UNIQUE DEFERRABLE | ALTER CONSTRAINT",
              "ALTER TABLE T ADD CONSTRAINT T_u UNIQUE (b) DEFERRABLE INITIALLY DEFERRED",
              "BEGIN; UPDATE T SET b = 'drei' WHERE id = 1; UPDATE T SET b = 'one' WHERE id = 3; COMMIT"),
        Entry("pg_exclude", "ADD EXCLUDE",
              "ALTER TABLE T ADD r int4range; ALTER TABLE T ADD CONSTRAINT T_x EXCLUDE USING gist (r WITH &&)",
              "INSERT INTO T (id, r) VALUES (5, '[1,5)'), (6, '[5,9)')", on={"mysql": Carried("exclusion"), "load mysql": Carried("exclusion")}),
        Entry("pg_drop_primary", "DROP CONSTRAINT",
              "ALTER TABLE T DROP CONSTRAINT T_pk; ALTER TABLE T REPLICA IDENTITY FULL",
              "INSERT INTO T VALUES (1, 9, 'one'), (1, 9, 'one'); DELETE FROM T WHERE id = 2", setup="""
CREATE TABLE T (id int CONSTRAINT T_pk PRIMARY KEY, a int, b text);
INSERT INTO T VALUES (1, 10, 'one'), (2, NULL, ''), (3, -1, 'drei'), (4, 9, ' x ')"""),
        Entry("pg_move_primary", "DROP CONSTRAINT | ADD PRIMARY KEY",
              "ALTER TABLE T DROP CONSTRAINT T_pk, ADD PRIMARY KEY (b), ALTER id DROP NOT NULL",
              "INSERT INTO T VALUES (NULL, 9, 'five'); UPDATE T SET b = 'z' WHERE b = ''", setup="""
CREATE TABLE T (id int CONSTRAINT T_pk PRIMARY KEY, a int, b text);
INSERT INTO T VALUES (1, 10, 'one'), (2, NULL, ''), (3, -1, 'drei'), (4, 9, ' x ')"""),
        Entry("pg_key_grows", "DROP CONSTRAINT | ADD PRIMARY KEY",
              "ALTER TABLE T DROP CONSTRAINT T_pk, ADD CONSTRAINT T_k PRIMARY KEY (id, a)",
              "INSERT INTO T VALUES (1, 2, 'eins', 3), (2, 2, 'zwei', 4); UPDATE T SET b = b || '!' WHERE a = 2;"
              "UPDATE T SET a = 5 WHERE id = 1 AND a = 1; DELETE FROM T WHERE id = 2 AND a = 1;"
              "ALTER TABLE T DROP COLUMN c; UPDATE T SET b = 'x' WHERE id = 1", setup=KEYED, before="", verdict=LOSSY,
              on={"within mysql": NO_UNDO}),
        Entry("pg_key_shrinks", "DROP CONSTRAINT | ADD PRIMARY KEY",
              "ALTER TABLE T DROP CONSTRAINT T_pk, ADD CONSTRAINT T_k PRIMARY KEY (id)",
              "UPDATE T SET a = 7 WHERE id = 1; INSERT INTO T VALUES (3, 1, 'drei', 3); UPDATE T SET id = 4, a = 8 WHERE id = 2;"
              "ALTER TABLE T DROP COLUMN c; UPDATE T SET a = a + 1", setup=KEYED.replace("(id)", "(id, a)"), before="", verdict=LOSSY,
              on={"within mysql": NO_UNDO}),
        Entry("pg_key_goes", "DROP CONSTRAINT", "ALTER TABLE T DROP CONSTRAINT T_pk",
              "INSERT INTO T VALUES (1, 1, 'again', 1), (1, 1, 'again', 1); ALTER TABLE T DROP COLUMN c; INSERT INTO T VALUES (2, 1, 'zwei')",
              setup=KEYED, before="", verdict=LOSSY, on={"within mysql": NO_UNDO},
              load=Refused("INVALID_CONFIG", source="ALTER TABLE T REPLICA IDENTITY FULL")),
        Entry("pg_add_primary", "ADD PRIMARY KEY", "ALTER TABLE T ADD PRIMARY KEY (id)",
              "INSERT INTO T VALUES (5, 9, 'five'); UPDATE T SET a = 1 WHERE id = 2", setup=NULLABLE),
        Entry("pg_add_primary_default", "ADD PRIMARY KEY | REPLICA IDENTITY",
              "ALTER TABLE T ADD PRIMARY KEY (id); ALTER TABLE T REPLICA IDENTITY DEFAULT",
              "INSERT INTO T VALUES (5, 9, 'five'); UPDATE T SET id = 20 WHERE id = 2", setup=NULLABLE),
        Entry("pg_primary_using_index", "ADD PRIMARY KEY USING INDEX",
              "CREATE UNIQUE INDEX T_i ON T (id); ALTER TABLE T ADD PRIMARY KEY USING INDEX T_i", ROW5,
              setup=NULLABLE),
        Entry("pg_add_foreign", "ADD FOREIGN KEY",
              "CREATE TABLE T2 (id int PRIMARY KEY); INSERT INTO T2 VALUES (1), (2), (3), (5);"
              "ALTER TABLE T ADD CONSTRAINT T_fk FOREIGN KEY (id) REFERENCES T2", ROW5),
        Entry("pg_add_foreign_cascade", "ADD FOREIGN KEY ON DELETE CASCADE",
              "ALTER TABLE T ADD CONSTRAINT T_f2 FOREIGN KEY (a) REFERENCES T2"
              " ON DELETE CASCADE ON UPDATE CASCADE",
              "DELETE FROM T2 WHERE id = 9; UPDATE T2 SET id = 77 WHERE id = -2", setup=TWO.replace(
                  "CONSTRAINT T_fk REFERENCES T2", ""), before=""),
        Entry("pg_add_foreign_not_valid", "ADD FOREIGN KEY NOT VALID | VALIDATE CONSTRAINT",
              "CREATE TABLE T2 (id int PRIMARY KEY);"
              "ALTER TABLE T ADD CONSTRAINT T_fk FOREIGN KEY (a) REFERENCES T2 NOT VALID",
              "INSERT INTO T2 VALUES (9), (-2); INSERT INTO T VALUES (5, 9, 'x')"),
        Entry("pg_foreign_not_enforced", "ADD FOREIGN KEY NOT ENFORCED",
              "CREATE TABLE T2 (id int PRIMARY KEY);"
              "ALTER TABLE T ADD CONSTRAINT T_fk FOREIGN KEY (a) REFERENCES T2 NOT ENFORCED", ROW5,
              servers=PG18, on={"mysql": Carried("foreign-key"), "load mysql": Carried("foreign-key")}),
        Entry("pg_drop_foreign", "DROP CONSTRAINT", "ALTER TABLE T DROP CONSTRAINT T_fk",
              "INSERT INTO T VALUES (5, 500, 'x')", setup=TWO, before=""),
        Entry("pg_alter_constraint", "ALTER CONSTRAINT",
              "ALTER TABLE T ALTER CONSTRAINT T_fk DEFERRABLE INITIALLY DEFERRED",
              "BEGIN; INSERT INTO T VALUES (5, 500, 'x'); INSERT INTO T2 VALUES (500); COMMIT", setup=TWO,
              before=""),
        Entry("pg_drop_parent_cascade", "DROP TABLE CASCADE", "DROP TABLE T2 CASCADE",
              "INSERT INTO T VALUES (5, 500, 'x')", setup=TWO, before="", verdict=LOSSY, on={"within mysql": replace(NO_UNDO, target="DROP TABLE T2")}),
        Entry("pg_rename_column", "RENAME COLUMN", "ALTER TABLE T RENAME COLUMN a TO amount",
              "INSERT INTO T VALUES (5, 5, 'five'); UPDATE T SET amount = 0 WHERE id = 1",
              on={"within mysql": NO_UNDO}),
        Entry("pg_rename_column_at_once", "RENAME COLUMN",
              "BEGIN; ALTER TABLE T RENAME COLUMN a TO amount; INSERT INTO T VALUES (5, 5, 'five'); UPDATE T SET amount = 0 WHERE id = 1; COMMIT"),
        Entry("pg_using_beside_gone", "ALTER COLUMN TYPE USING",
              "ALTER TABLE T ADD c int; UPDATE T SET c = 1; ALTER TABLE T ALTER a TYPE bigint USING a * 100;"
              "UPDATE T SET c = 2; ALTER TABLE T DROP c", "INSERT INTO T VALUES (5, 5, 'five')", verdict=RELOAD, options={"allow_lossy": True}),
        Entry("pg_using_no_cast", "ALTER COLUMN TYPE USING",
              "ALTER TABLE T ALTER a TYPE uuid USING md5(a::text)::uuid, ALTER b TYPE int[] USING ARRAY[length(b)]",
              "INSERT INTO T VALUES (5, '00000000-0000-0000-0000-000000000005', '{5}')", verdict=RELOAD),
        Entry("pg_rename_generated", "RENAME COLUMN", "ALTER TABLE T RENAME COLUMN g TO gg",
              "INSERT INTO T (id, a) VALUES (5, 5); UPDATE T SET a = 0 WHERE id = 1", setup=GENERATED, on={"files": RELOAD}),
        Entry("pg_rename_column_alone", "RENAME COLUMN", "ALTER TABLE T RENAME a TO amount",
              on={"pg15": Absent("Nothing of it is in the log before the next row."), "within mysql": NO_UNDO}),
        Entry("pg_rename_swap", "RENAME COLUMN",
              "ALTER TABLE T RENAME a TO c; ALTER TABLE T RENAME b TO a; ALTER TABLE T RENAME c TO b",
              "INSERT INTO T VALUES (5, 5, 'five')", on={"within mysql": NO_UNDO}),  # bare: read again where no look saw it
        Entry("pg_rename_key", "RENAME COLUMN", "ALTER TABLE T RENAME id TO ident",
              "INSERT INTO T VALUES (5, 5, 'five'); DELETE FROM T WHERE ident = 1",
              on={"within mysql": NO_UNDO}),
        Entry("pg_rename_table", "RENAME TO", "ALTER TABLE T RENAME TO T_new",
              "INSERT INTO T_new VALUES (5, 5, 'five')"),
        Entry("pg_rename_alone", "RENAME TO", "ALTER TABLE T RENAME TO T_new"),
        Entry("pg_rename_and_new", "RENAME TO",
              "CREATE TABLE T_new (id int PRIMARY KEY, a int, c int); INSERT INTO T_new SELECT id, a, 7 FROM T;"
              "BEGIN; ALTER TABLE T RENAME TO T_old; ALTER TABLE T_new RENAME TO T; COMMIT",
              "INSERT INTO T VALUES (5, 5, 5); INSERT INTO T_old VALUES (6, 6, 'six')"),
        Entry("pg_rename_row_before", "RENAME TO",
              "BEGIN; UPDATE T SET a = 7 WHERE id = 1; ALTER TABLE T RENAME TO T_new; INSERT INTO T_new VALUES (5, 5, 'five'); COMMIT",
              "UPDATE T_new SET a = 8 WHERE id = 1"),
        Entry("pg_rename_swap_rows", "RENAME TO",
              "CREATE TABLE T_new (id int PRIMARY KEY, a int, b text); INSERT INTO T_new SELECT id, a, b FROM T;"
              "BEGIN; UPDATE T SET a = 7 WHERE id = 1; ALTER TABLE T RENAME TO T_old; ALTER TABLE T_new RENAME TO T; COMMIT",
              "INSERT INTO T VALUES (5, 5, 'five')",
              on={"mysql": Refused("SCHEMA_CHANGE_REFUSED", target="DROP TABLE T_new", fresh=True, why="Its DDL commits, and a name is given twice.")}),
        Entry("pg_rename_ring", "RENAME TO",
              "BEGIN; ALTER TABLE T RENAME TO T_tmp; ALTER TABLE T2 RENAME TO T; ALTER TABLE T_tmp RENAME TO T2; COMMIT",
              "INSERT INTO T VALUES (5, 'five'); INSERT INTO T2 VALUES (5, 5, 'five')", setup="""
CREATE TABLE T (id int CONSTRAINT T_k PRIMARY KEY, a int, b text); INSERT INTO T VALUES (1, 10, 'one');
CREATE TABLE T2 (id int CONSTRAINT T_k2 PRIMARY KEY, c text); INSERT INTO T2 VALUES (2, 'two')""",
              before="", on={"bare": Carried("index-name")}),
        Entry("pg_rename_ring_listed", "RENAME TO",
              "BEGIN; ALTER TABLE T RENAME TO T_tmp; ALTER TABLE T2 RENAME TO T; ALTER TABLE T_tmp RENAME TO T2; COMMIT",
              "INSERT INTO T VALUES (5, 'five'); INSERT INTO T2 VALUES (5, 5, 'five')", setup="""
CREATE TABLE T (id int CONSTRAINT T_k PRIMARY KEY, a int, b text); INSERT INTO T VALUES (1, 10, 'one');
CREATE TABLE T2 (id int CONSTRAINT T_k2 PRIMARY KEY, c text); INSERT INTO T2 VALUES (2, 'two')""",
              before="", on={"postgresql": Carried("index-name")}, options={"tables": ["t_rename_ring_listed", "t_rename_ring_listed__2"]}),
        Entry("pg_rename_swap_listed", "RENAME TO",
              "CREATE TABLE T_n (id int PRIMARY KEY, a int, b text, c int); INSERT INTO T_n SELECT id, a, b, id FROM T;"
              "BEGIN; ALTER TABLE T RENAME TO T_old; ALTER TABLE T_n RENAME TO T; COMMIT",
              "INSERT INTO T VALUES (5, 5, 'five', 5); DROP TABLE T_old", structure=False, on={"bare": LOSSY}, options={"tables": ["t_rename_swap_listed"]}),
        Entry("pg_rename_ring_of_three", "RENAME TO",
              "BEGIN; ALTER TABLE T RENAME TO T_x; ALTER TABLE T3 RENAME TO T; ALTER TABLE T2 RENAME TO T3; ALTER TABLE T_x RENAME TO T2; COMMIT",
              "INSERT INTO T VALUES (5, 'fünf'); INSERT INTO T2 VALUES (5, 5)", setup="""
CREATE TABLE T (id int PRIMARY KEY, a int); INSERT INTO T VALUES (1, 10);
CREATE TABLE T2 (id int PRIMARY KEY, c text); INSERT INTO T2 VALUES (2, 'two');
CREATE TABLE T3 (id int PRIMARY KEY, d text); INSERT INTO T3 VALUES (3, 'drei')""",
              before="", on={"bare": Carried("index-name")}),
        Entry("pg_set_schema", "SET SCHEMA",
              "CREATE SCHEMA T_s; ALTER TABLE T SET SCHEMA T_s",
              "INSERT INTO T_s.T VALUES (5, 5, 'five')", servers=PG18, on={"mysql": Absent(), "load mysql": Absent()}),
        Entry("pg_identity_full", "REPLICA IDENTITY", "ALTER TABLE T REPLICA IDENTITY FULL",
              "UPDATE T SET b = 'x' WHERE id = 1; DELETE FROM T WHERE id = 2"),
        Entry("pg_identity_index", "REPLICA IDENTITY",
              "ALTER TABLE T ALTER b SET NOT NULL; CREATE UNIQUE INDEX T_i ON T (b);"
              "ALTER TABLE T REPLICA IDENTITY USING INDEX T_i",
              "UPDATE T SET b = 'x' WHERE id = 1; DELETE FROM T WHERE id = 2"),
        Entry("pg_identity_nothing", "REPLICA IDENTITY",
              "ALTER TABLE T REPLICA IDENTITY NOTHING", "INSERT INTO T VALUES (5, 5, 'five')",
              load=Refused("INVALID_CONFIG",
                                             source="ALTER TABLE T REPLICA IDENTITY DEFAULT")),
        Entry("pg_identity_nothing_insert", "REPLICA IDENTITY",
              "INSERT INTO T VALUES (6, 6, 'six'); ALTER TABLE T REPLICA IDENTITY NOTHING; INSERT INTO T VALUES (7, 7, 'seven')",
              "ALTER TABLE T REPLICA IDENTITY DEFAULT; UPDATE T SET b = 'x' WHERE id > 5; DELETE FROM T WHERE id = 1"),
        Entry("pg_set_unlogged", "SET UNLOGGED", "ALTER TABLE T SET UNLOGGED",
              "INSERT INTO T VALUES (5, 5, 'five')", verdict=Absent("The server refuses it for a published table."),
              load=Absent("unlogged")),
        Entry("pg_set_logged", "SET LOGGED", "ALTER TABLE T SET LOGGED", ROW5),
        Entry("pg_set_tablespace", "SET TABLESPACE", "ALTER TABLE T SET TABLESPACE pg_default", ROW5),
        Entry("pg_set_access_method", "SET ACCESS METHOD", "ALTER TABLE T SET ACCESS METHOD heap", ROW5),
        Entry("pg_set_parameters", "SET (storage_parameter) | RESET (storage_parameter)",
              "ALTER TABLE T SET (fillfactor = 70, autovacuum_enabled = off); ALTER TABLE T RESET (fillfactor)", ROW5),
        Entry("pg_cluster_on", "CLUSTER ON | SET WITHOUT CLUSTER",
              "CREATE INDEX T_i ON T (b); ALTER TABLE T CLUSTER ON T_i; ALTER TABLE T SET WITHOUT CLUSTER",
              ROW5),
        Entry("pg_triggers_off", "DISABLE TRIGGER | ENABLE TRIGGER",
              "ALTER TABLE T DISABLE TRIGGER ALL; ALTER TABLE T ENABLE TRIGGER USER", ROW5),
        Entry("pg_rules_off", "DISABLE RULE | ENABLE RULE",
              "CREATE RULE T_r AS ON INSERT TO T DO ALSO NOTHING; ALTER TABLE T DISABLE RULE T_r;"
              "ALTER TABLE T ENABLE ALWAYS RULE T_r", ROW5),
        Entry("pg_row_security", "ENABLE ROW LEVEL SECURITY | FORCE ROW LEVEL SECURITY",
              "ALTER TABLE T ENABLE ROW LEVEL SECURITY; CREATE POLICY T_p ON T USING (a > 0);"
              "ALTER TABLE T DISABLE ROW LEVEL SECURITY; ALTER TABLE T NO FORCE ROW LEVEL SECURITY", ROW5),
        Entry("pg_owner", "OWNER TO", "ALTER TABLE T OWNER TO CURRENT_USER", ROW5),
        Entry("pg_inherit", "INHERIT | NO INHERIT",
              "CREATE TABLE T2 (id int PRIMARY KEY, a int, b text); ALTER TABLE T INHERIT T2;"
              "ALTER TABLE T NO INHERIT T2", ROW5),
        Entry("pg_of_type", "OF | NOT OF",
              "CREATE TYPE T_k AS (id int, a int, b text); ALTER TABLE T OF T_k; ALTER TABLE T NOT OF", ROW5),
        Entry("pg_add_only", "ONLY", "ALTER TABLE ONLY T ADD c int", "INSERT INTO T VALUES (5, 5, 'x', 1)"),
        Entry("pg_if_exists", "IF EXISTS", "ALTER TABLE IF EXISTS T_none ADD c int", ROW5),
        Entry("pg_parent_add", "ADD COLUMN", "ALTER TABLE T ADD c int DEFAULT 4",
              "INSERT INTO T VALUES (5, 5, 'x', 1); INSERT INTO T2 VALUES (6, 6, 'y', 2, 9)", setup="""
CREATE TABLE T (id int PRIMARY KEY, a int, b text); CREATE TABLE T2 (own int, PRIMARY KEY (id)) INHERITS (T);
INSERT INTO T VALUES (1, 1, 'one'); INSERT INTO T2 VALUES (2, 2, 'two', 22)""", before=""),
        Entry("pg_parent_null", "ALTER COLUMN DROP NOT NULL", "ALTER TABLE T ALTER a DROP NOT NULL",
              "INSERT INTO T VALUES (5, NULL, 'x'); INSERT INTO T2 VALUES (6, NULL, 'y', 2)", setup="""
CREATE TABLE T (id int PRIMARY KEY, a int NOT NULL, b text); CREATE TABLE T2 (own int, PRIMARY KEY (id)) INHERITS (T);
INSERT INTO T VALUES (1, 1, 'one'); INSERT INTO T2 VALUES (2, 2, 'two', 22)""", before=""),
        Entry("pg_parent_null_only", "ALTER COLUMN DROP NOT NULL | ONLY",
              "ALTER TABLE ONLY T ALTER a DROP NOT NULL; ALTER TABLE T ALTER b DROP NOT NULL",
              "INSERT INTO T VALUES (5, NULL, NULL); INSERT INTO T2 VALUES (6, 6, NULL, 2)", setup="""
CREATE TABLE T (id int PRIMARY KEY, a int NOT NULL, b text NOT NULL); CREATE TABLE T2 (own int, PRIMARY KEY (id)) INHERITS (T);
INSERT INTO T VALUES (1, 1, 'one'); INSERT INTO T2 VALUES (2, 2, 'two', 22)""", before=""),
        Entry("pg_parent_default", "ALTER COLUMN SET DEFAULT | ONLY",
              "ALTER TABLE ONLY T ALTER b SET DEFAULT 'parent'; ALTER TABLE T ALTER a SET DEFAULT 5",
              "INSERT INTO T VALUES (5); INSERT INTO T2 VALUES (6)", setup="""
CREATE TABLE T (id int PRIMARY KEY, a int, b text DEFAULT 'both'); CREATE TABLE T2 (own int, PRIMARY KEY (id)) INHERITS (T);
INSERT INTO T VALUES (1, 1, 'one'); INSERT INTO T2 VALUES (2, 2, 'two', 22)""", before=""),
        Entry("pg_parent_rename", "RENAME COLUMN", "ALTER TABLE T RENAME b TO c",
              "INSERT INTO T VALUES (5, 5, 'x'); INSERT INTO T2 VALUES (6, 6, 'y', 2)", setup=FAMILY, before="", on={"within mysql": NO_UNDO}),
        Entry("pg_parent_drop", "DROP COLUMN | ONLY", "ALTER TABLE T DROP a; ALTER TABLE ONLY T DROP b",
              "INSERT INTO T VALUES (5); INSERT INTO T2 VALUES (6, 'y', 2)", setup=FAMILY, before="", verdict=LOSSY, on={"within mysql": NO_UNDO}),
        Entry("pg_parent_type", "ALTER COLUMN TYPE", "ALTER TABLE T ALTER a TYPE bigint",
              "INSERT INTO T VALUES (5, 5000000000); INSERT INTO T2 VALUES (6, 6000000000, 'y', 2)",
              setup=FAMILY, before="", verdict=RELOAD),
        Entry("pg_parent_check", "ADD CHECK", "ALTER TABLE T ADD CONSTRAINT T_c CHECK (a < 100)",
              "INSERT INTO T VALUES (5, 5); INSERT INTO T2 VALUES (6, 6, 'y', 2)", setup=FAMILY, before="",
              on={"mysql": Carried("left-out")}),  # a schema of MySQL has a name of a check once
        Entry("pg_parent_gone", "NO INHERIT", "ALTER TABLE T2 NO INHERIT T; DROP TABLE T",
              "INSERT INTO T2 VALUES (6, 6, 'y', 2)", setup=FAMILY, before="", verdict=LOSSY, on={"within mysql": replace(NO_UNDO, target="DROP TABLE T")}),
        Entry("pg_parent_cascade", "DROP TABLE CASCADE", "DROP TABLE T CASCADE", "SELECT 1", setup=FAMILY, before="", verdict=LOSSY, on={"within mysql": replace(NO_UNDO, target="DROP TABLE T; DROP TABLE T2")}),
        Entry("pg_inherit_after", "INHERIT", "ALTER TABLE T2 INHERIT T; ALTER TABLE T RENAME b TO c; ALTER TABLE T ADD d int DEFAULT 4",
              "INSERT INTO T VALUES (5, 5, 'x'); INSERT INTO T2 VALUES (6, 6, 'y', 2)", setup="""
CREATE TABLE T (id int PRIMARY KEY, a int, b text); CREATE TABLE T2 (id int PRIMARY KEY, a int, b text, own int);
INSERT INTO T VALUES (1, 1, 'one'); INSERT INTO T2 VALUES (2, 2, 'two', 22)""", before="", on={"within mysql": NO_UNDO}),
        Entry("pg_no_inherit", "NO INHERIT", "ALTER TABLE T2 NO INHERIT T; ALTER TABLE T ADD c int DEFAULT 4; ALTER TABLE T ADD CHECK (a < 100)",
              "INSERT INTO T VALUES (5, 5, 'x', 1); INSERT INTO T2 VALUES (6, 600, 'y', 2)", setup=FAMILY, before=""),
        Entry("pg_quoted", "lexical: identifiers",
              """ALTER TABLE T ADD "Sel""ect, x" int DEFAULT 1, ADD "ümläut" text""",
              "INSERT INTO T VALUES (5, 5, 'five', 6, 'é')"),
        Entry("pg_search_path", "lexical: identifiers",
              "CREATE SCHEMA T_s; SET search_path = T_s, public; ALTER TABLE T ADD c int DEFAULT 3;"
              "RESET search_path", "INSERT INTO T VALUES (5, 5, 'five', 6)"),
        Entry("pg_many_versions", "ADD COLUMN | DROP COLUMN | RENAME COLUMN",
              "ALTER TABLE T ADD c int DEFAULT 1; INSERT INTO T VALUES (6, 6, 'x', 2);"
              "ALTER TABLE T ALTER c TYPE bigint; INSERT INTO T VALUES (7, 7, 'y', 50000000000);"
              "ALTER TABLE T ADD d text DEFAULT 'd'; INSERT INTO T VALUES (8, 8, 'z', 4, 'e')",
              "UPDATE T SET c = c + 1, d = 'end'"),
        Entry("pg_rename_view_as_table", "RENAME TO (view)", "CREATE VIEW T_v AS SELECT * FROM T; ALTER TABLE T_v RENAME TO T_w; ALTER TABLE T_w RENAME COLUMN a TO z; DROP VIEW T_w", ROW5),
        Entry("pg_all_in_tablespace", "ALL IN TABLESPACE", "ALTER TABLE ALL IN TABLESPACE pg_default OWNED BY CURRENT_USER SET TABLESPACE pg_default", ROW5),
        Entry("pg_not_null_no_inherit", "ALTER COLUMN SET NOT NULL NO INHERIT", "ALTER TABLE T ADD CONSTRAINT T_nn NOT NULL b NO INHERIT", ROW5, servers=PG18),
        Entry("pg_constraint_inherit", "ALTER CONSTRAINT INHERIT", "ALTER TABLE T ADD CONSTRAINT T_nn NOT NULL b NO INHERIT; ALTER TABLE T ALTER CONSTRAINT T_nn INHERIT", ROW5, servers=PG18),
        Entry("pg_unique_overlaps", "ADD UNIQUE WITHOUT OVERLAPS", "ALTER TABLE T ADD k int4range, ADD r daterange; ALTER TABLE T ADD CONSTRAINT T_u UNIQUE (k, r WITHOUT OVERLAPS)",
              "INSERT INTO T VALUES (5, 5, 'five', '[1,2)', '[2020-01-01,2021-01-01)'), (6, 6, 'six', '[1,2)', '[2021-01-01,)'); UPDATE T SET r = '[2022-01-01,)' WHERE id = 6", servers=PG18, structure=False),
        Entry("pg_foreign_period", "ADD FOREIGN KEY PERIOD", "CREATE TABLE T2 (k int4range, r daterange, PRIMARY KEY (k, r WITHOUT OVERLAPS)); ALTER TABLE T2 REPLICA IDENTITY FULL;"
              "INSERT INTO T2 VALUES ('[1,2)', '[2020-01-01,2021-01-01)'); ALTER TABLE T ADD k int4range, ADD r daterange;"
              "ALTER TABLE T ADD CONSTRAINT T_fk FOREIGN KEY (k, PERIOD r) REFERENCES T2 (k, PERIOD r)",
              "INSERT INTO T VALUES (5, 5, 'five', '[1,2)', '[2020-02-01,2020-03-01)')", servers=PG18, structure=False),
        Entry("pg_check_no_inherit", "ADD CONSTRAINT NO INHERIT", "ALTER TABLE T ADD CONSTRAINT T_c CHECK (id < 5000) NO INHERIT", ROW5),
        Entry("pg_triggers_always", "ENABLE REPLICA TRIGGER | ENABLE ALWAYS TRIGGER", "CREATE FUNCTION T_f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.b := upper(NEW.b); RETURN NEW; END $$;"
              "CREATE TRIGGER T_t BEFORE INSERT OR UPDATE ON T FOR EACH ROW EXECUTE FUNCTION T_f(); ALTER TABLE T ENABLE REPLICA TRIGGER T_t; INSERT INTO T VALUES (6, 6, 'six');"
              "ALTER TABLE T ENABLE ALWAYS TRIGGER T_t", ROW5),
        Entry("pg_rules_always", "ENABLE REPLICA RULE | ENABLE ALWAYS RULE", "CREATE TABLE T_l (n serial PRIMARY KEY, id int); CREATE RULE T_r AS ON UPDATE TO T DO ALSO INSERT INTO T_l (id) VALUES (OLD.id);"
              "ALTER TABLE T ENABLE REPLICA RULE T_r; UPDATE T SET a = 3 WHERE id = 2; ALTER TABLE T ENABLE ALWAYS RULE T_r", ROW5),
        Entry("pg_row_security_off", "NO FORCE ROW LEVEL SECURITY | DISABLE ROW LEVEL SECURITY", "ALTER TABLE T ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; INSERT INTO T VALUES (6, 6, 'six');"
              "ALTER TABLE T NO FORCE ROW LEVEL SECURITY; ALTER TABLE T DISABLE ROW LEVEL SECURITY", ROW5),
        Entry("pg_without_oids", "SET WITHOUT OIDS", "ALTER TABLE T SET WITHOUT OIDS", ROW5),
        Entry("pg_drop_restrict", "DROP COLUMN RESTRICT", "ALTER TABLE T DROP COLUMN a RESTRICT", "INSERT INTO T VALUES (5, 'five')", verdict=LOSSY, on={"within mysql": NO_UNDO}),
        Entry("pg_identity_restart", "ALTER COLUMN RESTART", "ALTER TABLE T ALTER id ADD GENERATED BY DEFAULT AS IDENTITY; ALTER TABLE T ALTER id RESTART WITH 100 SET INCREMENT BY 5",
              "INSERT INTO T (a) VALUES (5), (6)"),
        Entry("pg_foreign_not_enforced_later", "ALTER CONSTRAINT NOT ENFORCED", "ALTER TABLE T ALTER CONSTRAINT T_fk NOT ENFORCED", "INSERT INTO T VALUES (5, 500, 'x')", setup=TWO, before="", servers=PG18,
              on={"mysql": Carried("foreign-key"), "load mysql": Carried("foreign-key")}),
        Entry("pg_foreign_enforced_again", "ALTER CONSTRAINT NOT ENFORCED", "ALTER TABLE T ALTER CONSTRAINT T_fk NOT ENFORCED; ALTER TABLE T ALTER CONSTRAINT T_fk ENFORCED",
              "INSERT INTO T VALUES (5, 10, 'x')", setup=TWO, before="", servers=PG18),
        Entry("pg_drop_identity_if", "DROP IDENTITY IF EXISTS", "ALTER TABLE T ALTER a DROP IDENTITY IF EXISTS; ALTER TABLE T ALTER id ADD GENERATED ALWAYS AS IDENTITY; ALTER TABLE T ALTER id DROP IDENTITY IF EXISTS", ROW5),
        Entry("pg_reset_attribute", "ALTER COLUMN RESET (attribute_option)", "ALTER TABLE T ALTER a SET (n_distinct = 5); ALTER TABLE T ALTER a RESET (n_distinct)", ROW5),
        Entry("pg_owner_role", "OWNER TO (role)", "BEGIN; CREATE ROLE T_o; ALTER TABLE T OWNER TO T_o; INSERT INTO T VALUES (6, 6, 'six'); ALTER TABLE T OWNER TO CURRENT_USER; DROP ROLE T_o; COMMIT", ROW5),
        Entry("pg_depends", "DEPENDS ON EXTENSION", "CREATE INDEX T_i ON T (a); ALTER INDEX T_i DEPENDS ON EXTENSION plpgsql; CREATE MATERIALIZED VIEW T_m AS SELECT 1 AS x;"
              "ALTER MATERIALIZED VIEW T_m DEPENDS ON EXTENSION plpgsql; DROP MATERIALIZED VIEW T_m; ALTER INDEX T_i NO DEPENDS ON EXTENSION plpgsql", ROW5),
    ),
)
