"""A query as a source: is it one statement that only reads? Decided by its parse."""

from __future__ import annotations

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from streams_engine.errors import ConfigError
from streams_engine.model import Dialect

__all__ = ["reading_only"]

WRITES = (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Create, exp.Drop, exp.Command)


def reading_only(name: str, query: str, dialect: Dialect) -> str:
    """The query without a closing semicolon. Raises `ConfigError` unless it is one that reads."""
    plain = query.strip().rstrip(";").strip()
    try:
        statements = sqlglot.parse(plain, dialect=dialect.value)
    except SqlglotError:
        statements = []
    reads = len(statements) == 1 and isinstance(statements[0], exp.Query | exp.Values)
    if not reads or any(statements[0].find_all(*WRITES)):  # type: ignore[union-attr]
        raise ConfigError(
            f"The query '{name}' is not one statement that only reads.",
            path=f"queries.{name}",
            remedy="Write one SELECT, or WITH ... SELECT.",
        )
    return plain
