"""The one SQLite file of an `Engine`: its tables, its migrations, its transactions.

Several processes may have it open: the journal is WAL, a writer waits for another one, and
what is read is read anew each time.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from streams_engine.errors import ConfigError, StateConflict, StoreFailed

__all__ = ["Store"]

APPLICATION = 0x53454E47
"""SQLite's application_id of our files: SENG (https://www.sqlite.org/pragma.html)."""

WAITING_MS = 15_000
"""How long a writer waits for another process."""

MIGRATIONS = (
    """
    CREATE TABLE connections (
        id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created INTEGER NOT NULL,
        document TEXT NOT NULL
    ) STRICT;
    CREATE TABLE configs (
        id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created INTEGER NOT NULL,
        document TEXT NOT NULL
    ) STRICT;
    CREATE TABLE runs (
        id TEXT PRIMARY KEY, config_id TEXT NOT NULL REFERENCES configs ON DELETE CASCADE,
        owner TEXT NOT NULL, started REAL NOT NULL, ended REAL, status TEXT NOT NULL,
        stats TEXT NOT NULL, error TEXT, wanted TEXT
    ) STRICT;
    CREATE INDEX runs_by_config ON runs (config_id, started);
    CREATE INDEX runs_under_way ON runs (status) WHERE ended IS NULL;
    CREATE TABLE logs (
        number INTEGER PRIMARY KEY, run_id TEXT NOT NULL REFERENCES runs ON DELETE CASCADE,
        at REAL NOT NULL, level INTEGER NOT NULL, event TEXT NOT NULL, message TEXT NOT NULL,
        table_name TEXT, details TEXT NOT NULL
    ) STRICT;
    CREATE INDEX logs_by_run ON logs (run_id, number);
    """,
)
"""Each brings the schema one version on; PRAGMA user_version counts them."""


class Store:
    """Rows in one SQLite file, or in memory. Thread-safe: one connection under one lock."""

    def __init__(self, path: Path | None) -> None:
        """Opens the file, which is made with mode 0600 where it is not there.

        Raises `ConfigError` where it is no file of ours, or of a newer version.
        """
        self.path = path
        self._lock = threading.RLock()
        self._closed = False
        if path is not None:
            _private(path)
        try:
            self._connection = sqlite3.connect(
                path or ":memory:", isolation_level=None, check_same_thread=False
            )
            self._connection.row_factory = sqlite3.Row
            self._set_up()
        except (StoreFailed, sqlite3.DatabaseError) as error:
            self.close()
            raise ConfigError(
                f"{path}: SQLite cannot use it as an Engine's file: {error}.",
                remedy="Name another file, or one that an Engine made.",
            ) from None
        except BaseException:
            self.close()
            raise

    def _set_up(self) -> None:
        run = self._connection.execute
        run(f"PRAGMA busy_timeout = {WAITING_MS}")
        run("PRAGMA foreign_keys = ON")
        with self.writing():
            mark = self.value("PRAGMA application_id")
            empty = not self.value("SELECT count(*) FROM sqlite_schema")
            if mark != APPLICATION and not (mark == 0 and empty):
                raise ConfigError(
                    f"{self.path}: it is a SQLite file of another application.",
                    remedy="Name another file, or one that an Engine made.",
                )
            version = self.value("PRAGMA user_version")
            if version > len(MIGRATIONS):
                raise ConfigError(
                    f"{self.path}: it was written by a newer version of streams_engine.",
                    remedy="Use that version, or name another file.",
                )
            for script in MIGRATIONS[version:]:
                for statement in script.split(";\n"):
                    run(statement)
            run(f"PRAGMA application_id = {APPLICATION}")
            run(f"PRAGMA user_version = {len(MIGRATIONS)}")
        # A process that is killed loses nothing; only a machine that is may lose the last writes.
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = NORMAL")

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction, which no other process writes beside. Raises `StoreFailed`."""
        self._demand_open()
        with self._lock, _translating(self.path):
            if self._connection.in_transaction:
                yield
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _demand_open(self) -> None:
        if self._closed:
            raise StateConflict("The Engine is closed.", remedy="Open another one.")

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """All rows of a query. Raises `StoreFailed`."""
        self._demand_open()
        with self._lock, _translating(self.path):
            return self._connection.execute(query, parameters).fetchall()

    def row(self, query: str, parameters: Sequence[Any] = ()) -> sqlite3.Row | None:
        """The first row of a query."""
        return next(iter(self.rows(query, parameters)), None)

    def value(self, query: str, parameters: Sequence[Any] = ()) -> Any:
        """The first column of the first row."""
        found = self.row(query, parameters)
        return None if found is None else found[0]

    def write(self, statement: str, parameters: Sequence[Any] = ()) -> int:
        """Run one statement; how many rows it touched."""
        with self.writing():
            return self._connection.execute(statement, parameters).rowcount

    def close(self) -> None:
        """Idempotent."""
        self._closed = True
        with self._lock, contextlib.suppress(AttributeError):
            self._connection.close()


@contextlib.contextmanager
def _translating(path: Path | None) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StoreFailed(
            f"{path or 'The Engine in memory'}: {error}.",
            remedy="Check that the disk has room and that no process holds the file for long.",
        ) from None


def _private(path: Path) -> None:
    """The file is there, and its owner's alone. Raises `ConfigError`."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            path.chmod(0o600)
    except OSError as error:
        raise ConfigError(
            f"{path}: it cannot be opened for writing: {error.strerror}.",
            remedy="Name a file in a folder that this account may write to.",
        ) from None
