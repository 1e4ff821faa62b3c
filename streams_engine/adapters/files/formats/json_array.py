"""Files that are one JSON array: its elements one at a time, and the same as lines."""

from __future__ import annotations

import codecs
import io
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from streams_engine.adapters.files.formats.options import RecordLimits
from streams_engine.errors import MalformedFile

__all__ = ["Begun", "begun", "elements", "is_array", "lines_of", "may_be_array"]

SPACE = re.compile(r"[ \t\r\n]*")
BOM = b"\xef\xbb\xbf"
READ = 1 << 20


class Begun:
    """The bytes of a file, whose beginning was looked at."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self.head = b""
        """What was read, without a byte order mark, up to the first byte that is no space."""
        for piece in pieces:
            self.head = (self.head + piece).removeprefix(BOM)
            if self.head.strip():
                break

    def __iter__(self) -> Iterator[bytes]:
        if self.head:
            yield self.head
        yield from self._pieces


def begun(pieces: Iterable[bytes]) -> Begun:
    """Read the beginning of a file."""
    return Begun(iter(pieces))


def may_be_array(path: str) -> bool:
    """Return whether a file of this name can be an array: its ending does not say that it has
    lines."""
    name = path.lower().removesuffix(".gz").removesuffix(".zst")
    return not name.endswith((".jsonl", ".ndjson"))


def is_array(head: bytes) -> bool:
    """Return whether a file that begins like this is an array."""
    return head.lstrip()[:1] == b"["


def elements(
    pieces: Iterable[bytes], decoder: json.JSONDecoder, where: str, limits: RecordLimits
) -> Iterator[tuple[Any, str, int]]:
    """Yield each element of an array, its text, and the line on which it begins.

    Holds one element, and at most one piece of the file. Raises `MalformedFile` naming the line.
    """
    text = _Text(iter(pieces), where)
    text.take("[", "the array begins with '['")
    first = True
    while True:
        if text.next() == "]" and first:
            text.take("]", "")
            break
        start, value = text.line, _value(text, decoder, limits)
        yield value[0], value[1], start
        first = False
        if text.next() == "]":
            text.take("]", "")
            break
        text.take(",", "elements are separated by ','")
    if text.next():
        raise text.fault("something follows the array")


def _value(text: _Text, decoder: json.JSONDecoder, limits: RecordLimits) -> tuple[Any, str]:
    while True:
        try:
            value, end = decoder.raw_decode(text.held, text.at)
        except RecursionError:
            raise text.fault("an element is nested too deeply") from None
        except json.JSONDecodeError as error:
            _demand_short(text, len(text.held) - text.at, limits)
            if not text.more():
                raise text.fault(f"invalid JSON: {error.msg}") from None
        except ValueError as error:
            raise text.fault(str(error)) from None
        else:
            # A number may go on in the next piece; objects, arrays and texts end by themselves.
            if end == len(text.held) and text.held[text.at] not in '{["' and text.more():
                continue
            _demand_short(text, end - text.at, limits)
            return value, text.use(end)


def _demand_short(text: _Text, length: int, limits: RecordLimits) -> None:
    if length > limits.record_bytes:
        raise limits.too_long(text.where, f"line {text.line}", line=text.line)


class _Text:
    """Text of a file, of which only the pieces that are not used yet are held."""

    def __init__(self, pieces: Iterator[bytes], where: str) -> None:
        self.where = where
        self.held = ""
        self.at = 0
        """Where the text that is not used yet begins."""
        self.line = 1
        self._pieces = pieces
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._ended = False

    def more(self) -> bool:
        """Read on; False at the end."""
        if self._ended:
            return False
        piece = next(self._pieces, None)
        self._ended = piece is None
        try:
            read = self._decoder.decode(piece or b"", final=self._ended)
        except UnicodeDecodeError:
            raise self.fault("the file is not valid UTF-8") from None
        self.held, self.at = self.held[self.at :] + read, 0
        return not self._ended

    def next(self) -> str:
        """Return the next character that is no space, without using it; empty at the end."""
        while True:
            space = SPACE.match(self.held, self.at)
            if space:
                self.use(space.end())
            if self.at < len(self.held) or not self.more():
                return self.held[self.at : self.at + 1]

    def take(self, wanted: str, rule: str) -> None:
        """Use the next character. Raises `MalformedFile` if it is another one."""
        if self.next() != wanted:
            raise self.fault(rule)
        self.use(self.at + 1)

    def use(self, end: int) -> str:
        """Use what is held up to ``end``, and return it."""
        used = self.held[self.at : end]
        self.at = end
        self.line += used.count("\n")
        return used

    def fault(self, reason: str) -> MalformedFile:
        """Return the error for the present line."""
        return MalformedFile(
            f"{self.where}, line {self.line}: {reason}.", file=self.where, line=self.line
        )


class _Lines(io.RawIOBase):
    """A readable file of what an iterator yields."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def lines_of(stream: Any, path: str, where: str) -> io.BufferedReader:
    """Return the file as JSON Lines: the elements of an array as they are spelt, one a line."""
    source = begun(iter(lambda: bytes(stream.read(READ)), b""))
    if not (may_be_array(path) and is_array(source.head)):
        return io.BufferedReader(_Lines(iter(source)), READ)
    spelt = elements(source, json.JSONDecoder(), where, RecordLimits())
    # Between tokens an end of line is a space, and within a text there is none.
    lines = (text.replace("\r", " ").replace("\n", " ").encode() + b"\n" for _, text, _ in spelt)
    return io.BufferedReader(_Lines(lines), READ)
