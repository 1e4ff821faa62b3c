"""JSON Lines, one object per line, and arrays of objects.

Numbers are bare only if a reader of doubles reads them exactly.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from streams_engine.adapters.files.formats import json_array
from streams_engine.adapters.files.formats.json_text import literals, objects
from streams_engine.adapters.files.formats.options import RecordLimits
from streams_engine.adapters.files.formats.type_detection import NUMBERS, TypeDetection
from streams_engine.adapters.files.stores.store import Store
from streams_engine.adapters.files.stores.streams import pieces
from streams_engine.arrow.plain import joined
from streams_engine.errors import MalformedFile, RowRejected
from streams_engine.model import Column

__all__ = ["JsonDetection", "Record", "encode", "read_records", "texts_of"]

BLOCK = 4 << 20
MOST_ROWS = 16_384
MOST_BYTES = 128 << 20
USUAL = RecordLimits()

Record = Mapping[str, Any]
"""A line's object; numbers are of class `Number` and keep their text."""


# Writing


def encode(
    batch: pa.RecordBatch, columns: Sequence[Column], *, before: str = "", after: str = ""
) -> Any:
    """Encode the rows of a batch as lines, in one buffer; or with other texts around each than the
    end of a line. Raises `RowRejected` naming the column."""
    after = after or ("" if before else "\n")
    if not columns:
        return f"{before}{{}}{after}".encode() * batch.num_rows
    if batch.num_rows > 1 and batch.nbytes > MOST_BYTES:
        half = batch.num_rows // 2
        parts = (batch.slice(0, half), batch.slice(half))
        return b"".join(encode(part, columns, before=before, after=after) for part in parts)
    if not batch.num_rows:
        return b""
    fields = [_field(v, c) for v, c in zip(batch.columns, columns, strict=True)]
    lines = objects([column.name for column in columns], fields)
    lines = joined([before, lines, after])
    offsets = memoryview(lines.buffers()[1]).cast("i")
    begin, end = offsets[lines.offset], offsets[lines.offset + len(lines)]
    return memoryview(lines.buffers()[2])[begin:end]


def _field(values: pa.Array, column: Column) -> pa.Array:
    try:
        return literals(values)
    except RowRejected as fault:
        raise RowRejected(f"Column {column.name}: {fault.message}.", column=column.name) from None


# Reading


class Number(str):
    """A number as its file spells it."""


def read_records(
    store: Store, path: str, codec: str | None, limits: RecordLimits = USUAL
) -> Iterator[tuple[list[Record], int]]:
    """Read the objects of a file in blocks, each with the number of its first line.

    Blank lines are ignored. Raises `MalformedFile` naming file and line, also for a line that
    exceeds the limits.
    """
    where = store.show(path)
    held: list[Record] = []
    begin = 1
    size = 0
    for record, number, length in _records(store, path, codec, limits):
        if not held:
            begin = number
        held.append(record)
        if len(record) > limits.columns:
            raise limits.too_wide(where, f", line {number}")
        size += length
        if len(held) == MOST_ROWS or size >= BLOCK:
            yield held, begin
            held, size = [], 0
    if held:
        yield held, begin


def _records(
    store: Store, path: str, codec: str | None, limits: RecordLimits
) -> Iterator[tuple[Record, int, int]]:
    """Yield each object of a file, the number of its line, and its length: of the lines, or of the
    array that the file is."""
    where = store.show(path)
    source = json_array.begun(pieces(store, path, codec, BLOCK))
    if json_array.may_be_array(path) and json_array.is_array(source.head):
        for value, text, number in json_array.elements(source, DECODER, where, limits):
            if not isinstance(value, dict):
                raise MalformedFile(
                    f"{where}, line {number}: an element of the array is not a JSON object.",
                    file=where,
                    line=number,
                )
            yield value, number, len(text)
        return
    for number, line in enumerate(_lines(source, where, limits), 1):
        if line.strip():
            yield _record(line, number, where), number, len(line)


def _lines(source: Iterable[bytes], where: str, limits: RecordLimits) -> Iterator[bytes]:
    rest: list[bytes] = []
    number = 1
    size = 0
    for piece in source:
        begin, *whole = piece.split(b"\n")
        rest.append(begin)
        size += len(begin)
        if size > limits.record_bytes:
            raise limits.too_long(where, f"line {number}", line=number)
        if whole:
            yield b"".join(rest)
            yield from whole[:-1]
            number += len(whole)
            rest, size = [whole[-1]], len(whole[-1])
    if last := b"".join(rest):
        yield last


def _record(line: bytes, number: int, where: str) -> Record:
    try:
        record = DECODER.decode(line.decode())
        if not isinstance(record, dict):
            raise ValueError("the line is not a JSON object")
        return record
    except UnicodeDecodeError:
        reason = "the line is not valid UTF-8"
    except json.JSONDecodeError as error:
        reason = f"invalid JSON: {error.msg} at character {error.pos + 1}"
    except RecursionError:
        reason = "the line is nested too deeply"
    except ValueError as error:
        reason = str(error)
    raise MalformedFile(f"{where}, line {number}: {reason}.", file=where, line=number)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("an object has the same key twice")
    return members


def _no_constant(_: str) -> Any:
    raise ValueError("NaN and Infinity are not valid JSON")


DECODER = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_int=Number,
    parse_float=Number,
    parse_constant=_no_constant,
)


def _text(value: Any) -> str | None:
    """Return a value as text: a string itself, anything else as JSON."""
    if value is None or isinstance(value, str):
        return value
    return _dump(value)


def _dump(value: Any) -> str:
    """Return JSON with every number as it was written."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        members = (f"{json.dumps(k, ensure_ascii=False)}:{_dump(v)}" for k, v in value.items())
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_dump, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def texts_of(records: Sequence[Record], name: str, where: str, line: int) -> pa.Array:
    """Return one key's values as texts; a missing key is NULL. Raises `MalformedFile`."""
    try:
        return pa.array([_text(record.get(name)) for record in records], pa.string())
    except UnicodeEncodeError:
        reason = "a lone surrogate (U+D800 to U+DFFF) is not a character"
    except RecursionError:
        reason = "the line is nested too deeply"
    raise MalformedFile(f"{where}, from line {line}: key {name}: {reason}.", file=where, line=line)


@dataclass
class JsonDetection:
    """The possible types of one key's values: numbers, booleans, texts, nested; mixed is text."""

    kinds: set[str] = field(default_factory=set)
    numbers: TypeDetection = field(default_factory=lambda: TypeDetection(list(NUMBERS), loose=True))

    def show(self, values: Sequence[Any]) -> None:
        """Look at some values."""
        kinds = {KINDS[kind] for kind in set(map(type, values)) - {type(None)}}
        self.kinds |= kinds
        if self.kinds == {"number"}:
            self.numbers.show(pa.array(values, pa.string()))

    @property
    def arrow(self) -> pa.DataType:
        """The type of the column."""
        if self.kinds == {"bool"}:
            return pa.bool_()
        return self.numbers.arrow if self.kinds == {"number"} else pa.string()

    @property
    def name(self) -> str | None:
        """json if all values are nested."""
        return "json" if self.kinds == {"json"} else None


KINDS = {Number: "number", bool: "bool", str: "string", dict: "json", list: "json"}
