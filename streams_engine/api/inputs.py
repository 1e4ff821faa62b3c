"""The documents that users write, as typed dictionaries: connections and stream configs.

Made by ``python -m tests.support.input_types`` of the models that validate them.
"""

# ruff: noqa: E501
# fmt: off

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Required, TypedDict

from streams_engine.config.options import (
    LimitsDict,
    StructureOptionsDict,
    TypeOverrideDict,
    VerificationDict,
)

__all__ = [
    "ConnectionDict",
    "CredentialsDict",
    "CsvFormatDict",
    "DatabaseSpecDict",
    "FileFormatDict",
    "FilesConnectionDict",
    "FilesPlaceDict",
    "FilesSourceDict",
    "FilesSpecDict",
    "FilterDict",
    "FlatStreamDict",
    "FlatTableDict",
    "FolderDict",
    "OptionsDict",
    "ParquetFormatDict",
    "QueryDict",
    "ReportingIntervalsDict",
    "S3Dict",
    "S3SourceDict",
    "S3SpecDict",
    "ScopeDict",
    "SelectionDict",
    "ServerConnectionDict",
    "SortDict",
    "SourceConnectionDict",
    "SourceDict",
    "SourceOptionsDict",
    "SshDict",
    "SslDict",
    "StorageDict",
    "StoreDict",
    "StreamDict",
    "TableDict",
    "TargetDict",
    "TargetSpecDict",
    "UploadDict",
]


_Document = TypedDict("_Document", {"$schema": str}, total=False)


class SslDict(TypedDict, total=False):
    """TLS: the mode, and certificates as PEM text or as a path."""

    mode: Literal["disabled", "prefer", "require", "verify-ca", "verify-full"]
    """`prefer`: TLS if the server offers it, but none for MySQL on this machine. `verify-ca`: the
    server's certificate must be of a known authority; `verify-full`: it must also name this host.
    `require` with a `ca` means `verify-ca`. Default: `prefer`."""
    ca: str | None
    """The certificate of the authority, as PEM text or as a path. Default: `None`."""
    client_cert: str | None
    """The client's certificate, as PEM text or as a path. Default: `None`."""
    client_key: str | None
    """The client's private key, as PEM text or as a path. Default: `None`."""
    allowClearText: bool
    """Send the password in clear text without TLS if the server asks for that (LDAP, PAM). Default:
    `False`."""


class SshDict(TypedDict, total=False):
    host: Required[str]
    """The host of the SSH server."""
    port: int
    """The port of the SSH server. Default: `22`."""
    username: Required[str]
    """The account on the SSH server."""
    password: str | None
    """The account's password, or a reference to it. This, `privateKey`, or both. Default:
    `None`."""
    privateKey: str | None
    """A PEM or OpenSSH key: its text, its path, or a reference to it. Default: `None`."""
    passphrase: str | None
    """The passphrase of the key, or a reference to it. Default: `None`."""
    knownHosts: str | None
    """Lines of a known_hosts file, or the path of one; None: the account's own file. Default:
    `None`."""


class ServerConnectionDict(_Document, total=False):
    spec: dict[str, Any]
    """`{"database": {...}}`: the keys below."""
    host: str
    """The host name or address."""
    port: int | None
    """The port; None: 3306 for MySQL and MariaDB, 5432 for PostgreSQL. Default: `None`."""
    username: str
    """The account."""
    password: str | Callable[[], str] | None
    """The account's password, or a reference to it. In Python also a callable without arguments
    that returns it; it is called at each connection, by several threads. Default: `None`."""
    database: str | None
    """The database. None: on MySQL and MariaDB all databases of the server, on PostgreSQL
    `postgres`. Default: `None`."""
    defaultDatabase: str | None
    """The same as `database`. Default: `None`."""
    schema: str | None
    """PostgreSQL: the schema; None: all schemas. Default: `None`."""
    ssl: SslDict | None
    """The settings of TLS. Default: `None`."""
    ssh: SshDict | None
    """The SSH server through which the database is reached. Default: `None`."""
    name: str | None
    """The name by which stream configs refer to it. An `Engine` requires one, and it is unique.
    Default: `None`."""
    type: Required[str]
    """`mysql`, `mariadb`, `postgresql` or `postgres`, in any letter case."""


class FolderDict(TypedDict, total=False):
    basePath: Required[str]
    """The folder, or one file."""
    scopePath: str | None
    """Only what lies below this path of the folder. Default: `None`."""


class CredentialsDict(TypedDict, total=False):
    accessKey: str | None
    """The access key id, or a reference to it. Default: `None`."""
    secretKey: str | None
    """The secret access key, or a reference to it. Default: `None`."""
    sessionToken: str | None
    """The session token, or a reference to it. Default: `None`."""
    credentialsRef: str | None
    """Instead of the keys: a reference to `{"accessKey": ..., "secretKey": ..., "sessionToken":
    ...}` as JSON. One without a scheme is resolved by `resolvers["default"]`. Default: `None`."""


class ScopeDict(TypedDict, total=False):
    bucket: str | None
    """The bucket. Default: `None`."""
    prefix: str
    """The prefix of all objects' names. Default: ``."""


class S3Dict(TypedDict, total=False):
    region: str | None
    """The region. Default: `None`."""
    endpoint: str | None
    """The URL of a store other than Amazon's. Default: `None`."""
    credentials: CredentialsDict | None
    """The keys; None: those that AWS's default credential chain finds. Default: `None`."""
    scope: ScopeDict | None
    """The place in the store. Default: `None`."""


class StoreDict(TypedDict, total=False):
    url: Required[str]
    """The URL of a folder or a file, such as `sftp://user@host/path` or `gs://bucket/path`."""
    storageOptions: dict[str, Any]
    """Options of the fsspec filesystem, under the names of its package; texts may be references.
    Default: `{}`."""


class FilesPlaceDict(TypedDict, total=False):
    files: FolderDict | None
    """A folder of this machine. Default: `None`."""
    s3: S3Dict | None
    """A bucket. Default: `None`."""
    store: StoreDict | None
    """A place in any other fsspec filesystem. Default: `None`."""


class StorageDict(TypedDict, total=False):
    provider: Required[Literal["s3", "local"]]
    """A bucket, or a folder of this machine."""
    uri: Required[str]
    """`s3://bucket/prefix`, or a path."""
    region: str | None
    """The region. Default: `None`."""
    endpoint: str | None
    """The URL of a store other than Amazon's. Default: `None`."""
    credentials_ref: str | None
    """A reference to `{"accessKey": ..., "secretKey": ..., "sessionToken": ...}` as JSON; None:
    those that AWS's default credential chain finds. A reference without a scheme is resolved by
    `resolvers["default"]`. Default: `None`."""


class FilesConnectionDict(_Document, total=False):
    type: Required[str]
    """`files`, or `s3` for a bucket, in any letter case."""
    name: str | None
    """The name by which stream configs refer to it. An `Engine` requires one, and it is unique.
    Default: `None`."""
    spec: FilesPlaceDict | None
    """Where the files are: this, or `storage_config`. Default: `None`."""
    file_format: Literal["csv", "json", "jsonl", "parquet"] | None
    """The format of the files; for a target only if the stream document names none. None: a source
    goes by the endings of the files, a target writes Parquet. Default: `None`."""
    storage_config: StorageDict | None
    """Where the files are: this, or `spec`. Default: `None`."""


class ReportingIntervalsDict(TypedDict, total=False):
    """Seconds between two progress reports, for each end; 0: none but the last."""

    source: int
    """Of the source. Default: `3`."""
    target: int
    """Of the target. Default: `3`."""


class FilterDict(TypedDict, total=False):
    """One condition; several are AND-ed."""

    column: Required[str]
    """The column's name."""
    operator: str
    """The comparison, in any letter case. Default: `=`."""
    value: Any
    """The value to compare with: a list for IN and NOT IN, a list of two for BETWEEN, none for IS
    NULL and IS NOT NULL. Default: `None`."""


class SortDict(TypedDict, total=False):
    """One sort key."""

    column: Required[str]
    """The column's name."""
    direction: Literal["asc", "desc", "ASC", "DESC"]
    """Ascending or descending. Default: `asc`."""


class SelectionDict(TypedDict, total=False):
    """Columns and rows to select from a table."""

    selectedColumns: list[str]
    """Only these columns, in this order; empty: all columns. Default: `[]`."""
    filters: list[FilterDict]
    """Only rows that meet all of these conditions. Default: `[]`."""
    sorts: list[SortDict]
    """The order of the rows to which `limit` applies; the first key is the main one. Default:
    `[]`."""
    limit: int | None
    """At most this many rows; None: all rows. Default: `None`."""


class TableDict(TypedDict, total=False):
    """One table of a source."""

    name: Required[str]
    """The table: `table`, or `schema.table` (MySQL: `database.table`)."""
    selected: bool
    """If false, the table is left out. Default: `True`."""
    selection: SelectionDict
    """Which of its columns and rows. A cdc accepts only `selectedColumns`."""
    query: str | None
    """A query instead of the table; its result becomes a table of this name. Convert only. Default:
    `None`."""
    operations: list[Literal["insert", "update", "delete"]] | None
    """Cdc only: the operations to apply to this table; None: those of `source.options.operations`.
    Default: `None`."""


class QueryDict(TypedDict, total=False):
    """A query whose result becomes the target table of that name."""

    name: Required[str]
    """The name of the target table for the result."""
    query: Required[str]
    """One read-only statement, in the SQL of the source; over several sources in DuckDB's SQL."""


class CsvFormatDict(TypedDict, total=False):
    """The dialect of CSV files."""

    delimiter: str | None
    """The separator of fields: one ASCII character. None: a source detects it, a target uses the
    comma. Default: `None`."""
    quote: str
    """The quote character of fields: one ASCII character. Default: `"`."""
    header: bool
    """The first line names the columns. If false, the columns of a source are named c1, c2, ...
    Default: `True`."""


class FilesSourceDict(TypedDict, total=False):
    """Files of a source. ``csv`` and ``columns`` are this library's own keys."""

    basePath: str | None
    """The folder or file to read, instead of the connection's. Default: `None`."""
    paths: list[str]
    """Only these files and folders, relative to the folder; empty: everything in it. Default:
    `[]`."""
    csv: CsvFormatDict
    """The dialect of CSV files."""
    columns: dict[str, dict[str, str]]
    """By table and column: an Arrow type instead of the inferred one, such as `decimal128(12, 2)`.
    Default: `{}`."""
    maxRecordBytes: int | str
    """The longest row or line, in bytes or as a text such as `64MB`. A longer one is refused
    without being held in memory. Default: `67108864`."""
    maxColumns: int
    """The largest number of columns of a file; a file with more is refused. Default: `1600`."""


class S3SourceDict(TypedDict, total=False):
    """Objects of a source."""

    bucket: str | None
    """The bucket to read, instead of the connection's. Default: `None`."""
    prefixes: list[str]
    """Only objects below these prefixes; empty: all objects below the connection's prefix. Default:
    `[]`."""
    objects: list[str]
    """Only these objects. Several named `part-...` in one folder are one table, each other one is a
    table of its own. Default: `[]`."""
    manifestPath: str | None
    """Only the objects that this object lists: a JSON document with `files` (a list of names or
    `s3://` URLs), with `entries` (a list of `{"url": ...}`), or a list of names. Default:
    `None`."""
    csv: CsvFormatDict
    """The dialect of CSV files."""
    columns: dict[str, dict[str, str]]
    """By table and column: an Arrow type instead of the inferred one. Default: `{}`."""
    maxRecordBytes: int | str
    """The longest row or line, in bytes or as a text such as `64MB`. A longer one is refused
    without being held in memory. Default: `67108864`."""
    maxColumns: int
    """The largest number of columns of a file; a file with more is refused. Default: `1600`."""


class SourceConnectionDict(TypedDict, total=False):
    """One source connection, by id or inline."""

    alias: str | None
    """The name of this source among several: a letter, then letters, digits and `_`. With several
    sources it is required and unique, and the names of their tables begin with it: `alias_`.
    Default: `None`."""
    connectionId: str | None
    """The id or name of a connection that is passed with the document, or stored in an `Engine`.
    Default: `None`."""
    connection: Any
    """The connection itself: a document or a URL. An `Engine` does not accept it. Default:
    `None`."""
    database: str | None
    """The database, instead of the connection's. Default: `None`."""
    schema: str | None
    """PostgreSQL: only tables of this schema; None: of all schemas. Default: `None`."""
    scopePath: str | None
    """For a folder or bucket: only what lies below this path of it. Default: `None`."""
    tables: list[TableDict]
    """The tables to move. If both tables and queries are empty: all user tables. Default: `[]`."""
    queries: list[QueryDict]
    """Queries whose results become tables. Convert only. Default: `[]`."""
    files: FilesSourceDict | None
    """For a folder: what to read. Default: `None`."""
    s3: S3SourceDict | None
    """For a bucket: what to read. Default: `None`."""


class SourceOptionsDict(TypedDict, total=False):
    """Options for reading the source."""

    dataBundleSize: int
    """Rows in a bundle: the unit in which rows are counted, and after which a run can pause, stop
    or reach a limit. It does not change the throughput. Default: `500`."""
    operations: list[Literal["insert", "update", "delete"]]
    """Cdc only: the operations to apply. Default: all."""
    replicationSlot: str | None
    """PostgreSQL: the replication slot of a cdc; None: named after the stream. Default: `None`."""
    publicationName: str | None
    """PostgreSQL: the publication of a cdc; None: named after the stream. Default: `None`."""
    partialPublication: bool
    """PostgreSQL: accept a publication that leaves out rows, columns or operations, or that was
    altered since; what it leaves out is missing on the target. If false, such a publication is
    refused. Default: `False`."""
    binlogPosition: str | None
    """MySQL, MariaDB: the position at which a cdc without an initial load begins, as `file:pos` or
    a GTID set; None: the end of the log. Default: `None`."""
    serverId: int
    """MySQL, MariaDB: the server id with which a cdc reads the log, as a replica does; 0: a random
    high number. Default: `0`."""
    initialLoad: bool
    """Cdc only: load the tables first, then follow the log. If false, nothing is loaded. Default:
    `True`."""


class SourceDict(TypedDict, total=False):
    """All sources of a stream."""

    connections: Required[list[SourceConnectionDict]]
    """The sources, at least one."""
    queries: list[QueryDict]
    """Statements over several connections, which name tables as `alias.schema.table`. A connection
    without tables and queries of its own then serves only these statements. Convert only. Default:
    `[]`."""
    options: SourceOptionsDict
    """How the sources are read."""


class DatabaseSpecDict(TypedDict, total=False):
    """Place in the target server, and options for writing to it."""

    database: str | None
    """The database, instead of the connection's. Default: `None`."""
    createDatabase: bool
    """Create the database if it does not exist, and say so (`database-created`). If false, that is
    an error that names similar ones. Default: `True`."""
    schema: str | None
    """PostgreSQL: the schema for all tables; None: `public` for tables from MySQL and files, its
    own schema for each table from PostgreSQL. Default: `None`."""
    structureOptions: StructureOptionsDict
    """Which parts of the structure are created."""
    schemaPolicy: Literal["fail_if_exists", "validate_existing", "create_missing_only", "drop_and_recreate"]
    """What to do about tables that exist: check that they fit and create the missing ones (the
    default); check them and create none; fail; or drop and create them again. Not for files.
    Default: `create_missing_only`."""
    writeMode: Literal["fail_if_not_empty", "append", "truncate_and_load", "upsert"] | None
    """What to do about rows that exist; None: `fail_if_not_empty`; in a cdc `upsert`, the only mode
    that it accepts. Default: `None`."""
    skipData: bool
    """Create only the structure. Default: `False`."""


class ParquetFormatDict(TypedDict, total=False):
    """How Parquet files are written."""

    compressionCodec: Literal["none", "uncompressed", "snappy", "gzip", "zstd"] | None
    """The same as `compression`, in any letter case. Default: `None`."""
    compressionLevel: int | None
    """The level of gzip (1 to 9) or zstd (1 to 22); None: the codec's own default. Default:
    `None`."""
    maxRowGroupSize: int | None
    """The most rows of a row group; None: 131072. Default: `None`."""
    targetRowGroupSizeMB: int | None
    """Megabytes of rows in memory, uncompressed, at which a row group ends; None: 64. Default:
    `None`."""
    timestampUnit: Literal["ms", "us", "ns"] | None
    """The unit of timestamps; None: us. A value that the unit cannot hold is a bad row. Default:
    `None`."""


class FileFormatDict(TypedDict, total=False):
    """Format and compression of the files to write."""

    compression: Literal["none", "uncompressed", "snappy", "gzip", "zstd"] | None
    """Parquet: any of them; CSV, JSON and JSONL: none, gzip or zstd. `uncompressed` means none.
    None: zstd for Parquet, none for the others. Default: `None`."""
    csv: CsvFormatDict
    """The dialect of CSV files."""
    parquet: ParquetFormatDict
    """How Parquet files are written."""


class FilesSpecDict(TypedDict, total=False):
    """A folder as target."""

    fileFormat: Required[Literal["csv", "json", "jsonl", "parquet"]]
    """The format of the files. `json`: an array of objects; `jsonl`: an object a line."""
    format: FileFormatDict
    """How the files are written."""


class UploadDict(TypedDict, total=False):
    """Options for storing objects in a bucket."""

    bucket: str | None
    """The bucket, instead of the connection's. Default: `None`."""
    prefix: str
    """The prefix of all objects' names, after the connection's prefix. Default: ``."""
    storageClass: str
    """The storage class of each object. Default: `STANDARD`."""
    serverSideEnc: Literal["", "AES256", "aws:kms", "aws:kms:dsse"]
    """Server-side encryption; empty: the bucket's default. Default: ``."""
    kmsKeyId: str | None
    """The key for `aws:kms` and `aws:kms:dsse`: its id, ARN or alias; None: the account's own key
    for S3. Refused with any other `serverSideEnc`. Default: `None`."""
    keepLocalFiles: Literal[False]
    """Only false: objects go straight to the bucket, and no local file is there to keep. Default:
    `False`."""


class S3SpecDict(TypedDict, total=False):
    """A bucket as target."""

    outputDirectory: str
    """The last part of the prefix, after `upload.prefix`. An absolute path, which would be a folder
    of this machine, is not used: objects go straight to the bucket. Default: ``."""
    fileFormat: Required[Literal["csv", "json", "jsonl", "parquet"]]
    """The format of the objects. `json`: an array of objects; `jsonl`: an object a line."""
    format: FileFormatDict
    """How the files are written."""
    upload: UploadDict
    """Where the objects go, and how they are stored."""


class TargetSpecDict(TypedDict, total=False):
    """One of three kinds of target."""

    db: DatabaseSpecDict
    """For a database as target. For a folder or a bucket only its `writeMode` and `skipData`
    apply."""
    files: FilesSpecDict | None
    """For a folder as target. Default: `None`."""
    s3: S3SpecDict | None
    """For a bucket as target. Default: `None`."""


class TargetDict(TypedDict, total=False):
    """The target, by id or inline."""

    id: str | None
    """The id or name of a connection that is passed with the document, or stored in an `Engine`.
    Default: `None`."""
    connection: Any
    """The connection itself: a document or a URL. An `Engine` does not accept it. Default:
    `None`."""
    spec: TargetSpecDict
    """Where to write in it, and how."""


class OptionsDict(TypedDict, total=False):
    """This library's own settings, all optional."""

    typeOverrides: list[TypeOverrideDict]
    """Target types other than the usual ones, by column or by source type. Default: `[]`."""
    zeroDates: Literal["null", "error", "text"]
    """What MySQL's zero and partial dates become: NULL and counted, a bad row, or every date column
    as text. Default: `null`."""
    unsignedKeys: Literal["exact", "bigint"]
    """What BIGINT UNSIGNED columns with AUTO_INCREMENT, and the columns that refer to them, become
    on PostgreSQL: `numeric(20)`, which holds every value, or `bigint`, where a value beyond 2^63 -
    1 is a bad row. Default: `exact`."""
    identifierCase: Literal["preserve", "lower"]
    """Names of tables and columns on the target: unchanged, or in lower case. `lower` renames only
    tables within MySQL and into files, and nothing between PostgreSQL servers. Default:
    `preserve`."""
    allowEmpty: bool
    """Accept a source without any table, such as a database to follow from its first table on. If
    false, that is an error. Default: `False`."""
    allowLossy: bool
    """Permit a type mapping or a schema change that can lose something. Default: `False`."""
    onError: Literal["fail", "quarantine"]
    """A row that the target refuses ends the run, or is written to the quarantine with the reason.
    Default: `fail`."""
    onResume: Literal["reload", "mixed"]
    """After a restart on a source that has changed: load all tables again from one snapshot, or
    keep the finished parts and report it. Default: `reload`."""
    schemaChanges: Literal["apply", "ignore", "fail"]
    """Cdc only: carry schema changes over, leave the target's structure as it is, or fail. Default:
    `apply`."""
    onRewrite: Literal["reload", "fail"]
    """Cdc only: after a schema change that gives rows values which the log does not contain, read
    the table again, or end the stream. Default: `reload`."""
    parallelism: int
    """The number of readers, and of writers, that work at once. Default: `4`."""
    chunkRows: int
    """Rows of a chunk, which one reader copies at a time. Smaller chunks share a table among more
    readers or workers of a cluster; after a stop less of a table without a key is read again.
    Default: `250000`."""
    memoryBudget: int | str
    """Bytes, or a text such as `256MB`. It limits the number of readers and writers: each takes
    about 48 MB. Default: `256MB`."""
    reconnectTimeout: float
    """Seconds to wait for a server that is away, or for a lock, until the stream fails; 0: without
    limit. It applies while rows are copied and while the log is followed; a start that cannot reach
    a server fails at once. Default: `0`."""
    heartbeatTimeout: float
    """Seconds without a sign of life after which a connection counts as dead. Default: `30`."""
    lockTimeout: float
    """Seconds that a statement waits for a lock that another session holds. While rows are copied
    or the log is followed, the stream then reports it and tries again, for as long as
    `reconnectTimeout` allows. Default: `10`."""
    maxRetainedBytes: int
    """Cdc from PostgreSQL only: fail once the server retains more bytes of log than this for the
    stream. 0: no limit. Default: `0`."""
    sqlCapture: Literal["off", "minimal", "verbose"]
    """Note the statements that are sent to source and target in the log, category `sql`, with their
    values taken out: those that change structure or rows, or all. Default: `off`."""
    verification: VerificationDict | None
    """Cdc only: compare source and target in the background, again and again. The result is in
    stats, events and log. None: only `verify()` compares. Default: `None`."""
    stateSchema: str | None
    """The schema or database of the checkpoint and quarantine tables on the target; None: the
    schema `streams_engine` on PostgreSQL, the target database on MySQL. Default: `None`."""
    executor: Any
    """Where chunks are copied: `{"dask": "tcp://scheduler:8786"}`, by the workers of that Dask
    cluster; from Python also `client.get_executor()`, or a `concurrent.futures.Executor` of
    threads. None: threads of the stream's own. Default: `None`."""


class StreamDict(_Document, total=False):
    """The canonical, nested document."""

    name: str | None
    """The name of the stream, under which its checkpoint is stored; None: a digest of source,
    target, mode and tables. Default: `None`."""
    mode: Required[Literal["convert", "load", "cdc"]]
    """`convert`: copy once. `cdc`: copy, then follow the log. `load` means convert."""
    reportingInterval: int
    """Seconds between two progress reports; 0: none but the last. Default: `3`."""
    reportingIntervals: ReportingIntervalsDict | None
    """One interval for each end, instead of `reportingInterval`. Default: `None`."""
    source: Required[SourceDict]
    """Where the data come from."""
    target: Required[TargetDict]
    """Where the data go."""
    limits: LimitsDict
    """When a run ends by itself."""
    options: OptionsDict
    """This library's own settings."""


class FlatTableDict(TypedDict, total=False):
    """One table, or a query whose result becomes one, of a flat document."""

    name: Required[str]
    query: str
    operations: list[str]
    selection: SelectionDict


FlatStreamDict = TypedDict(
    "FlatStreamDict",
    {
        "$schema": str,
        "name": str,
        "source": Required[str],
        "target": Required[str],
        "mode": Required[Literal["convert", "load", "cdc"]],
        "dataBundleSize": int,
        "reportingIntervals": ReportingIntervalsDict,
        "tables": list[FlatTableDict],
        "limits": LimitsDict,
        "createStructure": bool,
        "skipIndexCreation": bool,
        "options": OptionsDict,
    },
    total=False,
)
"""The flat document, the form of the first generation."""

ConnectionDict = ServerConnectionDict | FilesConnectionDict
"""A connection document."""
