"""The summary of the benchmarks: what is faster, what is slower, and which targets were missed.

A comment ``<!-- measured: NAME -->`` becomes a table of all comparisons in
``benchmarks/RESULTS.md``, so that no case is chosen by hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[2] / "benchmarks/RESULTS.md"
MARKER = re.compile(r"<!-- measured: (\w+) -->")
RATIO, TARGET, MET = "ours : theirs", "target", "met"
NOT_MEASURED = "**NOT MEASURED**"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One contender beside ours."""

    case: str
    contender: str
    rows: str
    """How many rows it read: "all", or how many of ours."""
    ratio: float
    run: str


@dataclass(frozen=True, slots=True)
class Missed:
    """A target that was not met."""

    case: str
    work: str
    target: str
    run: str


def _rows(results: str) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield the case, the run and the cells by head, of each line of each table."""
    for section in re.split(r"^## ", results, flags=re.M)[1:]:
        title, _, text = section.partition("\n")
        run = re.search(r"\*\*Run (\w)\*\*", text)
        heads: list[str] = []
        for line in text.splitlines():
            if not line.startswith("|"):
                heads = []
                continue
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))]
            if not heads:
                heads = cells
            elif not set(line) <= set("|-: "):
                case = re.sub(r" with structure, key and two indexes| \(.*\)$", "", title)
                row: dict[str, str] = {}
                for head, cell in zip(heads, cells, strict=False):
                    row.setdefault(head, cell)  # the first of two columns of a name
                yield case, run[1] if run else "", row


def comparisons(results: str) -> list[Comparison]:
    """Return every comparison with another tool, the worst for us first."""
    found = []
    whole: dict[str, str] = {}
    for case, run, row in _rows(results):
        work, rows = row.get("work", ""), row.get("rows") or row.get("row changes", "")
        if work.startswith("ours"):
            whole.setdefault(case, rows)
        elif row.get(RATIO) and not _is_assumed(row):
            ours = whole[case]
            read = "all" if rows == ours else f"{rows} of {ours}"
            found.append(Comparison(case, work, read, float(row[RATIO]), run))
    return sorted(found, key=lambda one: one.ratio)


def _is_assumed(row: Mapping[str, str]) -> bool:
    """True if a contender was not measured in this case, but judged by its rate in another one."""
    return any(cell.startswith(NOT_MEASURED) for cell in row.values())


def missed(results: str) -> list[Missed]:
    """Return every target that was not met."""
    return [
        Missed(case, _what(row), _target(row), run)
        for case, run, row in _rows(results)
        if "**missed**" in row.get(MET, "")
    ]


def _what(row: Mapping[str, str]) -> str:
    rate = row.get("transactions a second")
    what = row.get("work") or row.get("route", "")
    if _is_assumed(row):
        return f"{what} (not measured here; judged by its rate on MySQL)"
    return f"{what}, {rate} transactions a second" if rate else what


def _target(row: Mapping[str, str]) -> str:
    if share := row.get("share of one processor"):
        return f"{row[TARGET]} of one processor; measured {share}"
    if TARGET in row:
        return f"{row[TARGET]}; ratio {row[RATIO]}" if row.get(RATIO) else row[TARGET]
    return f"at most {row['at most']} times the copy; measured {row['ratio']}"


def _compared(results: str, keep: Callable[[float], bool]) -> str:
    lines = [
        "| case | compared with | their rows | ratio | run |",
        "|---|---|--:|--:|---|",
    ]
    return "\n".join(
        lines
        + [
            f"| {one.case} | {one.contender} | {one.rows} | {one.ratio:.2f} | {one.run} |"
            for one in comparisons(results)
            if keep(one.ratio)
        ]
    )


def _missed(results: str) -> str:
    lines = ["| case | what | target | run |", "|---|---|---|---|"]
    lines += [f"| {one.case} | {one.work} | {one.target} | {one.run} |" for one in missed(results)]
    return "\n".join(lines)


MEASURED: Mapping[str, Callable[[str], str]] = {
    "slower": lambda results: _compared(results, lambda ratio: ratio < 1),
    "faster": lambda results: _compared(results, lambda ratio: ratio >= 1),
    "missed": _missed,
}


def filled(markdown: str) -> str:
    """A page with its tables."""
    results = RESULTS.read_text()
    return MARKER.sub(lambda found: MEASURED[found[1]](results), markdown)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs for each page."""
    return filled(markdown)
