"""Reduce a server's message about a refused connection to one line without secrets."""

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
    """Return a server's text without its secrets, control characters and final full stop.

    A server's answer may repeat what it was sent.
    """
    printable = "".join(c if c.isprintable() else " " for c in text)
    for secret in secrets:
        word = re.escape(secret)
        printable = re.sub(
            word if len(secret) >= SHORT else rf"(?<!\w){word}(?!\w)", "***", printable
        )
    printable = " ".join(printable.split())
    return f"{printable[:LONGEST]}..." if len(printable) > LONGEST else printable.rstrip(".")
