"""A schema of our own with the ground that the samples cover, and the hostile corners.

`fill_mysql` and `fill_postgres` make it in a fresh database. Left out on purpose, for
each is a policy with tests of its own: NUL in text, TIME beyond a day, zero dates in NOT
NULL columns, table and column names too long for PostgreSQL.
"""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

from tests.support import samples
from tests.support.samples import Server

LONG = "n" * 59  # with four more bytes it is as long as PostgreSQL allows

MYSQL = rf"""
CREATE TABLE customers (
  id INT UNSIGNED NOT NULL AUTO_INCREMENT, email VARCHAR(120) NOT NULL, `Name` VARCHAR(80),
  boss INT UNSIGNED COMMENT 'it''s the "boss" \\ of all', best_order BIGINT UNSIGNED,
  note TEXT, PRIMARY KEY (id), UNIQUE KEY `by_name` (email), KEY prefixed (note(12)),
  KEY down (`Name` DESC, id), FULLTEXT KEY words (`Name`, note),
  CONSTRAINT boss FOREIGN KEY (boss) REFERENCES customers (id) ON DELETE SET NULL
) COMMENT = 'customers''s "table" ünï';
CREATE TABLE orders (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, customer INT UNSIGNED NOT NULL,
  total DECIMAL(12,2) NOT NULL DEFAULT 0.00, placed DATETIME(6) NOT NULL,
  changed TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
  state ENUM('new', 'it''s', 'a,b', '"q"', '', ' x', 'ü', 'back\\slash', 'last') DEFAULT 'it''s',
  KEY by_name (customer, placed), KEY customers (total),
  CONSTRAINT `{LONG}12345` CHECK (total >= 0),
  CONSTRAINT owner FOREIGN KEY (customer) REFERENCES customers (id) ON UPDATE CASCADE
);
ALTER TABLE customers ADD CONSTRAINT best FOREIGN KEY (best_order) REFERENCES orders (id);
CREATE TABLE order_lines (
  order_id BIGINT UNSIGNED NOT NULL, line SMALLINT UNSIGNED NOT NULL, sku CHAR(8) NOT NULL,
  quantity INT NOT NULL DEFAULT 1, price DECIMAL(10,4) NOT NULL,
  doubled INT AS (quantity * 2) STORED, tripled INT AS (quantity * 3) VIRTUAL,
  PRIMARY KEY (line, order_id), KEY `{LONG}12345` (sku), KEY `{LONG}12346` (price),
  FOREIGN KEY (order_id) REFERENCES orders (id) ON DELETE CASCADE,
  CHECK (quantity > 0), CHECK (price >= 0)
);
CREATE TABLE parts (line SMALLINT UNSIGNED, order_id BIGINT UNSIGNED, n INT,
  FOREIGN KEY (line, order_id) REFERENCES order_lines (line, order_id)
  ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE `dot.ted "quoted" ``ticked`` näme` (
  `select` INT PRIMARY KEY, `from.where` INT, `two words` INT, `q"uote` INT, `t``ick` INT,
  `表 ü` VARCHAR(9) DEFAULT 'ß''"', `per%cent %s` INT, `back\slash` INT, `{LONG}_col` INT,
  `UPPER` INT, `a'b` INT, `co:lon` INT,
  UNIQUE `q"uote` (`q"uote`, `t``ick`), KEY `select` (`from.where`), KEY `per%` (`per%cent %s`));
CREATE TABLE `order` (`table` INT PRIMARY KEY, `group` INT DEFAULT -5);
CREATE TABLE `{LONG}_tab` (id INT PRIMARY KEY, KEY by_name (id));
CREATE TABLE `Case` (id INT);
CREATE TABLE `case` (id INT);
CREATE TABLE `empty` (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(10));
CREATE TABLE last_number (id INT AUTO_INCREMENT PRIMARY KEY);
CREATE TABLE keyless (a INT, b VARCHAR(10));
CREATE TABLE numbers (
  id INT PRIMARY KEY, t TINYINT, tu TINYINT UNSIGNED, flag TINYINT(1), notflag TINYINT(1),
  s SMALLINT, su SMALLINT UNSIGNED, m MEDIUMINT, mu MEDIUMINT UNSIGNED, i INT, iu INT UNSIGNED,
  b BIGINT, bu BIGINT UNSIGNED, d DECIMAL(65,30), d0 DECIMAL(20,0), du DECIMAL(5,5) UNSIGNED,
  f FLOAT, g DOUBLE, b1 BIT(1), b9 BIT(9), b64 BIT(64), y YEAR);
INSERT INTO numbers VALUES
 (1, -128, 255, 1, 2, -32768, 65535, -8388608, 16777215, -2147483648, 4294967295,
  -9223372036854775808, 18446744073709551615, {"9" * 35}.{"9" * 30}, {"9" * 20}, 0.99999,
  3.402823466e38, 1.7976931348623157e308, b'1', b'100000001', b'{"1" * 64}', 2155),
 (2, 127, 0, 0, -1, 32767, 0, 8388607, 0, 2147483647, 0, 9223372036854775807, 9223372036854775808,
  -{"9" * 35}.{"9" * 30}, -{"9" * 20}, 0, -1.17549435e-38, 2.2250738585072014e-308, b'0', b'0',
  b'1{"0" * 63}', 1901),
 (3, {", ".join(["0"] * 12)}, 0.{"0" * 29}1, 0, 0.00001, 0.1, -0e0, NULL, NULL, NULL, 0),
 (4, {", ".join(["1"] * 12)}, 100.50, 10, 0.5, 16777216, 0.1, b'1', b'10', b'10', 2000),
 (5{", NULL" * 21});
CREATE TABLE texts (
  id INT PRIMARY KEY, c CHAR(5), v VARCHAR(300), tt TINYTEXT, t TEXT, mt MEDIUMTEXT, lt LONGTEXT,
  l1 VARCHAR(20) CHARACTER SET latin1, u16 VARCHAR(20) CHARACTER SET utf16,
  bin VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, s SET('a', 'it''s', '"q"', ' x', 'ü'),
  fixed BINARY(4), varb VARBINARY(300), tb TINYBLOB, b BLOB, mb MEDIUMBLOB, lb LONGBLOB, j JSON);
INSERT INTO texts VALUES
 (1, 'a', '', '', 'tab\tline\nreturn\rslash\\quote''"\b\Z\\N', '\\.', '\\N', 'é', '𝄞', 'Ä', 'a,ü',
  X'00', X'', X'00', X'5C00FF0A0D09', X'5C78', X'2727', '{{}}'),
 (2, 'ab  ', 'a  ', 'NULL', 'ﬃ 😀 ́', '{{a,b}}', repeat('long ', 20000), 'ÿ', 'ä', '', '',
  X'FFFFFFFF', X'{bytes(range(256)).hex()}', X'80', X'C3', X'00', repeat(X'00FF', 50000),
  '{{"a": [1.50, -0.0, 12345678901234567890, 1e2, true, null, "\\u00e9\\n\\""], "": {{"b": []}}}}'),
 (3, '', ' lead', ' ', '
', 'x', 'x', 'x', 'x', 'x', 'a,it''s,"q", x,ü', X'20202020', X'20', X'', X'', X'', X'', 'null'),
 (4{", NULL" * 17});
CREATE TABLE moments (
  id INT PRIMARY KEY, d DATE, dt DATETIME, dt3 DATETIME(3), dt6 DATETIME(6), ts TIMESTAMP NULL,
  ts6 TIMESTAMP(6) NULL, t TIME, t6 TIME(6));
INSERT INTO moments VALUES
 (1, '0001-01-01', '1000-01-01 00:00:00', '9999-12-31 23:59:59.999', '9999-12-31 23:59:59.999999',
  '1970-01-01 00:00:01', '2038-01-19 03:14:07.999999', '23:59:59', '23:59:59.999999'),
 (2, '9999-12-31', '2024-02-29 12:00:00', '1969-12-31 23:59:59.001', '2020-01-01 00:00:00.000001',
  '2021-03-28 01:30:00', '2021-03-28 02:30:00.100000', '00:00:00', '00:00:00.000001'),
 (3, '0000-00-00', '0000-00-00 00:00:00', '2020-00-00 00:00:00', '2020-05-00 01:02:03',
  '0000-00-00 00:00:00', NULL, NULL, NULL),
 (4{", NULL" * 8});
CREATE TABLE defaults (
  id INT PRIMARY KEY, i INT DEFAULT 7, d DECIMAL(6,3) DEFAULT -1.5, f FLOAT DEFAULT 0.1,
  g DOUBLE DEFAULT 1e100, v VARCHAR(40) DEFAULT 'it''s "x" \\ ü', e VARCHAR(5) DEFAULT '',
  n VARCHAR(9) DEFAULT 'NULL', now_text VARCHAR(30) DEFAULT 'CURRENT_TIMESTAMP',
  k ENUM('a', 'it''s') DEFAULT 'it''s', s SET('a', 'b') NOT NULL DEFAULT 'a,b',
  b BIT(6) DEFAULT b'101', flag BOOLEAN NOT NULL DEFAULT TRUE, day DATE DEFAULT '2024-02-29',
  at DATETIME DEFAULT '2024-02-29 01:02:03', made DATETIME DEFAULT CURRENT_TIMESTAMP,
  made6 DATETIME(6) DEFAULT CURRENT_TIMESTAMP(6), tick TIME DEFAULT '01:02:03',
  y YEAR DEFAULT 2020, sum INT DEFAULT (1 + 2), today DATE DEFAULT (curdate()),
  big BIGINT UNSIGNED DEFAULT 18446744073709551615, raw VARBINARY(4) DEFAULT 'ab',
  text_of TEXT DEFAULT ('abc'), uid VARCHAR(36) DEFAULT (uuid()));
INSERT INTO defaults (id) VALUES (1);
CREATE TABLE places (id INT PRIMARY KEY, p POINT NOT NULL, g GEOMETRY, poly POLYGON);
INSERT INTO places VALUES
 (1, ST_GeomFromText('POINT(1.5 -2.25)'), ST_GeomFromText('LINESTRING(0 0,1 1,2 3)'),
  ST_GeomFromText('POLYGON((0 0,4 0,4 4,0 0))')),
 (2, ST_GeomFromText('POINT(10 20)', 4326), NULL,
  ST_GeomFromText('POLYGON((0 0,4 0,4 4,0 0))', 4326));
INSERT INTO `dot.ted "quoted" ``ticked`` näme` VALUES (1, 2, 3, 4, 5, 'x', 7, 8, 9, 10, 11, 12);
INSERT INTO `order` VALUES (1, 2);
INSERT INTO `Case` VALUES (1);
INSERT INTO `case` VALUES (2), (3);
INSERT INTO last_number VALUES (2147483646);
INSERT INTO keyless VALUES (1, 'x'), (1, 'x'), (NULL, NULL), (NULL, NULL);
CREATE VIEW left_behind AS SELECT id FROM customers;
"""
ONLY_MYSQL = """
CREATE TABLE functional (id INT PRIMARY KEY, v VARCHAR(20),
  KEY lowered ((lower(v))), KEY hidden (v) INVISIBLE, j JSON DEFAULT (json_array()));
INSERT INTO functional (id, v) VALUES (1, 'Ab');
"""
ONLY_MARIADB = """
CREATE TABLE own_types (id INT PRIMARY KEY, u UUID, six INET6, four INET4);
INSERT INTO own_types VALUES (1, '123e4567-e89b-12d3-a456-426655440000', '2001:db8::ff00:42:8329',
  '192.0.2.1'), (2, NULL, '::', '0.0.0.0');
"""


def fill_mysql(server: Server) -> str:
    """The schema in a fresh database of MySQL or MariaDB; its name."""
    database = samples.create(server, "shop")
    with samples.mysql_connection(server, database) as connection, connection.cursor() as cursor:
        cursor.execute("SET SESSION sql_mode = 'ALLOW_INVALID_DATES'")
        maria = "MariaDB" in connection.get_server_info()
        script = MYSQL + (ONLY_MARIADB if maria else ONLY_MYSQL)
        for statement in samples.split_mysql(script):
            cursor.execute(statement)
        cursor.execute("SET SESSION foreign_key_checks = 0")
        for table, rows in shop().items():
            marks = ", ".join(["%s"] * len(rows[0]))
            columns = "(order_id, line, sku, quantity, price)" if table == "order_lines" else ""
            cursor.executemany(f"INSERT INTO {table} {columns} VALUES ({marks})", rows)
    return database


def shop(orders: int = 3000) -> dict[str, list[tuple[Any, ...]]]:
    """Rows of the shop's tables: cyclic and self references, always the same."""
    rng = random.Random(20)
    states = ["new", "it's", "a,b", '"q"', "", " x", "ü", "back\\slash", None]
    people = orders // 10
    found: dict[str, list[tuple[Any, ...]]] = {"customers": [], "orders": [], "order_lines": []}
    for n in range(1, people + 1):
        boss = rng.choice([None, rng.randint(1, people)])
        best = rng.choice([None, rng.randint(1, orders)])
        note = rng.choice([None, "", "ünï 😀\n\\", "x" * rng.randint(1, 400)])
        found["customers"].append(
            (n, f"u{n}@example.org", rng.choice([None, f"Ö {n}"]), boss, best, note)
        )
    for n in range(1, orders + 1):
        placed = f"{rng.randint(1970, 2037)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
        clock = f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}:00.{rng.randint(0, 999999):06}"
        total = Decimal(rng.randint(0, 10**9)) / 100
        changed = f"{placed} {clock[:12]}"
        found["orders"].append(
            (n, rng.randint(1, people), total, f"{placed} {clock}", changed, rng.choice(states))
        )
        for line in range(rng.randint(0, 4)):
            price = Decimal(rng.randint(0, 10**7)) / 10000
            found["order_lines"].append((n, line, f"S{line} ", rng.randint(1, 99), price))
    return found
