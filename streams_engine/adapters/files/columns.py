"""The columns of files that this library wrote, for `verify`: by Arrow's readers, which the copy
does not use for CSV and JSONL; Parquet has no other."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.json as pajson
import pyarrow.parquet as pq

from streams_engine.adapters.files.discovery import DataFile
from streams_engine.adapters.files.formats.json_array import lines_of
from streams_engine.adapters.files.infer_schema import InferredTable
from streams_engine.adapters.files.stores.store import Store

__all__ = ["batches"]

ROWS = 16_384
BLOCK = 2 << 20


def batches(store: Store, table: InferredTable, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield all rows of these columns, in the order in which they are named; those that a file does
    not have are NULL. Raises `pyarrow.ArrowInvalid` for what these readers cannot read."""
    kinds = {column.name: column.arrow for column in table.schema.columns}
    for file in table.files:
        for batch in _read(store, table, file, names):
            there = set(batch.schema.names)
            arrays = [
                batch.column(name) if name in there
                else pa.nulls(batch.num_rows, kinds.get(name, pa.string()))
                for name in names
            ]  # fmt: skip
            yield pa.RecordBatch.from_arrays(arrays, list(names))


def _read(
    store: Store, table: InferredTable, file: DataFile, names: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    try:
        yield from READERS[file.file_format](store, table, file, names)
    except pa.ArrowInvalid as error:
        if not str(error).startswith("Empty "):  # a file without any row
            raise


def _csv(
    store: Store, table: InferredTable, file: DataFile, names: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    declared = [column.name for column in table.schema.columns]
    by_place = file.info.path in table.parts or not table.options.header
    options = table.options
    with store.open(file.info.path) as raw, plain(raw, file) as stream:
        yield from pacsv.open_csv(
            stream,
            pacsv.ReadOptions(
                column_names=declared if by_place else None,
                skip_rows_after_names=1 if by_place and options.header else 0,
                block_size=BLOCK,
            ),
            pacsv.ParseOptions(
                delimiter=options.delimiter or ",",
                quote_char=options.quote,
                newlines_in_values=True,
                ignore_empty_lines=len(declared) > 1,
            ),
            pacsv.ConvertOptions(
                column_types=dict.fromkeys(declared, pa.string()),
                include_columns=list(names),
                include_missing_columns=True,
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                null_values=[""],
            ),
        )


TYPED = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)
"""What JSON has a word for; all else is a text."""


def _jsonl(
    store: Store, table: InferredTable, file: DataFile, names: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    kinds = {column.name: column.arrow for column in table.schema.columns}
    schema = pa.schema(
        [
            (name, kind if any(is_one(kind) for is_one in TYPED) else pa.string())
            for name, kind in kinds.items()
            if name in names
        ]
    )
    with store.open(file.info.path) as raw, plain(raw, file) as stream:
        for batch in pajson.open_json(
            lines_of(stream, file.info.path, store.show(file.info.path)),
            pajson.ReadOptions(block_size=BLOCK),
            pajson.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        ):
            arrays = [
                _decoded(values) if pa.types.is_binary(kinds[name]) else values
                for name, values in zip(batch.schema.names, batch.columns, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(arrays, batch.schema.names)


def _decoded(values: pa.Array) -> pa.Array:
    octets = [None if value is None else base64.b64decode(value) for value in values.to_pylist()]
    return pa.array(octets, pa.binary())


def _parquet(
    store: Store, _: InferredTable, file: DataFile, names: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    with store.open(file.info.path) as raw:
        source = pq.ParquetFile(raw)
        there = [name for name in names if name in source.schema_arrow.names]
        yield from source.iter_batches(ROWS, columns=there)


@contextmanager
def plain(raw: Any, file: DataFile) -> Iterator[Any]:
    """Yield what is in a file that may be compressed."""
    if file.codec is None:
        yield raw
        return
    with pa.CompressedInputStream(raw, file.codec) as stream:
        yield stream


READERS: Mapping[str, Callable[..., Iterator[pa.RecordBatch]]] = {
    "csv": _csv,
    "json": _jsonl,
    "jsonl": _jsonl,
    "parquet": _parquet,
}
