"""PostgreSQL 15 and 18: statements that change rows, transactions, and what decides the log."""

# fmt: off
from __future__ import annotations

from tests.manuals.entries import Absent, Chapter, Entry

PG18 = ("pg18",)
AWAITED = Absent("A table that is read again into files waits for the prepared transaction.")
TWO = """
CREATE TABLE T (id int PRIMARY KEY, a int, b text);
INSERT INTO T VALUES (1, 10, 'one'), (2, NULL, ''), (3, -1, 'drei'), (4, 99, ' x ');
CREATE TABLE T2 (id int PRIMARY KEY, t int); INSERT INTO T2 VALUES (1, 1), (2, 3), (3, 3)"""
UNIQUE = """
CREATE TABLE T (id int PRIMARY KEY, a int UNIQUE, b text DEFAULT 'dflt');
INSERT INTO T VALUES (1, 10, 'one'), (2, NULL, ''), (3, -1, 'drei'), (4, 99, ' x ')"""
BAG = """
CREATE TABLE T (a int, b text); ALTER TABLE T REPLICA IDENTITY FULL;
INSERT INTO T VALUES (1, 'x'), (1, 'x'), (1, 'x'), (NULL, NULL), (NULL, NULL), (2, 'y')"""
FAMILY = """
CREATE TABLE T (id int PRIMARY KEY, v text); CREATE TABLE T2 (w int, PRIMARY KEY (id)) INHERITS (T);
INSERT INTO T VALUES (1, 'p'), (2, 'q'); INSERT INTO T2 VALUES (1, 'c', 5), (7, 'd', 6)"""
WIDE = """
CREATE TABLE T (id int PRIMARY KEY, a int, b text); ALTER TABLE T ALTER b SET STORAGE EXTERNAL;
INSERT INTO T VALUES (1, 1, repeat('toast', 2000)), (2, 2, NULL)"""
NINETEEN = Absent("Of PostgreSQL 19.")
RESTARTED = Absent("It needs a restart, and ends every slot: a start without its slot is `LOG_LOST`.")
SUBSCRIBER = Absent("Of subscriptions; a stream gets the rows of every origin: `pg_origin`.")

CHAPTER = Chapter(
    statement="statements on rows",
    section="PostgreSQL 18 SQL Commands: INSERT, UPDATE, DELETE, MERGE, COPY, TRUNCATE, transactions",
    servers=("pg15", "pg18"),
    setup="""
CREATE TABLE T (id int PRIMARY KEY, a int, b text DEFAULT 'dflt');
INSERT INTO T VALUES (1, 10, 'one'), (2, NULL, ''), (3, -1, 'drei'), (4, 99, ' x ')""",
    before="",
    entries=(
        Entry("pg_insert", "INSERT VALUES | INSERT DEFAULT VALUES", "INSERT INTO T VALUES (5, 5, DEFAULT), (6, NULL, NULL)"),
        Entry("pg_insert_select", "INSERT query", "INSERT INTO T SELECT id + 10, a, b FROM T; INSERT INTO T TABLE T ON CONFLICT DO NOTHING"),
        Entry("pg_insert_overriding", "INSERT OVERRIDING", "INSERT INTO T OVERRIDING SYSTEM VALUE VALUES (50, 1); INSERT INTO T OVERRIDING USER VALUE VALUES (60, 2)",
              setup="CREATE TABLE T (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int)"),
        Entry("pg_insert_numbered", "INSERT VALUES", "INSERT INTO T (id) VALUES (5), (6); INSERT INTO T OVERRIDING SYSTEM VALUE VALUES (7, 700, 'x');"
              "UPDATE T SET b = 'y' WHERE id = 5; DELETE FROM T WHERE id = 6",
              setup="CREATE TABLE T (id int PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY, b text); INSERT INTO T (id) VALUES (1)"),
        Entry("pg_insert_returning", "INSERT RETURNING | RETURNING OLD NEW", "INSERT INTO T VALUES (5, 5, 'x') RETURNING id, b"),
        Entry("pg_conflict_nothing", "ON CONFLICT DO NOTHING", "INSERT INTO T VALUES (1, 0, 'dup'), (5, 5, 'x') ON CONFLICT DO NOTHING"),
        Entry("pg_conflict_update", "ON CONFLICT DO UPDATE", "INSERT INTO T VALUES (1, 0, 'dup'), (5, 5, 'x') ON CONFLICT (id) DO UPDATE"
              " SET b = EXCLUDED.b || T.b WHERE T.a > 0"),
        Entry("pg_conflict_constraint", "ON CONFLICT ON CONSTRAINT", "INSERT INTO T VALUES (9, 10, 'by a') ON CONFLICT (a) DO UPDATE SET id = EXCLUDED.id", setup=UNIQUE),
        Entry("pg_update", "UPDATE", "UPDATE T SET a = a + 1, b = b || 'ü'; UPDATE T SET (a, b) = (7, 'row') WHERE id = 2"),
        Entry("pg_update_same", "UPDATE", "UPDATE T SET a = a"),
        Entry("pg_update_key", "UPDATE", "UPDATE T SET id = id + 100; UPDATE T SET id = 1 WHERE id = 104"),
        Entry("pg_update_from", "UPDATE FROM", "UPDATE T SET b = 'j' FROM T2 WHERE T2.t = T.id", setup=TWO),
        Entry("pg_update_only", "UPDATE ONLY", "UPDATE ONLY T SET v = 'only'; UPDATE T SET v = v || '+'; DELETE FROM ONLY T WHERE id = 1", setup=FAMILY),
        Entry("pg_update_family_key", "UPDATE", "UPDATE T SET id = id + 10", setup=FAMILY),
        Entry("pg_update_current_of", "UPDATE WHERE CURRENT OF", "BEGIN; DECLARE c CURSOR FOR SELECT * FROM T ORDER BY id; FETCH c;"
              "UPDATE T SET b = 'cur' WHERE CURRENT OF c; COMMIT"),
        Entry("pg_update_unique_swap", "UPDATE", "BEGIN; UPDATE T SET a = 1000 WHERE id = 1; UPDATE T SET a = 10 WHERE id = 3; UPDATE T SET a = -1 WHERE id = 1; COMMIT", setup=UNIQUE),
        Entry("pg_update_toast", "UPDATE", "UPDATE T SET a = 5 WHERE id = 1; UPDATE T SET id = 10 WHERE id = 1", setup=WIDE),
        Entry("pg_update_toast_full", "UPDATE | REPLICA IDENTITY", "ALTER TABLE T REPLICA IDENTITY FULL; UPDATE T SET a = 5 WHERE id = 1; DELETE FROM T WHERE id = 1", setup=WIDE),
        Entry("pg_delete", "DELETE", "DELETE FROM T WHERE id = 1 OR a IS NULL RETURNING *"),
        Entry("pg_delete_using", "DELETE USING", "DELETE FROM T USING T2 WHERE T2.t = T.id", setup=TWO),
        Entry("pg_delete_insert", "DELETE", "BEGIN; DELETE FROM T WHERE id = 1; INSERT INTO T VALUES (1, 2, 'back'); UPDATE T SET a = 3 WHERE id = 1; COMMIT"),
        Entry("pg_bag", "INSERT VALUES | DELETE | UPDATE", "DELETE FROM T WHERE ctid = (SELECT min(ctid) FROM T WHERE a = 1); UPDATE T SET b = 'z' WHERE a IS NULL;"
              "INSERT INTO T VALUES (1, 'x')", setup=BAG),
        Entry("pg_merge", "MERGE", "MERGE INTO T USING T2 ON T.id = T2.id WHEN MATCHED AND T.id = 1 THEN DELETE WHEN MATCHED THEN UPDATE SET b = 'm'"
              " WHEN NOT MATCHED THEN INSERT VALUES (T2.id, T2.t, 'ins')", setup=TWO + "; INSERT INTO T2 VALUES (50, 5)"),
        Entry("pg_merge_by_source", "MERGE WHEN NOT MATCHED BY SOURCE | MERGE RETURNING",
              "MERGE INTO T USING T2 ON T.id = T2.id WHEN NOT MATCHED BY SOURCE THEN DELETE WHEN MATCHED THEN DO NOTHING", setup=TWO, servers=PG18),
        Entry("pg_cte", "WITH (writable)", "WITH d AS (DELETE FROM T WHERE id < 3 RETURNING *), i AS (INSERT INTO T SELECT id + 100, a, b FROM d RETURNING id)"
              " UPDATE T SET b = 'cte' WHERE id = 3"),
        Entry("pg_truncate", "TRUNCATE", "TRUNCATE T", "INSERT INTO T VALUES (1, 1, 'again')"),
        Entry("pg_truncate_two", "TRUNCATE | TRUNCATE RESTART IDENTITY | TRUNCATE CASCADE", "TRUNCATE T, T2 RESTART IDENTITY CASCADE", "INSERT INTO T VALUES (1, 1, 'again')", setup=TWO),
        Entry("pg_truncate_cascade", "TRUNCATE CASCADE", "TRUNCATE T CASCADE", "INSERT INTO T VALUES (9)", setup="""
CREATE TABLE T (id int PRIMARY KEY); INSERT INTO T VALUES (1);
CREATE TABLE T2 (id int PRIMARY KEY, t int REFERENCES T); INSERT INTO T2 VALUES (1, 1)"""),
        Entry("pg_truncate_only", "TRUNCATE ONLY", "TRUNCATE ONLY T", "INSERT INTO T VALUES (9, 'again')", setup=FAMILY),
        Entry("pg_truncate_family", "TRUNCATE", "TRUNCATE T", "INSERT INTO T VALUES (9, 'again')", setup=FAMILY),
        Entry("pg_truncate_between", "TRUNCATE", "BEGIN; INSERT INTO T VALUES (5, 5, 'x'); TRUNCATE T; INSERT INTO T VALUES (5, 6, 'y'); COMMIT"),
        Entry("pg_truncate_rolled_back", "TRUNCATE", "BEGIN; SAVEPOINT s; TRUNCATE T; INSERT INTO T VALUES (9, 9, 'no'); ROLLBACK TO s; INSERT INTO T VALUES (8, 8, 'yes'); COMMIT"),
        Entry("pg_copy", "COPY FROM", "COPY T (id, a, b) FROM PROGRAM 'printf ''20,1,x\\n21,,\"a,\"\"b\"\"\"\\n''' WITH (FORMAT csv)"),
        Entry("pg_copy_freeze", "COPY FREEZE", "BEGIN; TRUNCATE T; COPY T (id, a) FROM PROGRAM 'printf ''20\\t1\\n21\\t2\\n''' WITH (FREEZE); COMMIT"),
        Entry("pg_copy_where", "COPY WHERE | COPY ON_ERROR", "COPY T (id, a) FROM PROGRAM 'printf ''20\\t1\\n21\\t2\\n''' WHERE id > 20"),
        Entry("pg_commit", "BEGIN | COMMIT", "BEGIN ISOLATION LEVEL SERIALIZABLE; INSERT INTO T VALUES (5, 5, 'x'); UPDATE T SET a = 6 WHERE id = 5; COMMIT"),
        Entry("pg_rollback", "ROLLBACK", "BEGIN; INSERT INTO T VALUES (5, 5, 'x'); ROLLBACK; INSERT INTO T VALUES (6, 6, 'y')"),
        Entry("pg_savepoint", "SAVEPOINT | ROLLBACK TO SAVEPOINT | RELEASE SAVEPOINT", "BEGIN; INSERT INTO T VALUES (5, 5, 'x'); SAVEPOINT s; DELETE FROM T; ROLLBACK TO s;"
              "SAVEPOINT r; UPDATE T SET a = 1 WHERE id = 5; RELEASE SAVEPOINT r; INSERT INTO T VALUES (6, 6, 'y'); COMMIT"),
        Entry("pg_subtransactions", "SAVEPOINT", "DO $$ BEGIN FOR i IN 10..80 LOOP BEGIN INSERT INTO T VALUES (i, i, 'sub'); IF i % 2 = 0 THEN RAISE EXCEPTION 'x'; END IF;"
              " EXCEPTION WHEN raise_exception THEN NULL; END; END LOOP; END $$"),
        Entry("pg_prepare", "PREPARE TRANSACTION", "BEGIN; INSERT INTO T VALUES (5, 5, 'x'); PREPARE TRANSACTION 'T_xa'; COMMIT PREPARED 'T_xa'", alone=True, servers=("pg15", "pg18")),
        Entry("pg_prepare_rollback", "ROLLBACK PREPARED", "BEGIN; INSERT INTO T VALUES (5, 5, 'x'); PREPARE TRANSACTION 'T_xa'; ROLLBACK PREPARED 'T_xa'; INSERT INTO T VALUES (6, 6, 'y')", alone=True),
        Entry("pg_large_transaction", "INSERT query", "BEGIN; INSERT INTO T SELECT g, g, repeat('q', 50) FROM generate_series(1000, 3000) g; UPDATE T SET a = 0 WHERE id > 2000;"
              "DELETE FROM T WHERE id > 2500; COMMIT"),
        Entry("pg_deferred_shift", "SET CONSTRAINTS", "BEGIN; SET CONSTRAINTS ALL DEFERRED; UPDATE T SET a = a + 1; COMMIT", setup="""
CREATE TABLE T (id int PRIMARY KEY, a int UNIQUE DEFERRABLE); INSERT INTO T VALUES (1, 1), (2, 2), (3, 3)"""),
        Entry("pg_replica_role", "session_replication_role", "SET session_replication_role = replica; INSERT INTO T2 VALUES (9, 77); DELETE FROM T WHERE id = 1; RESET session_replication_role",
              setup=TWO),
        Entry("pg_synchronous_commit", "synchronous_commit", "SET synchronous_commit = off; INSERT INTO T VALUES (5, 5, 'x')"),
        Entry("pg_cascade", "FOREIGN KEY actions", "DELETE FROM T WHERE id = 3; UPDATE T SET id = 100 WHERE id = 1", setup="""
CREATE TABLE T (id int PRIMARY KEY); INSERT INTO T VALUES (1), (2), (3);
CREATE TABLE T2 (id int PRIMARY KEY, t int REFERENCES T ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE T3 (id int PRIMARY KEY, t int REFERENCES T2 ON DELETE SET NULL);
INSERT INTO T2 VALUES (10, 1), (30, 3); INSERT INTO T3 VALUES (100, 10), (300, 30)"""),
        Entry("pg_logical_message", "pg_logical_emit_message", "SELECT pg_logical_emit_message(true, 'other', 'x'); SELECT pg_logical_emit_message(false, 'other', 'y')", "INSERT INTO T VALUES (5, 5, 'x')"),
        Entry("pg_origin", "replication origin", "SELECT pg_replication_origin_drop(roname) FROM pg_replication_origin WHERE roname = 'T_o';"
              "SELECT pg_replication_origin_create('T_o'); SELECT pg_replication_origin_session_setup('T_o');"
              "INSERT INTO T VALUES (5, 5, 'origin'); SELECT pg_replication_origin_session_reset(); SELECT pg_replication_origin_drop('T_o')", alone=True),
        Entry("pg_identity_index_rows", "REPLICA IDENTITY", "UPDATE T SET code = 'z', a = 9 WHERE code = 'a'; DELETE FROM T WHERE code = 'b'", setup="""
CREATE TABLE T (code text NOT NULL, a int); CREATE UNIQUE INDEX T_i ON T (code); ALTER TABLE T REPLICA IDENTITY USING INDEX T_i;
INSERT INTO T VALUES ('a', 1), ('b', 2), ('c', NULL)"""),
        Entry("pg_identity_full_key", "REPLICA IDENTITY", "UPDATE T SET id = 50, a = 9 WHERE id = 1; DELETE FROM T WHERE id = 2", setup="""
CREATE TABLE T (id int PRIMARY KEY, a int, b text); ALTER TABLE T REPLICA IDENTITY FULL; INSERT INTO T VALUES (1, 1, 'x'), (2, NULL, NULL)"""),
        Entry("pg_generated_rows", "INSERT VALUES | UPDATE", "INSERT INTO T (id, a) VALUES (5, 5); UPDATE T SET a = 9 WHERE id = 1; DELETE FROM T WHERE id = 2", setup="""
CREATE TABLE T (id int PRIMARY KEY, a int, g int GENERATED ALWAYS AS (a * 2) STORED); INSERT INTO T VALUES (1, 1), (2, NULL)"""),
        Entry("pg_collation_key", "UPDATE", "UPDATE T SET v = 9 WHERE k = 'KEY1'; DELETE FROM T WHERE k = 'key1'; INSERT INTO T VALUES ('key1 ', 5)",
              setup="CREATE TABLE T (k text PRIMARY KEY, v int); INSERT INTO T VALUES ('Key1', 1), ('KEY1', 2), ('key1', 3)"),
        Entry("pg_copy_stdin", "COPY FROM STDIN", "COPY T (id, a, b) FROM STDIN\n20\t7\ta \\\\ b\\tc\n21\t\\N\t\\N\n", "UPDATE T SET a = 1 WHERE id = 21"),
        Entry("pg_copy_binary", "COPY BINARY | COPY TO", "COPY T TO PROGRAM 'cat > T_b.bin' WITH (FORMAT binary); CREATE TABLE T2 (LIKE T INCLUDING ALL); COPY T2 FROM PROGRAM 'cat T_b.bin && rm T_b.bin' WITH (FORMAT binary)",
              "UPDATE T2 SET a = 1"),
        Entry("pg_copy_header", "COPY HEADER MATCH", "COPY T (id, a) FROM PROGRAM 'printf ''id,a\\n20,1\\n21,\\n''' WITH (FORMAT csv, HEADER MATCH)"),
        Entry("pg_copy_default", "COPY DEFAULT", "COPY T FROM PROGRAM 'printf ''20,1,@\\n21,2,x\\n''' WITH (FORMAT csv, DEFAULT '@')", servers=PG18),
        Entry("pg_delete_current", "DELETE WHERE CURRENT OF", "BEGIN; DECLARE c CURSOR FOR SELECT * FROM T ORDER BY id FOR UPDATE; FETCH 2 FROM c; DELETE FROM T WHERE CURRENT OF c; COMMIT"),
        Entry("pg_delete_only", "DELETE ONLY", "DELETE FROM ONLY T; DELETE FROM T WHERE id = 7", "INSERT INTO T VALUES (7, 'again')", setup=FAMILY),
        Entry("pg_update_set_query", "UPDATE SET (subquery)", "UPDATE T SET (a, b) = (SELECT count(*), max(t)::text FROM T2 WHERE T2.t = T.id)", setup=TWO),
        Entry("pg_insert_with", "INSERT WITH | VALUES", "WITH w (i, x) AS (VALUES (30, 'w'), (31, NULL)) INSERT INTO T (id, b) SELECT i, x FROM w; INSERT INTO T (id) VALUES (40), (41)"),
        Entry("pg_merge_nothing", "MERGE DO NOTHING", "MERGE INTO T USING T2 ON T.id = T2.t WHEN MATCHED AND T2.id = 1 THEN UPDATE SET b = 'm' WHEN MATCHED THEN DO NOTHING WHEN NOT MATCHED THEN DO NOTHING", setup=TWO),
        Entry("pg_merge_view", "MERGE INTO view", "CREATE VIEW T_v AS SELECT id, a, b FROM T; MERGE INTO T_v USING T2 ON T_v.id = T2.t AND T2.id < 3 WHEN MATCHED THEN UPDATE SET b = 'v' WHEN NOT MATCHED THEN INSERT VALUES (T2.id + 50, 1, 'n');"
              "DROP VIEW T_v", setup=TWO, servers=PG18),
        Entry("pg_select_for_update", "SELECT FOR UPDATE | EXECUTE | START TRANSACTION READ ONLY", "BEGIN; SELECT * FROM T FOR UPDATE; PREPARE T_s (int) AS UPDATE T SET a = $1 WHERE id = 1; EXECUTE T_s(55); DEALLOCATE T_s; COMMIT;"
              "START TRANSACTION READ ONLY; SELECT count(*) FROM T; COMMIT"),
        Entry("pg_truncate_continue", "TRUNCATE CONTINUE IDENTITY", "INSERT INTO T (a) VALUES (1), (2); TRUNCATE T CONTINUE IDENTITY", "INSERT INTO T (a) VALUES (3)",
              setup="CREATE TABLE T (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, a int); INSERT INTO T (a) VALUES (1)"),
        Entry("pg_prepared_long", "two-phase decoding", "BEGIN; INSERT INTO T VALUES (5, 5, 'x'); UPDATE T SET a = 7 WHERE id = 1; PREPARE TRANSACTION 'T_xa'; INSERT INTO T VALUES (6, 6, 'between'); ALTER TABLE T2 ADD c int DEFAULT 3;"
              "INSERT INTO T2 VALUES (9, 9, 9); COMMIT PREPARED 'T_xa'", "UPDATE T SET b = 'after' WHERE id = 5", setup=TWO, alone=True, on={"live files": AWAITED}),
        Entry("pg_streamed_transaction", "streaming of large transactions", "BEGIN; INSERT INTO T SELECT g, g, repeat(md5(g::text), 5) FROM generate_series(1000, 90000) g; SAVEPOINT s; DELETE FROM T WHERE id > 2000; ROLLBACK TO s;"
              "DELETE FROM T WHERE id > 1100; COMMIT"),
        Entry("pg_streamed_rolled_back", "streaming of large transactions", "BEGIN; INSERT INTO T SELECT g, g, repeat(md5(g::text), 5) FROM generate_series(1000, 90000) g; ROLLBACK", "INSERT INTO T VALUES (5, 5, 'x')"),
        Entry("pg_log_level_changed", "wal_level changed and back", "", verdict=RESTARTED, load=RESTARTED),
        Entry("pg_subscribers", "publication origin", "", verdict=SUBSCRIBER, load=SUBSCRIBER),
        Entry("pg_portion", "FOR PORTION OF", "", verdict=NINETEEN, load=NINETEEN),
    ),
)
