"""Complete a statement that is being written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlglot
from sqlglot.errors import SqlglotError

from streams_engine.query.catalog_cache import CachedCatalog, CachedRelation
from streams_engine.query.diagnostics import KEYWORDS

__all__ = ["completed"]

FUNCTIONS = (
    "abs", "avg", "cast", "ceil", "coalesce", "concat", "count", "current_date",
    "current_timestamp", "dense_rank", "exp", "extract", "first_value", "floor", "greatest", "lag",
    "last_value", "lead", "least", "left", "length", "ln", "lower", "lpad", "ltrim", "max", "min",
    "mod", "nullif", "power", "rank", "replace", "right", "round", "row_number", "rpad", "rtrim",
    "sign", "sqrt", "substring", "sum", "trim", "upper",
)  # fmt: skip
"""What all of them have."""
OWN = {
    "mysql": ("date_add", "date_format", "date_sub", "datediff", "group_concat", "ifnull",
              "json_extract", "json_unquote", "now", "str_to_date", "unix_timestamp"),
    "postgres": ("age", "array_agg", "date_trunc", "generate_series", "jsonb_agg",
                 "jsonb_build_object", "now", "regexp_replace", "split_part", "string_agg",
                 "to_char", "to_date", "unnest"),
    "duckdb": ("date_diff", "date_trunc", "list", "median", "now", "quantile_cont", "read_csv",
               "read_json", "read_parquet", "regexp_matches", "string_agg", "strftime", "unnest"),
}  # fmt: skip
TABLE_WORDS = {"FROM", "JOIN", "INTO", "UPDATE", "TABLE"}
CLAUSES = {"SELECT", "WHERE", "ON", "BY", "HAVING", "SET", "AND", "OR", "USING", "LIMIT", "VALUES",
           "WHEN", "THEN", "ELSE", "CASE", "NOT", "UNION", "ORDER", "GROUP"}  # fmt: skip

Item = dict[str, str | None]


@dataclass(frozen=True, slots=True)
class UsedTable:
    """A table in a FROM: its label, its names, and how deep in parentheses."""

    label: str
    names: tuple[str, ...]
    path: tuple[int, ...]


def completed(sql: str, offset: int, dialect: str, known: CachedCatalog) -> list[Item]:
    """Return ``{text, kind, detail}`` for what may stand at an offset and begins with the word
    there.

    These are tables after FROM and JOIN, columns of a table after its name and a point, else
    columns, functions and keywords.
    """
    tokens = _tokens(sql, dialect)
    if _quoted(sql[:offset], dialect):
        return []
    chain = re.search(r"((?:[\w$]+\.)*)([\w$]*)$", sql[:offset])
    qualifiers = chain[1].rstrip(".").split(".") if chain and chain[1] else []
    prefix = chain[2] if chain else ""
    begin = offset - len(prefix) - (len(chain[1]) if chain else 0)
    used = [one for one in _used(tokens) if _visible(one.path, _path(tokens, offset))]
    if qualifiers:
        items = list(_qualified(qualifiers, used, known))
    elif _after_table_word(tokens, begin):
        items = list(_relations(known))
    else:
        items = list(_expressions(used, dialect, known))
    wanted = prefix.lower()
    kept = {(i["text"], i["kind"]): i for i in items if str(i["text"]).lower().startswith(wanted)}
    return list(kept.values())


def _tokens(sql: str, dialect: str) -> list[Any]:
    try:
        return list(sqlglot.tokenize(sql, dialect=dialect))
    except SqlglotError:
        return []


def _quoted(before: str, dialect: str) -> bool:
    """Return whether an offset is inside a text or a quoted name that is not closed yet."""
    try:
        sqlglot.tokenize(before, dialect=dialect)
    except SqlglotError:
        return True
    return False


def _path(tokens: Sequence[Any], offset: int) -> tuple[int, ...]:
    """Return the parentheses around an offset, each by where it opens."""
    path: list[int] = []
    for token in tokens:
        if token.start >= offset:
            break
        _step(path, token)
    return tuple(path)


def _step(path: list[int], token: Any) -> None:
    if token.token_type.name == "L_PAREN":
        path.append(token.start)
    elif token.token_type.name == "R_PAREN" and path:
        path.pop()


def _visible(of: tuple[int, ...], here: tuple[int, ...]) -> bool:
    return here[: len(of)] == of


def _used(tokens: Sequence[Any]) -> Iterator[UsedTable]:
    """Yield the tables that the text names so far."""
    path: list[int] = []
    listing = False
    i = 0
    while i < len(tokens):
        token = tokens[i]
        _step(path, token)
        word = token.text.upper()
        i += 1
        if word in CLAUSES:
            listing = False
        if word not in TABLE_WORDS and not (listing and token.token_type.name == "COMMA"):
            continue
        listing = True
        names: list[str] = []
        while i < len(tokens) and _is_name(tokens[i]):
            names.append(tokens[i].text)
            i += 1
            if i >= len(tokens) or tokens[i].token_type.name != "DOT":
                break
            i += 1
        if not names:
            continue
        label = names[-1]
        if i < len(tokens) and tokens[i].text.upper() == "AS":
            i += 1
        if i < len(tokens) and _is_name(tokens[i]) and tokens[i].text.upper() not in CLAUSES:
            label = tokens[i].text
            i += 1
        yield UsedTable(label, tuple(names[-2:]), tuple(path))


def _is_name(token: Any) -> bool:
    return token.token_type.name in ("VAR", "IDENTIFIER") or (
        token.text.isidentifier() and token.text.upper() not in {*KEYWORDS, *TABLE_WORDS, *CLAUSES}
    )


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
    qualifiers: list[str], used: list[UsedTable], known: CachedCatalog
) -> Iterator[Item]:
    for one in used:
        if len(qualifiers) == 1 and one.label.lower() == qualifiers[0].lower():
            relation = known.find(*one.names)
            if relation is not None:
                yield from _columns(relation)
                return
    relation = known.find(*qualifiers[-2:])
    if relation is not None:
        yield from _columns(relation)
    for other in known.relations:
        if other.id.schema.lower() == qualifiers[-1].lower():
            yield {"text": other.id.name, "kind": "table", "detail": other.id.schema}


def _relations(known: CachedCatalog) -> Iterator[Item]:
    for relation in known.relations:
        own = relation.id.schema in ("", known.schema)
        text = relation.id.name if own else str(relation.id)
        kind = "table" if relation.columns is not None else "view"
        yield {"text": text, "kind": kind, "detail": relation.id.schema or None}
    for schema in known.schemas:
        yield {"text": schema, "kind": "schema", "detail": None}


def _columns(relation: CachedRelation) -> Iterator[Item]:
    for name, kind in (relation.columns or {}).items():
        yield {"text": name, "kind": "column", "detail": f"{relation.id.name}: {kind}"}


def _expressions(used: list[UsedTable], dialect: str, known: CachedCatalog) -> Iterator[Item]:
    for one in used:
        relation = known.find(*one.names)
        if relation is not None:
            yield from _columns(relation)
    for one in used:
        yield {"text": one.label, "kind": "alias", "detail": ".".join(one.names)}
    for name in sorted({*FUNCTIONS, *OWN.get(dialect, ())}):
        yield {"text": name, "kind": "function", "detail": None}
    for word in KEYWORDS:
        yield {"text": word, "kind": "keyword", "detail": None}
