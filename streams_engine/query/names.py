"""The names in a statement that is being written: by its tokens, for it may not parse yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlglot
from sqlglot.errors import SqlglotError

from streams_engine.query.diagnostics import KEYWORDS
from streams_engine.query.source_names import READERS

__all__ = ["Chain", "Derived", "UsedTable", "chain_at", "derived", "tokens_of", "used_tables"]

TABLE_WORDS = {"FROM", "JOIN", "INTO", "UPDATE", "TABLE"}
CLAUSES = {"SELECT", "WHERE", "ON", "BY", "HAVING", "SET", "AND", "OR", "USING", "LIMIT", "VALUES",
           "WHEN", "THEN", "ELSE", "CASE", "NOT", "UNION", "ORDER", "GROUP", "INNER", "LEFT",
           "RIGHT", "FULL", "CROSS", "NATURAL", "JOIN"}  # fmt: skip

Path = tuple[int, ...]
"""The parentheses around a place, each by where it opens."""


@dataclass(frozen=True, slots=True)
class UsedTable:
    """A table in a FROM."""

    label: str
    """Its alias, else its own name."""
    names: tuple[str, ...]
    """Its name and those before it; empty for a file."""
    path: Path
    start: int
    """Where its label is written."""
    end: int
    file: tuple[str, str] | None = None
    """The function that reads it, and the path that it is given."""

    def visible(self, here: Path) -> bool:
        """Return whether a place is inside the query that names the table."""
        return here[: len(self.path)] == self.path


@dataclass(frozen=True, slots=True)
class Derived:
    """A query with a name: a CTE, or a subquery in a FROM."""

    name: str
    columns: tuple[str, ...]
    start: int
    end: int
    cte: bool


@dataclass(frozen=True, slots=True)
class Chain:
    """Names joined by points around a place, such as ``a.b.c``."""

    names: tuple[str, ...]
    """Up to the one at the place."""
    start: int
    """Of the name at the place."""
    end: int
    called: bool
    """A parenthesis follows: it is a function."""


def tokens_of(sql: str, dialect: str) -> list[Any]:
    """Return the tokens of a text; of one with an open quotation, those before it."""
    for text in (sql, sql[: max(sql.rfind("'"), sql.rfind('"'), sql.rfind("`"), 0)]):
        try:
            return list(sqlglot.tokenize(text, dialect=dialect))
        except SqlglotError:
            continue
    return []


def paths(tokens: Sequence[Any]) -> Iterator[tuple[Any, Path]]:
    """Yield each token with the parentheses around it."""
    path: list[int] = []
    for token in tokens:
        if token.token_type.name == "R_PAREN" and path:
            path.pop()
        yield token, tuple(path)
        if token.token_type.name == "L_PAREN":
            path.append(token.start)


def path_at(tokens: Sequence[Any], offset: int) -> Path:
    """Return the parentheses around an offset."""
    here: Path = ()
    for token, path in paths(tokens):
        if token.start >= offset:
            break
        here = (*path, token.start) if token.token_type.name == "L_PAREN" else path
    return here


def is_name(token: Any) -> bool:
    """Return whether a token can be a name."""
    return token.token_type.name in ("VAR", "IDENTIFIER") or (
        token.text.isidentifier() and token.text.upper() not in {*KEYWORDS, *TABLE_WORDS, *CLAUSES}
    )


def used_tables(tokens: Sequence[Any]) -> Iterator[UsedTable]:
    """Yield the tables and files that the text names so far."""
    placed = list(paths(tokens))
    listing = False
    i = 0
    while i < len(placed):
        token, path = placed[i]
        word = token.text.upper()
        i += 1
        if word in CLAUSES - TABLE_WORDS:
            listing = False
        if word not in TABLE_WORDS and not (listing and token.token_type.name == "COMMA"):
            continue
        listing = True
        rest = tokens[i:]
        file = _file(rest)
        names = _names(rest) if file is None else []
        if file is None and not names:
            continue
        after = 4 if file is not None else 2 * len(names) - 1
        last = rest[after - 1]
        i += after
        label, start, end = (file[0] if file else names[-1]), last.start, last.end + 1
        if file is not None:
            start, end = rest[0].start, rest[0].end + 1
        if i < len(tokens) and tokens[i].text.upper() == "AS":
            i += 1
        if i < len(tokens) and is_name(tokens[i]) and tokens[i].text.upper() not in CLAUSES:
            label, start, end = tokens[i].text, tokens[i].start, tokens[i].end + 1
            i += 1
        yield UsedTable(label, tuple(names), path, start, end, file)


def _names(tokens: Sequence[Any]) -> list[str]:
    names: list[str] = []
    for i in range(0, len(tokens), 2):
        if not is_name(tokens[i]):
            break
        names.append(tokens[i].text)
        if i + 1 >= len(tokens) or tokens[i + 1].token_type.name != "DOT":
            break
    return names


def _file(tokens: Sequence[Any]) -> tuple[str, str] | None:
    kinds = [token.token_type.name for token in tokens[:4]]
    if kinds[1:] != ["L_PAREN", "STRING", "R_PAREN"] or tokens[0].text.upper() not in READERS:
        return None
    return tokens[0].text, tokens[2].text


def derived(sql: str, tokens: Sequence[Any], dialect: str) -> Iterator[Derived]:
    """Yield the named queries of a text that can be parsed, with the columns that they select."""
    opened: list[int] = []
    for i, token in enumerate(tokens):
        kind = token.token_type.name
        if kind == "L_PAREN":
            opened.append(i)
        if kind != "R_PAREN" or not opened:
            continue
        begin = opened.pop()
        if begin + 1 >= i or tokens[begin + 1].text.upper() not in ("SELECT", "WITH", "VALUES"):
            continue
        named = _name_of(tokens, begin, i)
        if named is not None:
            inner = sql[tokens[begin].end + 1 : token.start]
            name, cte = named
            yield Derived(name.text, _selected(inner, dialect), name.start, name.end + 1, cte)


def _name_of(tokens: Sequence[Any], begin: int, end: int) -> tuple[Any, bool] | None:
    """Return the name of a query in parentheses, and whether it stands before it (a CTE)."""
    before = [token.text.upper() for token in tokens[max(begin - 2, 0) : begin]]
    if len(before) == 2 and before[1] == "AS" and is_name(tokens[begin - 2]):
        return tokens[begin - 2], True
    after = end + 1
    if after < len(tokens) and tokens[after].text.upper() == "AS":
        after += 1
    if after < len(tokens) and is_name(tokens[after]):
        return tokens[after], False
    return None


def _selected(sql: str, dialect: str) -> tuple[str, ...]:
    try:
        tree: Any = sqlglot.parse_one(sql, dialect=dialect)
        return tuple(name for name in tree.named_selects if name and name != "*")
    except (SqlglotError, AttributeError, RecursionError):
        return ()


def chain_at(tokens: Sequence[Any], offset: int) -> Chain | None:
    """Return the names around an offset; None where there is no name."""
    for i, token in enumerate(tokens):
        if not (token.start <= offset <= token.end + 1) or not _nameable(token):
            continue
        names = [token.text]
        j = i
        while j >= 2 and tokens[j - 1].token_type.name == "DOT" and _nameable(tokens[j - 2]):
            j -= 2
            names.insert(0, tokens[j].text)
        called = i + 1 < len(tokens) and tokens[i + 1].token_type.name == "L_PAREN"
        return Chain(tuple(names), token.start, token.end + 1, called)
    return None


def _nameable(token: Any) -> bool:
    kind = str(token.token_type.name)
    return kind == "IDENTIFIER" or (kind != "STRING" and str(token.text).isidentifier())
