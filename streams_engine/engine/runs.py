"""Runs as rows of the Engine's file: what one process writes down, and every process reads."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from streams_engine.engine.owning import is_alive
from streams_engine.engine.store import Store
from streams_engine.errors import ConfigError, NotFound, ProcessLost, StateConflict
from streams_engine.journal import Record
from streams_engine.lifecycle import State
from streams_engine.stats import Stats, rfc3339

__all__ = ["Runs"]

Document = dict[str, Any]


class Runs:
    """The table of runs. Thread-safe; every look first settles runs whose process is gone."""

    def __init__(self, store: Store, owner: str) -> None:
        self._store = store
        self._owner = owner

    # Written by the process that runs the stream

    def begin(self, stats: Stats, *, allow_concurrent: bool) -> None:
        """Write down a new run, unless the conflict rule forbids it. Raises `StateConflict`."""
        self.settle()
        with self._store.writing():
            self.demand_idle(stats.config_id)
            if not allow_concurrent:
                self._demand_none("status = ?", str(State.PAUSED), "Another stream is paused")
            self._store.write(
                "INSERT INTO runs (id, config_id, owner, started, status, stats)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (stats.stream_id, stats.config_id, self._owner, time.time(), str(stats.state),
                 json.dumps(stats.to_dict())),
            )  # fmt: skip

    def demand_idle(self, config: str) -> None:
        """Raises `StateConflict` where a run of the config is under way."""
        self.settle()
        self._demand_none("config_id = ?", config, "A run of this config is under way")

    def _demand_none(self, condition: str, parameter: str, sentence: str) -> None:
        query = f"SELECT id FROM runs WHERE ended IS NULL AND {condition}"
        found = self._store.value(query, (parameter,))
        if found is not None:
            raise StateConflict(
                f"{sentence}: {found}.", remedy="Resume or stop that one first.", stream=found
            )

    def moved(self, run: str, state: State) -> None:
        """The stream is in another state, which is not yet the end of its run."""
        self._store.write(
            "UPDATE runs SET status = ? WHERE id = ? AND ended IS NULL", (str(state), run)
        )

    def progressed(self, stats: Stats) -> None:
        """How far a run is; with a final state it has ended."""
        document = stats.to_dict()
        self._put(stats.stream_id, stats.state, document, document["error"])

    def _put(self, run: str, state: State, stats: Document, error: Document | None) -> None:
        self._store.write(
            "UPDATE runs SET status = ?, stats = ?, error = ?, ended = ?"
            " WHERE id = ? AND ended IS NULL",
            (str(state), json.dumps(stats), error and json.dumps(error),
             time.time() if state.final else None, run),
        )  # fmt: skip

    def noted(self, run: str, record: Record) -> None:
        """Something happened in a run."""
        self._store.write(
            "INSERT INTO logs (run_id, at, level, event, message, table_name, details)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (run, record.at, record.level, record.event, record.message, record.table,
             json.dumps(dict(record.details), default=str)),
        )  # fmt: skip

    def commands(self) -> list[tuple[str, str]]:
        """(run, command) of what other processes asked of this one's runs; each is given once."""
        query = "SELECT id, wanted FROM runs WHERE owner = ? AND wanted IS NOT NULL"
        if not self._store.rows(query, (self._owner,)):
            return []
        with self._store.writing():
            found = [(row["id"], row["wanted"]) for row in self._store.rows(query, (self._owner,))]
            self._store.write("UPDATE runs SET wanted = NULL WHERE owner = ?", (self._owner,))
        return found

    # Read and asked for by any process

    def settle(self) -> None:
        """Mark the runs that their process left behind: FAILED, with the code PROCESS_LOST."""
        query = "SELECT DISTINCT owner FROM runs WHERE ended IS NULL AND owner <> ?"
        for row in self._store.rows(query, (self._owner,)):
            if not is_alive(self._store.path, row["owner"]):
                self._lose(row["owner"])

    def _lose(self, owner: str) -> None:
        error = ProcessLost(
            "The process that ran the stream ended without ending it.",
            remedy="Start the config again: it goes on from its checkpoint.",
        ).to_dict()
        with self._store.writing():
            query = "SELECT * FROM runs WHERE ended IS NULL AND owner = ?"
            for row in self._store.rows(query, (owner,)):
                stats = json.loads(row["stats"])
                stats |= {"status": str(State.FAILED), "error": error}
                for node in stats["nodes"]:
                    node["stat"]["status"] = str(State.FAILED)
                self._put(row["id"], State.FAILED, stats, error)
                record = Record(time.time(), logging.ERROR, "process-lost", error["message"])
                self.noted(row["id"], record)

    def ask(self, run: str, command: str) -> None:
        """Leave a command for the process whose run it is."""
        self._store.write("UPDATE runs SET wanted = ? WHERE id = ?", (command, run))

    def row(self, run: str) -> Any:
        """One run's row. Raises `NotFound`."""
        self.settle()
        found = self._store.row("SELECT * FROM runs WHERE id = ?", (run,))
        if found is None:
            raise NotFound(
                f"There is no stream '{run}'.", remedy="streams.list() has them all.", stream=run
            )
        return found

    def stats(self, run: str) -> Document:
        """The stats document of a run's last report."""
        found: Document = json.loads(self.row(run)["stats"])
        return found

    def document(self, run: str) -> Document:
        """One run."""
        return shown(self.row(run))

    def documents(self, config: str | None = None) -> list[Document]:
        """All runs, or those of a config, the newest first."""
        self.settle()
        where = "" if config is None else "WHERE config_id = ?"
        query = f"SELECT * FROM runs {where} ORDER BY started DESC, id DESC"
        return [shown(row) for row in self._store.rows(query, () if config is None else (config,))]

    def records(
        self, run: str, after: int, level: str | None, table: str | None, limit: int | None
    ) -> Iterator[tuple[int, Document]]:
        """(number, record) of a run's log after a number, in order; the last ``limit`` of them."""
        lowest = logging.NOTSET if level is None else _level(level)
        query = (
            "SELECT * FROM logs WHERE run_id = ? AND number > ? AND level >= ?"
            " AND (? IS NULL OR table_name = ?) ORDER BY number DESC LIMIT ?"
        )
        count = -1 if limit is None else limit
        for row in reversed(self._store.rows(query, (run, after, lowest, table, table, count))):
            record = Record(
                row["at"], row["level"], row["event"], row["message"], row["table_name"],
                json.loads(row["details"]),
            )  # fmt: skip
            yield row["number"], record.to_dict()


def shown(row: Any) -> Document:
    """A run as it is listed: rows and bytes are those that are durable on the target."""
    stats = json.loads(row["stats"])
    target = next(node["stat"] for node in stats["nodes"] if node["type"] == "target")
    return {
        "id": row["id"],
        "configID": row["config_id"],
        "name": stats["name"],
        "status": row["status"],
        "started": _moment(row["started"]),
        "ended": _moment(row["ended"]),
        "rows": target["counter"],
        "quarantined": target["failedCounter"],
        "bytes": target["sumDataSize"],
        "error": row["error"] and json.loads(row["error"]),
    }


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else rfc3339(datetime.fromtimestamp(seconds, UTC))


def _level(name: str) -> int:
    known = logging.getLevelNamesMapping()
    if name.upper() not in known:
        raise ConfigError(f"level: '{name}' is none of {', '.join(known)}.", path="level")
    return known[name.upper()]
