"""Compare every table of a mapping with what is on the target."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

from streams_engine.contracts import Sink, StructureSink
from streams_engine.errors import NotFound
from streams_engine.model import Filter, NativeType, TableId
from streams_engine.schema.mapping.tables import MappedCatalog, TableMapping
from streams_engine.schema.types.canonical import CanonicalType, KeyRange, canonical_type_of
from streams_engine.schema.types.row_digests import RowDigests
from streams_engine.verify.digests import (
    LOOKS,
    STANDS,
    DigestComparison,
    DigestPlan,
    Settle,
    TextsDifferError,
    plan_for,
)
from streams_engine.verify.pairs import VerifyPair, pair_of, reads_of
from streams_engine.verify.report import TableVerdict, VerifyReport
from streams_engine.verify.rows import (
    NAMED,
    Canonical,
    End,
    Row,
    RowTally,
    compare_rows,
    compare_some,
)
from streams_engine.verify.statements import can_write, statement

__all__ = ["VerifySettings", "verify_mapped", "verify_tables"]

Progress = Callable[[TableId, int], None]


Key = tuple[str | None, ...]
Repair = Callable[[TableId, "Mapping[Key, str] | None"], int]
"""Writes rows of a source table again, by their keys with what is the matter with each; None: all.
Returns how many."""

REPAIRED_KEYS = 50_000
"""Of a table with more keys that differ, all rows are written again."""
REPAIRS = 3
"""How often a table is repaired, for rows may change meanwhile."""


@dataclass(frozen=True, slots=True)
class VerifySettings:
    """What is compared, and how."""

    zero_dates: str = "null"
    """The policy that the copy followed."""
    tables: frozenset[str] | None = None
    """Names with or without their schema; None: all."""
    sample: float | None = None
    """The share of each table's rows that is compared; None: all."""
    seed: int | None = None
    """Of the choice of a sample."""
    settle: Settle | None = None
    """For ends that are written to: waits until the target has what the source has."""
    repair: Repair | None = None


def verify_mapped(
    mapped: MappedCatalog,
    sink: Sink,
    sources: Mapping[str, Canonical],
    target: Canonical,
    settings: VerifySettings,
    progress: Progress | None = None,
) -> VerifyReport:
    """Compare every table of a mapping with what is on the target now.

    ``sources``: by the alias of the connection that a table is of.
    """
    there = mapped.target
    if isinstance(sink, StructureSink):
        there = sink.inspect([mapping.target.id for mapping in mapped.tables])
    verdicts: list[TableVerdict] = []
    for mapping in _chosen(mapped, settings.tables):
        pair = pair_of(mapping, there.table(mapping.target.id))
        if isinstance(pair, str):
            verdicts.append(TableVerdict(str(mapping.source.id), 0, 0, False, note=pair))
            continue
        source = sources[mapping.source.id.alias]
        verdicts += verify_tables([pair], source, target, settings, progress=progress).tables
    return VerifyReport(tuple(verdicts))


def _chosen(mapped: MappedCatalog, names: frozenset[str] | None) -> Sequence[TableMapping]:
    """Return the mappings of the named tables. Raises `NotFound` naming those that are none."""
    if names is None:
        return mapped.tables
    known = {name: m for m in mapped.tables for name in (m.source.id.name, str(m.source.id))}
    missing = sorted(names - known.keys())
    if missing:
        raise NotFound(
            f"The stream has no table {', '.join(missing)}.",
            remedy="Name tables of the stream, as its plan() lists them.",
        )
    wanted = {known[name].source.id for name in names}
    return [mapping for mapping in mapped.tables if mapping.source.id in wanted]


def verify_tables(
    pairs: Sequence[VerifyPair],
    source: Canonical,
    target: Canonical,
    settings: VerifySettings = VerifySettings(),
    *,
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> VerifyReport:
    """Compare tables one after another, both ends at once: in two threads, or in ``executor``.

    ``progress`` is told how many rows of the source were compared. The report holds key values as
    text, errors never do.
    """
    with (
        nullcontext(executor) if executor is not None
        else ThreadPoolExecutor(2, thread_name_prefix="streams-engine-verify") as pool
    ):  # fmt: skip
        return VerifyReport(
            tuple(_verdict(pair, (source, target), settings, progress, pool) for pair in pairs)
        )


def _verdict(
    pair: VerifyPair,
    canonicals: tuple[Canonical, Canonical],
    settings: VerifySettings,
    progress: Progress | None,
    pool: Executor,
) -> TableVerdict:
    begun = time.monotonic()
    left, right = reads_of(pair, settings.zero_dates)
    ends = (
        End(canonicals[0], left, pair.places, progress),
        End(canonicals[1], right, pair.places),
    )
    if settings.settle is not None:
        _renew(ends)
    if pair.limit is not None:
        verdict = compare_some(str(pair.source), ends, pair.limit)
    else:
        verdict = _compared(pair, ends, settings, pool)
    return replace(
        verdict,
        seconds=time.monotonic() - begun,
        bytes_read=sum(end.bytes_read for end in ends),
    )


def _compared(
    pair: VerifyPair, ends: tuple[End, End], settings: VerifySettings, pool: Executor
) -> TableVerdict:
    look = _look(pair, ends, settings, pool)
    first, repaired = look, 0
    for _ in range(REPAIRS if settings.repair is not None else 0):
        if look.tally.differing == 0 or settings.repair is None:
            break
        _renew(ends)  # no lock of ours is in its way
        kinds = _repairable(pair, look.tally)
        repaired += settings.repair(pair.source, kinds)
        _renew(ends)
        only = None if kinds is None else look.leaves
        again = settings if only is None else replace(settings, sample=None)
        look = _look(pair, ends, again, pool, only)
    equal = not look.tally.differing
    rows = first.rows if not equal or not repaired else (first.rows[0], first.rows[0])
    tally = first.tally
    notes = [tally.note] if tally.differing else []
    return TableVerdict(
        str(pair.source),
        *rows,
        equal=equal,
        differing=tally.differing,
        differences=tuple(tally.first) if tally.keyed else (),
        note="; ".join([*notes, *look.notes]) or None,
        repaired=repaired,
        statements=_statements(pair, ends[0], tally),
    )


def _repairable(pair: VerifyPair, tally: RowTally) -> Mapping[Key, str] | None:
    """Return the keys to repair; None if all rows have to be written again."""
    named = tally.keyed and not tally.partial and len(tally.named) == tally.differing
    texts = all(_is_asked_for(pair.columns[place].source_type) for place in pair.places)
    return {d.key: d.kind for d in tally.named.values()} if named and texts else None


def _is_asked_for(native: NativeType) -> bool:
    """Return whether a server finds a value by its compared text."""
    return canonical_type_of(native) in (
        CanonicalType.INTEGER, CanonicalType.DECIMAL, CanonicalType.TEXT, CanonicalType.MOMENT
    )  # fmt: skip


def _statements(pair: VerifyPair, source: End, tally: RowTally) -> tuple[str, ...]:
    """Return the SQL that repairs the named rows; none where it cannot be written."""
    if not tally.differing or not can_write(pair) or _repairable(pair, tally) is None:
        return ()
    rows: dict[Key, Row] = {}
    names = [pair.columns[place].name for place in pair.places]
    for difference in tally.first:
        filters = tuple(Filter(n, "=", v) for n, v in zip(names, difference.key, strict=True))
        read = replace(source.read, filters=(*source.read.filters, *filters))
        if difference.kind != "extra":
            with source.canonical.rows(read) as found:
                rows.update((difference.key, row) for row in found)
    return tuple(statement(pair, d, rows.get(d.key)) for d in tally.first)


@dataclass(slots=True)
class _Look:
    """What one comparison of a table found."""

    rows: tuple[int, int]
    tally: RowTally
    notes: list[str] = field(default_factory=list)
    leaves: tuple[KeyRange, ...] | None = None
    """The ranges in which rows may differ, if nothing else can; None: anywhere."""


def _look(
    pair: VerifyPair,
    ends: tuple[End, End],
    settings: VerifySettings,
    pool: Executor,
    only: tuple[KeyRange, ...] | None = None,
) -> _Look:
    """Compare all rows, or those of some ranges."""
    columns = tuple(column.name for column in pair.columns)
    most = NAMED if settings.repair is None else REPAIRED_KEYS

    def tally(names: tuple[str, ...] = columns) -> RowTally:
        return RowTally(bool(pair.places), names, most=most)

    plan = plan_for(ends, pair.range_key)
    look: _Look | None = None
    while plan is not None and plan.places and look is None:
        found = tally()
        try:
            look = _by_digests(ends, plan, settings, found, pool, only)
        except TextsDifferError as error:
            plan = plan.without(error.places) if pair.places else None
    if look is None:
        return _by_rows(ends, tally, settings, pool)
    fetched = _fetched(plan, len(columns), pair.places)
    if fetched:
        look.leaves = None
        some = (_narrowed(ends[0], fetched, pair.places), _narrowed(ends[1], fetched, pair.places))
        names = tuple(columns[place] for place in fetched)
        part = _by_rows(some, lambda: tally(names), settings, pool)
        look.tally.join(part.tally)
        by_value = ", ".join(columns[place] for place in fetched if place not in pair.places)
        look.notes += [f"compared by fetched values: {by_value}", *part.notes]
        for end, one in zip(ends, some, strict=True):
            end.bytes_read += one.bytes_read
    return look


def _by_rows(
    ends: tuple[End, End], tally: Callable[[], RowTally], settings: VerifySettings, pool: Executor
) -> _Look:
    """Compare all rows by their values; where they change meanwhile, until what differs has stood
    still."""
    found = tally()
    look = _Look(compare_rows(ends, found, pool), found)
    looks = steady = 0
    while settings.settle is not None and look.tally.differing and looks < LOOKS:
        if not settings.settle():
            break
        _renew(ends)
        found = tally()
        now = _Look(compare_rows(ends, found, pool), found)
        looks += 1
        steady = steady + 1 if found.stands_as(look.tally) else 0
        if steady == STANDS:
            return now
        look = now
    if looks == LOOKS:
        # Never equal where that was not seen.
        look.notes.append(f"rows changed at each of {LOOKS} looks: some may have been in flight")
    return look


def _renew(ends: tuple[End, End]) -> None:
    for end in ends:
        if isinstance(end.canonical, RowDigests):
            end.canonical.renew()


def _by_digests(
    ends: tuple[End, End],
    plan: DigestPlan,
    settings: VerifySettings,
    tally: RowTally,
    pool: Executor,
    only: tuple[KeyRange, ...] | None,
) -> _Look:
    comparison = DigestComparison(ends, plan, tally, pool, settle=settings.settle, only=only)
    if settings.sample is not None:
        share, chosen = settings.sample, random.Random(settings.seed)
        comparison.chosen = lambda _: chosen.random() < share
    look = _Look(comparison.run(), tally)
    if plan.range_key is not None:
        look.leaves = tuple(comparison.leaves)
    if comparison.unsettled:
        rows = comparison.unsettled
        look.notes.append(f"{rows} rows that changed at each of {LOOKS} looks were not compared")
    return look


def _fetched(plan: DigestPlan | None, count: int, key: tuple[int, ...]) -> tuple[int, ...]:
    """Return the key's columns and those that no digest holds; none if a digest holds them all."""
    if plan is None:
        return ()
    others = [place for place in range(count) if place not in plan.places]
    return tuple(dict.fromkeys((*key, *others))) if others else ()


def _narrowed(end: End, places: tuple[int, ...], key: tuple[int, ...]) -> End:
    columns = tuple(end.read.columns[place] for place in places)
    where = tuple(places.index(place) for place in key)
    return replace(end, read=replace(end.read, columns=columns), key=where, progress=None)
