"""Nested stream document: its keys, types and defaults."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from streams_engine.config.connection_documents import FileFormatName
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
    """The comparison, in any letter case."""
    value: Any = None
    """The value to compare with: a list for IN and NOT IN, a list of two for BETWEEN, none for IS
    NULL and IS NOT NULL."""

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
    """Only these columns, in this order; empty: all columns."""
    filters: list[FilterDocument] = Field(default_factory=list)
    """Only rows that meet all of these conditions."""
    sorts: list[SortDocument] = Field(default_factory=list)
    """The order of the rows to which `limit` applies; the first key is the main one."""
    limit: int | None = Field(default=None, ge=0)
    """At most this many rows; null: all rows."""


class TableDocument(Document):
    """One table of a source."""

    name: str = Field(min_length=1)
    """The table: `table`, or `schema.table` (MySQL: `database.table`)."""
    selected: bool = Field(True, exclude=True)
    """If false, the table is left out."""
    selection: Selection = Selection()
    """Which of its columns and rows. A cdc accepts only `selectedColumns`."""
    query: str | None = None
    """A query instead of the table; its result becomes a table of this name. Convert only."""
    operations: list[Operation] | None = Field(None, min_length=1)
    """Cdc only: the operations to apply to this table; null: those of
    `source.options.operations`."""


class QueryDocument(Document):
    """A query whose result becomes the target table of that name."""

    name: str = Field(min_length=1)
    """The name of the target table for the result."""
    query: str = Field(min_length=1)
    """One read-only statement, in the SQL of the source; over several sources in DuckDB's SQL."""


class CsvFormat(Document):
    """The dialect of CSV files."""

    delimiter: str | None = Field(None, min_length=1, max_length=1)
    """The separator of fields: one ASCII character. null: a source detects it, a target uses the
    comma."""
    quote: str = Field('"', min_length=1, max_length=1)
    """The quote character of fields: one ASCII character."""
    header: bool = True
    """The first line names the columns. If false, the columns of a source are named c1, c2,
    ..."""


class FilesSourceDocument(Document):
    """Files of a source. ``csv`` and ``columns`` are this library's own keys.

    ``columns`` gives, by table and column, the Arrow type to read instead of the inferred one.
    """

    base_path: str | None = None
    """The folder or file to read, instead of the connection's."""
    paths: list[str] = Field(default_factory=list)
    """Only these files and folders, relative to the folder; empty: everything in it."""
    csv: CsvFormat = CsvFormat()
    """The dialect of CSV files."""
    columns: dict[str, dict[str, str]] = Field(default_factory=dict)
    """By table and column: an Arrow type instead of the inferred one, such as `decimal128(12,
    2)`."""
    max_record_bytes: int = Field(64 << 20, ge=1 << 10)
    """The longest row or line, in bytes or as a text such as `64MB`. A longer one is refused
    without being held in memory."""
    max_columns: int = Field(1600, ge=1)
    """The largest number of columns of a file; a file with more is refused."""

    _record_bytes = field_validator("max_record_bytes", mode="before")(bytes_of)


class S3SourceDocument(Document):
    """Objects of a source."""

    bucket: str | None = None
    """The bucket to read, instead of the connection's."""
    prefixes: list[str] = Field(default_factory=list)
    """Only objects below these prefixes; empty: all objects below the connection's prefix."""
    objects: list[str] = Field(default_factory=list)
    """Only these objects. Several named `part-...` in one folder are one table, each other one is a
    table of its own."""
    manifest_path: str | None = Field(None, min_length=1)
    """Only the objects that this object lists: a JSON document with `files` (a list of names or
    `s3://` URLs), with `entries` (a list of `{"url": ...}`), or a list of names."""
    csv: CsvFormat = CsvFormat()
    """The dialect of CSV files."""
    columns: dict[str, dict[str, str]] = Field(default_factory=dict)
    """By table and column: an Arrow type instead of the inferred one."""
    max_record_bytes: int = Field(64 << 20, ge=1 << 10)
    """The longest row or line, in bytes or as a text such as `64MB`. A longer one is refused
    without being held in memory."""
    max_columns: int = Field(1600, ge=1)
    """The largest number of columns of a file; a file with more is refused."""

    _record_bytes = field_validator("max_record_bytes", mode="before")(bytes_of)


class SourceConnection(Document):
    """One source connection, by id or inline."""

    alias: str | None = Field(None, pattern=r"^[A-Za-z][A-Za-z0-9_]*$")
    """The name of this source among several: a letter, then letters, digits and `_`. With several
    sources it is required and unique, and the names of their tables begin with it: `alias_`."""
    connection_id: str | None = None
    """The id or name of a connection that is passed with the document, or stored in an
    `Engine`."""
    connection: Any = Field(None, repr=False)
    """The connection itself: a document or a URL. An `Engine` does not accept it."""
    database: str | None = None
    """The database, instead of the connection's."""
    schema_: str | None = Field(default=None, alias="schema")
    """PostgreSQL: only tables of this schema; null: of all schemas."""
    scope_path: str | None = None
    """For a folder or bucket: only what lies below this path of it."""
    tables: list[TableDocument] = Field(default_factory=list)
    """The tables to move. If both tables and queries are empty: all user tables."""
    queries: list[QueryDocument] = Field(default_factory=list)
    """Queries whose results become tables. Convert only."""
    files: FilesSourceDocument | None = None
    """For a folder: what to read."""
    s3: S3SourceDocument | None = None
    """For a bucket: what to read."""


class SourceOptions(Document):
    """Options for reading the source."""

    data_bundle_size: int = Field(500, ge=10, le=1000)
    """Rows in a bundle: the unit in which rows are counted, and after which a run can pause, stop
    or reach a limit. It does not change the throughput."""
    operations: tuple[Operation, ...] = Field(
        default=("insert", "update", "delete"), strict=False, min_length=1
    )
    """Cdc only: the operations to apply."""
    replication_slot: str | None = None
    """PostgreSQL: the replication slot of a cdc; null: named after the stream."""
    publication_name: str | None = None
    """PostgreSQL: the publication of a cdc; null: named after the stream."""
    partial_publication: bool = False
    """PostgreSQL: accept a publication that leaves out rows, columns or operations, or that was
    altered since; what it leaves out is missing on the target. If false, such a publication is
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
    """MySQL, MariaDB: the position at which a cdc without an initial load begins, as `file:pos`
    or a GTID set; null: the end of the log."""
    server_id: int = Field(0, ge=0)
    """MySQL, MariaDB: the server id with which a cdc reads the log, as a replica does; 0: a
    random high number."""
    initial_load: bool = True
    """Cdc only: load the tables first, then follow the log. If false, nothing is loaded."""

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
    """Statements over several connections, which name tables as `alias.schema.table`. A
    connection without tables and queries of its own then serves only these statements. Convert
    only."""
    options: SourceOptions = SourceOptions()
    """How the sources are read."""


class StructureOptions(Document):
    """The parts of the structure to create on the target."""

    tables: bool = True
    """Create missing tables, with their types and primary keys. If false, all tables must
    exist."""
    indexes: bool = True
    """Create the indexes and unique keys of the tables that this run creates."""
    foreign_keys: bool = True
    """Create their foreign keys, after the rows."""
    check_constraints: bool = True
    """Create their check constraints."""


class DatabaseSpec(Document):
    """Place in the target server, and options for writing to it."""

    database: str | None = None
    """The database, instead of the connection's."""
    create_database: bool = True
    """Create the database if it does not exist, and say so (`database-created`). If false, that is
    an error that names similar ones."""
    schema_: str | None = Field(default=None, alias="schema")
    """PostgreSQL: the schema for all tables; null: `public` for tables from MySQL and files, its
    own schema for each table from PostgreSQL."""
    structure_options: StructureOptions = StructureOptions()
    """Which parts of the structure are created."""
    schema_policy: SchemaPolicy = "create_missing_only"
    """What to do about tables that exist: check that they fit and create the missing ones (the
    default); check them and create none; fail; or drop and create them again. Not for files."""
    write_mode: WriteMode | None = None
    """What to do about rows that exist; null: `fail_if_not_empty`; in a cdc `upsert`, the only
    mode that it accepts."""
    skip_data: bool = False
    """Create only the structure."""


Compression = Literal["none", "uncompressed", "snappy", "gzip", "zstd"]


class ParquetFormat(Document):
    """How Parquet files are written."""

    compression_codec: Compression | None = None
    """The same as `compression`, in any letter case."""
    compression_level: int | None = Field(None, ge=1, le=22)
    """The level of gzip (1 to 9) or zstd (1 to 22); null: the codec's own default."""
    max_row_group_size: int | None = Field(None, ge=1)
    """The most rows of a row group; null: 131072."""
    target_row_group_size_mb: int | None = Field(None, ge=1, alias="targetRowGroupSizeMB")
    """Megabytes of rows in memory, uncompressed, at which a row group ends; null: 64."""
    timestamp_unit: Literal["ms", "us", "ns"] | None = None
    """The unit of timestamps; null: us. A value that the unit cannot hold is a bad row."""

    @field_validator("compression_codec", mode="before")
    @classmethod
    def _any_case(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value


class FileFormat(Document):
    """Format and compression of the files to write."""

    compression: Compression | None = None
    """Parquet: any of them; CSV, JSON and JSONL: none, gzip or zstd. `uncompressed` means none.
    null: zstd for Parquet, none for the others."""
    csv: CsvFormat = CsvFormat()
    """The dialect of CSV files."""
    parquet: ParquetFormat = ParquetFormat()
    """How Parquet files are written."""

    @property
    def codec(self) -> str | None:
        """The compression, under its one name."""
        chosen = self.compression or self.parquet.compression_codec
        return "none" if chosen == "uncompressed" else chosen


class FilesSpec(Document):
    """A folder as target."""

    file_format: FileFormatName
    """The format of the files. `json`: an array of objects; `jsonl`: an object a line."""
    format: FileFormat = FileFormat()
    """How the files are written."""


class Upload(Document):
    """Options for storing objects in a bucket."""

    bucket: str | None = None
    """The bucket, instead of the connection's."""
    prefix: str = ""
    """The prefix of all objects' names, after the connection's prefix."""
    storage_class: str = "STANDARD"
    """The storage class of each object."""
    server_side_enc: Literal["", "AES256", "aws:kms", "aws:kms:dsse"] = ""
    """Server-side encryption; empty: the bucket's default."""
    kms_key_id: str | None = None
    """The key for `aws:kms` and `aws:kms:dsse`: its id, ARN or alias; null: the account's own key
    for S3. Refused with any other `serverSideEnc`."""

    keep_local_files: Literal[False] = False
    """Only false: objects go straight to the bucket, and no local file is there to keep."""

    @model_validator(mode="after")
    def _key_is_used(self) -> Upload:
        if self.kms_key_id and not self.server_side_enc.startswith("aws:kms"):
            raise ValueError("'kmsKeyId' needs serverSideEnc 'aws:kms'")
        return self


class S3Spec(Document):
    """A bucket as target."""

    output_directory: str = ""
    """The last part of the prefix, after `upload.prefix`. An absolute path, which would be a folder
    of this machine, is not used: objects go straight to the bucket."""
    file_format: FileFormatName
    """The format of the objects. `json`: an array of objects; `jsonl`: an object a line."""
    format: FileFormat = FileFormat()
    """How the files are written."""
    upload: Upload = Upload()
    """Where the objects go, and how they are stored."""


class TargetSpec(Document):
    """One of three kinds of target."""

    db: DatabaseSpec = DatabaseSpec()
    """For a database as target. For a folder or a bucket only its `writeMode` and `skipData`
    apply."""
    files: FilesSpec | None = None
    """For a folder as target."""
    s3: S3Spec | None = None
    """For a bucket as target."""


class TargetDocument(Document):
    """The target, by id or inline."""

    id: str | None = None
    """The id or name of a connection that is passed with the document, or stored in an
    `Engine`."""
    connection: Any = Field(None, repr=False)
    """The connection itself: a document or a URL. An `Engine` does not accept it."""
    spec: TargetSpec = TargetSpec()
    """Where to write in it, and how."""


class Limits(Document):
    """Limits at which a run ends by itself; 0 means no limit."""

    number_of_events: int = Field(0, ge=0)
    """End after this many rows: a convert exactly, a cdc at the first commit at or after this
    number of changes. 0: no limit."""
    elapsed_time: float = Field(0, ge=0)
    """End after this many seconds of running; pauses do not count. 0: no limit."""

    @field_validator("elapsed_time", mode="before")
    @classmethod
    def _seconds(cls, value: Any) -> Any:
        return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


class TypeOverride(Document):
    """A target type for one column, or for every column of a source type."""

    column: str | None = None
    """The column, as `table.column` or `schema.table.column`. This or `from`."""
    from_: str | None = Field(None, alias="from")
    """The source type: all its columns are meant. This or `column`."""
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
    """The address of its scheduler, such as `tcp://scheduler:8786`."""


class Verification(Document):
    """Comparison of source and target in the background of a cdc."""

    every: float = Field(ge=1)
    """Seconds from the end of one comparison to the start of the next."""
    sample: float = Field(0.01, gt=0, le=1)
    """The share of each table's rows that is compared; 1: all rows."""
    max_seconds: float = Field(0, ge=0)
    """Seconds after which a comparison is interrupted. With `sample` 1 the next one resumes it,
    otherwise the next one takes a new sample. 0: no limit."""

    @field_validator("every", "sample", "max_seconds", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


class Options(Document):
    """This library's own settings, all optional."""

    type_overrides: list[TypeOverride] = Field(default_factory=list)
    """Target types other than the usual ones, by column or by source type."""
    zero_dates: Literal["null", "error", "text"] = "null"
    """What MySQL's zero and partial dates become: NULL and counted, a bad row, or every date
    column as text."""
    unsigned_keys: Literal["exact", "bigint"] = "exact"
    """What BIGINT UNSIGNED columns with AUTO_INCREMENT, and the columns that refer to them,
    become on PostgreSQL: `numeric(20)`, which holds every value, or `bigint`, where a value
    beyond 2^63 - 1 is a bad row."""
    identifier_case: Literal["preserve", "lower"] = "preserve"
    """Names of tables and columns on the target: unchanged, or in lower case. `lower` renames
    only tables within MySQL and into files, and nothing between PostgreSQL servers."""
    allow_empty: bool = False
    """Accept a source without any table, such as a database to follow from its first table on. If
    false, that is an error."""
    allow_lossy: bool = False
    """Permit a type mapping or a schema change that can lose something."""
    on_error: Literal["fail", "quarantine"] = "fail"
    """A row that the target refuses ends the run, or is written to the quarantine with the
    reason."""
    on_resume: Literal["reload", "mixed"] = "reload"
    """After a restart on a source that has changed: load all tables again from one snapshot, or
    keep the finished parts and report it."""
    schema_changes: Literal["apply", "ignore", "fail"] = "apply"
    """Cdc only: carry schema changes over, leave the target's structure as it is, or fail."""
    on_rewrite: Literal["reload", "fail"] = "reload"
    """Cdc only: after a schema change that gives rows values which the log does not contain, read
    the table again, or end the stream."""
    parallelism: int = Field(4, ge=1, le=64)
    """The number of readers, and of writers, that work at once."""
    chunk_rows: int = Field(250_000, ge=1)
    """Rows of a chunk, which one reader copies at a time. Smaller chunks share a table among more
    readers or workers of a cluster; after a stop less of a table without a key is read again."""
    memory_budget: int = Field(256 << 20, ge=16 << 20)
    """Bytes, or a text such as `256MB`. It limits the number of readers and writers: each takes
    about 48 MB."""
    reconnect_timeout: float = Field(0, ge=0)
    """Seconds to wait for a server that is away, or for a lock, until the stream fails; 0:
    without limit. It applies while rows are copied and while the log is followed; a start that
    cannot reach a server fails at once."""
    heartbeat_timeout: float = Field(30, ge=1)
    """Seconds without a sign of life after which a connection counts as dead."""
    lock_timeout: float = Field(10, ge=1)
    """Seconds that a statement waits for a lock that another session holds. While rows are copied
    or the log is followed, the stream then reports it and tries again, for as long as
    `reconnectTimeout` allows."""
    max_retained_bytes: int = Field(default=0, ge=0)
    """Cdc from PostgreSQL only: fail once the server retains more bytes of log than this for the
    stream. 0: no limit."""
    sql_capture: Literal["off", "minimal", "verbose"] = "off"
    """Note the statements that are sent to source and target in the log, category `sql`, with
    their values taken out: those that change structure or rows, or all."""
    verification: Verification | None = None
    """Cdc only: compare source and target in the background, again and again. The result is in
    stats, events and log. null: only `verify()` compares."""
    state_schema: str | None = None
    """The schema or database of the checkpoint and quarantine tables on the target; null: the
    schema `streams_engine` on PostgreSQL, the target database on MySQL."""
    executor: Dask | Any = None
    """Where chunks are copied: `{"dask": "tcp://scheduler:8786"}`, by the workers of that Dask
    cluster; from Python also `client.get_executor()`, or a `concurrent.futures.Executor` of
    threads. null: threads of the stream's own."""

    @field_validator("executor", mode="before")
    @classmethod
    def _cluster(cls, value: Any) -> Any:
        return Dask.model_validate(value) if isinstance(value, dict) else value

    @field_validator("reconnect_timeout", "heartbeat_timeout", "lock_timeout", mode="before")
    @classmethod
    def _seconds(cls, value: Any) -> Any:
        return float(value) if isinstance(value, int) and not isinstance(value, bool) else value

    _budget_bytes = field_validator("memory_budget", mode="before")(bytes_of)


class ReportingIntervals(Document):
    """Seconds between two progress reports, for each end; 0: none but the last."""

    source: int = Field(3, ge=0)
    """Of the source."""
    target: int = Field(3, ge=0)
    """Of the target."""


class StreamDocument(Document):
    """The canonical, nested document."""

    name: str | None = Field(None, min_length=1)
    """The name of the stream, under which its checkpoint is stored; null: a digest of source,
    target, mode and tables."""
    mode: Mode
    """`convert`: copy once. `cdc`: copy, then follow the log. `load` means convert."""
    reporting_interval: int = Field(3, ge=0)
    """Seconds between two progress reports; 0: none but the last."""
    reporting_intervals: ReportingIntervals | None = None
    """One interval for each end, instead of `reportingInterval`."""
    source: SourceDocument
    """Where the data come from."""
    target: TargetDocument
    """Where the data go."""
    limits: Limits = Limits()
    """When a run ends by itself."""
    options: Options = Options()
    """This library's own settings."""

    @model_validator(mode="after")
    def _one_interval(self) -> StreamDocument:
        both = {"reporting_interval", "reporting_intervals"}
        if self.reporting_intervals is not None and both <= self.model_fields_set:
            raise ValueError("give 'reportingInterval' or 'reportingIntervals', not both")
        return self

    @property
    def intervals(self) -> tuple[int, int]:
        """The seconds between two reports of the source, and of the target."""
        several = self.reporting_intervals
        if several is None:
            return self.reporting_interval, self.reporting_interval
        return several.source, several.target

    @field_validator("mode", mode="before")
    @classmethod
    def _load(cls, value: Any) -> Any:
        return "convert" if value == "load" else value
