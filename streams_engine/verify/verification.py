"""Compare every table of a mapping with what is on the target."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

from streams_engine.contracts import Sink, StructureSink
from streams_engine.errors import (
    ConnectionFailed,
    NotFound,
    PermissionDenied,
    ServerError,
    StateConflict,
)
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
from streams_engine.verify.progress import Progress, TableProgress, digest_of
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

Told = Callable[[TableId, int], None]
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
    shuffled: bool = False
    """The tables are compared in any order: a sample that may be cut."""
    identity: str = ""
    """Of the stream's configuration: what was found equal under another is not taken."""


def verify_mapped(
    mapped: MappedCatalog,
    sink: Sink,
    sources: Mapping[str, Canonical],
    target: Canonical,
    settings: VerifySettings,
    progress: Told | None = None,
    kept: Progress | None = None,
) -> VerifyReport:
    """Compare every table of a mapping with what is on the target now.

    ``sources``: by the alias of the connection that a table is of. ``kept``: how far one came that
    was cut; it has begun, and ends here.
    """
    kept = kept or Progress()
    try:
        verdicts = list(_verdicts(mapped, sink, sources, target, settings, progress, kept))
    except ConnectionFailed as error:
        kept.flush()
        error.remedy = (
            error.remedy or "Verify again once the server answers: it goes on from there."
        )
        raise
    except BaseException:
        kept.flush()
        raise
    kept.end()
    return VerifyReport(tuple(verdicts))


def _verdicts(
    mapped: MappedCatalog,
    sink: Sink,
    sources: Mapping[str, Canonical],
    target: Canonical,
    settings: VerifySettings,
    progress: Told | None,
    kept: Progress,
) -> Iterator[TableVerdict]:
    there = mapped.target
    if isinstance(sink, StructureSink):
        there = sink.inspect([mapping.target.id for mapping in mapped.tables])
    chosen = list(_chosen(mapped, settings.tables))
    if settings.shuffled:
        random.shuffle(chosen)
    for mapping in chosen:
        pair = pair_of(mapping, there.table(mapping.target.id))
        if isinstance(pair, str):
            yield TableVerdict(str(mapping.source.id), 0, 0, False, note=pair)
            continue
        ends = sources[mapping.source.id.alias], target
        try:
            yield from verify_tables([pair], *ends, settings, progress=progress, kept=kept).tables
        except (PermissionDenied, ServerError, NotFound) as error:
            # Of this table, which may have been dropped meanwhile; not of what is done for others.
            if error.retryable:
                raise
            for end in ends:
                if isinstance(end, RowDigests):
                    end.renew()
            note = f"not compared: {error.message} {error.remedy or ''}".rstrip()
            yield TableVerdict(str(mapping.source.id), 0, 0, None, note=note)


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
    progress: Told | None = None,
    executor: Executor | None = None,
    kept: Progress | None = None,
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
            tuple(
                _verdict(pair, (source, target), settings, progress, pool, kept or Progress())
                for pair in pairs
            )
        )


def _verdict(
    pair: VerifyPair,
    canonicals: tuple[Canonical, Canonical],
    settings: VerifySettings,
    progress: Told | None,
    pool: Executor,
    kept: Progress,
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
        comparison = digest_of(pair, settings.zero_dates, settings.identity)
        known = kept.table(pair.source, comparison) if settings.sample is None else None
        verdict = _compared(pair, ends, settings, pool, known)
    return replace(
        verdict,
        seconds=time.monotonic() - begun,
        bytes_read=sum(end.bytes_read for end in ends),
    )


def _compared(
    pair: VerifyPair,
    ends: tuple[End, End],
    settings: VerifySettings,
    pool: Executor,
    kept: TableProgress | None,
) -> TableVerdict:
    known = kept.known if kept is not None else None
    if known is not None and known.rows is not None:
        return _equal(pair, (known.rows, known.rows), known.notes, known.repaired)
    look = _look(pair, ends, settings, pool, kept=kept)
    first, repaired = look, known.repaired if known is not None else 0
    for _ in range(REPAIRS if settings.repair is not None else 0):
        if look.tally.differing == 0 or settings.repair is None:
            break
        _renew(ends)  # no lock of ours is in its way
        kinds = _repairable(pair, look.tally)
        try:
            written = settings.repair(pair.source, kinds)
        except StateConflict as error:  # of this table; the others may be repaired
            look.notes.append(f"not repaired: {error.message} {error.remedy or ''}".rstrip())
            break
        repaired += written
        if kept is not None:
            kept.repaired(written)
        _renew(ends)
        only = None if kinds is None else look.leaves
        again = settings if only is None else replace(settings, sample=None)
        look = _look(pair, ends, again, pool, only)
    equal = False if look.tally.differing else None if look.unsettled else True
    rows = first.rows if not equal or not repaired else (first.rows[0], first.rows[0])
    tally = first.tally
    notes = [tally.note] if tally.differing else []
    if equal and kept is not None:
        kept.done(rows[0], look.notes)
    return TableVerdict(
        str(pair.source),
        *rows,
        equal=equal,
        unsettled=look.unsettled,
        differing=tally.differing,
        differences=tuple(tally.first) if tally.keyed else (),
        note="; ".join([*notes, *look.notes]) or None,
        repaired=repaired,
        statements=_statements(pair, ends[0], tally),
    )


def _equal(
    pair: VerifyPair, rows: tuple[int, int], notes: Sequence[str], repaired: int
) -> TableVerdict:
    """Return the verdict on a table that is known to be equal."""
    note = "; ".join(notes) or None
    return TableVerdict(str(pair.source), *rows, equal=True, note=note, repaired=repaired)


def _repairable(pair: VerifyPair, tally: RowTally) -> Mapping[Key, str] | None:
    """Return the keys to repair; None if all rows have to be written again."""
    texts = all(_is_asked_for(pair.columns[place].source_type) for place in pair.places)
    return {d.key: d.kind for d in tally.named.values()} if tally.names_all and texts else None


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
    unsettled: int = 0
    leaves: tuple[KeyRange, ...] | None = None
    """The ranges in which rows may differ, if nothing else can; None: anywhere."""


def _look(
    pair: VerifyPair,
    ends: tuple[End, End],
    settings: VerifySettings,
    pool: Executor,
    only: tuple[KeyRange, ...] | None = None,
    kept: TableProgress | None = None,
) -> _Look:
    """Compare all rows, or those of some ranges; without what is known to be equal."""
    columns = tuple(column.name for column in pair.columns)
    most = NAMED if settings.repair is None else REPAIRED_KEYS

    def tally(names: tuple[str, ...] = columns) -> RowTally:
        return RowTally(bool(pair.places), names, most=most)

    plan = plan_for(ends, pair.range_key)
    if plan is not None and kept is not None and pair.places:
        plan = plan.without(frozenset(map(columns.index, kept.known.by_value)))
    look: _Look | None = None
    while plan is not None and plan.places and look is None:
        found = tally()
        try:
            look = _by_digests(ends, plan, settings, found, pool, only, kept)
        except TextsDifferError as error:
            plan = plan.without(error.places) if pair.places else None
            if plan is not None and kept is not None:
                kept.compares_by_value([columns[place] for place in error.places])
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
        look.unsettled += part.unsettled
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
    if settings.settle is None or not found.differing:
        return look
    if found.names_all:
        return _keys_settled(look, ends, tally, settings.settle, pool)
    steady = 0
    for _ in range(LOOKS):
        before = look.tally
        _renew(ends)  # no lock of ours is in the way of the stream
        if not settings.settle():
            return _unknown(look, tally(), before.differing, NOT_CAUGHT_UP)
        _renew(ends)
        found = tally()
        look = _Look(compare_rows(ends, found, pool), found)
        steady = steady + 1 if found.stands_as(before) else 0
        if steady == STANDS or not found.differing:
            return look
    return _unknown(look, tally(), look.tally.differing, RESTLESS)


def _keys_settled(
    look: _Look,
    ends: tuple[End, End],
    tally: Callable[[], RowTally],
    settle: Settle,
    pool: Executor,
) -> _Look:
    """Look at the keys that differ again, until each was equal once or has stood still."""
    stood, known = tally(), look.tally
    steady = dict.fromkeys(known.marks, 0)
    for _ in range(LOOKS):
        if not steady:
            return replace(look, tally=stood)
        _renew(ends)  # no lock of ours is in the way of the stream
        if not settle():
            return _unknown(look, stood, len(steady), NOT_CAUGHT_UP)
        _renew(ends)
        found = tally()
        compare_rows(ends, found, pool)
        for key in list(steady):
            mark = found.marks.get(key)
            if mark is None:
                steady[key] = 0
                if found.names_all:
                    del steady[key]
                continue
            steady[key] = steady[key] + 1 if mark == known.marks.get(key) else 0
            if steady[key] == STANDS:
                del steady[key]
                stood.add_one(found.named[key])
        known = found
    return _unknown(look, stood, len(steady), RESTLESS)


RESTLESS = f"changed at each of {LOOKS} looks"
NOT_CAUGHT_UP = "were in flight when the target did not catch up in time"


def _unknown(look: _Look, stood: RowTally, rows: int, why: str) -> _Look:
    """Return a look with only what stood still and differs; of other rows nothing is known."""
    notes = [*look.notes, f"not compared: {rows} rows that {why}"] if rows else look.notes
    return replace(look, tally=stood, notes=notes, unsettled=rows)


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
    kept: TableProgress | None,
) -> _Look:
    comparison = DigestComparison(
        ends, plan, tally, pool, settle=settings.settle, only=only, progress=kept
    )
    if settings.sample is not None:
        share, chosen = settings.sample, random.Random(settings.seed)
        comparison.chosen = lambda _: chosen.random() < share
    look = _Look(comparison.run(), tally)
    if plan.range_key is not None:
        look.leaves = tuple(comparison.leaves)
    if comparison.unsettled:
        look.unsettled = comparison.unsettled
        why = RESTLESS if comparison.waited else NOT_CAUGHT_UP
        look.notes.append(f"not compared: {look.unsettled} rows that {why}")
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
