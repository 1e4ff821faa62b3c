"""``streams-engine files``: the files of a stored connection's folder, bucket or other store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streams_engine import units
from streams_engine.cli.connections import Name
from streams_engine.cli.lists import Filters, Limit, Offset, Sorts, page_of
from streams_engine.cli.rows import RowFormat, print_rows
from streams_engine.cli.session import Column, Session, command, group
from streams_engine.errors import ConfigError

__all__ = ["app"]

app = group("files", "Files of a connection: look at them, read them, copy them.")

Place = Annotated[str, typer.Argument(metavar="PATH", help="Below the connection's base.")]

COLUMNS: tuple[Column, ...] = (
    ("path", "path"),
    ("type", "type"),
    ("size", lambda one: "" if one["size"] is None else units.size(one["size"])),
    ("modified", lambda one: units.moment(one["modified"])),
    ("format", "format"),
)
BUCKETS: tuple[Column, ...] = (
    ("name", "name"),
    ("created", lambda one: units.moment(one["created"])),
)


@command(app, "list")
def list_files(
    session: Session,
    name: Name,
    path: Annotated[str, typer.Argument(metavar="PATH", help="A folder.")] = "",
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="All files at any depth.")
    ] = False,
    limit: Limit = 100,
    offset: Offset = 0,
    filters: Filters = None,
    sort: Sorts = None,
) -> None:
    """List what a folder contains."""
    with session.engine() as engine:
        page = engine.files.list(
            name, path, recursive=recursive, **page_of(limit, offset, filters, sort)
        )
    session.listed(page, COLUMNS, "The folder is empty.")


@command(app, "meta")
def meta(session: Session, name: Name, path: Place) -> None:
    """Show a file's size, time and columns, or what a folder holds."""
    with session.engine() as engine:
        session.answer(engine.files.meta(name, path))


@command(app, "sniff")
def sniff(session: Session, name: Name, path: Place) -> None:
    """Show the format, compression and columns of a file, whatever its name says."""
    with session.engine() as engine:
        session.answer(engine.files.sniff(name, path))


@command(app, "manifest")
def manifest(session: Session, name: Name, path: Place) -> None:
    """Show the manifest of a table's folder that a stream wrote."""
    with session.engine() as engine:
        session.answer(engine.files.manifest(name, path))


@command(app, "read")
def read(
    session: Session,
    name: Name,
    path: Place,
    column: Annotated[
        list[str] | None, typer.Option("--column", help="Only this column (repeatable).")
    ] = None,
    limit: Limit = 100,
    offset: Offset = 0,
    filters: Filters = None,
    sort: Sorts = None,
    form: Annotated[RowFormat, typer.Option("--format", help="How rows are printed.")] = "table",
) -> None:
    """Show rows of a data file, or of a folder of parts."""
    with session.engine() as engine:
        table = engine.files.read(
            name, path, columns=column or (), **page_of(limit, offset, filters, sort)
        )
    print_rows(session, table.schema.names, table.to_batches(), form)


@command(app, "upload")
def upload(
    session: Session,
    name: Name,
    local: Annotated[Path, typer.Argument(metavar="FILE", help="A file of this machine.")],
    path: Place,
) -> None:
    """Copy a file of this machine to the store; it replaces a file of that path."""
    with session.engine() as engine:
        made = engine.files.upload(name, local, path)
    session.answer(made, f"uploaded {made['path']}, {units.size(made['size'] or 0)}")


@command(app, "download")
def download(
    session: Session,
    name: Name,
    path: Place,
    local: Annotated[Path, typer.Argument(metavar="FILE", help="A file of this machine.")],
) -> None:
    """Copy a file of the store to this machine."""
    with session.engine() as engine:
        made = engine.files.download(name, path, local)
    session.answer(made, f"downloaded {local}, {units.size(made['size'] or 0)}")


@command(app, "delete")
def delete(
    session: Session,
    name: Name,
    path: Place,
    confirm: Annotated[bool, typer.Option("--yes", help="Confirm it.")] = False,
) -> None:
    """Delete a file, or a folder with all that is below it."""
    if not confirm:
        raise ConfigError("Files that are deleted do not come back.", remedy="Say --yes.")
    with session.engine() as engine:
        count = engine.files.delete(name, path, confirm=True)
    session.answer({"deleted": count}, f"deleted {count} file{'s' * (count != 1)}")


@command(app, "buckets")
def buckets(session: Session, name: Name) -> None:
    """List the buckets of an account."""
    with session.engine() as engine:
        found = engine.files.buckets(name)
    page = {"items": found, "total": len(found), "limit": None, "offset": 0}
    session.listed(page, BUCKETS, "There are no buckets.")


@command(app, "create-bucket")
def create_bucket(
    session: Session, name: Name, bucket: Annotated[str, typer.Argument(metavar="BUCKET")]
) -> None:
    """Create a bucket."""
    with session.engine() as engine:
        session.answer(engine.files.create_bucket(name, bucket), f"created {bucket}")
