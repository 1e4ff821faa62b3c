"""`verify` over two made-up ends: equal exactly where the rows are, and the keys named."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams_engine.errors import ConnectionFailed
from streams_engine.model import Dialect, NativeType, TableId
from streams_engine.schema.types.canonical import CanonicalRead
from streams_engine.verify import rows as comparison
from streams_engine.verify.pairs import PairColumn, VerifyPair
from streams_engine.verify.report import TableVerdict, VerifyReport
from streams_engine.verify.verification import verify_tables

TABLE = TableId("shop", "orders")
TEXT = NativeType(Dialect.POSTGRES, "text", "text")
MY_DECIMAL = NativeType(Dialect.MYSQL, "decimal(10,2)", "decimal", (10, 2))
PG_NUMERIC = NativeType(Dialect.POSTGRES, "numeric", "numeric")
Row = tuple[str | None, ...]


class Fake:
    """An end that holds these rows, and gives them in another order each time."""

    def __init__(self, rows: Sequence[Row], fail_at: int | None = None) -> None:
        self.held = list(rows)
        self.fail_at = fail_at
        self.reads = 0
        self.given = 0

    @contextmanager
    def rows(self, read: CanonicalRead) -> Iterator[Iterator[Row]]:
        self.reads += 1
        shuffled = random.sample(self.held, len(self.held))
        yield self._given(shuffled)

    def _given(self, rows: list[Row]) -> Iterator[Row]:
        for count, row in enumerate(rows):
            if count == self.fail_at:
                raise ConnectionFailed("the connection broke")
            self.given += 1
            yield row


def pair(width: int = 2, key: tuple[str, ...] = ("c0",)) -> VerifyPair:
    columns = tuple(PairColumn(f"c{i}", f"d{i}", TEXT, TEXT) for i in range(width))
    return VerifyPair(TABLE, TABLE, key, columns)


def compared(left: Sequence[Row], right: Sequence[Row], what: VerifyPair) -> TableVerdict:
    return verify_tables([what], Fake(left), Fake(right)).tables[0]


values = st.none() | st.sampled_from(["", "a", "A", "b", "\\N", "ab", "ü", "\x00", "1"])
tables = st.lists(st.tuples(values, values), max_size=8)


@given(tables, tables)
def test_equal_exactly_where_the_multisets_are(left: list[Row], right: list[Row]) -> None:
    same = Counter(left) == Counter(right)
    for key in ((), ("c0",), ("c0", "c1")):
        verdict = compared(left, right, pair(key=key))
        assert verdict.equal is same
        assert (verdict.differing == 0) is same
        assert (verdict.source_rows, verdict.target_rows) == (len(left), len(right))


@given(st.dictionaries(st.integers(), values), st.dictionaries(st.integers(), values))
def test_named_keys_are_exact(left: dict[int, str | None], right: dict[int, str | None]) -> None:
    verdict = compared(
        [(str(k), v) for k, v in left.items()], [(str(k), v) for k, v in right.items()], pair()
    )
    expected = {
        **{str(k): "missing" for k in left.keys() - right.keys()},
        **{str(k): "extra" for k in right.keys() - left.keys()},
        **{str(k): "different" for k in left.keys() & right.keys() if left[k] != right[k]},
    }
    assert dict(zip(verdict.keys, verdict.kinds, strict=True)) == expected
    assert verdict.differing == len(expected)


def test_values_do_not_run_together() -> None:
    assert not compared([("a", "bc")], [("ab", "c")], pair(key=())).equal
    assert not compared([("", None)], [(None, "")], pair(key=())).equal


def test_duplicates_among_equal_rows_count() -> None:
    verdict = compared([("a", "b")] * 3, [("a", "b")] * 2, pair(key=()))
    assert (verdict.equal, verdict.differing) == (False, 1)
    assert verdict.note == "rows on the target: 1 missing, 0 extra"


def test_sums_that_swap_a_value_between_rows_differ() -> None:
    assert not compared([("1", "a"), ("2", "b")], [("1", "b"), ("2", "a")], pair()).equal


def test_keys_that_differ_by_case_and_composite_keys_and_null() -> None:
    left: list[Row] = [("a", "1", "x"), ("b", None, "x"), ("b", "2", "x"), ("b", None, "y")]
    right: list[Row] = [("A", "1", "x"), ("b", None, "x"), ("b", "2", "y"), ("b", None, "y")]
    verdict = compared(left, right, pair(3, key=("c0", "c1")))
    assert dict(zip(verdict.keys, verdict.kinds, strict=True)) == {
        "A, 1": "extra",
        "a, 1": "missing",
        "b, 2": "different",
    }
    right[3] = ("b", None, "z")
    assert "b, NULL" in compared(left, right, pair(3, key=("c0", "c1"))).keys


def test_named_keys_are_capped_and_the_count_is_whole() -> None:
    rows: list[Row] = [(str(i), "x") for i in range(5000)]
    source = Fake(rows)
    verdict = verify_tables([pair()], source, Fake([(k, "y") for k, _ in rows])).tables[0]
    assert verdict.differing == 5000
    assert verdict.keys == tuple(str(i) for i in range(100))
    assert source.reads == 2


def test_memory_is_bounded_where_everything_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "ROUND_ROWS", 1000)
    rows: list[Row] = [(str(i), "x") for i in range(5000)]
    source = Fake(rows)
    verdict = verify_tables([pair()], source, Fake([(k, "y") for k, _ in rows])).tables[0]
    assert source.reads == 1 + comparison.ROUNDS
    assert not verdict.equal
    assert 100 < verdict.differing <= comparison.ROUNDS * 500 and len(verdict.keys) == 100
    assert verdict.note is not None and verdict.note.startswith("at least")


def test_key_outside_the_columns_is_no_key() -> None:
    verdict = compared([("1", "x")], [("1", "y")], pair(key=("elsewhere",)))
    assert (verdict.keys, verdict.differing) == ((), 1)


def test_normalised_key_is_shown_as_a_plain_number() -> None:
    columns = (PairColumn("id", "id", MY_DECIMAL, PG_NUMERIC),)
    what = VerifyPair(TABLE, TABLE, ("id",), columns)
    left: list[Row] = [("1.00",), ("120.00",), ("0.50",)]
    assert compared(left, [("1",), ("120",), ("0.5",)], what).equal
    assert compared(left, [("1",)], what).keys == ("120", "0.5")


def test_failure_of_one_end_is_raised_and_stops_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "PROGRESS_ROWS", 1)
    other = Fake([(str(i), "x") for i in range(200_000)])
    with pytest.raises(ConnectionFailed):
        verify_tables([pair()], Fake([("1", "x")] * 3, fail_at=2), other)
    assert other.given < 200_000


def test_progress_and_a_given_executor() -> None:
    told: list[tuple[TableId, int]] = []
    rows: list[Row] = [(str(i), "x") for i in range(comparison.PROGRESS_ROWS + 5)]
    with ThreadPoolExecutor(1) as executor:
        report = verify_tables(
            [pair(), pair(key=())], Fake(rows), Fake(rows),
            progress=lambda *news: told.append(news), executor=executor,
        )  # fmt: skip
    assert report.ok and len(report.tables) == 2
    assert told == [(TABLE, 0), (TABLE, comparison.PROGRESS_ROWS), (TABLE, len(rows))] * 2


def test_empty_tables_and_the_document() -> None:
    report = verify_tables([pair()], Fake([]), Fake([("1", None)]))
    assert isinstance(report, VerifyReport)
    document = report.to_dict()
    assert document["tables"][0].pop("seconds") >= 0 and document["tables"][0].pop("bytesRead") > 0
    assert document == {
        "ok": False,
        "sameStructure": True,
        "structure": [],
        "tables": [
            {
                "table": "shop.orders",
                "sourceRows": 0,
                "targetRows": 1,
                "equal": False,
                "differing": 1,
                "keys": ["1"],
                "kinds": ["extra"],
                "differences": [{"key": ["1"], "kind": "extra", "columns": []}],
                "unsettled": 0,
                "repaired": 0,
                "note": "keys on the target: 0 missing, 1 extra, 0 different",
            }
        ],
    }
    assert verify_tables([], Fake([]), Fake([])).ok
