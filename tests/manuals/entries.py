"""What an entry of the catalogue is: a clause of a manual, a script, and what is promised of it.

Scripts are SQL with `T` for the entry's own table; `T2`, `T_old` and the like are further names of
its own. Statements end with a semicolon; what stands between BEGIN and COMMIT is one step.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "CARRIED",
    "LOSSY",
    "NO_UNDO",
    "RELOAD",
    "Absent",
    "Carried",
    "Chapter",
    "Entry",
    "Refused",
    "Verdict",
    "steps",
]

_NAME = re.compile(r"\bT(\d|_\w+)?\b")
_TOKEN = re.compile(r"'(?:[^'\\]|\\.|'')*'|\$(\w*)\$.*?\$\1\$|;", re.S)
_OPENS = re.compile(r"(BEGIN|START TRANSACTION|XA START)\b(?!.*\bEND\b)", re.I | re.S)
_CLOSES = re.compile(
    r"(COMMIT|ROLLBACK(?! (TO|WORK TO))|PREPARE TRANSACTION|XA COMMIT|XA ROLLBACK)\b", re.I
)


@dataclass(frozen=True)
class Carried:
    """The target equals the source afterwards, perhaps with a finding of this code."""

    finding: str | None = None


@dataclass(frozen=True)
class Refused:
    """The stream ends with ``code`` before a row is wrong; the remedy makes it go on.

    The remedy is options of the stream, statements on the target or on the source, or
    ``fresh``: to load again, with ``schemaPolicy: drop_and_recreate``.
    """

    code: str
    options: Mapping[str, Any] = field(default_factory=dict)
    target: str = ""
    source: str = ""
    fresh: bool = False
    why: str = ""

    @property
    def remedied(self) -> bool:
        """Whether there is a remedy to follow after the refusal."""
        return bool(self.options or self.target or self.source or self.fresh)


@dataclass(frozen=True)
class Absent:
    """This server or route does not have it, or nothing can be played of it."""

    why: str = ""


Verdict = Carried | Refused | Absent
CARRIED = Carried()


@dataclass(frozen=True)
class Entry:
    """One clause, played on a table of its own.

    ``on`` gives another verdict by route (``pg15-pg18``), by kind of target (``mysql``,
    ``postgresql``, ``files``), or for a PostgreSQL source without the event trigger (``bare``);
    ``load`` is the verdict where all of it happened before the stream began. A key ``within mysql``
    gives the one where all of it is one transaction.
    """

    id: str
    clause: str
    work: str
    after: str = ""
    setup: str | None = None
    """None: the chapter's."""
    before: str | None = None
    """Changes of rows in the old shape, played before the work; None: the chapter's."""
    verdict: Verdict = CARRIED
    on: Mapping[str, Verdict] = field(default_factory=dict)
    load: Verdict = CARRIED
    servers: tuple[str, ...] = ()
    """Empty: the chapter's."""
    alone: bool = False
    """The work cannot stand in a transaction."""
    structure: bool = True
    """Whether the structures are compared too."""
    options: Mapping[str, Any] = field(default_factory=dict)
    tolerant: bool = False
    """What the server refuses of the script is left out, and the rest is played."""
    name: str = ""
    """The name that stands for T; empty: made from the id."""
    chapter: Chapter = None  # type: ignore[assignment]
    """Set by the chapter."""

    @property
    def table(self) -> str:
        """The name that stands for T."""
        return self.name or f"t{self.id[2:]}"  # PostgreSQL reserves schemas that begin with pg_

    @property
    def clauses(self) -> tuple[str, ...]:
        """The alternatives of the grammar that this is an entry of."""
        return tuple(part.strip() for part in self.clause.split("|"))

    def owns(self, name: str) -> bool:
        """Whether a table of this name is the entry's."""
        return name == self.table or name.startswith(self.table + "__")

    def verdict_on(
        self, source: str, target: str, *, bare: bool, load: bool, place: str = "live"
    ) -> Verdict:
        """What is promised on a route, at a place."""
        if source not in (self.servers or self.chapter.servers):
            return Absent()
        kind = {"mysql9": "mysql", "mariadb": "mysql", "files": "files"}.get(target, "postgresql")
        keys = [f"{source}-{target}", source, kind]
        if load:
            keys = [f"load {key}" for key in keys]
            return next((self.on[key] for key in keys if key in self.on), self.load)
        keys = [*(f"{place} {key}" for key in keys), *keys]
        keys += ["bare"] if bare else []
        verdict = next((self.on[key] for key in keys if key in self.on), self.verdict)
        # A log of changes loses nothing of what it was given.
        return CARRIED if verdict == LOSSY and kind == "files" else verdict

    def script(self, part: str) -> list[list[str]]:
        """The steps of ``setup``, ``before``, ``work`` or ``after``."""
        text = getattr(self, part)
        return self.named(getattr(self.chapter, part) if text is None else text)

    def named(self, script: str) -> list[list[str]]:
        """The steps of a script with the entry's names."""
        return [
            [_NAME.sub(lambda m: self.table + _suffix(m[1]), one) for one in step]
            for step in steps(script)
        ]


@dataclass(frozen=True)
class Chapter:
    """Entries of one section of a manual, with the table that most of them begin with."""

    statement: str
    """As ``ALTER TABLE``: the grammar's rule that the clauses belong to."""
    section: str
    servers: tuple[str, ...]
    setup: str
    before: str
    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        for entry in self.entries:
            object.__setattr__(entry, "chapter", self)


def _suffix(found: str | None) -> str:
    if found is None:
        return ""
    return f"_{found}" if found.startswith("_") else f"__{found}"


def steps(script: str) -> list[list[str]]:
    """The statements of a script, a transaction's together."""
    found: list[list[str]] = []
    inside = False
    for statement in _statements(script):
        if inside:
            found[-1].append(statement)
            inside = not _CLOSES.match(statement)
            continue
        found.append([statement])
        inside = bool(_OPENS.match(statement))
    return found


def _statements(script: str) -> Iterator[str]:
    start = 0
    for token in _TOKEN.finditer(script):
        if token[0] == ";":
            if statement := script[start : token.start()].strip():
                yield statement
            start = token.end()
    if statement := script[start:].strip():
        yield statement


LOSSY = Refused(
    "SCHEMA_CHANGE_REFUSED", options={"allow_lossy": True}, why="It loses values of the target."
)
RELOAD = Carried("table-reloaded")
"""What the rows hold now is not in the log, so they are read again."""
NO_UNDO = Refused(
    "SCHEMA_CHANGE_REFUSED", fresh=True, why="DDL commits by itself: rows beside it stay."
)
