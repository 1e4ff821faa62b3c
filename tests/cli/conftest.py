"""The stream that a command opens is a scripted one."""

from __future__ import annotations

import pytest
from fake_stream import FakeStream

from streams_engine.cli import opening


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeStream:
    """The stream that the next command opens."""
    stream = FakeStream()

    def open_stream(request: opening.Request) -> FakeStream:
        stream.request = request
        opening.document(request)
        return stream

    monkeypatch.setattr(opening, "open_stream", open_stream)
    return stream
