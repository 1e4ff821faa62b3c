"""The sample databases of the shared folder move whole, and the check itself can fail."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support import canonical_rows, samples
from tests.support.canonical_rows import End
from tests.support.sample_moves import (
    differences,
    moved,
    server,
)
from tests.support.samples import Server

MYSQL_SAMPLES = ("sakila", "chinook", "northwind", "employees_small")
POSTGRES_SAMPLES = ("sakila", "chinook", "northwind")


def check_sample(source: Server, target: Server, sample: str, data: Path) -> None:
    """Moves a sample and holds the copy against the original and the README's counts."""
    with moved(source, target, lambda to: samples.load(to, sample, data)) as (there, here):
        counts = canonical_rows.row_counts(here)
        assert counts == canonical_rows.row_counts(there)
        stated = samples.ROWS[sample, samples.dialect(source)]
        assert {name: counts[name] for name in stated} == stated
        assert differences(there, here) == []


@pytest.mark.parametrize(("source", "target"), [("mysql9", "pg18"), ("mariadb", "pg15")])
@pytest.mark.parametrize("sample", MYSQL_SAMPLES)
def test_mysql_sample_moves_whole(
    request: pytest.FixtureRequest, shared_data: Path, sample: str, source: str, target: str
) -> None:
    check_sample(server(request, source), server(request, target), sample, shared_data)


@pytest.mark.parametrize("source", ["pg15", "pg18"])
@pytest.mark.parametrize("sample", POSTGRES_SAMPLES)
def test_postgres_sample_moves_whole(
    request: pytest.FixtureRequest, shared_data: Path, sample: str, source: str
) -> None:
    check_sample(server(request, source), server(request, "pg18"), sample, shared_data)


# --- the check itself -----------------------------------------------------------------------

POSTGRES_FAULTS = {
    "UPDATE orders SET freight = freight + 1 WHERE order_id = 10248": "public.orders: 830 rows",
    "UPDATE orders SET ship_region = '' WHERE order_id = 10248": "public.orders: 830 rows",
    "DELETE FROM order_details WHERE order_id = 10248": "2155 rows against 2152",
    "DROP INDEX extra_index": "('index', 'public', 'extra_index') is missing",
    "ALTER TABLE orders DROP CONSTRAINT fk_orders_customers": "'fk_orders_customers') is missing",
    "ALTER TABLE orders ALTER freight SET DEFAULT 1": "'orders', 'freight'",
    "ALTER TABLE orders ALTER ship_name TYPE varchar(41)": "'orders', 'ship_name'",
    "ALTER TABLE orders ALTER ship_name SET NOT NULL": "'orders', 'ship_name'",
    "COMMENT ON TABLE orders IS 'x'": "('table', 'public', 'orders')",
    "SELECT setval('extra_sequence', 41)": "'extra_sequence'",
    "CREATE TABLE too_much ()": "'too_much') is on the target only",
}


def test_a_fault_on_postgres_is_found(pg15: Server, shared_data: Path) -> None:
    """Two loads of the same script are equal; after one change they are not."""
    more = "CREATE INDEX extra_index ON orders (freight); CREATE SEQUENCE extra_sequence START 7"
    with ExitStack() as stack:
        ends = []
        for _ in range(2):
            ends.append(End(pg15, samples.load(pg15, "northwind", shared_data)))
            stack.callback(samples.drop, pg15, ends[-1].database)
            samples.run_postgres(pg15, ends[-1].database, more)
        assert differences(*ends) == []
        for fault, told in POSTGRES_FAULTS.items():
            samples.run_postgres(pg15, ends[1].database, fault)
            found = "\n".join(differences(*ends))
            assert told in found, (fault, found)


SMALL_MYSQL = [
    "CREATE TABLE parent (a INT NOT NULL, b INT NOT NULL, name VARCHAR(20) DEFAULT 'it''s',"
    " PRIMARY KEY (b, a)) COMMENT 'the ''parent'''",
    "CREATE TABLE child (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,"
    " a INT, b INT, kind ENUM('x', 'y,z') DEFAULT 'x', flags SET('p', 'q') DEFAULT 'p,q',"
    " price DECIMAL(8,3) DEFAULT 1.5, f FLOAT DEFAULT 0.1, bits BIT(5) DEFAULT b'101',"
    " yes BIT(1) DEFAULT b'1', raw VARBINARY(9), doc JSON, at DATETIME(3) DEFAULT NOW(3),"
    " seen TIMESTAMP NULL, day DATE DEFAULT '2020-02-29', y YEAR,"
    " total DECIMAL(9,3) AS (price * 2) STORED,"
    " INDEX by_price (price, kind), INDEX by_name (y DESC), UNIQUE (f),"
    " CHECK (price > 0), FOREIGN KEY (b, a) REFERENCES parent (b, a) ON DELETE CASCADE)",
    "INSERT INTO parent VALUES (1, 2, 'ä'), (-1, -2, NULL)",
    "INSERT INTO child (a, b, kind, flags, price, f, bits, yes, raw, doc, at, seen, day, y)"
    " VALUES (1, 2, 'y,z', 'p', 12345.678, 16777216, b'10001', b'0', X'00FF',"
    " '{\"k\": [1.0, 12345678901234567890, null]}', '2020-01-01 00:00:00.120',"
    " '2020-01-01 01:02:03', '0001-01-01', 2155), (NULL, NULL, NULL, '', 1, -0.1, NULL, NULL,"
    " NULL, NULL, NULL, NULL, NULL, NULL)",
]
SMALL_POSTGRES = """
CREATE TABLE parent (a int NOT NULL, b int NOT NULL, name varchar(20) DEFAULT 'it''s',
  PRIMARY KEY (b, a));
COMMENT ON TABLE parent IS 'the ''parent''';
CREATE TYPE child_kind AS ENUM ('x', 'y,z');
CREATE TABLE child (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, a int, b int,
  kind child_kind DEFAULT 'x', flags text[] DEFAULT '{p,q}', price numeric(8,3) DEFAULT 1.500
  CHECK (price > 0), f real DEFAULT 0.1 UNIQUE, bits bit(5) DEFAULT B'00101',
  yes boolean DEFAULT true, raw bytea, doc jsonb, at timestamp(3) DEFAULT CURRENT_TIMESTAMP,
  seen timestamptz, day date DEFAULT '2020-02-29', y smallint,
  total numeric(9,3) GENERATED ALWAYS AS (price * 2) STORED,
  FOREIGN KEY (b, a) REFERENCES parent (b, a) ON DELETE CASCADE);
CREATE INDEX by_price ON child (price, kind);
CREATE INDEX by_name ON child (y DESC);
CREATE INDEX of_the_key ON child (b, a);
INSERT INTO parent VALUES (1, 2, 'ä'), (-1, -2, NULL);
INSERT INTO child VALUES (1, 1, 2, 'y,z', '{p}', 12345.678, 16777216, B'10001', false, '\\x00ff',
  '{"k": [1.00, 12345678901234567890, null]}', '2020-01-01 00:00:00.12', '2020-01-01 01:02:03+00',
  '0001-01-01', 2155), (2, NULL, NULL, NULL, '{}', 1, -0.1, NULL, NULL, NULL, NULL, NULL, NULL,
  NULL, NULL);
SELECT setval('child_id_seq', 2);
"""
MYSQL_FAULTS = {
    "UPDATE child SET f = 16777218 WHERE id = 1": "child: 2 rows",
    "UPDATE child SET seen = seen + interval '1 hour' WHERE id = 1": "child: 2 rows",
    "UPDATE child SET flags = NULL WHERE id = 2": "child: 2 rows",
    "UPDATE child SET doc = '{\"k\": [1, 12345678901234567000, null]}' WHERE id = 1": "child: 2",
    "UPDATE parent SET name = '' WHERE name IS NULL": "parent: 2 rows",
    "DROP INDEX by_price": "index (False, ('price', 'kind')) is missing",
    "DROP INDEX by_name; CREATE INDEX by_name ON child (y)": "index (False, ('y DESC',))",
    "ALTER TABLE child DROP CONSTRAINT child_b_a_fkey": "foreign key (('b', 'a'), 'parent'",
    "ALTER TABLE child DROP CONSTRAINT child_price_check": "checks 1 became 0",
    "ALTER TABLE child ALTER bits SET DEFAULT B'10100'": "column bits: default",
    "ALTER TABLE child ALTER at DROP DEFAULT": "column at: default",
    "ALTER TABLE child ALTER total DROP EXPRESSION": "column total: generated",
    "ALTER TABLE child ALTER price TYPE numeric": "column price: decimal(8,3) became",
    "SELECT setval('child_id_seq', 2, false)": "the sequence gives 2, but 2 is there",
    "COMMENT ON TABLE parent IS NULL": "comment \"the 'parent'\" became ''",
}


@pytest.mark.parametrize("source", ["mysql9", "mariadb"])
def test_a_fault_against_mysql_is_found(
    request: pytest.FixtureRequest, pg15: Server, source: str
) -> None:
    """A pair made by hand is equal; after one change of the copy it is not."""
    mysql = server(request, source)
    with ExitStack() as stack:
        there, here = samples.create(mysql, "small"), samples.create(pg15, "small")
        stack.callback(samples.drop, mysql, there)
        stack.callback(samples.drop, pg15, here)
        with samples.mysql_connection(mysql, there) as connection, connection.cursor() as cursor:
            for statement in SMALL_MYSQL:
                cursor.execute(statement)
        samples.run_postgres(pg15, here, SMALL_POSTGRES)
        ends = End(mysql, there), End(pg15, here)
        assert differences(*ends) == []
        for fault, told in MYSQL_FAULTS.items():
            samples.run_postgres(pg15, here, fault)
            found = "\n".join(differences(*ends))
            assert told in found, (fault, found)
