"""The SQLite file of an `Engine`: its tables, migrations and transactions.

Several processes may open it: the journal is WAL, a writer waits for another writer, and nothing
that was read is cached.
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

__all__ = ["EngineStore", "demand_confirmed"]

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
    """
    ALTER TABLE configs ADD COLUMN stream TEXT
    """,
    """
    CREATE TABLE requests (
        number INTEGER PRIMARY KEY, run_id TEXT NOT NULL REFERENCES runs ON DELETE CASCADE,
        command TEXT NOT NULL, seconds REAL, taken INTEGER NOT NULL DEFAULT 0, answer TEXT
    ) STRICT
    """,
    """
    ALTER TABLE logs ADD COLUMN category TEXT NOT NULL DEFAULT 'general';
    CREATE INDEX logs_by_time ON logs (at);
    ALTER TABLE runs ADD COLUMN reported REAL
    """,
)
"""Each brings the schema one version on; PRAGMA user_version counts them."""


class EngineStore:
    """Rows in one SQLite file, or in memory. Thread-safe: one connection under one lock."""

    def __init__(self, path: Path | None) -> None:
        """Open the file, creating it with mode 0600 if it does not exist.

        Raises `ConfigError` if it is not an Engine's file, or was written by a newer version.
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
                f"{path}: SQLite cannot use this file for an Engine: {error}.",
                remedy="Name another file, or one that an Engine created.",
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
                    f"{self.path}: this SQLite file belongs to another application.",
                    remedy="Name another file, or one that an Engine created.",
                )
            version = self.value("PRAGMA user_version")
            if version > len(MIGRATIONS):
                raise ConfigError(
                    f"{self.path}: a newer version of streams_engine wrote this file.",
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
        """Run the block in one transaction, with no other process writing. Raises `StoreFailed`."""
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
            raise StateConflict("The Engine is closed.", remedy="Create a new Engine.")

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """Return all rows of a query. Raises `StoreFailed`."""
        self._demand_open()
        with self._lock, _translating(self.path):
            return self._connection.execute(query, parameters).fetchall()

    def row(self, query: str, parameters: Sequence[Any] = ()) -> sqlite3.Row | None:
        """Return the first row of a query, or None."""
        return next(iter(self.rows(query, parameters)), None)

    def value(self, query: str, parameters: Sequence[Any] = ()) -> Any:
        """Return the first column of the first row, or None."""
        first = self.row(query, parameters)
        return None if first is None else first[0]

    def write(self, statement: str, parameters: Sequence[Any] = ()) -> int:
        """Run one statement; how many rows it touched."""
        with self.writing():
            return self._connection.execute(statement, parameters).rowcount

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._closed = True
        with self._lock, contextlib.suppress(AttributeError):
            self._connection.close()


def demand_confirmed(confirm: bool, sentence: str) -> None:
    """Demand that what destroys much was meant. Raises `ConfigError` without ``confirm=True``."""
    if confirm is not True:
        raise ConfigError(sentence, path="confirm", remedy="Say confirm=True.")


@contextlib.contextmanager
def _translating(path: Path | None) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StoreFailed(
            f"{path or 'The Engine in memory'}: {error}.",
            remedy="Check that the disk has space and that no process locks the file for long.",
        ) from None


def _private(path: Path) -> None:
    """Create the file if needed, and make it readable by its owner only. Raises `ConfigError`."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            path.chmod(0o600)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot open the file for writing: {error.strerror}.",
            remedy="Name a file in a folder that this account may write to.",
        ) from None
