"""What is said after a run: the table of durations, the warnings, what was left behind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from streams_engine.cli import human
from streams_engine.cli.progress import totals
from streams_engine.model import Finding, LeftBehind, Severity
from streams_engine.stats import Stats, TableStats

__all__ = ["findings_report", "left_behind_report", "report", "summary"]

_MOST_TABLES = 40
_MOST_OBJECTS = 5
_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.INFO: "blue"}


def summary(stats: Stats) -> RenderableType:
    """One line a table (the largest ones where there are many), and the outcome."""
    rejects = any(table.rejected for table in stats.tables)
    grid = Table(box=None, padding=(0, 1), header_style="dim", show_footer=False)
    grid.add_column("table", overflow="fold")
    for head in ("rows", *(["set aside"] if rejects else []), "size", "time", "rows/s"):
        grid.add_column(head, justify="right", no_wrap=True)
    largest = sorted(stats.tables, key=lambda table: -table.rows)[:_MOST_TABLES]
    for table in largest:
        grid.add_row(*_cells(table, rejects))
    if hidden := len(stats.tables) - len(largest):
        grid.add_row(f"and {hidden} smaller ones", style="dim")
    grid.add_row(*_cells(totals(stats), rejects), style="bold")
    return Group(grid, Text(), outcome(stats)) if stats.tables else outcome(stats)


def _cells(table: TableStats, rejects: bool) -> list[RenderableType]:
    return [
        Text(table.table),
        human.count(table.rows),
        *([human.count(table.rejected)] if rejects else []),
        human.size(table.bytes),
        human.duration(table.seconds),
        human.rate(table.rows, table.seconds),
    ]


def outcome(stats: Stats) -> Text:
    """The run in one line."""
    style = {"FINISHED": "bold green", "FAILED": "bold red"}.get(stats.state, "bold yellow")
    text = Text(str(stats.state), style)
    text.append(
        f": {human.count(stats.rows)} rows, {human.size(stats.target.sum_data_size)} in "
        f"{human.duration(stats.seconds)} ({human.rate(stats.rows, stats.seconds)})",
        "default",
    )
    return text


def report(findings: Sequence[Finding], left_behind: Sequence[LeftBehind]) -> RenderableType:
    """Findings in groups, then what stays on the source; empty where there is nothing to say."""
    return Group(*findings_report(findings), *left_behind_report(left_behind))


def findings_report(findings: Iterable[Finding]) -> list[Text]:
    """Each code once, the gravest first, with its first few objects."""
    groups: dict[tuple[Severity, str], list[Finding]] = defaultdict(list)
    for finding in findings:
        groups[finding.severity, finding.code].append(finding)
    order = list(_STYLES)
    lines: list[Text] = []
    for (severity, code), group in sorted(groups.items(), key=lambda g: order.index(g[0][0])):
        lines.append(Text(f"{severity} {code} ({len(group)})", _STYLES[severity]))
        lines.extend(Text(f"  {f.object}: {f.message}") for f in group[:_MOST_OBJECTS])
        if len(group) > _MOST_OBJECTS:
            lines.append(Text(f"  and {len(group) - _MOST_OBJECTS} more", "dim"))
        remedies = dict.fromkeys(f.remedy for f in group if f.remedy)
        lines.extend(Text(f"  → {remedy}", "dim") for remedy in list(remedies)[:_MOST_OBJECTS])
    return lines


def left_behind_report(left_behind: Iterable[LeftBehind]) -> list[Text]:
    """One line a kind of object that is not moved, with all names."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for thing in left_behind:
        kinds[thing.kind].append(thing.name)
    return [
        Text.assemble((f"not moved: {kind} ({len(names)}) ", "yellow"), ", ".join(names))
        for kind, names in kinds.items()
    ]
