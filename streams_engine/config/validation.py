"""From pydantic's findings to one `ConfigError` with JSON paths, values of secrets left out."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from streams_engine.errors import ConfigError

__all__ = ["IGNORED", "IGNORED_IN_CONNECTIONS", "SCHEMA", "Document", "json_path", "validate"]

SECRET_KEYS = frozenset(
    {
        "password",
        "secretKey",
        "secret_key",
        "accessKey",
        "sessionToken",
        "client_key",
        "clientKey",
        "privateKey",
        "private_key",
        "passphrase",
        "storageOptions",
        "storage_options",
    }
)

IGNORED = frozenset(
    {"id", "created", "updated", "description", "kmsKeyId", "isReachable", "cloudProvider"}
)
"""Keys of the product's own documents that mean nothing here: they give a warning."""

IGNORED_IN_CONNECTIONS = IGNORED | {"cloud_provider", "status", "databasesInfo"}
"""The same in connection documents, where an exported one holds what the product found out."""

SCHEMA = "$schema"
"""The key that names a document's JSON Schema, for editors."""

M = TypeVar("M", bound=BaseModel)


class Document(BaseModel):
    """Base of every document: camelCase outside, strict types, no unknown keys."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        strict=True,
        frozen=True,
        hide_input_in_errors=True,
        arbitrary_types_allowed=True,
        # A document's validator is built when one is first validated, with those inside it.
        defer_build=True,
    )


def json_path(root: str, location: Sequence[Any]) -> str:
    """Convert a location of pydantic to a JSON path such as ``$.a.b[0]``, leaving out tags of
    unions."""
    path = root
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        elif not str(step).startswith(("function-", "tagged-", "lax-", "constrained-")):
            path += f".{step}"
    return path


def validate(model: type[M], document: Mapping[str, Any], root: str = "$") -> M:
    """Validate the document as a model. Raises `ConfigError` that lists every fault with its
    path."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        faults = [_fault(model, root, item) for item in error.errors(include_url=False)]
    told = "; ".join(text for _, text in faults)
    raise ConfigError(told if told.endswith("?") else f"{told}.", path=faults[0][0])


def _fault(model: type[BaseModel], root: str, item: Any) -> tuple[str, str]:
    path = json_path(root, item["loc"])
    kind = item["type"]
    if kind == "extra_forbidden":
        owner = _model_at(model, item["loc"][:-1])
        known = _keys(owner) if owner else []
        near = difflib.get_close_matches(str(item["loc"][-1]), known, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"known are: {', '.join(known)}"
        return path, f"{path}: unknown key; {hint}"
    text = str(item["msg"]).removeprefix("Value error, ")
    text = text[:1].lower() + text[1:]
    return path, f"{path}: {text}{_shown(item)}"


def _shown(item: Any) -> str:
    value = item.get("input")
    secret = any(str(step) in SECRET_KEYS for step in item["loc"])
    if item["type"] == "missing" or secret or not isinstance(value, str | int | float | bool):
        return ""
    shown = repr(value)
    return f" (it is {shown})" if len(shown) <= 40 and "://" not in shown else ""


def _keys(model: type[BaseModel]) -> list[str]:
    return sorted(field.alias or name for name, field in model.model_fields.items())


def _model_at(model: type[BaseModel], location: Sequence[Any]) -> type[BaseModel] | None:
    """Return the model at a location inside a document, or None."""
    inner: type[BaseModel] | None = model
    for step in location:
        if inner is None or isinstance(step, int):
            continue
        field = next(
            (f for n, f in inner.model_fields.items() if step in (n, f.alias)),
            None,
        )
        inner = _inner_model(field.annotation) if field else None
    return inner


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        inner = _inner_model(argument)
        if inner is not None:
            return inner
    return None
