"""What is measured of the library alone: memory at two sizes, and many small tables."""

from __future__ import annotations

import time

from benchmarks.bench import Bench
from benchmarks.jobs import Unavailable
from benchmarks.measuring import Failed
from benchmarks.peers import OURS
from benchmarks.report import FIGURE_ROWS, Line, Section

__all__ = ["EXTRAS", "memory", "small_tables"]

EXTRAS = ("memory", "small-tables", "starts", "verify")
MOST_MB = 300
SAME_PART = 0.10
SMALL_TABLES = 2_000
SMALL_SECONDS = 60


def memory(bench: Bench, rows: int, more: int) -> Section:
    """Peak memory of MySQL → PostgreSQL for two numbers of rows, both large for a comparison."""
    section = Section("Peak memory, MySQL → PostgreSQL")
    first = 0.0
    for count in (rows, more):
        try:
            run = bench.run(OURS, "mysql9", "pg18", "mixed", count)
        except (Failed, Unavailable) as error:
            section.lines.append(Line("ours", "", (), count, 0, failed=str(error)))
            continue
        figure = f"under {MOST_MB} MB"
        holds = run.peak_mb < MOST_MB
        if first and rows >= FIGURE_ROWS:
            figure += f", and within {SAME_PART:.0%} of the other"
            least, most = sorted((first, run.peak_mb))
            holds = holds and most <= least * (1 + SAME_PART)
        first = run.peak_mb
        section.lines.append(
            Line("ours", "", (run.seconds,), count, run.peak_mb, None, figure, holds)
        )
    return section


def small_tables(bench: Bench, rounds: int, tables: int = SMALL_TABLES) -> Section:
    """Many small tables, MySQL → PostgreSQL."""
    section = Section(f"{tables:,} small tables of ten rows, MySQL → PostgreSQL")
    begun = time.monotonic()
    try:
        source = bench.small_tables(tables)
        print(f"  {tables:,} tables made in {time.monotonic() - begun:.0f} s", flush=True)
        runs = [bench.run_many(OURS, source, "pg18", tables) for _ in range(rounds)]
    except (Failed, Unavailable) as error:
        section.lines.append(Line("ours", "", (), tables * 10, 0, failed=str(error)))
        return section
    line = Line(
        "ours",
        "",
        [run.seconds for run in runs],
        tables * 10,
        max(run.peak_mb for run in runs),
        figure=f"under {SMALL_SECONDS} s",
    )
    holds = line.median < SMALL_SECONDS if tables >= SMALL_TABLES else None
    section.lines.append(
        Line("ours", "", line.seconds, line.rows, line.peak_mb, None, line.figure, holds)
    )
    return section
