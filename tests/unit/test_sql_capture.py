"""Statements in the log: every value is taken out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams_engine import ConfigError, Event, Stream
from streams_engine.events import EventLog
from streams_engine.sql_capture import SqlCapture, without_values


@pytest.mark.parametrize(
    ("dialect", "sql", "plain"),
    [
        ("mysql", "SELECT `a 1`, t2.b3 FROM t2 WHERE n = 5 AND s = 'x\\'y''z'",
         "SELECT `a 1`, t2.b3 FROM t2 WHERE n = ? AND s = ?"),
        ("mysql", 'INSERT INTO t VALUES (1, "s3cret", 0xFF, NULL), (2.5e-3, \'\', x\'00\', TRUE)',
         "INSERT INTO t VALUES (?, ?, ?, NULL), ..."),
        ("mysql", "SELECT 1 -- s3cret\n, 2 # s3cret\n/* s3cret", "SELECT ? , ?"),
        ("mysql", "SET @x = 'not closed s3cret", "SET @x = ?"),
        ("postgresql", "SELECT \"Col 1\" FROM s.t1 WHERE a = 'it''s \\' AND b = E'\\'s3cret'",
         'SELECT "Col 1" FROM s.t1 WHERE a = ? AND b = ?'),
        ("postgresql", "DO $x$ s3cret $$ $x$; SELECT $1, $$s3cret$$", "DO ?; SELECT $1, ?"),
        ("postgresql", "COPY t (a, b) FROM STDIN (FORMAT binary)",
         "COPY t (a, b) FROM STDIN (FORMAT binary)"),
        ("postgresql", "SELECT -17::bigint, .5, FALSE", "SELECT -?::bigint, ?, ?"),
    ],
)  # fmt: skip
def test_values_are_taken_out(dialect: str, sql: str, plain: str) -> None:
    assert without_values(sql, dialect) == plain


@given(value=st.text(), other=st.text())
def test_no_text_comes_through(value: str, other: str) -> None:
    quoted = ["'" + text.replace("'", "''") + "'" for text in (f"ZZ{value}", f"ZZ{other}")]
    slashed = [q.replace("\\", "\\\\") for q in quoted]
    for dialect, (one, two) in (("postgresql", quoted), ("mysql", slashed)):
        assert "ZZ" not in without_values(f"UPDATE t SET a = {one} WHERE b = {two}", dialect)


def shown(level: str, *statements: str) -> list[Event]:
    journal = EventLog("repl")
    seen: list[Event] = []
    journal.listen(seen.append)
    for sql in statements:
        SqlCapture(journal, level)(sql, "postgresql")
    return seen


def test_minimal_shows_changes_alone() -> None:
    statements = [
        "SELECT 1",
        "BEGIN",
        "SET x = 1",
        "COPY t TO STDOUT",
        "CREATE TABLE t (a int)",
        "COPY t (a) FROM STDIN",
        "  insert into t values (1)",
        "MERGE INTO t USING s",
    ]
    told = [event.message.split()[0].upper() for event in shown("minimal", *statements)]
    assert told == ["CREATE", "COPY", "INSERT", "MERGE"]
    assert len(shown("verbose", *statements)) == len(statements)
    assert {event.category for event in shown("verbose", *statements)} == {"sql"}


def test_long_statements_are_cut() -> None:
    long = "INSERT INTO t VALUES " + ", ".join(f"({n}, 's3cret')" for n in range(100_000))
    [event] = shown("verbose", long)
    assert event.message.startswith("INSERT INTO t VALUES (?, ?), ...")
    assert event.message.endswith(" ...") and "s3cret" not in event.message
    names = "SELECT " + ", ".join(f"column_{n}" for n in range(1000))
    [event] = shown("verbose", names)
    assert len(event.message) < 4_100


@pytest.mark.parametrize("wrong", ["all", True, 1, None])
def test_a_level_that_is_none(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="sqlCapture"):
        Stream("/in", "null://", sql_capture=wrong)
