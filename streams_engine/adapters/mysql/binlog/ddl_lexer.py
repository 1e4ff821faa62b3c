"""Split a MySQL statement into tokens: enough of its grammar to read DDL of a log."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from streams_engine.model import TableId
from streams_engine.schema.ddl.mysql import literal, quote

__all__ = [
    "Token",
    "TokenStream",
    "UnparsedStatementError",
    "masked",
    "split",
    "sql_of",
    "tokenize",
]

_TOKENS = re.compile(
    r"(?P<space>\s+|--(?=\s|$)[^\n]*|\#[^\n]*)"
    r"|(?P<open>/\*M?!\d*)|(?P<comment>/\*.*?(?:\*/|$))|(?P<close>\*/)"
    r"|(?P<quoted>`(?:[^`]|``)*`)"
    r"|(?P<single>'(?:[^'\\]|''|\\.)*')|(?P<double>\"(?:[^\"\\]|\"\"|\\.)*\")"
    r"|(?P<number>\d+(?:\.\d+)?(?:[eE][-+]?\d+)?(?![\w$]))|(?P<word>[\w$@]+)"
    r"|(?P<sign>->>|->|<=>|<<|>>|<=|>=|<>|!=|:=|\|\||&&|.)",
    re.S,
)
_ESCAPES = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a"}


class UnparsedStatementError(Exception):
    """The statement has a form that is not known here."""


@dataclass(frozen=True, slots=True)
class Token:
    """One word: ``kind`` is word, name (quoted), text, number or sign."""

    kind: str
    text: str
    raw: str
    apart: bool = True
    """Something stands between it and the word before: ``now ()`` is no call of a function."""

    @property
    def upper(self) -> str:
        """A bare word in capitals, a sign as it is; nothing that was quoted."""
        return self.text.upper() if self.kind in ("word", "sign") else ""


def tokenize(statement: str, *, ansi_quotes: bool = False, backslash: bool = True) -> list[Token]:
    """Return the tokens of a statement, without comments, but with those that the server
    executes."""
    return list(_words(statement, ansi_quotes, backslash))


def _words(statement: str, ansi_quotes: bool, backslash: bool) -> Iterator[Token]:
    apart = True
    for match in _TOKENS.finditer(statement):
        kind, raw = str(match.lastgroup), match[0]
        if kind in ("space", "open", "comment", "close"):
            apart = True
            continue
        if kind == "quoted" or (kind == "double" and ansi_quotes):
            yield Token("name", raw[1:-1].replace(raw[0] * 2, raw[0]), raw, apart)
        elif kind in ("single", "double"):
            text = raw[1:-1].replace(raw[0] * 2, raw[0])
            if backslash:
                text = re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), text, flags=re.S)
            yield Token("text", text, raw, apart)
        else:
            yield Token(kind, raw, raw, apart)
        apart = False


def masked(statement: str, *, ansi_quotes: bool = False) -> str:
    """Return the statement without its literals, which may be values of rows."""
    parts = []
    for word in tokenize(statement, ansi_quotes=ansi_quotes):
        parts.append("?" if word.kind in ("text", "number") else word.raw)
    return re.sub(r"\s*([(),.])\s*", r"\1", " ".join(parts)).replace(",", ", ")[:500]


def sql_of(words: Sequence[Token]) -> str:
    """Return an expression as it was written, with names and texts quoted as every sql_mode but
    NO_BACKSLASH_ESCAPES reads them."""
    parts: list[str] = []
    for word in words:
        shown = {"name": quote, "text": literal}.get(word.kind, str)
        parts.append((" " if word.apart and parts else "") + shown(word.text))
    return "".join(parts)


def without_settings(words: Sequence[Token]) -> Sequence[Token]:
    """Return the statement behind MariaDB's ``SET STATEMENT ... FOR``."""
    if [word.upper for word in words[:2]] != ["SET", "STATEMENT"]:
        return words
    behind = next((i for i, word in enumerate(words) if word.upper == "FOR"), len(words) - 1)
    return without_settings(words[behind + 1 :])


def split(words: Sequence[Token]) -> list[list[Token]]:
    """Split tokens at commas outside of brackets."""
    items: list[list[Token]] = [[]]
    depth = 0
    for word in words:
        depth += (word.upper == "(") - (word.upper == ")")
        if word.upper == "," and not depth:
            items.append([])
        else:
            items[-1].append(word)
    return [item for item in items if item]


class TokenStream:
    """Words that are taken one after the other."""

    def __init__(self, words: Sequence[Token]) -> None:
        self._words = list(words)
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._words)

    def peek(self, ahead: int = 0) -> str:
        """Return the next bare word in capitals, or sign; empty if there is none."""
        at = self._at + ahead
        return self._words[at].upper if at < len(self._words) else ""

    def next(self) -> Token:
        """Take a word. Raises `UnparsedStatementError` at the end."""
        if not self:
            raise UnparsedStatementError
        self._at += 1
        return self._words[self._at - 1]

    def accept(self, *expected: str) -> bool:
        """Take these words if they come next."""
        if all(self.peek(i) == word for i, word in enumerate(expected)):
            self._at += len(expected)
            return True
        return False

    def any(self, *expected: str) -> str:
        """Take one of these words if it comes next."""
        word = self.peek()
        if word in expected and word:
            self._at += 1
            return word
        return ""

    def expect(self, expected: str) -> None:
        """Take this word. Raises `UnparsedStatementError` if another one comes."""
        if not self.accept(expected):
            raise UnparsedStatementError

    def name(self) -> str:
        """Take a name, quoted or not."""
        word = self.next()
        if word.kind not in ("name", "word"):
            raise UnparsedStatementError
        return word.text

    def table(self, schema: str) -> TableId:
        """Take a table's name, with its database, or else the session's."""
        first = self.name()
        if self.accept("."):
            return TableId(first, self.name())
        return TableId(schema, first)

    def brackets(self) -> list[Token]:
        """Return the tokens between the next brackets."""
        self.expect("(")
        depth, inside = 1, []
        while depth:
            word = self.next()
            depth += (word.upper == "(") - (word.upper == ")")
            inside.append(word)
        return inside[:-1]

    def rest(self) -> list[Token]:
        """Take all remaining tokens."""
        rest, self._at = self._words[self._at :], len(self._words)
        return rest
