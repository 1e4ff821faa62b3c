"""Bad rows of a block: how many attempts they cost."""

from __future__ import annotations

import pyarrow as pa
import pytest

from streams_engine.adapters.mysql.sink import load_text
from streams_engine.adapters.postgres.sink import copy_binary
from streams_engine.arrow.bad_rows import bisect
from streams_engine.errors import RowRejected
from streams_engine.model import Column, Dialect, NativeType

ROWS = 20_000
LATE = 838 * 3_600_000_000
GOOD = 3_600_000_000


def native(name: str) -> NativeType:
    return NativeType(Dialect.POSTGRES, name, name)


@pytest.mark.parametrize("every", [1, 2, 1000])
def test_rows_that_an_encoder_refuses_are_found_at_once(every: int) -> None:
    """Of two columns, so that a block is tried three times at most."""
    times = [LATE if i % every == 0 else GOOD for i in range(ROWS)]
    numbers = [70_000 if i % 3 == 0 else 7 for i in range(ROWS)]
    block = pa.record_batch(
        {"d": pa.array(times, pa.duration("us")), "n": pa.array(numbers, pa.int64())}
    )
    columns = [
        Column("d", native("time"), arrow=pa.duration("us")),
        Column("n", native("int2"), arrow=pa.int64()),
    ]
    encoders = copy_binary.encoders_for(columns)
    assert encoders is not None
    loaded, tries = 0, 0

    def attempt(part: pa.RecordBatch) -> RowRejected | None:
        nonlocal loaded, tries
        tries += 1
        try:
            list(copy_binary.buffers(part, encoders, columns))
        except RowRejected as fault:
            return fault
        loaded += part.num_rows
        return None

    refused = [row.column("d")[0].value for row, _ in bisect(block, attempt)]
    bad = sum(t == LATE or n == 70_000 for t, n in zip(times, numbers, strict=True))
    assert (len(refused), loaded) == (bad, ROWS - bad)
    assert tries <= 3


def test_rows_that_no_text_of_mysql_holds_are_found_at_once() -> None:
    values = [float("nan") if i % 2 else 1.0 for i in range(ROWS)]
    block = pa.record_batch({"f": pa.array(values)})
    columns = [Column("f", NativeType(Dialect.MYSQL, "double", "double"), arrow=pa.float64())]
    tries = 0

    def attempt(part: pa.RecordBatch) -> RowRejected | None:
        nonlocal tries
        tries += 1
        try:
            load_text.buffers(part, columns)
        except RowRejected as fault:
            return fault
        return None

    assert sum(1 for _ in bisect(block, attempt)) == ROWS // 2
    assert tries == 2


def test_values_of_a_type_that_mysql_has_no_text_for_are_all_refused() -> None:
    block = pa.record_batch({"m": pa.nulls(3, pa.month_day_nano_interval())})
    columns = [Column("m", NativeType(Dialect.MYSQL, "int", "int"), arrow=block.schema[0].type)]

    def attempt(part: pa.RecordBatch) -> RowRejected | None:
        try:
            load_text.buffers(part, columns)
        except RowRejected as fault:
            return fault
        return None

    assert sum(1 for _ in bisect(block, attempt)) == 3
