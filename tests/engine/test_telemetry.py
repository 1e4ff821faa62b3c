"""What OpenTelemetry is told of a stream."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from streams_engine import Stream
from streams_engine.errors import StreamsError
from streams_engine.telemetry import instrument


class Told:
    """Providers that keep what they are told."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader])
        self.spans = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.spans))

    def values(self) -> dict[tuple[str, str], Any]:
        data = self.reader.get_metrics_data()
        return {
            (metric.name, str(point.attributes.get("streams_engine.table", ""))): point.value
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
        }


@pytest.fixture
def told() -> Iterator[Told]:
    found = Told()
    yield found
    found.meters.shutdown()
    found.tracers.shutdown()


def test_a_run_is_counted_and_traced(told: Told, tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text("id\n1\n2\n3\n")
    stream = Stream(str(tmp_path), str(tmp_path / "out"), name="copy", tables=["orders"])
    instrument(stream, meter_provider=told.meters, tracer_provider=told.tracers)
    stream.run()
    values = told.values()
    assert values["streams_engine.rows", "orders"] == 3
    assert values["streams_engine.bytes", "orders"] > 0
    (span,) = told.spans.get_finished_spans()
    assert span.name == "streams_engine.run"
    assert dict(span.attributes or {}) == {
        "streams_engine.stream": "copy", "streams_engine.state": "FINISHED",
    }  # fmt: skip
    assert "state" in [event.name for event in span.events]


def test_a_failure_is_the_spans_status(told: Told, tmp_path: Path) -> None:
    stream = Stream(str(tmp_path / "nothing"), str(tmp_path / "out"), tables=["orders"])
    instrument(stream, meter_provider=told.meters, tracer_provider=told.tracers)
    with pytest.raises(StreamsError) as failed:
        stream.run()
    (span,) = told.spans.get_finished_spans()
    assert not span.status.is_ok
    assert span.status.description == failed.value.code


def test_nothing_is_imported_unless_it_is_asked_for() -> None:
    code = (
        "import sys, streams_engine, streams_engine.engine.core\n"
        "print(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
