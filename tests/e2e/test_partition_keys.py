"""Foreign keys and counters of PostgreSQL's partitions, as pagila has them."""

from __future__ import annotations

from typing import Any

import pytest

from streams_engine import Stream
from streams_engine.testing.servers import Server
from tests.support.databases import End, move

COLUMNS = (
    "payment_id int DEFAULT nextval('payment_seq') NOT NULL, d date NOT NULL, cid int NOT NULL,"
    " sid int NOT NULL"
)
MONTHS = (1, 2, 3)
TABLES = (
    "CREATE TABLE customer (id serial PRIMARY KEY)",
    "CREATE TABLE staff (id serial PRIMARY KEY)",
    "CREATE SEQUENCE payment_seq",
    f"CREATE TABLE payment ({COLUMNS}, PRIMARY KEY (d, payment_id)) PARTITION BY RANGE (d)",
    *(f"CREATE TABLE payment_{m} ({COLUMNS})" for m in MONTHS),
    *(
        f"ALTER TABLE ONLY payment ATTACH PARTITION payment_{m}"
        f" FOR VALUES FROM ('2024-0{m}-01') TO ('2024-0{m + 1}-01')"
        for m in MONTHS
    ),
    *(
        f"ALTER TABLE ONLY payment_{m} ADD CONSTRAINT payment_{m}_cid FOREIGN KEY (cid)"
        " REFERENCES customer (id)"
        for m in MONTHS
    ),
    "ALTER TABLE ONLY payment_1 ADD CONSTRAINT payment_1_sid FOREIGN KEY (sid)"
    " REFERENCES staff (id)",
    "CREATE TABLE refund (id int PRIMARY KEY, d date, p int, CONSTRAINT refund_whole"
    " FOREIGN KEY (d, p) REFERENCES payment (d, payment_id), CONSTRAINT refund_part"
    " FOREIGN KEY (d, p) REFERENCES payment_1 (d, payment_id))",
    "INSERT INTO customer DEFAULT VALUES",
    "INSERT INTO staff DEFAULT VALUES",
    "INSERT INTO payment (d, cid, sid)"
    " SELECT '2024-01-01'::date + i, 1, 1 FROM generate_series(0, 70) i",
    "INSERT INTO refund VALUES (1, '2024-01-01', 1)",
)


@pytest.mark.parametrize("to_name", ["mysql9", "mariadb"])
def test_mysql_keeps_what_all_partitions_have_and_names_the_rest(
    to_name: str, pg18: Server, request: pytest.FixtureRequest, database: Any
) -> None:
    server: Server = request.getfixturevalue(to_name)
    source, target = End(pg18, database(pg18)), End(server, database(server))
    source.run(*TABLES)
    stats = move(source, target)
    named = {
        f.object.rsplit(".", 1)[1]: f.message for f in stats.findings if f.code[:7] == "foreign"
    }
    assert "Some partitions lack" in named.pop("payment_1_sid")
    assert "a partition; on the target it refers to the whole table" in named.pop("refund_part")
    assert not named
    made = target.rows(
        "SELECT table_name, referenced_table_name FROM information_schema.referential_constraints"
        f" WHERE constraint_schema = '{target.database}' ORDER BY 1, 2"
    )
    assert made == [("payment", "customer"), ("refund", "payment"), ("refund", "payment")]
    target.run("INSERT INTO payment (d, cid, sid) VALUES ('2024-02-02', 1, 1)")
    assert target.rows("SELECT max(payment_id) FROM payment") == [(72,)]


def test_postgres_keeps_each_partitions_own(pg15: Server, pg18: Server, database: Any) -> None:
    source, target = End(pg15, database(pg15)), End(pg18, database(pg18))
    source.run(*TABLES)
    query = (
        "SELECT conrelid::regclass::text, conname, confrelid::regclass::text FROM pg_constraint"
        " WHERE contype = 'f' AND conparentid = 0 ORDER BY 1, 2"
    )
    stats = move(source, target)
    assert not [f for f in stats.findings if f.code == "foreign-key"]
    assert target.rows(query) == source.rows(query)
    # Over its own tables again: parents come before the partitions that refer to them.
    with Stream(source.url, target.url, write_mode="truncate_and_load") as stream:
        stream.run()
        assert stream.verify().ok


def test_a_partition_keeps_its_index_under_an_invalid_one_of_the_whole(
    pg18: Server, database: Any
) -> None:
    """Which stays invalid until every partition's is attached, and is left out."""
    source, target = End(pg18, database(pg18)), End(pg18, database(pg18))
    source.run(
        "CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)",
        "CREATE TABLE t_a PARTITION OF t FOR VALUES FROM (0) TO (10) PARTITION BY RANGE (id)",
        "CREATE TABLE t_aa PARTITION OF t_a FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE t_b PARTITION OF t FOR VALUES FROM (10) TO (20)",
        "CREATE INDEX i_a ON t_a (v)",
        "CREATE INDEX i ON ONLY t (v)",
        "ALTER INDEX i ATTACH PARTITION i_a",
    )
    stats = move(source, target)
    assert "The index i is invalid on the source" in str([f.message for f in stats.findings])
    query = "SELECT tablename, indexname FROM pg_indexes WHERE indexdef LIKE '%%(v)' ORDER BY 1"
    with pg18.connect(target.database) as connection:
        assert connection.execute(query).fetchall() == [("t_a", "i_a"), ("t_aa", "t_aa_v_idx")]
