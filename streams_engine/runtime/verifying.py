"""`verify`: do source and target hold the same rows? Order-free, in bounded memory.

Each row is hashed over the texts that its server rendered. Rows fall into buckets by the
hash of their key; a bucket's hashes are summed, so that order does not matter and equal rows
count. Where a bucket differs, both ends are read once more for those buckets alone, and the
keys are named.
"""

from __future__ import annotations

import hashlib
import marshal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol, TypeVar

from streams_engine.model import Column, Dialect, Filter, NativeType, TableId, TableSchema
from streams_engine.protocols import Sink, StructureSink
from streams_engine.schema.forms import (
    NORMALISERS,
    CanonicalColumn,
    CanonicalRead,
    form_for,
    in_files,
    nulls_zero_dates,
)
from streams_engine.schema.mapping import MappedCatalog, TableMapping

__all__ = [
    "Canonical",
    "PairColumn",
    "TableVerdict",
    "VerifyPair",
    "VerifyReport",
    "verify_mapped",
    "verify_tables",
]

BUCKETS = 1 << 16
NAMED = 100
"""Keys that a verdict names at most."""
ROUND_ROWS = 250_000
"""Rows of differing buckets that are held at once, both ends together."""
ROUNDS = 4
"""How often both ends are read again to name keys, at most."""
PROGRESS_ROWS = 20_000

Progress = Callable[[TableId, int], None]
Row = tuple[str | None, ...]
Found = TypeVar("Found")


class Canonical(Protocol):
    """One end, read as texts that its server renders, in one consistent view."""

    def rows(self, read: CanonicalRead) -> AbstractContextManager[Iterator[Row]]:
        """Every row that is asked for, in any order."""
        ...


@dataclass(frozen=True, slots=True)
class TableVerdict:
    """What was found of one table. ``keys`` names at most 100 differing keys."""

    table: str
    source_rows: int
    target_rows: int
    equal: bool
    differing: int = 0
    """Keys that differ; without a key the rows missing or too many, whichever are more."""
    keys: tuple[str, ...] = ()
    note: str | None = None
    kinds: tuple[str, ...] = ()
    """For each of ``keys``: missing (on the target), extra, or different."""


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """The verdicts on all tables."""

    tables: tuple[TableVerdict, ...]

    @property
    def ok(self) -> bool:
        """True where every table is equal."""
        return all(table.equal for table in self.tables)

    def to_dict(self) -> dict[str, Any]:
        """The report as a JSON-able document."""
        return {
            "ok": self.ok,
            "tables": [
                {
                    "table": t.table,
                    "sourceRows": t.source_rows,
                    "targetRows": t.target_rows,
                    "equal": t.equal,
                    "differing": t.differing,
                    "keys": list(t.keys),
                    "kinds": list(t.kinds),
                    "note": t.note,
                }
                for t in self.tables
            ],
        }


@dataclass(frozen=True, slots=True)
class PairColumn:
    """A column on both ends: its names and its types there."""

    name: str
    target_name: str
    source_type: NativeType
    target_type: NativeType


@dataclass(frozen=True, slots=True)
class VerifyPair:
    """A source table and its target. ``key`` names source columns; empty: there is no key."""

    source: TableId
    target: TableId
    key: tuple[str, ...]
    columns: tuple[PairColumn, ...]
    source_only: bool = False
    """Read without the children of plain inheritance."""
    target_only: bool = False
    filters: tuple[Filter, ...] = ()
    """Which rows of the source were wanted."""
    query: str | None = None
    """The source is no table but this query's result."""
    limit: int | None = None
    """The target holds so many of the source's rows, whichever they are."""


def verify_mapped(
    mapped: MappedCatalog,
    sink: Sink,
    sources: Mapping[str, Canonical],
    target: Canonical,
    *,
    zero_dates: str,
    progress: Progress | None = None,
) -> VerifyReport:
    """Compare every table of a mapping with what is on the target now.

    ``sources``: by the alias of the connection that a table is of.
    """
    there = mapped.target
    if isinstance(sink, StructureSink):
        there = sink.inspect([mapping.target.id for mapping in mapped.tables])
    verdicts: list[TableVerdict] = []
    for mapping in mapped.tables:
        pair = _pair(mapping, there.table(mapping.target.id))
        if isinstance(pair, str):
            verdicts.append(TableVerdict(str(mapping.source.id), 0, 0, False, note=pair))
            continue
        source = sources[mapping.source.id.alias]
        report = verify_tables([pair], source, target, zero_dates=zero_dates, progress=progress)
        verdicts.extend(report.tables)
    return VerifyReport(tuple(verdicts))


def _pair(mapping: TableMapping, present: TableSchema | None) -> VerifyPair | str:
    """The pair of a mapping with the target's types as they are, or why there is none."""
    if present is None:
        return f"there is no {mapping.target.id} on the target"
    selected = mapping.selection
    from_files = mapping.source.dialect is Dialect.FILES
    if from_files and selected is not None and (selected.filters or selected.limit is not None):
        return "a selection of rows of files cannot be compared"
    types = {
        column.name: _compared(column, present.dialect, mapping.source.dialect)
        for column in present.columns
    }
    # What the target computes is compared too: a wrong expression shows in its values.
    columns = mapping.carrying(c for c in mapping.generated if c.target.name in types)
    missing = [c.target.name for c in columns if c.target.name not in types]
    if missing:
        return f"the target lacks the columns {', '.join(missing)}"
    return VerifyPair(
        mapping.source.id,
        mapping.target.id,
        _key(mapping.source),
        tuple(
            PairColumn(
                c.source.name,
                c.target.name,
                _compared(c.source, mapping.source.dialect, present.dialect),
                types[c.target.name],
            )
            for c in columns
        ),
        source_only=mapping.source.partitioning is None,
        target_only=present.partitioning is None,
        filters=selected.filters if selected else (),
        query=mapping.source.query,
        limit=selected.limit if selected else None,
    )


def _compared(column: Column, dialect: Dialect, other: Dialect) -> NativeType:
    """What a column is compared as: in files as what is written there."""
    if dialect is not Dialect.FILES:
        return column.type
    return in_files(column.type, column.arrow, other)


def _key(table: TableSchema) -> tuple[str, ...]:
    """The primary key, else a unique index over whole columns; its NULLs do no harm here."""
    if table.primary_key is not None:
        return table.primary_key.columns
    for index in table.indexes:
        whole = all(part.column is not None and part.length is None for part in index.parts)
        if index.unique and index.where is None and whole:
            return index.columns
    return ()


def verify_tables(
    pairs: Sequence[VerifyPair],
    source: Canonical,
    target: Canonical,
    *,
    zero_dates: str = "null",
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> VerifyReport:
    """Compare tables one after another, both ends at once: in two threads, or in ``executor``.

    ``zero_dates`` is the policy that the copy followed. ``progress`` is told how many rows
    of the source were compared. The report holds key values as text, errors never do.
    """
    with (
        nullcontext(executor) if executor is not None
        else ThreadPoolExecutor(2, thread_name_prefix="streams-engine-verify") as pool
    ):  # fmt: skip
        return VerifyReport(
            tuple(_compare(pair, _ends(pair, source, target, zero_dates, progress), pool)
                  for pair in pairs)
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _End:
    """One end of a pair, ready to be read as often as it takes."""

    canonical: Canonical
    read: CanonicalRead
    key: tuple[int, ...]
    """The places of the key's columns."""
    progress: Progress | None = None

    def hashes(self, halt: threading.Event) -> Iterator[tuple[int, bytes, Row]]:
        """(bucket, hash, key) of every row; ends early where the other end has failed."""
        steps = [
            (i, NORMALISERS[column.form])
            for i, column in enumerate(self.read.columns)
            if column.form in NORMALISERS
        ]
        key = self.key
        with self.canonical.rows(self.read) as rows:
            count = 0
            for count, row in enumerate(rows, 1):
                values = row
                if steps:
                    texts = list(row)
                    for i, normalise in steps:
                        if (text := texts[i]) is not None:
                            texts[i] = normalise(text)
                    values = tuple(texts)
                digest = _digest(values)
                named = tuple([values[i] for i in key])
                yield (hash(named) if key else hash(digest)) % BUCKETS, digest, named
                if count % PROGRESS_ROWS == 0:
                    if halt.is_set():
                        raise _HaltedError
                    if self.progress is not None:
                        self.progress(self.read.table, count)
            if self.progress is not None:
                self.progress(self.read.table, count)


class _HaltedError(Exception):
    """The other end failed, so this one stopped."""


def _ends(
    pair: VerifyPair,
    source: Canonical,
    target: Canonical,
    zero_dates: str,
    progress: Progress | None,
) -> tuple[_End, _End]:
    left, right, names = [], [], []
    for c in pair.columns:
        form = form_for(c.source_type, c.target_type)
        nulled = nulls_zero_dates(c.source_type, c.target_type, zero_dates)
        left.append(CanonicalColumn(c.name, c.source_type, form, "null" if nulled else "text"))
        right.append(CanonicalColumn(c.target_name, c.target_type, form))
        names.append(c.name)
    whole = set(pair.key) <= set(names)
    places = tuple(names.index(name) for name in pair.key) if whole else ()
    return (
        _End(
            source,
            CanonicalRead(pair.source, tuple(left), pair.source_only, pair.filters, pair.query),
            places,
            progress,
        ),
        _End(target, CanonicalRead(pair.target, tuple(right), pair.target_only), places),
    )


def _digest(values: Row) -> bytes:
    """128 bits over the values. No two rows run together: marshal writes kinds and lengths,
    and below its version 3 nothing but the values (no references, no interning)."""
    return hashlib.blake2b(marshal.dumps(values, 2), digest_size=16).digest()


@dataclass(slots=True)
class _Sums:
    """Per bucket: rows, and the sum of their hashes (which the count keeps from overflowing)."""

    counts: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    sums: list[int] = field(default_factory=lambda: [0] * BUCKETS)


def _summed(end: _End, halt: threading.Event) -> _Sums:
    found = _Sums()
    counts, sums = found.counts, found.sums
    for bucket, digest, _ in end.hashes(halt):
        counts[bucket] += 1
        sums[bucket] += int.from_bytes(digest, "little")
    return found


def _collected(end: _End, halt: threading.Event, odd: frozenset[int]) -> Counter[tuple[Row, bytes]]:
    """The rows of the differing buckets, each as its key and hash."""
    return Counter((key, digest) for bucket, digest, key in end.hashes(halt) if bucket in odd)


def _both(
    pool: Executor, ends: tuple[_End, _End], work: Callable[..., Found], *arguments: Any
) -> tuple[Found, Found]:
    """The work on both ends at once. Where one fails the other stops, and its error is raised."""
    halt = threading.Event()

    def run(end: _End) -> Found:
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


def _compare(pair: VerifyPair, ends: tuple[_End, _End], pool: Executor) -> TableVerdict:
    """Compare one table."""
    if pair.limit is not None:
        return _contained(pair, ends)
    one, two = _both(pool, ends, _summed)
    rows = sum(one.counts), sum(two.counts)
    if one == two:
        return TableVerdict(str(pair.source), *rows, True)
    weights = {
        i: one.counts[i] + two.counts[i]
        for i in range(BUCKETS)
        if (one.counts[i], one.sums[i]) != (two.counts[i], two.sums[i])
    }
    groups = list(_groups(weights))
    tally = _Tally(keyed=bool(ends[0].key))
    for odd in groups[:ROUNDS]:
        tally.add(*_both(pool, ends, _collected, odd))
    return tally.verdict(str(pair.source), rows, partial=len(groups) > ROUNDS)


def _contained(pair: VerifyPair, ends: tuple[_End, _End]) -> TableVerdict:
    """Are the target's rows some of the source's, as many as were wanted? They are held whole."""
    halt = threading.Event()
    wanted = Counter((key, digest) for _, digest, key in ends[1].hashes(halt))
    rows = wanted.total()
    there = 0
    for _, digest, key in ends[0].hashes(halt):
        there += 1
        if wanted.get((key, digest), 0) > 0:
            wanted[key, digest] -= 1
    extra = +wanted
    due = min(there, pair.limit or 0)
    note = (
        f"{rows} of {there} rows, {due} were wanted (limit); {extra.total()} are not the source's"
    )
    named = sorted((key for key, _ in extra), key=_sortable)[:NAMED] if ends[1].key else []
    return TableVerdict(
        str(pair.source),
        due,
        rows,
        equal=rows == due and not extra,
        differing=max(extra.total(), abs(rows - due)),
        keys=tuple(map(_shown, named)),
        kinds=("extra",) * len(named),
        note=note,
    )


def _groups(weights: dict[int, int]) -> Iterator[frozenset[int]]:
    """Buckets in groups of no more than ROUND_ROWS rows, or of one bucket."""
    group: list[int] = []
    held = 0
    for bucket, weight in weights.items():
        if group and held + weight > ROUND_ROWS:
            yield frozenset(group)
            group, held = [], 0
        group.append(bucket)
        held += weight
    yield frozenset(group)


@dataclass(slots=True)
class _Tally:
    """Adds up what the rounds over differing buckets find. A key is in one bucket alone."""

    keyed: bool
    kinds: Counter[str] = field(default_factory=Counter)
    named: list[tuple[Row, str]] = field(default_factory=list)

    def add(self, left: Counter[tuple[Row, bytes]], right: Counter[tuple[Row, bytes]]) -> None:
        """Count what one end holds and the other does not; keep the first keys."""
        gone, extra = left - right, right - left
        if not self.keyed:
            self.kinds += Counter(missing=gone.total(), extra=extra.total())
            return
        missing, added = {key for key, _ in gone}, {key for key, _ in extra}
        kinds = {
            **dict.fromkeys(missing - added, "missing"),
            **dict.fromkeys(added - missing, "extra"),
            **dict.fromkeys(missing & added, "different"),
        }
        self.kinds += Counter(kinds.values())
        found = sorted([*self.named, *kinds.items()], key=lambda item: _sortable(item[0]))
        self.named = list(islice(found, NAMED))

    def verdict(self, table: str, rows: tuple[int, int], *, partial: bool) -> TableVerdict:
        """What was found; ``partial``: not every differing bucket was looked at."""
        missing, extra, different = (self.kinds[k] for k in ("missing", "extra", "different"))
        what = "keys" if self.keyed else "rows"
        note = f"{what} on the target: {missing} missing, {extra} extra"
        if self.keyed:
            note += f", {different} different"
        if partial:
            note = f"at least (more differs than was looked at): {note}"
        return TableVerdict(
            table,
            *rows,
            equal=False,
            differing=missing + extra + different if self.keyed else max(missing, extra),
            keys=tuple(_shown(key) for key, _ in self.named),
            kinds=tuple(kind for _, kind in self.named),
            note=note,
        )


def _shown(key: Row) -> str:
    return ", ".join("NULL" if value is None else value for value in key)


def _sortable(key: Row) -> tuple[tuple[int, int, str], ...]:
    """Whole numbers by value, then texts; NULL first."""
    return tuple(
        (0, 0, "") if v is None
        else (1, int(v), v) if len(v) < 20 and v.removeprefix("-").isdecimal()
        else (2, 0, v)
        for v in key
    )  # fmt: skip
