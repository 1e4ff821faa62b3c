"""The target's sequences and AUTO_INCREMENT columns while a log is followed.

A log holds rows, and no sequence: they are read from the source itself, now and then while the
stream follows and once more at its end, and never set back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from streams_engine.errors import StreamsError
from streams_engine.model import Dialect, Finding, SequenceValue, Severity, TableId
from streams_engine.protocols import SequenceSource, Sink, Statement, StructureSink
from streams_engine.runtime.followed import Followed
from streams_engine.runtime.joining import Origin, told_apart
from streams_engine.schema import mysql_counters, postgres_counters
from streams_engine.schema.from_postgres import target_name
from streams_engine.schema.postgres_counters import TargetSequence
from streams_engine.stats import Counters

__all__ = ["FollowedOrigin", "TargetSequences"]

EVERY_SECONDS = 10.0
"""How far apart the looks at the source's sequences are while the stream follows."""

RESTS = 50
"""A look that takes long is followed by a rest of so many times its length."""

FollowedOrigin = tuple[Origin, Sequence[Followed]]
"""A source, and the tables of it that are followed."""


class TargetSequences:
    """Sets what numbers rows on the target to where the source has it. Safe from any thread."""

    def __init__(self, sink: Sink, counters: Counters) -> None:
        self._sink = sink
        self._counters = counters
        self._lock = threading.Lock()
        self._due = 0.0
        self._known: dict[TargetSequence, None] = {}
        """What was set already, by an earlier look."""

    def advance(self, sources: Sequence[FollowedOrigin]) -> None:
        """Keep a PostgreSQL target's sequences ahead, for a target that takes over at any time.

        (InnoDB moves AUTO_INCREMENT with the rows.) Does nothing where the last look was just now.
        """
        sink = self._sink
        if not isinstance(sink, StructureSink) or sink.dialect is not Dialect.POSTGRES:
            return
        with self._lock:
            begun = time.monotonic()
            if begun < self._due:
                return
            try:
                found = [s for s in self._sequences(sources) if s not in self._known]
                if found:
                    sink.execute([postgres_counters.advance(s) for s in found])
                    self._known |= dict.fromkeys(found)
            finally:
                now = time.monotonic()
                self._due = now + max(EVERY_SECONDS, RESTS * (now - begun))

    def settle(self, sources: Sequence[FollowedOrigin]) -> None:
        """After the last change of a run: the target can number rows of its own."""
        sink = self._sink
        if not isinstance(sink, StructureSink):
            return
        targets = [table.mapping.target.id for _, tables in sources for table in tables]
        with self._lock:
            if sink.dialect is Dialect.POSTGRES:
                found = list(self._sequences(sources, reporting=True))
                self._run(sink, map(postgres_counters.advance, found))
                self._run(sink, postgres_counters.past_the_rows(sink.inspect(targets)))
            elif sink.dialect is Dialect.MYSQL:
                values = [
                    (s.at, s.column) for s in self._sequences(sources) if s.column is not None
                ]
                self._run(sink, mysql_counters.advance(values, sink.inspect(targets)))

    def _run(self, sink: StructureSink, statements: Iterator[Statement]) -> None:
        wanted = list(statements)
        if wanted:
            self._counters.found(sink.execute(wanted))

    def _sequences(
        self, sources: Sequence[FollowedOrigin], *, reporting: bool = False
    ) -> Iterator[TargetSequence]:
        """Where each source's sequences stand, with their names on the target.

        ``reporting``: a source that cannot be asked, and a sequence that may not be read, becomes
        a finding instead of an error.
        """
        for origin, tables in sources:
            source = origin.source
            if not isinstance(source, SequenceSource):
                continue
            try:
                with told_apart(origin.alias):
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
                    what = "This account may not read it."
                    self._counters.found([_unread(str(at.sequence), what)])


def _named(
    origin: Origin,
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
        f"Where the source has its numbers could not be read: {why} On the target they go on "
        "after the rows that are there.",
        "Grant SELECT on the source's sequences, or set the target's by hand before it takes over.",
    )
