"""``streams-engine configs``: the stream configs of a stored engine."""

from __future__ import annotations

from typing import Annotated

import typer

from streams_engine import units
from streams_engine.cli.documents import read_object
from streams_engine.cli.lists import Filters, Limit, Offset, Sorts, page_of
from streams_engine.cli.names import complete_configs
from streams_engine.cli.session import Column, Session, command, group
from streams_engine.errors import ConfigError

__all__ = ["Name", "app"]

app = group("configs", "Stream configs of an engine.")

Name = Annotated[
    str,
    typer.Argument(metavar="CONFIG", help="Its id or name.", autocompletion=complete_configs),
]
Given = Annotated[
    str,
    typer.Argument(
        metavar="DOCUMENT", help="A document: JSON, YAML or TOML (- for standard input)."
    ),
]

COLUMNS: tuple[Column, ...] = (
    ("name", "name"),
    ("mode", "mode"),
    ("latest run", "latestRun.status"),
    ("started", lambda one: units.moment((one["latestRun"] or {}).get("started"))),
    ("id", "id"),
)


@command(app, "list")
def list_configs(
    session: Session,
    search: Annotated[str | None, typer.Option(help="Only names that contain this.")] = None,
    limit: Limit = None,
    offset: Offset = 0,
    filters: Filters = None,
    sort: Sorts = None,
) -> None:
    """List the stream configs."""
    with session.engine() as engine:
        page = engine.configs.list(search, **page_of(limit, offset, filters, sort))
    session.listed(page, COLUMNS, "There are no stream configs.")


@command(app, "show")
def show(session: Session, name: Name) -> None:
    """Show a config's document."""
    with session.engine() as engine:
        session.answer(engine.configs.get(name))


@command(app, "create")
def create(session: Session, given: Given) -> None:
    """Store a config, and print its name."""
    with session.engine() as engine:
        made = engine.configs.create(read_object(given, "stream config"))
    session.answer(made, made["name"])


@command(app, "update")
def update(session: Session, name: Name, given: Given) -> None:
    """Replace a config's whole document; a run in progress keeps the old one."""
    with session.engine() as engine:
        made = engine.configs.update(name, read_object(given, "stream config"))
    session.answer(made, made["name"])


@command(app, "clone")
def clone(session: Session, name: Name) -> None:
    """Store a copy under another name."""
    with session.engine() as engine:
        made = engine.configs.clone(name)
    session.answer(made, made["name"])


@command(app, "delete")
def delete(
    session: Session,
    name: Annotated[str | None, typer.Argument(metavar="CONFIG", help="Its id or name.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Delete all of them.")] = False,
    confirm: Annotated[bool, typer.Option("--yes", help="Confirm --all.")] = False,
) -> None:
    """Delete a config and the history of its runs."""
    if every is (name is not None):
        raise ConfigError("Expected a CONFIG, or --all.")
    with session.engine() as engine:
        if name is None:
            if not confirm:
                raise ConfigError("--all deletes every stream config.", remedy="Say --yes too.")
            session.answer({"deleted": engine.configs.delete_all(confirm=True)})
            return
        engine.configs.delete(name)
    session.answer({"deleted": 1}, f"deleted {name}")
