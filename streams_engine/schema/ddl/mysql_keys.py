"""Texts and bytes under MySQL's keys, which take 3072 bytes, and rows, which take 65,535.

https://dev.mysql.com/doc/refman/en/innodb-limits.html and
https://dev.mysql.com/doc/refman/en/column-count-limit.html
"""

from __future__ import annotations

from dataclasses import replace

from streams_engine.model import Catalog, Index, NativeType, TableId, TableSchema
from streams_engine.schema.mapping.tables import ColumnMapping
from streams_engine.schema.types.mysql import mysql_type
from streams_engine.schema.types.postgres import base_of

__all__ = ["KeyColumns", "fit_rows", "row_key", "unsigned_keys"]

KEY_BYTES = 3072
ROW_BYTES = 65_000
CHARACTER = 4
"""Bytes of a character of utf8mb4."""
FIXED = 16
"""What a column of another type takes in a key at most."""
LONG = {"longtext", "longblob"}


def unsigned_keys(catalog: Catalog) -> dict[tuple[TableId, str], list[tuple[TableId, str]]]:
    """Return the BIGINT UNSIGNED columns with AUTO_INCREMENT, each with the columns that refer to
    it by a foreign key."""
    keys: dict[tuple[TableId, str], list[tuple[TableId, str]]] = {
        (table.id, column.name): []
        for table in catalog.tables
        for column in table.columns
        if column.identity is not None and _is_wide(column.type)
    }
    roots = {key: key for key in keys}
    edges = [
        ((table.id, own), (fk.referenced, other))
        for table in catalog.tables
        for fk in table.foreign_keys
        for own, other in zip(fk.columns, fk.referenced_columns, strict=True)
        if _is_wide(table.column(own).type)
    ]
    while new := [(own, roots[to]) for own, to in edges if to in roots and own not in roots]:
        for own, root in new:
            if own not in roots:
                roots[own] = root
                keys[root].append(own)
    return keys


def _is_wide(native: NativeType) -> bool:
    return native.name == "bigint" and native.unsigned


def row_key(table: TableSchema) -> tuple[str, ...]:
    """Return the columns that identify a row in MySQL: the primary key, else a unique key of NOT
    NULL columns."""
    nullable = {column.name for column in table.columns if column.nullable}
    for key in (table.primary_key, *(index for index in table.indexes if index.unique)):
        if key is None or not all(part.column and part.length is None for part in key.parts):
            continue
        if not nullable & set(key.columns):
            return key.columns
    return ()


class KeyColumns:
    """The columns that must be whole in a key (unique, primary or foreign), and their room."""

    def __init__(self, catalog: Catalog) -> None:
        self._limits: dict[TableId, dict[str, int]] = {}
        for table in catalog.tables:
            for columns in _keys(table):
                self._claim(table, columns)
        for table in catalog.tables:
            for fk in table.foreign_keys:
                self._claim(table, fk.columns)
                referenced = catalog.table(fk.referenced)
                if referenced is not None:
                    self._claim(referenced, fk.referenced_columns)

    def _claim(self, table: TableSchema, columns: tuple[str, ...]) -> None:
        long = [c for c in columns if _is_long(table.column(c).type)]
        if not long:
            return
        share = (KEY_BYTES - FIXED * (len(columns) - len(long))) // len(long)
        limit = self._limits.setdefault(table.id, {})
        for column in long:
            limit[column] = min(share, limit.get(column, KEY_BYTES))

    def of(self, table: TableId) -> frozenset[str]:
        """Return the columns of a table whose length is limited by a key."""
        return frozenset(self._limits.get(table, {}))

    def fitted(self, table: TableId, column: str, native: NativeType) -> NativeType:
        """Return the type for a key column, shortened to the longest length that the key allows.

        The server rejects a longer value, naming the column.
        """
        limit = self._limits.get(table, {}).get(column)
        if limit is None:
            return native
        if native.name == "longblob":
            return mysql_type(f"varbinary({limit})")
        longest = limit // CHARACTER
        too_long = native.name in ("varchar", "char") and native.args[0] > longest
        if native.name == "longtext" or too_long:
            return mysql_type(f"varchar({longest})")
        return native

    def prefix(self, table: TableId, index: Index, native: NativeType) -> int | None:
        """Return the prefix length at which a non-unique index covers a text; None for the whole
        text."""
        if index.unique:
            return None
        share = KEY_BYTES // len(index.parts)
        if native.name == "longblob":
            return share
        longest = share // CHARACTER
        if native.name == "longtext" or (native.name == "varchar" and native.args[0] > longest):
            return longest
        return None


def _keys(table: TableSchema) -> list[tuple[str, ...]]:
    keys = (table.primary_key, *(i for i in table.indexes if i.unique and i.where is None))
    return [key.columns for key in keys if key is not None]


def _is_long(native: NativeType) -> bool:
    base = base_of(native)
    return base.name in {"text", "varchar", "bpchar", "bytea", "citext"} or (
        base.name not in _SHORT and base.kind != "enum"
    )


_SHORT = {
    "bool", "int2", "int4", "int8", "float4", "float8", "numeric", "date", "timestamp",
    "timestamptz", "time", "bit", "oid",
}  # fmt: skip


def fit_rows(columns: list[ColumnMapping], keys: frozenset[str]) -> list[ColumnMapping]:
    """Return the columns with the longest VARCHARs outside of keys turned into LONGTEXT until a row
    fits."""
    fitted = list(columns)
    while sum(_row_bytes(c.target.type) for c in fitted) > ROW_BYTES:
        movable = [
            i
            for i, c in enumerate(fitted)
            if c.target.type.name == "varchar" and c.source.name not in keys
        ]
        if not movable:
            break  # the server will say so, naming the table
        longest = max(movable, key=lambda i: fitted[i].target.type.args[0])
        target = replace(fitted[longest].target, type=mysql_type("longtext"))
        fitted[longest] = replace(fitted[longest], target=target)
    return fitted


def _row_bytes(native: NativeType) -> int:
    if native.name in ("varchar", "char"):
        return native.args[0] * CHARACTER + 2 if native.args else CHARACTER
    if native.name in ("varbinary", "binary"):
        return native.args[0] + 2 if native.args else 1
    return 32 if native.name == "decimal" else 12
