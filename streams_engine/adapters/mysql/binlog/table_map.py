"""TABLE_MAP events: which columns the row images after them hold, and how.

https://dev.mysql.com/doc/dev/mysql-server/latest/classmysql_1_1binlog_1_1event_1_1Table__map__event.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from streams_engine.arrow.buffers import well_formed

__all__ = ["BLOBS", "Field", "TableMap", "length_encoded", "parse_name", "parse_table_map"]

TINY, SHORT, LONG, FLOAT, DOUBLE, TIMESTAMP, LONGLONG, INT24 = 1, 2, 3, 4, 5, 7, 8, 9
DATE, TIME, DATETIME, YEAR, VARCHAR, BIT = 10, 11, 12, 13, 15, 16
TIMESTAMP2, DATETIME2, TIME2, TYPED_ARRAY = 17, 18, 19, 20
BLOB_COMPRESSED, VARCHAR_COMPRESSED = 140, 141
VECTOR, JSON, NEWDECIMAL, ENUM, SET = 242, 245, 246, 247, 248
VAR_STRING, STRING, GEOMETRY = 253, 254, 255
BLOBS = {249, 250, 251, 252, BLOB_COMPRESSED, VECTOR, JSON, GEOMETRY}

META_BYTES = {
    **dict.fromkeys(
        (FLOAT, DOUBLE, TIMESTAMP2, DATETIME2, TIME2, *BLOBS), 1
    ),
    **dict.fromkeys(
        (VARCHAR, VARCHAR_COMPRESSED, BIT, NEWDECIMAL, VAR_STRING, STRING, ENUM, SET), 2
    ),
}  # fmt: skip
"""How many bytes of the metadata block a type has; none where it is not named."""

NUMERIC = {TINY, SHORT, INT24, LONG, LONGLONG, NEWDECIMAL, FLOAT, DOUBLE, YEAR}
"""Types with a bit in SIGNEDNESS; that YEAR is one of them was seen on both flavours."""
CHARACTER = {VARCHAR, VAR_STRING, STRING, VARCHAR_COMPRESSED, 249, 250, 251, 252, BLOB_COMPRESSED}


@dataclass(frozen=True, slots=True)
class Field:
    """One column of a row image."""

    code: int
    """The type: ENUM and SET as themselves, however they are packed."""
    meta: int
    """Length, fraction digits, bytes of the length: what the type's metadata says."""
    nullable: bool
    scale: int = 0
    """NEWDECIMAL: ``meta`` is its precision."""
    name: str | None = None
    """None if the server writes no full metadata."""
    unsigned: bool | None = None
    collation: int | None = None
    labels: tuple[bytes, ...] | None = None


@dataclass(frozen=True, slots=True)
class TableMap:
    """A table as one TABLE_MAP event describes it."""

    schema: str
    name: str
    fields: tuple[Field, ...]

    @property
    def named(self) -> bool:
        """Whether it says the columns' names."""
        return bool(self.fields) and self.fields[0].name is not None


def length_encoded(data: bytes | bytearray | memoryview, at: int) -> tuple[int, int]:
    """Decode a length-encoded integer; return it, and where the next field begins."""
    first = data[at]
    if first < 0xFB:
        return first, at + 1
    size = {0xFC: 2, 0xFD: 3, 0xFE: 8}[first]
    return int.from_bytes(data[at + 1 : at + 1 + size], "little"), at + 1 + size


def parse_name(body: bytes) -> tuple[str, str]:
    """Return the database and the table that an event's body is about, and read nothing else of
    it. Raises `ProtocolViolation`."""
    with well_formed("a table map of the binary log"):
        schema, name, _ = _name(body)
        return schema, name


def parse_table_map(body: bytes, *, mariadb: bool = False) -> TableMap:
    """Parse the event's body from its table id on, without checksum. Raises `ProtocolViolation`."""
    with well_formed("a table map of the binary log"):
        return _table_map(body, mariadb)


def _name(body: bytes) -> tuple[str, str, int]:
    """Return database, table, and where the columns begin."""
    at = 8
    size = body[at]
    schema = body[at + 1 : at + 1 + size].decode()
    at += size + 2
    size, at = length_encoded(body, at)
    return schema, body[at : at + size].decode(), at + size + 1


def _table_map(body: bytes, mariadb: bool) -> TableMap:
    schema, name, at = _name(body)
    count, at = length_encoded(body, at)
    codes = body[at : at + count]
    at += count
    size, at = length_encoded(body, at)
    metas = body[at : at + size]
    at += size
    nullable = body[at : at + (count + 7) // 8]
    at += (count + 7) // 8
    if not 0 < len(codes) == count:
        raise ValueError("a table map has no columns")
    fields = list(_fields(codes, metas, nullable))
    return TableMap(schema, name, tuple(_optional(fields, body, at, mariadb)))


def _fields(codes: bytes, metas: bytes, nullable: bytes) -> Iterator[Field]:
    at = 0
    for i, code in enumerate(codes):
        may = bool(nullable[i >> 3] >> (i & 7) & 1)
        if code == TYPED_ARRAY:  # a hidden column of a multi-valued index: element type and meta
            inner = metas[at]
            at += 1 + {0: 0}.get(inner, META_BYTES.get(inner, 0))
            yield Field(code, 4, may)
            continue
        size = META_BYTES.get(code, 0)
        meta = metas[at : at + size]
        at += size
        yield _field(code, meta, may)


def _field(code: int, meta: bytes, nullable: bool) -> Field:
    if code in (STRING, ENUM, SET):
        first, second = meta
        if first in (ENUM, SET):
            return Field(first, second, nullable)
        length = second | (((first & 0x30) ^ 0x30) << 4)
        return Field(STRING, length, nullable)
    if code == NEWDECIMAL:
        return Field(code, meta[0], nullable, meta[1])
    if code == BIT:
        return Field(code, meta[1] * 8 + meta[0], nullable)
    return Field(code, int.from_bytes(meta, "little"), nullable)


# What the server adds with binlog_row_metadata


def _optional(fields: list[Field], body: bytes, at: int, mariadb: bool) -> list[Field]:
    metadata: dict[int, bytes] = {}
    while at < len(body):
        kind = body[at]
        size, at = length_encoded(body, at + 1)
        metadata[kind] = body[at : at + size]
        at += size
    numbers = [i for i, f in enumerate(fields) if f.code in NUMERIC]
    if 1 in metadata:
        for n, i in enumerate(numbers):
            bit = metadata[1][n >> 3] >> (7 - (n & 7)) & 1
            fields[i] = replace(fields[i], unsigned=bool(bit))
    character = CHARACTER | {GEOMETRY} if mariadb else CHARACTER  # seen on MariaDB 10.11
    texts = [i for i, f in enumerate(fields) if f.code in character]
    _collations(fields, texts, metadata.get(2), metadata.get(3))
    chosen = [i for i, f in enumerate(fields) if f.code in (ENUM, SET)]
    _collations(fields, chosen, metadata.get(10), metadata.get(11))
    if 4 in metadata:
        for i, name in enumerate(_strings(metadata[4], None)):
            fields[i] = replace(fields[i], name=name.decode())
    for kind, code in ((5, SET), (6, ENUM)):
        if kind in metadata:
            lists = _label_lists(metadata[kind])
            for i in (i for i, f in enumerate(fields) if f.code == code):
                fields[i] = replace(fields[i], labels=next(lists, ()))
    return fields


def _collations(
    fields: list[Field], which: Sequence[int], default: bytes | None, each: bytes | None
) -> None:
    if each is not None:
        for i, collation in zip(which, _integers(each), strict=False):
            fields[i] = replace(fields[i], collation=collation)
    elif default is not None:
        first, *rest = _integers(default)
        others = dict(zip(rest[::2], rest[1::2], strict=True))
        for n, i in enumerate(which):
            fields[i] = replace(fields[i], collation=others.get(n, first))


def _integers(data: bytes) -> list[int]:
    numbers, at = [], 0
    while at < len(data):
        value, at = length_encoded(data, at)
        numbers.append(value)
    return numbers


def _strings(data: bytes, count: int | None) -> list[bytes]:
    texts: list[bytes] = []
    at = 0
    while at < len(data) and (count is None or len(texts) < count):
        size, at = length_encoded(data, at)
        texts.append(data[at : at + size])
        at += size
    return texts


def _label_lists(data: bytes) -> Iterator[tuple[bytes, ...]]:
    at = 0
    while at < len(data):
        count, at = length_encoded(data, at)
        labels = _strings(data[at:], count)
        for label in labels:
            _, at = length_encoded(data, at)
            at += len(label)
        yield tuple(labels)
