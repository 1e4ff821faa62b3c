"""Parquet files: native types in field metadata; columns are read in the library's few types."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from streams_engine.adapters.files.formats import json_text
from streams_engine.adapters.files.formats.native_types import type_from_dict, type_to_dict
from streams_engine.adapters.files.formats.options import RecordLimits
from streams_engine.adapters.files.manifest import FIELD_TYPE
from streams_engine.adapters.files.stores.store import Store
from streams_engine.errors import MalformedFile, RowRejected
from streams_engine.model import Column
from streams_engine.schema.types.files import files_type

__all__ = ["Footer", "footer", "normal_array", "normal_type", "read_groups", "written_schema"]

BATCH_ROWS = 65_536
BATCH_BYTES = 64 << 20
"""What a batch may unfold to by the row group's own word, before it has fewer rows."""
SMALL_BYTES = 16 << 10
"""Of a column that has no more in a row group no value is large."""
USUAL = RecordLimits()


def written_schema(columns: Sequence[Column]) -> pa.Schema:
    """Return the schema of a file, with each column's native type as field metadata."""
    return pa.schema(
        [
            pa.field(
                column.name,
                column.arrow,
                column.nullable,
                {FIELD_TYPE: json.dumps(type_to_dict(column.type), ensure_ascii=False).encode()},
            )
            for column in columns
        ]
    )


class Footer:
    """A file's footer: its columns as they will leave, and its row groups."""

    def __init__(self, file: pq.ParquetFile, where: str, limits: RecordLimits = USUAL) -> None:
        schema = file.schema_arrow
        names = schema.names
        if len(names) > limits.columns:
            raise limits.too_wide(where)
        if len(set(names)) != len(names):
            raise MalformedFile(f"{where}: two columns have the same name.", file=where)
        self.columns = tuple(_column(field, where) for field in schema)
        self.groups = tuple(
            file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)
        )


def _column(field: pa.Field, where: str) -> Column:
    arrow, name = normal_type(field.type)
    if arrow is None:
        raise MalformedFile(
            f"{where}: column {field.name}: the type {field.type} is not supported.",
            column=field.name,
        )
    native = files_type(arrow, name)
    if declared := (field.metadata or {}).get(FIELD_TYPE):
        try:
            native = type_from_dict(json.loads(declared))
        except (KeyError, TypeError, ValueError):
            raise MalformedFile(
                f"{where}: column {field.name}: the type in its metadata is unknown."
            ) from None
    return Column(field.name, native, arrow, nullable=field.nullable)


def footer(store: Store, path: str, limits: RecordLimits = USUAL) -> Footer:
    """Read a file's footer. Raises `MalformedFile`, `NotFound`."""
    where = store.show(path)
    with store.open(path) as source, _opened(source, where) as file:
        return Footer(file, where, limits)


@contextmanager
def _opened(source: Any, where: str) -> Iterator[pq.ParquetFile]:
    try:
        file = pq.ParquetFile(source)
    except (pa.ArrowException, OSError, ValueError):
        raise MalformedFile(f"{where}: not a Parquet file, or damaged.", file=where) from None
    with file:
        yield file


def read_groups(
    store: Store,
    path: str,
    groups: Sequence[int],
    names: Sequence[str],
    limits: RecordLimits = USUAL,
) -> Iterator[pa.RecordBatch]:
    """Read the rows of some row groups, normalised, with the columns of these names that the file
    has.

    Raises `MalformedFile` naming file, column and row group.
    """
    where = store.show(path)
    with store.open(path) as source, _opened(source, where) as file:
        there = [name for name in names if name in file.schema_arrow.names]
        for group in groups:
            rows = _batch_rows(file.metadata.row_group(group), where, group, limits)
            try:
                longest = _longest(store, path, file, group, there)
            except (pa.ArrowException, OSError, ValueError):
                raise _damaged(where, group) from None
            if longest > limits.record_bytes:
                raise limits.too_long(where, f"row group {group}", row_group=group)
            rows = min(rows, max(1, BATCH_BYTES // max(1, longest)))
            try:
                for batch in file.iter_batches(rows, row_groups=[group], columns=there):
                    yield _normal(batch, there, where, group)
            except (pa.ArrowException, OSError, ValueError):
                raise _damaged(where, group) from None


def _damaged(where: str, group: int) -> MalformedFile:
    return MalformedFile(
        f"{where}, row group {group}: the data is damaged.", file=where, row_group=group
    )


def _longest(
    store: Store, path: str, file: pq.ParquetFile, group: int, names: Sequence[str]
) -> int:
    """Return the bytes of the longest row that the dictionaries of a row group can make.

    A value of a dictionary stands once in the file, and unfolds in every row that refers to it.
    """
    metadata = file.metadata.row_group(group)
    chunks = [metadata.column(i) for i in range(metadata.num_columns)]
    columns = [
        chunk.path_in_schema
        for chunk in chunks
        if chunk.physical_type == "BYTE_ARRAY"
        and chunk.has_dictionary_page
        and chunk.total_uncompressed_size * metadata.num_rows > BATCH_BYTES
        and chunk.total_uncompressed_size > SMALL_BYTES
        and chunk.path_in_schema in names
    ]
    if not columns:
        return 0
    with store.open(path) as source:
        dictionaries = pq.ParquetFile(source, metadata=file.metadata, read_dictionary=columns)
        with dictionaries:
            batch = next(dictionaries.iter_batches(1, row_groups=[group], columns=columns), None)
    if batch is None:
        return 0
    return sum(_longest_value(column) for column in batch.columns)


def _longest_value(column: pa.Array) -> int:
    if not pa.types.is_dictionary(column.type):
        return 0
    return pc.max(pc.binary_length(column.dictionary)).as_py() or 0


def _batch_rows(group: Any, where: str, number: int, limits: RecordLimits) -> int:
    """Return how many rows to read at once. Raises `MalformedFile` if the mean row is too large."""
    each = group.total_byte_size // max(1, group.num_rows)
    if each > limits.record_bytes:
        raise limits.too_long(where, f"row group {number}", row_group=number)
    return int(min(BATCH_ROWS, max(1, BATCH_BYTES // max(1, each))))


def _normal(batch: pa.RecordBatch, names: Sequence[str], where: str, group: int) -> pa.RecordBatch:
    arrays = []
    for name in names:
        try:
            arrays.append(normal_array(batch.column(name)))
        except (pa.ArrowException, RowRejected, OverflowError):
            raise MalformedFile(
                f"{where}, row group {group}: column {name}: a value of {batch[name].type} "
                "cannot be represented exactly.",
                file=where,
                row_group=group,
                column=name,
            ) from None
    if not names:
        return batch.select([])
    return pa.RecordBatch.from_arrays(arrays, list(names))


def normal_type(kind: pa.DataType) -> tuple[pa.DataType | None, str | None]:
    """Return the Arrow type for a file's type, and json if that is nested; None if it is not
    supported."""
    if pa.types.is_dictionary(kind):
        return normal_type(kind.value_type)
    if pa.types.is_nested(kind):
        return pa.string(), "json"
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", None if kind.tz is None else "UTC"), None
    if pa.types.is_decimal(kind):
        wide = kind.precision > 38
        return (pa.decimal256 if wide else pa.decimal128)(kind.precision, kind.scale), None
    return next((to for is_one, to in TYPES if is_one(kind)), None), None


def normal_array(values: pa.Array) -> pa.Array:
    """Convert values to their normal type. Raises ArrowInvalid if one would be lost."""
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    if pa.types.is_dictionary(values.type):
        # Its words first: PyArrow cannot take views, which polars has in its categories.
        words = normal_array(values.dictionary)
        values = pa.DictionaryArray.from_arrays(values.indices, words).dictionary_decode()
    if pa.types.is_nested(values.type):
        text = json_text.literals(_inner(values))
        return pc.if_else(values.is_valid(), text, pa.scalar(None, pa.string()))
    wanted, _ = normal_type(values.type)
    # Casts are safe: a nanosecond that would be lost is an error.
    return values if values.type == wanted else values.cast(wanted)


def _inner(values: pa.Array) -> pa.Array:
    """Convert the leaves of a nested array to their normal types."""
    return values.cast(_inner_type(values.type))


def _inner_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(f.name, _inner_type(f.type)) for f in kind])
    if pa.types.is_map(kind):
        return pa.map_(_inner_type(kind.key_type), _inner_type(kind.item_type))
    if pa.types.is_nested(kind):
        return pa.list_(_inner_type(kind.value_type))
    wanted, _ = normal_type(kind)
    if wanted is None:
        raise pa.ArrowInvalid(f"{kind} is not supported")
    return wanted


def _one_of(*names: str) -> Callable[[pa.DataType], bool]:
    return lambda kind: str(kind) in names


TYPES: Sequence[tuple[Callable[[pa.DataType], bool], pa.DataType]] = (
    (pa.types.is_null, pa.string()),
    (_one_of("string", "large_string", "string_view"), pa.string()),
    (_one_of("binary", "large_binary", "binary_view"), pa.binary()),
    (pa.types.is_fixed_size_binary, pa.binary()),
    (pa.types.is_date, pa.date32()),
    (pa.types.is_time, pa.time64("us")),
    (pa.types.is_duration, pa.duration("us")),
    (pa.types.is_float16, pa.float32()),
    *((is_one, kind) for is_one, kind in (
        (pa.types.is_boolean, pa.bool_()),
        (pa.types.is_float32, pa.float32()),
        (pa.types.is_float64, pa.float64()),
        (pa.types.is_int8, pa.int8()),
        (pa.types.is_int16, pa.int16()),
        (pa.types.is_int32, pa.int32()),
        (pa.types.is_int64, pa.int64()),
        (pa.types.is_uint8, pa.uint8()),
        (pa.types.is_uint16, pa.uint16()),
        (pa.types.is_uint32, pa.uint32()),
        (pa.types.is_uint64, pa.uint64()),
    )),
)  # fmt: skip
