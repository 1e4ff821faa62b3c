"""CSV bytes cut at row ends outside of quotes, with line numbers.

A quote opens at the beginning of a field and closes at its end. Text after a closing quote is an
error; a quote within an unquoted field is a character.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from streams_engine.adapters.files.formats.options import RecordLimits
from streams_engine.errors import MalformedFile

__all__ = ["CsvDialect", "lines_in", "row_blocks"]

BLOCK = 4 << 20
"""Bytes that are read at once; a row may be larger."""
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class CsvDialect:
    """A delimiter and a quote, and the patterns that follow from them."""

    delimiter: str
    quote: str = '"'

    @cached_property
    def field(self) -> re.Pattern[bytes]:
        """One field: group 1 is a quoted one without its quotes, group 2 a plain one."""
        q, d = re.escape(self.quote).encode(), re.escape(self.delimiter).encode()
        return re.compile(rb"%b([^%b]*+(?:%b%b[^%b]*+)*+)%b|((?!%b)[^%b\r\n]*+)" % (
            q, q, q, q, q, q, q, d,
        ))  # fmt: skip

    @cached_property
    def row(self) -> re.Pattern[bytes]:
        """One row, up to but without its end."""
        field = b"(?:" + re.sub(rb"\((?!\?)", b"(?:", self.field.pattern) + b")"
        return re.compile(field + b"(?:" + re.escape(self.delimiter).encode() + field + b")*+")

    def fields(self, row: bytes, most: int | None = None) -> list[bytes | None]:
        """Return the fields of a row, at most ``most``; None for a field that is empty and
        unquoted."""
        fields: list[bytes | None] = []
        place = 0
        while most is None or len(fields) < most:
            match = self.field.match(row, place)
            if match is None:
                return fields
            quoted, plain = match.groups()
            q = self.quote.encode()
            fields.append(plain or None if quoted is None else quoted.replace(q + q, q))
            place = match.end()
            if row[place : place + 1] != self.delimiter.encode():
                return fields
            place += 1
        return fields

    def cuts_quotes(self, row: bytes) -> bool:
        """Return True if an unquoted field contains a quote."""
        q = self.quote.encode()
        place = 0
        while (match := self.field.match(row, place)) is not None:
            if match[1] is None and q in match[2]:
                return True
            place = match.end() + 1
            if row[place - 1 : place] != self.delimiter.encode():
                return False
        return True

    def rows(self, data: bytes, *, final: bool) -> Iterator[tuple[int, int, int]]:
        """Yield (start, end, begin of the next) of each complete row.

        Ends at the first incomplete row. Raises ValueError with the place of a row that no further
        bytes could complete.
        """
        place = 0
        while place < len(data):
            match = self.row.match(data, place)
            end = match.end() if match else place
            if end == len(data):
                if final and match:
                    yield place, end, end
                    return
                if not final:
                    return
            after = data[end : end + 2]
            if after[:1] not in (b"\n", b"\r"):
                if self._open(data, end):
                    if not final:
                        return
                    raise BrokenCsv(place, "a quote is opened and not closed")
                raise BrokenCsv(place, "text follows a closing quote")
            if after == b"\r" and not final:
                return
            following = end + (2 if after == b"\r\n" else 1)
            yield place, end, following
            place = following

    def _open(self, data: bytes, end: int) -> bool:
        """Return whether the row stopped before a field whose quote is not closed within the
        data."""
        q = self.quote.encode()
        begin = end + 1 if data[end : end + 1] == self.delimiter.encode() else end
        return data[begin : begin + 1] == q and self.field.match(data, begin) is None


class BrokenCsv(ValueError):
    """Error of an invalid row: its place in the data, and the reason."""

    def __init__(self, place: int, reason: str) -> None:
        super().__init__(reason)
        self.place = place
        self.reason = reason


def lines_in(data: bytes) -> int:
    """Count the line ends in some bytes: CRLF, LF and CR."""
    returns = data.count(b"\r")
    lines = int(np.count_nonzero(np.frombuffer(data, np.uint8) == ord("\n")))
    return lines + (returns - data.count(b"\r\n") if returns else 0)


def row_blocks(
    source: Generator[bytes, int | None, None],
    dialect: CsvDialect,
    where: str,
    limits: RecordLimits,
) -> Iterator[tuple[bytes, int]]:
    """Yield blocks of complete rows, each with the number of its first line.

    Raises `MalformedFile` naming file and line, also for a row that exceeds the limits.
    """
    rest, line = b"", 1
    piece = next(source, None)
    while piece is not None:
        data = rest + piece if rest else piece
        try:
            cut = _cut(data, dialect)
        except BrokenCsv as fault:
            raise _malformed(where, data, line, fault) from None
        if cut:
            yield data[:cut], line
            line += lines_in(data[:cut])
        rest = data[cut:]
        if len(rest) > limits.record_bytes:
            raise limits.too_long(where, f"line {line}", line=line)
        try:
            piece = source.send(min(max(BLOCK, len(rest)), limits.record_bytes))
        except StopIteration:
            piece = None
    if rest:
        try:
            for _ in dialect.rows(rest, final=True):
                pass
        except BrokenCsv as fault:
            raise _malformed(where, rest, line, fault) from None
        yield rest, line


def _malformed(where: str, data: bytes, line: int, fault: BrokenCsv) -> MalformedFile:
    number = line + lines_in(data[: fault.place])
    return MalformedFile(
        f"{where}, line {number}: {fault.reason}.",
        remedy="Check the file's delimiter and quote character.",
        file=where,
        line=number,
    )


def _cut(data: bytes, dialect: CsvDialect) -> int:
    """Return the end of the last complete row; 0 if there is none."""
    array = np.frombuffer(data, np.uint8)
    quotes = np.flatnonzero(array == ord(dialect.quote))
    if len(quotes) and not _strict(array, quotes, ord(dialect.delimiter)):
        return max((n for _, _, n in dialect.rows(data, final=False)), default=0)
    if not len(quotes):
        return data.rfind(b"\n") + 1 or data.rfind(b"\r", 0, len(data) - 1) + 1
    for byte in (10, 13):
        ends = np.flatnonzero(array[: len(data) - (byte == 13)] == byte)
        outside = ends[np.searchsorted(quotes, ends) % 2 == 0]
        if len(outside):
            return int(outside[-1]) + 1
    return 0


def _strict(array: np.ndarray, quotes: np.ndarray, delimiter: int) -> bool:
    """Return whether every quote is where one may open or close, so that counting them is
    enough."""
    edge = np.zeros(256, bool)
    edge[[delimiter, 10, 13]] = True
    opening, closing = quotes[::2], quotes[1::2]
    doubled = opening[1:] == closing[: len(opening) - 1] + 1
    before, after = array[opening - 1], array[np.minimum(closing + 1, len(array) - 1)]
    opens, closes = edge[before], edge[after]
    opens[1:] |= doubled
    closes[: len(doubled)] |= doubled
    # The first and the last byte have nothing beside them.
    return bool((opens | (opening == 0)).all() and (closes | (closing == len(array) - 1)).all())
