"""How `Plan` and `VerifyReport` look on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from streams_engine.cli import human
from streams_engine.cli.summary import report

if TYPE_CHECKING:
    from streams_engine.runtime.planning import Plan
    from streams_engine.runtime.verifying import VerifyReport

__all__ = ["ddl", "plan_view", "verify_view"]


def ddl(statements: str) -> RenderableType:
    """SQL with colours where the terminal has them."""
    return Syntax(statements, "sql", background_color="default", word_wrap=True)


def plan_view(plan: Plan) -> RenderableType:
    """Each table with its columns, the statements, the findings, what is left behind."""
    parts: list[RenderableType] = []
    for table in plan.tables:
        rows = "" if table.rows is None else f", about {human.count(table.rows)} rows"
        parts.append(Text.assemble((f"{table.source} → {table.target}", "bold"), (rows, "dim")))
        grid = Table(box=None, padding=(0, 1), header_style="dim", show_header=False)
        for column in table.columns:
            notes = column.notes
            grid.add_row(
                f" {column.name}",
                column.source_type,
                "→",
                column.target_type,
                Text(notes if isinstance(notes, str) else " ".join(notes or ()), "dim"),
            )
        parts.extend((grid, Text()))
    if plan.statements:
        parts.append(Text(f"{len(plan.statements)} statements on the target", "bold"))
        parts.append(ddl("\n".join(f"{s.sql.rstrip(';')};" for s in plan.statements)))
        parts.append(Text())
    parts.append(report(plan.findings, plan.left_behind))
    return Group(*parts)


def verify_view(verdict: VerifyReport) -> RenderableType:
    """One line a table: both counts, how many rows differ, and the first keys that do."""
    grid = Table(box=None, padding=(0, 1), header_style="dim")
    grid.add_column("table", overflow="fold")
    for head in ("source rows", "target rows", "differing"):
        grid.add_column(head, justify="right", no_wrap=True)
    grid.add_column("", overflow="fold")
    for table in verdict.tables:
        mark = Text("equal", "green") if table.equal else Text("DIFFERENT", "bold red")
        if table.keys:
            mark.append(f" at {', '.join(table.keys[:5])}", "default")
        if table.note:
            mark.append(f" {table.note}", "dim")
        grid.add_row(
            str(table.table),
            human.count(table.source_rows),
            human.count(table.target_rows),
            human.count(table.differing),
            mark,
        )
    equal = sum(table.equal for table in verdict.tables)
    verdict_line = Text(
        f"{equal} of {len(verdict.tables)} tables are equal on both sides.",
        "bold green" if verdict.ok else "bold red",
    )
    return Group(grid, Text(), verdict_line)
