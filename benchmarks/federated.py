"""A join of MySQL with PostgreSQL: ours beside both tables fetched with connectorx into DuckDB.

``python -m benchmarks.federated [--rows 1000000] [--rounds 3]``. It starts private servers, fills
``orders`` in MySQL and a tenth as many ``accounts`` in PostgreSQL, and runs each contender in a
process of its own; imports are over before the clock starts, memory is the process's peak.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

from benchmarks.data import NUMBERS, SHAPES
from benchmarks.data import fill as fill_shape
from benchmarks.measuring import Failed, measure
from streams_engine.testing.servers import Server, start

__all__ = ["main"]

JOIN = "FROM {accounts} a JOIN {orders} b ON a.id = b.customer"
QUERIES: Mapping[str, str] = {
    "accounts filtered to 1 %": f"SELECT a.name, b.amount {JOIN} WHERE a.segment = 7",
    "orders filtered to 1 %": f"SELECT a.name, b.amount {JOIN} WHERE b.id <= {{few}}",
    "nothing filtered, grouped": f"SELECT a.segment, count(*) AS n, sum(b.amount) AS amount {JOIN}"
    " GROUP BY a.segment",
}
FIGURE = 5.0
MOST_MB = 300


def fill(mysql: Server, postgres: Server, rows: int) -> dict[str, str]:
    """The tables; returns the contenders' job. The orders are the table of the other benchmarks."""
    shop, crm = fill_shape(mysql, SHAPES["mixed"], rows), postgres.create_database()
    with mysql.connect(shop) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT max(customer) FROM mixed")
        (accounts,) = cursor.fetchone()
    with closing(postgres.connect(crm)) as other, other.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE accounts (id int PRIMARY KEY, name text, segment int, note text)"
        )
        numbers = NUMBERS["postgresql"].format(first=1, last=max(accounts, rows // 10))
        cursor.execute(
            f"INSERT INTO accounts {numbers} SELECT i, 'name ' || i, i % 100,"
            " repeat('x', 40) FROM s"
        )
        cursor.execute("ANALYZE accounts")
    return {
        "mysql": mysql.url(shop),
        "postgres": postgres.url(crm),
        "accounts": "pg1.public.accounts",
        "orders": f"my1.{shop}.mixed",
        "few": str(rows // 100),
    }


def ours(job: Mapping[str, str]) -> Callable[[], Any]:
    """The federated query."""
    from streams_engine import Engine

    engine = Engine()
    for name, url in (("my1", job["mysql"]), ("pg1", job["postgres"])):
        engine.connections.create({"name": name, **document(url)})
    sql = job["sql"].format(**job)
    _warm()

    def run() -> Any:
        with engine, engine.query(sql) as result:
            return result.table()

    return run


def document(url: str) -> dict[str, Any]:
    """A URL of a private server as a connection's document."""
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(url)
    return {
        "type": {"postgresql": "postgresql"}.get(parts.scheme, "mysql"),
        "host": parts.hostname,
        "port": parts.port,
        "username": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "database": parts.path.strip("/"),
    }


def _warm() -> None:
    """Import what would be imported on the way."""
    import encodings.idna

    import adbc_driver_postgresql.dbapi
    import duckdb
    import numpy.ma  # pyarrow asks for it at its first array of numpy's
    import sqlglot.dialects.duckdb
    import sqlglot.dialects.mysql
    import sqlglot.dialects.postgres

    import streams_engine.adapters.mysql.snapshot.source
    import streams_engine.adapters.postgres.snapshot.source  # noqa: F401

    duckdb.connect().close()
    del adbc_driver_postgresql, encodings, numpy, sqlglot


def fetched(job: Mapping[str, str]) -> Callable[[], Any]:
    """Both tables fetched whole by connectorx, joined by DuckDB."""
    import connectorx
    import duckdb

    sql = job["sql"].format(accounts="accounts", orders="orders", few=job["few"])

    def run() -> Any:
        database = duckdb.connect()
        tables = {
            "accounts": (job["postgres"], "SELECT * FROM accounts"),
            "orders": (job["mysql"], "SELECT * FROM mixed"),
        }
        for name, (url, query) in tables.items():
            database.register(name, connectorx.read_sql(url, query, return_type="arrow"))
        return database.sql(sql).to_arrow_table()

    return run


CONTENDERS: Mapping[str, Callable[[Mapping[str, str]], Callable[[], Any]]] = {
    "ours": ours,
    "connectorx": fetched,
}


def child(name: str, job: Mapping[str, str]) -> None:
    """One contender in its own process: prints seconds and rows."""
    run = CONTENDERS[name](job)
    begun = time.perf_counter()
    table = run()
    print(json.dumps({"seconds": time.perf_counter() - begun, "rows": table.num_rows}))


def main() -> None:
    """Fill, measure, print."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rows", type=int, default=1_000_000)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--child", nargs=2)
    given = arguments.parse_args()
    if given.child:
        child(given.child[0], json.loads(given.child[1]))
        return
    with start("mysql9") as mysql, start("pg18") as postgres:
        job = fill(mysql, postgres, given.rows)
        for title, sql in QUERIES.items():
            print(title)
            medians = {}
            for name in CONTENDERS:
                command = [sys.executable, "-m", "benchmarks.federated", "--child", name,
                           json.dumps({**job, "sql": sql})]  # fmt: skip
                try:
                    runs = [measure(command, measures_itself=True) for _ in range(given.rounds)]
                except Failed as error:
                    print(f"  {name}: {error}")
                    continue
                medians[name] = statistics.median(run.seconds for run in runs)
                peak = max(run.peak_mb for run in runs)
                print(f"  {name:12}{medians[name]:8.2f} s {peak:8.0f} MB {runs[0].rows:>10,} rows")
            if len(medians) == len(CONTENDERS):
                print(f"  {medians['connectorx'] / medians['ours']:.1f} times as fast; the figure"
                      f" is {FIGURE:g}, under {MOST_MB} MB")  # fmt: skip


if __name__ == "__main__":
    main()
