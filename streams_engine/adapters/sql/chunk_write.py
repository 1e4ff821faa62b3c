"""Write one chunk: rows and record in one transaction, whose end is known even if its answer is
lost."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from streams_engine.adapters.sql.checkpoint_table import CheckpointTable
from streams_engine.adapters.sql.polling import attempts
from streams_engine.adapters.sql.pool import ConnectionPool
from streams_engine.contracts import (
    CheckpointCallback,
    Fence,
    QuarantinedRow,
    WritePlan,
    WriteResult,
)
from streams_engine.errors import ConnectionFailed, StreamsError

__all__ = ["BulkLoad", "ChunkWriter"]

SETTLE_SECONDS = 30
"""How long the end of a transaction is asked for, where the answer to its commit was lost."""

ASK_SECONDS = 0.2
"""The pause between two questions."""


class BulkLoad(Protocol):
    """Loads the rows of one write within the caller's transaction. Used by one thread."""

    rows: int
    bytes: int
    quarantined: list[QuarantinedRow]

    def prepare(self) -> None:
        """Do what cannot be done within the transaction."""

    def run(self, rows: Iterator[Any]) -> None:
        """Load all rows. Raises `RowRejected`, and the driver's errors."""


@dataclass(frozen=True, slots=True)
class ChunkWriter:
    """Writes chunks over the pool's connections. Safe to use from many threads."""

    pool: ConnectionPool[Any]
    state: CheckpointTable[Any]
    load: Callable[[Any, WritePlan], BulkLoad]
    is_lost: Callable[[Any, Exception], bool]
    """Return True if the connection broke, so that a commit may have happened."""
    fresh: Callable[[], AbstractContextManager[Any]]
    """A connection to ask over. Raises `StreamsError` if there is none."""
    settle_seconds: float = SETTLE_SECONDS
    ask_seconds: float = ASK_SECONDS

    def write(
        self,
        stream: str,
        plan: WritePlan,
        rows: Iterator[Any],
        make_checkpoint: CheckpointCallback,
        fence: Fence | None = None,
    ) -> WriteResult:
        """Load all rows and their checkpoint record in one transaction, only if the fence holds.

        Raises `FencedOff`, `RowRejected`, and the server's errors.
        """
        state, translating = self.state, self.pool.driver.translating
        with self.pool.lend() as connection, self.pool.undoing(connection):
            load = self.load(connection, plan)
            with translating(f"loading {plan.table}"):
                load.prepare()
                attempt = state.begin(connection)
                if fence is not None:
                    state.enter(connection, stream, fence)
                load.run(rows)
            checkpoint = make_checkpoint()
            quarantined = (*checkpoint.quarantined, *load.quarantined)
            run = checkpoint.run if fence is None else fence.run
            state.record(connection, stream, checkpoint, quarantined, attempt, run)
            self._commit(connection, stream, checkpoint.key, attempt, f"committing {plan.table}")
        return WriteResult(load.rows, len(quarantined), load.bytes)

    def _commit(self, connection: Any, stream: str, key: str, attempt: str, what: str) -> None:
        """Commit; if the answer is lost, ask the server whether the commit happened."""
        self.pool.demand_open()  # a cancel that came between two statements ended none of them
        driver = self.pool.driver
        with driver.translating(what):
            try:
                connection.commit()
            except driver.errors as error:
                lost = self.is_lost(connection, error)
                if not lost or not self._committed(stream, key, attempt, what):
                    raise

    def _committed(self, stream: str, key: str, attempt: str, what: str) -> bool:
        """Ask how a transaction ended until the server is through with it."""
        for _ in attempts(self.settle_seconds, self.ask_seconds):
            if self.pool.closed:
                break
            with (
                contextlib.suppress(StreamsError),
                self.pool.driver.translating(what),
                self.fresh() as connection,
            ):
                ended = self.state.tables.committed(connection, stream, key, attempt)
                if ended is not None:
                    return bool(ended)
        raise ConnectionFailed(
            f"{what}: the connection broke during a commit, and whether it succeeded is unknown.",
            remedy=(
                "Start the stream again when the server answers: the checkpoint shows what "
                "is committed."
            ),
        )
