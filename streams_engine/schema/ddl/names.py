"""Names that fit PostgreSQL: at most 63 bytes, and unique where the server wants it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

__all__ = ["MAX_BYTES", "Namespace", "shorten"]

MAX_BYTES = 63
"""NAMEDATALEN - 1, https://www.postgresql.org/docs/current/limits.html"""


def shorten(name: str, length: int = MAX_BYTES) -> str:
    """Return the name if it fits, else its beginning and a digest of the whole."""
    raw = name.encode()
    if len(raw) <= length:
        return name
    tail = "_" + hashlib.blake2b(raw, digest_size=4).hexdigest()
    return raw[: length - len(tail)].decode(errors="ignore") + tail


@dataclass(slots=True)
class Namespace:
    """The names taken in one namespace (a schema's relations and types)."""

    _taken: set[str] = field(default_factory=set)

    def reserve(self, name: str) -> str:
        """Take ``name``, shortened if it is too long."""
        short = shorten(name)
        self._taken.add(short)
        return short

    def unique(self, *candidates: str) -> str:
        """Take the first candidate that is free; if none is, the last one with a number."""
        for candidate in candidates:
            short = shorten(candidate)
            if short not in self._taken:
                return self.reserve(short)
        number = 2
        while (short := shorten(candidates[-1], MAX_BYTES - 5) + f"_{number}") in self._taken:
            number += 1
        return self.reserve(short)
