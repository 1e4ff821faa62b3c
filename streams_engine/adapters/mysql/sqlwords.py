"""A MySQL statement as words: enough of its grammar to read DDL that stands in a log.

sqlglot hands back a bare Command for part of MySQL's DDL (RENAME TABLE, several forms of ALTER),
with its text swallowed; what is read here never is a statement of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from streams_engine.model import TableId

__all__ = ["NotUnderstoodError", "Word", "Words", "masked", "split", "words_of"]

_TOKENS = re.compile(
    r"(?P<space>\s+|--(?=\s|$)[^\n]*|\#[^\n]*)"
    r"|(?P<open>/\*M?!\d*)|(?P<comment>/\*.*?(?:\*/|$))|(?P<close>\*/)"
    r"|(?P<quoted>`(?:[^`]|``)*`)"
    r"|(?P<single>'(?:[^'\\]|''|\\.)*')|(?P<double>\"(?:[^\"\\]|\"\"|\\.)*\")"
    r"|(?P<number>\d+(?:\.\d+)?(?:[eE][-+]?\d+)?(?![\w$]))|(?P<word>[\w$@]+)|(?P<sign>.)",
    re.S,
)
_ESCAPES = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a"}


class NotUnderstoodError(Exception):
    """The statement has a form that is not known here."""


@dataclass(frozen=True, slots=True)
class Word:
    """One word: ``kind`` is word, name (quoted), text, number or sign."""

    kind: str
    text: str
    raw: str

    @property
    def upper(self) -> str:
        """A bare word in capitals, a sign as it is; nothing that was quoted."""
        return self.text.upper() if self.kind in ("word", "sign") else ""


def words_of(statement: str, *, ansi_quotes: bool = False, backslash: bool = True) -> list[Word]:
    """The words; comments are left out, but what the server executes of them is not."""
    return list(_words(statement, ansi_quotes, backslash))


def _words(statement: str, ansi_quotes: bool, backslash: bool) -> Iterator[Word]:
    for found in _TOKENS.finditer(statement):
        kind, raw = str(found.lastgroup), found[0]
        if kind in ("space", "open", "comment", "close"):
            continue
        if kind == "quoted" or (kind == "double" and ansi_quotes):
            yield Word("name", raw[1:-1].replace(raw[0] * 2, raw[0]), raw)
        elif kind in ("single", "double"):
            text = raw[1:-1].replace(raw[0] * 2, raw[0])
            if backslash:
                text = re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), text, flags=re.S)
            yield Word("text", text, raw)
        else:
            yield Word(kind, raw, raw)


def masked(statement: str, *, ansi_quotes: bool = False) -> str:
    """The statement without its literals, which may be values of rows."""
    parts = []
    for word in words_of(statement, ansi_quotes=ansi_quotes):
        parts.append("?" if word.kind in ("text", "number") else word.raw)
    return re.sub(r"\s*([(),.])\s*", r"\1", " ".join(parts)).replace(",", ", ")[:500]


def split(words: Sequence[Word]) -> list[list[Word]]:
    """Items that are divided by commas outside of brackets."""
    items: list[list[Word]] = [[]]
    depth = 0
    for word in words:
        depth += (word.upper == "(") - (word.upper == ")")
        if word.upper == "," and not depth:
            items.append([])
        else:
            items[-1].append(word)
    return [item for item in items if item]


class Words:
    """Words that are taken one after the other."""

    def __init__(self, words: Sequence[Word]) -> None:
        self._words = list(words)
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._words)

    def peek(self, ahead: int = 0) -> str:
        """The next bare word in capitals, or sign; empty where there is none such."""
        at = self._at + ahead
        return self._words[at].upper if at < len(self._words) else ""

    def next(self) -> Word:
        """Take a word. Raises `NotUnderstoodError` at the end."""
        if not self:
            raise NotUnderstoodError
        self._at += 1
        return self._words[self._at - 1]

    def accept(self, *expected: str) -> bool:
        """Take these words where they come next."""
        if all(self.peek(i) == word for i, word in enumerate(expected)):
            self._at += len(expected)
            return True
        return False

    def any(self, *expected: str) -> str:
        """Take one of these words where it comes next."""
        found = self.peek()
        if found in expected and found:
            self._at += 1
            return found
        return ""

    def expect(self, expected: str) -> None:
        """Take this word. Raises `NotUnderstoodError` where another one comes."""
        if not self.accept(expected):
            raise NotUnderstoodError

    def name(self) -> str:
        """A name, quoted or not."""
        word = self.next()
        if word.kind not in ("name", "word"):
            raise NotUnderstoodError
        return word.text

    def table(self, schema: str) -> TableId:
        """A table's name, with its database or in the session's."""
        first = self.name()
        if self.accept("."):
            return TableId(first, self.name())
        return TableId(schema, first)

    def brackets(self) -> list[Word]:
        """What is between the brackets that come next."""
        self.expect("(")
        depth, found = 1, []
        while depth:
            word = self.next()
            depth += (word.upper == "(") - (word.upper == ")")
            found.append(word)
        return found[:-1]

    def rest(self) -> list[Word]:
        """All that is left."""
        found, self._at = self._words[self._at :], len(self._words)
        return found
