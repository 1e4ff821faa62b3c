"""The contract for machines: schemas, typed dictionaries, the OpenAPI document."""

from __future__ import annotations

import json
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate as validate_openapi

import streams_engine
from streams_engine import ConfigError, Engine, State, Stream
from streams_engine.api import inputs, outputs
from streams_engine.api.openapi import OPERATIONS, Operation, answer_schema
from streams_engine.config import parse_config
from tests.support import input_types
from tests.support.schema_play import played, validator


def test_every_schema_is_one() -> None:
    known = streams_engine.schemas()
    assert {"connection", "stream", "stats", "error", "report"} <= known.keys()
    for schema in known.values():
        Draft202012Validator.check_schema(schema)


def test_every_key_is_described() -> None:
    definitions = streams_engine.schemas()["stream"]["$defs"]
    options = definitions["Options"]["properties"]
    assert "Bytes, or a text such as" in options["memoryBudget"]["description"]
    silent = [key for key, value in options.items() if not value.get("description")]
    assert not silent


@pytest.mark.parametrize("document", [
    {"mode": "convert", "source": {"connections": [{"connection": "/in"}]}},
    {"mode": "convert", "target": {"connection": "/out"}, "source": {"connections": []}},
    {"mode": "copy", "source": "a", "target": "b"},
    {"mode": "convert", "source": "a", "target": "b", "dataBundleSize": 5},
    {"mode": "convert", "source": "a", "target": "b", "tabels": []},
    {"mode": "convert", "source": "a", "target": "b", "createStructure": "yes"},
])  # fmt: skip
def test_what_both_refuse(document: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        played("stream", parse_config)(document, {"a": "/in", "b": "/out"})


def test_a_schema_is_strict_about_names() -> None:
    faults = list(validator("stream").iter_errors(
        {"mode": "convert", "source": {"connections": [{"connection": "/in", "tabels": []}]},
         "target": {"connection": "/out"}}
    ))  # fmt: skip
    assert "tabels" in faults[0].message


# Documents that are returned


def assert_valid(name: str, document: Any) -> None:
    faults = [f"{e.json_path}: {e.message}" for e in validator(name).iter_errors(document)]
    assert not faults


def test_what_a_run_returns(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id\n1\n2\n")
    document = {
        "mode": "convert",
        "source": {"connections": [{"connection": str(tmp_path)}]},
        "target": {"connection": str(tmp_path / "out")},
    }
    with Stream.from_config(document) as stream:
        assert_valid("plan", stream.plan().to_dict())
        assert_valid("stats", stream.stats().to_dict())
        assert_valid("stats", stream.run().to_dict())
        assert_valid("report", stream.verify().to_dict())
    with pytest.raises(ConfigError) as caught:
        parse_config({"mode": "copy"})
    assert_valid("error", json.loads(json.dumps(caught.value.to_dict())))


def test_typed_dictionaries_are_those_of_the_models() -> None:
    assert input_types.TARGET.read_text() == input_types.written()


@pytest.mark.parametrize("module", [inputs, outputs])
def test_typed_dictionaries_resolve(module: Any) -> None:
    kinds = [getattr(module, name) for name in module.__all__ if name.endswith("Dict")]
    assert all(typing.get_type_hints(kind) for kind in kinds if typing.is_typeddict(kind))


# OpenAPI


def test_the_openapi_document_is_valid() -> None:
    document = streams_engine.openapi()
    validate_openapi(document)
    assert json.loads(json.dumps(document)) == document


def method_of(engine: Engine, operation: Operation) -> Any:
    found: Any = engine
    for step in operation.call.split("."):
        found = getattr(found, step)
    return found


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: f"{one.method} {one.path}")
def test_every_operation_has_its_method(operation: Operation) -> None:
    with Engine() as engine:
        assert callable(method_of(engine, operation))


class Client:
    """What a generator makes of the document: a method for each operation, its documents checked;
    here it calls the engine where another one would send a request."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._schemas = streams_engine.openapi()["components"]["schemas"]
        self.called: set[str] = set()

    def call(self, name: str, *arguments: Any, body: Any = None, **parameters: Any) -> Any:
        operation = next(one for one in OPERATIONS if one.call == name)
        given = list(arguments)
        if operation.takes is not None:
            self._check({"$ref": f"#/components/schemas/{operation.takes}"}, body)
            given.append(body)
        assert parameters.keys() <= (operation.parameters or {}).keys()
        answer = method_of(self._engine, operation)(*given, **parameters)
        plain = answer.to_dict() if hasattr(answer, "to_dict") else answer
        if operation.returns is not None:
            self._check(answer_schema(operation.returns), json.loads(json.dumps(plain)))
        self.called.add(name)
        return plain

    def _check(self, schema: dict[str, Any], document: Any) -> None:
        whole = {**schema, "components": {"schemas": self._schemas}}
        faults = [f"{e.json_path}: {e.message}"
                  for e in Draft202012Validator(whole).iter_errors(document)]  # fmt: skip
        assert not faults


ON_A_SERVER = {"connections.create_database", "connections.create_schema", "streams.release",
               "connections.readiness", "connections.databases", "streams.pause",
               "streams.resume", "streams.stop", "execute", "columns", "rows.insert",
               "files.buckets", "files.create_bucket"}  # fmt: skip
"""Operations that folders do not have, or that a run of two rows is too short for."""


def test_a_client_made_of_it_reaches_every_operation(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id\n1\n2\n")
    with Engine() as engine:
        client = Client(engine)
        for name, folder in (("in", tmp_path), ("out", tmp_path / "out")):
            spec = {"files": {"basePath": str(folder)}}
            client.call("connections.create", body={"name": name, "type": "files", "spec": spec})
        spec = {"files": {"basePath": str(tmp_path)}}
        client.call("connections.update", "in", body={"name": "in", "type": "files", "spec": spec})
        copy = client.call("connections.clone", "in")
        client.call("connections.list", limit=1, offset=0)
        client.call("connections.get", "in")
        client.call("connections.delete", copy["id"])
        assert client.call("connections.ping", "in") == {"ping": "ok"}
        client.call("connections.ping", "out")
        assert client.call("connections.tables", "in") == ["t"]
        client.call("connections.views", "in")
        client.call("connections.describe", "in", "t")
        for name in ("sequences", "triggers", "routines", "sizes", "overview"):
            client.call(f"connections.{name}", "in")
        client.call("connections.column_summary", "in", "t")
        client.call("files.list", "in", limit=1)
        for name in ("meta", "sniff"):
            client.call(f"files.{name}", "in", path="t.csv")
        document = {
            "name": "up",
            "mode": "convert",
            "source": {"connections": [{"connectionId": "in"}]},
            "target": {"id": "out"},
        }
        config = client.call("configs.create", body=document)["id"]
        client.call("configs.get", config)
        client.call("configs.list", search="up")
        given = client.call("configs.get", config)
        sources = given["source"]["connections"]
        client.call("configs.update", config, body={
            **document, "source": {"connections": sources}, "target": given["target"],
        })  # fmt: skip
        client.call("configs.delete", client.call("configs.clone", config)["id"])
        client.call("streams.plan", config)
        stream = client.call("streams.start", config, fresh=True)
        assert engine.streams.wait(stream, timeout=60) is State.FINISHED
        for name in ("stats", "get", "health", "logs"):
            client.call(f"streams.{name}", stream)
        client.call("streams.list", limit=1)
        client.call("streams.history", config)
        client.call("streams.verify", config)
        client.call("logs", limit=5)
        client.call("health")
        client.call("metrics")
        client.call("explain", body='SELECT id FROM "in".t')
        client.call("files.manifest", "out", path="t")
        assert client.call("files.delete", "out", path="t", confirm=True) == 2
        client.call("streams.delete_all_logs", confirm=True)
        client.call("streams.delete_all", confirm=True)
        client.call("configs.delete_all", confirm=True)
        client.call("connections.delete_all", confirm=True)
        assert {one.call for one in OPERATIONS} - client.called == ON_A_SERVER


def test_the_command_prints_schemas() -> None:
    def printed(*arguments: str) -> str:
        command = [sys.executable, "-m", "streams_engine.cli", "schema", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert printed().split() == [*streams_engine.schemas(), "openapi"]
    assert json.loads(printed("stream")) == streams_engine.schemas()["stream"]
