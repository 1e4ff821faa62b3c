"""Single values of row images as texts, without Arrow: a table of small functions by type.

Each takes the bytes of one value, and gives what the server prints for it: digits, dates in
ISO 8601, instants with ``+00``, BIT as binary digits, the labels of a SET with commas. Bytes stay
as they are. What is not plain, as a zero date, raises `ValueError`: `row_values` and
`row_rendering` know it all.
"""

from __future__ import annotations

import datetime
import struct
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from streams_engine.adapters.mysql.binlog import table_map as t
from streams_engine.adapters.mysql.binlog.json_binary import render
from streams_engine.adapters.mysql.binlog.row_rendering import STORED
from streams_engine.adapters.mysql.binlog.row_values import decimal_groups, expand
from streams_engine.adapters.mysql.binlog.table_map import Field
from streams_engine.model import Column
from streams_engine.schema.types.mysql import arrow_type

__all__ = ["ValueText", "value_text"]

ValueText = Callable[[bytes], bytes]
"""Raises what bytes raise that are not what they should be; see `arrow.buffers.RAW`."""

EPOCH = datetime.datetime(1970, 1, 1)
COMPRESSED = (t.BLOB_COMPRESSED, t.VARCHAR_COMPRESSED)


def value_text(field: Field, known: Column, wanted: Column, charsets: Any) -> ValueText | None:
    """Return how a column's values become texts; None if only `row_values` decodes it.

    ``known`` is the column as the subscribed table has it, ``wanted`` as it is selected. Raises
    `UnsupportedType` over a collation that the server does not list.
    """
    if wanted.arrow != arrow_type(known.type):
        return None  # asked for in another form
    make = PLAIN.get(field.code)
    if make is not None:
        return make(field, known)
    if field.code in (t.DATETIME, t.TIMESTAMP, t.TIME):
        return None  # the formats before MySQL 5.6
    text = _string(field, known, charsets)
    return (lambda raw: text(expand(raw))) if field.code in COMPRESSED else text


def _string(field: Field, known: Column, charsets: Any) -> ValueText:
    """Return the text of a value of variable size, in the order of `row_rendering.decoder_of`."""
    name = known.type.name
    if field.code == t.JSON:
        return lambda raw: render(raw).encode()
    if name in STORED:
        show, full = STORED[name], {"inet4": 4}.get(name, 16)
        return lambda raw: show(raw.ljust(full, b"\0")).encode()
    if name == "binary" and field.code == t.STRING:
        size = known.type.args[0] if known.type.args else 1
        return lambda raw: raw.ljust(size, b"\0")
    if pa.types.is_string(arrow_type(known.type)):
        convert: ValueText = charsets.one_by_one(field.collation, known.charset)
        return convert
    return _same


def _same(raw: bytes) -> bytes:
    return raw


# Numbers


def _integer(field: Field, known: Column) -> ValueText:
    signed = not (known.type.unsigned if field.unsigned is None else field.unsigned)
    return lambda raw: b"%d" % int.from_bytes(raw, "little", signed=signed)


def _real(form: str) -> Callable[[Field, Column], ValueText]:
    unpack = struct.Struct(form).unpack
    # The shortest text that is this double; of a FLOAT too it is read back as the same FLOAT.
    return lambda field, known: lambda raw: repr(unpack(raw)[0]).encode()


def _year(field: Field, known: Column) -> ValueText:
    return lambda raw: b"%d" % (raw[0] + 1900 if raw[0] else 0)


def _bit(field: Field, known: Column) -> ValueText:
    form = f"0{field.meta}b"
    return lambda raw: format(int.from_bytes(raw, "big"), form).encode()


def _decimal(field: Field, known: Column) -> ValueText | None:
    """Read big-endian groups of digits, as `row_values` does for a column."""
    precision, scale = field.meta, field.scale
    args = (*known.type.args, 0, 0)[:2]
    if args != (precision, scale):
        return None  # the values have to be converted
    groups, form = decimal_groups(field), f"0{scale + 1}d"

    def text(raw: bytes) -> bytes:
        negative, at, number = raw[0] < 0x80, 0, 0
        for size, digits in groups:
            part = int.from_bytes(raw[at : at + size], "big")
            if not at:
                part ^= 1 << (8 * size - 1)
            if negative:
                part ^= (1 << 8 * size) - 1
            if part >= 10**digits:
                raise ValueError("a DECIMAL has a group of too many digits")
            number = number * 10**digits + part
            at += size
        shown = format(number, form)
        if scale:
            shown = f"{shown[:-scale]}.{shown[-scale:]}"
        return (f"-{shown}" if negative and number else shown).encode()

    return text


# Dates and times. Their constructors refuse what is no date.


def _date(field: Field, known: Column) -> ValueText:
    def text(raw: bytes) -> bytes:
        packed = int.from_bytes(raw, "little")
        return datetime.date(packed >> 9, packed >> 5 & 15, packed & 31).isoformat().encode()

    return text


def _fraction(field: Field) -> int:
    """Return what the bytes of a fraction are multiplied by to be microseconds."""
    return int(10 ** (6 - (field.meta + 1) // 2 * 2))


def _datetime(field: Field, known: Column) -> ValueText:
    micro = _fraction(field)

    def text(raw: bytes) -> bytes:
        packed = int.from_bytes(raw[:5], "big") - 0x8000000000
        year, month = divmod(packed >> 22, 13)
        moment = datetime.datetime(
            year,
            month,
            packed >> 17 & 31,
            packed >> 12 & 31,
            packed >> 6 & 63,
            packed & 63,
            int.from_bytes(raw[5:], "big") * micro,
        )
        return moment.isoformat(" ").encode()

    return text


def _timestamp(field: Field, known: Column) -> ValueText:
    micro = _fraction(field)

    def text(raw: bytes) -> bytes:
        seconds = int.from_bytes(raw[:4], "big")
        fraction = int.from_bytes(raw[4:], "big") * micro
        if not seconds or fraction > 999_999:
            raise ValueError("no instant")
        return (EPOCH + datetime.timedelta(0, seconds, fraction)).isoformat(" ").encode() + b"+00"

    return text


def _time(field: Field, known: Column) -> ValueText:
    micro, bits = _fraction(field), (field.meta + 1) // 2 * 8
    bias, mask = 0x800000 << bits, (1 << bits) - 1

    def text(raw: bytes) -> bytes:
        packed = int.from_bytes(raw, "big") - bias
        sign, packed = ("-", -packed) if packed < 0 else ("", packed)
        fraction, clock = (packed & mask) * micro, packed >> bits
        hours, minutes, seconds = clock >> 12 & 1023, clock >> 6 & 63, clock & 63
        if minutes > 59 or seconds > 59 or fraction > 999_999:
            raise ValueError("no time")
        return f"{sign}{hours:02}:{minutes:02}:{seconds:02}.{fraction:06}".encode()

    return text


# Labels


def _labels(field: Field, known: Column) -> list[bytes]:
    return [label.encode() for label in known.type.labels] or list(field.labels or ())


def _enum(field: Field, known: Column) -> ValueText:
    names = [b"", *_labels(field, known)]
    return lambda raw: names[int.from_bytes(raw, "little")]


def _set(field: Field, known: Column) -> ValueText:
    labels = list(enumerate(_labels(field, known)))

    def text(raw: bytes) -> bytes:
        bits = int.from_bytes(raw, "little")
        return b",".join([label for place, label in labels if bits >> place & 1])

    return text


PLAIN: Mapping[int, Callable[[Field, Column], ValueText | None]] = {
    **dict.fromkeys((t.TINY, t.SHORT, t.INT24, t.LONG, t.LONGLONG), _integer),
    t.FLOAT: _real("<f"),
    t.DOUBLE: _real("<d"),
    t.YEAR: _year,
    t.BIT: _bit,
    t.NEWDECIMAL: _decimal,
    t.DATE: _date,
    t.DATETIME2: _datetime,
    t.TIMESTAMP2: _timestamp,
    t.TIME2: _time,
    t.ENUM: _enum,
    t.SET: _set,
}
