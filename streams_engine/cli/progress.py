"""What a run looks like while it runs: a pure function from `Stats` to something to print."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from streams_engine.cli import human
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
    """How long the rest takes at the average rate so far; None where nobody knows."""
    if table.phase != "copying" or not table.estimated_rows or not table.rows:
        return None
    missing = table.estimated_rows - table.rows
    return missing * table.seconds / table.rows if missing > 0 else None


def totals(stats: Stats) -> TableStats:
    """All tables as if they were one; its phase is the run's."""
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
    """How many rows a table will have had: counted where it is copied, else estimated."""
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
    return "" if left is None else human.duration(left)


def _rows(table: TableStats) -> str:
    return human.count(table.rows) if table.rows or table.phase != "waiting" else ""


_COLUMNS: Sequence[_Column] = (
    _Column("table", lambda t: Text(t.table), right=False),
    _Column("", _bar, width=72, right=False),
    _Column("rows", _rows),
    _Column("rows/s", lambda t: human.rate(t.rows, t.seconds) if t.rows else "", width=50),
    _Column("size", lambda t: human.size(t.bytes) if t.bytes else "", width=62),
    _Column("left", _left, width=44),
    _Column("", lambda t: Text(t.phase, _STYLES.get(t.phase, "")), width=84, right=False),
)


def progress(stats: Stats, *, width: int = 100, height: int = 24) -> RenderableType:
    """The display of a running stream, at most ``height`` lines high."""
    room = max(1, height - _FIXED_LINES)
    shown = _chosen(stats.tables, room)
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
    return Group(_title(stats), grid, *_hidden(stats.tables, shown))


def _title(stats: Stats) -> Text:
    title = Text(no_wrap=True, overflow="ellipsis")
    title.append(str(stats.state), "bold yellow" if stats.state != "RUNNING" else "bold")
    title.append(f"  {stats.phase}  {human.duration(stats.seconds)}  ", "dim")
    title.append(stats.name, "dim")
    if stats.changes is not None:
        title.append(f"  {behind(stats.changes)}")
    return title


def behind(changes: ChangeStats) -> str:
    """How far a log is followed, in a few words."""
    words = [f"{human.count(changes.transactions)} transactions"]
    if changes.lag_seconds is not None:
        words.append(f"lag {human.duration(changes.lag_seconds)}")
    if changes.lag_bytes:
        words.append(f"{human.size(changes.lag_bytes)} of log unread")
    if changes.unmet:
        words.append(f"{human.count(changes.unmet)} changes met no row")
    return ", ".join(words)


def _chosen(tables: Sequence[TableStats], room: int) -> list[TableStats]:
    """All tables where they fit, else those at work and then those next in line."""
    if len(tables) <= room:
        return list(tables)
    working = [table for table in tables if table.phase not in {"waiting", "done"}]
    waiting = [table for table in tables if table.phase == "waiting"]
    return (working + waiting)[:room]


def _hidden(tables: Iterable[TableStats], shown: Sequence[TableStats]) -> list[Text]:
    """One line for each phase that has tables which are not shown."""
    seen = {table.table for table in shown}
    away = [table for table in tables if table.table not in seen]
    words = {"done": "finished", "waiting": "more waiting"}
    counts: dict[str, list[TableStats]] = {}
    for table in away:
        counts.setdefault(words.get(table.phase, "more at work"), []).append(table)
    return [
        Text(
            f" {len(group)} {word}"
            + (f" ({human.count(sum(t.rows for t in group))} rows)" if word == "finished" else ""),
            "green" if word == "finished" else "dim",
        )
        for word, group in counts.items()
    ]
