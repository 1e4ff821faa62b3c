"""The keywords of ``Stream(source, target, ...)``, for type checkers and editors.

They are keys of the stream document (`streams_engine.config.documents`) in snake_case; a test
compares the types, descriptions and defaults here with the document's.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Literal, TypedDict

__all__ = [
    "DaskDict",
    "LimitsDict",
    "Mode",
    "Operation",
    "SchemaPolicy",
    "StreamOptions",
    "StructureOptionsDict",
    "TypeOverrideDict",
    "VerificationDict",
    "WriteMode",
]

Mode = Literal["convert", "cdc"]
Operation = Literal["insert", "update", "delete"]
SchemaPolicy = Literal[
    "fail_if_exists", "validate_existing", "create_missing_only", "drop_and_recreate"
]
WriteMode = Literal["fail_if_not_empty", "append", "truncate_and_load", "upsert"]


class LimitsDict(TypedDict, total=False):
    """Limits at which a run ends by itself; 0 means no limit."""

    numberOfEvents: int
    """End after this many rows: a convert exactly, a cdc at the first commit at or after this
    number of changes. 0: no limit. Default: `0`."""
    elapsedTime: float
    """End after this many seconds of running; pauses do not count. 0: no limit. Default: `0`."""


class StructureOptionsDict(TypedDict, total=False):
    """Parts of the structure to create on the target."""

    tables: bool
    """Create missing tables, with their types and primary keys. If false, all tables must exist.
    Default: `True`."""
    indexes: bool
    """Create the indexes and unique keys of the tables that this run creates. Default: `True`."""
    foreignKeys: bool
    """Create their foreign keys, after the rows. Default: `True`."""
    checkConstraints: bool
    """Create their check constraints. Default: `True`."""


TypeOverrideDict = TypedDict(
    "TypeOverrideDict", {"column": str, "from": str, "type": str, "to": str}, total=False
)
"""A target type for one column, or for every column of a source type: ``column`` or ``from``, and
``type`` or ``to``."""


class DaskDict(TypedDict):
    """A Dask cluster, whose workers copy chunks."""

    dask: str
    """The address of its scheduler, such as `tcp://scheduler:8786`."""


class _EveryDict(TypedDict):
    every: float
    """Seconds from the end of one comparison to the start of the next."""


class VerificationDict(_EveryDict, total=False):
    """Comparison of source and target in the background of a cdc."""

    sample: float
    """The share of each table's rows that is compared; 1: all rows. Default: `0.01`."""
    maxSeconds: float
    """Seconds after which a comparison is interrupted. With `sample` 1 the next one resumes it,
    otherwise the next one takes a new sample. 0: no limit. Default: `0`."""


class StreamOptions(TypedDict, total=False):
    """Keywords of `Stream` other than source, target, mode and tables."""

    name: str | None
    """The name of the stream, under which its checkpoint is stored; None: a digest of source,
    target, mode and tables. Default: `None`."""
    reporting_interval: int
    """Seconds between two progress reports; 0: none but the last. Default: `3`."""
    limits: LimitsDict
    """When a run ends by itself."""
    data_bundle_size: int
    """Rows in a bundle: the unit in which rows are counted, and after which a run can pause, stop
    or reach a limit. It does not change the throughput. Default: `500`."""
    initial_load: bool
    """Cdc only: load the tables first, then follow the log. If false, nothing is loaded. Default:
    `True`."""
    operations: Sequence[Operation] | Operation
    """Cdc only: the operations to apply. Default: all."""
    replication_slot: str | None
    """PostgreSQL: the replication slot of a cdc; None: named after the stream. Default: `None`."""
    publication_name: str | None
    """PostgreSQL: the publication of a cdc; None: named after the stream. Default: `None`."""
    partial_publication: bool
    """PostgreSQL: accept a publication that leaves out rows, columns or operations, or that was
    altered since; what it leaves out is missing on the target. If false, such a publication is
    refused. Default: `False`."""
    binlog_position: str | None
    """MySQL, MariaDB: the position at which a cdc without an initial load begins, as `file:pos` or
    a GTID set; None: the end of the log. Default: `None`."""
    server_id: int
    """MySQL, MariaDB: the server id with which a cdc reads the log, as a replica does; 0: a random
    high number. Default: `0`."""
    schema_changes: Literal["apply", "ignore", "fail"]
    """Cdc only: carry schema changes over, leave the target's structure as it is, or fail. Default:
    `apply`."""
    max_retained_bytes: int
    """Cdc from PostgreSQL only: fail once the server retains more bytes of log than this for the
    stream. 0: no limit. Default: `0`."""
    verification: VerificationDict | None
    """Cdc only: compare source and target in the background, again and again. The result is in
    stats, events and log. None: only `verify()` compares. Default: `None`."""
    database: str | None
    """The database, instead of the connection's. Default: `None`."""
    create_database: bool
    """Create the database if it does not exist, and say so (`database-created`). If false, that is
    an error that names similar ones. Default: `True`."""
    schema: str | None
    """PostgreSQL: the schema for all tables; None: `public` for tables from MySQL and files, its
    own schema for each table from PostgreSQL. Default: `None`."""
    schema_policy: SchemaPolicy
    """What to do about tables that exist: check that they fit and create the missing ones (the
    default); check them and create none; fail; or drop and create them again. Not for files.
    Default: `create_missing_only`."""
    write_mode: WriteMode | None
    """What to do about rows that exist; None: `fail_if_not_empty`; in a cdc `upsert`, the only mode
    that it accepts. Default: `None`."""
    skip_data: bool
    """Create only the structure. Default: `False`."""
    structure_options: StructureOptionsDict
    """Which parts of the structure are created."""
    type_overrides: list[TypeOverrideDict]
    """Target types other than the usual ones, by column or by source type. Default: `[]`."""
    zero_dates: Literal["null", "error", "text"]
    """What MySQL's zero and partial dates become: NULL and counted, a bad row, or every date column
    as text. Default: `null`."""
    unsigned_keys: Literal["exact", "bigint"]
    """What BIGINT UNSIGNED columns with AUTO_INCREMENT, and the columns that refer to them, become
    on PostgreSQL: `numeric(20)`, which holds every value, or `bigint`, where a value beyond 2^63 -
    1 is a bad row. Default: `exact`."""
    identifier_case: Literal["preserve", "lower"]
    """Names of tables and columns on the target: unchanged, or in lower case. `lower` renames only
    tables within MySQL and into files, and nothing between PostgreSQL servers. Default:
    `preserve`."""
    allow_empty: bool
    """Accept a source without any table, such as a database to follow from its first table on. If
    false, that is an error. Default: `False`."""
    allow_lossy: bool
    """Permit a type mapping or a schema change that can lose something. Default: `False`."""
    on_error: Literal["fail", "quarantine"]
    """A row that the target refuses ends the run, or is written to the quarantine with the reason.
    Default: `fail`."""
    on_resume: Literal["reload", "mixed"]
    """After a restart on a source that has changed: load all tables again from one snapshot, or
    keep the finished parts and report it. Default: `reload`."""
    on_rewrite: Literal["reload", "fail"]
    """Cdc only: after a schema change that gives rows values which the log does not contain, read
    the table again, or end the stream. Default: `reload`."""
    parallelism: int
    """The number of readers, and of writers, that work at once. Default: `4`."""
    chunk_rows: int
    """Rows of a chunk, which one reader copies at a time. Smaller chunks share a table among more
    readers or workers of a cluster; after a stop less of a table without a key is read again.
    Default: `250000`."""
    memory_budget: int | str
    """Bytes, or a text such as `256MB`. It limits the number of readers and writers: each takes
    about 48 MB. Default: `256MB`."""
    state_schema: str | None
    """The schema or database of the checkpoint and quarantine tables on the target; None: the
    schema `streams_engine` on PostgreSQL, the target database on MySQL. Default: `None`."""
    reconnect_timeout: float
    """Seconds to wait for a server that is away, or for a lock, until the stream fails; 0: without
    limit. It applies while rows are copied and while the log is followed; a start that cannot reach
    a server fails at once. Default: `0`."""
    heartbeat_timeout: float
    """Seconds without a sign of life after which a connection counts as dead. Default: `30`."""
    lock_timeout: float
    """Seconds that a statement waits for a lock that another session holds. While rows are copied
    or the log is followed, the stream then reports it and tries again, for as long as
    `reconnectTimeout` allows. Default: `10`."""
    sql_capture: Literal["off", "minimal", "verbose"]
    """Note the statements that are sent to source and target in the log, category `sql`, with their
    values taken out: those that change structure or rows, or all. Default: `off`."""
    executor: Executor | DaskDict | None
    """Where chunks are copied: `{"dask": "tcp://scheduler:8786"}`, by the workers of that Dask
    cluster; from Python also `client.get_executor()`, or a `concurrent.futures.Executor` of
    threads. None: threads of the stream's own. Default: `None`."""
