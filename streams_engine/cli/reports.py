"""Print a verification, the end of a run, and findings."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from streams_engine import units
from streams_engine.cli.progress import totals
from streams_engine.model import Finding, Severity, SkippedObject
from streams_engine.stats import Stats, TableStats

if TYPE_CHECKING:
    from streams_engine.verify.report import VerifyReport

__all__ = [
    "MOST_OBJECTS",
    "ddl",
    "findings_report",
    "left_behind_report",
    "released",
    "report",
    "severities",
    "summary",
    "verify_view",
]


def ddl(statements: str) -> RenderableType:
    """Render SQL, in colours if the terminal has them."""
    return Syntax(statements, "sql", background_color="default", word_wrap=True)


VERDICTS = {
    True: ("equal", "green"),
    False: ("DIFFERENT", "bold red"),
    None: ("NOT KNOWN", "bold yellow"),
}
"""Of a table, with the style: by whether its rows are equal."""


def verify_view(verdict: VerifyReport) -> RenderableType:
    """Render one line per table: both counts, how many rows differ, and the first keys that do."""
    grid = Table(box=None, padding=(0, 1), header_style="dim")
    grid.add_column("table", overflow="fold")
    for head in ("source rows", "target rows", "differing"):
        grid.add_column(head, justify="right", no_wrap=True)
    grid.add_column("", overflow="fold")
    for table in verdict.tables:
        mark = Text(*VERDICTS[table.equal])
        if table.keys:
            mark.append(f" at {', '.join(table.keys[:5])}", "default")
        if table.note:
            mark.append(f" {table.note}", "dim")
        grid.add_row(
            str(table.table),
            units.count(table.source_rows),
            units.count(table.target_rows),
            units.count(table.differing),
            mark,
        )
    equal = sum(table.equal is True for table in verdict.tables)
    differ = [f for f in verdict.structure if f.severity is not Severity.INFO]
    structure = f" {units.plural(len(differ), 'difference')} of structure." if differ else ""
    good = verdict.ok and verdict.same_structure
    verdict_line = Text(
        f"{equal} of {len(verdict.tables)} tables are equal on both sides.{structure}",
        "bold green" if good else "bold red",
    )
    told = findings_report(verdict.structure, most=None)
    return Group(grid, Text(), *told, *([Text()] if told else []), verdict_line)


_MOST_TABLES = 40
MOST_OBJECTS = 5
_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.INFO: "blue"}


def summary(stats: Stats) -> RenderableType:
    """Render one line per table (only the largest if there are many), and the outcome."""
    rejects = any(table.rejected for table in stats.tables)
    grid = Table(box=None, padding=(0, 1), header_style="dim", show_footer=False)
    grid.add_column("table", overflow="fold")
    for head in ("rows", *(["quarantined"] if rejects else []), "size", "time", "rows/s"):
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
        units.count(table.rows),
        *([units.count(table.rejected)] if rejects else []),
        units.size(table.bytes),
        units.duration(table.seconds),
        units.rate(table.rows, table.seconds),
    ]


def outcome(stats: Stats) -> Text:
    """Describe the run in one line."""
    style = {"FINISHED": "bold green", "FAILED": "bold red"}.get(stats.state, "bold yellow")
    errors = f" with {units.plural(len(stats.errors), 'error')}" if stats.errors else ""
    text = Text(f"{stats.state}{errors}", "bold yellow" if errors else style)
    aside = stats.target.failed_counter
    if aside:
        text.stylize("bold yellow")
        text.append(f" with {units.count(aside)} quarantined", "bold yellow")
    text.append(
        f": {units.count(stats.rows)} rows, {units.size(stats.target.sum_data_size)} in "
        f"{units.duration(stats.seconds)} ({units.rate(stats.rows, stats.seconds)})",
        "default",
    )
    return text


def report(
    findings: Sequence[Finding],
    left_behind: Sequence[SkippedObject],
    *,
    most: int | None = MOST_OBJECTS,
) -> RenderableType:
    """Render the findings in groups, then what is not moved; empty if there is nothing to say."""
    return Group(*findings_report(findings, most=most), *left_behind_report(left_behind))


def findings_report(findings: Iterable[Finding], *, most: int | None = MOST_OBJECTS) -> list[Text]:
    """Return lines for each code once, the gravest first, and each message once, with at most
    ``most`` objects of a code: of errors all."""
    groups: dict[tuple[Severity, str], list[Finding]] = defaultdict(list)
    for finding in findings:
        groups[finding.severity, finding.code].append(finding)
    order = list(_STYLES)
    lines: list[Text] = []
    for (severity, code), group in sorted(groups.items(), key=lambda g: order.index(g[0][0])):
        lines.append(Text(f"{severity} {code} ({len(group)})", _STYLES[severity]))
        shown = None if severity is Severity.ERROR else most
        objects: dict[str, list[str]] = defaultdict(list)
        for f in group[:shown]:
            objects[f.message].append(f.object)
        hidden = len(group[len(group[:shown]) :])
        for message, names in objects.items():
            if len(names) == 1:
                lines.append(Text(f"  {names[0]}: {message}"))
            else:
                lines += (Text(f"  {message}"), Text(f"    {', '.join(names)}"))
        if hidden:
            lines.append(Text(f"    and {hidden} more", "dim"))
        remedies = dict.fromkeys(f.remedy for f in group if f.remedy)
        lines.extend(Text(f"  → {remedy}", "dim") for remedy in list(remedies)[:shown])
    return lines


def severities(findings: Sequence[Finding]) -> str:
    """Return how many findings there are, the gravest first: ``1 error, 2 warnings``."""
    counted = Counter(str(finding.severity) for finding in findings)
    nouns = [severity for severity in map(str, _STYLES) if counted[severity]]
    return ", ".join(
        f"{counted[noun]} info" if noun == "info" else units.plural(counted[noun], noun)
        for noun in nouns
    )


def released(dropped: Sequence[str]) -> str:
    """Return what a release dropped, a line each."""
    lines = [f"dropped: {what}" for what in dropped]
    return "\n".join(lines or ["nothing to drop: it was released before"])


def left_behind_report(left_behind: Iterable[SkippedObject]) -> list[Text]:
    """Return one line per kind of object that is not moved, with all names."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for thing in left_behind:
        kinds[thing.kind].append(thing.name)
    return [
        Text.assemble((f"not moved: {kind} ({len(names)}) ", "yellow"), ", ".join(names))
        for kind, names in kinds.items()
    ]
