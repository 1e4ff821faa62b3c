"""Manifest of a table's folder: its columns, and which data files count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from streams_engine.adapters.files.formats.native_types import type_from_dict, type_to_dict
from streams_engine.adapters.files.stores.store import Store
from streams_engine.errors import MalformedFile
from streams_engine.model import Column
from streams_engine.schema.types.files import arrow_of

__all__ = ["FIELD_TYPE", "NAME", "columns_of", "documents_of", "read"]

NAME = "_manifest.json"
VERSION = 1
FIELD_TYPE = b"streams_engine:type"
"""The key of a Parquet field's metadata that holds its native type."""


def read(store: Store, folder: str) -> dict[str, Any] | None:
    """Read a folder's manifest; None if it has none. Raises `MalformedFile`."""
    path = f"{folder}/{NAME}" if folder else NAME
    document = store.read_json(path)
    if document is None:
        return None
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise MalformedFile(f"{store.show(path)} is not a manifest of this version.")
    return document


def documents_of(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Return columns in the form of a manifest."""
    return [
        {
            "name": column.name,
            "arrow": str(column.arrow),
            "nullable": column.nullable,
            "type": type_to_dict(column.type),
        }
        for column in columns
    ]


def columns_of(manifest: Mapping[str, Any], where: str) -> tuple[Column, ...]:
    """Return the columns that a manifest lists. Raises `MalformedFile`."""
    try:
        return tuple(
            Column(
                document["name"],
                type_from_dict(document["type"]),
                arrow_of(document["arrow"]),
                nullable=bool(document["nullable"]),
            )
            for document in manifest["columns"]
        )
    except (KeyError, TypeError, ValueError, pa.ArrowInvalid):
        raise MalformedFile(f"{where}: the columns in the manifest are invalid.") from None
