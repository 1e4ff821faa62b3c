"""MySQL 9 and MariaDB 10.11: session variables that change what the log says."""

# fmt: off
from __future__ import annotations

from tests.manuals.entries import Absent, Chapter, Entry, Refused

MYSQL, MARIADB = ("mysql9",), ("mariadb",)
CHANGES = ("INSERT INTO T VALUES (5, 5, 'five'); UPDATE T SET a = 6 WHERE id = 1;"
           "UPDATE T SET b = NULL WHERE id = 3; DELETE FROM T WHERE id = 2")
STATEMENT = Refused("LOG_LOST", fresh=True, why="Rows are logged as statements.")
UNLOGGED = Absent("What a session keeps out of the log leaves no trace; `verify` shows it.")
CHECKED = Absent("Settings of the server's start, which a start of the stream checks: tests/e2e/test_log_coverage.py.")
REPLICA = Absent("Settings of a replica, which a start of the stream checks: tests/e2e/test_log_coverage.py.")
STARTED = Absent("A setting of the server's start; rows of several events are `my_large_transaction`.")
KEYRING = Absent("It needs a keyring, and the server decrypts what it sends.")
RESTARTED = Absent("It is for servers without clients.")

CHAPTER = Chapter(
    statement="variables of the log",
    section="MySQL 19.1.6.4 Binary Logging Options and Variables; MariaDB Binary Log Variables",
    servers=("mysql9", "mariadb"),
    setup="""
CREATE TABLE T (id int PRIMARY KEY, a int, b varchar(20));
INSERT INTO T VALUES (1, 10, 'one'), (2, NULL, ''), (3, -1, 'drei'), (4, 99, ' x ')""",
    before="",
    entries=(
        Entry("my_image_minimal", "binlog_row_image", f"SET binlog_row_image = 'MINIMAL'; {CHANGES}", servers=MYSQL),
        Entry("my_image_minimal_insert", "binlog_row_image",
              "SET binlog_row_image = 'MINIMAL'; INSERT INTO T (id) VALUES (5); UPDATE T SET id = 50 WHERE id = 5", servers=MYSQL,
              setup="CREATE TABLE T (id int PRIMARY KEY, a int DEFAULT 7, b varchar(9) DEFAULT 'q'); INSERT INTO T VALUES (1, 1, 'x')"),
        Entry("my_image_noblob", "binlog_row_image", f"SET binlog_row_image = 'NOBLOB'; {CHANGES}; UPDATE T SET a = 5 WHERE id = 1",
              servers=MYSQL, setup="""
CREATE TABLE T (id int PRIMARY KEY, a int, b text);
INSERT INTO T VALUES (1, 10, 'one'), (2, NULL, ''), (3, -1, 'drei'), (4, 99, ' x ')"""),
        Entry("my_image_maria", "binlog_row_image", f"SET binlog_row_image = 'MINIMAL'; {CHANGES}", servers=MARIADB,
              verdict=Refused("LOG_LOST", fresh=True)),
        Entry("my_format_statement", "binlog_format", f"SET binlog_format = 'STATEMENT'; {CHANGES}", verdict=STATEMENT),
        Entry("my_format_mixed", "binlog_format", f"SET binlog_format = 'MIXED'; {CHANGES}", verdict=STATEMENT),
        Entry("my_format_mixed_unsafe", "binlog_format",
              "SET binlog_format = 'MIXED'; INSERT INTO T SELECT 9, 9, uuid_short()"),
        Entry("my_partial_json", "binlog_row_value_options",
              "SET binlog_row_value_options = 'PARTIAL_JSON'; UPDATE T SET j = json_set(j, '$.a', 2)",
              setup="""CREATE TABLE T (id int PRIMARY KEY, j json); INSERT INTO T VALUES (1, '{"a": 1, "b": "xxxxxxxxxxxxxxxxxxxxxxxxxxxx"}')""",
              servers=MYSQL, verdict=Refused("LOG_LOST", fresh=True)),
        Entry("my_compression_log", "binlog_transaction_compression",
              f"SET binlog_transaction_compression = ON; {CHANGES}", servers=MYSQL),
        Entry("my_rows_query", "binlog_rows_query_log_events", f"SET binlog_rows_query_log_events = ON; {CHANGES}", servers=MYSQL),
        Entry("my_annotate", "binlog_annotate_row_events", f"SET binlog_annotate_row_events = OFF; {CHANGES}", servers=MARIADB),
        Entry("my_timezone", "time_zone", "SET time_zone = '-11:30'; INSERT INTO T VALUES (1, '2020-06-15 12:00:00', '2020-06-15 12:00:00');"
              "UPDATE T SET t = '2021-01-01 00:00:00'", setup="CREATE TABLE T (id int PRIMARY KEY, t timestamp NULL, d datetime)"),
        Entry("my_names_latin1", "SET NAMES", "SET NAMES latin1; INSERT INTO T VALUES (5, 5, _latin1 0xe9); SET NAMES utf8mb4; UPDATE T SET b = 'é€'"),
        Entry("my_ddl_names_latin1", "SET NAMES", "SET NAMES latin1; ALTER TABLE T ADD c varchar(9) DEFAULT 'x'; SET NAMES utf8mb4",
              "INSERT INTO T (id) VALUES (5)"),
        Entry("my_timestamp_set", "timestamp", "SET timestamp = 1000000000; INSERT INTO T VALUES (1, now(), now(6)); SET timestamp = DEFAULT",
              setup="CREATE TABLE T (id int PRIMARY KEY, t timestamp NULL, d datetime(6))"),
        Entry("my_insert_id", "insert_id", "SET insert_id = 500; INSERT INTO T (a) VALUES (1)",
              setup="CREATE TABLE T (id int AUTO_INCREMENT PRIMARY KEY, a int)"),
        Entry("my_auto_increment_step", "auto_increment_increment",
              "SET auto_increment_increment = 10, auto_increment_offset = 3; INSERT INTO T (a) VALUES (1), (2)",
              setup="CREATE TABLE T (id int AUTO_INCREMENT PRIMARY KEY, a int)"),
        Entry("my_ansi", "sql_mode", """SET sql_mode = 'ANSI'; CREATE TABLE "T__x" ("id" int PRIMARY KEY, "a b" text)""",
              """INSERT INTO T__x VALUES (1, 'x')"""),
        Entry("my_unique_checks", "unique_checks", f"SET unique_checks = 0; {CHANGES}"),
        Entry("my_gtid_next", "gtid_next", "SET gtid_next = 'AUTOMATIC'; INSERT INTO T VALUES (5, 5, 'x')", servers=MYSQL),
        Entry("my_gtid_domain", "gtid_domain_id", f"SET gtid_domain_id = 7; {CHANGES}", servers=MARIADB),
        Entry("my_server_id", "server_id", f"SET server_id = 4711; {CHANGES}", servers=MARIADB),
        Entry("my_skip_parallel", "skip_parallel_replication", f"SET skip_parallel_replication = 1; {CHANGES}", servers=MARIADB),
        Entry("my_restrict", "sql_require_primary_key", f"SET sql_require_primary_key = 1; {CHANGES}", servers=MYSQL),
        Entry("my_default_charset_session", "character_set_server",
              "SET collation_connection = utf8mb4_bin; CREATE TABLE T2 (id int PRIMARY KEY, v varchar(9) DEFAULT 'É')",
              "INSERT INTO T2 (id) VALUES (1)"),
        Entry("my_create_select_row", "CREATE TABLE AS SELECT", "CREATE TABLE T2 AS SELECT * FROM T; ALTER TABLE T2 ADD PRIMARY KEY (id)", CHANGES),
        Entry("my_dump_restored", "versioned comments",
              "/*!40101 SET NAMES utf8mb4 */; DROP TABLE IF EXISTS `T2`; /*!50503 SET character_set_client = utf8mb4 */;"
              "CREATE TABLE `T2` (`id` int NOT NULL, `v` varchar(9) DEFAULT NULL, PRIMARY KEY (`id`)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;"
              "LOCK TABLES `T2` WRITE; /*!40000 ALTER TABLE `T2` DISABLE KEYS */; INSERT INTO `T2` VALUES (1,'a'),(2,NULL);"
              "/*!40000 ALTER TABLE `T2` ENABLE KEYS */; UNLOCK TABLES", "INSERT INTO T2 VALUES (3, 'c')", alone=True),
        Entry("my_metadata_minimal", "binlog_row_metadata", "BEGIN; SET GLOBAL binlog_row_metadata = 'MINIMAL'; INSERT INTO T VALUES (5, 5, 'five'); UPDATE T SET b = 'ü' WHERE id = 1;"
              "SET GLOBAL binlog_row_metadata = 'FULL'; COMMIT", "DELETE FROM T WHERE id = 2"),
        Entry("my_checksum_none", "binlog_checksum", "SET GLOBAL binlog_checksum = 'NONE'", f"{CHANGES}; SET GLOBAL binlog_checksum = 'CRC32'", alone=True),
        Entry("my_log_off", "sql_log_bin", "", verdict=UNLOGGED, load=UNLOGGED),
        Entry("my_log_filters", "binlog_do_db | binlog_ignore_db | binlog_format at the server", "", verdict=CHECKED, load=CHECKED),
        Entry("my_replica_settings", "log_replica_updates | replica_type_conversions", "", verdict=REPLICA, load=REPLICA),
        Entry("my_log_encrypted", "binlog_encryption", "", verdict=KEYRING, load=KEYRING),
        Entry("my_order_commits", "binlog_order_commits", f"SET GLOBAL binlog_order_commits = OFF; {CHANGES}; SET GLOBAL binlog_order_commits = ON", servers=MYSQL, alone=True),
        Entry("my_row_events_small", "binlog_row_event_max_size", "", verdict=STARTED, load=STARTED),
        Entry("my_group_commit", "binlog_commit_wait_count", f"SET GLOBAL binlog_commit_wait_count = 2; SET GLOBAL binlog_commit_wait_usec = 1000; {CHANGES};"
              "SET GLOBAL binlog_commit_wait_count = 0", servers=MARIADB, alone=True),
        Entry("my_log_compressed", "log_bin_compress", "SET GLOBAL log_bin_compress = ON; SET GLOBAL log_bin_compress_min_len = 10; INSERT INTO T VALUES (5, 5, repeat('z', 20));"
              "ALTER TABLE T ADD c varchar(200) DEFAULT 'a default of some length, so that the statement is compressed'; UPDATE T SET c = repeat('w', 200) WHERE id < 3;"
              "SET GLOBAL log_bin_compress = OFF", "INSERT INTO T (id) VALUES (6)", servers=MARIADB, alone=True),
        Entry("my_seq_no", "gtid_seq_no", "SET gtid_domain_id = 8; SET gtid_seq_no = UNIX_TIMESTAMP(); INSERT INTO T VALUES (5, 5, 'five'); UPDATE T SET a = 6 WHERE id = 1", servers=MARIADB, alone=True),
        Entry("my_gtid_permissive", "gtid_mode", "", verdict=RESTARTED, load=RESTARTED, servers=MYSQL),
        Entry("my_log_rotates", "max_binlog_size | binlog_expire_logs_seconds", "SET GLOBAL max_binlog_size = 4096; INSERT INTO T SELECT 100 + x.id * 16 + y.id * 4 + z.id, x.a, repeat('q', 20) FROM T x, T y, T z;"
              "UPDATE T SET a = 1 WHERE id > 5; UPDATE T SET b = 'r' WHERE id > 5; SET GLOBAL max_binlog_size = 1073741824", CHANGES, alone=True),
        Entry("my_error_action", "binlog_error_action", f"SET GLOBAL binlog_error_action = 'IGNORE_ERROR'; {CHANGES}; SET GLOBAL binlog_error_action = 'ABORT_SERVER'", servers=MYSQL, alone=True),
        Entry("my_read_only", "read_only", "SET GLOBAL read_only = ON; INSERT INTO T VALUES (6, 6, 'six'); SET GLOBAL read_only = OFF", CHANGES, alone=True,
              on={"mariadb-mariadb": Absent("The target is the same server.")}),
        Entry("my_checks_off_order", "foreign_key_checks", "SET foreign_key_checks = 0; CREATE TABLE T2 (id int PRIMARY KEY, t int, FOREIGN KEY (t) REFERENCES T3 (id));"
              "INSERT INTO T2 VALUES (1, 1), (2, 7); CREATE TABLE T3 (id int PRIMARY KEY); INSERT INTO T3 VALUES (1), (7); SET foreign_key_checks = 1", "DELETE FROM T2 WHERE id = 2", alone=True),
        Entry("my_collation_database", "collation_database", "SET collation_database = latin1_german2_ci; CREATE TABLE T2 (id int PRIMARY KEY, v varchar(9)); SET collation_database = DEFAULT",
              "INSERT INTO T2 VALUES (1, 'é')", alone=True),
        Entry("my_div_precision", "div_precision_increment", "SET div_precision_increment = 1; CREATE TABLE T2 (PRIMARY KEY (id)) AS SELECT id, a / 3 AS q FROM T; SET div_precision_increment = 9;"
              "CREATE TABLE T3 (PRIMARY KEY (id)) AS SELECT id, a / 3 AS q FROM T; SET div_precision_increment = DEFAULT", "INSERT INTO T3 VALUES (9, 0.123456789)", alone=True),
        Entry("my_strict_off", "innodb_strict_mode", "SET innodb_strict_mode = OFF; CREATE TABLE T2 (id int PRIMARY KEY, v text) ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=3;"
              "ALTER TABLE T KEY_BLOCK_SIZE=3; SET innodb_strict_mode = ON", f"INSERT INTO T2 VALUES (1, 'x'); {CHANGES}", alone=True),
    ),
)
