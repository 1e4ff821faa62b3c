"""The target's sequences and AUTO_INCREMENT columns while a log is followed.

A log contains rows but no sequences: their values are read from the source, now and then while the
log is followed and once more at its end, and are never set back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from streams_engine.contracts import SequenceSource, Sink, Statement, StructureSink
from streams_engine.errors import StreamsError
from streams_engine.model import (
    Finding,
    SequenceValue,
    Severity,
    TableId,
)
from streams_engine.pipeline.changes.table_replication import TableReplication
from streams_engine.pipeline.multi_source import SourceSpec, error_context
from streams_engine.schema.ddl.postgres_sequences import TargetSequence
from streams_engine.schema.dialects import spec_of
from streams_engine.schema.mapping.postgres_to_postgres import target_name
from streams_engine.stats import Counters

__all__ = ["FollowedOrigin", "TargetSequences"]

EVERY_SECONDS = 10.0
"""How far apart the looks at the source's sequences are while the stream follows."""

RESTS = 50
"""A look that takes long is followed by a rest of so many times its length."""

FollowedOrigin = tuple[SourceSpec, Sequence[TableReplication]]
"""A source, and the tables of it that are followed."""


class TargetSequences:
    """Sets the target's sequences to the source's values. Safe from any thread."""

    def __init__(self, sink: Sink, counters: Counters) -> None:
        self._sink = sink
        self._ddl = None if sink.dialect is None else spec_of(sink.dialect).sequences
        self._counters = counters
        self._lock = threading.Lock()
        self._due = 0.0
        self._known: dict[TargetSequence, None] = {}
        """What was set already, by an earlier look."""

    def advance(self, sources: Sequence[FollowedOrigin]) -> None:
        """Keep a PostgreSQL target's sequences ahead, so that the target can take over at any time.

        (InnoDB advances AUTO_INCREMENT with the rows.) Does nothing if the last call was just now.
        """
        sink, ddl = self._sink, self._ddl
        if not isinstance(sink, StructureSink) or ddl is None or not ddl.standalone:
            return
        with self._lock:
            begun = time.monotonic()
            if begun < self._due:
                return
            try:
                moved = [s for s in self._sequences(sources) if s not in self._known]
                if moved:
                    sink.execute(list(ddl.advance(moved)))
                    self._known |= dict.fromkeys(moved)
            finally:
                now = time.monotonic()
                self._due = now + max(EVERY_SECONDS, RESTS * (now - begun))

    def finish(self, sources: Sequence[FollowedOrigin]) -> None:
        """Set the target's sequences after the last change of a run, so that applications can
        insert rows."""
        sink, ddl = self._sink, self._ddl
        if not isinstance(sink, StructureSink) or ddl is None:
            return
        targets = [table.mapping.target.id for _, tables in sources for table in tables]
        with self._lock:
            values = list(self._sequences(sources, reporting=ddl.standalone))
            self._run(sink, ddl.advance(values, None if ddl.standalone else sink.inspect(targets)))
            if ddl.standalone:
                self._run(sink, ddl.past_the_rows(sink.inspect(targets)))

    def _run(self, sink: StructureSink, statements: Iterator[Statement]) -> None:
        wanted = list(statements)
        if wanted:
            self._counters.found(sink.execute(wanted))

    def _sequences(
        self, sources: Sequence[FollowedOrigin], *, reporting: bool = False
    ) -> Iterator[TargetSequence]:
        """Yield the values of each source's sequences, with their names on the target.

        ``reporting``: a source or sequence that cannot be read becomes a finding instead of an
        error.
        """
        for origin, tables in sources:
            source = origin.source
            if not isinstance(source, SequenceSource):
                continue
            try:
                with error_context(origin.alias):
                    values = source.sequence_values([table.tracked.schema for table in tables])
            except StreamsError as error:
                if not reporting:
                    raise
                self._counters.found([_unread(origin.alias or "source", error.message)])
                continue
            targets = {
                (replace(table.mapping.source.id, alias=""), column.source.name): (
                    table.mapping.target.id,
                    column.target.name,
                )
                for table in tables
                for column in table.mapping.columns
            }
            for at in values:
                if at.value is not None:
                    yield _named(origin, at, targets)
                elif reporting:
                    what = "The account lacks the privilege to read it."
                    self._counters.found([_unread(str(at.sequence), what)])


def _named(
    origin: SourceSpec,
    at: SequenceValue,
    targets: dict[tuple[TableId, str], tuple[TableId, str]],
) -> TargetSequence:
    column = targets.get(at.column) if at.column is not None else None
    name = at.sequence and target_name(origin.mapping, at.sequence)
    return TargetSequence(at, name, column)


def _unread(what: str, why: str) -> Finding:
    return Finding(
        Severity.WARNING,
        "sequence-unread",
        what,
        f"The source's sequence values could not be read: {why} The target's sequences continue "
        "after the highest values in its rows.",
        "Grant SELECT on the source's sequences, or set the target's by hand before applications "
        "insert rows there.",
    )
