"""What a server says of a refused connection, fit for a message: one line, and no secret in it."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["NOTHING", "Masked", "server_text"]

LONGEST = 300
SHORT = 6
"""A secret of fewer characters hides whole words alone: it may be part of an ordinary one."""


class Masked:
    """Secrets to be left out of a server's text; never shown themselves, as local variables."""

    __slots__ = ("_secrets",)

    def __init__(self, *secrets: str | None) -> None:
        self._secrets = tuple(filter(None, secrets))

    def __iter__(self) -> Iterator[str]:
        return iter(self._secrets)

    def __repr__(self) -> str:
        return "Masked(***)"


NOTHING = Masked()


def server_text(text: str, secrets: Masked = NOTHING) -> str:
    """Return a server's text without its secrets, control characters and closing full stop.

    What a server answers may be made of what it was sent.
    """
    found = "".join(c if c.isprintable() else " " for c in text)
    for secret in secrets:
        word = re.escape(secret)
        found = re.sub(word if len(secret) >= SHORT else rf"(?<!\w){word}(?!\w)", "***", found)
    found = " ".join(found.split())
    return f"{found[:LONGEST]}..." if len(found) > LONGEST else found.rstrip(".")
