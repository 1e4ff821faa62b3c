"""What it costs to prove a copy, beside the copy: equal tables, and one wrong row.

Beside it, between PostgreSQL servers, reladiff, if one is on the PATH: it belongs into an
environment of its own, for its dependencies are. On MySQL 9 it ends at MD5, which is gone there,
as Debian's pt-table-checksum 3.2.1 does at SHOW SLAVE HOSTS.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing

from benchmarks.bench import Bench, settle
from benchmarks.jobs import Job, Unavailable
from benchmarks.measuring import Failed, Measured, measure
from benchmarks.peers import OURS
from benchmarks.report import Line, Section
from streams_engine.testing.servers import Server

__all__ = ["verification", "verify", "verify_one_wrong"]

ROUTES = (("mysql9", "pg18"), ("pg15", "pg18"), ("mysql9", "mysql9"), ("pg15", "mysql9"))
FILES = tuple((end, form) for end in ("mysql9", "pg18") for form in ("parquet", "csv", "jsonl"))
OF_THE_WRITE = 1.5
OF_THE_COPY = {"mixed": 1.0, "wide": 1.5, "documents": 1.5}
OF_THE_EQUAL_CASE = 1.2
NETWORK_BYTES = 10 << 20
PEER = "reladiff"
TITLES = {"mysql9": "MySQL", "pg15": "PostgreSQL", "pg18": "PostgreSQL"}


def verify(job: Job) -> Callable[[], int]:
    """Compare a table that is equal on both ends."""
    return _verifying(job, differing=0)


def verify_one_wrong(job: Job) -> Callable[[], int]:
    """Find one row that differs, name it and repair it."""
    return _verifying(job, differing=1)


def _verifying(job: Job, differing: int) -> Callable[[], int]:
    from streams_engine import Stream

    def work() -> int:
        stream = Stream(job.source, job.target, tables=[job.shape.table])
        (table,) = stream.verify(repair=differing > 0).tables
        if not table.equal or (table.differing, table.repaired) != (differing, differing):
            raise SystemExit(f"wrong verdict: {table}")
        if not differing and table.bytes_read > NETWORK_BYTES:
            raise SystemExit(f"{table.bytes_read} bytes were read")
        return table.source_rows

    return work


def verification(bench: Bench, shapes: Mapping[str, int], rounds: int) -> Iterator[Section]:
    """Measure each route, and yield it: the copy, the proof of it, the repair of one wrong row.

    ``shapes``: the rows of each shape.
    """
    for source, target in ROUTES:
        for shape, rows in shapes.items():
            title = f"Verification, {TITLES[source]} → {TITLES[target]}"
            section = Section(title if shape == "mixed" else f"{title}: {shape}")
            try:
                section.lines += _route(bench, source, target, shape, rows, rounds)
            except (Failed, Unavailable) as error:
                section.lines.append(Line("verify", "", (), rows, 0, failed=str(error)))
            yield section
    for source, form in FILES:
        section = Section(f"Verification, {TITLES[source]} → {form}")
        try:
            section.lines += _written(bench, source, form, shapes["mixed"], rounds)
        except (Failed, Unavailable) as error:
            section.lines.append(Line("verify", "", (), 0, 0, failed=str(error)))
        yield section


def _written(bench: Bench, source: str, form: str, rows: int, rounds: int) -> list[Line]:
    """Measure files: the write, and the proof of it."""
    runs: dict[str, list[Measured]] = {"the write": [], "verify": []}
    url = bench.source(source, "mixed", rows)
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(dir=bench.scratch) as directory:
            job = Job(url, f"file://{directory}/out?format={form}", "mixed", rows, "")
            runs["the write"].append(measure(OURS.command(job), measures_itself=True))
            runs["verify"].append(_child("verify", job))
    write, proof = (statistics.median(run.seconds for run in of) for of in runs.values())
    figure = f"at most {OF_THE_WRITE} of the write"
    return [
        Line(
            name,
            "",
            [run.seconds for run in of],
            rows,
            max(run.peak_mb for run in of),
            proof / write if name == "verify" else None,
            *((figure, proof <= OF_THE_WRITE * write) if name == "verify" else ("", None)),
        )
        for name, of in runs.items()
    ]


def _route(
    bench: Bench, source: str, target: str, shape: str, rows: int, rounds: int
) -> list[Line]:
    server = bench.server(target, "target")
    database = server.create_database()
    runs: dict[str, list[Measured]] = {"the copy": [], "verify": [], "verify, one wrong row": []}
    peer = None if "mysql9" in (source, target) else shutil.which(PEER)
    if peer is not None:
        runs[PEER] = []
    try:
        url = bench.source(source, shape, rows)
        for _ in range(rounds):
            job = Job(url, server.url(database), shape, rows, "")
            settle(server)
            runs["the copy"].append(measure(OURS.command(job), measures_itself=True))
            settle(server)
            runs["verify"].append(_child("verify", job))
            if peer is not None:
                runs[PEER].append(measure(_peer(peer, job), measures_itself=False))
            _plant(server, database, job.shape.table, rows)
            runs["verify, one wrong row"].append(_child("verify_one_wrong", job))
    finally:
        server.drop_database(database)
    medians = {name: statistics.median(run.seconds for run in of) for name, of in runs.items()}
    most = OF_THE_COPY[shape]
    figures: dict[str, tuple[str, bool | None]] = {
        "the copy": ("", None),
        "verify": (
            f"at most {most} of the copy",
            medians["verify"] <= most * medians["the copy"],
        ),
        "verify, one wrong row": (
            f"at most {OF_THE_EQUAL_CASE} of verify",
            medians["verify, one wrong row"] <= OF_THE_EQUAL_CASE * medians["verify"],
        ),
    }
    if peer is not None:
        figures[PEER] = ("slower than verify", medians["verify"] < medians[PEER])
    return [
        Line(
            name,
            "",
            [run.seconds for run in of],
            rows,
            max(run.peak_mb for run in of),
            None if name == "the copy" else medians[name] / medians["the copy"],
            *figures[name],
        )
        for name, of in runs.items()
    ]


def _peer(command: str, job: Job) -> list[str]:
    """Return how reladiff compares all columns of a table; it rounds doubles."""
    columns = [word for name in job.shape.declared if name != "id" for word in ("-c", name)]
    table = job.shape.table
    return [command, job.source, table, job.target, table, "-k", "id", *columns, "-j", "2"]


def _child(work: str, job: Job) -> Measured:
    command = [sys.executable, "-m", "benchmarks.child", work, job.to_json()]
    measured = measure(command, measures_itself=True)
    if measured.rows != job.rows:
        raise Failed(f"{measured.rows} rows were compared, not {job.rows}: {measured.said}")
    return measured


def _plant(server: Server, database: str, table: str, rows: int) -> None:
    """Change the second value, a number, of a row in the middle of the table."""
    with closing(server.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table} WHERE id = {rows // 2}")
        column = cursor.description[1][0]
        cursor.execute(f"UPDATE {table} SET {column} = {column} + 1 WHERE id = {rows // 2}")
