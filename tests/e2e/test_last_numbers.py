"""AUTO_INCREMENT at the end of its type, and past what PostgreSQL counts."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from streams_engine.testing.servers import Server
from tests.support.databases import End, move

ENDS = [
    # type, greatest number, what the target gives next (None: it refuses)
    ("int", 2**31 - 2, 2**31 - 1),
    ("int", 2**31 - 1, None),
    ("bigint", 2**63 - 2, 2**63 - 1),
    ("bigint", 2**63 - 1, None),
    ("bigint unsigned", 2**63 - 2, 2**63 - 1),
    ("bigint unsigned", 2**63 - 1, None),
    ("bigint unsigned", 2**63, None),
    ("bigint unsigned", 2**64 - 2, None),
    ("int", -5, 1),
]


@pytest.mark.parametrize(("kind", "greatest", "following"), ENDS)
def test_the_target_numbers_on_or_says_that_it_cannot(
    mysql_server: Server, pg15: Server, database: Any, kind: str, greatest: int, following: Any
) -> None:
    source, target = End(mysql_server, database(mysql_server)), End(pg15, database(pg15))
    source.run(
        f"CREATE TABLE big (id {kind} PRIMARY KEY AUTO_INCREMENT, v int)",
        f"INSERT INTO big (id, v) VALUES ({greatest}, 1)",
    )
    stats = move(source, target)
    assert target.rows("SELECT id FROM big") == [(greatest,)]
    if following is None:
        with pytest.raises(psycopg.Error, match="reached maximum value"):
            target.run("INSERT INTO big (v) VALUES (2)")
    else:
        target.run("INSERT INTO big (v) VALUES (2)")
        assert target.rows("SELECT id FROM big WHERE v = 2") == [(following,)]
    told = [f for f in stats.findings if f.code == "sequence-exhausted"]
    if greatest >= 2**63:
        assert "big.id" in told[0].object and told[0].remedy


@pytest.mark.parametrize("following", [2**63, 2**64 - 1])
def test_an_empty_table_that_counted_far(
    mysql9: Server, pg18: Server, database: Any, following: int
) -> None:
    source, target = End(mysql9, database(mysql9)), End(pg18, database(pg18))
    source.run(
        "CREATE TABLE big (id bigint unsigned PRIMARY KEY AUTO_INCREMENT) "
        f"AUTO_INCREMENT = {following}"
    )
    stats = move(source, target)
    assert "sequence-exhausted" in {f.code for f in stats.findings}
    with pytest.raises(psycopg.Error, match="reached maximum value"):
        target.run("INSERT INTO big DEFAULT VALUES")
