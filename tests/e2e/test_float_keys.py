"""Zero and minus zero in a log: one key to a unique index, two values to everybody else."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from streams_engine.testing.servers import Server
from tests.support.cdc import caught_up, following, is_postgres
from tests.support.databases import End

WORK = (
    ("UPDATE t SET f = {minus}, v = 2 WHERE f = 0",),
    ("UPDATE t SET f = {zero} WHERE f = 0",),
    ("UPDATE t SET f = {minus} WHERE f = 0",),
    ("UPDATE t SET f = {zero} WHERE f = 0", "UPDATE t SET v = 3 WHERE f = 0",
     "UPDATE t SET f = {minus} WHERE f = 0"),
    ("UPDATE t SET f = {zero} WHERE f = 0", "DELETE FROM t WHERE f = 0"),
    ("INSERT INTO t VALUES ({zero}, 4)",),
    ("DELETE FROM t WHERE f = 0", "INSERT INTO t VALUES ({minus}, 5)"),
    ("UPDATE t SET f = 7 WHERE f = 0", "INSERT INTO t VALUES ({zero}, 6)"),
    ("DELETE FROM t WHERE f = 0", "UPDATE t SET f = {minus} WHERE f = 7"),
    # Without a key: which of the two goes is told by all that they have.
    ("INSERT INTO bag VALUES ({zero}), ({minus}), ({zero}), ({minus}), ({minus})",),
    ("UPDATE bag SET f = {minus} WHERE f = 0",),
    ("INSERT INTO bag VALUES ({zero}), ({zero}), (1)",),
    ("DELETE FROM bag WHERE f = 1", "UPDATE bag SET f = {zero} WHERE f = 0"),
    ("INSERT INTO bag VALUES ({minus})",),
)  # fmt: skip


@pytest.mark.parametrize("target_name", ["pg18", "mysql9"])
@pytest.mark.parametrize("source_name", ["pg18", "mysql9"])
def test_a_minus_zero_that_replaces_a_zero(
    source_name: str, target_name: str, request: pytest.FixtureRequest, database: Any
) -> None:
    servers: list[Server] = [request.getfixturevalue(n) for n in (source_name, target_name)]
    source, target = (End(server, database(server)) for server in servers)
    kind = "float8" if is_postgres(source) else "double"
    source.run(
        f"CREATE TABLE t (f {kind} PRIMARY KEY, v int)",
        f"CREATE TABLE bag (f {kind})",
        "INSERT INTO t VALUES (0, 1)",
    )
    words = {"zero": "0e0", "minus": "-0e0"}
    if is_postgres(source):
        source.run("ALTER TABLE bag REPLICA IDENTITY FULL")
        words = {"zero": "'0'::float8", "minus": "'-0'::float8"}

    def rows(end: End) -> list[str]:
        return sorted(repr(r) for table in ("t", "bag") for r in end.rows(f"SELECT * FROM {table}"))

    with following(source, target) as stream:
        for work in WORK:
            with closing(source.server.connect(source.database)) as connection:
                cursor = connection.cursor()
                for statement in ("BEGIN", *work, "COMMIT"):
                    cursor.execute(statement.format(**words))
            caught_up(stream)
            assert rows(target) == rows(source), work
        changes = stream.stats().changes
        assert changes is not None and changes.unmet == 0
        assert "diverged" not in {finding.code for finding in stream.stats().findings}
