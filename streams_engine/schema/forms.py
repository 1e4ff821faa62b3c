"""The form in which `verify` compares a column: texts that the servers render themselves.

A form says which SQL each server renders a value by (in its adapter's ``canonical``) and
which normaliser makes texts that mean the same value equal. Nothing here is shared with
the decoders and encoders of a copy.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any

from streams_engine.model import Dialect, NativeType

__all__ = ["NORMALISERS", "Form", "form_for"]


class Form(StrEnum):
    """How a pair of columns is compared."""

    NATIVE = "native"
    """One dialect on both ends: the server's own text, letter by letter."""
    INTEGER = "integer"
    DECIMAL = "decimal"
    FLOAT = "float"
    BOOLEAN = "boolean"
    TEXT = "text"
    BYTES = "bytes"
    MOMENT = "moment"
    """Dates, times and timestamps; instants in UTC."""
    JSON = "json"
    LABELS = "labels"
    BITS = "bits"


BY_MYSQL_TYPE: Mapping[str, Form] = {
    **dict.fromkeys(("tinyint", "smallint", "mediumint", "int", "bigint", "year"), Form.INTEGER),
    "decimal": Form.DECIMAL,
    "float": Form.FLOAT,
    "double": Form.FLOAT,
    "bit": Form.BITS,
    "json": Form.JSON,
    "set": Form.LABELS,
    **dict.fromkeys(("date", "datetime", "timestamp", "time"), Form.MOMENT),
    **dict.fromkeys(
        ("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "uuid",
         "inet4", "inet6"),
        Form.TEXT,
    ),
}  # fmt: skip
"""Everything else of MySQL's is bytes."""

BY_POSTGRES_TYPE: Mapping[str, Form] = {"bool": Form.BOOLEAN, "numeric": Form.DECIMAL}


def form_for(source: NativeType, target: NativeType) -> Form:
    """The form for a source and a target column."""
    if source.dialect is target.dialect:
        return Form.NATIVE if source.name == target.name else Form.TEXT
    native, other = (source, target) if source.dialect is Dialect.MYSQL else (target, source)
    form = BY_MYSQL_TYPE.get(native.name, Form.BYTES)
    if form is Form.BITS and other.name in {"int2", "int4", "int8"}:
        return Form.INTEGER
    if form in (Form.INTEGER, Form.BITS):
        return BY_POSTGRES_TYPE.get(other.name, form)
    return form


def _decimal(text: str) -> str:
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def _float(text: str) -> str:
    return repr(float(text))


def _moment(text: str) -> str:
    text = text.removesuffix("+00")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _json(text: str) -> str:
    parsed = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    return json.dumps(_plain(parsed), sort_keys=True)


def _plain(value: Any) -> Any:
    """Numbers as tagged texts of their value, so that 1.0 equals 1 and no digit is lost."""
    if isinstance(value, Decimal):
        return {"#": format(value.normalize(), "f")}
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


NORMALISERS: Mapping[Form, Callable[[str], str]] = {
    Form.DECIMAL: _decimal,
    Form.FLOAT: _float,
    Form.MOMENT: _moment,
    Form.JSON: _json,
}
