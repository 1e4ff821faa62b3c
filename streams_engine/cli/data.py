"""``streams-engine execute``, ``data`` and ``rows``: statements and rows of one connection."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from streams_engine.cli.connections import Database, Name
from streams_engine.cli.lists import Filters, Limit, Offset, Sorts, page_of
from streams_engine.cli.queries import Statement, statement_text
from streams_engine.cli.rows import RowFormat, print_plain, print_rows
from streams_engine.cli.session import Session, command, group
from streams_engine.errors import ConfigError
from streams_engine.units import plural

__all__ = ["app", "register"]

app = group("rows", "Rows of a table: insert, update and delete them.")

TableName = Annotated[str, typer.Argument(metavar="TABLE", help="The table.")]
Form = Annotated[RowFormat, typer.Option("--format", help="How rows are printed.")]
Key = Annotated[
    str, typer.Argument(metavar="KEY", help='The row\'s key as JSON, such as {"id": 1}.')
]


def register(root: typer.Typer) -> None:
    """Add ``execute`` and ``data`` to the commands."""
    command(root, "execute")(execute)
    command(root, "data")(data)


def execute(
    session: Session,
    connection: Name,
    statement: Statement,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Run it even if it destroys data or structure.")
    ] = False,
    limit: Limit = 1000,
    database: Database = None,
    form: Form = "table",
) -> None:
    """Run a statement, or several, in the SQL of a connection's server."""
    text = statement_text(statement)
    with session.engine() as engine:
        try:
            done = engine.execute(connection, text, confirm=confirm, limit=limit, database=database)
        except ConfigError as error:
            if error.path == "confirm":
                error.remedy = "Read it again, and give --confirm."
            raise
    if session.as_json:
        session.answer(done)
        return
    if done["columns"]:
        print_plain(session, done["columns"], done["rows"], form)
    if done["affectedRows"] or not done["columns"]:
        print(f"{plural(done['affectedRows'], 'row')} affected", file=sys.stderr)


def data(
    session: Session,
    connection: Name,
    table: TableName,
    column: Annotated[
        list[str] | None, typer.Option("--column", help="Only this column (repeatable).")
    ] = None,
    limit: Limit = 100,
    offset: Offset = 0,
    filters: Filters = None,
    sort: Sorts = None,
    database: Database = None,
    form: Form = "table",
) -> None:
    """Show rows of a table, a view or a file."""
    with session.engine() as engine:
        rows = engine.data(
            connection,
            table,
            columns=column or (),
            database=database,
            total=False,
            **page_of(limit, offset, filters, sort),
        )["items"]
    print_rows(session, rows.schema.names, rows.to_batches(), form)


@command(app, "insert")
def insert(
    session: Session,
    connection: Name,
    table: TableName,
    rows: Annotated[
        str,
        typer.Argument(
            metavar="ROWS", help="An object or a list as JSON; @FILE reads it, - standard input."
        ),
    ],
    database: Database = None,
) -> None:
    """Insert a row or several, all or none; print their keys."""
    with session.engine() as engine:
        done = engine.rows.insert(connection, table, _json(rows), database)
    session.answer(done)


@command(app, "update")
def update(
    session: Session,
    connection: Name,
    table: TableName,
    key: Key,
    values: Annotated[
        str, typer.Argument(metavar="VALUES", help='Columns as JSON, such as {"name": "Ann"}.')
    ],
    database: Database = None,
) -> None:
    """Update the one row that has a key."""
    with session.engine() as engine:
        done = engine.rows.update(connection, table, _json(key), _json(values), database)
    session.answer(done)


@command(app, "delete")
def delete(
    session: Session, connection: Name, table: TableName, key: Key, database: Database = None
) -> None:
    """Delete the one row that has a key."""
    with session.engine() as engine:
        done = engine.rows.delete(connection, table, _json(key), database)
    session.answer(done)


def _json(given: str) -> Any:
    """Parse an argument, without showing it: it is data. Raises `ConfigError`."""
    try:
        return json.loads(statement_text(given))
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"This is no JSON: {error.msg} at line {error.lineno}, column {error.colno}.",
            remedy="""Quote it for the shell: '{"id": 1}'.""",
        ) from None
