"""Print a plan: a line a table, or one table with all that is to be known of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from streams_engine import units
from streams_engine.cli import views
from streams_engine.cli.error_output import tell_errors
from streams_engine.cli.exit_codes import Exit, not_accepted
from streams_engine.cli.progress import shortened
from streams_engine.cli.reports import MOST_OBJECTS, ddl, findings_report, report, severities
from streams_engine.cli.session import Session

if TYPE_CHECKING:
    from streams_engine.pipeline.snapshot.plan import Plan

__all__ = ["Accept", "PlannedSql", "PlannedTable", "plan_view", "show_plan", "table_view"]

PlannedTable = Annotated[
    list[str] | None,
    typer.Option(
        "--table",
        "-t",
        help="Show this table of the plan with its columns, findings and DDL (repeatable).",
    ),
]
PlannedSql = Annotated[bool, typer.Option("--sql", help="Print only the statements.")]
Accept = Annotated[
    list[str] | None,
    typer.Option(
        "--accept",
        metavar="CODE",
        help="Do not count findings of this code as errors in the exit code (repeatable).",
    ),
]


_Cells = tuple[str, ...]


def plan_view(plan: Plan, *, width: int | None) -> RenderableType:
    """Render one line a table (rows, size, name on the target, what changes, findings), the
    findings in groups, what is not moved, and a line that counts it all.

    ``width``: of the terminal; None for a file, where nothing is shortened or left out.
    """
    told = report(plan.findings, plan.left_behind, most=None if width is None else MOST_OBJECTS)
    more = Text("--table NAME shows one table, --sql the statements.", "dim")
    lines = _plan_lines(plan, width)
    return Group(*lines, Text(), told, Text(), Text(str(plan), "bold"), more)


_HEADS = ("table", "rows, about", "size", "becomes", "changes", "findings")
_NUMBERS = frozenset({1, 2})
"""The columns that stand at the right."""
_NAMES = frozenset({0, 3})
_CHANGES = frozenset({4})
_GAP = 2
_LEAST = 10
"""Letters that a name, or the list of changes, keeps."""


def _plan_lines(plan: Plan, width: int | None) -> list[Text]:
    by_table = plan.findings_by_table()
    lines: list[_Cells] = [
        (
            str(table.source),
            "unknown" if table.rows is None else units.count(table.rows),
            "" if table.bytes is None else units.size(table.bytes),
            str(table.target),
            ", ".join(table.changes),
            severities(by_table.get(table.source, ())),
        )
        for table in plan.tables
    ]
    heads: _Cells = _HEADS
    widths = _widths(heads, lines)
    if width is not None and sum(widths) > (most := width - _GAP * len(_HEADS)):
        heads, lines = _without_schemas(plan, lines)
        widths = _fitted(_widths(heads, lines), most)
    return [_line(heads, widths, "dim"), *(_line(cells, widths) for cells in lines)]


def _widths(heads: _Cells, lines: Sequence[_Cells]) -> list[int]:
    return [max(map(cell_len, column)) for column in zip(heads, *lines, strict=True)]


def _without_schemas(plan: Plan, lines: list[_Cells]) -> tuple[_Cells, list[_Cells]]:
    """Return heads that name the schemas, and lines without them, if all tables have the same."""
    sources, targets = [t.source for t in plan.tables], [t.target for t in plan.tables]
    schemas = [{(one.alias, one.schema) for one in side} for side in (sources, targets)]
    if any(len(found) != 1 for found in schemas) or any(one.alias for one in sources):
        return _HEADS, lines
    table, rows, size, becomes, *rest = _HEADS
    if sources[0].schema:
        table = f"table of {sources[0].schema}"
    if targets[0].schema:
        becomes = f"in {targets[0].schema}"
    return (table, rows, size, becomes, *rest), [
        (source.name, *cells[1:3], target.name, *cells[4:])
        for source, target, cells in zip(sources, targets, lines, strict=True)
    ]


def _line(cells: Sequence[str], widths: Sequence[int], style: str = "") -> Text:
    """Return one line of a plan; each cell has the width of its column."""
    line = Text(style=style, no_wrap=True)
    for place, (cell, most) in enumerate(zip(cells, widths, strict=True)):
        short = shortened(cell, most) if place in _NAMES else _cut(cell, most)
        blanks = " " * (most - cell_len(short))
        text = f"{blanks}{short}" if place in _NUMBERS else f"{short}{blanks}"
        line.append(text, _style(place, cell))
        line.append(" " * _GAP)
    line.rstrip()
    return line


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _style(place: int, cell: str) -> str:
    if place < len(_HEADS) - 1:
        return ""
    return "bold red" if "error" in cell else "yellow" if "warning" in cell else "dim"


def _fitted(widths: list[int], most: int) -> list[int]:
    """Return the widths of the columns of a plan's lines, in sum at most ``most`` where that can
    be: the changes give way first, then the names."""
    fitted = list(widths)
    for places in (_CHANGES, _NAMES):
        over = sum(fitted) - most
        while over > 0 and max(fitted[place] for place in places) > _LEAST:
            widest = max(places, key=lambda place: fitted[place])
            fitted[widest] -= 1
            over -= 1
    return fitted


def table_view(plan: Plan, *, whole: bool = False) -> RenderableType:
    """Render some tables of a plan: their columns, findings and statements.

    ``whole``: for a file, with all findings and without colours in the SQL.
    """
    parts: list[RenderableType] = []
    for table in plan.tables:
        rows = f", {units.about_rows(table.rows)}"
        parts.append(Text.assemble((f"{table.source} → {table.target}", "bold"), (rows, "dim")))
        grid = Table(box=None, padding=(0, 1), show_header=False)
        for column in table.columns:
            notes = Text(" ".join(column.notes), "dim")
            style = "yellow" if column.changed else ""
            target = Text(column.target_type, style)
            grid.add_row(f" {column.name}", column.source_type, "→", target, notes)
        parts.extend((grid, Text()))
    if plan.findings:
        parts += (*findings_report(plan.findings, most=None if whole else MOST_OBJECTS), Text())
    if plan.statements:
        statements = plan.to_sql()
        number = units.plural(len(plan.statements), "statement")
        parts.append(Text(f"{number} on the target", "bold"))
        parts.append(Text(statements) if whole else ddl(statements))
    return Group(*parts)


def show_plan(
    session: Session, plan: Plan, tables: Sequence[str], *, sql: bool, accept: Sequence[str]
) -> Exit:
    """Answer a command with a plan, or with what it says of some tables. Raises `NotFound`.

    Returns ERRORS_TOLD for findings of severity error, unless their codes are in ``accept``.
    """
    out = views.console()
    width = out.width if out.is_terminal else None
    chosen = plan.of(*tables) if tables else plan
    if sql:
        session.answer({"sql": chosen.to_sql()}, chosen.to_sql())
    elif tables:
        session.answer(chosen.to_dict(), table_view(chosen, whole=width is None))
    else:
        session.answer(plan.to_dict(), plan_view(plan, width=width))
    errors = not_accepted(chosen.findings, accept)
    tell_errors(errors)
    return Exit.ERRORS_TOLD if errors else Exit.FINISHED
