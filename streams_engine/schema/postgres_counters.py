"""Counters of a PostgreSQL target after changes were applied to it.

Rows that come by a log bring their numbers with them, and move no counter: the first row that the
target's own application inserts would repeat one (CASE B56: after a cut-over).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from streams_engine.model import TableSchema
from streams_engine.protocols import Statement
from streams_engine.schema.postgres_ddl import literal, name_of, quote

__all__ = ["past_the_rows"]

GREATEST = 9223372036854775807


def past_the_rows(tables: Iterable[TableSchema]) -> Iterator[Statement]:
    """Each counter that a column owns, moved past the column's greatest value; never back."""
    for table in tables:
        for column in table.columns:
            numbered = column.default is not None and "nextval(" in column.default.sql
            if column.identity is None and not numbered:
                continue
            place = (
                f"pg_catalog.pg_get_serial_sequence({literal(name_of(table.id))},"
                f" {literal(column.name)})"
            )
            top = f"SELECT max({quote(column.name)}) FROM {name_of(table.id)}"
            yield Statement(
                f"SELECT pg_catalog.setval({place}, t.top::pg_catalog.int8) FROM ({top}) AS t(top)"
                # A column may be numeric; a counter never goes further than this.
                f" WHERE t.top <= {GREATEST} AND t.top > COALESCE("
                f"pg_catalog.pg_sequence_last_value({place}::pg_catalog.regclass), 0)",
                f"counter of {table.id}.{column.name}",
                table.id,
                optional=True,
            )
