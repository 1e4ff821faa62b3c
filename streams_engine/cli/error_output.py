"""Errors and log records as a person and as a machine read them; neither ever sees a secret."""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from streams_engine.errors import StreamsError
from streams_engine.model import Finding

__all__ = [
    "LogFormat",
    "LogLevel",
    "complain",
    "error_line",
    "listening",
    "shown_elsewhere",
    "tell_errors",
    "without_secrets",
]

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

# What users type by hand: a URL's password (which may itself hold an @), and
# key=value pairs whose key is a secret's name.
_SECRETS = (
    (re.compile(r"(://[^:/@\s]*):[^\s'\"]*@"), r"\1:***@"),
    (
        re.compile(
            r"(?i)(password|secret\w*|token)(['\"]?\s*[=:]\s*['\"]?)(?!(?:YES|NO)\))[^\s&,'\"]+"
        ),
        r"\1\2***",
    ),
)
NO_TARGET = frozenset({"no-database", "target-not-reached"})
"""Findings that end a run whether they are accepted or not: none offers to accept them."""
EXTRAS = ("stream", "event", "table", "category")
"""What our records have beside a message."""


def without_secrets(text: str) -> str:
    """Mask the passwords of URLs and of key=value pairs in ``text``."""
    for pattern, cover in _SECRETS:
        text = pattern.sub(cover, text)
    return text


def error_line(code: str, message: str, remedy: str | None = None) -> str:
    """Format an error on one line: ``error [CODE]: message remedy``."""
    sentence = " ".join(f"{message} {remedy or ''}".split())
    return f"error [{code}]: {without_secrets(sentence)}"


def tell_errors(errors: Sequence[Finding]) -> None:
    """Print, as the last line on standard error, that a run or a plan has findings of severity
    error; nothing without any."""
    if not errors:
        return
    counted = Counter(finding.code for finding in errors)
    codes = ", ".join(f"{code} ({number})" for code, number in counted.items())
    number = "1 error was" if len(errors) == 1 else f"{len(errors)} errors were"
    options = " ".join(f"--accept {code}" for code in counted if code not in NO_TARGET)
    preventing = " A run would fail." if NO_TARGET & counted.keys() else ""
    choice = f" If you want it so: {options}" if options else ""
    print(f"{number} found: {codes}.{preventing}{choice}", file=sys.stderr)


def complain(
    error: StreamsError | Mapping[str, Any],
    *,
    as_json: bool = False,
    log_format: LogFormat = "text",
) -> None:
    """Print an error as a line on standard error, and with ``as_json`` also as a document on
    standard output."""
    document = error.to_dict() if isinstance(error, StreamsError) else dict(error)
    told = without_secrets(json.dumps({"error": document}, default=str))
    line = error_line(document["code"], document["message"], document.get("remedy"))
    print(line if log_format == "text" else told, file=sys.stderr)
    if as_json:
        print(told, flush=True)


class _Records(logging.Handler):
    """Handler that prints the library's records; `complain` prints the error that ends a command.

    Standard error is looked up late, for a live display may hold it.
    """

    def __init__(self, level: LogLevel, log_format: LogFormat, *, debug: bool) -> None:
        super().__init__(getattr(logging, level.upper()))
        self._format = log_format
        self._debug = debug
        self.elsewhere = False
        """A view shows the events of the stream: they are not printed twice."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        if self._debug and record.exc_info:
            traceback.print_exception(record.exc_info[1])
        event = hasattr(record, "event")
        if event and self.elsewhere and self._format == "text":
            return
        # The summary has the findings, and the last line the error.
        if self._format == "text" and (hasattr(record, "severity") or record.levelno > 30):
            return
        line = self._document(record) if self._format == "json" else self._line(record)
        print(without_secrets(line), file=sys.stderr, flush=True)

    def _line(self, record: logging.LogRecord) -> str:
        table = getattr(record, "table", None)
        sentence = " ".join(str(getattr(record, "text", record.getMessage())).split())
        return f"{record.levelname.lower()}: {f'{table}: ' if table else ''}{sentence}"

    def _document(self, record: logging.LogRecord) -> str:
        extras = {key: getattr(record, key) for key in EXTRAS if hasattr(record, key)}
        return json.dumps(
            {
                "time": record.created,
                "level": record.levelname,
                "logger": record.name,
                "message": record.getMessage(),
                **extras,
            },
            default=str,
        )


_HANDLERS: list[_Records] = []


@contextmanager
def listening(
    level: LogLevel = "warning", log_format: LogFormat = "text", *, debug: bool
) -> Iterator[None]:
    """Show the library's log while a command runs; with tracebacks if ``debug``."""
    logger, handler = logging.getLogger("streams_engine"), _Records(level, log_format, debug=debug)
    before = logger.level
    logger.addHandler(handler)
    if level in ("debug", "info"):
        logger.setLevel(handler.level)
    _HANDLERS.append(handler)
    try:
        yield
    finally:
        _HANDLERS.remove(handler)
        logger.setLevel(before)
        logger.removeHandler(handler)


@contextmanager
def shown_elsewhere() -> Iterator[None]:
    """Do not print a stream's events as text inside the block: a view shows them."""
    for handler in _HANDLERS:
        handler.elsewhere = True
    try:
        yield
    finally:
        for handler in _HANDLERS:
            handler.elsewhere = False
