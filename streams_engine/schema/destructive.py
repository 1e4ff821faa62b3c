"""Which statements destroy much: found by their parse, so that they can ask for confirmation.

What is not known to spare rows and objects counts as destructive, and so does what cannot be
parsed. Functions and procedures are not looked into: a statement that calls a procedure counts, one
that calls a function does not.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from streams_engine.schema.query_check import HIDDEN, QUOTED, hides

__all__ = ["count_statements", "destructive"]

Words = list[str]
"""A statement's tokens in capitals; quoted names and texts are empty."""

QUERIES = {"SELECT", "WITH", "VALUES", "(", "TABLE", "INSERT", "UPDATE", "DELETE"}
"""What is parsed: of other statements that it does not know, sqlglot would log the text."""

EXPLAINED = {*QUERIES, "MERGE", "REPLACE", "EXECUTE", "CREATE", "DECLARE", "REFRESH"} - {
    "(",
    "TABLE",
}

KEPT = (exp.Select, exp.SetOperation, exp.Subquery, exp.Values, exp.Insert, exp.Update, exp.Delete)
"""Statements that destroy nothing by themselves."""


def destructive(sql: str, dialect: str) -> list[str]:
    """Return what is destructive about statements, a phrase for each; empty: they are not.

    ``dialect`` is one of sqlglot's: mysql (MariaDB too) or postgres.
    """
    try:
        statements = _statements(sql, dialect)
    except SqlglotError:
        return ["a statement that cannot be parsed"]
    reasons = []
    if hides(sql, itertools.chain.from_iterable(statements)):
        reasons.append("a remark that the server executes")
    for tokens in statements:
        text = sql[tokens[0].start : tokens[-1].end + 1]
        reason = _reason(text, _words(tokens), dialect)
        if reason is not None:
            reasons.append(reason)
    if len(statements) > 1 and any(_words(tokens)[0] == "SET" for tokens in statements):
        reasons.append("SET before other statements, which may be read in another way after it")
    return list(dict.fromkeys(reasons))


def count_statements(sql: str, dialect: str) -> int:
    """Return how many statements a text has; 0 if only remarks. Of what cannot be read, 2."""
    try:
        return len(_statements(sql, dialect)) or int(bool(HIDDEN.search(sql)))
    except SqlglotError:
        return 2


def _statements(sql: str, dialect: str) -> list[list[Any]]:
    """Return the tokens of each statement, without semicolons."""
    statements: list[list[Any]] = [[]]
    for token in sqlglot.tokenize(sql, dialect=dialect):
        if token.token_type.name == "SEMICOLON":
            statements.append([])
        else:
            statements[-1].append(token)
    return [tokens for tokens in statements if tokens]


def _words(tokens: Sequence[Any]) -> Words:
    """Return the words of a statement.

    What follows a command of which sqlglot knows nothing is one token: it is cut into words.
    """
    words: Words = []
    for token in tokens:
        quoted = token.token_type.name in QUOTED
        if quoted and words and words[0] in ("SHOW", "EXPLAIN", "DESCRIBE", "DESC"):
            words += re.findall(r"\w+|\S", str(token.text).upper())
        else:
            words.append("" if quoted else str(token.text).upper())
    return words


def _reason(text: str, words: Words, dialect: str) -> str | None:
    """Return what is destructive about one statement, or None."""
    first = words[0]
    if first in QUERIES:
        return _of_query(text, dialect)
    rule = RULES.get(first)
    if rule is None:
        return f"{first or 'a statement'}, which is not known to spare rows and objects"
    return rule(text, words, dialect)


def _of_query(text: str, dialect: str) -> str | None:
    try:
        trees = [tree for tree in sqlglot.parse(text, dialect=dialect) if tree is not None]
    except (SqlglotError, RecursionError):
        return "a statement that cannot be parsed"
    for tree in trees:
        if not isinstance(tree, KEPT):
            return f"{type(tree).__name__.upper()}, which is not known to spare rows and objects"
        for node in tree.walk():
            reason = _of_node(node)
            if reason is not None:
                return reason
    return None


def _of_node(node: Any) -> str | None:
    if isinstance(node, exp.Update | exp.Delete):
        where = node.args.get("where")
        if where is None or where.find(exp.Column) is None:
            return f"{type(node).__name__.upper()} without a WHERE that tells rows apart"
    if isinstance(node, exp.Insert) and node.args.get("overwrite"):
        return "INSERT OVERWRITE"
    if isinstance(node, exp.Merge | exp.Drop | exp.TruncateTable | exp.Command):
        return type(node).__name__.upper()
    return None


def _kept(_: str, __: Words, ___: str) -> None:
    return None


def _only(*following: str) -> Callable[[str, Words, str], str | None]:
    """Accept a word alone, or with one of these behind it."""

    def rule(_: str, words: Words, __: str) -> str | None:
        if len(words) == 1 or words[1] in following:
            return None
        return f"{words[0]} {words[1]}, which is not known to spare rows and objects"

    return rule


LOSES = {"DROP", "TRUNCATE", "DISCARD", "COALESCE", "EXCHANGE", "REMOVE", "REORGANIZE", "DETACH",
         "IMPORT"}  # fmt: skip
"""Words of an ALTER after which something is gone."""


def _alter(_: str, words: Words, __: str) -> str | None:
    lost = next((word for word in words[2:] if word in LOSES), None)
    return None if lost is None else f"ALTER ... {lost}"


def _create(_: str, words: Words, __: str) -> str | None:
    if "REPLACE" in words:
        return "CREATE OR REPLACE"
    for word in ("DROP", "TRUNCATE", "MERGE"):
        if word in words:
            return f"{word} within CREATE"
    for before, word in itertools.pairwise(words):
        if word in ("DELETE", "UPDATE") and before not in TOLD_WITH:
            return f"{word} within CREATE"
    return None


TOLD_WITH = {"ON", "OR", "BEFORE", "AFTER", "OF", ",", "FOR", "INSTEAD"}
"""Before DELETE and UPDATE: what a foreign key or a trigger is about, not what is done."""


def _explain(text: str, words: Words, dialect: str) -> str | None:
    if not {"ANALYZE", "ANALYSE"} & set(words):
        return None
    begin = next((word for word in words[1:] if word in EXPLAINED), None)
    if begin is None:
        return "EXPLAIN ANALYZE of a statement that cannot be read"
    found = re.search(rf"\b{begin}\b", text, re.IGNORECASE)
    inner = destructive(text[found.start() :], dialect) if found else ["EXPLAIN ANALYZE"]
    return inner[0] if inner else None


def _set(_: str, words: Words, __: str) -> str | None:
    return "SET STATEMENT" if words[1:2] == ["STATEMENT"] else None


def _analyze(_: str, words: Words, __: str) -> str | None:
    runs = next((word for word in words if word in ("DELETE", "UPDATE", "REPLACE", "INSERT")), None)
    return None if runs is None else f"ANALYZE of {runs}, which runs it"


RULES: Mapping[str, Callable[[str, Words, str], str | None]] = {
    "ALTER": _alter,
    "ANALYZE": _analyze,
    "BEGIN": _only("WORK", "TRANSACTION", "ISOLATION", "READ", "DEFERRABLE"),
    "COMMENT": _kept,
    "COMMIT": _only("WORK", "TRANSACTION", "AND"),
    "CREATE": _create,
    "DESC": _explain,
    "DESCRIBE": _explain,
    "EXPLAIN": _explain,
    "GRANT": _kept,
    "RELEASE": _only("SAVEPOINT"),
    "REVOKE": _kept,
    "ROLLBACK": _only("WORK", "TRANSACTION", "TO", "AND"),
    "SAVEPOINT": _kept,
    "SET": _set,
    "SHOW": _kept,
    "START": _only("TRANSACTION"),
    "USE": _kept,
}
"""By first word, statements that are not parsed: what about them is destructive."""
