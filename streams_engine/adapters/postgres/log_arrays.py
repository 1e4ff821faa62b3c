"""PostgreSQL's array texts as the JSON that ``to_jsonb`` makes of them.

https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO has the text's form; which element
becomes what is in json_categorize_type of the server.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal

from streams_engine.model import NativeType, TypeKind
from streams_engine.schema.postgres import base_of

__all__ = ["beyond", "json_of"]

NUMBERS = {"int2", "int4", "int8", "float4", "float8", "numeric"}
MOMENTS = {"date", "timestamp", "timestamptz"}

TOKEN = re.compile(r'[{}]|"((?:[^"\\]|\\.)*)"|((?:[^{},"\\\s]|\\.|\s+(?=[^{},"\s]))+)', re.DOTALL)
BACKSLASHED = re.compile(r"\\(.)", re.DOTALL)
BOUNDS = re.compile(r"(\[-?\d+:-?\d+\])+=")


def beyond(native: NativeType) -> bool:
    """True for an array whose elements only the server can make JSON of: composites, ``json``,
    and types of extensions, which may have casts of their own."""
    element = base_of(native.element) if native.element is not None else None
    if element is None or element.kind is TypeKind.COMPOSITE:
        return True
    return element.extension is not None or element.name in {"json", "hstore"}


def json_of(text: str, native: NativeType) -> str:
    """The JSON of an array's text, spaced as ``jsonb`` is."""
    element = base_of(native.element) if native.element is not None else native
    show = _shower(element)
    bounds = BOUNDS.match(text)
    out: list[str] = []
    separate = False
    for token, quoted, plain in _tokens(text[bounds.end() :] if bounds else text, element):
        if token == "}":
            out.append("]")
            separate = True
            continue
        if separate:
            out.append(", ")
        if token == "{":
            out.append("[")
            separate = False
            continue
        if quoted is None and plain.upper() == "NULL":
            out.append("null")
        else:
            raw = plain if quoted is None else quoted
            out.append(show(BACKSLASHED.sub(r"\1", raw) if "\\" in raw else raw))
        separate = True
    return "".join(out)


def _tokens(text: str, element: NativeType) -> Iterator[tuple[str, str | None, str]]:
    """(whole token, its text inside of quotes, its text where it has none)."""
    if element.name == "box":  # the one type whose elements are separated by semicolons
        for part in re.findall(r"[{}]|[^{};]+", text):
            yield part, None, part
        return
    for found in TOKEN.finditer(text):
        yield found[0], found[1], found[2] or ""


def _shower(element: NativeType) -> Callable[[str], str]:
    if element.kind is TypeKind.BASE:
        if element.name in NUMBERS:
            return _number
        if element.name == "bool":
            return lambda text: "true" if text == "t" else "false"
        if element.name in MOMENTS:
            return _moment
        if element.name == "jsonb":
            return lambda text: text
    return _quoted


def _number(text: str) -> str:
    """As NUMERIC prints it: no exponent, no negative zero."""
    if text.isdigit():
        return text
    if text[-1:].isalpha():  # NaN and the infinities are texts in JSON
        return f'"{text}"'
    number = Decimal(text)
    if number.is_zero():
        number = abs(number)
    return format(number, "f")


def _moment(text: str) -> str:
    """ISO 8601: a T between date and time, and minutes in the zone."""
    shown = text
    if not text.endswith("infinity"):
        shown = text.replace(" ", "T", 1) if ":" in text else text
        if shown.endswith("+00"):
            shown += ":00"
        elif shown.endswith("+00 BC"):
            shown = shown.removesuffix(" BC") + ":00 BC"
    return f'"{shown}"'


ESCAPES = {
    **{code: f"\\u{code:04x}" for code in range(32)},
    **{ord(c): f"\\{e}" for c, e in zip('\b\f\n\r\t"\\', 'bfnrt"\\', strict=True)},
}


def _quoted(text: str) -> str:
    return '"' + text.translate(ESCAPES) + '"'
