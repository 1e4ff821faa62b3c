"""Errors as a person and as a machine read them; neither ever sees a secret."""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from streams_engine.errors import StreamsError

__all__ = ["complain", "error_line", "listening", "without_secrets"]

# What users type by hand: a URL's password (which may itself hold an @), and
# key=value pairs whose key is a secret's name.
_SECRETS = (
    (re.compile(r"(://[^:/@\s]*):[^\s'\"]*@"), r"\1:***@"),
    (re.compile(r"(?i)(password|secret\w*|token)(['\"]?\s*[=:]\s*['\"]?)[^\s&,'\"]+"), r"\1\2***"),
)


def without_secrets(text: str) -> str:
    """Mask the passwords of URLs and of key=value pairs in ``text``."""
    for pattern, cover in _SECRETS:
        text = pattern.sub(cover, text)
    return text


def error_line(code: str, message: str, remedy: str | None = None) -> str:
    """Format an error on one line: ``error [CODE]: message remedy``."""
    sentence = " ".join(f"{message} {remedy or ''}".split())
    return f"error [{code}]: {without_secrets(sentence)}"


def complain(error: StreamsError | Mapping[str, Any], *, as_json: bool = False) -> None:
    """Print an error as a line on standard error, and with ``as_json`` also as a document."""
    document = error.to_dict() if isinstance(error, StreamsError) else dict(error)
    print(
        error_line(document["code"], document["message"], document.get("remedy")),
        file=sys.stderr,
    )
    if as_json:
        print(without_secrets(json.dumps({"error": document}, default=str)), flush=True)


class _Warnings(logging.Handler):
    """Handler that prints the library's warnings; `complain` prints errors."""

    def __init__(self, *, debug: bool) -> None:
        super().__init__()
        self._debug = debug

    def emit(self, record: logging.LogRecord) -> None:
        """Print a warning; standard error is looked up late, for a live display may hold it."""
        if self._debug and record.exc_info:
            traceback.print_exception(record.exc_info[1])
        # The summary has the findings.
        if record.levelno == logging.WARNING and not hasattr(record, "severity"):
            sentence = " ".join(record.getMessage().split())
            print(f"warning: {without_secrets(sentence)}", file=sys.stderr)


@contextmanager
def listening(*, debug: bool) -> Iterator[None]:
    """Show the library's log while a command runs; with tracebacks if ``debug``."""
    logger, handler = logging.getLogger("streams_engine"), _Warnings(debug=debug)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
