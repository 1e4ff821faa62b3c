"""Four ways to watch a run: live on a terminal, line by line, as JSON, not at all."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from streams_engine import units
from streams_engine.cli.progress import ChangeRates, behind, following, progress, totals
from streams_engine.cli.reports import report, summary
from streams_engine.events import Event
from streams_engine.lifecycle import State
from streams_engine.model import Severity
from streams_engine.stats import Stats, TableStats

__all__ = [
    "JsonView",
    "LineView",
    "LiveView",
    "ProgressView",
    "QuietView",
    "choose",
    "console",
    "verifying",
]


REPORT_SECONDS = 60.0
"""Between two lines about the progress, where there is no terminal."""

COMPARED_SECONDS = 5.0
"""Between two lines about a comparison, where there is no terminal."""

SAID_ELSEWHERE = frozenset({"progress", "stat", "sql"})
"""Categories of events that other lines tell: how far the stream is, and its end."""


class ProgressView(Protocol):
    """A view of a run. All calls come from one thread, `finish` once and last."""

    def __enter__(self) -> Self:
        """Take the screen."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the screen back."""
        ...

    def tick(self, stats: Stats) -> None:
        """Show the present stats. Called about four times a second."""
        ...

    def reported(self, stats: Stats) -> None:
        """Show a progress report of the stream (one each ``reportingInterval``)."""
        ...

    def event(self, record: Event) -> None:
        """Show an event of the stream."""
        ...

    def note(self, sentence: str) -> None:
        """Show a sentence that the user should see now."""
        ...

    def finish(self, stats: Stats) -> None:
        """Show the end of the run."""
        ...


def console(*, width: int = 100) -> Console:
    """Create a console on standard output, as wide as the terminal, or ``width`` without one."""
    if sys.stdout.encoding.lower().replace("-", "") != "utf8" and hasattr(
        sys.stdout, "reconfigure"
    ):
        # a log in plain ASCII shows ? for an arrow, and does not end the run
        sys.stdout.reconfigure(errors="replace")
    # names of tables are text: [x] in one is no markup, :x: no emoji
    return Console(
        highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else width
    )


class QuietView:
    """Says nothing; the base of the others."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def tick(self, stats: Stats) -> None:
        """Show nothing."""

    def reported(self, stats: Stats) -> None:
        """Show nothing."""

    def event(self, record: Event) -> None:
        """Show nothing."""

    def note(self, sentence: str) -> None:
        """Show nothing."""

    def finish(self, stats: Stats) -> None:
        """Show nothing."""


class LiveView(QuietView):
    """A display that redraws itself, and afterwards the summary and the report."""

    def __init__(self, out: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._clock = clock
        self._rates = ChangeRates()
        # no refresh of its own: `tick` is the clock, and one thread draws
        self._live = Live(console=out, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def tick(self, stats: Stats) -> None:
        """Draw."""
        width, height = self._out.size
        if stats.phase == "following":
            rates = self._rates.look(stats, self._clock())
            shown = following(stats, rates, width=width, height=height - 1)
        else:
            shown = progress(stats, width=width, height=height - 1)
        self._live.update(shown, refresh=True)

    def event(self, record: Event) -> None:
        """Print what should not be missed above the display."""
        if record.level >= logging.WARNING and "severity" not in record.details:
            self._out.print(Text(told(record), "yellow"))

    def note(self, sentence: str) -> None:
        """Print above the display."""
        self._out.print(Text(sentence, "yellow"))

    def finish(self, stats: Stats) -> None:
        """Print what stays on the screen."""
        self._live.stop()
        _print_end(self._out, stats)


class LineView(QuietView):
    """For logs and pipes: a line for each event and each table that is finished, and one a minute
    that says how far the stream is."""

    def __init__(self, out: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._done: set[str] = set()
        self._clock = clock
        self._due = 0.0
        self._phase = ""

    def _line(self, text: str) -> None:
        self._out.print(Text(text), soft_wrap=True)

    def tick(self, stats: Stats) -> None:
        """Name the tables that are finished since the last look."""
        for table in stats.tables:
            if table.phase == "done" and table.table not in self._done:
                self._done.add(table.table)
                self._line(f"finished {table.table}: {_amounts(table)}")

    def reported(self, stats: Stats) -> None:
        """Print the totals in one line, at once, in each new phase, and then once a minute."""
        self.tick(stats)
        if self._clock() < self._due and stats.phase == self._phase:
            return
        self._phase = stats.phase
        self._due = self._clock() + REPORT_SECONDS
        waits = stats.connection.describe()
        if waits:
            self._line(f"{stats.state} {waits}")
        if stats.changes is not None and stats.phase == "following":
            self._line(f"{stats.state} following: {behind(stats.changes)}")
            return
        done = f"{len(self._done)} of {len(stats.tables)} tables finished"
        self._line(f"{stats.state} {stats.phase}: {_amounts(totals(stats))}; {done}")

    def event(self, record: Event) -> None:
        """Print the event, unless another line says the same."""
        if record.category in SAID_ELSEWHERE or "severity" in record.details:
            return
        if record.event == "failed":  # the last line says it
            return
        self._line(f"{logging.getLevelName(record.level).lower()} {told(record)}")

    def note(self, sentence: str) -> None:
        """Print the sentence."""
        self._line(sentence)

    def finish(self, stats: Stats) -> None:
        """Print the tables that ended last, the summary and the report."""
        self.tick(stats)
        _print_end(self._out, stats, soft_wrap=True)


class JsonView(QuietView):
    """View for machines: the stats document on one line, for each report and at the end.

    The last line has a final ``status``, and ``error`` if the run failed.
    """

    def reported(self, stats: Stats) -> None:
        """Print the stats as one line of JSON."""
        print(json.dumps(stats.to_dict(), default=str), flush=True)

    def note(self, sentence: str) -> None:
        """Print to standard error: standard output is for the machine."""
        print(sentence, file=sys.stderr)

    def finish(self, stats: Stats) -> None:
        """Print the last line of JSON."""
        self.reported(stats)


def _print_end(out: Console, stats: Stats, *, soft_wrap: bool = False) -> None:
    """Print the summary and the report; of a run that failed before a row was moved only what may
    have to do with that. The error that ends a run is printed after this, and only there."""
    last = stats.error or {}
    end = (Severity.ERROR, last.get("code"), last.get("message"))
    findings = [one for one in stats.findings if (one.severity, one.code, one.message) != end]
    if stats.state is State.FAILED and not stats.rows and not stats.target.failed_counter:
        errors = [one for one in findings if one.severity is Severity.ERROR]
        if errors:
            out.print(report(errors, ()), soft_wrap=soft_wrap)
        return
    out.print(summary(stats))
    out.print(report(findings, stats.left_behind), soft_wrap=soft_wrap)


def told(record: Event) -> str:
    """Return an event on one line."""
    table = f"{record.table}: " if record.table else ""
    return f"{record.event}: {table}{' '.join(record.message.split())}"


def _amounts(table: TableStats) -> str:
    return (
        f"{units.count(table.rows)} rows, {units.size(table.bytes)} "
        f"in {units.duration(table.seconds)} ({units.rate(table.rows, table.seconds)})"
    )


def choose(out: Console, *, as_json: bool, quiet: bool) -> ProgressView:
    """Choose the view for this standard output and these options."""
    if as_json:
        return JsonView()
    if quiet:
        return QuietView()
    return LiveView(out) if out.is_terminal else LineView(out)


class _ComparedLines:
    """Prints on standard error, every `COMPARED_SECONDS`, how many rows of a table are compared:
    standard output is the report's. A server may sum up one table for minutes."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._told = ""
        self._over = threading.Event()

    def __call__(self, table: Any, rows: int) -> None:
        self._told = f" {table}, {units.count(rows)} rows"

    def __enter__(self) -> Self:
        threading.Thread(target=self._print, name="compared-lines", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def _print(self) -> None:
        while not self._over.wait(COMPARED_SECONDS):
            passed = units.duration(time.monotonic() - self._begun)
            print(f"comparing{self._told}, after {passed}", file=sys.stderr, flush=True)


@contextmanager
def verifying(out: Console, *, silent: bool) -> Iterator[Callable[[Any, int], None] | None]:
    """Show how far `Stream.verify` has come: on a terminal at once, else every few seconds."""
    if silent:
        yield None
        return
    if not out.is_terminal:
        with _ComparedLines() as lines:
            yield lines
        return
    with out.status("Comparing", refresh_per_second=4) as status:
        yield lambda table, rows: status.update(f"Comparing {table}, {units.count(rows)} rows")
