"""COPY in both formats into a real server: what it prints is computed here on its own."""

from __future__ import annotations

import datetime as dt
import math
import struct
from contextlib import closing
from decimal import Decimal
from random import Random
from typing import Any

import pyarrow as pa
import pytest

from streams_engine.adapters.postgres.sink import copy_binary, copy_text
from streams_engine.model import Column
from streams_engine.schema.types.postgres import postgres_type
from streams_engine.testing.servers import Server

DAY = 86_400_000_000
EPOCH = 946_684_800_000_000

HOSTILE = [
    None, "", "\\N", "\\", "\\\\N", "\t", "\n", "\r", "\r\n", "a\tb\nc\rd\\e", "\\.", "\\t", "NULL",
    "null", '"', "'", "{}", '{"a"}', ",", " ", "  x  ", "ü€\U0001f680", "\u2028\u0085\ufeff",
    "\x01\x08\x0b\x0c\x1b\x7f", "\\x41", "\\101", "x" * 70_000,
]  # fmt: skip


def clock(micro: int) -> str:
    seconds, rest = divmod(micro, 1_000_000)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return text + (f".{rest:06}".rstrip("0") if rest else "")


def day(number: int) -> tuple[str, str]:
    """(date, ' BC' or '') of days since 1970, by counting whole 400-year cycles."""
    cycles = 0
    while number < -719_162:
        number, cycles = number + 146_097, cycles - 1
    while number > 2_932_896:
        number, cycles = number - 146_097, cycles + 1
    date = dt.date(1970, 1, 1) + dt.timedelta(days=number)
    year = date.year + 400 * cycles
    era = "" if year > 0 else " BC"
    return f"{year if year > 0 else 1 - year:04}-{date:%m-%d}", era


def date_text(number: int) -> str:
    return "".join(day(number))


def moment_text(micro: int, zone: str = "") -> str:
    days, rest = divmod(micro, DAY)
    date, era = day(days)
    return f"{date} {clock(rest)}{zone}{era}"


random = Random(20_240_229)
micros = [0, 1, -1, 999_999, EPOCH, -62_135_596_800_000_000, -62_135_596_800_000_001,
          253_402_300_799_999_999, -210_866_803_200_000_000, 9_224_318_015_999_999_999 - EPOCH,
          *(random.randint(-(10**17), 10**18) for _ in range(60))]  # fmt: skip
days = [0, -1, 10_957, -719_162, -719_163, 2_932_896, 2_932_897, -2_440_588,
        *(random.randint(-2_400_000, 10**7) for _ in range(60))]  # fmt: skip
floats = [0.0, -0.0, 5e-324, -5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 0.1, 1e22,
          math.nan, math.inf, -math.inf, *(random.uniform(-1, 1) * 10.0 ** random.randint(-300, 300)
                                           for _ in range(60))]  # fmt: skip


def single(value: float) -> float:
    return float(struct.unpack("f", struct.pack("f", value))[0])


singles = [single(f) for f in (0.0, -0.0, 1e-45, 3.4028234e38, 0.1, 16_777_216.0)] + [
    math.nan, math.inf, *(single(random.uniform(-1, 1) * 10.0 ** random.randint(-30, 30))
                          for _ in range(60))]  # fmt: skip

Case = tuple[str, pa.Array, str, list[Any]]
"""Type, values, how the server is to show them, and what it must show."""


def stored(values: list[int | None], arrow: pa.DataType, storage: pa.DataType) -> pa.Array:
    return pa.array(values, storage).view(arrow)


def decimals(precision: int, scale: int) -> Case:
    limit = 10**precision - 1
    some = [0, 1, -1, limit, -limit, 10**scale % (limit + 1)]
    units = [*some, *(random.randint(-limit, limit) for _ in range(8))]
    units += [random.randint(0, 10 ** random.randint(0, precision) - 1) for _ in range(8)]
    values = [Decimal((int(u < 0), Decimal(abs(u)).as_tuple().digits, -scale)) for u in units]
    arrow = pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)
    texts = [f"{value:f}" if value else f"{abs(value):f}" for value in values]
    return f"numeric({precision},{scale})", pa.array(values, arrow), "v::text", texts


def build() -> list[Case]:
    texts = [t for t in HOSTILE if t is not None]
    lists = [[], [None], [""], texts[:-1], ["a", None, "b"], [None, None], ["NULL", "null"]]
    bits = [(w, [0, 1, (1 << w) - 1, random.getrandbits(w)]) for w in range(1, 65)]
    blobs = [b"", b"\0", b"\\N", b"\t\n\r\\", bytes(range(256)), random.randbytes(5000)]
    big = [0, 1, 2**63, 2**64 - 1, 10_000, 9_999, 10**19]
    times = [0, 1, DAY - 1, DAY, 3_600_000_000, *(random.randint(0, DAY) for _ in range(40))]
    spans = [0, 1, -1, 3_600_000_000, *(random.randint(-(10**15), 10**15) for _ in range(40))]
    documents = ['{"a": [1, null, "\\u00fc\\n"], "b": 1.50}', "null", '""', "-0", "1" * 25]
    one = "6ccd780c-baba-1026-9564-5b8c656024db"
    found: list[Case] = [
        ("int2", pa.array([-(2**15), 0, 2**15 - 1], pa.int16()), "v", [-(2**15), 0, 2**15 - 1]),
        ("int4", pa.array([0, 2**16 - 1], pa.uint16()), "v", [0, 2**16 - 1]),
        ("int8", pa.array([-(2**63), 2**63 - 1], pa.int64()), "v", [-(2**63), 2**63 - 1]),
        ("numeric(20)", pa.array(big, pa.uint64()), "v::text", [str(b) for b in big]),
        ("float8", pa.array(floats), "v", floats),
        ("float4", pa.array(singles, pa.float32()), "v::float8", singles),
        ("bool", pa.array([True, False]), "v", [True, False]),
        ("text", pa.array(texts), "v", texts),
        ("varchar", pa.array(texts), "v", texts),
        ("bytea", pa.array(blobs, pa.binary()), "encode(v, 'hex')", [b.hex() for b in blobs]),
        ("date", stored(days, pa.date32(), pa.int32()), "v::text", [date_text(d) for d in days]),
        ("timestamp", stored(micros, pa.timestamp("us"), pa.int64()), "v::text",
         [moment_text(m) for m in micros]),
        ("timestamptz", stored(micros, pa.timestamp("us", "UTC"), pa.int64()), "v::text",
         [moment_text(m, "+00") for m in micros]),
        ("time", stored(times, pa.duration("us"), pa.int64()), "v::text",
         [clock(t) for t in times]),
        ("interval", stored(spans, pa.duration("us"), pa.int64()),
         "(extract(epoch FROM v) * 1000000)::int8", spans),
        ("uuid", pa.array([one, one.upper(), one.replace("-", ""), "0" * 32]), "v::text",
         [one, one, one, "00000000-0000-0000-0000-000000000000"]),
        ("jsonb", pa.array(documents), "v::text",
         [documents[0].replace("\\u00fc", "ü"), "null", '""', "0", documents[4]]),
        ("json", pa.array(documents), "v::text", documents),
        ("text[]", pa.array(lists, pa.list_(pa.string())), "v", lists),
        *((f"bit({w})", pa.array(v, pa.uint64()), "v::text", [f"{n:0{w}b}" for n in v])
          for w, v in bits),
        *(decimals(p, s) for p, s in ((1, 0), (1, 1), (4, 4), (5, 2), (18, 0), (18, 18), (19, 7),
                                      (38, 0), (38, 38), (39, 1), (65, 30), (76, 0), (76, 38),
                                      *((76, s) for s in (1, 2, 3, 5, 37)),
                                      *((38, s) for s in (1, 2, 3, 10, 37)))),
    ]  # fmt: skip
    return found


CASES = build()


def laid(array: pa.Array) -> pa.Array:
    """The values with a NULL before and after, as a slice of something longer."""
    null = pa.nulls(1, array.type)
    return pa.concat_arrays([array[:1], null, array, null, array[:1]]).slice(1, len(array) + 2)


def same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, float) and isinstance(found, float):
        return struct.pack("d", found) == struct.pack("d", wanted) or (
            math.isnan(found) and math.isnan(wanted)
        )
    return bool(found == wanted)


@pytest.mark.parametrize("form", ["binary", "text"])
def test_the_server_prints_what_was_given(pg15: Server, database: Any, form: str) -> None:
    wrong = []
    with closing(pg15.connect(database(pg15))) as connection:
        connection.execute("SET timezone = 'UTC'; SET datestyle = 'ISO'")
        for text, values, shown, wanted in CASES:
            if form == "text" and text in ("date", "timestamp", "timestamptz"):
                # Arrow has no text of BC; such values come as the server's text or in wire form.
                kept = [i for i, w in enumerate(wanted) if "BC" not in w and w[4] == "-"]
                values, wanted = values.take(pa.array(kept)), [wanted[i] for i in kept]
            column = Column("v", postgres_type(text), values.type)
            batch = pa.RecordBatch.from_arrays([laid(values)], names=["v"])
            encoders = copy_binary.encoders_for([column])
            assert encoders is not None, text
            ends = (b"", b"")
            if form == "binary":
                raw = copy_binary.encode(batch, encoders, [column])
                ends = (copy_binary.HEADER, copy_binary.TRAILER)
            else:
                raw = copy_text.encode(batch, [column])
            connection.prepare_threshold = None
            connection.execute(f"CREATE TEMPORARY TABLE c (n serial, v {text})")
            with (
                connection.cursor() as cursor,
                cursor.copy(f"COPY c (v) FROM STDIN (FORMAT {form})") as copy,
            ):
                for piece in (ends[0], raw, ends[1]):
                    copy.write(piece)
            rows = [row[0] for row in connection.execute(f"SELECT {shown} FROM c ORDER BY n")]
            connection.execute("DROP TABLE c")
            whole = [None, *wanted, None]
            assert len(rows) == len(whole), text
            wrong += [(text, w, f) for f, w in zip(rows, whole, strict=True) if not same(f, w)]
    assert not wrong, wrong[:10]


def test_hostile_texts_beside_each_other(pg15: Server, database: Any) -> None:
    """Neighbours never run into each other; NULL stays apart from the empty text and from \\N."""
    columns = [Column(name, postgres_type("text"), pa.string()) for name in "abc"]
    rows = [(x, y, z) for x in HOSTILE[:-1] for y in HOSTILE[:6] for z in (None, "", "\\")]
    batch = pa.RecordBatch.from_arrays(
        [pa.array(part, pa.string()) for part in zip(*rows, strict=True)], names=list("abc")
    )
    with closing(pg15.connect(database(pg15))) as connection:
        connection.execute("CREATE TEMPORARY TABLE c (n serial, a text, b text, c text)")
        with connection.cursor() as cursor, cursor.copy("COPY c (a, b, c) FROM STDIN") as copy:
            copy.write(copy_text.encode(batch, columns))
        assert connection.execute("SELECT a, b, c FROM c ORDER BY n").fetchall() == rows


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_rows_without_columns(pg15: Server, database: Any, rows: int) -> None:
    batch = pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))
    with closing(pg15.connect(database(pg15))) as connection:
        connection.execute("CREATE TEMPORARY TABLE c ()")
        with connection.cursor() as cursor, cursor.copy("COPY c FROM STDIN") as copy:
            copy.write(copy_text.encode(batch, []))
        assert connection.execute("SELECT count(*) FROM c").fetchone() == (rows,)
