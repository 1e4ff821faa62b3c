"""One part in the making: blocks are encoded first, which may refuse a row, and then written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, BinaryIO, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from streams_engine.adapters.files.formats import csv, jsonl
from streams_engine.adapters.files.formats.options import FileForm, ParquetOptions
from streams_engine.adapters.files.formats.parquet import normal_array, normal_type, written_schema
from streams_engine.arrow.plain import scalar
from streams_engine.errors import RowRejected, UnsupportedType
from streams_engine.model import Column

__all__ = ["Encoder", "encoder", "normalised", "written_columns"]

GROUP_ROWS = 131_072
GROUP_BYTES = 64 << 20


def written_columns(columns: Sequence[Column], table: str) -> tuple[Column, ...]:
    """Return the columns in the types that files contain, nested ones as JSON text. Raises
    `UnsupportedType`."""
    return tuple(replace(column, arrow=_written(column, table)) for column in columns)


def _written(column: Column, table: str) -> pa.DataType:
    arrow, _ = normal_type(column.arrow)
    # Between adapters, large_binary is the wire form of a server.
    if arrow is None or column.arrow == pa.large_binary():
        raise UnsupportedType(
            f"Column {column.name} of {table}: the Arrow type {column.arrow} cannot be written "
            "to files.",
            table=table,
            column=column.name,
        )
    return arrow


def normalised(batch: pa.RecordBatch, columns: Sequence[Column]) -> pa.RecordBatch:
    """Convert the rows to the columns' types. Raises `RowRejected` naming the column."""
    if not columns:
        return batch
    arrays = []
    for values, column in zip(batch.columns, columns, strict=True):
        try:
            if values.type != column.arrow:
                values = normal_array(values).cast(column.arrow)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError):
            raise RowRejected(
                f"Column {column.name}: a value is not a valid {column.arrow}.", column=column.name
            ) from None
        if values.null_count and not column.nullable:
            raise RowRejected(f"Column {column.name}: NULL is not allowed.", column=column.name)
        if _has_minimum(values):
            raise RowRejected(
                f"Column {column.name}: a zero date or an infinite date cannot be written to a "
                "file.",
                remedy="Choose another type with typeOverrides, or another zeroDates policy.",
                column=column.name,
            )
        arrays.append(values)
    return pa.RecordBatch.from_arrays(arrays, schema=written_schema(columns))


def _has_minimum(values: pa.Array) -> bool:
    """Return whether the values contain the storage type's minimum, which stands for a date without
    equivalent."""
    is_date = pa.types.is_date32(values.type)
    if not is_date and not pa.types.is_timestamp(values.type):
        return False
    storage, lowest = (
        (pa.int32(), np.iinfo(np.int32).min) if is_date else (pa.int64(), np.iinfo(np.int64).min)
    )
    return bool(pc.any(pc.equal(values.view(storage), scalar(int(lowest), storage))).as_py())


class Encoder(Protocol):
    """Encodes blocks for one file."""

    def encode(self, batch: pa.RecordBatch) -> Any:
        """Return what `write` takes. Raises `RowRejected`; nothing is written yet."""
        ...

    def write(self, encoded: Any) -> None:
        """Write a block."""
        ...

    def finish(self) -> None:
        """Write the buffered rows, and the end of the format."""
        ...


class TextEncoder:
    """CSV and JSONL, compressed or not."""

    def __init__(
        self,
        file: BinaryIO,
        compression: str,
        encode: Callable[[pa.RecordBatch], Any],
        begin: bytes = b"",
    ) -> None:
        self._encode = encode
        self._out: Any = file
        if compression != "none":
            self._out = pa.CompressedOutputStream(pa.PythonFile(file, "w"), compression)
        if begin:
            self._out.write(begin)

    def encode(self, batch: pa.RecordBatch) -> Any:
        """Encode a block as lines in one buffer."""
        return self._encode(batch)

    def write(self, encoded: Any) -> None:
        """Write lines."""
        self._out.write(encoded)

    def finish(self) -> None:
        """End the compressed stream."""
        self._out.close()


def _repeats(kind: pa.DataType) -> bool:
    """Return whether a column gets a dictionary: texts, bytes, days and small integers often
    repeat.

    Keys, timestamps and measures seldom do. A dictionary would be built, hashed and given up half
    way: twice the time, and with zstd twice the size.
    """
    small = pa.types.is_integer(kind) and kind.bit_width <= 32
    return small or str(kind) in ("string", "binary", "date32[day]")


class JsonArrayEncoder(TextEncoder):
    """One array of objects, an object a line."""

    def __init__(self, file: BinaryIO, compression: str, columns: Sequence[Column]) -> None:
        super().__init__(
            file, compression, lambda batch: jsonl.encode(batch, columns, before=",\n"), b"["
        )
        self._empty = True

    def write(self, encoded: Any) -> None:
        """Write objects, each behind a comma but the very first."""
        block = memoryview(encoded)
        if self._empty and len(block):
            block, self._empty = block[1:], False
        super().write(block)

    def finish(self) -> None:
        """Close the array."""
        super().write(b"]\n" if self._empty else b"\n]\n")
        super().finish()


class ParquetEncoder:
    """Row groups of about `GROUP_ROWS` rows or `GROUP_BYTES`, if not said otherwise."""

    def __init__(
        self,
        file: BinaryIO,
        compression: str,
        columns: Sequence[Column],
        options: ParquetOptions = ParquetOptions(),  # noqa: B008 - frozen
    ) -> None:
        self._unit = options.unit
        self._asked = options.group_rows
        self._most_rows = options.group_rows or GROUP_ROWS
        self._most_bytes = options.group_bytes or GROUP_BYTES
        self._writer = pq.ParquetWriter(
            file,
            self._in_unit(written_schema(columns)),
            compression=compression,
            compression_level=options.level,
            use_dictionary=[column.name for column in columns if _repeats(column.arrow)],
        )
        self._held: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0

    def encode(self, batch: pa.RecordBatch) -> Any:
        """Return the block, its timestamps in the unit of the file: Parquet stores every type of
        ours. Raises `RowRejected` for one that the unit cannot hold."""
        if self._unit is None:
            return batch
        schema = self._in_unit(batch.schema)
        arrays = []
        for values, field in zip(batch.columns, schema, strict=True):
            try:
                arrays.append(values if values.type == field.type else values.cast(field.type))
            except pa.ArrowInvalid:
                raise RowRejected(
                    f"Column {field.name}: a timestamp is no whole number of {self._unit}, or out "
                    "of their range.",
                    remedy="Leave format.parquet.timestampUnit out.",
                    column=field.name,
                ) from None
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def _in_unit(self, schema: pa.Schema) -> pa.Schema:
        if self._unit is None:
            return schema
        return pa.schema(
            [
                field.with_type(pa.timestamp(self._unit, field.type.tz))
                if pa.types.is_timestamp(field.type)
                else field
                for field in schema
            ]
        )

    def write(self, encoded: Any) -> None:
        """Hold the block until a row group is full."""
        self._held.append(encoded)
        self._rows += encoded.num_rows
        self._bytes += encoded.nbytes
        if self._rows >= self._most_rows or self._bytes >= self._most_bytes:
            self._flush()

    def _flush(self) -> None:
        if self._held:
            table = pa.Table.from_batches(self._held)
            rows = table.num_rows if self._asked is None else min(self._asked, table.num_rows)
            self._writer.write_table(table, row_group_size=max(1, rows))
        self._held, self._rows, self._bytes = [], 0, 0

    def finish(self) -> None:
        """Write the last row group and the footer."""
        self._flush()
        self._writer.close()


def encoder(
    file: BinaryIO,
    form: FileForm,
    columns: Sequence[Column],
) -> Encoder:
    """Create the encoder of one file."""
    compression, options = form.compression, form.csv
    if form.file_format == "parquet":
        return ParquetEncoder(file, compression, columns, form.parquet)
    if form.file_format == "json":
        return JsonArrayEncoder(file, compression, columns)
    if form.file_format == "jsonl":
        return TextEncoder(file, compression, lambda batch: jsonl.encode(batch, columns))
    begin = csv.header(columns, options)
    return TextEncoder(file, compression, lambda batch: csv.encode(batch, columns, options), begin)
