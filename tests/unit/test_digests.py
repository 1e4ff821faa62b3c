"""`verify` by digests over two made-up servers: what differs is found, and little is fetched."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams_engine.model import Dialect, NativeType, TableId
from streams_engine.schema.types.canonical import (
    BucketFilter,
    CanonicalColumn,
    CanonicalRead,
    KeyRange,
)
from streams_engine.schema.types.row_digests import BUCKETS, Digested
from streams_engine.verify import digests as by_digests
from streams_engine.verify.pairs import PairColumn, VerifyPair
from streams_engine.verify.report import TableVerdict
from streams_engine.verify.verification import VerifySettings, verify_tables

TABLE = TableId("shop", "orders")
INT = NativeType(Dialect.MYSQL, "int", "int")
PG_INT = NativeType(Dialect.POSTGRES, "integer", "int4")
TEXT = NativeType(Dialect.MYSQL, "text", "text")
PG_TEXT = NativeType(Dialect.POSTGRES, "text", "text")
Row = tuple[str | None, ...]


class Server:
    """An end that digests its rows; columns named in ``odd`` print each text in its own way."""

    digests: Sequence[str] = ("plain",)

    def __init__(self, rows: Sequence[Row], names: Sequence[str], odd: str = "") -> None:
        self.held, self.names, self.odd = list(rows), list(names), odd
        self.fetched = 0
        self.sums = 0
        self.changes: list[Callable[[], None]] = []

    @contextmanager
    def rows(self, read: CanonicalRead) -> Iterator[Iterator[Row]]:
        chosen = [self._shown(row, read.columns) for row in self._rows(read)]
        self.fetched += len(chosen)
        yield iter(chosen)

    def can_digest(self, column: CanonicalColumn) -> bool:
        return not column.name.startswith("plain")

    def key_bounds(self, read: CanonicalRead, column: str) -> tuple[int, int] | None:
        keys = self._keys(read, column)
        return (keys[0], keys[-1]) if keys else None

    def key_after(self, read: CanonicalRead, column: str, rows: int) -> int | None:
        keys = self._keys(read, column)
        return keys[rows] if rows < len(keys) else None

    def digest(self, read: CanonicalRead, kind: str) -> Digested:
        self.sums += 1
        found = [self._digest(row, read.columns) for row in self._rows(read)]
        return Digested(len(found), sum(found) % (1 << 64))

    def buckets(self, read: CanonicalRead, kind: str) -> Mapping[int, Digested]:
        held: dict[int, list[int]] = defaultdict(list)
        for row in self._rows(read):
            digest = self._digest(row, read.columns)
            held[digest % BUCKETS].append(digest)
        return {b: Digested(len(all_), sum(all_) % (1 << 64)) for b, all_ in held.items()}

    def renew(self) -> None:
        if self.changes:
            self.changes.pop(0)()

    def _keys(self, read: CanonicalRead, column: str) -> list[int]:
        place = self.names.index(column)
        return sorted(int(row[place] or 0) for row in self._rows(read))

    def _rows(self, read: CanonicalRead) -> list[Row]:
        part = read.part
        if read.filters:
            wanted = {self.names.index(f.column): f.value for f in read.filters}
            return [row for row in self.held if all(row[p] == v for p, v in wanted.items())]
        if isinstance(part, KeyRange):
            place = self.names.index(part.column)
            low, high = part.low, part.high
            return [
                row
                for row in self.held
                if (low is None or int(row[place] or 0) >= low)
                and (high is None or int(row[place] or 0) < high)
            ]
        if isinstance(part, BucketFilter):
            chosen = set(part.chosen)
            return [r for r in self.held if self._digest(r, part.columns) % BUCKETS in chosen]
        return list(self.held)

    def _shown(self, row: Row, columns: Sequence[CanonicalColumn]) -> Row:
        return tuple(row[self.names.index(column.name)] for column in columns)

    def _digest(self, row: Row, columns: Sequence[CanonicalColumn]) -> int:
        texts = [
            f"{self.odd}{value}" if self.odd and column.name.endswith("odd") else value
            for column, value in zip(columns, self._shown(row, columns), strict=True)
        ]
        return int.from_bytes(hashlib.sha256(repr(texts).encode()).digest()[:8], "big")


NAMES = ("id", "v")


def pair(names: Sequence[str] = NAMES, key: tuple[str, ...] = ("id",)) -> VerifyPair:
    columns = tuple(
        PairColumn(n, n, INT, PG_INT) if n == "id" else PairColumn(n, n, TEXT, PG_TEXT)
        for n in names
    )
    ranged = "id" if key == ("id",) else None
    return VerifyPair(TABLE, TABLE, key, columns, range_key=ranged)


def compared(
    left: Server, right: Server, what: VerifyPair, settings: VerifySettings | None = None
) -> TableVerdict:
    return verify_tables([what], left, right, settings or VerifySettings()).tables[0]


values = st.none() | st.sampled_from(["", "a", "b"])


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges of few rows, so that there are many."""
    monkeypatch.setattr(by_digests, "RANGE_ROWS", 4)
    monkeypatch.setattr(by_digests, "LEAF_ROWS", 2)


@given(st.dictionaries(st.integers(-50, 50), values), st.dictionaries(st.integers(-50, 50), values))
def test_ranges_name_the_keys_that_differ(
    left: dict[int, str | None], right: dict[int, str | None]
) -> None:
    one, two = (Server([(str(k), v) for k, v in rows.items()], NAMES) for rows in (left, right))
    verdict = compared(one, two, pair())
    assert dict(zip(verdict.keys, verdict.kinds, strict=True)) == {
        **{str(k): "missing" for k in left.keys() - right.keys()},
        **{str(k): "extra" for k in right.keys() - left.keys()},
        **{str(k): "different" for k in left.keys() & right.keys() if left[k] != right[k]},
    }
    assert (verdict.source_rows, verdict.target_rows) == (len(left), len(right))
    assert all(d.columns == ("v",) for d in verdict.differences if d.kind == "different")


@given(st.lists(st.tuples(values, values), max_size=9), st.lists(st.tuples(values, values)))
def test_buckets_find_any_difference(left: list[Row], right: list[Row]) -> None:
    names = ("u", "v")
    for key in ((), ("u", "v")):
        verdict = compared(Server(left, names), Server(right, names), pair(names, key))
        assert verdict.equal is (sorted(map(repr, left)) == sorted(map(repr, right)))


def rows(count: int, other: Mapping[int, str] = {}) -> list[Row]:
    return [(str(n), other.get(n, "x")) for n in range(count)]


def test_few_rows_are_fetched() -> None:
    one, two = Server(rows(1000), NAMES), Server(rows(1000, {77: "y"}), NAMES)
    verdict = compared(one, two, pair())
    assert verdict.keys == ("77",) and one.fetched <= 4
    again = Server(rows(1000), NAMES)
    assert compared(again, Server(rows(1000), NAMES), pair()).equal and again.fetched == 0


def test_a_column_without_a_digest_is_compared_by_its_values() -> None:
    names = ("id", "v", "plain")
    left: list[Row] = [(str(n), "x", "p") for n in range(20)]
    right = [*left[:7], ("7", "x", "q"), *left[8:]]
    verdict = compared(Server(left, names), Server(right, names), pair(names))
    assert [(d.shown, d.kind, d.columns) for d in verdict.differences] == [
        ("7", "different", ("plain",))
    ]
    assert verdict.note is not None and "compared by fetched values: plain" in verdict.note
    keyless = compared(Server(left, names), Server(right, names), pair(names, key=()))
    assert not keyless.equal


def test_a_column_whose_texts_differ_is_found_out() -> None:
    names = ("id", "odd")
    one = Server(rows(500), names)
    two = Server(rows(500, {42: "y"}), names, odd="printed ")
    verdict = compared(one, two, pair(names))
    assert verdict.keys == ("42",)
    assert verdict.note is not None and "odd" in verdict.note
    assert one.fetched < 1500  # by then the digest leaves the column out


def test_rows_in_flight_are_no_differences() -> None:
    one, two = Server(rows(10, {3: "new"}), NAMES), Server(rows(10), NAMES)
    settled: list[int] = []

    def settle() -> bool:
        settled.append(1)
        two.held = rows(10, {3: "new"})
        return True

    assert compared(one, two, pair(), VerifySettings(settle=settle)).equal
    assert settled == [1]


def test_a_row_that_comes_and_goes_is_no_difference() -> None:
    one, two = Server(rows(10), NAMES), Server([*rows(10), ("10", "x")], NAMES)
    looks: list[int] = []

    def settle() -> bool:
        looks.append(1)
        if len(looks) == 3:  # at two looks it was on its way to go
            two.held = rows(10)
        return True

    assert compared(one, two, pair(), VerifySettings(settle=settle)).equal


@pytest.mark.parametrize("settles", [True, False])
def test_what_stands_still_and_differs_is_a_difference(settles: bool) -> None:
    one, two = Server(rows(10, {3: "new"}), NAMES), Server(rows(10), NAMES)
    settings = VerifySettings(settle=lambda: settles)
    assert compared(one, two, pair(), settings).keys == ("3",)


def test_a_row_that_never_stands_still_is_told() -> None:
    one, two = Server(rows(10, {3: "0"}), NAMES), Server(rows(10), NAMES)
    count = 0

    def settle() -> bool:
        nonlocal count
        count += 1
        one.held = rows(10, {3: str(count)})
        return True

    verdict = compared(one, two, pair(), VerifySettings(settle=settle))
    assert verdict.equal and verdict.note is not None and "1 rows that changed" in verdict.note


def test_a_sample_reads_a_share() -> None:
    one, two = Server(rows(1000), NAMES), Server(rows(1000), NAMES)
    verdict = compared(one, two, pair(), VerifySettings(sample=0.1, seed=7))
    assert verdict.equal and 0 < verdict.source_rows < 400


def test_rows_are_repaired_and_looked_at_again() -> None:
    one, two = Server(rows(10), NAMES), Server([*rows(9, {3: "y"}), ("99", "x")], NAMES)
    asked: list[Mapping[tuple[str | None, ...], str] | None] = []

    def repair(table: TableId, kinds: Mapping[tuple[str | None, ...], str] | None) -> int:
        asked.append(kinds)
        two.held = list(one.held)
        return len(kinds or ())

    verdict = compared(one, two, pair(), VerifySettings(repair=repair))
    assert asked == [{("3",): "different", ("9",): "missing", ("99",): "extra"}]
    assert verdict.equal and verdict.repaired == 3 and verdict.differing == 3
