"""Render strings, labels, documents and other values of row images as the server's texts."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from streams_engine.adapters.mysql.binlog import table_map as t
from streams_engine.adapters.mysql.binlog.json_binary import CAST_ROOM, double_text, render
from streams_engine.adapters.mysql.binlog.row_values import (
    FIXED,
    Image,
    bits_of,
    moment_parts,
    raw_bytes,
)
from streams_engine.adapters.mysql.binlog.table_map import Field
from streams_engine.arrow.batches import LARGE_BYTES
from streams_engine.arrow.plain import from_numpy
from streams_engine.errors import UnsupportedType
from streams_engine.model import Column
from streams_engine.schema.types.mysql import arrow_type

__all__ = ["STORED", "decoder_of"]

Decoder = Callable[[Image, np.ndarray, "np.ndarray | None", Field, Column], pa.Array]
Translate = Callable[["int | None", "str | None", pa.Array], pa.Array]
"""(collation id, charset name, bytes) -> the texts; one of the two names the character set."""


def decoder_of(field: Field, known: Column, wanted: pa.DataType, translate: Translate) -> Decoder:
    """Return the decoder of a column for the wanted Arrow type."""
    natural = arrow_type(known.type)
    as_text = pa.types.is_string(wanted)
    if field.code in FIXED:
        plain = _signed(FIXED[field.code], field, known)
        return _printed(plain, field, known, translate) if as_text else plain
    if field.code in (t.ENUM, t.SET):
        return _labelled(field, known)
    if field.code == t.JSON:
        return _json
    if known.type.name in STORED and as_text:
        return _stored(STORED[known.type.name], known)
    if known.type.name == "binary" and field.code == t.STRING:
        return _padded(known.type.args[0] if known.type.args else 1)
    if pa.types.is_string(natural):
        return _text(translate)
    if as_text and known.type.name == "vector":
        return _hex
    if as_text and known.type.name not in BYTES:
        raise UnsupportedType(
            f"Column {known.name}: {known.type.text} from the binary log cannot be read as text.",
            remedy="Read it as bytea with typeOverrides.",
        )
    return lambda image, place, nulls, f, _: raw_bytes(image, place, nulls, f)


BYTES = {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"}


def _signed(decoder: Decoder, field: Field, known: Column) -> Decoder:
    """Take the sign from the table map if it has it, else from the subscribed table."""
    if field.unsigned is not None:
        return decoder
    told = Field(
        field.code, field.meta, field.nullable, field.scale, field.name, known.type.unsigned
    )
    return lambda image, place, nulls, _, column: decoder(image, place, nulls, told, column)


# Character strings


def _text(translate: Translate) -> Decoder:
    def run(
        image: Image, place: np.ndarray, nulls: np.ndarray | None, field: Field, column: Column
    ) -> pa.Array:
        return translate(field.collation, column.charset, raw_bytes(image, place, nulls, field))

    return run


def _padded(size: int) -> Decoder:
    """Restore the trailing zero bytes of BINARY(n), which the log leaves out."""

    def run(
        image: Image, place: np.ndarray, nulls: np.ndarray | None, field: Field, _: Column
    ) -> pa.Array:
        raw = raw_bytes(image, place, nulls, field)
        values = [None if v is None else v.ljust(size, b"\0") for v in raw.to_pylist()]
        return pa.array(values, pa.binary())

    return run


def _hex(
    image: Image, place: np.ndarray, nulls: np.ndarray | None, field: Field, _: Column
) -> pa.Array:
    values = raw_bytes(image, place, nulls, field).to_pylist()
    return pa.array([None if v is None else v.hex() for v in values], pa.string())


def _json(
    image: Image, place: np.ndarray, nulls: np.ndarray | None, field: Field, _: Column
) -> pa.Array:
    raw = raw_bytes(image, place, nulls, field)
    # A large document is looked at where it is.
    values = _views(raw) if raw.nbytes > LARGE_BYTES else raw.to_pylist()
    return pa.array([None if v is None else render(v) for v in values], pa.string())


def _views(values: pa.Array) -> Iterator[memoryview | None]:
    valid = values.is_valid().to_pylist()
    offsets = np.frombuffer(values.buffers()[1], np.int32)[values.offset :].tolist()
    data = memoryview(values.buffers()[2] or b"").cast("B")
    for index, there in enumerate(valid):
        yield data[offsets[index] : offsets[index + 1]] if there else None


# Labels


def _labelled(field: Field, known: Column) -> Decoder:
    labels = list(known.type.labels)
    if not labels and field.labels is not None:
        labels = [label.decode() for label in field.labels]
    return _enum(labels) if field.code == t.ENUM else _set(labels)


def _numbers(image: Image, place: np.ndarray, field: Field) -> np.ndarray:
    values = np.zeros(len(place), np.uint64)
    for i in range(field.meta):
        values |= image.u8[place + i].astype(np.uint64) << np.uint64(8 * i)
    return values


def _enum(labels: Sequence[str]) -> Decoder:
    """Decode ENUM as labels; index 0 is the error value, the empty text."""
    names = pa.array(["", *labels], pa.string())

    def run(
        image: Image, place: np.ndarray, nulls: np.ndarray | None, field: Field, _: Column
    ) -> pa.Array:
        numbers = _numbers(image, place, field).astype(np.int32)
        return names.take(from_numpy(numbers, nulls))

    return run


def _set(labels: Sequence[str]) -> Decoder:
    def run(
        image: Image, place: np.ndarray, nulls: np.ndarray | None, field: Field, _: Column
    ) -> pa.Array:
        distinct, number = np.unique(_numbers(image, place, field), return_inverse=True)
        texts = [
            ",".join(label for i, label in enumerate(labels) if int(bits) >> i & 1)
            for bits in distinct
        ]
        return pa.array(texts, pa.string()).take(from_numpy(number.astype(np.int32), nulls))

    return run


# MariaDB's own types, which are stored as bytes


def _stored(show: Callable[[bytes], str], known: Column) -> Decoder:
    size = {"inet4": 4}.get(known.type.name, 16)

    def run(
        image: Image, place: np.ndarray, nulls: np.ndarray | None, field: Field, _: Column
    ) -> pa.Array:
        raw_values = raw_bytes(image, place, nulls, field).to_pylist()
        values = [None if v is None else show(v.ljust(size, b"\0")) for v in raw_values]
        return pa.array(values, pa.string())

    return run


def _uuid(data: bytes) -> str:
    """Decode a UUID in the order in which MariaDB stores it: time-based ones with the node
    first."""
    if _is_swapped(data):
        data = data[12:16] + data[10:12] + data[8:10] + data[0:2] + data[2:8]
        data = data[0:4] + data[4:6] + data[6:8] + data[8:10] + data[10:16]
    return str(uuid.UUID(bytes=data))


def _is_swapped(data: bytes) -> bool:
    return False


def _inet6(data: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET6, data)


STORED: dict[str, Callable[[bytes], str]] = {
    "uuid": _uuid,
    "inet4": lambda data: ".".join(map(str, data)),
    "inet6": _inet6,
}


# The server's text of other values


def _printed(decoder: Decoder, field: Field, known: Column, translate: Any) -> Decoder:
    """Return the text that CAST(... AS CHAR) gives, as in a snapshot."""
    moments = {t.DATE, t.DATETIME, t.DATETIME2, t.TIMESTAMP, t.TIMESTAMP2}
    if field.code in moments:
        return _moment_text
    room = 400 if getattr(translate, "mariadb", False) else CAST_ROOM.get(field.code, 400)
    zeros = _zeros(known) if "zerofill" in known.type.text.lower() else 0

    def run(
        image: Image, place: np.ndarray, nulls: np.ndarray | None, field: Field, column: Column
    ) -> pa.Array:
        values = decoder(image, place, nulls, field, column)
        if zeros and field.code in INTEGERS:
            return _each(values, lambda v: f"{v:0{zeros}}")
        if field.code in (t.FLOAT, t.DOUBLE):
            return _each(values, lambda v: double_text(v, room - (v < 0)))
        return PRINTERS.get(field.code, _plain)(values, field)

    return run


INTEGERS = {t.TINY, t.SHORT, t.INT24, t.LONG, t.LONGLONG}
ZEROFILL = {"tinyint": 3, "smallint": 5, "mediumint": 8, "int": 10, "bigint": 20}


def _zeros(known: Column) -> int:
    """Return how many digits ZEROFILL pads a number to."""
    return known.type.args[0] if known.type.args else ZEROFILL.get(known.type.name, 0)


def _plain(values: pa.Array, field: Field) -> pa.Array:
    return values.cast(pa.string())


def _each(values: pa.Array, show: Callable[[Any], str]) -> pa.Array:
    return pa.array([None if v is None else show(v) for v in values.to_pylist()], pa.string())


def _time_text(values: pa.Array, field: Field) -> pa.Array:
    digits = 0 if field.code == t.TIME else field.meta

    def show(micro: int) -> str:
        sign, micro = ("-" if micro < 0 else ""), abs(micro)
        seconds, fraction = divmod(micro, 1_000_000)
        text = f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        return text + (f".{fraction:06}"[: digits + 1] if digits else "")

    return _each(values.view(pa.int64()), show)


PRINTERS: dict[int, Callable[[pa.Array, Field], pa.Array]] = {
    t.NEWDECIMAL: lambda values, _: _each(values, lambda v: f"{v:f}"),
    t.YEAR: lambda values, _: _each(values, lambda v: f"{v:04}"),
    t.TIME: _time_text,
    t.TIME2: _time_text,
}


def _moment_text(
    image: Image, place: np.ndarray, nulls: np.ndarray | None, field: Field, column: Column
) -> pa.Array:
    """Render dates and times that no Arrow type can hold: zero and partial dates."""
    if field.code == t.DATE:
        raw = image.view("<u4")[place].astype(np.int64) & 0xFFFFFF
        return _digits([(raw >> 9, 4, "-"), ((raw >> 5) & 15, 2, "-"), (raw & 31, 2, "")], nulls)
    if field.code in (t.TIMESTAMP, t.TIMESTAMP2):
        parts = _instant(image, place, field)
    else:
        parts = moment_parts(image, place, field)
    year, month, day, seconds, micro = parts
    digits = field.meta if field.code in (t.DATETIME2, t.TIMESTAMP2) else 0
    columns = [(year, 4, "-"), (month, 2, "-"), (day, 2, " "), (seconds // 3600, 2, ":"),
               (seconds // 60 % 60, 2, ":"), (seconds % 60, 2, "." if digits else "")]  # fmt: skip
    if digits:
        columns.append((micro // 10 ** (6 - digits), digits, ""))
    return _digits(columns, nulls)


def _instant(image: Image, place: np.ndarray, field: Field) -> tuple[Any, ...]:
    values = FIXED[field.code](image, place, None, field, None)
    moments = np.frombuffer(values.buffers()[1], np.int64)
    zero = moments == np.iinfo(np.int64).min
    moments = np.where(zero, 0, moments)
    days = (moments // 86_400_000_000).astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    year = months.astype("datetime64[Y]").astype(np.int64) + 1970
    month = months.astype(np.int64) % 12 + 1
    day = (days - months.astype("datetime64[D]")).astype(np.int64) + 1
    seconds, micro = moments // 1_000_000 % 86_400, moments % 1_000_000
    return (*(np.where(zero, 0, part) for part in (year, month, day)), seconds, micro)


def _digits(columns: Sequence[tuple[Any, int, str]], nulls: np.ndarray | None) -> pa.Array:
    """Render numbers of fixed widths, each with its separator, as texts of one length."""
    rows = len(columns[0][0])
    total = sum(size + len(after) for _, size, after in columns)
    chars = np.empty((rows, total), np.uint8)
    at = 0
    for values, size, after in columns:
        rest = np.asarray(values)
        for i in range(size - 1, -1, -1):
            chars[:, at + i] = rest % 10 + 48
            rest = rest // 10
        at += size
        for char in after:
            chars[:, at] = ord(char)
            at += 1
    offsets = np.arange(rows + 1, dtype=np.int32) * total
    buffers = [bits_of(nulls), pa.py_buffer(offsets), pa.py_buffer(chars)]
    return pa.Array.from_buffers(pa.string(), rows, buffers)
