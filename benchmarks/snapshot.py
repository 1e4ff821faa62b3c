"""How fast a snapshot is beside what a user would do by hand: one run, interleaved, medians.

``python benchmarks/snapshot.py [--rows 1000000] [--rounds 3] [--source mysql9]``

Private servers are started and stopped; nothing else on the machine should be busy. Peers so
far: PyMySQL's SSCursor (rows fetched and dropped) and a binary ``psql`` COPY. Peak memory is the
process's own, PyArrow's buffers included.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import time
from collections.abc import Callable

from streams_engine import Stream
from streams_engine.testing.servers import Server, running

COLUMNS = {
    "mysql": (
        "id BIGINT PRIMARY KEY, customer INT NOT NULL, status VARCHAR(32) NOT NULL,"
        " amount DECIMAL(12,2) NOT NULL, price DOUBLE NOT NULL, active SMALLINT NOT NULL,"
        " created DATETIME(6) NOT NULL, note VARCHAR(80)"
    ),
    "postgresql": (
        "id bigint PRIMARY KEY, customer int NOT NULL, status varchar(32) NOT NULL,"
        " amount numeric(12,2) NOT NULL, price float8 NOT NULL, active smallint NOT NULL,"
        " created timestamp NOT NULL, note varchar(80)"
    ),
}
FILL = {
    "mysql": (
        "INSERT INTO orders WITH RECURSIVE d(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM d"
        " WHERE n < 999), s(i) AS (SELECT a.n * 1000 + b.n + 1 FROM d a JOIN d b) SELECT i,"
        " i % 5000, ELT(i % 4 + 1, 'new', 'paid', 'shipped', 'returned by customer'), i * 1.37,"
        " i / 7.0, i % 2, TIMESTAMP '2024-01-01 00:00:00' + INTERVAL i SECOND,"
        " IF(i % 4, REPEAT('note ', i % 15), NULL) FROM s WHERE i <= {rows}"
    ),
    "postgresql": (
        "INSERT INTO orders SELECT i, i % 5000, (ARRAY['new', 'paid', 'shipped',"
        " 'returned by customer'])[i % 4 + 1], i * 1.37, i / 7.0::float8, i % 2,"
        " timestamp '2024-01-01' + i * interval '1 second',"
        " CASE WHEN i % 4 > 0 THEN repeat('note ', i % 15) END FROM generate_series(1, {rows}) i"
    ),
}


def fill(server: Server, rows: int) -> str:
    """A database with one table of eight mixed columns and two indexes."""
    dialect = "postgresql" if server.kind == "postgresql" else "mysql"
    name = server.create_database()
    with server.connect(name) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE orders ({COLUMNS[dialect]})")
        if dialect == "mysql" and server.kind == "mysql":
            cursor.execute("SET SESSION cte_max_recursion_depth = 10000")
        cursor.execute(FILL[dialect].format(rows=rows))
        cursor.execute("CREATE INDEX orders_customer ON orders (customer)")
        cursor.execute("CREATE INDEX orders_created ON orders (created)")
        if dialect == "postgresql":
            cursor.execute("ANALYZE orders")
        else:
            cursor.execute("ANALYZE TABLE orders")
            cursor.fetchall()
    return name


def ours(source: str, target: str) -> None:
    """A whole convert."""
    Stream(source, target, schema_policy="drop_and_recreate").run(fresh=True)


def sscursor(server: Server, database: str) -> None:
    """PyMySQL's streaming cursor, rows dropped."""
    import pymysql

    cursors = pymysql.cursors.SSCursor
    with server.connect(database) as connection, connection.cursor(cursors) as cursor:
        cursor.execute("SELECT * FROM orders")
        for _ in cursor:
            pass


def psql_pipe(source: str, target: str) -> None:
    """COPY BINARY out of one psql into another, then the same indexes."""
    make = f"DROP TABLE IF EXISTS piped; CREATE TABLE piped ({COLUMNS['postgresql']})"
    make = make.replace("bigint PRIMARY KEY", "bigint NOT NULL")
    subprocess.run(["psql", "-qXc", make, target], check=True, stderr=subprocess.DEVNULL)
    out = ["psql", "-qXc", "COPY orders TO STDOUT (FORMAT binary)", source]
    into = ["psql", "-qXc", "COPY piped FROM STDIN (FORMAT binary)", target]
    with subprocess.Popen(out, stdout=subprocess.PIPE) as one:
        subprocess.run(into, stdin=one.stdout, check=True)
    after = (
        "ALTER TABLE piped ADD PRIMARY KEY (id); CREATE INDEX ON piped (customer);"
        " CREATE INDEX ON piped (created)"
    )
    subprocess.run(["psql", "-qXc", after, target], check=True)


def measure(name: str, work: Callable[[], None], seconds: dict[str, list[float]]) -> None:
    """Time one piece of work once."""
    begun = time.perf_counter()
    work()
    seconds.setdefault(name, []).append(time.perf_counter() - begun)


def main() -> None:
    """Run and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--source", default="mysql9", choices=["mysql9", "mariadb"])
    given = parser.parse_args()
    seconds: dict[str, list[float]] = {}
    with running(given.source) as mysql, running("pg15") as old, running("pg18") as new:
        from_mysql, from_pg = fill(mysql, given.rows), fill(old, given.rows)
        target = new.create_database()
        for _ in range(given.rounds):
            measure("mysql -> null, ours", lambda: ours(mysql.url(from_mysql), "null://"), seconds)
            measure("mysql -> null, SSCursor", lambda: sscursor(mysql, from_mysql), seconds)
            measure(
                "mysql -> postgres, ours",
                lambda: ours(mysql.url(from_mysql), new.url(target)),
                seconds,
            )
            measure(
                "postgres -> postgres, ours",
                lambda: ours(old.url(from_pg), new.url(target)),
                seconds,
            )
            measure(
                "postgres -> postgres, psql pipe",
                lambda: psql_pipe(old.url(from_pg), new.url(target)),
                seconds,
            )
    for name, taken in seconds.items():
        median = statistics.median(taken)
        print(f"{name:34} {median:7.2f} s {given.rows / median:12,.0f} rows/s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of this process: {peak:.0f} MB")


if __name__ == "__main__":
    main()
