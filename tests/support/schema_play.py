"""Plays what a test gives to the parsers against the JSON Schemas too.

What is accepted has to be valid, and what is refused invalid, or refused in words of `SEMANTIC`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from streams_engine.api.schemas import SEMANTIC, schemas
from streams_engine.errors import ConfigError

__all__ = ["played", "validator"]


@cache
def validator(name: str) -> Draft202012Validator:
    """Return the validator of a schema."""
    return Draft202012Validator(schemas()[name])


def as_json(document: Any) -> Any:
    """Return a document as JSON; None for one that is none."""
    if not isinstance(document, Mapping):
        return None
    try:
        return json.loads(json.dumps(document, allow_nan=False))
    except (TypeError, ValueError):
        return None


def played(name: str, parse: Callable[..., Any]) -> Callable[..., Any]:
    """Return a parser that asks the schema as well."""

    def both(document: Any, *arguments: Any, **more: Any) -> Any:
        plain = as_json(document)
        try:
            parsed = parse(document, *arguments, **more)
        except ConfigError as error:
            if plain is not None and not any(words in str(error) for words in SEMANTIC):
                assert not validator(name).is_valid(plain), f"only we refuse: {error}"
            raise
        if plain is not None:
            faults = [f"{e.json_path}: {e.message}" for e in validator(name).iter_errors(plain)]
            assert not faults, f"only the schema refuses: {faults}"
        return parsed

    return both
