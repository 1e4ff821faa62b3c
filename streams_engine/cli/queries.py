"""``streams-engine query`` and ``sql``: statements over the connections of a stored engine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from streams_engine.cli.exit_codes import Exit
from streams_engine.cli.names import complete_connections
from streams_engine.cli.rows import RowFormat, print_rows
from streams_engine.cli.session import Column, Session, command, grid, group
from streams_engine.errors import ConfigError

__all__ = ["Statement", "app", "register", "statement_text"]

app = group("sql", "Help with SQL: what is wrong, what may follow, what a name is.")

Statement = Annotated[
    str,
    typer.Argument(metavar="SQL", help="The statement; @FILE for a file, - for standard input."),
]
Connection = Annotated[
    str | None,
    typer.Option(
        "--connection",
        "-c",
        help="In its server's SQL; without, in that of a query over several sources.",
        autocompletion=complete_connections,
    ),
]
At = Annotated[
    int | None,
    typer.Option("--at", metavar="OFFSET", help="The place in the text; without, its end."),
]
Dialect = Annotated[str, typer.Option(help="mysql, mariadb, postgresql or duckdb.")]

DIAGNOSES: tuple[Column, ...] = (
    ("place", lambda one: f"{one['line']}:{one['column']}"),
    ("severity", "severity"),
    ("message", "message"),
    ("near", "suggestion"),
)
ITEMS: tuple[Column, ...] = (("text", "text"), ("kind", "kind"), ("detail", "detail"))


def statement_text(given: str) -> str:
    """Return a statement: itself, the text of @FILE, or standard input. Raises `ConfigError`."""
    if given == "-":
        return sys.stdin.read()
    if not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        reason = getattr(fault, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(f"{given[1:]} cannot be read: {reason}.") from None


def register(root: typer.Typer) -> None:
    """Add ``query`` to the commands."""
    command(root, "query")(query)


def query(
    session: Session,
    statement: Statement,
    connection: Annotated[
        list[str] | None,
        typer.Option(
            "--connection",
            "-c",
            metavar="[ALIAS=]CONNECTION",
            help="A source, under an alias (repeatable); without, all connections by their names.",
            autocompletion=complete_connections,
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=0, help="At most this many rows.")] = 1000,
    timeout: Annotated[float | None, typer.Option(help="Seconds until the last row.")] = None,
    form: Annotated[RowFormat, typer.Option("--format", help="How rows are printed.")] = "table",
    explain: Annotated[
        bool, typer.Option("--explain", help="Show the request to each source.")
    ] = False,
) -> None:
    """Run one SELECT over one source or several."""
    sources = None if not connection else dict(_aliased(one) for one in connection)
    text = statement_text(statement)
    with session.engine() as engine:
        if explain:
            session.answer(engine.explain(text, sources, limit=limit))
            return
        with engine.query(text, sources, limit=limit, timeout=timeout) as result:
            if session.as_json:
                session.answer(result.to_dict())
            else:
                print_rows(session, result.schema.names, result.reader(), form)
        if result.status == "truncated":
            print(f"only the first {limit} rows; --limit shows more", file=sys.stderr)


def _aliased(text: str) -> tuple[str, str]:
    alias, equals, connection = text.partition("=")
    return (alias, connection) if equals else (text, text)


@command(app, "diagnose")
def diagnose(session: Session, statement: Statement, connection: Connection = None) -> Exit:
    """Say what is wrong with a query, where, and what is near."""
    with session.engine() as engine:
        found = engine.sql.diagnose(statement_text(statement), connection)
    session.answer(found, grid(found, DIAGNOSES) if found else "no errors")
    return Exit.FAILED if found else Exit.FINISHED


@command(app, "complete")
def complete(
    session: Session, statement: Statement, at: At = None, connection: Connection = None
) -> None:
    """Say what may stand at a place."""
    text = statement_text(statement)
    with session.engine() as engine:
        found = engine.sql.complete(text, len(text) if at is None else at, connection)
    session.answer(found, grid(found, ITEMS))


@command(app, "hover")
def hover(
    session: Session, statement: Statement, at: At = None, connection: Connection = None
) -> None:
    """Say what a name is: a column with its type, a table with its columns, a function."""
    text = statement_text(statement)
    with session.engine() as engine:
        found = engine.sql.hover(text, len(text) if at is None else at, connection)
    session.answer(found, "nothing known" if found is None else found["text"])


@command(app, "signature")
def signature(
    session: Session, statement: Statement, at: At = None, connection: Connection = None
) -> None:
    """Say which arguments the function around a place takes."""
    text = statement_text(statement)
    with session.engine() as engine:
        found = engine.sql.signature(text, len(text) if at is None else at, connection)
    session.answer(found, "no function" if found is None else found["label"])


@command(app, "definition")
def definition(
    session: Session, statement: Statement, at: At = None, connection: Connection = None
) -> None:
    """Say where a name comes from: a place in the statement, or a table's DDL."""
    text = statement_text(statement)
    with session.engine() as engine:
        found = engine.sql.definition(text, len(text) if at is None else at, connection)
    session.answer(found, None if found else "nothing known")


@command(app, "format")
def format_sql(session: Session, statement: Statement, dialect: Dialect = "postgresql") -> None:
    """Lay statements out: one clause a line, keywords in capitals."""
    with session.engine() as engine:
        text = engine.sql.format(statement_text(statement), dialect)
    session.answer({"sql": text}, text)


@command(app, "transpile")
def transpile(
    session: Session,
    statement: Statement,
    source: Annotated[str, typer.Option("--from", help="mysql, mariadb, postgresql or duckdb.")],
    target: Annotated[str, typer.Option("--to", help="mysql, mariadb, postgresql or duckdb.")],
) -> None:
    """Translate statements to another dialect."""
    with session.engine() as engine:
        text = engine.sql.transpile(statement_text(statement), source, target)
    session.answer({"sql": text}, text)
