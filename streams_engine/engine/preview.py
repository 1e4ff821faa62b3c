"""Rows of a stored connection's table, as Arrow: one form for databases and files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa

from streams_engine.config.documents import Selection
from streams_engine.config.validation import validate
from streams_engine.contracts import Scope, Source
from streams_engine.engine.lists import ListRequest
from streams_engine.engine.resolver import ConnectionResolver
from streams_engine.errors import NotFound
from streams_engine.model import TableId
from streams_engine.pipeline.preview import PreviewRequest, mapped, preview
from streams_engine.schema.dialects import spec_of
from streams_engine.schema.mapping.tables import SelectedRows

__all__ = ["TablePreview", "preview_request"]


def preview_request(
    asked: ListRequest, columns: Sequence[str] = (), texts: Sequence[str] = ()
) -> PreviewRequest:
    """Add columns to what is wanted of a table. Raises `ConfigError` with the path of a fault."""
    document = validate(Selection, {"selectedColumns": list(columns)})
    names = tuple(document.selected_columns)
    selected = SelectedRows(names, asked.filters, asked.sorts, asked.limit)
    return PreviewRequest(selected, asked.offset, tuple(texts))


class TablePreview:
    """Reads single tables. Thread-safe."""

    def __init__(self, resolver: ConnectionResolver) -> None:
        self._dialler = resolver

    def rows(
        self, connection: str, table: str, request: PreviewRequest, database: str | None
    ) -> pa.Table:
        """Return the rows, read in one consistent snapshot."""
        with (
            self._meant(connection, table, database) as (source, scope),
            preview(source, scope, request) as previewed,
        ):
            return previewed.table()

    def count(
        self, connection: str, table: str, request: PreviewRequest, database: str | None
    ) -> int:
        """Return the number of rows."""
        with self._meant(connection, table, database) as (source, scope):
            extract = mapped(source.catalog(scope).tables[-1], request).extract()
            with self._dialler.explorer(connection, database) as explorer:
                return explorer.count(extract)

    @contextmanager
    def _meant(
        self, connection: str, table: str, database: str | None
    ) -> Iterator[tuple[Source, Scope]]:
        """Open the source with a scope of one table, or of a view as the query that reads it."""
        with self._dialler.source(connection, database) as (source, scope):
            wanted = Scope(scope.schema, (table,))
            try:
                source.catalog(wanted)
            except NotFound:
                view = self._view(connection, table, database, scope.schema)
                name_of = spec_of(source.dialect).name_of
                if view is None or name_of is None:
                    raise
                query = f"SELECT * FROM {name_of(view)}"
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
