"""Stream configs: the nested document, the flat one of the first generation, and two URLs."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streams_engine.config.connection import (
    Connection,
    DatabaseConnection,
    FilesConnection,
    S3Connection,
    parse_connection,
)
from streams_engine.config.contradictions import ignored_in_convert, refuse_contradictions
from streams_engine.config.documents import (
    DatabaseSpec,
    Options,
    SourceConnection,
    StreamDocument,
    TypeOverride,
)
from streams_engine.config.flat import is_flat, nested
from streams_engine.config.keywords import from_keywords
from streams_engine.config.tracebacks import without_locals
from streams_engine.config.validation import (
    IGNORED,
    IGNORED_IN_CONNECTIONS,
    SCHEMA,
    validate,
)
from streams_engine.errors import ConfigError

__all__ = [
    "Options",
    "StreamConfig",
    "TypeOverride",
    "from_urls",
    "parse_config",
    "refuse_meaningless",
    "shown",
]


@dataclass(frozen=True, slots=True)
class StreamConfig:
    """A validated config, with its connections found."""

    document: StreamDocument
    sources: tuple[Connection, ...]
    """Parallel to ``document.source.connections``."""
    target: Connection
    warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The stream's name: its own, or a digest of source, target, mode and tables."""
        return self.document.name or f"stream-{self.identity()[:16]}"

    @property
    def options(self) -> Options:
        """This library's own settings."""
        return self.document.options

    @property
    def db(self) -> DatabaseSpec:
        """Place in the target server, and options for writing to it."""
        return self.document.target.spec.db

    @property
    def follows(self) -> bool:
        """True for a cdc, which follows the log of its sources."""
        return self.document.mode == "cdc"

    @property
    def write_mode(self) -> str:
        """The write mode with its default by mode."""
        chosen = self.db.write_mode
        return chosen or ("upsert" if self.document.mode == "cdc" else "fail_if_not_empty")

    def identity(self) -> str:
        """Return a digest of source, target, mode and tables. It does not depend on secrets."""
        connections = self.document.source.connections
        return _digest(
            {
                **self._ends(),
                "tables": [[t.name for t in c.tables] for c in connections],
                "queries": [[q.name for q in c.queries] for c in connections],
                **self._joined("name"),
            }
        )

    def _ends(self) -> dict[str, Any]:
        connections = self.document.source.connections
        return {
            "sources": [s.identity() for s in self.sources],
            "target": self.target.identity(),
            "mode": self.document.mode,
            "where": [[c.database, c.schema_] for c in connections],
            "into": [self.db.database, self.db.schema_],
        }

    def _joined(self, *keys: str) -> dict[str, Any]:
        """Return the statements over several sources and the aliases they name; empty if there are
        none."""
        source = self.document.source
        if not source.queries:
            return {}
        return {
            "joined": [[getattr(query, key) for key in keys] for query in source.queries],
            "aliases": [one.alias for one in source.connections],
        }

    def fingerprint(self) -> str:
        """Return a digest of all settings that a checkpoint depends on.

        Tables may join a cdc, and leave it.
        """
        options = self.options
        connections = self.document.source.connections
        chosen = {
            "identity": self.identity(),
            "selection": [[t.model_dump(mode="json") for t in c.tables] for c in connections],
            "queries": [[q.model_dump(mode="json") for q in c.queries] for c in connections],
            **self._joined("name", "query"),
        }
        return _digest(
            {
                **(self._ends() if self.document.mode == "cdc" else chosen),
                "types": [t.model_dump(mode="json") for t in options.type_overrides],
                "dates": options.zero_dates,
                "case": options.identifier_case,
                **({"unsigned": "bigint"} if options.unsigned_keys == "bigint" else {}),
            }
        )

    def settings(self) -> dict[str, Any]:
        """Return what a checkpoint depends on, by part, for a later start to name what changed.

        Database servers are left out but for `ADDRESS`: they say themselves who they are. There are
        no secrets, and a digest stands for conditions and statements, which contain values.
        """
        document, options = self.document, self.options
        connections = document.source.connections
        chosen = {
            "tables": _shortened([[t.name for t in c.tables] for c in connections]),
            "selection": _digest(
                {
                    "tables": [[t.model_dump(mode="json") for t in c.tables] for c in connections],
                    "queries": [
                        [q.model_dump(mode="json") for q in c.queries] for c in connections
                    ],
                    **self._joined("name", "query"),
                }
            ),
        }
        return {
            "mode": document.mode,
            "source": [
                _place(connection, place.database, place.schema_)
                for connection, place in zip(self.sources, connections, strict=True)
            ],
            "target": _place(self.target, self.db.database, self.db.schema_),
            "typeOverrides": [t.model_dump(mode="json") for t in options.type_overrides],
            "zeroDates": options.zero_dates,
            "identifierCase": options.identifier_case,
            "unsignedKeys": options.unsigned_keys,
            **({} if self.follows else chosen),
            ADDRESS: [_address(connection) for connection in self.sources],
        }


ADDRESS = "address"
"""The part of the settings with the addresses of the sources."""

MOST_NAMES = 100
"""Of tables in a checkpoint's settings, which are written with each chunk; a digest of more."""


def _place(connection: Connection, database: str | None, schema: str | None) -> dict[str, Any]:
    """Return what identifies an end apart from the address of its server."""
    if isinstance(connection, DatabaseConnection):
        return {
            "type": connection.kind,
            "database": database or connection.database,
            "schema": schema or connection.schema,
        }
    return {**connection.identity(), "database": database, "schema": schema}


def _address(connection: Connection) -> str | None:
    if not isinstance(connection, DatabaseConnection):
        return None
    way = "" if connection.ssh is None else f" by {connection.ssh.host}:{connection.ssh.port}"
    return f"{connection.unix_socket or connection.host}:{connection.port}{way}"


def _shortened(names: list[list[str]]) -> Any:
    return names if sum(map(len, names)) <= MOST_NAMES else _digest(names)


def _digest(document: Any) -> str:
    text = json.dumps(document, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


# Finding and normalising


@without_locals
def parse_config(
    document: Mapping[str, Any] | str | Path,
    connections: Mapping[str, Any] | None = None,
) -> StreamConfig:
    """Parse a stream config from a document, a JSON text, or the path of a JSON file.

    ``connections`` maps ids or names to connection documents or URLs. Raises `ConfigError` with the
    JSON path of each fault.
    """
    raw = _read(document)
    warnings: list[str] = []
    own = {key: value for key, value in raw.items() if key != SCHEMA}
    cleaned = _without_ignored(nested(own) if is_flat(own) else own, "$", warnings)
    validated = validate(StreamDocument, cleaned)
    inline = [c.connection for c in validated.source.connections] + [validated.target.connection]
    for given, path in zip(inline, _paths(validated), strict=True):
        if isinstance(given, Mapping):
            notes = [key for key in given if key in IGNORED_IN_CONNECTIONS]
            warnings += [f"{path}.connection.{key} {UNUSED}" for key in notes]
    known = connections or {}
    sources = tuple(
        _connection(c.connection, c.connection_id, known, f"$.source.connections[{i}]", c)
        for i, c in enumerate(validated.source.connections)
    )
    target = _connection(validated.target.connection, validated.target.id, known, "$.target", None)
    refuse_contradictions(validated, sources, target)
    validated = _selected(validated)
    warnings += [
        f"{path} is for cdc; a convert ignores it." for path in ignored_in_convert(validated)
    ]
    s3 = validated.target.spec.s3
    if s3 is not None and s3.output_directory.startswith("/"):
        warnings.append(
            "$.target.spec.s3.outputDirectory is a folder of this machine: it is not used, for "
            "objects go straight to the bucket."
        )
    return StreamConfig(validated, sources, target, tuple(warnings))


def _read(document: Mapping[str, Any] | str | Path) -> Mapping[str, Any]:
    where = "$"
    if isinstance(document, Mapping):
        return document
    text = str(document)
    if isinstance(document, Path) or not text.lstrip().startswith("{"):
        where = text
        try:
            text = Path(text).read_text()
        except OSError as error:
            raise ConfigError(
                f"The config file {where} cannot be read: {error.strerror}."
            ) from None
    try:
        loaded = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{where}: invalid JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from None
    if not isinstance(loaded, dict):
        raise ConfigError(f"{where}: expected a JSON object.")
    return loaded


MEANT = {"$.target.id", "$.target.spec.s3.upload.kmsKeyId"}
"""Where keys that are ignored elsewhere mean something."""

NOTES = re.compile(r"\.queries\[\d+\]\.(columns|validated)$|\.format\.useDuckDB$")
"""What the product notes of a query that it tried, and how it writes files: without a meaning
here."""

VERBATIM = (".connection", ".files.columns", ".s3.columns")
"""What has keys of its own: those of another document, and names that the user's data has."""


UNUSED = "is not used here and is ignored."


def _paths(document: StreamDocument) -> list[str]:
    """Return the JSON path of each place that has a connection: the sources', then the target's."""
    numbers = range(len(document.source.connections))
    return [*(f"$.source.connections[{number}]" for number in numbers), "$.target"]


def _without_ignored(value: Any, path: str, warnings: list[str]) -> Any:
    """Return the document without the keys that this library ignores, and append a warning for
    each."""
    if isinstance(value, list):
        return [_without_ignored(v, f"{path}[{i}]", warnings) for i, v in enumerate(value)]
    if not isinstance(value, Mapping) or path.endswith(VERBATIM):
        return value
    kept = {}
    for key, inner in value.items():
        place = f"{path}.{key}"
        if (key in IGNORED and place not in MEANT) or NOTES.search(place):
            warnings.append(f"{place} {UNUSED}")
        else:
            kept[key] = _without_ignored(inner, f"{path}.{key}", warnings)
    return kept


def _selected(document: StreamDocument) -> StreamDocument:
    """Return the document without the tables that are not selected. Raises `ConfigError` if none of
    several is: no tables would mean all."""
    connections = []
    for number, connection in enumerate(document.source.connections):
        tables = [table for table in connection.tables if table.selected]
        served = connection.queries or document.source.queries
        if connection.tables and not tables and not served:
            path = f"$.source.connections[{number}].tables"
            raise ConfigError(
                f"{path}: no table is selected.",
                path=path,
                remedy="Select one, or leave the list out: then all tables are moved.",
            )
        connections.append(connection.model_copy(update={"tables": tables}))
    source = document.source.model_copy(update={"connections": connections})
    return document.model_copy(update={"source": source})


def _connection(
    inline: Any,
    reference: str | None,
    known: Mapping[str, Any],
    path: str,
    place: SourceConnection | None,
) -> Connection:
    if inline is not None:
        return parse_connection(inline, f"{path}.connection")
    key = "connectionId" if place is not None else "id"
    if reference is None:
        raise ConfigError(
            f"{path}: expected '{key}', or 'connection' with a document or URL.", path=path
        )
    connection = known.get(reference)
    if connection is None:
        for candidate in known.values():
            if isinstance(candidate, Mapping) and reference in (
                candidate.get("id"),
                candidate.get("name"),
            ):
                connection = candidate
    if connection is None:
        raise ConfigError(
            f"{path}.{key}: there is no connection '{reference}'.",
            path=f"{path}.{key}",
            remedy=f"Known are: {', '.join(sorted(known)) or 'none'}.",
        )
    return connection if isinstance(connection, Connection) else parse_connection(connection, path)


@without_locals
def from_urls(
    source: Any,
    target: Any,
    *,
    mode: str,
    tables: Sequence[str] | str | None,
    options: Mapping[str, Any],
) -> StreamConfig:
    """Build the config of ``Stream(source, target, ...)``. Raises `ConfigError`."""
    return parse_config(from_keywords(source, target, mode=mode, tables=tables, options=options))


def shown(connection: Connection, document: SourceConnection) -> str:
    """Return the name of a source for messages, without secrets."""
    if isinstance(connection, DatabaseConnection):
        return connection.show(document.database, document.schema_)
    if isinstance(connection, FilesConnection):
        return connection.show(document.files.base_path if document.files else None)
    if isinstance(connection, S3Connection):
        return connection.show(document.s3.bucket if document.s3 else None)
    return connection.show()


def refuse_meaningless(config: StreamConfig) -> None:
    """Raise `ConfigError`, by path, for options that have no meaning for these connections or this
    mode; never ignore one."""
    kinds = {getattr(end, "kind", None) for end in config.sources}
    same = getattr(config.target, "kind", None) == "postgresql" and "postgresql" in kinds
    if config.options.identifier_case == "lower" and same:
        raise ConfigError(
            "$.options.identifierCase: between PostgreSQL servers names stay unchanged, because "
            "the application's defaults, checks and views refer to them.",
            path="$.options.identifierCase",
            remedy="Leave it out.",
        )
    if not config.follows:
        return
    for i, connection in enumerate(config.document.source.connections):
        for j, table in enumerate(connection.tables):
            path = f"$.source.connections[{i}].tables[{j}]"
            chosen = table.selection
            unfit = {
                f"{path}.query": table.query is not None,
                f"{path}.selection.filters": bool(chosen.filters),
                f"{path}.selection.sorts": bool(chosen.sorts),
                f"{path}.selection.limit": chosen.limit is not None,
            }
            for where, present in unfit.items():
                if present:
                    raise ConfigError(
                        f"{where}: a cdc reads whole tables.",
                        path=where,
                        remedy="Leave it out, or use mode convert.",
                    )
