"""The nested stream document, key by key: what may stand where, and the defaults."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from streams_engine.config.validation import Document

__all__ = ["DatabaseSpec", "Options", "SourceConnection", "StreamDocument", "TypeOverride"]

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


class CsvFormat(Document):
    """The dialect of CSV files. As a source without a delimiter: found out."""

    delimiter: str | None = Field(None, min_length=1, max_length=1)
    quote: str = Field('"', min_length=1, max_length=1)
    header: bool = True


class FilesSource(Document):
    """Files of a source. ``csv`` and ``columns`` are this library's own.

    ``columns``: by table, by column, the Arrow type to read it as instead of what was found.
    """

    base_path: str | None = None
    paths: list[str] = Field(default_factory=list)
    csv: CsvFormat = CsvFormat()
    columns: dict[str, dict[str, str]] = Field(default_factory=dict)


class S3Source(Document):
    """Objects of a source."""

    bucket: str | None = None
    prefixes: list[str] = Field(default_factory=list)
    csv: CsvFormat = CsvFormat()
    columns: dict[str, dict[str, str]] = Field(default_factory=dict)


class SourceConnection(Document):
    """One source connection, by id or inline."""

    alias: str | None = Field(None, pattern=r"^[A-Za-z][A-Za-z0-9_]*$")
    connection_id: str | None = None
    connection: Any = None
    database: str | None = None
    schema_: str | None = Field(default=None, alias="schema")
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
    schema_: str | None = Field(default=None, alias="schema")
    structure_options: StructureOptions = StructureOptions()
    schema_policy: SchemaPolicy = "create_missing_only"
    write_mode: WriteMode | None = None
    skip_data: bool = False


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
