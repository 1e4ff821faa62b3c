"""The Debian packages of servers and peers, and where their unpacked trees lie."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PACKAGES", "PEERS", "Package", "cache_directory", "open_directory"]


@dataclass(frozen=True, slots=True)
class Package:
    """A Debian package, and the suite it comes from (None: the machine's own)."""

    name: str
    suite: str | None
    binary: str
    """The executable inside the unpacked tree."""


PACKAGES: Mapping[str, Package] = {
    # Debian 12 carries no MySQL; unstable has the current innovation or LTS release.
    "mysql9": Package("mysql-server-core", "sid", "usr/sbin/mysqld"),
    "mariadb": Package("mariadb-server", None, "usr/sbin/mariadbd"),
    "pg15": Package("postgresql-15", None, "usr/lib/postgresql/15/bin/postgres"),
}

PEERS: Mapping[str, Package] = {
    "pgloader": Package("pgloader", None, "usr/bin/pgloader"),
    "pgcopydb": Package("pgcopydb", None, "usr/bin/pgcopydb"),
    "mydumper": Package("mydumper", None, "usr/bin/mydumper"),
    "mariadb-client": Package("mariadb-client", None, "usr/bin/mariadb"),
    "pglogical": Package("postgresql-15-pglogical", None, "usr/lib/postgresql/15/lib/pglogical.so"),
    "psql": Package("postgresql-client-15", None, "usr/lib/postgresql/15/bin/psql"),
}
"""What benchmarks run beside the library: fetched only where it is asked for by name."""


def cache_directory() -> Path:
    """Return the directory of unpacked servers, which the unprivileged account that runs them can
    read."""
    chosen = os.environ.get("STREAMS_ENGINE_CACHE")
    if chosen:
        return Path(chosen)
    home = Path("/var/cache") if os.geteuid() == 0 else Path.home() / ".cache"
    return home / "streams-engine"


def open_directory(path: Path) -> Path:
    """Make a directory that every account may enter, whatever the umask of this process."""
    for missing in reversed([p for p in (path, *path.parents) if not p.exists()]):
        missing.mkdir(exist_ok=True)
        missing.chmod(0o755)
    return path
