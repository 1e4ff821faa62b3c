"""Runs of the pipeline between two databases in memory, in the test's own thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pyarrow as pa

from streams_engine import faults
from streams_engine.adapters.memory import MemoryDatabase, MemorySink, MemorySource
from streams_engine.adapters.memory.source import MemoryReader
from streams_engine.assembly import Assembly
from streams_engine.config.stream import from_urls
from streams_engine.lifecycle import State
from streams_engine.model import ChangeSet, Position, TableSubscription
from streams_engine.pipeline.control import Control
from streams_engine.stats import Counters

__all__ = ["Cut", "MemoryRun", "ends", "filled"]

SHOP = pa.schema([("id", pa.int64()), ("who", pa.string()), ("price", pa.float64())])
VISITS = pa.schema([("at", pa.int64()), ("page", pa.string())])


class Cut(BaseException):
    """A run ends here, as by a kill: nothing but memory's committed state stays."""


class EndingSource(MemorySource):
    """A source whose log ends: once all of it was given, the run is asked to stop."""

    def __init__(self, database: MemoryDatabase, control: Control) -> None:
        super().__init__(database)
        self.control = control
        self.at_end: Callable[[], None] = control.request_stop

    @contextmanager
    def changes(
        self, tracked: Sequence[TableSubscription], after: Position
    ) -> Iterator[MemoryReader]:
        with super().changes(tracked, after) as reader:
            poll = reader.poll

            def polled(timeout: float, rows: int | None = None) -> ChangeSet | None:
                found: ChangeSet | None = poll(0, rows)
                if found is None:
                    self.at_end()
                return found

            reader.poll = polled  # type: ignore[method-assign]
            yield reader


class MemoryRun:
    """One stream between two databases, run again and again; each run is a new process's."""

    def __init__(self, **options: Any) -> None:
        self.source = MemoryDatabase("source")
        self.target = MemoryDatabase("target")
        self.options: dict[str, Any] = {"name": "s", "parallelism": 1, "data_bundle_size": 10}
        self.options |= options
        self.counters = Counters()
        self.control = Control()
        self.reached: list[str] = []

    def run(self, mode: str = "cdc", *, cut: Callable[[str], bool] | None = None) -> State:
        """Run to the end of the log (of the copy). ``cut`` says at a point whether to end there.

        Raises `Cut` there, and what the run fails of.
        """
        self.control, self.counters = Control(), Counters()
        source = EndingSource(self.source, self.control)
        options = {key: value for key, value in self.options.items() if key != "limit"}
        config = from_urls(source, MemorySink(self.target), mode=mode, tables=None, options=options)
        parts = Assembly(config, {})
        limit = self.options.get("limit", 0)
        if limit and mode == "convert":
            self.control.limit_rows(limit)

        def reach(point: str) -> None:
            self.reached.append(point)
            if cut is not None and cut(point):
                raise Cut(point)

        faults.install(reach)
        try:
            with parts.opened() as (sources, sink):
                context = parts.context(sources, sink, self.control, self.counters)
                context = replace(context, job=replace(context.job, chunk_rows=5, bundle=2))
                make = parts.cdc if mode == "cdc" else parts.convert
                pipeline: Any = make(context)
                self.control.move(State.RUNNING)
                pipeline.run(fresh=False)
        finally:
            faults.install(None)
        return self.control.end_state()

    def equal(self) -> bool:
        """True where each table of the source has the same rows on the target."""
        return self.differences() == []

    def differences(self) -> list[str]:
        """The tables that differ, in structure or in rows."""
        found = []
        for name in self.source.tables.keys() | self.target.tables.keys():
            one, two = self.source.tables.get(name), self.target.tables.get(name)
            if one is None or two is None:
                found.append(f"{name} is on one side alone")
                continue
            columns = [one.names, two.names]
            rows = [
                sorted(map(repr, self.source.rows(name.name))),
                sorted(map(repr, self.target.rows(name.name))),
            ]
            if columns[0] != columns[1] or rows[0] != rows[1]:
                found.append(f"{name}: {columns}, {len(rows[0])} rows and {len(rows[1])}")
        return found


def filled(run: MemoryRun, rows: int = 12) -> MemoryRun:
    """The run with a keyed and a keyless table on its source."""
    run.source.create_table("orders", SHOP, ("id",))
    run.source.create_table("visits", VISITS)
    run.source.insert(
        "orders", *({"id": n, "who": f"name {n}", "price": n / 8} for n in range(rows))
    )
    run.source.insert("visits", *({"at": n // 2, "page": "/"} for n in range(rows)))
    return run


def ends(run: MemoryRun, **options: Any) -> tuple[MemorySource, MemorySink, dict[str, Any]]:
    """The arguments of a `Stream` between the two databases."""
    return MemorySource(run.source), MemorySink(run.target), {**run.options, **options}
