"""What a server chooses if a statement does not say it: collations, and the time zone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

__all__ = ["CharacterSet", "ServerDefaults", "ServerFacts"]

UTC = {"", "UTC", "+00:00", "-00:00", "ETC/UTC", "GMT"}
ALIASES: Mapping[str, str] = {"utf8": "utf8mb3"}


@dataclass(frozen=True, slots=True)
class CharacterSet:
    """One row of ``information_schema.character_sets``."""

    collation: str
    """Its default."""
    width: int
    """The most bytes that a character takes."""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """The answers of a server."""

    character_sets: Mapping[str, CharacterSet] = field(default_factory=dict)
    databases: Mapping[str, str] = field(default_factory=dict)
    """The default collation by database."""
    time_zone: str = "UTC"
    """The time zone of sessions whose time zone is SYSTEM."""


class ServerDefaults:
    """The defaults of one server, queried when they are first needed. Used by one thread."""

    def __init__(
        self,
        ask: Callable[[], ServerFacts] = ServerFacts,
        collations: Mapping[str, str] | None = None,
    ) -> None:
        """``collations``: the defaults of databases where the log begins; else those of today."""
        self._ask = ask
        self._altered = dict(collations or {})

    @cached_property
    def _facts(self) -> ServerFacts:
        return self._ask()

    def collation(self, charset: str | None) -> str | None:
        """Return a character set's default collation; None where it is not known."""
        known = self._facts.character_sets.get(charset or "")
        return known.collation if known else None

    def width(self, charset: str | None) -> int:
        """Return the most bytes that a character takes; 4 where the character set is not known."""
        known = self._facts.character_sets.get(charset or "")
        return known.width if known else 4

    def of_database(self, schema: str) -> str | None:
        """Return a database's default collation, as the log has changed it, else that of today."""
        return self._altered.get(schema) or self._facts.databases.get(schema)

    def alter_database(self, schema: str, collation: str) -> None:
        """Record the default collation that a statement in the log gives a database."""
        self._altered[schema] = collation

    def is_utc(self, time_zone: str) -> bool:
        """Return whether moments in a session's time zone are UTC."""
        zone = self._facts.time_zone if time_zone == "SYSTEM" else time_zone
        return zone.upper() in UTC


def charset_name(name: str) -> str:
    """Return a character set's name as the catalog writes it."""
    return ALIASES.get(name.lower(), name.lower())


def charset_of(collation: str, within: str | None) -> str | None:
    """Return the character set of a collation. ``within``: that of collations of any set."""
    name = collation.lower().split("_")[0]
    return within if name in ("uca1400", "uca0900") else charset_name(name)
