"""PostgreSQL 15 and 18: CREATE TABLE while a stream follows, types, and what else makes tables."""

# fmt: off
from __future__ import annotations

from typing import Any

from tests.manuals.entries import Absent, Carried, Chapter, Entry, Refused, Verdict

PG18 = ("pg18",)
LOG = Absent("Its changes are in no log.")


def typed(id: str, kind: str, *values: str, before: str = "", **more: Any) -> Entry:
    """A table of one type; the values stand in rows of their own, with NULL."""
    rows = ", ".join(f"({n}, {v})" for n, v in enumerate((*values, "NULL"), 1))
    base = kind.split("(")[0].split("[")[0]
    return Entry(f"pg_of_{id}", f"type {base if '.' not in base and 'T_' not in base else 'own'}",
                 f"{before} CREATE TABLE T (id int PRIMARY KEY, v {kind})",
                 f"INSERT INTO T VALUES {rows}; UPDATE T SET v = NULL WHERE id = 1;"
                 f"UPDATE T SET v = {values[-1]} WHERE id = {len(values) + 1}", **more)


def bad(code: str = "ROW_REJECTED", **more: Any) -> dict[str, Verdict]:
    """MySQL cannot hold the value."""
    refused = Refused(code, **more)
    return {"mysql": refused, "load mysql": refused}

def as_text(native: str) -> dict[str, Verdict]:
    """A file's type cannot hold the value, but a text can."""
    refused = Refused("ROW_REJECTED", options={"type_overrides": [{"from": native, "type": "text"}]})
    return {"files": refused, "load files": refused}

NO_ICU = Refused("TARGET_CONFLICT", target="CREATE COLLATION T_ci (locale = 'C')", why="The tests' PostgreSQL 18 is built without ICU.")
NO_XML = Refused("TARGET_CONFLICT", options={"type_overrides": [{"from": "xml", "type": "text"}]},
                 why="The tests' PostgreSQL 18 is built without libxml.")
NOT_YET = Absent("The server does not have it yet.")
APART = Absent("Extensions that not every server of the tests has; what a type of an extension becomes: hstore, ltree.")

CHAPTER = Chapter(
    statement="CREATE TABLE",
    section="PostgreSQL 18 CREATE TABLE",
    servers=("pg15", "pg18"),
    setup="",
    before="",
    entries=(
        Entry("pg_create", "CREATE TABLE", "CREATE TABLE T (id int PRIMARY KEY, v text)",
              "INSERT INTO T VALUES (1, 'a'), (2, NULL); UPDATE T SET v = 'b'; DELETE FROM T WHERE id = 2"),
        Entry("pg_create_empty", "CREATE TABLE", "CREATE TABLE T (id int PRIMARY KEY)"),
        Entry("pg_create_keyless", "CREATE TABLE | REPLICA IDENTITY",
              "CREATE TABLE T (v text, n int); ALTER TABLE T REPLICA IDENTITY FULL",
              "INSERT INTO T VALUES ('a', 1), ('a', 1), (NULL, NULL); DELETE FROM T WHERE v IS NULL"),
        Entry("pg_create_then_alter", "CREATE TABLE",
              "CREATE TABLE T (id int PRIMARY KEY); INSERT INTO T VALUES (1); ALTER TABLE T ADD v text DEFAULT 'd'",
              "INSERT INTO T VALUES (2, 'x')"),
        Entry("pg_create_if_not_exists", "IF NOT EXISTS",
              "CREATE TABLE T (id int PRIMARY KEY); CREATE TABLE IF NOT EXISTS T (id int, b int)",
              "INSERT INTO T VALUES (1)"),
        Entry("pg_create_temporary", "TEMPORARY",
              "CREATE TABLE T (id int PRIMARY KEY); CREATE TEMP TABLE T2 (id int) ON COMMIT DROP;"
              "CREATE TEMP TABLE T3 (id int) ON COMMIT DELETE ROWS; CREATE TEMP TABLE T4 (id int)",
              "INSERT INTO T VALUES (1)"),
        Entry("pg_create_unlogged", "UNLOGGED",
              "CREATE TABLE T (id int PRIMARY KEY); CREATE UNLOGGED TABLE T2 (id int PRIMARY KEY)",
              "INSERT INTO T VALUES (1); INSERT INTO T2 VALUES (1); DROP TABLE T2"),
        Entry("pg_create_no_columns", "CREATE TABLE", "CREATE TABLE T (); ALTER TABLE T REPLICA IDENTITY FULL", on={
            "mysql": Absent("MySQL has no such tables: left out by name."), "load mysql": Absent("left out by name")}),
        Entry("pg_create_as", "AS | WITH DATA",
              "CREATE TABLE T (id int PRIMARY KEY, v text); INSERT INTO T VALUES (1, 'a'), (2, NULL);"
              "CREATE TABLE T2 AS SELECT id, v, id * 1.5 AS n FROM T; ALTER TABLE T2 ADD PRIMARY KEY (id)",
              "INSERT INTO T2 VALUES (3, 'c', 1.25); DELETE FROM T2 WHERE id = 1"),
        Entry("pg_select_into", "SELECT INTO",
              "SELECT 1 AS id, 'x'::text AS v INTO T; ALTER TABLE T ADD PRIMARY KEY (id)",
              "INSERT INTO T VALUES (2, 'y')"),
        Entry("pg_create_like", "LIKE INCLUDING ALL",
              "CREATE TABLE T (id int PRIMARY KEY, v text DEFAULT 'q', g int GENERATED ALWAYS AS (id * 2) STORED,"
              " CHECK (id < 100)); CREATE INDEX T_i ON T (v); CREATE TABLE T2 (LIKE T INCLUDING ALL);"
              "CREATE TABLE T3 (LIKE T, PRIMARY KEY (id))",
              "INSERT INTO T2 VALUES (1); INSERT INTO T3 VALUES (1, 'n', 5)"),
        Entry("pg_create_of", "OF",
              "CREATE TYPE T_k AS (id int, v text); CREATE TABLE T OF T_k (PRIMARY KEY (id))",
              "INSERT INTO T VALUES (1, 'x')"),
        Entry("pg_create_inherits_solid", "INHERITS",
              "CREATE TABLE T (id int PRIMARY KEY, v text); CREATE TABLE T2 (w int, PRIMARY KEY (id)) INHERITS (T);"
              "ALTER TABLE ONLY T2 ALTER v SET NOT NULL",
              "INSERT INTO T2 VALUES (1, 'one', 1)"),
        Entry("pg_create_inherits", "INHERITS",
              "CREATE TABLE T (id int PRIMARY KEY, v text); CREATE TABLE T2 (w int, PRIMARY KEY (id)) INHERITS (T)",
              "INSERT INTO T VALUES (1, 'p'); INSERT INTO T2 VALUES (1, 'c', 5); UPDATE ONLY T SET v = 'q';"
              "UPDATE T SET v = v || '!'"),
        Entry("pg_create_foreign", "FOREIGN KEY",
              "CREATE TABLE T (id int PRIMARY KEY); INSERT INTO T VALUES (1), (2);"
              "CREATE TABLE T2 (id int PRIMARY KEY, t int REFERENCES T ON DELETE CASCADE ON UPDATE CASCADE)",
              "INSERT INTO T2 VALUES (1, 1), (2, 2); DELETE FROM T WHERE id = 1; UPDATE T SET id = 20 WHERE id = 2"),
        Entry("pg_foreign_set_null", "ON DELETE SET NULL | ON DELETE SET DEFAULT",
              "CREATE TABLE T (id int PRIMARY KEY); INSERT INTO T VALUES (0), (1), (2);"
              "CREATE TABLE T2 (id int PRIMARY KEY, t int REFERENCES T ON DELETE SET NULL,"
              " u int DEFAULT 0 REFERENCES T ON DELETE SET DEFAULT)",
              "INSERT INTO T2 VALUES (1, 1, 2), (2, 2, 1); DELETE FROM T WHERE id = 1", on={"mysql": Carried("foreign-key"), "load mysql": Carried("foreign-key")}),
        Entry("pg_foreign_columns", "ON DELETE SET NULL (columns)",
              "CREATE TABLE T (a int, b int, PRIMARY KEY (a, b)); INSERT INTO T VALUES (1, 1), (1, 2);"
              "CREATE TABLE T2 (id int PRIMARY KEY, a int, b int, FOREIGN KEY (a, b) REFERENCES T"
              " ON DELETE SET NULL (b))", "INSERT INTO T2 VALUES (1, 1, 1); DELETE FROM T WHERE b = 1"),
        Entry("pg_foreign_match_full", "MATCH FULL",
              "CREATE TABLE T (a int, b int, PRIMARY KEY (a, b)); INSERT INTO T VALUES (1, 1), (1, 2);"
              "CREATE TABLE T2 (id int PRIMARY KEY, a int, b int, FOREIGN KEY (b, a) REFERENCES T (b, a) MATCH FULL)",
              "INSERT INTO T2 VALUES (1, 1, 1), (2, NULL, NULL)", on={"mysql": Carried("foreign-key"), "load mysql": Carried("foreign-key")}),
        Entry("pg_foreign_deferred", "DEFERRABLE INITIALLY DEFERRED",
              "CREATE TABLE T (id int PRIMARY KEY, up int REFERENCES T DEFERRABLE INITIALLY DEFERRED)",
              "BEGIN; INSERT INTO T VALUES (2, 1); INSERT INTO T VALUES (1, NULL); COMMIT"),
        Entry("pg_pk_deferrable", "PRIMARY KEY DEFERRABLE",
              "CREATE TABLE T (id int PRIMARY KEY DEFERRABLE, v text); ALTER TABLE T REPLICA IDENTITY FULL",
              "INSERT INTO T VALUES (1, 'a'), (2, 'b'), (3, 'c'); UPDATE T SET id = id + 1"),
        Entry("pg_create_unique_nulls", "UNIQUE NULLS NOT DISTINCT",
              "CREATE TABLE T (id int PRIMARY KEY, v int UNIQUE NULLS NOT DISTINCT)",
              "INSERT INTO T VALUES (1, NULL), (2, 2)"),
        Entry("pg_create_exclude", "EXCLUDE",
              "CREATE TABLE T (id int PRIMARY KEY, r int4range, EXCLUDE USING gist (r WITH &&))",
              "INSERT INTO T VALUES (1, '[1,5)'), (2, 'empty')", on={"mysql": Carried("exclusion"), "load mysql": Carried("exclusion")}),
        Entry("pg_create_check", "CHECK | NO INHERIT",
              "CREATE TABLE T (id int PRIMARY KEY, v int CHECK (v > 0) NO INHERIT, CONSTRAINT T_c CHECK (id < 100))",
              "INSERT INTO T VALUES (1, NULL), (2, 2)"),
        Entry("pg_create_check_off", "NOT ENFORCED",
              "CREATE TABLE T (id int PRIMARY KEY, v int CHECK (v > 0) NOT ENFORCED)",
              "INSERT INTO T VALUES (1, -5)", servers=PG18),
        Entry("pg_check_own_function", "CHECK",
              "CREATE FUNCTION T_f(i int) RETURNS bool IMMUTABLE LANGUAGE sql AS $$ SELECT i > 0 $$;"
              "CREATE TABLE T (id int PRIMARY KEY, v int CHECK (T_f(v)))", "INSERT INTO T VALUES (1, 5)",
              structure=False),
        Entry("pg_create_generated", "GENERATED ALWAYS AS STORED",
              "CREATE TABLE T (id int PRIMARY KEY, a int, g int GENERATED ALWAYS AS (a * 2) STORED)",
              "INSERT INTO T VALUES (1, 5), (2, NULL); UPDATE T SET a = 6 WHERE id = 1"),
        Entry("pg_generated_key", "GENERATED ALWAYS AS STORED",
              "CREATE TABLE T (a int, k int GENERATED ALWAYS AS (a * 2) STORED, PRIMARY KEY (a, k))",
              "INSERT INTO T VALUES (1), (2); DELETE FROM T WHERE a = 1", on={
                  "pg18": Absent("The server refuses DELETE: its finding not-joined says so.")}),
        Entry("pg_generated_key_there", "GENERATED ALWAYS AS STORED",
              "DELETE FROM T WHERE a = 1; UPDATE T SET a = 7 WHERE a = 2", "INSERT INTO T VALUES (5, 'e')", setup="""
CREATE TABLE T (a int, v text, k int GENERATED ALWAYS AS (a * 2) STORED, PRIMARY KEY (a, k));
INSERT INTO T VALUES (1, 'a'), (2, 'b'), (3, NULL)"""),
        Entry("pg_generated_key_alone", "GENERATED ALWAYS AS STORED",
              "CREATE TABLE T (a int, k int GENERATED ALWAYS AS (a * 2) STORED, PRIMARY KEY (k)); ALTER TABLE T REPLICA IDENTITY FULL",
              "INSERT INTO T VALUES (1), (2); UPDATE T SET a = 5 WHERE a = 2; DELETE FROM T WHERE a = 1", servers=("pg15",)),
        Entry("pg_generated_own_function", "GENERATED ALWAYS AS STORED",
              "CREATE FUNCTION T_f(i int) RETURNS int IMMUTABLE LANGUAGE sql AS $$ SELECT i * 3 $$;"
              "CREATE TABLE T (id int PRIMARY KEY, a int, g int GENERATED ALWAYS AS (T_f(a)) STORED)",
              "INSERT INTO T VALUES (1, 5)", structure=False),
        Entry("pg_create_virtual", "GENERATED ALWAYS AS VIRTUAL",
              "CREATE TABLE T (id int PRIMARY KEY, a int, g int GENERATED ALWAYS AS (a * 2) VIRTUAL)",
              "INSERT INTO T VALUES (1, 5), (2, NULL); UPDATE T SET a = 6 WHERE id = 1", servers=PG18),
        Entry("pg_default_nextval_null", "DEFAULT",
              "INSERT INTO T (id) VALUES (1); INSERT INTO T VALUES (2, NULL)", "UPDATE T SET n = NULL WHERE id = 1; INSERT INTO T (id) VALUES (3)",
              setup="CREATE SEQUENCE T_q; CREATE TABLE T (id int PRIMARY KEY, n int DEFAULT nextval('T_q'))", before="",
              on={"mysql": Carried("default"), "load mysql": Carried("default")}),
        Entry("pg_create_identity", "GENERATED AS IDENTITY",
              "CREATE TABLE T (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
              " n int GENERATED BY DEFAULT AS IDENTITY (START 10 INCREMENT -2 MINVALUE -99 MAXVALUE 99 CYCLE), v int)",
              "INSERT INTO T (v) VALUES (1), (2); INSERT INTO T (id, v) OVERRIDING SYSTEM VALUE VALUES (9, 3)", on={"mysql": Carried("auto-increment"), "load mysql": Carried("auto-increment")}),
        Entry("pg_create_serial", "serial",
              "CREATE TABLE T (id serial PRIMARY KEY, b bigserial, s smallserial)",
              "INSERT INTO T DEFAULT VALUES; INSERT INTO T DEFAULT VALUES", on={"mysql": Carried("auto-increment"), "load mysql": Carried("auto-increment")}),
        Entry("pg_create_char_key", "type char", "CREATE TABLE T (id char(9) PRIMARY KEY, v int)",
              "INSERT INTO T VALUES ('a', 1), ('A', 1), ('b', 1), ('', 1), ('d ', 1); UPDATE T SET v = 2 WHERE id = 'a';"
              "DELETE FROM T WHERE id IN ('A', ''); UPDATE T SET id = 'c', v = 3 WHERE id = 'b'"),
        Entry("pg_create_serial_beside", "serial", "CREATE TABLE T2 (id serial PRIMARY KEY, v int REFERENCES T)",
              "INSERT INTO T VALUES (DEFAULT); INSERT INTO T2 (v) VALUES (1), (2)",
              setup="CREATE TABLE T (id serial PRIMARY KEY); INSERT INTO T VALUES (DEFAULT)"),
        Entry("pg_create_defaults", "DEFAULT",
              "CREATE TABLE T (id int PRIMARY KEY, a int DEFAULT -5, b numeric DEFAULT 1.50, c text DEFAULT '''x\\',"
              " d date DEFAULT '2020-02-29', e float8 DEFAULT 'NaN', f bytea DEFAULT '\\x00ff', g bool DEFAULT true,"
              " h int[] DEFAULT '{1,2}', i jsonb DEFAULT '{\"a\": 1}', j timestamptz DEFAULT now(),"
              " k uuid DEFAULT gen_random_uuid(), l interval DEFAULT '1 day', m text DEFAULT current_user,"
              " n text COLLATE \"C\" DEFAULT lower('X'))",
              "INSERT INTO T (id, e) VALUES (1, 1), (2, 2)",
              on={"mysql": Carried("default"), "load mysql": Carried("default")}),
        Entry("pg_create_default_sequence", "DEFAULT",
              "CREATE SEQUENCE T_q START 7; CREATE TABLE T (id int PRIMARY KEY DEFAULT nextval('T_q'), v int)",
              "INSERT INTO T (v) VALUES (1), (2)"),
        Entry("pg_create_default_function", "DEFAULT",
              "CREATE FUNCTION T_f() RETURNS int LANGUAGE sql AS $$ SELECT 4 $$;"
              "CREATE TABLE T (id int PRIMARY KEY, v int DEFAULT T_f())", "INSERT INTO T VALUES (1)",
              structure=False),
        Entry("pg_create_collate", "COLLATE",
              "CREATE TABLE T (id text COLLATE \"C\" PRIMARY KEY, v text COLLATE \"POSIX\")",
              "INSERT INTO T VALUES ('a', 'x'), ('A', 'y'), ('ä', NULL); UPDATE T SET v = 'z' WHERE id = 'A'"),
        Entry("pg_create_collation_own", "COLLATE",
              "CREATE COLLATION T_ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);"
              "CREATE TABLE T (id text COLLATE T_ci PRIMARY KEY, v int)",
              "INSERT INTO T VALUES ('a', 1), ('B', 2); UPDATE T SET v = 9 WHERE id = 'A'", structure=False, servers=("pg15",),
              verdict=NO_ICU, load=NO_ICU),
        Entry("pg_create_storage", "STORAGE | COMPRESSION",
              "CREATE TABLE T (id int PRIMARY KEY, v text COMPRESSION pglz)", "INSERT INTO T VALUES (1, repeat('x', 9000))"),
        Entry("pg_create_options", "WITH | TABLESPACE | USING",
              "CREATE TABLE T (id int PRIMARY KEY) USING heap WITH (fillfactor = 70) TABLESPACE pg_default",
              "INSERT INTO T VALUES (1)", structure=False),
        Entry("pg_create_quoted", "identifiers",
              'CREATE TABLE "T__Odd ""name, x" ("Id" int PRIMARY KEY, "select" int, "a""b" int, "ümläut" text)',
              'INSERT INTO "T__Odd ""name, x" VALUES (1, 2, 3, \'é\'); UPDATE "T__Odd ""name, x" SET "select" = 5'),
        Entry("pg_create_in_schema", "CREATE SCHEMA",
              "CREATE SCHEMA T_s; CREATE TABLE T_s.T (id int PRIMARY KEY, v text)", "INSERT INTO T_s.T VALUES (1, 'x')",
              on={"mysql": Absent(), "load mysql": Absent()}),
        Entry("pg_create_schema_element", "CREATE SCHEMA",
              "CREATE SCHEMA T_s CREATE TABLE T (id int PRIMARY KEY) CREATE VIEW T_v AS SELECT * FROM T",
              "INSERT INTO T_s.T VALUES (1)", on={"mysql": Absent(), "load mysql": Absent()}),
        Entry("pg_create_wide", "CREATE TABLE",
              "CREATE TABLE T (id int PRIMARY KEY, " + ", ".join(f"c{n} int" for n in range(200)) + ")",
              "INSERT INTO T (id, c199) VALUES (1, 9); UPDATE T SET c0 = 3"),
        Entry("pg_drop_table", "DROP TABLE", "CREATE TABLE T (id int PRIMARY KEY); INSERT INTO T VALUES (1);"
              "DROP TABLE T", options={"allow_lossy": True}),
        Entry("pg_drop_and_again", "DROP TABLE", "CREATE TABLE T (id int PRIMARY KEY); INSERT INTO T VALUES (1);"
              "DROP TABLE T; CREATE TABLE T (id int PRIMARY KEY, v text)", "INSERT INTO T VALUES (1, 'x')",
              options={"allow_lossy": True}),
        typed("smallint", "smallint", "-32768", "32767"),
        typed("int", "integer", "-2147483648", "2147483647"),
        typed("bigint", "bigint", "-9223372036854775808", "9223372036854775807"),
        typed("numeric", "numeric", "'NaN'", "1e-20", "123456789012345678901234567890.123456789",
              on={"mysql": Refused("ROW_REJECTED", why="MySQL has no NaN.")}),
        typed("numeric_fixed", "numeric(12,3)", "-0.001", "999999999.999"),
        typed("numeric_negative_scale", "numeric(5,-2)", "12300"),
        typed("real", "real", "0.1", "1e-45", "3.4e38"),
        typed("double", "double precision", "0.1", "-0.0", "5e-324", "1.7976931348623157e308"),
        typed("double_special", "float8", "'NaN'", "'Infinity'", "'-Infinity'", on=bad()),
        typed("money", "money", "'-12.34'", "'92233720368547758.07'"),
        typed("bool", "boolean", "true", "false"),
        typed("text", "text", "''", "'a''b\\c'", "E'tab\\t nl\\n cr\\r'", "'😀'"),
        typed("varchar", "varchar(20)", "''", "'ä'"),
        typed("char", "char(5)", "'ab'", "''"),
        typed("char_internal", '"char"', "'x'"),
        typed("name", "name", "'some'"),
        typed("bytea", "bytea", "''", "'\\x00ff0a5c'"),
        typed("date", "date", "'0001-01-01'", "'9999-12-31'"),
        typed("date_far", "date", "'infinity'", "'4713-01-01 BC'", "'5874897-12-31'", on={**bad(), **as_text("date")}),
        typed("time", "time", "'00:00'", "'23:59:59.999999'", "'24:00'", on=as_text("time without time zone")),
        typed("timetz", "timetz", "'12:00+05:30'", "'00:00-15:59'"),
        typed("timestamp", "timestamp", "'1000-01-01'", "'9999-12-31 23:59:59.999999'"),
        typed("timestamp_precision", "timestamp(3)", "'2020-02-29 12:00:00.123'"),
        typed("timestamptz", "timestamptz", "'2020-03-29 02:30+01'", "'1900-01-01 00:00:00.000001+00'"),
        typed("timestamptz_far", "timestamptz", "'infinity'", "'294276-12-31 23:59:59+00'", on={**bad(), **as_text("timestamp with time zone")}),
        typed("interval", "interval", "'1 year 2 mons -3 days 04:05:06.789'", "'0'", "'-1 microsecond'"),
        typed("interval_fields", "interval day to second(2)", "'1 day 02:03:04.05'"),
        typed("uuid", "uuid", "'123e4567-e89b-12d3-a456-426655440000'"),
        typed("json", "json", "'null'", "' {\"a\" : 1,  \"a\": 2.50}'"),
        typed("jsonb", "jsonb", "'null'", "'{\"b\": [1, 2.50, \"ü\", null, true], \"a\": {}}'", "'12345678901234567890123'",
              on=bad(why="MySQL's JSON rounds such a number.")),
        typed("jsonpath", "jsonpath", "'$.a[*] ? (@ > 1)'"),
        typed("xml", "xml", "'<a>b</a>'", servers=("pg15",), structure=False, verdict=NO_XML, load=NO_XML),
        typed("bit", "bit(10)", "B'1000000001'"),
        typed("varbit", "bit varying(20)", "B''", "B'10101'"),
        typed("inet", "inet", "'10.0.0.1/8'", "'::1'"),
        typed("cidr", "cidr", "'10.0.0.0/8'"),
        typed("macaddr", "macaddr", "'08:00:2b:01:02:03'"),
        typed("macaddr8", "macaddr8", "'08:00:2b:01:02:03:04:05'"),
        typed("point", "point", "'(1.5,-2)'"),
        typed("line", "line", "'{1,2,3}'"),
        typed("lseg", "lseg", "'[(0,0),(1,1)]'"),
        typed("box", "box", "'(1,1),(0,0)'"),
        typed("path", "path", "'[(0,0),(1,1)]'", "'((0,0),(1,1))'"),
        typed("polygon", "polygon", "'((0,0),(1,0),(1,1))'"),
        typed("circle", "circle", "'<(0,0),5>'"),
        typed("tsvector", "tsvector", "'a:1 b:2,3A'"),
        typed("tsquery", "tsquery", "'a & !b <-> c'"),
        typed("int4range", "int4range", "'empty'", "'[1,5)'", "'(,)'"),
        typed("numrange", "numrange", "'[1.5,2.50]'"),
        typed("daterange", "daterange", "'[2020-01-01,infinity)'"),
        typed("tstzrange", "tstzrange", "'[2020-01-01 00:00+00,)'"),
        typed("multirange", "int4multirange", "'{}'", "'{[1,3),[5,9)}'"),
        typed("int_array", "int[]", "'{}'", "'{1,NULL,-3}'"),
        typed("int_array_2d", "int[][]", "'{{1,2},{3,4}}'"),
        typed("int_array_bounds", "int[]", "'[0:1]={1,2}'",
              on={"mysql": Absent("JSON has no bounds."), "load mysql": Absent()}),
        typed("text_array", "text[]", "'{}'", "'{\"a,b\",\"NULL\",NULL,\"\\\"\",\"ä\"}'"),
        typed("numeric_array", "numeric(9,2)[]", "'{1.50,NULL}'"),
        typed("timestamptz_array", "timestamptz[]", "'{\"2020-01-01 00:00+00\"}'"),
        typed("bytea_array", "bytea[]", "'{\"\\\\x00ff\"}'"),
        typed("jsonb_array", "jsonb[]", "ARRAY['{\"a\": 1}'::jsonb, NULL]"),
        typed("oid", "oid", "4294967295"),
        typed("xid8", "xid8", "'18446744073709551615'"),
        typed("pg_lsn", "pg_lsn", "'16/B374D848'"),
        typed("regclass", "regclass", "'pg_class'"),
        typed("enum", "T_e", "'sad'", "'o''k'", before="CREATE TYPE T_e AS ENUM ('sad', 'o''k', 'ä');"),
        typed("enum_array", "T_e[]", "'{}'", "'{sad,NULL}'", before="CREATE TYPE T_e AS ENUM ('sad', 'ok');"),
        typed("domain", "T_d", "5", before="CREATE DOMAIN T_d AS int CHECK (VALUE > 0);"),
        typed("domain_text", "T_d", "'ab'", before="CREATE DOMAIN T_d AS varchar(5) COLLATE \"C\" DEFAULT 'q';"),
        typed("domain_of_domain", "T_d2", "5", before="CREATE DOMAIN T_d AS int CHECK (VALUE > 0);"
              "CREATE DOMAIN T_d2 AS T_d CHECK (VALUE < 100);"),
        typed("domain_sequence", "T_d", "5", before="CREATE SEQUENCE T_q; CREATE DOMAIN T_d AS int DEFAULT nextval('T_q');"),
        typed("domain_function", "T_d", "5", before="CREATE FUNCTION T_f(i int) RETURNS bool IMMUTABLE LANGUAGE sql"
              " AS $$ SELECT i > 0 $$; CREATE DOMAIN T_d AS int CHECK (T_f(VALUE));", structure=False),
        typed("composite", "T_k", "'(1,\"a,b\")'", "ROW(NULL, '')", before="CREATE TYPE T_k AS (x int, y text);"),
        typed("composite_nested", "T_k2", "'(\"(1,a)\",\"{1,2}\")'",
              before="CREATE TYPE T_k AS (x int, y text); CREATE TYPE T_k2 AS (k T_k, a int[]);"),
        typed("range_own", "T_r", "'[1,2)'", before="CREATE TYPE T_r AS RANGE (subtype = float8);"),
        typed("table_row", "T2", "ROW(1)", before="CREATE TABLE T2 (id int PRIMARY KEY);"),
        Entry("pg_table_row_array", "type own", "CREATE TABLE T_z (id int PRIMARY KEY, n text); CREATE TABLE T (id int PRIMARY KEY, v T_z[])",
              "INSERT INTO T VALUES (1, ARRAY[ROW(1, 'a')::T_z, NULL]), (2, NULL); UPDATE T SET v = '{}' WHERE id = 2", servers=PG18),
        Entry("pg_create_global", "GLOBAL | LOCAL", "CREATE TABLE T (id int PRIMARY KEY); CREATE LOCAL TEMPORARY TABLE T2 (id int); CREATE GLOBAL TEMPORARY TABLE T3 (id int)",
              "INSERT INTO T3 VALUES (1); INSERT INTO T SELECT * FROM T3"),
        Entry("pg_temporary_hides", "TEMPORARY | ON COMMIT DROP | ON COMMIT DELETE ROWS", "CREATE TABLE T (id int PRIMARY KEY, v int); CREATE TEMP TABLE T (id int PRIMARY KEY, w text) ON COMMIT DELETE ROWS;"
              "INSERT INTO T VALUES (1, 'not ours'); ALTER TABLE T ADD z int; DROP TABLE pg_temp.T; BEGIN; CREATE TEMP TABLE T (id int, w text) ON COMMIT DROP; INSERT INTO T VALUES (1, 'x'); COMMIT",
              "INSERT INTO T VALUES (5, 5)"),
        Entry("pg_create_no_data", "WITH NO DATA", "CREATE TABLE T AS SELECT 1 AS id, 'x'::text AS v WITH NO DATA; ALTER TABLE T ADD PRIMARY KEY (id)", "INSERT INTO T VALUES (2, 'y')"),
        Entry("pg_create_like_parts", "LIKE INCLUDING COMMENTS | LIKE INCLUDING STATISTICS | LIKE EXCLUDING",
              "CREATE TABLE T (id int PRIMARY KEY, v text DEFAULT 'q'); COMMENT ON COLUMN T.v IS 'of v; it'; CREATE STATISTICS T_st ON id, v FROM T;"
              "CREATE TABLE T2 (LIKE T INCLUDING COMMENTS INCLUDING STATISTICS INCLUDING INDEXES); CREATE TABLE T3 (LIKE T INCLUDING ALL EXCLUDING DEFAULTS)",
              "INSERT INTO T2 VALUES (1); INSERT INTO T3 VALUES (1)"),
        Entry("pg_primary_overlaps", "PRIMARY KEY WITHOUT OVERLAPS | FOREIGN KEY PERIOD",
              "CREATE TABLE T (k int4range, r daterange, v int, PRIMARY KEY (k, r WITHOUT OVERLAPS)); ALTER TABLE T REPLICA IDENTITY FULL;"
              "CREATE TABLE T2 (id int PRIMARY KEY, k int4range, r daterange, FOREIGN KEY (k, PERIOD r) REFERENCES T (k, PERIOD r))",
              "INSERT INTO T VALUES ('[1,2)', '[2020-01-01,2021-01-01)', 1), ('[1,2)', '[2021-01-01,)', 2); INSERT INTO T2 VALUES (1, '[1,2)', '[2020-06-01,2021-06-01)');"
              "UPDATE T SET v = 3 WHERE v = 2", servers=PG18, structure=False),
        Entry("pg_primary_overlaps_bare", "PRIMARY KEY WITHOUT OVERLAPS",
              "CREATE TABLE T (k int4range, r daterange, v int, PRIMARY KEY (k, r WITHOUT OVERLAPS))",
              "INSERT INTO T VALUES ('[1,2)', '[2020-01-01,2021-01-01)', 1), ('[1,2)', '[2021-01-01,)', 2); UPDATE T SET v = 3 WHERE v = 2; DELETE FROM T WHERE v = 1", servers=PG18, structure=False),
        Entry("pg_unique_include", "UNIQUE INCLUDE", "CREATE TABLE T (id int PRIMARY KEY, v int, w int, UNIQUE (v) INCLUDE (w))", "INSERT INTO T VALUES (1, 1, 1), (2, 2, 1)"),
        Entry("pg_primary_include", "UNIQUE INCLUDE", "CREATE TABLE T (id int, v int, PRIMARY KEY (id) INCLUDE (v))", "INSERT INTO T VALUES (1, 1), (2, 1); UPDATE T SET v = 9 WHERE id = 1"),
        Entry("pg_exclude_where", "EXCLUDE WHERE", "CREATE TABLE T (id int PRIMARY KEY, r int4range, v int, EXCLUDE USING gist (r WITH &&) WHERE (v > 0) DEFERRABLE)",
              "INSERT INTO T VALUES (1, '[1,5)', 1), (2, '[2,6)', 0)",
              on={"mysql": Carried("exclusion"), "load mysql": Carried("exclusion")}),
        Entry("pg_foreign_simple", "MATCH SIMPLE | ON UPDATE SET NULL | ON DELETE RESTRICT",
              "CREATE TABLE T (a int, b int, PRIMARY KEY (a, b)); INSERT INTO T VALUES (1, 1), (1, 2), (3, 3);"
              "CREATE TABLE T2 (id int PRIMARY KEY, a int, b int, FOREIGN KEY (a, b) REFERENCES T MATCH SIMPLE ON UPDATE SET NULL ON DELETE RESTRICT)",
              "INSERT INTO T2 VALUES (1, 1, 1), (2, NULL, 7); UPDATE T SET a = 2 WHERE b = 1; DELETE FROM T WHERE a = 3"),
        Entry("pg_foreign_partial", "MATCH PARTIAL", "", verdict=NOT_YET, load=NOT_YET),
        Entry("pg_create_as_execute", "AS EXECUTE", "PREPARE T_s AS SELECT 1 AS id, 'x'::text AS v; CREATE TABLE T AS EXECUTE T_s; DEALLOCATE T_s; ALTER TABLE T ADD PRIMARY KEY (id)",
              "INSERT INTO T VALUES (2, 'y')", alone=True),
        Entry("pg_create_not_null_alone", "NOT NULL NO INHERIT", "CREATE TABLE T (id int PRIMARY KEY, v int CONSTRAINT T_nn NOT NULL NO INHERIT)", "INSERT INTO T VALUES (1, 1)", servers=PG18),
        Entry("pg_create_without_oids", "WITHOUT OIDS", "CREATE TABLE T (id int PRIMARY KEY) WITHOUT OIDS", "INSERT INTO T VALUES (1)"),
        typed("tsrange", "tsrange", "'empty'", "'[2020-01-01 00:00:00,2020-02-02 02:02:02.5)'", "'(,2020-01-01)'"),
        typed("int8range", "int8range", "'[1,9223372036854775807)'", "'(,)'"),
        typed("nummultirange", "nummultirange", "'{}'", "'{[1.5,2.50],(3,)}'"),
        typed("regproc", "regproc", "'now'"),
        typed("refcursor", "refcursor", "'some cursor'", "''"),
        typed("txid_snapshot", "txid_snapshot", "'10:20:10,14,15'"),
        typed("hstore", "hstore", "'a=>1, \"b c\"=>NULL'", "''", before="CREATE EXTENSION IF NOT EXISTS hstore;", servers=("pg15", "pg18")),
        typed("ltree", "ltree", "'Top.Science.Astronomy'", "''", before="CREATE EXTENSION IF NOT EXISTS ltree;", servers=("pg15", "pg18")),
        Entry("pg_types_apart", "type vector | type geometry", "", verdict=APART, load=APART),
        Entry("pg_type_unknown", "type unknown", "CREATE TABLE T AS SELECT 1 AS id, 'x' AS v, NULL AS n; ALTER TABLE T ADD PRIMARY KEY (id)", "INSERT INTO T VALUES (2, 'y', 'z')"),
    ),
)
