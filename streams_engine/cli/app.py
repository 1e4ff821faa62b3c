"""The commands: ``run``, ``plan``, ``verify`` and ``demo``."""

from __future__ import annotations

import json
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from streams_engine import __version__
from streams_engine.cli import documents, driving, exits, opening, views
from streams_engine.cli.exits import Exit
from streams_engine.cli.failures import complain, listening
from streams_engine.errors import InternalError, StreamsError
from streams_engine.lifecycle import State

__all__ = ["app", "run"]

# typer brings click along or inside itself, by version: this is its UsageError in both
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]

# what newer versions return for a KeyboardInterrupt; older ones raise Abort
_INTERRUPTED = 130

_CODES = "\n\n".join(["Exit codes:", *(f"{code.value}  {m}" for code, m in exits.MEANING.items())])

app = typer.Typer(
    name="streams-engine",
    help="Move a whole database, exactly.",
    epilog=_CODES,
    add_completion=False,
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
    list[str] | None, typer.Option("--table", "-t", help="Only this table (repeat for more).")
]
Connections = Annotated[
    Path | None, typer.Option(help="Connection documents by id, for configs that name ids.")
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
BundleSize = Annotated[int | None, typer.Option(help="Rows in a bundle, 10 to 1000.")]
LimitRows = Annotated[int | None, typer.Option(help="Stop after exactly so many rows.")]
LimitSeconds = Annotated[float | None, typer.Option(help="Stop after so many seconds.")]
Parallelism = Annotated[int | None, typer.Option(help="How many readers and writers.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any key of the document, by dotted path."),
]
Cdc = Annotated[
    bool, typer.Option("--cdc", help="Then keep the target in step, until it is stopped.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines, and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"streams-engine {__version__}")
        raise typer.Exit


@app.callback()
def _face(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    """Move a whole database, exactly."""


@app.command("run", epilog=_CODES)
def _run(
    what: What,
    table: Table = None,
    connections: Connections = None,
    write_mode: WriteMode = None,
    schema_policy: SchemaPolicy = None,
    bundle_size: BundleSize = None,
    limit_rows: LimitRows = None,
    limit_seconds: LimitSeconds = None,
    parallelism: Parallelism = None,
    cdc: Cdc = False,
    settings: Settings = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget an earlier checkpoint.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Move the data, and show how it goes."""
    request = opening.Request(
        what,
        connections=connections,
        tables=tuple(table or ()),
        write_mode=write_mode,
        schema_policy=schema_policy,
        bundle_size=bundle_size,
        limit_rows=limit_rows,
        limit_seconds=limit_seconds,
        parallelism=parallelism,
        cdc=cdc,
        settings=tuple(settings or ()),
    )
    view = views.choose(views.console(), as_json=as_json, quiet=quiet)
    with opening.open_stream(request) as stream:
        stats = driving.drive(stream, view, fresh=fresh)
        error = stream.error
    if error is not None:
        # the final stats document, already printed, holds it for machines
        complain(error)
        if debug:
            traceback.print_exception(error)
    elif stats.state is State.STOPPED:
        print("stopped; the same command continues from here", file=sys.stderr)
    return exits.for_state(stats.state, error)


@app.command("plan", epilog=_CODES)
def _plan(
    what: What,
    table: Table = None,
    connections: Connections = None,
    write_mode: WriteMode = None,
    schema_policy: SchemaPolicy = None,
    cdc: Cdc = False,
    settings: Settings = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Show what a run would do; the target is not touched."""
    request = opening.Request(
        what,
        connections=connections,
        tables=tuple(table or ()),
        write_mode=write_mode,
        schema_policy=schema_policy,
        cdc=cdc,
        settings=tuple(settings or ()),
    )
    with opening.open_stream(request) as stream:
        plan = stream.plan()
    _print(documents.plan_view(plan), plan.to_dict(), as_json)
    return Exit.FINISHED


@app.command("verify", epilog=_CODES)
def _verify(
    what: What,
    table: Table = None,
    connections: Connections = None,
    cdc: Cdc = False,
    settings: Settings = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Compare source and target, table by table."""
    request = opening.Request(
        what,
        connections=connections,
        tables=tuple(table or ()),
        cdc=cdc,
        settings=tuple(settings or ()),
    )
    with (
        opening.open_stream(request) as stream,
        views.verifying(views.console(), silent=quiet or as_json) as told,
    ):
        verdict = stream.verify(on_progress=told)
    if not quiet:
        _print(documents.verify_view(verdict), verdict.to_dict(), as_json)
    return Exit.FINISHED if verdict.ok else Exit.DIFFERENT


@app.command("release", epilog=_CODES)
def _release(
    what: What,
    table: Table = None,
    connections: Connections = None,
    settings: Settings = None,
    debug: Debug = False,
) -> int:
    """Drop what a cdc made on its source (slot, publication), and forget where it stood."""
    request = opening.Request(
        what,
        connections=connections,
        tables=tuple(table or ()),
        cdc=True,
        settings=tuple(settings or ()),
    )
    with opening.open_stream(request) as stream:
        stream.release()
    return Exit.FINISHED


@app.command("trigger")
def _trigger(
    remove: Annotated[bool, typer.Option("--remove", help="What takes it away again.")] = False,
) -> int:
    """Print the event trigger by which PostgreSQL tells a cdc of renames, drops and NOT NULL."""
    from streams_engine.adapters.postgres.ddl_events import REMOVAL, TRIGGERS

    print((REMOVAL if remove else TRIGGERS).strip())
    return Exit.FINISHED


@app.command("demo", epilog=_CODES)
def _demo(
    mysql: Annotated[
        bool, typer.Option("--mysql", help="The source is a private MySQL or MariaDB.")
    ] = False,
    postgres: Annotated[
        bool, typer.Option("--postgres", help="The source is a second PostgreSQL database.")
    ] = False,
    rows: Annotated[
        int, typer.Option(min=1000, max=10_000_000, help="About how many rows to make.")
    ] = 300_000,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Move and verify a generated shop between private servers; leaves nothing behind."""
    if mysql and postgres:
        raise typer.BadParameter("Choose one of --mysql and --postgres.")
    from streams_engine.demo.run import Choice, demonstrate

    choice = Choice.MYSQL if mysql else Choice.POSTGRES if postgres else Choice.BEST
    return demonstrate(choice, rows, quiet=quiet)


def _print(view: Any, document: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(document, default=str))
    else:
        views.console().print(view)


def _terminated(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def run(arguments: Sequence[str] | None = None) -> int:
    """Parse, run, and turn whatever happens into one line and an exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    as_json, debug = "--json" in given, "--debug" in given
    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, _terminated) if in_main else None
    try:
        with listening(debug=debug):
            code = int(app(given, prog_name="streams-engine", standalone_mode=False) or 0)
        if code == _INTERRUPTED:
            raise KeyboardInterrupt
        return code
    except _UsageError as fault:
        message = fault.format_message().rstrip(".") + "."  # type: ignore[attr-defined]
        remedy = "See: streams-engine --help"
        complain({"code": "USAGE", "message": message, "remedy": remedy}, as_json=as_json)
        return Exit.USAGE
    except StreamsError as error:
        complain(error, as_json=as_json)
        if debug:
            traceback.print_exc()
        return exits.for_error(error)
    except (KeyboardInterrupt, typer.Abort):
        print("stopped", file=sys.stderr)
        return Exit.STOPPED
    except Exception as fault:
        # its text is not ours and could hold anything, so it is shown on demand only
        unexpected = InternalError(
            f"Unexpected {type(fault).__name__}.",
            remedy="Run it again with --debug for the traceback, and please report it.",
        )
        complain(unexpected, as_json=as_json)
        if debug:
            traceback.print_exc()
        return Exit.FAILED
    finally:
        if in_main:
            signal.signal(signal.SIGTERM, before)
