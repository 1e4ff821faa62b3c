"""What a name in a statement is, which arguments a function takes, and where a name comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streams_engine.query.catalog_cache import CachedRelation, KnownNames
from streams_engine.query.completion import relation_of
from streams_engine.query.functions import parameters
from streams_engine.query.names import (
    Chain,
    Derived,
    UsedTable,
    chain_at,
    derived,
    path_at,
    tokens_of,
    used_tables,
)

__all__ = ["Meaning", "hovered", "meaning", "signature_at"]

MOST_COLUMNS = 40
"""Columns that the text about a table lists."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a name stands for."""

    kind: str
    """column, table, view, file, alias, cte, subquery, connection or function."""
    name: str
    text: str
    start: int
    """Where the name is written."""
    end: int
    relation: CachedRelation | None = None
    """The table that it is, or is of."""
    defined: tuple[int, int] | None = None
    """Where the statement defines it."""


def meaning(sql: str, offset: int, dialect: str, known: KnownNames) -> Meaning | None:
    """Return what the name at an offset stands for; None if that is not known."""
    tokens = tokens_of(sql, dialect)
    chain = chain_at(tokens, offset)
    if chain is None:
        return None
    named = {one.name.lower(): one for one in derived(sql, tokens, dialect)}
    here = path_at(tokens, chain.start)
    used = [one for one in used_tables(tokens) if one.visible(here)]
    return next(_meanings(chain, used, named, dialect, known), None)


def _meanings(
    chain: Chain,
    used: Sequence[UsedTable],
    named: Mapping[str, Derived],
    dialect: str,
    known: KnownNames,
) -> Iterator[Meaning]:
    """Yield what a name may stand for, the likeliest first."""
    *qualifiers, name = chain.names
    place = (chain.start, chain.end)
    if chain.called and not qualifiers:
        taken = parameters(name, dialect)
        if taken is not None:
            yield Meaning("function", name, f"{name.lower()}({', '.join(taken)})", *place)
    if not qualifiers and name.lower() in named:
        query = named[name.lower()]
        kind = "cte" if query.cte else "subquery"
        yield Meaning(kind, name, f"{query.name}({', '.join(query.columns)})", *place,
                      defined=(query.start, query.end))  # fmt: skip
    for one in used:
        if not qualifiers and one.label.lower() == name.lower():
            yield from _of_table(one, place, named, known)
    for one in used:
        written = tuple(part.lower() for part in one.names)
        if tuple(part.lower() for part in chain.names) == written and one.start <= chain.end:
            yield from _of_table(one, place, named, known)
    label = qualifiers[-1].lower() if qualifiers else None
    for one in used:
        if label is None or one.label.lower() == label:
            yield from _column(one, name, place, named, known)
    relation = known.find(*chain.names)
    if relation is not None:
        yield _table(relation, name, place)


def _of_table(
    one: UsedTable, place: tuple[int, int], named: Mapping[str, Derived], known: KnownNames
) -> Iterator[Meaning]:
    if len(one.names) == 1 and one.names[0].lower() in named:
        query = named[one.names[0].lower()]
        yield Meaning("alias", one.label, f"{query.name}({', '.join(query.columns)})", *place,
                      defined=(query.start, query.end))  # fmt: skip
        return
    relation = relation_of(one, known)
    if relation is None:
        return
    made = _table(relation, one.label, place)
    own = one.label != (one.file[0] if one.file else one.names[-1])
    defined = (one.start, one.end) if own and place != (one.start, one.end) else None
    yield Meaning(made.kind, made.name, made.text, *place, relation, defined)


def _column(
    one: UsedTable,
    name: str,
    place: tuple[int, int],
    named: Mapping[str, Derived],
    known: KnownNames,
) -> Iterator[Meaning]:
    query = named.get(one.names[0].lower()) if len(one.names) == 1 else None
    if query is not None:
        if name.lower() in {column.lower() for column in query.columns}:
            yield Meaning("column", name, f"{query.name}.{name}", *place,
                          defined=(query.start, query.end))  # fmt: skip
        return
    relation = relation_of(one, known)
    column = None if relation is None else relation.column(name)
    if relation is not None and column is not None:
        kind = (relation.columns or {})[column]
        yield Meaning("column", column, f"{relation.id}.{column}: {kind}", *place, relation)


def _table(relation: CachedRelation, name: str, place: tuple[int, int]) -> Meaning:
    if relation.columns is None:
        return Meaning("view", name, f"view {relation.id}", *place, relation)
    kind = "table" if relation.connection is not None else "file"
    columns = [f"  {column} {of}" for column, of in relation.columns.items()]
    more = len(columns) - MOST_COLUMNS
    lines = columns[:MOST_COLUMNS] + ([f"  and {more} more"] if more > 0 else [])
    return Meaning(kind, name, "\n".join([f"{kind} {relation.id}", *lines]), *place, relation)


def hovered(what: Meaning) -> dict[str, Any]:
    """Return a meaning as a document."""
    return {
        "kind": what.kind, "name": what.name, "text": what.text, "start": what.start,
        "end": what.end,
    }  # fmt: skip


def signature_at(sql: str, offset: int, dialect: str) -> dict[str, Any] | None:
    """Return ``{label, name, parameters, active}`` of the function whose parentheses are around
    an offset; None if there is none that is known."""
    opened: list[list[Any]] = []
    before: Any = None
    for token in tokens_of(sql, dialect):
        if token.end >= offset:
            break
        kind = token.token_type.name
        if kind == "L_PAREN":
            opened.append([before, 0])
        elif kind == "R_PAREN" and opened:
            opened.pop()
        elif kind == "COMMA" and opened:
            opened[-1][1] += 1
        before = token
    for function, commas in reversed(opened):
        taken = None if function is None else parameters(function.text, dialect)
        if taken is not None:
            name = function.text.lower()
            return {
                "label": f"{name}({', '.join(taken)})",
                "name": name,
                "parameters": taken,
                "active": min(commas, max(len(taken) - 1, 0)),
            }
    return None
