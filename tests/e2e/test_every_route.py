"""A few rows by every route: load, log, files and a query over two servers, proved equal.

Short, for the whole of it is run with the oldest libraries that are allowed and on other
versions of Python too (tox -e lowest, tox -e py313).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streams_engine import Engine, Stream
from tests.support.cdc import caught_up, is_postgres
from tests.support.databases import End

ROUTES = [
    (source, target)
    for source in ("mysql9", "mariadb", "pg15", "pg18")
    for target in ("mysql9", "mariadb", "pg15", "pg18")
    if source[:2] != target[:2] or source != target
]
BYTES = {True: "bytea", False: "varbinary(40)"}
MOMENT = {True: "timestamp", False: "datetime(6)"}
FORMATS = [("csv", None), ("csv", "gzip"), ("jsonl", "zstd"), ("parquet", "zstd")]


def filled(end: End, rows: int = 2000) -> End:
    """One table of the commonest types, with NULLs and odd texts."""
    postgres = is_postgres(end)
    end.run(
        "CREATE TABLE t (id int PRIMARY KEY, n bigint, d decimal(20, 4), f double precision,"
        f" s varchar(200), b {BYTES[postgres]}, at {MOMENT[postgres]}, day date)"
    )
    values = []
    for n in range(rows):
        at = f"'2024-0{n % 9 + 1}-1{n % 9} 12:34:56.{n % 1000:06}'"
        text = ("NULL", "''", "'a,\"b\"'", "'äöü €'", f"'row {n}'")[n % 5]
        raw = f"'\\x{n:08x}'" if postgres else f"x'{n:08x}'"
        values.append(f"({n}, {n * 10**9}, {n}.{n % 10000:04}, {n / 7}, {text}, {raw}, {at},"
                      f" '20{n % 90 + 10}-01-02')")  # fmt: skip
    end.run(f"INSERT INTO t VALUES {', '.join(values)}")
    return end


def write(source: End) -> None:
    """Changes of every kind, in one transaction and in several."""
    source.run(
        "BEGIN",
        "UPDATE t SET s = 'changed', n = NULL WHERE id % 3 = 0",
        "DELETE FROM t WHERE id % 7 = 0",
        "COMMIT",
        "INSERT INTO t (id, s) VALUES (100000, 'new')",
        "UPDATE t SET id = 100001 WHERE id = 1",
    )


def ends(request: pytest.FixtureRequest, database: Any, *names: str) -> list[End]:
    servers = [request.getfixturevalue(name) for name in names]
    return [End(server, database(server)) for server in servers]


@pytest.mark.parametrize(("source", "target"), ROUTES)
def test_load_and_log(
    request: pytest.FixtureRequest, database: Any, source: str, target: str
) -> None:
    one, other = ends(request, database, source, target)
    filled(one)
    with Stream(one.url, other.url, mode="cdc", tables="t", name="route") as stream:
        try:
            stream.start()
            caught_up(stream)
            write(one)
            caught_up(stream)
            assert stream.verify().ok
            stream.stop()
            stream.wait()
        finally:
            stream.stop(force=True) if not stream.state.final else None
            stream.release()
    assert other.rows("SELECT count(*) FROM t") == one.rows("SELECT count(*) FROM t")


@pytest.mark.parametrize(("form", "compression"), FORMATS)
@pytest.mark.parametrize("server", ["mysql9", "pg18"])
def test_through_files(
    request: pytest.FixtureRequest, database: Any, tmp_path: Path, server: str, form: str,
    compression: str | None,
) -> None:  # fmt: skip
    source, target = ends(request, database, server, server)
    filled(source)
    folder = {"type": "files", "spec": {"files": {"basePath": str(tmp_path)}}}
    spec = {"files": {"fileFormat": form, "format": {"compression": compression}}}
    down = {
        "mode": "convert",
        "source": {"connections": [{"connection": source.url}]},
        "target": {"connection": folder, "spec": spec},
    }
    stream = Stream.from_config(down)
    stream.run()
    assert stream.verify().ok
    back = Stream(str(tmp_path), target.url)
    back.run()
    assert back.verify().ok
    query = "SELECT id, n, d, s, b, day FROM t ORDER BY id"
    assert target.rows(query) == source.rows(query)


def test_a_query_over_two_servers(request: pytest.FixtureRequest, database: Any) -> None:
    one, other = ends(request, database, "mysql9", "pg18")
    filled(one, 50)
    filled(other, 40)
    with Engine() as engine:
        for name, end in (("my", one), ("pg", other)):
            user, password = end.server.user, end.server.password
            engine.connections.create(
                {"name": name, "type": end.server.kind, "host": end.server.host,
                 "port": end.server.port, "username": user, "password": password,
                 "database": end.database}
            )  # fmt: skip
        sql = (
            f"SELECT count(*) AS n, sum(a.d) AS d FROM my.{one.database}.t a"
            " JOIN pg.public.t b ON a.id = b.id AND a.n = b.n"
        )
        with engine.query(sql) as result:
            ((count, total),) = result.to_dict()["rows"]
    expected = other.rows("SELECT count(*), sum(d) FROM t")[0]
    assert (count, str(total)) == (expected[0], str(expected[1]))
