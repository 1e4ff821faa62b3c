"""Values in and out of Arrow without pandas."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from streams_engine.arrow.plain import filled, from_numpy, joined, scalar, to_numpy

NUMBERS = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(),
           pa.uint64(), pa.float32(), pa.float64()]  # fmt: skip


@pytest.mark.parametrize("kind", NUMBERS, ids=str)
@pytest.mark.parametrize("value", [0, 1, 100, None])
def test_a_number_is_the_scalar_that_arrow_makes(kind: pa.DataType, value: int | None) -> None:
    assert scalar(value, kind).equals(pa.scalar(value, kind))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, pa.bool_()),
        (False, pa.bool_()),
        ("", pa.string()),
        ("ä\0", pa.string()),
        (b"\xff", pa.binary()),
        ("x", pa.large_string()),
        (b"", pa.large_binary()),
        (None, pa.string()),
        (5, pa.decimal128(5, 2)),
        ("x", pa.string_view()),
    ],
)
def test_other_values_are_the_scalars_that_arrow_makes(value: Any, kind: pa.DataType) -> None:
    assert scalar(value, kind).equals(pa.scalar(value, kind))


def test_a_number_that_the_type_does_not_hold_is_refused() -> None:
    with pytest.raises(OverflowError):
        scalar(1 << 40, pa.int32())


@pytest.mark.parametrize("kind", [*NUMBERS, pa.bool_()], ids=str)
@pytest.mark.parametrize(("start", "count"), [(0, 20), (3, 17), (9, 4), (20, 0)])
def test_numpy_sees_what_arrow_shows(kind: pa.DataType, start: int, count: int) -> None:
    values = pa.array([n % 3 for n in range(20)]).cast(kind).slice(start, count)
    shown = to_numpy(values)
    assert shown.dtype == values.to_numpy(zero_copy_only=False).dtype
    assert np.array_equal(shown, values.to_numpy(zero_copy_only=False))
    assert to_numpy(pa.nulls(0, kind)).shape == (0,)


@pytest.mark.parametrize("kind", [*NUMBERS, pa.bool_()], ids=str)
@pytest.mark.parametrize("nulls", [None, np.arange(19) % 4 == 1])
def test_arrow_has_what_numpy_shows(kind: pa.DataType, nulls: np.ndarray | None) -> None:
    values = to_numpy(pa.array([n % 3 for n in range(19)]).cast(kind))
    assert from_numpy(values, nulls).equals(pa.array(values, kind, mask=nulls))
    assert from_numpy(values[1::2]).equals(pa.array(values[1::2], kind))
    assert from_numpy(values[:0]).equals(pa.array([], kind))


def test_texts_and_bytes_are_joined_row_by_row() -> None:
    texts = pa.array(["a", None, "ä"])
    assert joined(["<", texts, ">"], "-").to_pylist() == ["<-a->", None, "<-ä->"]
    assert joined([texts.cast(pa.binary()), b"\0"], b"").to_pylist() == [
        b"a\0",
        None,
        b"\xc3\xa4\0",
    ]


def test_null_is_filled() -> None:
    assert filled(pa.array([1, None], pa.int16()), 7).equals(pa.array([1, 7], pa.int16()))
    assert filled(pa.array([None, "a"]), "").equals(pa.array(["", "a"]))
    assert filled(pa.array([None, True]), False).equals(pa.array([False, True]))


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(TypeError, match="string"):
        to_numpy(pa.array(["a"]))
    with pytest.raises(TypeError, match="<U1"):
        from_numpy(np.array(["a"]))


LOAD = """
import sys
import numpy as np
import pyarrow as pa
from streams_engine.adapters.postgres.sink import copy_binary
from streams_engine.model import Column
from streams_engine.schema.mapping.routes import parse_type
from streams_engine.model import Dialect
from streams_engine.schema.types.conversions import CONVERSIONS

bits = pa.py_buffer(b"\\5")
numbers = pa.Array.from_buffers(pa.int64(), 3, [bits, pa.py_buffer(np.arange(3))])
texts = numbers.cast(pa.string())
dates = numbers.cast(pa.timestamp("us"))
kinds = {"bigint": numbers, "int": numbers.cast(pa.int32()), "smallint": numbers.cast(pa.int16()),
         "float8": numbers.cast(pa.float64()),
         "numeric(12,2)": numbers.cast(pa.int32()).cast(pa.decimal128(12, 2)),
         "numeric(30,2)": numbers.cast(pa.decimal128(30, 2)), "boolean": numbers.cast(pa.bool_()),
         "text": texts, "varchar(10)": texts, "bytea": texts.cast(pa.binary()), "jsonb": texts,
         "timestamp": dates, "date": numbers.cast(pa.int32()).view(pa.date32()),
         "time": numbers.view(pa.time64("us")), "interval": numbers.view(pa.duration("us"))}
columns, arrays = [], []
for name, values in kinds.items():
    native = parse_type(Dialect.POSTGRES, name)
    columns.append(Column(name, native, values.type))
    arrays.append(values)
for name in ("boolean", "date", "strict_date"):
    CONVERSIONS[name](dates if "date" in name else numbers.cast(pa.int16()), pa.bool_())
batch = pa.RecordBatch.from_arrays(arrays, [c.name for c in columns])
encoders = copy_binary.encoders_for(columns)
assert b"".join(bytes(b) for b in copy_binary.buffers(batch, encoders, columns))
print("pandas" in sys.modules)
"""


CHANGES = """
import sys
import numpy as np
import pyarrow as pa
from streams_engine.adapters.mysql.sink import load_text
from streams_engine.adapters.postgres.sink import copy_text
from streams_engine.model import Column, Dialect, Op, RowChanges, TableId
from streams_engine.pipeline.changes.netting import net
from streams_engine.schema.mapping.routes import parse_type
from streams_engine.schema.types.casts import timestamp

def numbers(*values):
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(np.array(values))])

moments = numbers(7, 8, 9).cast(pa.timestamp("us"))
arrays = [numbers(1, 2, 3), moments, numbers(4, 5, 6).cast(pa.string())]
for dialect, text in ((Dialect.POSTGRES, copy_text.encode), (Dialect.MYSQL, load_text.lines)):
    kinds = ["bigint", "timestamp" if dialect is Dialect.POSTGRES else "datetime(6)", "varchar(9)"]
    columns = tuple(Column(name, parse_type(dialect, kind), values.type)
                    for name, kind, values in zip("abc", kinds, arrays, strict=True))
    after = pa.RecordBatch.from_arrays(arrays, ["a", "b", "c"])
    before = pa.RecordBatch.from_arrays([numbers(1, 4, 3)], ["a"])
    for op in ([Op.INSERT, Op.UPDATE, Op.DELETE], [Op.UPDATE] * 3):
        for key in (("a",), ("a", "c"), ()):
            old = before if key == ("a",) else after
            change = RowChanges(TableId("s", "t"), columns, tuple(old.schema.names),
                                np.array(op, np.uint8), np.arange(3), after, old)
            for one in net([change], key):
                for batch in (one.inserts, *one.updates):
                    assert batch is None or bytes(text(batch, columns))
    timestamp(moments, columns[1].type)
print("pandas" in sys.modules)
"""


FILES = """
import io
import sys
import numpy as np
import pyarrow as pa
from streams_engine.adapters.files import change_log
from streams_engine.adapters.files.formats.encoders import encoder, normalised, written_columns
from streams_engine.adapters.files.formats.options import file_form
from streams_engine.model import Column
from streams_engine.schema.types.files import files_type

bits = pa.py_buffer(b"\\5")
numbers = pa.Array.from_buffers(pa.int64(), 3, [bits, pa.py_buffer(np.arange(3))])
far = pa.Array.from_buffers(pa.int64(), 3, [bits, pa.py_buffer(np.arange(3) - 10**17 * 9)])
arrays = [numbers, numbers.cast(pa.int32()), numbers.cast(pa.float64()), numbers.cast(pa.string()),
          numbers.cast(pa.int32()).cast(pa.decimal128(12, 2)), numbers.cast(pa.bool_()),
          numbers.cast(pa.timestamp("us")), far.cast(pa.timestamp("us")),
          numbers.cast(pa.int32()).view(pa.date32()), numbers.view(pa.time64("us")),
          numbers.view(pa.duration("us"))]
columns = [Column(f"c{n}", files_type(values.type), values.type)
           for n, values in enumerate(arrays)]
batch = pa.RecordBatch.from_arrays(arrays, [column.name for column in columns])
for kind in ("parquet", "csv", "jsonl", "json"):
    written = written_columns(columns, "t")
    one = encoder(out := io.BytesIO(), file_form(kind), written)
    one.write(one.encode(normalised(batch, written)))
    one.finish()
print("pandas" in sys.modules)
"""


@pytest.mark.parametrize("work", [LOAD, CHANGES, FILES], ids=["load", "changes", "files"])
def test_rows_on_their_way_import_no_pandas(work: str) -> None:
    pytest.importorskip("pandas")
    ended = subprocess.run([sys.executable, "-c", work], capture_output=True, text=True)
    assert ended.stdout.split() == ["False"], ended.stderr
