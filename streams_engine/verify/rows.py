"""Compare two ends row by row: order-free, in bounded memory, by texts that their servers print."""

from __future__ import annotations

import hashlib
import marshal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Protocol, TypeVar

from streams_engine.model import TableId
from streams_engine.schema.types.canonical import (
    NORMALISERS,
    BucketFilter,
    CanonicalRead,
    KeyRange,
)
from streams_engine.verify.report import Difference, TableVerdict

__all__ = [
    "Canonical",
    "End",
    "Row",
    "RowTally",
    "both",
    "compare_rows",
    "compare_some",
    "grouped",
    "signed",
]

BUCKETS = 1 << 16
NAMED = 100
"""Keys that a verdict names at most."""
ROUND_ROWS = 250_000
"""Rows of differing buckets that are held at once, both ends together."""
ROUNDS = 4
"""How often both ends are read again to name keys, at most."""
PROGRESS_ROWS = 20_000
SIGNATURE = 8
"""Bytes of each value's hash in a row's signature."""

Progress = Callable[[TableId, int], None]
Row = tuple[str | None, ...]
Signed = Counter[tuple[Row, bytes]]
"""Rows by their key and signature, which has a hash for each column."""
T = TypeVar("T")


class Canonical(Protocol):
    """One end, read as texts that its server renders, in one consistent view."""

    def rows(self, read: CanonicalRead) -> AbstractContextManager[Iterator[Row]]:
        """Yield all requested rows, in any order."""
        ...


class _HaltedError(Exception):
    """The other end failed, so this one stopped."""


@dataclass(slots=True)
class End:
    """One end of a pair, ready to be read as often as it takes."""

    canonical: Canonical
    read: CanonicalRead
    key: tuple[int, ...]
    """The places of the key's columns."""
    progress: Progress | None = None
    bytes_read: int = 0

    def part(self, part: KeyRange | BucketFilter) -> End:
        """Return the end with a part of its rows."""
        return replace(self, read=replace(self.read, part=part), progress=None, bytes_read=0)

    def values(self, halt: threading.Event) -> Iterator[Row]:
        """Yield every row in the form in which it is compared; stop early if the other end has
        failed."""
        steps = [
            (i, NORMALISERS[column.form])
            for i, column in enumerate(self.read.columns)
            if column.form in NORMALISERS
        ]
        with self.canonical.rows(self.read) as rows:
            count = 0
            for count, row in enumerate(rows, 1):
                if steps:
                    texts = list(row)
                    for i, normalise in steps:
                        if (text := texts[i]) is not None:
                            texts[i] = normalise(text)
                    row = tuple(texts)
                yield row
                if count % PROGRESS_ROWS == 0:
                    if halt.is_set():
                        raise _HaltedError
                    self.tell(count)
            self.tell(count)

    def tell(self, count: int) -> None:
        """Tell how many rows were compared."""
        if self.progress is not None:
            self.progress(self.read.table, count)

    def hashes(self, halt: threading.Event) -> Iterator[tuple[int, bytes, Row]]:
        """Yield (bucket, hash, key) of every row.

        marshal writes kinds and lengths, so different rows never give the same input; below its
        version 3 it writes only values (no references, no interning).
        """
        key = self.key
        size = 0
        for row in self.values(halt):
            text = marshal.dumps(row, 2)
            size += len(text)
            digest = hashlib.blake2b(text, digest_size=16).digest()
            named = tuple([row[i] for i in key])
            yield (hash(named) if key else hash(digest)) % BUCKETS, digest, named
        self.bytes_read += size


@dataclass(slots=True)
class _BucketSums:
    """Per bucket: rows, and the sum of their hashes (which the count keeps from overflowing)."""

    counts: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    sums: list[int] = field(default_factory=lambda: [0] * BUCKETS)


def _summed(end: End, halt: threading.Event) -> _BucketSums:
    totals = _BucketSums()
    counts, sums = totals.counts, totals.sums
    for bucket, digest, _ in end.hashes(halt):
        counts[bucket] += 1
        sums[bucket] += int.from_bytes(digest, "little")
    return totals


def signed(end: End, halt: threading.Event, chosen: frozenset[int] | None = None) -> Signed:
    """Return the rows (of these buckets) by key and signature."""
    rows: Signed = Counter()
    key = end.key
    for row in end.values(halt):
        named = tuple([row[i] for i in key])
        if (
            chosen is not None
            and (hash(named) if key else hash(_whole(row))) % BUCKETS not in chosen
        ):
            continue
        rows[named, b"".join(map(_hash, row))] += 1
        end.bytes_read += sum(len(value) for value in row if value is not None)
    return rows


def _whole(row: Row) -> bytes:
    return hashlib.blake2b(marshal.dumps(row, 2), digest_size=16).digest()


def _hash(value: str | None) -> bytes:
    if value is None:
        return b"\0" * SIGNATURE
    encoded = value.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(encoded, digest_size=SIGNATURE).digest()


def both(
    pool: Executor, ends: tuple[End, End], work: Callable[..., T], *arguments: Any
) -> tuple[T, T]:
    """Run the work on both ends at once. If one fails, stop the other and raise its error."""
    halt = threading.Event()

    def run(end: End) -> T:
        try:
            return work(end, halt, *arguments)
        except BaseException:
            halt.set()
            raise

    futures = [pool.submit(run, end) for end in ends]
    try:
        errors = [future.exception() for future in futures]
    except BaseException:  # Ctrl-C, say
        halt.set()
        raise
    for error in errors:
        if error is not None and not isinstance(error, _HaltedError):
            raise error
    return futures[0].result(), futures[1].result()


def compare_rows(ends: tuple[End, End], tally: RowTally, pool: Executor) -> tuple[int, int]:
    """Compare all rows, and add what differs to the tally. Return the rows of both ends."""
    one, two = both(pool, ends, _summed)
    weights = {
        i: one.counts[i] + two.counts[i]
        for i in range(BUCKETS)
        if (one.counts[i], one.sums[i]) != (two.counts[i], two.sums[i])
    }
    if weights:
        groups = list(grouped(weights))
        for chosen in groups[:ROUNDS]:
            tally.add(*both(pool, ends, signed, chosen))
        tally.partial = tally.partial or len(groups) > ROUNDS
    return sum(one.counts), sum(two.counts)


def compare_some(table: str, ends: tuple[End, End], limit: int) -> TableVerdict:
    """Compare the target with a limited copy: its rows must be some of the source's, as many as the
    limit says.

    All rows of the target are held in memory, as keys and hashes.
    """
    halt = threading.Event()
    wanted = Counter((key, digest) for _, digest, key in ends[1].hashes(halt))
    rows = wanted.total()
    there = 0
    for _, digest, key in ends[0].hashes(halt):
        there += 1
        if wanted.get((key, digest), 0) > 0:
            wanted[key, digest] -= 1
    extra = +wanted
    due = min(there, limit)
    named = sorted((key for key, _ in extra), key=_sortable)[:NAMED] if ends[1].key else []
    return TableVerdict(
        table,
        due,
        rows,
        equal=rows == due and not extra,
        differing=max(extra.total(), abs(rows - due)),
        differences=tuple(Difference(key, "extra") for key in named),
        note=f"{rows} of {there} rows, expected {due} (limit); "
        f"{extra.total()} are not the source's",
    )


def grouped(weights: Mapping[int, int]) -> Iterator[frozenset[int]]:
    """Yield buckets in groups of at most ROUND_ROWS rows, or of one bucket."""
    group: list[int] = []
    held = 0
    for bucket, weight in weights.items():
        if group and held + weight > ROUND_ROWS:
            yield frozenset(group)
            group, held = [], 0
        group.append(bucket)
        held += weight
    if group:
        yield frozenset(group)


@dataclass(slots=True)
class RowTally:
    """Adds up which rows differ. What it is given holds all rows of a key that differ."""

    keyed: bool
    columns: tuple[str, ...]
    """The source's columns, in the order of a signature."""
    most: int = NAMED
    """Keys that are kept at most, twice as many for a while."""
    kinds: Counter[str] = field(default_factory=Counter)
    seen: int = 0
    """A hash of the rows that differ, whatever their order."""
    partial: bool = False
    """Not every row that differs was compared."""
    named: dict[Row, Difference] = field(default_factory=dict)
    marks: dict[Row, int] = field(default_factory=dict)
    """By the key of a row that differs: a hash of what both ends have."""

    def add(self, left: Signed, right: Signed) -> None:
        """Count what one end holds and the other does not; keep the first keys."""
        gone, extra = left - right, right - left
        for side in (gone, extra):
            for one in side.items():
                self.seen ^= hash((side is gone, one))
        if not self.keyed:
            self.kinds += Counter(missing=gone.total(), extra=extra.total())
            return
        missing, added = dict(gone.keys()), dict(extra.keys())
        for difference in self._differences(missing, added):
            self.add_one(difference)
            key = difference.key
            self.marks[key] = hash((missing.get(key), added.get(key)))

    def add_one(self, difference: Difference) -> None:
        """Count one row; one that is known to differ may differ in more columns."""
        known = self.named.get(difference.key)
        if known is not None:
            columns = dict.fromkeys((*known.columns, *difference.columns))
            self.named[difference.key] = replace(known, columns=tuple(columns))
            return
        self.kinds[difference.kind] += 1
        self.named[difference.key] = difference
        if len(self.named) > 2 * self.most:
            self.named = {d.key: d for d in self._sorted(self.most)}
            self.marks = {key: mark for key, mark in self.marks.items() if key in self.named}

    def join(self, other: RowTally) -> None:
        """Count what another comparison of the same rows, by other columns, found."""
        for difference in other.named.values():
            self.add_one(difference)
        found = other.kinds["different"]
        if found > self.kinds["different"]:  # more than it names
            self.kinds["different"], self.partial = found, True
        self.partial |= other.partial
        self.seen ^= other.seen

    def _differences(
        self, missing: Mapping[Row, bytes], added: Mapping[Row, bytes]
    ) -> Iterator[Difference]:
        for key, signature in missing.items():
            if key not in added:
                yield Difference(key, "missing")
            else:
                yield Difference(key, "different", self._where(signature, added[key]))
        for key in added:
            if key not in missing:
                yield Difference(key, "extra")

    def _where(self, one: bytes, two: bytes) -> tuple[str, ...]:
        starts = range(0, len(one), SIGNATURE)
        return tuple(
            name
            for name, at in zip(self.columns, starts, strict=True)
            if one[at : at + SIGNATURE] != two[at : at + SIGNATURE]
        )

    @property
    def first(self) -> list[Difference]:
        """The first differences by their keys."""
        return self._sorted(NAMED)

    def _sorted(self, most: int) -> list[Difference]:
        named = sorted(self.named.values(), key=lambda one: _sortable(one.key))
        return list(islice(named, most))

    def differs_as(self, before: RowTally) -> bool:
        """Return whether the same rows differ, with the same values on both ends."""
        return self.seen == before.seen and self.kinds == before.kinds

    @property
    def names_all(self) -> bool:
        """Whether every row that differs is named."""
        return self.keyed and not self.partial and len(self.named) == self.differing

    @property
    def differing(self) -> int:
        """How many keys (rows) differ."""
        missing, extra = self.kinds["missing"], self.kinds["extra"]
        return missing + extra + self.kinds["different"] if self.keyed else max(missing, extra)

    @property
    def note(self) -> str:
        """What differs, in words."""
        missing, extra, different = (self.kinds[k] for k in ("missing", "extra", "different"))
        note = f"{'keys' if self.keyed else 'rows'} on the target: {missing} missing, {extra} extra"
        if self.keyed:
            note += f", {different} different"
        return f"at least (more rows differ than were examined): {note}" if self.partial else note


def _sortable(key: Row) -> tuple[tuple[int, int, str], ...]:
    """Return a sort key: NULL first, then whole numbers by value, then texts."""
    return tuple(
        (0, 0, "") if v is None
        else (1, int(v), v) if len(v) < 20 and v.removeprefix("-").isdecimal()
        else (2, 0, v)
        for v in key
    )  # fmt: skip
