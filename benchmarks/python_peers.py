"""Peers that are Python libraries. Each function imports, and returns the work to be timed."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.data import index_statements
from benchmarks.jobs import Job, place

__all__ = ["adbc", "connectorx", "connectorx_parquet", "dlt_postgres", "pgpq", "sscursor"]


def sscursor(job: Job) -> Callable[[], int]:
    """PyMySQL's streaming cursor, rows fetched and dropped."""
    import pymysql

    def work() -> int:
        at, count = place(job.source), 0
        with (
            pymysql.connect(
                host=at.host,
                port=int(at.port),
                user=at.user,
                password=at.password,
                database=at.database,
                ssl_disabled=True,
            ) as connection,
            connection.cursor(pymysql.cursors.SSCursor) as cursor,
        ):
            cursor.execute(f"SELECT * FROM {job.shape.table}")
            for _ in cursor:
                count += 1
        return count

    return work


def connectorx(job: Job) -> Callable[[], int]:
    """connectorx into an Arrow table, dropped."""
    read = _reader(job)
    return lambda: int(read().num_rows)


def connectorx_parquet(job: Job) -> Callable[[], int]:
    """connectorx into an Arrow table, written by PyArrow as one file."""
    from pyarrow import parquet

    read = _reader(job)

    def work() -> int:
        table = read()
        parquet.write_table(table, Path(job.directory) / "out.parquet", compression="zstd")
        return int(table.num_rows)

    return work


def _reader(job: Job) -> Callable[[], Any]:
    cx: Any = import_module("connectorx")
    split = {"partition_on": "id", "partition_num": 2} if job.options.get("split") else {}
    query = f"SELECT * FROM {job.shape.table}"
    return lambda: cx.read_sql(_mysql_scheme(job.source), query, return_type="arrow", **split)


def adbc(job: Job) -> Callable[[], int]:
    """The ADBC driver alone, batches dropped."""
    from adbc_driver_postgresql import dbapi

    def work() -> int:
        with dbapi.connect(job.source) as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {job.shape.table}")
            return sum(batch.num_rows for batch in cursor.fetch_record_batch())

    return work


def pgpq(job: Job) -> Callable[[], int]:
    """connectorx into Arrow, encoded by pgpq for a binary COPY; key and indexes by the same
    statements."""
    import psycopg

    read = _reader(job)
    encoding = import_module("pgpq")

    def work() -> int:
        table = read()
        encoder = encoding.ArrowToPostgresBinaryEncoder(table.schema)
        stage = ", ".join(
            f'"{name}" {column.data_type.ddl()}' for name, column in encoder.schema().columns
        )
        shape = job.shape
        with psycopg.connect(job.target) as connection, connection.cursor() as cursor:
            # What connectorx made of a type may be another one than the column's.
            cursor.execute(f"CREATE TEMPORARY TABLE data ({stage})")
            cursor.execute(shape.create("postgresql", key=False))
            with cursor.copy("COPY data FROM STDIN (FORMAT binary)") as copy:
                copy.write(encoder.write_header())
                for batch in table.to_batches(max_chunksize=10_000):
                    copy.write(encoder.write_batch(batch))
                copy.write(encoder.finish())
            cursor.execute(f"INSERT INTO {shape.table} SELECT * FROM data")
            for statement in index_statements(shape, key=True):
                cursor.execute(statement)
        return int(table.num_rows)

    return work


def dlt_postgres(job: Job) -> Callable[[], int]:
    """dlt: connectorx, Parquet loader files, ADBC; key and indexes by the same statements."""
    os.environ |= {
        "DLT_DATA_DIR": job.directory,
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "RUNTIME__LOG_LEVEL": "ERROR",
    }
    import psycopg

    dlt: Any = import_module("dlt")
    sql_table = import_module("dlt.sources.sql_database").sql_table
    for needed in ("adbc_driver_postgresql.dbapi", "connectorx", "pyarrow.parquet"):
        import_module(needed)

    def work() -> int:
        source = sql_table(
            credentials=_mysql_scheme(job.source).replace("mysql:", "mysql+pymysql:"),
            table=job.shape.table,
            backend="connectorx",
            reflection_level="full",
            backend_kwargs={"conn": _mysql_scheme(job.source), "return_type": "arrow"},
        )
        pipeline = dlt.pipeline(
            pipeline_name="bench",
            destination=dlt.destinations.postgres(job.target),
            dataset_name="bench",
            pipelines_dir=job.directory,
        )
        pipeline.run(source, loader_file_format="parquet", write_disposition="append")
        with psycopg.connect(job.target, autocommit=True) as connection:
            for statement in index_statements(job.shape, key=True, schema="bench."):
                connection.execute(statement)
        metrics = pipeline.last_trace.last_normalize_info.row_counts
        return int(metrics[job.shape.table])

    return work


def _mysql_scheme(url: str) -> str:
    """connectorx and SQLAlchemy know MariaDB as MySQL."""
    return url.replace("mariadb://", "mysql://")
