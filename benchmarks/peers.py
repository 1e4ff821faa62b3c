"""The contenders: how each is called, with the settings that its documentation recommends."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.data import index_statements
from benchmarks.jobs import Contender, Job, place
from benchmarks.tools import environment, need_module, tool

__all__ = [
    "ADBC",
    "CONNECTORX",
    "CONNECTORX_PARQUET",
    "CONNECTORX_PARQUET_SPLIT",
    "CONNECTORX_SPLIT",
    "CSV_COPY",
    "CSV_ONLY",
    "DLT",
    "DUCKDB",
    "DUCKDB_PARQUET",
    "LOAD_DATA",
    "MARIADB_PIPE",
    "MYDUMPER",
    "OURS",
    "OURS_ROWS_ONLY",
    "PGCOPYDB",
    "PGLOADER",
    "PGLOADER_SPLIT",
    "PGPQ",
    "PG_DUMP",
    "PSQL_NULL",
    "PSQL_PIPE",
    "RIVET",
    "SSCURSOR",
    "ours",
]


def _child(name: str, *modules: str, **options: Any) -> Callable[[Job], list[str]]:
    """A contender that runs in a Python process of its own."""

    def command(job: Job) -> list[str]:
        for module in modules:
            need_module(module)
        told = replace(job, options={**job.options, **options}).to_json()
        return [sys.executable, "-m", "benchmarks.child", name, told]

    return command


def _scanner(**options: Any) -> Callable[[Job], list[str]]:
    def command(job: Job) -> list[str]:
        told = replace(job, options={**job.options, **options}).to_json()
        return [environment("duckdb"), "benchmarks/duckdb_scanner.py", told]

    return command


def _shell(lines: Callable[[Job], list[str]]) -> Callable[[Job], list[str]]:
    """A contender that is a script of commands."""
    return lambda job: ["bash", "-c", "\n".join(("set -eo pipefail", *lines(job)))]


def _psql(url: str, *statements: str) -> str:
    parts = [part for statement in statements for part in ("-c", statement)]
    return f"{tool('psql')} {shlex.join(['-qX', '-v', 'ON_ERROR_STOP=1', *parts, url])}"


def _mariadb(url: str, statements: str, *options: str) -> str:
    at = place(url)
    arguments = ["--no-defaults", "-h", at.host, "-P", at.port, "-u", at.user]
    arguments += [f"-p{at.password}", *options, "-e", statements, at.database]
    return f"{tool('mariadb')} {shlex.join(arguments)}"


def _pg_table(job: Job) -> str:
    return _psql(job.target, job.shape.create("postgresql", key=False))


def _pg_indexes(job: Job) -> str:
    return _psql(job.target, *index_statements(job.shape, key=True))


def _psql_null(job: Job) -> list[str]:
    copy = f"\\copy {job.shape.table} to '/dev/null' (format binary)"
    return [_psql(job.source, copy).replace("-qX", "-X", 1)]  # not quiet: it tells the rows


def _mariadb_pipe(job: Job) -> list[str]:
    table = job.shape.table
    out = _mariadb(job.source, f"SELECT * FROM {table}", "-q", "-N", "-B")
    into = _psql(job.target, f"COPY {table} FROM STDIN (NULL 'NULL')")
    return [_pg_table(job), f"{out} | {into}", _pg_indexes(job)]


def _csv_only(job: Job) -> list[str]:
    table = job.shape.table
    ready = Path(job.ready) / f"{table}.csv"
    return [
        _pg_table(job),
        _psql(job.target, f"\\copy {table} from '{ready}' (format csv, header)"),
    ]


def _csv_copy(job: Job) -> list[str]:
    return [*_csv_only(job), _pg_indexes(job)]


def _psql_pipe(job: Job) -> list[str]:
    table = job.shape.table
    out = _psql(job.source, f"COPY {table} TO STDOUT (FORMAT binary)")
    into = _psql(job.target, f"COPY {table} FROM STDIN (FORMAT binary)")
    return [_pg_table(job), f"{out} | {into}", _pg_indexes(job)]


def _pgloader(settings: str) -> Callable[[Job], list[str]]:
    def lines(job: Job) -> list[str]:
        script = Path(job.directory) / "job.load"
        text = (
            f"LOAD DATABASE FROM {job.source.replace('mariadb://', 'mysql://')}\n"
            f"INTO {job.target}?sslmode=disable\n"
            f"WITH include drop, create tables, create indexes, reset sequences, {settings};\n"
        )
        return [
            f"printf %s {shlex.quote(text)} > {script}",
            f"{tool('pgloader')} --on-error-stop -D {job.directory} {script} >&2",
        ]

    return _shell(lines)


def _pgcopydb(job: Job) -> list[str]:
    arguments = ["clone", "--source", job.source, "--target", job.target]
    arguments += ["--dir", f"{job.directory}/state", "--table-jobs", "2", "--index-jobs", "2"]
    arguments += ["--split-tables-larger-than", "32 MB", "--skip-large-objects", "--no-owner"]
    return [f"{tool('pgcopydb')} {shlex.join(arguments)} >&2"]


def _pg_dump(job: Job) -> list[str]:
    dump = f"{job.directory}/dump"
    return [
        f"{tool('pg_dump')} -Fd -j2 -Z0 -f {dump} {shlex.quote(job.source)}",
        f"{tool('pg_restore')} -j2 --no-owner -d {shlex.quote(job.target)} {dump}",
    ]


def _rivet(job: Job) -> list[str]:
    need_module("rivet-cli")
    at = job.source.replace("mariadb://", "mysql://")
    kind = "mysql" if at.startswith("mysql") else "postgres"
    shape = job.shape
    decimals = {
        name: declared.replace("decimal128", "decimal").replace(" ", "")
        for name, declared in shape.declared.items()
        if declared.startswith("decimal128")
    }
    export = {
        "name": shape.table,
        "table": shape.table,
        "mode": "chunked",
        "chunk_by_key": "id",
        "chunk_size": 100_000,
        "format": "parquet",
        "compression": "zstd",
        "destination": {"type": "local", "path": f"{job.directory}/"},
        "columns": decimals,
    }
    # JSON is YAML too.
    text = json.dumps({"source": {"type": kind, "url": at}, "exports": [export]})
    config = Path(job.directory) / "rivet.yaml"
    program = Path(sys.executable).parent / "rivet"
    return [
        f"cd {job.directory}",
        f"printf %s {shlex.quote(text)} > {config}",
        f"{program} run -c {config} >&2",
    ]


def _load_data(job: Job) -> list[str]:
    table = job.shape.table
    ready = Path(job.ready) / f"{table}.tsv"
    indexes = ", ".join(f"ADD INDEX {table}_{column} ({column})" for column in job.shape.indexed)
    statements = (
        f"SET unique_checks = 0; {job.shape.create('mysql')};"
        f" LOAD DATA LOCAL INFILE '{ready}' INTO TABLE {table} CHARACTER SET utf8mb4;"
        f" ALTER TABLE {table} {indexes}"
    )
    return [_mariadb(job.target, statements, "--local-infile=1")]


def _mydumper(job: Job) -> list[str]:
    def common(url: str) -> list[str]:
        at = place(url)
        words = ["-h", at.host, "-P", at.port, "-u", at.user, "-p", at.password]
        return [*words, "-B", at.database, "-t", "2"]

    dump = f"{job.directory}/dump"
    chunk = str(max(job.rows // 8, 10_000))
    out = [*common(job.source), "--trx-consistency-only", "-r", chunk, "-o", dump]
    return [
        f"{tool('mydumper')} {shlex.join(out)} >&2",
        f"{tool('myloader')} {shlex.join([*common(job.target), '-d', dump])} >&2",
    ]


def ours(name: str = "ours", settings: str = "defaults", **options: Any) -> Contender:
    """The library, with options of the stream."""
    return Contender(name, _child("ours", **options), settings, measures_itself=True)


AFTER = "key and indexes by statements after the data"
OURS = ours(settings="defaults; schema_policy drop_and_recreate")
OURS_ROWS_ONLY = replace(
    OURS, settings="defaults; columns declared", indexed=False, reads_file=True
)
SSCURSOR = Contender("PyMySQL SSCursor", _child("sscursor", "pymysql"), "rows dropped", True)
CONNECTORX = Contender(
    "connectorx", _child("connectorx", "connectorx"), "to Arrow, one connection", True
)
CONNECTORX_SPLIT = Contender(
    "connectorx, 2 partitions",
    _child("connectorx", "connectorx", split=True),
    "to Arrow, partition_on id, partition_num 2",
    True,
)
ADBC = Contender(
    "ADBC", _child("adbc", "adbc-driver-postgresql"), "fetch_record_batch, batches dropped", True
)
CONNECTORX_PARQUET = Contender(
    "connectorx + pyarrow",
    _child("connectorx_parquet", "connectorx"),
    "to Arrow, one connection, one file, zstd (as ours)",
    True,
)
CONNECTORX_PARQUET_SPLIT = Contender(
    "connectorx, 2 partitions + pyarrow",
    _child("connectorx_parquet", "connectorx", split=True),
    "partition_on id, partition_num 2, one file, zstd (as ours)",
    True,
)
DUCKDB = Contender(
    "DuckDB's scanner",
    _scanner(),
    "DuckDB 1.5.5 in an environment of its own, attached read only, its own number of threads, "
    "to Arrow batches, dropped",
    True,
)
DUCKDB_PARQUET = Contender(
    "DuckDB's scanner, COPY",
    _scanner(parquet=True),
    "DuckDB 1.5.5 in an environment of its own, its own number of threads, one file, zstd (as "
    "ours)",
    True,
)
RIVET = Contender(
    "rivet",
    _shell(_rivet),
    "as its init proposes for a table of this size (chunks of 100,000 rows by the key), without "
    "columns of its own; zstd (as ours)",
)
PGPQ = Contender(
    "connectorx, pgpq",
    _child("pgpq", "connectorx", "pgpq"),
    f"to Arrow, encoded by pgpq, binary COPY into a temporary table, INSERT ... SELECT; {AFTER}",
    True,
)
DLT = Contender(
    "dlt",
    _child("dlt", "dlt", "connectorx", "adbc-driver-postgresql", "psycopg2-binary"),
    f"connectorx backend to Arrow, Parquet loader files, loaded through ADBC; {AFTER}",
    True,
)
PSQL_NULL = Contender("psql binary COPY", _shell(_psql_null), "\\copy to /dev/null, binary")
MARIADB_PIPE = Contender(
    "mariadb -q | psql COPY", _shell(_mariadb_pipe), f"batch mode into text COPY; {AFTER}"
)
CSV_COPY = Contender(
    "psql COPY of a ready CSV", _shell(_csv_copy), f"\\copy; {AFTER}", reads_file=True
)
CSV_ONLY = Contender(
    "psql \\copy",
    _shell(_csv_only),
    "table without key or index",
    indexed=False,
    reads_file=True,
)
PSQL_PIPE = Contender("psql | psql", _shell(_psql_pipe), f"binary COPY; {AFTER}")
PGLOADER_ONE = "workers = 4, concurrency = 1"
PGLOADER_RANGES = (
    "workers = 4, concurrency = 2, multiple readers per thread, rows per range = 50000"
)
PGLOADER_NOTE = "3.6 cannot log in to MySQL 9 (caching_sha2_password), so MariaDB stands in"
PGLOADER = Contender(
    "pgloader", _pgloader(PGLOADER_ONE), f"its defaults, {PGLOADER_ONE}; {PGLOADER_NOTE}"
)
PGLOADER_SPLIT = Contender("pgloader, 2 readers", _pgloader(PGLOADER_RANGES), PGLOADER_RANGES)
PGCOPYDB = Contender(
    "pgcopydb",
    _shell(_pgcopydb),
    "2 table jobs, 2 index jobs, same-table concurrency from 32 MB, no large objects",
)
PG_DUMP = Contender(
    "pg_dump, pg_restore", _shell(_pg_dump), "-Fd -j2 uncompressed, then pg_restore -j2"
)
LOAD_DATA = Contender(
    "LOAD DATA LOCAL of a ready file",
    _shell(_load_data),
    "mariadb client, unique_checks off, key at creation, both indexes by one ALTER afterwards",
    reads_file=True,
)
MYDUMPER = Contender(
    "mydumper, myloader",
    _shell(_mydumper),
    "2 threads each, chunks of an eighth of the table, trx-consistency-only; myloader writes no"
    " binary log",
)
