"""The flat document, the form of the first generation, brought to the nested one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streams_engine.config.validation import IGNORED, SCHEMA
from streams_engine.errors import ConfigError

__all__ = ["is_flat", "nested"]

FLAT_KEYS = frozenset(
    {"name", "source", "target", "mode", "dataBundleSize", "reportingIntervals", "tables",
     "limits", "createStructure", "skipIndexCreation", "options"}
)  # fmt: skip


def is_flat(raw: Mapping[str, Any]) -> bool:
    """Return True if source or target is only an id: the document form of the first generation."""
    return isinstance(raw.get("source"), str) or isinstance(raw.get("target"), str)


def nested(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a flat document of the first generation to the nested form."""
    unknown = sorted(set(raw) - FLAT_KEYS - IGNORED - {SCHEMA})
    if unknown:
        raise ConfigError(
            f"$.{unknown[0]}: unknown key; known are: {', '.join(sorted(FLAT_KEYS))}.",
            path=f"$.{unknown[0]}",
        )
    for key, expected in (("tables", list), ("reportingIntervals", dict)):
        if not isinstance(raw.get(key, expected()), expected):
            raise ConfigError(f"$.{key}: expected a {expected.__name__}.", path=f"$.{key}")
    tables, queries = [], []
    for table in raw.get("tables", []):
        if isinstance(table, Mapping) and table.get("query"):
            queries.append({"name": table.get("name"), "query": table["query"]})
        else:
            tables.append(table)
    db = _structure(raw)
    options = {"dataBundleSize": raw["dataBundleSize"]} if "dataBundleSize" in raw else {}
    document: dict[str, Any] = {
        "name": raw.get("name"),
        "mode": raw.get("mode"),
        **_intervals(raw.get("reportingIntervals") or {}),
        "source": {
            "connections": [
                {"connectionId": raw.get("source"), "tables": tables, "queries": queries}
            ],
            "options": options,
        },
        "target": {
            "id": raw.get("target"),
            "spec": {"db": db} if db else {},
        },
    }
    return document | {key: raw[key] for key in ("limits", "options") if key in raw}


def _intervals(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the one interval, or both where they differ."""
    if set(given) <= {"source", "target"} and len({*map(repr, given.values())}) <= 1:
        return {"reportingInterval": next(iter(given.values()), 3)}
    return {"reportingIntervals": dict(given)}


def _structure(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document's structure options that differ from the defaults."""
    options: dict[str, Any] = {}
    create = raw.get("createStructure", True)
    if create is not True:
        options["tables"] = create
    if raw.get("skipIndexCreation"):
        options["indexes"] = False
    policy = {} if create else {"schemaPolicy": "validate_existing"}
    return {"structureOptions": options, **policy} if options else policy
