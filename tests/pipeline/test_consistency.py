"""Which tables have to be loaded in one view, and which foreign keys wait for another view."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from streams_engine.model import ForeignKey, TableId
from streams_engine.pipeline.snapshot.consistency import crossing, in_one_view

CASCADE = {"on_delete": "CASCADE"}


def key(name: str, to: str, schema: str = "s", **actions: str) -> ForeignKey:
    """A foreign key to a table."""
    return ForeignKey(name, ("x",), TableId(schema, to), ("id",), **actions)


def table(name: TableId, keys: tuple[ForeignKey, ...]) -> Any:
    """A table without partitions."""
    return SimpleNamespace(id=name, foreign_keys=keys, every_foreign_key=keys, partitioning=None)


def mapped(name: str, *keys: ForeignKey) -> Any:
    """A table that keeps its name; the target's schema is another one."""
    there = tuple(key(k.name, k.referenced.name, "t") for k in keys)
    return SimpleNamespace(
        source=table(TableId("s", name), keys),
        target=table(TableId("t", name), there),
    )


TABLES = [
    mapped("child", key("acts", "parent", **CASCADE), key("rests", "lookup")),
    mapped("parent", key("up", "grand", **CASCADE)),
    mapped("grand"),
    mapped("lookup"),
]


def names(tables: Any) -> set[str]:
    return {table.name for table in tables}


def test_what_the_log_does_not_tell_of_connects_tables() -> None:
    loading = frozenset({TableId("s", "grand")})
    assert names(in_one_view(TABLES, loading, {""}, None)) == {"grand", "parent", "child"}
    assert names(in_one_view(TABLES, loading, set(), None)) == {"grand"}
    lookup = frozenset({TableId("s", "lookup")})
    assert names(in_one_view(TABLES, lookup, {""}, None)) == {"lookup"}


def test_foreign_keys_that_the_target_has_connect_tables() -> None:
    there: Any = SimpleNamespace(tables=[TABLES[0].target])
    loading = frozenset({TableId("s", "lookup")})
    assert names(in_one_view(TABLES, loading, set(), there)) == {"lookup", "child", "parent"}


def test_a_foreign_key_waits_where_its_tables_are_of_two_views() -> None:
    one, other = {"pos": 1}, {"pos": 2}
    views = {table.source.id: one for table in TABLES}
    assert crossing(TABLES, views) == frozenset()
    assert crossing(TABLES, views | {TableId("s", "lookup"): other}) == {
        (TableId("t", "child"), "rests")
    }
    assert crossing(TABLES, views | {TableId("s", "parent"): other}) == {
        (TableId("t", "child"), "acts"),
        (TableId("t", "parent"), "up"),
    }
