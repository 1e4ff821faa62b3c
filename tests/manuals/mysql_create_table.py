"""MySQL 9 and MariaDB 10.11: CREATE TABLE while a stream follows."""

# fmt: off
from __future__ import annotations

from tests.manuals.entries import RELOAD, Absent, Carried, Chapter, Entry, Refused

MYSQL, MARIADB = ("mysql9",), ("mariadb",)
ENGINE = Refused("SCHEMA_CHANGE_REFUSED", why="The rows of this engine are not in the log.")
LONG = Carried("renamed")
SPAN = {"postgresql": Carried("time-outside-a-day"), "load postgresql": Carried("time-outside-a-day")}
UNSEEN = Refused("ROW_REJECTED", why="Before a load into files no rows are looked at: a NOT NULL column takes no zero date.")
NO_DEFAULT = {"postgresql": Carried("default"), "load postgresql": Carried("default")}
NO_CHECK = {"postgresql": Carried("check"), "load postgresql": Carried("check")}
ENGINE_LOST = {"mysql": Carried("engine"), "load mysql": Carried("engine")}
NOT_CARRIED = {kind: Carried("not-carried") for kind in
               ("mysql", "postgresql", "load mysql", "load postgresql")}
KEPT_KEY = {kind: Carried("generated-as-plain") for kind in
            ("mysql", "postgresql", "load mysql", "load postgresql")}
PLACES = Absent("A place of the server's files: `my_connection_option` plays what ALTER TABLE makes of it.")


def charset(name: str, letter: str = "a", *servers: str) -> Entry:
    """A table of a character set alone, without a collation."""
    return Entry(f"my_charset_{name}", "CHARACTER SET",
                 f"CREATE TABLE T (id int PRIMARY KEY, v varchar(20)) DEFAULT CHARSET={name}",
                 f"INSERT INTO T VALUES (1, '{letter}'), (2, ''), (3, NULL);"
                 f"UPDATE T SET v = '{letter}{letter}' WHERE id = 2", servers=servers)


def typed(id: str, kind: str, *values: str, servers: tuple[str, ...] = (), **more: object) -> Entry:
    """A table of one type; the values stand in rows of their own, with NULL."""
    rows = ", ".join(f"({n}, {v})" for n, v in enumerate((*values, "NULL"), 1))
    return Entry(f"my_type_{id}", f"type {kind.split('(')[0].split(' ')[0]}",
                 f"CREATE TABLE T (id int PRIMARY KEY, v {kind})",
                 f"INSERT INTO T VALUES {rows}; UPDATE T SET v = NULL WHERE id = 1;"
                 f"UPDATE T SET v = {values[-1]} WHERE id = {len(values) + 1}",
                 servers=servers, **more)  # type: ignore[arg-type]


CHAPTER = Chapter(
    statement="CREATE TABLE",
    section="MySQL 15.1.24 CREATE TABLE; MariaDB CREATE TABLE",
    servers=("mysql9", "mariadb"),
    setup="",
    before="",
    entries=(
        Entry("my_create", "CREATE TABLE", "CREATE TABLE T (id int PRIMARY KEY, v varchar(20))",
              "INSERT INTO T VALUES (1, 'a'), (2, NULL); UPDATE T SET v = 'b'; DELETE FROM T WHERE id = 2"),
        Entry("my_create_as_index", "CREATE TABLE",
              "CREATE TABLE T2 (id int PRIMARY KEY, v int, KEY T3 (v), UNIQUE KEY T4 (v, id)); INSERT INTO T2 VALUES (1, 1); CREATE TABLE T3 (id int PRIMARY KEY);"
              "INSERT INTO T3 VALUES (3); RENAME TABLE T3 TO T4; CREATE TABLE T3 (id int PRIMARY KEY, KEY T4 (id))",
              "INSERT INTO T2 VALUES (2, 2); INSERT INTO T3 VALUES (5); INSERT INTO T4 VALUES (6); ALTER TABLE T2 DROP KEY T3"),
        Entry("my_create_empty", "CREATE TABLE", "CREATE TABLE T (id int PRIMARY KEY)"),
        Entry("my_create_keyless", "CREATE TABLE", "CREATE TABLE T (v varchar(20), n int)",
              "INSERT INTO T VALUES ('a', 1), ('a', 1), (NULL, NULL); DELETE FROM T LIMIT 1"),
        Entry("my_create_if_not_exists", "IF NOT EXISTS",
              "CREATE TABLE T (id int PRIMARY KEY); CREATE TABLE IF NOT EXISTS T (id int, b int)",
              "INSERT INTO T VALUES (1)"),
        Entry("my_create_like", "LIKE",
              "CREATE TABLE T (id int PRIMARY KEY AUTO_INCREMENT, v varchar(9) DEFAULT 'q', KEY (v));"
              "CREATE TABLE T2 LIKE T", "INSERT INTO T2 VALUES (), (); INSERT INTO T VALUES (9, 'n')"),
        Entry("my_create_as_select", "AS SELECT | START TRANSACTION (binlog AS SELECT)",
              "CREATE TABLE T (id int PRIMARY KEY, v varchar(9)); INSERT INTO T VALUES (1, 'a'), (2, NULL);"
              "CREATE TABLE T2 (PRIMARY KEY (id)) AS SELECT id, v, id * 1.5 AS n FROM T",
              "INSERT INTO T2 VALUES (3, 'c', 1.25); DELETE FROM T2 WHERE id = 1"),
        Entry("my_create_as_select_flags", "AS SELECT",
              # Its rows come in the transaction that makes it, and are wider than booleans.
              "CREATE TABLE T (id int PRIMARY KEY, v bool); INSERT INTO T VALUES (1, 1), (2, 5);"
              "CREATE TABLE T2 (PRIMARY KEY (id)) AS SELECT * FROM T",
              "INSERT INTO T2 VALUES (3, 7), (4, NULL)"),
        Entry("my_create_as_select_ignore", "AS SELECT IGNORE | AS SELECT REPLACE",
              # A duplicate makes MariaDB 10.11 drop the rows before it, and log them.
              "CREATE TABLE T (id int PRIMARY KEY) IGNORE AS SELECT 1 AS id UNION ALL SELECT 3;"
              "CREATE TABLE T2 (id int PRIMARY KEY, v int) REPLACE AS SELECT 1 AS id, 2 AS v"
              " UNION ALL SELECT 1, 3", "INSERT INTO T VALUES (2)"),
        Entry("my_create_temporary", "TEMPORARY",
              "CREATE TABLE T (id int PRIMARY KEY); CREATE TEMPORARY TABLE T2 (id int PRIMARY KEY);"
              "INSERT INTO T2 VALUES (1), (2); INSERT INTO T SELECT * FROM T2; DROP TEMPORARY TABLE T2",
              "INSERT INTO T VALUES (5)"),
        Entry("my_temporary_hides", "TEMPORARY", "CREATE TABLE T (id int PRIMARY KEY, v int);"
              "CREATE TEMPORARY TABLE T (id int PRIMARY KEY, w varchar(9));"
              "INSERT INTO T VALUES (1, 'not ours'); ALTER TABLE T ADD z int; TRUNCATE T;"
              "DROP TEMPORARY TABLE T", "INSERT INTO T VALUES (5, 5)"),
        Entry("my_create_or_replace", "OR REPLACE",
              "CREATE TABLE T (id int PRIMARY KEY); INSERT INTO T VALUES (1);"
              "CREATE OR REPLACE TABLE T (id int PRIMARY KEY, v varchar(9))",
              "INSERT INTO T VALUES (7, 'x')", servers=MARIADB, options={"allow_lossy": True}),
        Entry("my_pk_other_case", "PRIMARY KEY",
              "CREATE TABLE T (`id` int NOT NULL AUTO_INCREMENT, r double DEFAULT 1.25, PRIMARY KEY (`ID`))",
              "INSERT INTO T (r) VALUES (2), (3); UPDATE T SET r = 9 WHERE id = 1"),
        Entry("my_unique_other_case", "UNIQUE KEY",
              "CREATE TABLE T (id int PRIMARY KEY, Code int, UNIQUE KEY T_u (CODE))",
              "INSERT INTO T VALUES (1, 2)"),
        Entry("my_pk_several", "PRIMARY KEY",
              "CREATE TABLE T (a int, b varchar(5), c int, PRIMARY KEY (b, a))",
              "INSERT INTO T VALUES (1, 'x', 1), (2, 'x', 2); DELETE FROM T WHERE a = 1"),
        Entry("my_pk_prefix_text", "PRIMARY KEY key_part length",
              "CREATE TABLE T (a text NOT NULL, b int, PRIMARY KEY (a(5)))",
              "INSERT INTO T VALUES ('abcdefg', 1), ('abcd', 2); UPDATE T SET b = 3 WHERE b = 1"),
        Entry("my_unique_prefix", "UNIQUE KEY key_part length",
              "CREATE TABLE T (id int PRIMARY KEY, a varchar(300), UNIQUE KEY T_u (a(4)))",
              "INSERT INTO T VALUES (1, 'abcdefg'), (2, 'abc')"),
        Entry("my_unique_name_twice", "UNIQUE KEY",
              "CREATE TABLE T (id int PRIMARY KEY, a int, UNIQUE KEY T_dup (a));"
              "CREATE TABLE T2 (id int PRIMARY KEY, a int, UNIQUE KEY T_dup (a))",
              "INSERT INTO T VALUES (1, 1); INSERT INTO T2 VALUES (1, 1)"),
        Entry("my_inline_index", "INDEX | KEY",
              "CREATE TABLE T (id int PRIMARY KEY, q int, w varchar(9), KEY T_q (q), INDEX (w, q DESC))",
              "INSERT INTO T VALUES (1, 2, 'x')"),
        Entry("my_inline_fulltext", "FULLTEXT | SPATIAL",
              "CREATE TABLE T (id int PRIMARY KEY, w text, p point NOT NULL, FULLTEXT (w), SPATIAL INDEX (p))",
              "INSERT INTO T VALUES (1, 'words', point(1, 2))"),
        Entry("my_functional_index", "key_part (expr)",
              "CREATE TABLE T (id int PRIMARY KEY, q int, UNIQUE KEY T_f ((q * 2)))",
              "INSERT INTO T VALUES (1, 2), (2, NULL)", servers=MYSQL),
        Entry("my_create_check", "CHECK",
              "CREATE TABLE T (id int PRIMARY KEY, q int CHECK (q > 0), CONSTRAINT T_c CHECK (id < 100))",
              "INSERT INTO T VALUES (1, 2), (2, NULL)"),
        Entry("my_create_check_off", "CHECK NOT ENFORCED",
              "CREATE TABLE T (id int PRIMARY KEY, q int, CONSTRAINT T_c CHECK (q > 0) NOT ENFORCED)",
              "INSERT INTO T VALUES (1, -2)", servers=MYSQL, on=NO_CHECK),
        Entry("my_create_foreign", "FOREIGN KEY",
              "CREATE TABLE T (id int PRIMARY KEY); INSERT INTO T VALUES (1), (2);"
              "CREATE TABLE T2 (id int PRIMARY KEY, t int, FOREIGN KEY (t) REFERENCES T (id))",
              "INSERT INTO T2 VALUES (1, 1), (2, NULL)"),
        Entry("my_foreign_cascade", "ON DELETE CASCADE | ON UPDATE CASCADE",
              "CREATE TABLE T (id int PRIMARY KEY); INSERT INTO T VALUES (1), (2);"
              "CREATE TABLE T2 (id int PRIMARY KEY, t int, FOREIGN KEY (t) REFERENCES T (id)"
              " ON DELETE CASCADE ON UPDATE CASCADE)",
              "INSERT INTO T2 VALUES (1, 1), (2, 2); DELETE FROM T WHERE id = 1;"
              "UPDATE T SET id = 20 WHERE id = 2"),
        Entry("my_foreign_set_null", "ON DELETE SET NULL",
              "CREATE TABLE T (id int PRIMARY KEY); INSERT INTO T VALUES (1), (2);"
              "CREATE TABLE T2 (id int PRIMARY KEY, t int, FOREIGN KEY (t) REFERENCES T (id)"
              " ON DELETE SET NULL ON UPDATE SET NULL)",
              "INSERT INTO T2 VALUES (1, 1), (2, 2); DELETE FROM T WHERE id = 1;"
              "UPDATE T SET id = 20 WHERE id = 2"),
        Entry("my_foreign_self", "FOREIGN KEY",
              "CREATE TABLE T (id int PRIMARY KEY, up int, FOREIGN KEY (up) REFERENCES T (id) ON DELETE CASCADE)",
              "INSERT INTO T VALUES (1, NULL), (2, 1), (3, 2), (4, NULL); DELETE FROM T WHERE id = 1"),
        Entry("my_foreign_inline", "REFERENCES",
              "CREATE TABLE T (id int PRIMARY KEY); INSERT INTO T VALUES (1), (2);"
              "CREATE TABLE T2 (id int PRIMARY KEY, t int REFERENCES T (id))",
              "INSERT INTO T2 VALUES (1, 1)"),
        Entry("my_create_generated", "GENERATED ALWAYS AS",
              "CREATE TABLE T (id int PRIMARY KEY, a int, v int AS (a * 2), s varchar(9) AS (concat(a, 'x')) STORED)",
              "INSERT INTO T (id, a) VALUES (1, 5), (2, NULL); UPDATE T SET a = 6 WHERE id = 1"),
        Entry("my_type_length_zero", "type decimal",
              "CREATE TABLE T (id int PRIMARY KEY, a decimal(0), b decimal(0,0) unsigned, c decimal(19.5), e char(3.9))",
              "INSERT INTO T VALUES (1, 9999999999, 9999999999, 1, 'abc'), (2, NULL, NULL, NULL, NULL)",
              servers=MYSQL),
        Entry("my_generated_of_generated", "GENERATED ALWAYS AS",
              "CREATE TABLE T (id int PRIMARY KEY, a int, g int AS (a + 1), h int AS (g * 2) STORED)",
              "INSERT INTO T (id, a) VALUES (1, 5), (2, NULL); UPDATE T SET a = 9 WHERE id = 1", structure=False),
        Entry("my_generated_key", "GENERATED ALWAYS AS",
              "CREATE TABLE T (id int, k int AS (id * 2) STORED, v varchar(9), PRIMARY KEY (k))",
              "INSERT INTO T (id, v) VALUES (1, 'x'), (2, 'y'); UPDATE T SET v = 'z' WHERE k = 2;"
              "DELETE FROM T WHERE k = 4", servers=MYSQL, on=KEPT_KEY),
        Entry("my_create_auto_increment", "AUTO_INCREMENT",
              "CREATE TABLE T (id bigint unsigned AUTO_INCREMENT, v int, PRIMARY KEY (id)) AUTO_INCREMENT=1000",
              "INSERT INTO T (v) VALUES (1), (2); INSERT INTO T VALUES (0, 3)"),
        Entry("my_create_defaults", "DEFAULT literal",
              "CREATE TABLE T (id int PRIMARY KEY, a int DEFAULT -5, b decimal(5,2) DEFAULT 1.5,"
              " c varchar(9) DEFAULT '''x\\\\', d date DEFAULT '2020-02-29', e double DEFAULT 1e10,"
              " f binary(3) DEFAULT 0x616200, g bit(4) DEFAULT b'101', h enum('a','b') DEFAULT 'b',"
              " i set('a','b') DEFAULT 'a,b', j datetime DEFAULT '2020-01-01', k tinyint(1) DEFAULT TRUE)",
              "INSERT INTO T (id) VALUES (1), (2)"),
        Entry("my_create_default_time", "DEFAULT literal",
              "CREATE TABLE T (id int PRIMARY KEY, a time DEFAULT '-10:00:00', b time DEFAULT '100:00:00')",
              "INSERT INTO T (id, a, b) VALUES (1, '01:00:00', '02:00:00'); INSERT INTO T (id) VALUES (2)", on=SPAN),
        Entry("my_create_default_zero", "DEFAULT literal",
              "SET sql_mode = ''; CREATE TABLE T (id int PRIMARY KEY, a datetime DEFAULT 0, b date NOT NULL DEFAULT 0, c datetime DEFAULT 20200101, d date DEFAULT '20200101'); INSERT INTO T (id) VALUES (1);"
              "ALTER TABLE T ADD e timestamp NOT NULL DEFAULT 0", "INSERT INTO T (id) VALUES (2)", alone=True,
              on={"postgresql": Carried("zero-dates-not-null"), "load postgresql": Carried("zero-dates-not-null"), "load files": UNSEEN, "files": UNSEEN}),
        Entry("my_create_computed_alone", "GENERATED ALWAYS AS",
              "CREATE TABLE T2 (a int AS (1 + 1), b int AS (a + 1) STORED); INSERT INTO T2 () VALUES (), ()", "INSERT INTO T2 () VALUES (); DELETE FROM T2 LIMIT 1",
              on={kind: Carried("generated-as-plain") for kind in ("postgresql", "load postgresql", "mysql", "load mysql")},
              setup="CREATE TABLE T (id int PRIMARY KEY)"),
        Entry("my_create_unique_prefix", "UNIQUE KEY",
              "CREATE TABLE T2 (id int PRIMARY KEY, v text, UNIQUE KEY T2_v (v(2))); INSERT INTO T2 VALUES (1, 'abc'); ALTER TABLE T2 ADD w varchar(9) DEFAULT 'w' FIRST, RENAME COLUMN v TO x;"
              "INSERT INTO T2 VALUES ('v', 2, 'bcd'); ALTER TABLE T2 ADD UNIQUE KEY T2_w (w(1), id), ADD y int DEFAULT 7; INSERT INTO T2 VALUES ('z', 3, 'cde', 8); ALTER TABLE T2 ADD z int FIRST",
              "INSERT INTO T2 VALUES (1, 'q', 4, 'def', 9)", setup="CREATE TABLE T (id int PRIMARY KEY)", on={"files": RELOAD}),
        Entry("my_create_default_bits", "DEFAULT literal",
              "CREATE TABLE T (id int PRIMARY KEY, a varbinary(9) DEFAULT b'0110111001110101', b varchar(9) DEFAULT b'01100001', c int DEFAULT b'101', d binary(2) DEFAULT b'101',"
              " e decimal(5,2) DEFAULT 0x10, f varchar(9) CHARACTER SET latin1 DEFAULT b'11101001', g enum('a','b') DEFAULT 0x62, h bit(3) DEFAULT 0b101); INSERT INTO T (id) VALUES (1);"
              "ALTER TABLE T ADD i varchar(9) DEFAULT x'4142', ADD j varbinary(3) DEFAULT 0x0aff, ALTER COLUMN b SET DEFAULT 0x4344, ALTER COLUMN a SET DEFAULT b'101'",
              "INSERT INTO T (id) VALUES (2)", on={"files": RELOAD}),
        Entry("my_create_default_expr", "DEFAULT (expr)",
              "CREATE TABLE T (id int PRIMARY KEY, a int DEFAULT (3 * 4), b json DEFAULT (json_array(1)),"
              " c blob DEFAULT ('x'), d date DEFAULT (current_date), e varchar(36) DEFAULT (uuid()))",
              "INSERT INTO T (id) VALUES (1)", on=NO_DEFAULT),
        Entry("my_create_on_update", "ON UPDATE CURRENT_TIMESTAMP",
              "CREATE TABLE T (id int PRIMARY KEY, a timestamp(3) DEFAULT CURRENT_TIMESTAMP(3)"
              " ON UPDATE CURRENT_TIMESTAMP(3), b datetime DEFAULT now(), c int)",
              "INSERT INTO T (id) VALUES (1); UPDATE T SET c = 1"),
        Entry("my_timestamp_implicit", "explicit_defaults_for_timestamp",
              "SET sql_mode = ''; SET explicit_defaults_for_timestamp = 0; CREATE TABLE T (id int PRIMARY KEY, a timestamp, b timestamp);"
              "SET explicit_defaults_for_timestamp = 1", "INSERT INTO T VALUES (1, '2020-01-01 00:00:01', '2020-01-01 00:00:01')",
              alone=True, structure=False),
        Entry("my_create_invisible", "INVISIBLE",
              "CREATE TABLE T (id int PRIMARY KEY, h int DEFAULT 4 INVISIBLE, v int)",
              "INSERT INTO T VALUES (1, 2); INSERT INTO T (id, h) VALUES (2, 9)"),
        Entry("my_invisible_primary", "sql_generate_invisible_primary_key",
              "SET sql_generate_invisible_primary_key = 1; CREATE TABLE T (v int)",
              "INSERT INTO T VALUES (1), (1), (2); DELETE FROM T WHERE v = 2", servers=MYSQL, alone=True),
        Entry("my_create_comments", "COMMENT",
              "CREATE TABLE T (id int PRIMARY KEY COMMENT 'key; of '' T') COMMENT='of \"all\" -- it'",
              "INSERT INTO T VALUES (1)"),
        charset("latin1", "é"), charset("latin2", "ł"), charset("latin5", "ş"), charset("latin7", "ą"),
        charset("cp1250", "ž"), charset("cp1251", "ж"), charset("cp1256", "ب"), charset("cp1257", "ž"),
        charset("cp850", "é"), charset("cp852", "ł"), charset("cp866", "ж"), charset("koi8r", "ж"),
        charset("koi8u", "ї"), charset("greek", "λ"), charset("hebrew", "ש"), charset("tis620", "ก"),
        charset("gbk", "中"), charset("gb2312", "中"), charset("big5", "中"), charset("sjis", "あ"),
        charset("cp932", "あ"), charset("ujis", "あ"), charset("eucjpms", "あ"), charset("euckr", "한"),
        charset("gb18030", "中", "mysql9"), charset("utf8mb3", "€"), charset("utf8mb4", "😀"),
        charset("ucs2", "€"), charset("utf16", "😀"), charset("utf16le", "😀"), charset("utf32", "😀"),
        charset("ascii"), charset("swe7", "a"), charset("dec8", "é"), charset("hp8", "é"),
        charset("macroman", "é"), charset("macce", "ł"), charset("keybcs2", "ž"), charset("armscii8", "ա"),
        charset("geostd8", "ა"), charset("binary", "a"),
        Entry("my_charset_beside_collation", "CHARACTER SET | COLLATE",
              "CREATE TABLE T (id int PRIMARY KEY, n varchar(20) CHARACTER SET latin1)"
              " CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", "INSERT INTO T VALUES (1, 'é')"),
        Entry("my_charset_national", "NATIONAL", "CREATE TABLE T (id int PRIMARY KEY, a nchar(5), b national varchar(9))",
              "INSERT INTO T VALUES (1, 'é', '€')"),
        Entry("my_charset_attribute", "ASCII | UNICODE | BINARY",
              "CREATE TABLE T (id int PRIMARY KEY, a varchar(5) ASCII, b varchar(5) UNICODE, c varchar(5) BINARY)",
              "INSERT INTO T VALUES (1, 'a', '€', 'C')"),
        Entry("my_charset_introducer", "DEFAULT literal",
              "CREATE TABLE T (id int PRIMARY KEY, a varchar(5) DEFAULT _latin1'\xe9', b varchar(5) DEFAULT _utf8mb4 0x41)",
              "INSERT INTO T (id) VALUES (1)"),
        Entry("my_collate_key", "COLLATE",
              "CREATE TABLE T (k varchar(9) COLLATE utf8mb4_bin PRIMARY KEY, v int)",
              "INSERT INTO T VALUES ('a', 1), ('A', 2), ('á', 3); UPDATE T SET v = 9 WHERE k = 'A'"),
        Entry("my_collate_key_ci", "COLLATE",
              "CREATE TABLE T (k varchar(9) PRIMARY KEY, v int)",
              "INSERT INTO T VALUES ('a', 1), ('b', 2); UPDATE T SET k = 'A' WHERE k = 'a'"),
        typed("tinyint", "tinyint", "-128", "127"),
        typed("bool", "bool", "0", "1", "5"),
        typed("tinyint_unsigned", "tinyint unsigned", "0", "255"),
        typed("smallint", "smallint unsigned zerofill", "0", "65535"),
        typed("mediumint", "mediumint unsigned", "0", "16777215"),
        typed("int_zerofill", "int(5) zerofill", "0", "42", "4294967295"),
        typed("bigint", "bigint", "-9223372036854775808", "9223372036854775807"),
        typed("bigint_unsigned", "bigint unsigned", "0", "18446744073709551615"),
        typed("decimal", "decimal(65,30)", "-1.5", "99999999999999999999999999999999999.123456789012345678901234567891"),
        typed("decimal_bare", "decimal", "9999999999"),
        typed("numeric_unsigned", "numeric(5,2) unsigned", "0", "999.99"),
        typed("float", "float", "0.1", "-3.4e38", "1e-45"),
        typed("float_digits", "float(7,3)", "1234.567"),
        typed("float_precision", "float(30)", "0.1"),
        typed("double", "double precision", "0.1", "-1.7976931348623157e308", "5e-324", "-0.0"),
        typed("bit1", "bit", "b'0'", "b'1'"),
        typed("bit64", "bit(64)", "b'1'", "0xffffffffffffffff"),
        typed("date", "date", "'1000-01-01'", "'9999-12-31'"),
        typed("time", "time(6)", "'-838:59:59'", "'838:59:59'", "'12:34:56.654321'"),
        typed("time_day", "time(3)", "'00:00:00'", "'23:59:59.999'"),
        typed("datetime", "datetime(6)", "'1000-01-01 00:00:00'", "'9999-12-31 23:59:59.999999'"),
        typed("timestamp", "timestamp(6) NULL", "'1970-01-01 00:00:01'", "'2038-01-18 03:14:07.999999'"),
        typed("year", "year", "1901", "2155", "0"),
        typed("char", "char(3)", "''", "'ab '", "'äöü'"),
        typed("varchar0", "varchar(0)", "''"),
        typed("varchar_long", "varchar(16000)", "repeat('ä', 16000)"),
        typed("binary", "binary(4)", "0x00", "0x01020304", "''"),
        typed("varbinary", "varbinary(9)", "''", "0x00ff0a0d", "'\\\\'"),
        typed("tinytext", "tinytext", "''", "repeat('x', 255)"),
        typed("text", "text", "''", "'tab\\t nl\\n cr\\r nul-less'"),
        typed("text_length", "text(200)", "repeat('ä', 200)"),
        typed("text_length_big", "text(70000)", "repeat('ä', 30000)"),
        typed("blob_length", "blob(200)", "repeat('x', 200)"),
        typed("mediumtext", "mediumtext", "repeat('ä', 70000)"),
        typed("longtext", "longtext", "repeat('x', 100000)"),
        typed("tinyblob", "tinyblob", "''", "0x00"),
        typed("longblob", "longblob", "repeat(0x00, 70000)"),
        typed("long_varchar", "long varchar", "'x'"),
        typed("long_varbinary", "long varbinary", "0xff"),
        typed("enum", "enum('a', 'B', 'c d', 'e''f', 'ü')", "'a'", "'c d'", "'e''f'", "'ü'"),
        typed("enum_binary", "enum('a', 'A') COLLATE utf8mb4_bin", "'a'", "'A'"),
        typed("enum_attribute", "enum('a', 'A') BINARY", "'a'", "'A'"),
        typed("enum_empty", "enum('', 'x')", "''", "'x'"),
        typed("set", "set('a', 'b', 'c d')", "''", "'a,c d'"),
        typed("json", "json", "'null'", "'{\"a\": [1, 2.50, \"ü\", null, true]}'", "'[]'", "'12345678901234567890'"),
        typed("geometry", "geometry", "ST_GeomFromText('POINT(1 2)')", "ST_GeomFromText('LINESTRING(0 0, 1 1)')"),
        typed("point", "point", "point(1.5, -2)"),
        typed("polygon", "polygon", "ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))')"),
        typed("linestring", "linestring", "ST_GeomFromText('LINESTRING(0 0, 1 1)')"),
        typed("multipoint", "multipoint", "ST_GeomFromText('MULTIPOINT((0 0), (1 1))')"),
        typed("multilinestring", "multilinestring", "ST_GeomFromText('MULTILINESTRING((0 0, 1 1))')"),
        typed("multipolygon", "multipolygon", "ST_GeomFromText('MULTIPOLYGON(((0 0,1 0,1 1,0 0)))')"),
        typed("collection", "geometrycollection", "ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 2))')"),
        typed("vector", "vector(3)", "string_to_vector('[1,2,3]')", servers=MYSQL),
        typed("vector_bare", "vector", "string_to_vector('[1]')", servers=MYSQL),
        typed("inet4", "inet4", "'10.0.0.1'", servers=MARIADB),
        typed("inet6", "inet6", "'::1'", "'2001:db8::ff00:42:8329'", servers=MARIADB),
        typed("uuid", "uuid", "'123E4567-e89b-12d3-a456-426655440000'", servers=MARIADB),
        typed("fixed", "fixed(5,1)", "1.5"),
        typed("real", "real", "0.1"),
        typed("int_synonyms", "int4", "7"),
        typed("middleint", "middleint", "7"),
        typed("character_varying", "character varying(5)", "'x'"),
        Entry("my_engine_memory", "ENGINE",
              "CREATE TABLE T (id int PRIMARY KEY) ENGINE=MEMORY", "INSERT INTO T VALUES (1)", on=ENGINE_LOST),
        Entry("my_engine_myisam", "ENGINE",
              "CREATE TABLE T (id int PRIMARY KEY) ENGINE=MyISAM", "INSERT INTO T VALUES (1), (2)"),
        Entry("my_engine_aria", "ENGINE",
              "CREATE TABLE T (id int PRIMARY KEY) ENGINE=Aria TRANSACTIONAL=1 PAGE_CHECKSUM=0",
              "INSERT INTO T VALUES (1), (2)", servers=MARIADB),
        Entry("my_engine_blackhole", "ENGINE",
              "CREATE TABLE T (id int PRIMARY KEY) ENGINE=BLACKHOLE", "INSERT INTO T VALUES (1)",
              servers=MYSQL),
        Entry("my_engine_merge", "ENGINE | UNION",
              "CREATE TABLE T2 (id int PRIMARY KEY) ENGINE=MyISAM;"
              "CREATE TABLE T (id int PRIMARY KEY) ENGINE=MERGE UNION=(T2) INSERT_METHOD=LAST",
              "INSERT INTO T VALUES (1)", verdict=ENGINE, load=Refused("INVALID_CONFIG")),
        Entry("my_engine_archive", "ENGINE",
              "CREATE TABLE T (id int AUTO_INCREMENT PRIMARY KEY) ENGINE=ARCHIVE", "INSERT INTO T VALUES (1)",
              servers=MYSQL, on=ENGINE_LOST),
        Entry("my_row_options", "table_options",
              "CREATE TABLE T (id int PRIMARY KEY) ROW_FORMAT=DYNAMIC STATS_AUTO_RECALC=0 AVG_ROW_LENGTH=9"
              " MAX_ROWS=5 MIN_ROWS=1 PACK_KEYS=0 CHECKSUM=1 DELAY_KEY_WRITE=1", "INSERT INTO T VALUES (1)"),
        Entry("my_compression", "COMPRESSION",
              "CREATE TABLE T (id int PRIMARY KEY, v text) COMPRESSION='zlib'", "INSERT INTO T VALUES (1, 'v')",
              servers=MYSQL),
        Entry("my_secondary_engine", "ENGINE_ATTRIBUTE | SECONDARY_ENGINE",
              "CREATE TABLE T (id int PRIMARY KEY, v int NOT SECONDARY) SECONDARY_ENGINE=rapid",
              "INSERT INTO T VALUES (1, 1)", servers=MYSQL, on=NOT_CARRIED),
        Entry("my_column_format", "COLUMN_FORMAT | STORAGE",
              "CREATE TABLE T (id int COLUMN_FORMAT FIXED STORAGE DISK PRIMARY KEY)",
              "INSERT INTO T VALUES (1)", servers=MYSQL),
        Entry("my_names_odd", "identifiers",
              "CREATE TABLE `T__a b``c.d` (`id` int PRIMARY KEY, `select` int, `a``b` int, `` `` int)"
              .replace("`` ``", "`1x`"),
              "INSERT INTO `T__a b``c.d` VALUES (1, 2, 3, 4); UPDATE `T__a b``c.d` SET `select` = 5"),
        Entry("my_names_upper", "identifiers",
              "CREATE TABLE T__Mixed (Id int PRIMARY KEY, Name varchar(9))",
              "INSERT INTO T__Mixed VALUES (1, 'x'); UPDATE T__Mixed SET name = 'y' WHERE ID = 1"),
        Entry("my_names_long", "identifiers",
              "CREATE TABLE T (id int PRIMARY KEY, " + "c" * 64 + " int, " + "c" * 63 + "d int)",
              "INSERT INTO T VALUES (1, 2, 3)", on={"postgresql": LONG, "load postgresql": LONG}),
        Entry("my_reserved_comments", "lexical: comments",
              "CREATE /* x */ TABLE /*!80000 IF NOT EXISTS */ T ( # it's a comment (\n id int PRIMARY KEY, -- )\n"
              " v int /*!50000 DEFAULT 5 */)", "INSERT INTO T (id) VALUES (1)"),
        Entry("my_foreign_restrict", "ON DELETE RESTRICT | ON DELETE NO ACTION",
              "CREATE TABLE T (id int PRIMARY KEY); INSERT INTO T VALUES (1), (2), (3);"
              "CREATE TABLE T2 (id int PRIMARY KEY, t int, u int, FOREIGN KEY (t) REFERENCES T (id) ON DELETE RESTRICT ON UPDATE NO ACTION,"
              " FOREIGN KEY (u) REFERENCES T (id) ON DELETE NO ACTION ON UPDATE RESTRICT)",
              "INSERT INTO T2 VALUES (1, 1, 2), (2, NULL, NULL); DELETE FROM T WHERE id = 3"),
        Entry("my_foreign_set_default", "ON DELETE SET DEFAULT",
              "CREATE TABLE T (id int PRIMARY KEY); INSERT INTO T VALUES (0), (1);"
              "CREATE TABLE T2 (id int PRIMARY KEY, t int DEFAULT 0, FOREIGN KEY (t) REFERENCES T (id) ON DELETE SET DEFAULT)",
              "INSERT INTO T2 VALUES (1, 0)", tolerant=True),
        Entry("my_foreign_match", "MATCH FULL",
              "CREATE TABLE T (id int PRIMARY KEY); INSERT INTO T VALUES (1), (2);"
              "CREATE TABLE T2 (id int PRIMARY KEY, t int, CONSTRAINT T_fk FOREIGN KEY (t) REFERENCES T (id) MATCH FULL)",
              "INSERT INTO T2 VALUES (1, 1), (2, NULL)"),
        Entry("my_key_clustering", "CLUSTERING KEY", "SET sql_mode = 'IGNORE_BAD_TABLE_OPTIONS';"
              "CREATE TABLE T (id int PRIMARY KEY, v int, KEY T_v (v) CLUSTERING=YES)", "INSERT INTO T VALUES (1, 1)", servers=MARIADB, alone=True),
        Entry("my_fulltext_parser", "WITH PARSER",
              "CREATE TABLE T (id int PRIMARY KEY, w text, FULLTEXT KEY T_w (w) WITH PARSER ngram)", "INSERT INTO T VALUES (1, '中文 words')", servers=MYSQL),
        Entry("my_data_directory", "DATA DIRECTORY | INDEX DIRECTORY", "", verdict=PLACES, load=PLACES),
        Entry("my_create_tablespace", "TABLESPACE | ENCRYPTION | AUTOEXTEND_SIZE",
              "CREATE TABLE T (id int PRIMARY KEY) TABLESPACE=innodb_system; CREATE TABLE T2 (id int PRIMARY KEY) ENCRYPTION='N' AUTOEXTEND_SIZE=4M",
              "INSERT INTO T VALUES (1); INSERT INTO T2 VALUES (2)", servers=MYSQL),
        typed("dec", "dec(5,1)", "-1.5", "9999.9"),
        typed("integer", "integer(4)", "-7", "2147483647"),
        Entry("my_type_national_varchar", "type national varchar",
              "CREATE TABLE T (id int PRIMARY KEY, a national varchar(9), b national char varying(9), c nvarchar(5), d national char(3))",
              "INSERT INTO T VALUES (1, 'é', '€', 'ü', 'x '), (2, NULL, '', '', '')"),
        Entry("my_type_clob", "type clob", "SET sql_mode = 'ORACLE'; CREATE TABLE T (id int PRIMARY KEY, v clob, w number(5,2), x varchar2(3)); SET sql_mode = DEFAULT",
              "INSERT INTO T VALUES (1, repeat('ä', 70000), 1.50, 'x'), (2, NULL, NULL, '')", servers=MARIADB, alone=True),
        Entry("my_type_blob_key", "type blob as key", "CREATE TABLE T (k blob NOT NULL, v int, PRIMARY KEY (k(10)))",
              "INSERT INTO T VALUES (0x00ff, 1), ('a', 2), ('a ', 3), ('', 4); UPDATE T SET v = 9 WHERE k = 'a'; DELETE FROM T WHERE k = 0x00ff"),
        Entry("my_type_geometry_srid", "type geometry with SRID", "CREATE TABLE T (id int PRIMARY KEY, v geometry SRID 4326, w point NOT NULL SRID 0, SPATIAL KEY (w))",
              "INSERT INTO T VALUES (1, ST_GeomFromText('POINT(1 2)', 4326), point(3, 4)), (2, NULL, point(0, 0));"
              "UPDATE T SET v = ST_GeomFromText('LINESTRING(1 2, 3 4)', 4326) WHERE id = 2", servers=MYSQL),
        Entry("my_null_not_null", "NOT NULL with NULL conflict", "CREATE TABLE T (id int PRIMARY KEY, v int NOT NULL NULL, w int NULL NOT NULL DEFAULT 3)",
              "INSERT INTO T VALUES (1, NULL, 1); INSERT INTO T (id, v) VALUES (2, 2)", tolerant=True),
        Entry("my_default_nextval", "DEFAULT nextval", "CREATE SEQUENCE T_q START 7; CREATE TABLE T (id int PRIMARY KEY DEFAULT (NEXT VALUE FOR T_q), v int)",
              "INSERT INTO T (v) VALUES (1), (2)", servers=MARIADB, structure=False),
    ),
)
