"""`verify` by digests over two made-up servers: what differs is found, and little is fetched."""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams_engine.errors import ServerError
from streams_engine.model import Dialect, NativeType, TableId, VerificationProgress
from streams_engine.schema.types.canonical import (
    BucketFilter,
    CanonicalColumn,
    CanonicalRead,
    KeyRange,
)
from streams_engine.schema.types.row_digests import BUCKETS, Digested
from streams_engine.verify import digests as by_digests
from streams_engine.verify import verification
from streams_engine.verify.pairs import PairColumn, VerifyPair
from streams_engine.verify.progress import MemoryProgress, Progress
from streams_engine.verify.report import TableVerdict, VerifyReport
from streams_engine.verify.verification import VerifySettings, verify_tables
from tests.support.fault_points import at_points

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
    for module in (by_digests, verification):
        monkeypatch.setattr(module, "MAX_READS", 12)


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

    assert compared(one, two, pair(), VerifySettings(catch_up=settle)).equal
    assert settled == [1]


def test_a_row_that_comes_and_goes_is_no_difference() -> None:
    one, two = Server(rows(10), NAMES), Server([*rows(10), ("10", "x")], NAMES)
    looks: list[int] = []

    def settle() -> bool:
        looks.append(1)
        if len(looks) == 3:  # at two looks it was on its way to go
            two.held = rows(10)
        return True

    assert compared(one, two, pair(), VerifySettings(catch_up=settle)).equal


def test_what_stands_still_and_differs_is_a_difference() -> None:
    one, two = Server(rows(10, {3: "new"}), NAMES), Server(rows(10), NAMES)
    verdict = compared(one, two, pair(), VerifySettings(catch_up=lambda: True))
    assert verdict.keys == ("3",) and verdict.equal is False and verdict.unsettled == 0


PLAIN = ("id", "plain")
"""No digest is made of the second: all rows are compared by their values."""


@pytest.mark.parametrize("names", [NAMES, PLAIN])
def test_rows_that_are_in_flight_for_ever_are_neither_equal_nor_different(
    names: tuple[str, str],
) -> None:
    one, two = Server(rows(10, {3: "new"}), names), Server(rows(10), names)
    verdict = compared(one, two, pair(names), VerifySettings(catch_up=lambda: False))
    assert (verdict.equal, verdict.unsettled, verdict.differences) == (None, 1, ())
    assert verdict.note is not None and "did not catch up" in verdict.note
    assert not VerifyReport((verdict,)).ok


@pytest.mark.parametrize("names", [NAMES, PLAIN])
@pytest.mark.parametrize("wrong", [False, True])
def test_a_row_that_never_stands_still_is_told(names: tuple[str, str], wrong: bool) -> None:
    """And does not hide one that stands still and differs."""
    there = {5: "wrong"} if wrong else {}
    one, two = Server(rows(10, {3: "0"}), names), Server(rows(10, there), names)
    count = 0

    def settle() -> bool:
        nonlocal count
        count += 1
        one.held = rows(10, {3: str(count)})
        return True

    verdict = compared(one, two, pair(names), VerifySettings(catch_up=settle))
    assert verdict.equal is (False if wrong else None) and verdict.unsettled == 1
    assert verdict.keys == (("5",) if wrong else ())
    assert verdict.note is not None and "1 rows that changed" in verdict.note
    assert not VerifyReport((verdict,)).ok


def test_a_row_that_changes_all_the_time_is_seen_to_be_equal() -> None:
    """The target has what the source had at some moment since the read, not at the read."""
    sampled = threading.Event()
    settled: list[int] = []

    class Hot(Server):
        number = 0
        shown: Sequence[Row] = ()

        def renew(self) -> None:
            self.number += 1
            self.held = rows(10, {3: str(self.number)})

        @contextmanager
        def rows(self, read: CanonicalRead) -> Iterator[Iterator[Row]]:
            self.shown = list(self.held)
            sampled.set()
            with super().rows(read) as found:
                yield found

    class Copy(Server):
        def renew(self) -> None:
            self.held = list(one.shown) if settled else self.held

    one, two = Hot(rows(10, {3: "0"}), NAMES), Copy(rows(10), NAMES)

    def settle() -> bool:
        settled.append(1)
        if len(settled) <= by_digests.STABLE_READS:
            one.shown = rows(10, {3: "unseen"})
        else:
            sampled.clear()
            assert sampled.wait(10)
        return True

    assert compared(one, two, pair(), VerifySettings(catch_up=settle)).equal is True
    assert len(settled) == by_digests.STABLE_READS + 1


def test_rows_without_a_key_are_settled_one_by_one() -> None:
    """One that never stands still does not hide those that are missing, and others are equal."""
    still: list[Row] = [("1", "a"), ("1", "a"), ("2", None)]
    one = Server([*still, ("9", "0")], NAMES)
    two = Server([still[0], ("2", None), ("9", "x")], NAMES)
    count = 0

    def settle() -> bool:
        nonlocal count
        count += 1
        one.held = [*still, ("9", str(count))]
        return True

    verdict = compared(one, two, pair(key=()), VerifySettings(catch_up=settle))
    assert verdict.equal is False
    assert verdict.note is not None and "1 missing, 1 extra" in verdict.note


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


# A verification that is cut


class CutError(Exception):
    """What ends a verification in a test."""


def cut_after(ranges: int) -> Callable[[str], None]:
    left = [ranges]

    def reached(_: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise CutError

    return reached


def again(store: MemoryProgress, resume: bool = True, now: float = 0.0) -> Progress:
    kept = Progress(store, seconds=0.0, now=lambda: now)
    kept.begin(resume=resume)
    return kept


def cut(store: MemoryProgress, left: Server, right: Server, what: VerifyPair, after: int) -> None:
    kept = again(store)
    with at_points(cut_after(after)), pytest.raises(CutError):
        verify_tables([what], left, right, kept=kept)
    kept.flush()


def gone_on(
    store: MemoryProgress, left: Server, right: Server, kept: Progress, **how: Any
) -> TableVerdict:
    left.sums = right.sums = 0
    settings = VerifySettings(**how)
    verdict = verify_tables([pair()], left, right, settings, kept=kept).tables[0]
    kept.end()
    assert not store.held
    return verdict


@given(st.integers(0, 9), st.sets(st.integers(0, 39), max_size=3))
def test_a_verification_that_was_cut_goes_on(after: int, wrong: set[int]) -> None:
    left, right, store = Server(rows(40), NAMES), Server(rows(40), NAMES), MemoryProgress()
    cut(store, left, right, pair(), after)
    right.held = rows(40, dict.fromkeys(wrong, "y"))
    equal = {n for one in store.held[TABLE].equal for n in range(one.low, one.high)}
    verdict = gone_on(store, left, right, again(store))
    assert set(verdict.keys) == {str(n) for n in wrong - equal}
    assert (verdict.source_rows, verdict.target_rows) == (40, 40)
    if not wrong:
        assert left.sums == right.sums == 10 - len(equal) // 4


def test_rows_before_and_after_those_that_were_equal_are_compared() -> None:
    left, right, store = Server(rows(40), NAMES), Server(rows(40), NAMES), MemoryProgress()
    cut(store, left, right, pair(), 9)
    left.held = [("-7", "x"), *left.held, ("99", "x")]
    verdict = gone_on(store, left, right, again(store))
    assert verdict.keys == ("-7", "99") and verdict.source_rows == 42


@pytest.mark.parametrize("other", ["structure", "configuration", "age", "resume"])
def test_what_another_comparison_found_equal_is_not_taken(other: str) -> None:
    left, right, store = Server(rows(40), NAMES), Server(rows(40), NAMES), MemoryProgress()
    narrower = replace(pair(), columns=pair().columns[:1])
    cut(store, left, right, narrower if other == "structure" else pair(), 5)
    kept = again(store, resume=other != "resume", now=90_000.0 if other == "age" else 0.0)
    how = {"identity": "another"} if other == "configuration" else {}
    right.held = rows(40, {0: "y"})
    assert gone_on(store, left, right, kept, **how).keys == ("0",)


def test_a_table_that_was_equal_is_not_compared_again() -> None:
    left, right, store = Server(rows(40), NAMES), Server(rows(40), NAMES), MemoryProgress()
    kept = again(store)
    whole = verify_tables([pair()], left, right, kept=kept).tables[0]
    assert store.held[TABLE].rows == 40
    assert gone_on(store, left, right, again(store)) == whole
    assert left.sums == right.sums == 0


def test_a_column_compared_by_its_values_stays_one() -> None:
    names = ("id", "odd")
    one, two = Server(rows(500), names), Server(rows(500), names, odd="printed ")
    store = MemoryProgress()
    with at_points(cut_after(120)), pytest.raises(CutError):
        verify_tables([pair(names)], one, two, kept=again(store))
    assert store.held[TABLE].by_value == ("odd",) and store.held[TABLE].equal
    verdict = verify_tables([pair(names)], one, two, kept=again(store)).tables[0]
    assert verdict.equal and verdict.note == "compared by fetched values: odd"


def test_a_store_that_refuses_harms_no_comparison(caplog: pytest.LogCaptureFixture) -> None:
    class Refusing(MemoryProgress):
        def save(self, tables: Sequence[VerificationProgress]) -> None:
            raise ServerError("denied")

    left, right = Server(rows(40), NAMES), Server(rows(40), NAMES)
    assert gone_on(Refusing(), left, right, again(Refusing())).equal
    assert caplog.text.count("cannot be kept") == 1
