"""Nested stream document: its keys, types and defaults."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from streams_engine.config.options import Mode, Operation, SchemaPolicy, WriteMode
from streams_engine.config.validation import Document

__all__ = ["DatabaseSpec", "Options", "SourceConnection", "StreamDocument", "TypeOverride"]

OPERATORS = (
    "=", "!=", "<", "<=", ">", ">=", "IN", "NOT IN", "LIKE", "NOT LIKE", "BETWEEN", "CONTAINS",
    "NOT_CONTAINS", "STARTS_WITH", "ENDS_WITH", "IS NULL", "IS NOT NULL",
)  # fmt: skip


_INTERVALS = r"(?::[a-z_]\w{0,31})?(?::\d+(?:-\d+)?)+"
_UUID = r"[0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12}"
_MYSQL = rf"{_UUID}(?:{_INTERVALS})+"
POSITIONS = (
    re.compile(r"[^\s:,/]+\.\d+:\d+"),
    re.compile(rf"{_MYSQL}(?:\s*,\s*{_MYSQL})*,?", re.I),
    re.compile(r"\d+-\d+-\d+(?:\s*,\s*\d+-\d+-\d+)*"),
)
"""What a place in a binary log is written as: file and offset, MySQL's GTID sets, MariaDB's."""


def bytes_of(value: Any) -> Any:
    """Parse a number of bytes: an integer, or a text such as ``256MB``."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(\d+)\s*([KMG]?)B?", value.strip(), re.I)
    if not match:
        raise ValueError("expected a number of bytes, or a text such as 256MB")
    return int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[match[2].upper()]


class FilterDocument(Document):
    """One condition; several are AND-ed."""

    column: str
    """The column's name."""
    operator: str = "="
    """How the column is compared; in any letter case."""
    value: Any = None
    """What it is compared with: a list for IN and NOT IN, a list of two for BETWEEN, nothing for
    IS NULL and IS NOT NULL."""

    @field_validator("operator")
    @classmethod
    def _known(cls, operator: str) -> str:
        if operator.upper() not in OPERATORS:
            raise ValueError(f"expected one of {', '.join(OPERATORS)}")
        return operator.upper()


class SortDocument(Document):
    """One sort key."""

    column: str
    """The column's name."""
    direction: Literal["asc", "desc", "ASC", "DESC"] = "asc"
    """Ascending or descending."""


class Selection(Document):
    """Columns and rows to select from a table."""

    selected_columns: list[str] = Field(default_factory=list)
    """Only these columns, in this order; empty: all of them."""
    filters: list[FilterDocument] = Field(default_factory=list)
    """Only rows that meet every one of these conditions."""
    sorts: list[SortDocument] = Field(default_factory=list)
    """The order in which `limit` counts rows, the first key first."""
    limit: int | None = Field(default=None, ge=0)
    """At most so many rows; null: all of them."""


class TableDocument(Document):
    """One table of a source."""

    name: str = Field(min_length=1)
    """The table: `table`, or `schema.table` (MySQL: `database.table`)."""
    selection: Selection = Selection()
    """Which of its columns and rows. A cdc takes `selectedColumns` alone."""
    query: str | None = None
    """A query in place of the table; its result goes into a table of this name. Convert only."""
    operations: list[Operation] | None = Field(None, min_length=1)
    """Of a cdc: the kinds of change that are applied to this table; null: those of
    `source.options.operations`."""


class QueryDocument(Document):
    """A query whose result becomes the target table of that name."""

    name: str = Field(min_length=1)
    """The table on the target that takes the result."""
    query: str = Field(min_length=1)
    """One statement that reads, in the SQL of the source; over several sources in DuckDB's."""


class CsvFormat(Document):
    """The dialect of CSV files. As a source without a delimiter: found out."""

    delimiter: str | None = Field(None, min_length=1, max_length=1)
    """What separates fields: one ASCII character. A source without it finds it out, a target
    takes the comma."""
    quote: str = Field('"', min_length=1, max_length=1)
    """What encloses a field: one ASCII character."""
    header: bool = True
    """The first line names the columns. A source without it calls them c1, c2, ..."""


class FilesSourceDocument(Document):
    """Files of a source. ``csv`` and ``columns`` are this library's own keys.

    ``columns`` gives, by table and column, the Arrow type to read instead of the inferred one.
    """

    base_path: str | None = None
    """The folder or file to read, in place of the connection's."""
    paths: list[str] = Field(default_factory=list)
    """Only these files and folders, relative to the folder; empty: all that are in it."""
    csv: CsvFormat = CsvFormat()
    """The dialect of CSV files."""
    columns: dict[str, dict[str, str]] = Field(default_factory=dict)
    """By table and column, the Arrow type to read it as instead of what was found, as
    `decimal128(12, 2)`."""
    max_record_bytes: int = Field(64 << 20, ge=1 << 10)
    """Bytes, or a text as `64MB`: a row or line that is longer is refused, and not held."""
    max_columns: int = Field(1600, ge=1)
    """A file of more columns is refused."""

    _record_bytes = field_validator("max_record_bytes", mode="before")(bytes_of)


class S3SourceDocument(Document):
    """Objects of a source."""

    bucket: str | None = None
    """The bucket to read, in place of the connection's."""
    prefixes: list[str] = Field(default_factory=list)
    """Only what is below these prefixes; empty: all that is below the connection's."""
    csv: CsvFormat = CsvFormat()
    """The dialect of CSV files."""
    columns: dict[str, dict[str, str]] = Field(default_factory=dict)
    """By table and column, the Arrow type to read it as instead of what was found."""
    max_record_bytes: int = Field(64 << 20, ge=1 << 10)
    """Bytes, or a text as `64MB`: a row or line that is longer is refused, and not held."""
    max_columns: int = Field(1600, ge=1)
    """A file of more columns is refused."""

    _record_bytes = field_validator("max_record_bytes", mode="before")(bytes_of)


class SourceConnection(Document):
    """One source connection, by id or inline."""

    alias: str | None = Field(None, pattern=r"^[A-Za-z][A-Za-z0-9_]*$")
    """What tells several sources apart: a letter, then letters, digits and `_`. Required, and
    unique, where there are several; their tables get it as a prefix, `alias_`."""
    connection_id: str | None = None
    """The id or name of a connection that is given beside the document, or stored in an
    `Engine`."""
    connection: Any = Field(None, repr=False)
    """The connection itself, as a document or a URL. Not in an `Engine`."""
    database: str | None = None
    """The database, in place of the connection's."""
    schema_: str | None = Field(default=None, alias="schema")
    """PostgreSQL: only tables of this schema; null: of every schema."""
    tables: list[TableDocument] = Field(default_factory=list)
    """The tables to move. Without tables and queries: all user tables."""
    queries: list[QueryDocument] = Field(default_factory=list)
    """Queries whose results become tables. Convert only."""
    files: FilesSourceDocument | None = None
    """What to read of a connection to a folder."""
    s3: S3SourceDocument | None = None
    """What to read of a connection to a bucket."""


class SourceOptions(Document):
    """Options for reading the source."""

    data_bundle_size: int = Field(500, ge=10, le=1000)
    """Rows in a bundle, in which rows pass from the source to the target. It does not set the
    speed."""
    operations: tuple[Operation, ...] = Field(
        default=("insert", "update", "delete"), strict=False, min_length=1
    )
    """Of a cdc: the kinds of change that are applied."""
    replication_slot: str | None = None
    """PostgreSQL: the slot of a cdc; null: named after the stream."""
    publication_name: str | None = None
    """PostgreSQL: the publication of a cdc; null: named after the stream."""
    partial_publication: bool = False
    """PostgreSQL: follow also a publication that leaves out rows, columns or kinds of change, or
    that was altered since; what it leaves out is missing on the target. Where false it is
    refused."""

    @field_validator("replication_slot")
    @classmethod
    def _is_slot(cls, value: str | None) -> str | None:
        if value and not re.fullmatch(r"[a-z0-9_]{1,63}", value):
            raise ValueError("a slot name has 1 to 63 characters of a-z, 0-9 and _")
        return value

    @field_validator("publication_name")
    @classmethod
    def _is_publication(cls, value: str | None) -> str | None:
        # The server would cut a longer one, and find another publication.
        if value and (len(value.encode()) > 63 or "\0" in value):
            raise ValueError("a publication name has at most 63 bytes")
        return value

    binlog_position: str | None = None
    """MySQL, MariaDB: where a cdc without an initial load begins, `file:pos` or a GTID set;
    null: at the end of the log."""
    server_id: int = Field(0, ge=0)
    """MySQL, MariaDB: the server id of a cdc as a replica; 0: a random high number."""
    initial_load: bool = True
    """Of a cdc: load the tables first, then follow the log."""

    @field_validator("binlog_position")
    @classmethod
    def _is_position(cls, value: str | None) -> str | None:
        if value and not any(form.fullmatch(value.strip()) for form in POSITIONS):
            raise ValueError("expected 'file:pos' or a GTID set, as the server prints them")
        return value


class SourceDocument(Document):
    """All sources of a stream."""

    connections: list[SourceConnection] = Field(min_length=1)
    """The sources, at least one."""
    queries: list[QueryDocument] = Field(default_factory=list)
    """Statements over several of the connections, which name tables `alias.schema.table`. A
    connection without tables and queries of its own is then there for them alone. Convert only."""
    options: SourceOptions = SourceOptions()
    """How they are read."""


class StructureOptions(Document):
    """The parts of the structure to create on the target."""

    tables: bool = True
    """Make tables that are missing, with their types and primary keys. Where false they have to
    be there."""
    indexes: bool = True
    """Make the indexes and unique keys of tables that this run makes."""
    foreign_keys: bool = True
    """Make their foreign keys, after the rows."""
    check_constraints: bool = True
    """Make their check constraints."""


class DatabaseSpec(Document):
    """Place in the target server, and options for writing to it."""

    database: str | None = None
    """The database, in place of the connection's. It is made where it is missing."""
    schema_: str | None = Field(default=None, alias="schema")
    """PostgreSQL: the one schema for all tables; null: `public` for MySQL and files, each table's
    own for PostgreSQL."""
    structure_options: StructureOptions = StructureOptions()
    """Which parts of the structure are made."""
    schema_policy: SchemaPolicy = "create_missing_only"
    """What to do about tables that are there: make those that are missing and check that the
    others fit; make none; fail; or drop and make them again. Not for files."""
    write_mode: WriteMode | None = None
    """What to do about rows that are there; null: `fail_if_not_empty`, in a cdc `upsert` (the
    only one it takes)."""
    skip_data: bool = False
    """Make the structure alone."""


class FileFormat(Document):
    """Format and compression of the files to write."""

    compression: Literal["none", "snappy", "gzip", "zstd"] | None = None
    """Parquet: any of them; CSV and JSONL: none, gzip or zstd. null: zstd for Parquet, none for
    the others."""
    csv: CsvFormat = CsvFormat()
    """The dialect of CSV files."""


class FilesSpec(Document):
    """A folder as target."""

    file_format: Literal["csv", "jsonl", "parquet"]
    """The format of the files."""
    format: FileFormat = FileFormat()
    """How they are written."""


class Upload(Document):
    """Options for storing objects in a bucket."""

    bucket: str | None = None
    """The bucket, in place of the connection's."""
    prefix: str = ""
    """What the names of all objects begin with, after the connection's prefix."""
    storage_class: str = "STANDARD"
    """The storage class of each object."""
    server_side_enc: Literal["", "AES256", "aws:kms", "aws:kms:dsse"] = ""
    """Server-side encryption; empty: what the bucket does."""
    kms_key_id: str | None = None
    """The key of `aws:kms` and `aws:kms:dsse`: its id, ARN or alias; null: the account's own for
    S3. Refused without them."""

    @model_validator(mode="after")
    def _key_is_used(self) -> Upload:
        if self.kms_key_id and not self.server_side_enc.startswith("aws:kms"):
            raise ValueError("'kmsKeyId' needs serverSideEnc 'aws:kms'")
        return self


class S3Spec(Document):
    """A bucket as target."""

    output_directory: str = ""
    """A last part of the prefix, after `upload.prefix`."""
    file_format: Literal["csv", "jsonl", "parquet"]
    """The format of the objects."""
    format: FileFormat = FileFormat()
    """How they are written."""
    upload: Upload = Upload()
    """Where they go, and how they are stored."""


class TargetSpec(Document):
    """One of three kinds of target."""

    db: DatabaseSpec = DatabaseSpec()
    """Of a database as target. Its `writeMode` and `skipData` alone are for a folder or bucket
    too."""
    files: FilesSpec | None = None
    """Of a folder as target."""
    s3: S3Spec | None = None
    """Of a bucket as target."""


class TargetDocument(Document):
    """The target, by id or inline."""

    id: str | None = None
    """The id or name of a connection that is given beside the document, or stored in an
    `Engine`."""
    connection: Any = Field(None, repr=False)
    """The connection itself, as a document or a URL. Not in an `Engine`."""
    spec: TargetSpec = TargetSpec()
    """Where in it, and how."""


class Limits(Document):
    """Limits at which a run ends by itself; 0 means no limit."""

    number_of_events: int = Field(0, ge=0)
    """End after so many rows: exactly in a convert, in a cdc at the first commit at or after
    them. 0: no limit."""
    elapsed_time: float = Field(0, ge=0)
    """End after so many seconds of running; paused time does not count. 0: no limit."""

    @field_validator("elapsed_time", mode="before")
    @classmethod
    def _seconds(cls, value: Any) -> Any:
        return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


class TypeOverride(Document):
    """A target type for one column, or for every column of a source type."""

    column: str | None = None
    """The column, as `table.column` or `schema.table.column`. This or `from`."""
    from_: str | None = Field(None, alias="from")
    """The source type whose columns are meant. This or `column`."""
    type: str | None = None
    """The target type. This or `to`."""
    to: str | None = None
    """The target type. This or `type`."""

    @model_validator(mode="after")
    def _complete(self) -> TypeOverride:
        if (self.column is None) == (self.from_ is None):
            raise ValueError("expected exactly one of 'column' and 'from'")
        if (self.type is None) == (self.to is None):
            raise ValueError("expected exactly one of 'type' and 'to'")
        return self


class Dask(Document):
    """A Dask cluster, whose workers copy chunks."""

    dask: str = Field(min_length=1)
    """The address of its scheduler, as `tcp://scheduler:8786`."""


class Options(Document):
    """This library's own settings, all optional."""

    type_overrides: list[TypeOverride] = Field(default_factory=list)
    """Other target types than the usual ones."""
    zero_dates: Literal["null", "error", "text"] = "null"
    """What becomes of MySQL's zero and partial dates: NULL with a count, a bad row, or every
    date column as text."""
    unsigned_keys: Literal["exact", "bigint"] = "exact"
    """BIGINT UNSIGNED keys that MySQL numbers, and what refers to them, on PostgreSQL:
    `numeric(20)`, which holds every value, or `bigint`, where one beyond 2^63 - 1 is a bad row."""
    identifier_case: Literal["preserve", "lower"] = "preserve"
    """Names of tables and columns on the target: as they are, or in lower case. Within MySQL and
    into files only tables are renamed, and between PostgreSQL servers nothing is."""
    allow_empty: bool = False
    """A source that holds no table at all is meant, as a database that is to be followed from its
    first table on. Otherwise it is an error."""
    allow_lossy: bool = False
    """Permit a mapping, or a change of structure, that can lose something."""
    on_error: Literal["fail", "quarantine"] = "fail"
    """A row that the target refuses ends the run, or is set aside with its reason."""
    on_resume: Literal["reload", "mixed"] = "reload"
    """After a restart on a source that changed: load everything again in one view, or keep
    finished parts and say so."""
    schema_changes: Literal["apply", "ignore", "fail"] = "apply"
    """Of a cdc: carry changes of structure over, leave the target as it is, or fail."""
    on_rewrite: Literal["reload", "fail"] = "reload"
    """Of a cdc: a change of structure that gives rows values which the log does not hold reads the
    table again, or ends the stream."""
    parallelism: int = Field(4, ge=1, le=64)
    """Readers and writers that work at once."""
    chunk_rows: int = Field(250_000, ge=1)
    """Rows of a chunk: what one reader copies at a time. Smaller ones share a table among more
    readers, or workers of a cluster, and leave less of a table without a key to read again."""
    memory_budget: int = Field(256 << 20, ge=16 << 20)
    """Bytes, or a text as `256MB`. It bounds the readers and writers: about 48 MB each."""
    reconnect_timeout: float = Field(0, ge=0)
    """A server that is away is waited for: at most so many seconds, then the stream fails. 0: for
    as long as it takes. Only once rows are being copied or the log is followed: a start that finds
    no server fails at once."""
    heartbeat_timeout: float = Field(30, ge=1)
    """Seconds without any sign of life after which a connection is taken for dead."""
    lock_timeout: float = Field(10, ge=1)
    """Seconds that a statement waits for a lock that another session holds. A cdc that follows its
    log, and a load, then tell of it and try again, for as long as `reconnectTimeout` says."""
    max_retained_bytes: int = Field(default=0, ge=0)
    """Of a cdc from PostgreSQL: fail once the server keeps more log than this for the stream.
    0: no limit."""
    state_schema: str | None = None
    """Where on the target checkpoint and rows set aside lie; null: the schema `streams_engine`
    on PostgreSQL, the target database on MySQL."""
    executor: Dask | Any = None
    """What copies chunks: `{"dask": "tcp://scheduler:8786"}`, the workers of that Dask cluster;
    from Python also `client.get_executor()`, or a `concurrent.futures.Executor` of threads.
    null: threads of its own."""

    @field_validator("executor", mode="before")
    @classmethod
    def _cluster(cls, value: Any) -> Any:
        return Dask.model_validate(value) if isinstance(value, dict) else value

    @field_validator("reconnect_timeout", "heartbeat_timeout", "lock_timeout", mode="before")
    @classmethod
    def _seconds(cls, value: Any) -> Any:
        return float(value) if isinstance(value, int) and not isinstance(value, bool) else value

    _budget_bytes = field_validator("memory_budget", mode="before")(bytes_of)


class StreamDocument(Document):
    """The canonical, nested document."""

    name: str | None = Field(None, min_length=1)
    """What the stream is known by, and its checkpoint kept under; null: a digest of source, target,
    mode and tables."""
    mode: Mode
    """Copy once, or copy and then follow the log. `load` means convert."""
    reporting_interval: int = Field(3, ge=1)
    """Seconds between two reports."""
    source: SourceDocument
    """Where the data come from."""
    target: TargetDocument
    """Where they go."""
    limits: Limits = Limits()
    """When a run ends by itself."""
    options: Options = Options()
    """This library's own settings."""

    @field_validator("mode", mode="before")
    @classmethod
    def _load(cls, value: Any) -> Any:
        return "convert" if value == "load" else value
