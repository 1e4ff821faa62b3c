"""``streams-engine streams``: the runs of a stored engine, from any terminal."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams_engine import units
from streams_engine.cli import execution, exit_codes, reports, views
from streams_engine.cli.configs import Name as ConfigName
from streams_engine.cli.error_output import complain, shown_elsewhere, tell_errors
from streams_engine.cli.exit_codes import Exit
from streams_engine.cli.lists import Filters, Limit, Offset, Sorts, page_of
from streams_engine.cli.names import complete_streams, stream_id
from streams_engine.cli.options import Structure
from streams_engine.cli.plan import Accept, PlannedSql, PlannedTable, show_plan
from streams_engine.cli.readiness import ReadyFile, announced
from streams_engine.cli.reports import released
from streams_engine.cli.session import Column, Session, command, group
from streams_engine.errors import ConfigError, NotFound, ProcessLost, StateConflict
from streams_engine.lifecycle import State
from streams_engine.model import Finding, Severity

if TYPE_CHECKING:
    from streams_engine.engine import Engine

__all__ = ["app"]

app = group("streams", "Runs of stream configs: start them, watch them, steer them.")

Name = Annotated[
    str,
    typer.Argument(
        metavar="STREAM",
        help="The id of a stream; of a config (its id or name), the newest run.",
        autocompletion=complete_streams,
    ),
]
AnyName = Annotated[
    str | None,
    typer.Argument(
        metavar="[STREAM]",
        help="The id of a stream; of a config (its id or name), the newest run. None: all.",
        autocompletion=complete_streams,
    ),
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the stream has done so.")]
Timeout = Annotated[float | None, typer.Option("--timeout", min=0, help="Seconds to wait.")]

COLUMNS: tuple[Column, ...] = (
    ("name", "name"),
    ("status", "status"),
    ("started", lambda run: units.moment(run["started"])),
    ("rows", lambda run: units.count(run["rows"])),
    ("error", "error.code"),
    ("id", "id"),
)
STEER_SECONDS = 60.0
"""How long a stream may take to pause: until the bundle in progress is committed."""
START_SECONDS = 60.0
"""How long a process that is started may take until its run is written down."""
POLL_SECONDS = 0.05


@command(app, "list")
def list_streams(
    session: Session,
    limit: Limit = None,
    offset: Offset = 0,
    filters: Filters = None,
    sort: Sorts = None,
) -> None:
    """List all runs, the newest first."""
    with session.engine() as engine:
        page = engine.streams.list(**page_of(limit, offset, filters, sort))
    session.listed(page, COLUMNS, "There are no runs.")


@command(app, "history")
def history(
    session: Session,
    config: ConfigName,
    limit: Limit = None,
    offset: Offset = 0,
    filters: Filters = None,
    sort: Sorts = None,
) -> None:
    """List the runs of a config, the newest first."""
    with session.engine() as engine:
        page = engine.streams.history(config, **page_of(limit, offset, filters, sort))
    session.listed(page, COLUMNS, "The config was never started.")


@command(app, "show")
def show(session: Session, name: Name) -> None:
    """Show a run: its state, times, rows and error."""
    with session.engine() as engine:
        run = engine.streams.get(stream_id(engine, name))
    error = run["error"]
    lines = [f"{key}: {value}" for key, value in run.items() if key != "error"]
    if error:
        lines.append(f"error: [{error['code']}] {error['message']} {error['remedy'] or ''}")
    session.answer(run, "\n".join(lines))


@command(app, "start")
def start(
    session: Session,
    config: ConfigName,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Discard the checkpoint of an earlier run.")
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Run in a process of its own, and print the id.")
    ] = False,
    accept: Accept = None,
    ready_file: ReadyFile = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors.")] = False,
) -> Exit:
    """Start a config, and show how it goes until it ends; Ctrl-C stops it."""
    if detach:
        ready = [] if ready_file is None else ["--ready-file", str(ready_file.absolute())]
        return _detached(session, config, *(["--fresh"] if fresh else []), *ready)
    view = views.choose(views.console(), as_json=session.as_json, quiet=quiet)
    with session.engine() as engine, shown_elsewhere():
        run = engine.streams.start(config, fresh=fresh)
        stream = engine.streams.open(run)
        with announced(stream, ready_file):
            stats = execution.execute(stream, view)
        engine.streams.wait(run)
        error = stream.error
    told = exit_codes.not_accepted(stats.findings, accept or ())
    if error is not None:
        complain(error)
    else:
        tell_errors(told)
    return exit_codes.for_state(stats.state, error, told)


def _detached(session: Session, config: str, *options: str) -> Exit:
    """Start a process that outlives this one, and wait until its run is written down."""
    with session.engine() as engine:
        ready = engine.configs.get(config)["stream"]
        if ready is None:
            raise StateConflict(
                f"A run of {config} has not ended.", remedy="Stop it first: streams stop."
            )
        arguments = [sys.executable, "-m", "streams_engine", "streams", "start", config, "--quiet",
                     "--engine", str(session.file), *options]  # fmt: skip
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,
            )
            code = _begun(engine, ready["id"], process)
            if code:
                said.seek(0)
                sys.stderr.write(said.read().decode(errors="replace"))
                return Exit(code)
    process.returncode = 0  # it goes on; nobody waits for it here
    session.answer({"id": ready["id"], "pid": process.pid}, ready["id"])
    return Exit.FINISHED


def _begun(engine: Engine, run: str, process: subprocess.Popen[bytes]) -> int:
    """Wait until a run is written down; return the exit code of a process that ended without."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        code = process.poll()
        try:
            engine.streams.get(run)
            return 0
        except NotFound:
            if code is not None:
                return code or Exit.FAILED
        time.sleep(POLL_SECONDS)
    raise ProcessLost("The process that was started has not begun its run.", pid=process.pid)


def _steered(
    session: Session, name: str, steer: Callable[[Engine, str], None], state: State, wait: bool
) -> None:
    with session.engine() as engine:
        run = stream_id(engine, name)
        steer(engine, run)
        reached = engine.streams.wait(run, state, timeout=STEER_SECONDS) if wait else None
    told = {"id": run, "status": None if reached is None else str(reached)}
    session.answer(told, f"{run} {'asked' if reached is None else reached}")


@command(app, "pause")
def pause(session: Session, name: Name, wait: Wait = True) -> None:
    """Pause a stream, whichever process runs it, once the bundle in progress is committed."""
    _steered(session, name, lambda e, run: e.streams.pause(run), State.PAUSED, wait)


@command(app, "resume")
def resume(session: Session, name: Name, wait: Wait = True) -> None:
    """Resume a paused stream."""
    _steered(session, name, lambda e, run: e.streams.resume(run), State.RUNNING, wait)


@command(app, "stop")
def stop(
    session: Session,
    name: Name,
    force: Annotated[bool, typer.Option("--force", help="Abandon the bundle in progress.")] = False,
    wait: Wait = True,
) -> None:
    """Stop a stream; the next start of its config goes on from the checkpoint."""
    _steered(session, name, lambda e, run: e.streams.stop(run, force=force), State.STOPPED, wait)


@command(app, "wait")
def wait_for(
    session: Session,
    name: Name,
    state: Annotated[
        list[State] | None, typer.Option("--state", help="Or until this state (repeatable).")
    ] = None,
    timeout: Timeout = None,
    accept: Accept = None,
) -> Exit:
    """Wait until a stream has ended, and return the exit code of its end."""
    with session.engine() as engine:
        run = stream_id(engine, name)
        try:
            reached = engine.streams.wait(run, *(state or ()), timeout=timeout)
        except TimeoutError:
            raise StateConflict(f"{run} has not ended within {timeout:g} s.") from None
        findings = _findings(engine, run) if reached.final else []
    session.answer({"id": run, "status": str(reached)}, f"{run} {reached}")
    if not reached.final:
        return Exit.FINISHED
    told = exit_codes.not_accepted(findings, accept or ())
    tell_errors(told)
    return exit_codes.for_state(reached, None, told)


def _findings(engine: Engine, run: str) -> list[Finding]:
    """Return the findings of a run, of any process."""
    return [
        Finding(Severity(f["severity"]), f["code"], f["object"], f["message"], f["remedy"])
        for f in engine.streams.stats(run)["findings"]
    ]


@command(app, "catch-up")
def catch_up(session: Session, name: Name, timeout: Timeout = 60.0) -> Exit:
    """Wait until all that is committed on the source now is on the target of a cdc."""
    with session.engine() as engine:
        run = stream_id(engine, name)
        done = engine.streams.catch_up(run, timeout)
    session.answer({"id": run, "caughtUp": done}, "caught up" if done else "not caught up")
    return Exit.FINISHED if done else Exit.FAILED


@command(app, "stats")
def stats(session: Session, name: Name) -> None:
    """Show the counters of a run: of another process's run, those of its last report."""
    with session.engine() as engine:
        document = engine.streams.stats(stream_id(engine, name))
    session.answer(document)


@command(app, "logs")
def logs(
    session: Session,
    name: AnyName = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show records as they come, until the end.")
    ] = False,
    level: Annotated[
        str | None, typer.Option("--level", help="INFO, WARNING or ERROR and those above it.")
    ] = None,
    table: Annotated[str | None, typer.Option("--table", "-t", help="Only of this table.")] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=0, help="Only the last so many.")
    ] = None,
    filters: Filters = None,
) -> None:
    """Show the log of a run, of any process; without a name, that of all runs."""
    with session.engine() as engine:
        run = None if name is None else stream_id(engine, name)
        if follow:
            if run is None:
                raise ConfigError("--follow follows one run.", remedy="Name it.")
            for record in engine.streams.follow_logs(run, level=level, table=table):
                _print_record(record, as_json=session.as_json)
            return
        newest = [{"column": "time", "direction": "desc"}]
        shown = engine.logs if run is None else partial(engine.streams.logs, run)
        page = shown(
            level=level,
            table=table,
            limit=limit,
            filters=page_of(None, 0, filters, None)["filters"],
            sort=newest if limit is not None else (),
        )
    for record in reversed(page["items"]) if limit is not None else page["items"]:
        _print_record(record, as_json=session.as_json, named=run is None)


def _print_record(record: dict[str, Any], *, as_json: bool, named: bool = False) -> None:
    if as_json:
        print(json.dumps(record, default=str), flush=True)
        return
    moment = datetime.fromtimestamp(record["time"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    table = f"{record['table']}: " if record["table"] else ""
    event = f"{record['event']}: " if record["event"] not in record["message"] else ""
    stream = f"{record['stream']} " if named else ""
    told = f"{moment} {record['level']:<7} {stream}{event}{table}{record['message']}"
    print(told, flush=True)


@command(app, "plan")
def plan(
    session: Session,
    config: ConfigName,
    table: PlannedTable = None,
    sql: PlannedSql = False,
    accept: Accept = None,
) -> Exit:
    """Show what a run would do, one line per table. Changes nothing on the target."""
    with session.engine() as engine:
        planned = engine.streams.plan(config)
    return show_plan(session, planned, table or (), sql=sql, accept=accept or ())


@command(app, "verify")
def verify(
    session: Session,
    config: ConfigName,
    table: Annotated[list[str] | None, typer.Option("--table", "-t", help="Only this one.")] = None,
    sample: Annotated[
        float | None, typer.Option(help="Compare this share of the rows, such as 0.01.")
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Write the rows that differ again on the target.")
    ] = False,
    live: Annotated[
        bool, typer.Option("--live", help="A cdc in another process keeps writing.")
    ] = False,
    structure: Structure = True,
) -> Exit:
    """Compare source and target, table by table: all rows, then keys, indexes and columns."""
    with (
        session.engine() as engine,
        views.verifying(views.console(), silent=session.as_json) as told,
    ):
        verdict = engine.streams.verify(
            config,
            table,
            sample=sample,
            live=live or None,
            repair=repair,
            structure=structure,
            on_progress=told,
        )
    session.answer(verdict.to_dict(), reports.verify_view(verdict))
    return Exit.FINISHED if verdict.ok and verdict.same_structure else Exit.DIFFERENT


@command(app, "release")
def release(session: Session, config: ConfigName) -> None:
    """Drop what a cdc created on its source (slot, publication), and its checkpoint."""
    with session.engine() as engine:
        dropped = engine.streams.release(config)
    session.answer({"released": config, "dropped": dropped}, released(dropped))
