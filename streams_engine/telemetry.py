"""OpenTelemetry metrics and traces of a stream (extra ``telemetry``): opentelemetry-api alone.

Nothing is imported or counted unless `instrument` is called. Where the application has set no
provider up, the API's own ones do nothing.

Metrics, with the attribute ``streams_engine.stream``, and by ``streams_engine.table`` where said:
``streams_engine.rows``, ``streams_engine.rows.rejected`` and ``streams_engine.bytes`` (counters by
table), ``streams_engine.transactions`` (counter), ``streams_engine.lag.bytes``,
``streams_engine.lag.seconds`` and ``streams_engine.retained.bytes`` (gauges of a cdc).
A run is the span ``streams_engine.run``; what its journal notes are events of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streams_engine.errors import ConfigError
from streams_engine.events import Event
from streams_engine.lifecycle import State
from streams_engine.stats import Stats
from streams_engine.stream import Stream

__all__ = ["instrument"]

SCOPE = "streams_engine"
COUNTED: Mapping[str, str] = {
    "rows": "rows",
    "rejected": "rows.rejected",
    "bytes": "bytes",
}
"""Fields of `TableStats`, and the counters that they add to."""
LAGS: Mapping[str, str] = {
    "lag_bytes": "lag.bytes",
    "lag_seconds": "lag.seconds",
    "retained_bytes": "retained.bytes",
}
"""Fields of `ChangeStats`, and their gauges."""


def instrument(stream: Stream, *, meter_provider: Any = None, tracer_provider: Any = None) -> None:
    """Count and trace a stream that is READY; None: the application's global providers.

    Raises `ConfigError` if opentelemetry-api is not installed. What it does runs on the
    stream's own callbacks: at each reporting interval, and at the end.
    """
    try:
        from opentelemetry import metrics, trace
    except ImportError:
        raise ConfigError(
            "OpenTelemetry is not installed.", remedy="pip install 'streams-engine[telemetry]'"
        ) from None
    meter = metrics.get_meter(SCOPE, meter_provider=meter_provider)
    tracer = trace.get_tracer(SCOPE, tracer_provider=tracer_provider)
    observer = _Observer(stream.name, meter, tracer, trace.StatusCode.ERROR)
    stream.on_state(observer.moved)
    stream.on_progress(observer.progressed)
    stream.on_record(observer.noted)


class _Observer:
    """One stream's instruments, and how far they have been told."""

    def __init__(self, stream: str, meter: Any, tracer: Any, failed: Any) -> None:
        self._stream = {f"{SCOPE}.stream": stream}
        self._tracer = tracer
        self._failed = failed
        self._span: Any = None
        self._told: dict[tuple[str, str], int] = {}
        self._counters = {
            field: meter.create_counter(f"{SCOPE}.{name}", unit="By" if field == "bytes" else "1")
            for field, name in COUNTED.items()
        }
        self._transactions = meter.create_counter(f"{SCOPE}.transactions")
        self._gauges = {
            field: meter.create_gauge(
                f"{SCOPE}.{name}", unit="s" if field == "lag_seconds" else "By"
            )
            for field, name in LAGS.items()
        }

    def moved(self, _: State, new: State) -> None:
        """Begin the span when the stream runs, and end it with the stream."""
        if new is State.RUNNING and self._span is None:
            self._span = self._tracer.start_span(f"{SCOPE}.run", attributes=self._stream)

    def noted(self, record: Event) -> None:
        """Add an event to the span."""
        if self._span is not None:
            table = {} if record.table is None else {f"{SCOPE}.table": record.table}
            self._span.add_event(record.event, {"message": record.message, **table})

    def progressed(self, stats: Stats) -> None:
        """Add what is new since the last report; a final one ends the span."""
        for table in stats.tables:
            attributes = {**self._stream, f"{SCOPE}.table": table.table}
            for field, counter in self._counters.items():
                self._add(counter, (field, table.table), getattr(table, field), attributes)
        changes = stats.changes
        if changes is not None:
            self._add(self._transactions, ("", ""), changes.transactions, self._stream)
            for field, gauge in self._gauges.items():
                value = getattr(changes, field)
                if value is not None:
                    gauge.set(value, self._stream)
        if stats.state.final and self._span is not None:
            self._span.set_attribute(f"{SCOPE}.state", str(stats.state))
            if stats.error is not None:
                self._span.set_status(self._failed, stats.error["code"])
            self._span.end()
            self._span = None

    def _add(
        self, counter: Any, key: tuple[str, str], value: int, attributes: Mapping[str, str]
    ) -> None:
        more = value - self._told.get(key, 0)
        if more > 0:
            counter.add(more, attributes)
            self._told[key] = value
