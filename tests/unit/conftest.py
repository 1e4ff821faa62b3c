"""Documents that tests of the parsers play are played against the JSON Schemas as well."""

from __future__ import annotations

import pytest

from streams_engine import stream
from tests.support.schema_play import played

PLAYED = ("test_config", "test_contradictions", "test_product_documents")


@pytest.fixture(autouse=True)
def _played(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    module = request.module
    if module.__name__.rpartition(".")[2] not in PLAYED:
        return
    for name, schema in (("parse_config", "stream"), ("parse_connection", "connection")):
        monkeypatch.setattr(module, name, played(schema, getattr(module, name)))
    monkeypatch.setattr(stream, "parse_config", played("stream", stream.parse_config))
