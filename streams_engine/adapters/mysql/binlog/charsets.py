"""Texts in any of the server's character sets, as the UTF-8 that its SELECT gives.

Where Python's codec is not the server's (it is not for most single-byte sets), the server is
asked once how it converts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from streams_engine.adapters.mysql.connection import MysqlConnect, translating
from streams_engine.errors import UnsupportedType

__all__ = ["Charsets"]

UTF8 = {"utf8mb4", "utf8mb3", "utf8", "ascii"}
CODECS = {"utf16": "utf-16-be", "utf16le": "utf-16-le", "utf32": "utf-32-be", "ucs2": "utf-16-be"}
"""Character sets whose conversion is arithmetic."""

MULTIBYTE = {"big5", "cp932", "eucjpms", "euckr", "gb18030", "gb2312", "gbk", "sjis", "ujis"}
ASKED_AT_ONCE = 200
REMEMBERED = 256
"""The longest value, in bytes, whose text is cached; longer ones are asked for each time."""


class Charsets:
    """Conversions of one server. Used by one thread."""

    def __init__(self, connect: MysqlConnect, *, mariadb: bool = False) -> None:
        self._connect = connect
        self.mariadb = mariadb
        self._by_collation: dict[int, str] = {}
        self._tables: dict[str, list[str]] = {}
        self._seen: dict[str, dict[bytes, str]] = {}

    def __call__(self, collation: int | None, charset: str | None, values: pa.Array) -> pa.Array:
        """Decode bytes to text by the ``collation`` that the log names, else by ``charset``."""
        name = self._name(collation) if collation is not None else charset or "utf8mb4"
        if name in UTF8:
            return values.cast(pa.string())
        if name == "binary":  # the log says no more of a type that is text to the client
            return values.cast(pa.string())
        return pa.array(self._decoded(name, values.to_pylist()), pa.string())

    def one_by_one(self, collation: int | None, charset: str | None) -> Callable[[bytes], bytes]:
        """Return what does for single values, as UTF-8, what a call does for a column."""
        name = self._name(collation) if collation is not None else charset or "utf8mb4"
        if name in UTF8 or name == "binary":
            return _demand_utf8
        return lambda value: str(self._decoded(name, [value])[0]).encode()

    def _decoded(self, charset: str, values: list[bytes | None]) -> list[str | None]:
        if charset in CODECS:
            codec = CODECS[charset]
            return [None if v is None else v.decode(codec) for v in values]
        if charset in MULTIBYTE:
            return self._asked(charset, values)
        table = self._table(charset)
        ascii_only = all(table[i] == chr(i) for i in range(128))
        return [
            None
            if v is None
            else v.decode("ascii")
            if ascii_only and v.isascii()
            else "".join([table[byte] for byte in v])
            for v in values
        ]

    def _table(self, charset: str) -> list[str]:
        """Map each byte of a single-byte character set as the server does."""
        if charset not in self._tables:
            fields = ", ".join(
                f"HEX(CONVERT(CONVERT(X'{byte:02X}' USING {charset}) USING utf8mb4))"
                for byte in range(256)
            )
            (row,) = self._query(f"SELECT {fields}")
            self._tables[charset] = [bytes.fromhex(text or "3F").decode() for text in row]
        return self._tables[charset]

    def _asked(self, charset: str, values: list[bytes | None]) -> list[str | None]:
        """Convert multi-byte character sets on the server, each distinct value once."""
        seen = self._seen.setdefault(charset, {})
        if len(seen) > 100_000:
            seen.clear()
        new = list({v for v in values if v is not None and not v.isascii() and v not in seen})
        for start in range(0, len(new), ASKED_AT_ONCE):
            part = new[start : start + ASKED_AT_ONCE]
            fields = ", ".join(
                f"HEX(CONVERT(CONVERT(X'{v.hex()}' USING {charset}) USING utf8mb4))" for v in part
            )
            (row,) = self._query(f"SELECT {fields}")
            for value, text in zip(part, row, strict=True):
                if text is None:
                    raise UnicodeDecodeError(charset, value, 0, 1, "no character")
                seen[value] = bytes.fromhex(text).decode()
        # ASCII bytes are themselves in all of these but for two that shift-JIS draws otherwise;
        # the server maps those to ASCII too.
        texts = [
            None if v is None else v.decode("ascii") if v.isascii() else seen[v] for v in values
        ]
        for value in new:
            if len(value) > REMEMBERED:
                del seen[value]
        return texts

    def _name(self, collation: int) -> str:
        if not self._by_collation:
            rows = self._query("SELECT id, character_set_name FROM information_schema.collations")
            self._by_collation = {int(row[0]): row[1] for row in rows if row[0] is not None}
            with contextlib.suppress(Exception):  # MariaDB: one name stands for several sets
                self._by_collation |= {
                    int(row[0]): row[1]
                    for row in self._query(
                        "SELECT id, character_set_name FROM "
                        "information_schema.collation_character_set_applicability "
                        "WHERE id IS NOT NULL"
                    )
                }
        name = self._by_collation.get(collation)
        if name is None:
            raise UnsupportedType(
                f"The binary log names the collation {collation}, which the server does not list.",
                remedy="Read the column as bytea with typeOverrides.",
            )
        return name

    def _query(self, query: str) -> list[Any]:
        with (
            contextlib.closing(self._connect.open(database="")) as connection,
            translating("asking for the server's character sets"),
            connection.cursor() as cursor,
        ):
            cursor.execute(query)
            return list(cursor.fetchall())


def _demand_utf8(value: bytes) -> bytes:
    if not value.isascii():
        value.decode()
    return value


Translate = Callable[["int | None", "str | None", pa.Array], pa.Array]
