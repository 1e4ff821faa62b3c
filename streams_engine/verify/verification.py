"""Compare every table of a mapping with what is on the target."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

from streams_engine.contracts import Sink, StructureSink
from streams_engine.errors import (
    ConnectionFailed,
    NotFound,
    PermissionDenied,
    ServerError,
    StateConflict,
)
from streams_engine.model import Filter, Finding, NativeType, TableId
from streams_engine.schema.comparison import compare_structure
from streams_engine.schema.ddl.structure import Structure
from streams_engine.schema.mapping.tables import MappedCatalog, TableMapping
from streams_engine.schema.types.canonical import CanonicalType, KeyRange, canonical_type_of
from streams_engine.schema.types.row_digests import RowDigests
from streams_engine.verify.digests import (
    MAX_READS,
    STABLE_READS,
    CatchUp,
    DigestComparison,
    DigestPlan,
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

__all__ = ["VerifySettings", "compare_structures", "verify_mapped", "verify_tables"]

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
    catch_up: CatchUp | None = None
    """For ends that are written to: waits until the target has what the source has."""
    repair: Repair | None = None
    structure: Structure | None = None
    """Compare these parts of the structure too; None: none of it."""
    shuffled: bool = False
    """The tables are compared in any order: a sample that may be interrupted."""
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
    was interrupted; it has begun, and ends here.
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
    return VerifyReport(tuple(verdicts), compare_structures(mapped, sink, settings))


def compare_structures(
    mapped: MappedCatalog, sink: Sink, settings: VerifySettings
) -> tuple[Finding, ...]:
    """Compare the structure of the tables that are there; a missing table has a verdict."""
    wanted = settings.structure
    if wanted is None or not isinstance(sink, StructureSink):
        return ()
    chosen = _chosen(mapped, settings.tables)
    there = sink.inspect([mapping.target.id for mapping in chosen])
    pairs = ((mapping.target, there.table(mapping.target.id)) for mapping in chosen)
    return tuple(
        finding
        for mapped_table, present in pairs
        if present is not None
        for finding in compare_structure(
            mapped_table, present, wanted, positions=settings.catch_up is None
        )
    )


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
        near = [one for name in missing for one in get_close_matches(name, known, 3)]
        raise NotFound(
            f"The stream has no table {', '.join(missing)}.",
            remedy=f"Similar names: {', '.join(dict.fromkeys(near))}."
            if near
            else "Name tables of the stream, as its plan() lists them.",
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
    ends[0].tell(0)
    if settings.catch_up is not None:
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
    result = _compare(pair, ends, settings, pool, kept=kept)
    first, repaired = result, known.repaired if known is not None else 0
    for _ in range(REPAIRS if settings.repair is not None else 0):
        if result.tally.differing == 0 or settings.repair is None:
            break
        _renew(ends)  # no lock of ours is in its way
        kinds = _repairable(pair, result.tally)
        try:
            written = settings.repair(pair.source, kinds)
        except StateConflict as error:  # of this table; the others may be repaired
            result.notes.append(f"not repaired: {error.message} {error.remedy or ''}".rstrip())
            break
        repaired += written
        if kept is not None:
            kept.repaired(written)
        _renew(ends)
        only = None if kinds is None else result.leaves
        again = settings if only is None else replace(settings, sample=None)
        result = _compare(pair, ends, again, pool, only)
    equal = False if result.tally.differing else None if result.unsettled else True
    rows = first.rows if not equal or not repaired else (first.rows[0], first.rows[0])
    tally = first.tally
    notes = [tally.note] if tally.differing else []
    if equal and kept is not None:
        kept.done(rows[0], result.notes)
    return TableVerdict(
        str(pair.source),
        *rows,
        equal=equal,
        unsettled=result.unsettled,
        differing=tally.differing,
        differences=tuple(tally.first) if tally.keyed else (),
        note="; ".join([*notes, *result.notes]) or None,
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
class _Comparison:
    """What one comparison of a table found."""

    rows: tuple[int, int]
    tally: RowTally
    notes: list[str] = field(default_factory=list)
    unsettled: int = 0
    leaves: tuple[KeyRange, ...] | None = None
    """The ranges in which rows may differ, if nothing else can; None: anywhere."""


def _compare(
    pair: VerifyPair,
    ends: tuple[End, End],
    settings: VerifySettings,
    pool: Executor,
    only: tuple[KeyRange, ...] | None = None,
    kept: TableProgress | None = None,
) -> _Comparison:
    """Compare all rows, or those of some ranges; without what is known to be equal."""
    columns = tuple(column.name for column in pair.columns)
    most = NAMED if settings.repair is None else REPAIRED_KEYS

    def tally(names: tuple[str, ...] = columns) -> RowTally:
        return RowTally(bool(pair.places), names, most=most)

    plan = plan_for(ends, pair.range_key)
    if plan is not None and kept is not None and pair.places:
        plan = plan.without(frozenset(map(columns.index, kept.known.by_value)))
    result: _Comparison | None = None
    while plan is not None and plan.places and result is None:
        found = tally()
        try:
            result = _by_digests(ends, plan, settings, found, pool, only, kept)
        except TextsDifferError as error:
            plan = plan.without(error.places) if pair.places else None
            if plan is not None and kept is not None:
                kept.compares_by_value([columns[place] for place in error.places])
    if result is None:
        return _by_rows(ends, tally, settings, pool)
    fetched = _fetched(plan, len(columns), pair.places)
    if fetched:
        result.leaves = None
        some = (_narrowed(ends[0], fetched, pair.places), _narrowed(ends[1], fetched, pair.places))
        names = tuple(columns[place] for place in fetched)
        part = _by_rows(some, lambda: tally(names), settings, pool)
        result.tally.join(part.tally)
        by_value = ", ".join(columns[place] for place in fetched if place not in pair.places)
        result.notes += [f"compared by fetched values: {by_value}", *part.notes]
        result.unsettled += part.unsettled
        for end, one in zip(ends, some, strict=True):
            end.bytes_read += one.bytes_read
    return result


def _by_rows(
    ends: tuple[End, End], tally: Callable[[], RowTally], settings: VerifySettings, pool: Executor
) -> _Comparison:
    """Compare all rows by their values; where they change meanwhile, until what differs has not
    changed."""
    found = tally()
    result = _Comparison(compare_rows(ends, found, pool), found)
    if settings.catch_up is None or not found.differing:
        return result
    if found.names_all:
        return _reread_keys(result, ends, tally, settings.catch_up, pool)
    unchanged = 0
    for _ in range(MAX_READS):
        before = result.tally
        _renew(ends)  # no lock of ours is in the way of the stream
        if not settings.catch_up():
            return _unknown(result, tally(), before.differing, NOT_CAUGHT_UP)
        _renew(ends)
        found = tally()
        result = _Comparison(compare_rows(ends, found, pool), found)
        unchanged = unchanged + 1 if found.differs_as(before) else 0
        if unchanged == STABLE_READS or not found.differing:
            return result
    return _unknown(result, tally(), result.tally.differing, RESTLESS)


def _reread_keys(
    result: _Comparison,
    ends: tuple[End, End],
    tally: Callable[[], RowTally],
    catch_up: CatchUp,
    pool: Executor,
) -> _Comparison:
    """Read the keys that differ again, until each was equal once or has not changed."""
    stable, known = tally(), result.tally
    unchanged = dict.fromkeys(known.marks, 0)
    for _ in range(MAX_READS):
        if not unchanged:
            return replace(result, tally=stable)
        _renew(ends)  # no lock of ours is in the way of the stream
        if not catch_up():
            return _unknown(result, stable, len(unchanged), NOT_CAUGHT_UP)
        _renew(ends)
        found = tally()
        compare_rows(ends, found, pool)
        for key in list(unchanged):
            mark = found.marks.get(key)
            if mark is None:
                unchanged[key] = 0
                if found.names_all:
                    del unchanged[key]
                continue
            unchanged[key] = unchanged[key] + 1 if mark == known.marks.get(key) else 0
            if unchanged[key] == STABLE_READS:
                del unchanged[key]
                stable.add_one(found.named[key])
        known = found
    return _unknown(result, stable, len(unchanged), RESTLESS)


RESTLESS = f"changed at each of {MAX_READS} reads"
NOT_CAUGHT_UP = "were in flight when the target did not catch up in time"


def _unknown(result: _Comparison, stable: RowTally, rows: int, why: str) -> _Comparison:
    """Return a comparison with only what did not change and differs; the rest is not known."""
    notes = [*result.notes, f"not compared: {rows} rows that {why}"] if rows else result.notes
    return replace(result, tally=stable, notes=notes, unsettled=rows)


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
) -> _Comparison:
    comparison = DigestComparison(
        ends, plan, tally, pool, catch_up=settings.catch_up, only=only, progress=kept
    )
    if settings.sample is not None:
        share, chosen = settings.sample, random.Random(settings.seed)
        comparison.chosen = lambda _: chosen.random() < share
    result = _Comparison(comparison.run(), tally)
    if plan.range_key is not None:
        result.leaves = tuple(comparison.leaves)
    if comparison.unsettled:
        result.unsettled = comparison.unsettled
        why = RESTLESS if comparison.caught_up else NOT_CAUGHT_UP
        result.notes.append(f"not compared: {result.unsettled} rows that {why}")
    return result


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
