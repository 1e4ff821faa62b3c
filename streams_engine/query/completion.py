"""Complete a statement that is being written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import sqlglot
from sqlglot.errors import SqlglotError

from streams_engine.errors import QueryRefused, StreamsError
from streams_engine.query.catalog_cache import CachedRelation, Item, KnownNames
from streams_engine.query.diagnostics import KEYWORDS
from streams_engine.query.functions import functions_of, parameters
from streams_engine.query.names import (
    CLAUSES,
    TABLE_WORDS,
    Derived,
    UsedTable,
    derived,
    path_at,
    tokens_of,
    used_tables,
)

__all__ = ["completed", "relation_of"]


def completed(sql: str, offset: int, dialect: str, known: KnownNames) -> list[Item]:
    """Return ``{text, kind, detail}`` for what may stand at an offset and begins with the word
    there.

    These are tables after FROM and JOIN, columns of a table after its name and a point, else
    columns, functions and keywords.
    """
    tokens = tokens_of(sql, dialect)
    if _quoted(sql[:offset], dialect):
        return []
    chain = re.search(r"((?:[\w$]+\.)*)([\w$]*)$", sql[:offset])
    qualifiers = chain[1].rstrip(".").split(".") if chain and chain[1] else []
    prefix = chain[2] if chain else ""
    begin = offset - len(prefix) - (len(chain[1]) if chain else 0)
    here = path_at(tokens, offset)
    used = [one for one in used_tables(tokens) if one.visible(here)]
    named = {one.name.lower(): one for one in derived(sql, tokens, dialect)}
    listed = _after_table_word(tokens, begin)
    if qualifiers:
        items = list(_qualified(qualifiers, used, named, known, listed))
    elif listed:
        ctes = (one.name for one in named.values() if one.cte)
        items = [{"text": name, "kind": "cte", "detail": None} for name in ctes]
        items += known.beginnings()
    else:
        items = list(_expressions(used, named, dialect, known))
    wanted = prefix.lower()
    kept = {(i["text"], i["kind"]): i for i in items if str(i["text"]).lower().startswith(wanted)}
    return list(kept.values())


def relation_of(used: UsedTable, known: KnownNames) -> CachedRelation | None:
    """Return the table or file that a FROM names; None if there is none, or it cannot be read."""
    if used.file is None:
        return known.find(*used.names)
    try:
        return known.file(*used.file)
    except (QueryRefused, StreamsError):
        return None


def _quoted(before: str, dialect: str) -> bool:
    """Return whether an offset is inside a text or a quoted name that is not closed yet."""
    try:
        sqlglot.tokenize(before, dialect=dialect)
    except SqlglotError:
        return True
    return False


def _after_table_word(tokens: Sequence[Any], begin: int) -> bool:
    """Return whether a table is expected: right after FROM or JOIN, or after a comma of their
    list."""
    before = [token for token in tokens if token.end < begin]
    words = [token.text.upper() for token in before]
    last = next((w for w in reversed(words) if w in TABLE_WORDS or w in CLAUSES), "")
    previous = before[-1] if before else None
    if previous is None:
        return False
    if previous.text.upper() in TABLE_WORDS:
        return True
    return last in TABLE_WORDS and previous.token_type.name == "COMMA"


def _qualified(
    qualifiers: list[str],
    used: list[UsedTable],
    named: dict[str, Derived],
    known: KnownNames,
    listed: bool,
) -> Iterator[Item]:
    if listed:
        yield from known.below(qualifiers)
        return
    for one in used:
        if len(qualifiers) == 1 and one.label.lower() == qualifiers[0].lower():
            yield from _columns_of(one, named, known)
            return
    if len(qualifiers) == 1 and qualifiers[0].lower() in named:
        yield from _selected(named[qualifiers[0].lower()])
        return
    relation = known.find(*qualifiers)
    if relation is not None:
        yield from _columns(relation)
    yield from known.below(qualifiers)


def _columns_of(one: UsedTable, named: dict[str, Derived], known: KnownNames) -> Iterator[Item]:
    if len(one.names) == 1 and one.names[0].lower() in named:
        yield from _selected(named[one.names[0].lower()])
        return
    relation = relation_of(one, known)
    if relation is not None:
        yield from _columns(relation)


def _selected(query: Derived) -> Iterator[Item]:
    for name in query.columns:
        yield {"text": name, "kind": "column", "detail": query.name}


def _columns(relation: CachedRelation) -> Iterator[Item]:
    for name, kind in (relation.columns or {}).items():
        yield {"text": name, "kind": "column", "detail": f"{relation.id.name}: {kind}"}


def _expressions(
    used: list[UsedTable], named: dict[str, Derived], dialect: str, known: KnownNames
) -> Iterator[Item]:
    for one in used:
        yield from _columns_of(one, named, known)
    for query in named.values():
        if not query.cte:
            yield from _selected(query)
    for one in used:
        whole = f"{one.file[0]}('{one.file[1]}')" if one.file else ".".join(one.names)
        yield {"text": one.label, "kind": "alias", "detail": whole}
    for name in functions_of(dialect):
        told = ", ".join(parameters(name, dialect) or ())
        yield {"text": name, "kind": "function", "detail": f"{name}({told})"}
    for word in KEYWORDS:
        yield {"text": word, "kind": "keyword", "detail": None}
