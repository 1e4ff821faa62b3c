"""Files as texts, for `verify`. Shares no decoder with the copy.

CSV is taken apart by a tokenizer of its own, JSONL by the standard library, Parquet through
Arrow's Python values; each value becomes the text of its form.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from streams_engine.adapters.files.current_rows import demand_current
from streams_engine.adapters.files.describing import Table, describe
from streams_engine.adapters.files.discovery import DataFile, discover, select
from streams_engine.adapters.files.options import CsvOptions
from streams_engine.adapters.files.store import Store
from streams_engine.errors import MalformedFile
from streams_engine.model import TableId
from streams_engine.schema.forms import PADDED, CanonicalColumn, CanonicalRead, Form

__all__ = ["FilesCanonical", "texts_of"]

Row = tuple[str | None, ...]
BATCH = 8192


class FilesCanonical:
    """The files below a root, read as texts. Not for use by several threads."""

    def __init__(
        self,
        store: Store,
        *,
        file_format: str | None = None,
        paths: tuple[str, ...] = (),
        csv: CsvOptions | None = None,
    ) -> None:
        self._store = store
        self._file_format = file_format
        self._paths = paths
        self._options = csv or CsvOptions()

    def __enter__(self) -> FilesCanonical:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

    @contextmanager
    def rows(self, read: CanonicalRead) -> Iterator[Iterator[Row]]:
        """Every row of a table as texts, file after file."""
        yield self._rows(self._table(read.table), read.columns)

    def _table(self, wanted: TableId) -> Table:
        found = select(discover(self._store, self._paths, self._file_format), (wanted.name,))
        demand_current(self._store, found[0])
        return describe(self._store, found[0], self._options)

    def _rows(self, table: Table, columns: Sequence[CanonicalColumn]) -> Iterator[Row]:
        texts = [_text_of(column) for column in columns]
        names = [column.name for column in columns]
        for file in table.files:
            for values in READERS[file.file_format](self._store, table, file, names):
                yield tuple(
                    None if value is None else text(value)
                    for text, value in zip(texts, values, strict=True)
                )


def texts_of(batch: pa.RecordBatch, columns: Sequence[CanonicalColumn]) -> Iterator[Row]:
    """The rows of a batch as texts."""
    texts = [_text_of(column) for column in columns]
    arrays = [_values(batch.column(column.name)) for column in columns]
    for values in zip(*arrays, strict=True):
        yield tuple(
            None if value is None else text(value)
            for text, value in zip(texts, values, strict=True)
        )


# One reader a format: the values of the named columns, row by row


def _csv(store: Store, table: Table, file: DataFile, names: Sequence[str]) -> Iterator[list[Any]]:
    with store.open(file.info.path) as raw, _plain(raw, file) as stream:
        text = stream.read().decode("utf-8-sig")
    delimiter = table.options.delimiter or _delimiter(table, text)
    records = _tokens(text, delimiter, table.options.quote)
    declared = [column.name for column in table.schema.columns]
    header = next(records, []) if table.options.header else []
    by_place = file.info.path in table.parts or not table.options.header
    present = declared if by_place else _named(header, declared)
    places = [present.index(name) if name in present else -1 for name in names]
    for record in records:
        if record == [None] and len(present) > 1:
            continue  # a line with nothing in it
        yield [record[place] if place >= 0 else None for place in places]


def _delimiter(table: Table, text: str) -> str:
    """The one under which the header has as many fields as the table has columns."""
    head = text.split("\n", 1)[0]
    wanted = len(table.schema.columns) - 1
    return next((d for d in ",;\t|" if head.count(d) == wanted), ",")


def _named(header: Sequence[str | None], declared: Sequence[str]) -> list[str]:
    """The header's names; where the copy had to make up some, all as it made them."""
    names = [name or "" for name in header]
    odd = "" in names or len(set(names)) < len(names)
    return list(declared) if odd else names


def _tokens(text: str, delimiter: str, quote: str) -> Iterator[list[str | None]]:
    """The records of a CSV text; an unquoted empty field is None."""
    q, d = re.escape(quote), re.escape(delimiter)
    token = re.compile(rf"(?:{q}((?:[^{q}]|{q}{q})*){q}|([^{d}\r\n]*))({d}|\r\n|\n|\r|$)")
    record: list[str | None] = []
    place = 0
    while place < len(text):
        found = token.match(text, place)
        if found is None:
            raise MalformedFile("verify: a quote is not closed.")
        quoted, plain, end = found.groups()
        record.append(quoted.replace(quote * 2, quote) if quoted is not None else plain or None)
        place = found.end()
        if end != delimiter:
            yield record
            record = []
        elif place == len(text):
            record.append(None)
    if record:
        yield record


class _Number(str):
    """A number of a JSON line, as its text."""

    __slots__ = ()


def _jsonl(store: Store, table: Table, file: DataFile, names: Sequence[str]) -> Iterator[list[Any]]:
    binary = {c.name for c in table.schema.columns if pa.types.is_binary(c.arrow)}
    with store.open(file.info.path) as raw, _plain(raw, file) as stream:
        for line in stream.read().decode("utf-8-sig").split("\n"):
            if line.strip():
                record = json.loads(line, parse_int=_Number, parse_float=_Number)
                yield [_json_value(record.get(name), name in binary) for name in names]


def _json_value(value: Any, binary: bool) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    if binary and value is not None:
        return base64.b64decode(value)
    return value


def _parquet(store: Store, _: Table, file: DataFile, names: Sequence[str]) -> Iterator[list[Any]]:
    with store.open(file.info.path) as raw:
        source = pq.ParquetFile(raw)
        there = [name for name in names if name in source.schema_arrow.names]
        for batch in source.iter_batches(BATCH, columns=there):
            found = {name: _values(batch.column(name)) for name in there}
            nothing = [None] * batch.num_rows
            yield from (
                list(row) for row in zip(*(found.get(n, nothing) for n in names), strict=True)
            )


def _values(column: pa.Array) -> list[Any]:
    """Python values; moments as ISO texts, whatever the year."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _values(column.dictionary_decode())
    if pa.types.is_timestamp(kind) or pa.types.is_date32(kind):
        unit, storage = ("D", pa.int32()) if pa.types.is_date32(kind) else (kind.unit, pa.int64())
        numbers = column.view(storage) if not pa.types.is_timestamp(kind) else column.cast(storage)
        made: Any = np.datetime64
        return [None if v is None else str(made(v, unit)) for v in numbers.to_pylist()]
    plain = column.cast(pa.string()) if pa.types.is_time(kind) else column
    found: list[Any] = plain.to_pylist()
    return found


@contextmanager
def _plain(raw: Any, file: DataFile) -> Iterator[Any]:
    if file.codec is None:
        yield raw
        return
    with pa.CompressedInputStream(raw, file.codec) as stream:
        yield stream


READERS: Mapping[str, Callable[..., Iterator[list[Any]]]] = {
    "csv": _csv,
    "jsonl": _jsonl,
    "parquet": _parquet,
}


# One text a form


def _text_of(column: CanonicalColumn) -> Callable[[Any], str]:
    if column.type.name == PADDED:
        return lambda value: str(value).rstrip(" ")
    if column.type.name == "float" and column.form is Form.FLOAT:
        single = column.type.text == "float"
        return lambda value: repr(float(np.float32(value)) if single else float(value))
    return TEXTS.get(column.form, _plain_text)


def _plain_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.hex() if isinstance(value, bytes) else str(value)


def _boolean(value: Any) -> str:
    text = _plain_text(value).lower()
    return {"true": "1", "false": "0"}.get(text, text)


def _bytes(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value).lower().removeprefix("\\x")


_OFFSET = re.compile(r"[+-]\d\d:?\d\d$")


def _moment(value: Any) -> str:
    text = str(value).replace("T", " ", 1).replace("Z", "+00:00")
    if _OFFSET.search(text) and not text.endswith(("+00:00", "+0000")):
        moved = datetime.fromisoformat(text).astimezone(UTC)
        text = moved.replace(tzinfo=None).isoformat(" ")
    text = text.removesuffix("+00:00").removesuffix("+0000").lstrip("+")
    if text.startswith("-") and text.count("-") == 3:  # a year before 1, as PostgreSQL says it
        year, rest = text[1:].split("-", 1)
        return f"{int(year) + 1:04d}-{rest} BC"
    return text


TEXTS: Mapping[Form, Callable[[Any], str]] = {
    Form.BOOLEAN: _boolean,
    Form.BYTES: _bytes,
    Form.MOMENT: _moment,
}
