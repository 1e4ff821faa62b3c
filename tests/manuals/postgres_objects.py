"""PostgreSQL 15 and 18: indexes, types, sequences, views, rules, triggers, publications and others."""

# fmt: off
from __future__ import annotations

from dataclasses import replace

from tests.manuals.entries import (
    CARRIED,
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
ENUM = """
CREATE TYPE T_e AS ENUM ('sad', 'ok'); CREATE TABLE T (id int PRIMARY KEY, k T_e, ks T_e[]);
INSERT INTO T VALUES (1, 'sad', '{sad,ok}'), (2, 'ok', '{}'), (3, NULL, NULL)"""
DOMAIN = """
CREATE DOMAIN T_d AS int CONSTRAINT T_dc CHECK (VALUE < 10); CREATE TABLE T (id int PRIMARY KEY, s T_d);
INSERT INTO T VALUES (1, 1), (2, NULL)"""
KIND = """
CREATE TYPE T_k AS (x int, y text); CREATE TABLE T (id int PRIMARY KEY, p T_k);
INSERT INTO T VALUES (1, '(1,a)'), (2, NULL)"""
SEQUENCE = """
CREATE SEQUENCE T_q; CREATE TABLE T (id int PRIMARY KEY DEFAULT nextval('T_q'), v int);
INSERT INTO T (v) VALUES (1), (2)"""
PUBLISHED = Refused("LOG_LOST", fresh=True, why="The publication kept changes out of the log.")
BASE_TYPE = """CREATE TYPE T_b; CREATE FUNCTION T_in(cstring) RETURNS T_b LANGUAGE internal IMMUTABLE STRICT AS $$int4in$$;
CREATE FUNCTION T_out(T_b) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS $$int4out$$;
CREATE TYPE T_b (INPUT = T_in, OUTPUT = T_out, INTERNALLENGTH = 4, PASSEDBYVALUE, ALIGNMENT = int4)"""
COLLATION = "CREATE COLLATION T_co (provider = libc, locale = 'C')"
SEARCH = "CREATE TEXT SEARCH CONFIGURATION T_ts (COPY = simple)"
NINETEEN = Absent("Of PostgreSQL 19.")


def _missing(script: str) -> Refused:
    """What a user made, and a stream does not move, is created on the target by hand."""
    return Refused("TARGET_CONFLICT", target=script, why="The user's own objects are not moved.")


CHAPTER = Chapter(
    statement="other objects",
    section="PostgreSQL 18 SQL Commands: INDEX, TYPE, DOMAIN, SEQUENCE, VIEW, RULE, TRIGGER, PUBLICATION, ...",
    servers=("pg15", "pg18"),
    setup="""
CREATE TABLE T (id int PRIMARY KEY, a int, b text);
INSERT INTO T VALUES (1, 10, 'one'), (2, NULL, ''), (3, -1, 'drei'), (4, 99, ' x ')""",
    before="",
    entries=(
        Entry("pg_index", "CREATE INDEX", "CREATE INDEX T_i ON T (a DESC NULLS LAST, b)", ROW5),
        Entry("pg_index_unique", "CREATE UNIQUE INDEX", "CREATE UNIQUE INDEX T_i ON T (b) NULLS NOT DISTINCT", ROW5),
        Entry("pg_index_concurrently", "CREATE INDEX CONCURRENTLY", "CREATE INDEX CONCURRENTLY T_i ON T (a)", ROW5, alone=True),
        Entry("pg_index_if", "CREATE INDEX IF NOT EXISTS", "CREATE INDEX IF NOT EXISTS T_i ON T (a)", ROW5),
        Entry("pg_index_hash", "CREATE INDEX USING", "CREATE INDEX T_i ON T USING hash (b)", ROW5),
        Entry("pg_index_brin", "CREATE INDEX USING", "CREATE INDEX T_i ON T USING brin (id) WITH (pages_per_range = 16)", ROW5, on={"mysql": Carried("index"), "load mysql": Carried("index")}),
        Entry("pg_index_gin", "CREATE INDEX USING", "ALTER TABLE T ADD j jsonb; CREATE INDEX T_i ON T USING gin (j jsonb_path_ops)",
              "INSERT INTO T VALUES (5, 5, 'x', '{}')", on={"mysql": Carried("index"), "load mysql": Carried("index")}),
        Entry("pg_index_gist", "CREATE INDEX USING", "ALTER TABLE T ADD p point; CREATE INDEX T_i ON T USING gist (p)", ROW5, on={"mysql": Carried("index"), "load mysql": Carried("index")}),
        Entry("pg_index_spgist", "CREATE INDEX USING", "CREATE INDEX T_i ON T USING spgist (b)", ROW5, on={"mysql": Carried("index"), "load mysql": Carried("index")}),
        Entry("pg_index_partial", "CREATE INDEX WHERE", "CREATE INDEX T_i ON T (a) WHERE b > 'a'", ROW5),
        Entry("pg_index_partial_unique", "CREATE INDEX WHERE", "CREATE UNIQUE INDEX T_i ON T (a) WHERE id > 100",
              "INSERT INTO T VALUES (5, 10, 'same a'), (6, 10, 'same a')", on={"mysql": Carried("index"), "load mysql": Carried("index")}),
        Entry("pg_index_expression", "CREATE INDEX (expression)", "CREATE INDEX T_i ON T (lower(b), (a + 1))", ROW5),
        Entry("pg_index_include", "CREATE INDEX INCLUDE", "CREATE INDEX T_i ON T (a) INCLUDE (b)", ROW5),
        Entry("pg_index_opclass", "CREATE INDEX opclass | CREATE INDEX COLLATE", "CREATE INDEX T_i ON T (b text_pattern_ops, b COLLATE \"C\")", ROW5, on={"mysql": Carried("left-out"), "load mysql": Carried("left-out")}),
        Entry("pg_index_drop", "DROP INDEX", "CREATE INDEX T_i ON T (a); DROP INDEX T_i", ROW5),
        Entry("pg_index_drop_concurrently", "DROP INDEX CONCURRENTLY", "CREATE INDEX T_i ON T (a); DROP INDEX CONCURRENTLY T_i", ROW5, alone=True),
        Entry("pg_index_rename", "ALTER INDEX RENAME", "CREATE INDEX T_i ON T (a); ALTER INDEX T_i RENAME TO T_j", ROW5),
        Entry("pg_index_alter", "ALTER INDEX SET | ALTER INDEX ALTER COLUMN", "CREATE INDEX T_i ON T ((a + 1));"
              "ALTER INDEX T_i SET (fillfactor = 80); ALTER INDEX T_i ALTER COLUMN 1 SET STATISTICS 300", ROW5, structure=False),
        Entry("pg_reindex", "REINDEX", "REINDEX TABLE T", ROW5),
        Entry("pg_statistics", "CREATE STATISTICS", "CREATE STATISTICS T_s ON a, b FROM T; ANALYZE T; DROP STATISTICS T_s", ROW5),
        Entry("pg_vacuum", "VACUUM | ANALYZE | CLUSTER", "VACUUM FULL T; ANALYZE T; CLUSTER T USING T_pkey",
              ROW5, alone=True, setup="""
CREATE TABLE T (id int CONSTRAINT T_pkey PRIMARY KEY, a int, b text); INSERT INTO T VALUES (1, 1, 'x'), (2, 2, 'y')""", structure=False),
        Entry("pg_comment", "COMMENT", "COMMENT ON TABLE T IS 'of ''it'; COMMENT ON COLUMN T.a IS 'a'", ROW5),
        Entry("pg_security_label", "GRANT | REVOKE", "GRANT SELECT ON T TO PUBLIC; REVOKE SELECT ON T FROM PUBLIC", ROW5),
        Entry("pg_drop_table_statement", "DROP TABLE", "DROP TABLE T", verdict=LOSSY,
              on={"bare": Absent("Nothing of it is in the log."), "within mysql": replace(NO_UNDO, target="DROP TABLE T")}),
        Entry("pg_drop_check_then_table", "DROP TABLE", "ALTER TABLE T DROP CONSTRAINT T_c; INSERT INTO T VALUES (2, 20); DROP TABLE T",
              setup="CREATE TABLE T (id int PRIMARY KEY, a int CONSTRAINT T_c CHECK (a < 10)); INSERT INTO T VALUES (1, 1)",
              before="", verdict=LOSSY),
        Entry("pg_drop_create_other", "DROP TABLE", "DROP TABLE T; CREATE TABLE T (id int PRIMARY KEY, z text)", "INSERT INTO T VALUES (5, 'x')",
              verdict=LOSSY, on={"within mysql": NO_UNDO}),  # bare: read again where no look saw it gone
        Entry("pg_drop_create_same", "DROP TABLE", "DROP TABLE T; CREATE TABLE T (id int PRIMARY KEY, a int, b text)",
              "INSERT INTO T VALUES (1, 5, 'x')", verdict=LOSSY, on={"within mysql": NO_UNDO}),
        Entry("pg_enum_add", "ALTER TYPE ADD VALUE", "ALTER TYPE T_e ADD VALUE 'happy'",
              "INSERT INTO T VALUES (5, 'happy', '{happy}'); UPDATE T SET k = 'happy' WHERE id = 1", setup=ENUM, alone=True),
        Entry("pg_enum_add_before", "ALTER TYPE ADD VALUE BEFORE", "ALTER TYPE T_e ADD VALUE IF NOT EXISTS 'meh' BEFORE 'ok'",
              "INSERT INTO T VALUES (5, 'meh', '{meh}')", setup=ENUM, alone=True),
        Entry("pg_enum_rename_value", "ALTER TYPE RENAME VALUE", "ALTER TYPE T_e RENAME VALUE 'sad' TO 'blue'",
              "INSERT INTO T VALUES (5, 'blue', '{blue}')", setup=ENUM, verdict=RELOAD),
        Entry("pg_enum_new_column", "CREATE TYPE ENUM", "CREATE TYPE T_c AS ENUM ('red'); ALTER TABLE T ADD c T_c",
              "INSERT INTO T VALUES (5, 'ok', '{}', 'red')", setup=ENUM),
        Entry("pg_enum_added_default", "ALTER TYPE ADD VALUE", "ALTER TYPE T_e ADD VALUE 'new one'; ALTER TABLE T ADD c T_e DEFAULT 'new one'",
              "INSERT INTO T VALUES (5, 'ok', '{}', 'sad')", setup=ENUM, alone=True),
        Entry("pg_type_rename", "ALTER TYPE RENAME TO | ALTER TYPE SET SCHEMA | ALTER TYPE OWNER TO",
              "ALTER TYPE T_e RENAME TO T_f; ALTER TYPE T_f OWNER TO CURRENT_USER", "INSERT INTO T VALUES (5, 'ok', '{}')", setup=ENUM),
        Entry("pg_composite_add", "ALTER TYPE ADD ATTRIBUTE", "ALTER TYPE T_k ADD ATTRIBUTE z int",
              "INSERT INTO T VALUES (5, '(1,b,3)')", setup=KIND, verdict=RELOAD),
        Entry("pg_composite_drop", "ALTER TYPE DROP ATTRIBUTE", "ALTER TYPE T_k DROP ATTRIBUTE y",
              "INSERT INTO T VALUES (5, '(1)')", setup=KIND, verdict=RELOAD),
        Entry("pg_composite_rename", "ALTER TYPE RENAME ATTRIBUTE | ALTER TYPE ALTER ATTRIBUTE",
              "ALTER TYPE T_k RENAME ATTRIBUTE y TO w", "INSERT INTO T VALUES (5, '(1,b)')", setup=KIND),
        Entry("pg_domain_drop_check", "ALTER DOMAIN DROP CONSTRAINT", "ALTER DOMAIN T_d DROP CONSTRAINT T_dc",
              "INSERT INTO T VALUES (5, 300)", setup=DOMAIN),
        Entry("pg_domain_add_check", "ALTER DOMAIN ADD CONSTRAINT | ALTER DOMAIN VALIDATE CONSTRAINT",
              "ALTER DOMAIN T_d ADD CONSTRAINT T_d2 CHECK (VALUE > -5) NOT VALID; ALTER DOMAIN T_d VALIDATE CONSTRAINT T_d2",
              "INSERT INTO T VALUES (5, 3)", setup=DOMAIN),
        Entry("pg_domain_default", "ALTER DOMAIN SET DEFAULT | ALTER DOMAIN DROP DEFAULT", "ALTER DOMAIN T_d SET DEFAULT 7",
              "INSERT INTO T (id) VALUES (5)", setup=DOMAIN),
        Entry("pg_domain_not_null", "ALTER DOMAIN SET NOT NULL", "UPDATE T SET s = 2; ALTER DOMAIN T_d SET NOT NULL; ALTER DOMAIN T_d DROP NOT NULL",
              "INSERT INTO T VALUES (5, NULL)", setup=DOMAIN),
        Entry("pg_sequence", "CREATE SEQUENCE | ALTER SEQUENCE | nextval", "ALTER SEQUENCE T_q INCREMENT 10 RESTART 100; SELECT nextval('T_q')",
              "INSERT INTO T (v) VALUES (3)", setup=SEQUENCE),
        Entry("pg_sequence_setval", "setval", "SELECT setval('T_q', 5000)", "INSERT INTO T (v) VALUES (3)", setup=SEQUENCE),
        Entry("pg_sequence_alone", "CREATE SEQUENCE", "CREATE SEQUENCE T_z START 42 MINVALUE 1 MAXVALUE 50 CYCLE CACHE 5 OWNED BY T.id",
              ROW5),
        Entry("pg_sequence_drop", "DROP SEQUENCE", "DROP SEQUENCE T_q CASCADE", "INSERT INTO T VALUES (7, 3)", setup=SEQUENCE),
        Entry("pg_sequence_kept", "CREATE SEQUENCE", "ALTER TABLE T ALTER id TYPE bigint, ADD w int; ALTER TABLE T RENAME id TO ident; ALTER TABLE T DROP w",
              "INSERT INTO T (v) VALUES (3)", setup=SEQUENCE, options={"allow_lossy": True}, servers=PG18),
        Entry("pg_view", "CREATE VIEW | ALTER VIEW | DROP VIEW", "CREATE VIEW T_v AS SELECT id, a FROM T WHERE a > 0 WITH CHECK OPTION;"
              "INSERT INTO T_v VALUES (7, 7); UPDATE T_v SET a = 8 WHERE id = 7; ALTER VIEW T_v RENAME a TO aa; DROP VIEW T_v", ROW5),
        Entry("pg_materialized_view", "CREATE MATERIALIZED VIEW | REFRESH MATERIALIZED VIEW",
              "CREATE MATERIALIZED VIEW T_m AS SELECT * FROM T; REFRESH MATERIALIZED VIEW T_m; DROP MATERIALIZED VIEW T_m", ROW5),
        Entry("pg_rule_also", "CREATE RULE", "CREATE TABLE T_l (n serial PRIMARY KEY, id int);"
              "CREATE RULE T_r AS ON UPDATE TO T DO ALSO INSERT INTO T_l (id) VALUES (OLD.id)", ROW5),
        Entry("pg_rule_instead", "CREATE RULE", "CREATE RULE T_r AS ON DELETE TO T DO INSTEAD UPDATE T SET b = 'gone' WHERE id = OLD.id",
              "DELETE FROM T WHERE id = 1"),
        Entry("pg_trigger_before", "CREATE TRIGGER", "CREATE FUNCTION T_f() RETURNS trigger LANGUAGE plpgsql AS"
              " $$ BEGIN NEW.b := upper(NEW.b); RETURN NEW; END $$;"
              "CREATE TRIGGER T_t BEFORE INSERT OR UPDATE ON T FOR EACH ROW EXECUTE FUNCTION T_f()", ROW5),
        Entry("pg_trigger_null", "CREATE TRIGGER", "CREATE FUNCTION T_f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;"
              "CREATE TRIGGER T_t BEFORE DELETE ON T FOR EACH ROW EXECUTE FUNCTION T_f()", "DELETE FROM T; INSERT INTO T VALUES (5, 5, 'x')"),
        Entry("pg_trigger_instead", "CREATE TRIGGER INSTEAD OF", "CREATE VIEW T_v AS SELECT id FROM T;"
              "CREATE FUNCTION T_f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM T WHERE id = OLD.id; RETURN OLD; END $$;"
              "CREATE TRIGGER T_t INSTEAD OF DELETE ON T_v FOR EACH ROW EXECUTE FUNCTION T_f()", "DELETE FROM T_v WHERE id = 1"),
        Entry("pg_trigger_constraint", "CREATE CONSTRAINT TRIGGER", "CREATE TABLE T_l (id int PRIMARY KEY);"
              "CREATE FUNCTION T_f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO T_l VALUES (NEW.id); RETURN NULL; END $$;"
              "CREATE CONSTRAINT TRIGGER T_t AFTER INSERT ON T DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION T_f()", ROW5),
        Entry("pg_function", "CREATE FUNCTION | CREATE PROCEDURE | CALL | DO", "CREATE PROCEDURE T_p() LANGUAGE plpgsql AS"
              " $$ BEGIN UPDATE T SET a = 1; COMMIT; UPDATE T SET a = 2 WHERE id = 1; END $$; CALL T_p();"
              "DO $$ BEGIN INSERT INTO T VALUES (8, 8, 'do'); END $$", ROW5, alone=True),
        Entry("pg_policy", "CREATE POLICY", "CREATE POLICY T_p ON T FOR SELECT USING (a > 0); ALTER TABLE T ENABLE ROW LEVEL SECURITY", ROW5),
        Entry("pg_publication_own", "CREATE PUBLICATION | ALTER PUBLICATION | DROP PUBLICATION",
              "CREATE PUBLICATION T_pub FOR TABLE T WHERE (id > 2); ALTER PUBLICATION T_pub SET (publish = 'insert'); DROP PUBLICATION T_pub", ROW5),
        Entry("pg_publication_dropped", "ALTER PUBLICATION DROP TABLE",
              "DO $$ DECLARE p text; BEGIN SELECT pubname INTO p FROM pg_publication_tables WHERE tablename = 'T' LIMIT 1;"
              " IF p IS NOT NULL THEN EXECUTE format('ALTER PUBLICATION %I DROP TABLE T', p); END IF; END $$", "INSERT INTO T VALUES (5, 5, 'x')",
              verdict=PUBLISHED),
        Entry("pg_schema_rename_followed", "ALTER SCHEMA RENAME",
              "ALTER SCHEMA T_s RENAME TO T_z", "INSERT INTO T_z.T VALUES (2); INSERT INTO T_z.T VALUES (3)",
              setup="CREATE SCHEMA T_s; CREATE TABLE T_s.T (id int PRIMARY KEY); INSERT INTO T_s.T VALUES (1)", before="INSERT INTO T_s.T VALUES (9)",
              servers=("pg15", "pg18"), on={"mysql": Absent(), "load mysql": Absent()}),
        Entry("pg_schema_rename", "ALTER SCHEMA RENAME", "CREATE SCHEMA T_s; CREATE TABLE T_s.T (id int PRIMARY KEY); INSERT INTO T_s.T VALUES (1);"
              "ALTER SCHEMA T_s RENAME TO T_z", "INSERT INTO T_z.T VALUES (2)", servers=PG18, on={"mysql": Absent(), "load mysql": Absent()}),
        Entry("pg_schema_drop", "DROP SCHEMA CASCADE", "CREATE SCHEMA T_s; CREATE TABLE T_s.T (id int PRIMARY KEY); INSERT INTO T_s.T VALUES (1);"
              "DROP SCHEMA T_s CASCADE", ROW5, options={"allow_lossy": True}, on={"mysql": Absent(), "load mysql": Absent()}),
        Entry("pg_extension_type", "CREATE EXTENSION", "CREATE EXTENSION IF NOT EXISTS citext; CREATE TABLE T2 (id citext PRIMARY KEY)",
              "INSERT INTO T2 VALUES ('x')", servers=("pg15", "pg18"), structure=False),
        Entry("pg_large_object", "large objects", "SELECT lo_from_bytea(0, '\\x00ff'); UPDATE T SET a = 5 WHERE id = 1", ROW5),
        Entry("pg_foreign_table", "CREATE FOREIGN TABLE | IMPORT FOREIGN SCHEMA", "CREATE FOREIGN DATA WRAPPER T_w; CREATE SERVER T_sv FOREIGN DATA WRAPPER T_w;"
              "CREATE FOREIGN TABLE T_ft (id int) SERVER T_sv; DROP FOREIGN TABLE T_ft", ROW5),
        Entry("pg_owned", "REASSIGN OWNED | ALTER DEFAULT PRIVILEGES", "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC; CREATE TABLE T2 (id int PRIMARY KEY)",
              "INSERT INTO T2 VALUES (1)"),
        Entry("pg_cast", "CREATE CAST | CREATE OPERATOR | CREATE AGGREGATE | CREATE OPERATOR CLASS",
              "CREATE FUNCTION T_cmp(int, int) RETURNS int IMMUTABLE LANGUAGE sql AS $$ SELECT CASE WHEN $1 < $2 THEN 1 WHEN $1 > $2 THEN -1 ELSE 0 END $$;"
              "CREATE OPERATOR CLASS T_oc FOR TYPE int USING btree AS OPERATOR 1 >, OPERATOR 2 >=, OPERATOR 3 =, OPERATOR 4 <=, OPERATOR 5 <, FUNCTION 1 T_cmp(int, int);"
              "CREATE INDEX T_i ON T (a T_oc)", ROW5, structure=False),
        Entry("pg_enum_add_after", "ALTER TYPE ADD VALUE AFTER", "ALTER TYPE T_e ADD VALUE 'meh' AFTER 'sad'; ALTER TYPE T_e ADD VALUE 'mid' AFTER 'meh'",
              "INSERT INTO T VALUES (5, 'meh', '{mid,meh}')", setup=ENUM, alone=True),
        Entry("pg_drop_type_cascade", "DROP TYPE CASCADE", "DROP TYPE T_e CASCADE", "INSERT INTO T VALUES (5)", setup=ENUM, verdict=LOSSY, on={"within mysql": NO_UNDO}),
        Entry("pg_create_range", "CREATE TYPE RANGE", "CREATE TYPE T_r AS RANGE (subtype = float8, subtype_diff = float8mi); ALTER TABLE T ADD r T_r, ADD m T_r[]", "INSERT INTO T VALUES (5, 5, 'x', '[1.5,2)', '{empty}')"),
        Entry("pg_create_base_type", "CREATE TYPE (base)", BASE_TYPE + "; CREATE TABLE T2 (id int PRIMARY KEY, v T_b)", "INSERT INTO T2 VALUES (1, '7'), (2, NULL)", structure=False,
              verdict=_missing(BASE_TYPE), load=_missing(BASE_TYPE), on={"mysql": Absent(), "load mysql": Absent(), "files": CARRIED, "load files": CARRIED}),
        Entry("pg_create_domain_collate", "CREATE DOMAIN COLLATE", "CREATE DOMAIN T_dd AS text COLLATE \"C\" CONSTRAINT T_nn NOT NULL CHECK (length(VALUE) < 50); CREATE TABLE T2 (id int PRIMARY KEY, v T_dd)",
              "INSERT INTO T2 VALUES (1, 'ä')"),
        Entry("pg_domain_rename_check", "ALTER DOMAIN RENAME CONSTRAINT", "ALTER DOMAIN T_d RENAME CONSTRAINT T_dc TO T_dz; ALTER DOMAIN T_d RENAME TO T_dn", "INSERT INTO T VALUES (5, 5)", setup=DOMAIN),
        Entry("pg_domain_dropped", "DROP DOMAIN", "ALTER TABLE T ALTER s TYPE int; DROP DOMAIN T_d", "INSERT INTO T VALUES (5, 500)", setup=DOMAIN),
        Entry("pg_domain_dropped_cascade", "DROP DOMAIN", "DROP DOMAIN T_d CASCADE", "INSERT INTO T VALUES (5)", setup=DOMAIN, verdict=LOSSY, on={"within mysql": NO_UNDO}),
        Entry("pg_sequence_owned", "ALTER SEQUENCE OWNED BY | ALTER SEQUENCE RENAME | ALTER SEQUENCE SET UNLOGGED", "ALTER SEQUENCE T_q OWNED BY T.id; ALTER SEQUENCE T_q RENAME TO T_qq; ALTER SEQUENCE T_qq SET UNLOGGED",
              "INSERT INTO T (v) VALUES (3)", setup=SEQUENCE),
        Entry("pg_index_depends", "ALTER INDEX DEPENDS ON EXTENSION", "CREATE INDEX T_i ON T (a); ALTER INDEX T_i DEPENDS ON EXTENSION plpgsql; ALTER INDEX T_i NO DEPENDS ON EXTENSION plpgsql", ROW5),
        Entry("pg_index_fillfactor", "CREATE INDEX fillfactor", "CREATE INDEX T_i ON T (a) WITH (fillfactor = 70, deduplicate_items = off) TABLESPACE pg_default", ROW5, structure=False),
        Entry("pg_reindex_concurrently", "REINDEX CONCURRENTLY", "REINDEX TABLE CONCURRENTLY T", ROW5, alone=True),
        Entry("pg_event_trigger_own", "CREATE EVENT TRIGGER", "CREATE FUNCTION T_f() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM 1; END $$; BEGIN; CREATE EVENT TRIGGER T_ev ON ddl_command_end EXECUTE FUNCTION T_f();"
              "ALTER TABLE T ADD c int DEFAULT 4; DROP EVENT TRIGGER T_ev; COMMIT", "INSERT INTO T VALUES (5, 5, 'x', 1)", alone=True),
        Entry("pg_alter_policy", "ALTER POLICY", "CREATE POLICY T_p ON T USING (a > 0); ALTER POLICY T_p ON T RENAME TO T_pp; ALTER POLICY T_pp ON T USING (a > 1); DROP POLICY T_pp ON T", ROW5),
        Entry("pg_alter_trigger", "ALTER TRIGGER | DROP TRIGGER", "CREATE FUNCTION T_f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.b := upper(NEW.b); RETURN NEW; END $$;"
              "CREATE TRIGGER T_t BEFORE INSERT ON T FOR EACH ROW EXECUTE FUNCTION T_f(); ALTER TRIGGER T_t ON T RENAME TO T_tt; INSERT INTO T VALUES (6, 6, 'six'); DROP TRIGGER T_tt ON T", ROW5),
        Entry("pg_subscription", "CREATE SUBSCRIPTION", "BEGIN; CREATE SUBSCRIPTION T_sub CONNECTION 'dbname=none' PUBLICATION T_none WITH (connect = false, slot_name = NONE); DROP SUBSCRIPTION T_sub; COMMIT", ROW5, alone=True),
        Entry("pg_publication_altered", "ALTER PUBLICATION ADD TABLE | ALTER PUBLICATION SET | ALTER PUBLICATION TABLES IN SCHEMA", "CREATE PUBLICATION T_pub; ALTER PUBLICATION T_pub ADD TABLE T;"
              "ALTER PUBLICATION T_pub SET TABLE T (id, a); ALTER PUBLICATION T_pub SET TABLES IN SCHEMA public; DROP PUBLICATION T_pub", ROW5),
        Entry("pg_next_release", "CREATE PUBLICATION FOR ALL SEQUENCES", "", verdict=NINETEEN, load=NINETEEN),
        Entry("pg_alter_database", "ALTER DATABASE", "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET datestyle = %L', current_database(), 'German'); EXECUTE format('ALTER DATABASE %I RESET datestyle', current_database()); END $$", ROW5),
        Entry("pg_database_settings", "ALTER DATABASE", "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone = %L', current_database(), 'Asia/Kathmandu');"
              " EXECUTE format('ALTER DATABASE %I SET intervalstyle = %L', current_database(), 'sql_standard'); EXECUTE format('ALTER DATABASE %I SET extra_float_digits = 0', current_database()); END $$;"
              "ALTER TABLE T ADD t timestamptz, ADD i interval, ADD f float8", "INSERT INTO T VALUES (5, 5, 'x', '2020-01-01 00:00+00', '1 mon -2 days 03:04', 0.1::float8 + 0.2)"),
        Entry("pg_alter_system", "ALTER SYSTEM", "ALTER SYSTEM SET work_mem = '5MB'; ALTER SYSTEM RESET work_mem", ROW5, alone=True),
        Entry("pg_create_tablespace", "CREATE TABLESPACE", "SET allow_in_place_tablespaces = on; DROP TABLESPACE IF EXISTS T_ts; CREATE TABLESPACE T_ts LOCATION ''; ALTER TABLE T SET TABLESPACE T_ts; INSERT INTO T VALUES (6, 6, 'six');"
              "ALTER TABLE T SET TABLESPACE pg_default; DROP TABLESPACE T_ts", ROW5, alone=True),
        Entry("pg_create_role", "CREATE ROLE | DROP OWNED", "BEGIN; CREATE ROLE T_ro; GRANT ALL ON T TO T_ro; DROP OWNED BY T_ro; DROP ROLE T_ro; COMMIT", ROW5),
        Entry("pg_labels", "SECURITY LABEL", "SECURITY LABEL ON TABLE T IS 'x'", ROW5, tolerant=True),
        Entry("pg_alter_extension", "ALTER EXTENSION", "ALTER EXTENSION plpgsql UPDATE; CREATE FUNCTION T_f() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$; ALTER EXTENSION plpgsql ADD FUNCTION T_f(); ALTER EXTENSION plpgsql DROP FUNCTION T_f()", ROW5),
        Entry("pg_conversions", "CREATE CONVERSION | CREATE TRANSFORM | CREATE TEXT SEARCH", "CREATE CONVERSION T_c FOR 'UTF8' TO 'LATIN1' FROM utf8_to_iso8859_1;"
              "CREATE TEXT SEARCH CONFIGURATION T_ts (COPY = simple); ALTER TABLE T ADD v tsvector GENERATED ALWAYS AS (to_tsvector('T_ts'::regconfig, b)) STORED", "INSERT INTO T (id, b) VALUES (5, 'some words')", structure=False,
              on={"postgresql": _missing(SEARCH)}),
        Entry("pg_access_method", "CREATE ACCESS METHOD", "CREATE ACCESS METHOD T_am TYPE TABLE HANDLER heap_tableam_handler; CREATE TABLE T2 (id int PRIMARY KEY) USING T_am", "INSERT INTO T2 VALUES (1), (2); DELETE FROM T2 WHERE id = 2", structure=False),
        Entry("pg_create_language", "CREATE LANGUAGE", "CREATE TRUSTED LANGUAGE T_pl HANDLER plpgsql_call_handler INLINE plpgsql_inline_handler VALIDATOR plpgsql_validator; DROP LANGUAGE T_pl", ROW5),
        Entry("pg_create_collation_now", "CREATE COLLATION | ALTER COLLATION REFRESH VERSION", "CREATE COLLATION T_co (provider = libc, locale = 'C'); ALTER COLLATION T_co REFRESH VERSION; ALTER TABLE T ADD c text COLLATE T_co DEFAULT 'É'",
              "INSERT INTO T (id) VALUES (5)", structure=False, verdict=_missing(COLLATION), load=_missing(COLLATION), on={"mysql": CARRIED, "load mysql": CARRIED, "files": CARRIED, "load files": CARRIED}),
        Entry("pg_locks", "LOCK | UNLISTEN | DISCARD", "BEGIN; LOCK TABLE T IN SHARE ROW EXCLUSIVE MODE; INSERT INTO T VALUES (6, 6, 'six'); COMMIT; LISTEN T_ch; NOTIFY T_ch, 'x'; UNLISTEN *; DISCARD TEMP", ROW5, alone=True),
        Entry("pg_import_schema", "IMPORT", "CREATE FOREIGN DATA WRAPPER T_w; CREATE SERVER T_sv FOREIGN DATA WRAPPER T_w; IMPORT FOREIGN SCHEMA public FROM SERVER T_sv INTO public; DROP SERVER T_sv CASCADE", ROW5, tolerant=True),
        Entry("pg_alter_large_object", "ALTER LARGE OBJECT", "DO $$ DECLARE o oid; BEGIN o := lo_from_bytea(0, '\\x00ff'); EXECUTE format('ALTER LARGE OBJECT %s OWNER TO CURRENT_USER', o); PERFORM lo_unlink(o); END $$", ROW5),
        Entry("pg_user_mapping", "CREATE USER MAPPING", "CREATE FOREIGN DATA WRAPPER T_w; CREATE SERVER T_sv FOREIGN DATA WRAPPER T_w; CREATE USER MAPPING FOR CURRENT_USER SERVER T_sv OPTIONS (user 'x'); DROP USER MAPPING FOR CURRENT_USER SERVER T_sv", ROW5),
    ),
)
