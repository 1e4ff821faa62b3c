"""Bring the flat document and keyword arguments to the nested document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streams_engine.config.validation import IGNORED
from streams_engine.errors import ConfigError

__all__ = ["from_keywords", "is_flat", "nested"]

FLAT_KEYS = frozenset(
    {"name", "source", "target", "mode", "dataBundleSize", "reportingIntervals", "tables",
     "limits", "createStructure", "skipIndexCreation", "options"}
)  # fmt: skip


def is_flat(raw: Mapping[str, Any]) -> bool:
    """Return True if source or target is only an id: the document form of the first generation."""
    return isinstance(raw.get("source"), str) or isinstance(raw.get("target"), str)


def nested(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a flat document of the first generation to the nested form."""
    unknown = sorted(set(raw) - FLAT_KEYS - IGNORED)
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
    intervals = raw.get("reportingIntervals") or {}
    options = {"dataBundleSize": raw["dataBundleSize"]} if "dataBundleSize" in raw else {}
    document: dict[str, Any] = {
        "name": raw.get("name"),
        "mode": raw.get("mode"),
        "reportingInterval": intervals.get("target", intervals.get("source", 3)),
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


# Keywords of Stream(source, target, ...)

KEYWORDS: Mapping[str, tuple[str, ...]] = {
    "name": ("name",),
    "reporting_interval": ("reportingInterval",),
    "limits": ("limits",),
    "data_bundle_size": ("source", "options", "dataBundleSize"),
    "initial_load": ("source", "options", "initialLoad"),
    "operations": ("source", "options", "operations"),
    "replication_slot": ("source", "options", "replicationSlot"),
    "publication_name": ("source", "options", "publicationName"),
    "partial_publication": ("source", "options", "partialPublication"),
    "binlog_position": ("source", "options", "binlogPosition"),
    "server_id": ("source", "options", "serverId"),
    "schema_changes": ("options", "schemaChanges"),
    "max_retained_bytes": ("options", "maxRetainedBytes"),
    "database": ("target", "spec", "db", "database"),
    "schema": ("target", "spec", "db", "schema"),
    "schema_policy": ("target", "spec", "db", "schemaPolicy"),
    "write_mode": ("target", "spec", "db", "writeMode"),
    "skip_data": ("target", "spec", "db", "skipData"),
    "structure_options": ("target", "spec", "db", "structureOptions"),
    "type_overrides": ("options", "typeOverrides"),
    "zero_dates": ("options", "zeroDates"),
    "unsigned_keys": ("options", "unsignedKeys"),
    "identifier_case": ("options", "identifierCase"),
    "allow_empty": ("options", "allowEmpty"),
    "allow_lossy": ("options", "allowLossy"),
    "on_error": ("options", "onError"),
    "on_resume": ("options", "onResume"),
    "on_rewrite": ("options", "onRewrite"),
    "parallelism": ("options", "parallelism"),
    "chunk_rows": ("options", "chunkRows"),
    "memory_budget": ("options", "memoryBudget"),
    "state_schema": ("options", "stateSchema"),
    "reconnect_timeout": ("options", "reconnectTimeout"),
    "heartbeat_timeout": ("options", "heartbeatTimeout"),
    "lock_timeout": ("options", "lockTimeout"),
    "executor": ("options", "executor"),
}


LISTS = {"operations"}
"""Keywords, beside ``tables``, that take a list of texts: one text is a list of one."""


def from_keywords(
    source: Any,
    target: Any,
    *,
    mode: str,
    tables: Sequence[str] | str | None,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Build the document of ``Stream(source, target, ...)``. Raises `ConfigError` for an unknown
    keyword."""
    document: dict[str, Any] = {
        "mode": mode,
        "source": {
            "connections": [
                {"connection": source, "tables": [{"name": name} for name in as_list(tables) or []]}
            ]
        },
        "target": {"connection": target},
    }
    for keyword, value in options.items():
        path = KEYWORDS.get(keyword)
        if path is None:
            raise ConfigError(
                f"'{keyword}' is not an option of a stream.",
                path=f"$.{keyword}",
                remedy=f"Known are: {', '.join(sorted(KEYWORDS))}.",
            )
        place = document
        for step in path[:-1]:
            place = place.setdefault(step, {})
        place[path[-1]] = as_list(value) if keyword in LISTS else value
    return document


def as_list(value: Any) -> Any:
    """Return one text as a list of it, and anything else as it is."""
    return [value] if isinstance(value, str) else value
