"""Rows of a stored connection's table, as Arrow: one form for databases and files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from streams_engine.config.documents import Selection
from streams_engine.config.validation import validate
from streams_engine.engine.dialling import Dialler
from streams_engine.errors import ConfigError, NotFound
from streams_engine.model import Dialect, TableId
from streams_engine.placing import selected_of
from streams_engine.protocols import Scope, Source
from streams_engine.runtime.reading import Look, mapped, reading
from streams_engine.schema import mysql_ddl, postgres_ddl

__all__ = ["Looking"]

QUALIFIED: Mapping[Dialect, Callable[[TableId], str]] = {
    Dialect.MYSQL: mysql_ddl.name_of,
    Dialect.POSTGRES: postgres_ddl.name_of,
}
"""A name as a query writes it."""


class Looking:
    """Reads single tables. Thread-safe."""

    def __init__(self, dialler: Dialler) -> None:
        self._dialler = dialler

    def look(
        self,
        columns: Sequence[str],
        filters: Sequence[Mapping[str, Any]],
        sort: Sequence[Mapping[str, Any]],
        limit: int | None,
        offset: int,
        texts: Sequence[str],
    ) -> Look:
        """What is wanted, checked. Raises `ConfigError` with the path of a fault."""
        if offset < 0:
            raise ConfigError("$.offset: expected no less than 0.", path="$.offset")
        document = {
            "selectedColumns": list(columns),
            "filters": [dict(one) for one in filters],
            "sorts": [dict(one) for one in sort],
            "limit": limit,
        }
        selected = selected_of(validate(Selection, document), "$")
        return Look(selected, offset, tuple(texts))

    def rows(self, connection: str, table: str, look: Look, database: str | None) -> pa.Table:
        """The rows, in one consistent view."""
        with (
            self._meant(connection, table, database) as (source, scope),
            reading(source, scope, look) as found,
        ):
            return found.table()

    def count(self, connection: str, table: str, look: Look, database: str | None) -> int:
        """How many rows there are."""
        with self._meant(connection, table, database) as (source, scope):
            extract = mapped(source.catalog(scope).tables[-1], look).extract()
            with self._dialler.explorer(connection, database) as explorer:
                return explorer.count(extract)

    @contextmanager
    def _meant(
        self, connection: str, table: str, database: str | None
    ) -> Iterator[tuple[Source, Scope]]:
        """The scope of one table, or of a view as the query that reads it."""
        with self._dialler.source(connection, database) as (source, scope):
            wanted = Scope(scope.schema, (table,))
            try:
                source.catalog(wanted)
            except NotFound:
                view = self._view(connection, table, database, scope.schema)
                if view is None:
                    raise
                query = f"SELECT * FROM {QUALIFIED[source.dialect](view)}"
                wanted = Scope(scope.schema, (), ((table, query),))
            yield source, wanted

    def _view(
        self, connection: str, name: str, database: str | None, schema: str | None
    ) -> TableId | None:
        with self._dialler.explorer(connection, database) as explorer:
            for view in explorer.relations("view", None):
                if name == f"{view.schema}.{view.name}":
                    return view
                if name == view.name and (schema is None or view.schema == schema):
                    return view
        return None
