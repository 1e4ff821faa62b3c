"""Texts and bytes under MySQL's keys, which take 3072 bytes, and rows, which take 65,535.

https://dev.mysql.com/doc/refman/en/innodb-limits.html and
https://dev.mysql.com/doc/refman/en/column-count-limit.html
"""

from __future__ import annotations

from dataclasses import replace

from streams_engine.model import Catalog, Index, NativeType, TableId, TableSchema
from streams_engine.schema.mapping import ColumnMapping
from streams_engine.schema.mysql_names import mysql_type
from streams_engine.schema.postgres import base_of

__all__ = ["KeyColumns", "fit_rows", "row_key", "unsigned_keys"]

KEY_BYTES = 3072
ROW_BYTES = 65_000
CHARACTER = 4
"""Bytes of a character of utf8mb4."""
FIXED = 16
"""What a column of another type takes in a key at most."""
LONG = {"longtext", "longblob"}
SIZED = {"varchar", "char", "varbinary"}


def unsigned_keys(catalog: Catalog) -> dict[tuple[TableId, str], list[tuple[TableId, str]]]:
    """The BIGINT UNSIGNED columns that MySQL numbers, and those that refer to each by a key."""
    found: dict[tuple[TableId, str], list[tuple[TableId, str]]] = {
        (table.id, column.name): []
        for table in catalog.tables
        for column in table.columns
        if column.identity is not None and _is_wide(column.type)
    }
    roots = {key: key for key in found}
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
                found[root].append(own)
    return found


def _is_wide(native: NativeType) -> bool:
    return native.name == "bigint" and native.unsigned


def row_key(table: TableSchema) -> tuple[str, ...]:
    """The columns that tell a row of MySQL's: the primary key, else a unique one of NOT NULLs."""
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
        self._room: dict[TableId, dict[str, int]] = {}
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
        room = self._room.setdefault(table.id, {})
        for column in long:
            room[column] = min(share, room.get(column, KEY_BYTES))

    def of(self, table: TableId) -> frozenset[str]:
        """The columns of a table whose length a key decides."""
        return frozenset(self._room.get(table, {}))

    def fitted(self, table: TableId, column: str, native: NativeType) -> NativeType:
        """The type under a key: of the longest length that the key takes.

        A value that is longer is refused by the server, by name.
        """
        room = self._room.get(table, {}).get(column)
        if room is None:
            return native
        if native.name == "longblob":
            return mysql_type(f"varbinary({room})")
        longest = room // CHARACTER
        too_long = native.name in ("varchar", "char") and native.args[0] > longest
        if native.name == "longtext" or too_long:
            return mysql_type(f"varchar({longest})")
        return native

    def prefix(self, table: TableId, index: Index, native: NativeType) -> int | None:
        """How much of a text a plain index covers; None: the whole."""
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
    """The columns, their longest VARCHARs outside of keys as LONGTEXT until a row has room."""
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
