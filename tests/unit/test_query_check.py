"""A query as a source: what is one statement that only reads."""

from __future__ import annotations

import pytest

from streams_engine.errors import ConfigError
from streams_engine.model import Dialect
from streams_engine.schema.query_check import reading_only

READS = {
    "SELECT 1": "SELECT 1",
    " SELECT 1 ; ; -- the end": "SELECT 1",
    "SELECT 1 -- the end": "SELECT 1",
    "SELECT 'a; -- b' AS x;": "SELECT 'a; -- b' AS x",
    "/* why */ SELECT 1": "/* why */ SELECT 1",
    "(SELECT 1) UNION SELECT 2": "(SELECT 1) UNION SELECT 2",
    "WITH a AS (SELECT 1 AS n) SELECT n FROM a": "WITH a AS (SELECT 1 AS n) SELECT n FROM a",
}
OTHERS = [
    "", ";", "-- nothing", "not even SQL", "CALL p('secret')", "SELECT 1; CALL p('secret')",
    "SELECT 1 /*! , 'secret' */", "SELECT 1; /*! , 'secret' */", "SELECT 1 /*M! , 2 */",
    "SELECT {#\n d '2020-01-01'}; CALL p('secret'); #}", "SELECT '/\\*!' /*! , 'secret' */",
    "DELETE FROM t WHERE a = 'secret'", "SELECT 'open", "SET @x = 'secret'", "SHOW TABLES",
]  # fmt: skip


@pytest.mark.parametrize("dialect", [Dialect.MYSQL, Dialect.POSTGRES])
@pytest.mark.parametrize("query", READS)
def test_a_query_that_reads(query: str, dialect: Dialect) -> None:
    assert reading_only("q", query, dialect) == READS[query]


@pytest.mark.parametrize("query", OTHERS)
def test_any_other_is_refused_and_its_text_told_nobody(
    query: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ConfigError, match="'q'") as caught:
        reading_only("q", query, Dialect.MYSQL)
    assert "secret" not in f"{caught.value}{caught.value.details}{caplog.text}"


@pytest.mark.parametrize(
    "query",
    [
        "WITH gone AS (DELETE FROM t RETURNING id) SELECT id FROM gone",
        "SELECT * INTO made FROM t",
    ],
)
def test_a_select_that_writes_is_refused(query: str) -> None:
    with pytest.raises(ConfigError):
        reading_only("q", query, Dialect.POSTGRES)
