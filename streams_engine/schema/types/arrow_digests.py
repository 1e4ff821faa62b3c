"""Digests of rows that are Arrow values, column by column: of files, and of all that keeps Arrow
types.

The text of a row is what `adapters/*/digest_text.py` has the servers make: the values' texts, then
the lengths of those that may contain the separator.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streams_engine.schema.types.canonical import (
    PADDED,
    BucketFilter,
    CanonicalColumn,
    CanonicalType,
    KeyRange,
)
from streams_engine.schema.types.row_digests import BUCKETS, ROW_END, Digested

__all__ = ["KINDS", "blocks_of", "buckets_of", "can_digest", "digest_of", "in_buckets"]

KINDS = ("sha256/64",)
FREE = frozenset((CanonicalType.TEXT, CanonicalType.LABELS, CanonicalType.JSON))
"""Forms whose texts may contain anything."""
BLOCK_ROWS = 16_384
BLOCK_BYTES = 2 << 20
"""Of the values in a block, about; a server takes its texts as one, of max_allowed_packet at most.
"""
Values = Any


def can_digest(column: CanonicalColumn) -> bool:
    """Return whether a column has a text whose equality means that of its values."""
    return column.type.name != "duration" and column.form in TEXTS


def digest_of(batches: Iterable[pa.RecordBatch], columns: Sequence[CanonicalColumn]) -> Digested:
    """Return the sum over all rows."""
    rows = total = 0
    for batch in batches:
        digests = _digests(batch, columns)
        rows += len(digests)
        total += int(digests.sum(dtype=np.uint64))
    return Digested(rows, total % (1 << 64))


def buckets_of(
    batches: Iterable[pa.RecordBatch], columns: Sequence[CanonicalColumn]
) -> Mapping[int, Digested]:
    """Return the sums by bucket; without those of no row."""
    counts = np.zeros(BUCKETS, np.int64)
    sums = np.zeros(BUCKETS, np.uint64)
    for batch in batches:
        digests = _digests(batch, columns)
        places = (digests & np.uint64(BUCKETS - 1)).astype(np.int64)
        counts += np.bincount(places, minlength=BUCKETS)
        np.add.at(sums, places, digests)
    return {
        int(bucket): Digested(int(counts[bucket]), int(sums[bucket]))
        for bucket in np.flatnonzero(counts)
    }


def in_buckets(batch: pa.RecordBatch, wanted: BucketFilter) -> pa.RecordBatch:
    """Return the rows of the batch that are in these buckets."""
    places = _digests(batch, wanted.columns) & np.uint64(BUCKETS - 1)
    return batch.filter(pa.array(np.isin(places, np.array(wanted.chosen, np.uint64))))


def blocks_of(
    batches: Iterable[pa.RecordBatch], columns: Sequence[CanonicalColumn], key: str
) -> Iterator[tuple[KeyRange, Digested]]:
    """Yield the hashes of some rows each, by the range of their keys; the last is not whole if its
    rows are not sorted. Raises `pyarrow.ArrowInvalid` for keys that are no whole numbers."""
    for batch in batches:
        rows = min(BLOCK_ROWS, max(1, BLOCK_BYTES * batch.num_rows // max(batch.nbytes, 1)))
        for start in range(0, batch.num_rows, rows):
            part = batch.slice(start, rows)
            keys = part.column(key).cast(pa.int64())
            numbers = keys.to_numpy(zero_copy_only=False)
            if keys.null_count or not (np.diff(numbers) > 0).all():
                yield KeyRange(key), Digested(0, 0, whole=False)
                return
            ends, data = _bytes_of(_texts(part, columns, ROW_END[1:]))
            hashed = hashlib.sha256(data[ends[0] : ends[-1] - len(ROW_END)])
            total = int.from_bytes(hashed.digest(), "big")
            first, last = int(numbers[0]), int(numbers[-1])
            yield KeyRange(key, first, last + 1), Digested(len(part), total)


def _digests(batch: pa.RecordBatch, columns: Sequence[CanonicalColumn]) -> Values:
    """Return the digest of each row."""
    (ends, view), sha256 = _bytes_of(_texts(batch, columns)), hashlib.sha256
    made = b"".join([sha256(view[a:b]).digest()[:8] for a, b in pairwise(ends)])
    return np.frombuffer(made, ">u8").astype(np.uint64)


def _texts(
    batch: pa.RecordBatch, columns: Sequence[CanonicalColumn], end: str | None = None
) -> pa.Array:
    """Return the text of each row, with what is put at its end."""
    texts, lengths = [], []
    for column in columns:
        text = _text(batch.column(column.name), column)
        texts.append(text.fill_null("-") if column.form is CanonicalType.BYTES else text)
        if column.form in FREE:
            lengths.append(pc.binary_length(text).cast(pa.large_string()))
    return pc.binary_join_element_wise(
        *texts,
        *lengths,
        *([] if end is None else [pa.scalar(end, pa.large_string())]),
        pa.scalar(",", pa.large_string()),
        null_handling="replace",
        null_replacement="",
    )


def _bytes_of(texts: pa.Array) -> tuple[list[int], memoryview]:
    """Return where texts begin and end, and all of them."""
    _, offsets, data = texts.buffers()
    if len(texts) == 0 or data is None:
        return [0], memoryview(b"")
    ends = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return ends.tolist(), memoryview(data)


def _text(values: pa.Array, column: CanonicalColumn) -> pa.Array:
    """Return the text of each value, in the form in which the column is compared."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if column.type.name == PADDED:
        values = pc.utf8_rtrim(values.cast(pa.string()), " ")
    if column.form is CanonicalType.FLOAT and column.type.text == "float":
        values = values.cast(pa.float32())  # what a text stands for, which is widened then
    return TEXTS[column.form](values).cast(pa.large_string())


def _plain(values: pa.Array) -> pa.Array:
    if pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type):
        return _hex(values)
    return values.cast(pa.large_string())


def _decimal(values: pa.Array) -> pa.Array:
    return _trimmed(values.cast(pa.string()))


def _trimmed(texts: pa.Array) -> pa.Array:
    """Return texts without zeros at the end of their fractions."""
    short = pc.utf8_rtrim(pc.utf8_rtrim(texts, "0"), ".")
    return pc.if_else(pc.match_substring(texts, "."), short, texts)


def _float(values: pa.Array) -> pa.Array:
    """Return the bits in hexadecimal digits, the highest byte first."""
    wide = values.cast(pa.float64())
    octets = wide.fill_null(0.0).to_numpy(zero_copy_only=False).astype(">f8").view(np.uint8)
    ends = 16 * np.arange(len(wide) + 1, dtype=np.int64)
    return _masked(ends, UPPER_HEX[octets], wide.is_null())


def _boolean(values: pa.Array) -> pa.Array:
    if pa.types.is_boolean(values.type):
        return values.cast(pa.int8()).cast(pa.string())
    texts = values.cast(pa.string())
    low = pc.utf8_lower(texts)
    return pc.if_else(pc.equal(low, "true"), "1", pc.if_else(pc.equal(low, "false"), "0", texts))


def _bytes(values: pa.Array) -> pa.Array:
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        texts = pc.utf8_lower(values)
        prefixed = pc.starts_with(texts, "\\x")
        return pc.if_else(prefixed, pc.utf8_slice_codeunits(texts, 2), texts)
    return _hex(values)


HEX = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), np.uint16)
UPPER_HEX = np.frombuffer("".join(f"{byte:02X}" for byte in range(256)).encode(), np.uint16)


def _hex(values: pa.Array) -> pa.Array:
    wide = values.cast(pa.large_binary())
    _, offsets, data = wide.buffers()
    ends = np.frombuffer(offsets, np.int64)[wide.offset : wide.offset + len(wide) + 1]
    start, end = (int(ends[0]), int(ends[-1])) if len(ends) else (0, 0)
    octets = np.frombuffer(data, np.uint8)[start:end] if data is not None else np.zeros(0, np.uint8)
    return _masked((ends - start) * 2, HEX[octets], wide.is_null())


def _masked(ends: Values, digits: Values, nulls: pa.Array) -> pa.Array:
    """Return texts by where they end, without those that are NULL."""
    texts = pa.LargeStringArray.from_buffers(
        len(nulls), pa.py_buffer(np.ascontiguousarray(ends)), pa.py_buffer(digits)
    )
    return pc.if_else(nulls, pa.scalar(None, pa.large_string()), texts)


def _moment(values: pa.Array) -> pa.Array:
    kind = values.type
    if pa.types.is_timestamp(kind):
        values = values.cast(pa.timestamp(kind.unit))  # an instant, in UTC
    if not pa.types.is_string(kind) and not pa.types.is_large_string(kind):
        return _trimmed(values.cast(pa.string()))
    texts = pc.replace_substring_regex(values, r"^(\d{4}-\d\d-\d\d)T", r"\1 ")
    return _trimmed(pc.replace_substring_regex(texts, r"(Z|\+00:?00)$", ""))


TEXTS: Mapping[CanonicalType, Callable[[pa.Array], pa.Array]] = {
    CanonicalType.INTEGER: _plain,
    CanonicalType.TEXT: _plain,
    CanonicalType.JSON: _plain,
    CanonicalType.DECIMAL: _decimal,
    CanonicalType.FLOAT: _float,
    CanonicalType.BOOLEAN: _boolean,
    CanonicalType.BYTES: _bytes,
    CanonicalType.MOMENT: _moment,
}
"""By form. Others are compared by their values."""
