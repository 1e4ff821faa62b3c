"""The demo from end to end: private servers, a filled shop, the move, the proof, the clean-up."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from streams_engine import units
from streams_engine.cli import execution, exit_codes, reports, views
from streams_engine.cli.error_output import complain
from streams_engine.cli.exit_codes import Exit
from streams_engine.demo import shop
from streams_engine.demo.replication import Trade, seconds
from streams_engine.errors import NotFound
from streams_engine.model import Dialect
from streams_engine.stats import Stats
from streams_engine.stream import Stream
from streams_engine.testing import servers

if TYPE_CHECKING:
    from streams_engine.pipeline.snapshot.plan import Plan
    from streams_engine.testing.servers import Server

__all__ = ["Choice", "demonstrate"]

_SHOWN = "products"
"""The table whose DDL is shown: it has the oddest types."""

_KINDS = {"mysql": "MySQL", "mariadb": "MariaDB", "postgresql": "PostgreSQL"}
"""Kinds of servers, as they call themselves."""

_MYSQLS = ("mysql9", "mariadb")
"""The servers that serve as a source of their own, the first one that is here."""


_SECONDS_IN_STEP = 4.0
_PATIENCE = 120.0
"""How many seconds the copy may need to come into step."""


class Choice(StrEnum):
    """Server on which the shop is built."""

    BEST = "best"
    """MySQL or MariaDB where one is installed, else PostgreSQL."""
    MYSQL = "mysql"
    POSTGRES = "postgres"


@dataclass(frozen=True, slots=True)
class _Stage:
    """The private servers of one demo; both names may be one server."""

    source: Server
    target: Server
    dialect: Dialect
    database: str
    copy: str

    @property
    def origin(self) -> str:
        """The source in words."""
        return f"{_KINDS[self.source.kind]} ({self.database})"

    @property
    def destination(self) -> str:
        """The target in words."""
        return f"{_KINDS[self.target.kind]} ({self.copy})"


def demonstrate(choice: Choice, rows: int, *, quiet: bool = False, keep: bool = False) -> int:
    """Run the demo and return the exit code; whatever happens, nothing is left behind.

    ``keep``: before they are removed, the servers run until Ctrl-C or SIGTERM, for trials.
    """
    out = Console(quiet=True) if quiet else views.console()
    with _stage(choice, out) as stage:
        _say(out, f"Building a shop of about {units.count(rows)} rows in {stage.origin}.")
        began = time.monotonic()
        _fill(stage, rows)
        _say(out, f"Built in {units.duration(time.monotonic() - began)}.")
        code = _move(stage, out, quiet=quiet)
        if code is Exit.FINISHED:
            code = _follow(stage, rows, out, quiet=quiet)
        if keep and code is Exit.FINISHED:
            _wait(stage, views.console())
        return code


def _move(stage: _Stage, out: Console, *, quiet: bool) -> Exit:
    source, target = stage.source.url(stage.database), stage.target.url(stage.copy)
    view = views.choose(out, as_json=False, quiet=quiet)
    with Stream(source, target) as stream:
        plan = stream.plan()
        _say(out, f"Planned {len(plan.tables)} tables, {len(plan.statements)} statements of DDL.")
        _say(out, f"Moving it from {stage.origin} to {stage.destination}.")
        stats = execution.execute(stream, view, stream.start)
        if stream.error is not None:
            complain(stream.error)
        if (code := exit_codes.for_state(stats.state, stream.error)) is not Exit.FINISHED:
            return code
        _say(out, "Verifying: reading and comparing every row of both sides.")
        began = time.monotonic()
        with views.verifying(out, silent=quiet) as told:
            verdict = stream.verify(on_progress=told)
        out.print(reports.verify_view(verdict))
        _say(out, f"Verified in {units.duration(time.monotonic() - began)}.")
    _show_ddl(plan, out)
    _say_moved(stats, out)
    return Exit.FINISHED if verdict.ok else Exit.DIFFERENT


def _follow(stage: _Stage, rows: int, out: Console, *, quiet: bool) -> Exit:
    """Play the second act: keep another copy in step while the shop is open, and compare it."""
    again = stage.target.create_database()
    source, target = stage.source.url(stage.database), stage.target.url(again)
    there = f"{_KINDS[stage.target.kind]} ({again})"
    _say(out, f"Second act: {there} is loaded, and then follows every change.")
    trade = Trade(stage.source, stage.database, max(1, rows // 50))
    with Stream(source, target, mode="cdc", name="demo") as stream:
        with trade.open():
            stream.start()
            if not stream.catch_up(_PATIENCE):
                return _late(stream)
            for _ in seconds(_SECONDS_IN_STEP):
                _say_lag(stream.stats(), out)
        if not stream.catch_up(_PATIENCE):
            return _late(stream)
        _say(out, f"In step after {units.count(trade.transactions)} transactions. Verifying.")
        with views.verifying(out, silent=quiet) as told:
            verdict = stream.verify(on_progress=told)
        out.print(reports.verify_view(verdict))
    stream.release()
    return Exit.FINISHED if verdict.ok else Exit.DIFFERENT


def _wait(stage: _Stage, out: Console) -> None:
    """Say how to reach the servers, and wait for Ctrl-C."""
    source = stage.source.url(stage.database)
    target = stage.target.url(stage.target.create_database())
    _say(out, "The servers run until Ctrl-C. The shop and an empty database, for trials:")
    for name, url in (("SOURCE", source), ("TARGET", target)):
        out.print(Text(f"export {name}='{url}'"), soft_wrap=True)
    _say(out, 'In another terminal set both, and run streams-engine plan "$SOURCE" "$TARGET".')
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()


def _late(stream: Stream) -> Exit:
    if stream.error is not None:
        complain(stream.error)
    return exit_codes.for_error(stream.error) if stream.error else Exit.FAILED


def _say_lag(stats: Stats, out: Console) -> None:
    changes = stats.changes
    if changes is not None:
        behind = "?" if changes.lag_seconds is None else f"{changes.lag_seconds * 1000:.0f} ms"
        _say(
            out,
            f"{units.count(stats.rows)} rows and changes are on the target, "
            f"{units.count(changes.transactions)} transactions; lag {behind}.",
        )


def _say(out: Console, sentence: str) -> None:
    out.print(Text.assemble(("» ", "bold cyan"), sentence), soft_wrap=True)


def _show_ddl(plan: Plan, out: Console) -> None:
    made = next(
        (s.sql for s in plan.statements if s.table is not None and s.table.name == _SHOWN), None
    )
    if made is not None:
        _say(out, f"An example of the DDL that was made, {_SHOWN}:")
        out.print(reports.ddl(made))


def _say_moved(stats: Stats, out: Console) -> None:
    tables = f"{len(stats.tables)} tables with {units.count(stats.rows)} rows"
    _say(
        out,
        f"Moved {tables} in {units.duration(stats.seconds)}, "
        f"{units.rate(stats.rows, stats.seconds)}.",
    )


# -- servers ---------------------------------------------------------------------------------


@contextmanager
def _stage(choice: Choice, out: Console) -> Iterator[_Stage]:
    with ExitStack() as running:
        target = running.enter_context(_running("pg18", out))
        source = _mysql(choice, running, out) or target
        dialect = Dialect.POSTGRES if source is target else Dialect.MYSQL
        yield _Stage(source, target, dialect, source.create_database(), target.create_database())


def _mysql(choice: Choice, running: ExitStack, out: Console) -> Server | None:
    """Start the source's own server; return None if it is a database of the PostgreSQL server."""
    here = [name for name in _MYSQLS if servers.available(name) is None]
    if choice is Choice.POSTGRES or (choice is Choice.BEST and not here):
        return None
    try:
        return running.enter_context(_running(here[0] if here else _MYSQLS[0], out))
    except NotFound:
        # an installed server may refuse to run privately (a confined mysqld, say)
        if choice is Choice.MYSQL:
            raise
        _say(out, "It did not start, so the source is a database of the PostgreSQL server.")
        return None


@contextmanager
def _running(name: str, out: Console) -> Iterator[Server]:
    try:
        server = servers.start(name)
    except servers.ServerStartError as fault:
        raise NotFound(f"The demo needs its own server. {fault}") from fault
    version = server.version.removeprefix("PostgreSQL ").partition("-")[0]
    label = f"the private {_KINDS[server.kind]} {version}"
    try:
        _say(out, f"Started {label} on port {server.port}, in {server.directory}.")
        yield server
    finally:
        # an impatient second Ctrl-C must not leave a server behind
        with execution.interrupts():
            server.stop()
        _say(out, f"Stopped {label} and removed {server.directory}.")


def _fill(stage: _Stage, rows: int) -> None:
    connection: Any = stage.source.connect(stage.database)
    try:
        with connection.cursor() as cursor:
            for statement in shop.statements(stage.dialect, rows):
                cursor.execute(statement)
        connection.commit()
    finally:
        connection.close()
