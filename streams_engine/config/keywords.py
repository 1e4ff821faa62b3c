"""The keywords of ``Stream(source, target, ...)``: where each lies in the nested document.

Their types and descriptions are in `streams_engine.config.options`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from streams_engine.errors import ConfigError

__all__ = ["KEYWORDS", "from_keywords"]

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
    "verification": ("options", "verification"),
    "database": ("target", "spec", "db", "database"),
    "create_database": ("target", "spec", "db", "createDatabase"),
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
    "sql_capture": ("options", "sqlCapture"),
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
            near = get_close_matches(keyword, KEYWORDS, 1)
            known = f"Known are: {', '.join(sorted(KEYWORDS))}."
            raise ConfigError(
                f"'{keyword}' is not an option of a stream.",
                path=f"$.{keyword}",
                remedy=f"Did you mean '{near[0]}'?" if near else known,
            )
        place = document
        for step in path[:-1]:
            place = place.setdefault(step, {})
        place[path[-1]] = as_list(value) if keyword in LISTS else value
    return document


def as_list(value: Any) -> Any:
    """Return one text as a list of it, and anything else as it is."""
    return [value] if isinstance(value, str) else value
