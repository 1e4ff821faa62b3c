"""Stats in Prometheus' text format (extra ``metrics``): prometheus-client, and nothing of it unless
it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from streams_engine.errors import ConfigError
from streams_engine.lifecycle import State

__all__ = ["exposition"]

Document = Mapping[str, Any]

PREFIX = "streams_engine"
PHASES = ("checking", "waiting", "structure", "copying", "indexing", "following", "done")
COUNTED: Mapping[str, tuple[str, str]] = {
    "rows": ("rows", "Rows, or row changes, that are durable on the target."),
    "failed": ("rows_quarantined", "Rows that were quarantined."),
    "bytes": ("bytes", "Bytes of rows that are durable on the target."),
}
"""Keys of a table in the stats document: counters by stream and table."""
CHANGES: Mapping[str, tuple[str, str, bool]] = {
    "transactions": ("transactions", "Transactions of the source that are durable.", True),
    "reconnects": ("reconnects", "Waits for a server or a lock that are over.", True),
    "unmet": ("unmatched", "Updates and deletes whose row was not on the target.", True),
    "lagBytes": ("lag_bytes", "Bytes of log after the durable position.", False),
    "lagSeconds": ("lag_seconds", "Age of the oldest commit that is, or may be, missing.", False),
    "retainedBytes": ("retained_bytes", "Bytes of log that the source retains.", False),
}
"""Keys of a cdc's changes: counters or gauges by stream."""


def exposition(runs: Iterable[tuple[Document, float]]) -> str:
    """Return the metrics of runs, each a stats document and the seconds since its last report.

    Raises `ConfigError` if prometheus-client is not installed.
    """
    try:
        from prometheus_client import CollectorRegistry, generate_latest
    except ImportError:
        raise ConfigError(
            "prometheus-client is not installed.",
            remedy="pip install 'streams-engine[metrics]'",
        ) from None
    registry = CollectorRegistry()
    registry.register(_Collector(list(runs)))
    return generate_latest(registry).decode()


class _Collector:
    """Metrics of some runs, as the client's registry asks for them."""

    def __init__(self, runs: list[tuple[Document, float]]) -> None:
        self._runs = runs

    def collect(self) -> Iterator[Any]:
        """Yield each metric with its samples."""
        yield from self._sets()
        yield from self._tables()
        yield from self._changes()
        silent = self._gauge("seconds_since_report", "Seconds since the last report.")
        for stats, seconds in self._runs:
            silent.add_metric([stats["name"]], max(0.0, seconds))
        yield silent

    def describe(self) -> Iterable[Any]:
        """Return nothing: a registry of one collector needs no names before."""
        return ()

    def _gauge(self, name: str, told: str, *labels: str) -> Any:
        from prometheus_client.core import GaugeMetricFamily

        return GaugeMetricFamily(f"{PREFIX}_{name}", told, labels=("stream", *labels))

    def _counter(self, name: str, told: str, *labels: str) -> Any:
        from prometheus_client.core import CounterMetricFamily

        return CounterMetricFamily(f"{PREFIX}_{name}", told, labels=("stream", *labels))

    def _sets(self) -> Iterator[Any]:
        """Yield state and phase: 1 for the present one, 0 for the others."""
        sets = (("state", "status", [str(s) for s in State]), ("phase", "phase", list(PHASES)))
        for name, key, values in sets:
            family = self._gauge(name, f"1 for the {name} of the stream.", name)
            for stats, _ in self._runs:
                for value in values:
                    family.add_metric([stats["name"], value], float(stats[key] == value))
            yield family
        waits = self._gauge("waiting", "1 while a server or a lock is waited for.")
        for stats, _ in self._runs:
            waits.add_metric([stats["name"]], float(stats["connection"]["state"] == "waiting"))
        yield waits

    def _tables(self) -> Iterator[Any]:
        for key, (name, told) in COUNTED.items():
            family = self._counter(name, told, "table")
            for stats, _ in self._runs:
                for table in stats["tables"]:
                    family.add_metric([stats["name"], table["name"]], table[key])
            yield family

    def _changes(self) -> Iterator[Any]:
        for key, (name, told, counts) in CHANGES.items():
            family = (self._counter if counts else self._gauge)(name, told)
            for stats, _ in self._runs:
                value = (stats.get("changes") or {}).get(key)
                if value is not None:
                    family.add_metric([stats["name"]], value)
            yield family
