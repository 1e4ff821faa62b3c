"""Keys that are each valid and contradict one another: refused by JSON path, before anything is
dialled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from streams_engine.config.connection import (
    Connection,
    DatabaseConnection,
    FilesConnection,
    NullConnection,
    S3Connection,
    below,
)
from streams_engine.config.documents import (
    FilesSpec,
    S3Spec,
    Selection,
    SourceConnection,
    StreamDocument,
)
from streams_engine.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["ignored_in_convert", "refuse_contradictions"]


class Fault(NamedTuple):
    """Contradiction in a document: its path, the reason, and the remedy."""

    path: str
    message: str
    remedy: str


Ends = Sequence[Connection]
Faults = Iterator[Fault]

ALL_OPERATIONS = {"insert", "update", "delete"}
FOR_FILES = {"writeMode", "skipData"}
"""What of `spec.db` is for a folder or bucket too."""


def refuse_contradictions(document: StreamDocument, sources: Ends, target: Connection) -> None:
    """Raise `ConfigError` with the path of the first contradiction, and a message that lists all.

    ``sources`` are parallel to the document's source connections.
    """
    faults = [
        fault for rule in (_aliases, _modes, _structure, _overrides) for fault in rule(document)
    ]
    for number, connection in enumerate(document.source.connections):
        path = f"$.source.connections[{number}]"
        below("", connection.scope_path, f"{path}.scopePath")
        faults += [*_tables(connection, path), *_source_kind(connection, sources[number], path)]
    faults += [*_log_options(document, sources), *_target_kind(document, target)]
    faults += _file_forms(document)
    if not faults:
        return
    first = faults[0]
    raise ConfigError(
        "; ".join(f"{fault.path}: {fault.message}" for fault in faults) + ".",
        path=first.path,
        remedy=first.remedy,
    )


def given(model: BaseModel) -> set[str]:
    """Return the keys that the document sets to something other than null, by their JSON names."""
    fields = type(model).model_fields
    return {
        fields[name].alias or name
        for name in model.model_fields_set
        if getattr(model, name) is not None
    }


# The document alone


def _aliases(document: StreamDocument) -> Faults:
    connections = document.source.connections
    if len(connections) == 1:
        return
    seen: set[str] = set()
    for number, connection in enumerate(connections):
        path = f"$.source.connections[{number}].alias"
        if connection.alias is None or connection.alias in seen:
            yield Fault(
                path,
                "with several source connections each one needs an alias",
                "Give each connection an alias: a letter, then letters, digits and _.",
            )
        else:
            seen.add(connection.alias)


def _modes(document: StreamDocument) -> Faults:
    if document.mode == "cdc":
        write_mode = document.target.spec.db.write_mode
        if write_mode not in (None, "upsert"):
            yield Fault(
                "$.target.spec.db.writeMode",
                f"cdc always uses upsert: writeMode '{write_mode}' is for convert",
                "Leave it out.",
            )
        for number, connection in enumerate(document.source.connections):
            if connection.queries:
                yield Fault(
                    f"$.source.connections[{number}].queries",
                    "queries are for convert only: a cdc reads whole tables",
                    "Leave them out, or use mode convert.",
                )
        if document.source.options.binlog_position and document.source.options.initial_load:
            yield Fault(
                "$.source.options.binlogPosition",
                "binlogPosition needs initialLoad: false, because an initial load determines "
                "its own position",
                "Set initialLoad: false, or leave the position out.",
            )
        return
    chosen = [("$.source.options.operations", document.source.options.operations)]
    chosen += [
        (f"$.source.connections[{i}].tables[{j}].operations", tuple(table.operations))
        for i, connection in enumerate(document.source.connections)
        for j, table in enumerate(connection.tables)
        if table.operations is not None
    ]
    for path, operations in chosen:
        if operations and "insert" not in operations:
            yield Fault(
                path,
                "a convert inserts rows, but operations lacks 'insert'",
                "Leave them out, or use mode cdc.",
            )


def _structure(document: StreamDocument) -> Faults:
    db = document.target.spec.db
    if not db.structure_options.tables and db.schema_policy in (
        "drop_and_recreate",
        "fail_if_exists",
    ):
        yield Fault(
            "$.target.spec.db.schemaPolicy",
            f"{db.schema_policy} creates tables, but structureOptions.tables is false",
            "Choose validate_existing, or set structureOptions.tables to true.",
        )
    if db.schema_policy == "drop_and_recreate" and db.write_mode == "append":
        yield Fault(
            "$.target.spec.db.writeMode",
            "append keeps the existing rows, but schemaPolicy drop_and_recreate drops them",
            "Choose one of the two.",
        )


def _overrides(document: StreamDocument) -> Faults:
    seen: dict[tuple[str, str], str] = {}
    for number, one in enumerate(document.options.type_overrides):
        what = ("column", one.column) if one.column else ("from", str(one.from_))
        chosen = str(one.type or one.to)
        if seen.setdefault(what, chosen) != chosen:
            yield Fault(
                f"$.options.typeOverrides[{number}]",
                f"{what[0]} '{what[1]}' already has another type",
                "Give it one type.",
            )


# A source


def _tables(connection: SourceConnection, path: str) -> Faults:
    names = Counter[str]()
    for number, table in enumerate(connection.tables):
        where = f"{path}.tables[{number}]"
        own = {table.name, *_qualified(connection, table.name)}
        if any(names[name] for name in own):
            yield Fault(
                f"{where}.name", f"the table '{table.name}' is listed twice", "List it once."
            )
        names.update(own)
        if table.query is not None and table.selection != Selection():
            yield Fault(
                f"{where}.selection",
                "a query cannot have a selection: it selects by itself",
                "Leave out the selection or the query.",
            )
        for place, condition in enumerate(table.selection.filters):
            if condition.operator in ("IS NULL", "IS NOT NULL") and condition.value is not None:
                yield Fault(
                    f"{where}.selection.filters[{place}].value",
                    f"{condition.operator} takes no value",
                    "Leave it out.",
                )
    queries = Counter(table.name for table in connection.tables)
    for number, query in enumerate(connection.queries):
        if queries[query.name]:
            yield Fault(
                f"{path}.queries[{number}].name",
                f"the name of the query '{query.name}' is already that of a table or of another "
                "query",
                "Give it another name.",
            )
        queries[query.name] += 1


def _qualified(connection: SourceConnection, name: str) -> Iterator[str]:
    """Yield the other form of a table name: with, or without, the schema or database of the
    document."""
    place = connection.schema_ or connection.database
    if place is None:
        return
    if name.startswith(f"{place}."):
        yield name.removeprefix(f"{place}.")
    elif "." not in name:
        yield f"{place}.{name}"


KINDS: tuple[tuple[type[Any], str], ...] = (
    (FilesConnection, "a folder"),
    (S3Connection, "a bucket"),
    (NullConnection, "null://"),
)


def _kind(connection: Connection) -> str:
    if isinstance(connection, DatabaseConnection):
        return {"postgresql": "PostgreSQL", "mysql": "MySQL", "mariadb": "MariaDB"}[connection.kind]
    return next((name for kind, name in KINDS if isinstance(connection, kind)), connection.kind)


def _source_kind(document: SourceConnection, connection: Connection, path: str) -> Faults:
    """Yield a fault for each key that the kind of connection does not have."""
    keys = given(document)
    if {"connection", "connectionId"} <= keys:
        yield Fault(
            f"{path}.connectionId",
            "give 'connection' or 'connectionId', not both",
            "Leave one of them out.",
        )
    database = isinstance(connection, DatabaseConnection)
    meant: dict[str, bool] = {
        "files": isinstance(connection, FilesConnection),
        "s3": isinstance(connection, S3Connection),
        "scopePath": isinstance(connection, FilesConnection | S3Connection),
        "database": database,
        "schema": database and getattr(connection, "kind", None) == "postgresql",
    }
    for key, fits in meant.items():
        if key in keys and not fits and getattr(document, f"{key}_", None) != "":
            yield Fault(
                f"{path}.{key}",
                f"the connection is to {_kind(connection)}, which has no '{key}'",
                "Leave it out, or name another connection.",
            )


def _log_options(document: StreamDocument, sources: Ends) -> Faults:
    """Yield a fault for each option of a MySQL or PostgreSQL log if no source is of that kind."""
    if document.mode != "cdc":
        return
    options = document.source.options
    kinds = [getattr(source, "kind", None) for source in sources]
    for_mysql = [kind for kind in kinds if kind in ("mysql", "mariadb")]
    for_postgres = [kind for kind in kinds if kind == "postgresql"]
    wanted: tuple[tuple[str, Any, list[Any], str], ...] = (
        ("replicationSlot", options.replication_slot, for_postgres, "PostgreSQL"),
        ("publicationName", options.publication_name, for_postgres, "PostgreSQL"),
        ("partialPublication", options.partial_publication, for_postgres, "PostgreSQL"),
        ("binlogPosition", options.binlog_position, for_mysql, "MySQL or MariaDB"),
        ("serverId", options.server_id, for_mysql, "MySQL or MariaDB"),
    )
    for key, value, servers, name in wanted:
        if value and not servers:
            yield Fault(
                f"$.source.options.{key}",
                f"this option is for {name}, and no source is of that type",
                "Leave it out.",
            )
    if options.binlog_position and len(for_mysql) > 1:
        yield Fault(
            "$.source.options.binlogPosition",
            "it is a position of one server, but the stream has several sources",
            "Use one stream for each source, or start at the end of each log.",
        )


# The target


def _target_kind(document: StreamDocument, connection: Connection) -> Faults:
    target = document.target
    if {"id", "connection"} <= given(target):
        yield Fault("$.target.id", "give 'id' or 'connection', not both", "Leave one of them out.")
    spec, keys = target.spec, given(target.spec)
    kinds = keys - (set() if given(spec.db) - FOR_FILES else {"db"})
    if len(kinds) > 1:
        yield Fault(
            "$.target.spec",
            f"{' and '.join(sorted(kinds))} are different kinds of target; a stream has one target",
            "Give only one of them. Of db, only writeMode and skipData apply to files and s3.",
        )
        return
    fits = {"files": FilesConnection, "s3": S3Connection}
    for key, kind in fits.items():
        if key in keys and not isinstance(connection, kind):
            yield Fault(
                f"$.target.spec.{key}",
                f"the target is {_kind(connection)}",
                "Leave it out, or name another target.",
            )
    if isinstance(connection, FilesConnection | S3Connection):
        for key in sorted(given(spec.db) - FOR_FILES):
            yield Fault(
                f"$.target.spec.db.{key}",
                f"this option is for a database, and the target is {_kind(connection)}",
                "Leave it out.",
            )
    database, schema = spec.db.database or getattr(connection, "database", None), spec.db.schema_
    mysql = getattr(connection, "kind", None) in ("mysql", "mariadb")
    if mysql and database and schema and schema != database:
        yield Fault(
            "$.target.spec.db.schema",
            f"{_kind(connection)} has databases, but no schemas, and 'database' names another "
            "database",
            "Leave it out.",
        )


LEVELS = {"gzip": 9, "zstd": 22}
"""The highest level of a codec that has levels."""


def _file_forms(document: StreamDocument) -> Faults:
    """Yield a fault for each setting of Parquet that the format or codec does not have."""
    for name in ("files", "s3"):
        spec: FilesSpec | S3Spec | None = getattr(document.target.spec, name)
        if spec is None:
            continue
        path, parquet = f"$.target.spec.{name}.format.parquet", spec.format.parquet
        if spec.file_format != "parquet":
            if given(parquet):
                yield Fault(path, f"the files are {spec.file_format}", "Leave it out.")
            continue
        own = "none" if parquet.compression_codec == "uncompressed" else parquet.compression_codec
        if own is not None and own != spec.format.codec:
            yield Fault(
                f"{path}.compressionCodec", "'compression' names another one", "Leave one out."
            )
        codec = spec.format.codec or "zstd"
        level, highest = parquet.compression_level, LEVELS.get(codec, 0)
        if level is not None and level > highest:
            what = f"has levels up to {highest}" if highest else "has no levels"
            yield Fault(
                f"{path}.compressionLevel", f"{codec} {what}", "Choose another, or leave it out."
            )


CDC_ALONE = ("replicationSlot", "publicationName", "binlogPosition", "serverId", "initialLoad",
             "partialPublication")  # fmt: skip


def ignored_in_convert(document: StreamDocument) -> Iterator[str]:
    """Yield the paths of the options that only a cdc uses, if the document is a convert."""
    if document.mode == "convert":
        keys = given(document.source.options)
        yield from (f"$.source.options.{key}" for key in CDC_ALONE if key in keys)
        for key in ("schemaChanges", "onRewrite", "maxRetainedBytes", "verification"):
            if key in given(document.options):
                yield f"$.options.{key}"
