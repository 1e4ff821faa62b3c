"""Decompress values, statements and rows of MariaDB, and transactions of MySQL."""

from __future__ import annotations

import zlib

import pyarrow as pa

from streams_engine.adapters.mysql.binlog.table_map import length_encoded

__all__ = ["decompress_payload", "inflate"]

MAX_BYTES = 1 << 30
"""The largest max_allowed_packet, which bounds rows and statements
(https://dev.mysql.com/doc/refman/9.0/en/server-system-variables.html#sysvar_max_allowed_packet)."""

PAYLOAD_SIZE, COMPRESSION_TYPE, UNCOMPRESSED_SIZE = 1, 2, 3
UNCOMPRESSED = 255


def inflate(data: bytes, wbits: int = zlib.MAX_WBITS) -> bytes:
    """Decompress MariaDB's form: 0x80 and the size of the length, the length big-endian, zlib.

    Raises `ValueError` if the result has another length; never allocates more than that length.
    """
    size = data[0] & 7
    length = int.from_bytes(data[1 : 1 + size], "big")
    if length > MAX_BYTES:
        raise ValueError("a length exceeds what a server may send")
    plain = zlib.decompressobj(wbits).decompress(data[1 + size :], length + 1)
    if len(plain) != length:
        raise ValueError("the decompressed data has another length than announced")
    return plain


def decompress_payload(body: bytes) -> bytes:
    """Return the events of a compressed transaction (TRANSACTION_PAYLOAD), one after the other.

    Raises `ValueError` if the data is not what its fields say.
    """
    at, fields = 0, dict[int, int]()
    while at < len(body):
        field, at = length_encoded(body, at)
        if field == 0:
            break
        width, at = length_encoded(body, at)
        fields[field], _ = length_encoded(body, at)
        at += width
    size = fields.get(PAYLOAD_SIZE, 0)
    data = body[at : at + size] if size else body[at:]
    if fields.get(COMPRESSION_TYPE, 0) == UNCOMPRESSED:
        return data
    length = fields.get(UNCOMPRESSED_SIZE, 0)
    if length > MAX_BYTES:
        raise ValueError("a length exceeds what a server may send")
    try:
        return bytes(pa.Codec("zstd").decompress(data, length, asbytes=True))
    except OSError as error:  # Arrow raises it for data that is no zstd frame
        raise ValueError("the compressed data cannot be decompressed") from error
