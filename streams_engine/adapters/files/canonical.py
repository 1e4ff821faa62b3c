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
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from streams_engine.adapters.files.change_log import demand_current
from streams_engine.adapters.files.columns import batches, plain
from streams_engine.adapters.files.discovery import DataFile, Places, discover, select
from streams_engine.adapters.files.formats.json_array import lines_of
from streams_engine.adapters.files.formats.options import CsvOptions
from streams_engine.adapters.files.infer_schema import InferredTable, describe
from streams_engine.adapters.files.stores.store import Store
from streams_engine.errors import MalformedFile
from streams_engine.model import TableId
from streams_engine.schema.types.arrow_digests import (
    KINDS,
    blocks_of,
    buckets_of,
    can_digest,
    digest_of,
    in_buckets,
)
from streams_engine.schema.types.arrow_texts import text_of, texts_of, values_of
from streams_engine.schema.types.canonical import (
    BucketFilter,
    CanonicalColumn,
    CanonicalRead,
    KeyRange,
)
from streams_engine.schema.types.row_digests import Digested

__all__ = ["FilesCanonical"]

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
        places: Places | None = None,
        csv: CsvOptions | None = None,
        written: bool = False,
    ) -> None:
        self._store = store
        self._file_format = file_format
        self._places = places or Places(paths)
        self._options = csv or CsvOptions()
        self._written = written

    def __enter__(self) -> FilesCanonical:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: no file is open."""

    @contextmanager
    def rows(self, read: CanonicalRead) -> Iterator[Iterator[Row]]:
        """Yield every row of a table, or of some buckets, as texts, file by file."""
        table = self._table(read.table)
        if isinstance(read.part, BucketFilter):
            yield self._in_buckets(table, read.columns, read.part)
        else:
            yield self._rows(table, read.columns)

    # Digests, column by column: of files that this library wrote, for the texts of others vary

    @property
    def digests(self) -> Sequence[str]:
        """The kinds of digest that are made."""
        return KINDS if self._written else ()

    def can_digest(self, column: CanonicalColumn) -> bool:
        """Return whether a column has a text that the digest can be made of."""
        return can_digest(column)

    def digest(self, read: CanonicalRead, kind: str) -> Digested:
        """Return the sum over the rows of a table."""
        names = [column.name for column in read.columns]
        try:
            return digest_of(batches(self._store, self._table(read.table), names), read.columns)
        except pa.ArrowInvalid:  # the rows, which another reader reads, say what is the matter
            return Digested(0, 0, whole=False)

    def buckets(self, read: CanonicalRead, kind: str) -> Mapping[int, Digested]:
        """Return the sums by bucket."""
        names = [column.name for column in read.columns]
        try:
            return buckets_of(batches(self._store, self._table(read.table), names), read.columns)
        except pa.ArrowInvalid:
            return {0: Digested(0, 0, whole=False)}

    def blocks(self, read: CanonicalRead, key: str) -> Iterator[tuple[KeyRange, Digested]]:
        """Yield the hashes of the rows, a batch each or less, as they lie in the files."""
        names = [column.name for column in read.columns]
        try:
            found = batches(self._store, self._table(read.table), names)
            yield from blocks_of(found, read.columns, key)
        except pa.ArrowInvalid:
            yield KeyRange(key), Digested(0, 0, whole=False)

    def renew(self) -> None:
        """Do nothing: files are read as they are."""

    def _in_buckets(
        self, table: InferredTable, columns: Sequence[CanonicalColumn], wanted: BucketFilter
    ) -> Iterator[Row]:
        names = list(dict.fromkeys(c.name for c in (*columns, *wanted.columns)))
        for batch in batches(self._store, table, names):
            yield from texts_of(in_buckets(batch, wanted), columns)

    def _table(self, wanted: TableId) -> InferredTable:
        tables = select(discover(self._store, self._places, self._file_format), (wanted.name,))
        demand_current(self._store, tables[0])
        return describe(self._store, tables[0], self._options)

    def _rows(self, table: InferredTable, columns: Sequence[CanonicalColumn]) -> Iterator[Row]:
        texts = [text_of(column) for column in columns]
        names = [column.name for column in columns]
        for file in table.files:
            for values in READERS[file.file_format](self._store, table, file, names):
                yield tuple(
                    None if value is None else text(value)
                    for text, value in zip(texts, values, strict=True)
                )


# One reader a format: the values of the named columns, row by row


def _csv(
    store: Store, table: InferredTable, file: DataFile, names: Sequence[str]
) -> Iterator[list[Any]]:
    with store.open(file.info.path) as raw, plain(raw, file) as stream:
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


def _delimiter(table: InferredTable, text: str) -> str:
    """Return the delimiter under which the header has as many fields as the table has columns."""
    head = text.split("\n", 1)[0]
    wanted = len(table.schema.columns) - 1
    return next((d for d in ",;\t|" if head.count(d) == wanted), ",")


def _named(header: Sequence[str | None], declared: Sequence[str]) -> list[str]:
    """Return the header's names; all as the copy made them if it had to make up some."""
    names = [name or "" for name in header]
    odd = "" in names or len(set(names)) < len(names)
    return list(declared) if odd else names


def _tokens(text: str, delimiter: str, quote: str) -> Iterator[list[str | None]]:
    """Yield the records of a CSV text; an unquoted empty field is None."""
    q, d = re.escape(quote), re.escape(delimiter)
    token = re.compile(rf"(?:{q}((?:[^{q}]|{q}{q})*){q}|([^{d}\r\n]*))({d}|\r\n|\n|\r|$)")
    record: list[str | None] = []
    place = 0
    while place < len(text):
        match = token.match(text, place)
        if match is None:
            raise MalformedFile("verify: the CSV has a quote that is not closed.")
        quoted, plain, end = match.groups()
        record.append(quoted.replace(quote * 2, quote) if quoted is not None else plain or None)
        place = match.end()
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


def _jsonl(
    store: Store, table: InferredTable, file: DataFile, names: Sequence[str]
) -> Iterator[list[Any]]:
    binary = {c.name for c in table.schema.columns if pa.types.is_binary(c.arrow)}
    with store.open(file.info.path) as raw, plain(raw, file) as stream:
        where = store.show(file.info.path)
        for line in lines_of(stream, file.info.path, where).read().decode("utf-8-sig").split("\n"):
            if line.strip():
                record = _record(line, file)
                yield [_json_value(record.get(name), name in binary) for name in names]


def _record(line: str, file: DataFile) -> dict[str, Any]:
    """Return the object of a line. Raises `MalformedFile` without what the line holds."""
    try:
        record = json.loads(line, parse_int=_Number, parse_float=_Number)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        raise MalformedFile(f"verify: a line of {file.info.path} is no JSON object.")
    return record


def _json_value(value: Any, binary: bool) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    if binary and isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except ValueError:
            return value  # other bytes than any that were written
    return value


def _parquet(
    store: Store, _: InferredTable, file: DataFile, names: Sequence[str]
) -> Iterator[list[Any]]:
    with store.open(file.info.path) as raw:
        source = pq.ParquetFile(raw)
        there = [name for name in names if name in source.schema_arrow.names]
        for batch in source.iter_batches(BATCH, columns=there):
            values = {name: values_of(batch.column(name)) for name in there}
            nothing = [None] * batch.num_rows
            yield from (
                list(row) for row in zip(*(values.get(n, nothing) for n in names), strict=True)
            )


READERS: Mapping[str, Callable[..., Iterator[list[Any]]]] = {
    "csv": _csv,
    "json": _jsonl,
    "jsonl": _jsonl,
    "parquet": _parquet,
}
