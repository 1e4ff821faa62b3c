"""Runs as rows of the Engine's file, which one process writes and every process reads."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from streams_engine.engine.ids import new_id
from streams_engine.engine.process_lock import is_alive
from streams_engine.engine.store import EngineStore
from streams_engine.errors import ConfigError, NotFound, ProcessLost, StateConflict
from streams_engine.events import CATEGORIES, Event
from streams_engine.lifecycle import State
from streams_engine.stats import Stats, rfc3339

__all__ = ["LogRetention", "Runs"]

Document = dict[str, Any]


PRUNED_EVERY = 200
"""After so many records the retention of the logs is looked after."""


@dataclass(frozen=True, slots=True)
class LogRetention:
    """How long the records of logs are kept, and how many; None: without limit."""

    seconds: float | None = 30 * 86_400.0
    bytes: int | None = 256 << 20


class Runs:
    """Table of runs. Thread-safe; every query first marks runs whose process has ended."""

    def __init__(self, store: EngineStore, owner: str, retention: LogRetention) -> None:
        self._store = store
        self._owner = owner
        self._retention = retention
        self._noted = 0

    # Written by the process that runs the stream

    def begin(self, stats: Stats, *, allow_concurrent: bool) -> None:
        """Write down a new run, unless the conflict rule forbids it. Raises `StateConflict`."""
        self.end_dead_runs()
        with self._store.writing():
            self.demand_idle(stats.config_id)
            self._demand_none("id = ?", stats.stream_id, "Another process has run this stream")
            if not allow_concurrent:
                paused = "ended IS NULL AND status = ?"
                self._demand_none(paused, str(State.PAUSED), "Another stream is paused")
            self._store.write(
                "INSERT INTO runs (id, config_id, owner, started, status, stats)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (stats.stream_id, stats.config_id, self._owner, time.time(), str(stats.state),
                 json.dumps(stats.to_dict())),
            )  # fmt: skip
            self._store.write("UPDATE configs SET stream = NULL WHERE id = ?", (stats.config_id,))

    def demand_idle(self, config: str) -> None:
        """Raise `StateConflict` if a run of the config has not ended."""
        self.end_dead_runs()
        running = "ended IS NULL AND config_id = ?"
        self._demand_none(running, config, "A run of this config has not ended")

    def _demand_none(self, condition: str, parameter: str, sentence: str) -> None:
        query = f"SELECT id FROM runs WHERE {condition}"
        other = self._store.value(query, (parameter,))
        if other is not None:
            raise StateConflict(
                f"{sentence}: {other}.", remedy="Resume or stop that run first.", stream=other
            )

    def moved(self, run: str, state: State) -> None:
        """Record a new state of a stream whose run has not ended."""
        self._store.write(
            "UPDATE runs SET status = ? WHERE id = ? AND ended IS NULL", (str(state), run)
        )

    def progressed(self, stats: Stats) -> None:
        """Record the stats of a run; a final state ends it."""
        document = stats.to_dict()
        self._put(stats.stream_id, stats.state, document, document["error"])

    def _put(self, run: str, state: State, stats: Document, error: Document | None) -> None:
        self._store.write(
            "UPDATE runs SET status = ?, stats = ?, error = ?, reported = ?, ended = ?"
            " WHERE id = ? AND ended IS NULL",
            (str(state), json.dumps(stats), error and json.dumps(error), time.time(),
             time.time() if state.final else None, run),
        )  # fmt: skip

    def noted(self, run: str, record: Event) -> None:
        """Record an event of a run."""
        self._store.write(
            "INSERT INTO logs (run_id, at, level, event, message, table_name, details, category)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (run, record.at, record.level, record.event, record.message, record.table,
             json.dumps(dict(record.details), default=str), record.category),
        )  # fmt: skip
        self._noted += 1
        if self._noted % PRUNED_EVERY == 0:
            self.prune_logs()

    def prune_logs(self) -> None:
        """Delete the records that are too old, and the oldest of too many.

        The newest one stays: who follows a log counts on from its number.
        """
        newest = "(SELECT max(number) FROM logs)"
        if self._retention.seconds is not None:
            self._store.write(
                f"DELETE FROM logs WHERE at < ? AND number < {newest}",
                (time.time() - self._retention.seconds,),
            )
        if self._retention.bytes is not None:
            size = "length(message) + length(details) + 100"
            self._store.write(
                f"DELETE FROM logs WHERE number < {newest} AND number <= coalesce("
                "(SELECT number FROM (SELECT number, sum("
                f"{size}) OVER (ORDER BY number DESC) AS held FROM logs)"
                " WHERE held > ? ORDER BY number DESC LIMIT 1), 0)",
                (self._retention.bytes,),
            )

    def requests(self) -> list[tuple[int, str, str, float | None]]:
        """Take what other processes asked of this process's runs, in order: number, run, command,
        and the seconds that an answer may take. Each is returned once."""
        query = (
            "SELECT number, run_id, command, seconds FROM requests JOIN runs ON runs.id = run_id"
            " WHERE owner = ? AND NOT taken ORDER BY number"
        )
        if not self._store.rows(query, (self._owner,)):
            return []
        with self._store.writing():
            taken = [tuple(row) for row in self._store.rows(query, (self._owner,))]
            for number, *_ in taken:
                self._store.write("UPDATE requests SET taken = 1 WHERE number = ?", (number,))
        return taken

    def answer(self, number: int, answer: Document) -> None:
        """Leave the answer for the process that asked."""
        self._store.write(
            "UPDATE requests SET answer = ? WHERE number = ?", (json.dumps(answer), number)
        )

    # Read and asked for by any process

    def end_dead_runs(self) -> None:
        """Mark runs as failed whose process has ended without ending them."""
        query = "SELECT DISTINCT owner FROM runs WHERE ended IS NULL AND owner <> ?"
        for row in self._store.rows(query, (self._owner,)):
            if not is_alive(self._store.path, row["owner"]):
                self._lose(row["owner"])

    def _lose(self, owner: str) -> None:
        error = ProcessLost(
            "The process that ran the stream ended before the stream did.",
            remedy="Start the config again: it resumes from its checkpoint.",
        ).to_dict()
        with self._store.writing():
            query = "SELECT * FROM runs WHERE ended IS NULL AND owner = ?"
            for row in self._store.rows(query, (owner,)):
                stats = json.loads(row["stats"])
                stats |= {"status": str(State.FAILED), "error": error}
                for node in stats["nodes"]:
                    node["stat"]["status"] = str(State.FAILED)
                self._put(row["id"], State.FAILED, stats, error)
                record = Event(time.time(), logging.ERROR, "process-lost", error["message"])
                self.noted(row["id"], record)

    def ask(self, run: str, command: str, seconds: float | None = None) -> int:
        """Leave a request for the process that runs the stream; return its number."""
        with self._store.writing():
            self._store.write(
                "DELETE FROM requests WHERE run_id = ? AND answer IS NOT NULL", (run,)
            )
            self._store.write(
                "INSERT INTO requests (run_id, command, seconds) VALUES (?, ?, ?)",
                (run, command, seconds),
            )
            return int(self._store.value("SELECT last_insert_rowid()"))

    def not_ended(self, config: str) -> list[str]:
        """Return the runs of a config that have not ended."""
        self.end_dead_runs()
        query = "SELECT id FROM runs WHERE ended IS NULL AND config_id = ?"
        return [row["id"] for row in self._store.rows(query, (config,))]

    def asked_to_stop(self, run: str) -> bool:
        """Return True if a process left the request to stop a run."""
        query = "SELECT 1 FROM requests WHERE run_id = ? AND command IN ('stop', 'force')"
        return bool(self._store.rows(query, (run,)))

    def answered(self, number: int) -> Document | None:
        """Return the answer to a request; None as long as there is none."""
        answer = self._store.value("SELECT answer FROM requests WHERE number = ?", (number,))
        return None if answer is None else dict(json.loads(answer))

    def row(self, run: str) -> Any:
        """Return the row of one run. Raises `NotFound`."""
        self.end_dead_runs()
        stored = self._store.row("SELECT * FROM runs WHERE id = ?", (run,))
        if stored is None:
            raise NotFound(
                f"There is no stream '{run}'.", remedy="streams.list() lists them all.", stream=run
            )
        return stored

    def ready(self, config: str) -> str:
        """Return the id of the stream that the next run of a config will be."""
        query = "SELECT stream FROM configs WHERE id = ?"
        known: str | None = self._store.value(query, (config,))
        if known is not None:
            return known
        with self._store.writing():
            known = self._store.value(query, (config,))
            if known is not None:
                return known
            made = new_id("stream")
            self._store.write("UPDATE configs SET stream = ? WHERE id = ?", (made, config))
            return made

    def latest(self, config: str) -> Document | None:
        """Return the newest run of a config in short; None if it never ran."""
        row = self._store.row(
            "SELECT id, status, started, ended, error FROM runs WHERE config_id = ?"
            " ORDER BY started DESC, id DESC LIMIT 1",
            (config,),
        )
        if row is None:
            return None
        return {
            "id": row["id"],
            "status": row["status"],
            "started": _moment(row["started"]),
            "ended": _moment(row["ended"]),
            "error": row["error"] and json.loads(row["error"]),
        }

    def delete_all(self) -> int:
        """Delete all runs with their logs; return how many. Raises `StateConflict` while one has
        not ended."""
        self.end_dead_runs()
        with self._store.writing():
            self._demand_none("ended IS NULL AND ?", "1", "A run has not ended")
            return self._store.write("DELETE FROM runs")

    def delete_logs(self) -> int:
        """Delete the log records; return how many.

        The newest one of each run that has not ended stays: who follows counts on from its number.
        """
        return self._store.write(
            "DELETE FROM logs WHERE number NOT IN (SELECT max(number) FROM logs WHERE run_id IN"
            " (SELECT id FROM runs WHERE ended IS NULL) GROUP BY run_id)"
        )

    def stats(self, run: str) -> Document:
        """Return the stats document of a run's last report."""
        stats: Document = json.loads(self.row(run)["stats"])
        return stats

    def document(self, run: str) -> Document:
        """Return the document of one run."""
        return shown(self.row(run))

    def documents(self, config: str | None = None) -> list[Document]:
        """Return all runs, or those of a config, newest first."""
        self.end_dead_runs()
        where = "" if config is None else "WHERE config_id = ?"
        query = f"SELECT * FROM runs {where} ORDER BY started DESC, id DESC"
        return [shown(row) for row in self._store.rows(query, () if config is None else (config,))]

    def present(self) -> Iterator[tuple[str, Document, float]]:
        """Yield id, stats document and seconds since the last report of each config's newest
        run."""
        self.end_dead_runs()
        query = (
            "SELECT * FROM runs AS one WHERE id = (SELECT id FROM runs WHERE config_id ="
            " one.config_id ORDER BY started DESC, id DESC LIMIT 1) ORDER BY started"
        )
        for row in self._store.rows(query):
            silent = max(0.0, time.time() - (row["reported"] or row["started"]))
            yield row["id"], json.loads(row["stats"]), silent

    def records(
        self,
        run: str | None,
        after: int,
        level: str | None,
        table: str | None,
        category: str | None = None,
    ) -> Iterator[tuple[int, Document]]:
        """Yield (number, record) of a run's log, or of all logs, after a number, in order.

        Raises `ConfigError` for a level or category that does not exist.
        """
        lowest = logging.NOTSET if level is None else _level(level)
        if category is not None and category not in CATEGORIES:
            raise ConfigError(
                f"category: unknown category '{category}'; expected one of "
                f"{', '.join(CATEGORIES)}.",
                path="category",
            )
        query = (
            "SELECT * FROM logs WHERE (? IS NULL OR run_id = ?) AND number > ? AND level >= ?"
            " AND (? IS NULL OR table_name = ?) AND (? IS NULL OR category = ?) ORDER BY number"
        )
        chosen = (run, run, after, lowest, table, table, category, category)
        for row in self._store.rows(query, chosen):
            record = Event(
                row["at"], row["level"], row["event"], row["message"], row["table_name"],
                json.loads(row["details"]), row["run_id"], row["category"],
            )  # fmt: skip
            yield row["number"], record.to_dict()


def shown(row: Any) -> Document:
    """Return the document that lists a run: its rows and bytes are durable on the target."""
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
        raise ConfigError(
            f"level: unknown level '{name}'; expected one of {', '.join(known)}.", path="level"
        )
    return known[name.upper()]
