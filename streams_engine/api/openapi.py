"""An OpenAPI document for a service that embeds an `Engine`: paths, and the schemas of documents.

The library has no HTTP layer. Each operation names, as ``x-method``, the method that does it. What
moves bytes or Arrow tables (``files.read``, ``upload``, ``download``, ``data``, ``query``) and
changes of rows by their keys have no operation: a service chooses the form of these itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streams_engine.api.schemas import schemas

__all__ = ["OPERATIONS", "Operation", "openapi"]

Schema = dict[str, Any]
CONNECTION, CONFIG, STREAM = "/connections/{id}", "/stream-configs/{id}", "/streams/{id}"
TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
CONDITIONS: Schema = {"type": "array", "items": {"type": "object"}}
PAGE: Mapping[str, Schema] = {
    "limit": COUNT,
    "offset": COUNT,
    "filters": CONDITIONS,
    "sort": CONDITIONS,
}
"""The parameters of every list; the last two are JSON."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the service."""

    method: str
    path: str
    call: str
    """The method of `Engine` that does it."""
    returns: str | None = None
    """The schema of the answer; ``NAME[]`` a list, ``NAME...`` a page of a list."""
    takes: str | None = None
    """The schema of the body."""
    parameters: Mapping[str, Schema] | None = None
    """Of the query."""


OPERATIONS: Sequence[Operation] = (
    Operation("post", "/connections", "connections.create", "storedConnection", "connection"),
    Operation("get", "/connections", "connections.list", "storedConnection...", parameters=PAGE),
    Operation("get", CONNECTION, "connections.get", "storedConnection"),
    Operation("put", CONNECTION, "connections.update", "storedConnection", "connection"),
    Operation("delete", CONNECTION, "connections.delete"),
    Operation("put", f"{CONNECTION}/clone", "connections.clone", "storedConnection"),
    Operation("post", f"{CONNECTION}/ping", "connections.ping", "ping"),
    Operation("get", f"{CONNECTION}/databases", "connections.databases", "database[]"),
    Operation("post", f"{CONNECTION}/databases", "connections.create_database", "name", "text"),
    Operation("post", f"{CONNECTION}/schemas", "connections.create_schema", "name", "text",
              {"database": TEXT}),
    Operation("get", f"{CONNECTION}/tables", "connections.tables", "text[]",
              parameters={"database": TEXT, "schema": TEXT}),
    Operation("get", f"{CONNECTION}/views", "connections.views", "text[]",
              parameters={"database": TEXT, "schema": TEXT}),
    Operation("get", f"{CONNECTION}/tables/{{table}}", "connections.describe", "table",
              parameters={"database": TEXT}),
    Operation("get", f"{CONNECTION}/readiness", "connections.readiness", "finding[]",
              parameters={"database": TEXT}),
    *(
        Operation("get", f"{CONNECTION}/{name}", f"connections.{name}", "object[]",
                  parameters={"database": TEXT, "schema": TEXT})
        for name in ("sequences", "triggers", "routines", "sizes")
    ),
    Operation("get", f"{CONNECTION}/overview", "connections.overview", "object",
              parameters={"database": TEXT, "schema": TEXT}),
    Operation("get", f"{CONNECTION}/tables/{{table}}/summary", "connections.column_summary",
              "object[]", parameters={"database": TEXT}),
    Operation("delete", "/connections", "connections.delete_all", "count",
              parameters={"confirm": FLAG}),
    Operation("post", f"{CONNECTION}/execute", "execute", "result", "text",
              {"confirm": FLAG, "limit": COUNT, "database": TEXT}),
    Operation("post", "/columns", "columns", "column[]", "text",
              {"connection": TEXT, "database": TEXT}),
    Operation("post", f"{CONNECTION}/tables/{{table}}/rows", "rows.insert", "inserted", "object",
              {"database": TEXT}),
    Operation("get", f"{CONNECTION}/files", "files.list", "file...",
              parameters={"path": TEXT, "recursive": FLAG, **PAGE}),
    Operation("delete", f"{CONNECTION}/files", "files.delete", "count",
              parameters={"path": TEXT, "confirm": FLAG}),
    Operation("get", f"{CONNECTION}/files/meta", "files.meta", "object",
              parameters={"path": TEXT}),
    Operation("get", f"{CONNECTION}/files/sniff", "files.sniff", "object",
              parameters={"path": TEXT}),
    Operation("get", f"{CONNECTION}/files/manifest", "files.manifest", "object",
              parameters={"path": TEXT}),
    Operation("get", f"{CONNECTION}/buckets", "files.buckets", "object[]"),
    Operation("post", f"{CONNECTION}/buckets", "files.create_bucket", "name", "text"),
    Operation("post", "/stream-configs", "configs.create", "config", "stream"),
    Operation("get", "/stream-configs", "configs.list", "config...",
              parameters={"search": TEXT, **PAGE}),
    Operation("delete", "/stream-configs", "configs.delete_all", "count",
              parameters={"confirm": FLAG}),
    Operation("get", CONFIG, "configs.get", "config"),
    Operation("put", CONFIG, "configs.update", "config", "stream"),
    Operation("delete", CONFIG, "configs.delete"),
    Operation("put", f"{CONFIG}/clone", "configs.clone", "config"),
    Operation("post", f"{CONFIG}/start", "streams.start", "text", parameters={"fresh": FLAG}),
    Operation("get", f"{CONFIG}/plan", "streams.plan", "plan"),
    Operation("post", f"{CONFIG}/verify", "streams.verify", "report"),
    Operation("post", f"{CONFIG}/release", "streams.release"),
    Operation("get", f"{CONFIG}/history", "streams.history", "run...", parameters=PAGE),
    Operation("delete", "/streams", "streams.delete_all", "count", parameters={"confirm": FLAG}),
    Operation("delete", "/logs", "streams.delete_all_logs", "count", parameters={"confirm": FLAG}),
    Operation("get", "/streams", "streams.list", "run...", parameters=PAGE),
    Operation("get", STREAM, "streams.get", "run"),
    Operation("post", f"{STREAM}/pause", "streams.pause"),
    Operation("post", f"{STREAM}/resume", "streams.resume"),
    Operation("post", f"{STREAM}/stop", "streams.stop", parameters={"force": FLAG}),
    Operation("get", f"{STREAM}/stats", "streams.stats", "stats"),
    Operation("get", f"{STREAM}/health", "streams.health", "health"),
    Operation("get", f"{STREAM}/logs", "streams.logs", "log...",
              parameters={"level": TEXT, "table": TEXT, "category": TEXT, **PAGE}),
    Operation("get", "/logs", "logs", "log...",
              parameters={"level": TEXT, "table": TEXT, "category": TEXT, **PAGE}),
    Operation("get", "/health", "health", "engineHealth"),
    Operation("get", "/metrics", "metrics", "metrics"),
    Operation("post", "/query/explain", "explain", "object", "text"),
)  # fmt: skip

STATUS: Mapping[str, tuple[str, ...]] = {
    "400": ("INVALID_CONFIG", "QUERY_REFUSED"),
    "404": ("NOT_FOUND",),
    "409": ("STATE_CONFLICT",),
    "503": ("CONNECTION_FAILED", "AUTHENTICATION_FAILED", "PERMISSION_DENIED"),
}
"""The status that a service may answer with, by the codes of errors; any other: 500."""

OWN: Mapping[str, Schema] = {
    "text": TEXT,
    "count": COUNT,
    "object": {"type": "object"},
    "metrics": {"type": "string", "description": "Prometheus' text format."},
    "result": {
        "type": "object",
        "description": "Rows are plain values of Python: a service says them in its own way.",
        "required": ["columns", "rows", "affectedRows", "duration"],
    },
    "column": {
        "type": "object",
        "required": ["name", "type"],
        "properties": {"name": TEXT, "type": TEXT},
    },
    "inserted": {
        "type": "object",
        "required": ["affectedRows", "keys"],
        "properties": {"affectedRows": COUNT, "keys": CONDITIONS},
    },
    "file": {
        "type": "object",
        "required": ["path", "name", "type", "size", "modified", "format"],
        "properties": {"path": TEXT, "name": TEXT, "type": {"enum": ["file", "folder", "link"]}},
    },
    "name": {"type": "object", "required": ["name"], "properties": {"name": TEXT}},
    "database": {
        "type": "object",
        "required": ["name"],
        "properties": {"name": TEXT, "schemas": {"type": "array", "items": TEXT}},
    },
    "table": {
        "type": "object",
        "required": ["name", "columns", "primaryKey", "indexes", "foreignKeys", "checks", "ddl"],
    },
    "storedConnection": {
        "type": "object",
        "description": "A connection without its secrets.",
        "required": ["id", "created", "name", "type"],
        "properties": {"id": TEXT, "created": COUNT, "name": TEXT, "type": TEXT},
    },
    "config": {
        "type": "object",
        "description": "A stream config, in the nested form.",
        "required": ["id", "created", "name", "mode", "source", "target"],
        "properties": {"id": TEXT, "created": COUNT, "name": TEXT, "mode": TEXT},
    },
    "engineHealth": {
        "type": "object",
        "required": ["status", "streams"],
        "properties": {
            "status": {"enum": ["ok", "degraded", "failed"]},
            "streams": {
                "type": "object",
                "additionalProperties": {"$ref": "#/components/schemas/health"},
            },
        },
    },
}
"""Schemas of small answers, and of documents as an `Engine` stores them."""


def openapi() -> Schema:
    """Return an OpenAPI 3.1 document of the operations of an `Engine`."""
    from streams_engine._version import __version__

    paths: dict[str, Schema] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "streams_engine",
            "version": __version__,
            "description": "The operations of an Engine, for a service that embeds it.",
        },
        "paths": paths,
        "components": {"schemas": _components()},
    }


def _components() -> dict[str, Schema]:
    found: dict[str, Schema] = dict(OWN)
    for name, schema in schemas().items():
        inner = {key: value for key, value in schema.items() if key not in ("$schema", "$defs")}
        found |= {key: _moved(value) for key, value in schema.get("$defs", {}).items()}
        found[name] = _moved(inner)
    return found


def _moved(schema: Any) -> Any:
    """Return a schema whose references lead to the components."""
    if isinstance(schema, list):
        return [_moved(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    moved = {key: _moved(value) for key, value in schema.items()}
    reference = moved.get("$ref")
    if isinstance(reference, str):
        moved["$ref"] = reference.replace("#/$defs/", "#/components/schemas/")
    return moved


def _operation(operation: Operation) -> Schema:
    names = re.findall(r"{(\w+)}", operation.path)
    parameters: list[Schema] = [
        {"name": name, "in": "path", "required": True, "schema": TEXT} for name in names
    ]
    for name, schema in (operation.parameters or {}).items():
        plain = {"schema": schema} if schema.get("type") != "array" else _json(schema)
        parameters.append({"name": name, "in": "query", **plain})
    told: Schema = {
        "operationId": operation.call.replace(".", "_"),
        "x-method": f"engine.{operation.call}",
        "parameters": parameters,
        "responses": {
            "200": {"description": "Done.", **_answer(operation.returns)},
            **{
                status: {"description": ", ".join(codes), **_json(_reference("error"))}
                for status, codes in STATUS.items()
            },
            "default": {"description": "Any other error.", **_json(_reference("error"))},
        },
    }
    if operation.takes is not None:
        told["requestBody"] = {"required": True, **_json(_reference(operation.takes))}
    return told


def _answer(returns: str | None) -> Schema:
    return {} if returns is None else _json(answer_schema(returns))


def answer_schema(returns: str) -> Schema:
    """Return the schema of an answer: a document, a list of them, or a page of a list."""
    item = _reference(returns.removesuffix("...").removesuffix("[]"))
    if returns.endswith("[]"):
        return {"type": "array", "items": item}
    if not returns.endswith("..."):
        return item
    return {
        "type": "object",
        "required": ["items", "total", "limit", "offset"],
        "properties": {
            "items": {"type": "array", "items": item},
            "total": COUNT,
            "limit": {"type": ["integer", "null"]},
            "offset": COUNT,
        },
    }


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: Schema) -> Schema:
    return {"content": {"application/json": {"schema": schema}}}
