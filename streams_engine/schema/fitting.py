"""Does a column that is there hold every value of the one that is wanted? A table a dialect."""

from __future__ import annotations

from collections.abc import Mapping

from streams_engine.model import Dialect, NativeType

__all__ = ["holds"]

_WIDER: Mapping[Dialect, Mapping[str, frozenset[str]]] = {
    Dialect.POSTGRES: {
        "int2": frozenset({"int4", "int8", "numeric"}),
        "int4": frozenset({"int8", "numeric"}),
        "int8": frozenset({"numeric"}),
        "bool": frozenset({"int2", "int4", "int8"}),
        "float4": frozenset({"float8"}),
        "json": frozenset({"jsonb"}),
        "date": frozenset({"timestamp"}),
    },
    Dialect.MYSQL: {
        "tinyint": frozenset({"smallint", "mediumint", "int", "bigint"}),
        "smallint": frozenset({"mediumint", "int", "bigint"}),
        "mediumint": frozenset({"int", "bigint"}),
        "int": frozenset({"bigint"}),
        "float": frozenset({"double"}),
        "date": frozenset({"datetime"}),
        "enum": frozenset({"varchar", "longtext", "text", "mediumtext"}),
        "char": frozenset({"varchar"}),
        "uuid": frozenset({"char", "varchar"}),
        "binary": frozenset({"varbinary"}),
        **{
            name: frozenset(("tinyblob", "blob", "mediumblob", "longblob")[place + 1 :])
            for place, name in enumerate(("tinyblob", "blob", "mediumblob"))
        },
    },
}
"""Types that hold every value of the key's type."""

_TEXTS = {"text", "varchar", "bpchar", "citext"}
_LENGTHS: Mapping[str, int] = {
    "tinytext": 255, "text": 65_535, "mediumtext": 1 << 24, "longtext": 1 << 32,
}  # fmt: skip
"""MySQL's texts without a declared length, in bytes."""
_DECIMALS = {"numeric", "decimal"}


def holds(wanted: NativeType, there: NativeType) -> bool:
    """True where every value of ``wanted`` fits ``there`` exactly."""
    if there.dialect is Dialect.MYSQL and (there.name in _LENGTHS or wanted.name in _LENGTHS):
        return _mysql_text(wanted, there)
    if there.dialect is Dialect.POSTGRES and there.name in _TEXTS:
        return not there.args or (
            wanted.name in _TEXTS and bool(wanted.args) and wanted.args[0] <= there.args[0]
        )
    if wanted.unsigned != there.unsigned and not (
        wanted.unsigned and wanted.name != there.name and _wider(wanted, there)
    ):
        return False
    if wanted.name != there.name or wanted.kind is not there.kind:
        return _wider(wanted, there) and (not there.args or _as_long(wanted, there))
    if wanted.labels:
        return set(wanted.labels) <= set(there.labels)
    if wanted.name in _DECIMALS and there.args:
        return (
            bool(wanted.args)
            and _digits(wanted) <= _digits(there)
            and _scale(wanted) <= _scale(there)
        )
    if there.dialect is Dialect.MYSQL and (there.name.endswith("int") or there.name == "year"):
        return True  # a number in brackets is a width of display
    if there.dialect is Dialect.MYSQL and there.name in _WIDER[Dialect.MYSQL]:
        return _as_long(wanted, there)
    if there.dialect is Dialect.MYSQL:
        return (wanted.args or (0,)) <= (there.args or (0,))
    # Without arguments there: the widest of its kind (timestamp is timestamp(6)).
    return not there.args or (bool(wanted.args) and wanted.args[0] <= there.args[0])


def _wider(wanted: NativeType, there: NativeType) -> bool:
    return there.name in _WIDER[there.dialect].get(wanted.name, ())


def _as_long(wanted: NativeType, there: NativeType) -> bool:
    if there.name.endswith("int") or there.name in ("datetime", "double"):
        return True
    if wanted.labels:
        return max(map(len, wanted.labels)) <= (there.args or (0,))[0]
    length = 36 if wanted.name == "uuid" else (wanted.args or (1,))[0]
    return length <= (there.args or (1,))[0]


def _mysql_text(wanted: NativeType, there: NativeType) -> bool:
    """Any type goes into LONGTEXT; a text into one that is as long."""
    if there.name == "longtext":
        return not wanted.name.endswith(("blob", "binary"))
    if there.name not in _LENGTHS:
        return False
    if wanted.name in ("char", "varchar"):
        return wanted.args[0] * 4 <= _LENGTHS[there.name]
    return wanted.name in _LENGTHS and _LENGTHS[wanted.name] <= _LENGTHS[there.name]


def _scale(native: NativeType) -> int:
    return native.args[1] if len(native.args) > 1 else 0


def _digits(native: NativeType) -> int:
    return native.args[0] - _scale(native)
