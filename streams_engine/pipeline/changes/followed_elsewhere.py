"""Wait for a stream that another process runs, by the positions that it records."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from streams_engine.contracts.change_log import WatchedSource
from streams_engine.errors import StateConflict
from streams_engine.pipeline.changes.subscriptions import change_source
from streams_engine.pipeline.checkpoint import CheckpointStore
from streams_engine.pipeline.checkpoint_records import LogRecord
from streams_engine.pipeline.context import RunContext

__all__ = ["FollowedElsewhere"]

LOOK_SECONDS = 0.2
UNREAD_SECONDS = 3.0
"""How long nobody reads a log until the stream counts as not running: it may be connecting anew."""
UNSEEN_SECONDS = 12.0
"""The same where not all readers are seen: an idle stream records its position every 10 seconds."""


@dataclass(frozen=True)
class FollowedElsewhere:
    """A stream that some process follows. An idle one records its position every few seconds."""

    context: RunContext
    seconds: float
    wait: Callable[[float], object] = field(default_factory=lambda: threading.Event().wait)

    def catch_up(self) -> bool:
        """Wait until all that is committed on the sources by now is durable on the target. Return
        False if that takes too long. Raises `StateConflict` where nobody reads the log."""
        store = CheckpointStore(self.context.checkpoints, self.context.job.name)
        sources = {one.alias: change_source(one) for one in self.context.sources}
        ends = {alias: source.end() for alias, source in sources.items()}
        read = time.monotonic()
        deadline = read + self.seconds
        before: dict[str, LogRecord | None] | None = None
        while True:
            records = store.load()
            logs = {alias: records.log(alias) for alias in sources}
            if all(
                log is not None
                and not records.has_pending_ddl(alias)
                and sources[alias].at_or_after(log.position, ends[alias])
                for alias, log in logs.items()
            ):
                return True
            if time.monotonic() > deadline:
                return False
            seen = [_is_read(source) for source in sources.values()]
            if all(seen) or logs != before:
                read = time.monotonic()
            before = logs
            if time.monotonic() - read > (UNREAD_SECONDS if False in seen else UNSEEN_SECONDS):
                raise StateConflict(
                    f"No process follows the stream '{self.context.job.name}': it is not running, "
                    "for nobody reads the log of its source.",
                    remedy="Start the stream; or verify without live.",
                )
            self.wait(LOOK_SECONDS)

    def demand_followed(self) -> None:
        """Raise `StateConflict` unless the stream catches up: nobody runs it."""
        if not self.catch_up():
            raise StateConflict(
                f"No process follows the stream '{self.context.job.name}', or it did not catch up "
                f"within {self.seconds:.0f} seconds.",
                remedy="Start the stream, or wait until its lag is small; or verify without live.",
            )


def _is_read(source: object) -> bool | None:
    return source.is_read() if isinstance(source, WatchedSource) else True
