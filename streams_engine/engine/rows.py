"""`engine.rows`: rows of tables, inserted, and changed by their keys."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from streams_engine.engine.resolver import ConnectionResolver
from streams_engine.errors import ConfigError
from streams_engine.model import TableSchema

__all__ = ["Rows"]

Row = Mapping[str, Any]

PLAIN = (type(None), bool, int, float, Decimal, str, bytes, bytearray, memoryview, date, time,
         timedelta, UUID, list, tuple, Mapping)  # fmt: skip
"""What a value may be. Of other objects a driver makes a text, or refuses them in its own way."""


class Rows:
    """Single rows of tables on servers. Thread-safe.

    A row, a key and new values are mappings of column names to Python values, which travel as
    parameters; mappings, and lists for JSON columns, become JSON. Each call is one transaction. All
    methods raise `NotFound` that lists similar names, `ConfigError` by path (for files too, which
    are not changed), and errors that name the object without values.
    """

    def __init__(self, resolver: ConnectionResolver) -> None:
        self._dialler = resolver

    def insert(
        self,
        connection: str,
        table: str,
        rows: Row | Sequence[Row],
        database: str | None = None,
    ) -> dict[str, Any]:
        """Insert a row or several, all or none; columns left out get their defaults.

        Return ``{"affectedRows", "keys"}``, a primary key for each row (empty without one).
        """
        given = [rows] if isinstance(rows, Mapping) else rows
        if isinstance(given, str) or not isinstance(given, Sequence):
            raise ConfigError("$.rows: expected an object, or a list of them.", path="$.rows")
        with self._dialler.session(connection, database) as session:
            schema = self._dialler.table(connection, table, database)
            for number, row in enumerate(given):
                _demand_columns(row, schema, f"$.rows[{number}]")
            keys = session.insert(schema, given)
        return {"affectedRows": len(given), "keys": [dict(key) for key in keys]}

    def update(
        self,
        connection: str,
        table: str,
        key: Row,
        values: Row,
        database: str | None = None,
    ) -> dict[str, Any]:
        """Update the one row that has a key; return ``{"affectedRows": 1}``.

        Raises `NotFound` if no row has it, `StateConflict` if several have; nothing is changed
        then.
        """
        with self._dialler.session(connection, database) as session:
            schema = self._dialler.table(connection, table, database)
            _demand_columns(key, schema, "$.key", some=True)
            _demand_columns(values, schema, "$.values", some=True)
            session.update(schema, key, values)
        return {"affectedRows": 1}

    def delete(
        self, connection: str, table: str, key: Row, database: str | None = None
    ) -> dict[str, Any]:
        """Delete the one row that has a key; return ``{"affectedRows": 1}``. Raises as `update`
        does."""
        with self._dialler.session(connection, database) as session:
            schema = self._dialler.table(connection, table, database)
            _demand_columns(key, schema, "$.key", some=True)
            session.delete(schema, key)
        return {"affectedRows": 1}


def _demand_columns(row: Row, table: TableSchema, path: str, *, some: bool = False) -> None:
    """Demand that a row has columns of a table alone. Raises `ConfigError`."""
    if not isinstance(row, Mapping) or (some and not row):
        raise ConfigError(f"{path}: expected an object of columns and values.", path=path)
    known = [column.name for column in table.columns]
    for name, value in row.items():
        if not isinstance(value, PLAIN):
            raise ConfigError(
                f"{path}.{name}: a {type(value).__name__} is no value of a column.",
                path=f"{path}.{name}",
                remedy="Give a plain Python value: a number, a text, bytes, a date, None.",
            )
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 3)
            raise ConfigError(
                f"{path}.{name}: {table.id} has no such column.",
                path=f"{path}.{name}",
                remedy=f"Similar names: {', '.join(near) or 'none'}.",
            )
