"""The contract of `RowDigests`, on every kind of end: the same rows have the same digests, sums by
bucket and by range add up to them, and no value that is another goes unseen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from streams_engine import Stream
from streams_engine.adapters.memory.database import MemoryDatabase
from streams_engine.adapters.memory.sink import MemorySink
from streams_engine.adapters.registry import open_target_canonical
from streams_engine.contracts import StructureSink
from streams_engine.model import Dialect, NativeType
from streams_engine.schema.types.arrow_digests import blocks_of, buckets_of, digest_of
from streams_engine.schema.types.canonical import (
    BucketFilter,
    CanonicalColumn,
    CanonicalRead,
    CanonicalType,
    KeyRange,
)
from streams_engine.schema.types.row_digests import (
    BUCKETS,
    BlockDigests,
    Digested,
    OrderedBlocks,
    RangedDigests,
    RowDigests,
)
from streams_engine.testing.servers import Server
from streams_engine.verify.digests import plan_for
from streams_engine.verify.pairs import VerifyPair, pair_of, reads_of
from streams_engine.verify.rows import End as VerifyEnd
from tests.support.databases import End

KINDS = ["mysql9", "mariadb", "pg15", "pg18", "memory", "parquet", "csv", "jsonl"]
ROWS = 40
INTEGER = NativeType(Dialect.FILES, "int64", "int")

TABLE = (
    "CREATE TABLE t (id int PRIMARY KEY, n bigint, d decimal(12,3), f double, b tinyint(1),"
    " t varchar(40), u text, ts datetime(6), dy date, raw varbinary(9),"
    " must int(5) zerofill NOT NULL DEFAULT 7, kept varchar(9) NOT NULL DEFAULT 'k,',"
    " latin varchar(9) CHARACTER SET latin1 DEFAULT 'é,', low varchar(9) COLLATE"
    " utf8mb4_general_ci DEFAULT 'å', mid varchar(9) COLLATE utf8mb4_unicode_ci"
    " DEFAULT 'ø', tiny double NOT NULL DEFAULT -1.7e-300, single float DEFAULT 16777217,"
    " `at` datetime DEFAULT '2024-05-06 07:08:09', span time(3) DEFAULT '10:00:01.5')"
)
NAMES = "id, n, d, f, b, t, u, ts, dy, raw"
VALUES = (
    "({0}, {0} * 1000000007, {0} / 8, {0} / 10, {0} % 2, 'a''é{0}', 'x,{0}', "
    "'2024-01-02 03:04:05.12', '1999-12-31', X'00ff{0:02d}')"
)
NULLS = "({0}, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)"
EMPTY = "({0}, 0, 0, 0, 0, '', '', '1970-01-01', '1970-01-01', '')"

PLANTED = {
    1: "u = 'x,1 '",
    2: "t = concat(t, ',x'), u = '2'",
    3: "n = n + 1",
    4: "d = d + 0.001",
    5: "f = 0.50000000000000011102",
    6: "b = 1 - b",
    7: "ts = ts + INTERVAL 1 MICROSECOND",
    8: "dy = dy + INTERVAL 1 DAY",
    9: "raw = X'00ff08'",
    10: "u = 'X,10'",
    11: "must = must + 1",
    12: "kept = 'k'",
    13: "latin = 'e,'",
    14: "low = 'Å', mid = 'o'",
    15: "tiny = -1.7000000000000005e-300",
    16: "tiny = 0",
    17: "single = -single",
    18: "`at` = `at` + INTERVAL 1 SECOND",
    19: "span = '10:00:01.499'",
    38: "t = NULL",
    39: "t = ''",
    40: "raw = NULL",
}
"""By id, one wrong value."""


@dataclass
class Copied:
    """A table and its copy, each as an end of a verification."""

    source: End
    stream: Stream
    pair: VerifyPair
    ends: tuple[VerifyEnd, VerifyEnd]

    def reads(self) -> list[tuple[Any, CanonicalRead]]:
        """Both ends, which make a digest of every column."""
        plan = plan_for(self.ends, self.pair.range_key)
        assert plan is not None and len(plan.places) == len(self.pair.columns)
        assert all(isinstance(end.canonical, RowDigests) for end in self.ends)
        return [(end.canonical, end.read) for end in self.ends]

    @property
    def kind(self) -> str:
        plan = plan_for(self.ends, None)
        assert plan is not None
        return plan.kind


@pytest.fixture(params=KINDS)
def copied(
    request: pytest.FixtureRequest, mysql9: Server, database: Any, tmp_path: Path
) -> Iterator[Copied]:
    source = End(mysql9, database(mysql9))
    texts = [
        (NULLS if n == 39 else EMPTY if n in (38, 40) else VALUES).format(n)
        for n in range(1, ROWS + 1)
    ]
    source.run(TABLE, f"INSERT INTO t ({NAMES}) VALUES {', '.join(texts)}")
    kind = request.param
    target: Any = f"file://{tmp_path}/out?format={kind}"
    if kind == "memory":
        target = MemorySink(MemoryDatabase())
    elif kind in ("mysql9", "mariadb", "pg15", "pg18"):
        server: Server = request.getfixturevalue(kind)
        target = End(server, database(server)).url
    Stream(source.url, target).run()
    stream = Stream(source.url, target)
    with ExitStack() as stack:
        parts = stream._parts
        convert = stack.enter_context(parts.dry_run())
        mapped, sink = convert.mapped(), convert.context.sink
        there = mapped.target
        if isinstance(sink, StructureSink):
            there = sink.inspect([mapping.target.id for mapping in mapped.tables])
        (mapping,) = mapped.tables
        pair = pair_of(mapping, there.table(mapping.target.id))
        assert isinstance(pair, VerifyPair)
        reads = reads_of(pair, "null")
        canonicals = (
            stack.enter_context(parts._canonical(parts._parts(parts.config)[0])),
            stack.enter_context(open_target_canonical(parts.config, {})),
        )
        one, two = (
            VerifyEnd(canonical, read, pair.places)
            for canonical, read in zip(canonicals, reads, strict=True)
        )
        yield Copied(source, stream, pair, (one, two))


def test_sums_of_the_same_rows_are_the_same_and_add_up(copied: Copied) -> None:
    (one, left), (two, right) = copied.reads()
    kind = copied.kind
    digest = one.digest(left, kind)
    assert digest.whole and digest.rows == ROWS
    assert two.digest(right, kind) == digest
    assert two.buckets(right, kind) == one.buckets(left, kind)
    for end, read in copied.reads():
        buckets_add_up(end, read, kind)
        if isinstance(end, RangedDigests):
            ranges_add_up(end, read, kind)


def buckets_add_up(end: Any, read: CanonicalRead, kind: str) -> None:
    buckets = end.buckets(read, kind)
    assert total(buckets.values()) == end.digest(read, kind)
    assert all(0 <= bucket < BUCKETS for bucket in buckets)
    some = tuple(sorted(buckets)[::2])
    part = replace(read, part=BucketFilter(kind, read.columns, some))
    with end.rows(part) as rows:
        assert len(list(rows)) == sum(buckets[bucket].rows for bucket in some)


def ranges_add_up(end: RangedDigests, read: CanonicalRead, kind: str) -> None:
    key = read.columns[0].name
    assert end.key_bounds(read, key) == (1, ROWS)
    assert end.key_after(read, key, 10) == 11 and end.key_after(read, key, ROWS) is None
    edges = ((None, 3), (3, 11), (11, 11), (11, None))
    parts = [end.digest(replace(read, part=KeyRange(key, low, high)), kind) for low, high in edges]
    assert [part.rows for part in parts] == [2, 8, 0, 30]
    assert total(parts) == end.digest(read, kind)
    assert end.key_bounds(replace(read, part=KeyRange(key, 500, None)), key) is None


def test_blocks_of_the_same_rows_have_the_same_hash(copied: Copied) -> None:
    (one, left), (two, right) = copied.reads()
    assert isinstance(one, BlockDigests) and one.count(left) == ROWS
    blocks = [(KeyRange("id", 1, 11), None), (KeyRange("id", 11, None), None)]
    if isinstance(two, OrderedBlocks):
        blocks = list(two.blocks(right, "id"))
    elif not isinstance(two, BlockDigests):
        pytest.skip("neither hashes blocks nor is read in the order of a key")
    rows = 0
    for part, known in blocks:
        block = known or two.block(replace(right, part=part))
        assert block.whole and one.block(replace(left, part=part)) == block
        rows += block.rows
    assert rows == ROWS
    beyond = one.block(replace(left, part=KeyRange("id", 500, None)))
    assert beyond == Digested(0, 0)


def test_every_wrong_value_is_found(copied: Copied) -> None:
    assert copied.stream.verify().ok
    (one, left), _ = copied.reads()
    before = one.digest(left, copied.kind)
    copied.source.run(
        *(f"UPDATE t SET {change} WHERE id = {key}" for key, change in PLANTED.items()),
        "DELETE FROM t WHERE id = 20",
        "INSERT INTO t (id) VALUES (99)",
    )
    assert one.digest(left, copied.kind) == before  # one view, until it is renewed
    one.renew()
    assert one.digest(left, copied.kind) != before
    (verdict,) = copied.stream.verify().tables
    found = {difference.shown: difference.kind for difference in verdict.differences}
    assert found == {
        **{str(key): "different" for key in PLANTED},
        "20": "extra",
        "99": "missing",
    }
    # What was fetched are the rows that differ, and their neighbours.
    assert verdict.note is not None and "fetched values" not in verdict.note


def total(parts: Any) -> Digested:
    sums = list(parts)
    return Digested(sum(p.rows for p in sums), sum(p.total for p in sums) % (1 << 64))


NAME = CanonicalColumn("v", INTEGER, CanonicalType.INTEGER)


@pytest.mark.parametrize("values", [[1, 3, 2], [1, 1], [1, None]])
def test_a_block_of_unsorted_rows_is_not_whole(values: list[int | None]) -> None:
    batch = pa.record_batch({"v": pa.array(values, pa.int64())})
    assert [block.whole for _, block in blocks_of([batch], [NAME], "v")] == [False]


def test_blocks_hold_few_bytes() -> None:
    batch = pa.record_batch({"v": list(range(300)), "t": ["x" * 100_000] * 300})
    blocks = list(blocks_of([batch], [NAME], "v"))
    assert len(blocks) > 10 and sum(block.rows for _, block in blocks) == 300
    assert [part.high for part, _ in blocks[:-1]] == [part.low for part, _ in blocks[1:]]


def test_sums_over_several_batches_are_those_over_one() -> None:
    column = CanonicalColumn("v", INTEGER, CanonicalType.INTEGER)
    batch = pa.record_batch({"v": list(range(5000))})
    parts = [batch.slice(start, 1000) for start in range(0, 5000, 1000)]
    assert digest_of(parts, [column]) == digest_of([batch], [column])
    assert buckets_of(parts, [column]) == buckets_of([batch], [column])
