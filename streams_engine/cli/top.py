"""A full screen of an engine's streams, in any process: states, lag, throughput, tables."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.events import Resize
from textual.widgets import DataTable, Footer, Static

from streams_engine import units
from streams_engine.cli.plots import plot
from streams_engine.cli.progress import shortened
from streams_engine.engine import Engine
from streams_engine.errors import StreamsError

__all__ = ["StreamHistory", "Top"]

MOST_STREAMS = 50
"""Runs that are listed: those that have not ended, then the newest."""
MOST_TABLES = 200
KEPT = 400
"""Looks whose values are plotted."""
PLOT_LINES = 5
NUMBERS = 68
"""Columns that phase and numbers of a table take: its name is shortened to the rest."""
WIDE = 120
"""Columns from which everything is shown."""

STYLES = {"RUNNING": "bold green", "PAUSED": "bold yellow", "FAILED": "bold red"}


@dataclass
class StreamHistory:
    """What was seen of one stream, look by look."""

    rates: deque[float | None] = field(default_factory=lambda: deque(maxlen=KEPT))
    lags: deque[float | None] = field(default_factory=lambda: deque(maxlen=KEPT))
    _rows: int = -1
    _at: float = 0.0
    _rate: float | None = None

    def saw(self, stats: Mapping[str, Any], now: float) -> None:
        """Add a look at the stats. Another process reports every few seconds: the rate stands
        until its next report."""
        rows = _target(stats)["counter"]
        running = stats["status"] == "RUNNING"
        if self._rows >= 0 and rows != self._rows and now > self._at:
            self._rate = (rows - self._rows) / (now - self._at)
        elif not running or now - self._at > 3 * max(_target(stats)["reportingInterval"], 1):
            self._rate = 0.0 if self._rows >= 0 else None
        if rows != self._rows:
            self._rows, self._at = rows, now
        self.rates.append(self._rate if running else 0.0)
        self.lags.append((stats.get("changes") or {}).get("lagSeconds"))

    @property
    def rate(self) -> float | None:
        """The newest rate, in rows a second."""
        return self.rates[-1] if self.rates else None


def _target(stats: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(n["stat"] for n in stats["nodes"] if n["type"] == "target")
    return found


Cell = tuple[str, Callable[[Mapping[str, Any], StreamHistory], Any], int]
"""Head, value, and the terminal width from which the column is shown."""

STREAMS: Sequence[Cell] = (
    ("stream", lambda s, _: Text(s["name"]), 0),
    ("state", lambda s, _: Text(s["status"], STYLES.get(s["status"], "dim")), 0),
    ("phase", lambda s, _: s.get("phase") or "", 60),
    ("rows", lambda s, _: _right(units.count(_target(s)["counter"])), 0),
    ("rows/s", lambda s, h: _right("" if h.rate is None else f"{h.rate:,.0f}"), 0),
    ("lag", lambda s, _: _right(_lag(s)), 70),
    ("quarantined", lambda s, _: _right(units.count(_target(s)["failedCounter"])), WIDE),
    ("sent", lambda s, _: _right(units.size(_target(s)["sumDataSize"])), WIDE),
    ("id", lambda s, _: Text(s["streamID"], "dim"), WIDE),
)
TABLES: Sequence[Cell] = (
    ("table", lambda t, _: Text(t["shown"]), 0),
    ("phase", lambda t, _: t["phase"], 0),
    ("rows", lambda t, _: _right(units.count(t["rows"])), 0),
    ("of about", lambda t, _: _right(_count(t.get("estimatedRows"))), 70),
    ("size", lambda t, _: _right(units.size(t["bytes"])), 60),
    ("quarantined", lambda t, _: _right(units.count(t["failed"])), WIDE),
)


def _right(text: str) -> Text:
    return Text(text, justify="right")


def _count(number: int | None) -> str:
    return "" if number is None else units.count(number)


def _lag(stats: Mapping[str, Any]) -> str:
    seconds = (stats.get("changes") or {}).get("lagSeconds")
    return "" if seconds is None else units.duration(seconds)


class Top(App[None]):
    """The screen. It reads the engine's file at each look, and steers streams through it."""

    TITLE = "streams-engine top"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #head { height: 1; padding: 0 1; background: $primary-background; }
    #streams { height: auto; max-height: 40%; min-height: 3; }
    #plots { height: 7; padding: 0 1; }
    #plots Static { width: 1fr; }
    #waits { height: auto; max-height: 2; padding: 0 1; color: $warning; }
    #tables { height: 1fr; min-height: 4; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "steer('pause')", "Pause"),
        Binding("r", "steer('resume')", "Resume"),
        Binding("s", "steer('stop')", "Stop"),
        Binding("q", "quit", "Quit"),
    ]

    def __init__(
        self, engine: Engine, every: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._engine = engine
        self._every = every
        self._clock = clock
        self._histories: dict[str, StreamHistory] = {}
        self._stats: list[dict[str, Any]] = []
        self._chosen: str | None = None

    def compose(self) -> ComposeResult:
        """Lay the screen out."""
        yield Static(id="head")
        yield DataTable(id="streams", cursor_type="row")
        with Horizontal(id="plots"):
            yield Static(id="rate")
            yield Static(id="lag")
        yield Static(id="waits")
        with Vertical():
            yield DataTable(id="tables", cursor_type="none")
        yield Footer()

    def on_mount(self) -> None:
        """Look at once, and then again and again."""
        self.look()
        self.query_one("#streams").focus()
        self.set_interval(self._every, self.look)

    def on_resize(self, _: Resize) -> None:
        """Show what fits."""
        self._draw()

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Show another stream."""
        chosen = event.row_key.value if event.data_table.id == "streams" else self._chosen
        if chosen is not None and chosen != self._chosen:
            self._chosen = chosen
            self._draw_chosen()

    def look(self) -> None:
        """Read what the streams report, and draw it."""
        now = self._clock()
        runs = self._engine.streams.list(limit=MOST_STREAMS)["items"]
        runs.sort(key=lambda run: run["ended"] is not None)
        self._stats = [self._engine.streams.stats(run["id"]) for run in runs]
        for stats in self._stats:
            self._histories.setdefault(stats["streamID"], StreamHistory()).saw(stats, now)
        ids = [stats["streamID"] for stats in self._stats]
        if self._chosen not in ids:
            self._chosen = ids[0] if ids else None
        self._draw()

    def _draw(self) -> None:
        counts: dict[str, int] = {}
        for stats in self._stats:
            counts[stats["status"]] = counts.get(stats["status"], 0) + 1
        told = ", ".join(f"{n} {state.lower()}" for state, n in counts.items())
        self.query_one("#head", Static).update(
            Text(f"streams-engine top   {told or 'no runs yet: streams-engine streams start'}")
        )
        rows = [(s["streamID"], s, self._histories[s["streamID"]]) for s in self._stats]
        table = self.query_one("#streams", DataTable)
        self._fill(table, STREAMS, rows)
        ids = [row[0] for row in rows]
        if self._chosen in ids:
            table.move_cursor(row=ids.index(self._chosen))
        self._draw_chosen()

    def _fill(
        self,
        table: DataTable[Any],
        cells: Sequence[Cell],
        rows: Sequence[tuple[str, Mapping[str, Any], StreamHistory]],
    ) -> None:
        shown = [(head, value) for head, value, width in cells if self.size.width >= width]
        with self.prevent(DataTable.RowHighlighted):
            if [str(column.label) for column in table.columns.values()] != [h for h, _ in shown]:
                table.clear(columns=True)
                for head, _ in shown:
                    table.add_column(head, key=head)
            if [str(key.value) for key in table.rows] != [key for key, _, _ in rows]:
                table.clear()
                for key, of, history in rows:
                    table.add_row(*(value(of, history) for _, value in shown), key=key)
                return
            for key, of, history in rows:
                for head, value in shown:
                    table.update_cell(key, head, value(of, history), update_width=True)

    def _draw_chosen(self) -> None:
        stats = next((s for s in self._stats if s["streamID"] == self._chosen), None)
        rate, lag = self.query_one("#rate", Static), self.query_one("#lag", Static)
        waits = self.query_one("#waits", Static)
        if stats is None:
            for part in (rate, lag, waits):
                part.update("")
            self._fill(self.query_one("#tables", DataTable), TABLES, ())
            return
        history = self._histories[stats["streamID"]]
        follows = stats.get("changes") is not None
        lag.display = follows
        width = max((self.size.width - 4) // (2 if follows else 1) - 1, 10)
        rate.update(
            plot("rows/s", history.rates, lambda v: f"{v:,.0f}", width=width, height=PLOT_LINES,
                 style="green")
        )  # fmt: skip
        lag.update(
            plot("lag", history.lags, units.duration, width=width, height=PLOT_LINES,
                 style="yellow")
        )  # fmt: skip
        waits.update(Text(_troubles(stats)))
        room = max(self.size.width - NUMBERS, 24)
        tables = [
            (t["name"], {**t, "shown": shortened(t["name"], room)}, history)
            for t in stats["tables"][:MOST_TABLES]
        ]
        self._fill(self.query_one("#tables", DataTable), TABLES, tables)

    def action_steer(self, command: str) -> None:
        """Pause, resume or stop the chosen stream, whichever process runs it."""
        if self._chosen is None:
            return
        try:
            getattr(self._engine.streams, command)(self._chosen)
        except StreamsError as error:
            self.notify(str(error), severity="error", markup=False)
            return
        self.notify(f"{command}: asked", timeout=2)


def _troubles(stats: Mapping[str, Any]) -> str:
    """Return what the stream waits for, or the error that it ended with."""
    error, connection = stats.get("error"), stats.get("connection") or {}
    if error:
        return f"{error['code']}: {error['message']} {error['remedy'] or ''}"
    if connection.get("state") == "waiting":
        return f"waiting since {connection['since']}: {connection['code']}: {connection['reason']}"
    return ""
