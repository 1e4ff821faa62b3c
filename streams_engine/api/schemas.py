"""JSON Schemas of every document, made of the models that validate them.

What a validator of a model demands beyond its types is in `streams_engine.api.refinements`; what
no schema can say is listed in `SEMANTIC`.
"""

from __future__ import annotations

import ast
import copy
import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter

from streams_engine import errors
from streams_engine.api import outputs
from streams_engine.api.refinements import REFINEMENTS, connection_schema, flat_schema
from streams_engine.config import connection_documents, documents
from streams_engine.config.validation import IGNORED, SCHEMA

__all__ = ["SEMANTIC", "schemas"]

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

SEMANTIC: Mapping[str, str] = {
    "there is no connection": "connections are found by id or name, outside the document",
    "no installed adapter serves": "packages bring types of connections",
    "cannot be loaded": "packages bring types of connections",
    "the connection is to": "the key is for another kind of connection than the one named",
    "the target is": "the key is for another kind of connection than the one named",
    "this option is for a database": "the target is found by id or URL",
    "no source is of that type": "the sources are found by id or URL",
    "has databases, but no schemas": "the connection is found by id or URL",
    "it is a position of one server": "the sources are found by id or URL",
    "is listed twice": "two names of one table",
    "is already that of a table": "two names of one table",
    "already has another type": "two overrides of one column or type",
    "needs an alias": "an alias is unique",
    "no table is selected": "every table of a list is left out",
    "cannot have a selection": "a selection without any key is none",
    "'database' names another database": "two keys must be equal",
    "contradicts the key given above": "two keys must be equal",
    "'compression' names another one": "two keys must be equal",
    "has levels up to": "the codec may be a default",
    "has no levels": "the codec may be a default",
    "at most 63 bytes": "bytes of UTF-8, not characters",
}
"""Refusals that no schema can express, by words of their message: why."""


@cache
def _meanings(path: str) -> dict[str, dict[str, str]]:
    """Return the docstrings after the attributes of a module's classes."""
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(Path(path).read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.ClassDef):
            continue
        fields = found.setdefault(node.name, {})
        for before, after in zip(node.body, node.body[1:], strict=False):
            if (
                isinstance(before, ast.AnnAssign)
                and isinstance(before.target, ast.Name)
                and isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
                and isinstance(after.value.value, str)
            ):
                fields[before.target.id] = " ".join(after.value.value.split())
    return found


def _models(module: Any) -> Iterator[type[BaseModel]]:
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, BaseModel):
            yield value


@cache
def _described() -> dict[str, dict[str, str]]:
    """Return by model, by key: its meaning."""
    found = {}
    for module in (documents, connection_documents):
        meanings = _meanings(str(inspect.getsourcefile(module)))
        for model in _models(module):
            told = meanings.get(model.__name__, {})
            found[model.__name__] = {
                field.alias or name: told[name]
                for name, field in model.model_fields.items()
                if name in told
            }
    return found


def _definitions() -> dict[str, Schema]:
    """Return the schema of each model by its name, refined, described, with the ignored keys."""
    found: dict[str, Schema] = {}
    for model in (
        documents.StreamDocument,
        connection_documents.ServerDocument,
        connection_documents.FilesDocument,
    ):
        made = model.model_json_schema(by_alias=True)
        found |= made.pop("$defs", {})
        found[model.__name__] = made
    for name, definition in found.items():
        properties = definition.get("properties", {})
        for key, inner in properties.items():
            inner.pop("title", None)
            if key in _described().get(name, {}):
                inner["description"] = _described()[name][key]
        _refine(definition, REFINEMENTS.get(name, {}))
    return found


def _refine(definition: Schema, more: Mapping[str, Any]) -> None:
    """Add keywords; of ``properties``, each replaces what its model said but the description."""
    for keyword, value in copy.deepcopy(dict(more)).items():
        if keyword == "properties":
            for key, wanted in value.items():
                known = definition["properties"].setdefault(key, {})
                kept = {k: known[k] for k in ("description", "default") if k in known}
                definition["properties"][key] = {**wanted, **kept}
        else:
            definition[keyword] = value


IN_STREAMS = {name: {"description": "Has no meaning here; gives a warning."} for name in IGNORED}
OF_CONNECTIONS = {"ServerDocument", "FilesDocument", "Ssl", "SshDocument", "FilesSpecDocument",
                  "FolderDocument", "S3Document", "StoreDocument", "StorageDocument",
                  "CredentialsDocument", "ScopeDocument"}  # fmt: skip
"""Models of connection documents, in which only the document itself has ignored keys."""


@cache
def _inputs() -> dict[str, Schema]:
    definitions = _definitions()
    for name, definition in definitions.items():
        if name not in OF_CONNECTIONS and definition.get("additionalProperties") is False:
            definition["properties"] = {**IN_STREAMS, **definition["properties"]}
    definitions["StreamDocument"]["properties"][SCHEMA] = {"type": "string"}
    definitions["FlatStreamDocument"] = flat_schema(IN_STREAMS)
    definitions["Connection"] = connection_schema(definitions)
    return definitions


def _rooted(name: str, title: str, root: Schema) -> Schema:
    return {"$schema": DIALECT, "title": title, **root, "$defs": copy.deepcopy(_inputs())}


def schemas() -> dict[str, Schema]:
    """Return the JSON Schema (2020-12) of each document, by name.

    ``connection`` and ``stream`` (of both generations) are what users write; the others are what
    methods return: ``stats``, ``error``, ``report``, ``plan``, ``run``, ``log``, ``health``, and
    more. A document may name its schema under the key ``$schema``.
    """
    flat = {
        "anyOf": [
            {"required": [key], "properties": {key: {"type": "string"}}}
            for key in ("source", "target")
        ]
    }
    found = {
        "connection": _rooted("Connection", "Connection", {"$ref": "#/$defs/Connection"}),
        "stream": _rooted(
            "StreamDocument",
            "Stream config",
            {
                "if": flat,
                "then": {"$ref": "#/$defs/FlatStreamDocument"},
                "else": {"$ref": "#/$defs/StreamDocument"},
            },
        ),
    }
    for name, kind in outputs.DOCUMENTS.items():
        made = TypeAdapter(kind).json_schema(mode="serialization")
        found[name] = {"$schema": DIALECT, **made}
    codes = sorted({_code(name) for name in errors.__all__ if name != "StreamsError"})
    found["error"]["properties"]["code"]["enum"] = codes
    return found


def _code(name: str) -> str:
    return str(getattr(errors, name).code)
