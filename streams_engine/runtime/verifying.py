"""`verify`: do source and target hold the same rows? Order-free, in bounded memory.

Each row is hashed over the texts that its server rendered. Rows fall into buckets by the
hash of their key; a bucket's rows are summed, so that order does not matter and equal rows
count. Where a bucket differs, both ends are read once more for those buckets alone, and the
keys are named.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from streams_engine.model import Catalog, NativeType, TableId
from streams_engine.protocols import Sink, StructureSink
from streams_engine.schema.forms import NORMALISERS, Form, form_for
from streams_engine.schema.mapping import MappedCatalog, TableMapping

__all__ = ["Canonical", "Pair", "TableVerdict", "VerifyReport", "verify_mapped", "verify_pair"]

BUCKETS = 4096
NAMED = 100
"""Keys that a verdict names at most."""
WIDTH = 1 << 128
PROGRESS_ROWS = 20_000

Progress = Callable[[TableId, int], None]


class Canonical(Protocol):
    """One end, read as texts that its server renders, in one consistent view."""

    def rows(
        self, table: TableId, columns: Sequence[tuple[str, NativeType, Form]], *, only: bool
    ) -> Iterator[tuple[str | None, ...]]:
        """Every row of the table, in any order."""
        ...


@dataclass(frozen=True, slots=True)
class TableVerdict:
    """What was found of one table. ``keys`` names at most 100 differing keys."""

    table: str
    source_rows: int
    target_rows: int
    equal: bool
    differing: int = 0
    keys: tuple[str, ...] = ()
    note: str | None = None


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
                    "note": t.note,
                }
                for t in self.tables
            ],
        }


@dataclass(frozen=True, slots=True)
class Pair:
    """A source table and its target: columns in one order, and where the key stands in them."""

    source: TableId
    target: TableId
    source_columns: tuple[tuple[str, NativeType, Form], ...]
    target_columns: tuple[tuple[str, NativeType, Form], ...]
    key: tuple[int, ...] = ()
    zero_dates: str = "null"
    source_only: bool = False
    target_only: bool = False


def verify_mapped(
    mapped: MappedCatalog,
    sink: Sink,
    source: Canonical,
    target: Canonical,
    *,
    zero_dates: str,
    progress: Progress | None = None,
) -> VerifyReport:
    """Compare every table of a mapping with what is on the target now."""
    there = Catalog(mapped.target.dialect)
    if isinstance(sink, StructureSink):
        there = sink.inspect([mapping.target.id for mapping in mapped.tables])
    verdicts = []
    for mapping in mapped.tables:
        present = there.table(mapping.target.id)
        if present is None:
            note = f"there is no {mapping.target.id} on the target"
            verdicts.append(TableVerdict(str(mapping.source.id), 0, 0, False, note=note))
            continue
        types = {column.name: column.type for column in present.columns}
        missing = [c.target.name for c in mapping.columns if c.target.name not in types]
        if missing:
            note = f"the target lacks the columns {', '.join(missing)}"
            verdicts.append(TableVerdict(str(mapping.source.id), 0, 0, False, note=note))
            continue
        pair = _pair(mapping, types, zero_dates)
        verdicts.append(verify_pair(pair, source, target, progress))
    return VerifyReport(tuple(verdicts))


def _pair(mapping: TableMapping, types: dict[str, NativeType], zero_dates: str) -> Pair:
    columns = [
        (c.source.name, c.source.type, c.target.name, types[c.target.name]) for c in mapping.columns
    ]
    forms = [form_for(source, target) for _, source, _, target in columns]
    names = [source for source, *_ in columns]
    key = mapping.source.primary_key
    places = tuple(names.index(n) for n in key.columns if n in names) if key else ()
    return Pair(
        mapping.source.id,
        mapping.target.id,
        tuple((c[0], c[1], form) for c, form in zip(columns, forms, strict=True)),
        tuple((c[2], c[3], form) for c, form in zip(columns, forms, strict=True)),
        places if key and len(places) == len(key.columns) else (),
        zero_dates,
        source_only=mapping.source.partitioning is None,
        target_only=mapping.target.partitioning is None,
    )


@dataclass
class _Sums:
    """Per bucket: rows, and the sum of their hashes."""

    counts: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    sums: list[int] = field(default_factory=lambda: [0] * BUCKETS)


def verify_pair(
    pair: Pair, source: Canonical, target: Canonical, progress: Progress | None = None
) -> TableVerdict:
    """Compare one table. Both ends are read at once."""

    def ends(work: Callable[..., Any], *arguments: Any) -> tuple[Any, Any]:
        with ThreadPoolExecutor(2, thread_name_prefix="streams-engine-verify") as pool:
            one = pool.submit(work, _hashed(pair, source, True, progress), *arguments)
            two = pool.submit(work, _hashed(pair, target, False, None), *arguments)
            return one.result(), two.result()

    one, two = ends(_summed)
    odd = frozenset(
        i for i in range(BUCKETS) if (one.counts[i], one.sums[i]) != (two.counts[i], two.sums[i])
    )
    rows = sum(one.counts), sum(two.counts)
    if not odd:
        return TableVerdict(str(pair.source), *rows, True)
    left, right = ends(_collected, odd, bool(pair.key))
    return _verdict(pair, rows, left, right)


def _hashed(
    pair: Pair, end: Canonical, is_source: bool, progress: Progress | None
) -> Iterator[tuple[bytes, bytes, tuple[str | None, ...]]]:
    """(hash of the key, hash of the row, key) for every row of one end."""
    table = pair.source if is_source else pair.target
    columns = pair.source_columns if is_source else pair.target_columns
    only = pair.source_only if is_source else pair.target_only
    steps = [
        (i, NORMALISERS[form]) for i, (_, _, form) in enumerate(columns) if form in NORMALISERS
    ]
    moments = [i for i, (_, _, form) in enumerate(columns) if form is Form.MOMENT]
    nulling = is_source and pair.zero_dates == "null"
    for count, row in enumerate(end.rows(table, columns, only=only), 1):
        values = list(row)
        if nulling:
            for i in moments:
                values[i] = _without_zero_date(values[i])
        for i, normalise in steps:
            text = values[i]
            if text is not None:
                values[i] = normalise(text)
        digest = _digest(values)
        key = tuple(values[i] for i in pair.key)
        yield (_digest(key) if key else digest), digest, key
        if progress is not None and count % PROGRESS_ROWS == 0:
            progress(table, count)


def _without_zero_date(text: str | None) -> str | None:
    """NULL for 0000-00-00 and the like, which the copy's policy made NULL."""
    if text is None or len(text) < 10 or text[4] != "-":
        return text
    return None if text[5:7] == "00" or text[8:10] == "00" else text


def _digest(values: Sequence[str | None]) -> bytes:
    """128 bits over the values with their lengths, so that no two rows run together."""
    parts = []
    for value in values:
        if value is None:
            parts.append(b"-;")
        else:
            raw = value.encode("utf-8", "surrogatepass")
            parts.append(b"%d:" % len(raw))
            parts.append(raw)
    return hashlib.blake2b(b"".join(parts), digest_size=16).digest()


def _bucket(digest: bytes) -> int:
    return int.from_bytes(digest[:2], "little") % BUCKETS


def _summed(rows: Iterator[tuple[bytes, bytes, Any]]) -> _Sums:
    found = _Sums()
    counts, sums = found.counts, found.sums
    for key, row, _ in rows:
        bucket = _bucket(key)
        counts[bucket] += 1
        sums[bucket] = (sums[bucket] + int.from_bytes(row, "little")) % WIDTH
    return found


def _collected(
    rows: Iterator[tuple[bytes, bytes, tuple[str | None, ...]]],
    odd: frozenset[int],
    keyed: bool,
) -> Counter[Any]:
    """The rows of the differing buckets: (key, hash) with key, hash alone without."""
    return Counter(
        (key, row) if keyed else row for digest, row, key in rows if _bucket(digest) in odd
    )


def _verdict(
    pair: Pair, rows: tuple[int, int], left: Counter[Any], right: Counter[Any]
) -> TableVerdict:
    gone, extra = left - right, right - left
    table = str(pair.source)
    if not pair.key:
        differing = max(gone.total(), extra.total())
        note = f"{gone.total()} rows are missing on the target, {extra.total()} are too many"
        return TableVerdict(table, *rows, not differing, differing, note=note)
    keys = sorted({key for key, _ in gone} | {key for key, _ in extra}, key=_sortable)
    names = tuple(", ".join("NULL" if v is None else v for v in key) for key in keys[:NAMED])
    return TableVerdict(table, *rows, not keys, len(keys), names)


def _sortable(key: tuple[str | None, ...]) -> tuple[tuple[bool, str], ...]:
    return tuple((value is not None, value or "") for value in key)
