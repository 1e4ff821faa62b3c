"""Batches of a source as DuckDB takes them: the same values, in types that it has.

A DECIMAL of more than 38 digits, and a NUMERIC without a precision, become a DECIMAL of 38 digits
where every value fits; else the query fails by the column's name. CHAR(n) of PostgreSQL comes
without its padding, which does not count when its server compares it, and which MySQL does not
give at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from streams_engine.errors import RowRejected, UnsupportedType
from streams_engine.model import Dialect
from streams_engine.query.source_request import TableRequest
from streams_engine.schema.types.postgres import base_of

__all__ = ["MOST_DIGITS", "Fit", "fit"]

MOST_DIGITS = 38
"""Of a DuckDB DECIMAL."""

Fit = Callable[[pa.RecordBatch], pa.RecordBatch]


def fit(
    ask: TableRequest, schema: pa.Schema, digits: Mapping[str, pa.DataType]
) -> tuple[pa.Schema, Fit]:
    """Return the schema that DuckDB gets, and the function that converts each batch to it.

    ``digits`` are the decimal types of NUMERIC columns without precision. Raises `UnsupportedType`;
    the function raises `RowRejected` naming a column.
    """
    fields = [field.with_type(_type(ask, field, digits)) for field in schema]
    wanted = pa.schema([field.with_metadata(None).with_nullable(True) for field in fields])
    padded = {field.name for field in schema if _is_padded(ask, field.name)}
    if wanted.types == schema.types and not padded:
        return wanted, lambda batch: pa.RecordBatch.from_arrays(batch.columns, schema=wanted)

    def fitted(batch: pa.RecordBatch) -> pa.RecordBatch:
        arrays = [
            _column(ask, column, field, padded)
            for column, field in zip(batch.columns, wanted, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=wanted)

    return wanted, fitted


def _type(ask: TableRequest, field: pa.Field, digits: Mapping[str, pa.DataType]) -> pa.DataType:
    if field.name in digits:
        return digits[field.name]
    if pa.types.is_decimal(field.type) and not pa.types.is_decimal128(field.type):
        if field.type.scale > MOST_DIGITS:
            raise UnsupportedType(
                f"{ask.named}.{field.name}: it has {field.type.scale} decimals; a query over "
                f"several sources holds at most {MOST_DIGITS} digits.",
                remedy=(
                    "Create a view on the server that casts it to fewer decimals, and query "
                    "the view."
                ),
            )
        return pa.decimal128(min(field.type.precision, MOST_DIGITS), field.type.scale)
    return field.type


def _column(ask: TableRequest, values: pa.Array, field: pa.Field, padded: set[str]) -> pa.Array:
    if field.name in padded:
        return pc.utf8_rtrim(values, " ")
    if values.type == field.type:
        return values
    try:
        return values.cast(field.type)
    except pa.ArrowInvalid:
        raise RowRejected(
            f"{ask.named}.{field.name}: a number does not fit {field.type}.",
            remedy="Leave the column out, or create a view on the server that rounds it.",
            column=f"{ask.named}.{field.name}",
        ) from None


def _is_padded(ask: TableRequest, name: str) -> bool:
    column = ask.by_name[name.lower()]
    return column.type.dialect is Dialect.POSTGRES and base_of(column.type).name == "bpchar"
