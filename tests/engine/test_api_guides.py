"""Every request body of the guides of the API that this replaces, unchanged, through `Engine`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from streams_engine import Engine

BODIES = re.compile(r"-d '(\{.*?\})'", re.S)


@pytest.fixture(scope="module")
def bodies() -> list[dict[str, Any]]:
    folder = Path(__file__).parents[3] / "shared" / "api-guides"
    if not folder.is_dir():
        pytest.skip("the guides beside the project (../shared/api-guides) are not here")
    texts = [path.read_text() for path in sorted(folder.glob("*.txt"))]
    return [json.loads(body, strict=False) for text in texts for body in BODIES.findall(text)]


def test_every_body_goes_through_unchanged(bodies: list[dict[str, Any]]) -> None:
    connections = [body for body in bodies if "type" in body]
    configs = [body for body in bodies if "mode" in body]
    assert len(connections) >= 8
    assert len(configs) >= 5
    for body in connections:
        with Engine() as engine:
            made = engine.connections.create(body)
            assert {"id", "created", "name", "type"} <= made.keys()
            assert (made["name"], made["type"]) == (body["name"], body["type"].lower())
            assert "password" not in json.dumps(made)
            assert engine.connections.get(made["id"]) == made
    with Engine() as engine:
        types = {"SOURCE": "mysql", "1": "mysql", "FILES": "files", "TARGET": "postgresql"}
        for name in {name for body in configs for name in named(body)}:
            kind = next((k for word, k in types.items() if word in name), "postgresql")
            chosen = next(body for body in connections if body["type"].lower() == kind)
            engine.connections.create(chosen | {"name": name})
        for body in configs:
            made = engine.configs.create(body)
            assert made["name"] == f"{body['name']}_{made['id'][-5:]}"
            assert made["mode"] == body["mode"]
            assert engine.configs.get(made["id"]) == made


def named(body: dict[str, Any]) -> list[str]:
    """What a config calls its connections."""
    if isinstance(body["source"], str):
        return [body["source"], body["target"]]
    return [c["connectionId"] for c in body["source"]["connections"]] + [body["target"]["id"]]
