"""Parquet: native types in the fields' metadata; what leaves is of the library's few types."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from streams_engine.adapters.files import json_text
from streams_engine.adapters.files.manifest import FIELD_TYPE
from streams_engine.adapters.files.native import files_type, from_document, to_document
from streams_engine.adapters.files.options import RecordLimits
from streams_engine.adapters.files.store import Store
from streams_engine.errors import MalformedFile, RowRejected
from streams_engine.model import Column

__all__ = ["Footer", "footer", "normal_array", "normal_type", "read_groups", "written_schema"]

BATCH_ROWS = 65_536
BATCH_BYTES = 64 << 20
"""What a batch may unfold to by the row group's own word, before it has fewer rows."""
USUAL = RecordLimits()
Normal = Callable[[pa.Array], pa.Array]


def written_schema(columns: Sequence[Column]) -> pa.Schema:
    """The schema of a file, with each column's native type beside it."""
    return pa.schema(
        [
            pa.field(
                column.name,
                column.arrow,
                column.nullable,
                {FIELD_TYPE: json.dumps(to_document(column.type), ensure_ascii=False).encode()},
            )
            for column in columns
        ]
    )


class Footer:
    """What a file's footer says: its columns as they will leave, and its row groups."""

    def __init__(self, file: pq.ParquetFile, where: str, limits: RecordLimits = USUAL) -> None:
        schema = file.schema_arrow
        names = schema.names
        if len(names) > limits.columns:
            raise limits.too_wide(where)
        if len(set(names)) != len(names):
            raise MalformedFile(f"{where}: two columns of one name.", file=where)
        self.columns = tuple(_column(field, where) for field in schema)
        self.groups = tuple(
            file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)
        )


def _column(field: pa.Field, where: str) -> Column:
    arrow, name = normal_type(field.type)
    if arrow is None:
        raise MalformedFile(
            f"{where}: column {field.name}: {field.type} is not read.", column=field.name
        )
    native = files_type(arrow, name)
    if declared := (field.metadata or {}).get(FIELD_TYPE):
        try:
            native = from_document(json.loads(declared))
        except (KeyError, TypeError, ValueError):
            raise MalformedFile(
                f"{where}: column {field.name}: its declared type cannot be read."
            ) from None
    return Column(field.name, native, arrow, nullable=field.nullable)


def footer(store: Store, path: str, limits: RecordLimits = USUAL) -> Footer:
    """A file's footer. Raises `MalformedFile`, `NotFound`."""
    where = store.show(path)
    with store.open(path) as source, _opened(source, where) as file:
        return Footer(file, where, limits)


@contextmanager
def _opened(source: Any, where: str) -> Iterator[pq.ParquetFile]:
    try:
        file = pq.ParquetFile(source)
    except (pa.ArrowException, OSError, ValueError):
        raise MalformedFile(f"{where}: no Parquet file, or a damaged one.", file=where) from None
    with file:
        yield file


def read_groups(
    store: Store,
    path: str,
    groups: Sequence[int],
    names: Sequence[str],
    limits: RecordLimits = USUAL,
) -> Iterator[pa.RecordBatch]:
    """The rows of some row groups, normalised; the columns of these names that the file has.

    Raises `MalformedFile` naming file, column and row group.
    """
    where = store.show(path)
    with store.open(path) as source, _opened(source, where) as file:
        there = [name for name in names if name in file.schema_arrow.names]
        for group in groups:
            rows = _batch_rows(file.metadata.row_group(group), where, group, limits)
            try:
                for batch in file.iter_batches(rows, row_groups=[group], columns=there):
                    yield _normal(batch, there, where, group)
            except (pa.ArrowException, OSError, ValueError):
                raise MalformedFile(
                    f"{where}, row group {group}: it is damaged.", file=where, row_group=group
                ) from None


def _batch_rows(group: Any, where: str, number: int, limits: RecordLimits) -> int:
    """How many rows are read at once. Raises `MalformedFile` where the mean row is too large."""
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
                "cannot be kept exactly.",
                file=where,
                row_group=group,
                column=name,
            ) from None
    if not names:
        return batch.select([])
    return pa.RecordBatch.from_arrays(arrays, list(names))


def normal_type(kind: pa.DataType) -> tuple[pa.DataType | None, str | None]:
    """The type that a file's type leaves as, and json where it is nested; None for none."""
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
    """Values in the type that they leave as. Raises ArrowInvalid where one would be lost."""
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_nested(values.type):
        text = json_text.literals(_inner(values))
        return pc.if_else(values.is_valid(), text, pa.scalar(None, pa.string()))
    wanted, _ = normal_type(values.type)
    # Casts are safe: a nanosecond that would be lost is an error.
    return values if values.type == wanted else values.cast(wanted)


def _inner(values: pa.Array) -> pa.Array:
    """A nested array whose leaves are normalised."""
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
        raise pa.ArrowInvalid(f"{kind} is not read")
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
