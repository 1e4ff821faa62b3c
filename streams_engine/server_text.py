"""What a server says of a refused connection, fit for a message: one line, and no secret in it."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["server_text"]

LONGEST = 300
SHORT = 6
"""A secret of fewer characters hides whole words alone: it may be part of an ordinary one."""


def server_text(text: str, secrets: Iterable[str | None] = ()) -> str:
    """Return a server's text without its secrets, control characters and closing full stop.

    What a server answers may be made of what it was sent.
    """
    found = "".join(c if c.isprintable() else " " for c in text)
    for secret in filter(None, secrets):
        word = re.escape(secret)
        found = re.sub(word if len(secret) >= SHORT else rf"(?<!\w){word}(?!\w)", "***", found)
    found = " ".join(found.split())
    return f"{found[:LONGEST]}..." if len(found) > LONGEST else found.rstrip(".")
