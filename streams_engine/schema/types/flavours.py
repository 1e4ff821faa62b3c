"""Collations and types that MySQL has and MariaDB has not, and the other way round."""

from __future__ import annotations

import re
from collections.abc import Mapping

from streams_engine.model import Dialect, Index, NativeType
from streams_engine.schema.types.mysql import COMPRESSED, mysql_type

__all__ = [
    "BINARY_COLLATION",
    "CASELESS_COLLATION",
    "collation_for",
    "notes_for",
    "options_for",
    "rule_for",
    "type_for",
]

BINARY_COLLATION: Mapping[bool, str] = {True: "utf8mb4_nopad_bin", False: "utf8mb4_0900_bin"}
"""By ``is MariaDB``: texts that are equal only byte for byte, trailing blanks included, as
PostgreSQL compares them."""

CASELESS_COLLATION: Mapping[bool, str] = {
    True: "utf8mb4_uca1400_nopad_as_ci",
    False: "utf8mb4_0900_as_ci",
}
"""What comes near to PostgreSQL's citext."""

_TO_MARIADB: Mapping[str, str] = {
    "utf8mb4_0900_ai_ci": "utf8mb4_unicode_520_nopad_ci",
    "utf8mb4_0900_as_ci": "utf8mb4_uca1400_nopad_as_ci",
    "utf8mb4_0900_as_cs": "utf8mb4_uca1400_nopad_as_cs",
    "utf8mb4_0900_bin": "utf8mb4_nopad_bin",
}
_OF_MYSQL = re.compile(r"^utf8mb4_.*0900_(ai_ci|as_ci|as_cs|bin)$|^gb18030")
_OF_MARIADB = re.compile(r"uca1400|_nopad_")

_TYPES: Mapping[tuple[bool, str], str] = {
    (False, "uuid"): "char(36)",
    (False, "inet4"): "varchar(15)",
    (False, "inet6"): "varchar(39)",
    (True, "vector"): "blob",
}
"""(is MariaDB, type that it lacks): what holds its values. (MariaDB has VECTOR from 11.7 on.)"""


def collation_for(collation: str | None, *, mariadb: bool) -> str | None:
    """Return the collation if the flavour has it, else the nearest one that it has."""
    if collation is None:
        return None
    if mariadb and _OF_MYSQL.match(collation):
        ending = collation.rsplit("_0900_", 1)[-1]
        return _TO_MARIADB.get(f"utf8mb4_0900_{ending}", "utf8mb4_unicode_520_nopad_ci")
    if not mariadb and _OF_MARIADB.search(collation):
        charset = collation.split("_")[0]
        if charset != "utf8mb4":
            return f"{charset}_bin" if collation.endswith("_bin") else f"{charset}_general_ci"
        for ending in ("as_cs", "as_ci", "bin"):
            if collation.endswith(ending):
                return f"utf8mb4_0900_{ending}"
        return "utf8mb4_0900_ai_ci"
    return collation


def type_for(native: NativeType, *, mariadb: bool) -> NativeType:
    """Return the type if the flavour has it, else one that holds its values."""
    text = _TYPES.get((mariadb, native.name))
    if not mariadb and native.text.endswith(COMPRESSED):
        text = native.text.removesuffix(COMPRESSED)
    return mysql_type(text) if text else native


def options_for(index: Index, *, mariadb: bool) -> tuple[str, ...]:
    """Return the options of an index: that MariaDB keeps its unique values by hashes, which MySQL
    does not, and that it is hidden from the optimizer."""
    hashed = ("USING HASH",) if index.unique and index.method == "hash" and mariadb else ()
    return (*hashed, *(() if index.visible else ("IGNORED",) if mariadb else ("INVISIBLE",)))


def rule_for(action: str, *, mariadb: bool) -> str:
    """Return a foreign key's action as it must be declared for the catalog to show it again.

    MariaDB shows RESTRICT if no action is declared, and NO ACTION if RESTRICT is declared for a key
    that it does not check.
    """
    return "" if mariadb and action == "RESTRICT" else action


def notes_for(native: NativeType, *, mariadb: bool) -> tuple[str, ...]:
    """Return the plan's notes on a type that loses a little of its values."""
    if native.dialect is Dialect.MYSQL and mariadb and native.name in ("float", "double"):
        return ("MariaDB stores a negative zero as zero",)
    if native.dialect is Dialect.MYSQL and not mariadb and native.name == "json":
        return ("numbers that MySQL's JSON would round are rejected",)
    return ()
