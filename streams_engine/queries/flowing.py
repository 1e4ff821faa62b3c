"""What was gathered of the sources flows through DuckDB: the result's schema, and its batches."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from streams_engine.errors import QueryFailed
from streams_engine.queries.gathering import Gathered
from streams_engine.queries.joining import Joining
from streams_engine.queries.planning import Plan
from streams_engine.queries.stopping import Stopping

__all__ = ["flow", "result_schema"]


def flow(
    plan: Plan, gathered: Gathered, joining: Joining, stopping: Stopping
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Run the statement over what was gathered. Its batches come as they are read.

    Raises `QueryFailed`, and where a source failed its error, not what DuckDB makes of it.
    """
    try:
        for view, rows in gathered.rows.items():
            joining.give(view, rows, again=view in plan.again)
        reader = joining.run(plan.sql)
    except QueryFailed as error:
        raise stopping.reason or gathered.error or error from None
    stopping.demand()

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            with joining.failing():
                yield from reader
        except QueryFailed as error:
            raise stopping.reason or gathered.error or error from None

    return _named(plan, reader.schema), batches()


def result_schema(plan: Plan, schemas: dict[str, pa.Schema], joining: Joining) -> pa.Schema:
    """The schema that the result will have, by what DuckDB makes of tables without rows.

    ``schemas``: those of the sources, by view. Raises `QueryFailed`.
    """
    for view, schema in schemas.items():
        joining.give(view, schema.empty_table(), again=False)
    return _named(plan, joining.run(plan.sql).schema)


def _named(plan: Plan, schema: pa.Schema) -> pa.Schema:
    """The columns' names as the user wrote them."""
    return pa.schema(
        [field.with_name(name) for field, name in zip(schema, plan.names, strict=True)]
    )
