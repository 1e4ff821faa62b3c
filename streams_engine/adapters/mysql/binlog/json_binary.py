"""MySQL's binary JSON as exactly the text that the server prints for it.

https://dev.mysql.com/doc/dev/mysql-server/latest/json__binary_8h.html
"""

from __future__ import annotations

import struct
from base64 import b64encode
from typing import Any

__all__ = ["CAST_ROOM", "double_text", "render"]

CAST_ROOM = {5: 24, 4: 22}
"""By type code: a DOUBLE, and a FLOAT that was made one (`FLOAT * 1E0`), less one for a sign."""

SMALL_OBJECT, LARGE_OBJECT, SMALL_ARRAY, LARGE_ARRAY, LITERAL = range(5)
INLINE_SMALL = {0x04, 0x05, 0x06}
INLINE_LARGE = {0x04, 0x05, 0x06, 0x07, 0x08}

_ESCAPES = {
    0x08: "\\b", 0x09: "\\t", 0x0A: "\\n", 0x0C: "\\f", 0x0D: "\\r", 0x22: '\\"', 0x5C: "\\\\",
    **{i: f"\\u{i:04x}" for i in range(32) if i not in (8, 9, 10, 12, 13)},
}  # fmt: skip


DEEPEST = 100
"""https://dev.mysql.com/doc/refman/9.0/en/json.html: how deep a document may be."""


def render(data: bytes | memoryview) -> str:
    """Return the document's text. Raises `ValueError`, `LookupError` or `struct.error` for bytes
    that are no document."""
    if not data:  # what an INSERT IGNORE or an old server may leave
        return "null"
    rendering = _Rendering(data)
    rendering.value(data[0], 1, 0)
    return "".join(rendering.parts)


_NUMBERS = {
    0x05: struct.Struct("<h"), 0x06: struct.Struct("<H"), 0x07: struct.Struct("<i"),
    0x08: struct.Struct("<I"), 0x09: struct.Struct("<q"), 0x0A: struct.Struct("<Q"),
}  # fmt: skip
_LARGE, _SMALL = struct.Struct("<I"), struct.Struct("<H")


class _Rendering:
    """One document on its way to text. Offsets are claims: no value is rendered twice."""

    def __init__(self, data: bytes | memoryview) -> None:
        self.data = data
        self.parts: list[str] = []
        self._left = len(data)

    def value(self, kind: int, at: int, depth: int) -> None:
        """Render a value at any depth."""
        data, put = self.data, self.parts.append
        if kind <= LARGE_ARRAY:
            self._container(kind, at, depth)
        elif kind == LITERAL:
            put(("null", "true", "false")[data[at]])
        elif kind in _NUMBERS:
            put(str(_NUMBERS[kind].unpack_from(data, at)[0]))
        elif kind == 0x0B:
            put(_double(struct.unpack_from("<d", data, at)[0]))
        elif kind == 0x0C:
            size, at = _length(data, at)
            put('"')
            put(_escaped(str(self._bytes(at, size), "utf-8")))
            put('"')
        elif kind == 0x0F:
            size, begin = _length(data, at + 1)
            put(_opaque(data[at], self._bytes(begin, size)))
        else:
            raise ValueError(f"unknown JSON type {kind}")

    def _bytes(self, at: int, size: int) -> bytes | memoryview:
        if at + size > len(self.data):
            raise ValueError("a JSON string extends beyond its document")
        return self.data[at : at + size]

    def _container(self, kind: int, at: int, depth: int) -> None:
        """Render an object or array, whose offsets count from its own beginning."""
        data, put = self.data, self.parts.append
        large = kind in (LARGE_OBJECT, LARGE_ARRAY)
        is_object = kind <= LARGE_OBJECT
        number, size = (_LARGE, 4) if large else (_SMALL, 2)
        inline = INLINE_LARGE if large else INLINE_SMALL
        count = number.unpack_from(data, at)[0]
        keys = at + 2 * size
        values = keys + count * (size + 2) if is_object else keys
        self._left -= count
        if depth == DEEPEST or self._left < 0:
            raise ValueError("a JSON document contains itself")
        put("{" if is_object else "[")
        for i in range(count):
            if i:
                put(", ")
            if is_object:
                entry = keys + i * (size + 2)
                start = at + number.unpack_from(data, entry)[0]
                length = _SMALL.unpack_from(data, entry + size)[0]
                put(f'"{_escaped(str(self._bytes(start, length), "utf-8"))}": ')
            entry = values + i * (size + 1)
            inner = data[entry]
            place = entry + 1 if inner in inline else at + number.unpack_from(data, entry + 1)[0]
            self.value(inner, place, depth + 1)
        put("}" if is_object else "]")


def _length(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """Decode a length of seven bits per byte, the lowest first."""
    length = shift = 0
    while True:
        byte = data[at]
        at += 1
        length |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return length, at
        shift += 7


def _escaped(text: str) -> str:
    return text.translate(_ESCAPES)


def _double(value: float) -> str:
    text = double_text(value)
    return text if "." in text or "e" in text else text + ".0"


def double_text(value: float, room: int = 400) -> str:
    """Return a double as the server prints it: shortest digits, plain if they fit into ``room``.

    MySQL casts a number to CHAR with little room (`CAST_ROOM`); in JSON, and on MariaDB, there is
    always enough. The tests compare this with both servers.
    """
    if value == 0:
        return "-0" if str(value)[0] == "-" else "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0)
    if whole == "0":
        point -= len(whole) + len(fraction) - len(fraction.lstrip("0"))
    digits = digits.rstrip("0") or "0"
    size = len(digits)
    plain = size - point + 2 if point <= 0 else max(point, size + (point < size))
    if plain <= room and point >= -14 and (point <= 15 or size > point):
        if point <= 0:
            return f"{sign}0.{'0' * -point}{digits}"
        whole, fraction = digits[:point].ljust(point, "0"), digits[point:]
        return sign + whole + ("." + fraction if fraction else "")
    fits = room - len(f"e{point - 1}") - (size > 1)
    if fits < size:  # the server rounds to what there is room for
        digits, _, exponent = f"{abs(value):.{fits - 1}e}".partition("e")
        digits, point = digits.replace(".", "").rstrip("0"), int(exponent) + 1
    head = digits[0] + ("." + digits[1:] if len(digits) > 1 else "")
    return f"{sign}{head}e{point - 1}"


# Values of SQL types that JSON has no form for


def _opaque(kind: int, data: bytes | memoryview) -> str:
    if kind == 246:
        return _decimal(data)
    if kind in (7, 10, 11, 12):
        return f'"{_moment(kind, int.from_bytes(data, "little", signed=True))}"'
    if kind == 15 or kind == 253 or kind == 254:
        return f'"base64:type{kind}:{b64encode(data).decode()}"'
    return f'"base64:type{kind}:{b64encode(data).decode()}"'


def _moment(kind: int, packed: int) -> str:
    sign, packed = ("-" if packed < 0 else ""), abs(packed)
    micro, rest = packed & 0xFFFFFF, packed >> 24
    if kind == 11:
        clock = f"{rest >> 12 & 1023:02}:{rest >> 6 & 63:02}:{rest & 63:02}"
        return f"{sign}{clock}.{micro:06}"
    months, day = rest >> 22, rest >> 17 & 31
    date = f"{months // 13:04}-{months % 13:02}-{day:02}"
    if kind == 10:
        return date
    return f"{date} {rest >> 12 & 31:02}:{rest >> 6 & 63:02}:{rest & 63:02}.{micro:06}"


_BYTES = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)


def _decimal(data: bytes | memoryview) -> str:
    """Decode precision, scale, and the format of a DECIMAL column."""
    precision, scale = data[0], data[1]
    raw = bytearray(data[2:])
    negative = not raw[0] & 0x80
    raw[0] ^= 0x80
    if negative:
        raw = bytearray(byte ^ 0xFF for byte in raw)
    whole, at = _digits(raw, 0, precision - scale, leading=True)
    fraction, _ = _digits(raw, at, scale, leading=False)
    text = (whole.lstrip("0") or "0") + ("." + fraction if scale else "")
    return "-" + text if negative else text


def _digits(raw: Any, at: int, count: int, *, leading: bool) -> tuple[str, int]:
    full, rest = divmod(count, 9)
    groups = [9] * full
    if rest:
        groups = [rest, *groups] if leading else [*groups, rest]
    text = ""
    for digits in groups:
        size = _BYTES[digits]
        text += str(int.from_bytes(raw[at : at + size], "big")).zfill(digits)
        at += size
    return text, at
