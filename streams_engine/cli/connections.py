"""``streams-engine connections``: the servers, folders and buckets of a stored engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from streams_engine.cli.documents import read_object
from streams_engine.cli.exit_codes import Exit
from streams_engine.cli.lists import Filters, Limit, Offset, Sorts, page_of
from streams_engine.cli.names import complete_connections
from streams_engine.cli.session import Column, Session, command, grid, group
from streams_engine.cli.urls import connection_document
from streams_engine.errors import ConfigError

__all__ = ["app"]

app = group("connections", "Servers, folders and buckets of an engine.")

Name = Annotated[
    str,
    typer.Argument(
        metavar="CONNECTION", help="Its id or name.", autocompletion=complete_connections
    ),
]
Database = Annotated[
    str | None, typer.Option("--database", help="Another database than the connection's own.")
]
Schema = Annotated[str | None, typer.Option("--schema", help="Only this schema.")]
Given = Annotated[
    str,
    typer.Argument(
        metavar="DOCUMENT | URL",
        help="A document (JSON, YAML, TOML; - for standard input) or a URL; env:NAME for a secret.",
    ),
]
Named = Annotated[str | None, typer.Option("--name", help="Its name, if the document has none.")]

COLUMNS: tuple[Column, ...] = (
    ("name", "name"),
    ("type", "type"),
    ("where", lambda one: where(one)),
    ("id", "id"),
)


def where(document: Any) -> str:
    """Return where a connection leads, in a few words."""
    server = document if "host" in document else (document.get("spec") or {}).get("database") or {}
    if "host" in server:
        port = f":{server['port']}" if server.get("port") else ""
        base = server.get("database") or server.get("defaultDatabase") or ""
        return f"{server['host']}{port}/{base}"
    spec = document.get("spec") or {}
    place = (
        (spec.get("files") or {}).get("basePath")
        or (spec.get("store") or {}).get("url")
        or (document.get("storage_config") or {}).get("uri")
        or document.get("url")
    )
    scope = (spec.get("s3") or {}).get("scope") or {}
    return str(place or f"s3://{scope.get('bucket') or ''}/{scope.get('prefix') or ''}")


def _document(given: str, name: str | None) -> dict[str, Any]:
    if "://" in given or given.startswith("env:"):
        made = connection_document(given)
    else:
        made = read_object(given, "connection")
    return made | ({"name": name} if name else {})


@command(app, "list")
def list_connections(
    session: Session,
    limit: Limit = None,
    offset: Offset = 0,
    filters: Filters = None,
    sort: Sorts = None,
) -> None:
    """List the connections."""
    with session.engine() as engine:
        page = engine.connections.list(**page_of(limit, offset, filters, sort))
    session.listed(page, COLUMNS, "There are no connections.")


@command(app, "show")
def show(session: Session, name: Name) -> None:
    """Show a connection's document, without its secrets."""
    with session.engine() as engine:
        session.answer(engine.connections.get(name))


@command(app, "create")
def create(session: Session, given: Given, name: Named = None) -> None:
    """Store a connection, and print its id."""
    with session.engine() as engine:
        made = engine.connections.create(_document(given, name))
    session.answer(made, made["id"])


@command(app, "update")
def update(session: Session, name: Name, given: Given) -> None:
    """Replace a connection's whole document, its secrets too."""
    with session.engine() as engine:
        made = engine.connections.update(
            name, {"name": engine.connections.get(name)["name"], **_document(given, None)}
        )
    session.answer(made, made["id"])


@command(app, "delete")
def delete(
    session: Session,
    name: Annotated[
        str | None, typer.Argument(metavar="CONNECTION", help="Its id or name.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Delete all of them.")] = False,
    confirm: Annotated[bool, typer.Option("--yes", help="Confirm --all.")] = False,
) -> None:
    """Delete a connection that no config uses."""
    if every is (name is not None):
        raise ConfigError("Expected a CONNECTION, or --all.")
    with session.engine() as engine:
        if name is None:
            if not confirm:
                raise ConfigError("--all deletes every connection.", remedy="Say --yes too.")
            session.answer({"deleted": engine.connections.delete_all(confirm=True)})
            return
        engine.connections.delete(name)
    session.answer({"deleted": 1}, f"deleted {name}")


@command(app, "clone")
def clone(session: Session, name: Name) -> None:
    """Store a copy under another name."""
    with session.engine() as engine:
        made = engine.connections.clone(name)
    session.answer(made, made["name"])


@command(app, "ping")
def ping(session: Session, name: Name) -> Exit:
    """Connect and log in."""
    with session.engine() as engine:
        answer = engine.connections.ping(_document(name, None) if "://" in name else name)
    failed = answer["ping"] != "ok"
    session.answer(
        answer,
        f"failed [{answer['code']}]: {answer['error']} {answer['remedy'] or ''}".strip()
        if failed
        else "ok",
    )
    return Exit.FAILED if failed else Exit.FINISHED


@command(app, "databases")
def databases(session: Session, name: Name) -> None:
    """List the databases of a server, with their schemas."""
    with session.engine() as engine:
        found = engine.connections.databases(name)
    lines = [
        " ".join(filter(None, (one["name"], ", ".join(one.get("schemas", ()))))) for one in found
    ]
    session.answer(found, "\n".join(lines))


@command(app, "create-database")
def create_database(
    session: Session, name: Name, database: Annotated[str, typer.Argument(metavar="DATABASE")]
) -> None:
    """Create a database."""
    with session.engine() as engine:
        session.answer(engine.connections.create_database(name, database), f"created {database}")


@command(app, "create-schema")
def create_schema(
    session: Session,
    name: Name,
    schema: Annotated[str, typer.Argument(metavar="SCHEMA")],
    database: Database = None,
) -> None:
    """Create a schema (PostgreSQL)."""
    with session.engine() as engine:
        session.answer(
            engine.connections.create_schema(name, schema, database), f"created {schema}"
        )


@command(app, "tables")
def tables(session: Session, name: Name, database: Database = None, schema: Schema = None) -> None:
    """List the tables."""
    with session.engine() as engine:
        found = engine.connections.tables(name, database, schema)
    session.answer(found, "\n".join(found))


@command(app, "views")
def list_views(
    session: Session, name: Name, database: Database = None, schema: Schema = None
) -> None:
    """List the views."""
    with session.engine() as engine:
        found = engine.connections.views(name, database, schema)
    session.answer(found, "\n".join(found))


@command(app, "describe")
def describe(
    session: Session,
    name: Name,
    table: Annotated[str, typer.Argument(metavar="TABLE")],
    database: Database = None,
) -> None:
    """Show a table's columns, keys, indexes, foreign keys and DDL."""
    with session.engine() as engine:
        found = engine.connections.describe(name, table, database)
    session.answer(found, found["ddl"])


@command(app, "readiness")
def readiness(
    session: Session,
    name: Name,
    table: Annotated[list[str] | None, typer.Option("--table", "-t", help="Only this one.")] = None,
    database: Database = None,
) -> Exit:
    """Show what prevents following the log, with the statements that repair it."""
    with session.engine() as engine:
        found = engine.connections.readiness(name, table, database)
    lines = [
        f"{one['severity']} {one['code']} {one['object']}: {one['message']} {one['remedy'] or ''}"
        for one in found
    ]
    session.answer(found, "\n".join(lines) or "ready")
    return Exit.FAILED if any(one["severity"] == "error" for one in found) else Exit.FINISHED


@command(app, "overview")
def overview(
    session: Session, name: Name, database: Database = None, schema: Schema = None
) -> None:
    """Show the server's version, and how many objects of each kind a database has."""
    with session.engine() as engine:
        found = engine.connections.overview(name, database, schema)
    session.answer(found, "\n".join(f"{key}: {value}" for key, value in found.items()))


OBJECTS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "sizes",
        "List the tables by their size, the largest first; rows are an estimate.",
        ("name", "schema", "rows", "bytes", "dataBytes", "indexBytes"),
    ),
    (
        "sequences",
        "List the sequences, with their last values.",
        ("name", "schema", "type", "lastValue", "increment", "ownedBy"),
    ),
    (
        "triggers",
        "List the triggers.",
        ("name", "schema", "table", "timing", "events", "enabled"),
    ),
    (
        "routines",
        "List functions and procedures.",
        ("name", "schema", "kind", "language", "arguments", "returns"),
    ),
)
"""What a database has, a command for each kind: its name, its help, the columns that it shows."""


def _add_list(kind: str, help_text: str, columns: Sequence[str]) -> None:
    def listed(
        session: Session, name: Name, database: Database = None, schema: Schema = None
    ) -> None:
        with session.engine() as engine:
            found = getattr(engine.connections, kind)(name, database, schema)
        _listed(session, found, *columns)

    listed.__doc__ = help_text
    command(app, kind)(listed)


for _kind, _help, _columns in OBJECTS:
    _add_list(_kind, _help, _columns)


@command(app, "column-summary")
def column_summary(
    session: Session,
    name: Name,
    table: Annotated[str, typer.Argument(metavar="TABLE")],
    column: Annotated[
        list[str] | None, typer.Option("--column", help="Only this one (repeatable).")
    ] = None,
    database: Database = None,
) -> None:
    """Show what the columns of a table hold: NULLs, distinct values, least and greatest."""
    with session.engine() as engine:
        found = engine.connections.column_summary(name, table, column or (), database)
    _listed(session, found, "name", "type", "rows", "nulls", "distinct", "min", "max")


def _listed(session: Session, found: list[dict[str, Any]], *keys: str) -> None:
    session.answer(found, grid(found, [(key, key) for key in keys]) if found else "none")
