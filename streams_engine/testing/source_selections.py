"""The part of the suite for sources that is about selections."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from streams_engine.contracts import Snapshot
from streams_engine.model import Chunk, Extract, Filter, Sort
from streams_engine.testing.sample_rows import PEOPLE, counted
from streams_engine.testing.source_place import found, rows_of, same, whole

__all__ = ["FILTERS", "SelectingConformance"]

Predicate = Callable[[Any], bool]

FILTERS: Mapping[str, Sequence[tuple[str, str, Any, Predicate]]] = {
    "numbers": (
        ("id", "=", 7, lambda v: v == 7),
        ("id", "!=", 7, lambda v: v != 7),
        ("id", "<", 0, lambda v: v < 0),
        ("id", "<=", 100, lambda v: v <= 100),
        ("id", ">", 5000, lambda v: v > 5000),
        ("id", ">=", -5, lambda v: v >= -5),
        ("id", "IN", [1, 2, 3, 99999], lambda v: v in (1, 2, 3)),
        ("id", "NOT IN", [1, 2, 3], lambda v: v not in (1, 2, 3)),
        ("id", "BETWEEN", [10, 400], lambda v: 10 <= v <= 400),
        ("price", "=", "12.5", lambda v: v * 10 == 125),
        ("price", ">", 9.99, lambda v: v * 100 > 999),
        ("price", "BETWEEN", [-1, 1], lambda v: -1 <= v <= 1),
        ("score", ">", 0.5, lambda v: v > 0.5),
    ),
    "texts": (
        ("kind", "=", "it's", lambda v: v == "it's"),
        ("kind", "!=", "alpha", lambda v: v != "alpha"),
        ("kind", "IN", ["alpha", "back\\slash"], lambda v: v in ("alpha", "back\\slash")),
        ("kind", "NOT IN", ["alpha", "beta"], lambda v: v not in ("alpha", "beta")),
        ("kind", "LIKE", "g_mma%", lambda v: v.startswith("gamma")),
        ("kind", "NOT LIKE", "%a", lambda v: not v.endswith("a")),
        ("kind", "CONTAINS", "a_5", lambda v: "a_5" in v),
        ("kind", "CONTAINS", "k\\s", lambda v: "k\\s" in v),
        ("kind", "NOT_CONTAINS", "0%", lambda v: "0%" not in v),
        ("kind", "STARTS_WITH", "gamma_", lambda v: v.startswith("gamma_")),
        ("kind", "ENDS_WITH", "%", lambda v: v.endswith("%")),
        ("kind", "ENDS_WITH", "'s", lambda v: v.endswith("'s")),
    ),
    "dates and truths": (
        ("born", ">=", "1990-01-01", lambda v: v.isoformat() >= "1990-01-01"),
        ("born", "BETWEEN", ["1960-01-01", "1970-12-31"], lambda v: 1960 <= v.year <= 1970),
        ("seen", "<", "2019-06-01 12:00:00", lambda v: v.isoformat(" ") < "2019-06-01 12:00:00"),
        ("active", "=", True, lambda v: v),
        ("active", "!=", True, lambda v: not v),
    ),
    "empty lists": (
        ("id", "IN", [], lambda v: False),
        ("id", "NOT IN", [], lambda v: True),
    ),
    "NULL": (
        ("kind", "IS NULL", None, lambda v: False),
        ("kind", "IS NOT NULL", None, lambda v: True),
    ),
}
"""(column, operator, value, what it means for a value that is not NULL), over all operators."""


class SelectingConformance:
    """Filters, sorts and limits."""

    # Selections

    @pytest.mark.parametrize("group", list(FILTERS))
    def test_filters(self, view: Snapshot, group: str) -> None:
        """A filter keeps the rows that it means; NULL matches IS NULL and nothing else."""
        table = found(view, PEOPLE.name)
        for column, operator, value, means in FILTERS[group]:
            wanted = [
                row
                for row in PEOPLE.rows
                if (operator == "IS NULL" if row[column] is None else means(row[column]))
            ]
            extract = replace(whole(table), filters=(Filter(column, operator, value),))
            try:
                same(rows_of(view, extract, Chunk(table.id)), wanted, PEOPLE)
            except Exception as error:
                error.add_note(f"the filter was: {column} {operator} {value!r}")
                raise

    def test_filters_are_all_meant(self, view: Snapshot) -> None:
        """Several filters keep what each of them keeps, also on columns that are not read."""
        table = found(view, PEOPLE.name)
        extract = Extract(
            table.id,
            (table.column("id"),),
            (Filter("batch", "=", 3), Filter("kind", "IS NOT NULL"), Filter("id", "<", 3000)),
        )
        read = rows_of(view, extract, Chunk(table.id))
        wanted = [
            row for row in PEOPLE.rows if row["batch"] == 3 and row["kind"] and row["id"] < 3000
        ]
        same(read, wanted, PEOPLE, ["id"])

    def test_sorts(self, view: Snapshot) -> None:
        """Sorted rows come in the order of all their keys, each in its direction."""
        table = found(view, PEOPLE.name)
        extract = replace(whole(table), sorts=(Sort("batch"), Sort("id", descending=True)))
        read = rows_of(view, extract, Chunk(table.id))
        keys = [(int(row["batch"]), -int(row["id"])) for row in read]
        assert keys == sorted(keys)
        same(read, PEOPLE.rows, PEOPLE)

    @pytest.mark.parametrize("descending", [False, True])
    def test_sorts_of_a_column_with_nulls(self, view: Snapshot, descending: bool) -> None:
        """NULLs of a sorted column stand together at one end; the others are in order."""
        table = found(view, PEOPLE.name)
        extract = Extract(
            table.id, (table.column("id"),), sorts=(Sort("price", descending=descending),)
        )
        price = {row["id"]: row["price"] for row in PEOPLE.rows}
        read = [price[int(row["id"])] for row in rows_of(view, extract, Chunk(table.id))]
        known = [value for value in read if value is not None]
        assert known == sorted(known, reverse=descending)
        nulls = [place for place, value in enumerate(read) if value is None]
        assert nulls == list(range(nulls[0], nulls[0] + len(nulls)))
        assert nulls[0] == 0 or nulls[-1] == len(PEOPLE.rows) - 1

    def test_limit(self, view: Snapshot) -> None:
        """A limit yields so many rows of the table, or all where it has no more."""
        table = found(view, PEOPLE.name)
        for limit in (0, 1, 250, 100_000):
            read = rows_of(view, replace(whole(table), limit=limit), Chunk(table.id))
            assert len(read) == min(limit, len(PEOPLE.rows))
            assert not counted(read, PEOPLE.columns) - counted(PEOPLE.rows, PEOPLE.columns)

    def test_a_limit_comes_last(self, view: Snapshot) -> None:
        """A limit takes the first rows of what is filtered and sorted."""
        table = found(view, PEOPLE.name)
        extract = replace(
            whole(table),
            filters=(Filter("batch", ">=", 5),),
            sorts=(Sort("id", descending=True),),
            limit=30,
        )
        read = [int(row["id"]) for row in rows_of(view, extract, Chunk(table.id))]
        wanted = [row["id"] for row in PEOPLE.rows if row["batch"] >= 5]
        assert read == sorted(wanted, reverse=True)[:30]
