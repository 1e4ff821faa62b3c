"""Documents without their secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from streams_engine.config.validation import SECRET_KEYS

__all__ = ["secret_paths", "without_secrets"]


def without_secrets(document: Any, references: frozenset[str]) -> Any:
    """Return the document without its secrets.

    References such as ``env:NAME`` are not secrets and stay; ``references`` lists the schemes that
    count as references.
    """
    if isinstance(document, list):
        return [without_secrets(inner, references) for inner in document]
    if not isinstance(document, Mapping):
        return document
    return {
        key: without_secrets(value, references)
        for key, value in document.items()
        if key not in SECRET_KEYS or value is None or _is_reference(value, references)
    }


def _is_reference(value: Any, references: frozenset[str]) -> bool:
    scheme, colon, _ = str(value).partition(":")
    return bool(colon) and scheme in references


def secret_paths(document: Any, path: str = "$") -> Iterator[str]:
    """Yield the JSON path of each secret in a document."""
    if isinstance(document, list):
        for i, inner in enumerate(document):
            yield from secret_paths(inner, f"{path}[{i}]")
    elif isinstance(document, Mapping):
        for key, value in document.items():
            if key in SECRET_KEYS:
                yield f"{path}.{key}"
            else:
                yield from secret_paths(value, f"{path}.{key}")
