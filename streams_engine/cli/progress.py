"""Render the progress of a run: a pure function from `Stats` to something to print."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from streams_engine import units
from streams_engine.stats import ChangeStats, Stats, TableStats

__all__ = ["behind", "progress", "seconds_left", "totals"]

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


@dataclass(frozen=True, slots=True)
class _Column:
    """One column of the display, and the terminal width from which it is shown."""

    head: str
    cell: Callable[[TableStats], RenderableType]
    width: int = 0
    right: bool = True


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


def _bar(table: TableStats) -> RenderableType:
    if table.phase in _COPIED:
        return ProgressBar(total=1, completed=1, width=_BAR_WIDTH)
    if not table.estimated_rows:
        return Text("")
    # an estimate is an estimate: the bar is never full before the table is
    completed = min(table.rows, table.estimated_rows * 0.99)
    return ProgressBar(total=table.estimated_rows, completed=completed, width=_BAR_WIDTH)


def _left(table: TableStats) -> str:
    left = seconds_left(table)
    return "" if left is None else units.duration(left)


def _rows(table: TableStats) -> str:
    return units.count(table.rows) if table.rows or table.phase != "waiting" else ""


_COLUMNS: Sequence[_Column] = (
    _Column("table", lambda t: Text(t.table), right=False),
    _Column("", _bar, width=72, right=False),
    _Column("rows", _rows),
    _Column("rows/s", lambda t: units.rate(t.rows, t.seconds) if t.rows else "", width=50),
    _Column("size", lambda t: units.size(t.bytes) if t.bytes else "", width=62),
    _Column("left", _left, width=44),
    _Column("", lambda t: Text(t.phase, _STYLES.get(t.phase, "")), width=84, right=False),
)


def progress(stats: Stats, *, width: int = 100, height: int = 24) -> RenderableType:
    """Render a running stream, at most ``height`` lines high."""
    waits = _waits(stats)
    lines_left = max(1, height - _FIXED_LINES - len(waits))
    shown = _chosen(stats.tables, lines_left)
    columns = [column for column in _COLUMNS if width >= column.width]
    grid = Table(box=None, padding=(0, 1), header_style="dim", expand=False)
    for position, column in enumerate(columns):
        grid.add_column(
            column.head,
            justify="right" if column.right else "left",
            no_wrap=True,
            overflow="ellipsis",
            max_width=40 if position == 0 else None,
        )
    for table in shown:
        grid.add_row(
            *(column.cell(table) for column in columns),
            style="dim" if table.phase == "waiting" else "",
        )
    grid.add_row(*(column.cell(totals(stats)) for column in columns), style="bold")
    return Group(_title(stats), *waits, grid, *_hidden(stats.tables, shown))


def _title(stats: Stats) -> Text:
    title = Text(no_wrap=True, overflow="ellipsis")
    title.append(str(stats.state), "bold yellow" if stats.state != "RUNNING" else "bold")
    title.append(f"  {stats.phase}  {units.duration(stats.seconds)}  ", "dim")
    title.append(stats.name, "dim")
    if stats.changes is not None:
        title.append(f"  {behind(stats.changes)}")
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
