"""The stream that a command opens is a scripted one."""

from __future__ import annotations

import pytest

from streams_engine.cli import arguments
from tests.support.fake_stream import FakeStream


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeStream:
    """The stream that the next command opens."""
    stream = FakeStream()

    def open_stream(request: arguments.Arguments) -> FakeStream:
        stream.request = request
        arguments.document(request)
        return stream

    monkeypatch.setattr(arguments, "open_stream", open_stream)
    return stream
