"""Decide whether two sources' values can be compared, and where that would silently mean something
else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlglot import exp

from streams_engine.errors import QueryRefused
from streams_engine.model import Column, Dialect, Finding, Severity
from streams_engine.query.predicates import sort_of
from streams_engine.query.source_request import TableRequest
from streams_engine.query.validation import at

__all__ = ["collations", "demand_comparable"]

COMPARISONS = (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.NullSafeEQ, exp.NullSafeNEQ)
OTHERS = {
    *exp.DataType.NUMERIC_TYPES,
    *exp.DataType.TEMPORAL_TYPES,
    exp.DataType.Type.BOOLEAN,
}


def demand_comparable(tree: Any) -> None:
    """Refuse a comparison of a text with a number, a date or a boolean that is no literal.

    DuckDB would turn one into the other by a rule of its own, which no server has. Raises
    `QueryRefused`.
    """
    for node in tree.find_all(*COMPARISONS):
        _demand(node, node.left, node.right)
    for node in tree.find_all(exp.In):
        query = node.args.get("query")
        if query is not None and query.unnest().selects:
            _demand(node, node.this, query.unnest().selects[0].unalias())


def _demand(node: Any, left: Any, right: Any) -> None:
    left, right = left.unnest(), right.unnest()
    if _constant(left) or _constant(right):
        return
    kinds = [_kind(left), _kind(right)]
    if None not in kinds and kinds[0] != kinds[1]:
        names = " and ".join(
            one.name if isinstance(one, exp.Column) else "an expression" for one in (left, right)
        )
        raise QueryRefused(
            f"A text is compared with a value of another type: {names}.",
            remedy="Write the conversion: CAST(... AS VARCHAR), or CAST(... AS DECIMAL(20, 4)).",
            **(at(left) or at(right)),
        )


def _constant(node: Any) -> bool:
    return isinstance(node, exp.Literal | exp.Null | exp.Boolean)


def _kind(node: Any) -> str | None:
    kind = node.type.this if node.type is not None else None
    if kind in exp.DataType.TEXT_TYPES:
        return "text"
    return "other" if kind in OTHERS else None


def collations(tree: Any, asks: Mapping[str, TableRequest]) -> Iterator[Finding]:
    """Yield a warning for each compared, grouped or sorted column whose server does not compare
    bytes."""
    labels = {
        table.alias_or_name: asks[table.name]
        for table in tree.find_all(exp.Table)
        if table.name in asks
    }
    told = set()
    for column in tree.find_all(exp.Column):
        ask = labels.get(column.table)
        known = ask.by_name.get(column.name) if ask is not None else None
        if ask is None or known is None or (ask.view, known.name) in told:
            continue
        rule = _rule(known)
        where = column.find_ancestor(exp.Predicate, exp.Group, exp.Order, exp.Distinct, exp.Select)
        if rule is None or where is None or isinstance(where, exp.Select):
            continue
        told.add((ask.view, known.name))
        yield Finding(
            Severity.WARNING,
            "compared-by-bytes",
            f"{ask.named}.{known.name}",
            f"Its server compares it by {rule}; a query over several sources compares bytes.",
            "If case does not matter, write lower(...) on both sides.",
        )


def _rule(column: Column) -> str | None:
    """Return how a server compares a text column; None if it compares bytes."""
    if sort_of(column) != "text" or not column.collation:
        return None
    if column.type.dialect is Dialect.MYSQL:
        plain = column.collation.endswith("_bin") or column.collation == "binary"
        return None if plain else f"the collation {column.collation}"
    return (
        None
        if column.collation.strip('"') in ("C", "POSIX", "C.UTF-8")
        else (f"the collation {column.collation}")
    )
