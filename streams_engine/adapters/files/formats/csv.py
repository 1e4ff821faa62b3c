"""CSV: an unquoted empty field is NULL, ``""`` is the empty text.

A file of one column writes NULL as an empty line; in files of several, empty lines are
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from streams_engine.adapters.files.formats.csv_rows import (
    BLOCK,
    BOM,
    CsvDialect,
    lines_in,
    row_blocks,
)
from streams_engine.adapters.files.formats.options import CsvOptions, RecordLimits
from streams_engine.adapters.files.formats.text_values import render
from streams_engine.adapters.files.stores.store import Store
from streams_engine.adapters.files.stores.streams import pieces
from streams_engine.arrow.plain import filled, joined, texts
from streams_engine.errors import MalformedFile, RowRejected
from streams_engine.model import Column

__all__ = ["dialect_of", "encode", "header", "read_texts"]

DELIMITERS = (",", ";", "\t", "|")
SAMPLE_ROWS = 20
USUAL = RecordLimits()
MOST_BYTES = 256 << 20
"""More than that is encoded in halves: Arrow's texts hold 2 GB."""


# Writing


def header(columns: Sequence[Column], options: CsvOptions) -> bytes:
    """Return the header line; empty if there is to be none."""
    if not options.header:
        return b""
    names = pa.RecordBatch.from_arrays(
        [texts([column.name]) for column in columns], [str(i) for i in range(len(columns))]
    )
    return bytes(_lines([_quoted(name, options) for name in names.columns], options))


def encode(batch: pa.RecordBatch, columns: Sequence[Column], options: CsvOptions) -> Any:
    """Encode the rows of a batch as lines, in one buffer. Raises `RowRejected` naming the
    column."""
    if not columns:
        return b"\n" * batch.num_rows
    if batch.num_rows > 1 and batch.nbytes > MOST_BYTES:
        half = batch.num_rows // 2
        parts = batch.slice(0, half), batch.slice(half)
        return b"".join(encode(part, columns, options) for part in parts)
    fields = [_field(v, c, options) for v, c in zip(batch.columns, columns, strict=True)]
    return _lines(fields, options)


def _field(values: pa.Array, column: Column, options: CsvOptions) -> pa.Array:
    try:
        text = render(values, form="csv")
    except RowRejected as fault:
        raise RowRejected(f"Column {column.name}: {fault.message}.", column=column.name) from None
    textual = pa.types.is_string(values.type) or pa.types.is_binary(values.type)
    # Numbers and dates hold no delimiter but an odd one.
    quotable = textual or options.delimiter not in ("", *DELIMITERS)
    return filled(_quoted(text, options) if quotable else text, "")


def _quoted(text: pa.Array, options: CsvOptions) -> pa.Array:
    """Quote the texts that a reader could misread.

    A reader that is not told the delimiter tries all usual ones.
    """
    marks = {*options.quote, *(options.delimiter or ","), *DELIMITERS, "\r", "\n"}
    special = "".join(f"\\x{{{ord(c):x}}}" for c in sorted(marks))
    needs = pc.match_substring_regex(text, rf"[{special}]|\A\z|\A\x{{FEFF}}")
    if not pc.any(needs).as_py():
        return text
    q = options.quote
    wrapped = joined([q, pc.replace_substring(text, q, q + q), q])
    return pc.if_else(needs, wrapped, text)


def _lines(fields: Sequence[pa.Array], options: CsvOptions) -> Any:
    lines = joined([joined(fields, options.delimiter or ","), "\n"])
    if not len(lines):
        return b""
    offsets = memoryview(lines.buffers()[1]).cast("i")
    begin, end = offsets[lines.offset], offsets[lines.offset + len(lines)]
    return memoryview(lines.buffers()[2])[begin:end]


# Reading


def read_texts(
    store: Store,
    path: str,
    codec: str | None,
    options: CsvOptions,
    limits: RecordLimits = USUAL,
) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Read the rows as text columns, block by block, each with the number of its first line.

    The first block may have no rows: it tells the columns. An empty file has no columns. Raises
    `MalformedFile` naming file and line.
    """
    where = store.show(path)
    source = pieces(store, path, codec, BLOCK)
    try:
        first = _skip_bom(source)
        dialect = dialect_of(first, path, options, limits)
        names: list[str] | None = None
        for data, line in row_blocks(_again(first, source), dialect, where, limits):
            if names is None:
                names, used = _names(data, line, dialect, options, where, limits)
                if names is None:
                    continue
                line += lines_in(data[:used])
                data = data[used:]
                yield _empty(names), line
            yield from _parsed(data, line, names, dialect, where)
    finally:
        source.close()


def _skip_bom(source: Any) -> bytes:
    first = next(source, b"")
    while 0 < len(first) < 3:
        more = next(source, b"")
        if not more:
            break
        first += more
    return bytes(first).removeprefix(BOM)


def _again(first: bytes, source: Any) -> Any:
    """Yield the first piece again, then the others."""
    wanted = (yield first) if first else None
    while True:
        try:
            piece = source.send(wanted)
        except (StopIteration, TypeError):
            return
        wanted = yield piece


def dialect_of(sample: bytes, path: str, options: CsvOptions, limits: RecordLimits) -> CsvDialect:
    """Return the configured dialect; else one whose delimiter cuts the first rows into equally many
    fields, preferably without cutting quotes."""
    if options.delimiter:
        return CsvDialect(options.delimiter, options.quote)
    best = CsvDialect("\t" if ".tsv" in path.lower() else ",", options.quote)
    most = _fit(sample, best, limits) or (False, 1)
    for delimiter in DELIMITERS:
        dialect = CsvDialect(delimiter, options.quote)
        fit = _fit(sample, dialect, limits)
        if fit is not None and fit > most and fit[1] > 1:
            best, most = dialect, fit
    return best


def _fit(sample: bytes, dialect: CsvDialect, limits: RecordLimits) -> tuple[bool, int] | None:
    """Return whether no unquoted field of the first rows contains a quote, and the number of
    fields; None if rows have different numbers of fields."""
    counts: set[int] = set()
    clean, seen = True, 0
    quote = dialect.quote.encode()
    try:
        for begin, end, _ in dialect.rows(sample, final=len(sample) < BLOCK):
            if end > begin:
                row = sample[begin:end]
                counts.add(len(dialect.fields(row, limits.columns + 1)))
                clean = clean and not (quote in row and dialect.cuts_quotes(row))
                seen += 1
            if seen == SAMPLE_ROWS:
                break
    except ValueError:
        return None
    return (clean, counts.pop()) if len(counts) == 1 else None


def _names(
    data: bytes,
    line: int,
    dialect: CsvDialect,
    options: CsvOptions,
    where: str,
    limits: RecordLimits,
) -> tuple[list[str] | None, int]:
    """Return the column names from the first row that is not blank, and the length of the header in
    bytes."""
    for begin, end, after in dialect.rows(data, final=True):
        if end == begin and options.header:
            continue
        fields = dialect.fields(data[begin:end], limits.columns + 1)
        if len(fields) > limits.columns:
            raise limits.too_wide(where, f", line {line + lines_in(data[:begin])}")
        if not options.header:
            return [f"c{i + 1}" for i in range(len(fields))], 0
        try:
            names = [(field or b"").decode() for field in fields]
        except UnicodeDecodeError:
            number = line + lines_in(data[:begin])
            raise _fault(where, number, "the header is not valid UTF-8") from None
        return _unique(names), after
    return None, 0


def _unique(names: Sequence[str]) -> list[str]:
    taken = {name for name in names if name}
    given: list[str] = []
    for number, name in enumerate(names, 1):
        wanted = name or f"c{number}"
        candidate, suffix = wanted, 2
        while candidate in given or (candidate in taken and candidate != name):
            candidate = f"{wanted}_{suffix}"
            suffix += 1
        given.append(candidate)
    return given


def _empty(names: Sequence[str]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({name: pa.array([], pa.string()) for name in names})


def _parsed(
    data: bytes, line: int, names: Sequence[str], dialect: CsvDialect, where: str
) -> Iterator[tuple[pa.RecordBatch, int]]:
    single = len(names) == 1
    if not data or (not single and not data.strip(b"\r\n")):
        return
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(data),
            arrow_csv.ReadOptions(column_names=names, block_size=len(data) + 1, use_threads=False),
            arrow_csv.ParseOptions(
                delimiter=dialect.delimiter,
                quote_char=dialect.quote,
                newlines_in_values=True,
                ignore_empty_lines=not single,
            ),
            arrow_csv.ConvertOptions(
                column_types={name: pa.string() for name in names},
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid:
        raise _explained(data, line, len(names), dialect, where) from None
    for batch in table.combine_chunks().to_batches():
        yield batch, line


def _explained(
    data: bytes, line: int, count: int, dialect: CsvDialect, where: str
) -> MalformedFile:
    """Return the error for a block that Arrow could not read, found row by row."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return _fault(where, line + lines_in(data[: error.start]), "the line is not valid UTF-8")
    for begin, end, _ in dialect.rows(data, final=True):
        if begin == end and count > 1:
            continue
        fields = len(dialect.fields(data[begin:end]))
        if fields != count:
            reason = f"expected {count} fields, found {fields}"
            return _fault(where, line + lines_in(data[:begin]), reason)
    return _fault(where, line, "the block that begins at this line cannot be parsed")


def _fault(where: str, line: int, reason: str) -> MalformedFile:
    return MalformedFile(
        f"{where}, line {line}: {reason}.",
        remedy="Check the file's delimiter and quote character.",
        file=where,
        line=line,
    )
