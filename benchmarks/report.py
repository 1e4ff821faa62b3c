"""The results: on the terminal as they come, and as a document."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from benchmarks.document import notes, replace
from benchmarks.measuring import Measured
from benchmarks.routes import Route
from benchmarks.tools import module_version, tool_versions

__all__ = ["FIGURE_ROWS", "Line", "Section", "Setting", "lines_of", "terminal", "write"]

MODULES = ("streams-engine", "pyarrow", "numpy", "PyMySQL", "psycopg", "adbc-driver-postgresql")
PEER_MODULES = ("connectorx", "dlt", "SQLAlchemy")
FIGURE_ROWS = 1_000_000


@dataclass(frozen=True, slots=True)
class Line:
    """One contender on one route."""

    work: str
    settings: str
    seconds: Sequence[float]
    rows: int
    peak_mb: float
    ratio: float | None = None
    """Rate of ours by this one's, None for ours."""
    figure: str = ""
    holds: bool | None = None
    failed: str = ""

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.seconds)


@dataclass(slots=True)
class Section:
    """One table of the results."""

    title: str
    lines: list[Line] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Setting:
    """How the run was made."""

    command: str
    rows: int
    """Mixed rows."""
    rounds: int
    other_rounds: int
    load_before: float


def lines_of(
    route: Route,
    shape: str,
    rows: int,
    runs: Mapping[str, Sequence[Measured]],
    failures: Mapping[str, str],
) -> list[Line]:
    """The lines of one route; ratios are of medians, against the first contender."""
    lines: list[Line] = []
    first = route.contenders[0].name
    ours = None
    if runs.get(first) and first not in failures:
        ours = statistics.median(run.seconds for run in runs[first])
    for contender in route.contenders:
        name = contender.name
        if name in failures:
            lines.append(Line(name, contender.settings, (), rows, 0, failed=failures[name]))
            continue
        if not runs.get(name):
            continue
        seconds = [run.seconds for run in runs[name]]
        peak = max(run.peak_mb for run in runs[name])
        ratio = statistics.median(seconds) / ours if ours and name != first else None
        figure = route.figures.get(name) if shape == "mixed" else None
        holds = figure.holds(ratio) if figure and ratio else None
        if figure and first in failures:
            holds = False
        text = figure.text if figure else ""
        lines.append(Line(name, contender.settings, seconds, rows, peak, ratio, text, holds))
    return lines


def terminal(section: Section) -> str:
    """A section as lines of text."""
    out = [section.title]
    for line in section.lines:
        if line.failed:
            out.append(f"  !!! {line.work}: NOT MEASURED: {line.failed}")
            continue
        out.append(
            f"  {line.work:38} {line.median:8.2f} s {line.rows / line.median:12,.0f} rows/s"
            f" {line.peak_mb:7.0f} MB  {_ratio(line):>8}  {line.figure} {_holds(line)}"
        )
    return "\n".join(out)


def write(
    path: Path, sections: Iterable[Section], setting: Setting, servers: Mapping[str, str]
) -> None:
    """Write the document."""
    sections = [section for section in sections if section.lines]
    lines = [line for section in sections for line in section.lines]
    judged = [line for line in lines if line.holds is not None]
    missed = [(s.title, line) for s in sections for line in s.lines if line.holds is False]
    out = ["# Results", "", *_opening(setting), ""]
    failed = sum(1 for line in lines if line.failed)
    out += [
        f"{len(judged)} targets were set; {len(judged) - len(missed)} were met."
        f" {failed} contenders were not measured.",
        "",
    ]
    out += [f"- **Missed**: {title}: {line.work}, {line.figure}" for title, line in missed]
    out += [
        f"- **NOT MEASURED**: {section.title}: {line.work}: {line.failed}"
        for section in sections
        for line in section.lines
        if line.failed
    ]
    for section in sections:
        out += ["", f"## {section.title}", "", *_table(section)]
    if text := notes(capture=False):
        out += ["", "## Why a target was missed", "", text]
    out += ["", "## Settings", "", *_settings(lines), "", "## Versions", "", *_versions(servers)]
    replace(path, snapshot="\n".join(out).replace("\n\n\n", "\n\n"))


def _opening(setting: Setting) -> list[str]:
    rows = f"{setting.rows:,}"
    text = [
        f"{date.today():%d %B %Y}: `{setting.command}`, {rows} mixed rows,"
        f" {setting.rounds} rounds (other shapes: at most {setting.other_rounds}),"
        f" {os.cpu_count()} cores, load {setting.load_before:.1f} before the first run.",
        "",
        "Source, target and contenders run on one machine; the servers are private ones with"
        " relaxed durability (`streams_engine/testing/servers.py`). In each round every contender"
        " of a route runs once, in a new order, each into a new database that is dropped"
        " afterwards. PostgreSQL makes a checkpoint before each run. One uncounted run of ours"
        " warms the servers for all. Seconds are the median of the rounds, with the lowest and"
        " the highest. Python programs run in processes of their own and are timed without their"
        " imports; others are timed from start to end. Peak memory is the highest resident memory"
        " of the process and its children in any round, without the servers. The ratio is our"
        " rate divided by theirs: above 1 ours is faster. After each run the rows, the key and"
        " the indexes of the target are counted; a run that lacks any of them is not a result.",
    ]
    if setting.rows != FIGURE_ROWS:
        text += [
            "",
            f"**The targets are meant for {FIGURE_ROWS:,} mixed rows; this run moved {rows}**, so"
            " that what a run costs whatever its size weighs more.",
        ]
    return text


def _table(section: Section) -> list[str]:
    rows = [
        "| work | rows | seconds | rows/s | peak MB | ours : theirs | target | met |",
        "|---|--:|--:|--:|--:|--:|---|---|",
    ]
    for line in section.lines:
        work = line.work.replace("|", "\\|")
        if line.failed:
            said = line.failed.replace("|", "\\|")
            rows.append(f"| {work} | {line.rows:,} | **NOT MEASURED**: {said} | | | | | |")
            continue
        spread = f"{line.median:.2f}"
        if len(line.seconds) > 1:
            spread += f" ({min(line.seconds):.2f} to {max(line.seconds):.2f})"
        rows.append(
            f"| {work} | {line.rows:,} | {spread} | {line.rows / line.median:,.0f}"
            f" | {line.peak_mb:.0f} | {_ratio(line)} | {line.figure} | {_holds(line)} |"
        )
    return rows


def _ratio(line: Line) -> str:
    return "" if line.ratio is None else f"{line.ratio:.2f}"


def _holds(line: Line) -> str:
    return {None: "", True: "yes", False: "**missed**"}[line.holds]


def _settings(lines: Iterable[Line]) -> list[str]:
    settings = {line.work: line.settings for line in lines if line.settings}
    return [f"- {name}: {text}" for name, text in settings.items()]


def _versions(servers: Mapping[str, str]) -> list[str]:
    out = [f"- {platform.system()} {platform.machine()}, Python {platform.python_version()}"]
    out += [f"- server {name}: {version}" for name, version in sorted(servers.items())]
    out += [f"- {name} {module_version(name)}" for name in (*MODULES, *PEER_MODULES)]
    out += [f"- {name}: {version}" for name, version in tool_versions().items()]
    return out
