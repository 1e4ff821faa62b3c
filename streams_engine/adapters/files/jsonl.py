"""JSONL: one object a line; numbers are bare only where a reader of doubles sees them exactly."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from streams_engine.adapters.files.detect import NUMBERS, Detection
from streams_engine.adapters.files.json_text import literals, objects
from streams_engine.adapters.files.options import RecordLimits
from streams_engine.adapters.files.reading import pieces
from streams_engine.adapters.files.store import Store
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


def encode(batch: pa.RecordBatch, columns: Sequence[Column]) -> Any:
    """The rows of a batch as lines, in one buffer. Raises `RowRejected` naming the column."""
    if not columns:
        return b"{}\n" * batch.num_rows
    if batch.num_rows > 1 and batch.nbytes > MOST_BYTES:
        half = batch.num_rows // 2
        return b"".join(encode(part, columns) for part in (batch.slice(0, half), batch.slice(half)))
    if not batch.num_rows:
        return b""
    fields = [_field(v, c) for v, c in zip(batch.columns, columns, strict=True)]
    lines = objects([column.name for column in columns], fields)
    lines = pc.binary_join_element_wise(lines, "\n", "")
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
    """The objects of a file in blocks, each with the number of its first line.

    Blank lines are nothing. Raises `MalformedFile` naming file and line, also for a line beyond
    the limits.
    """
    where = store.show(path)
    held: list[Record] = []
    begin = 1
    size = 0
    for number, line in enumerate(_lines(store, path, codec, limits), 1):
        if not line.strip():
            continue
        if not held:
            begin = number
        held.append(_record(line, number, where))
        if len(held[-1]) > limits.columns:
            raise limits.too_wide(where, f", line {number}")
        size += len(line)
        if len(held) == MOST_ROWS or size >= BLOCK:
            yield held, begin
            held, size = [], 0
    if held:
        yield held, begin


def _lines(store: Store, path: str, codec: str | None, limits: RecordLimits) -> Iterator[bytes]:
    rest: list[bytes] = []
    first = True
    number = 1
    size = 0
    source = pieces(store, path, codec, BLOCK)
    for piece in source:
        if first:
            piece, first = piece.removeprefix(b"\xef\xbb\xbf"), False
        begin, *whole = piece.split(b"\n")
        rest.append(begin)
        size += len(begin)
        if size > limits.record_bytes:
            raise limits.too_long(store.show(path), f"line {number}", line=number)
        if whole:
            yield b"".join(rest)
            yield from whole[:-1]
            number += len(whole)
            rest, size = [whole[-1]], len(whole[-1])
    if last := b"".join(rest):
        yield last


def _record(line: bytes, number: int, where: str) -> Record:
    try:
        found = DECODER.decode(line.decode())
        if not isinstance(found, dict):
            raise ValueError("it is no object")
        return found
    except UnicodeDecodeError:
        reason = "bytes that are not UTF-8"
    except json.JSONDecodeError as error:
        reason = f"no JSON object: {error.msg} at character {error.pos + 1}"
    except RecursionError:
        reason = "nested too deep"
    except ValueError as error:
        reason = str(error)
    raise MalformedFile(f"{where}, line {number}: {reason}.", file=where, line=number)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice in one object")
    return found


def _no_constant(_: str) -> Any:
    raise ValueError("NaN and Infinity are no JSON")


DECODER = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_int=Number,
    parse_float=Number,
    parse_constant=_no_constant,
)


def _text(value: Any) -> str | None:
    """A value as text: a string is itself, everything else is its JSON."""
    if value is None or isinstance(value, str):
        return value
    return _dump(value)


def _dump(value: Any) -> str:
    """JSON with every number as it was spelled."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        members = (f"{json.dumps(k, ensure_ascii=False)}:{_dump(v)}" for k, v in value.items())
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_dump, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def texts_of(records: Sequence[Record], name: str, where: str, line: int) -> pa.Array:
    """One key's values as texts; a missing key is NULL. Raises `MalformedFile`."""
    try:
        return pa.array([_text(record.get(name)) for record in records], pa.string())
    except UnicodeEncodeError:
        reason = "half of a surrogate pair, which is no character"
    except RecursionError:
        reason = "nested too deep"
    raise MalformedFile(f"{where}, from line {line}: key {name}: {reason}.", file=where, line=line)


@dataclass
class JsonDetection:
    """What one key's values may be: numbers, true and false, texts, nested; mixed is text."""

    kinds: set[str] = field(default_factory=set)
    numbers: Detection = field(default_factory=lambda: Detection(list(NUMBERS), loose=True))

    def show(self, values: Sequence[Any]) -> None:
        """Look at some values."""
        found = {KINDS[kind] for kind in set(map(type, values)) - {type(None)}}
        self.kinds |= found
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
        """json where all values are nested."""
        return "json" if self.kinds == {"json"} else None


KINDS = {Number: "number", bool: "bool", str: "string", dict: "json", list: "json"}
