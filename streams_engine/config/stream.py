"""Stream configs: the nested document, the flat one of the first generation, and two URLs."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from streams_engine.config.connection import Connection, parse_connection
from streams_engine.config.validation import IGNORED, Document, validate
from streams_engine.errors import ConfigError

__all__ = ["Options", "StreamConfig", "parse_config"]

Mode = Literal["convert", "cdc"]
SchemaPolicy = Literal[
    "fail_if_exists", "validate_existing", "create_missing_only", "drop_and_recreate"
]
WriteMode = Literal["fail_if_not_empty", "append", "truncate_and_load", "upsert"]
OPERATORS = (
    "=", "!=", "<", "<=", ">", ">=", "IN", "NOT IN", "LIKE", "NOT LIKE", "BETWEEN", "CONTAINS",
    "NOT_CONTAINS", "STARTS_WITH", "ENDS_WITH", "IS NULL", "IS NOT NULL",
)  # fmt: skip


class FilterDocument(Document):
    """One condition; several are AND-ed."""

    column: str
    operator: str = "="
    value: Any = None

    @field_validator("operator")
    @classmethod
    def _known(cls, operator: str) -> str:
        if operator.upper() not in OPERATORS:
            raise ValueError(f"expected one of {', '.join(OPERATORS)}")
        return operator.upper()


class SortDocument(Document):
    """One sort key."""

    column: str
    direction: Literal["asc", "desc", "ASC", "DESC"] = "asc"


class Selection(Document):
    """Which columns and rows of a table."""

    selected_columns: list[str] = Field(default_factory=list)
    filters: list[FilterDocument] = Field(default_factory=list)
    sorts: list[SortDocument] = Field(default_factory=list)
    limit: int | None = Field(default=None, ge=0)


class TableDocument(Document):
    """One table of a source."""

    name: str = Field(min_length=1)
    selection: Selection = Selection()
    query: str | None = None
    operations: list[Literal["insert", "update", "delete"]] | None = None


class QueryDocument(Document):
    """A query whose result becomes the target table of that name."""

    name: str = Field(min_length=1)
    query: str = Field(min_length=1)


class FilesSource(Document):
    """Files of a source."""

    base_path: str | None = None
    paths: list[str] = Field(default_factory=list)


class S3Source(Document):
    """Objects of a source."""

    bucket: str | None = None
    prefixes: list[str] = Field(default_factory=list)


class SourceConnection(Document):
    """One source connection, by id or inline."""

    alias: str | None = Field(None, pattern=r"^[A-Za-z][A-Za-z0-9_]*$")
    connection_id: str | None = None
    connection: Any = None
    database: str | None = None
    schema_: str | None = Field(None, alias="schema")
    tables: list[TableDocument] = Field(default_factory=list)
    queries: list[QueryDocument] = Field(default_factory=list)
    files: FilesSource | None = None
    s3: S3Source | None = None


class SourceOptions(Document):
    """How the source is read."""

    data_bundle_size: int = Field(500, ge=10, le=1000)
    operations: tuple[Literal["insert", "update", "delete"], ...] = Field(
        default=("insert", "update", "delete"), strict=False
    )
    replication_slot: str | None = None
    publication_name: str | None = None
    binlog_position: str | None = None
    server_id: int = Field(0, ge=0)
    initial_load: bool = True


class SourceDocument(Document):
    """All sources of a stream."""

    connections: list[SourceConnection] = Field(min_length=1)
    options: SourceOptions = SourceOptions()


class StructureOptions(Document):
    """What of the structure is made on the target."""

    tables: bool = True
    indexes: bool = True
    foreign_keys: bool = True
    check_constraints: bool = True


class DatabaseSpec(Document):
    """Where in the target server, and how."""

    database: str | None = None
    schema_: str | None = Field(None, alias="schema")
    structure_options: StructureOptions = StructureOptions()
    schema_policy: SchemaPolicy = "create_missing_only"
    write_mode: WriteMode | None = None
    skip_data: bool = False


class CsvFormat(Document):
    """How CSV is written."""

    delimiter: str = Field(",", min_length=1, max_length=1)
    quote: str = Field('"', min_length=1, max_length=1)
    header: bool = True


class FileFormat(Document):
    """How files are written."""

    compression: Literal["none", "snappy", "gzip", "zstd"] | None = None
    csv: CsvFormat = CsvFormat()


class FilesSpec(Document):
    """A folder as target."""

    file_format: Literal["csv", "jsonl", "parquet"]
    format: FileFormat = FileFormat()


class Upload(Document):
    """How objects are stored."""

    bucket: str | None = None
    prefix: str = ""
    storage_class: str = "STANDARD"
    server_side_enc: str = ""


class S3Spec(Document):
    """A bucket as target."""

    output_directory: str = ""
    file_format: Literal["csv", "jsonl", "parquet"]
    format: FileFormat = FileFormat()
    upload: Upload = Upload()


class TargetSpec(Document):
    """One of three kinds of target."""

    db: DatabaseSpec = DatabaseSpec()
    files: FilesSpec | None = None
    s3: S3Spec | None = None


class TargetDocument(Document):
    """The target, by id or inline."""

    id: str | None = None
    connection: Any = None
    spec: TargetSpec = TargetSpec()


class Limits(Document):
    """When a run ends by itself; 0: never."""

    number_of_events: int = Field(0, ge=0)
    elapsed_time: float = Field(0, ge=0)

    @field_validator("elapsed_time", mode="before")
    @classmethod
    def _seconds(cls, value: Any) -> Any:
        return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


class TypeOverride(Document):
    """A target type for one column, or for every column of a source type."""

    column: str | None = None
    from_: str | None = Field(None, alias="from")
    type: str | None = None
    to: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> TypeOverride:
        if (self.column is None) == (self.from_ is None):
            raise ValueError("expected exactly one of 'column' and 'from'")
        if (self.type is None) == (self.to is None):
            raise ValueError("expected exactly one of 'type' and 'to'")
        return self


class Options(Document):
    """This library's own settings, all optional."""

    type_overrides: list[TypeOverride] = Field(default_factory=list)
    zero_dates: Literal["null", "error", "text"] = "null"
    identifier_case: Literal["preserve", "lower"] = "preserve"
    allow_lossy: bool = False
    on_error: Literal["fail", "quarantine"] = "fail"
    on_resume: Literal["reload", "mixed"] = "reload"
    schema_changes: Literal["apply", "ignore", "fail"] = "apply"
    parallelism: int = Field(4, ge=1, le=64)
    memory_budget: int = Field(256 << 20, ge=16 << 20)
    max_retained_bytes: int = Field(default=0, ge=0)
    state_schema: str | None = None
    executor: Any = None

    @field_validator("memory_budget", mode="before")
    @classmethod
    def _bytes(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        match = re.fullmatch(r"(\d+)\s*([KMG]?)B?", value.strip(), re.I)
        if not match:
            raise ValueError("expected a number of bytes, or a text as 256MB")
        return int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[match[2].upper()]


class StreamDocument(Document):
    """The canonical, nested document."""

    name: str | None = Field(None, min_length=1)
    mode: Mode
    reporting_interval: int = Field(3, ge=1)
    source: SourceDocument
    target: TargetDocument
    limits: Limits = Limits()
    options: Options = Options()

    @field_validator("mode", mode="before")
    @classmethod
    def _load(cls, value: Any) -> Any:
        return "convert" if value == "load" else value

    @model_validator(mode="after")
    def _consistent(self) -> StreamDocument:
        aliases = [c.alias for c in self.source.connections]
        if len(aliases) > 1 and (None in aliases or len(set(aliases)) < len(aliases)):
            raise ValueError("several source connections each need an alias of their own")
        write_mode = self.target.spec.db.write_mode
        if self.mode == "cdc" and write_mode not in (None, "upsert"):
            raise ValueError(f"cdc is always upsert: writeMode '{write_mode}' is for convert")
        if self.mode == "cdc" and any(c.queries for c in self.source.connections):
            raise ValueError("queries are for convert only")
        return self


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
        """Where in the target server, and how."""
        return self.document.target.spec.db

    @property
    def write_mode(self) -> str:
        """The write mode with its default by mode."""
        chosen = self.db.write_mode
        return chosen or ("upsert" if self.document.mode == "cdc" else "fail_if_not_empty")

    def identity(self) -> str:
        """A digest of source, target, mode and tables; no secret goes into it."""
        connections = self.document.source.connections
        return _digest(
            {
                "sources": [s.identity() for s in self.sources],
                "target": self.target.identity(),
                "mode": self.document.mode,
                "where": [[c.database, c.schema_] for c in connections],
                "tables": [[t.name for t in c.tables] for c in connections],
                "queries": [[q.name for q in c.queries] for c in connections],
                "into": [self.db.database, self.db.schema_],
            }
        )

    def fingerprint(self) -> str:
        """A digest of what must be the same for a checkpoint to fit."""
        options = self.options
        return _digest(
            {
                "identity": self.identity(),
                "selection": [
                    [t.model_dump(mode="json") for t in c.tables]
                    for c in self.document.source.connections
                ],
                "queries": [
                    [q.model_dump(mode="json") for q in c.queries]
                    for c in self.document.source.connections
                ],
                "types": [t.model_dump(mode="json") for t in options.type_overrides],
                "dates": options.zero_dates,
                "case": options.identifier_case,
            }
        )


def _digest(document: Any) -> str:
    text = json.dumps(document, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


# Finding and normalising


def parse_config(
    document: Mapping[str, Any] | str | Path,
    connections: Mapping[str, Any] | None = None,
) -> StreamConfig:
    """A stream config from a document, a JSON text, or the path of a JSON file.

    ``connections`` maps ids or names to connection documents or URLs. Raises
    `ConfigError` with the JSON path of each fault.
    """
    raw = _read(document)
    warnings: list[str] = []
    nested = _nested(raw, warnings) if _is_flat(raw) else raw
    cleaned = _without_ignored(nested, "$", warnings)
    found = validate(StreamDocument, cleaned)
    known = connections or {}
    sources = tuple(
        _connection(c.connection, c.connection_id, known, f"$.source.connections[{i}]", c)
        for i, c in enumerate(found.source.connections)
    )
    target = _connection(found.target.connection, found.target.id, known, "$.target", None)
    return StreamConfig(found, sources, target, tuple(warnings))


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
            f"{where}: not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from None
    if not isinstance(loaded, dict):
        raise ConfigError(f"{where}: expected a JSON object.")
    return loaded


def _without_ignored(value: Any, path: str, warnings: list[str]) -> Any:
    """The document without the product's own keys that mean nothing here."""
    if isinstance(value, list):
        return [_without_ignored(v, f"{path}[{i}]", warnings) for i, v in enumerate(value)]
    if not isinstance(value, Mapping) or path.endswith(".connection"):
        return value
    kept = {}
    for key, inner in value.items():
        if key in IGNORED and f"{path}.{key}" != "$.target.id":
            warnings.append(f"{path}.{key} means nothing here and is ignored.")
        else:
            kept[key] = _without_ignored(inner, f"{path}.{key}", warnings)
    return kept


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
    found = known.get(reference)
    if found is None:
        for candidate in known.values():
            if isinstance(candidate, Mapping) and reference in (
                candidate.get("id"),
                candidate.get("name"),
            ):
                found = candidate
    if found is None:
        raise ConfigError(
            f"{path}.{key}: there is no connection '{reference}'.",
            path=f"{path}.{key}",
            remedy=f"Known are: {', '.join(sorted(known)) or 'none'}.",
        )
    return found if not isinstance(found, Mapping | str) else parse_connection(found, path)


FLAT_KEYS = frozenset(
    {"name", "source", "target", "mode", "dataBundleSize", "reportingIntervals", "tables",
     "limits", "createStructure", "skipIndexCreation", "options"}
)  # fmt: skip


def _is_flat(raw: Mapping[str, Any]) -> bool:
    return isinstance(raw.get("source"), str) or isinstance(raw.get("target"), str)


def _nested(raw: Mapping[str, Any], warnings: list[str]) -> dict[str, Any]:
    """The flat document of the first generation as a nested one."""
    unknown = sorted(set(raw) - FLAT_KEYS - IGNORED)
    if unknown:
        raise ConfigError(
            f"$.{unknown[0]}: unknown key; known are: {', '.join(sorted(FLAT_KEYS))}.",
            path=f"$.{unknown[0]}",
        )
    tables, queries = [], []
    for table in raw.get("tables", []):
        if isinstance(table, Mapping) and table.get("query"):
            queries.append({"name": table.get("name"), "query": table["query"]})
        else:
            tables.append(table)
    create = raw.get("createStructure", True)
    structure: dict[str, Any] = {"tables": create}
    if raw.get("skipIndexCreation"):
        structure["indexes"] = False
    intervals = raw.get("reportingIntervals") or {}
    options = {"dataBundleSize": raw["dataBundleSize"]} if "dataBundleSize" in raw else {}
    nested: dict[str, Any] = {
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
            "spec": {
                "db": {
                    "structureOptions": structure,
                    "schemaPolicy": "create_missing_only" if create else "validate_existing",
                }
            },
        },
    }
    return nested | {key: raw[key] for key in ("limits", "options") if key in raw}


# Keywords of Stream(source, target, ...)

KEYWORDS: Mapping[str, tuple[str, ...]] = {
    "name": ("name",),
    "reporting_interval": ("reportingInterval",),
    "limits": ("limits",),
    "data_bundle_size": ("source", "options", "dataBundleSize"),
    "initial_load": ("source", "options", "initialLoad"),
    "database": ("target", "spec", "db", "database"),
    "schema": ("target", "spec", "db", "schema"),
    "schema_policy": ("target", "spec", "db", "schemaPolicy"),
    "write_mode": ("target", "spec", "db", "writeMode"),
    "skip_data": ("target", "spec", "db", "skipData"),
    "structure_options": ("target", "spec", "db", "structureOptions"),
    "type_overrides": ("options", "typeOverrides"),
    "zero_dates": ("options", "zeroDates"),
    "identifier_case": ("options", "identifierCase"),
    "allow_lossy": ("options", "allowLossy"),
    "on_error": ("options", "onError"),
    "on_resume": ("options", "onResume"),
    "parallelism": ("options", "parallelism"),
    "memory_budget": ("options", "memoryBudget"),
    "state_schema": ("options", "stateSchema"),
}


def from_urls(
    source: Any, target: Any, *, mode: str, tables: list[str] | None, options: Mapping[str, Any]
) -> StreamConfig:
    """The config of ``Stream(source, target, ...)``. Raises `ConfigError` on an unknown keyword."""
    document: dict[str, Any] = {
        "mode": mode,
        "source": {
            "connections": [
                {"connection": source, "tables": [{"name": name} for name in tables or []]}
            ]
        },
        "target": {"connection": target},
    }
    for keyword, value in options.items():
        path = KEYWORDS.get(keyword)
        if path is None:
            raise ConfigError(
                f"'{keyword}' is no option of a stream.",
                path=f"$.{keyword}",
                remedy=f"Known are: {', '.join(sorted(KEYWORDS))}.",
            )
        place = document
        for step in path[:-1]:
            place = place.setdefault(step, {})
        place[path[-1]] = value
    return parse_config(document)
