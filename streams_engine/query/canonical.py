"""The result of a statement over several sources as texts, for `verify`.

The statement runs again. No single server could render what comes of several, so the texts are
made here of the values that DuckDB gives: what is compared with the target is the result of now,
and not how the sources were read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from streams_engine.contracts import Scope
from streams_engine.model import Extract
from streams_engine.query.source import QuerySource
from streams_engine.schema.types.arrow_texts import texts_of
from streams_engine.schema.types.canonical import CanonicalRead

__all__ = ["QueryCanonical"]

BLOCK_ROWS = 8192

Row = tuple[str | None, ...]


class QueryCanonical:
    """One statement, run anew for each `rows`. Not for use by several threads."""

    def __init__(self, source: QuerySource) -> None:
        self._source = source

    def __enter__(self) -> QueryCanonical:
        return self

    def __exit__(self, *_: object) -> None:
        self._source.close()

    @contextmanager
    def rows(self, read: CanonicalRead) -> Iterator[Iterator[Row]]:
        """Yield every row of the result as texts."""
        with self._source.snapshot(Scope(), 1) as view:
            (table,) = view.catalog.tables
            columns = tuple(table.column(column.name) for column in read.columns)
            (chunk,) = view.chunks(table, BLOCK_ROWS)
            batches = view.read(Extract(table.id, columns), chunk)
            with closing(batches):
                yield (row for batch in batches for row in texts_of(batch, read.columns))
