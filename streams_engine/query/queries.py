"""`Queries`: a statement run natively on its one source, or joined over several."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import pyarrow as pa

from streams_engine.errors import ConfigError, StreamsError
from streams_engine.model import Filter, Sort
from streams_engine.query.cancellation import Cancellation
from streams_engine.query.connections import QueryConnections
from streams_engine.query.execution import DuckdbExecution, flow
from streams_engine.query.explain import asked_of, explained, native_explained
from streams_engine.query.gather import GatheredInputs
from streams_engine.query.narrowed import counted, narrowed
from streams_engine.query.native import native_rows, native_text
from streams_engine.query.plan import planned
from streams_engine.query.result import QueryResult
from streams_engine.query.snapshot_pool import SnapshotPool
from streams_engine.query.statement import ParsedStatement, read_statement
from streams_engine.query.tables import described

__all__ = ["Queries"]


class Queries:
    """Statements over the sources of `Places`. Thread-safe; each query has its own connections."""

    def __init__(self, places: QueryConnections) -> None:
        self._places = places

    def query(
        self,
        sql: str,
        *,
        limit: int | None = None,
        offset: int = 0,
        timeout: float | None = None,
        filters: Sequence[Filter] = (),
        sorts: Sequence[Sort] = (),
    ) -> QueryResult:
        """Run one SELECT; its rows come as they are read.

        ``filters`` and ``sorts`` are those of its result. ``limit``: so many rows at most, after
        the first ``offset``; ``timeout``: seconds, from now until the last row is read. Raises
        `QueryRefused`, `QueryTimeout`, and what reading a source raises.
        """
        _check("limit", limit, 0)
        _check("offset", offset, 0)
        _check("timeout", timeout, None)
        sql = narrowed(sql, self._places, filters, sorts)
        result = self._begun(sql, None if limit is None else limit + offset, timeout)
        result.cut(limit, offset, partial(self._count, sql, timeout))
        return result

    def _count(self, sql: str, timeout: float | None) -> int:
        """Return how many rows a statement gives."""
        with self._begun(counted(sql, self._places), None, timeout) as result:
            return int(result.table().column(0)[0].as_py())

    def _begun(self, sql: str, limit: int | None, timeout: float | None) -> QueryResult:
        statement = read_statement(sql, self._places)
        stopping = Cancellation(timeout)
        begun = time.monotonic()
        with ExitStack() as stack:
            stack.callback(stopping.close)
            try:
                if statement.native is not None:
                    return self._native(statement, limit, stopping, stack, begun)
                return self._joined(statement, limit, stopping, stack, begun)
            except StreamsError as error:
                raise stopping.reason or error from None

    def explain(self, sql: str, *, limit: int | None = None) -> dict[str, Any]:
        """Explain what each source would be asked: ``{statement, sources, findings}``. Asks the
        sources for their catalogs alone. Raises `QueryRefused`, `NotFound`, and what connecting
        raises."""
        _check("limit", limit, 0)
        statement = read_statement(sql, self._places)
        if statement.native is not None:
            return native_explained(statement, limit)
        return explained(planned(statement, partial(described, self._places), _most(limit)))

    def _native(
        self,
        statement: ParsedStatement,
        limit: int | None,
        stopping: Cancellation,
        stack: ExitStack,
        begun: float,
    ) -> QueryResult:
        rows = stack.enter_context(native_rows(statement, self._places, limit, stopping))
        read = _Counted(rows.batches)
        text = native_text(statement, limit)

        def asked() -> list[dict[str, Any]]:
            return [{"source": None, "connection": statement.native, "sql": text,
                     "rows": read.rows}]  # fmt: skip

        close = stack.pop_all().close
        return QueryResult(rows.schema, read.read(), stopping, close, asked, begun)

    def _joined(
        self,
        statement: ParsedStatement,
        limit: int | None,
        stopping: Cancellation,
        stack: ExitStack,
        begun: float,
    ) -> QueryResult:
        views = SnapshotPool(self._places, stopping)
        stack.callback(views.close)
        begin = views.submit(DuckdbExecution)
        stack.callback(lambda: begin.exception() or begin.result().close())
        views.open([named for _, named in statement.tables])
        plan = planned(statement, views.tables, _most(limit))
        inputs = GatheredInputs(plan, views.take(plan.asks), stopping)
        stack.callback(inputs.close)
        joining: DuckdbExecution = begin.result()
        stack.callback(joining.close)
        stopping.add(joining.interrupt)
        inputs.open()
        schema, batches = flow(plan, inputs, joining, stopping)
        stack.callback(joining.interrupt)
        close = stack.pop_all().close
        return QueryResult(
            schema,
            batches,
            stopping,
            close,
            partial(asked_of, plan, inputs),
            begun,
            findings=plan.findings,
        )


class _Counted:
    """Batches on their way, counted."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self.rows = 0
        self._batches = batches

    def read(self) -> Iterator[pa.RecordBatch]:
        for batch in self._batches:
            self.rows += batch.num_rows
            yield batch


def _most(limit: int | None) -> int | None:
    """Return one row more than the limit, to see whether there are more; None for no limit."""
    return None if limit is None else limit + 1


def _check(name: str, value: float | None, least: int | None) -> None:
    if value is not None and (value < least if least is not None else value <= 0):
        expected = "more than 0" if least is None else f"at least {least}"
        raise ConfigError(f"$.{name}: expected {expected}.", path=f"$.{name}")
