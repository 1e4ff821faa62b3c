"""Statements of users on stored connections: run, with what destroys asked for, or described."""

from __future__ import annotations

import time
from typing import Any

from streams_engine.engine.resolver import ConnectionResolver
from streams_engine.errors import ConfigError
from streams_engine.schema.destructive import count_statements, destructive

__all__ = ["Statements"]


class Statements:
    """Statements in the SQL of one server. Thread-safe."""

    def __init__(self, resolver: ConnectionResolver) -> None:
        self._dialler = resolver

    def execute(
        self,
        connection: str,
        sql: str,
        *,
        confirm: bool,
        limit: int | None,
        database: str | None,
    ) -> dict[str, Any]:
        """Run statements; see `Engine.execute`."""
        if limit is not None and (isinstance(limit, bool) or limit < 0):
            raise ConfigError("$.limit: expected 0 or more.", path="$.limit")
        with self._dialler.session(connection, database) as session:
            statements = _counted(sql, session.dialect)
            reasons = destructive(sql, session.dialect)
            if reasons and confirm is not True:
                raise ConfigError(
                    f"The statement may destroy data or structure: {'; '.join(reasons)}.",
                    path="confirm",
                    remedy="Read it again, and say confirm=True.",
                )
            begun = time.monotonic()
            result = session.execute(sql, several=statements > 1, limit=limit)
        return {
            "columns": list(result.columns),
            "rows": result.rows,
            "affectedRows": result.affected,
            "duration": time.monotonic() - begun,
        }

    def columns(self, sql: str, connection: str, database: str | None) -> list[dict[str, Any]]:
        """Describe a statement; see `Engine.columns`."""
        with self._dialler.session(connection, database) as session:
            if _counted(sql, session.dialect) > 1:
                raise ConfigError("sql: expected one statement.", path="sql")
            return session.columns(sql)


def _counted(sql: str, dialect: str) -> int:
    """Return how many statements there are. Raises `ConfigError` for none."""
    count = count_statements(sql, dialect) if isinstance(sql, str) else 0
    if not count:
        raise ConfigError("sql: expected a statement.", path="sql")
    return count
