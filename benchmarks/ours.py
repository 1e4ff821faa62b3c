"""The library, called as a user would."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from benchmarks.jobs import Job

__all__ = ["convert"]

ADAPTERS = {
    "mysql": "mysql.{}",
    "mariadb": "mysql.{}",
    "postgresql": "postgres.{}",
    "csv": "files.{}",
    "file": "files.{}",
    "null": "null",
}
"""By the scheme of a place: the module that the library imports once a stream runs."""


def convert(job: Job) -> Callable[[], int]:
    """A whole convert: structure, data, key and indexes."""
    from streams_engine import Stream

    for place, side in ((job.source, "source"), (job.target, "sink")):
        adapter = ADAPTERS[place.partition(":")[0]].format(side)
        import_module(f"streams_engine.adapters.{adapter}")

    def work() -> int:
        if job.source == "csv:":
            stream = Stream.from_config(_csv(job))
        else:
            options: dict[str, Any] = {"schema_policy": "drop_and_recreate", **job.options}
            stream = Stream(job.source, job.target, **options)
        return int(stream.run(fresh=True).rows)

    return work


def _csv(job: Job) -> dict[str, Any]:
    """The stream document for a CSV file whose columns are declared."""
    table = job.shape.table
    files = {
        "basePath": job.ready,
        "paths": [f"{table}.csv"],
        "csv": {"header": True},
        "columns": {table: dict(job.shape.declared)},
    }
    return {
        "mode": "convert",
        "source": {"connections": [{"connection": job.ready, "files": files}]},
        "target": {
            "connection": job.target,
            "spec": {"db": {"schemaPolicy": "drop_and_recreate"}},
        },
    }
