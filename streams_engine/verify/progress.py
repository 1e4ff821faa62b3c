"""What a verification found equal so far, kept where one that was interrupted finds it again.

Only what is equal is kept. A range that differs is compared again, which costs little where few do,
so that no key of a row leaves the report, and a repair is never taken for done.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from streams_engine.errors import StreamsError
from streams_engine.faults import reach
from streams_engine.model import EqualRange, TableId, VerificationProgress

__all__ = ["MemoryProgress", "Progress", "ProgressStore", "TableProgress", "digest_of"]

log = logging.getLogger("streams_engine.stream")

SAVE_SECONDS = 2.0
"""A verification that takes less writes nothing."""
KEPT_SECONDS = 86400.0
"""What was found equal longer ago is compared again."""


class ProgressStore(Protocol):
    """Where the progress of one stream's verification is kept."""

    def load(self) -> Sequence[VerificationProgress]:
        """Return what was kept of every table."""
        ...

    def save(self, tables: Sequence[VerificationProgress]) -> None:
        """Keep the progress of some tables, durably."""
        ...

    def forget(self) -> None:
        """Remove all that is kept."""
        ...


@dataclass
class MemoryProgress:
    """Keeps progress as long as it lives."""

    held: dict[TableId, VerificationProgress] = field(default_factory=dict)

    def load(self) -> Sequence[VerificationProgress]:
        """Return what was kept of every table."""
        return list(self.held.values())

    def save(self, tables: Sequence[VerificationProgress]) -> None:
        """Keep the progress of some tables."""
        self.held |= {one.table: one for one in tables}

    def forget(self) -> None:
        """Remove all that is kept."""
        self.held.clear()


def digest_of(*what: object) -> str:
    """Return a digest of what is compared, and how."""
    return hashlib.blake2b(repr(what).encode(), digest_size=16).hexdigest()


@dataclass
class Progress:
    """The progress of one verification, over all its tables. Thread-safe.

    A store that cannot be written to harms no comparison: that is logged once, and nothing is kept.
    """

    store: ProgressStore | None = None
    seconds: float = field(default_factory=lambda: SAVE_SECONDS)
    now: Callable[[], float] = time.time
    _known: dict[TableId, VerificationProgress] = field(default_factory=dict)
    _changed: dict[TableId, VerificationProgress] = field(default_factory=dict)
    _saved_at: float = field(default_factory=time.monotonic)
    _kept: bool = False
    """Something lies in the store."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, *, resume: bool) -> None:
        """Read what was kept of an interrupted verification; without ``resume`` remove it."""
        if self.store is None:
            return
        try:
            known = self.store.load()
            self._kept = bool(known)
            if not resume:
                self.end()
                return
        except StreamsError as error:
            self._give_up(error)
            return
        self._known = {one.table: one for one in known}

    def table(self, table: TableId, comparison: str) -> TableProgress:
        """Return the progress of a table: what is kept of it, if it is of this very comparison."""
        known = self._known.get(table)
        now = self.now()
        if known is None or known.comparison != comparison or now - known.begun > KEPT_SECONDS:
            known = VerificationProgress(table, comparison, now)
        return TableProgress(self, known)

    def note(self, table: VerificationProgress) -> None:
        """Keep the progress of a table, at the latest with the next that comes in time."""
        with self._lock:
            self._changed[table.table] = table
            if time.monotonic() - self._saved_at >= self.seconds:
                self._save()
        reach("verify: progress noted")

    def flush(self) -> None:
        """Keep all that is known: the verification ends before its end."""
        with self._lock:
            self._save()

    def end(self) -> None:
        """Remove what was kept: all is compared."""
        with self._lock:
            if self.store is None or not self._kept:
                return
            self._kept = False
            try:
                self.store.forget()
            except StreamsError as error:
                self._give_up(error)

    def _save(self) -> None:
        if self.store is None or not self._changed:
            return
        try:
            self.store.save(tuple(self._changed.values()))
        except StreamsError as error:
            self._give_up(error)
            return
        self._kept = True
        self._changed = {}
        self._saved_at = time.monotonic()

    def _give_up(self, error: StreamsError) -> None:
        self.store = None
        log.warning(
            "The progress of the verification cannot be kept (%s):"
            " if it is interrupted, it begins anew.",
            error.code,
        )


@dataclass
class TableProgress:
    """The progress of one table. Thread-safe."""

    whole: Progress
    known: VerificationProgress
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def gaps(self, low: int, high: int) -> list[tuple[int, int]]:
        """Return the parts of ``low`` <= key < ``high`` of which it is not known that they are
        equal."""
        found = []
        for one in self.known.equal:
            if low < min(one.low, high):
                found.append((low, min(one.low, high)))
            low = max(low, one.high)
        return [*found, (low, high)] if low < high else found

    @property
    def rows(self) -> int:
        """The rows of the ranges that are known to be equal."""
        return sum(one.rows for one in self.known.equal)

    def found_equal(self, low: int, high: int, rows: int) -> None:
        """Note a range that is equal."""
        with self._lock:
            ranges = _merged([*self.known.equal, EqualRange(low, high, rows)])
            self.known = replace(self.known, equal=ranges)
            self.whole.note(self.known)

    def compares_by_value(self, columns: Sequence[str]) -> None:
        """Note columns that no digest is made of."""
        with self._lock:
            names = dict.fromkeys((*self.known.by_value, *columns))
            self.known = replace(self.known, by_value=tuple(names))
            self.whole.note(self.known)

    def repaired(self, rows: int) -> None:
        """Count rows that were written again."""
        with self._lock:
            self.known = replace(self.known, repaired=self.known.repaired + rows)
            self.whole.note(self.known)

    def done(self, rows: int, notes: Sequence[str]) -> None:
        """Note that all of the table is equal."""
        with self._lock:
            self.known = replace(self.known, equal=(), rows=rows, notes=tuple(notes))
            self.whole.note(self.known)


def _merged(ranges: Sequence[EqualRange]) -> tuple[EqualRange, ...]:
    """Return the ranges in order, those that touch as one."""
    merged: list[EqualRange] = []
    for one in sorted(ranges, key=lambda one: one.low):
        if merged and merged[-1].high == one.low:
            last = merged.pop()
            one = EqualRange(last.low, one.high, last.rows + one.rows)
        merged.append(one)
    return tuple(merged)
