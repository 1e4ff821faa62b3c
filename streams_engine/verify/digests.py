"""Compare two ends by digests that their servers sum up: only rows that may differ are fetched.

Rows are split into ranges of a key of whole numbers, else into buckets of their digests. A range
whose sums differ is split until few rows are left, and those are compared by their values: a digest
may differ although the values are equal, never the reverse.
"""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import cast

from streams_engine.errors import require
from streams_engine.schema.types.canonical import BucketFilter, CanonicalRead, KeyRange
from streams_engine.schema.types.row_digests import BUCKETS, Digested, RangedDigests, RowDigests
from streams_engine.verify.blocks import are_equal, can_compare_blocks
from streams_engine.verify.progress import TableProgress
from streams_engine.verify.rows import End, Row, RowTally, Signed, both, grouped, signed

__all__ = ["MAX_READS", "STABLE_READS", "CatchUp", "DigestComparison", "DigestPlan", "plan_for"]

RANGE_ROWS = 25_000
"""Of a range that one statement sums up: a part of it (PARTS) has few enough to be fetched."""
LEAF_ROWS = 2000
"""So many rows are compared by their values rather than split."""
PARTS = 16
"""That a range is split into."""
MAX_READS = 50
"""Reads of rows that change, after which nothing is known of them."""
STABLE_READS = 5
"""After so many reads at which a row was the same on both ends, and not equal, it differs."""
SAMPLES = 500
"""Reads of the source while the target catches up, at most."""
SAMPLE_SECONDS = 0.002
"""Between two of them."""
MOST_LEAVES = 20
"""Leaves without any row that differs, after which the columns whose texts differ are compared by
their values alone."""
MOST_BUCKETS = BUCKETS // 4
"""Of more differing buckets the whole tables are compared by their rows."""
SUM_BYTES = 64
"""About what an answer with one sum takes."""

CatchUp = Callable[[], bool]
"""Waits until the target has all that the source had at the call; False: no longer."""


@dataclass(frozen=True, slots=True)
class DigestPlan:
    """How a pair of tables is compared by digests."""

    kind: str
    places: tuple[int, ...]
    """The columns that the digest is made of."""
    range_key: tuple[str, str] | None
    """The columns of both ends that ranges are split by; None: buckets."""
    block_key: tuple[str, str] | None = None
    """The columns of both ends that are the whole key, by which files may be sorted."""

    def without(self, places: frozenset[int]) -> DigestPlan:
        """Return the plan with a digest of fewer columns."""
        return replace(self, places=tuple(p for p in self.places if p not in places))


def plan_for(ends: tuple[End, End], range_key: str | None) -> DigestPlan | None:
    """Return how two ends are compared by digests; None if they cannot be.

    Without a key every column must have a digest: it is all that holds the values of a row
    together.
    """
    one, two = (end.canonical for end in ends)
    if not isinstance(one, RowDigests) or not isinstance(two, RowDigests):
        return None
    kind = next((kind for kind in two.digests if kind in one.digests), None)
    pairs = list(zip(ends[0].read.columns, ends[1].read.columns, strict=True))
    places = tuple(
        i for i, (left, right) in enumerate(pairs) if one.can_digest(left) and two.can_digest(right)
    )
    if kind is None or not places or (len(places) < len(pairs) and not ends[0].key):
        return None
    names = {left.name: right.name for left, right in pairs}
    ranged = isinstance(one, RangedDigests) and isinstance(two, RangedDigests)
    by = (range_key, names[range_key]) if ranged and range_key in names and range_key else None
    whole = [pairs[place][0].name for place in ends[0].key] == [range_key]
    sorted_by = (range_key, names[range_key]) if range_key and whole else None
    return DigestPlan(kind, places, by, sorted_by if can_compare_blocks(ends) else None)


class TextsDifferError(Exception):
    """Signal that columns must be compared by their values: their texts differ nearly always."""

    def __init__(self, places: frozenset[int]) -> None:
        super().__init__(places)
        self.places = places


@dataclass(slots=True)
class DigestComparison:
    """Compares one pair of tables. For one thread, beside those of the executor."""

    ends: tuple[End, End]
    plan: DigestPlan
    tally: RowTally
    pool: Executor
    chosen: Callable[[int], bool] | None = None
    """Which ranges (buckets) are compared, by number: a sample. None: all."""
    catch_up: CatchUp | None = None
    """Not None: rows change meanwhile."""
    rows: list[int] = field(default_factory=lambda: [0, 0])
    only: tuple[KeyRange, ...] | None = None
    """The ranges to compare; None: all."""
    progress: TableProgress | None = None
    """What is known to be equal, and left out; None: nothing is, and nothing is noted."""
    leaves: list[KeyRange] = field(default_factory=list)
    """The ranges whose rows were compared by their values."""
    unsettled: int = 0
    """Keys of which nothing is known: their rows changed at each read, or the target did not catch
    up."""
    caught_up: bool = True
    """The target caught up at each read."""
    _false_mismatches: int = 0
    """Leaves whose digests differed, and no row."""

    def run(self) -> tuple[int, int]:
        """Compare all rows. Return the rows of both ends. Raises `TextsDifferError`."""
        if self.plan.range_key is None:
            self._by_buckets()
        else:
            self._by_ranges()
        return self.rows[0], self.rows[1]

    # Ranges

    def _by_ranges(self) -> None:
        ranges: queue.SimpleQueue[tuple[int, KeyRange] | None] = queue.SimpleQueue()
        pairs = _Pairs(self.progress)
        if self.progress is not None:
            self.rows = [self.progress.rows] * 2

        def source(end: End, halt: threading.Event) -> None:
            rows = self.rows[0]
            try:
                for number, one in enumerate(self._ranges(end)):
                    if halt.is_set():
                        break
                    if self.chosen is None or self.chosen(number):
                        ranges.put((number, one))
                        digested = self._digest(end, one)
                        pairs.add(number, one, 0, digested)
                        rows += digested.rows
                        end.tell(rows)
            finally:
                ranges.put(None)

        def target(end: End, halt: threading.Event) -> None:
            while (given := ranges.get()) is not None and not halt.is_set():
                number, one = given
                pairs.add(number, one, 1, self._digest(end, one))

        def side(end: End, halt: threading.Event) -> None:
            (source if end is self.ends[0] else target)(end, halt)

        both(self.pool, self.ends, side)
        self.rows = [here + there for here, there in zip(self.rows, pairs.rows, strict=True)]
        for one, left, right in pairs.mismatched():
            before = self.tally.differing, self.unsettled
            self._narrow(one, left, right)
            if before == (self.tally.differing, self.unsettled):
                _note_equal(self.progress, one, left.rows)

    def _ranges(self, end: End) -> Iterator[KeyRange]:
        """Yield ranges that hold all keys of both ends, of about RANGE_ROWS rows of the source."""
        columns = require(self.plan.range_key, "the columns that ranges are split by")
        if self.only is not None:
            yield from self.only
            return
        bounds = [
            _ranged(end).key_bounds(end.read, column)
            for end, column in zip(self.ends, columns, strict=True)
        ]
        there = [bound for bound in bounds if bound is not None]
        if not there:
            return
        low, last = min(a for a, _ in there), max(b for _, b in there) + 1
        column = columns[0]
        gaps = [(low, last)] if self.progress is None else self.progress.gaps(low, last)
        for low, last in gaps:
            while low < last:
                part = replace(end.read, part=KeyRange(column, low))
                edge = _ranged(end).key_after(part, column, RANGE_ROWS)
                high = last if edge is None else min(max(edge, low + 1), last)
                yield KeyRange(column, low, high)
                low = high

    def _digest(self, end: End, one: KeyRange) -> Digested:
        end.bytes_read += SUM_BYTES
        with self._own_view(end):
            return _digesting(end).digest(self._digested(end, one), self.plan.kind)

    @contextmanager
    def _own_view(self, end: End) -> Iterator[None]:
        """Give what is read of a live end a view of its own, which ends with it: a transaction that
        stays open holds locks, and DDL of the stream on its target would wait for them."""
        if self.catch_up is None:
            yield
            return
        _digesting(end).renew()
        yield
        _digesting(end).renew()

    def _digested(self, end: End, one: KeyRange | None = None) -> CanonicalRead:
        """Return the read of the columns that the digest is made of."""
        columns = tuple(end.read.columns[place] for place in self.plan.places)
        return replace(end.read, columns=columns, part=self._at(end, one) if one else None)

    def _at(self, end: End, one: KeyRange) -> KeyRange:
        """Return the range by the name that the key has on an end."""
        columns = require(self.plan.range_key, "the columns that ranges are split by")
        return replace(one, column=columns[end is self.ends[1]])

    def _narrow(self, one: KeyRange, left: Digested, right: Digested) -> None:
        """Split a range that differs, until few rows are left."""
        few = max(left.rows, right.rows) <= LEAF_ROWS or one.single
        if few or not left.whole or not right.whole:
            self.leaves.append(one)
            self._compare([end.part(self._at(end, one)) for end in self.ends])
            return
        parts = one.split(PARTS)

        def side(end: End, halt: threading.Event) -> list[Digested]:
            return [self._digest(end, part) for part in parts if not halt.is_set()]

        for part, a, b in zip(parts, *both(self.pool, self.ends, side), strict=True):
            if not _same(a, b):
                self._narrow(part, a, b)

    # Buckets

    def _by_buckets(self) -> None:
        if self.chosen is None and self.catch_up is None:
            equal = self._equal_in_blocks()
            if equal or (equal is None and self._equal_as_a_whole()):
                return

        def side(end: End, _: threading.Event) -> Mapping[int, Digested]:
            end.bytes_read += BUCKETS * SUM_BYTES
            return _digesting(end).buckets(self._digested(end), self.plan.kind)

        nothing = Digested(0, 0)
        left, right = both(self.pool, self.ends, side)
        self.rows = [sum(one.rows for one in found.values()) for found in (left, right)]
        self.ends[0].tell(self.rows[0])
        mismatched = [
            bucket
            for bucket in sorted({*left, *right})
            if (self.chosen is None or self.chosen(bucket))
            and not _same(left.get(bucket, nothing), right.get(bucket, nothing))
        ]
        whole = all(one.whole for found in (left, right) for one in found.values())
        if not whole:
            raise TextsDifferError(frozenset(self.plan.places))
        if len(mismatched) > MOST_BUCKETS:
            raise TextsDifferError(
                self._mismatched_columns(self.ends) or frozenset(self.plan.places)
            )
        held = {b: left.get(b, nothing).rows + right.get(b, nothing).rows for b in mismatched}
        for group in grouped(held):
            filters = [
                BucketFilter(self.plan.kind, self._digested(end).columns, tuple(group))
                for end in self.ends
            ]
            self._compare([e.part(f) for e, f in zip(self.ends, filters, strict=True)])

    def _equal_in_blocks(self) -> bool | None:
        """Compare files that are sorted by their key; None: they are not."""
        key = self.plan.block_key
        if key is None:
            return None
        equal, rows = are_equal(self.pool, self.ends, key, self._digested)
        self.rows = [rows, rows]
        return equal

    def _equal_as_a_whole(self) -> bool:
        """Compare one sum of each end: half of what sums by bucket cost a server."""

        def side(end: End, _: threading.Event) -> Digested:
            end.bytes_read += SUM_BYTES
            return _digesting(end).digest(self._digested(end), self.plan.kind)

        left, right = both(self.pool, self.ends, side)
        self.rows = [left.rows, right.rows]
        self.ends[0].tell(left.rows)
        return _same(left, right)

    # Rows

    def _compare(self, ends: Sequence[End]) -> None:
        """Compare few rows by their values."""
        pair = (ends[0], ends[1])
        left, right = both(self.pool, pair, signed)
        if left == right:
            self._find_unequal_texts(pair)
        elif self.catch_up is not None:
            left, right = self._reread(pair, left, right)
        self.tally.add(left, right)
        for end, part in zip(self.ends, ends, strict=True):
            end.bytes_read += part.bytes_read

    def _reread(self, ends: tuple[End, End], left: Signed, right: Signed) -> tuple[Signed, Signed]:
        """Read differing rows again, until each is equal, or has not changed and differs.

        One read is not enough: a row may come and go between two of them, and be on its way to the
        target at each.
        """
        for end in ends:
            _digesting(end).renew()
        name = _by_key if ends[0].key else _by_row
        stable: tuple[Signed, Signed] = (Counter(), Counter())
        before = name(left), name(right)
        unchanged = dict.fromkeys(_mismatched(*before), 0)
        for number in range(MAX_READS):
            if not unchanged:
                break
            shown = self._read_again(ends, often=number >= STABLE_READS)
            if shown is None:
                self.caught_up = False
                break
            held, now = [name(one) for one in shown[0]], name(shown[1])
            for one in list(unchanged):
                sides = zip(before, (held[0], now), strict=True)
                same = all(old.get(one) == new.get(one) for old, new in sides)
                unchanged[one] = unchanged[one] + 1 if same else 0
                if any(now.get(one) == source.get(one) for source in held):
                    del unchanged[one]
                elif unchanged[one] == STABLE_READS:
                    del unchanged[one]
                    stable[0].update(held[0].get(one, {}))
                    stable[1].update(now.get(one, {}))
            before = held[0], now
        self.unsettled += len(unchanged)
        return stable

    def _read_again(
        self, ends: tuple[End, End], *, often: bool
    ) -> tuple[list[Signed], Signed] | None:
        """Read the source, and the target once it has what was read; ``often``: the source again
        and again until then, for a row that changes all the time is on the target what it was at
        one of these moments.

        Return None if the target does not catch up.
        """
        source, target = ends
        done = threading.Event()

        def read() -> Signed:
            with self._own_view(source):
                return signed(source, threading.Event())

        def reads() -> list[Signed]:
            found = list[Signed]()
            while len(found) < SAMPLES and not done.wait(SAMPLE_SECONDS):
                found.append(read())
            return found

        held = [read()]
        sampling = self.pool.submit(reads) if often else None
        try:
            if self.catch_up is None or not self.catch_up():
                return None
            with self._own_view(target):
                shown = signed(target, threading.Event())
        finally:
            done.set()
            if sampling is not None:
                held += sampling.result()
        return held, shown

    def _find_unequal_texts(self, ends: tuple[End, End]) -> None:
        """Find the columns that made digests differ where no value does."""
        self._false_mismatches += 1
        if self._false_mismatches % MOST_LEAVES:
            return
        places = self._mismatched_columns(ends)
        if places and self.catch_up is None:
            raise TextsDifferError(places)

    def _mismatched_columns(self, ends: tuple[End, End]) -> frozenset[int]:
        """Return the columns whose texts have other sums on both ends."""

        def side(end: End, _: threading.Event) -> list[Digested]:
            reads = [replace(end.read, columns=(end.read.columns[p],)) for p in self.plan.places]
            return [_digesting(end).digest(read, self.plan.kind) for read in reads]

        sums = zip(self.plan.places, *both(self.pool, ends, side), strict=True)
        return frozenset(place for place, one, two in sums if not _same(one, two))


class _Pairs:
    """Sums of ranges, of both ends as they come. Thread-safe."""

    def __init__(self, progress: TableProgress | None) -> None:
        self.rows = [0, 0]
        self._progress = progress
        self._lock = threading.Lock()
        self._waiting: dict[int, Digested] = {}
        self._mismatched: dict[int, tuple[KeyRange, Digested, Digested]] = {}

    def add(self, number: int, one: KeyRange, side: int, digested: Digested) -> None:
        """Take the sum of a range of one end; note the range if it is equal on both."""
        with self._lock:
            self.rows[side] += digested.rows
            other = self._waiting.pop(number, None)
            if other is None:
                self._waiting[number] = digested
                return
            left, right = (other, digested) if side else (digested, other)
            equal = _same(left, right)
            if not equal:
                self._mismatched[number] = one, left, right
        if equal:
            _note_equal(self._progress, one, left.rows)

    def mismatched(self) -> list[tuple[KeyRange, Digested, Digested]]:
        """Return the ranges that differ, in their order."""
        return [self._mismatched[number] for number in sorted(self._mismatched)]


def _note_equal(progress: TableProgress | None, one: KeyRange, rows: int) -> None:
    if progress is not None and one.low is not None and one.high is not None:
        progress.found_equal(one.low, one.high, rows)


def _digesting(end: End) -> RowDigests:
    """Return the end as the server that digests its rows, which `plan_for` found it to be."""
    return cast(RowDigests, end.canonical)


def _ranged(end: End) -> RangedDigests:
    """Return the end as one that finds ranges of keys, which `plan_for` found it to be."""
    return cast(RangedDigests, end.canonical)


def _same(left: Digested, right: Digested) -> bool:
    return left == right and left.whole


Named = Mapping[object, Mapping[tuple[Row, bytes], int]]


def _by_key(rows: Signed) -> Named:
    """Return the rows of each key."""
    named: dict[object, dict[tuple[Row, bytes], int]] = {}
    for row, count in rows.items():
        named.setdefault(row[0], {})[row] = count
    return named


def _by_row(rows: Signed) -> Named:
    """Return how often there is each row, of a table without a key."""
    return {row: {row: count} for row, count in rows.items()}


def _mismatched(left: Named, right: Named) -> set[object]:
    return {one for one in (*left, *right) if left.get(one) != right.get(one)}
