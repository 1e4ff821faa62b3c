"""Check that a query is one statement that only reads, by its parse."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from streams_engine.errors import ConfigError
from streams_engine.model import Dialect

__all__ = ["HIDDEN", "QUOTED", "hides", "one_query", "reading_only"]

WRITES = (
    *(exp.Insert, exp.Update, exp.Delete, exp.Merge),
    *(exp.Create, exp.Drop, exp.Command, exp.Into),
)

BEGINNINGS = {"SELECT", "WITH", "VALUES", "L_PAREN"}
"""Anything else is refused unparsed: sqlglot would log the text of what it does not know."""


HIDDEN = re.compile(r"/\*M?!|\{#")
"""What begins a remark to sqlglot, but not to every server: MySQL and MariaDB execute what stands
in ``/*! */``, and ``{# #}`` is a remark of templates."""

QUOTED = {"STRING", "IDENTIFIER", "NATIONAL_STRING", "HEREDOC_STRING", "RAW_STRING", "BYTE_STRING",
          "BIT_STRING", "HEX_STRING", "UNICODE_STRING"}  # fmt: skip
"""Kinds of tokens that are texts and quoted names; and what follows a command, as one text."""
LITERAL = re.compile(r"[A-Za-z_&]*['\"`$]")
"""How a text or a quoted name begins."""


def hides(sql: str, tokens: Iterable[Any]) -> bool:
    """Return whether a server may run what was parsed as a remark."""
    rest, done = "", 0
    for token in tokens:
        if token.token_type.name in QUOTED and LITERAL.match(sql, token.start):
            rest, done = rest + sql[done : token.start] + " ", token.end + 1
    return HIDDEN.search(rest + sql[done:]) is not None


def reading_only(name: str, query: str, dialect: Dialect) -> str:
    """Return the query without a closing semicolon. Raises `ConfigError` unless it is one statement
    that only reads."""
    plain = ""
    parsed = None
    with contextlib.suppress(SqlglotError):
        plain, parsed = one_query(query, str(dialect))
    if parsed is None:
        raise ConfigError(
            f"The query '{name}' must be one statement that only reads.",
            path=f"queries.{name}",
            remedy="Write one SELECT, or WITH ... SELECT.",
        )
    return plain


def one_query(query: str, dialect: str) -> tuple[str, Any]:
    """Return the query without a closing semicolon, and its parse tree; None unless it is one
    statement that only reads.

    Raises sqlglot's errors if it cannot be parsed. ``dialect`` is one of sqlglot's.
    """
    tokens = sqlglot.tokenize(query, dialect=dialect)
    hidden = hides(query, tokens)
    while tokens and tokens[-1].token_type.name == "SEMICOLON":
        tokens.pop()
    kinds = [token.token_type.name for token in tokens]
    if hidden or not kinds or kinds[0] not in BEGINNINGS or "SEMICOLON" in kinds:
        return "", None
    # A remark at the end would swallow what is put around the query.
    plain = query[: tokens[-1].end + 1].strip()
    statements: list[Any] = list(sqlglot.parse(plain, dialect=dialect))
    reads = len(statements) == 1 and isinstance(statements[0], exp.Query | exp.Values)
    if not reads or any(statements[0].find_all(*WRITES)):
        return "", None
    return plain, statements[0]
