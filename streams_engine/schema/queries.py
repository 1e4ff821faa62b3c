"""A query as a source: is it one statement that only reads? Decided by its parse."""

from __future__ import annotations

import logging
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from streams_engine.errors import ConfigError
from streams_engine.model import Dialect

__all__ = ["reading_only"]

WRITES = (
    *(exp.Insert, exp.Update, exp.Delete, exp.Merge),
    *(exp.Create, exp.Drop, exp.Command, exp.Into),
)


def reading_only(name: str, query: str, dialect: Dialect) -> str:
    """The query without a closing semicolon. Raises `ConfigError` unless it is one that reads."""
    try:
        tokens = sqlglot.tokenize(query, dialect=dialect.value)
        while tokens and tokens[-1].token_type.name == "SEMICOLON":
            tokens.pop()
        # A remark at the end would swallow what is put around the query.
        plain = query[: tokens[-1].end + 1].strip() if tokens else ""
        # MySQL executes what stands in some remarks: what runs would not be what was parsed.
        hidden = any(c.startswith(("!", "M!")) for token in tokens for c in token.comments)
        statements = [] if hidden else _silently(plain, dialect)
    except SqlglotError:
        statements = []
    reads = len(statements) == 1 and isinstance(statements[0], exp.Query | exp.Values)
    if not reads or any(statements[0].find_all(*WRITES)):
        raise ConfigError(
            f"The query '{name}' is not one statement that only reads.",
            path=f"queries.{name}",
            remedy="Write one SELECT, or WITH ... SELECT.",
        )
    return plain


def _silently(query: str, dialect: Dialect) -> list[Any]:
    """The statements. sqlglot logs what it does not know, values of the query included."""
    log = logging.getLogger("sqlglot")
    log.addFilter(_nothing)
    try:
        return sqlglot.parse(query, dialect=dialect.value)
    finally:
        log.removeFilter(_nothing)


def _nothing(_: logging.LogRecord) -> bool:
    return False
