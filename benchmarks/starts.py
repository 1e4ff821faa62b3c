"""What a start costs: one small table as a whole process, and many small tables beside `psql`."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.data import SHAPES, index_statements
from benchmarks.jobs import Unavailable
from benchmarks.measuring import ROOT, Failed
from benchmarks.report import Line, Section
from benchmarks.tools import tool

__all__ = ["starts"]

ROUTES = {"MySQL": "mysql9", "PostgreSQL": "pg18"}
TARGET = "pg18"
ROWS = 1_000
TABLES = 500
WHOLE_SECONDS, RUN_SECONDS, TABLE_SECONDS = 1.2, 0.25, 0.010
"""The most that is asked for: a process, the run in it, and a table more than `psql`'s own time."""

CONVERT = """
import sys, time
from streams_engine import Stream
stream = Stream(sys.argv[1], sys.argv[2])
begun = time.perf_counter()
stream.run()
print(time.perf_counter() - begun)
"""

Took = tuple[float, float, float]
"""Seconds from start to end, of the processor, and of the run as the process itself has it."""


def starts(bench: Bench, rounds: int, tables: int = TABLES) -> Iterator[Section]:
    """Measure both, from MySQL and PostgreSQL into PostgreSQL, in turns."""
    for name, flavour in ROUTES.items():
        title = f"One table of {ROWS:,} rows, the whole process, {name} → PostgreSQL"
        section = Section(title)
        try:
            source = bench.source(flavour, "mixed", ROWS)
            took = [_ours(bench, source) for _ in range(rounds)]
        except (Failed, Unavailable) as error:
            section.lines.append(Line("ours", "", (), ROWS, 0, failed=str(error)))
        else:
            section.lines += _lines(took, ROWS, WHOLE_SECONDS, RUN_SECONDS)
        yield section
    for name, flavour in ROUTES.items():
        section = Section(f"{tables:,} tables of {ROWS:,} rows, {name} → PostgreSQL")
        try:
            source = bench.many_tables(flavour, tables, ROWS)
            script = _script(bench, tables)
            pairs = [(_ours(bench, source), _psql(bench, script)) for _ in range(rounds)]
        except (Failed, Unavailable) as error:
            section.lines.append(Line("ours", "", (), tables * ROWS, 0, failed=str(error)))
        else:
            reference = Line(
                "`psql`: the same DDL and COPY", "", [b[0] for _, b in pairs], tables * ROWS, 0
            )
            limit = reference.median + tables * TABLE_SECONDS
            section.lines += _lines([a for a, _ in pairs], tables * ROWS, limit)
            section.lines.append(reference)
        yield section


def _lines(
    took: Sequence[Took], rows: int, most: float, most_of_the_run: float | None = None
) -> Iterator[Line]:
    for place, (work, limit) in enumerate(
        (("ours", most), ("ours, processor", None), ("ours, the run itself", most_of_the_run))
    ):
        seconds = [each[place] for each in took]
        line = Line(work, "", seconds, rows, 0)
        figure = "" if limit is None else f"under {limit:.2f} s"
        holds = None if limit is None else line.median < limit
        yield Line(work, "", seconds, rows, 0, None, figure, holds)


def _ours(bench: Bench, source: str) -> Took:
    return _into(bench, lambda url: [sys.executable, "-c", CONVERT, source, url])


def _psql(bench: Bench, script: Path) -> Took:
    command = [*shlex.split(tool("psql")), "-qX", "-v", "ON_ERROR_STOP=1", "-f", str(script)]
    return _into(bench, lambda url: [*command, url])


def _into(bench: Bench, command: Callable[[str], list[str]]) -> Took:
    """Run a command into a new database. Raises `Failed`."""
    server = bench.server(TARGET, "target")
    database = server.create_database()
    try:
        before, begun = _processor(), time.perf_counter()
        process = subprocess.Popen(
            command(server.url(database)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        said, complained = process.communicate()
        seconds = time.perf_counter() - begun
        if process.returncode:
            raise Failed(complained[-300:])
        return seconds, _processor() - before, float(said) if said.strip() else seconds
    finally:
        server.drop_database(database)


def _processor() -> float:
    """Return the seconds of processor of all children that ended."""
    times = os.times()
    return times.children_user + times.children_system


def _script(bench: Bench, tables: int) -> Path:
    """Write what `psql` does for the same tables: CREATE TABLE, COPY, key and indexes."""
    shape = SHAPES["mixed"]
    rows = bench.ready("mixed", ROWS) / f"{shape.table}.tsv"
    path = bench.scratch / "starts.sql"
    lines = []
    for number in range(tables):
        name = f"small_{number:04}"
        lines += [
            shape.create("postgresql", key=False).replace(shape.table, name, 1) + ";",
            f"\\copy {name} from '{rows}' (format text)",
            *(
                statement.replace(f" {shape.table} ", f" {name} ").replace(
                    f"{shape.table}_", f"{name}_"
                )
                + ";"
                for statement in index_statements(shape, key=True)
            ),
        ]
    path.write_text("\n".join(lines))
    return path
