"""The command line: commands over a document or two URLs, and those over a stored engine."""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from streams_engine._version import __version__
from streams_engine.cli import arguments as cli_arguments
from streams_engine.cli import (
    configs,
    connections,
    data,
    execution,
    exit_codes,
    extras,
    files,
    monitoring,
    queries,
    readiness,
    reports,
    setup,
    streams,
    views,
)
from streams_engine.cli.error_output import LogFormat, complain, shown_elsewhere, tell_errors
from streams_engine.cli.exit_codes import Exit
from streams_engine.cli.options import Structure
from streams_engine.cli.plan import Accept, PlannedSql, PlannedTable, show_plan
from streams_engine.cli.schema import schema
from streams_engine.cli.session import CODES, Session, command
from streams_engine.errors import InternalError, StreamsError
from streams_engine.lifecycle import State

__all__ = ["app", "run"]

# typer brings click along or inside itself, by version: this is its UsageError in both
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]

# what newer versions return for a KeyboardInterrupt; older ones raise Abort
_INTERRUPTED = 130

app = typer.Typer(
    name="streams-engine",
    help="Move a whole database, exactly.",
    epilog=CODES,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

What = Annotated[
    list[str],
    typer.Argument(
        metavar="CONFIG | SOURCE_URL TARGET_URL",
        help="A stream config (- for standard input), or two URLs; write a password as env:NAME.",
        show_default=False,
    ),
]
Table = Annotated[
    list[str] | None, typer.Option("--table", "-t", help="Only this table (repeatable).")
]
Connections = Annotated[
    Path | None,
    typer.Option(help=("File of connection documents by id, for configs that refer to ids.")),
]
WriteMode = Annotated[
    str | None, typer.Option(help="fail_if_not_empty, append, truncate_and_load or upsert.")
]
SchemaPolicy = Annotated[
    str | None,
    typer.Option(
        help="fail_if_exists, validate_existing, create_missing_only or drop_and_recreate."
    ),
]
CreateDatabase = Annotated[
    bool,
    typer.Option(
        "--create-database",
        help="Between two URLs: create the target's database if it is missing.",
    ),
]
BundleSize = Annotated[int | None, typer.Option(help="Rows in a bundle, 10 to 1000.")]
LimitRows = Annotated[int | None, typer.Option(help="Stop after exactly this many rows.")]
LimitSeconds = Annotated[float | None, typer.Option(help="Stop after this many seconds.")]
Parallelism = Annotated[int | None, typer.Option(help="Number of readers and of writers.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set any key of the document, by dotted path."),
]
Cdc = Annotated[
    bool,
    typer.Option("--cdc", help="Mode cdc: load, then follow the log until stopped."),
]
OfCdc = Annotated[
    bool, typer.Option("--cdc", help="The target was loaded in mode cdc, not convert.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"streams-engine {__version__}")
        raise typer.Exit


@app.callback()
def _face(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Move a whole database, exactly."""


for _group in (connections.app, configs.app, streams.app, files.app, queries.app, data.app):
    app.add_typer(_group)


@command(app, "run", "plain")
def _run(
    session: Session,
    what: What,
    table: Table = None,
    connections: Connections = None,
    write_mode: WriteMode = None,
    schema_policy: SchemaPolicy = None,
    create_database: CreateDatabase = False,
    bundle_size: BundleSize = None,
    limit_rows: LimitRows = None,
    limit_seconds: LimitSeconds = None,
    parallelism: Parallelism = None,
    cdc: Cdc = False,
    settings: Settings = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Discard the checkpoint of an earlier run.")
    ] = False,
    accept: Accept = None,
    ready_file: readiness.ReadyFile = None,
    quiet: Quiet = False,
) -> int:
    """Copy the data, and show progress."""
    request = cli_arguments.Arguments(
        what,
        connections=connections,
        tables=tuple(table or ()),
        write_mode=write_mode,
        schema_policy=schema_policy,
        create_database=create_database or None,
        bundle_size=bundle_size,
        limit_rows=limit_rows,
        limit_seconds=limit_seconds,
        parallelism=parallelism,
        cdc=cdc,
        settings=tuple(settings or ()),
    )
    view = views.choose(views.console(), as_json=session.as_json, quiet=quiet)
    with (
        cli_arguments.open_stream(request) as stream,
        readiness.announced(stream, ready_file),
        shown_elsewhere(),
    ):
        stats = execution.execute(stream, view, lambda: stream.start(fresh=fresh))
        error = stream.error
    told = exit_codes.not_accepted(stats.findings, accept or ())
    if error is not None:
        # the final stats document, already printed, holds it for machines
        complain(error)
        if session.debug:
            traceback.print_exception(error)
    elif stats.state is State.STOPPED:
        print("stopped; run the same command to continue", file=sys.stderr)
    if error is None:
        tell_errors(told)
    return exit_codes.for_state(stats.state, error, told)


@command(app, "plan", "plain")
def _plan(
    session: Session,
    what: What,
    table: PlannedTable = None,
    connections: Connections = None,
    write_mode: WriteMode = None,
    schema_policy: SchemaPolicy = None,
    create_database: CreateDatabase = False,
    cdc: Cdc = False,
    settings: Settings = None,
    sql: PlannedSql = False,
    accept: Accept = None,
) -> int:
    """Show what a run would do, one line per table. Changes nothing on the target."""
    request = cli_arguments.Arguments(
        what,
        connections=connections,
        write_mode=write_mode,
        schema_policy=schema_policy,
        create_database=create_database or None,
        cdc=cdc,
        settings=tuple(settings or ()),
    )
    with cli_arguments.open_stream(request) as stream:
        plan = stream.plan()
    return show_plan(session, plan, table or (), sql=sql, accept=accept or ())


@command(app, "verify", "plain")
def _verify(
    session: Session,
    what: What,
    table: Table = None,
    connections: Connections = None,
    cdc: OfCdc = False,
    settings: Settings = None,
    sample: Annotated[
        float | None, typer.Option(help="Compare this share of the rows, such as 0.01.")
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Write the rows that differ again on the target.")
    ] = False,
    live: Annotated[
        bool, typer.Option("--live", help="A cdc in another process keeps writing.")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume/--anew", help="Resume an interrupted verification, or start over."),
    ] = True,
    sql: Annotated[
        bool,
        typer.Option(
            "--sql", help="Print statements that would repair the rows that the report names."
        ),
    ] = False,
    structure: Structure = True,
    quiet: Quiet = False,
) -> int:
    """Compare source and target, table by table: all rows, then keys, indexes and columns."""
    request = cli_arguments.Arguments(
        what,
        connections=connections,
        tables=tuple(table or ()),
        cdc=cdc,
        settings=tuple(settings or ()),
    )
    with (
        cli_arguments.open_stream(request) as stream,
        views.verifying(views.console(), silent=quiet or session.as_json) as told,
    ):
        verdict = stream.verify(
            sample=sample,
            live=live or None,
            repair=repair,
            resume=resume,
            structure=structure,
            on_progress=told,
        )
    if sql:
        statements = verdict.to_sql()
        session.answer({"sql": statements}, "\n".join(statements))
    elif not quiet:
        session.answer(verdict.to_dict(), reports.verify_view(verdict))
    return Exit.FINISHED if verdict.ok and verdict.same_structure else Exit.DIFFERENT


@command(app, "catch-up", "plain")
def _catch_up(
    session: Session,
    what: What,
    connections: Connections = None,
    settings: Settings = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0, help="Seconds to wait, at most.")
    ] = 60.0,
) -> int:
    """Wait until all that is committed on the source now is on the target of a cdc that another
    process runs: before you switch over."""
    request = cli_arguments.Arguments(
        what, connections=connections, cdc=True, settings=tuple(settings or ())
    )
    with cli_arguments.open_stream(request) as stream:
        done = stream.catch_up(timeout, elsewhere=True)
    session.answer({"caughtUp": done}, "caught up" if done else "not caught up")
    return Exit.FINISHED if done else Exit.FAILED


@command(app, "release", "plain")
def _release(
    session: Session,
    what: What,
    table: Table = None,
    connections: Connections = None,
    settings: Settings = None,
) -> int:
    """Drop what a cdc created on its source (slot, publication), and its checkpoint."""
    request = cli_arguments.Arguments(
        what,
        connections=connections,
        tables=tuple(table or ()),
        cdc=True,
        settings=tuple(settings or ()),
    )
    with cli_arguments.open_stream(request) as stream:
        dropped = stream.release()
    session.answer({"released": True, "dropped": dropped}, reports.released(dropped))
    return Exit.FINISHED


@command(app, "trigger", "plain")
def _trigger(
    session: Session,
    remove: Annotated[bool, typer.Option("--remove", help="Print how to remove it.")] = False,
) -> int:
    """Print the event trigger that reports renames, drops and NOT NULL to a cdc from PostgreSQL."""
    from streams_engine.adapters.postgres.replication.ddl_events import REMOVAL, TRIGGERS

    text = (REMOVAL if remove else TRIGGERS).strip()
    session.answer({"sql": text}, text)
    return Exit.FINISHED


command(app, "schema", "plain")(schema)


@command(app, "demo", "plain")
def _demo(
    session: Session,
    mysql: Annotated[
        bool, typer.Option("--mysql", help="Use a private MySQL or MariaDB as source.")
    ] = False,
    postgres: Annotated[
        bool, typer.Option("--postgres", help="Use a second PostgreSQL database as source.")
    ] = False,
    rows: Annotated[
        int, typer.Option(min=1000, max=10_000_000, help="Approximate number of rows to generate.")
    ] = 300_000,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the servers for trials until Ctrl-C.")
    ] = False,
    quiet: Quiet = False,
) -> int:
    """Move and verify a generated shop between private servers, then remove everything."""
    if mysql and postgres:
        raise typer.BadParameter("Choose either --mysql or --postgres.")
    from streams_engine.demo.run import Choice, demonstrate

    choice = Choice.MYSQL if mysql else Choice.POSTGRES if postgres else Choice.BEST
    return demonstrate(choice, rows, quiet=quiet, keep=keep)


queries.register(app)
data.register(app)
monitoring.register(app)
setup.register(app)
extras.register(app)


def _terminated(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _has(given: Sequence[str], option: str, value: str) -> bool:
    """Return whether an option was given, before the arguments are parsed: that may fail."""
    return f"{option}={value}" in given or (option, value) in pairwise(given)


def run(arguments: Sequence[str] | None = None) -> int:
    """Parse, run, and turn whatever happens into one line and an exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    as_json, debug = "--json" in given, "--debug" in given
    shape: LogFormat = "json" if _has(given, "--log-format", "json") else "text"
    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, _terminated) if in_main else None
    try:
        code = int(app(given, prog_name="streams-engine", standalone_mode=False) or 0)
        if code == _INTERRUPTED:
            raise KeyboardInterrupt
        return code
    except _UsageError as fault:
        message = fault.format_message().rstrip(".")  # type: ignore[attr-defined]
        message += "" if message.endswith("?") else "."
        context = getattr(fault, "ctx", None)
        path = "streams-engine" if context is None else context.command_path
        remedy = f"See: {path} --help"
        complain(
            {"code": "USAGE", "message": message, "remedy": remedy},
            as_json=as_json,
            log_format=shape,
        )
        return Exit.USAGE
    except StreamsError as error:
        complain(error, as_json=as_json, log_format=shape)
        if debug:
            traceback.print_exc()
        return exit_codes.for_error(error)
    except (KeyboardInterrupt, typer.Abort):
        print("stopped", file=sys.stderr)
        return Exit.STOPPED
    except Exception as fault:
        # its text is not ours and could hold anything, so it is shown on demand only
        unexpected = InternalError(
            f"Unexpected {type(fault).__name__}.",
            remedy="Run it again with --debug for the traceback, and please report it.",
        )
        complain(unexpected, as_json=as_json, log_format=shape)
        if debug:
            traceback.print_exc()
        return Exit.FAILED
    finally:
        if in_main:
            signal.signal(signal.SIGTERM, before)
