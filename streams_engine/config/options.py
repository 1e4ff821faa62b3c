"""The keywords of ``Stream(source, target, ...)``, for type checkers and editors.

They are keys of the stream document (`streams_engine.config.documents`) in snake_case; a test
compares the types and descriptions here with the document's.
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
    """End after so many rows: exactly in a convert, in a cdc at the first commit at or after them.
    0: no limit."""
    elapsedTime: float
    """End after so many seconds of running; paused time does not count. 0: no limit."""


class StructureOptionsDict(TypedDict, total=False):
    """Parts of the structure to create on the target."""

    tables: bool
    """Make tables that are missing, with their types and primary keys. Where false they have to be
    there."""
    indexes: bool
    """Make the indexes and unique keys of tables that this run makes."""
    foreignKeys: bool
    """Make their foreign keys, after the rows."""
    checkConstraints: bool
    """Make their check constraints."""


TypeOverrideDict = TypedDict(
    "TypeOverrideDict", {"column": str, "from": str, "type": str, "to": str}, total=False
)
"""A target type for one column, or for every column of a source type: ``column`` or ``from``, and
``type`` or ``to``."""


class DaskDict(TypedDict):
    """A Dask cluster, whose workers copy chunks."""

    dask: str
    """The address of its scheduler, as `tcp://scheduler:8786`."""


class StreamOptions(TypedDict, total=False):
    """Keywords of `Stream` other than source, target, mode and tables."""

    name: str | None
    """What the stream is known by, and its checkpoint kept under; null: a digest of source, target,
    mode and tables."""
    reporting_interval: int
    """Seconds between two reports."""
    limits: LimitsDict
    """When a run ends by itself."""
    data_bundle_size: int
    """Rows in a bundle, in which rows pass from the source to the target. It does not set the
    speed."""
    initial_load: bool
    """Of a cdc: load the tables first, then follow the log."""
    operations: Sequence[Operation] | Operation
    """Of a cdc: the kinds of change that are applied."""
    replication_slot: str | None
    """PostgreSQL: the slot of a cdc; null: named after the stream."""
    publication_name: str | None
    """PostgreSQL: the publication of a cdc; null: named after the stream."""
    partial_publication: bool
    """PostgreSQL: follow also a publication that leaves out rows, columns or kinds of change, or
    that was altered since; what it leaves out is missing on the target. Where false it is
    refused."""
    binlog_position: str | None
    """MySQL, MariaDB: where a cdc without an initial load begins, `file:pos` or a GTID set; null:
    at the end of the log."""
    server_id: int
    """MySQL, MariaDB: the server id of a cdc as a replica; 0: a random high number."""
    schema_changes: Literal["apply", "ignore", "fail"]
    """Of a cdc: carry changes of structure over, leave the target as it is, or fail."""
    max_retained_bytes: int
    """Of a cdc from PostgreSQL: fail once the server keeps more log than this for the stream. 0: no
    limit."""
    database: str | None
    """The database, in place of the connection's. It is made where it is missing."""
    schema: str | None
    """PostgreSQL: the one schema for all tables; null: `public` for MySQL and files, each table's
    own for PostgreSQL."""
    schema_policy: SchemaPolicy
    """What to do about tables that are there: make those that are missing and check that the others
    fit; make none; fail; or drop and make them again. Not for files."""
    write_mode: WriteMode | None
    """What to do about rows that are there; null: `fail_if_not_empty`, in a cdc `upsert` (the only
    one it takes)."""
    skip_data: bool
    """Make the structure alone."""
    structure_options: StructureOptionsDict
    """Which parts of the structure are made."""
    type_overrides: list[TypeOverrideDict]
    """Other target types than the usual ones."""
    zero_dates: Literal["null", "error", "text"]
    """What becomes of MySQL's zero and partial dates: NULL with a count, a bad row, or every date
    column as text."""
    unsigned_keys: Literal["exact", "bigint"]
    """BIGINT UNSIGNED keys that MySQL numbers, and what refers to them, on PostgreSQL:
    `numeric(20)`, which holds every value, or `bigint`, where one beyond 2^63 - 1 is a bad row."""
    identifier_case: Literal["preserve", "lower"]
    """Names of tables and columns on the target: as they are, or in lower case. Within MySQL and
    into files only tables are renamed, and between PostgreSQL servers nothing is."""
    allow_empty: bool
    """A source that holds no table at all is meant, as a database that is to be followed from its
    first table on. Otherwise it is an error."""
    allow_lossy: bool
    """Permit a mapping, or a change of structure, that can lose something."""
    on_error: Literal["fail", "quarantine"]
    """A row that the target refuses ends the run, or is set aside with its reason."""
    on_resume: Literal["reload", "mixed"]
    """After a restart on a source that changed: load everything again in one view, or keep finished
    parts and say so."""
    on_rewrite: Literal["reload", "fail"]
    """Of a cdc: a change of structure that gives rows values which the log does not hold reads the
    table again, or ends the stream."""
    parallelism: int
    """Readers and writers that work at once."""
    chunk_rows: int
    """Rows of a chunk: what one reader copies at a time. Smaller ones share a table among more
    readers, or workers of a cluster, and leave less of a table without a key to read again."""
    memory_budget: int | str
    """Bytes, or a text as `256MB`. It bounds the readers and writers: about 48 MB each."""
    state_schema: str | None
    """Where on the target checkpoint and rows set aside lie; null: the schema `streams_engine` on
    PostgreSQL, the target database on MySQL."""
    reconnect_timeout: float
    """A server that is away is waited for: at most so many seconds, then the stream fails. 0: for
    as long as it takes. Only once rows are being copied or the log is followed: a start that finds
    no server fails at once."""
    heartbeat_timeout: float
    """Seconds without any sign of life after which a connection is taken for dead."""
    lock_timeout: float
    """Seconds that a statement waits for a lock that another session holds. A cdc that follows its
    log, and a load, then tell of it and try again, for as long as `reconnectTimeout` says."""
    executor: Executor | DaskDict | None
    """What copies chunks: `{"dask": "tcp://scheduler:8786"}`, the workers of that Dask cluster;
    from Python also `client.get_executor()`, or a `concurrent.futures.Executor` of threads. null:
    threads of its own."""
