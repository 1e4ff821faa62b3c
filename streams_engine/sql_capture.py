"""The statements that a stream sends, in its log, with every value taken out."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass

from streams_engine.events import EventLog

__all__ = ["SqlCapture", "without_values"]

READ = 16_384
"""So many characters of a statement are looked at; what is behind them is not shown."""
SHOWN: Mapping[str, int] = {"minimal": 200, "verbose": 4_000}
"""How many characters of a statement are shown."""

CHANGES = re.compile(
    r"(CREATE|ALTER|DROP|RENAME|TRUNCATE|INSERT|UPDATE|DELETE|MERGE|REPLACE|LOAD|GRANT|REVOKE"
    r"|LOCK|FLUSH|COMMENT)\b|COPY\b.*\bFROM STDIN",
    re.I | re.S,
)
"""What `minimal` shows: statements that change structure or rows."""

BACKSLASHED = r"'(?:[^'\\]|\\.|'')*(?:'|$)"
NUMBER = r"(?<![\w$.])(?:0[xX][0-9a-fA-F]+|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)"
WORD = r"\b(?:TRUE|FALSE)\b"
COMMENT = r"/\*.*?(?:\*/|$)|--[^\n]*"
TOKENS: Mapping[str, re.Pattern[str]] = {
    "mysql": re.compile(
        rf"(?P<name>`[^`]*(?:`|$))|{COMMENT}|\#[^\n]*"
        rf'|(?P<value>[nNxXbB]?{BACKSLASHED}|"(?:[^"\\]|\\.|"")*(?:"|$)|{NUMBER}|{WORD})',
        re.S | re.I,
    ),
    "postgresql": re.compile(
        rf'(?P<name>"[^"]*(?:"|$))|{COMMENT}'
        rf"|(?P<value>[eE]{BACKSLASHED}|(?:[nNxXbB]|[uU]&)?'(?:[^']|'')*(?:'|$)"
        rf"|(?P<dollar>\$(?:[^\W\d]\w*)?\$).*?(?:(?P=dollar)|$)|{NUMBER}|{WORD})",
        re.S | re.I,
    ),
}
"""By dialect: names in quotes stay, comments go, literals become a question mark. A text that does
not end hides all that follows."""
MANY = re.compile(r"(\(\s*\?(?:\s*,\s*(?:\?|NULL|DEFAULT))*\s*\))(?:\s*,\s*\([^()]*\))+", re.I)
"""Several rows of values."""


def without_values(sql: str, dialect: str) -> str:
    """Return a statement with its literals replaced by question marks, on one line."""
    kind = "postgresql" if dialect == "postgresql" else "mysql"

    def token(match: re.Match[str]) -> str:
        if match["name"] is not None:
            return match["name"]
        return " " if match["value"] is None else "?"

    plain = " ".join(TOKENS[kind].sub(token, sql[:READ]).split())
    return MANY.sub(r"\1, ...", plain)


@dataclass(frozen=True, slots=True)
class SqlCapture:
    """Notes statements in the log of a stream."""

    journal: EventLog
    level: str
    """minimal or verbose."""

    def __call__(self, sql: str, dialect: str) -> None:
        """Note a statement; called on the thread that sends it."""
        if self.level == "minimal" and not CHANGES.match(sql.lstrip("( \t\r\n")):
            return
        plain = without_values(sql, dialect)
        most = SHOWN[self.level]
        shown = plain if len(plain) <= most and len(sql) <= READ else f"{plain[:most]} ..."
        self.journal.note(logging.INFO, "sql", shown, dialect=dialect)
