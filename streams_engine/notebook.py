"""Live progress in a notebook: one display that is updated; nothing in a terminal or a script."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from streams_engine import units
from streams_engine.display import html_block, html_table

if TYPE_CHECKING:
    from streams_engine.stats import Stats, TableStats

__all__ = ["UPDATE_SECONDS", "LiveDisplay", "Progress", "live_display"]

UPDATE_SECONDS = 0.5
"""Between two updates while `Stream.run` waits."""

DONE = frozenset({"copied", "indexing", "done"})


@dataclass(frozen=True, slots=True)
class Bar:
    """A progress bar of HTML's own; without a value it says that something is at work."""

    value: float | None

    def _repr_html_(self) -> str:
        return "<progress></progress>" if self.value is None else (
            f'<progress value="{self.value:.3f}" max="1"></progress>'
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Progress:
    """A stream's stats as a notebook shows them while it runs."""

    stats: Stats

    def __repr__(self) -> str:
        return str(self.stats)

    def _repr_html_(self) -> str:
        working = [table for table in self.stats.tables if table.phase != "waiting"]
        rows = [
            (t.table, _bar(t), t.rows, units.rate(t.rows, t.seconds), units.size(t.bytes), t.phase)
            for t in working
        ]
        waiting = len(self.stats.tables) - len(rows)
        waits = self.stats.connection.describe()
        return html_block(
            f"{self.stats} ({self.stats.phase})",
            html_block(waits) if waits else "",
            html_table(("table", "", "rows", "rows/s", "size", "phase"), rows) if rows else "",
            html_block(f"{units.plural(waiting, 'table')} waiting") if waiting else "",
        )


def _bar(table: TableStats) -> Bar | None:
    if table.phase in DONE:
        return Bar(1.0)
    if not table.estimated_rows:
        return Bar(None)
    # an estimate is an estimate: the bar is never full before the table is
    return Bar(min(table.rows / table.estimated_rows, 0.99))


class LiveDisplay:
    """The display of one stream below the cell that started it."""

    def __init__(self, display: Any, stats: Stats) -> None:
        self._handle = display(Progress(stats), display_id=True)

    def update(self, stats: Stats) -> None:
        """Show the present stats in the place of the former ones."""
        self._handle.update(Progress(stats))


def live_display(stats: Stats) -> LiveDisplay | None:
    """Show a stream in a notebook; return None where there is none, as in a terminal."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython.display import display

    return LiveDisplay(display, stats)
