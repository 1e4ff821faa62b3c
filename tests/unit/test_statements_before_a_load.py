"""What a statement in the log changes where some of its tables were loaded after it."""

from __future__ import annotations

import pytest

from streams_engine.adapters.mysql.binlog.events import Query
from streams_engine.adapters.mysql.binlog.statements import StatementJudge
from streams_engine.model import TableId
from tests.support.memory_target import followed

RING = "RENAME TABLE a TO x, c TO a, b TO c, x TO b"
"""a becomes b, b becomes c, c becomes a."""


def changes(statement: str, *loaded: str) -> dict[str, tuple[str | None, bool]]:
    """By a followed table's name: what it is called afterwards, and whether it is read again."""
    judge = StatementJudge(lambda table: None, mariadb=False, fold=False)
    tables = [followed(name, ("id", name), ("id",)).tracked for name in ("a", "b", "c")]
    judge.follow({one.schema.id: one for one in tables})
    later = {TableId("s", name) for name in loaded}
    effect = judge.effect(Query("s", statement), later.__contains__)
    return {
        change.before.id.name: (change.after.id.name if change.after else None, change.rewritten)
        for change in effect.changes
        if change.before
    }


@pytest.mark.parametrize(
    ("statement", "loaded", "expected"),
    [
        ("RENAME TABLE b TO d", "a", {"b": ("d", False)}),
        ("RENAME TABLE a TO b", "ab", {}),
        ("ALTER TABLE a RENAME TO b, ADD d int", "b", {"a": (None, True)}),
        ("RENAME TABLE a TO b, c TO d", "b", {"a": (None, True), "c": ("d", False)}),
        ("RENAME TABLE a TO x, b TO a, x TO b", "a", {"b": ("b", True)}),
        ("RENAME TABLE a TO x, b TO a, x TO b", "ab", {}),
        (RING, "a", {"b": ("b", True), "c": ("c", True)}),
        (RING, "ab", {"c": ("c", True)}),
    ],
)
def test_what_was_loaded_since_is_left_alone_and_the_others_are_not(
    statement: str, loaded: str, expected: dict[str, tuple[str | None, bool]]
) -> None:
    assert changes(statement, *loaded) == expected
