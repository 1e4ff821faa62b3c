"""The document beside a table's parts: what they hold, and which of them count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from streams_engine.adapters.files.native import arrow_of, from_document, to_document
from streams_engine.adapters.files.store import Store
from streams_engine.errors import MalformedFile
from streams_engine.model import Column

__all__ = ["FIELD_TYPE", "NAME", "columns_of", "documents_of", "read"]

NAME = "_manifest.json"
VERSION = 1
FIELD_TYPE = b"streams_engine:type"
"""The key of a Parquet field's metadata that holds its native type."""


def read(store: Store, folder: str) -> dict[str, Any] | None:
    """A folder's manifest, None where it has none. Raises `MalformedFile`."""
    path = f"{folder}/{NAME}" if folder else NAME
    document = store.read_json(path)
    if document is None:
        return None
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise MalformedFile(f"{store.show(path)} is no manifest of this version.")
    return document


def documents_of(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Columns as a manifest lists them."""
    return [
        {
            "name": column.name,
            "arrow": str(column.arrow),
            "nullable": column.nullable,
            "type": to_document(column.type),
        }
        for column in columns
    ]


def columns_of(manifest: Mapping[str, Any], where: str) -> tuple[Column, ...]:
    """The columns that a manifest lists. Raises `MalformedFile`."""
    try:
        return tuple(
            Column(
                document["name"],
                from_document(document["type"]),
                arrow_of(document["arrow"]),
                nullable=bool(document["nullable"]),
            )
            for document in manifest["columns"]
        )
    except (KeyError, TypeError, ValueError, pa.ArrowInvalid):
        raise MalformedFile(f"{where}: the manifest's columns cannot be read.") from None
