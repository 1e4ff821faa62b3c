"""A query's result described as a table, from the server's description of its columns.

https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_text_resultset_column_definition.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pymysql.constants import FIELD_TYPE, FLAG

from streams_engine.adapters.mysql.catalog.types import native_type
from streams_engine.adapters.mysql.connection import translating
from streams_engine.adapters.mysql.snapshot.result_set import described
from streams_engine.model import Column, Dialect, NativeType, TableId, TableSchema
from streams_engine.schema.types.mysql import arrow_type

__all__ = ["column_of", "query_tables"]

BINARY = 63
"""The number of the collation ``binary``."""
CHARACTER = 4
"""Bytes of a character of utf8mb4, in which lengths are given."""
LONGEST = 16_000
VECTOR = 242

NAMES: Mapping[int, str] = {
    FIELD_TYPE.TINY: "tinyint",
    FIELD_TYPE.SHORT: "smallint",
    FIELD_TYPE.INT24: "mediumint",
    FIELD_TYPE.LONG: "int",
    FIELD_TYPE.LONGLONG: "bigint",
    FIELD_TYPE.FLOAT: "float",
    FIELD_TYPE.DOUBLE: "double",
    FIELD_TYPE.YEAR: "year",
    FIELD_TYPE.DATE: "date",
    FIELD_TYPE.DATETIME: "datetime",
    FIELD_TYPE.TIMESTAMP: "timestamp",
    FIELD_TYPE.TIME: "time",
    FIELD_TYPE.BIT: "bit",
    FIELD_TYPE.JSON: "json",
    FIELD_TYPE.GEOMETRY: "geometry",
    VECTOR: "vector",
}
FRACTIONS = {"datetime", "timestamp", "time"}
DECIMALS = {FIELD_TYPE.DECIMAL, FIELD_TYPE.NEWDECIMAL}


def query_tables(
    connection: Any, queries: Sequence[tuple[str, str]], schema: str | None
) -> tuple[TableSchema, ...]:
    """Describe each query as a table of its name. Raises `ConfigError` and `ServerError` naming the
    query."""
    tables = []
    if queries:
        from streams_engine.schema.query_check import reading_only  # loads sqlglot: 0.1 s
    for name, query in queries:
        plain = reading_only(name, query, Dialect.MYSQL)
        with translating(f"the query '{name}'"):
            fields = described(connection, f"SELECT * FROM ({plain}) AS q")
        columns = tuple(column_of(field) for field in fields)
        tables.append(TableSchema(TableId(schema or "", name), Dialect.MYSQL, columns, query=plain))
    return tuple(tables)


def column_of(field: Any) -> Column:
    """Return a column of a result as the server describes it."""
    native = _type(field)
    textual = native.name in ("varchar", "longtext")
    return Column(
        name=field.name,
        type=native,
        arrow=arrow_type(native),
        nullable=not field.flags & FLAG.NOT_NULL,
        charset="utf8mb4" if textual else None,
    )


def _type(field: Any) -> NativeType:
    code, unsigned = field.type_code, bool(field.flags & FLAG.UNSIGNED)
    if code in DECIMALS:
        precision = field.length - (field.scale > 0) - (not unsigned)
        return _native("decimal", f"decimal({precision},{field.scale})")
    name = NAMES.get(code)
    if name is None:
        return _string(field)
    if name == "bit":
        return _native(name, f"bit({field.length})")
    if name in FRACTIONS:
        digits = f"({field.scale})" if 0 < field.scale <= 6 else ""
        return _native(name, name + digits)
    return _native(name, name + (" unsigned" if unsigned and name != "year" else ""))


def _string(field: Any) -> NativeType:
    if field.charsetnr == BINARY:
        short = field.type_code in (FIELD_TYPE.VAR_STRING, FIELD_TYPE.STRING)
        fits = short and 0 < field.length <= LONGEST
        return _native("varbinary", f"varbinary({field.length})") if fits else _native("longblob")
    length = field.length // CHARACTER
    blob = field.type_code in (FIELD_TYPE.BLOB, FIELD_TYPE.LONG_BLOB, FIELD_TYPE.MEDIUM_BLOB)
    if blob or not 0 < length <= LONGEST:
        return _native("longtext")
    return _native("varchar", f"varchar({length})")


def _native(name: str, text: str | None = None) -> NativeType:
    return native_type(name, text or name)
