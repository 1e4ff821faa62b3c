"""Row images, table maps and small events without a server."""

from __future__ import annotations

import random
from array import array
from decimal import Decimal

import numpy as np
import pytest

from streams_engine.adapters.mysql.binlog import events as e
from streams_engine.adapters.mysql.binlog import table_map as t
from streams_engine.adapters.mysql.binlog.gtid import MariadbGtids, MysqlGtids
from streams_engine.adapters.mysql.binlog.row_image import walker
from streams_engine.adapters.mysql.binlog.row_values import FIXED, Image, expand, width
from streams_engine.adapters.mysql.binlog.table_map import Field
from streams_engine.arrow.buffers import PAD


def encoded(value: Decimal, precision: int, scale: int) -> bytes:
    """A DECIMAL as the server stores it."""
    text = f"{value.copy_abs():0{precision + 1}.{scale}f}".replace(".", "").rjust(precision, "0")
    text = text[-precision:]
    whole, fraction = text[: precision - scale], text[precision - scale :]
    groups = [whole[: len(whole) % 9]] + [
        whole[i : i + 9] for i in range(len(whole) % 9, len(whole), 9)
    ]
    groups += [fraction[i : i + 9] for i in range(0, len(fraction), 9)]
    sizes = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
    raw = bytearray(b"".join(int(g).to_bytes(sizes[len(g)], "big") for g in groups if g))
    raw[0] |= 0x80
    return bytes(byte ^ 0xFF for byte in raw) if value < 0 else bytes(raw)


def digits(numbers: random.Random, most: int) -> tuple[int, ...]:
    return tuple(numbers.randrange(10) for _ in range(numbers.randrange(1, most + 1)))


@pytest.mark.parametrize(("precision", "scale"), [(5, 2), (18, 0), (30, 10), (38, 38), (65, 30)])
def test_case_079_decimals_of_all_widths(precision: int, scale: int) -> None:
    numbers = random.Random(precision)
    values = [
        Decimal((numbers.randrange(2), digits(numbers, precision), -scale)) for _ in range(50)
    ]
    values += [Decimal(f"{'9' * (precision - scale)}.{'9' * scale}"), Decimal(0)]
    field = Field(t.NEWDECIMAL, precision, False, scale)
    size = width(field)
    assert size is not None
    image = Image(bytearray(b"".join(encoded(v, precision, scale) for v in values) + bytes(PAD)))
    place = np.arange(len(values), dtype=np.int64) * size
    found = FIXED[t.NEWDECIMAL](image, place, None, field, None)
    assert found.to_pylist() == values


def test_the_walker_steps_over_nulls_and_all_lengths() -> None:
    fields = [
        Field(t.LONG, 0, False),
        Field(t.TINY, 0, True),
        Field(t.VARCHAR, 20, True),
        Field(t.VARCHAR, 2000, False),
        Field(t.LONGLONG, 0, True),
        Field(252, 3, True),
        Field(252, 4, False),
        Field(t.SHORT, 0, True),
        Field(t.DOUBLE, 0, True),
    ]
    numbers = random.Random(7)
    data, starts = b"", []
    for _ in range(200):
        starts.append(len(data))
        nulls, body = 0, b""
        for i, field in enumerate(fields):
            if field.nullable and numbers.random() < 0.4:
                nulls |= 1 << i
                continue
            size = width(field)
            if size is None:
                content = bytes(numbers.randrange(20))
                places = {t.VARCHAR: 1 if field.meta < 256 else 2}.get(field.code, field.meta)
                body += len(content).to_bytes(places, "little") + content
            else:
                body += bytes(size)
        data += nulls.to_bytes(2, "little") + body
    found: array[int] = array("q")
    assert walker([fields])(bytearray(data + bytes(8)), 0, len(data), found.append) == len(data)
    assert found.tolist() == starts
    twice: array[int] = array("q")
    walker([fields, fields])(bytearray(data + bytes(8)), 0, len(data), twice.append)
    assert twice.tolist() == starts


def test_case_093_gtid_sets() -> None:
    a, b, c = (f"{letter * 8}-0000-0000-0000-{1:012}" for letter in "abc")
    found = MysqlGtids(f"{a.upper()}:1-5:7,\n{b}:tag:1-3:4")
    assert str(found) == f"{a}:1-5:7,{b}:tag:1-4"
    found.add(a, 6)
    found.add(a, 8)
    assert str(found) == f"{a}:1-8,{b}:tag:1-4"
    assert found.has(a, 8)
    assert not found.has(a, 9)
    assert found.contains(MysqlGtids(f"{a}:3-4"))
    assert not found.contains(MysqlGtids(f"{a}:3-9"))
    assert not found.contains(MysqlGtids(f"{c}:1"))
    maria = MariadbGtids("0-1-100,2-5-7")
    maria.add("0-2", 101)
    assert str(maria) == "0-2-101,2-5-7"
    assert maria.has("0-9", 50)
    assert not maria.contains(MariadbGtids("3-1-1"))


def test_case_093_a_tagged_gtid() -> None:
    body = bytes.fromhex(
        "027c00000202ee45034102580269032"
        "2c5036902824102"
        "3502dcbedc350204040610746573745f746167080"
        "00a040c7f003e8900fa5b06104505"
        "12dbd009"
    )
    assert e.tagged(body) == ("77d1902c-01da-11f1-9a41-908d6e5f6e8d:test_tag", 1)


def test_case_089_a_compressed_value_of_mariadb() -> None:
    import zlib

    plain = zlib.compress(b"x" * 300)
    raw = zlib.compressobj(wbits=-15)
    bare = raw.compress(b"y" * 300) + raw.flush()
    assert expand(b"\x82\x01\x2c" + plain) == b"x" * 300
    assert expand(b"\x8a\x01\x2c" + bare) == b"y" * 300
    assert expand(b"\x00short") == b"short"
    assert expand(b"") == b""
