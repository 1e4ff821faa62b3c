"""What an `Engine` tells of all its streams together: logs, health and metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from streams_engine.engine.lists import Conditions, Page, list_request
from streams_engine.engine.runs import Runs
from streams_engine.health import health_of, worst
from streams_engine.metrics import exposition

__all__ = ["RECORD_KEYS", "Monitoring"]

Document = dict[str, Any]

RECORD_KEYS = ("time", "level", "category", "stream", "event", "message", "table", "details")
"""What log records are filtered and sorted by."""


class Monitoring:
    """Looks at the runs of every process. Thread-safe."""

    def __init__(self, runs: Runs, stats: Callable[[str], Document]) -> None:
        """``stats`` returns the present stats document of a run."""
        self._runs = runs
        self._stats = stats

    def logs(
        self,
        level: str | None,
        table: str | None,
        category: str | None,
        limit: int | None,
        offset: int,
        filters: Conditions,
        sort: Conditions,
        stream: str | None = None,
    ) -> Page:
        """Return a page of the records of one stream, or of all."""
        found = self._runs.records(stream, 0, level, table, category)
        records = (record for _, record in found)
        return list_request(limit, offset, filters, sort).page(records, RECORD_KEYS)

    def health(self) -> Document:
        """Return the health of each config's newest run, and the worst of them."""
        found = {run: health_of(self._stats(run)) for run, _, _ in self._runs.present()}
        return {
            "status": worst(health.status for health in found.values()),
            "streams": {run: health.to_dict() for run, health in found.items()},
        }

    def metrics(self) -> str:
        """Return the metrics of each config's newest run."""
        present = self._runs.present()
        return exposition([(self._stats(run), silent) for run, _, silent in present])
