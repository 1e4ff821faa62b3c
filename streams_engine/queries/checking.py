"""What a comparison of two sources' values means, and where it would mean something silently."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlglot import exp

from streams_engine.errors import QueryRefused
from streams_engine.model import Column, Dialect, Finding, Severity
from streams_engine.queries.asking import Ask
from streams_engine.queries.comparing import sort_of
from streams_engine.queries.refusing import at

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
            f"A text is compared with a value that is none: {names}.",
            remedy="Say what is meant: CAST(... AS VARCHAR), or CAST(... AS DECIMAL(20, 4)).",
            **(at(left) or at(right)),
        )


def _constant(node: Any) -> bool:
    return isinstance(node, exp.Literal | exp.Null | exp.Boolean)


def _kind(node: Any) -> str | None:
    kind = node.type.this if node.type is not None else None
    if kind in exp.DataType.TEXT_TYPES:
        return "text"
    return "other" if kind in OTHERS else None


def collations(tree: Any, asks: Mapping[str, Ask]) -> Iterator[Finding]:
    """Columns whose server compares them otherwise than by their bytes, where they are compared,
    grouped or sorted."""
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
            f"Its server compares it by {rule}; between sources it is compared by its bytes.",
            "Write lower(...) on both sides where case does not matter.",
        )


def _rule(column: Column) -> str | None:
    """How a server compares a text, where that is not by its bytes."""
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
