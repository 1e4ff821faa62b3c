"""The SQL that makes differing rows of the target what they are on the source, for review."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from streams_engine.model import Dialect, NativeType, TableId
from streams_engine.schema.ddl import mysql, postgres
from streams_engine.schema.types.canonical import CanonicalType, canonical_type_of
from streams_engine.verify.pairs import VerifyPair
from streams_engine.verify.report import Difference
from streams_engine.verify.rows import Row

__all__ = ["can_write", "statement"]

NUMBER = re.compile(r"-?\d+(\.\d+)?\Z")


@dataclass(frozen=True, slots=True)
class _Words:
    """How a dialect writes names, texts and bytes."""

    quote: Callable[[str], str]
    text: Callable[[str], str]
    bytes: str
    insert: str


WORDS: Mapping[Dialect, _Words] = {
    Dialect.MYSQL: _Words(mysql.quote, mysql.literal, "X'{}'", "INSERT INTO {} ({}) VALUES ({})"),
    Dialect.POSTGRES: _Words(
        postgres.quote,
        postgres.literal,
        r"'\x{}'",
        "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES ({})",
    ),
}


def can_write(pair: VerifyPair) -> bool:
    """Return whether statements for a pair can be written: the target is a database, and the
    table has a key."""
    return bool(pair.places) and pair.columns[0].target_type.dialect in WORDS


def statement(pair: VerifyPair, difference: Difference, row: Row | None) -> str:
    """Return one statement; ``row``: the source's texts of all columns, None where it has none."""
    words = WORDS[pair.columns[0].target_type.dialect]
    table = _name(pair.target, words)
    if row is None:
        where = _equal(pair, pair.places, difference.key, words, " AND ")
        return f"DELETE FROM {table} WHERE {where}"
    key = [row[place] for place in pair.places]
    if difference.kind == "missing":
        names = ", ".join(words.quote(column.target_name) for column in pair.columns)
        values = ", ".join(_values(pair, range(len(pair.columns)), row, words))
        return words.insert.format(table, names, values)
    places = [i for i, column in enumerate(pair.columns) if column.name in difference.columns]
    changed = _equal(pair, places, [row[place] for place in places], words, ", ")
    return f"UPDATE {table} SET {changed} WHERE {_equal(pair, pair.places, key, words, ' AND ')}"


def _name(table: TableId, words: _Words) -> str:
    return ".".join(words.quote(part) for part in (table.schema, table.name))


def _equal(
    pair: VerifyPair,
    places: Sequence[int],
    texts: Sequence[str | None],
    words: _Words,
    between: str,
) -> str:
    names = (words.quote(pair.columns[place].target_name) for place in places)
    whole = dict(zip(places, texts, strict=True))
    values = [_literal(pair, place, whole[place], words) for place in places]
    return between.join(f"{name} = {value}" for name, value in zip(names, values, strict=True))


def _values(pair: VerifyPair, places: Sequence[int], row: Row, words: _Words) -> list[str]:
    return [_literal(pair, place, row[place], words) for place in places]


def _literal(pair: VerifyPair, place: int, text: str | None, words: _Words) -> str:
    if text is None:
        return "NULL"
    source, target = pair.columns[place].source_type, pair.columns[place].target_type
    form = canonical_type_of(source)
    if form in (CanonicalType.INTEGER, CanonicalType.DECIMAL) and NUMBER.match(text):
        return text
    if form is CanonicalType.BYTES:
        return words.bytes.format(text.removeprefix("\\x"))
    if form is CanonicalType.BITS:
        return f"B'{text.rjust(_width(target), '0')}'"
    if form is CanonicalType.LABELS and target.dialect is Dialect.POSTGRES and "{" not in text[:1]:
        return f"string_to_array({words.text(text)}, ',')"
    if form is CanonicalType.BOOLEAN and target.dialect is Dialect.MYSQL:
        return {"t": "1", "f": "0"}.get(text, text)
    return words.text(text)


def _width(native: NativeType) -> int:
    return int(native.args[0]) if native.args else 1
