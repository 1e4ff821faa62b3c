"""Render the progress of a run: pure functions from `Stats` to something to print."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from streams_engine import units
from streams_engine.stats import ChangeStats, Stats, TableStats

__all__ = ["ChangeRates", "behind", "following", "progress", "seconds_left", "shortened", "totals"]

_FIXED_LINES = 6
"""Title, column heads, totals and up to three lines that stand for the tables not shown."""

_STYLES = {
    "waiting": "dim",
    "copying": "cyan",
    "copied": "blue",
    "indexing": "magenta",
    "done": "green",
}
_COPIED = frozenset({"copied", "indexing", "done"})
_BAR_WIDTH = 18
_LEAST_BAR = 6
_LEAST_NAME = 12
_PADDING = 2
"""Of each column: a blank before and after it."""


@dataclass(frozen=True, slots=True)
class _Column:
    """One column of numbers, and the terminal width from which it is shown."""

    head: str
    cell: Callable[[TableStats], str]
    width: int = 0


def shortened(name: str, width: int) -> str:
    """Shorten a name in the middle: its end tells tables apart as often as its beginning."""
    if len(name) <= width:
        return name
    end = (width - 1) // 2
    return f"{name[: width - 1 - end]}…{name[len(name) - end :] if end else ''}"


def seconds_left(table: TableStats) -> float | None:
    """Return the seconds that the missing rows take at the average rate so far; None if unknown."""
    if table.phase != "copying" or not table.estimated_rows or not table.rows:
        return None
    missing = table.estimated_rows - table.rows
    return missing * table.seconds / table.rows if missing > 0 else None


def totals(stats: Stats) -> TableStats:
    """Sum up all tables as one; its phase is the run's."""
    expected = [_expected(table) for table in stats.tables]
    known = [rows for rows in expected if rows is not None]
    return TableStats(
        table="all tables",
        rows=stats.rows,
        rejected=stats.target.failed_counter,
        bytes=stats.target.sum_data_size,
        estimated_rows=sum(known) if known and len(known) == len(expected) else None,
        phase=stats.phase,
        seconds=stats.seconds,
    )


def _expected(table: TableStats) -> int | None:
    """Return the number of rows that a table will have copied: counted when it is done, else
    estimated."""
    if table.phase in _COPIED:
        return table.rows
    if table.estimated_rows is None:
        return None
    return max(table.rows, table.estimated_rows)


def _bar(table: TableStats, width: int) -> RenderableType:
    bar = partial(ProgressBar, width=width, complete_style="cyan", finished_style="green")
    if table.phase in _COPIED:
        return bar(total=1, completed=1)
    if not table.estimated_rows:
        return Text("")
    # an estimate is an estimate: the bar is never full before the table is
    completed = min(table.rows, table.estimated_rows * 0.99)
    return bar(total=table.estimated_rows, completed=completed)


def _left(table: TableStats) -> str:
    left = seconds_left(table)
    return "" if left is None else units.duration(left)


def _rows(table: TableStats) -> str:
    return units.count(table.rows) if table.rows or table.phase != "waiting" else ""


_COLUMNS: Sequence[_Column] = (
    _Column("rows", _rows),
    _Column("rows/s", lambda t: units.rate(t.rows, t.seconds) if t.rows else "", width=50),
    _Column("size", lambda t: units.size(t.bytes) if t.bytes else "", width=62),
    _Column("left", _left, width=44),
)
_PHASE_WIDTH = 84
"""The terminal width from which the phase of a table is shown."""


def progress(stats: Stats, *, width: int = 100, height: int = 24) -> RenderableType:
    """Render a load, at most ``height`` lines high. Numbers stay whole: bars shrink and go first,
    then names are shortened."""
    waits = _waits(stats)
    shown = _chosen(stats.tables, max(1, height - _FIXED_LINES - len(waits)))
    lines = [*shown, totals(stats)]
    columns = [column for column in _COLUMNS if width >= column.width]
    cells = [[column.cell(table) for table in lines] for column in columns]
    taken = sum(max(map(len, (c.head, *of))) for c, of in zip(columns, cells, strict=True))
    if phases := width >= _PHASE_WIDTH:
        taken += max(len(table.phase) for table in lines)
    room = width - taken - _PADDING * (len(columns) + phases + 1)
    longest = max(len(table.table) for table in lines)
    bar = min(_BAR_WIDTH, room - longest - _PADDING)
    if bar < _LEAST_BAR:
        bar = 0
    names = max(_LEAST_NAME, room - (bar + _PADDING if bar else 0))
    grid = _grid("table", *([""] if bar else []), right=[column.head for column in columns])
    if phases:
        grid.add_column("", no_wrap=True)
    for number, table in enumerate(lines):
        last = number == len(shown)
        style = "bold" if last else "dim" if table.phase == "waiting" else ""
        grid.add_row(
            Text(shortened(table.table, names)),
            *([_bar(table, bar)] if bar else []),
            *(of[number] for of in cells),
            *([Text(table.phase, _STYLES.get(table.phase, ""))] if phases else []),
            style=style,
        )
    return Group(_title(stats), *waits, grid, *_hidden(stats.tables, shown))


def _grid(*left: str, right: Sequence[str]) -> Table:
    grid = Table(box=None, padding=(0, 1), header_style="dim", expand=False)
    for head in left:
        grid.add_column(head, no_wrap=True)
    for head in right:
        grid.add_column(head, justify="right", no_wrap=True)
    return grid


class ChangeRates:
    """Changes a second of each table, over the last interval that was looked at."""

    def __init__(self, seconds: float = 2.0) -> None:
        self._seconds = seconds
        self._looks: deque[tuple[float, Mapping[str, int]]] = deque()

    def look(self, stats: Stats, now: float) -> Mapping[str, float]:
        """Add a look at the stats; return the rates by table since the look of an interval ago."""
        counts = {table.table: table.changed for table in stats.tables}
        self._looks.append((now, counts))
        while len(self._looks) > 2 and now - self._looks[1][0] >= self._seconds:
            self._looks.popleft()
        begun, before = self._looks[0]
        passed = now - begun
        if not passed:
            return {}
        return {name: (count - before.get(name, 0)) / passed for name, count in counts.items()}


_CHANGES: Sequence[tuple[str, Callable[[TableStats], int]]] = (
    ("inserts", lambda t: t.inserted),
    ("updates", lambda t: t.updated),
    ("deletes", lambda t: t.deleted),
)


def following(
    stats: Stats, rates: Mapping[str, float], *, width: int = 100, height: int = 24
) -> RenderableType:
    """Render a stream that follows a log, at most ``height`` lines high: the tables that changed,
    the busiest of the last interval first."""
    waits = _waits(stats)
    changed = [table for table in stats.tables if table.changed]
    busiest = sorted(changed, key=lambda t: (-rates.get(t.table, 0.0), -t.changed, t.table))
    shown = busiest[: max(1, height - _FIXED_LINES - len(waits))]
    quiet = len(stats.tables) - len(changed)
    told = [f"{units.plural(len(busiest) - len(shown), 'more table')} changed"]
    told = told[: len(busiest) > len(shown)]
    told += [f"{units.plural(quiet, 'table')} without changes"] if quiet else []
    notes = [Text(f" {'; '.join(told)}", "dim", no_wrap=True)] if told else []
    if not shown:
        return Group(_title(stats), *waits, *notes)
    whole = replace(
        totals(stats), **{name: sum(getattr(t, name) for t in changed)
                          for name in ("inserted", "updated", "deleted")}
    )  # fmt: skip
    cells = [
        [*(units.count(of(table)) for _, of in _CHANGES), _per_second(rate)]
        for table, rate in [
            *((table, rates.get(table.table, 0.0)) for table in shown),
            (whole, sum(rates.values())),
        ]
    ]
    heads = [*(head for head, _ in _CHANGES), "rows/s"]
    taken = sum(max(len(h), *(len(c[n]) for c in cells)) for n, h in enumerate(heads))
    names = max(_LEAST_NAME, width - taken - _PADDING * (len(heads) + 1))
    grid = _grid("table", right=heads)
    for table, line in zip((*shown, whole), cells, strict=True):
        style = "bold" if table is whole else ""
        grid.add_row(Text(shortened(table.table, names)), *line, style=style)
    return Group(_title(stats), *waits, grid, *notes)


def _per_second(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 9.95 or not rate else f"{rate:.1f}"


def _title(stats: Stats) -> Text:
    title = Text(no_wrap=True, overflow="ellipsis")
    title.append(str(stats.state), "bold yellow" if stats.state != "RUNNING" else "bold")
    title.append(f"  {stats.phase}  {units.duration(stats.seconds)}  ", "dim")
    if stats.changes is not None:
        title.append(f"{behind(stats.changes)}  ")
    title.append(stats.name, "dim")  # the last: it may be long
    return title


def _waits(stats: Stats) -> list[Text]:
    """Return a line that says what the stream waits for, if it waits."""
    waits = stats.connection.describe()
    return [Text(waits, "bold yellow", no_wrap=True, overflow="ellipsis")] if waits else []


def behind(changes: ChangeStats) -> str:
    """Describe in a few words how far the stream has followed the log."""
    words = [f"{units.count(changes.transactions)} transactions"]
    if changes.lag_seconds is not None:
        words.append(f"lag {units.duration(changes.lag_seconds)}")
    if changes.lag_bytes:
        words.append(f"{units.size(changes.lag_bytes)} of log unread")
    if changes.unmet:
        words.append(f"{units.count(changes.unmet)} changes matched no row")
    return ", ".join(words)


def _chosen(tables: Sequence[TableStats], lines_left: int) -> list[TableStats]:
    """Return all tables if they fit, else those in work and then those that come next."""
    if len(tables) <= lines_left:
        return list(tables)
    working = [table for table in tables if table.phase not in {"waiting", "done"}]
    waiting = [table for table in tables if table.phase == "waiting"]
    return (working + waiting)[:lines_left]


def _hidden(tables: Iterable[TableStats], shown: Sequence[TableStats]) -> list[Text]:
    """Return one line for each phase that has tables that are not shown."""
    seen = {table.table for table in shown}
    away = [table for table in tables if table.table not in seen]
    words = {"done": "finished", "waiting": "more waiting"}
    counts: dict[str, list[TableStats]] = {}
    for table in away:
        counts.setdefault(words.get(table.phase, "more in work"), []).append(table)
    return [
        Text(
            f" {len(group)} {word}"
            + (f" ({units.count(sum(t.rows for t in group))} rows)" if word == "finished" else ""),
            "green" if word == "finished" else "dim",
        )
        for word, group in counts.items()
    ]
