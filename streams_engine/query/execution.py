"""Run what was fetched through DuckDB: over Arrow streams, shut off from everything else."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from streams_engine.errors import ConfigError, QueryFailed, StreamsError
from streams_engine.query.cancellation import Cancellation
from streams_engine.query.gather import GatheredInputs
from streams_engine.query.plan import QueryPlan

__all__ = [
    "DuckdbExecution",
    "flow",
    "result_schema",
]


BATCH_ROWS = 16_384
MEMORY = "128MB"
"""What DuckDB holds before it writes to its folder; Arrow's blocks come on top."""
MOST_THREADS = 4

SETTINGS: Mapping[str, str] = {
    "TimeZone": "'UTC'",
    # As PostgreSQL has it.
    "integer_division": "true",
    "default_null_order": "'nulls_last_on_asc_first_on_desc'",
    "preserve_insertion_order": "false",
}
CLOSED: Mapping[str, str] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "python_enable_replacements": "false",
    "enable_external_access": "false",
}
"""What keeps it in: these are locked, the last of all settings."""

SAID = {"Binder Error", "Catalog Error", "Parser Error", "Not implemented Error",
        "Syntax Error"}  # fmt: skip
"""Kinds of errors whose first line is about names and types, never about a value."""

SENTENCES: Mapping[str, str] = {
    "Conversion Error": "a value cannot be converted to the type of the cast",
    "Out of Range Error": "a number is out of its type's range",
    "Invalid Input Error": "a function does not accept its argument",
    "Out of Memory Error": "the statement needs more memory than it may use",
    "IO Error": "the folder for spilled data is full, or not accessible",
    "Interrupt Error": "it was interrupted",
}


class DuckdbExecution:
    """One DuckDB of its own, in memory. `interrupt` may be called from any thread."""

    def __init__(self, memory: str = MEMORY) -> None:
        """Open DuckDB in memory. Raises `ConfigError` if it is not installed."""
        try:
            import duckdb
        except ImportError:
            raise ConfigError(
                "A query over several sources, or over files, needs DuckDB.",
                remedy="pip install 'streams-engine[query]'",
            ) from None
        self._error: type[Exception] = duckdb.Error
        self._folder = tempfile.TemporaryDirectory(
            prefix="streams_engine_", ignore_cleanup_errors=True
        )
        self._reader: pa.RecordBatchReader | None = None
        threads = min(MOST_THREADS, os.cpu_count() or 1)
        folder = self._folder.name.replace("'", "''")
        settings = {
            "memory_limit": f"'{memory}'",
            "threads": str(threads),
            "temp_directory": f"'{folder}'",
            **SETTINGS,
            **CLOSED,
        }
        self._db: Any = duckdb.connect(":memory:")
        self._db.execute("; ".join(f"SET {name} = {value}" for name, value in settings.items()))
        [(shown,)] = self._db.execute("SELECT current_setting('enable_progress_bar')").fetchall()
        if shown:  # in a notebook without ipywidgets it is off, and may not be turned off
            self._db.execute("SET enable_progress_bar = false")

    def give(self, view: str, rows: pa.Table | pa.RecordBatchReader, *, again: bool) -> None:
        """Let the statement have rows under a name; ``again``: it reads them more than once."""
        with self.failing():
            if again and isinstance(rows, pa.RecordBatchReader):
                self._db.register(f"{view}_rows", rows)
                self._db.execute(f"CREATE TEMP TABLE {view} AS SELECT * FROM {view}_rows")
                self._db.unregister(f"{view}_rows")
            else:
                self._db.register(view, rows)

    def run(self, sql: str) -> pa.RecordBatchReader:
        """Lock every setting, and run. Raises `QueryFailed`."""
        with self.failing():
            self._db.execute("SET lock_configuration = true")
            self._reader = self._db.sql(sql).to_arrow_reader(BATCH_ROWS)
            return self._reader

    @contextlib.contextmanager
    def failing(self) -> Iterator[None]:
        """Translate DuckDB's errors inside the block to ours, without messages that may contain
        values."""
        try:
            yield
        except StreamsError:
            raise
        except (self._error, pa.ArrowException, OSError) as error:
            raise failed(error) from None

    def interrupt(self) -> None:
        """End what runs."""
        db = self._db
        if db is not None:
            db.interrupt()

    def close(self) -> None:
        """Let everything go. Idempotent."""
        if self._reader is not None:
            with contextlib.suppress(Exception):
                self._reader.close()
            self._reader = None
        db, self._db = self._db, None
        if db is not None:
            with contextlib.suppress(self._error):
                db.close()
        self._folder.cleanup()


def failed(error: BaseException) -> QueryFailed:
    """Translate an error of DuckDB to one of ours."""
    line = str(error).strip().split("\n")[0]
    match = re.match(r"(?:.*?: )?([A-Z][A-Za-z ]+ Error): ?(.*)", line)
    kind, text = (match[1], match[2]) if match else ("", "")
    if kind in SAID:
        return QueryFailed(f"The statement over several sources: {text.rstrip('.!')}.", kind=kind)
    sentence = SENTENCES.get(kind, "DuckDB reported an error")
    return QueryFailed(f"The statement over several sources: {sentence}.", kind=kind or None)


def flow(
    plan: QueryPlan, inputs: GatheredInputs, joining: DuckdbExecution, stopping: Cancellation
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Run the statement over what was gathered. Its batches come as they are read.

    Raises `QueryFailed`, and where a source failed its error, not what DuckDB makes of it.
    """
    try:
        for view, rows in inputs.rows.items():
            joining.give(view, rows, again=view in plan.again)
        reader = joining.run(plan.sql)
    except QueryFailed as error:
        raise stopping.reason or inputs.error or error from None
    stopping.demand()

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            with joining.failing():
                yield from reader
        except QueryFailed as error:
            raise stopping.reason or inputs.error or error from None

    return _named(plan, reader.schema), batches()


def result_schema(
    plan: QueryPlan, schemas: dict[str, pa.Schema], joining: DuckdbExecution
) -> pa.Schema:
    """Return the schema of the result, by running the statement over empty tables.

    ``schemas`` are those of the sources, by view. Raises `QueryFailed`.
    """
    for view, schema in schemas.items():
        joining.give(view, schema.empty_table(), again=False)
    return _named(plan, joining.run(plan.sql).schema)


def _named(plan: QueryPlan, schema: pa.Schema) -> pa.Schema:
    """Rename the columns to the names that the user wrote."""
    return pa.schema(
        [field.with_name(name) for field, name in zip(schema, plan.names, strict=True)]
    )
