"""Diagnose a statement: what is wrong, where, and what was perhaps meant."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError, SqlglotError, TokenError
from sqlglot.optimizer.scope import Scope, traverse_scope

from streams_engine.errors import NotFound, QueryRefused, StreamsError
from streams_engine.model import TableId
from streams_engine.query.catalog_cache import CachedRelation, KnownNames, closest
from streams_engine.query.source_names import READERS
from streams_engine.schema.query_check import BEGINNINGS

__all__ = ["diagnosed"]

KEYWORDS = (
    "SELECT", "FROM", "WHERE", "GROUP", "ORDER", "BY", "HAVING", "LIMIT", "OFFSET", "JOIN", "LEFT",
    "RIGHT", "INNER", "OUTER", "FULL", "CROSS", "ON", "USING", "AND", "OR", "NOT", "IN", "IS",
    "NULL", "LIKE", "BETWEEN", "AS", "DISTINCT", "UNION", "INTERSECT", "EXCEPT", "WITH", "CASE",
    "WHEN", "THEN", "ELSE", "END", "EXISTS", "VALUES", "ASC", "DESC",
)  # fmt: skip

Diagnosis = dict[str, Any]


def diagnosed(sql: str, dialect: str, known: KnownNames | None) -> list[Diagnosis]:
    """Return ``{severity, message, suggestion, line, column, start, end}`` for each error, in
    order.

    Lines and columns count from one; ``start`` and ``end`` are offsets into the text.
    """
    try:
        tokens = sqlglot.tokenize(sql, dialect=dialect)
    except TokenError:
        return [_found(sql, len(sql), len(sql), "A text or a quoted name is not closed.", None)]
    if not tokens:
        return [_found(sql, 0, 0, "The text contains no statement.", None)]
    first = tokens[0]
    if first.token_type.name not in BEGINNINGS:
        near = _near(first.text.upper(), ("SELECT", "WITH", "VALUES"))
        message = "A query begins with SELECT or WITH."
        return [_found(sql, first.start, first.end + 1, message, near or "SELECT")]
    try:
        trees = sqlglot.parse(sql, dialect=dialect)
    except ParseError as error:
        return [_of_parse(sql, one, tokens) for one in error.errors]
    except (SqlglotError, RecursionError):
        return [_found(sql, 0, len(sql), "The statement cannot be parsed.", None)]
    statements = [tree for tree in trees if tree is not None]
    if len(statements) > 1:
        begin = next(t.end + 1 for t in tokens if t.token_type.name == "SEMICOLON")
        return [_found(sql, begin, len(sql), "Expected one statement.", None)]
    if known is None:
        return []
    diagnoses = [*_tables(sql, statements[0], known), *_columns(sql, statements[0], known)]
    return sorted(diagnoses, key=lambda one: int(one["start"]))


def _of_parse(sql: str, error: dict[str, Any], tokens: list[Any]) -> Diagnosis:
    word = str(error.get("highlight") or "")
    line, column = int(error.get("line") or 1), int(error.get("col") or 1)
    token = next((t for t in tokens if (t.line, t.col) == (line, column)), tokens[-1])
    message = str(error.get("description") or "").split("\n")[0].strip() or "Not understood."
    suggestion = _near(word.upper(), KEYWORDS) or _misspelt(tokens, token)
    return _found(sql, token.start, token.end + 1, message, suggestion)


def _misspelt(tokens: list[Any], at: Any) -> str | None:
    """Return the keyword that a word shortly before the error resembles, or None."""
    before = [t for t in tokens if t.start < at.start][-3:]
    for token in reversed(before):
        if token.token_type.name == "VAR" and (near := _near(token.text.upper(), KEYWORDS)):
            return near
    return None


def _near(word: str, known: Collection[str]) -> str | None:
    if word in known:
        return None
    matches = difflib.get_close_matches(word, known, n=1, cutoff=0.7)
    return matches[0] if matches else None


def _found(sql: str, start: int, end: int, message: str, suggestion: str | None) -> Diagnosis:
    before = sql[:start]
    return {
        "severity": "error",
        "message": message,
        "suggestion": suggestion,
        "line": before.count("\n") + 1,
        "column": start - (before.rfind("\n") + 1) + 1,
        "start": start,
        "end": end,
    }


def _at(sql: str, node: Any, message: str, suggestion: str | None) -> Diagnosis:
    meta = node.meta
    start, end = int(meta.get("start", 0)), int(meta.get("end", -1)) + 1
    return _found(sql, start, max(start, end), message, suggestion)


def _tables(sql: str, tree: Any, known: KnownNames) -> Iterator[Diagnosis]:
    own = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    for table in tree.find_all(exp.Table):
        if isinstance(table.this, exp.Func):
            fault = _file_fault(table, known)
            if fault is not None:
                yield _at(sql, table.this, fault.message, None)
            continue
        names = [part.name for part in table.parts]
        if (len(names) == 1 and table.name.lower() in own) or known.find(*names):
            continue
        place, message, suggestion = known.missing(names)
        yield _at(sql, table.parts[place], message, suggestion)


def read_by(table: Any) -> tuple[str, str] | None:
    """Return the function that reads a file in a FROM, and the path; None for anything else."""
    function = table.this
    name = function.name if isinstance(function, exp.Anonymous) else function.sql_name()
    literal = next(iter(function.find_all(exp.Literal)), None)
    if str(name).upper() not in READERS or literal is None or not literal.is_string:
        return None
    return str(name).lower(), str(literal.this)


def _file_fault(table: Any, known: KnownNames) -> StreamsError | None:
    read = read_by(table)
    try:
        if read is not None:
            known.file(*read)
    except (QueryRefused, NotFound) as error:
        return error
    return None


def _columns(sql: str, tree: Any, known: KnownNames) -> Iterator[Diagnosis]:
    for scope in _scopes(tree):
        if not isinstance(scope.expression, exp.Select):
            continue
        tables = {
            label.lower(): _relation(scope.sources.get(label), known)
            for label, _ in scope.references
        }
        selects = scope.expression.selects
        aliases = {one.alias.lower() for one in selects if isinstance(one, exp.Alias)}
        for column in scope.find_all(exp.Column):
            if isinstance(column.this, exp.Star) or column.args.get("db"):
                continue
            diagnosis = _column(sql, scope, column, tables, aliases)
            if diagnosis is not None:
                yield diagnosis


def _scopes(tree: Any) -> list[Scope]:
    try:
        return traverse_scope(tree)
    except SqlglotError:
        return []


def _relation(source: Any, known: KnownNames) -> CachedRelation | None:
    if isinstance(source, Scope):
        return _derived(source)
    if not isinstance(source, exp.Table):
        return None
    if not isinstance(source.this, exp.Func):
        relation = known.find(*[part.name for part in source.parts])
        return relation if relation is not None and relation.columns is not None else None
    read = read_by(source)
    try:
        return None if read is None else known.file(*read)
    except StreamsError:
        return None


def _derived(scope: Scope) -> CachedRelation | None:
    """Return what a subquery or CTE selects; None where that is not known."""
    if not isinstance(scope.expression, exp.Query) or scope.is_udtf:
        return None
    names = scope.outer_columns or scope.expression.named_selects
    if not names or not all(names) or "*" in names:
        return None
    return CachedRelation(TableId("", "this subquery"), dict.fromkeys(names, ""))


def _column(
    sql: str,
    scope: Scope,
    column: Any,
    tables: dict[str, CachedRelation | None],
    aliases: set[str],
) -> Diagnosis | None:
    """Diagnose a column that is in none of its tables; return None if one of these tables is
    unknown."""
    label = column.table.lower()
    if label:
        if label not in tables:
            if scope.parent is not None:
                return None  # an outer query's
            message = f"There is no table '{column.table}' in this query."
            return _at(sql, column.args["table"], message, closest(label, tables))
        candidates = [tables[label]]
    else:
        candidates = list(tables.values())
        if scope.parent is not None or column.name.lower() in {*aliases, *tables}:
            return None
    if not candidates or any(one is None for one in candidates):
        return None
    relations = [one for one in candidates if one is not None]
    if any(one.column(column.name) for one in relations):
        return None
    names = {name.lower(): name for one in relations for name in one.columns or ()}
    near = closest(column.name.lower(), names)
    where = f" in {relations[0].id.name}" if len(relations) == 1 else ""
    message = f"There is no column '{column.name}'{where}."
    return _at(sql, column.this, message, names[near] if near else None)
